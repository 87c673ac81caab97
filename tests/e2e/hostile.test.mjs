// Somebody on the port who wants memory or connections: others are served all the same.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { encodeLogs, request } from './lib/otlp.mjs';
import { closeLedger, KEEP_ALL, pair } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

const MIB = 1 << 20;
const SMALL = encodeLogs(request(10, { body: (i) => `order ${i} was placed` }));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Sockets that are all closed at the end, whatever the test did.
function crowd(t) {
  const sockets = [];
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  return (port, first) =>
    new Promise((resolve, reject) => {
      const socket = net.connect(port, '127.0.0.1', () => {
        if (first) socket.write(first);
        resolve(socket);
      });
      socket.on('error', reject);
      socket.once('connect', () => socket.removeListener('error', reject).on('error', () => {}));
      sockets.push(socket);
    });
}

const gzip = promisify(zlib.gzip);

const head = (length, path = '/v1/logs') => `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: ${length}\r\n\r\n`;

// A good client: how many of its requests were answered by 200, and how slow the slowest was.
async function good(sidecar, times = 20) {
  let ok = 0;
  let slowest = 0;
  for (let i = 0; i < times; i++) {
    const began = performance.now();
    const answer = await sidecar.post(SMALL);
    await answer.arrayBuffer();
    ok += answer.status === 200;
    slowest = Math.max(slowest, performance.now() - began);
  }
  return { ok, slowest };
}

async function isBounded(sidecar) {
  const metrics = await sidecar.metrics();
  assert.ok(metrics.lipservice_memory_peak_bytes <= metrics.lipservice_memory_limit_bytes, `peak ${metrics.lipservice_memory_peak_bytes}`);
  if (!process.env.ASAN_OPTIONS && process.env.LIPSERVICE_PLAIN) assert.ok(metrics.lipservice_process_resident_memory_bytes < 80 * MIB, `resident ${metrics.lipservice_process_resident_memory_bytes / MIB} MiB`);
  return metrics;
}

test('bodies that are announced and do not come take no room', async (t) => {
  const { sidecar } = await pair(t, { set: KEEP_ALL });
  const dial = crowd(t);
  const slow = await Promise.all(Array.from({ length: 9 }, () => dial(sidecar.httpPort, head(20 * MIB))));
  for (let i = 0; i < 10; i++) {
    for (const socket of slow) socket.write(Buffer.alloc(540));
    await sleep(20);
  }
  assert.equal((await good(sidecar)).ok, 20);
  const metrics = await isBounded(sidecar);
  assert.ok(metrics.lipservice_memory_used_bytes < 16 * MIB, `used ${metrics.lipservice_memory_used_bytes}`);
  for (const socket of slow) socket.destroy();
  await closeLedger(sidecar, { received: 200, lost: {} });
});

test('a full account: the slowest bodies give way, good clients do not', async (t) => {
  const { sidecar } = await pair(t, { set: { ...KEEP_ALL, 'memory.limit': '32MiB', 'queue.max_bytes': '4MiB' } });
  const dial = crowd(t);
  const slow = await Promise.all(Array.from({ length: 12 }, () => dial(sidecar.httpPort, head(12 * MIB))));
  const answers = [];
  for (const socket of slow) socket.once('data', (bytes) => answers.push(String(bytes).split('\r\n')[0]));
  for (const socket of slow) socket.write(Buffer.alloc(1.5 * MIB));
  await sleep(2500); // younger ones are not evicted
  for (let i = 0; i < 4; i++) {
    for (const socket of slow) if (!socket.destroyed) socket.write(Buffer.alloc(MIB));
    assert.equal((await good(sidecar, 5)).ok, 5);
  }
  await until('some gave way', () => answers.length > 0);
  for (const line of answers) assert.match(line, /^HTTP\/1\.1 503/);
  await isBounded(sidecar);
  for (const socket of slow) socket.destroy();
  await closeLedger(sidecar, { received: 200, lost: {} });
});

test('answers that are not read are bounded, over HTTP/1.1', async (t) => {
  const { sidecar } = await pair(t, { set: KEEP_ALL });
  const dial = crowd(t);
  const many = 'GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(4000);
  const sockets = await Promise.all(Array.from({ length: 200 }, () => dial(sidecar.httpPort)));
  for (const socket of sockets) {
    socket.pause();
    socket.write(many);
  }
  await sleep(500);
  const { ok } = await good(sidecar);
  assert.equal(ok, 20);
  await isBounded(sidecar);
  for (const socket of sockets) socket.destroy();
  await closeLedger(sidecar, { received: 200, lost: {} });
});

