// The stand-in for PostHog's app API behaves as PostHog does: what tests rest on is tested itself.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeLogs } from './lib/otlp.mjs';
import { ALL_SCOPES, FAULTS, PostHogApp } from './lib/posthog_app.mjs';
import { actOn, alertHistory, metricOf } from './lib/posthog_rules.mjs';
import { readBack } from './lib/posthog_rows.mjs';
import { PostHog } from './lib/posthog.mjs';

const attribute = (key, value) => ({ key, value: { stringValue: String(value) } });
const NOW = Date.now();
// So long ago that it is in the middle of five minutes by the clock, as alerts look at them.
const AGO = ((NOW - 150000) % 300000) + (NOW % 300000 < 210000 ? 300000 : 0);

// n records of a service, a second apart, the last one a minute ago.
const request = (n, { service = 'api', number = () => 9, body = (i) => `line ${i}`, attributes = () => [], ago = 60000 } = {}) =>
  encodeLogs({
    resourceLogs: [{
      resource: { attributes: [attribute('service.name', service)] },
      scopeLogs: [{ logRecords: Array.from({ length: n }, (_, i) => ({ timeUnixNano: String(BigInt(NOW - ago - (n - 1 - i) * 1000) * 1000000n), severityNumber: number(i), body: { stringValue: body(i) }, attributes: attributes(i) })) }],
    }],
  });

async function rig(t, options = {}) {
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const app = await PostHogApp.start(t, stub, { delayMs: 0, ...options });
  const store = (body, token = 'phc_e2e') => fetch(`${stub.url}/i/v1/logs`, { method: 'POST', body, headers: { authorization: `Bearer ${token}` } });
  const ask = async (method, path, body, key = 'phx_e2e') => {
    const answer = await fetch(app.url + (path.startsWith('/') ? path : `/api/projects/101/${path}`), { method, redirect: 'manual', headers: { authorization: `Bearer ${key}` }, body: body && JSON.stringify(body) });
    const text = await answer.text();
    return { status: answer.status, body: text === '' ? null : JSON.parse(text), headers: answer.headers };
  };
  const logs = (path, query = {}) => ask('POST', `logs/${path}/`, { query: { dateRange: { date_from: '-1h' }, ...query } });
  const sql = (query) => ask('POST', 'query/', { query: { kind: 'HogQLQuery', query } });
  return { stub, app, store, ask, logs, sql };
}

test('keys, scopes and projects', async (t) => {
  const { ask } = await rig(t, {
    projects: [{ id: 101, name: 'One', api_token: 'phc_e2e' }, { id: 102, name: 'Two', api_token: 'phc_two' }],
    keys: { phx_e2e: { scopes: ALL_SCOPES }, phx_read: { scopes: ['logs:read', 'project:read'] }, phx_team: { scopes: ALL_SCOPES, teams: [102] } },
  });
  assert.equal((await ask('GET', '/api/projects/', null, 'phx_no')).status, 401);
  assert.equal((await ask('GET', '/api/projects/', null, 'phc_e2e')).status, 401);
  assert.deepEqual((await ask('GET', '/api/projects/')).body.results.map((p) => p.api_token), ['phc_e2e', 'phc_two']);
  assert.equal((await ask('GET', '/api/projects')).status, 404);
  const denied = await ask('POST', 'logs/alerts/', { name: 'x' }, 'phx_read');
  assert.deepEqual([denied.status, denied.body.detail], [403, "API key missing required scope 'logs:write'"]);
  assert.equal((await ask('GET', '/api/projects/', null, 'phx_team')).status, 403);
  assert.deepEqual((await ask('GET', '/api/personal_api_keys/@current/', null, 'phx_team')).body.scoped_teams, [102]);
  assert.equal((await ask('GET', '/api/projects/101/', null, 'phx_team')).status, 403);
  assert.equal((await ask('GET', '/api/projects/102/', null, 'phx_team')).body.api_token, 'phc_two');
});

