// The process itself: it never stops by itself, and always ends when it is asked to.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, existsSync, mkdtempSync, openSync, readFileSync, readlinkSync, realpathSync, renameSync, rmSync, statSync, unlinkSync, writeFileSync, writeSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { encodeLogs, request } from './lib/otlp.mjs';
import { PostHog } from './lib/posthog.mjs';
import { audit, closeLedger, KEEP_ALL, pair, run, Sidecar } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';
import { http1 } from './lib/wire.mjs';

function folder(t) {
  const dir = realpathSync(mkdtempSync(path.join(os.tmpdir(), 'lipservice-process-')));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

// A pipe with nobody behind it yet; `fd` keeps it open for reading, so that writers do not wait for that.
function pipe(t) {
  const file = path.join(folder(t), 'pipe');
  execFileSync('mkfifo', [file]);
  const fd = openSync(file, constants.O_RDWR | constants.O_NONBLOCK);
  let open = true;
  const close = () => open && (closeSync(fd), (open = false));
  t.after(close);
  return { file, fd, close };
}

function fill(fd) {
  for (const piece of [4096, 1]) {
    for (;;) {
      try {
        writeSync(fd, Buffer.alloc(piece, '.'));
      } catch (error) {
        assert.equal(error.code, 'EAGAIN');
        break;
      }
    }
  }
}

const shell = (redirection) => ['sh', '-c', `exec "$@" ${redirection}`, 'sh'];
const wide = (n, from = 0, bytes = 1000) => encodeLogs(request(n, { body: (i) => `line ${from + i} ${'x'.repeat(bytes)}` }));
const take = async (sidecar, body) => assert.equal((await sidecar.post(body)).status, 200);
const lastLine = (sidecar) => sidecar.log.find((line) => line.event === 'ledger');
const onDisk = (t, more = {}) => ({ ...KEEP_ALL, durability: 'disk', 'spool.directory': path.join(folder(t), 'spool'), ...more });
const counter = async (sidecar, name) => (await sidecar.metrics())[name] ?? 0;

// It ended by itself with 0, and its last line accounts for every record.
async function endedWhole(sidecar, want = {}) {
  assert.deepEqual(await sidecar.end(), { code: 0, signal: null }, sidecar.stderr);
  const last = lastLine(sidecar);
  assert.equal(last.kept + last.released, last.delivered + last.lost + last.left_on_disk, JSON.stringify(last));
  assert.equal(last.received, last.kept + last.sampled_out + last.dropped_by_rule + last.rejected);
  for (const [key, value] of Object.entries(want)) assert.equal(last[key], value, `${key}: ${JSON.stringify(last)}`);
  return last;
}

// ---- a call that does not return

const FAST_END = { ...KEEP_ALL, 'shutdown.timeout': '500ms' };

test('standard output into a pipe that nobody reads: SIGTERM ends it, and the loss is exact', async (t) => {
  const { file } = pipe(t);
  const sidecar = await Sidecar.start(t, { set: { ...FAST_END, 'exporters.file.path': '-' }, wrap: shell(`>${file}`) });
  for (let i = 0; i < 6; i++) await take(sidecar, wide(50, i * 50));
  await until('a write that does not end', async () => (await counter(sidecar, 'lipservice_exporter_in_flight_requests')) === 1);
  await audit(sidecar, { received: 300, kept: 300 });
  sidecar.signal('SIGTERM');
  const last = await endedWhole(sidecar, { received: 300, kept: 300 });
  assert.ok(last.lost_shutdown > 0 && last.lost === last.lost_shutdown);
});

test('likewise, and a second SIGTERM ends it before its time', async (t) => {
  const { file } = pipe(t);
  const sidecar = await Sidecar.start(t, { set: { ...FAST_END, 'exporters.file.path': '-', 'shutdown.timeout': '1h' }, wrap: shell(`>${file}`) });
  await take(sidecar, wide(100));
  await until('a write that does not end', async () => (await counter(sidecar, 'lipservice_exporter_in_flight_requests')) === 1);
  sidecar.signal('SIGTERM');
  await until('the drain', () => sidecar.log.some((line) => line.event === 'stopping'));
  sidecar.signal('SIGTERM');
  await endedWhole(sidecar, { received: 100, delivered: 0, lost_shutdown: 100 });
});

// The library that makes calls hang, and what a sidecar needs for one of them.
const LIBRARY = path.join(mkdtempSync(path.join(os.tmpdir(), 'lipservice-hang-')), 'hang.so');
process.on('exit', () => rmSync(path.dirname(LIBRARY), { recursive: true, force: true }));
execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', LIBRARY, fileURLToPath(new URL('lib/hang.c', import.meta.url)), '-ldl']);

function hanging(t, call, file) {
  const hold = path.join(folder(t), 'hold');
  writeFileSync(hold, '');
  const asan = process.env.ASAN_OPTIONS ?? 'detect_stack_use_after_return=1:quarantine_size_mb=8';
  return {
    // The library makes a file that no setting names.
    env: { LIPSERVICE_SANDBOX: 'off', LD_PRELOAD: LIBRARY, HANG_CALL: call, HANG_WHILE: hold, ...(file && { HANG_PATH: file }), ASAN_OPTIONS: `${asan}:verify_asan_link_order=0` },
    seen: () => until(`${call}() hangs`, () => existsSync(`${hold}.seen`)),
    release: () => unlinkSync(hold),
    hold: () => writeFileSync(hold, ''),
  };
}

test('a name server that does not answer does not hold up the end', async (t) => {
  const hang = hanging(t, 'getaddrinfo');
  const sidecar = await Sidecar.start(t, { set: { ...FAST_END, 'exporters.posthog.host': 'http://posthog.invalid:1', 'exporters.posthog.api_key': 'phc_x' }, env: hang.env });
  await take(sidecar, wide(7));
  await hang.seen();
  sidecar.signal('SIGTERM');
  await endedWhole(sidecar, { received: 7, delivered: 0, lost_shutdown: 7 });
  assert.ok(!sidecar.stderr.includes('does not return'), 'the loop was not held by it');
});

test('nor does a disk that does not answer: of the spool', async (t) => {
  const hang = hanging(t, 'fdatasync');
  hang.release();
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const sidecar = await Sidecar.start(t, { set: onDisk(t, FAST_END), stub, env: hang.env });
  stub.answer = () => ({ status: 503 });
  await take(sidecar, wide(3));
  await until('a try', () => stub.logs.length > 0);
  hang.hold();
  const unanswered = sidecar.post(wide(4)).then((answer) => answer.status, () => 'cut');
  await hang.seen();
  sidecar.signal('SIGTERM');
  await endedWhole(sidecar, { received: 7, delivered: 0, lost_not_stored: 4, left_on_disk: 3 });
  assert.equal(await unanswered, 'cut', 'what is lost was not acknowledged');
});

test('nor one of the refused file, which the loop itself waits for', async (t) => {
  const file = path.join(folder(t), 'refused');
  const hang = hanging(t, 'write', file);
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const sidecar = await Sidecar.start(t, { set: { ...FAST_END, 'exporters.refused_file': file }, stub, env: hang.env });
  stub.answer = () => ({ status: 410 });
  await take(sidecar, wide(5));
  await hang.seen();
  sidecar.signal('SIGTERM');
  await endedWhole(sidecar, { received: 5, delivered: 0, lost: 5 });
});

test('SIGTERM ends a start that hangs', async (t) => {
  const hang = hanging(t, 'flock');
  const argv = ['run', '--config', '/dev/null', '--set', 'durability=disk', '--set', `spool.directory=${path.join(folder(t), 'spool')}`];
  const sidecar = new Sidecar(argv, hang.env);
  t.after(() => sidecar.child.kill('SIGKILL'));
  await hang.seen();
  sidecar.signal('SIGHUP');
  sidecar.signal('SIGTERM');
  sidecar.signal('SIGTERM');
  assert.deepEqual(await sidecar.end(), { code: 0, signal: null });
});

// ---- standard error

test('standard error into a pipe that nobody reads: records go on, and it ends', async (t) => {
  const { file, fd } = pipe(t);
  const stub = await PostHog.start();
  t.after(() => stub.down());
  fill(fd);
  const sidecar = await Sidecar.start(t, { set: { ...KEEP_ALL, 'telemetry.log.level': 'debug' }, stub, wrap: shell(`2>${file}`), blind: true });
  for (let i = 0; i < 40; i++) {
    assert.equal((await sidecar.post(Buffer.from('no request'))).status, 400); // each has a line in the log
    await take(sidecar, wide(5, 5 * i));
  }
  await closeLedger(sidecar, { received: 200, delivered: 200, lost: {} });
});

test('standard error whose reader has left', async (t) => {
  const { file, close } = pipe(t);
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const sidecar = await Sidecar.start(t, { set: KEEP_ALL, stub, wrap: shell(`2>${file}`), blind: true });
  close();
  assert.equal((await sidecar.post(Buffer.from('no request'))).status, 400);
  await take(sidecar, wide(5));
  await closeLedger(sidecar, { received: 5, delivered: 5, lost: {} });
});

test('a log on a disk that does not answer: it ends all the same', async (t) => {
  const file = path.join(folder(t), 'log');
  const hang = hanging(t, 'write', file);
  hang.release();
  const sidecar = await Sidecar.start(t, { set: { ...FAST_END, 'exporters.file.path': '/dev/null' }, env: hang.env, wrap: shell(`2>${file}`), blind: true });
  hang.hold();
  sidecar.signal('SIGTERM');
  await hang.seen();
  assert.deepEqual(await sidecar.end(), { code: null, signal: 'SIGALRM' });
});

// ---- closed descriptors

for (const closed of [[0], [1], [2], [0, 1, 2]]) {
  for (const mode of ['memory', 'disk']) {
    test(`without descriptor ${closed}, ${mode}: it starts, works and ends`, async (t) => {
      const stub = await PostHog.start();
      t.after(() => stub.down());
      const wrap = shell(closed.map((fd) => (fd === 0 ? '<&-' : `${fd}>&-`)).join(' '));
      const sidecar = await Sidecar.start(t, { set: mode === 'disk' ? onDisk(t) : KEEP_ALL, stub, wrap, blind: closed.includes(2) });
      for (const fd of closed) assert.equal(readlinkSync(`/proc/${sidecar.pid}/fd/${fd}`), '/dev/null');
      assert.equal((await sidecar.post(Buffer.from('no request'))).status, 400); // a line for the log
      await take(sidecar, wide(5));
      await closeLedger(sidecar, { received: 5, delivered: 5, lost: {} });
    });
  }
}

test('nothing is delivered to a standard output that is closed', async (t) => {
  const argv = ['run', '--config', '/dev/null', '--set', 'exporters.file.path=-'];
  const sidecar = new Sidecar(argv, {}, undefined, { wrap: shell('>&-') });
  t.after(() => sidecar.child.kill('SIGKILL'));
  assert.deepEqual(await sidecar.end(), { code: 78, signal: null });
  assert.match(sidecar.stderr, /cannot write to 'standard output'/);
});

test('the other commands without any of the three', async () => {
  const command = (...args) => new Promise((resolve) => new Sidecar(args, {}, undefined, { wrap: shell('<&- >&- 2>&-') }).ended.then(resolve));
  assert.deepEqual(await command('settings'), { code: 0, signal: null });
  assert.deepEqual(await command('validate', '--config', '/dev/null'), { code: 0, signal: null });
  assert.deepEqual(await command('no-such-command'), { code: 64, signal: null });
});

// ---- signals

const HARMLESS = ['SIGUSR1', 'SIGUSR2', 'SIGXFSZ', 'SIGALRM', 'SIGPIPE'];

for (const mode of ['memory', 'disk']) {
  test(`signals that do not end it, ${mode}`, async (t) => {
    const { stub, sidecar } = await pair(t, { set: mode === 'disk' ? onDisk(t) : KEEP_ALL });
    stub.answer = () => ({ status: 503 });
    await take(sidecar, wide(5));
    for (const name of [...HARMLESS, 'SIGHUP', 'SIGCHLD', 'SIGWINCH']) sidecar.signal(name);
    await until('the reload, which comes last', async () => (await counter(sidecar, 'lipservice_config_reloads_total{outcome="accepted"}')) === 1);
    stub.answer = null;
    await closeLedger(sidecar, { received: 5, delivered: 5, lost: {} });
  });
}

test('nor end the start', async (t) => {
  const hang = hanging(t, 'epoll_create1'); // the loop is not there yet
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const started = Sidecar.start(t, { set: KEEP_ALL, stub, env: hang.env, wrap: ['sh', '-c', 'echo $$ >"$0.pid"; exec "$@"', hang.env.HANG_WHILE] });
  await hang.seen();
  const pid = Number(readFileSync(`${hang.env.HANG_WHILE}.pid`, 'utf8'));
  for (const name of [...HARMLESS, 'SIGHUP']) process.kill(pid, name);
  hang.release();
  const sidecar = await started;
  await until('the reload that was asked for', async () => (await counter(sidecar, 'lipservice_config_reloads_total{outcome="accepted"}')) === 1);
  await take(sidecar, wide(5));
  await closeLedger(sidecar, { received: 5, delivered: 5, lost: {} });
});

for (const name of ['SIGTERM', 'SIGINT', 'SIGQUIT']) {
  test(`${name}: what is held is delivered first`, async (t) => {
    const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'batch.max_age': '1h' } });
    await take(sidecar, wide(5));
    sidecar.signal(name);
    await endedWhole(sidecar, { received: 5, delivered: 5, lost: 0 });
    assert.equal(stub.rows.length, 5);
  });
}

