// What PostHog counts is kept whole: alerts, metrics, views and insights see the same with sampling
// in front of them as without.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs } from './lib/otlp.mjs';
import { PostHog } from './lib/posthog.mjs';
import { FAULTS, PostHogApp } from './lib/posthog_app.mjs';
import { alertHistory, metricOf } from './lib/posthog_rules.mjs';
import { closeLedger, KEY, run, Sidecar } from './lib/sidecar.mjs';
import { pause, until } from './lib/wait.mjs';

const MINUTE = 60000;
const SAMPLED = { 'batch.max_age': '50ms', 'sampling.first.count': 0, 'sampling.global_rate': 0.05, 'sampling.severity_rates.INFO': 0.05, 'sampling.severity_rates.WARN': 0.05, 'sampling.severity_rates.DEBUG': 0.05, 'guard.refresh_interval': '1s' };

async function standIn(t, options = {}) {
  const stub = await PostHog.start({ projects: [KEY] });
  t.after(() => stub.down());
  return { stub, app: await PostHogApp.start(t, stub, { delayMs: 0, ...options }) };
}

const guarded = (app, set = {}) => ({
  stub: app.stub,
  set: { ...SAMPLED, 'posthog.app_host': app.url, ...set },
  env: { POSTHOG_PERSONAL_API_KEY: 'phx_e2e' },
});
const guardPage = async (sidecar) => JSON.parse(await sidecar.page('admin', '/api/guard'));
const isRead = (sidecar, count) => sidecar.until('the guard', async () => {
  const page = await guardPage(sidecar);
  return page.is_read && page.guarded.length === count;
});

const text = (key, stringValue) => ({ key, value: { stringValue } });
const leaf = (type, key, operator, value) => ({ type, key, operator, value });
const all = (...values) => ({ type: 'AND', values: [{ type: 'AND', values }] });

// An hour of four services, a request a minute, in the past: [{at, request}].
function hour(end) {
  const minutes = [];
  for (let m = 0; m < 60; m++) {
    const at = end - (60 - m) * MINUTE;
    const burst = m >= 20 && m < 35;
    const records = (service, count, make, resource = []) => ({
      resource: { attributes: [text('service.name', service), ...resource] },
      scopeLogs: [{ scope: { name: 'tests' }, logRecords: Array.from({ length: count }, (_, i) => ({ timeUnixNano: String(BigInt(at) * 1000000n + BigInt(Math.floor((i * 59e9) / count))), severityNumber: 9, ...make(i) })) }],
    });
    const body = (stringValue) => ({ stringValue });
    minutes.push({
      at,
      request: {
        resourceLogs: [
          records('checkout', burst ? 60 : 10, (i) => ({ body: body(`order ${m * 100 + i} placed`), attributes: [{ key: 'items', value: { intValue: i % 9 } }, text('http.method', i % 2 ? 'GET' : 'POST')] })),
          records('web', m >= 40 && m < 50 ? 0 : 12, (i) => ({ body: body(`GET /page/${i} took ${m} ms`), attributes: [text('route', `/page/${i % 3}`)] })),
          records('mail', burst ? 30 : 2, (i) => ({ body: body(i % 3 === 0 ? `Retrying delivery ${i}` : `sent message ${m}${i}`), severityNumber: 13 }), [text('region', 'eu-west-1')]),
          records('batch', 20, (i) => ({ body: body(`row ${m * 20 + i} imported`), severityNumber: i % 10 === 0 ? 17 : 5 })),
        ],
      },
    });
  }
  return minutes;
}

