// Every way in, and every way of being turned away, byte by byte.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import tls from 'node:tls';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import zlib from 'node:zlib';
import { decodeLogsResponse, decodeStatus, encodeLogs, grpcFrame, request } from './lib/otlp.mjs';
import { audit, closeLedger, KEEP_ALL, pair } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';
import { grpc, h2, http1, raw, zstdFrame } from './lib/wire.mjs';

const ONE = encodeLogs(request(1));
const ONE_JSON = Buffer.from(JSON.stringify(request(1)));
const JSON_TYPE = { 'content-type': 'application/json' };
const HOSTS = ['127.0.0.1', '::1'];
const CODE = { OK: 0, INVALID_ARGUMENT: 3, RESOURCE_EXHAUSTED: 8, UNIMPLEMENTED: 12, INTERNAL: 13, UNAVAILABLE: 14 };

const protobufOk = (answer) => {
  assert.equal(answer.status, 200);
  assert.equal(answer.headers['content-type'], 'application/x-protobuf');
  assert.equal(decodeLogsResponse(answer.body).partialSuccess, undefined);
};

test('both ports speak everything, on both loopbacks', async (t) => {
  const { sidecar } = await pair(t);
  let sent = 0;
  for (const port of [sidecar.grpcPort, sidecar.httpPort]) {
    for (const host of HOSTS) {
      protobufOk(await http1(port, { host, body: ONE }));
      protobufOk(await h2(port, { host, body: ONE }));
      const json = await http1(port, { host, body: ONE_JSON, headers: JSON_TYPE });
      assert.deepEqual([json.status, json.headers['content-type'], json.body.toString()], [200, 'application/json', '{}']);
      const call = await grpc(port, { host, message: ONE });
      assert.equal(call.code, CODE.OK);
      assert.equal(call.status, 200);
      assert.equal(call.headers['content-type'], 'application/grpc');
      assert.deepEqual(call.body, Buffer.alloc(5));
      assert.equal(call.trailers['grpc-status'], '0');
      sent += 4;
    }
  }
  await closeLedger(sidecar, { received: sent, kept: sent });
});

test('paths: slash at the end, query, query in disguise, PostHog\'s own', async (t) => {
  const { sidecar } = await pair(t);
  const paths = ['/v1/logs', '/v1/logs/', '/v1/logs?token=phc_x', '/v1/logs/?a=b&c', '/v1/logs%3Ftoken=phc_x', '/v1/logs%3ftoken=x', '/i/v1/logs', '/i/v1/logs/', '/i/v1/logs?token=phc_x'];
  for (const path of paths) {
    assert.equal((await http1(sidecar.httpPort, { path, body: ONE })).status, 200, path);
    assert.equal((await h2(sidecar.httpPort, { path, body: ONE })).status, 200, path);
  }
  await closeLedger(sidecar, { received: 2 * paths.length });
});

test('framing: chunks, one connection for many, pipelines, 100-continue', async (t) => {
  const { sidecar } = await pair(t);
  const port = sidecar.httpPort;
  const crumbs = Array.from(ONE, (byte) => Buffer.from([byte]));
  protobufOk(await http1(port, { chunks: crumbs }));
  protobufOk(await http1(port, { chunks: [ONE.subarray(0, 10), ONE.subarray(10)] }));

  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const ports = new Set();
  for (let i = 0; i < 5; i++) {
    const answer = await http1(port, { body: ONE, agent });
    protobufOk(answer);
    ports.add(answer.localPort);
  }
  assert.equal(ports.size, 1, 'one connection');
  agent.destroy();

  const head = `POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: ${ONE.length}\r\n\r\n`;
  const pipeline = Buffer.concat(Array.from({ length: 10 }, () => [Buffer.from(head), ONE]).flat());
  const text = await raw(port, pipeline, { until: (got) => got.split('HTTP/1.1 200').length === 11 });
  assert.equal(text.split('HTTP/1.1 200').length - 1, 10);

  const waited = await http1(port, { body: ONE, expect100: true });
  protobufOk(waited);
  assert.ok(waited.continued);
  await closeLedger(sidecar, { received: 18 });
});

