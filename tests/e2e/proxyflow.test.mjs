// passthrough.posthog: bodies and answers of any length go through as they come, in little memory.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs, request } from './lib/otlp.mjs';
import { PostHog } from './lib/posthog.mjs';
import { KEEP_ALL, Sidecar, closeLedger, pair } from './lib/sidecar.mjs';
import { Certificates, tlsFront } from './lib/tls.mjs';
import { pause, until } from './lib/wait.mjs';

const MiB = 1 << 20;
const LARGE = 100 * MiB; // more than memory.limit
const block = randomBytes(MiB);

// The hash of `bytes` of blocks, one after the other.
function hashOf(bytes) {
  const hash = createHash('sha256');
  for (let left = bytes; left > 0; left -= MiB) hash.update(block.subarray(0, Math.min(left, MiB)));
  return hash.digest('hex');
}

function drained(out) {
  return new Promise((resolve) => {
    const settle = (isOpen) => {
      for (const event of ['drain', 'close', 'error']) out.off(event, listeners[event]);
      resolve(isOpen);
    };
    const listeners = { drain: () => settle(true), close: () => settle(false), error: () => settle(false) };
    for (const event of ['drain', 'close', 'error']) out.on(event, listeners[event]);
  });
}

// Write that much, never more than the other side takes. False: it was closed.
async function pour(out, bytes, { onBlock = () => {} } = {}) {
  for (let left = bytes; left > 0; left -= MiB) {
    const more = out.write(block.subarray(0, Math.min(left, MiB)));
    onBlock(bytes - left);
    if (!more && !(await drained(out))) return false;
  }
  out.end();
  return true;
}

async function hashed(stream) {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of stream) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { sha: hash.digest('hex'), bytes };
}

// A request that has begun, by either version: `out` takes its body.
function begin(t, sidecar, { h2 = false, method = 'POST', route = '/s/', headers = {}, ca }) {
  if (h2) {
    const session = http2.connect(ca ? `https://localhost:${sidecar.httpPort}` : sidecar.http, { ca }).on('error', () => {});
    const out = session.request({ ':method': method, ':path': route, ...headers }, { endStream: method === 'GET' });
    t.after(() => session.destroy());
    const answer = new Promise((resolve, reject) => {
      out.on('error', reject).on('response', (fields) => resolve({ status: fields[':status'], headers: fields, stream: out }));
    });
    answer.catch(() => {});
    out.on('close', () => session.close());
    return { out, answer, leave: () => session.destroy() };
  }
  const out = (ca ? https : http).request({ ca, servername: 'localhost', host: '127.0.0.1', port: sidecar.httpPort, method, path: route, headers, agent: false });
  t.after(() => out.destroy());
  const answer = new Promise((resolve, reject) => {
    out.on('error', reject).on('response', (res) => resolve({ status: res.statusCode, headers: res.headers, stream: res }));
  });
  answer.catch(() => {});
  if (method === 'GET') out.end();
  return { out, answer, leave: () => out.destroy() };
}

async function flow(t, handler, { set, ...rest } = {}) {
  const all = await pair(t, { set: { ...KEEP_ALL, 'memory.limit': '64MiB', ...set }, ...rest });
  all.stub.flow = handler;
  const metric = async (name) => (await all.sidecar.metrics())[name];
  return { ...all, metric, outcome: (name) => metric(`lipservice_proxy_requests_total{outcome="${name}"}`), peak: () => metric('lipservice_memory_peak_bytes') };
}

const FORMS = [
  { name: 'HTTP/1.1 with a length', headers: { 'content-length': String(LARGE) } },
  { name: 'HTTP/1.1 in chunks', headers: { 'transfer-encoding': 'chunked' } },
  { name: 'HTTP/2', h2: true },
];
const VERSIONS = [{ name: 'HTTP/1.1' }, { name: 'HTTP/2', h2: true }];

