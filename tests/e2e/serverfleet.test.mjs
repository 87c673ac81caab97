// Sidecars and a policy server: a change is in force at once, counts arrive once, whoever of the
// two ends or is killed.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs } from './lib/otlp.mjs';
import { counted, report, Server } from './lib/server.mjs';
import { killServer } from './lib/serverkills.mjs';
import { closeLedger, KEEP_ALL, pair } from './lib/sidecar.mjs';
import { Certificates } from './lib/tls.mjs';
import { until } from './lib/wait.mjs';

const logs = (n, { service = 'checkout', number = 9, text = 'INFO', body = (i) => `user ${i} logged in` } = {}) =>
  encodeLogs({
    resourceLogs: [{
      resource: { attributes: [{ key: 'service.name', value: { stringValue: service } }] },
      scopeLogs: [{ logRecords: Array.from({ length: n }, (_, i) => ({ timeUnixNano: '1', severityNumber: number, severityText: text, body: { stringValue: body(i) } })) }],
    }],
  });

const settings = (url, key, more = {}) => ({
  ...KEEP_ALL,
  'sampling.first.count': 0,
  'policy.server': url,
  'policy.api_key': key,
  'policy.report_interval': '200ms',
  'policy.refresh_interval': '1h', // what is fetched comes by waiting
  ...more,
});

const send = async (sidecar, body) => assert.equal((await sidecar.post(body)).status, 200);
const inForce = (sidecar, version) => until(`version ${version}`, () => sidecar.log.some((line) => line.event === 'policy' && Number(line.version) === version));
const all = { DEBUG: 1, INFO: 1, WARN: 1, ERROR: 1, FATAL: 1 };

test('a change reaches a sidecar within two seconds, and counts come back', async (t) => {
  const server = await Server.start(t, { set: { 'server.flush_interval': '100ms' } });
  const key = await server.newKey('report');
  const { sidecar } = await pair(t, { set: settings(server.url, key) });
  await send(sidecar, logs(10, { service: 'a' }));
  await until('the service is known, and its sidecar waits', async () => (await counted(server, 'a')) > 0 && (await server.metrics()).lipservice_server_waiting > 0);
  await until('the default policy', () => sidecar.log.some((line) => line.event === 'policy' && Number(line.version) === 0));

  for (let version = 1; version <= 3; version++) {
    await until('it waits', async () => (await server.metrics()).lipservice_server_waiting > 0);
    const began = Date.now();
    await server.ok('PUT', '/api/v1/policies/a', { severity_rates: { ...all, INFO: version === 3 ? 0 : 1 } });
    await inForce(sidecar, version);
    const took = Date.now() - began;
    assert.ok(took < 2000, `version ${version} took ${took} ms`);
  }
  await send(sidecar, logs(100, { service: 'a' }));
  await until('counts of all', async () => (await counted(server, 'a')) === 110);
  const { patterns } = await server.ok('GET', '/api/v1/services/a/patterns');
  const ledger = await sidecar.ledger();
  assert.equal(patterns.length, 1);
  assert.deepEqual([patterns[0].count, patterns[0].sampled_count, patterns[0].bytes, patterns[0].sampled_bytes],
    [110, ledger.kept, ledger.received_bytes ?? patterns[0].bytes, ledger.kept_bytes ?? patterns[0].sampled_bytes]);
  await closeLedger(sidecar, { received: 110 });
  await server.stop();
});

