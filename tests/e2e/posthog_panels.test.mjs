// The dashboard and the alerts: what their SQL says of a known run, and that they are there once.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs, request } from './lib/otlp.mjs';
import { PostHog } from './lib/posthog.mjs';
import { FAULTS, PostHogApp } from './lib/posthog_app.mjs';
import { alertHistory } from './lib/posthog_rules.mjs';
import { closeLedger, KEY, run, Sidecar } from './lib/sidecar.mjs';

async function standIn(t, options = {}) {
  const stub = await PostHog.start({ projects: [KEY] });
  t.after(() => stub.down());
  return { stub, app: await PostHogApp.start(t, stub, { delayMs: 0, ...options }) };
}

const command = (app, args, { set = {}, ...options } = {}) =>
  run(['posthog', ...args, '--config', '/dev/null', '--set', `exporters.posthog.host=${app.stub.url}`, '--set', `posthog.app_host=${app.url}`, ...Object.entries(set).flatMap(([k, v]) => ['--set', `${k}=${v}`])], { env: { POSTHOG_PERSONAL_API_KEY: 'phx_e2e', POSTHOG_API_KEY: KEY }, ...options });

const applied = async (app, args, options) => {
  const out = await command(app, args, options);
  assert.equal(out.code, 0, out.stderr);
  return out.stdout;
};

async function query(app, sql) {
  const answer = await fetch(`${app.url}/api/projects/${app.projects[0].id}/query/`, { method: 'POST', headers: { authorization: 'Bearer phx_e2e' }, body: JSON.stringify({ query: { kind: 'HogQLQuery', query: sql } }) });
  const body = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(body));
  return body.results.map((row) => Object.fromEntries(body.columns.map((name, i) => [name, row[i]])));
}

const dashboards = (app) => app.store().list('dashboards');
const insights = (app) => app.store().list('insights');

test('each statement over the rows of a known run says what the ledger says', { timeout: 120000 }, async (t) => {
  const { stub, app } = await standIn(t, { billing: { tiers: [{ unit_amount_usd: '0', up_to: 0.2 }, { unit_amount_usd: '5', up_to: 0.5 }, { unit_amount_usd: '20', up_to: null }], discount_percent: 10 } });
  const sidecar = await Sidecar.start(t, {
    stub,
    set: { 'batch.max_age': '50ms', 'sampling.first.count': 0, 'sampling.severity_rates.INFO': 0.1, 'sampling.severity_rates.WARN': 0.25, 'sampling.stamps': '[adjusted_count, pattern]', 'events.usage_interval': '1s' },
    args: ['--set', 'sampling.error_context.bytes=0'],
  });
  const truth = { api: 6000, web: 3000, batch: 900, 'batch errors': 100 };
  const send = async (n, options) => {
    for (let left = n; left > 0; left -= 500) assert.equal((await sidecar.post(encodeLogs(request(Math.min(left, 500), options)))).status, 200);
  };
  await send(truth.api, { service: 'api', body: (i) => `order ${i} placed` });
  await send(truth.web, { service: 'web', body: (i) => `page ${i} shown`, base: { severityNumber: 13, severityText: 'WARN' } });
  await send(truth.batch, { service: 'batch', body: (i) => `row ${i} read` });
  await send(truth['batch errors'], { service: 'batch', body: (i) => `row ${i} is broken`, base: { severityNumber: 17, severityText: 'ERROR' } });
  const total = 10000;
  const said = (key) => app.rows().filter((row) => row.attributes['lipservice.event'] === 'usage').reduce((sum, row) => sum + Number(row.attributes[`lipservice.${key}`]), 0);
  await sidecar.until('all of it to be said', async () => (await sidecar.ledger()).queued === 0 && said('received') === total);
  const metrics = await sidecar.metrics();
  const ledger = await closeLedger(sidecar);

  await applied(app, ['dashboard', '--apply'], { set: { 'sampling.stamps': '[adjusted_count, pattern]' } });
  const tile = Object.fromEntries(insights(app).map((i) => [i.name, i.query]));
  const results = {};
  for (const [name, q] of Object.entries(tile)) {
    results[name] = await query(app, q.source.query);
    const shown = [q.chartSettings.xAxis.column, ...q.chartSettings.yAxis.map((y) => y.column)];
    if (results[name].length > 0) for (const column of shown) assert.ok(column in results[name][0], `${name}: ${column}`);
  }
  const sum = (name, column) => results[name].reduce((all, row) => all + row[column], 0);
  const services = Object.entries(ledger.services).filter(([name]) => name !== 'lipservice');
  const kept = services.reduce((all, [, row]) => all + row.kept, 0);
  assert.equal(sum('Kept and dropped by hour', 'kept'), kept);
  assert.equal(sum('Kept and dropped by hour', 'dropped'), total - kept);
  assert.equal(results['Records lost this week'][0].lost, 0);
  assert.deepEqual(
    results['By service this week'].map((r) => [r.service, r.received, r.kept, r.sampled_out, r.dropped_by_rule, r.lost]).sort(),
    services.filter(([name]) => name !== '(other)').map(([name, r]) => [name, r.received, r.kept, r.sampled_out, r.dropped_by_rule, 0]).sort());

  // Bytes: all but those of our own records, which stand for nothing.
  const received = said('received_bytes');
  const sent = said('sent_bytes');
  const own = metrics['lipservice_record_bytes_total{stage="received"}'] - received;
  assert.ok(own > 0 && own === metrics['lipservice_record_bytes_total{stage="kept"}'] - sent, `${own}`);
  assert.equal(results['GB not sent this month'][0].gb, Math.round((received - sent) / 1e6) / 1000);
  assert.ok(Math.abs(sum('GB received and sent by day', 'received') - received / 1e9) < 1e-6);
  const price = (mb) => 0.9 * (Math.min(Math.max(mb - 0.2, 0), 0.3) * 5 + Math.max(mb - 0.5, 0) * 20);
  const saved = price(received / 1e6) - price(sent / 1e6);
  assert.ok(saved > 0.3, `${saved}`);
  assert.equal(results['Money saved this month'][0].saved, Math.round(saved * 100) / 100);

  // What is estimated lies within 3 sigma of what is true.
  const near = (estimate, n, p, what) => assert.ok(Math.abs(estimate - n) <= 3 * Math.sqrt((n * (1 - p)) / p), `${what}: ${estimate} for ${n}`);
  const patterns = Object.fromEntries(results['Top 20 patterns by true count'].map((r) => [r.example.replace(/\d+/, 'N'), r]));
  near(patterns['order N placed'].true_count, truth.api, 0.1, 'api');
  near(patterns['page N shown'].true_count, truth.web, 0.25, 'web');
  assert.equal(patterns['order N placed'].stored, app.rows().filter((row) => row.service_name === 'api' && !row.attributes['lipservice.event']).length);
  near(sum('True records by hour', 'true_count'), total, 0.1, 'all');
  assert.equal(sum('True records by hour', 'stored'), kept);
  const [share] = results['Share of errors by hour'];
  if (results['Share of errors by hour'].length === 1) {
    assert.ok(Math.abs(share.true_share - 0.01) < 0.001, `${share.true_share}`);
    assert.ok(Math.abs(share.stored_share - 100 / kept) < 1e-9);
  }
  assert.deepEqual(results['Surges and silences'], []);
});