test('HTTP/2: many streams on one connection', async (t) => {
  const { sidecar } = await pair(t);
  const session = http2.connect(sidecar.grpc);
  const calls = Array.from({ length: 100 }, (_, i) =>
    i % 2 === 0 ? grpc(0, { session, message: ONE }) : h2(0, { session, body: ONE }),
  );
  const answers = await Promise.all(calls);
  answers.forEach((answer, i) => assert.equal(i % 2 === 0 ? answer.code : answer.status, i % 2 === 0 ? 0 : 200));
  session.close();
  await closeLedger(sidecar, { received: 100 });
});

const codings = {
  identity: (bytes) => bytes,
  gzip: (bytes) => zlib.gzipSync(bytes),
  deflate: (bytes) => zlib.deflateSync(bytes),
  zstd: zstdFrame,
};

test('codings over HTTP and gRPC', async (t) => {
  const { sidecar } = await pair(t);
  let sent = 0;
  for (const [name, encode] of Object.entries(codings)) {
    const headers = { 'content-encoding': name };
    assert.equal((await http1(sidecar.httpPort, { body: encode(ONE), headers })).status, 200, name);
    assert.equal((await http1(sidecar.httpPort, { body: encode(ONE_JSON), headers: { ...headers, ...JSON_TYPE } })).status, 200, name);
    assert.equal((await h2(sidecar.httpPort, { body: encode(ONE), headers })).status, 200, name);
    const call = await grpc(sidecar.grpcPort, { message: encode(ONE), compressed: name === 'identity' ? 0 : 1, encoding: name });
    assert.equal(call.code, CODE.OK, name);
    // Said to be compressed by the header, and not by the flag: the flag decides.
    assert.equal((await grpc(sidecar.grpcPort, { message: ONE, compressed: 0, encoding: name })).code, CODE.OK, name);
    sent += 5;
  }
  await closeLedger(sidecar, { received: sent });
});

test('empty requests succeed', async (t) => {
  const { sidecar } = await pair(t);
  protobufOk(await http1(sidecar.httpPort, { body: Buffer.alloc(0) }));
  protobufOk(await http1(sidecar.httpPort, { body: Buffer.alloc(0), headers: { 'content-encoding': 'gzip' } }));
  for (const body of ['', '{}', '{"resourceLogs":[]}', '{"resourceLogs":[{"scopeLogs":[]}]}', '{"resourceLogs":[{"scopeLogs":[{"logRecords":[]}]}]}'])
    assert.equal((await http1(sidecar.httpPort, { body: Buffer.from(body), headers: JSON_TYPE })).status, 200, body);
  const call = await grpc(sidecar.grpcPort, {});
  assert.deepEqual([call.code, call.body.length], [CODE.OK, 5]);
  await closeLedger(sidecar, { received: 0 });
});

test('JSON as clients write it: ids in either case, integers as text or number, unknown fields', async (t) => {
  const { stub, sidecar } = await pair(t);
  const id = 'ABCDEF0123456789abcdef0123456789';
  const record = {
    timeUnixNano: 1750000000000000000, traceId: id, spanId: 'ABCDEF0123456789', flags: 1, whatever: { x: [1] },
    body: {}, severityNumber: 9, attributes: [{ key: 'a', value: { intValue: '12' } }, { key: 'b', value: { intValue: 12 } }, { key: 'c', value: {} }],
  };
  const body = Buffer.from(JSON.stringify({ unknown: 1, resourceLogs: [{ scopeLogs: [{ logRecords: [record] }] }] }));
  assert.equal((await http1(sidecar.httpPort, { body, headers: { 'content-type': 'application/json; charset=utf-8' } })).status, 200);
  await closeLedger(sidecar, { received: 1, kept: 1 });
  const [row] = stub.rows;
  assert.equal(row.trace_id, id.toLowerCase());
  assert.equal(row.span_id, 'abcdef0123456789');
  assert.deepEqual(row.attributes.a, row.attributes.b);
  assert.equal(row.attributes.a, '12');
});

// ---- refusals

