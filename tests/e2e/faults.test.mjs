// durability: disk, and a disk, a directory or a clock that misbehaves: nothing acknowledged is
// lost but what is proven to be gone, the fault is logged, and it is over when the cause is.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, existsSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { directory, smallDisk } from './lib/disk.mjs';
import { Load, compare } from './lib/load.mjs';
import { encodeLogs, request } from './lib/otlp.mjs';
import { PostHog } from './lib/posthog.mjs';
import { BINARY, Sidecar, KEEP_ALL, audit, lastLine } from './lib/sidecar.mjs';
import { hasStrace, inject } from './lib/strace.mjs';
import { pause, until } from './lib/wait.mjs';

const onDisk = (dir, more = {}) => ({ ...KEEP_ALL, durability: 'disk', 'spool.directory': path.join(dir, 'spool'), ...more });
const SMALL = { 'spool.max_bytes': '8MiB', 'batch.max_records': 200, 'queue.max_bytes': '1MiB' }; // segments of 1 MiB
const REFUSED = { status: 503 };

async function standIn(t) {
  const stub = await PostHog.start();
  t.after(() => stub.down());
  return stub;
}

const lines = (sidecar, event) => sidecar.log.filter((line) => line.event === event);
const logged = (sidecar, event) => sidecar.until(`event=${event}`, () => lines(sidecar, event).length > 0);
const isReady = (sidecar) => sidecar.until('readiness', async () => (await sidecar.readiness()).code === 200);

// A request of n errors, which nothing but a full disk keeps out, of 2 KB that nothing
// compresses: their bodies, if it was acknowledged.
let made = 0;
const noise = () => Array.from({ length: 125 }, () => Math.random().toString(36).slice(2).padEnd(16, 'x')).join('');
async function send(sidecar, n = 20) {
  const bodies = Array.from({ length: n }, () => `n${made++} ${noise()}`);
  const answer = await sidecar.post(encodeLogs(request(n, { base: { severityNumber: 17 }, body: (i) => bodies[i] })));
  await answer.arrayBuffer();
  return answer.status === 200 ? bodies : [];
}

async function fill(sidecar, n) {
  const names = new Set();
  while (names.size < n) {
    const bodies = await send(sidecar);
    assert.ok(bodies.length > 0, 'refused');
    for (const body of bodies) names.add(body);
  }
  return names;
}

// Until one is refused.
async function overfill(sidecar, n) {
  const names = new Set();
  for (let bodies; bodies?.length !== 0;) {
    bodies = await send(sidecar, n);
    for (const body of bodies) names.add(body);
    assert.ok(names.size < 8000, 'a bound');
  }
  return names;
}

const missing = (stub, names) => {
  const arrived = new Set(stub.rows.map((row) => row.body));
  return [...names].filter((name) => !arrived.has(name)).length;
};

// Everything is delivered, the books close, and the losses are for no other reasons than these.
async function close(sidecar, reasons = []) {
  await sidecar.until('an empty queue', async () => (await sidecar.ledger()).queued === 0 && (await sidecar.metrics()).lipservice_spool_records === 0);
  await audit(sidecar);
  await sidecar.stop();
  const last = lastLine(sidecar);
  for (const key of Object.keys(last).filter((name) => name.startsWith('lost_'))) assert.ok(reasons.includes(key.slice(5)), JSON.stringify(last));
  assert.equal(last.left_on_disk, 0);
  return last;
}

// ---- system calls that fail under load

// refuses: clients are asked to send again; else nobody notices.
const CALLS = [
  { fault: 'fdatasync:error=EIO:when=3+7', refuses: true },
  { fault: 'fdatasync:error=EIO:when=5+', refuses: true },
  { fault: 'fdatasync:delay_exit=100000' },
  { fault: 'pwritev:error=EIO:when=2+9', refuses: true },
  { fault: 'pwritev:error=ENOSPC:when=2+9', refuses: true },
  { fault: 'pwritev:error=EINTR:when=1+3' },
  { fault: 'fallocate:error=ENOSPC', refuses: true },
  { fault: 'fallocate:error=EOPNOTSUPP' },
  { fault: 'fsync:error=EIO', refuses: true }, // of the directory
  { fault: 'unlinkat:error=EIO' },
  { fault: 'openat:error=EMFILE', refuses: true },
  { fault: 'pread64:error=EIO:when=1..16' },
];

