// Alerts of the policy server, and webhooks: what is sent, how it is signed, what is done when it
// is not taken.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs } from './lib/otlp.mjs';
import { PostHog } from './lib/posthog.mjs';
import { PostHogApp } from './lib/posthog_app.mjs';
import { Server } from './lib/server.mjs';
import { closeLedger, KEEP_ALL, pair, Sidecar } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

// An hour and five minutes of counts, as if they had been reported: `loud` has five times as many
// in the last five minutes, `steady` has not, `fresh` was first seen now.
const SEED = `
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1])
now = int(time.time()); minute = now - now % 60
db.execute("INSERT INTO services (id, team_id, name, created_ms, seen_ms) VALUES (1, 1, 'shop <1>', ?, ?)", ((now - 9000) * 1000, now * 1000))
def pattern(id, name, first, counts):
    db.execute("INSERT INTO patterns (id, service_id, signature, template, family, received, kept, bytes, kept_bytes, traces, debugs, infos, warns, errors, fatals, first_seen_ms, last_seen_ms) VALUES (?, 1, ?, ?, '', 9, 9, 9, 9, 0, 0, 9, 0, 0, 0, ?, ?)", (id, name, name + ' & <*>', first * 1000, now * 1000))
    for back, n in counts.items():
        db.execute("INSERT INTO counts (grain_s, pattern_id, start_s, received, kept, bytes, kept_bytes) VALUES (60, ?, ?, ?, ?, 0, 0)", (id, minute - 60 * back, n, n))
        db.execute('INSERT OR IGNORE INTO heard (team_id, start_s) VALUES (1, ?)', (minute - 60 * back,))
pattern(1, 'loud', now - 9000, {back: (100 if back <= 5 else 20) for back in range(1, 66)})
pattern(2, 'steady', now - 9000, {back: 20 + back % 3 for back in range(1, 66)})
pattern(3, 'fresh', now - 60, {1: 5})
if sys.argv[2] == 'many':
    db.execute("INSERT INTO services (id, team_id, name, created_ms, seen_ms) VALUES (2, 1, 'large', ?, ?)", ((now - 9000) * 1000, now * 1000))
    for id in range(10, 2010):
        db.execute("INSERT INTO patterns (id, service_id, signature, template, family, received, kept, bytes, kept_bytes, traces, debugs, infos, warns, errors, fatals, first_seen_ms, last_seen_ms) VALUES (?, 2, 'lps1:' || ?, ?, '', 9, 9, 9, 9, 0, 0, 9, 0, 0, 0, ?, ?)", (id, id, 'a long template ' * 12, (now - 9000) * 1000, now * 1000))
        db.executemany("INSERT INTO counts (grain_s, pattern_id, start_s, received, kept, bytes, kept_bytes) VALUES (60, ?, ?, 1, 1, 0, 0)", [(id, minute - 60 * back) for back in range(5, 66)])
if sys.argv[2] == 'deployed':
    pattern(5, 'came', now - 1200, {back: 5 for back in range(1, 13)})
    db.execute("UPDATE services SET created_ms = created_ms - 80000000")
    db.execute("UPDATE patterns SET first_seen_ms = first_seen_ms - 80000000 WHERE id < 3")
    for back, version in ((90000, '1.0'), (1260, '2.0')):
        db.execute("INSERT INTO service_versions (service_id, version, first_ms) VALUES (1, ?, ?)", (version, (now - back) * 1000))
    for host in 'abc':
        db.execute("INSERT INTO senders (service_id, instance, boot, sequence, seen_ms, first_ms) VALUES (1, 'host-' || ?, 'boot', 9, ?, ?)", (host, now * 1000, (now - 9000) * 1000))
    db.execute("UPDATE patterns SET instance = 'host-b' WHERE id = 5")
if sys.argv[2] == 'stopped': pattern(4, 'stopped', now - 9000, {back: 20 for back in range(5, 66)})
db.commit()
`;

const seed = (server, what = '') => execFileSync('python3', ['-c', SEED, `${server.directory}/lipservice.db`, what]);

