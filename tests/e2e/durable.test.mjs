// durability: disk, with the real binary: what is answered with success arrives.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { directory, smallDisk } from './lib/disk.mjs';
import { kills } from './lib/kills.mjs';
import { encodeLogs, request } from './lib/otlp.mjs';
import { outage } from './lib/outage.mjs';
import { PostHog } from './lib/posthog.mjs';
import { Sidecar, KEEP_ALL, audit, closeLedger, run } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';
import { grpc, raw } from './lib/wire.mjs';

const onDisk = (dir, more = {}) => ({ ...KEEP_ALL, durability: 'disk', 'spool.directory': dir, ...more });

async function stub(t) {
  const s = await PostHog.start();
  t.after(() => s.down());
  return s;
}

test('a request is answered when it is synced, and delivered from the spool', async (t) => {
  const s = await stub(t);
  const sidecar = await Sidecar.start(t, { set: onDisk(directory(t)), stub: s });
  const answer = await sidecar.post(encodeLogs(request(10)));
  assert.equal(answer.status, 200);
  const metrics = await sidecar.metrics();
  assert.equal(metrics.lipservice_spool_commit_records_total, 10);
  assert.ok(metrics.lipservice_spool_fsyncs_total >= 1);
  await until('delivery', () => s.rows.length === 10);
  await closeLedger(sidecar, { received: 10, delivered: 10 });
});

test('20 kill -9 at random under load: nothing acknowledged is lost', { timeout: 300000 }, async (t) => {
  const s = await stub(t);
  const { result, sidecar } = await kills(t, s, directory(t), { count: 20, set: { 'exporters.posthog.concurrency': 1 } });
  t.diagnostic(JSON.stringify(result));
  assert.equal(result.disorder, 0, JSON.stringify(result));
  await sidecar.stop();
});

