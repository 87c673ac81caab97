// The policy server: its start and end, its API as its OpenAPI document has it, who may see what.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { counted, document, home, operations, report, seen, Server, template } from './lib/server.mjs';
import { until } from './lib/wait.mjs';

const POLICY = { global_rate: 1, severity_rates: { DEBUG: 0.05, INFO: 0.2, WARNING: 0.5, ERROR: 1, CRITICAL: 1 } };

const learned = (server, service) => until(`${service} is stored`, async () => (await counted(server, service)) > 0);

test('a first start prints the key of an admin, a second one does not; SIGTERM ends with 0', async (t) => {
  const server = await Server.start(t);
  assert.match(server.key, /^lsk_[\w-]{43}$/);
  assert.ok(!server.stderr.includes(server.key));
  assert.equal((await server.ok('GET', '/ready', undefined, { key: null })).status, 'ready');
  await server.ok('POST', '/api/v1/services', { name: 'checkout' });
  await server.stop();

  const again = await Server.start(t, { directory: server.directory, key: server.key });
  assert.equal(again.stdout, '');
  assert.deepEqual((await again.ok('GET', '/api/v1/services')).map((one) => one.name), ['checkout']);
  await again.stop();
  for (const file of execFileSync('ls', [server.directory], { encoding: 'utf8' }).split('\n').filter(Boolean))
    assert.ok(!execFileSync('cat', [`${server.directory}/${file}`], { encoding: 'latin1' }).includes(server.key), `${file} has the key`);
});

test('the key of the first admin may be given', async (t) => {
  const server = await Server.start(t, { set: { 'server.first_key': 'lsk_a-key-of-this-test' } });
  assert.equal(server.stdout, '');
  await server.ok('GET', '/api/v1/keys', undefined, { key: 'lsk_a-key-of-this-test' });
  await server.stop();
});