const ALERTS = [
  { name: 'info of a service', filters: { severityLevels: ['info'], serviceNames: ['checkout'] }, threshold_count: 200 },
  { name: 'fewer than usual', filters: { serviceNames: ['web'] }, threshold_count: 30, threshold_operator: 'below' },
  { name: 'a word of the body', filters: { filterGroup: all(leaf('log', 'message', 'icontains', 'RETRYING')) }, threshold_count: 30 },
  { name: 'an attribute', filters: { serviceNames: ['checkout'], filterGroup: all(leaf('log_attribute', 'http.method', 'exact', ['POST'])) }, threshold_count: 100 },
  { name: 'not an attribute', filters: { serviceNames: ['checkout'], filterGroup: all(leaf('log_attribute', 'http.method', 'is_not', 'GET')) }, threshold_count: 100 },
  { name: 'a number', filters: { filterGroup: all(leaf('log_attribute', 'items', 'gt', '6')) }, threshold_count: 40 },
  { name: 'a resource', filters: { filterGroup: all(leaf('log_resource_attribute', 'region', 'exact', 'eu-west-1')) }, threshold_count: 60, evaluation_periods: 3, datapoints_to_alarm: 2 },
  { name: 'set', filters: { filterGroup: { type: 'OR', values: [{ type: 'AND', values: [leaf('log_attribute', 'route', 'is_set')] }] } }, threshold_count: 30, threshold_operator: 'below' },
  { name: 'a pattern', filters: { serviceNames: ['mail'], filterGroup: all(leaf('log', 'message', 'regex', '^Retrying delivery \\d+$')) }, threshold_count: 30 },
  { name: 'cannot be said', filters: { serviceNames: ['mail'], filterGroup: all(leaf('log', 'message', 'regex', '^(?=Retrying)')) }, threshold_count: 30 },
  { name: 'errors', filters: { severityLevels: ['error', 'fatal'] }, threshold_count: 5 },
];
const OFF = { name: 'switched off', enabled: false, filters: { serviceNames: ['batch'] } };

const firings = (app, end) => alertHistory(app.store()['logs/alerts'], app.rows(), end - 60 * MINUTE, end + 5 * MINUTE);
const end = () => Math.floor(Date.now() / (5 * MINUTE)) * 5 * MINUTE - 60 * MINUTE;

async function send(sidecar, minutes) {
  for (const { request } of minutes) assert.equal((await sidecar.post(encodeLogs(request))).status, 200);
}

test('alerts of each kind fire in the same minute with and without sampling in front', async (t) => {
  const until_ = end();
  const minutes = hour(until_);
  const direct = await standIn(t);
  const { stub, app } = await standIn(t);
  const bare = await standIn(t);
  for (const each of [direct, { app }, bare]) for (const alert of [...ALERTS, OFF]) each.app.store().create('logs/alerts', { ...alert });
  for (const { request } of minutes) assert.equal((await fetch(`${direct.stub.url}/i/v1/logs`, { method: 'POST', body: encodeLogs(request), headers: { authorization: `Bearer ${KEY}` } })).status, 200);
  const want = firings(direct.app, until_);
  for (const alert of ALERTS) assert.ok(want.some((f) => f.name === alert.name && f.state === 'firing'), `${alert.name} fires`);

  const sidecar = await Sidecar.start(t, guarded(app));
  await isRead(sidecar, ALERTS.length);
  await send(sidecar, minutes);
  await sidecar.until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
  assert.deepEqual(firings(app, until_), want);
  const page = await guardPage(sidecar);
  assert.deepEqual(page.untranslated.map((f) => [f.kind, f.name, f.is_guarded]), [['alert', 'cannot be said', true]]);
  const [first] = page.guarded;
  const seen = direct.app.rows().filter((row) => row.service_name === 'checkout').length;
  assert.deepEqual([first.kind, first.name, first.received, first.kept, first.guarded, first.threshold], ['alert', 'info of a service', seen, seen, seen, 200]);
  assert.ok(first.guarded_bytes > seen * 40);
  const batch = app.rows().filter((row) => row.service_name === 'batch' && row.severity_text === 'debug' && row.attributes['otel.logs.adjusted_count'] !== '0').length; // but for the context of errors
  assert.ok(batch > 0.03 * 1080 && batch < 0.08 * 1080, `${batch} of 1080: what nothing counts is sampled`);
  const metrics = await sidecar.metrics();
  assert.equal(metrics['lipservice_records_kept_total{reason="guarded"}'], page.guarded_records);
  assert.ok(sidecar.log.some((l) => l.event === 'guard' && Number(l.guarded) === ALERTS.length));
  assert.ok(sidecar.log.some((l) => l.event === 'guard_partial' && l.name === 'cannot be said'));
  await closeLedger(sidecar);
  assert.equal(stub.rows.length, app.rows().length);

  // The same without: it would be noticed.
  const off = await Sidecar.start(t, guarded(bare.app, { 'guard.alerts': 'off' }));
  await send(off, minutes);
  await off.until('an empty queue', async () => (await off.ledger()).queued === 0);
  const missed = ALERTS.filter((alert) => JSON.stringify(firings(bare.app, until_).filter((f) => f.name === alert.name)) !== JSON.stringify(want.filter((f) => f.name === alert.name)));
  assert.ok(missed.length >= 8, missed.map((a) => a.name).join());
  assert.deepEqual(bare.app.requests.filter((r) => /alerts|views|metric_rules|insights/.test(r.path)), []);
  await closeLedger(off);
});

