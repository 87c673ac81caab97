// What a start gives up, seen from inside: a library does on the loop's thread what an intruder
// would. And what must go on working nevertheless.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { encodeLogs, request } from './lib/otlp.mjs';
import { PostHogApp } from './lib/posthog_app.mjs';
import { PostHog } from './lib/posthog.mjs';
import { BINARY, closeLedger, KEEP_ALL, Sidecar as Any } from './lib/sidecar.mjs';
import { Certificates, tlsFront } from './lib/tls.mjs';
import { until } from './lib/wait.mjs';

// Sanitizers make calls of their own, so that only a build without them filters calls.
const binary = process.env.LIPSERVICE_RELEASE_BIN ?? BINARY;
const Sidecar = { start: (t, options) => Any.start(t, { binary, ...options }) };

const EPERM = 1;
const EACCES = 13;
const isRoot = process.getuid() === 0;

function folder(t) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-sandbox-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const LIBRARY = path.join(mkdtempSync(path.join(os.tmpdir(), 'lipservice-probe-')), 'probe.so');
process.on('exit', () => rmSync(path.dirname(LIBRARY), { recursive: true, force: true }));
execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', LIBRARY, fileURLToPath(new URL('lib/probe.c', import.meta.url)), '-ldl']);

async function probed(t, { set = {}, fatal, uid } = {}) {
  const file = path.join(folder(t), 'file');
  writeFileSync(file, 'not ours', { mode: 0o666 });
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const asan = process.env.ASAN_OPTIONS ?? 'detect_stack_use_after_return=1:quarantine_size_mb=8';
  // With a user of its own the library must be readable to it.
  if (uid !== undefined) for (const name of [path.dirname(LIBRARY), LIBRARY, path.dirname(file), file]) chownSync(name, uid, uid);
  const env = { LD_PRELOAD: LIBRARY, PROBE_FILE: file, ASAN_OPTIONS: `${asan}:verify_asan_link_order=0`, ...(fatal && { PROBE_FATAL: fatal }) };
  const sidecar = await Sidecar.start(t, { set: { ...KEEP_ALL, ...set }, stub, env, uid, ready: false });
  const found = () => Object.fromEntries([...sidecar.stderr.matchAll(/^probe (\w+) errno=(\d+)$/gm)].map(([, name, code]) => [name, Number(code)]));
  return { stub, sidecar, found };
}

const hold = (sidecar) => sidecar.log.find((line) => line.event === 'sandbox');
const knows = (sidecar) => ({ landlock: Number(hold(sidecar).landlock), seccomp: hold(sidecar).seccomp === 'on' });

for (const uid of isRoot ? [undefined, 65532] : [undefined]) {
  test(`files, calls and other processes are out of reach${uid ? ' of a user of its own' : ''}, and records go on`, async (t) => {
    const { sidecar, found } = await probed(t, { uid });
    assert.equal((await sidecar.post(encodeLogs(request(5)))).status, 200);
    const { landlock, seccomp } = knows(sidecar);
    await until('the last probe', () => 'null' in found());
    const probes = found();
    if (landlock > 0) {
      for (const name of ['shadow', 'read', 'write', 'parent']) assert.equal(probes[name], EACCES, name);
      // Where network managers replace /etc/resolv.conf all of /etc is open, but not to root.
      if (uid === undefined && isRoot) assert.equal(probes.passwd, EACCES);
    } else t.diagnostic('no Landlock here');
    if (landlock >= 6 || seccomp) assert.equal(probes.signal, EPERM);
    if (seccomp) {
      for (const name of ['listen', 'packet', 'fork']) assert.equal(probes[name], EPERM, name);
      const [major, minor] = os.release().split('.').map(Number);
      if (major * 100 + minor >= 603) assert.equal(probes.code, EACCES, 'data became code');
    } else t.diagnostic('no system calls are filtered in this build or on this kernel');
    assert.equal(probes.null, 0);
    // Memory that is hidden belongs to root, whoever runs the program.
    assert.equal(statSync(`/proc/${sidecar.pid}/environ`).uid, 0);
    const status = readFileSync(`/proc/${sidecar.pid}/status`, 'utf8');
    assert.match(status, /^NoNewPrivs:\s+1$/m);
    for (const set of ['Inh', 'Prm', 'Eff', 'Amb', ...(isRoot && !uid ? ['Bnd'] : [])]) assert.match(status, new RegExp(`^Cap${set}:\\s+0+$`, 'm'));
    if (seccomp) assert.match(status, /^Seccomp:\s+2$/m);
    await closeLedger(sidecar, { received: 5, kept: 5 });
    assert.equal(sidecar.log.some((line) => line.event === 'running_as_root'), isRoot && !uid);
  });
}

