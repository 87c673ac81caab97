// Somebody on the port who wants memory or connections: others are served all the same.
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import net from 'node:net';
import { test } from 'node:test';
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