test('reports say which versions there are, and which instance has a pattern', async (t) => {
  const server = await Server.start(t, { set: { 'server.flush_interval': '100ms' } });
  const key = await server.newKey('report');
  const { sidecar } = await pair(t, { set: settings(server.url, key, { 'redaction.mode': 'enforce' }) });
  const of = (version) => encodeLogs({
    resourceLogs: [{
      resource: { attributes: [{ key: 'service.name', value: { stringValue: 'a' } }, { key: 'service.version', value: { stringValue: version } }] },
      scopeLogs: [{ logRecords: [{ timeUnixNano: '1', severityNumber: 9, severityText: 'INFO', body: { stringValue: `started as ${version}` } }] }],
    }],
  });
  const began = Date.now();
  for (const version of ['1.0', '2.0-rc1', '1.0', 'jane@example.com']) await send(sidecar, of(version));
  await until('counts of all', async () => (await counted(server, 'a')) === 4);
  const rows = (sql) => JSON.parse(execFileSync('python3', ['-c', 'import json, sqlite3, sys; print(json.dumps(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall()))', path.join(server.directory, 'lipservice.db'), sql], { encoding: 'utf8' }));
  const versions = rows('SELECT version, first_ms FROM service_versions ORDER BY version');
  assert.deepEqual(versions.map(([version]) => version), ['1.0', '2.0-rc1', 'redacted-email-0']);
  for (const [, at] of versions) assert.ok(at >= began - 1 && at <= Date.now(), `${at}, not since ${began}`);
  assert.deepEqual([...new Set(rows("SELECT instance FROM patterns WHERE signature <> ''").flat())], [os.hostname()]);
  await server.ok('POST', '/api/v1/patterns/stats', report('a', 1, { instance: 'another', boot: 'b', sequence: 1, patterns: (await server.ok('GET', '/api/v1/services/a/patterns')).patterns.map(({ signature }) => ({ signature, count: 1 })) }));
  await until('several have them', () => rows("SELECT instance FROM patterns WHERE signature <> ''").flat().every((instance) => instance === ''));
  await closeLedger(sidecar, { received: 4 });
  await server.stop();
});

test('the server ends: who waits is answered, and comes back to the next one', async (t) => {
  const set = { 'server.flush_interval': '100ms' };
  const first = await Server.start(t, { set });
  const key = await first.newKey('report');
  const { sidecar } = await pair(t, { set: settings(first.url, key, { 'policy.refresh_interval': '500ms' }) });
  await send(sidecar, logs(10, { service: 'a' }));
  await until('it waits', async () => (await first.metrics()).lipservice_server_waiting > 0 && (await counted(first, 'a')) === 10);
  const began = Date.now();
  await first.stop();
  assert.ok(Date.now() - began < 4000, 'a wait of minutes does not hold the end');
  await send(sidecar, logs(30, { service: 'a' }));
  await until('a report fails', async () => (await sidecar.metrics())['lipservice_policy_reports_total{outcome="failed"}'] > 0);
  const next = await Server.start(t, { set: { ...set, 'server.endpoint': new URL(first.url).host }, directory: first.directory, key: first.key });
  await next.ok('PUT', '/api/v1/policies/a', { severity_rates: all });
  await inForce(sidecar, 1);
  await until('counts of all', async () => (await counted(next, 'a')) === 40);
  await closeLedger(sidecar, { received: 40 });
  await next.stop();
});

// Every request reaches the server; of every second report the answer does not come back.
async function lossyProxy(t, url) {
  let reports = 0;
  const proxy = http.createServer((req, res) => {
    const isReport = req.method === 'POST';
    const drop = isReport && reports++ % 2 === 0;
    const to = http.request(url + req.url, { method: req.method, headers: req.headers }, (answer) => {
      if (drop) {
        answer.resume();
        answer.on('end', () => res.destroy());
        return;
      }
      res.writeHead(answer.statusCode, answer.headers);
      answer.pipe(res);
    });
    to.on('error', () => res.destroy());
    res.on('close', () => to.destroy());
    req.pipe(to);
  });
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  return { url: `http://127.0.0.1:${proxy.address().port}`, get dropped() { return Math.ceil(reports / 2); } };
}

test('answers that are lost on their way: every record is counted once', async (t) => {
  const server = await Server.start(t, { set: { 'server.flush_interval': '100ms' } });
  const key = await server.newKey('report');
  const proxy = await lossyProxy(t, server.url);
  const { sidecar } = await pair(t, { set: settings(proxy.url, key) });
  let sum = 0;
  for (let i = 1; i <= 12; i++) {
    await send(sidecar, logs(i * 10, { service: 'a', body: (n) => (n % 2 ? `user ${n} logged in` : `order ${n} shipped`) }));
    sum += i * 10;
    const dropped = proxy.dropped;
    await until('another answer is lost', () => proxy.dropped > dropped);
  }
  await until('counts of all', async () => (await counted(server, 'a')) >= sum);
  await until('all are accepted', async () => (await server.metrics())['lipservice_server_reports_total{outcome="repeated"}'] >= 5);
  await closeLedger(sidecar, { received: sum });
  assert.equal(await counted(server, 'a'), sum);
  assert.equal((await server.metrics()).lipservice_server_report_gaps_total, 0);
  await server.stop();
});

test('a server that is killed at any time loses no report that it answered, and counts none twice', async (t) => {
  const sums = await killServer(t, 12);
  assert.ok(sums.reports > 20, `only ${sums.reports} reports`);
});