test('a client that never pauses: taken from for half of the time, and nothing acknowledged is lost', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'shutdown.timeout': '2s' } });
  let taken = 0;
  let takenLate = 0;
  let stopping = false;
  let over = false;
  const client = (async () => {
    while (!over) {
      const answer = await http1(sidecar.httpPort, { body: wide(5, taken) }).catch(() => null);
      if (answer?.status !== 200) continue;
      taken += 5;
      if (stopping) takenLate += 5;
    }
  })();
  await until('the first', () => taken >= 50);
  stopping = true;
  sidecar.signal('SIGTERM');
  const last = await endedWhole(sidecar, { lost: 0 });
  over = true;
  await client;
  assert.ok(takenLate > 0, 'readiness is off, and requests are taken');
  assert.ok(last.delivered >= taken, `${last.delivered} delivered, ${taken} acknowledged`);
  assert.equal(stub.rows.length, last.delivered);
});

// ---- a limit on the size of files

const LIMIT = 100_000;
const limited = ['prlimit', `--fsize=${LIMIT}:unlimited`];
const lift = (sidecar) => execFileSync('prlimit', ['--pid', String(sidecar.pid), '--fsize=unlimited:unlimited']);
const bodies = (text) => text.split('\n').flatMap((line) => {
  try {
    return JSON.parse(line).resourceLogs.flatMap((r) => r.scopeLogs.flatMap((s) => s.logRecords.map((l) => l.body.stringValue)));
  } catch {
    return []; // empty, or torn
  }
});