const deepProtobuf = (levels) => {
  // AnyValue{array_value{values{AnyValue…}}}, built from the inside.
  const varint = (n) => {
    const out = [];
    for (; n > 127; n >>>= 7) out.push((n & 127) | 128);
    return [...out, n];
  };
  const wrap = (tag, inner) => Buffer.concat([Buffer.from([tag, ...varint(inner.length)]), inner]);
  let value = Buffer.from([0x10, 1]);
  for (let i = 0; i < levels; i++) value = wrap(0x2a, wrap(0x0a, value));
  return wrap(0x0a, wrap(0x12, wrap(0x12, wrap(0x2a, value))));
};
const deepJson = (levels) =>
  Buffer.from(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":${'{"arrayValue":{"values":['.repeat(levels)}{"boolValue":true}${']}}'.repeat(levels)}}]}]}]}`);

const notUtf8 = Buffer.from(ONE);
notUtf8[ONE.indexOf('record 0')] = 0xff;

const LIMIT = 65536;
const large = (bytes) => encodeLogs(request(1, { body: () => 'x'.repeat(bytes) }));
const exactly = (bytes) => large(bytes - (large(bytes).length - bytes));

const cases = [
  { name: 'no such path', over: { path: '/v2/logs' }, status: 404, reason: 'unknown_path' },
  { name: 'the root', over: { path: '/' }, status: 404, reason: 'unknown_path' },
  { name: 'GET', over: { method: 'GET', body: undefined }, status: 405, reason: 'method', allow: /POST/ },
  { name: 'PUT', over: { method: 'PUT' }, status: 405, reason: 'method', allow: /POST/ },
  { name: 'text/plain', over: { headers: { 'content-type': 'text/plain' } }, status: 415, reason: 'content_type' },
  { name: 'gRPC over HTTP/1.1', over: { headers: { 'content-type': 'application/grpc' } }, status: 415, reason: 'content_type', only: 'http1' },
  { name: 'brotli', over: { headers: { 'content-encoding': 'br' } }, status: 415, reason: 'content_encoding', accept: /gzip/ },
  { name: 'two codings', over: { headers: { 'content-encoding': 'gzip, gzip' } }, status: 415, reason: 'content_encoding', accept: /zstd/ },
  { name: 'not protobuf', over: { body: Buffer.from('this is not protobuf') }, status: 400, reason: 'malformed' },
  { name: 'half a message', over: { body: ONE.subarray(0, ONE.length - 3) }, status: 400, reason: 'malformed' },
  { name: 'not UTF-8', over: { body: notUtf8 }, status: 400, reason: 'not_utf8' },
  { name: 'not JSON', over: { body: Buffer.from('{"resourceLogs": [}'), headers: JSON_TYPE }, status: 400, reason: 'malformed', json: true },
  { name: 'JSON of another shape', over: { body: Buffer.from('{"resourceLogs": 7}'), headers: JSON_TYPE }, status: 400, reason: 'malformed', json: true },
  { name: 'not gzip', over: { headers: { 'content-encoding': 'gzip' } }, status: 400, reason: 'malformed' },
  { name: 'half a gzip', over: { body: zlib.gzipSync(ONE).subarray(0, 30), headers: { 'content-encoding': 'gzip' } }, status: 400, reason: 'malformed' },
  { name: 'not zstd', over: { headers: { 'content-encoding': 'zstd' } }, status: 400, reason: 'malformed' },
  { name: '5,000 levels of protobuf', over: { body: deepProtobuf(5000) }, status: 400, reason: 'too_deep' },
  { name: '5,000 levels of JSON', over: { body: deepJson(5000).subarray(0), headers: { ...JSON_TYPE, 'content-encoding': 'gzip' }, gzip: true }, status: [400, 413], reason: ['too_deep', 'too_large'], json: true },
  { name: '1,500 levels of JSON', over: { body: deepJson(1500), headers: JSON_TYPE }, status: 400, reason: 'too_deep', json: true },
  { name: 'limit and one byte', over: { body: exactly(LIMIT + 1) }, status: 413, reason: 'too_large' },
  { name: 'a gzip bomb', over: { body: zlib.gzipSync(large(50 << 20)), headers: { 'content-encoding': 'gzip' } }, status: 413, reason: 'too_large' },
];

const LIMITED = { ...KEEP_ALL, 'receivers.otlp.max_request_size': '64KiB', 'receivers.otlp.strict': true };
const sum = (metrics, pattern) => Object.entries(metrics).reduce((total, [name, n]) => total + (pattern.test(name) ? n : 0), 0);
const refusals = (metrics) => sum(metrics, /^lipservice_receiver_refused_requests_total/);

for (const version of ['http1', 'h2']) {
  test(`refusals over ${version}: status, body, count, and nothing enters`, async (t) => {
    const { sidecar } = await pair(t, { set: LIMITED });
    const send = version === 'http1' ? http1 : h2;
    for (const { name, over, status, reason, allow, accept, json, only } of cases) {
      if (only && only !== version) continue;
      const before = await sidecar.metrics();
      const body = over.gzip ? zlib.gzipSync(over.body) : 'body' in over ? over.body : ONE;
      const answer = await send(sidecar.httpPort, { ...over, body });
      assert.ok([status].flat().includes(answer.status), `${name}: ${answer.status}`);
      const type = json ? 'application/json' : answer.headers['content-type'];
      assert.equal(answer.headers['content-type'], type, name);
      const told = type === 'application/json' ? JSON.parse(answer.body) : decodeStatus(answer.body);
      assert.ok(told.code > 0 && told.message.length > 0, `${name}: a google.rpc.Status`);
      if (!json && (over.headers?.['content-type'] ?? '') === '') assert.equal(type, 'application/x-protobuf', name);
      if (allow) assert.match(answer.headers.allow, allow, name);
      if (accept) assert.match(answer.headers['accept-encoding'], accept, name);
      assert.equal(answer.headers['retry-after'], undefined, name);
      const after = await sidecar.metrics();
      const counted = [reason].flat().filter((r) => {
        const key = `lipservice_receiver_refused_requests_total{reason="${r}"}`;
        return after[key] === before[key] + 1;
      });
      assert.equal(counted.length, 1, `${name}: counted as ${reason}`);
      assert.equal(refusals(after), refusals(before) + 1, `${name}: counted once`);
    }
    protobufOk(await send(sidecar.httpPort, { body: exactly(LIMIT) }));
    await closeLedger(sidecar, { received: 1, kept: 1, rejected: 0 });
  });
}

test('5,000 levels are refused for their depth where the size would pass', async (t) => {
  const { sidecar } = await pair(t);
  assert.equal((await http1(sidecar.httpPort, { body: deepJson(5000), headers: JSON_TYPE })).status, 400);
  assert.equal((await http1(sidecar.httpPort, { body: deepProtobuf(5000) })).status, 400);
  assert.equal((await grpc(sidecar.grpcPort, { message: deepProtobuf(5000) })).code, CODE.INVALID_ARGUMENT);
  assert.equal(await sidecar.refused('too_deep'), 3);
  assert.equal((await http1(sidecar.httpPort, { body: deepProtobuf(40) })).status, 200);
  assert.equal((await http1(sidecar.httpPort, { body: deepJson(40), headers: JSON_TYPE })).status, 200);
  await closeLedger(sidecar, { received: 2 });
});

test('gRPC statuses', async (t) => {
  const { sidecar } = await pair(t, { set: LIMITED });
  const port = sidecar.grpcPort;
  const calls = [
    { name: 'another service', call: { path: '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo' }, code: CODE.UNIMPLEMENTED, reason: 'unknown_path' },
    { name: 'another method', call: { path: '/opentelemetry.proto.collector.logs.v1.LogsService/Import' }, code: CODE.UNIMPLEMENTED, reason: 'unknown_path' },
    { name: 'snappy', call: { message: ONE, compressed: 1, encoding: 'snappy' }, code: CODE.UNIMPLEMENTED, reason: 'content_encoding', accept: true },
    { name: 'not protobuf', call: { message: Buffer.from('this is not protobuf') }, code: CODE.INVALID_ARGUMENT, reason: 'malformed' },
    { name: 'not UTF-8', call: { message: notUtf8 }, code: CODE.INVALID_ARGUMENT, reason: 'not_utf8' },
    { name: 'not gzip', call: { message: ONE, compressed: 1, encoding: 'gzip' }, code: CODE.INVALID_ARGUMENT, reason: 'malformed' },
    { name: 'limit and one byte', call: { message: exactly(LIMIT + 1) }, code: CODE.RESOURCE_EXHAUSTED, reason: 'too_large' },
    { name: 'four gigabytes, it says', call: { frame: Buffer.from([0, 255, 255, 255, 255, 1]) }, code: CODE.RESOURCE_EXHAUSTED, reason: 'too_large' },
    { name: 'a gzip bomb', call: { message: zlib.gzipSync(large(50 << 20)).subarray(0), compressed: 1, encoding: 'gzip' }, code: CODE.RESOURCE_EXHAUSTED, reason: 'too_large' },
    { name: 'compressed, nobody says how', call: { message: zlib.gzipSync(ONE), compressed: 1 }, code: CODE.INTERNAL, reason: 'grpc_framing' },
    { name: 'shorter than it says', call: { frame: grpcFrame(ONE).subarray(0, ONE.length) }, code: [CODE.INTERNAL, CODE.INVALID_ARGUMENT], reason: 'grpc_framing' },
    { name: 'two messages', call: { frame: Buffer.concat([grpcFrame(ONE), grpcFrame(ONE)]) }, code: [CODE.INTERNAL, CODE.UNIMPLEMENTED], reason: 'grpc_framing' },
  ];
  for (const { name, call, code, reason, accept } of calls) {
    const before = await sidecar.refused(reason);
    const answer = await grpc(port, call);
    assert.ok([code].flat().includes(answer.code), `${name}: ${answer.code} ${answer.message}`);
    assert.equal(answer.status, 200, name);
    assert.equal(answer.headers['content-type'], 'application/grpc', name);
    assert.ok(answer.message.length > 0, name);
    assert.equal(answer.details.code, answer.code, `${name}: details`);
    assert.equal(answer.details.retryAfterS, undefined, `${name}: not to be sent again`);
    if (accept) assert.match(answer.headers['grpc-accept-encoding'], /gzip/, name);
    assert.equal(await sidecar.refused(reason), before + 1, `${name}: counted as ${reason}`);
  }
  assert.equal((await grpc(port, { message: exactly(LIMIT) })).code, CODE.OK);
  await closeLedger(sidecar, { received: 1, kept: 1 });
});

test('bombs and oversize leave memory flat', async (t) => {
  const { sidecar } = await pair(t, { set: { ...KEEP_ALL, 'sampling.error_context.bytes': 0 } });
  const bomb = zlib.gzipSync(large(60 << 20));
  const declared = Buffer.from(`POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: ${21 << 20}\r\n\r\n`);
  const round = async () => {
    assert.equal((await http1(sidecar.httpPort, { body: bomb, headers: { 'content-encoding': 'gzip' } })).status, 413);
    assert.equal((await grpc(sidecar.grpcPort, { message: bomb, compressed: 1, encoding: 'gzip' })).code, CODE.RESOURCE_EXHAUSTED);
    assert.match(await raw(sidecar.httpPort, declared, { until: (text) => text.includes('\r\n\r\n') }), /^HTTP\/1.1 413 /);
  };
  await round();
  const resident = (await sidecar.metrics()).lipservice_process_resident_memory_bytes;
  for (let i = 0; i < 8; i++) await round();
  const metrics = await sidecar.metrics();
  assert.ok(metrics.lipservice_process_resident_memory_bytes < resident + (24 << 20), `${resident} -> ${metrics.lipservice_process_resident_memory_bytes}`);
  assert.ok(metrics.lipservice_memory_peak_bytes <= metrics.lipservice_memory_limit_bytes);
  assert.ok(metrics.lipservice_memory_used_bytes < 4 << 20, 'nothing of them is held');
  assert.equal(await sidecar.refused('too_large'), 27);
  await closeLedger(sidecar, { received: 0 });
});

test('no room: 503 with Retry-After, UNAVAILABLE with RetryInfo, and all that was taken arrives', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'queue.max_bytes': '128KiB', 'batch.max_bytes': '16KiB', 'exporters.posthog.compression': 'none' } });
  stub.answer = () => ({ status: 503 });
  const body = encodeLogs(request(20, { base: { severityNumber: 17 }, body: (i) => `${i} ${'y'.repeat(400)}` }));
  const json = Buffer.from(JSON.stringify(request(20, { base: { severityNumber: 17 }, body: (i) => `${i} ${'y'.repeat(400)}` })));
  let taken = 0;
  // What waits is packed now and then, which makes room again: so until one is refused, each time.
  const untilRefused = (what, send, isTaken) =>
    until(what, async () => {
      const answer = await send();
      if (isTaken(answer)) taken += 20;
      return isTaken(answer) ? null : answer;
    });
  const refused = await untilRefused('a refusal', () => http1(sidecar.httpPort, { body }), (a) => a.status === 200);
  assert.equal(refused.status, 503);
  assert.match(refused.headers['retry-after'], /^[1-5]$/);
  const status = decodeStatus(refused.body);
  assert.equal(status.code, CODE.UNAVAILABLE);
  assert.equal(String(status.retryAfterS), refused.headers['retry-after']);

  const inJson = await untilRefused('one in JSON', () => http1(sidecar.httpPort, { body: json, headers: JSON_TYPE }), (a) => a.status === 200);
  assert.deepEqual([inJson.status, inJson.headers['content-type']], [503, 'application/json']);
  assert.equal(JSON.parse(inJson.body).code, CODE.UNAVAILABLE);
  const call = await untilRefused('one by gRPC', () => grpc(sidecar.grpcPort, { message: body }), (a) => a.code === CODE.OK);
  assert.equal(call.code, CODE.UNAVAILABLE);
  assert.ok(call.details.retryAfterS >= 1);
  assert.equal(await sidecar.refused('full'), 3);
  await audit(sidecar, { rejected: 60, kept: taken });
  stub.answer = null;
  await closeLedger(sidecar, { received: taken + 60, kept: taken, rejected: 60, lost: {} });
});