test('long polls: held, ended by a change, by time, by their client; a service that comes later', async (t) => {
  const server = await Server.start(t);
  const waiting = async (n) => until(`${n} wait`, async () => (await server.metrics()).lipservice_server_waiting === n);
  await server.ok('POST', '/api/v1/services', { name: 'a' });
  const now = await server.call('GET', '/api/v1/policies/a', { headers: { prefer: 'wait=0' } });
  assert.equal(now.headers.get('preference-applied'), 'wait');
  const tag = { 'if-none-match': now.headers.get('etag') };
  assert.equal((await server.call('GET', '/api/v1/policies/a', { headers: tag })).status, 304);
  assert.equal((await server.call('GET', '/api/v1/policies/a', { headers: { ...tag, prefer: 'wait=1' } })).status, 304);

  const many = Array.from({ length: 50 }, () => server.call('GET', '/api/v1/policies/a', { headers: { ...tag, prefer: 'respond-async, wait=200' } }));
  const stranger = server.call('GET', '/api/v1/policies/b', { headers: { prefer: 'wait=200' } });
  const leaver = new AbortController();
  const left = server.call('GET', '/api/v1/policies/a', { headers: { ...tag, prefer: 'wait=200' }, signal: leaver.signal }).catch(() => 'left');
  await waiting(52);
  leaver.abort();
  assert.equal(await left, 'left');
  await waiting(51);
  await server.ok('PUT', '/api/v1/policies/a', { global_rate: 0.5 });
  for (const one of await Promise.all(many)) assert.deepEqual([one.status, one.body.version], [200, 1]);
  await waiting(1);
  await server.ok('POST', '/api/v1/patterns/stats', report('b', 1));
  assert.deepEqual([(await stranger).status, (await stranger).body.version], [200, 0]);

  const held = server.call('GET', '/api/v1/policies/c', { headers: { prefer: 'wait=200' } });
  await waiting(1);
  await server.stop();
  assert.equal((await held).status, 404);
});

test('without the server: the last policy is on disk, and in force from the first record on', async (t) => {
  const server = await Server.start(t);
  const state = mkdtempSync(path.join(os.tmpdir(), 'lipservice-state-'));
  t.after(() => rmSync(state, { recursive: true, force: true }));
  const key = await server.newKey('report');
  await server.ok('POST', '/api/v1/services', { name: 'a' });
  await server.ok('PUT', '/api/v1/policies/a', { severity_rates: { ...all, INFO: 0 } });
  const set = settings(server.url, key, { 'state.directory': path.join(state, 'new'), 'policy.report_interval': '1h' });
  const first = await pair(t, { set });
  await send(first.sidecar, logs(1, { service: 'a' }));
  await inForce(first.sidecar, 1);
  await until('it waits', async () => (await server.metrics()).lipservice_server_waiting > 0);
  await closeLedger(first.sidecar, { received: 1 });
  await server.stop();

  const second = await pair(t, { set });
  await send(second.sidecar, logs(1, { service: 'a' }));
  await send(second.sidecar, logs(50, { service: 'a' }));
  const metrics = await second.sidecar.metrics();
  assert.deepEqual([metrics.lipservice_policy_from_disk_total, metrics.lipservice_policy_services, metrics.lipservice_policy_age_seconds], [1, 1, -1]);
  await closeLedger(second.sidecar, { received: 51, sampled_out: 51 });
});

test('over TLS: a sidecar that trusts the CA, and clear text is refused where it is not wanted', async (t) => {
  const certificates = new Certificates(t);
  const server = await Server.start(t, {
    set: { 'server.flush_interval': '100ms', 'server.tls.cert_file': certificates.file('good.crt'), 'server.tls.key_file': certificates.file('good.key'), 'server.tls.required': true },
  });
  assert.ok(server.url.startsWith('https://'));
  await assert.rejects(fetch(server.url.replace('https', 'http') + '/api/v1/services').then((answer) => assert.ok(answer.ok)));
  const { sidecar } = await pair(t, { set: settings(server.url, server.key, { 'policy.tls.ca_file': certificates.file('ca.crt') }) });
  await send(sidecar, logs(10, { service: 'a' }));
  await until('a policy came', () => sidecar.log.some((line) => line.event === 'policy' && Number(line.version) === 0));
  await until('a report was taken', async () => (await sidecar.metrics())['lipservice_policy_reports_total{outcome="accepted"}'] > 0);
  await closeLedger(sidecar, { received: 10 });
  await server.stop();
});