for (const form of FORMS)
  test(`up: 100 MiB, ${form.name}, through 64 MiB of memory; logs beside it`, { timeout: 120000 }, async (t) => {
    const want = hashOf(LARGE);
    const { sidecar, stub, peak } = await flow(t, async (req, res) => res.end((await hashed(req)).sha));
    const { out, answer } = begin(t, sidecar, form);
    await pour(out, LARGE);
    const { status, stream } = await answer;
    assert.equal(status, 200);
    assert.equal((await stream.toArray()).join(''), want);
    assert.ok((await peak()) < 8 * MiB, `${await peak()} bytes at most`);
    assert.equal((await sidecar.post(encodeLogs(request(10)))).status, 200);
    await until('the logs', () => stub.rows.length === 10);
    await closeLedger(sidecar, { received: 10, delivered: 10 });
  });

for (const form of FORMS)
  test(`down: 100 MiB, ${form.name}, through 64 MiB of memory`, { timeout: 120000 }, async (t) => {
    const want = hashOf(LARGE);
    const { sidecar, peak } = await flow(t, (req, res) => {
      res.writeHead(200, { 'content-type': 'video/x', ...form.headers });
      pour(res, LARGE);
    });
    const { answer } = begin(t, sidecar, { h2: form.h2, method: 'GET' });
    const { headers, stream } = await answer;
    assert.equal(headers['content-type'], 'video/x');
    if (form.headers) assert.equal(headers['content-length'], form.headers['content-length']);
    assert.deepEqual(await hashed(stream), { sha: want, bytes: LARGE });
    assert.ok((await peak()) < 8 * MiB, `${await peak()} bytes at most`);
    await closeLedger(sidecar, { received: 0 });
  });

// `count` stands still: what could move has moved.
async function still(what, count) {
  let last = -1;
  await until(what, async () => {
    const before = last;
    last = count();
    await pause(300);
    return last > 0 && last === before;
  });
  return last;
}