test('applied twice it is one dashboard; another version takes its place; removed, nothing is left', async (t) => {
  const { app } = await standIn(t);
  const theirs = app.store().create('dashboards', { name: 'theirs' });
  const insight = app.store().create('insights', { name: 'By service this week', query: { kind: 'HogQLQuery', query: 'SELECT 1' }, dashboards: [theirs.id], saved: true });
  const printed = await command(app, ['dashboard', '--print'], { env: {} });
  assert.equal(printed.code, 0, printed.stderr);
  const { template } = JSON.parse(printed.stdout);
  assert.deepEqual(template.tags, ['lipservice']);
  const text = template.tiles.find((tile) => tile.type === 'TEXT');
  assert.match(text.body, /\*\*assumed\*\*/);
  assert.ok(text.body.length <= 4000);
  // Tiles do not lie on each other.
  const cells = new Set();
  for (const { layouts: { sm } } of template.tiles)
    for (let x = sm.x; x < sm.x + sm.w; x++) for (let y = sm.y; y < sm.y + sm.h; y++) {
      assert.ok(x < 12 && !cells.has(`${x},${y}`), `${x},${y}`);
      cells.add(`${x},${y}`);
    }

  assert.match(await applied(app, ['dashboard', '--apply']), new RegExp(`^created  ${app.url}/project/${app.projects[0].id}/dashboard/\\d+$`, 'm'));
  const count = insights(app).length;
  assert.equal(count, 1 + template.tiles.filter((tile) => tile.type === 'INSIGHT').length);
  assert.match(await applied(app, ['dashboard', '--apply']), /^same /m);
  assert.deepEqual([dashboards(app).length, insights(app).length], [2, count]);
  const [, first] = dashboards(app);
  // Somebody adds an insight of his own to ours; then prices change.
  const added = app.store().create('insights', { name: 'mine', query: { kind: 'HogQLQuery', query: 'SELECT 1' }, dashboards: [first.id], saved: true });
  app.billing.tiers = [{ unit_amount_usd: '0', up_to: 1 }, { unit_amount_usd: '9', up_to: null }];
  assert.match(await applied(app, ['dashboard', '--apply']), /^removed  dashboard/m);
  assert.deepEqual([dashboards(app).length, insights(app).length], [2, count + 1]);
  assert.ok(!dashboards(app).includes(first));
  assert.ok(insights(app).includes(added) && insights(app).includes(insight), 'what is of others stays');
  await applied(app, ['dashboard', '--remove']);
  assert.deepEqual(dashboards(app), [theirs]);
  assert.deepEqual(insights(app), [insight, added]);
  assert.equal((await command(app, ['dashboard'])).code, 64);
});

