// TLS on our own ports: who is let in, what is refused, certificates that change, and the end.
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { before, test } from 'node:test';
import tls from 'node:tls';
import { credentials } from '@grpc/grpc-js';
import * as sdk from '@opentelemetry/sdk-logs';
import { OTLPLogExporter as Json } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as Proto } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPLogExporter as Grpc } from '@opentelemetry/exporter-logs-otlp-grpc';
import { encodeLogs, grpcFrame, request } from './lib/otlp.mjs';
import { BINARY, closeLedger, KEEP_ALL, pair, run } from './lib/sidecar.mjs';
import { Certificates } from './lib/tls.mjs';
import { until } from './lib/wait.mjs';
import { http1 } from './lib/wire.mjs';

const LOGS_METHOD = '/opentelemetry.proto.collector.logs.v1.LogsService/Export';
const BODY = encodeLogs(request(10, { body: (i) => `order ${i} was placed` }));
const GRPC = 'receivers.otlp.protocols.grpc.tls';
const HTTP = 'receivers.otlp.protocols.http.tls';
const PAGES = 'telemetry.tls';
let certificates;
before(() => {
  certificates = new Certificates({ after: (fn) => process.on('exit', fn) });
});

const directory = (t) => {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-e2e-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
};
const block = (prefix, more = {}, name = 'good') => ({
  [`${prefix}.cert_file`]: certificates.file(`${name}.crt`),
  [`${prefix}.key_file`]: certificates.file(`${name}.key`),
  ...Object.fromEntries(Object.entries(more).map(([key, value]) => [`${prefix}.${key}`, value])),
});
const onBoth = (more) => ({ ...block(GRPC, more), ...block(HTTP, more) });
const start = (t, set, rest) => pair(t, { set: { ...KEEP_ALL, ...set }, ...rest });
const trust = (more = {}) => ({ ca: certificates.pair('ca').cert, servername: 'localhost', ...more });
const logged = (sidecar, event) => sidecar.log.filter((line) => line.event === event);

// One request of HTTP/1.1 over TLS.
function secure1(port, { route = '/v1/logs', method = 'POST', body, headers = {}, ...more } = {}) {
  return new Promise((resolve, reject) => {
    const req = https.request({ host: '127.0.0.1', port, path: route, method, agent: false, timeout: 20000, ...trust(more), headers: { 'content-type': 'application/x-protobuf', ...headers } }, (res) => {
      const parts = [];
      res.on('data', (part) => parts.push(part));
      res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, body: Buffer.concat(parts) }));
    });
    req.on('timeout', () => req.destroy(new Error('no answer')));
    req.on('error', reject);
    req.end(body);
  });
}

const connect2 = (t, port, more) => {
  const session = http2.connect(`https://127.0.0.1:${port}`, trust(more));
  session.on('error', () => {});
  t.after(() => session.destroy());
  return session;
};

// One unary call over an open session.
function call(session, message = BODY) {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':path': LOGS_METHOD, ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' });
    let code;
    stream.on('trailers', (trailers) => (code = Number(trailers['grpc-status'])));
    stream.on('response', (head) => 'grpc-status' in head && (code = Number(head['grpc-status'])));
    stream.on('error', reject);
    stream.on('close', () => (code === undefined ? reject(new Error('no status')) : resolve(code)));
    stream.resume();
    stream.end(grpcFrame(message));
  });
}

// A connection and its peer's certificate, or why there is none.
function dial(port, more = {}) {
  return new Promise((resolve) => {
    const socket = tls.connect({ host: '127.0.0.1', port, ...trust(more) }, () => resolve({ socket, serial: socket.getPeerCertificate().serialNumber }));
    socket.on('error', (error) => resolve({ error }));
  });
}

const serial = async (port) => {
  const { socket, serial: number, error } = await dial(port);
  socket?.destroy();
  if (error) throw error;
  return number;
};

// ---- the official exporters

