// Browsers: preflights, answers that a page may read, and names that are not ours.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { decodeStatus, encodeLogs, request } from './lib/otlp.mjs';
import { closeLedger, KEEP_ALL, pair } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';
import { grpc, h2, http1 } from './lib/wire.mjs';

const CORS = 'receivers.otlp.protocols.http.cors';
const ORIGIN = 'http://localhost:3000';
const OTHER = 'https://evil.example';
const PERMISSION_DENIED = 7;
const body = encodeLogs(request(1));

const preflight = (sidecar, origin, { headers = 'content-type', method = 'POST', path = '/v1/logs', send = http1, port = sidecar.httpPort } = {}) =>
  send(port, { method: 'OPTIONS', path, headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': headers } });
const grants = (answer) => Object.fromEntries(Object.entries(answer.headers).filter(([name]) => name.startsWith('access-control-')));
const preflights = async (sidecar, outcome) => (await sidecar.metrics())[`lipservice_receiver_preflights_total{outcome="${outcome}"}`];

test('off by default: no grant, counted, and told once with its origin', async (t) => {
  const { sidecar } = await pair(t, { set: KEEP_ALL });
  for (let i = 0; i < 3; i++) assert.deepEqual(grants(await preflight(sidecar, OTHER)), {});
  assert.deepEqual(grants(await preflight(sidecar, 'https://second.example')), {});
  assert.equal(await preflights(sidecar, 'refused'), 4);
  assert.equal(await preflights(sidecar, 'allowed'), 0);
  const told = sidecar.log.filter((line) => line.event === 'preflight_refused');
  assert.deepEqual(told.map((line) => line.origin), [OTHER, 'https://second.example']);
  assert.match(told[0].msg, /allowed_origins/);
  assert.deepEqual(grants(await http1(sidecar.httpPort, { body, headers: { origin: OTHER } })), {});
  await closeLedger(sidecar, { received: 1 });
});

test('an origin that is listed gets its grant, on each answer, over each version of HTTP', async (t) => {
  const set = { ...KEEP_ALL, [`${CORS}.allowed_origins`]: `["${ORIGIN}", "https://*.example.com"]`, [`${CORS}.allowed_headers`]: '[x-api-key]', [`${CORS}.max_age`]: 7200 };
  const { sidecar } = await pair(t, { set });
  for (const [send, port] of [[http1, sidecar.httpPort], [h2, sidecar.grpcPort]]) {
    const answer = await preflight(sidecar, ORIGIN, { headers: 'content-type,x-api-key', send, port });
    assert.equal(answer.status, 204);
    assert.deepEqual(grants(answer), {
      'access-control-allow-origin': ORIGIN, 'access-control-allow-methods': 'POST', 'access-control-allow-headers': 'content-type,x-api-key',
      'access-control-allow-credentials': 'true', 'access-control-max-age': '7200',
    });
    assert.match(answer.headers.vary, /origin/);
  }
  assert.equal((await preflight(sidecar, 'https://app.example.com')).headers['access-control-allow-origin'], 'https://app.example.com');
  for (const [origin, options] of [[OTHER, {}], ['null', {}], [ORIGIN, { headers: 'authorization' }], [ORIGIN, { method: 'PUT' }], ['https://example.com.evil.example', {}]])
    assert.deepEqual(grants(await preflight(sidecar, origin, options)), {}, origin);
  assert.equal(await preflights(sidecar, 'allowed'), 3);
  assert.equal(await preflights(sidecar, 'refused'), 5);

  const readable = { 'access-control-allow-origin': ORIGIN, 'access-control-allow-credentials': 'true', 'access-control-expose-headers': 'retry-after' };
  const rows = [[200, {}], [400, { body: Buffer.from('no protobuf') }], [404, { path: '/v1/other' }], [415, { headers: { 'content-encoding': 'br' } }], [405, { method: 'GET', body: undefined }]];
  for (const [status, options] of rows) {
    const { headers, ...rest } = { body, ...options };
    for (const [origin, want] of [[ORIGIN, readable], [OTHER, {}]]) {
      const answer = await http1(sidecar.httpPort, { ...rest, headers: { ...headers, origin } });
      assert.equal(answer.status, status);
      assert.deepEqual(grants(answer), want, `${status} for ${origin}`);
    }
  }
  assert.deepEqual(grants(await http1(sidecar.httpPort, { body })), {});
  await closeLedger(sidecar, { received: 3, kept: 3 });
});

test('case B03, the browser\'s own bytes', async (t) => {
  const file = fileURLToPath(new URL('../../../shared/cases/B03-preflight.http', import.meta.url));
  if (!existsSync(file)) return t.skip('../shared/cases is not there');
  const text = readFileSync(file, 'utf8').replace(/\r?\n/g, '\r\n').trimEnd() + '\r\n\r\n';
  const { raw } = await import('./lib/wire.mjs');
  const { sidecar } = await pair(t, { set: { ...KEEP_ALL, [`${CORS}.allowed_origins`]: `[${ORIGIN}]`, [`${CORS}.max_age`]: 600 } });
  const answer = await raw(sidecar.httpPort, text, { until: (t) => t.includes('\r\n\r\n') });
  assert.match(answer, /^HTTP\/1\.1 204 /);
  for (const name of ['origin: http://localhost:3000', 'methods: POST', 'headers: content-type', 'credentials: true'])
    assert.ok(answer.includes(`access-control-allow-${name}\r\n`), answer);
  assert.ok(answer.includes('access-control-max-age: 600\r\n'), answer);
  await closeLedger(sidecar, { received: 0 });
});

test('Host on loopback: addresses, localhost and what is listed; a page that was rebound is refused', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'receivers.otlp.allowed_hosts': '[host.docker.internal]' } });
  const ours = ['localhost', 'localhost:4318', '127.0.0.1:1', '[::1]:4318', 'app.localhost', 'host.docker.internal:4318', 'HOST.docker.internal', 'lipservice:4317'];
  const others = ['evil.example', 'evil.example:4318', 'localhost.evil.example', 'sub.host.docker.internal'];
  for (const host of ours) assert.equal((await http1(sidecar.httpPort, { body, headers: { host } })).status, 200, host);
  for (const host of others) {
    const answer = await http1(sidecar.httpPort, { body, headers: { host } });
    assert.equal(answer.status, 403, host);
    assert.match(decodeStatus(answer.body).message, /allowed_hosts/);
    assert.equal((await grpc(sidecar.grpcPort, { message: body, headers: { ':authority': host } })).code, PERMISSION_DENIED, host);
    assert.equal((await preflight(sidecar, ORIGIN, { send: (port, o) => http1(port, { ...o, headers: { ...o.headers, host } }) })).status, 403);
  }
  assert.equal(await sidecar.refused('host'), 3 * others.length);
  await until('all of ours', () => stub.rows.length === ours.length);
  await closeLedger(sidecar, { received: ours.length, kept: ours.length });
});

test('Host off loopback is whatever leads there', async (t) => {
  const { sidecar } = await pair(t, { set: { ...KEEP_ALL, 'receivers.otlp.protocols.http.endpoint': '0.0.0.0:0' } });
  assert.equal((await http1(sidecar.httpPort, { body, headers: { host: 'logs.example.com' } })).status, 200);
  assert.equal((await http1(sidecar.grpcPort, { body, headers: { host: 'logs.example.com' } })).status, 403);
  await closeLedger(sidecar, { received: 1 });
});