test('metrics count and sum the same; saved views and insights see all', async (t) => {
  const until_ = end();
  const minutes = hour(until_);
  const direct = await standIn(t);
  const { app } = await standIn(t);
  const store = app.store();
  const POSTs = all(leaf('log_attribute', 'http.method', 'exact', 'POST'));
  const counted = store.create('logs/metric_rules', { name: 'orders', metric_name: 'orders', enabled: true, filter_group: POSTs });
  const summed = store.create('logs/metric_rules', { name: 'pages', metric_name: 'pages', enabled: true, filter_group: all(leaf('log_attribute', 'route', 'is_set')), value_attribute: 'attributes.otel.logs.adjusted_count' });
  store.create('logs/views', { name: 'mail', filters: { serviceNames: ['mail'] } });
  store.create('insights', { name: 'imports', query: { kind: 'DataVisualizationNode', source: { kind: 'HogQLQuery', query: "SELECT count() FROM logs WHERE service_name = 'batch'" } }, saved: true });
  store.create('insights', { name: 'all of it', query: { kind: 'DataVisualizationNode', source: { kind: 'HogQLQuery', query: 'SELECT count() FROM logs' } }, saved: true });
  store.create('insights', { name: 'weighed', query: { kind: 'DataVisualizationNode', source: { kind: 'HogQLQuery', query: "SELECT sum(toFloatOrZero(attributes['otel.logs.adjusted_count'])) FROM logs" } }, saved: true });
  store.create('insights', { name: 'events', query: { kind: 'DataVisualizationNode', source: { kind: 'HogQLQuery', query: 'SELECT count() FROM events' } }, saved: true });
  for (const { request } of minutes) await fetch(`${direct.stub.url}/i/v1/logs`, { method: 'POST', body: encodeLogs(request), headers: { authorization: `Bearer ${KEY}` } });

  const sidecar = await Sidecar.start(t, guarded(app, { 'sampling.stamps': '[weight_always]' }));
  await isRead(sidecar, 3);
  const page = await guardPage(sidecar);
  assert.deepEqual(page.guarded.map((g) => [g.kind, g.name, g.is_partial]), [['metric', 'orders', false], ['view', 'mail', false], ['insight', 'imports', true]]);
  assert.deepEqual(page.untranslated.map((f) => [f.name, f.is_guarded]), [['imports', true], ['all of it', false]]);
  await send(sidecar, minutes);
  await sidecar.until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
  const of = (rows, service) => rows.filter((row) => row.service_name === service).length;
  for (const service of ['mail', 'batch']) assert.equal(of(app.rows(), service), of(direct.app.rows(), service), service);
  assert.deepEqual(metricOf(counted, app.rows()), metricOf(counted, direct.app.rows()));
  assert.ok(app.rows().every((row) => Number(row.attributes['otel.logs.adjusted_count']) >= 1), 'a weight on every record');
  const truth = of(direct.app.rows(), 'web');
  const { count, sum } = metricOf(summed, app.rows());
  assert.ok(count < 0.1 * truth, `${count} of ${truth} are stored`);
  const sigma = Math.sqrt((truth * 0.95) / 0.05);
  assert.ok(Math.abs(sum - truth) < 3 * sigma, `${sum} for ${truth}`);
  await closeLedger(sidecar);
});

test('scale: nothing is kept for it, and thresholds are said', async (t) => {
  const { stub, app } = await standIn(t);
  app.store().create('logs/alerts', { ...ALERTS[0] });
  const sidecar = await Sidecar.start(t, guarded(app, { 'guard.alerts': 'scale' }));
  await isRead(sidecar, 1);
  await send(sidecar, hour(end()));
  await sidecar.until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
  const page = await guardPage(sidecar);
  const [alert] = page.guarded;
  const stored = app.rows().filter((row) => row.service_name === 'checkout').length;
  assert.deepEqual([alert.kept, alert.guarded, page.guarded_records], [stored, 0, 0]);
  assert.ok(Math.abs(alert.scaled_threshold - (200 * stored) / alert.received) < 0.05, `${alert.scaled_threshold}`);
  assert.equal(app.store()['logs/alerts'][0].threshold_count, 200, "an alert that is another's is not touched");
  await closeLedger(sidecar);
  assert.ok(stub.rows.length > 0);
});