for (const form of VERSIONS) {
  test(`a client that reads slowly holds up PostHog and costs little, ${form.name}`, { timeout: 60000 }, async (t) => {
    let sent = 0;
    const { sidecar, peak } = await flow(t, (req, res) => pour(res, LARGE, { onBlock: (n) => (sent = n) }));
    const { answer } = begin(t, sidecar, { ...form, method: 'GET' });
    const { stream } = await answer;
    const at = await still('PostHog waits', () => sent);
    assert.ok(at < LARGE / 2, `${at} bytes were taken from PostHog`);
    assert.ok((await peak()) < 8 * MiB);
    assert.equal((await hashed(stream)).sha, hashOf(LARGE));
    await closeLedger(sidecar, { received: 0 });
  });

  test(`a PostHog that reads slowly holds up the client, which is not called slow, ${form.name}`, { timeout: 60000 }, async (t) => {
    let release;
    const held = new Promise((resolve) => (release = resolve));
    const { sidecar, peak } = await flow(t, async (req, res) => {
      await held;
      res.end((await hashed(req)).sha);
    });
    let sent = 0;
    const { out, answer } = begin(t, sidecar, form);
    const poured = pour(out, LARGE, { onBlock: (n) => (sent = n) });
    const at = await still('the client waits', () => sent);
    assert.ok(at < LARGE / 2, `${at} bytes were taken from the client`);
    assert.ok((await peak()) < 8 * MiB);
    release();
    await poured;
    assert.equal((await (await answer).stream.toArray()).join(''), hashOf(LARGE));
    await closeLedger(sidecar, { received: 0 });
  });

  test(`events arrive one by one, and the client that leaves ends them, ${form.name}`, { timeout: 60000 }, async (t) => {
    let events, gone = false;
    const { sidecar, outcome } = await flow(t, (req, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.flushHeaders();
      res.on('close', () => (gone = true));
      events = res;
    });
    const { answer, leave } = begin(t, sidecar, { ...form, method: 'GET', route: '/events' });
    const { stream } = await answer; // its head alone
    stream.on('error', () => {});
    for (let i = 0; i < 5; i++) {
      const arrived = new Promise((resolve) => stream.once('data', resolve));
      events.write(`data: ${i}\n\n`);
      assert.equal((await arrived).toString(), `data: ${i}\n\n`); // before the next is written
    }
    leave();
    await until('PostHog is left', () => gone);
    assert.equal(await outcome('answered'), 1);
    await closeLedger(sidecar, { received: 0 });
  });

  test(`who breaks off is seen by the other side, ${form.name}`, { timeout: 60000 }, async (t) => {
    let last;
    const { sidecar, stub, outcome } = await flow(t, (req, res) => {
      last = { req, res, aborted: false };
      req.on('error', () => {}).on('aborted', () => (last.aborted = true)).resume();
      if (req.url === '/length') res.writeHead(200, { 'content-length': '1000' }).write('some');
      if (req.url === '/chunks') res.writeHead(200).write('some');
    });
    for (const route of ['/length', '/chunks']) {
      const { answer } = begin(t, sidecar, { ...form, method: 'GET', route });
      const { status, stream } = await answer;
      assert.equal(status, 200);
      await new Promise((resolve) => stream.once('data', resolve));
      last.res.destroy();
      await assert.rejects(hashed(stream), route);
    }
    assert.equal(await outcome('cut'), 2);

    // In the middle of an upload: PostHog, then the client.
    const broken = begin(t, sidecar, { ...form, headers: form.h2 ? {} : { 'content-length': '1000000' } });
    broken.out.write('some');
    last = undefined;
    await until('PostHog sees it', () => last !== undefined);
    last.req.destroy();
    assert.equal((await broken.answer).status, 502);
    last = undefined;
    const left = begin(t, sidecar, { ...form, headers: form.h2 ? {} : { 'content-length': '1000000' } });
    left.out.on('error', () => {}).write('some');
    await until('PostHog sees it', () => last !== undefined);
    left.leave();
    await until('PostHog sees the end', () => last.aborted);
    assert.equal((await sidecar.post(encodeLogs(request(10)))).status, 200);
    await until('the logs', () => stub.rows.length === 10);
    await closeLedger(sidecar, { received: 10, delivered: 10 });
  });

  test(`an answer before the request has ended, ${form.name}`, { timeout: 60000 }, async (t) => {
    const { sidecar } = await flow(t, (req, res) => {
      if (req.url === '/no') res.writeHead(413, { connection: 'close' }).end('too large');
      else req.on('data', (chunk) => res.write(chunk)).on('end', () => res.end()); // an echo
    });
    const refused = begin(t, sidecar, { ...form, route: '/no' });
    refused.out.on('error', () => {}).write(block.subarray(0, 1000));
    const { status, stream } = await refused.answer;
    assert.deepEqual([status, (await stream.toArray()).join('')], [413, 'too large']);

    const echo = begin(t, sidecar, { ...form, route: '/echo' });
    echo.out.write('one');
    const { stream: back } = await echo.answer;
    assert.equal((await new Promise((resolve) => back.once('data', resolve))).toString(), 'one');
    echo.out.write('two');
    assert.equal((await new Promise((resolve) => back.once('data', resolve))).toString(), 'two');
    echo.out.end();
    back.resume();
    await new Promise((resolve) => back.once('end', resolve));
    await closeLedger(sidecar, { received: 0 });
  });
}

