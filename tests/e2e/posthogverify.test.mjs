// `lipservice posthog verify`, and what a leader does by itself: is stored what was sent? Each
// difference is made, and has to be named with its number.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs } from './lib/otlp.mjs';
import { ALL_SCOPES, PostHogApp } from './lib/posthog_app.mjs';
import { actOn } from './lib/posthog_rules.mjs';
import { PostHog } from './lib/posthog.mjs';
import { closeLedger, KEEP_ALL, KEY, run, Sidecar } from './lib/sidecar.mjs';
import { pause, until } from './lib/wait.mjs';

const attribute = (key, value) => ({ key, value: { stringValue: value } });
let serial = 0;

// n records of a service, over the minutes from 8 to 3 ago.
const request = (n, service = 'api', { level = 9, ago = 180000 } = {}) => encodeLogs({
  resourceLogs: [{
    resource: { attributes: [attribute('service.name', service)] },
    scopeLogs: [{ logRecords: Array.from({ length: n }, (_, i) => ({ timeUnixNano: String(BigInt(Date.now() - ago - Math.floor((i * 300000) / n)) * 1000000n), severityNumber: level, body: { stringValue: `line ${serial++} of ${service}` } })) }],
  }],
});

function scratch(t) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-verify-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function rig(t, { app: options = {}, set = {} } = {}) {
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const app = await PostHogApp.start(t, stub, { delayMs: 0, projects: [{ id: 77, name: 'Shop', api_token: KEY }], ...options });
  const settings = { ...KEEP_ALL, 'posthog.app_host': app.url, 'posthog.personal_api_key': 'phx_e2e', 'posthog.check_interval': '1s', 'posthog.visible_after': '1s', ...set };
  const sidecar = await Sidecar.start(t, { set: settings, stub });
  const send = async (...args) => assert.equal((await sidecar.post(request(...args))).status, 200);
  const verify = async ({ args = [], key = 'phx_e2e', token = KEY } = {}) => {
    const out = await run(['posthog', 'verify', '--json', '--admin', sidecar.addresses.admin, '--config', '/dev/null', '--set', `exporters.posthog.host=${stub.url}`, '--set', `posthog.app_host=${app.url}`, ...args], { env: { POSTHOG_PERSONAL_API_KEY: key, POSTHOG_API_KEY: token } });
    if (out.stdout === '') return out;
    const document = JSON.parse(out.stdout);
    assert.equal(out.code, document.ok ? 0 : 1, out.stderr);
    return document;
  };
  const settled = async () => {
    await until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
    await pause(2100); // visible_after, in whole seconds
  };
  // A second sender: it goes past the sidecar.
  // So many more checks have been made, and so what is delivered by now is seen.
  const checks = async (n = 2) => {
    const count = () => app.requests.filter((r) => r.path.endsWith('/quota_limits/')).length;
    const seen = count();
    await until('more checks', () => count() >= seen + n);
  };
  const foreign = (n, service, more) => fetch(`${stub.url}/i/v1/logs`, { method: 'POST', body: request(n, service, more), headers: { authorization: `Bearer ${KEY}` } });
  return { stub, app, sidecar, settings, send, verify, settled, foreign, checks };
}

// Only these differences, in records.
function causes(document, want = {}) {
  const { sent, stored, ...by } = document.records;
  assert.deepEqual(Object.fromEntries(Object.entries(by).filter(([, n]) => n > 0)), want, JSON.stringify(document, null, 1));
  return { sent, stored };
}

test('all that was sent is stored', async (t) => {
  const { send, settled, verify, sidecar } = await rig(t);
  await send(1000);
  await send(300, 'web');
  await settled();
  const found = await verify();
  assert.deepEqual(causes(found), { sent: 1300, stored: 1300 });
  assert.deepEqual(found.services.map((s) => [s.service, s.sent, s.stored]), [['api', 1000, 1000], ['web', 300, 300]]);
  assert.equal(found.ok, true);
  assert.ok(found.minutes >= 10);
  await closeLedger(sidecar, { received: 1300 });
});

test('sampled records are no difference, and neither are released ones', async (t) => {
  const { send, settled, verify, sidecar } = await rig(t, { set: { 'sampling.severity_rates.INFO': 0.1, 'sampling.first.count': 2 } });
  for (let i = 0; i < 5; i++) await send(200);
  await send(3, 'api', { level: 17 });
  await settled();
  const { sent, stored } = causes(await verify());
  assert.ok(sent === stored && sent < 400 && sent > 60, `${sent} sent, ${stored} stored`);
  await closeLedger(sidecar, { received: 1003 });
});