test('EFBIG, file exporter: it waits, and goes on when there is room', async (t) => {
  const file = path.join(folder(t), 'out.jsonl');
  const sidecar = await Sidecar.start(t, { set: { ...KEEP_ALL, 'exporters.file.path': file }, wrap: limited });
  for (let i = 0; i < 4; i++) await take(sidecar, wide(50, 50 * i));
  await until('a write that fails', async () => (await counter(sidecar, 'lipservice_exporter_failures_total')) > 0);
  assert.equal(statSync(file).size, LIMIT);
  await audit(sidecar, { received: 200, kept: 200, lost: {} });
  lift(sidecar);
  await until('an empty queue', async () => (await sidecar.ledger()).queued === 0, { timeout: 60000 });
  const got = bodies(readFileSync(file, 'utf8'));
  assert.equal(new Set(got).size, 200);
  assert.equal(got.length, 200, 'none of them twice');
  await closeLedger(sidecar, { received: 200, delivered: 200, lost: {} });
});

test('EFBIG, refused file: it is counted, and written again when there is room', async (t) => {
  const file = path.join(folder(t), 'refused.jsonl');
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'exporters.refused_file': file }, wrap: limited });
  const records = async (what) => counter(sidecar, `lipservice_refused_file_records_total{outcome="${what}"}`);
  stub.answer = () => ({ status: 410 });
  await take(sidecar, wide(50));
  await until('the first', async () => (await records('written')) === 50);
  await take(sidecar, wide(50, 50));
  await until('the second', async () => (await records('left_out')) === 50);
  assert.ok(sidecar.log.some((line) => line.event === 'refused_file' && line.error === 'File too large'));
  lift(sidecar);
  await take(sidecar, wide(50, 100));
  await until('the third', async () => (await records('written')) === 100);
  assert.equal(bodies(readFileSync(file, 'utf8')).length, 100);
  assert.equal(readFileSync(file, 'utf8').split('\n').length, 3, 'no half line');
  await closeLedger(sidecar, { received: 150, delivered: 0, lost: { refused_upstream: 150 } });
});