for (const form of VERSIONS)
  test(`TLS on both sides: 20 MiB up and down, and a client that reads slowly, ${form.name}`, { timeout: 60000 }, async (t) => {
    const certificates = new Certificates(t);
    const stub = await PostHog.start();
    t.after(() => stub.down());
    const front = await tlsFront(t, stub.url, certificates.pair('good'));
    const tls = 'receivers.otlp.protocols.http.tls';
    const sidecar = await Sidecar.start(t, { stub, set: {
      ...KEEP_ALL, 'exporters.posthog.host': front.url, 'exporters.posthog.tls.ca_file': certificates.file('ca.crt'),
      [`${tls}.cert_file`]: certificates.file('good.crt'), [`${tls}.key_file`]: certificates.file('good.key'),
    } });
    const ca = certificates.pair('ca').cert;
    let sent = 0;
    stub.flow = async (req, res) => {
      const { sha } = await hashed(req);
      res.setHeader('x-sha', sha);
      pour(res, 20 * MiB, { onBlock: (n) => (sent = n) });
    };
    const { out, answer } = begin(t, sidecar, { ...form, ca });
    await pour(out, 20 * MiB);
    const { headers, stream } = await answer;
    assert.equal(headers['x-sha'], hashOf(20 * MiB));
    await still('PostHog waits', () => sent);
    assert.deepEqual(await hashed(stream), { sha: hashOf(20 * MiB), bytes: 20 * MiB });
    assert.ok((await sidecar.metrics()).lipservice_memory_peak_bytes < 8 * MiB);
    await sidecar.stop();
  });

test('a POST is not repeated when the connection that it went out on is closed', async (t) => {
  let seen = 0;
  const { sidecar } = await flow(t, async (req, res) => {
    await hashed(req);
    if (seen++ === 0) res.end('fine');
    else req.socket.destroy(); // kept alive, and closed under the second request
  });
  const send = async () => {
    const { out, answer } = begin(t, sidecar, {});
    out.end('{"event":"paid"}');
    const { status, stream } = await answer;
    stream.resume();
    return status;
  };
  assert.equal(await send(), 200);
  assert.equal(await send(), 502);
  assert.equal(seen, 2);
});

test('Expect: 100-continue is answered before the body, and PostHog away before that', async (t) => {
  const { sidecar, stub } = await flow(t, async (req, res) => {
    assert.equal(req.headers.expect, undefined);
    res.end((await hashed(req)).sha);
  });
  const ask = async () => {
    const { out, answer } = begin(t, sidecar, { headers: { expect: '100-continue', 'content-length': String(MiB) } });
    out.flushHeaders();
    let continued = false;
    out.on('continue', () => {
      continued = true;
      pour(out, MiB);
    });
    const { status, stream } = await answer;
    return { status, continued, body: (await stream.toArray()).join('') };
  };
  assert.deepEqual(await ask(), { status: 200, continued: true, body: hashOf(MiB) });
  await stub.down();
  await until('it is known to be away', async () => {
    const { status, continued } = await ask();
    return status === 502 && !continued;
  });
});

test('connections are used again: five downloads by one connection of the client', async (t) => {
  const { sidecar } = await flow(t, (req, res) => {
    res.writeHead(200, req.url === '/length' ? { 'content-length': String(MiB) } : {});
    pour(res, MiB);
  });
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const ports = new Set();
  for (const route of ['/length', '/chunks', '/length', '/chunks', '/length']) {
    const res = await new Promise((resolve, reject) => http.get({ host: '127.0.0.1', port: sidecar.httpPort, path: route, agent }, resolve).on('error', reject));
    ports.add(res.socket.localPort);
    assert.equal((await hashed(res)).sha, hashOf(MiB));
  }
  assert.equal(ports.size, 1);
});

test('HTTP/1.0, with and without a length', async (t) => {
  const { sidecar } = await flow(t, (req, res) => {
    if (req.url === '/length') res.setHeader('content-length', '11');
    res.write('hello ');
    res.end('world');
  });
  for (const route of ['/length', '/close']) {
    const socket = net.connect(sidecar.httpPort, '127.0.0.1');
    socket.write(`GET ${route} HTTP/1.0\r\nHost: localhost\r\n\r\n`);
    const text = (await socket.toArray()).join('');
    assert.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nhello world$/);
    assert.match(text, /connection: close/);
    assert.doesNotMatch(text, /transfer-encoding/);
  }
});