test('rows are read back by pages, newest first, when they are visible', async (t) => {
  const { app, store, logs, ask } = await rig(t);
  await store(request(5000, { number: (i) => (i % 10 === 0 ? 17 : 9), attributes: (i) => [attribute('route', `/r${i % 3}`)] }));
  const seen = [];
  let after;
  let pages = 0;
  do {
    const { body } = await logs('query', { dateRange: { date_from: '-3h' }, limit: 9999, after });
    assert.ok(body.results.length <= 2000);
    seen.push(...body.results.map((row) => row.uuid));
    after = body.nextCursor;
    pages++;
  } while (after);
  assert.deepEqual([pages, seen.length, new Set(seen).size], [3, 5000, 5000]);
  const count = async (query) => (await logs('count', { dateRange: { date_from: '-3h' }, ...query })).body.count;
  assert.equal(await count({ severityLevels: ['error'] }), 500);
  assert.equal(await count({ severityLevels: ['ERROR'] }), 0);
  assert.equal(await count({ serviceNames: ['api'] }), 5000);
  const leaf = (operator, value, key = 'route', type = 'log_attribute') => ({ filterGroup: { type: 'AND', values: [{ type: 'AND', values: [{ key, type, operator, value }] }] } });
  assert.equal(await count(leaf('exact', ['/r1', '/r2'])), 3333);
  assert.equal(await count(leaf('exact', '/R1')), 0);
  assert.equal(await count(leaf('regex', '^line 1\\d$', 'message', 'log')), 10);
  assert.equal((await logs('count', leaf('like', 'x'))).status, 400);
  const ranges = (await logs('count-ranges', { dateRange: { date_from: '-3h' }, targetBuckets: 180 })).body;
  assert.equal(ranges.interval, '60s');
  assert.equal(ranges.ranges.reduce((sum, r) => sum + r.count, 0), 5000);
  assert.equal((await ask('POST', 'logs/query/', {})).body.error, 'No query provided');
  app.delayMs = 3600000;
  assert.equal(await count({}), 0);
});

test('HogQL runs over the rows', async (t) => {
  const { store, sql } = await rig(t);
  await store(request(300, { number: (i) => (i % 3 === 0 ? 17 : 9), attributes: (i) => (i % 2 === 0 ? [attribute('otel.logs.adjusted_count', 4)] : []) }));
  await store(request(100, { service: 'web' }));
  const { body } = await sql("SELECT service_name, count() AS rows, sum(coalesce(toFloat(nullIf(attributes['otel.logs.adjusted_count'], '')), 1)) AS true_count, countIf(severity_text = 'error') AS errors FROM logs WHERE timestamp > now() - INTERVAL 7 DAY GROUP BY service_name ORDER BY service_name");
  assert.deepEqual([body.columns ?? body, body.results], [['service_name', 'rows', 'true_count', 'errors'], [['api', 300, 750, 100], ['web', 100, 100, 0]]]);
  assert.deepEqual((await sql("SELECT count() FROM logs WHERE attributes['nothing'] = ''")).body.results, [[400]]);
  assert.equal((await sql('SELECT body FROM logs')).body.results.length, 100);
  assert.equal((await sql('SELECT body FROM logs LIMIT 150')).body.results.length, 150);
  assert.match((await sql('SELECT list_sum([1]) FROM logs')).body.detail, /Unsupported function/);
  assert.match((await sql("SELECT body FROM read_csv('x')")).body.detail, /Unknown table|Unsupported function/);
  const hours = (await sql("SELECT toStartOfHour(timestamp) AS hour, multiIf(severity_text = 'error', 'bad', 'good') AS kind, sumIf(1, service_name = 'web') AS web FROM logs GROUP BY hour, kind ORDER BY hour, kind")).body;
  assert.match(hours.results[0][0], /T\d\d:00:00Z$/);
  assert.equal(hours.results.reduce((sum, row) => sum + row[2], 0), 100);
});

test('quota: beyond the limit ingestion says 200 and stores nothing', async (t) => {
  const { stub, app, store, ask } = await rig(t, { quota: { limitMb: 0.05, baseMb: 0 } });
  while (!app.isLimited()) assert.equal((await store(request(100))).status, 200);
  const stored = stub.rows.length;
  assert.equal((await store(request(100))).status, 200);
  assert.equal(stub.rows.length, stored);
  assert.equal(app.lostToQuota, 100);
  const { limited } = (await ask('GET', 'quota_limits/')).body;
  assert.equal(limited.logs_mb_ingested.limited, true);
  assert.ok(limited.logs_mb_ingested.usage >= 0.05);
  app.quota.hasNull = true;
  assert.equal((await ask('GET', 'quota_limits/')).body.limited.logs_mb_ingested.usage, null);
  app.quota.hasPage = false;
  assert.equal((await ask('GET', 'quota_limits/')).status, 404);
});