test('EFBIG, spool: a full disk; refused, and serving again when there is room', async (t) => {
  const { sidecar } = await pair(t, { set: onDisk(t), wrap: limited });
  const first = await sidecar.post(wide(5));
  assert.deepEqual([first.status, first.headers.has('retry-after')], [503, true]);
  const ready = await fetch(`http://${sidecar.addresses.health}/readyz`);
  assert.deepEqual([ready.status, (await ready.json()).status], [503, 'spool_broken']);
  lift(sidecar);
  await until('readiness', async () => (await fetch(`http://${sidecar.addresses.health}/readyz`)).status === 200);
  await take(sidecar, wide(5));
  await until('delivery', async () => (await sidecar.ledger()).delivered === 5);
  const ledger = await sidecar.ledger();
  assert.deepEqual(Object.keys(ledger.lost).filter((why) => why !== 'not_stored'), []);
  await closeLedger(sidecar);
});

// ---- rotation and reload

const reloadVerb = (sidecar, ...more) => run(['reload', '--config', '/dev/null', '--admin', `http://${sidecar.addresses.admin}`, ...more]);

test('rotation under load: rename, then SIGHUP or `reload`; nothing is lost, torn or doubled', async (t) => {
  const dir = folder(t);
  const file = path.join(dir, 'out.jsonl');
  const sidecar = await Sidecar.start(t, { set: { ...KEEP_ALL, 'exporters.file.path': file, 'batch.max_age': '5ms' } });
  let sent = 0;
  let over = false;
  const load = (async () => {
    for (; !over; sent += 50) await take(sidecar, wide(50, sent, 200));
  })();
  const files = [];
  for (let i = 0; i < 10; i++) {
    await until('something in the file', () => statSync(file).size > 0);
    files.push(`${file}.${i}`);
    renameSync(file, files.at(-1));
    if (i % 2 === 0) sidecar.signal('SIGHUP');
    else assert.equal((await reloadVerb(sidecar)).code, 0);
    await until('a new file', () => existsSync(file));
  }
  await until('something in the last file', () => statSync(file).size > 0);
  over = true;
  await load;
  await until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
  const text = [...files, file].map((name) => readFileSync(name, 'utf8'));
  for (const one of text) assert.ok(one.endsWith('\n'));
  for (const line of text.join('').trimEnd().split('\n')) JSON.parse(line);
  const got = text.flatMap(bodies);
  assert.equal(got.length, sent);
  assert.equal(new Set(got).size, sent);
  await closeLedger(sidecar, { received: sent, delivered: sent, lost: {} });
});