test('observe, reload, and what changes there while it runs', async (t) => {
  const { app } = await standIn(t);
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-e2e-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const file = path.join(dir, 'c.yaml');
  const write = (mode, alerts) => writeFileSync(file, `mode: ${mode}\nguard: {alerts: ${alerts}}\n`);
  write('observe', 'keep');
  const alert = app.store().create('logs/alerts', { ...ALERTS[0] });
  const minutes = hour(end());
  const options = guarded(app);
  const sidecar = await Sidecar.start(t, { ...options, args: ['--config', file] });
  const reload = async (mode, alerts) => {
    write(mode, alerts);
    sidecar.signal('SIGHUP');
    const before = sidecar.log.filter((l) => l.event === 'reloaded').length;
    await sidecar.until('the reload', () => sidecar.log.filter((l) => l.event === 'reloaded').length > before);
  };
  await isRead(sidecar, 1);
  await send(sidecar, minutes.slice(0, 10)); // 100 of them
  const shadow = JSON.parse(await sidecar.page('admin', '/api/shadow'));
  const enforced = shadow.lanes.find((l) => l.lane === 'enforced');
  assert.ok(enforced.kept >= 100, `${enforced.kept}`);
  let [g] = (await guardPage(sidecar)).guarded;
  assert.deepEqual([g.received, g.guarded], [100, 100]);
  assert.equal((await sidecar.ledger()).sampled_out, 0);

  await reload('enforce', 'keep');
  await send(sidecar, minutes.slice(10, 20));
  [g] = (await guardPage(sidecar)).guarded;
  assert.deepEqual([g.received, g.kept, g.guarded], [200, 200, 200], 'it counts on');

  await reload('enforce', 'off');
  assert.deepEqual((await guardPage(sidecar)).guarded, []);
  await send(sidecar, minutes.slice(20, 30));
  assert.equal((await guardPage(sidecar)).guarded_records, 100, 'of enforcing');

  await reload('enforce', 'keep');
  await isRead(sidecar, 1);
  app.store().change('logs/alerts', alert, { enabled: false });
  await isRead(sidecar, 0);
  app.store().create('logs/alerts', { ...ALERTS[1] });
  await isRead(sidecar, 1);
  await closeLedger(sidecar);
});

test('a budget pays for it; on disk; and what is cut are others', async (t) => {
  const { app } = await standIn(t);
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-e2e-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  app.store().create('logs/alerts', { ...ALERTS[0] });
  const sidecar = await Sidecar.start(t, guarded(app, { durability: 'disk', 'spool.directory': path.join(dir, 'spool'), 'sampling.budget.target_reduction': 0.55, 'sampling.error_context.bytes': 0, 'sampling.global_rate': 1, 'sampling.severity_rates.INFO': 1, 'sampling.severity_rates.WARN': 1, 'sampling.severity_rates.DEBUG': 1 }));
  await isRead(sidecar, 1);
  const minutes = hour(end());
  await send(sidecar, minutes);
  await sidecar.until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
  const [g] = (await guardPage(sidecar)).guarded;
  assert.equal(g.received, 45 * 10 + 15 * 60);
  assert.equal(g.kept, g.received);
  const others = app.rows().filter((row) => row.service_name !== 'checkout' && row.severity_text !== 'error').length;
  assert.ok(others < 0.4 * (50 * 12 + 45 * 2 + 15 * 30 + 60 * 18), `${others} others`);
  await closeLedger(sidecar);
});

test('explain and top say it', async (t) => {
  const { app } = await standIn(t);
  app.store().create('logs/alerts', { ...ALERTS[0] });
  const sidecar = await Sidecar.start(t, guarded(app));
  await isRead(sidecar, 1);
  await send(sidecar, hour(end()).slice(0, 5));
  const line = JSON.stringify({ resourceLogs: [{ resource: { attributes: [text('service.name', 'checkout')] }, scopeLogs: [{ logRecords: [{ severityNumber: 9, body: { stringValue: 'order 7 placed' } }] }] }] });
  const admin = `http://${sidecar.addresses.admin}`;
  const words = await run(['explain', '--live', '--admin', admin], { input: line });
  assert.match(words.stdout, /guarded +PostHog counts it \(alert "info of a service"\): kept/, words.stdout + words.stderr);
  assert.match(words.stdout, /verdict +kept \(guarded\)/);
  const top = await run(['top', '--once', '--admin', admin]);
  assert.match(top.stdout, /guarded +50 kept because of alert "info of a service": 0\.00\d* MB/, top.stdout + top.stderr);
  await closeLedger(sidecar);
});