test('calls that fail for a while, under load', { concurrency: 3, timeout: 300000 }, async (t) => {
  if (!hasStrace()) return t.skip('no strace here');
  await Promise.all(CALLS.map(({ fault, refuses = false }) => t.test(fault, async (tt) => {
    const stub = await standIn(tt);
    const dir = directory(tt);
    const sidecar = await Sidecar.start(tt, { set: onDisk(dir, { 'spool.max_bytes': '1MiB', 'spool.commit_delay': '1ms' }), stub });
    const strace = await inject(sidecar, dir, fault);
    if (!strace) return tt.skip('strace may not attach here');
    const load = new Load({ port: () => sidecar.httpPort, connections: 3, records: 100 });
    try {
      await sidecar.until('load', () => strace.count() > 0 && (refuses ? load.refused >= 3 : load.acknowledged.size >= 3000));
    } finally {
      await load.stop();
    }
    await strace.detach();
    await isReady(sidecar);
    const after = new Load({ port: () => sidecar.httpPort, connections: 1, records: 20, first: 10 });
    await sidecar.until('acknowledged again', () => after.acknowledged.size >= 200);
    await after.stop();
    assert.equal(after.refused, 0);
    if (!refuses) assert.equal(load.refused, 0, `${load.refused} requests refused`);
    assert.equal(load.broken + after.broken, 0, 'unanswered');
    await close(sidecar, ['not_stored']);
    const acknowledged = new Set([...load.acknowledged, ...after.acknowledged]);
    assert.deepEqual(compare(stub.rows, acknowledged).lost, 0);
  })));
});

// ---- what cannot be read for a while

test('a segment that cannot be read: it is tried again, for as long as it takes', { concurrency: 3, timeout: 120000 }, async (t) => {
  if (!hasStrace()) return t.skip('no strace here');
  await Promise.all(['pread64:error=EIO', 'openat:error=EACCES', 'openat:error=EMFILE'].map((fault) => t.test(fault, async (tt) => {
    const stub = await standIn(tt);
    const dir = directory(tt);
    stub.answer = () => REFUSED;
    const sidecar = await Sidecar.start(tt, { set: onDisk(dir, SMALL), stub });
    const names = await fill(sidecar, 2400); // 4 MB and more: beyond what is read ahead
    const strace = await inject(sidecar, dir, fault);
    if (!strace) return tt.skip('strace may not attach here');
    stub.answer = null;
    await logged(sidecar, 'spool_unreadable');
    await sidecar.until('readyz', async () => {
      const page = await sidecar.readiness();
      return page.code === 503 && page.status === 'spool_unreadable';
    });
    assert.equal((await sidecar.metrics()).lipservice_spool_unreadable, 1);
    await pause(2000); // a program that gives up has done so by now
    assert.deepEqual((await audit(sidecar)).lost, {});
    assert.ok(missing(stub, names) > 0);
    await strace.detach();
    await isReady(sidecar);
    assert.equal((await sidecar.metrics()).lipservice_spool_unreadable, 0);
    await close(sidecar);
    assert.equal(missing(stub, names), 0);
  })));
});

// The rights of a directory hold for everybody but root.
function another(t, dir) {
  if (process.getuid() !== 0) return {};
  const uid = 65534;
  if (spawnSync(BINARY, ['--version'], { uid, gid: uid }).status !== 0) return null;
  chmodSync(dir, 0o755);
  chownSync(dir, uid, uid);
  return { uid };
}

const spoolOf = (dir) => path.join(dir, 'spool');

test('a directory without rights, while the upstream is away: refused, and over with it', { timeout: 120000 }, async (t) => {
  const stub = await standIn(t);
  const dir = directory(t);
  const who = another(t, dir);
  if (!who) return t.skip('another user cannot run the program');
  stub.answer = () => REFUSED;
  const sidecar = await Sidecar.start(t, { set: onDisk(dir, SMALL), stub, ...who });
  const before = await fill(sidecar, 200);
  chmodSync(spoolOf(dir), 0);
  t.after(() => existsSync(spoolOf(dir)) && chmodSync(spoolOf(dir), 0o700));
  const meanwhile = await overfill(sidecar); // the segment in hand is full
  assert.equal((await sidecar.readiness()).code, 503);
  chmodSync(spoolOf(dir), 0o700);
  await isReady(sidecar);
  const after = await fill(sidecar, 200);
  stub.answer = null;
  await close(sidecar, ['not_stored']);
  assert.equal(missing(stub, new Set([...before, ...meanwhile, ...after])), 0);
});

