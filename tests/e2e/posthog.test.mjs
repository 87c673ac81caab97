// `lipservice posthog check`: whose key this is, what is missing, what PostHog does to our records.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs } from './lib/otlp.mjs';
import { ALL_SCOPES, FAULTS, PostHogApp } from './lib/posthog_app.mjs';
import { PostHog } from './lib/posthog.mjs';
import { closeLedger, KEEP_ALL, run, Sidecar } from './lib/sidecar.mjs';
import { pause, until } from './lib/wait.mjs';

const attribute = (key, value) => ({ key, value: { stringValue: value } });
const logs = (service, body, attributes = {}, severityNumber = 9) => encodeLogs({
  resourceLogs: [{
    resource: { attributes: [attribute('service.name', service)] },
    scopeLogs: [{ logRecords: [{ timeUnixNano: String(BigInt(Date.now()) * 1000000n), severityNumber, body: { stringValue: body }, attributes: Object.entries(attributes).map(([k, v]) => attribute(k, v)) }] }],
  }],
});

async function standIn(t, options = {}) {
  const stub = await PostHog.start();
  t.after(() => stub.down());
  return PostHogApp.start(t, stub, { delayMs: 0, projects: [{ id: 5, name: 'Other', api_token: 'phc_other' }, { id: 77, name: 'Shop', api_token: 'phc_e2e' }], ...options });
}

const command = (app, args, { key = 'phx_e2e', token = 'phc_e2e', set = {} } = {}) =>
  run(['posthog', ...args, '--config', '/dev/null', ...Object.entries({ 'exporters.posthog.host': app.stub.url, 'posthog.app_host': app.url, ...set }).flatMap(([k, v]) => ['--set', `${k}=${v}`])],
    { env: { POSTHOG_PERSONAL_API_KEY: key, POSTHOG_API_KEY: token } });

// {code, document} of a check as JSON; each finding has a sentence and a remedy of its own.
async function check(app, options) {
  const out = await command(app, ['check', '--json'], options);
  const document = JSON.parse(out.stdout);
  assert.equal(out.code, document.ok ? 0 : 1, out.stderr);
  for (const finding of document.findings) {
    assert.ok(finding.text.length > 20 && finding.remedy.length > 10, JSON.stringify(finding));
    assert.doesNotMatch(finding.text, /\.$/);
  }
  return { ...document, what: document.findings.map((f) => f.what), all: out };
}
const faults = (document) => document.findings.filter((f) => f.grade === 'fault').map((f) => f.what);

test('all is well', async (t) => {
  const app = await standIn(t, { quota: { limitMb: 50000, baseMb: 5120 } });
  const found = await check(app);
  assert.deepEqual(found.project, { id: 77, name: 'Shop' });
  assert.deepEqual(found.quota, { known: true, limited: false, usage_mb: 5120, limit_mb: 50000 });
  assert.deepEqual([found.person_attributes, found.session_attributes, found.findings], [['posthogDistinctId'], ['sessionId'], []]);
  const { stdout, code } = await command(app, ['check']);
  assert.equal(code, 0);
  assert.match(stdout, /project +77 Shop[^]*5120 of 50000 MB[^]*all is well/);
});

test('a wrong ingestion key, and the key of another project', async (t) => {
  const app = await standIn(t);
  assert.deepEqual(faults(await check(app, { token: 'phc_nobody' })), ['token_unknown']);
  const other = await check(app, { token: 'phc_other', set: { 'posthog.project_id': 77 } });
  assert.deepEqual(faults(other), ['token_of_other']);
  assert.match(other.findings[0].text, /key of project 5, and not of project 77 \(Shop\)/);
  assert.match(other.findings[0].remedy, /project_id to 5/);
  assert.deepEqual(faults(await check(app, { token: 'phc_nobody', set: { 'posthog.project_id': 77 } })), ['token_of_other']);
});

