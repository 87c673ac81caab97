// passthrough.posthog: what is not OTLP goes on to PostHog as it came, and its answer comes back.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { test } from 'node:test';
import zlib from 'node:zlib';
import { PostHog as PostHogClient } from 'posthog-node';
import { encodeLogs, request } from './lib/otlp.mjs';
import { KEY, KEEP_ALL, closeLedger, pair } from './lib/sidecar.mjs';
import { pause, until } from './lib/wait.mjs';

const sha = (bytes) => createHash('sha256').update(bytes).digest('hex');

// A PostHog that keeps what it is asked, and answers with what `answer` says.
async function echo(t, { answer = () => ({}), ...rest } = {}) {
  const seen = [];
  const all = await pair(t, rest);
  all.stub.other = (req, res, body) => {
    const entry = { method: req.method, url: req.url, headers: req.headers, raw: req.rawHeaders, body };
    seen.push(entry);
    const { status = 200, headers = { 'content-type': 'application/json' }, body: text = '{"status":"Ok"}', raw } = answer(entry) ?? {};
    if (raw) raw(req.socket);
    else res.writeHead(status, headers).end(text);
  };
  return { ...all, seen };
}

function ask(sidecar, { method = 'POST', path, headers = {}, body }) {
  return new Promise((resolve, reject) => {
    const req = http.request({ host: '127.0.0.1', port: sidecar.httpPort, method, path, headers, agent: false }, (res) => {
      const chunks = [];
      res.on('data', (chunk) => chunks.push(chunk));
      res.on('error', reject).on('end', () => resolve({ status: res.statusCode, headers: res.headers, raw: res.rawHeaders, body: Buffer.concat(chunks) }));
    });
    req.on('error', reject).end(body);
  });
}

const proxied = async (sidecar, outcome) => (await sidecar.metrics())[`lipservice_proxy_requests_total{outcome="${outcome}"}`];