test('a directory without rights, while it is delivered: nothing is given up', { timeout: 120000 }, async (t) => {
  const stub = await standIn(t);
  const dir = directory(t);
  const who = another(t, dir);
  if (!who) return t.skip('another user cannot run the program');
  stub.answer = () => REFUSED;
  const sidecar = await Sidecar.start(t, { set: onDisk(dir, SMALL), stub, ...who });
  const names = await fill(sidecar, 2400);
  chmodSync(spoolOf(dir), 0);
  t.after(() => existsSync(spoolOf(dir)) && chmodSync(spoolOf(dir), 0o700));
  stub.answer = null;
  await logged(sidecar, 'spool_unreadable');
  await pause(2000);
  assert.equal((await sidecar.readiness()).status, 'spool_unreadable');
  assert.deepEqual((await audit(sidecar)).lost, {});
  chmodSync(spoolOf(dir), 0o700);
  await isReady(sidecar);
  await close(sidecar);
  assert.equal(missing(stub, names), 0);
});

// ---- room

test('a disk that was full and has grown: the backlog is delivered', { timeout: 120000 }, async (t) => {
  const dir = smallDisk(t, 3);
  if (!dir) return t.skip('no tmpfs can be mounted here');
  const stub = await standIn(t);
  stub.answer = () => REFUSED;
  const sidecar = await Sidecar.start(t, { set: onDisk(dir, { 'spool.max_bytes': '16MiB' }), stub });
  const names = await overfill(sidecar, 5);
  assert.ok(names.size > 100);
  await logged(sidecar, 'spool_broken');
  assert.equal((await sidecar.readiness()).status, 'spool_broken');
  assert.equal(spawnSync('mount', ['-o', 'remount,size=64m', dir]).status, 0);
  await isReady(sidecar);
  for (const name of await fill(sidecar, 100)) names.add(name);
  stub.answer = null;
  await close(sidecar, ['not_stored']);
  assert.equal(missing(stub, names), 0);
});

test('a disk without room for one segment: known at the start, with what is needed', { timeout: 60000 }, async (t) => {
  const dir = smallDisk(t, 8);
  if (!dir) return t.skip('no tmpfs can be mounted here');
  const stub = await standIn(t);
  const sidecar = await Sidecar.start(t, { set: onDisk(dir), stub, ready: false });
  await logged(sidecar, 'spool_broken');
  const [line] = lines(sidecar, 'spool_broken');
  assert.ok(Number(line.needed_bytes) >= 16 << 20, JSON.stringify(line));
  assert.ok(Number(line.free_bytes) <= 8 << 20, JSON.stringify(line));
  const page = await sidecar.readiness();
  assert.deepEqual([page.code, page.status], [503, 'spool_broken']);
  assert.equal(spawnSync('mount', ['-o', 'remount,size=64m', dir]).status, 0);
  await isReady(sidecar);
  const names = await fill(sidecar, 20);
  await close(sidecar);
  assert.equal(missing(stub, names), 0);
});

// ---- files that are removed

const removeSegments = (dir) => {
  for (const name of readdirSync(dir).filter((n) => n.endsWith('.seg'))) rmSync(path.join(dir, name));
};
const REMOVALS = [
  ['the directory', (dir) => rmSync(dir, { recursive: true })],
  ['the segments', removeSegments],
];