// What webhooks are asked: {path, headers, body}. `answer` may be changed.
async function receiver(t) {
  const seen = [];
  const stub = { seen, answer: () => 200 };
  const server = http.createServer((req, res) => {
    const chunks = [];
    req.on('data', (chunk) => chunks.push(chunk));
    req.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      const entry = { path: req.url, headers: req.headers, text, body: JSON.parse(text) };
      const status = stub.answer(entry, seen.length);
      seen.push(entry);
      res.writeHead(status);
      res.end();
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  stub.url = `http://127.0.0.1:${server.address().port}`;
  return stub;
}

const set = { 'server.alerts.interval': '1s', 'server.webhooks.allow_private': true };

async function seeded(t, make, more = {}, what = '') {
  const first = await Server.start(t, { set: { ...set, 'server.alerts.interval': '1h' } });
  const hooks = await make(first);
  await first.stop();
  seed(first, what);
  return { server: await Server.start(t, { set: { ...set, ...more }, directory: first.directory, key: first.key }), hooks };
}

test('a spike and a new pattern are sent once, signed, in both forms; what is steady is not', async (t) => {
  const stub = await receiver(t);
  const { server, hooks } = await seeded(t, async (first) => [
    await first.ok('POST', '/api/v1/webhooks', { name: 'pager', url: `${stub.url}/json` }),
    await first.ok('POST', '/api/v1/webhooks', { name: 'chat', url: `${stub.url}/slack`, form: 'slack' }),
  ]);
  await until('both are asked', () => stub.seen.length === 2);
  const json = stub.seen.find((one) => one.path === '/json');
  const slack = stub.seen.find((one) => one.path === '/slack');
  assert.deepEqual(json.body.items.map((item) => [item.event, item.type, item.pattern_signature, item.service_name]), [
    ['alert', 'rate_spike', 'loud', 'shop <1>'],
    ['alert', 'new_pattern', 'fresh', 'shop <1>'],
  ]);
  assert.match(json.body.items[0].message, /^500 in five minutes, 100 before: loud/);
  assert.match(json.headers['webhook-id'], /^lipservice-\d+$/);
  for (const [one, hook] of [[json, hooks[0]], [slack, hooks[1]]]) {
    const [, at, mac] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(one.headers['lipservice-signature']);
    assert.equal(mac, createHmac('sha256', hook.secret).update(`${at}.${one.text}`).digest('hex'));
    assert.ok(Math.abs(Date.now() / 1000 - at) < 60);
  }
  assert.deepEqual(Object.keys(slack.body), ['text']);
  assert.match(slack.body.text, /\*alert\* rate_spike \(high\): shop &lt;1&gt;: 500 in five minutes, 100 before: loud &amp; &lt;\*&gt;/);

  const alerts = await server.ok('GET', '/api/v1/alerts');
  assert.deepEqual(alerts.map((row) => [row.type, row.state]), [['new_pattern', 'open'], ['rate_spike', 'open']]);
  await until('it was looked at again', async () => (await server.ok('GET', '/api/v1/alerts'))[0].seen > 2);
  assert.equal(stub.seen.length, 2); // not sent again in its cool-down
  assert.equal((await server.ok('GET', '/api/v1/anomalies')).length, 2);

  assert.equal((await server.ok('POST', `/api/v1/alerts/${alerts[0].id}/acknowledge`)).state, 'acknowledged');
  assert.equal((await server.ok('POST', `/api/v1/alerts/${alerts[1].id}/resolve`)).state, 'resolved');
  assert.equal((await server.call('POST', `/api/v1/alerts/${alerts[1].id}/acknowledge`)).status, 404);
  await server.ok('PUT', `/api/v1/policies/${encodeURIComponent('shop <1>')}`, { global_rate: 1 });
  const change = await until('the change is sent', () => stub.seen.find((one) => one.path === '/json' && one.body.items.some((item) => item.event === 'policy')));
  assert.deepEqual(change.body.items.filter((item) => item.event === 'policy').map((item) => [item.type, item.service_name, item.message]), [['policy.put', 'shop <1>', 'version 1']]);
  await until('a resolved alert that goes on is a new one', async () => (await server.ok('GET', '/api/v1/alerts?all=true')).length === 3);
  assert.deepEqual((await server.ok('GET', '/api/v1/webhooks')).map((row) => [row.name, row.is_active, row.secret]), [['pager', true, undefined], ['chat', true, undefined]]);
  await server.stop();
});

test('what came for an hour and has stopped is an anomaly and an alert', async (t) => {
  const stub = await receiver(t);
  const { server } = await seeded(t, (first) => first.ok('POST', '/api/v1/webhooks', { name: 'pager', url: `${stub.url}/json` }), {}, 'stopped');
  await until('it is asked', () => stub.seen.length === 1);
  const silence = stub.seen[0].body.items.filter((item) => item.type === 'silence');
  assert.deepEqual(silence.map((item) => [item.event, item.pattern_signature, item.severity, item.message]), [['alert', 'stopped', 'medium', '0 in five minutes, 100 before: stopped & <*>']]);
  const anomalies = (await server.ok('GET', '/api/v1/anomalies')).filter((one) => one.type === 'silence');
  assert.deepEqual(anomalies.map((one) => [one.pattern_signature, one.current_value, one.baseline_value]), [['stopped', 0, 100]]);
  const { anomalies: analysed } = await server.ok('POST', '/api/v1/analysis/analyze', { service_name: 'shop <1>' });
  assert.equal(analysed.filter((one) => one.type === 'silence').length, 1);
  await until('it was looked at again', async () => (await server.ok('GET', '/api/v1/alerts')).find((row) => row.type === 'silence').seen > 2);
  assert.equal(stub.seen.length, 1);
  await server.stop();
});

// A sort that has no room in memory goes to a file, for which the sandbox leaves one place.
test('a service with very many patterns that all stop is found, inside of the sandbox', async (t) => {
  const { server } = await seeded(t, () => [], {}, 'many');
  const alerts = await until('the silence of all of it', async () => {
    const found = await server.ok('GET', '/api/v1/alerts?limit=1000');
    return found.some((row) => row.type === 'silence') && found;
  });
  assert.deepEqual(alerts.filter((row) => row.type === 'silence').map((row) => [row.service_name, row.pattern_signature]), [['large', '']]);
  assert.deepEqual(server.log.filter((line) => line.event === 'store'), []);
  await server.stop();
});

test('a pattern that came with a version, and is new on one of three instances', async (t) => {
  const stub = await receiver(t);
  const { server } = await seeded(t, (first) => first.ok('POST', '/api/v1/webhooks', { name: 'pager', url: `${stub.url}/json` }), {}, 'deployed');
  await until('it is asked', () => stub.seen.length === 1);
  const came = stub.seen[0].body.items.filter((item) => item.pattern_signature === 'came');
  const want = [
    ['new_since_version', 'new since version 2.0, 1 minutes after its first record: came & <*>'],
    ['new_on_instance', 'new on one of 3 instances, host-b, for 20 minutes: came & <*>'],
  ];
  assert.deepEqual(came.map((item) => [item.type, item.message]), want);
  const anomalies = (await server.ok('GET', '/api/v1/anomalies')).filter((one) => one.pattern_signature === 'came');
  assert.deepEqual(anomalies.map((one) => [one.type, one.message]), want);
  const alerts = (await server.ok('GET', '/api/v1/alerts')).filter((row) => row.pattern_signature === 'came');
  assert.deepEqual(alerts.map((row) => row.type).sort(), want.map(([type]) => type).sort());
  await server.stop();
});

test('what is not taken is sent again with its id; 410 switches a webhook off, 400 gives up', async (t) => {
  const stub = await receiver(t);
  let tries = 0;
  stub.answer = ({ path }) => (path === '/gone' ? 410 : path === '/never' ? 400 : tries++ === 0 ? 503 : 204);
  const { server } = await seeded(t, async (first) => {
    for (const name of ['busy', 'gone', 'never']) await first.ok('POST', '/api/v1/webhooks', { name, url: `${stub.url}/${name}` });
  });
  await until('all are settled', async () => {
    const rows = await server.ok('GET', '/api/v1/webhooks');
    return tries === 2 && rows.every((row) => row.pending === 0);
  });
  const ids = stub.seen.filter((one) => one.path === '/busy').map((one) => one.headers['webhook-id']);
  assert.deepEqual([ids.length, new Set(ids).size], [2, 1]);
  assert.deepEqual((await server.ok('GET', '/api/v1/webhooks')).map((row) => [row.name, row.is_active]), [['busy', true], ['gone', false], ['never', true]]);
  assert.equal(stub.seen.filter((one) => one.path !== '/busy').length, 2);
  const metrics = await server.metrics();
  assert.deepEqual([metrics.lipservice_server_webhook_deliveries_total, metrics.lipservice_server_webhook_retries_total, metrics.lipservice_server_webhook_failures_total], [1, 1, 2]);
  await server.ok('DELETE', '/api/v1/webhooks/1');
  assert.equal((await server.call('DELETE', '/api/v1/webhooks/1')).status, 404);
  await server.stop();
});

test('a webhook at an address that is not public is not asked, by any name', async (t) => {
  const stub = await receiver(t);
  const port = new URL(stub.url).port;
  const { server } = await seeded(t, async (first) => {
    for (const host of ['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]']) await first.ok('POST', '/api/v1/webhooks', { name: host, url: `http://${host}:${port}/` });
  }, { 'server.webhooks.allow_private': false });
  await until('all have failed', async () => server.log.filter((line) => line.event === 'webhook_failed').length >= 3);
  assert.equal(stub.seen.length, 0);
  for (const [body, sentence] of [[{ name: 'x', url: 'ftp://x' }, /url/], [{ name: 'x', url: 'http://a@b/' }, /url/], [{ name: '', url: 'http://b/' }, /name/], [{ name: 'x', url: 'http://b/', form: 'teams' }, /form/]]) {
    const answer = await server.call('POST', '/api/v1/webhooks', { raw: JSON.stringify(body) });
    assert.equal(answer.status, 422);
    assert.match(answer.body.detail, sentence);
  }
  await server.stop();
});

// ---- what sidecars report of themselves

const reporting = (server, key, more = {}) => ({ ...KEEP_ALL, 'sampling.first.count': 0, 'policy.server': server.url, 'policy.api_key': key, 'policy.report_interval': '200ms', ...more });
const logs = (n) => encodeLogs({
  resourceLogs: [{
    resource: { attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }] },
    scopeLogs: [{ logRecords: Array.from({ length: n }, (_, i) => ({ timeUnixNano: '1', severityNumber: 9, body: { stringValue: `user ${i} logged in` } })) }],
  }],
});
const send = async (sidecar, n) => assert.equal((await sidecar.post(logs(n))).status, 200);
// A service whose sidecars keep all.
async function keepAll(server) {
  await server.ok('POST', '/api/v1/services', { name: 'shop' });
  await server.ok('PUT', '/api/v1/policies/shop', { severity_rates: { DEBUG: 1, INFO: 1, WARN: 1, ERROR: 1, FATAL: 1 } });
}
const alertsOf = async (server, type, all = false) => (await server.ok('GET', `/api/v1/alerts${all ? '?all=true' : ''}`)).filter((row) => row.type === type);
const taken = async (sidecar) => (await sidecar.metrics())['lipservice_policy_reports_total{outcome="accepted"}'];