test('OPTIONS and HEAD', async (t) => {
  const { sidecar } = await pair(t);
  const options = await http1(sidecar.httpPort, { method: 'OPTIONS' });
  assert.ok([200, 204].includes(options.status));
  assert.match(options.headers.allow, /POST/);
  const head = await http1(sidecar.httpPort, { method: 'HEAD' });
  assert.equal(head.status, 405);
  assert.equal(head.body.length, 0);
  assert.equal((await h2(sidecar.httpPort, { method: 'HEAD' })).body.length, 0);
  assert.equal((await http1(sidecar.httpPort, { body: ONE })).status, 200);
  await closeLedger(sidecar, { received: 1 });
});

test('TLS and noise on a clear port', async (t) => {
  const { sidecar } = await pair(t);
  for (const port of [sidecar.httpPort, sidecar.grpcPort])
    await assert.rejects(
      new Promise((resolve, reject) => {
        const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, resolve);
        socket.on('error', reject);
        socket.on('close', () => reject(new Error('closed')));
      }),
    );
  await until('the count', async () => (await sidecar.fault('tls_on_clear')) === 2);
  assert.ok(sidecar.log.some((line) => /TLS/.test(line.msg)), 'the log says what to do');
  assert.match(await raw(sidecar.httpPort, 'EHLO mail.example.org\r\n\r\n'), /^HTTP\/1.1 (400|501) /);
  assert.match(await raw(sidecar.httpPort, '\x01\x02 binary\r\n\r\n'), /^HTTP\/1.1 400 /);
  assert.match(await raw(sidecar.httpPort, `POST /v1/logs HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(70000)}\r\n\r\n`), /^HTTP\/1.1 431 /);
  await until('the counts', async () => (await sidecar.fault('bad_request')) >= 1 && (await sidecar.fault('head_too_large')) >= 1);
  // Gone in the middle of a body.
  await raw(sidecar.httpPort, 'POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n', { until: (text) => text.includes('100') });
  await until('the count', async () => (await sidecar.fault('aborted')) >= 1);
  await closeLedger(sidecar, { received: 0 });
});