for (const [what, remove] of REMOVALS) {
  for (const isKilled of [true, false]) {
    test(`${what} removed under load, then ${isKilled ? 'kill -9' : 'delivery'}: what is acknowledged after it is stored`, { timeout: 120000 }, async (t) => {
      const stub = await standIn(t);
      const dir = directory(t);
      stub.answer = () => REFUSED;
      const set = onDisk(dir);
      let sidecar = await Sidecar.start(t, { set, stub });
      const before = new Load({ port: () => sidecar.httpPort, connections: 2, rate: 2000 });
      await sidecar.until('load', () => before.acknowledged.size > 500);
      remove(spoolOf(dir));
      const after = new Load({ port: () => sidecar.httpPort, connections: 2, rate: 2000, first: 10 }); // nothing of it was sent before
      await sidecar.until('load', () => after.acknowledged.size > 1000);
      await logged(sidecar, 'spool_broken');
      await logged(sidecar, 'spool_works');
      await Promise.all([before.stop(), after.stop()]);
      assert.equal(lines(sidecar, 'spool_broken')[0].reason, 'removed');
      if (isKilled) {
        sidecar.signal('SIGKILL');
        await sidecar.end();
        sidecar = await Sidecar.start(t, { set, stub });
      }
      stub.answer = null;
      const last = await close(sidecar, isKilled ? [] : ['not_stored', 'spool_damaged']);
      assert.equal(compare(stub.rows, after.acknowledged).lost, 0);
      if (!isKilled) assert.ok(compare(stub.rows, before.acknowledged).lost <= (last.lost_spool_damaged ?? 0), 'what is lost of the files is counted');
    });
  }
}

// ---- damage

const overwrite = (change) => (file) => {
  const bytes = readFileSync(file);
  change(bytes);
  writeFileSync(file, bytes);
};
const half = (bytes) => bytes.length >> 1;

// most: requests of 20 records that are lost at most. counted: their records are known, by the
// end mark of the segment.
const DAMAGE = [
  { name: '64 KiB of zeros', do: overwrite((bytes) => bytes.fill(0, half(bytes), half(bytes) + 65536)), most: 3, counted: true },
  { name: '64 KiB of noise', do: overwrite((bytes) => randomBytes(65536).copy(bytes, half(bytes))), most: 3, counted: true },
  { name: 'one bit', do: overwrite((bytes) => (bytes[half(bytes)] ^= 1)), most: 1, counted: true },
  { name: 'a cut at the half', do: (file) => truncateSync(file, 1 << 19), most: 14 },
  { name: 'nothing left of it', do: (file) => truncateSync(file, 0), most: 27 },
  { name: 'both headers', do: overwrite((bytes) => bytes.fill(0, 0, 1024)), most: 27 },
  { name: 'a file that is missing', do: (file) => rmSync(file), most: 27 },
];

test('damage in a middle segment: logged with its file, and no more is lost than it touched', { concurrency: 3, timeout: 180000 }, async (t) => {
  await Promise.all(DAMAGE.map((damage) => t.test(damage.name, async (tt) => {
    const stub = await standIn(tt);
    const dir = directory(tt);
    await stub.down();
    const first = await Sidecar.start(tt, { set: onDisk(dir, { ...SMALL, 'shutdown.timeout': '300ms' }), stub });
    const names = await fill(first, 2000);
    await first.stop();
    assert.equal(lastLine(first).left_on_disk, names.size);
    const segments = readdirSync(spoolOf(dir)).filter((n) => n.endsWith('.seg')).sort();
    assert.ok(segments.length > 3, segments.join(' '));
    damage.do(path.join(spoolOf(dir), segments[1]));
    await stub.up();
    const second = await Sidecar.start(tt, { set: onDisk(dir, SMALL), stub });
    const last = await close(second, ['spool_damaged']);
    const lost = missing(stub, names);
    assert.ok(lost > 0 && lost <= damage.most * 20, `${lost} lost`);
    const found = lines(second, 'spool_damage');
    assert.ok(found.length > 0, second.stderr);
    for (const line of found) assert.deepEqual([line.level, line.file], ['warn', segments[1]]);
    assert.equal(found.reduce((sum, line) => sum + Number(line.frames), 0), lost / 20, 'frames');
    assert.equal(last.spool_lost_frames, lost / 20);
    if (damage.counted) assert.equal(last.spool_lost, lost);
  })));
});

