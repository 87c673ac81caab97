// At the edges: limits to the byte, refusals before there is a request, gRPC's small print.
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { decodeStatus, encodeLogs, grpcFrame, request } from './lib/otlp.mjs';
import { closeLedger, KEEP_ALL, pair } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';
import { grpc, h2, http1, raw } from './lib/wire.mjs';

const CODE = { INVALID_ARGUMENT: 3, DEADLINE_EXCEEDED: 4, NOT_FOUND: 5, RESOURCE_EXHAUSTED: 8, UNIMPLEMENTED: 12 };
const ONE = encodeLogs(request(1));
const HEALTH = '/grpc.health.v1.Health/Check';
const SERVING = Buffer.from([0, 0, 0, 0, 2, 8, 1]);

// A request of exactly so many bytes.
function sized(bytes) {
  let body = encodeLogs(request(1, { body: () => 'x'.repeat(bytes) }));
  for (let n = bytes - (body.length - bytes); body.length !== bytes; n += bytes - body.length) body = encodeLogs(request(1, { body: () => 'x'.repeat(n) }));
  return body;
}

test('max_request_size is a limit to the byte, in each protocol and coding', async (t) => {
  const limit = 4096;
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'receivers.otlp.max_request_size': limit } });
  let taken = 0, refused = 0;
  for (const size of [limit - 1, limit, limit + 1, limit + 5, limit + 6]) {
    const body = sized(size), fits = size <= limit;
    const want = fits ? 200 : 413, gzip = { 'content-encoding': 'gzip' };
    assert.equal((await http1(sidecar.httpPort, { body })).status, want, `length ${size}`);
    assert.equal((await http1(sidecar.httpPort, { chunks: [body.subarray(0, 100), body.subarray(100)] })).status, want, `chunked ${size}`);
    assert.equal((await http1(sidecar.httpPort, { body: gzipSync(body), headers: gzip })).status, want, `gzip ${size}`);
    assert.equal((await h2(sidecar.httpPort, { body, headers: { 'content-length': size } })).status, want, `h2 ${size}`);
    assert.equal((await h2(sidecar.httpPort, { body })).status, want, `h2, no length ${size}`);
    assert.equal((await grpc(sidecar.grpcPort, { message: body })).code, fits ? 0 : CODE.RESOURCE_EXHAUSTED, `gRPC ${size}`);
    assert.equal((await grpc(sidecar.grpcPort, { message: gzipSync(body), compressed: 1, encoding: 'gzip' })).code, fits ? 0 : CODE.RESOURCE_EXHAUSTED, `gRPC gzip ${size}`);
    if (fits) taken += 7;
    else refused += 7;
    // Refused by its head: no body is invited, and none is sent.
    if (!fits) {
      const answer = await raw(sidecar.httpPort, `POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: ${size}\r\nExpect: 100-continue\r\n\r\n`, { until: (text) => text.includes('\r\n\r\n') });
      assert.match(answer, /^HTTP\/1\.1 413 /);
      refused++;
    }
  }
  assert.equal(await sidecar.refused('too_large'), refused);
  await until('all that fitted', () => stub.rows.length === taken);
  await closeLedger(sidecar, { received: taken, kept: taken });
});