test('a drop rule there, a second sender, and rows that went away', async (t) => {
  const { app, stub, send, settled, verify, foreign, sidecar } = await rig(t);
  actOn(app);
  app.store().create('logs/sampling_rules', { name: 'no api', enabled: true, rule_type: 'path_drop', config: { filter_group: { type: 'AND', values: [{ key: 'service.name', operator: 'exact', value: 'api' }, { key: 'message', operator: 'regex', value: '[05] of api' }] } } });
  await send(1000);
  await send(500, 'web');
  await foreign(40, 'web');
  await settled();
  const dropped = 1500 + 40 - stub.rows.length;
  assert.ok(dropped > 150);
  // The process is younger than these minutes: what is too many there may be its predecessor's.
  let found = await verify();
  causes(found, { drop_rule: dropped, earlier: 40 });
  assert.equal(found.services.find((s) => s.service === 'api').rule, 'no api');
  assert.equal(found.ok, true);
  // Without a cause it is unexplained, and said so.
  app.store()['logs/sampling_rules'].length = 0;
  found = await verify();
  causes(found, { unexplained: dropped, earlier: 40 });
  assert.equal(found.ok, false);
  await closeLedger(sidecar, { received: 1500 }, { stored: 1500 });
});

test('an answer that was lost: stored twice, and known', async (t) => {
  const { stub, send, settled, verify, sidecar } = await rig(t, { set: { 'batch.max_records': 100 }, app: { keys: { phx_e2e: { scopes: ALL_SCOPES, owner: true }, phx_plain: { scopes: ['project:read', 'logs:read'] } } } });
  stub.faults.push({ raw: (socket) => socket.destroy(), store: true }, null, { raw: (socket) => socket.destroy(), store: true });
  await send(1000);
  await settled();
  const twice = stub.rows.length - 1000;
  assert.ok(twice >= 100);
  causes(await verify(), { duplicates: twice });
  // Without SQL they are known from what was sent again, also behind libcurl's back.
  causes(await verify({ key: 'phx_plain' }), { duplicates: twice });
  await closeLedger(sidecar, { received: 1000 }, { stored: 1000 });
});

test('five minutes of quota', async (t) => {
  const { stub, app, send, settled, verify, sidecar } = await rig(t);
  await send(200);
  await until('the first', () => stub.rows.length === 200);
  app.quota.limitMb = 0;
  await until('a limit', async () => (await sidecar.metrics()).lipservice_posthog_quota_limited === 1);
  await send(300);
  await until('what is lost', () => app.lostToQuota === 300);
  app.quota.limitMb = null;
  await until('none', async () => (await sidecar.metrics()).lipservice_posthog_quota_limited === 0);
  await settled();
  causes(await verify(), { quota: 300 });
  await closeLedger(sidecar, { received: 500 }, { stored: 500 });
});

test('what was lost here is known here', async (t) => {
  const { stub, send, settled, verify, sidecar } = await rig(t, { set: { 'batch.max_records': 100 } });
  stub.refuses = (row) => (/^line \d*77 of api/.test(row.body) ? 400 : 0);
  await send(500);
  await settled();
  const lost = 500 - stub.rows.length;
  assert.ok(lost > 0);
  causes(await verify(), { lost_here: lost });
  await closeLedger(sidecar, { received: 500 }, { stored: stub.rows.length });
});

test('the key of another project, and a request that fails', async (t) => {
  const { app, send, settled, verify, sidecar } = await rig(t, { app: { projects: [{ id: 5, name: 'Mine', api_token: 'phc_mine' }, { id: 77, name: 'Shop', api_token: KEY }] } });
  await send(100);
  await settled();
  const other = await verify({ args: ['--set', 'posthog.project_id=5'] });
  causes(other, { wrong_project: 100 });
  assert.equal(other.ok, false);
  app.fault = (r) => (r.path.endsWith('/count-ranges/') ? { status: 500, headers: {}, body: '{}' } : null);
  const failed = await run(['posthog', 'verify', '--admin', sidecar.addresses.admin, '--config', '/dev/null', '--set', `posthog.app_host=${app.url}`], { env: { POSTHOG_PERSONAL_API_KEY: 'phx_e2e', POSTHOG_API_KEY: KEY } });
  assert.deepEqual([failed.code, /failed at POST .*count-ranges.*500/.test(failed.stderr)], [69, true]);
  await closeLedger(sidecar, { received: 100 });
});

test('a crash: what the new process finds and sends is held against what is stored, too', async (t) => {
  const dir = scratch(t);
  const { stub, app, settings, send, sidecar } = await rig(t, { set: { durability: 'disk', 'spool.directory': dir } });
  await stub.down();
  await send(400);
  sidecar.signal('SIGKILL');
  await sidecar.end();
  await stub.up();
  const next = await Sidecar.start(t, { set: settings, stub });
  await until('what was on disk', () => stub.rows.length >= 400);
  assert.equal((await next.post(request(100))).status, 200);
  await until('all', () => stub.rows.length >= 500);
  await pause(2100);
  const out = await run(['posthog', 'verify', '--json', '--admin', next.addresses.admin, '--config', '/dev/null', '--set', `posthog.app_host=${app.url}`], { env: { POSTHOG_PERSONAL_API_KEY: 'phx_e2e', POSTHOG_API_KEY: KEY } });
  const found = JSON.parse(out.stdout);
  assert.deepEqual(causes(found), { sent: 500, stored: 500 });
  await next.stop();
});