const exporters = {
  grpc: (s, identity) => new Grpc({ url: `https://localhost:${s.grpcPort}`, credentials: credentials.createSsl(certificates.pair('ca').cert, identity?.key, identity?.cert) }),
  protobuf: (s, identity) => new Proto({ url: `https://localhost:${s.httpPort}/v1/logs`, httpAgentOptions: trust(identity), keepAlive: true }),
  json: (s, identity) => new Json({ url: `https://localhost:${s.httpPort}/v1/logs`, httpAgentOptions: trust(identity), keepAlive: true }),
};

for (const durability of ['memory', 'disk']) {
  for (const [name, make] of Object.entries(exporters)) {
    test(`the official exporter of ${name} over TLS, client certificates asked for, ${durability}`, async (t) => {
      const set = { ...onBoth({ client_ca_file: certificates.file('ca.crt'), client_sans: '[client.example]' }), durability, ...(durability === 'disk' ? { 'spool.directory': path.join(directory(t), 'spool') } : {}) };
      const { sidecar } = await start(t, set);
      const provider = new sdk.LoggerProvider({ processors: [new sdk.BatchLogRecordProcessor({ exporter: make(sidecar, certificates.pair('client')) })] });
      for (let i = 0; i < 50; i++) provider.getLogger('a').emit({ body: `line ${i}`, severityNumber: 9 });
      await provider.shutdown();
      assert.equal((await sidecar.metrics()).lipservice_tls_handshakes_total, 1);
      await closeLedger(sidecar, { received: 50, delivered: 50, lost: {} });
    });
  }
}

test('every protocol on both ports, in clear text beside TLS, and large bodies', async (t) => {
  const { sidecar } = await start(t, onBoth());
  const large = encodeLogs(request(3000, { body: (i) => `${i} ${'x'.repeat(1000)}` }));
  for (const port of [sidecar.grpcPort, sidecar.httpPort]) {
    assert.equal((await http1(port, { body: BODY })).status, 200);
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
      assert.equal((await secure1(port, { body: BODY, maxVersion })).status, 200);
      assert.equal(await call(connect2(t, port, { maxVersion })), 0);
      assert.equal((await secure1(port, { body: large, maxVersion })).status, 200);
    }
    const session = connect2(t, port);
    assert.deepEqual(await Promise.all(Array.from({ length: 50 }, () => call(session))), Array(50).fill(0));
  }
  await closeLedger(sidecar, { received: 2 * (10 + 2 * (10 + 10 + 3000) + 500), lost: {} });
});

test('many handshakes at once are all ended, in turns', async (t) => {
  const { sidecar } = await start(t, onBoth());
  for (let i = 0; i < 5; i++) {
    const answers = await Promise.all(Array.from({ length: 64 }, (_, k) => secure1([sidecar.grpcPort, sidecar.httpPort][k % 2], { body: BODY })));
    assert.ok(answers.every((answer) => answer.status === 200));
  }
  await closeLedger(sidecar, { received: 5 * 64 * 10, lost: {} });
});

// ---- who is let in

test('a client certificate: none, of another CA, of another name: refused; ours is taken; and no clear text', async (t) => {
  const { sidecar } = await start(t, onBoth({ client_ca_file: certificates.file('ca.crt'), client_sans: '["*.example"]' }));
  for (const port of [sidecar.grpcPort, sidecar.httpPort]) {
    for (const identity of [{}, certificates.pair('other-client'), certificates.pair('wrong-host'), certificates.pair('expired')].map((pair, i) => ({ pair, good: i === 2 }))) {
      if (identity.good) assert.equal((await secure1(port, { body: BODY, ...identity.pair })).status, 200); // elsewhere.example
      else await assert.rejects(secure1(port, { body: BODY, ...identity.pair }), /alert|reset|hang up|ECONN/i);
    }
    await assert.rejects(secure1(port, { body: BODY, ...certificates.pair('good') }), /alert|reset|hang up|ECONN/i); // localhost
    assert.equal((await secure1(port, { body: BODY, ...certificates.pair('client') })).status, 200);
    assert.equal((await http1(port, { body: BODY })).status, 400);
  }
  assert.equal(await sidecar.fault('tls_handshake'), 8);
  assert.ok(logged(sidecar, 'tls_client_refused').length > 0);
  await closeLedger(sidecar, { received: 40, lost: {} });
});