test("PostHog's paths that are not OTLP: 404, and which host takes them", async (t) => {
  const { sidecar } = await pair(t, { set: { 'passthrough.posthog': 'refuse' } });
  const paths = ['/batch/', '/batch', '/flags/?v=2', '/e/', '/e', '/array/phc_x/config.js', '/decide', '/decide/?v=3', '/capture', '/capture/', '/s/', '/i/v0/e/'];
  for (const name of paths) {
    for (const method of ['POST', 'GET', 'OPTIONS']) {
      const answer = await http1(sidecar.httpPort, { path: name, method, body: method === 'POST' ? '{}' : undefined, headers: JSON_TYPE });
      assert.equal(answer.status, 404, name);
      assert.match(JSON.parse(answer.body).message, /https:\/\/us\.i\.posthog\.com/, name);
    }
  }
  for (const name of ['/batches', '/es', '/sx/', '/flagship', '/v1/e/']) {
    const answer = await http1(sidecar.httpPort, { path: name, body: '{}', headers: JSON_TYPE });
    assert.equal(answer.status, 404, name);
    assert.doesNotMatch(JSON.parse(answer.body).message, /posthog/, name);
  }
  assert.equal(await sidecar.refused('unknown_path'), paths.length * 3 + 5);
  await closeLedger(sidecar, { received: 0 });
});