test('a personal key that is wrong, limited to projects, or lacks a scope', async (t) => {
  const app = await standIn(t, {
    keys: {
      phx_team: { scopes: ALL_SCOPES, teams: [77] }, phx_wrong_team: { scopes: ALL_SCOPES, teams: [5] },
      phx_logs: { scopes: ['logs:read'] }, phx_project: { scopes: ['project:read', 'logs:write'] },
    },
  });
  const unknown = await check(app, { key: 'phx_wrong' });
  assert.deepEqual(faults(unknown), ['key_unknown']);
  const limited = await check(app, { key: 'phx_team' });
  assert.deepEqual([faults(limited), limited.what], [[], ['key_limited']]);
  assert.deepEqual(limited.project, { id: 77, name: 'Shop' });
  assert.deepEqual(faults(await check(app, { key: 'phx_wrong_team' })), ['token_unknown']);
  const logs = await check(app, { key: 'phx_logs' });
  assert.deepEqual(faults(logs), ['scope_missing']);
  assert.match(logs.findings[0].text, /lacks the scope project:read/);
  const project = await check(app, { key: 'phx_project' });
  assert.deepEqual([faults(project), project.what.includes('scope_wanted')], [[], true]);
  assert.match(project.findings.map((f) => f.text).join('\n'), /query:read[^]*insight:write/);
});

test('a key of one region at the host of another', async (t) => {
  const app = await standIn(t);
  const found = await check(app, { set: { 'exporters.posthog.host': 'https://eu.i.posthog.com' } });
  assert.deepEqual(faults(found), []); // the stand-in is in none
  // Nobody is asked: what is configured says it. The name is one that nothing answers to.
  const out = await run(['posthog', 'check', '--json', '--config', '/dev/null', '--set', 'posthog.app_host=us.posthog.com', '--set', 'exporters.posthog.host=https://eu.i.posthog.com', '--set', 'exporters.posthog.proxy_url=http://127.0.0.1:9'], { env: { POSTHOG_PERSONAL_API_KEY: 'phx_x', POSTHOG_API_KEY: 'phc_x' } });
  assert.deepEqual([out.code, faults(JSON.parse(out.stdout))], [1, ['wrong_region', 'unreachable']]);
});

test('the quota: reached, near, not counted yet, and an installation without billing', async (t) => {
  const app = await standIn(t, { quota: { limitMb: 100, baseMb: 100 } });
  const limited = await check(app);
  assert.deepEqual(faults(limited), ['quota_limited']);
  assert.match(limited.findings[0].text, /throws all logs .* away now.*100 of 100 MB/);
  app.quota.baseMb = 95;
  assert.deepEqual((await check(app)).what, ['quota_near']);
  app.quota.hasNull = true;
  assert.deepEqual((await check(app)).what, ['quota_unknown']);
  app.quota.hasPage = false;
  assert.deepEqual((await check(app)).what, ['quota_absent']);
});

test('drop rules and scrub that act on our records', async (t) => {
  const app = await standIn(t);
  const make = (name, more) => app.store(77).create('logs/sampling_rules', { name, enabled: true, rule_type: 'path_drop', config: { patterns: ['^/health'] }, ...more });
  make('off', { enabled: false });
  make('all kept', { rule_type: 'severity_sampling', config: { actions: { DEBUG: { type: 'keep' } } } });
  assert.deepEqual((await check(app)).what, []);
  for (let i = 0; i < 120; i++) make(`rule ${i}`, i === 0 ? { scope_service: 'api' } : {});
  const found = await check(app);
  assert.equal(found.findings.length, 17);
  assert.match(found.findings[0].text, /'rule 0' acts on service api/);
  assert.match(found.findings[16].text, /104 more/);
  app.store(77)['logs/sampling_rules'].length = 0;
  app.projects[1].settings.logs = { pii_scrub_logs: true };
  app.projects[1].settings.config = { logs_distinct_id_attribute_keys: ['user.id', 'uid'], logs_session_id_attribute_keys: [] };
  const scrubbed = await check(app);
  assert.deepEqual(faults(scrubbed), ['scrub']);
  assert.match(scrubbed.findings[0].text, /\(user\.id,uid\)/);
  assert.deepEqual([scrubbed.person_attributes, scrubbed.session_attributes], [['user.id', 'uid'], []]);
  app.flagsOff.add('drop_rules');
  assert.deepEqual(faults(await check(app)), ['scrub']);
});