test('the refused file is rotated likewise', async (t) => {
  const file = path.join(folder(t), 'refused.jsonl');
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'exporters.refused_file': file, 'exporters.refused_file_max_bytes': '4KiB' } });
  const written = async () => counter(sidecar, 'lipservice_refused_file_records_total{outcome="written"}');
  stub.answer = () => ({ status: 410 });
  for (let i = 0; i < 3; i++) {
    await take(sidecar, wide(3, 3 * i));
    await until('records in it', async () => (await written()) === 3 * (i + 1)); // there is room again
    renameSync(file, `${file}.${i}`);
    assert.equal((await reloadVerb(sidecar)).code, 0);
    assert.deepEqual([statSync(file).size, bodies(readFileSync(`${file}.${i}`, 'utf8')).length], [0, 3]);
  }
  await closeLedger(sidecar, { received: 9, delivered: 0, lost: { refused_upstream: 9 } });
});

test('reload: 0 when it is in force, 78 and why when it is not, 69 when nobody answers', async (t) => {
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const file = path.join(folder(t), 'config.yaml');
  const text = (more) => `exporters: {posthog: {host: "${stub.url}", api_key: phc_e2e}}\nbatch: {max_age: 50ms}\n${more}`;
  writeFileSync(file, text('sampling: {first: {count: 0}, severity_rates: {INFO: 0}}\n'));
  const sidecar = await Sidecar.start(t, { args: ['--config', file], stub });
  await take(sidecar, wide(5));
  writeFileSync(file, text('sampling: {severity_rates: {INFO: 1}}\n'));
  const good = await reloadVerb(sidecar);
  assert.deepEqual([good.code, JSON.parse(good.stdout)], [0, { status: 'reloaded' }]);
  await take(sidecar, wide(5));
  writeFileSync(file, text('sampling: {severity_rates: {INFO: 7}}\n'));
  const bad = await reloadVerb(sidecar);
  assert.equal(bad.code, 78);
  assert.match(bad.stderr, /config\.yaml:3:.*'7' is not/);
  assert.equal((await sidecar.metrics()).lipservice_config_last_reload_failed, 1);
  assert.equal((await run(['reload', '--config', '/dev/null', '--admin', 'http://127.0.0.1:1'])).code, 69);
  assert.equal((await run(['reload', '--config', '/dev/null', '--set', 'telemetry.admin.endpoint='])).code, 64);
  assert.equal((await reloadVerb(sidecar, 'argument')).code, 64);
  await closeLedger(sidecar, { received: 10, kept: 5, delivered: 5 });
});