// ---- JSON that is not OTLP, and OTLP that is not said to be

const CASES = path.join(process.env.SHARED_DIR ?? fileURLToPath(new URL('../../../shared', import.meta.url)), 'cases');
const linesOf = (name) => readFileSync(path.join(CASES, name), 'utf8').split('\n').filter(Boolean);

const FOREIGN = ['{"a": 1}', '{"records": []}', '{"resourceLog": []}', '{"resourceLogs": [{"scopeLog": []}]}', '{"resourceLogs": [{"scopeLogs": [{"records": [{}]}]}]}'];
const SPELT = ['{"resource_logs": [{"scope_logs": [{"log_records": [{"severity_number": 17, "body": {"string_value": "x"}}]}]}]}', '{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"severityNumber": "SEVERITY_NUMBER_ERROR", "body": {"stringValue": "x"}}]}]}]}'];

// Each is answered 200, and either gives a record or says that it gave none.
async function checkForeign(t, foreign, spelt) {
  const { stub, sidecar } = await pair(t);
  for (const [i, body] of foreign.entries()) {
    const answer = await http1(sidecar.httpPort, { body, headers: { ...JSON_TYPE, 'user-agent': 'probe/1' } });
    assert.equal(answer.status, 200, body);
    const { partialSuccess } = JSON.parse(answer.body);
    assert.match(partialSuccess.errorMessage, /resourceLogs/, body);
    assert.equal(partialSuccess.rejectedLogRecords ?? 0, 0);
    assert.equal((await sidecar.metrics()).lipservice_receiver_not_otlp_requests_total, i + 1);
  }
  for (const body of ['{}', '{"resourceLogs":[]}', '{"resource_logs":[]}', '', ...spelt]) {
    const answer = await http1(sidecar.httpPort, { body, headers: JSON_TYPE });
    assert.deepEqual([answer.status, answer.body.toString()], [200, '{}'], body);
  }
  const told = sidecar.log.filter((line) => line.event === 'request_not_otlp');
  assert.equal(told.length, foreign.length);
  assert.ok(told.every((line) => line.agent === 'probe/1' && line.path === '/v1/logs'));
  await closeLedger(sidecar, { received: spelt.length, delivered: spelt.length });
  assert.ok(stub.rows.every((row) => row.body === 'x' && row.severity_text === 'error'));
}