test('each way to fail is one clear sentence, and redirects are not followed', async (t) => {
  const app = await standIn(t);
  const rows = [
    [FAULTS.failed, /failed at GET .*\(500\)/], [FAULTS.gateway, /\(502\)/], [FAULTS.away, /\(503\)/], [FAULTS.login, /redirect \(302\) to '\/login/],
    [{ status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' }, /something else than JSON/],
    [{ status: 200, headers: {}, body: `{"a":"${'x'.repeat(300000)}"}` }, /more than 262144 bytes/],
    [{ close: true }, /broke off/],
  ];
  for (const [fault, text] of rows) {
    app.faults.push(fault);
    const { findings } = await check(app);
    assert.equal(findings[0].what, 'unreachable');
    assert.match(findings[0].text, text);
  }
  assert.ok(app.requests.every((r) => !r.path.startsWith('/login')));
  // A part that fails does not hide the others.
  app.fault = (r) => (r.path.endsWith('/quota_limits/') ? FAULTS.failed : null);
  app.projects[1].settings.logs = { pii_scrub_logs: true };
  assert.deepEqual((await check(app)).what, ['part_unread', 'scrub']);
  app.fault = null;
  app.repeatsPages = true;
  assert.deepEqual(faults(await check(app, { token: 'phc_nobody' })), ['token_unknown']);
});

test('a 429 is waited for, and asked again', async (t) => {
  const app = await standIn(t);
  app.faults.push({ ...FAULTS.throttled, headers: { ...FAULTS.throttled.headers, 'retry-after': '1' } });
  const found = await check(app);
  assert.deepEqual(found.what, []);
  assert.ok(app.requests[1].at - app.requests[0].at >= 990);
  // Longer than it can wait: said at once.
  app.faults.push({ ...FAULTS.throttled, headers: { ...FAULTS.throttled.headers, 'retry-after': '600' } });
  const { findings } = await check(app);
  assert.match(`${findings[0].text}; ${findings[0].remedy}`, /limit of requests is reached; try again in 600 s/);
});

test('nothing is asked without a key, and words are checked', async (t) => {
  const app = await standIn(t);
  const none = await command(app, ['check'], { key: '' });
  assert.deepEqual([none.code, /POSTHOG_PERSONAL_API_KEY/.test(none.stderr)], [78, true]);
  const project = await command(app, ['check'], { key: 'phc_e2e' });
  assert.deepEqual([project.code, /this is a project API key/.test(project.stderr)], [78, true]);
  assert.equal((await command(app, ['nothing'])).code, 64);
  assert.equal((await run(['posthog'])).code, 0);
  assert.match((await run(['posthog', 'check', '--help'])).stdout, /--json[^]*--config/);
  assert.equal(app.requests.length, 0);
});

// ---- in the sidecar, from time to time

const asks = (app, more = {}) => ({ ...KEEP_ALL, 'posthog.app_host': app.url, 'posthog.personal_api_key': 'phx_e2e', 'posthog.check_interval': '1s', ...more });
const checked = (sidecar, n = 1) => until(`${n} lines of checks`, () => sidecar.log.filter((l) => l.event === 'posthog_check').length >= n);
const gauge = async (sidecar, name) => (await sidecar.metrics())[`lipservice_posthog_${name}`];

test('the sidecar checks at the start and again, as metrics and one line of log', async (t) => {
  const app = await standIn(t, { quota: { limitMb: 100, baseMb: 40 } });
  const sidecar = await Sidecar.start(t, { set: asks(app), stub: app.stub });
  await checked(sidecar);
  const [line] = sidecar.log.filter((l) => l.event === 'posthog_check');
  assert.deepEqual([line.level, line.project, line.findings], ['info', 77, 'none']);
  const metrics = await sidecar.metrics();
  assert.equal(metrics.lipservice_posthog_quota_used_bytes, 40e6);
  assert.equal(metrics.lipservice_posthog_quota_limit_bytes, 100e6);
  assert.ok(metrics.lipservice_posthog_check_age_seconds >= 0);
  assert.ok(metrics['lipservice_posthog_requests_total{outcome="fine"}'] >= 5);
  app.quota.baseMb = 100;
  await checked(sidecar, 2);
  const again = sidecar.log.filter((l) => l.event === 'posthog_check')[1];
  assert.deepEqual([again.level, again.findings, /throws all logs/.test(again.reason)], ['warn', 'quota_limited', true]);
  assert.equal(await gauge(sidecar, 'quota_limited'), 1);
  assert.equal(await gauge(sidecar, 'findings{what="quota_limited"}'), 1);
  // A third that finds the same is no news.
  const requests = app.requests.length;
  await until('two more checks', () => app.requests.length > requests + 12);
  assert.equal(sidecar.log.filter((l) => l.event === 'posthog_check').length, 2);
  assert.ok(!sidecar.stderr.includes('phx_e2e'));
  await closeLedger(sidecar, { received: 0 });
});

test('only rules that act on services of this sidecar are found', async (t) => {
  const app = await standIn(t);
  const make = (service) => app.store(77).create('logs/sampling_rules', { name: `drops ${service}`, enabled: true, rule_type: 'path_drop', config: { filter_group: { type: 'AND', values: [{ key: 'service.name', operator: 'exact', value: service }] } } });
  make('of another program');
  const sidecar = await Sidecar.start(t, { set: asks(app), stub: app.stub });
  await checked(sidecar);
  assert.equal(sidecar.log.find((l) => l.event === 'posthog_check').findings, 'none');
  assert.equal((await sidecar.post(logs('api', 'x'))).status, 200);
  make('API');
  await checked(sidecar, 2);
  assert.match(sidecar.log.filter((l) => l.event === 'posthog_check')[1].reason, /'drops API' acts on service api/);
  await closeLedger(sidecar, { received: 1, kept: 1 });
});

test('attributes that PostHog links persons by are not redacted from then on', async (t) => {
  const app = await standIn(t);
  app.projects[1].settings.config = { logs_distinct_id_attribute_keys: ['account'], logs_session_id_attribute_keys: ['visit.token'] };
  const sidecar = await Sidecar.start(t, { set: asks(app, { 'redaction.mode': 'enforce' }), stub: app.stub });
  const record = logs('api', 'hello', { account: 'a@example.com', 'visit.token': 'b@example.com', other: 'c@example.com' });
  await checked(sidecar);
  assert.equal((await sidecar.post(record)).status, 200);
  await until('the record', () => app.stub.rows.length === 1);
  const { attributes } = app.stub.rows[0];
  assert.deepEqual([attributes.account, attributes['visit.token']], ['"a@example.com"', '"b@example.com"']);
  assert.doesNotMatch(attributes.other, /example/);
  await closeLedger(sidecar, { received: 1, kept: 1 });
});

test('the app away or wrong: records go on, one warning, and no harm at the end', async (t) => {
  const app = await standIn(t);
  app.fault = () => FAULTS.hang;
  const sidecar = await Sidecar.start(t, { set: asks(app), stub: app.stub });
  await until('a question', () => app.requests.length > 0);
  assert.equal((await sidecar.post(logs('api', 'x'))).status, 200);
  await closeLedger(sidecar, { received: 1, kept: 1 }); // a question hangs, and the end is not held up
  const dead = await Sidecar.start(t, { set: asks(app, { 'posthog.app_host': 'http://127.0.0.1:9' }), stub: app.stub });
  await checked(dead);
  assert.equal(dead.log.find((l) => l.event === 'posthog_check').findings, 'unreachable');
  assert.equal((await dead.post(logs('api', 'x'))).status, 200);
  await closeLedger(dead, { received: 1, kept: 1 }, { stored: 1 });
});

test('money is that of the bill where it may be read', async (t) => {
  const app = await standIn(t, { billing: { tiers: [{ unit_amount_usd: '0.01', up_to: null }] } });
  const sidecar = await Sidecar.start(t, { set: asks(app), stub: app.stub });
  await until('the bill', async () => (await sidecar.metrics()).lipservice_price_is_assumed === 0);
  assert.equal((await sidecar.post(logs('api', 'x'))).status, 200);
  await until('a price', async () => (await sidecar.metrics())['lipservice_price_per_month{of="received"}'] > 0);
  await closeLedger(sidecar, { received: 1, kept: 1 });
});

test('without a key nothing is asked and nobody is warned', async (t) => {
  const app = await standIn(t);
  const sidecar = await Sidecar.start(t, { set: { ...asks(app), 'posthog.personal_api_key': '' }, stub: app.stub });
  assert.equal((await sidecar.post(logs('api', 'x'))).status, 200);
  assert.ok(!Object.keys(await sidecar.metrics()).some((name) => name.startsWith('lipservice_posthog_')));
  await closeLedger(sidecar, { received: 1, kept: 1 });
  assert.deepEqual([app.requests.length, sidecar.log.filter((l) => l.event.startsWith('posthog')).length], [0, 0]);
});

// ---- the budget

const paced = (app, more = {}) => asks(app, { 'sampling.budget.source': 'posthog', 'sampling.first.count': 0, ...more });
const rateOf = async (sidecar) => (await sidecar.metrics())['lipservice_budget_rate{unit="bytes"}'];
const DAY = 86400000;

test('the budget is what the quota leaves for the rest of the period', async (t) => {
  // 50 MB of 100 are used, and one more day is left of the period.
  const end = Date.now() + DAY;
  const app = await standIn(t, { quota: { limitMb: 100, baseMb: 50 }, billing: { period: { start: end - 30 * DAY, end } } });
  const sidecar = await Sidecar.start(t, { set: paced(app), stub: app.stub });
  const about = (want) => until(`a rate of ${want}`, async () => Math.abs((await rateOf(sidecar)) / want - 1) < 0.01);
  await about(49e6 / 86400);
  app.quota.baseMb = 74;
  await about(25e6 / 86400);
  app.quota.baseMb = 100; // nothing is left, and it is not 0
  await about(1);
  app.quota.baseMb = 50;
  await about(49e6 / 86400);
  app.fault = () => FAULTS.failed; // the last value goes on
  const asked = app.requests.length;
  await until('two checks that fail', () => app.requests.length >= asked + 2);
  await about(49e6 / 86400);
  await closeLedger(sidecar, { received: 0 });
});

test('the period is that of the setting where the bill may not be read', async (t) => {
  const day = new Date(Date.now() + DAY).getUTCDate();
  const app = await standIn(t, { quota: { limitMb: 100, baseMb: 50 }, keys: { phx_e2e: { scopes: ['project:read', 'logs:read'] } } });
  const sidecar = await Sidecar.start(t, { set: paced(app, { 'sampling.budget.period_day': day, 'sampling.budget.share': 0.5 }), stub: app.stub });
  const midnight = Math.ceil(Date.now() / DAY) * DAY;
  await until('a rate', async () => Math.abs((await rateOf(sidecar)) / (0.5 * 49e6 * 1000 / Math.max(midnight - Date.now(), 3 * 3600000)) - 1) < 0.02);
  await closeLedger(sidecar, { received: 0 });
});

test('without a quota the configured budget holds', async (t) => {
  const app = await standIn(t, { quota: { hasPage: false } });
  const sidecar = await Sidecar.start(t, { set: paced(app, { 'sampling.budget.bytes_per_month': '1GiB' }), stub: app.stub });
  await checked(sidecar);
  const configured = 2 ** 30 / (30.4375 * 86400);
  assert.ok(Math.abs((await rateOf(sidecar)) / configured - 1) < 0.01);
  await closeLedger(sidecar, { received: 0 });
  const refused = await run(['validate', '--config', '/dev/null', '--set', 'sampling.budget.source=posthog']);
  assert.deepEqual([refused.code, /needs posthog.personal_api_key/.test(refused.stderr)], [78, true]);
});

for (const place of ['memory', 'disk'])
  test(`what is over the quota's pace is sampled, errors never: ${place}`, async (t) => {
    const end = Date.now() + DAY;
    const app = await standIn(t, { quota: { limitMb: 1000, baseMb: 0 }, billing: { period: { start: end - 30 * DAY, end } } });
    const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-pace-'));
    t.after(() => rmSync(dir, { recursive: true, force: true }));
    const disk = place === 'disk' ? { durability: 'disk', 'spool.directory': dir } : {};
    const sidecar = await Sidecar.start(t, { set: paced(app, disk), stub: app.stub });
    await until('the pace', async () => (await rateOf(sidecar)) > 11000); // 11.4 kB a second
    const record = (i) => logs('api', `request ${i} took ${i % 97} ms ${'x'.repeat(800)}`, {}, i % 50 === 0 ? 17 : 9);
    let sent = 0;
    const begin = Date.now();
    while (Date.now() - begin < 6000) {
      await Promise.all(Array.from({ length: 8 }, async () => assert.equal((await sidecar.post(record(sent++))).status, 200)));
      await pause(50);
    }
    const metrics = await sidecar.metrics();
    const kept = metrics['lipservice_record_bytes_total{stage="kept"}'], received = metrics['lipservice_record_bytes_total{stage="received"}'];
    const errors = Math.ceil(sent / 50);
    assert.ok(kept < 0.75 * received, `${kept} of ${received} bytes`);
    assert.equal(metrics['lipservice_records_kept_total{reason="floor"}'], errors);
    await closeLedger(sidecar, { received: sent });
    assert.equal(app.stub.rows.filter((r) => r.severity_text === 'error').length, errors);
  });

test('a reload turns the source on and off', async (t) => {
  const end = Date.now() + DAY;
  const app = await standIn(t, { quota: { limitMb: 100, baseMb: 50 }, billing: { period: { start: end - 30 * DAY, end } } });
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-pace-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const file = path.join(dir, 'c.yaml');
  const write = (source) => writeFileSync(file, `sampling:\n  budget:\n    source: ${source}\n`);
  write('configured');
  const sidecar = await Sidecar.start(t, { set: asks(app), stub: app.stub, args: ['--config', file] });
  await checked(sidecar);
  assert.equal(await rateOf(sidecar), undefined);
  const reload = async (source) => {
    write(source);
    sidecar.signal('SIGHUP');
  };
  await reload('posthog');
  await until('a pace', async () => Math.abs((await rateOf(sidecar)) / (49e6 / 86400) - 1) < 0.01);
  assert.equal((await sidecar.post(logs('api', 'x'))).status, 200);
  await reload('configured');
  await until('no pace', async () => (await rateOf(sidecar)) === undefined);
  await reload('posthog');
  await until('a pace again', async () => (await rateOf(sidecar)) > 500);
  assert.equal((await sidecar.post(logs('api', 'x'))).status, 200);
  await closeLedger(sidecar, { received: 2 });
});