for (const fatal of ['execve', 'ptrace', 'setuid']) {
  test(`${fatal} ends the process at once`, async (t) => {
    const { sidecar } = await probed(t, { fatal });
    if (!knows(sidecar).seccomp) {
      t.skip('no system calls are filtered in this build or on this kernel');
      return;
    }
    await sidecar.post(encodeLogs(request(1))).catch(() => {});
    assert.deepEqual(await sidecar.end(), { code: null, signal: 'SIGSYS' });
    assert.ok(!sidecar.stderr.includes(`probe ${fatal}`));
  });
}

test('sandbox: off leaves everything as it was', async (t) => {
  const uid = isRoot ? 65532 : undefined;
  const { sidecar, found } = await probed(t, { set: { sandbox: 'off' }, uid });
  assert.equal(statSync(`/proc/${sidecar.pid}/environ`).uid, uid ?? process.getuid());
  assert.equal((await sidecar.post(encodeLogs(request(5)))).status, 200);
  await until('the last probe', () => 'null' in found());
  const probes = found();
  for (const name of ['read', 'write', 'passwd', 'listen', 'fork', 'code']) assert.equal(probes[name], 0, name);
  assert.equal(hold(sidecar), undefined);
  await closeLedger(sidecar, { received: 5 });
});

// ---- what must go on working

test('files that a reload reads again were replaced by renaming; one that lies elsewhere refuses it', async (t) => {
  const stub = await PostHog.start({ projects: ['phc_old', 'phc_new'] });
  t.after(() => stub.down());
  const [dir, other] = [folder(t), folder(t)];
  const file = (name) => path.join(dir, name);
  const replace = (name, text) => {
    writeFileSync(`${name}.new`, text);
    renameSync(`${name}.new`, name);
  };
  const config = (key, policy) => `
exporters: {posthog: {host: "${stub.url}", api_key: "\${file:${key}}"}, refused_file: "${file('refused.jsonl')}"}
batch: {max_age: 50ms}
sampling: {policy_file: "${policy}", severity_rates: {INFO: 1}}`;
  for (const at of [dir, other]) {
    replace(path.join(at, 'key'), 'phc_old');
    replace(path.join(at, 'policy.yaml'), 'global_rate: 1\n');
  }
  replace(file('config.yaml'), config(file('key'), file('policy.yaml')));
  const sidecar = await Sidecar.start(t, { args: ['--config', file('config.yaml')] });
  sidecar.stub = stub;
  const count = async (outcome) => (await sidecar.metrics())[`lipservice_config_reloads_total{outcome="${outcome}"}`];
  const reload = async (outcome) => {
    const before = await count(outcome);
    sidecar.signal('SIGHUP');
    await until(`a reload, ${outcome}`, async () => (await count(outcome)) > before);
  };
  assert.equal((await sidecar.post(encodeLogs(request(3)))).status, 200);
  await until('the first', () => stub.rows.length === 3);

  replace(file('key'), 'phc_new');
  replace(file('policy.yaml'), 'version: 2\nglobal_rate: 1\n');
  renameSync(file('refused.jsonl'), file('refused.jsonl.1')); // a rotation
  await reload('accepted');
  assert.ok(statSync(file('refused.jsonl')).isFile());
  assert.equal((await sidecar.post(encodeLogs(request(3)))).status, 200);
  await until('the second', () => stub.rows.length === 6);
  assert.equal(stub.logs.at(-1).headers.authorization, 'Bearer phc_new');

  if (knows(sidecar).landlock > 0) {
    replace(file('config.yaml'), config(file('key'), path.join(other, 'policy.yaml')));
    await reload('refused');
    const why = sidecar.log.findLast((line) => line.event === 'reload_refused').reason;
    assert.match(why, /sampling\.policy_file.*sandbox.*restart/);
    replace(file('config.yaml'), config(path.join(other, 'key'), file('policy.yaml')));
    await reload('refused');
    assert.match(sidecar.log.findLast((line) => line.event === 'reload_refused').reason, /Permission denied/);
  } else t.diagnostic('no Landlock here');
  replace(file('config.yaml'), config(file('key'), file('policy.yaml')));
  await reload('accepted');
  await closeLedger(sidecar, { received: 6 });
});