test('many at once, that read nothing and send without end, stay within the account', { timeout: 120000 }, async (t) => {
  const { sidecar, stub, outcome, peak, metric } = await flow(t, (req, res) => {
    if (req.method === 'GET') pour(res, 20 * MiB);
    // else it never reads
  }, { set: { 'memory.limit': '24MiB' } });
  const sockets = Array.from({ length: 80 }, (_, i) => {
    const socket = net.connect(sidecar.httpPort, '127.0.0.1').on('error', () => {});
    socket.pause();
    if (i % 2) socket.write('GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n');
    else socket.write('POST /s/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n');
    if (i % 2 === 0) for (let k = 0; k < 4; k++) socket.write(Buffer.concat([Buffer.from('100000\r\n'), block, Buffer.from('\r\n')]));
    return socket;
  });
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  await until('as many as may be are under way, the others refused', async () => (await outcome('refused')) > 0 && (await outcome('answered')) > 0);
  assert.equal((await sidecar.post(encodeLogs(request(10)))).status, 200);
  assert.ok((await peak()) <= 24 * MiB);
  if (process.env.LIPSERVICE_PLAIN) assert.ok((await metric('lipservice_process_resident_memory_bytes')) < 64 * MiB);
  await until('the logs', () => stub.rows.length === 10);
  for (const socket of sockets) socket.destroy();
  await closeLedger(sidecar, { received: 10, delivered: 10 });
});

for (const durability of ['memory', 'disk'])
  test(`a reload and a stop in the midst, ${durability}`, { timeout: 60000 }, async (t) => {
    const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-e2e-'));
    t.after(() => rmSync(dir, { recursive: true, force: true }));
    const { sidecar, stub, metric } = await flow(t, async (req, res) => {
      if (req.url !== '/events') {
        res.end((await hashed(req)).sha);
        return;
      }
      res.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n');
    }, { set: durability === 'disk' ? { durability, 'spool.directory': dir } : {} });
    const up = begin(t, sidecar, { headers: { 'content-length': String(4 * MiB) } });
    up.out.write(block);
    const events = await begin(t, sidecar, { method: 'GET', route: '/events' }).answer;
    assert.equal((await new Promise((resolve) => events.stream.once('data', resolve))).toString(), 'data: 1\n\n');
    assert.equal((await sidecar.post(encodeLogs(request(10)))).status, 200);

    sidecar.signal('SIGHUP');
    await until('a reload', async () => (await metric('lipservice_config_reloads_total{outcome="accepted"}')) === 1);
    up.out.write(block);

    // Events have no end of their own and are cut at once; an upload is given time to end.
    const cut = assert.rejects(hashed(events.stream));
    sidecar.signal('SIGTERM');
    await cut;
    up.out.write(block);
    up.out.end(block);
    const { status, stream } = await up.answer;
    assert.deepEqual([status, (await stream.toArray()).join('')], [200, hashOf(4 * MiB)]);
    assert.deepEqual(await sidecar.end(), { code: 0, signal: null }, sidecar.stderr);
    const last = sidecar.log.findLast(({ event }) => event === 'ledger');
    assert.deepEqual([Number(last.received), Number(last.delivered) + Number(last.left_on_disk), Number(last.lost)], [10, 10, 0]);
    assert.equal(stub.rows.length, Number(last.delivered));
  });

test('a stop does not wait for a PostHog that hangs: what has not begun may come again, and records are delivered', { timeout: 60000 }, async (t) => {
  const { sidecar, stub } = await flow(t, () => {}, { set: { 'shutdown.timeout': '4s' } });
  const { out, answer } = begin(t, sidecar, {});
  out.end('{}');
  assert.equal((await sidecar.post(encodeLogs(request(10)))).status, 200);
  sidecar.signal('SIGTERM');
  assert.equal((await answer).status, 503);
  assert.deepEqual(await sidecar.end(), { code: 0, signal: null }, sidecar.stderr);
  assert.equal(stub.rows.length, 10);
});