test('JSON without OTLP in it is answered with a warning, once logged and counted', (t) => checkForeign(t, FOREIGN, SPELT));

test('the same for the known cases', { skip: !existsSync(CASES) }, (t) => {
  const all = linesOf('B01-not-otlp.jsonl');
  return checkForeign(t, all.filter((line) => !line.includes('log_records')), all.filter((line) => line.includes('log_records')));
});

test("PostHog's path takes any content type or none, and gzip without a header", async (t) => {
  const { stub, sidecar } = await pair(t);
  const known = existsSync(CASES) ? [readFileSync(path.join(CASES, 'B02-text-plain.json'))] : [];
  const bodies = [ONE, ONE_JSON, Buffer.concat([Buffer.from('\n'), ONE_JSON]), zlib.gzipSync(ONE), zlib.gzipSync(ONE_JSON), ...known];
  let sent = 0;
  for (const headers of [{ 'content-type': 'text/plain' }, { 'content-type': 'text/plain;charset=UTF-8' }, { 'content-type': '' }, { 'content-type': 'application/x-www-form-urlencoded' }]) {
    for (const body of bodies) {
      const answer = await http1(sidecar.httpPort, { path: '/i/v1/logs', body, headers });
      assert.deepEqual([answer.status, answer.body.toString()], [200, '{}'], `${headers['content-type']}: ${body.subarray(0, 20)}`);
      sent++;
    }
    assert.equal((await http1(sidecar.httpPort, { path: '/v1/logs', body: ONE_JSON, headers })).status, 415, 'elsewhere it must be said');
  }
  for (const [body, type] of [[ONE, 'application/x-protobuf'], [ONE_JSON, 'application/json']]) {
    assert.equal((await http1(sidecar.httpPort, { path: '/i/v1/logs', body: zlib.gzipSync(body), headers: { 'content-type': type } })).status, 200);
    sent++;
  }
  for (const body of [Buffer.from('hello'), Buffer.from([0x1f, 0x8b, 0, 1]), Buffer.from('\n{]')])
    assert.equal((await http1(sidecar.httpPort, { path: '/i/v1/logs', body, headers: { 'content-type': 'text/plain' } })).status, 400);
  await closeLedger(sidecar, { received: sent, delivered: sent });
  assert.equal(stub.rows.length, sent);
});