const WAYS = { 'in memory': () => ({}), 'on disk': (directory) => ({ durability: 'disk', 'spool.directory': directory }) };
for (const [way, more] of Object.entries(WAYS)) {
  test(`records that sidecars lose are one alert, with reason and number, also after kill -9 (${way})`, async (t) => {
    const stub = await receiver(t);
    const spool = mkdtempSync(path.join(os.tmpdir(), 'lipservice-alerts-'));
    t.after(() => rmSync(spool, { recursive: true, force: true }));
    // What is acknowledged waits in the journal of the server until it is killed.
    const first = await Server.start(t, { set: { ...set, 'server.flush_interval': '10m' } });
    await keepAll(first);
    await first.ok('POST', '/api/v1/webhooks', { name: 'pager', url: `${stub.url}/json` });
    const { stub: posthog, sidecar } = await pair(t, { set: reporting(first, await first.newKey('report'), more(spool)) });
    await send(sidecar, 10);
    await until('it is delivered and reported', async () => (await sidecar.ledger()).delivered === 10 && (await taken(sidecar)) > 0);

    posthog.answer = () => ({ status: 402 });
    await send(sidecar, 7);
    await until('they are lost', async () => (await sidecar.ledger()).lost.refused_upstream === 7);
    posthog.answer = null;
    const before = await taken(sidecar);
    await send(sidecar, 1); // its report is taken after that of the losses, or with them
    await until('it is reported', async () => (await taken(sidecar)) > before && (await first.metrics()).lipservice_server_records_total === 18);
    assert.deepEqual(await alertsOf(first, 'losses'), []);
    await first.kill();

    const server = await Server.start(t, { set: { ...set, 'server.flush_interval': '100ms', 'server.endpoint': new URL(first.url).host }, directory: first.directory, key: first.key });
    const [alert] = await until('an alert', async () => { const found = await alertsOf(server, 'losses'); return found.length > 0 && found; });
    assert.deepEqual([alert.service_name, alert.pattern_signature, alert.severity, alert.state, alert.message],
      ['shop', '', 'high', 'open', '7 records were lost in 5 minutes: refused_upstream 7']);
    const item = await until('it is sent', () => stub.seen.flatMap((one) => one.body.items).find((one) => one.type === 'losses'));
    assert.deepEqual([item.event, item.id, item.message], ['alert', alert.id, alert.message]);
    await until('it was looked at again', async () => (await alertsOf(server, 'losses'))[0].seen > 2);
    assert.equal(stub.seen.flatMap((one) => one.body.items).filter((one) => one.type === 'losses').length, 1, 'not sent again in its cool-down');
    assert.equal((await server.ok('POST', `/api/v1/alerts/${alert.id}/acknowledge`)).state, 'acknowledged');
    assert.equal((await alertsOf(server, 'losses'))[0].state, 'acknowledged');
    assert.equal((await server.ok('POST', `/api/v1/alerts/${alert.id}/resolve`)).state, 'resolved');
    await closeLedger(sidecar, { received: 18, delivered: 11, lost: { refused_upstream: 7 } });
    await server.stop();
  });
}