// CRC32C, as src/export/README.md says of the spool's files.
function crc32c(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

const ready = async (sidecar) => (await fetch(`http://${sidecar.addresses.health}/readyz`)).status;

test('a full disk: refused and not ready, and back within a second of room', { timeout: 120000 }, async (t) => {
  const dir = smallDisk(t, 4);
  if (!dir) return t.skip('no tmpfs can be mounted here');
  const s = await stub(t);
  const filler = path.join(dir, 'filler');
  const spool = path.join(dir, 'spool');
  const sidecar = await Sidecar.start(t, { set: onDisk(spool, { 'spool.max_bytes': '8MiB' }), stub: s });
  const body = (n) => encodeLogs(request(1, { body: () => `sent ${n}` }));
  const stored = new Set();
  assert.equal((await sidecar.post(body('first'))).status, 200);
  stored.add('sent first');
  s.answer = () => ({ status: 503 }); // what is delivered would make room
  // The segment in hand has its room already; the next one finds none.
  const { bavail, bsize } = statfsSync(dir);
  writeFileSync(filler, Buffer.alloc(bavail * bsize - 8192));
  let refused;
  const large = (n) => encodeLogs(request(40, { body: (i) => `large ${n} ${i} ${'x'.repeat(4000)}` }));
  for (let n = 0; !refused && n < 40; n++) {
    const answer = await sidecar.post(large(n));
    if (answer.status === 200) for (let i = 0; i < 40; i++) stored.add(`large ${n} ${i} ${'x'.repeat(4000)}`);
    else refused = answer;
  }
  assert.equal(refused?.status, 503);
  assert.ok(Number(refused.headers.get('retry-after')) >= 1);
  assert.equal(await ready(sidecar), 503);
  const page = await (await fetch(`http://${sidecar.addresses.health}/readyz`)).json();
  assert.equal(page.status, 'spool_broken');
  assert.equal(page.spool.broken, 'the disk is full');
  const call = await grpc(sidecar.grpcPort, { message: body('grpc') });
  assert.equal(call.code, 14);
  assert.ok(call.details.retryAfterS >= 1);
  assert.equal((await sidecar.metrics()).lipservice_spool_broken, 1);

  rmSync(filler);
  const freed = performance.now();
  await until('readiness', async () => (await ready(sidecar)) === 200);
  const back = performance.now() - freed;
  assert.ok(back < 1000, `${back} ms`);
  t.diagnostic(`ready ${Math.round(back)} ms after room came back`);
  assert.equal((await sidecar.post(body('last'))).status, 200);
  stored.add('sent last');
  s.answer = null;
  await until('delivery', () => new Set(s.rows.map((r) => r.body)).size >= stored.size);
  for (const text of stored) assert.ok(s.rows.some((r) => r.body === text), text.slice(0, 20));
  assert.ok((await sidecar.metrics()).lipservice_spool_failed_commits_total <= 2);
  await audit(sidecar);
  await sidecar.stop();
});

// Send records of about 4 KB until n requests were answered with success, or one was not.
async function fill(sidecar, n, name) {
  let done = 0;
  for (; done < n; done++) {
    const answer = await sidecar.post(encodeLogs(request(40, { base: { severityNumber: 17, severityText: 'ERROR' }, body: (i) => `${name} ${done} ${i} ${'x'.repeat(4000)}` })));
    if (answer.status !== 200) return { done, answer };
  }
  return { done };
}

test('a full spool rejects, and nothing of what it has is lost', { timeout: 120000 }, async (t) => {
  const s = await stub(t);
  await s.down();
  const sidecar = await Sidecar.start(t, { set: onDisk(directory(t), { 'spool.max_bytes': '4MiB', 'queue.max_bytes': '1MiB' }), stub: s });
  const { done, answer } = await fill(sidecar, 100, 'line');
  assert.ok(done > 10 && done < 100, `${done}`);
  assert.equal(answer.status, 503);
  assert.ok(Number(answer.headers.get('retry-after')) >= 1);
  assert.equal(await ready(sidecar), 200); // full is not broken: what is held back is the clients' affair
  const metrics = await sidecar.metrics();
  assert.ok(metrics.lipservice_spool_size_bytes <= 4 << 20, `${metrics.lipservice_spool_size_bytes}`);
  await s.up();
  await until('delivery', () => s.rows.length >= done * 40);
  await until('room', async () => (await fill(sidecar, 1, 'after')).done === 1, { timeout: 5000 });
  await until('delivery', () => s.rows.length >= (done + 1) * 40);
  const ledger = await closeLedger(sidecar);
  assert.equal(ledger.delivered + (ledger.lost.not_stored ?? 0), (done + 1) * 40);
});

test('a full spool drops its oldest, and says exactly what', { timeout: 120000 }, async (t) => {
  const s = await stub(t);
  await s.down();
  const sidecar = await Sidecar.start(t, { set: onDisk(directory(t), { 'spool.max_bytes': '4MiB', 'queue.max_bytes': '1MiB', 'spool.when_full': 'drop_oldest', 'exporters.posthog.concurrency': 1 }), stub: s });
  assert.equal((await fill(sidecar, 100, 'line')).done, 100); // about 16 MB
  const before = await audit(sidecar);
  assert.ok(before.lost.spool_full > 0, JSON.stringify(before));
  await s.up();
  const ledger = await closeLedger(sidecar, { received: 4000 });
  assert.equal(s.rows.length + ledger.lost.spool_full, 4000);
  assert.ok(s.rows.some((r) => r.body.startsWith('line 99 39 ')));
});

test('what is left at the end is delivered by the next start', { timeout: 120000 }, async (t) => {
  const s = await stub(t);
  await s.down();
  const dir = directory(t);
  const first = await Sidecar.start(t, { set: onDisk(dir, { 'shutdown.timeout': '3s' }), stub: s });
  for (let n = 0; n < 5; n++) assert.equal((await first.post(encodeLogs(request(20, { service: `s${n}`, body: (i) => `left ${n} ${i}` })))).status, 200);
  await first.stop();
  const last = first.log.find((line) => line.event === 'ledger');
  assert.equal(Number(last.left_on_disk), 100);
  assert.equal(Number(last.lost), 0);
  await s.up();
  const second = await Sidecar.start(t, { set: onDisk(dir), stub: s });
  await until('delivery', () => s.rows.length === 100);
  assert.equal((await second.metrics()).lipservice_spool_recovered_records_total, 100);
  const ledger = await closeLedger(second, { received: 100, kept: 100, delivered: 100 });
  assert.deepEqual(Object.keys(ledger.services).sort(), ['s0', 's1', 's2', 's3', 's4']);
  assert.deepEqual(s.rows.map((r) => r.body).sort(), Array.from({ length: 100 }, (_, i) => `left ${Math.floor(i / 20)} ${i % 20}`).sort());
});

test('a directory in use, one of a newer version, and one that cannot be', async (t) => {
  const s = await stub(t);
  const dir = directory(t);
  const sidecar = await Sidecar.start(t, { set: onDisk(dir), stub: s });
  const args = ['run', '--config', '/dev/null'];
  const second = (at) => {
    const set = onDisk(at, { 'receivers.otlp.protocols.grpc.endpoint': 'localhost:0', 'receivers.otlp.protocols.http.endpoint': 'localhost:0', 'telemetry.health.endpoint': '', 'telemetry.metrics.endpoint': '', 'telemetry.admin.endpoint': '' });
    return run([...args, ...Object.entries(set).flatMap(([k, v]) => ['--set', `${k}=${v}`])]);
  };
  const busy = await second(dir);
  assert.equal(busy.code, 69);
  assert.match(busy.stderr, /spool\.directory .*: another process uses it/);
  await sidecar.stop();

  const segment = Buffer.alloc(1024);
  for (const at of [0, 512]) {
    segment.write('LIPSPOOL', at);
    segment.writeUInt32LE(2, at + 8);
    segment.writeUInt32LE(crc32c(segment.subarray(at, at + 60)), at + 60);
  }
  const newer = directory(t);
  writeFileSync(path.join(newer, '0000000000000001.seg'), segment);
  const refused = await second(newer);
  assert.equal(refused.code, 78, refused.stderr);
  assert.match(refused.stderr, /newer version/);
  assert.deepEqual(readFileSync(path.join(newer, '0000000000000001.seg')), segment);

  const file = path.join(directory(t), 'file');
  writeFileSync(file, '');
  const nowhere = await second(file);
  assert.equal(nowhere.code, 69, nowhere.stderr);
  assert.match(nowhere.stderr, /spool\.directory .*file: /);
});

test('every protocol waits for the disk, many requests at once', { timeout: 120000 }, async (t) => {
  const s = await stub(t);
  const sidecar = await Sidecar.start(t, { set: onDisk(directory(t), { 'spool.commit_delay': '20ms' }), stub: s });
  const message = (n) => encodeLogs(request(2, { body: (i) => `m${n} ${i}` }));
  const session = http2.connect(`http://127.0.0.1:${sidecar.grpcPort}`);
  session.setMaxListeners(100);
  const answers = await Promise.all([
    ...Array.from({ length: 50 }, (_, n) => grpc(sidecar.grpcPort, { message: message(n), session }).then((a) => a.code)),
    ...Array.from({ length: 50 }, (_, n) => sidecar.post(message(100 + n)).then((a) => a.status - 200)),
    ...Array.from({ length: 50 }, (_, n) => sidecar.post(JSON.stringify(request(2, { body: (i) => `m${200 + n} ${i}` })), { type: 'application/json' }).then((a) => a.status - 200)),
  ]);
  session.close();
  assert.deepEqual(new Set(answers), new Set([0]));
  // Pipelined: the answers come in order, each when its records are stored.
  const one = message(300);
  const head = `POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: ${one.length}\r\n\r\n`;
  const text = await raw(sidecar.httpPort, Buffer.concat(Array(5).fill([Buffer.from(head), one]).flat()), { until: (all) => all.split('HTTP/1.1 200').length === 6 });
  assert.equal(text.split('HTTP/1.1 200').length, 6);
  // Clients that go before the answer leave nothing behind.
  for (let n = 0; n < 20; n++) {
    const socket = net.connect(sidecar.httpPort, '127.0.0.1');
    await new Promise((resolve) => socket.write(Buffer.concat([Buffer.from(head), one]), resolve));
    socket.resetAndDestroy();
  }
  await until('all of it', async () => (await sidecar.ledger()).queued === 0);
  const metrics = await sidecar.metrics();
  assert.ok(metrics.lipservice_spool_commits_total < 100, `${metrics.lipservice_spool_commits_total} commits: requests share them`);
  await audit(sidecar);
  await sidecar.stop();
});

// The campaign (tests/campaign/outage.mjs) has ten minutes of it.
test('an outage of a minute at 5,000 records/s, as fast as it goes', { timeout: 300000 }, async (t) => {
  const s = await stub(t);
  const { result, sidecar } = await outage(t, s, directory(t), { records: 300_000, drain: 10_000, growth: Infinity }); // a sanitizer keeps what is freed
  t.diagnostic(JSON.stringify(result));
  await sidecar.stop();
});

// What strace saw, in order: the answer goes out behind the fdatasync, with each setting.
test('the answer waits for fdatasync, or does not', { timeout: 60000 }, async (t) => {
  if (spawnSync('strace', ['-V']).status !== 0) return t.skip('no strace here');
  const s = await stub(t);
  for (const [fsync, synced] of [['always', true], ['never', false]]) {
    const sidecar = await Sidecar.start(t, { set: onDisk(directory(t), { 'spool.fsync': fsync }), stub: s });
    const trace = path.join(directory(t), 'trace');
    const strace = spawn('strace', ['-f', '-tt', '-e', 'trace=fdatasync,write,writev,sendto,sendmsg', '-e', 'signal=none', '-s', '40', '-o', trace, '-p', String(sidecar.pid)], { stdio: ['ignore', 'ignore', 'pipe'] });
    let told = '';
    strace.stderr.on('data', (text) => (told += text));
    const ended = new Promise((resolve) => strace.on('close', resolve));
    await until('strace', () => /attached/.test(told) || strace.exitCode !== null);
    if (strace.exitCode !== null) {
      await sidecar.stop();
      return t.skip(`strace may not attach here: ${told.trim()}`);
    }
    assert.equal((await sidecar.post(encodeLogs(request(3)))).status, 200);
    strace.kill('SIGINT');
    await ended;
    const lines = readFileSync(trace, 'utf8').split('\n');
    const answer = lines.findIndex((line) => /HTTP\/1\.1 200/.test(line));
    const sync = lines.findIndex((line) => /fdatasync.*= 0/.test(line));
    assert.ok(answer >= 0, lines.join('\n'));
    assert.equal(sync >= 0 && sync < answer, synced, `${fsync}: ${lines.join('\n')}`);
    await sidecar.stop();
  }
});