test('stopped anywhere and repeated it is one', async (t) => {
  for (const stopAt of [1, 2, 5, 11, 12]) {
    const { app } = await standIn(t);
    await applied(app, ['dashboard', '--apply']);
    app.billing.tiers = [{ unit_amount_usd: '0', up_to: 1 }, { unit_amount_usd: '9', up_to: null }];
    const count = insights(app).length;
    let writes = 0;
    app.fault = (request) => (request.method !== 'GET' && ++writes === stopAt ? FAULTS.failed : null);
    const stopped = await command(app, ['dashboard', '--apply']);
    assert.equal(stopped.code, 69, `${stopAt}: ${stopped.stdout}`);
    app.fault = null;
    await applied(app, ['dashboard', '--apply']);
    assert.deepEqual([dashboards(app).length, insights(app).length], [1, count], `stopped at ${stopAt}`);
  }
});

test('alerts: disabled until they are enabled, once, and never too many', async (t) => {
  const { app } = await standIn(t);
  const alerts = () => app.store()['logs/alerts'];
  const theirs = app.store().create('logs/alerts', { name: 'theirs', enabled: false });
  await applied(app, ['alerts', '--apply']);
  assert.deepEqual(alerts().map((a) => [a.name, a.enabled]), [['theirs', false], ['[lipservice] records are lost', false], ['[lipservice] the canary is missing', false], ['[lipservice] errors are suppressed', false], ['[lipservice] something surges', false]]);
  alerts()[1].threshold_count = 7;
  assert.equal(((await applied(app, ['alerts', '--apply', '--enable'])).match(/^same /gm) ?? []).length, 4);
  assert.deepEqual(alerts().map((a) => a.enabled), [false, true, true, true, true]);
  assert.equal(alerts()[1].threshold_count, 7, 'a threshold that somebody has set stays');
  app.store().change('logs/alerts', alerts()[2], { filters: { serviceNames: ['x'] } });
  assert.match(await applied(app, ['alerts', '--apply']), /^changed +\[lipservice\] the canary is missing$/m);
  await applied(app, ['alerts', '--remove']);
  assert.deepEqual(alerts(), [theirs]);
  for (let i = 0; i < 17; i++) app.store().create('logs/alerts', { name: `t${i}`, enabled: false });
  const full = await command(app, ['alerts', '--apply']);
  assert.equal(full.code, 78);
  assert.match(full.stderr, /at most 20 alerts of a project: 18 are there, and 4 would be added/);
  assert.equal(alerts().length, 18);
});

test('the alerts fire: on losses, on suppressed errors, and where no canary comes', async (t) => {
  const { stub, app } = await standIn(t);
  await applied(app, ['alerts', '--apply', '--enable']);
  const sidecar = await Sidecar.start(t, { stub, set: { 'batch.max_age': '50ms', 'events.usage_interval': '1s', 'sampling.floor.max_per_second': 5, 'events.interval': '100ms' } });
  const base = { severityNumber: 17, severityText: 'ERROR' };
  assert.equal((await sidecar.post(encodeLogs(request(500, { base })))).status, 200);
  await sidecar.until('the event', () => app.rows().some((row) => row.attributes['lipservice.event'] === 'errors_suppressed'));
  const now = Date.now();
  const fired = alertHistory(app.store()['logs/alerts'], app.rows(), now - 300000, now + 300000).filter((f) => f.state === 'firing').map((f) => f.name);
  assert.ok(fired.includes('[lipservice] errors are suppressed'), fired.join());
  assert.ok(fired.includes('[lipservice] the canary is missing'), fired.join());
  assert.ok(!fired.includes('[lipservice] records are lost'), fired.join());
  sidecar.signal('SIGTERM');
  await sidecar.end();
});

test('faults: one sentence each', async (t) => {
  const { app } = await standIn(t, { keys: { phx_e2e: { scopes: ['logs:write', 'project:read'] } } });
  const denied = await command(app, ['dashboard', '--apply']);
  assert.equal(denied.code, 78);
  assert.match(denied.stderr, /dashboard:(read|write)/);
  for (const [name, code, sentence] of [['failed', 69, /500/], ['gateway', 69, /502/], ['login', 69, /redirect|302/i], ['throttled', 69, /429|too many|limit/i]]) {
    app.fault = (r) => (r.path.includes('/alerts') ? { ...FAULTS[name], headers: { ...FAULTS[name].headers, 'retry-after': '3600' } } : null);
    const out = await command(app, ['alerts', '--apply']);
    assert.equal(out.code, code, `${name}: ${out.stderr}`);
    assert.match(out.stderr, sentence, name);
    assert.equal(app.store()['logs/alerts'].length, 0);
  }
});