for (const what of ['localhost', 'a name that does not exist']) {
  test(`names are looked up: ${what}`, async (t) => {
    const stub = await PostHog.start();
    t.after(() => stub.down());
    const host = what === 'localhost' ? stub.url.replace('127.0.0.1', 'localhost') : 'http://posthog.invalid:1';
    const sidecar = await Sidecar.start(t, { set: { ...KEEP_ALL, 'exporters.posthog.host': host, 'exporters.posthog.api_key': 'phc_e2e', 'shutdown.timeout': '500ms' } });
    assert.equal((await sidecar.post(encodeLogs(request(4)))).status, 200);
    if (what === 'localhost') {
      sidecar.stub = stub;
      await until('delivery', () => stub.rows.length === 4);
      return closeLedger(sidecar, { received: 4, delivered: 4 });
    }
    const failed = () => sidecar.log.find((line) => /resolve/i.test(JSON.stringify(line)));
    await until('the failure', failed);
    assert.doesNotMatch(JSON.stringify(failed()), /Permission|not permitted|thread/i);
    await sidecar.stop();
  });
}

test('a spool whose directory was removed is made again', async (t) => {
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const dir = path.join(folder(t), 'data');
  mkdirSync(dir);
  const spool = path.join(dir, 'spool');
  const sidecar = await Sidecar.start(t, { set: { ...KEEP_ALL, durability: 'disk', 'spool.directory': spool }, stub });
  assert.equal((await sidecar.post(encodeLogs(request(3)))).status, 200);
  await until('delivery', () => stub.rows.length === 3);
  rmSync(spool, { recursive: true });
  await until('it is taken again', async () => (await sidecar.post(encodeLogs(request(1)))).status === 200);
  assert.ok(statSync(spool).isDirectory());
  await closeLedger(sidecar);
});

test("PostHog's app is reached by name and by TLS from inside", async (t) => {
  const certificates = new Certificates(t);
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const app = await PostHogApp.start(t, stub, { delayMs: 0 });
  const front = await tlsFront(t, app.url, certificates.pair('good'));
  const sidecar = await Sidecar.start(t, {
    stub, env: { POSTHOG_PERSONAL_API_KEY: 'phx_e2e' },
    set: { ...KEEP_ALL, 'posthog.app_host': `https://localhost:${front.port}`, 'exporters.posthog.tls.ca_file': certificates.file('ca.crt'), 'posthog.check_interval': '1s', 'posthog.role': 'leader' },
  });
  await until('three checks', () => app.requests.filter((r) => r.path.endsWith('/logs_config/')).length >= 3);
  assert.equal(sidecar.log.find((line) => line.event === 'posthog_check').findings, 'none');
  assert.ok(front.requests >= 15);
  await until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
  await sidecar.stop();
});