test('what is no request is refused in the form of its client, as far as it was read', async (t) => {
  const { sidecar } = await pair(t, { set: KEEP_ALL });
  const head = (type, rest) => `POST /v1/logs HTTP/1.1\r\nHost: localhost\r\n${type === '' ? '' : `Content-Type: ${type}\r\n`}${rest}`;
  const rows = [
    [400, CODE.INVALID_ARGUMENT, 'Content-Length: x\r\n\r\n'],
    [400, CODE.INVALID_ARGUMENT, 'X: a\r\n b\r\n\r\n'],
    [400, CODE.INVALID_ARGUMENT, 'Transfer-Encoding: chunked\r\n\r\nx\r\n'],
    [413, CODE.RESOURCE_EXHAUSTED, 'Transfer-Encoding: chunked\r\n\r\nfffffff\r\n'],
    [431, CODE.RESOURCE_EXHAUSTED, `X: ${'x'.repeat(70000)}\r\n\r\n`],
    [431, CODE.RESOURCE_EXHAUSTED, 'X: y\r\n'.repeat(200) + '\r\n'],
  ];
  for (const [status, code, rest] of rows) {
    const inBody = rest.startsWith('Transfer-Encoding');
    for (const type of ['application/x-protobuf', 'application/json', ...(inBody ? [] : [''])]) {
      const [top, ...body] = (await raw(sidecar.httpPort, head(type, rest))).split('\r\n\r\n');
      const text = body.join('\r\n\r\n');
      assert.match(top, new RegExp(`^HTTP/1\\.1 ${status} `));
      assert.match(top, /connection: close/);
      assert.ok(top.includes(`content-type: ${type || 'application/json'}`), top);
      assert.ok(top.includes(`content-length: ${text.length}`), top);
      const said = type === 'application/x-protobuf' ? decodeStatus(Buffer.from(text, 'latin1')) : JSON.parse(text);
      assert.equal(said.code, code, `${status} as ${type}`);
      assert.notEqual(said.message, '');
    }
  }
  for (const [status, code, line] of [[501, CODE.UNIMPLEMENTED, 'BREW / HTTP/1.1'], [505, CODE.UNIMPLEMENTED, 'GET / HTTP/3.0'], [400, CODE.INVALID_ARGUMENT, 'GET / RTSP/1.0'], [414, CODE.INVALID_ARGUMENT, `GET /${'x'.repeat(9000)} HTTP/1.1`]]) {
    const answer = await raw(sidecar.httpPort, `${line}\r\nHost: localhost\r\n\r\n`);
    assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `));
    assert.equal(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n'))).code, code);
  }
  const large = { 'x-large': 'x'.repeat(30000) };
  const over2 = await h2(sidecar.httpPort, { body: ONE, headers: large });
  assert.deepEqual([over2.status, decodeStatus(over2.body).code], [431, CODE.RESOURCE_EXHAUSTED]);
  const call = await grpc(sidecar.grpcPort, { message: ONE, headers: large });
  assert.deepEqual([call.status, call.code], [200, CODE.RESOURCE_EXHAUSTED]);
  await closeLedger(sidecar, { received: 0 });
});

test('an absolute-form target names the host, whatever Host says', async (t) => {
  const { sidecar } = await pair(t, { set: KEEP_ALL });
  const ask = (target, host) => raw(sidecar.httpPort, `POST ${target} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}`);
  assert.match(await ask('http://localhost:4318/v1/logs', 'evil.example'), /^HTTP\/1\.1 200 /);
  assert.match(await ask('http://evil.example/v1/logs', 'localhost'), /^HTTP\/1\.1 403 /);
  assert.match(await ask('/v1/logs', 'evil.example'), /^HTTP\/1\.1 403 /);
  await closeLedger(sidecar, { received: 0 });
});

test('gRPC: only protobuf', async (t) => {
  const { sidecar } = await pair(t, { set: KEEP_ALL });
  for (const type of ['application/grpc+json', 'application/grpc+thrift', 'application/grpc+json; charset=utf-8']) {
    const call = await grpc(sidecar.grpcPort, { message: Buffer.from('{}'), headers: { 'content-type': type } });
    assert.deepEqual([call.status, call.code], [200, CODE.UNIMPLEMENTED], type);
  }
  for (const type of ['application/grpc', 'application/grpc+proto', 'application/grpc;x=y']) assert.equal((await grpc(sidecar.grpcPort, { message: ONE, headers: { 'content-type': type } })).code, 0, type);
  assert.equal(await sidecar.refused('grpc_subtype'), 3);
  await closeLedger(sidecar, { received: 3 });
});

test('gRPC: health, before and in the drain, without a key', async (t) => {
  const { sidecar } = await pair(t, { set: { ...KEEP_ALL, 'shutdown.timeout': '4s' } });
  const service = (name) => Buffer.concat([Buffer.from([10, name.length]), Buffer.from(name)]);
  for (const name of ['', 'opentelemetry.proto.collector.logs.v1.LogsService']) {
    const call = await grpc(sidecar.grpcPort, { path: HEALTH, message: name === '' ? Buffer.alloc(0) : service(name) });
    assert.equal(call.code, 0);
    assert.deepEqual(call.body, SERVING);
  }
  assert.equal((await grpc(sidecar.grpcPort, { path: HEALTH, message: service('no.such.Service') })).code, CODE.NOT_FOUND);
  assert.equal((await grpc(sidecar.grpcPort, { path: HEALTH, message: Buffer.from([10, 9, 1]) })).code, CODE.INVALID_ARGUMENT);
  await closeLedger(sidecar, { received: 0 });
});

// An open Watch: what it was told so far, and how it ended.
function watch(t, sidecar, message = Buffer.alloc(0)) {
  const session = http2.connect(sidecar.grpc);
  t.after(() => session.destroy());
  session.on('error', () => {});
  const stream = session.request({ ':method': 'POST', ':path': '/grpc.health.v1.Health/Watch', 'content-type': 'application/grpc', te: 'trailers' });
  const seen = { session, stream, told: [], code: undefined, closed: false };
  let rest = Buffer.alloc(0);
  stream.on('data', (part) => {
    rest = Buffer.concat([rest, part]);
    for (; rest.length >= 7; rest = rest.subarray(7)) seen.told.push(rest[6]);
  });
  stream.on('trailers', (trailers) => (seen.code = Number(trailers['grpc-status'])));
  stream.on('close', () => (seen.closed = true));
  stream.on('error', () => {});
  stream.end(grpcFrame(message));
  return seen;
}

test('gRPC: who watches is told of the drain, and does not hold it up', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'shutdown.timeout': '30s' } });
  const known = watch(t, sidecar), unknown = watch(t, sidecar, Buffer.from([10, 1, 120])), leaves = watch(t, sidecar);
  await until('the first answers', () => known.told.length === 1 && unknown.told.length === 1 && leaves.told.length === 1);
  assert.deepEqual([known.told, unknown.told], [[1], [3]]);
  leaves.stream.close(http2.constants.NGHTTP2_CANCEL);
  await until('one to leave', () => leaves.closed);
  assert.equal((await grpc(sidecar.grpcPort, { message: ONE, session: known.session })).code, 0); // beside it on its connection
  await until('the record', () => stub.rows.length === 1);
  const began = Date.now();
  await sidecar.stop();
  assert.ok(Date.now() - began < 14000, 'the drain waited for half of its time');
  await until('the ends', () => known.closed && unknown.closed);
  assert.deepEqual([known.told, known.code, unknown.told, unknown.code], [[1, 2], 14, [3], 14]);
});

test('gRPC: a deadline that is no deadline, one that is over, one that passes while the message is on its way', async (t) => {
  const { sidecar } = await pair(t, { set: KEEP_ALL });
  for (const timeout of ['', '1', 'S', '123456789S', '1.5S', '-1S', '10s']) {
    const call = await grpc(sidecar.grpcPort, { message: ONE, headers: { 'grpc-timeout': timeout } });
    assert.deepEqual([call.status, call.code], [200, CODE.INVALID_ARGUMENT], `'${timeout}'`);
  }
  assert.equal((await grpc(sidecar.grpcPort, { message: ONE, headers: { 'grpc-timeout': '1n' } })).code, CODE.DEADLINE_EXCEEDED);
  for (const timeout of ['10S', '99999999H', '9981m', '20000000u']) assert.equal((await grpc(sidecar.grpcPort, { message: ONE, headers: { 'grpc-timeout': timeout } })).code, 0, timeout);

  const session = http2.connect(sidecar.grpc);
  t.after(() => session.destroy());
  const stream = session.request({ ':method': 'POST', ':path': '/opentelemetry.proto.collector.logs.v1.LogsService/Export', 'content-type': 'application/grpc', te: 'trailers', 'grpc-timeout': '50m' });
  let code;
  stream.on('response', (headers) => (code = Number(headers['grpc-status'])));
  stream.on('error', () => {});
  stream.write(grpcFrame(ONE).subarray(0, 20));
  await until('the deadline', () => code !== undefined);
  assert.equal(code, CODE.DEADLINE_EXCEEDED);
  assert.equal(await sidecar.refused('grpc_timeout'), 7);
  await closeLedger(sidecar, { received: 4, kept: 4 });
});