test('the quota of PostHog: one alert when a sidecar knows that it is reached', async (t) => {
  const stub = await receiver(t);
  const posthog = await PostHog.start();
  t.after(() => posthog.down());
  const app = await PostHogApp.start(t, posthog, { delayMs: 0, quota: { limitMb: 100, baseMb: 40 } });
  const server = await Server.start(t, { set: { ...set, 'server.flush_interval': '100ms' } });
  await keepAll(server);
  await server.ok('POST', '/api/v1/webhooks', { name: 'pager', url: `${stub.url}/json` });
  const sidecar = await Sidecar.start(t, { stub: posthog, set: reporting(server, await server.newKey('report'), { 'posthog.app_host': app.url, 'posthog.personal_api_key': 'phx_e2e', 'posthog.check_interval': '1s' }) });
  const limited = async () => (await sidecar.metrics()).lipservice_posthog_quota_limited;
  await until('a check', async () => (await sidecar.metrics()).lipservice_posthog_check_age_seconds >= 0);
  await send(sidecar, 5);
  await until('it is reported', async () => (await server.metrics()).lipservice_server_records_total === 5);
  assert.deepEqual([await limited(), await alertsOf(server, 'quota')], [0, []]);
  app.quota.baseMb = 100;
  await until('it is known', async () => (await limited()) === 1);
  await send(sidecar, 5);
  const item = await until('it is sent', () => stub.seen.flatMap((one) => one.body.items).find((one) => one.type === 'quota'));
  assert.match(item.message, /^PostHog's quota is reached and it takes no more logs: 1 reports say so in 5 minutes$/);
  const [alert] = await alertsOf(server, 'quota');
  assert.deepEqual([alert.id, alert.service_name, alert.severity], [item.id, 'shop', 'high']);
  await closeLedger(sidecar, { received: 10, delivered: 10 }, { stored: posthog.rows.length + 5 });
  await server.stop();
});
