// SIGHUP: everything that may change while running, and nothing else, changes in one piece.
import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs, request } from './lib/otlp.mjs';
import { PostHog } from './lib/posthog.mjs';
import { closeLedger, pair, Sidecar } from './lib/sidecar.mjs';
import { pause, until } from './lib/wait.mjs';
import { http1 } from './lib/wire.mjs';

const KEY = 'phc_e2e';

function folder(t) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-e2e-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

// A sidecar whose settings are in a file; write() replaces it as editors do.
async function configured(t, text, { stub } = {}) {
  const file = path.join(folder(t), 'config.yaml');
  const write = (next) => {
    writeFileSync(`${file}.new`, next);
    renameSync(`${file}.new`, file);
  };
  write(text);
  const sidecar = await Sidecar.start(t, { args: ['--config', file] });
  sidecar.stub = stub;
  // Counted, not read from the log, which says only so much a second.
  const reload = async (next, outcome = 'accepted') => {
    const count = async () => (await sidecar.metrics())[`lipservice_config_reloads_total{outcome="${outcome}"}`];
    const before = await count();
    if (next !== undefined) write(next);
    sidecar.signal('SIGHUP');
    await until(`a reload, ${outcome}`, async () => (await count()) > before);
  };
  return { sidecar, write, reload };
}

const yaml = (stub, { key = KEY, info = 1, more = '' } = {}) => `
exporters: {posthog: {host: "${stub.url}", api_key: "${key}"}}
batch: {max_age: 50ms}
sampling: {first: {count: 0}, error_context: {bytes: 0}, severity_rates: {INFO: ${info}}}
${more}`;

const send = async (sidecar, n) => {
  const answer = await sidecar.post(encodeLogs(request(n, { body: (i) => `took ${i} ms` })));
  assert.equal(answer.status, 200);
};

test('rates, host and key change; connections and what is queued stay', async (t) => {
  const first = await PostHog.start();
  const second = await PostHog.start({ projects: ['phc_other'] });
  t.after(() => Promise.all([first.down(), second.down()]));
  const { sidecar, reload } = await configured(t, yaml(first));
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const post = async (n) => assert.equal((await http1(sidecar.httpPort, { agent, headers: { 'content-type': 'application/x-protobuf' }, body: encodeLogs(request(n)) })).status, 200);
  await post(10);
  const port = Object.values(agent.freeSockets)[0]?.[0]?.localPort;
  await until('the first ten', () => first.rows.length === 10);
  await reload(yaml(second, { key: 'phc_other', info: 0 }));
  await post(10);
  assert.equal(Object.values(agent.freeSockets)[0]?.[0]?.localPort, port, 'the same connection');
  await sidecar.post(encodeLogs(request(5, { base: { severityNumber: 17 } })));
  await until('the errors, at the other host', () => second.rows.length === 5);
  assert.equal(second.logs.every((r) => r.token === 'phc_other'), true);
  assert.equal(first.rows.length, 10);
  const metrics = await sidecar.metrics();
  assert.equal(metrics['lipservice_config_reloads_total{outcome="accepted"}'], 1);
  assert.equal(metrics.lipservice_config_last_reload_failed, 0);
  await closeLedger(sidecar, { received: 25, kept: 15, delivered: 15 });
});

test('a bad file changes nothing and raises an alarm, until it is mended', async (t) => {
  const { stub } = { stub: await PostHog.start() };
  t.after(() => stub.down());
  const { sidecar, reload } = await configured(t, yaml(stub, { info: 0 }), { stub });
  const bad = ['sampling: {severity_rates: {INFO: 2}}', 'nonsense: 1', 'a: [', yaml(stub, { key: 'phx_personal' }),
    yaml(stub, { more: 'shadow: {policy_file: /nowhere/policy.yaml}' }), `exporters: {file: {path: "${path.join(folder(t), 'out')}"}}`];
  for (const text of bad) {
    await reload(text, 'refused');
    assert.equal((await sidecar.metrics()).lipservice_config_last_reload_failed, 1, text);
  }
  await send(sidecar, 10);
  assert.equal((await sidecar.ledger()).kept, 0, 'the rate of before');
  await reload(yaml(stub, { info: 1 }));
  assert.equal((await sidecar.metrics()).lipservice_config_last_reload_failed, 0);
  await send(sidecar, 10);
  const metrics = await sidecar.metrics();
  assert.equal(metrics['lipservice_config_reloads_total{outcome="refused"}'], bad.length);
  await closeLedger(sidecar, { received: 20, kept: 10 });
});

test('what needs a restart is named and stays', async (t) => {
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const { sidecar, reload } = await configured(t, yaml(stub), { stub });
  await reload(yaml(stub, { info: 0, more: 'memory: {limit: 128MiB}' }));
  const line = sidecar.log.find((entry) => entry.event === 'reload_needs_restart');
  assert.equal(line.keys, 'memory.limit');
  assert.equal((await sidecar.metrics()).lipservice_memory_limit_bytes, 64 << 20);
  await send(sidecar, 10);
  await closeLedger(sidecar, { received: 10, kept: 0 });
});

test('observe, then enforce', async (t) => {
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const { sidecar, reload } = await configured(t, yaml(stub, { info: 0 }), { stub });
  await reload(yaml(stub, { info: 0, more: 'mode: observe' }));
  await send(sidecar, 10);
  assert.equal((await sidecar.ledger()).kept, 10);
  await reload(yaml(stub, { info: 0 }));
  await send(sidecar, 10);
  await closeLedger(sidecar, { received: 20, kept: 10 });
});

