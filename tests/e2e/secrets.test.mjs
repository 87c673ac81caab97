// Secrets that are configured stand in no line of a log, on no page, in no answer, in no file but
// the spool's (which has its clients' keys), and in no core dump; at the debug level.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs, request } from './lib/otlp.mjs';
import { ALL_SCOPES, PostHogApp } from './lib/posthog_app.mjs';
import { PostHog } from './lib/posthog.mjs';
import { closeLedger, KEEP_ALL, run, Sidecar } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

const SECRETS = {
  project: 'phc_canaryPROJECT0123456789',
  client: 'phc_canaryCLIENT0123456789',
  bearer: 'canaryBEARER0123456789',
  password: 'canaryPASSWORD0123456789',
  header: 'canaryHEADER0123456789',
  personal: 'phx_canaryPERSONAL0123456789',
};
const MARK = /canary[A-Z]+/;
const PAGES = {
  health: ['/livez', '/readyz', '/status', '/nothing'],
  metrics: ['/metrics'],
  admin: ['/api/ledger', '/api/patterns?limit=100', '/api/top', '/api/families', '/api/shadow?limit=9', '/api/config', '/api/minutes', '/api/guard', '/nothing'],
};

function folder(t) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-secrets-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

// A server that refuses everything and repeats what it was shown.
async function echo(t) {
  const seen = [];
  const server = http.createServer((req, res) => {
    seen.push(req.headers);
    req.resume().on('end', () => res.writeHead(403, { 'content-type': 'text/plain' }).end(`no: ${req.headers.authorization ?? req.headers['x-secret']}`));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close(() => {}) && server.closeAllConnections());
  return { url: `http://127.0.0.1:${server.address().port}`, seen };
}

// All that can be read from outside while it runs.
async function look(sidecar) {
  const texts = [];
  for (const [server, routes] of Object.entries(PAGES))
    for (const route of routes) texts.push(await (await fetch(`http://${sidecar.addresses[server]}${route}`)).text());
  for (const options of [{ path: '/nothing' }, { type: 'text/plain' }, { method: 'PUT' }]) texts.push(await (await sidecar.post(Buffer.from('x'), options)).text());
  return texts;
}

function clean(texts) {
  for (const text of texts) assert.doesNotMatch(text, MARK);
}

const files = (dir) => readdirSync(dir, { recursive: true }).map((name) => path.join(dir, String(name))).filter((name) => statSync(name).isFile());

for (const durability of ['memory', 'disk']) {
  test(`PostHog, the policy server and a proxy, ${durability}`, async (t) => {
    const dir = folder(t);
    const stub = await PostHog.start({ projects: [SECRETS.project, SECRETS.client] });
    const server = await echo(t);
    t.after(() => stub.down());
    const env = { POSTHOG_API_KEY: SECRETS.project, LIPSERVICE_POLICY_API_KEY: SECRETS.bearer, LIPSERVICE_POLICY_PROXY_URL: `http://user:${SECRETS.password}@${server.url.slice(7)}` };
    const sidecar = await Sidecar.start(t, {
      env,
      set: {
        ...KEEP_ALL, 'telemetry.log.level': 'debug', 'exporters.posthog.host': stub.url, 'auth.upstream_key': 'client_or_configured', 'policy.server': server.url,
        'policy.refresh_interval': '100ms', 'policy.report_interval': '100ms', 'exporters.refused_file': path.join(dir, 'refused.jsonl'),
        durability, ...(durability === 'disk' && { 'spool.directory': path.join(dir, 'spool') }),
      },
    });
    sidecar.stub = stub;
    // An answer that shows the key again, a refusal of records, an outage, and good days.
    const bad = { status: 400, body: `bad ${SECRETS.project}` };
    stub.faults.push(bad, bad, bad, { status: 503, body: `down ${SECRETS.project}` });
    assert.equal((await sidecar.post(encodeLogs(request(2)))).status, 200);
    await until('the refusal', async () => stub.faults.length === 1 && (await sidecar.ledger()).queued === 0); // of both halves
    assert.equal((await sidecar.post(encodeLogs(request(3)), { headers: { authorization: `Bearer ${SECRETS.client}` } })).status, 200);
    assert.equal((await sidecar.post(encodeLogs(request(4)), { path: `/v1/logs?token=${SECRETS.client}` })).status, 200);
    assert.equal((await sidecar.post(Buffer.from('not OTLP'), { headers: { authorization: `Bearer ${SECRETS.client} ${SECRETS.client}` } })).status >= 400, true);
    await until('delivery', () => stub.rows.length === 7);
    await until('the policy server', () => server.seen.some((headers) => headers.authorization === `Bearer ${SECRETS.bearer}`));
    sidecar.signal('SIGHUP');
    await until('a reload', () => sidecar.log.some((line) => line.event === 'reloaded'));
    clean(await look(sidecar));
    await closeLedger(sidecar, { received: 9, delivered: 7 });
    clean([sidecar.stdout, sidecar.stderr, readFileSync(path.join(dir, 'refused.jsonl'), 'utf8')]);
    // Of the spool only keys of clients, with records that wait for them.
    for (const file of files(dir)) assert.doesNotMatch(readFileSync(file, 'latin1').replaceAll(SECRETS.client, ''), MARK, file);
    const shown = await run(['print-config', '--config', '/dev/null'], { env });
    clean([shown.stdout, shown.stderr]);
    assert.match(shown.stdout, /redacted/);
  });
}

for (const durability of ['memory', 'disk'])
  test(`the personal API key goes to PostHog's app and nowhere else: ${durability}`, async (t) => {
    const dir = folder(t);
    const stub = await PostHog.start({ projects: [SECRETS.project], keepBodies: true });
    t.after(() => stub.down());
    const app = await PostHogApp.start(t, stub, { delayMs: 0, keys: { [SECRETS.personal]: { scopes: ALL_SCOPES, owner: true } } });
    const server = await echo(t);
    const env = { POSTHOG_API_KEY: SECRETS.project, POSTHOG_PERSONAL_API_KEY: SECRETS.personal };
    // Answers that repeat the key, an answer that leads elsewhere, and good days.
    const said = (status) => ({ status, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ detail: `not ${SECRETS.personal} here`, error: SECRETS.personal, attr: SECRETS.personal }) });
    const bad = [said(400), said(403), said(500), { status: 200, headers: {}, body: `<html>${SECRETS.personal}` }, { status: 302, headers: { location: `${server.url}/login?key=${SECRETS.personal}` }, body: '' }];
    app.faults.push(...bad);
    const sidecar = await Sidecar.start(t, {
      env,
      set: {
        ...KEEP_ALL, 'telemetry.log.level': 'debug', 'exporters.posthog.host': stub.url, 'posthog.app_host': app.url, 'posthog.check_interval': '1s', 'posthog.visible_after': '1s', 'posthog.role': 'leader',
        'policy.server': server.url, 'policy.refresh_interval': '100ms', 'policy.report_interval': '100ms',
        durability, ...(durability === 'disk' && { 'spool.directory': path.join(dir, 'spool') }),
      },
    });
    assert.equal((await sidecar.post(encodeLogs(request(5)))).status, 200);
    await until('a good day', async () => app.faults.length === 0 && (await sidecar.metrics()).lipservice_posthog_verify_age_seconds >= 0);
    await until('the policy server', () => server.seen.length > 0);
    sidecar.signal('SIGHUP');
    await until('a reload', () => sidecar.log.some((line) => line.event === 'reloaded'));
    clean(await look(sidecar));
    const common = ['--config', '/dev/null', '--set', `exporters.posthog.host=${stub.url}`, '--set', `posthog.app_host=${app.url}`];
    for (const args of [['check'], ['check', '--json'], ['verify', '--admin', sidecar.addresses.admin]])
      for (const fault of [null, ...bad]) {
        app.faults.push(fault);
        const out = await run(['posthog', ...args, ...common], { env });
        clean([out.stdout, out.stderr]);
      }
    const shown = await run(['print-config', '--config', '/dev/null'], { env });
    clean([shown.stdout, shown.stderr]);
    await sidecar.stop();
    clean([sidecar.stdout, sidecar.stderr]);
    for (const file of files(dir)) assert.ok(!readFileSync(file, 'latin1').includes('canaryPERSONAL'), file);
    // Other connections: ingestion, the policy server, and where the redirect led.
    const others = JSON.stringify([stub.requests.map(({ body, decoded, ...r }) => [r, body?.toString('latin1')]), stub.stray, server.seen]);
    assert.ok(others.length > 1000 && !others.includes('canaryPERSONAL'));
    assert.ok(app.requests.length > 30 && app.requests.every((r) => r.headers.authorization === `Bearer ${SECRETS.personal}`));
  });