test('the leader looks by itself, and sends a canary that nothing counts', async (t) => {
  const { app, stub, send, settled, sidecar, verify } = await rig(t, { set: { 'posthog.role': 'leader', 'sampling.budget.records_per_second': 1000, 'redaction.mode': 'enforce' } });
  await send(200);
  await settled();
  await until('a look', async () => (await sidecar.metrics()).lipservice_posthog_canary_late_seconds >= 0);
  const metrics = await sidecar.metrics();
  assert.equal(metrics['lipservice_posthog_verify_records{cause="unexplained"}'], 0);
  assert.equal(metrics.lipservice_posthog_canaries_missing, 0);
  const sent = () => stub.rows.filter((row) => row.attributes['lipservice.canary']);
  await until('a second canary', () => sent().length >= 2);
  const canaries = sent();
  for (const row of canaries) assert.deepEqual([row.service_name, row.attributes['otel.logs.adjusted_count'], row.attributes['lipservice.event']], ['lipservice', '0', '"canary"']);
  assert.ok((await sidecar.patterns()).every((p) => p.service !== 'lipservice'));
  assert.equal(sidecar.log.find((l) => l.event === 'posthog_verify').level, 'info');
  const found = await verify();
  assert.ok(found.canaries.length > 0 && found.canaries.every((c) => c.found && c.late_s < 5));
  // A rule eats them: missing, and said.
  actOn(app);
  app.store().create('logs/sampling_rules', { name: 'eats canaries', enabled: true, rule_type: 'path_drop', config: { filter_group: { type: 'AND', values: [{ key: 'lipservice.canary', operator: 'is_set' }] } } });
  await until('a missing one', async () => (await sidecar.metrics()).lipservice_posthog_canaries_missing > 0);
  await until('a warning', () => sidecar.log.some((l) => l.event === 'posthog_verify' && l.level === 'warn'));
  await until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
  await sidecar.stop();
});

test('without a sidecar or a key it says so', async (t) => {
  const { sidecar, verify } = await rig(t, { set: { 'posthog.personal_api_key': '' } });
  const out = await verify();
  assert.deepEqual([out.code, /posthog.personal_api_key is not set/.test(out.stderr)], [69, true]);
  assert.equal((await verify({ args: ['--hours', '25'] })).code, 64);
  assert.equal((await verify({ args: ['--admin', '127.0.0.1:9'] })).code, 69);
  await closeLedger(sidecar, { received: 0 });
});

for (const place of ['memory', 'disk'])
  test(`everything at once, and nothing is unexplained: ${place}`, async (t) => {
    const disk = place === 'disk' ? { durability: 'disk', 'spool.directory': scratch(t) } : {};
    const { stub, app, send, settled, verify, foreign, sidecar, checks } = await rig(t, { set: { ...disk, 'batch.max_records': 500, 'posthog.role': 'leader' } });
    actOn(app);
    app.store().create('logs/sampling_rules', { name: 'quiet', enabled: true, rule_type: 'path_drop', config: { filter_group: { type: 'AND', values: [{ key: 'service.name', operator: 'exact', value: 'web' }, { key: 'message', operator: 'regex', value: '[05] of web' }] } } });
    let sent = 0;
    const burst = async (rounds) => {
      for (let i = 0; i < rounds; i++) {
        await Promise.all(['api', 'web', 'db'].map((service) => send(2000, service)));
        sent += 6000;
      }
    };
    stub.faults.push({ status: 503 }, { close: true }, { raw: (socket) => socket.destroy(), store: true }, { status: 413 }, { status: 500, body: '{}' });
    await burst(8);
    await foreign(33, 'db', { ago: 1200000 });
    await until('the queue', async () => (await sidecar.ledger()).queued === 0);
    await checks();
    app.quota.limitMb = 0;
    await until('a limit', async () => (await sidecar.metrics()).lipservice_posthog_quota_limited === 1);
    await burst(2);
    await until('the queue', async () => (await sidecar.ledger()).queued === 0);
    const lostToQuota = app.lostToQuota;
    app.quota.limitMb = null;
    await until('none', async () => (await sidecar.metrics()).lipservice_posthog_quota_limited === 0);
    await checks();
    await burst(2);
    await settled();
    const found = await verify();
    const { records } = found;
    assert.equal(records.unexplained, 0, JSON.stringify(found, null, 1));
    const ours = found.services.filter((s) => s.service !== 'lipservice').reduce((n, s) => n + s.sent, 0);
    assert.equal(ours, sent);
    const canaries = lostToQuota - 12000; // of this process, lost with the rest
    assert.deepEqual([records.drop_rule, records.earlier, records.duplicates], [4000, 33, stub.rows.length - new Set(stub.rows.map((r) => r.body + r.timestamp)).size], JSON.stringify(records));
    assert.ok(records.quota >= 12000 && records.quota <= 12000 + canaries, JSON.stringify(records));
    await until('a look of its own', async () => (await sidecar.metrics()).lipservice_posthog_verify_age_seconds >= 0);
    assert.equal((await sidecar.metrics())['lipservice_posthog_verify_records{cause="unexplained"}'], 0);
    await sidecar.stop();
  });