test('a configuration from a pipe cannot be read again, and says so', async (t) => {
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const file = path.join(folder(t), 'config.yaml');
  writeFileSync(file, `exporters: {posthog: {host: "${stub.url}", api_key: phc_e2e}}\nbatch: {max_age: 50ms}\n`);
  const sidecar = await Sidecar.start(t, { stub, wrap: ['bash', '-c', 'exec "$@" --config <(cat "$0")', file] });
  const out = await reloadVerb(sidecar);
  assert.equal(out.code, 78);
  assert.match(out.stderr, /is a pipe, and cannot be read again/);
  await closeLedger(sidecar);
});

// ---- descriptors

for (const mode of ['memory', 'disk']) test(`ulimit -n 64, ${mode}: fewer connections, said so, and the pages answer beside idle clients`, async (t) => {
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const sidecar = await Sidecar.start(t, { set: mode === 'disk' ? onDisk(t) : KEEP_ALL, stub, wrap: ['sh', '-c', 'ulimit -n 64; exec "$@"', 'sh'] });
  const line = sidecar.log.find((entry) => entry.event === 'max_connections');
  assert.deepEqual([line.setting, line.configured, line.open_files], ['receivers.otlp.max_connections', 1024, 64]);
  assert.ok(line.connections >= 1 && line.connections < 32);
  const clients = [];
  t.after(() => clients.forEach((socket) => socket.destroy()));
  for (let i = 0; i < 120; i++) clients.push(net.connect(i % 2 ? sidecar.httpPort : sidecar.grpcPort, '127.0.0.1').on('error', () => {}));
  const open = () => counter(sidecar, 'lipservice_http_connections');
  await until('as many as may be', async () => (await open()) === 2 * line.connections);
  await until('the others refused', async () => (await sidecar.fault('too_many_connections')) >= 120 - 2 * line.connections);
  for (let i = 0; i < 20; i++) {
    for (const page of ['livez', 'readyz', 'status']) assert.equal((await http1(sidecar.healthPort, { method: 'GET', path: `/${page}` })).status, 200);
    assert.equal((await http1(sidecar.metricsPort, { method: 'GET', path: '/metrics' })).status, 200);
    assert.equal((await http1(sidecar.adminPort, { method: 'GET', path: '/api/ledger' })).status, 200);
  }
  clients.forEach((socket) => socket.destroy());
  await until('they are gone', async () => (await open()) === 0);
  await take(sidecar, wide(5));
  await closeLedger(sidecar, { received: 5, delivered: 5, lost: {} });
});

test('a soft limit on open files is raised to the hard one', async (t) => {
  const { sidecar } = await pair(t, { wrap: ['prlimit', '--nofile=64:4096'] });
  assert.match(readFileSync(`/proc/${sidecar.pid}/limits`, 'utf8'), /^Max open files +4096 +4096/m);
  assert.equal(sidecar.log.some((entry) => entry.event === 'max_connections'), false);
  await closeLedger(sidecar);
});