test('answers that are not read are bounded, over HTTP/2 with a window of 0', async (t) => {
  const { sidecar } = await pair(t, { set: KEEP_ALL });
  const sessions = [];
  t.after(() => sessions.forEach((session) => session.destroy()));
  for (let i = 0; i < 60; i++) {
    const session = http2.connect(`http://127.0.0.1:${sidecar.httpPort}`, { settings: { initialWindowSize: 0 } });
    session.on('error', () => {});
    sessions.push(session);
    for (let k = 0; k < 100; k++) {
      const stream = session.request({ ':path': '/nothing', ':method': 'POST', 'content-type': 'application/x-protobuf' });
      stream.on('error', () => {});
      stream.end();
    }
  }
  await sleep(1000);
  assert.equal((await good(sidecar)).ok, 20);
  await isBounded(sidecar);
  for (const session of sessions) session.destroy();
  await closeLedger(sidecar, { received: 200, lost: {} });
});

test('pages that are not read are bounded, and health stands outside', async (t) => {
  const { sidecar } = await pair(t, { set: KEEP_ALL });
  const sessions = [];
  t.after(() => sessions.forEach((session) => session.destroy()));
  for (let i = 0; i < 3; i++) {
    const session = http2.connect(`http://127.0.0.1:${sidecar.adminPort}`, { settings: { initialWindowSize: 0 } });
    session.on('error', () => {});
    sessions.push(session);
    for (let k = 0; k < 100; k++) {
      const stream = session.request({ ':path': '/api/patterns?limit=16384', ':authority': 'localhost' });
      stream.on('error', () => {});
      stream.end();
    }
  }
  await sleep(500);
  assert.equal((await good(sidecar)).ok, 20);
  assert.match(await sidecar.page('health', '/livez'), /live/);
  await isBounded(sidecar);
  for (const session of sessions) session.destroy();
  await closeLedger(sidecar, { received: 200, lost: {} });
});

test('an open stream costs its head', async (t) => {
  const { sidecar } = await pair(t, { set: KEEP_ALL });
  const sessions = [];
  t.after(() => sessions.forEach((session) => session.destroy()));
  for (let i = 0; i < 29; i++) {
    const session = http2.connect(`http://127.0.0.1:${sidecar.grpcPort}`);
    session.on('error', () => {});
    sessions.push(session);
    for (let k = 0; k < 100; k++) {
      const stream = session.request({ ':path': '/v1/logs', ':method': 'POST', 'content-type': 'application/x-protobuf' });
      stream.on('error', () => {});
      stream.write(Buffer.alloc(135));
    }
  }
  await sleep(1000);
  assert.equal((await good(sidecar)).ok, 20);
  await isBounded(sidecar);
  for (const session of sessions) session.destroy();
  await closeLedger(sidecar, { received: 200, lost: {} });
});

test('silent sockets at the limit make room for those that speak', async (t) => {
  const { sidecar } = await pair(t, { set: { ...KEEP_ALL, 'receivers.otlp.max_connections': 50 } });
  const dial = crowd(t);
  await Promise.all(Array.from({ length: 120 }, () => dial(sidecar.httpPort)));
  await Promise.all(Array.from({ length: 60 }, () => dial(sidecar.healthPort)));
  assert.equal((await good(sidecar)).ok, 20);
  assert.match(await sidecar.page('health', '/livez'), /live/);
  await closeLedger(sidecar, { received: 200, lost: {} });
});

// What is small on the wire and long to decode: each is to be refused, or taken whole.
const BOMBS = {
  'zeros': async () => ({ type: 'application/x-protobuf', body: Buffer.alloc(17 * MIB), status: 400, records: 0 }),
  'white space of JSON': async () => ({ type: 'application/json', body: Buffer.from(`{"resourceLogs":[]${' '.repeat(17 * MIB)}}`), status: 200, records: 0 }),
  'one long text': async () => ({ type: 'application/x-protobuf', body: encodeLogs(request(1, { body: () => 'a '.repeat(9 * MIB) })), status: 413, records: 1 }),
  'many records': async () => ({ type: 'application/x-protobuf', body: encodeLogs(request(100000, { body: () => 'the same line again and again, for the compressor' })), status: 200, records: 100000 }),
  'many records of JSON': async () => ({ type: 'application/json', body: Buffer.from(JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords: Array(50000).fill({ body: { stringValue: 'the same line again' }, severityNumber: 9 }) }] }] })), status: 200, records: 50000 }),
};