test('a key that was refused and is replaced: what was held goes out at once', async (t) => {
  const stub = await PostHog.start({ projects: ['phc_new'] });
  t.after(() => stub.down());
  const secret = path.join(folder(t), 'key');
  writeFileSync(secret, 'phc_old\n');
  stub.dropped.add('phc_old');
  const { sidecar, reload } = await configured(t, yaml(stub, { key: `\${file:${secret}}` }), { stub });
  await send(sidecar, 20);
  await until('the key to be refused', async () => (await sidecar.metrics()).lipservice_exporter_key_refused === 1 || sidecar.log.some((line) => line.event === 'upstream_refused'));
  writeFileSync(secret, 'phc_new\n');
  await reload();
  await until('all of it, long before the next try with the old key', () => stub.rows.length === 20);
  await closeLedger(sidecar, { received: 20, kept: 20, delivered: 20 });
});

test('a hundred reloads under load: no connection is refused, nothing is lost', async (t) => {
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const { sidecar, reload } = await configured(t, yaml(stub), { stub });
  let running = true, sent = 0;
  const client = async () => {
    while (running) {
      await send(sidecar, 20); // a new connection now and then: fetch keeps few of them
      sent += 20;
    }
  };
  const clients = [client(), client(), client()];
  for (let i = 0; i < 100; i++) await reload(yaml(stub, { info: i % 2 === 0 ? 1 : 0.5 }));
  running = false;
  await Promise.all(clients);
  const ledger = await closeLedger(sidecar, { received: sent, rejected: 0 });
  assert.equal(ledger.kept + ledger.sampled_out, sent);
});

test('a hundred SIGTERMs under load: nothing acknowledged is lost', async (t) => {
  const AT_ONCE = 5, ROUNDS = 100;
  const round = async (number) => {
    const { stub, sidecar } = await pair(t);
    let acknowledged = 0, running = true;
    const client = async () => {
      while (running) {
        const n = 1 + ((acknowledged + number) % 7);
        try {
          const answer = await sidecar.post(encodeLogs(request(n)));
          await answer.arrayBuffer();
          if (answer.status === 200) acknowledged += n;
        } catch {
          running = false; // it has stopped listening
        }
      }
    };
    const clients = [client(), client()];
    await pause(number % 40);
    sidecar.signal('SIGTERM');
    setTimeout(() => (running = false), 300);
    const { code } = await sidecar.end();
    running = false;
    await Promise.all(clients);
    assert.equal(code, 0, `round ${number}: ${sidecar.stderr}`);
    assert.ok(stub.rows.length >= acknowledged, `round ${number}: ${acknowledged} acknowledged, ${stub.rows.length} arrived: ${sidecar.stderr}`);
    const last = sidecar.log.find((line) => line.event === 'ledger');
    assert.equal(Number(last.delivered), stub.rows.length);
    assert.equal(Number(last.lost), 0);
    await stub.down();
  };
  for (let i = 0; i < ROUNDS; i += AT_ONCE) await Promise.all(Array.from({ length: AT_ONCE }, (_, k) => round(i + k)));
});

test('a policy server that cannot be trusted changes nothing, and is not lost', async (t) => {
  const stub = await PostHog.start();
  t.after(() => stub.down());
  let fetches = 0;
  const server = http.createServer((req, res) => {
    fetches += req.method === 'GET';
    req.resume().on('end', () => res.writeHead(404).end());
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => { server.closeAllConnections(); server.close(); });
  const ca = path.join(folder(t), 'ca.pem');
  const policy = (more = '') => yaml(stub, { more: `policy: {server: "http://127.0.0.1:${server.address().port}", refresh_interval: 100ms${more}}` });
  const { sidecar, reload } = await configured(t, policy(), { stub });
  await send(sidecar, 1);
  await until('a fetch', () => fetches > 0);
  await reload(policy(`, tls: {ca_file: "${ca}"}`) + '\nmode: observe\n', 'refused');
  let before = fetches;
  await until('fetches as before', () => fetches > before + 1);
  assert.equal((await sidecar.metrics())['lipservice_config_last_reload_failed'], 1);
  await reload(policy());
  before = fetches;
  await until('fetches again', () => fetches > before + 1);
  await closeLedger(sidecar, { received: 1, kept: 1 });
});

test('what a reload replaces is not used again: files, keys and servers of every one before', async (t) => {
  const stub = await PostHog.start();
  t.after(() => stub.down());
  let fetches = 0;
  const server = http.createServer((req, res) => {
    fetches += req.method === 'GET' && req.headers.authorization?.startsWith('Bearer key-');
    req.resume().on('end', () => res.writeHead(404).end());
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => { server.closeAllConnections(); server.close(); });
  const dir = folder(t);
  const files = [0, 1].map((i) => path.join(dir, `policy-${i}.json`));
  for (const file of files) writeFileSync(file, '{"version": 1, "global_rate": 1}');
  const text = (i) => yaml(stub, { more: `policy: {server: "http://127.0.0.1:${server.address().port}", api_key: "key-${i >> 1}", refresh_interval: 100ms, report_interval: 100ms}
shadow: {policy_file: "${files[i >> 1 & 1]}"}` });
  const { sidecar, reload } = await configured(t, text(0), { stub });
  for (let i = 1; i < 9; i++) {
    await send(sidecar, 1);
    await reload(text(i));
    const before = fetches;
    await until('fetches', () => fetches > before + 1);
  }
  await closeLedger(sidecar, { received: 8, kept: 8 });
});