test('a segment that may not be read at the start is named, and is delivered by the next', { timeout: 60000 }, async (t) => {
  const stub = await standIn(t);
  const dir = directory(t);
  const who = another(t, dir);
  if (!who) return t.skip('another user cannot run the program');
  stub.answer = () => REFUSED;
  const first = await Sidecar.start(t, { set: onDisk(dir, { ...SMALL, 'shutdown.timeout': '300ms' }), stub, ...who });
  const names = await fill(first, 1000);
  await first.stop();
  const [segment] = readdirSync(spoolOf(dir)).filter((n) => n.endsWith('.seg')).sort();
  chmodSync(path.join(spoolOf(dir), segment), 0);
  await assert.rejects(Sidecar.start(t, { set: onDisk(dir, SMALL), stub, ...who }), new RegExp(`ended with 69: .*${segment}`, 's'));
  chmodSync(path.join(spoolOf(dir), segment), 0o600);
  stub.answer = null;
  await close(await Sidecar.start(t, { set: onDisk(dir, SMALL), stub, ...who }));
  assert.equal(missing(stub, names), 0);
});

// ---- the wall clock

const FAKETIME = ['/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1', '/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1', '/usr/lib/faketime/libfaketime.so.1'].find(existsSync);

// A wall clock of the program's own, which set() puts elsewhere ("+1d", "1970-01-01 00:01:00");
// the monotonic one goes on. null: not here.
function clock(t) {
  if (!FAKETIME) return null;
  const file = path.join(directory(t), 'clock');
  const set = (to) => writeFileSync(file, `${to}\n`);
  set('+0');
  const env = {
    LIPSERVICE_SANDBOX: 'off', // the library reads a file that no setting names
    LD_PRELOAD: FAKETIME, FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1',
    ASAN_OPTIONS: 'verify_asan_link_order=0:detect_leaks=0:detect_stack_use_after_return=1:quarantine_size_mb=8',
  };
  return { set, env };
}
const SINCE_1970 = () => `-${Math.floor(Date.now() / 1000) - 60}`;

const STEPS = [
  ['a day and more ahead', '+0', '+100000'],
  ['a day and more back', '+0', '-100000'],
  ['from 1970 to now', SINCE_1970, '+0'],
];
for (const [name, from, to] of STEPS) {
  for (const isRestarted of [false, true]) {
    test(`the wall clock steps ${name}${isRestarted ? ', with records of an earlier process' : ''}: nothing expires`, { timeout: 60000 }, async (t) => {
      const fake = clock(t);
      if (!fake) return t.skip('no libfaketime here');
      const stub = await standIn(t);
      const dir = directory(t);
      stub.answer = () => REFUSED;
      fake.set(typeof from === 'function' ? from() : from);
      const start = (more) => Sidecar.start(t, { set: onDisk(dir, { ...SMALL, ...more }), stub, env: fake.env });
      let sidecar = await start({ 'shutdown.timeout': '300ms' });
      const names = await fill(sidecar, 2400); // beyond what is read ahead
      if (isRestarted) {
        await sidecar.stop();
        sidecar = await start();
      }
      const dates = () => new Set(sidecar.log.map((line) => line.time.slice(0, 4)));
      if (from === SINCE_1970) assert.deepEqual(dates(), new Set(['1970']), 'the clock is ours');
      fake.set(to);
      for (const more of await fill(sidecar, 100)) names.add(more);
      stub.answer = null;
      await close(sidecar);
      assert.equal(missing(stub, names), 0);
      if (from === SINCE_1970) assert.equal(dates().size, 2, 'the clock has stepped');
    });
  }
}

// ---- the end

test('SIGTERM while the upstream hangs: in time, and left for the next start', { timeout: 60000 }, async (t) => {
  const stub = await standIn(t);
  const dir = directory(t);
  stub.answer = () => ({ raw: () => {} }); // never
  const first = await Sidecar.start(t, { set: onDisk(dir, { 'shutdown.timeout': '1s' }), stub });
  const names = await fill(first, 200);
  await until('a request that hangs', () => stub.logs.length > 0);
  const began = performance.now();
  await first.stop();
  assert.ok(performance.now() - began < 10000, 'long before the timeout of the request');
  assert.equal(lastLine(first).left_on_disk, names.size);
  stub.answer = null;
  const second = await Sidecar.start(t, { set: onDisk(dir), stub });
  const last = await close(second);
  assert.equal(last.received, names.size);
  assert.equal(missing(stub, names), 0);
});