for (const [what, make] of Object.entries(BOMBS)) {
  test(`a small body that is large inflated (${what}) does not hold up others`, async (t) => {
    const { sidecar } = await pair(t, { set: { ...KEEP_ALL, 'sampling.drop': '[{body: "*the same line again*"}]', 'sampling.first.count': 0 } });
    const { type, body, status, records } = await make();
    const small = await gzip(body);
    assert.ok(small.length < body.length / 20, `${small.length} of ${body.length} bytes`);
    const times = async (n) => {
      const all = [];
      for (let i = 0; i < n; i++) {
        const began = performance.now();
        const answer = await sidecar.post(SMALL);
        await answer.arrayBuffer();
        assert.equal(answer.status, 200, 'a good client');
        all.push(performance.now() - began);
      }
      return all.sort((a, b) => a - b)[Math.floor(n * 0.99)];
    };
    await times(50);
    const quiet = await times(200);
    let over = false;
    let [taken, put] = [0, 0];
    const attack = async () => {
      while (!over) {
        const answer = await sidecar.post(small, { type, headers: { 'content-encoding': 'gzip' } });
        await answer.arrayBuffer();
        if (answer.status === status) taken++;
        else if (answer.status === 503) put++; // no room for it now
        else assert.equal(answer.status, status);
      }
    };
    const attackers = Array.from({ length: 20 }, attack);
    const loud = await times(200);
    over = true;
    await Promise.all(attackers);
    t.diagnostic(`p99 ${quiet.toFixed(1)} ms, ${loud.toFixed(1)} ms beside ${taken} bombs, ${put} put off`);
    assert.ok(taken > 0);
    if (!process.env.ASAN_OPTIONS && process.env.LIPSERVICE_PLAIN) assert.ok(loud < 2 * quiet + 20, `p99 ${loud} ms, quiet ${quiet} ms`);
    await isBounded(sidecar);
    await closeLedger(sidecar, { received: 450 * 10 + taken * records, lost: {} });
  });
}

const jsonOf = (n) => Buffer.from(JSON.stringify({ resourceLogs: [{ resource: { attributes: [{ key: 'service.name', value: { stringValue: 'large' } }] }, scopeLogs: [{ logRecords: Array.from({ length: n }, (_, i) => ({ body: { stringValue: `line ${i} ${'x'.repeat(100)}` }, severityNumber: 9 })) }] }] }));

for (const durability of ['memory', 'disk']) {
  for (const mode of ['enforce', 'observe']) {
    test(`large bodies, ${durability}, ${mode}: all taken; who leaves meanwhile leaves nothing behind; the end waits for them`, async (t) => {
      const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-e2e-'));
      t.after(() => rmSync(dir, { recursive: true, force: true }));
      const set = { ...KEEP_ALL, durability, mode, ...(durability === 'disk' ? { 'spool.directory': path.join(dir, 'spool') } : {}) };
      const { sidecar } = await pair(t, { set });
      const body = jsonOf(20000);
      const zipped = await gzip(body);
      const send = (options = {}) => sidecar.post(zipped, { type: 'application/json', headers: { 'content-encoding': 'gzip' }, ...options });
      for (const answer of await Promise.all([send(), send(), sidecar.post(body, { type: 'application/json' })])) assert.equal(answer.status, 200);
      assert.equal((await sidecar.post(await gzip(body.subarray(0, -10)), { type: 'application/json', headers: { 'content-encoding': 'gzip' } })).status, 400);

      const dial = crowd(t);
      for (let i = 0; i < 30; i++) {
        const socket = await dial(sidecar.httpPort, `POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: ${zipped.length}\r\n\r\n`);
        socket.write(zipped);
        setTimeout(() => socket.resetAndDestroy(), i);
      }
      sidecar.signal('SIGHUP');
      await sleep(300);
      await until('nobody is left', async () => (await sidecar.metrics()).lipservice_http_connections <= 4);
      const { received } = await sidecar.ledger();
      // In memory records enter in parts: of a client that leaves meanwhile some have gone on, and it was not answered.
      assert.ok(received >= 60000 && (durability === 'memory' || received % 20000 === 0), `${received}`);

      const last = Array.from({ length: 5 }, () => send());
      await until('the last ones have arrived', async () => (await sidecar.metrics())['lipservice_http_requests_total{version="1.1"}'] >= 34 + 5);
      sidecar.signal('SIGTERM');
      for (const answer of await Promise.all(last)) assert.equal(answer.status, 200);
      assert.deepEqual(await sidecar.end(), { code: 0, signal: null });
      const ledger = sidecar.log.find((line) => line.event === 'ledger');
      assert.equal(Number(ledger.received), received + 5 * 20000);
      assert.equal(Number(ledger.received), Number(ledger.delivered));
    });
  }
}