test('method, path, query, fields and body go on as they are, and so does the answer', async (t) => {
  const script = zlib.gzipSync(randomBytes(300_000));
  const { sidecar, seen } = await echo(t, {
    answer: ({ url }) =>
      url.startsWith('/static/')
        ? { headers: { 'Content-Type': 'application/javascript', 'Content-Encoding': 'gzip', ETag: '"v1"', 'Set-Cookie': ['a=1', 'b=2'], 'Alt-Svc': 'h3=":443"', Connection: ['X-Leap', 'close, X-Hop'], 'X-Hop': '1', 'X-Leap': '2' }, body: script }
        : { status: 202, headers: { 'content-type': 'application/json', 'x-request-id': 'r1', 'access-control-allow-origin': 'https://shop.example.com' } },
  });
  const body = zlib.gzipSync(JSON.stringify({ api_key: KEY, event: 'paid' }));
  const event = await ask(sidecar, {
    path: '/i/v0/e/?ip=1&_=17%20x&compression=gzip-js',
    headers: { 'content-type': 'text/plain', 'content-encoding': 'gzip', origin: 'https://shop.example.com', referer: 'https://shop.example.com/a', cookie: 'k=v', 'accept-language': 'de', 'user-agent': 'Mozilla/5.0 (test)', 'x-empty': '', connection: ['x-ours', 'close, x-mine'], 'x-mine': 'secret', 'x-ours': 'secret', te: 'trailers', 'x-forwarded-for': '198.51.100.7' },
    body,
  });
  assert.equal(event.status, 202);
  assert.equal(event.body.toString(), '{"status":"Ok"}');
  assert.equal(event.headers['x-request-id'], 'r1');
  assert.equal(event.headers['access-control-allow-origin'], 'https://shop.example.com');
  const [first] = seen;
  assert.deepEqual([first.method, first.url, sha(first.body)], ['POST', '/i/v0/e/?ip=1&_=17%20x&compression=gzip-js', sha(body)]);
  const { host, ...fields } = first.headers;
  assert.deepEqual(fields, {
    'content-type': 'text/plain', 'content-encoding': 'gzip', 'content-length': String(body.length), origin: 'https://shop.example.com', referer: 'https://shop.example.com/a',
    cookie: 'k=v', 'accept-language': 'de', 'user-agent': 'Mozilla/5.0 (test)', 'x-empty': '',
    'x-forwarded-for': '198.51.100.7, 127.0.0.1', 'x-forwarded-host': `127.0.0.1:${sidecar.httpPort}`, 'x-forwarded-proto': 'http',
  });
  assert.match(host, /^127\.0\.0\.1:\d+$/);

  const got = await ask(sidecar, { method: 'GET', path: '/static/array.js' });
  assert.equal(sha(got.body), sha(script));
  assert.deepEqual([got.headers.etag, got.headers['content-encoding'], got.headers['set-cookie']], ['"v1"', 'gzip', ['a=1', 'b=2']]);
  for (const hop of ['alt-svc', 'x-hop', 'x-leap']) assert.equal(got.headers[hop], undefined, hop);
  assert.deepEqual(Object.keys(seen[1].headers).sort(), ['host', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto'], 'nothing is added');

  for (const method of ['PUT', 'DELETE', 'HEAD']) {
    const answer = await ask(sidecar, { method, path: `/a/${method}`, body: method === 'PUT' ? 'x' : undefined });
    assert.deepEqual([answer.status, seen.at(-1).method, answer.body.length], [202, method, method === 'HEAD' ? 0 : 15]);
  }
  assert.equal(await proxied(sidecar, 'answered'), 5);
  await closeLedger(sidecar, { received: 0 });
});

test('a preflight is answered by PostHog, whatever our own CORS says; redirects and errors are answers', async (t) => {
  const { sidecar, seen } = await echo(t, {
    answer: ({ method, url }) =>
      method === 'OPTIONS' ? { status: 204, headers: { 'access-control-allow-origin': '*', 'access-control-allow-headers': 'x-mine' }, body: '' }
      : url === '/away' ? { status: 302, headers: { location: 'https://elsewhere.example.com/' }, body: '' }
      : { status: 429, headers: { 'retry-after': '7' }, body: 'slow down' },
  });
  const preflight = await ask(sidecar, { method: 'OPTIONS', path: '/flags/?v=2', headers: { origin: 'https://a.example.com', 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-mine' } });
  assert.deepEqual([preflight.status, preflight.headers['access-control-allow-origin'], preflight.headers['access-control-allow-headers']], [204, '*', 'x-mine']);
  assert.deepEqual([seen[0].headers.origin, seen[0].headers['access-control-request-headers']], ['https://a.example.com', 'x-mine']);
  const away = await ask(sidecar, { method: 'GET', path: '/away' });
  assert.deepEqual([away.status, away.headers.location], [302, 'https://elsewhere.example.com/']);
  const slow = await ask(sidecar, { path: '/batch/', body: '{}' });
  assert.deepEqual([slow.status, slow.headers['retry-after'], slow.body.toString()], [429, '7', 'slow down']);
});

test('over HTTP/2, many at once beside logs; a body larger than a request of logs may be', async (t) => {
  const { sidecar, seen, stub } = await echo(t, { answer: ({ body }) => ({ body: sha(body) }) });
  const session = http2.connect(sidecar.http, { maxSessionMemory: 100 }); // node refuses streams beyond 10 MiB by itself
  t.after(() => session.close());
  const post = (path, body) =>
    new Promise((resolve, reject) => {
      const stream = session.request({ ':method': 'POST', ':path': path, 'x-mine': 'y' });
      let status;
      const chunks = [];
      stream.on('response', (headers) => (status = headers[':status'])).on('data', (c) => chunks.push(c)).on('end', () => resolve({ status, body: Buffer.concat(chunks).toString() })).on('error', reject).end(body);
    });
  const bodies = Array.from({ length: 20 }, (_, i) => randomBytes(1000 * (i + 1)));
  bodies.push(randomBytes(19 << 20));
  const [answers] = await Promise.all([Promise.all(bodies.map((body, i) => post(`/s/?i=${i}`, body))), sidecar.post(encodeLogs(request(100)))]);
  answers.forEach(({ status, body }, i) => assert.deepEqual([status, body], [200, sha(bodies[i])], String(i)));
  assert.ok(seen.every(({ headers }) => headers['x-mine'] === 'y' && headers['x-forwarded-for'] === '127.0.0.1'));
  const recording = randomBytes(21 << 20);
  assert.equal((await ask(sidecar, { path: '/s/', body: recording })).body.toString(), sha(recording));
  await until('the logs', () => stub.rows.length === 100);
  await closeLedger(sidecar, { received: 100, delivered: 100 });
});

test('what looks like OTLP and is none of its paths stays with us; `refuse` passes nothing on', async (t) => {
  const { sidecar, seen } = await echo(t);
  for (const path of ['/v1/log', '/v1/logs/x', '/i/v1/e', '/opentelemetry.proto.collector.logs.v1.LogsService/Expor']) {
    const answer = await ask(sidecar, { path, body: '{}', headers: { 'content-type': 'application/json' } });
    assert.deepEqual([path, answer.status, /no such path/.test(answer.body)], [path, 404, true]);
  }
  assert.equal((await ask(sidecar, { path: '/e/', headers: { host: 'evil.example.com' }, body: '{}' })).status, 403);
  assert.equal(seen.length, 0);
});

test('PostHog away, silent, or breaking off: 502 and 504 at once, and nothing else is disturbed', async (t) => {
  const { sidecar, stub } = await echo(t, {
    set: { ...KEEP_ALL, 'exporters.posthog.timeout': '500ms' },
    answer: ({ url }) =>
      url === '/hang' ? { raw: () => {} }
      : url === '/cut' ? { raw: (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this') }
      : url === '/bad' ? { raw: (socket) => socket.end('nonsense\r\n\r\n') }
      : {},
  });
  await assert.rejects(ask(sidecar, { path: '/cut', body: '{}' }), 'it had begun: the connection ends short of its length');
  assert.equal(await proxied(sidecar, 'cut'), 1);
  for (const [path, status] of [['/hang', 504], ['/bad', 502], ['/fine', 200]]) {
    const answer = await ask(sidecar, { path, body: '{}' });
    assert.deepEqual([path, answer.status], [path, status]);
    if (status > 500) assert.match(JSON.parse(answer.body).detail, /PostHog/);
  }
  await stub.down();
  const began = Date.now();
  const away = await Promise.all(Array.from({ length: 80 }, () => ask(sidecar, { path: '/e/', body: '{}' })));
  assert.ok(away.every(({ status }) => status === 502 || status === 503), 'beyond 64 at once they may come again');
  assert.ok(away.some(({ status, headers }) => status === 502 && headers['retry-after'] === '1'));
  assert.ok(Date.now() - began < 5000);
  assert.equal((await sidecar.post(encodeLogs(request(10)))).status, 200);
  await stub.up();
  await until('it is back', async () => (await ask(sidecar, { path: '/e/', body: '{}' })).status === 200);
  assert.equal(sidecar.log.filter((line) => line.event === 'proxy_failed').length, 2, 'one line when it begins: after the start, and when nobody listens');
  await until('the logs', () => stub.rows.length === 10);
  await closeLedger(sidecar, { received: 10, delivered: 10 });
});

test('a client that goes away, and an end: nothing hangs and nothing is kept', async (t) => {
  const { sidecar, seen } = await echo(t, { answer: () => ({ raw: () => {} }) });
  const socket = net.connect(sidecar.httpPort, '127.0.0.1');
  socket.write('POST /e/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}');
  await until('it is passed on', () => seen.length === 1);
  socket.destroy();
  const waiting = ask(sidecar, { path: '/e/', body: '{}' }).catch((error) => error);
  await until('another', () => seen.length === 2);
  await sidecar.stop();
  const answer = await waiting;
  assert.ok(answer instanceof Error || answer.status === 503, 'ended, or asked to come again');
});

test('memory: 60 connections that ask for the largest answers and read nothing stay within the account', async (t) => {
  const { sidecar } = await echo(t, { set: { ...KEEP_ALL, 'memory.limit': '32MiB' }, answer: () => ({ body: Buffer.alloc(4 << 20) }) });
  const sockets = Array.from({ length: 60 }, () => {
    const socket = net.connect(sidecar.httpPort, '127.0.0.1').on('error', () => {});
    socket.pause();
    socket.write('GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n');
    return socket;
  });
  // One whose memory others needed is ended before it asks.
  await until('all were asked', async () => (await proxied(sidecar, 'answered')) + (await proxied(sidecar, 'refused')) + (await proxied(sidecar, 'failed')) + (await sidecar.fault('too_many_connections')) >= 60);
  assert.equal((await sidecar.post(encodeLogs(request(10)))).status, 200);
  const resident = (await sidecar.metrics()).lipservice_process_resident_memory_bytes;
  if (process.env.LIPSERVICE_PLAIN) assert.ok(resident < 48 << 20, `${resident >> 20} MiB`);
  for (const socket of sockets) socket.destroy();
});

test('posthog-node: events, flags and logs by one host', async (t) => {
  const { stub, sidecar, seen } = await echo(t, {
    answer: ({ url }) => (url.startsWith('/flags') ? { body: JSON.stringify({ featureFlags: { beta: true }, featureFlagPayloads: {}, flags: { beta: { key: 'beta', enabled: true, metadata: { id: 1, version: 1 } } } }) } : { body: '{"status":1}' }),
  });
  const client = new PostHogClient(KEY, { host: sidecar.http, logs: { serviceName: 'node-app' }, flushAt: 1, disableRemoteConfig: true });
  client.capture({ distinctId: 'anna', event: 'paid', properties: { total: 7 } });
  assert.equal(await client.isFeatureEnabled('beta', 'anna'), true);
  client.logger.info('order 1 placed');
  await client.shutdown();
  const batch = seen.find(({ url }) => url.startsWith('/batch'));
  const text = batch.headers['content-encoding'] === 'gzip' ? zlib.gunzipSync(batch.body) : batch.body;
  const event = JSON.parse(text).batch.find((e) => e.event === 'paid');
  assert.deepEqual([event.distinct_id, event.properties.total], ['anna', 7]);
  await until('the log', () => stub.rows.length === 1);
  await closeLedger(sidecar, { received: 1, delivered: 1 });
  await pause(0);
});