test('the document is one that others can read', () => {
  const here = fileURLToPath(new URL('.', import.meta.url));
  execFileSync('node_modules/.bin/redocly', ['lint', '../../src/server/openapi.json', '--config', 'fixtures/redocly.yaml'], { cwd: here, stdio: 'pipe', env: { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' } });
});

test('policies: defaults, versions, drafts, differences, rollback', async (t) => {
  const server = await Server.start(t);
  const route = '/api/v1/policies/checkout';
  assert.equal((await server.call('GET', route)).status, 404);
  await server.ok('POST', '/api/v1/services', { team_id: 1, name: 'checkout' });
  assert.deepEqual(await server.ok('GET', `${route}?team_id=1`), {
    global_rate: 1, severity_rates: { DEBUG: 0.1, INFO: 0.3, WARNING: 0.7, ERROR: 1, CRITICAL: 1 }, pattern_rates: {}, anomaly_boost: 2, reasoning: null, generated_by: 'default', llm_model: null, version: 0,
  });

  await server.ok('POST', '/api/v1/patterns/stats', report('checkout', 1000));
  await learned(server, 'checkout');
  const estimate = (await server.ok('PUT', `${route}?dry_run=true`, { ...POLICY, pattern_rates: { 'lps1:00000000000000ab': 0.1 } })).estimate;
  assert.deepEqual([estimate.received, estimate.kept_now, estimate.kept_then], [1000, 500, 100]);
  assert.equal((await server.ok('GET', route)).version, 0);

  const first = await server.ok('PUT', route, POLICY);
  assert.deepEqual([first.version, first.is_active, first.policy.severity_rates], [1, true, POLICY.severity_rates]);
  const draft = await server.ok('PUT', `${route}?draft=true`, { ...POLICY, pattern_rates: { 'lps1:00000000000000ab': 0.1 }, reasoning: 'logins dominate' });
  assert.deepEqual([draft.version, draft.is_active], [2, false]);
  assert.equal((await server.ok('GET', route)).version, 1);
  assert.deepEqual((await server.ok('GET', `${route}/diff?from=1&to=2`)).changes, [
    { path: 'reasoning', from: null, to: 'logins dominate' },
    { path: 'pattern_rates.lps1:00000000000000ab', from: null, to: 0.1 },
  ]);

  assert.equal((await server.ok('POST', `${route}/activate`, { version: 2 })).version, 2);
  assert.equal((await server.ok('GET', route)).reasoning, 'logins dominate');
  const back = await server.ok('POST', `${route}/rollback`, { version: 1 });
  assert.deepEqual([back.version, back.policy.pattern_rates], [3, {}]);
  assert.equal((await server.call('POST', `${route}/activate`, { body: { version: 2 } })).status, 409);
  assert.equal((await server.call('PUT', `${route}?base_version=2`, { body: POLICY })).status, 409);
  assert.equal((await server.ok('PUT', `${route}?base_version=3`, POLICY)).version, 4);
  const history = await server.ok('GET', `${route}/history?limit=3`);
  assert.deepEqual(history.map((row) => [row.version, row.is_active]), [[4, true], [3, false], [2, false]]);
  assert.equal((await server.ok('GET', `${route}/versions/2`)).policy.reasoning, 'logins dominate');

  const audit = (await server.ok('GET', '/api/v1/audit')).map((row) => `${row.action} ${row.subject} ${row.detail}`);
  assert.deepEqual(audit.slice(0, 5), ['policy.put checkout version 4', 'policy.rollback checkout version 3', 'policy.activate checkout version 2', 'policy.put checkout version 2', 'policy.put checkout version 1']);
  await server.stop();

  const again = await Server.start(t, { directory: server.directory, key: server.key });
  assert.equal((await again.ok('GET', route)).version, 4);
  await again.stop();
});

test('all three shapes of a report are taken, and add up', async (t) => {
  const server = await Server.start(t);
  const now = Date.now() / 1000;
  await server.ok('POST', '/api/v1/patterns/stats', report('checkout', 1000, { total_logs: 1010 }));
  await server.ok('POST', '/api/v1/patterns/stats', { // of older servers
    service_name: 'checkout', team_id: 1, timestamp: now, total_logs: 900, unique_patterns: 1,
    patterns: [{ signature: '192e2189dedd759b686b29a872987cc1', count: 900, sampled_count: 181, first_seen: now - 600, last_seen: now }],
  });
  await server.ok('POST', '/api/v1/patterns/stats', { // of SDKs
    service_name: 'checkout',
    patterns: [{ signature: '192e2189dedd759b686b29a872987cc1', message_sample: 'User 7 logged in', count: 100, severity_distribution: { info: 90, WARNING: 10 }, first_seen: '2026-01-01T10:00:00', last_seen: '2026-01-01T10:00:00.5+02:00' }],
  });
  await until('all of them', async () => (await counted(server, 'checkout')) === 2010);
  const { patterns, total_count } = await server.ok('GET', '/api/v1/services/checkout/patterns');
  const inOrder = patterns.sort((a, b) => (a.signature < b.signature ? 1 : -1));
  assert.deepEqual(inOrder.map((row) => [row.signature, row.message_sample, row.count, row.sampled_count, row.bytes, row.sampled_bytes]), [
    ['lps1:00000000000000ab', 'user <num> logged in', 1000, 500, 100000, 50000],
    ['192e2189dedd759b686b29a872987cc1', 'User 7 logged in', 1000, 281, 0, 0],
    ['', '', 10, 10, 0, 0],
  ]);
  assert.equal(total_count, 3);
  assert.equal(patterns[1].first_seen, '2026-01-01T10:00:00.000Z');
  const savings = await server.ok('GET', '/api/v1/services/checkout/cost-savings');
  assert.deepEqual([savings.total_logs, savings.sampled_logs, savings.total_bytes, savings.sampled_bytes, savings.savings_percentage, savings.patterns_detected], [2010, 791, 100000, 50000, 50, 2]);
  assert.equal((await server.ok('GET', '/api/v1/cost-savings')).total_logs, 2010);
  const stats = await server.ok('GET', '/api/v1/services/checkout/sampling-stats');
  assert.deepEqual([stats.summary.total_logs, stats.daily_stats.length, stats.severity_stats.WARN.total], [2010, 1, 100]);
  assert.equal((await server.ok('GET', '/api/v1/patterns')).patterns.length, 3);
  const analysis = await server.ok('POST', '/api/v1/analysis/analyze', { service_name: 'checkout', team_id: 1, hours: 1, clickhouse_host: 'x' });
  assert.deepEqual([analysis.total_logs, analysis.unique_patterns, analysis.anomalies], [2010, 2, []]);
  assert.deepEqual(await server.ok('GET', '/api/v1/anomalies'), []);
  assert.equal((await server.ok('GET', '/api/v1/services/1')).name, 'checkout');
  await server.stop();
});

test('a policy that would drop much at once is held back until it is forced', async (t) => {
  const server = await Server.start(t, { set: { 'server.flush_interval': '100ms' } });
  const put = (rates, query = '') => server.call('PUT', `/api/v1/policies/shop${query}`, { body: { severity_rates: rates } });
  const inForce = async () => (await server.ok('GET', '/api/v1/policies/shop')).version;
  // Half of the INFO records are kept now, and all errors; of little nothing is held.
  const counts = (n) => report('shop', n, { patterns: [
    { signature: 'lps1:00000000000000ab', count: n * 0.9, sampled_count: n * 0.45, bytes: n * 90, sampled_bytes: n * 45, severity_distribution: { INFO: n * 0.9 } },
    { signature: 'lps1:00000000000000cd', count: n * 0.1, sampled_count: n * 0.1, bytes: n * 10, sampled_bytes: n * 10, severity_distribution: { ERROR: n * 0.1 } },
  ] });
  await server.ok('POST', '/api/v1/patterns/stats', counts(100));
  await until('rows', async () => (await counted(server, 'shop')) === 100);
  assert.equal((await put({ INFO: 0.01 })).status, 200);
  await server.ok('POST', '/api/v1/patterns/stats', counts(10000));
  await until('more rows', async () => (await counted(server, 'shop')) === 10100);

  for (const [rates, status] of [[{ INFO: 0.25 }, 200], [{ INFO: 0.2 }, 202], [{ INFO: 1 }, 200], [{ INFO: 0 }, 202]]) {
    const before = await inForce();
    const answer = await put(rates);
    assert.equal(answer.status, status, JSON.stringify(rates));
    assert.equal(answer.body.is_active, status === 200);
    assert.equal(await inForce(), status === 200 ? answer.body.version : before);
    assert.equal(answer.body.held === undefined, status === 200);
  }
  const { body: { held, version } } = await put({ INFO: 0 });
  assert.deepEqual([held.drop_change, held.max_drop_change, held.received, held.kept_now, held.kept_then], [0.45, 0.25, 10100, 5555, 1010]);
  assert.match(held.reason, /drop 45% more than was dropped, and server.max_drop_change is 25%/);

  const activate = (query = '') => server.call('POST', `/api/v1/policies/shop/activate${query}`, { body: { version } });
  const still = await activate();
  assert.deepEqual([still.status, still.body.version, still.body.is_active], [202, version, false]);
  assert.notEqual(await inForce(), version);
  assert.equal((await activate('?force=true')).status, 200);
  assert.equal(await inForce(), version);
  await server.ok('PUT', '/api/v1/policies/shop', { severity_rates: { INFO: 1 } });
  const back = await server.call('POST', '/api/v1/policies/shop/rollback', { body: { version } });
  assert.deepEqual([back.status, back.body.is_active, back.body.policy.severity_rates.INFO], [202, false, 0]);
  assert.equal((await server.call('POST', '/api/v1/policies/shop/rollback?force=true', { body: { version } })).status, 200);
  const draft = await server.call('PUT', '/api/v1/policies/shop?draft=true', { body: { severity_rates: { INFO: 0 } } });
  assert.deepEqual([draft.status, draft.body.held], [200, undefined]); // it is not to be in force
  const actions = (await server.ok('GET', '/api/v1/audit')).map((row) => row.action);
  assert.equal(actions.filter((action) => action === 'policy.held').length, 4);
  await server.stop();
});

test('the proposal lowers what is loud, in force at once, and leaves errors and the quiet alone', async (t) => {
  const server = await Server.start(t);
  const one = (id, count, level) => ({ signature: `lps1:00000000000000${id}`, count, sampled_count: count, bytes: count * 100, sampled_bytes: count * 100, template: id, severity_distribution: { [level]: count } });
  await server.ok('POST', '/api/v1/patterns/stats', { service_name: 'a', patterns: [one('01', 50000, 'INFO'), one('02', 50000, 'ERROR'), one('03', 40, 'INFO')] });
  await until('all of them', async () => (await counted(server, 'a')) === 100040);
  await server.ok('PUT', '/api/v1/policies/a', { global_rate: 1, pattern_rates: { 'lps1:00000000000000ff': 0.5 } });
  const held = await server.call('POST', '/api/v1/pipeline/generate-policy', { body: { service_name: 'a' } });
  assert.deepEqual([held.status, held.body.status, held.body.policy_version, held.body.held.drop_change > 0.37], [202, 'held', 2, true]);
  assert.equal((await server.ok('GET', '/api/v1/policies/a')).version, 1);
  const made = await server.ok('POST', '/api/v1/pipeline/generate-policy?force=true', { service_name: 'a', cost_target: 0 });
  assert.deepEqual(made.pattern_rates, { 'lps1:00000000000000ff': 0.5, 'lps1:0000000000000001': 0.25 });
  assert.match(made.reasoning, /^1 of the patterns get another rate: .* GB a month are kept instead of .*target/);
  assert.deepEqual((await server.ok('GET', '/api/v1/policies/a')).pattern_rates, made.pattern_rates);
  assert.deepEqual([made.policy_version, made.status, made.analysis_summary.error_rate > 0.49], [3, 'success', true]);
  assert.equal((await server.call('POST', '/api/v1/pipeline/generate-policy', { body: { service_name: 'a', llm_provider: 'openai' } })).status, 422);
  await server.stop();
});

test('the fleet as a series: minutes and hours, services, losses, sidecars, and of one service', async (t) => {
  const server = await Server.start(t, { set: { 'server.flush_interval': '100ms' } });
  const empty = await server.ok('GET', '/api/v1/totals');
  assert.deepEqual([empty.steps, empty.step_s, empty.total.received.length, empty.services, empty.sidecars, empty.losses], [60, 60, 60, [], 0, {}]);
  const from = (instance, sequence) => ({ instance, boot: 'b', sequence });
  await server.ok('POST', '/api/v1/patterns/stats', report('a', 100, { ...from('one', 1), lost: { queue_full: 4, 'bad "reason"': 5 } }));
  await server.ok('POST', '/api/v1/patterns/stats', report('a', 20, { ...from('two', 1), quota_limited: true }));
  await server.ok('POST', '/api/v1/patterns/stats', report('b & <b>', 1000, from('one', 1)));
  await until('all of them', async () => (await counted(server, 'a')) === 120 && (await counted(server, 'b & <b>')) === 1000);
  const sum = (list) => list.reduce((a, b) => a + b, 0);
  for (const [span, steps, step] of [['hour', 60, 60], ['day', 24, 3600]]) {
    const got = await server.ok('GET', `/api/v1/totals?span=${span}`);
    assert.deepEqual([got.span, got.steps, got.step_s], [span, steps, step]);
    assert.equal(got.from_unix_s % step, 0);
    assert.deepEqual(Object.fromEntries(Object.entries(got.total).map(([key, list]) => [key, [list.length, sum(list)]])), { received: [steps, 1120], kept: [steps, 560], received_bytes: [steps, 112000], kept_bytes: [steps, 56000], ...(span === 'hour' ? { lost: [60, 9] } : {}) });
    assert.deepEqual(got.services, [
      { name: 'b & <b>', received: 1000, kept: 500, received_bytes: 100000, kept_bytes: 50000 },
      { name: 'a', received: 120, kept: 60, received_bytes: 12000, kept_bytes: 6000 },
    ]);
    assert.deepEqual([got.losses, got.sidecars, got.services_known, got.quota_reports], [{ 'bad "reason"': 5, queue_full: 4 }, 2, 2, 1]);
    assert.ok(got.since_unix_s > Date.now() / 1000 - 600);
  }
  const one = await server.ok('GET', '/api/v1/totals?service=b%20%26%20%3Cb%3E');
  assert.deepEqual([sum(one.total.received), sum(one.total.lost), one.losses, one.services.length], [1000, 0, {}, 2]);
  assert.equal(sum((await server.ok('GET', '/api/v1/totals?service=a')).total.lost), 9);
  for (const [query, status] of [['span=week', 422], ['service=none', 404], ['service=%ff', 422], ['service=', 404]]) assert.equal((await server.call('GET', `/api/v1/totals?${query}`)).status, status, query);
  await server.stop();
});

test('a sort that does not fit in memory works in the sandbox', { skip: home.postgres ? 'of SQLite' : false }, async (t) => {
  const server = await Server.start(t);
  const seed = `
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1]); now = int(time.time()); minute = now - now % 60
db.execute("INSERT INTO services (id, team_id, name, created_ms, seen_ms) VALUES (1, 1, 's', ?, ?)", (now * 1000, now * 1000))
for id in range(1, 4001):
    db.execute("INSERT INTO patterns (id, service_id, signature, template, family, received, kept, bytes, kept_bytes, traces, debugs, infos, warns, errors, fatals, first_seen_ms, last_seen_ms) VALUES (?, 1, ?, ?, '', 9, 9, 9, 9, 0, 0, 9, 0, 0, 0, ?, ?)", (id, 'p%d' % id, 'line %d ' % id + 'x' * 400, now * 1000, now * 1000))
    db.executemany("INSERT INTO counts VALUES (?, ?, ?, 10, 5, 0, 0)", [(60, id, minute - 60 * i) for i in range(30)] + [(3600, id, now - now % 3600 - 3600 * i) for i in range(20)])
db.commit()`;
  execFileSync('python3', ['-c', seed, `${server.directory}/lipservice.db`]);
  assert.equal((await server.ok('GET', '/api/v1/patterns?limit=10')).patterns[0].count, 200);
  assert.equal((await server.ok('GET', '/api/v1/totals')).services[0].received, 4000 * 300);
  await server.ok('GET', '/api/v1/anomalies');
  await server.stop();
});

test('of more than a hundred services the rest is one row', async (t) => {
  const server = await Server.start(t, { set: { 'server.flush_interval': '100ms' } });
  await Promise.all(Array.from({ length: 103 }, (_, i) => server.ok('POST', '/api/v1/patterns/stats', report(`s${i}`, i + 1))));
  await until('all of them', async () => {
    const { services } = await server.ok('GET', '/api/v1/totals');
    return services.reduce((sum, one) => sum + one.received, 0) === (103 * 104) / 2;
  });
  const { services, services_known: known } = await server.ok('GET', '/api/v1/totals');
  assert.deepEqual([services.length, known, services[0].name, services[99].name], [101, 103, 's102', 's3']);
  assert.deepEqual(services[100], { is_other: true, received: 6, kept: 2, received_bytes: 600, kept_bytes: 200 });
  await server.stop();
});

test('whose key it is; what was asked before is 304; a proposal may be a draft, with its money', async (t) => {
  const server = await Server.start(t, { set: { 'server.flush_interval': '100ms', 'cost.free_gb': 0 } });
  const me = await server.ok('GET', '/api/v1/me');
  assert.deepEqual([me.key_id, me.role, me.ends_at, me.team, me.has_model], [1, 'admin', null, { id: 1, name: 'default', is_operator: true }, false]);
  const made = await server.ok('POST', '/api/v1/keys', { role: 'report', name: 'r' });
  await server.ok('POST', `/api/v1/keys/${made.id}/rotate`, { overlap_s: 600 });
  const other = await server.ok('GET', '/api/v1/me', undefined, { key: made.key });
  assert.deepEqual([other.role, Math.round((Date.parse(other.ends_at) - Date.now()) / 60000)], ['report', 10]);

  await server.ok('POST', '/api/v1/patterns/stats', report('a', 50000));
  await until('all of them', async () => (await counted(server, 'a')) === 50000);
  const first = await server.call('GET', '/api/v1/patterns');
  const tag = first.headers.get('etag');
  assert.match(tag, /^"[0-9a-f]{16}"$/);
  const again = await server.call('GET', '/api/v1/patterns', { headers: { 'if-none-match': tag } });
  assert.deepEqual([again.status, again.body, again.headers.get('etag')], [304, '', tag]);
  await server.ok('POST', '/api/v1/patterns/stats', report('a', 1));
  await until('one more', async () => (await counted(server, 'a')) === 50001);
  assert.equal((await server.call('GET', '/api/v1/patterns', { headers: { 'if-none-match': tag } })).status, 200);
  for (const header of ['referrer-policy', 'x-content-type-options', 'cache-control', 'content-security-policy']) assert.ok(first.headers.get(header), header);

  const draft = await server.ok('POST', '/api/v1/pipeline/generate-policy?draft=true', { service_name: 'a' });
  assert.deepEqual([draft.policy_version, (await server.ok('GET', '/api/v1/policies/a')).version], [1, 0]);
  const [row] = await server.ok('GET', '/api/v1/policies/a/history');
  assert.deepEqual([row.is_active, row.reasoning], [false, draft.reasoning]);
  const { version, ...policy } = (await server.ok('GET', '/api/v1/policies/a/versions/1')).policy;
  const { estimate } = await server.ok('PUT', '/api/v1/policies/a?dry_run=true', Object.fromEntries(Object.entries(policy).filter(([, value]) => value !== null)));
  assert.ok(estimate.kept_then < estimate.kept_now && estimate.monthly_cost_then < estimate.monthly_cost_now, JSON.stringify(estimate));
  assert.equal(estimate.currency, 'USD');
  // 2,500,050 bytes were kept in less than an hour, which counts as one: 730.5 of them are a month.
  const gb = (estimate.kept_bytes_now * 730.5) / 1e9;
  const { cost_per_gb: price } = await server.ok('GET', '/api/v1/cost-savings');
  assert.ok(Math.abs(estimate.monthly_cost_now - gb * price) < 0.02, `${estimate.monthly_cost_now} for ${gb} GB at ${price}`);
  await server.ok('POST', '/api/v1/policies/a/activate', { version: 1 });
  await server.stop();
});

test('a browser gets the page, without a key; all others get JSON as ever', async (t) => {
  const server = await Server.start(t);
  const browser = { key: null, headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' } };
  const page = await server.call('GET', '/', browser);
  assert.equal(page.status, 200);
  assert.match(page.body, /^<!doctype html>/);
  assert.match(page.headers.get('content-security-policy'), /default-src 'none'.*frame-ancestors 'none'.*trusted-types 'none'/);
  assert.deepEqual(['content-type', 'vary', 'x-content-type-options', 'referrer-policy', 'cache-control', 'cross-origin-opener-policy'].map((name) => page.headers.get(name)), ['text/html; charset=utf-8', 'accept', 'nosniff', 'no-referrer', 'no-cache', 'same-origin']);
  assert.equal((await server.call('GET', '/', { ...browser, headers: { ...browser.headers, 'if-none-match': page.headers.get('etag') } })).status, 304);
  assert.equal((await server.call('HEAD', '/', browser)).status, 200);
  assert.equal((await server.call('GET', '/?x=1', browser)).status, 200);
  for (const headers of [{}, { accept: '*/*' }, { accept: 'application/json' }]) {
    const json = await server.call('GET', '/', { key: null, headers });
    assert.deepEqual([json.body.name, json.body.status, json.headers.get('cache-control')], ['LipService', 'running', 'no-store']);
  }
  for (const [path, type] of [['/app.js', 'text/javascript'], ['/style.css', 'text/css'], ['/icon.svg', 'image/svg+xml']]) {
    const file = await server.call('GET', path, { key: null });
    assert.deepEqual([file.status, file.headers.get('content-type').split(';')[0]], [200, type], path);
    assert.equal((await server.call('GET', path, { key: null, headers: { 'if-none-match': file.headers.get('etag') } })).status, 304);
    assert.equal((await server.call('POST', path, { key: null })).status, 404);
    assert.ok(!file.body.includes('/api/summary'), `${path} is the sidecar's`);
  }
  assert.equal((await server.call('POST', '/', browser)).status, 405);
  await server.stop();
});

// ---- who may do what, generated from the document

const fill = (route) => route.replace('{service_name}', 'secret').replace('{service_id}', '1').replace('{version}', '1').replace('{key_id}', '2').replace('{alert_id}', '1').replace('{webhook_id}', '1');
const bodies = { report: report('secret', 5), putPolicy: POLICY, policyRollback: { version: 1 }, policyActivate: { version: 1 }, createService: { name: 'secret' }, analyze: { service_name: 'secret' }, generatePolicy: { service_name: 'secret' }, createKey: { role: 'read', name: 'x' }, rotateKey: {}, createTeam: { name: 'x' }, createWebhook: { name: 'x', url: 'https://hooks.example.com/x' }, syncPolicies: {}, putTeroPolicies: { policies: [] } };
const queries = { policyDiff: '?from=1&to=1' };
const ask = (server, { method, path, operation }, options) =>
  server.call(method, fill(path) + (queries[operation.operationId] ?? ''), { body: bodies[operation.operationId], ...options });

test('each route is for its roles, and for nobody without a key', async (t) => {
  const server = await Server.start(t);
  await server.newKey('read'); // number 2, which is rotated and ended
  const keys = { admin: server.key };
  for (const role of ['report', 'read', 'write']) keys[role] = await server.newKey(role);
  const guarded = operations.filter((one) => one.roles);
  assert.ok(guarded.length >= 25);
  for (const one of guarded) {
    for (const [role, key] of Object.entries(keys)) {
      const { status } = await ask(server, one, { key });
      assert.equal(status === 403, !one.roles.includes(role), `${role}: ${one.method} ${one.path}: ${status}`);
    }
    for (const key of [null, 'lsk_wrong', `${server.key}x`]) {
      const answer = await ask(server, one, { key });
      assert.equal(answer.status, 401, `${one.method} ${one.path}`);
      assert.equal(answer.headers.get('www-authenticate'), 'Bearer realm="lipservice"');
    }
  }
  assert.equal((await server.call('GET', '/api/v1/services', { key: null, headers: { 'x-api-key': keys.read } })).status, 200);
  await server.stop();
});

test('a team sees nothing of another: no route gives away a name, a count or an id', async (t) => {
  const server = await Server.start(t);
  await server.ok('POST', '/api/v1/patterns/stats', report('secret', 4242));
  await learned(server, 'secret');
  await server.ok('PUT', '/api/v1/policies/secret', { ...POLICY, reasoning: 'secret reason' });
  await server.newKey('read');
  await server.ok('POST', '/api/v1/webhooks', { name: 'secret reason', url: 'https://hooks.example.com/4242' });
  const other = (await server.ok('POST', '/api/v1/teams', { name: 'other', id: 7 })).key;
  const before = await server.ok('GET', '/api/v1/services/secret/patterns');
  for (const one of operations.filter(({ roles }) => roles)) {
    const answer = await ask(server, one, { key: other });
    const text = JSON.stringify(answer.body);
    const own = ['report', 'createService', 'createKey', 'createWebhook'].includes(one.operation.operationId); // its own of that name
    assert.ok(own || answer.status === 404 || answer.status === 403 || answer.status === 200, `${one.method} ${one.path}: ${answer.status}`);
    assert.ok(!/4242|secret reason|of a test|"first".*"first"/.test(text), `${one.method} ${one.path}: ${text}`);
    for (const key of ['secret', 'default']) assert.ok(own || !text.includes(`"name":"${key}"`) || one.operation.operationId === 'listServices', `${one.method} ${one.path}: ${text}`);
    assert.equal((await server.call(one.method, `${fill(one.path)}?team_id=1`, { key: other, body: bodies[one.operation.operationId] })).status, 403, `${one.path}: team_id`);
  }
  for (const id of [1, 2, 3]) {
    const answer = await server.call('GET', `/api/v1/services/${id}`, { key: other });
    assert.ok(answer.status === 404 || answer.body.team_id === 7, `service ${id}: ${JSON.stringify(answer)}`);
  }
  const after = await server.ok('GET', '/api/v1/services/secret/patterns');
  assert.deepEqual(after.patterns, before.patterns);
  assert.deepEqual((await server.ok('GET', '/api/v1/teams', undefined, { key: other })).map((row) => row.id), [7]);
  const own = new Set((await server.ok('GET', '/api/v1/keys', undefined, { key: other })).map((row) => row.id));
  assert.ok((await server.ok('GET', '/api/v1/audit', undefined, { key: other })).every((row) => own.has(row.key_id)));
  await server.stop();
});

test('keys: rotated with overlap, ended, and never their own end', async (t) => {
  const server = await Server.start(t);
  const made = await server.ok('POST', '/api/v1/keys', { role: 'read', name: 'dashboards' });
  const next = await server.ok('POST', `/api/v1/keys/${made.id}/rotate`, { overlap_s: 3600 });
  for (const { key } of [made, next]) await server.ok('GET', '/api/v1/services', undefined, { key });
  const last = await server.ok('POST', `/api/v1/keys/${next.id}/rotate`, { overlap_s: 0 });
  assert.equal((await server.call('GET', '/api/v1/services', { key: next.key })).status, 401);
  await server.ok('DELETE', `/api/v1/keys/${last.id}`);
  assert.equal((await server.call('GET', '/api/v1/services', { key: last.key })).status, 401);
  assert.equal((await server.call('DELETE', `/api/v1/keys/${last.id}`)).status, 409);
  assert.equal((await server.call('DELETE', '/api/v1/keys/1')).status, 409);
  assert.equal((await server.call('POST', '/api/v1/keys/99/rotate', { body: {} })).status, 404);
  await server.stop();
  const again = await Server.start(t, { directory: server.directory, key: server.key });
  await again.ok('GET', '/api/v1/services', undefined, { key: made.key });
  assert.equal((await again.call('GET', '/api/v1/services', { key: next.key })).status, 401);
  await again.stop();
});

// ---- bad input

test('what is wrong is refused with a status and a sentence', async (t) => {
  const server = await Server.start(t, { set: { 'server.max_request_size': '4KiB' } });
  await server.ok('POST', '/api/v1/services', { name: 'a' });
  const stats = '/api/v1/patterns/stats';
  const pattern = (more) => JSON.stringify({ service_name: 'a', patterns: [{ signature: 'x', count: 1, ...more }] });
  const rows = [
    ['POST', stats, { raw: '{' }, 400, /no JSON object/],
    ['POST', stats, { raw: '[]' }, 400, /no JSON object/],
    ['POST', stats, { raw: '{}' }, 422, /service_name/],
    ['POST', stats, { raw: '{"service_name":"a"}' }, 422, /patterns: an array/],
    ['POST', stats, { raw: '{"service_name":"a","patterns":[1]}' }, 422, /patterns\[0\]: an object/],
    ['POST', stats, { raw: pattern({ count: -1 }) }, 422, /count/],
    ['POST', stats, { raw: pattern({ count: 1.5 }) }, 422, /count/],
    ['POST', stats, { raw: pattern({ count: 1e16 }) }, 422, /count/],
    ['POST', stats, { raw: pattern({ sampled_count: 2 }) }, 422, /more than count/],
    ['POST', stats, { raw: pattern({ first_seen: 'yesterday' }) }, 422, /first_seen/],
    ['POST', stats, { raw: pattern({ signature: 'x'.repeat(65) }) }, 422, /signature/],
    ['POST', stats, { raw: pattern({ severity_distribution: { INFO: 'many' } }) }, 422, /severity_distribution/],
    ['POST', stats, { raw: '{"service_name":"a","patterns":[],"instance":"i"}' }, 422, /instance, boot, sequence/],
    ['POST', stats, { raw: '{"service_name":"a","patterns":[],"team_id":2}' }, 403, /another team/],
    ['POST', stats, { raw: '{"service_name":"a","patterns":[],"team_id":"x"}' }, 422, /team_id/],
    ['POST', stats, { raw: JSON.stringify({ service_name: 'x'.repeat(5000), patterns: [] }) }, 413, /max_request_size/],
    ['POST', stats, { raw: '{}', headers: { 'content-type': 'text/plain' } }, 415, /application\/json/],
    ['POST', stats, { raw: '{}', headers: { 'content-encoding': 'gzip' } }, 415, /content coding/],
    ['PATCH', stats, {}, 405, /Method/],
    ['GET', stats, {}, 405, /Method/],
    ['GET', '/api/v2/services', {}, 404, /Not Found/],
    ['GET', '/api/v1/services/x', {}, 422, /whole number/],
    ['GET', '/api/v1/services/99', {}, 404, /Service not found/],
    ['GET', '/api/v1/services?limit=0', {}, 422, /limit/],
    ['GET', '/api/v1/services?limit=1001', {}, 422, /limit/],
    ['GET', '/api/v1/services?team_id=x', {}, 422, /team_id/],
    ['GET', '/api/v1/policies/%00', {}, 422, /control/],
    ['GET', '/api/v1/policies/%ff', {}, 422, /UTF-8/],
    ['GET', '/api/v1/policies/a/diff', {}, 422, /two versions/],
    ['GET', '/api/v1/policies/a/diff?from=1&to=2', {}, 404, /no version 1/],
    ['GET', '/api/v1/policies/a/versions/7', {}, 404, /no version 7/],
    ['PUT', '/api/v1/policies/a', { raw: '{"global_rate":2}' }, 422, /global_rate/],
    ['PUT', '/api/v1/policies/a', { raw: '{"severity_rates":{"ERROR":0.5}}' }, 422, /errors are always kept/],
    ['PUT', '/api/v1/policies/a', { raw: '{"severity_rates":{"LOUD":0.5}}' }, 422, /no such severity/],
    ['PUT', '/api/v1/policies/a', { raw: '{"global_rate":1,"drop":[]}' }, 422, /no such member/],
    ['PUT', '/api/v1/policies/a', { raw: '{"global_rate":1,"pattern_rates":{"x":1}}' }, 422, /pattern id/],
    ['PUT', '/api/v1/policies/a', { raw: '{}' }, 422, /neither/],
    ['PUT', '/api/v1/policies/b', { body: POLICY }, 404, /Service not found/],
    ['POST', '/api/v1/policies/a/rollback', { raw: '{"version":0}' }, 422, /version/],
    ['PUT', '/api/v1/tero/policies', { raw: '{}' }, 422, /no list "policies"/],
    ['PUT', '/api/v1/tero/policies', { raw: '{"policies":[],"more":1}' }, 422, /unknown field "more"/],
    ['PUT', '/api/v1/tero/policies', { raw: '{"policies":[],"policies":[]}' }, 422, /twice/],
    ['PUT', '/api/v1/tero/policies', { raw: '{"policies":[{"id":"x","log":{"match":[{"log_field":"body","regex":"("}]}}]}' }, 422, /policy "x": log: match\[0\]: invalid regex/],
    ['PUT', '/api/v1/tero/policies', { raw: '{"policies":[{"id":"x"},{"id":"x"}]}' }, 422, /policy "x": id: more than one/],
    ['POST', '/v1/policy/sync', { raw: '[]' }, 400, /no JSON object/],
    ['POST', '/v1/policy/sync', { raw: '{"policy_statuses":{}}' }, 422, /policy_statuses: must be a list/],
    ['POST', '/v1/policy/sync', { raw: '{"policy_statuses":[{}]}' }, 422, /an object with an id/],
    ['POST', '/v1/policy/sync', { raw: '{"policy_statuses":[{"id":"x","match_hits":-1}]}' }, 422, /match_hits/],
    ['POST', '/v1/policy/sync', { raw: '{"policyStatuses":[{"id":"x","matchHits":"1e3"}]}' }, 422, /match_hits/],
    ['POST', '/v1/policy/sync', { raw: '{}', headers: { 'content-type': 'text/plain' } }, 415, /application\/x-protobuf/],
    ['POST', '/v1/policy/sync', { raw: '\x0a\x05x', headers: { 'content-type': 'application/x-protobuf' } }, 400, /no SyncRequest/],
    ['POST', '/v1/policy/sync', { raw: Buffer.from([0x22, 1, 0xff]), headers: { 'content-type': 'application/x-protobuf' } }, 400, /no SyncRequest/],
    ['POST', '/v1/policy/sync', { raw: 'x'.repeat(5000), headers: { 'content-type': 'application/x-protobuf' } }, 413, /max_request_size/],
    ['GET', '/v1/policy/sync', {}, 405, /Method/],
    ['POST', '/api/v1/services', { raw: '{"name":""}' }, 422, /name/],
    ['POST', '/api/v1/services', { raw: '{"name":"a\\u0001"}' }, 422, /name/],
    ['POST', '/api/v1/keys', { raw: '{"role":"root","name":"x"}' }, 422, /role/],
    ['POST', '/api/v1/keys/1/rotate', { raw: '{"overlap_s":-1}' }, 422, /overlap_s/],
    ['POST', '/api/v1/teams', { raw: '{"name":"default"}' }, 409, /there is a team/],
    ['POST', '/api/v1/analysis/analyze', { raw: '{"service_name":"a","hours":0}' }, 422, /hours/],
    ['GET', '/api/v1/audit?before=0', {}, 422, /before/],
  ];
  for (const [method, route, options, status, sentence] of rows) {
    const answer = await server.call(method, route, options);
    assert.equal(answer.status, status, `${method} ${route} ${options.raw ?? ''}: ${JSON.stringify(answer.body)}`);
    assert.match(answer.body.detail, sentence, `${method} ${route}`);
  }
  const allow = await server.call('DELETE', '/api/v1/services');
  assert.deepEqual([allow.status, allow.headers.get('allow')], [405, 'GET, HEAD, POST']);
  assert.equal(await counted(server, 'a'), 0);
  await server.stop();
});

test('limits of a key and of a team: 429, and others are served', async (t) => {
  const server = await Server.start(t, { set: { 'server.requests_per_second': 5, 'server.max_services': 2, 'server.max_patterns': 2 } });
  const reporter = await server.newKey('report');
  const patterns = ['a', 'b', 'c', 'd'].map((signature) => ({ signature, count: 10 }));
  await server.ok('POST', '/api/v1/patterns/stats', { service_name: 'one', patterns }, { key: reporter });
  await server.ok('POST', '/api/v1/patterns/stats', report('two', 1), { key: reporter });
  assert.equal((await server.call('POST', '/api/v1/patterns/stats', { body: report('three', 1), key: reporter })).status, 429);
  const flood = await Promise.all(Array.from({ length: 40 }, () => server.call('GET', '/api/v1/policies/one', { key: reporter })));
  const limited = flood.filter((one) => one.status === 429);
  assert.ok(limited.length >= 30 && limited.every((one) => one.headers.get('retry-after') === '1'));
  await until('four patterns in three rows', async () => {
    const answer = await server.call('GET', '/api/v1/services/one/patterns');
    return answer.status === 200 && answer.body.patterns.length === 3;
  });
  const rows = (await until('an answer', async () => (await server.call('GET', '/api/v1/services/one/patterns')).body)).patterns ?? [];
  if (rows.length > 0) assert.deepEqual(rows.map((row) => [row.signature === '', row.count]).sort(), [[false, 10], [false, 10], [true, 20]]);
  await server.stop();
});

// ---- the database goes away

test('a database that is locked, or gone: 503, reports are taken, and all of it is there later', async (t) => {
  const server = await Server.start(t, { set: { 'server.flush_interval': '100ms' } });
  await server.ok('POST', '/api/v1/patterns/stats', report('a', 10));
  await learned(server, 'a');
  if (home.postgres) {
    home.postgres.stop();
    await server.ok('POST', '/api/v1/patterns/stats', report('a', 20));
    assert.equal((await server.call('PUT', '/api/v1/policies/a', { body: POLICY })).status, 503);
    await until('the flush fails', async () => (await server.metrics()).lipservice_server_failed_flushes_total > 0);
    await server.ok('POST', '/api/v1/patterns/stats', report('a', 30));
    home.postgres.again();
    await until('all of them', async () => (await counted(server, 'a')) === 60);
    await until('ready again', async () => (await server.call('GET', '/ready', { key: null })).status === 200);
    await server.ok('PUT', '/api/v1/policies/a', POLICY);
    return server.stop();
  }
  const lock = spawn('python3', ['-c', 'import sqlite3,sys; c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30); c.execute("BEGIN IMMEDIATE"); print("locked", flush=True); sys.stdin.readline(); c.execute("ROLLBACK")', `${server.directory}/lipservice.db`], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => lock.kill('SIGKILL'));
  await new Promise((resolve) => lock.stdout.once('data', resolve));
  await server.ok('POST', '/api/v1/patterns/stats', report('a', 20));
  assert.equal((await server.call('PUT', '/api/v1/policies/a', { body: POLICY })).status, 503);
  await until('the flush fails', async () => (await server.metrics()).lipservice_server_failed_flushes_total > 0);
  assert.equal((await server.call('GET', '/ready', { key: null })).status, 503);
  await server.ok('POST', '/api/v1/patterns/stats', report('a', 30));
  lock.stdin.write('\n');
  await until('all of them', async () => (await counted(server, 'a')) === 60);
  await until('ready again', async () => (await server.call('GET', '/ready', { key: null })).status === 200);
  await server.ok('PUT', '/api/v1/policies/a', POLICY);
  await server.stop();
});

test('a second one in the same directory, a bad directory, a port that is taken', async (t) => {
  const server = await Server.start(t);
  const port = new URL(server.url).host;
  await assert.rejects(Server.start(t, { set: { 'server.endpoint': port } }), /ended with 69:/);
  await assert.rejects(Server.start(t, { directory: '/proc/none' }), /ended with 69:/);
  await server.stop();
});

test('every operation of the document was answered with success', () => {
  const missing = operations.filter(({ operation }) => !seen.has(operation.operationId)).map(({ operation }) => operation.operationId);
  assert.deepEqual(missing.filter((id) => !['root', 'health', 'openapi', 'acknowledgeAlert', 'resolveAlert'].includes(id)), []);
  assert.ok(Object.keys(document.paths).every((route) => template(route.replace(/\{[^}]*\}/g, 'x'))));
});