test('a revoked client certificate is refused as soon as the list names it, and not before; without a list that holds, all are', async (t) => {
  const { sidecar } = await start(t, onBoth({ client_ca_file: certificates.file('ca.crt'), crl_file: certificates.revoke([]) }));
  const ask = (name) => secure1(sidecar.httpPort, { body: BODY, ...certificates.pair(name) });
  const refused = (name) => assert.rejects(ask(name), /alert|reset|hang up|ECONN/i).then(() => true);
  const taken = async (name) => assert.equal((await ask(name)).status, 200);
  await taken('client');
  certificates.revoke(['client']);
  await until('it is refused', () => refused('client'));
  await taken('good');
  certificates.revoke([], 'ca', 0); // of one second
  await until('the list has expired', () => refused('good'));
  writeFileSync(certificates.file('ca.crl'), 'no list');
  await until('it is refused', async () => (await sidecar.metrics())['lipservice_tls_certificate_loads_total{outcome="refused"}'] >= 2);
  await refused('good'); // the last that could be read stays
  certificates.revoke([]);
  await until('it is taken again', () => taken('client').then(() => true));
  await closeLedger(sidecar, { lost: {} });
});

test('TLS 1.0 and 1.1, protocols that are not ours, weak suites: refused with an alert', async (t) => {
  const { sidecar } = await start(t, onBoth());
  const refused = async (more, said) => assert.match((await dial(sidecar.grpcPort, more)).error?.message ?? 'taken', said);
  for (const version of ['TLSv1', 'TLSv1.1']) await refused({ minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' }, /protocol version/);
  await refused({ ALPNProtocols: ['http/1.0', 'spdy/3'] }, /no application protocol/);
  await refused({ maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA256' }, /handshake failure/);
  assert.equal(await sidecar.fault('tls_handshake'), 4);
  assert.equal((await secure1(sidecar.grpcPort, { body: BODY })).status, 200);
  await closeLedger(sidecar, { received: 10, lost: {} });
});

test('clear text where TLS is required: an answer that says so, over HTTP/1.1 and HTTP/2', async (t) => {
  const { sidecar } = await start(t, { ...onBoth({ required: true }), ...block(PAGES) });
  for (const port of [sidecar.grpcPort, sidecar.httpPort]) {
    const answer = await http1(port, { body: BODY });
    assert.equal(answer.status, 400);
    assert.match(String(answer.body), /https:\/\//);
    const session = http2.connect(`http://127.0.0.1:${port}`);
    session.on('error', () => {});
    const [code, , data] = await new Promise((resolve) => session.on('goaway', (...args) => resolve(args)));
    assert.equal(code, http2.constants.NGHTTP2_INADEQUATE_SECURITY);
    assert.match(String(data), /TLS/);
    session.destroy();
    assert.equal((await secure1(port, { body: BODY })).status, 200);
  }
  assert.equal(await sidecar.fault('clear_on_tls'), 4);
  assert.ok(logged(sidecar, 'clear_text_on_tls_port').length > 0);
  await closeLedger(sidecar, { received: 20, lost: {} });
});

for (const [what, set, key] of [
  ['a key without its certificate', () => ({ [`${GRPC}.key_file`]: certificates.file('good.key') }), 'cert_file'],
  ['a certificate without its key', () => ({ [`${GRPC}.cert_file`]: certificates.file('good.crt') }), 'key_file'],
  ['the key of another', () => ({ ...block(GRPC), [`${GRPC}.key_file`]: certificates.file('client.key') }), 'key_file'],
  ['no such file', () => ({ ...block(GRPC), [`${GRPC}.client_ca_file`]: '/nonexistent' }), 'client_ca_file'],
  ['required without a certificate', () => ({ [`${GRPC}.required`]: true }), 'cert_file'],
  ['a CA of clients without a certificate', () => ({ [`${GRPC}.client_ca_file`]: certificates.file('ca.crt') }), 'cert_file'],
  ['revocations without a CA', () => ({ ...block(GRPC), [`${GRPC}.crl_file`]: certificates.file('ca.crt') }), 'client_ca_file'],
  ['names of clients without a CA', () => ({ ...block(GRPC), [`${GRPC}.client_sans`]: '[a.example]' }), 'client_ca_file'],
  ['an old version', () => ({ ...block(GRPC), [`${GRPC}.min_version`]: '1.1' }), 'min_version'],
]) {
  test(`start and validate: ${what}`, async () => {
    for (const verb of ['run', 'validate']) {
      const end = await run([verb, '--config', '/dev/null', ...Object.entries({ 'exporters.file.path': '/dev/null', 'receivers.otlp.protocols.grpc.endpoint': 'localhost:0', 'receivers.otlp.protocols.http.endpoint': 'localhost:0', ...set() }).flatMap(([k, v]) => ['--set', `${k}=${v}`])]);
      assert.equal(end.code, 78, end.stderr);
      assert.ok(end.stderr.includes(`${GRPC}.${key}`), end.stderr);
    }
  });
}

// ---- connections that misbehave

test('a handshake that does not end is cut, and others are served meanwhile', async (t) => {
  const { sidecar } = await start(t, onBoth());
  const began = performance.now();
  const slow = net.connect(sidecar.httpPort, '127.0.0.1');
  slow.on('error', () => {});
  t.after(() => slow.destroy());
  slow.write(Buffer.from('1603010200010001fc0303', 'hex'));
  const drip = setInterval(() => slow.write('x'), 500);
  t.after(() => clearInterval(drip));
  slow.resume();
  const cut = new Promise((resolve) => slow.on('close', () => resolve(performance.now() - began)));
  assert.equal((await secure1(sidecar.httpPort, { body: BODY })).status, 200);
  const after = await cut;
  assert.ok(after > 8000 && after < 14000, `cut after ${after} ms`);
  assert.equal(await sidecar.fault('timeout'), 1);
  await closeLedger(sidecar, { received: 10, lost: {} });
});

test('records that are cut off or changed: nothing of them enters', async (t) => {
  const { sidecar } = await start(t, onBoth());
  for (const spoil of [(record) => record.subarray(0, record.length - 20), (record) => ((record[record.length - 5] ^= 1), record)]) {
    // A proxy that lets the handshake through and spoils the first record of data.
    const front = net.createServer((client) => {
      const onward = net.connect(sidecar.httpPort, '127.0.0.1');
      let flights = 0;
      client.on('data', (bytes) => {
        if (++flights < 3) onward.write(bytes);
        else onward.end(spoil(Buffer.from(bytes)));
      });
      onward.on('data', (bytes) => client.write(bytes));
      for (const socket of [client, onward]) socket.on('error', () => {}).on('close', () => (client.destroy(), onward.destroy()));
    });
    await new Promise((resolve) => front.listen(0, '127.0.0.1', resolve));
    const { socket } = await dial(front.address().port, { maxVersion: 'TLSv1.2' });
    await until('the handshake has passed', () => socket.getFinished() !== undefined);
    socket.on('error', () => {});
    socket.write(Buffer.concat([Buffer.from(`POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: ${BODY.length}\r\n\r\n`), BODY]));
    await new Promise((resolve) => socket.on('close', resolve));
    front.close();
  }
  const faults = (await sidecar.fault('aborted')) + (await sidecar.fault('bad_request'));
  assert.equal(faults, 2);
  await closeLedger(sidecar, { received: 0, lost: {} });
});

test('who sends close_notify after his request still gets the answer, and ours ends with one', async (t) => {
  const { sidecar } = await start(t, onBoth());
  const { socket } = await dial(sidecar.httpPort, { allowHalfOpen: true });
  let text = '';
  socket.setEncoding('latin1').on('data', (part) => (text += part));
  const ended = new Promise((resolve) => socket.on('end', resolve)); // close_notify; without it an error
  socket.end(Buffer.concat([Buffer.from(`POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: ${BODY.length}\r\n\r\n`), BODY]));
  await ended;
  assert.match(text, /^HTTP\/1\.1 200/);
  await closeLedger(sidecar, { received: 10, lost: {} });
});

test('a flood of handshakes stays within the account, and a good client is served', async (t) => {
  const { sidecar } = await start(t, onBoth());
  const sockets = [];
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  const kept = connect2(t, sidecar.httpPort);
  assert.equal(await call(kept), 0);
  const hello = await new Promise((resolve) => {
    const server = net.createServer((socket) => socket.once('data', (bytes) => (resolve(bytes), socket.destroy())));
    server.listen(0, '127.0.0.1', () => tls.connect({ port: server.address().port, host: '127.0.0.1' }).on('error', () => server.close()));
  });
  for (let i = 0; i < 1000; i++) {
    const socket = net.connect(sidecar.httpPort, '127.0.0.1', () => socket.write(hello));
    socket.on('error', () => {});
    sockets.push(socket);
  }
  const slow = [];
  for (let i = 0; i < 20; i++) {
    const began = performance.now();
    assert.equal(await call(kept), 0, 'a client that was there before');
    slow.push(performance.now() - began);
  }
  for (const port of [sidecar.grpcPort, sidecar.httpPort]) await until('one that comes now', async () => (await secure1(port, { body: BODY }).catch(() => ({}))).status === 200);
  const metrics = await sidecar.metrics();
  assert.ok(metrics.lipservice_memory_peak_bytes <= metrics.lipservice_memory_limit_bytes);
  t.diagnostic(`slowest of 20 in the flood: ${Math.max(...slow).toFixed(1)} ms; resident ${(metrics.lipservice_process_resident_memory_bytes / (1 << 20)).toFixed(1)} MiB`);
  sockets.forEach((socket) => socket.destroy());
  await closeLedger(sidecar, { received: 230, lost: {} });
});

// ---- certificates that change

// Files as Kubernetes mounts a secret: links into a directory that is swapped whole.
function mounted(t) {
  const dir = directory(t);
  let version = 0;
  const mount = (name, { key = name, mangle = (text) => text } = {}) => {
    const next = path.join(dir, `..${++version}`);
    execFileSync('mkdir', [next]);
    writeFileSync(path.join(next, 'tls.crt'), mangle(String(certificates.pair(name).cert)));
    writeFileSync(path.join(next, 'tls.key'), certificates.pair(key).key, { mode: 0o600 });
    symlinkSync(`..${version}`, path.join(dir, '..next'));
    renameSync(path.join(dir, '..next'), path.join(dir, '..data'));
  };
  mount('good');
  for (const name of ['tls.crt', 'tls.key']) symlinkSync(`..data/${name}`, path.join(dir, name));
  return { dir, mount, set: { ...block(GRPC), [`${GRPC}.cert_file`]: path.join(dir, 'tls.crt'), [`${GRPC}.key_file`]: path.join(dir, 'tls.key') } };
}

for (const binary of [BINARY, process.env.LIPSERVICE_RELEASE_BIN].filter(Boolean)) {
  test(`a certificate changes with its files; a bad pair leaves the last good one; no connection ends (${path.basename(path.dirname(binary))})`, async (t) => {
    const { mount, set } = mounted(t);
    const { sidecar } = await start(t, set, { binary });
    const loads = async (outcome) => (await sidecar.metrics())[`lipservice_tls_certificate_loads_total{outcome="${outcome}"}`];
    const session = connect2(t, sidecar.grpcPort);
    assert.equal(await call(session), 0);
    const first = await serial(sidecar.grpcPort);
    mount('wrong-host');
    await until('the other certificate', async () => (await serial(sidecar.grpcPort).catch(() => 'other')) !== first);
    mount('good', { key: 'client' });
    await until('a refusal', async () => (await loads('refused')) === 1);
    assert.match(logged(sidecar, 'tls_certificate_refused')[0].reason, /not the key/);
    mount('good', { mangle: (text) => text.slice(0, 200) });
    await until('a refusal', async () => (await loads('refused')) === 2);
    assert.equal(await serial(sidecar.grpcPort).catch((error) => error.code), 'ERR_TLS_CERT_ALTNAME_INVALID', 'the last good one stays');
    mount('good');
    await until('the first certificate', async () => (await serial(sidecar.grpcPort).catch(() => 'other')) === first);
    assert.equal(await call(session), 0, 'a connection from before');
    await closeLedger(sidecar, { received: 20, lost: {} });
  });
}

test('SIGHUP reads the files again, at once', async (t) => {
  const dir = directory(t);
  const [cert, key] = [path.join(dir, 'a.crt'), path.join(dir, 'a.key')];
  const put = (name) => {
    copyFileSync(certificates.file(`${name}.crt`), cert);
    copyFileSync(certificates.file(`${name}.key`), key);
    chmodSync(key, 0o600);
  };
  put('good');
  const { sidecar } = await start(t, { [`${HTTP}.cert_file`]: cert, [`${HTTP}.key_file`]: key });
  const first = await serial(sidecar.httpPort);
  put('self-signed');
  sidecar.signal('SIGHUP');
  await until('another certificate', async () => (await serial(sidecar.httpPort).catch((error) => error.code)) !== first);
  assert.ok((await sidecar.metrics()).lipservice_tls_certificate_expires_seconds > Date.now() / 1000);
  await closeLedger(sidecar, { received: 0 });
});

test('a certificate that ends soon or has ended, and a key that others may read, are told of', async (t) => {
  const dir = directory(t);
  const key = path.join(dir, 'readable.key');
  copyFileSync(certificates.file('expired.key'), key);
  chmodSync(key, 0o644);
  const { sidecar } = await start(t, { ...block(HTTP, {}, 'expired'), [`${HTTP}.key_file`]: key });
  assert.match(logged(sidecar, 'tls_certificate_ends')[0].msg, /expired/);
  assert.equal(logged(sidecar, 'tls_key_readable').length, 1);
  await closeLedger(sidecar, { received: 0 });
});

// ---- the end

test('SIGTERM: what is under way is answered, HTTP/2 hears GOAWAY, the end is a close_notify', async (t) => {
  const { sidecar } = await start(t, onBoth());
  const session = connect2(t, sidecar.grpcPort);
  assert.equal(await call(session), 0);
  const { socket } = await dial(sidecar.httpPort);
  socket.write(`POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: ${BODY.length}\r\n\r\n`);
  let text = '';
  socket.setEncoding('latin1').on('data', (part) => (text += part));
  const goaway = new Promise((resolve) => session.on('goaway', resolve));
  const ended = new Promise((resolve, reject) => socket.on('end', resolve).on('error', reject));
  await until('the head has arrived', async () => (await sidecar.metrics())['lipservice_http_requests_total{version="1.1"}'] === 1);
  sidecar.signal('SIGTERM');
  socket.write(BODY);
  assert.equal(await goaway, 0);
  await ended;
  assert.match(text, /^HTTP\/1\.1 200/);
  assert.deepEqual(await sidecar.end(), { code: 0, signal: null });
  assert.equal(Number(logged(sidecar, 'ledger')[0].received), 20);
});

// ---- pages

test('metrics and admin over TLS: required, by origin, and by the verbs', async (t) => {
  const { sidecar } = await start(t, block(PAGES, { required: true }));
  const get = (port, route, headers = {}) => secure1(port, { route, method: 'GET', headers });
  assert.equal((await get(sidecar.metricsPort, '/metrics')).status, 200);
  assert.equal((await http1(sidecar.metricsPort, { path: '/metrics', method: 'GET' })).status, 400);
  const own = `127.0.0.1:${sidecar.adminPort}`;
  for (const [origin, status] of [[`https://${own}`, 200], [`http://${own}`, 403], ['https://evil.example', 403]])
    assert.equal((await get(sidecar.adminPort, '/api/ledger', { host: own, origin })).status, status, origin);
  assert.equal((await fetch(`http://127.0.0.1:${sidecar.healthPort}/readyz`)).status, 200, 'health stays in clear');
  const settings = Object.entries({ ...block(PAGES, { required: true }), 'telemetry.admin.endpoint': own }).flatMap(([k, v]) => ['--set', `${k}=${v}`]);
  for (const more of [[], ['--admin', `https://${own}`]]) {
    const end = await run(['reload', '--config', '/dev/null', ...settings, ...more]);
    assert.equal(end.code, 0, end.stderr);
  }
  const distrusted = await run(['reload', '--config', '/dev/null', '--admin', `https://${own}`]);
  assert.equal(distrusted.code, 69, 'the system does not know that CA');
  await sidecar.stop();
});

test('ports off loopback: with TLS required and keys there is nothing to tell', async (t) => {
  const open = { 'receivers.otlp.protocols.grpc.endpoint': '0.0.0.0:0', 'receivers.otlp.protocols.http.endpoint': '0.0.0.0:0' };
  const ca = { client_ca_file: certificates.file('ca.crt') };
  for (const [set, missing] of [
    [{ ...block(GRPC), ...block(HTTP, { required: true }) }, ['tls,auth', 'auth']],
    [onBoth(ca), []],
  ]) {
    const { sidecar } = await start(t, { ...open, ...set });
    assert.deepEqual(logged(sidecar, 'insecure_port').map((line) => line.missing), missing);
    await closeLedger(sidecar, { received: 0 });
  }
});

// ---- what others' tools say

const hasTool = (name) => spawnSync(name, ['--version']).error === undefined;
const lines = (command, args) => new Promise((resolve) => execFile(command, args, { timeout: 60000 }, (_error, stdout, stderr) => resolve(stdout + stderr)));

test('sslscan finds TLS 1.2 and 1.3, AEAD with forward secrecy, and nothing old', { skip: !hasTool('sslscan') && 'no sslscan here' }, async (t) => {
  const { sidecar } = await start(t, { ...onBoth(), ...block(PAGES) });
  for (const port of [sidecar.grpcPort, sidecar.httpPort, sidecar.metricsPort, sidecar.adminPort]) {
    const said = await lines('sslscan', ['--no-colour', '--show-client-cas', `127.0.0.1:${port}`]);
    for (const [version, state] of [['SSLv2', 'disabled'], ['SSLv3', 'disabled'], ['TLSv1.0', 'disabled'], ['TLSv1.1', 'disabled'], ['TLSv1.2', 'enabled'], ['TLSv1.3', 'enabled']])
      assert.match(said, new RegExp(`${version.replace('.', '\\.')}\\s+${state}`), said);
    assert.match(said, /Compression disabled|does not support compression/);
    assert.match(said, /Session renegotiation not supported/);
    assert.doesNotMatch(said, /vulnerable to heartbleed(?<!not vulnerable to heartbleed)/);
    const suites = [...said.matchAll(/^(?:Preferred|Accepted)\s+(TLSv1\.\d)\s+\d+ bits\s+(\S+)/gm)].map(([, version, suite]) => ({ version, suite }));
    assert.ok(suites.length >= 5, said);
    for (const { version, suite } of suites)
      assert.match(suite, version === 'TLSv1.3' ? /^TLS_(AES_(128|256)_GCM|CHACHA20_POLY1305)_SHA(256|384)$/ : /^ECDHE-(ECDSA|RSA)-(AES(128|256)-GCM-SHA(256|384)|CHACHA20-POLY1305)$/);
  }
  await closeLedger(sidecar, { received: 0 });
});

test('openssl s_client: no session is resumed, no early data, no renegotiation', async (t) => {
  const { sidecar } = await start(t, onBoth());
  const at = ['s_client', '-connect', `127.0.0.1:${sidecar.grpcPort}`, '-CAfile', certificates.file('ca.crt')];
  for (const version of ['-tls1_2', '-tls1_3']) {
    const again = spawnSync('openssl', [...at, version, '-reconnect'], { input: '', timeout: 20000 });
    const said = String(again.stdout);
    assert.match(said, /New, TLSv1\.[23]/);
    assert.doesNotMatch(said, /Reused, /);
    assert.doesNotMatch(said, /TLS session ticket:/);
  }
  assert.match(String(spawnSync('openssl', [...at, '-tls1_3'], { input: '', timeout: 20000 }).stdout), /Max Early Data: 0|Early data was not sent/);
  const renegotiated = spawnSync('openssl', [...at, '-tls1_2'], { input: 'R\n', timeout: 20000 });
  assert.match(String(renegotiated.stderr) + renegotiated.stdout, /no renegotiation|handshake failure|unexpected/i);
  await closeLedger(sidecar, { received: 0 });
});