test('each version of a policy is one annotation, of a leader', async (t) => {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-e2e-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const policy = path.join(dir, 'policy.yaml');
  const write = (version) => writeFileSync(policy, `{global_rate: 0.5, version: ${version}}\n`);
  const { stub, app } = await standIn(t);
  const start = (role) => Sidecar.start(t, { stub, set: { 'posthog.app_host': app.url, 'posthog.role': role, 'sampling.policy_file': policy }, env: { POSTHOG_PERSONAL_API_KEY: 'phx_e2e' } });
  const marks = () => app.store().annotations.map((a) => [a.content, a.scope]);
  const of = (version) => [`lipservice: policy ${version} (file) is in force`, 'project'];
  write(4);
  const sidecar = await start('leader');
  await sidecar.until('the mark', () => marks().length === 1);
  assert.deepEqual(marks(), [of(4)]);
  assert.ok(Math.abs(Date.parse(app.store().annotations[0].date_marker) - Date.now()) < 60000);
  app.fault = (r) => (r.path.includes('annotations') && r.method === 'POST' ? FAULTS.failed : null);
  write(5);
  await sidecar.until('the fault', () => sidecar.log.some((l) => l.event === 'not_annotated'));
  await sidecar.stop();
  app.fault = null;
  const again = await start('leader');
  await again.until('the mark', () => marks().length === 2);
  await again.stop();
  const third = await start('leader');
  await third.until('the list', () => app.requests.filter((r) => r.path.endsWith('annotations/') && r.method === 'GET').length >= 4);
  const member = await start('member');
  await member.until('the check', () => member.log.some((l) => l.event === 'posthog_check'));
  await third.stop();
  await member.stop();
  assert.deepEqual(marks(), [of(4), of(5)]);
});

test('a version that a person applies is an annotation, and so is the one that takes it back', async (t) => {
  const { stub, app } = await standIn(t);
  const sidecar = await Sidecar.start(t, { stub, set: { 'posthog.app_host': app.url, 'posthog.role': 'leader' }, env: { POSTHOG_PERSONAL_API_KEY: 'phx_e2e' } });
  const ask = (route, body) => fetch(`http://${sidecar.addresses.admin}${route}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  assert.equal((await ask('/api/policies/draft', { document: 'global_rate: 0.5\n', by: 'ann' })).status, 200);
  assert.equal((await ask('/api/policies/apply', { version: 2, by: 'ann' })).status, 200);
  assert.equal((await ask('/api/policies/rollback', { version: 1, by: 'bob' })).status, 200);
  await sidecar.until('two marks', () => app.store().annotations.length === 2);
  assert.deepEqual(app.store().annotations.map((a) => a.content), ['lipservice: policy 2 (version) is in force', 'lipservice: policy 3 (version) is in force']);
  await sidecar.stop();
});

test('usage is said at the end, on disk and while only observing', async (t) => {
  for (const set of [{ mode: 'observe' }, { durability: 'disk' }, { 'sampling.budget.records_per_second': 20 }]) {
    const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-e2e-'));
    t.after(() => rmSync(dir, { recursive: true, force: true }));
    const { stub, app } = await standIn(t);
    const sidecar = await Sidecar.start(t, { stub, set: { 'batch.max_age': '50ms', 'sampling.first.count': 0, 'events.usage_interval': '1h', 'spool.directory': path.join(dir, 'spool'), ...set } });
    assert.equal((await sidecar.post(encodeLogs(request(600, { service: 'api' })))).status, 200);
    assert.equal((await sidecar.post(encodeLogs(request(300, { service: 'web' })))).status, 200);
    const ledger = await closeLedger(sidecar, { received: 900 }, { told: 2 });
    const said = Object.fromEntries(app.rows().filter((row) => row.attributes['lipservice.event'] === 'usage').map((row) => [row.service_name, row.attributes]));
    assert.deepEqual(Object.keys(said).sort(), ['api', 'web']);
    for (const [name, n] of Object.entries(said)) {
      const row = ledger.services[name];
      assert.deepEqual(['received', 'kept', 'sampled_out', 'dropped_by_rule', 'rejected', 'joined', 'released', 'lost'].map((key) => Number(n[`lipservice.${key}`])), [row.received, row.kept, row.sampled_out, row.dropped_by_rule, 0, 0, row.released, Object.values(row.lost).reduce((a, b) => a + b, 0)], name);
      assert.equal(n['otel.logs.adjusted_count'], '0');
    }
  }
});