test('headers of an OTLP upstream, from a file that a reload finds bad', async (t) => {
  const dir = folder(t);
  const file = path.join(dir, 'config.yaml');
  const server = await echo(t);
  const text = `exporters: {otlphttp: {endpoint: "${server.url}", headers: {x-secret: ${SECRETS.header}}}}\nbatch: {max_age: 50ms}\ntelemetry: {log: {level: debug}}\n`;
  writeFileSync(file, text);
  const sidecar = await Sidecar.start(t, { args: ['--config', file] });
  assert.equal((await sidecar.post(encodeLogs(request(5)))).status, 200);
  await until('a try', () => server.seen.some((headers) => headers['x-secret'] === SECRETS.header));
  // A second exporter: a mistake that a key is part of.
  writeFileSync(file, text.replace('exporters: {', `exporters: {posthog: {api_key: ${SECRETS.project}}, `));
  sidecar.signal('SIGHUP');
  await until('its refusal', () => sidecar.log.some((line) => line.event === 'reload_refused'));
  clean(await look(sidecar));
  sidecar.signal('SIGTERM');
  assert.deepEqual(await sidecar.end(), { code: 0, signal: null });
  clean([sidecar.stdout, sidecar.stderr]);
});

test('no core is dumped, in which the key would stand', async (t) => {
  const dir = folder(t);
  const inFolder = ['sh', '-c', 'ulimit -c unlimited; cd "$0"; exec "$@"', dir];
  const cores = () => readdirSync(dir).filter((name) => name.startsWith('core'));
  const start = async (sandbox) => {
    const sidecar = await Sidecar.start(t, {
      wrap: inFolder, set: { sandbox }, env: { POSTHOG_API_KEY: SECRETS.project, POSTHOG_HOST: 'http://127.0.0.1:1', ASAN_OPTIONS: 'disable_coredump=0:handle_abort=0' },
    });
    sidecar.signal('SIGABRT');
    assert.equal((await sidecar.end()).signal, 'SIGABRT');
  };
  await start('on');
  assert.deepEqual(cores(), []);
  // The same where dumps are allowed, so that the test above can fail. With sanitizers a core
  // would have their terabytes of shadow.
  spawnSync(inFolder[0], [...inFolder.slice(1), 'sh', '-c', 'kill -ABRT $$']);
  if (cores().length === 0) t.diagnostic('no cores are written to the working directory here');
});