test('faults leave what was read in force, and records on their way', async (t) => {
  const { app } = await standIn(t);
  app.store().create('logs/alerts', { ...ALERTS[0] });
  const sidecar = await Sidecar.start(t, guarded(app));
  await isRead(sidecar, 1);
  const minutes = hour(end());
  let at = 0;
  const bad = [['login', /302|redirect/i], ['failed', /500/], ['gateway', /502/], ['away', /503/]];
  for (const [name, sentence] of bad) {
    app.fault = () => FAULTS[name];
    await sidecar.until(name, async () => sentence.test((await guardPage(sidecar)).fault));
    await send(sidecar, minutes.slice(at, ++at));
    const [g] = (await guardPage(sidecar)).guarded;
    assert.equal(g.guarded, 10 * at, name);
    app.fault = null;
    await sidecar.until('it to be over', async () => (await guardPage(sidecar)).fault === '');
  }
  app.fault = () => FAULTS.hang;
  const before = app.requests.length;
  await sidecar.until('a question', () => app.requests.length > before);
  await send(sidecar, minutes.slice(at, ++at));
  assert.equal((await guardPage(sidecar)).guarded[0].guarded, 10 * at);
  await closeLedger(sidecar); // with a question that hangs
});

test('a key without scopes, a page that repeats itself, and no answer at the start', async (t) => {
  const { app } = await standIn(t, { keys: { phx_e2e: { scopes: ['logs:read', 'project:read'] } } });
  app.store().create('logs/alerts', { ...ALERTS[0] });
  app.fault = (request) => (request.path.includes('/logs/') ? FAULTS.failed : null);
  const sidecar = await Sidecar.start(t, guarded(app));
  await sidecar.until('the line', () => sidecar.log.some((l) => l.event === 'guard_unread' && /nothing is guarded/.test(l.msg)));
  app.fault = null;
  await isRead(sidecar, 1);
  const page = await guardPage(sidecar);
  assert.deepEqual(page.untranslated.map((f) => f.kind), ['metric', 'insight']);
  for (const f of page.untranslated) assert.match(f.why, /metrics:read|insight:read/);
  app.repeatsPages = true;
  await sidecar.until('the fault', async () => /same page twice/.test((await guardPage(sidecar)).fault));
  assert.equal((await guardPage(sidecar)).guarded.length, 1);
  await closeLedger(sidecar);
  await pause(0);
});

for (const durability of ['memory', 'disk'])
  test(`with state.directory what was guarded is guarded from the first record on, though PostHog does not answer (${durability})`, async (t) => {
    const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-guard-'));
    t.after(() => rmSync(dir, { recursive: true, force: true }));
    const { app } = await standIn(t);
    for (const alert of ALERTS.slice(0, 3)) app.store().create('logs/alerts', { ...alert });
    const set = { 'state.directory': path.join(dir, 'state'), durability, ...(durability === 'disk' ? { 'spool.directory': path.join(dir, 'spool') } : {}) };
    const minutes = hour(end());
    const before = await Sidecar.start(t, guarded(app, set));
    await isRead(before, 3);
    await closeLedger(before);

    app.fault = () => FAULTS.hang;
    const sidecar = await Sidecar.start(t, guarded(app, set));
    await send(sidecar, minutes.slice(0, 2));
    let page = await guardPage(sidecar);
    assert.equal(page.is_read, false);
    assert.deepEqual(page.guarded.map((g) => [g.name, g.threshold]), ALERTS.slice(0, 3).map((a) => [a.name, a.threshold_count]));
    assert.equal(page.guarded[0].guarded, 2 * 10);
    app.fault = null;
    await closeLedger(sidecar);

    // What is switched off meanwhile is not guarded once that is known.
    for (const alert of app.store()['logs/alerts']) if (alert.name !== ALERTS[0].name) alert.enabled = false;
    const third = await Sidecar.start(t, guarded(app, set));
    await isRead(third, 1);
    page = await guardPage(third);
    assert.deepEqual(page.guarded.map((g) => g.name), [ALERTS[0].name]);
    await closeLedger(third, {}, { stored: 0 });
  });