test('things are kept, bounded and listed by pages', async (t) => {
  const { app, ask } = await rig(t);
  const group = { type: 'AND', values: [{ type: 'AND', values: [{ key: 'message', type: 'log', operator: 'icontains', value: 'x' }] }] };
  for (let i = 0; i < 20; i++) assert.equal((await ask('POST', 'logs/alerts/', { name: `a${i}`, filters: { severityLevels: ['error'] } })).status, 201);
  assert.match((await ask('POST', 'logs/alerts/', { name: 'b', filters: { filterGroup: group } })).body.detail, /20/);
  assert.equal((await ask('PATCH', `logs/alerts/${app.store()['logs/alerts'][0].id}/`, { window_minutes: 7 })).body.attr, 'window_minutes');
  const made = (await ask('POST', 'dashboards/create_from_template_json/', {
    template: { template_name: 'lipservice', dashboard_description: '', dashboard_filters: {}, tags: ['lipservice'], variables: [], tiles: [{ type: 'INSIGHT', name: 'i', query: { kind: 'HogQLQuery', query: 'SELECT 1' }, layouts: { sm: { x: 0, y: 0, w: 6, h: 5 } } }, { type: 'TEXT', body: 'how' }] },
  })).body;
  assert.equal(made.tiles.length, 2);
  assert.equal(app.store().insights[0].query.kind, 'DataVisualizationNode');
  for (let i = 0; i < 150; i++) await ask('POST', 'dashboards/', { name: `other ${i}` });
  const first = (await ask('GET', 'dashboards/')).body;
  assert.deepEqual([first.count, first.results.length], [151, 100]);
  assert.equal((await ask('GET', new URL(first.next).pathname + new URL(first.next).search)).body.results.length, 51);
  assert.equal((await ask('GET', 'dashboards/?search=lips')).body.count, 1);
  const rules = [];
  for (const name of ['a', 'b', 'c']) rules.push((await ask('POST', 'logs/sampling_rules/', { name, rule_type: 'path_drop', config: { filter_group: { type: 'AND', values: [{ key: 'service.name', operator: 'exact', value: name }] } } })).body);
  assert.deepEqual(rules.map((r) => [r.priority, r.enabled, r.version]), [[0, false, 1], [1, false, 1], [2, false, 1]]);
  const order = [rules[2], rules[0], rules[1]].map((r) => r.id);
  assert.deepEqual((await ask('POST', 'logs/sampling_rules/reorder/', { ordered_ids: order })).body.map((r) => r.name), ['c', 'a', 'b']);
  assert.equal((await ask('POST', 'logs/sampling_rules/reorder/', { ordered_ids: order.slice(1) })).status, 400);
  app.flagsOff.add('drop_rules');
  assert.equal((await ask('GET', 'logs/sampling_rules/')).status, 403);
  app.faults.push(FAULTS.throttled, FAULTS.login, FAULTS.gateway);
  const throttled = await fetch(`${app.url}/api/projects/`);
  assert.deepEqual([throttled.status, throttled.headers.get('retry-after')], [429, '30']);
  assert.equal((await fetch(`${app.url}/api/projects/`, { redirect: 'manual' })).status, 302);
  assert.equal((await fetch(`${app.url}/api/projects/`)).status, 502);
});

test('drop rules and scrub act on later records; alerts and metrics count what is left', async (t) => {
  const { stub, app, store, ask } = await rig(t);
  actOn(app);
  await store(request(10, { ago: AGO }));
  const group = (...values) => ({ type: 'AND', values });
  const leaf = (key, operator, value, type) => ({ key, operator, value, type });
  const rule = async (name, more) => (await ask('POST', 'logs/sampling_rules/', { name, enabled: true, rule_type: 'path_drop', ...more })).body;
  const quiet = await rule('quiet', { config: { filter_group: group(leaf('service.name', 'exact', 'API'), leaf('severity_text', 'is_not', ['error', 'fatal']), leaf('message', 'regex', '^LINE \\d$', 'log')) } });
  await store(request(20, { number: (i) => (i === 5 ? 17 : 9), ago: AGO }));
  assert.equal(stub.rows.length, 10 + 20 - 9);
  assert.equal(app.impact.get(quiet.id), 9);
  await ask('PATCH', `logs/sampling_rules/${quiet.id}/`, { enabled: false });
  app.projects[0].settings.logs = { pii_scrub_logs: true };
  await store(request(1, { ago: AGO, body: () => 'mail a@example.com', attributes: () => [attribute('user_token', 'x'), attribute('route', '/a')] }));
  const last = readBack(stub.rows.at(-1));
  assert.deepEqual([last.body, last.attributes], ['mail {{REDACTED}}', { user_token: '{{REDACTED}}', route: '/a' }]);
  const alert = (await ask('POST', 'logs/alerts/', { name: 'many', filters: { severityLevels: ['info'] }, threshold_count: 15 })).body;
  const rows = app.rows();
  assert.deepEqual(alertHistory([alert], rows, NOW - 3600000, NOW + 900000).map((h) => h.state), ['firing', 'not_firing']);
  assert.deepEqual(alertHistory([{ ...alert, threshold_count: 1000 }], rows, NOW - 3600000, NOW + 900000), []);
  assert.deepEqual(metricOf({ filter_group: null, value_attribute: null }, rows), { count: 22, sum: 22 });
  assert.deepEqual(metricOf({ filter_group: null, value_attribute: 'attributes.otel.logs.adjusted_count' }, rows), { count: 0, sum: 0 });
});
