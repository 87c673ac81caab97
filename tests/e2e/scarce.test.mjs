// One allocation fails, the n-th: over a start, and over one request of each protocol. Nothing ends,
// nothing is acknowledged that is not held, and the next request is served.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import path from 'node:path';
import { before, test } from 'node:test';
import tls from 'node:tls';
import { gzipSync } from 'node:zlib';
import { encodeLogs, grpcFrame, request } from './lib/otlp.mjs';
import { binary, Scarcity, skip, STRIDE } from './lib/scarce.mjs';
import { closeLedger, KEEP_ALL, Sidecar } from './lib/sidecar.mjs';
import { Certificates } from './lib/tls.mjs';
import { until } from './lib/wait.mjs';

let certificates;
before(() => {
  if (!skip) certificates = new Certificates({ after: (fn) => process.on('exit', fn) });
});

const RECORDS = 3;
const body = (i) => encodeLogs(request(RECORDS, { body: (k) => `request ${i} line ${k} by mail@example.com from 10.1.2.3` }));
const json = (i) => Buffer.from(JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords: Array.from({ length: RECORDS }, (_, k) => ({ body: { stringValue: `json ${i} ${k}` }, severityNumber: 9, attributes: [{ key: 'a', value: { intValue: '7' } }] })) }] }] }));
const mended = (i) => {
  const text = json(i);
  text[text.indexOf('json')] = 0xff; // no UTF-8
  return text;
};
const bad = (request) => {
  const bytes = Buffer.from(request);
  bytes[bytes.lastIndexOf('line')] = 0xff;
  return bytes;
};

// 200 or its like: true; anything else, a connection that ends among it: false.
function raw1(port, type, payload, headers = '', connect = (cb) => net.connect(port, '127.0.0.1', cb)) {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(() => {
      socket.write(`POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: ${type}\r\n${headers}Content-Length: ${payload.length}\r\n\r\n`);
      socket.write(payload);
    });
    socket.on('data', (part) => (text += part.toString('latin1')));
    socket.on('error', () => {}).on('close', () => resolve(/^HTTP\/1\.1 200/.test(text)));
    socket.setTimeout(20000, () => socket.destroy());
  });
}

function call(url, payload, options) {
  return new Promise((resolve) => {
    const session = http2.connect(url, options);
    let code;
    const end = () => (session.destroy(), resolve(code === 0));
    session.on('error', end).on('close', end);
    const stream = session.request({ ':path': '/opentelemetry.proto.collector.logs.v1.LogsService/Export', ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' });
    const status = (head) => 'grpc-status' in head && (code = Number(head['grpc-status']));
    stream.on('response', status).on('trailers', status).on('error', () => {}).on('close', end).resume();
    stream.setTimeout(20000, end);
    stream.end(grpcFrame(payload));
  });
}

const protocols = {
  'HTTP/1.1': (s, i) => raw1(s.httpPort, 'application/x-protobuf', body(i)),
  'HTTP/1.1, mended': (s, i) => raw1(s.httpPort, 'application/x-protobuf', bad(body(i))),
  'gzip': (s, i) => raw1(s.httpPort, 'application/x-protobuf', gzipSync(body(i)), 'Content-Encoding: gzip\r\n'),
  'JSON': (s, i) => raw1(s.httpPort, 'application/json', json(i)),
  'JSON, mended': (s, i) => raw1(s.httpPort, 'application/json', mended(i)),
  'gRPC': (s, i) => call(`http://127.0.0.1:${s.grpcPort}`, body(i)),
  'TLS': (s, i) => raw1(s.httpPort, 'application/x-protobuf', body(i), '', (cb) => tls.connect({ host: '127.0.0.1', port: s.httpPort, ca: certificates.pair('ca').cert, servername: 'localhost' }, cb)),
  'gRPC over TLS': (s, i) => call(`https://127.0.0.1:${s.grpcPort}`, body(i), { ca: certificates.pair('ca').cert, servername: 'localhost' }),
};

const tlsOf = (prefix) => ({ [`${prefix}.cert_file`]: certificates.file('good.crt'), [`${prefix}.key_file`]: certificates.file('good.key') });
const FEATURES = () => ({ ...KEEP_ALL, 'redaction.mode': 'enforce', multiline: 'join', ...tlsOf('receivers.otlp.protocols.grpc.tls'), ...tlsOf('receivers.otlp.protocols.http.tls') });

for (const durability of ['memory', 'disk']) {
  for (const [name, ask] of Object.entries(protocols)) {
    test(`${name}, ${durability}: the n-th allocation of a request fails`, { skip }, async (t) => {
      const scarcity = new Scarcity(t);
      const set = { ...FEATURES(), durability, ...(durability === 'disk' ? { 'spool.directory': path.join(scarcity.dir, 'spool') } : {}) };
      // To a file, because libcurl 7.88 divides by zero in curl_multi_socket_action() when the entry of
      // a socket could not be allocated, which takes the process with it.
      const file = path.join(scarcity.dir, 'records');
      const sidecar = await Sidecar.start(t, { set: { ...set, 'exporters.file.path': file }, binary, env: scarcity.env });
      let acknowledged = 0, tried = 0, i = 0;
      const send = async () => {
        const is = await ask(sidecar, i++);
        acknowledged += is;
        return is;
      };
      assert.ok(await send());
      for (let n = 1; n < 5000; n += /TLS/.test(name) ? STRIDE : 1) {
        const before = scarcity.failed;
        scarcity.arm(n);
        await send();
        scarcity.disarm();
        if (sidecar.hasEnded) break;
        if (scarcity.failed === before) break; // it takes fewer
        tried++;
        await sidecar.until('the next one is taken', send);
      }
      assert.ok(!sidecar.hasEnded, `ended at ${tried}: ${JSON.stringify(await (sidecar.hasEnded ? sidecar.ended : null))} ${sidecar.stderr.slice(-2000)}`);
      t.diagnostic(`${tried} allocations`);
      assert.ok(tried > 0);
      await until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
      const ledger = await sidecar.ledger();
      // What was acknowledged has arrived. An answer may have been lost, and its records not; what could
      // not be stored was refused, and is counted.
      assert.ok(ledger.delivered >= acknowledged * RECORDS, `${acknowledged} acknowledged, ${JSON.stringify(ledger)}`);
      assert.deepEqual(Object.keys(ledger.lost).filter((reason) => reason !== 'not_stored'), []);
      await closeLedger(sidecar);
      const written = readFileSync(file, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line));
      const records = written.flatMap((batch) => batch.resourceLogs.flatMap((r) => r.scopeLogs.flatMap((s) => s.logRecords)));
      assert.ok(records.length >= ledger.delivered, `${records.length} of ${ledger.delivered} in the file`);
    });
  }
}

test('the n-th allocation of a start fails: it says so, or does without', { skip }, async (t) => {
  const scarcity = new Scarcity(t);
  const set = { ...FEATURES(), 'exporters.file.path': '/dev/null', durability: 'disk', 'spool.directory': path.join(scarcity.dir, 'spool') };
  let [started, refused] = [0, 0];
  for (let n = 1, last = 0; ; n += STRIDE === 1 ? 1 : 1 + Math.floor(n / 12) + STRIDE) {
    scarcity.begin(n);
    let sidecar;
    try {
      sidecar = await Sidecar.start(t, { set, binary, env: scarcity.env });
      started++;
    } catch (error) {
      assert.match(String(error), /the program ended with (64|69|70|78|1)\b/, `${n}: ${error}`);
      refused++;
    }
    const isOver = scarcity.failed === 0;
    scarcity.disarm();
    if (sidecar) {
      assert.equal((await sidecar.post(body(n))).status, 200);
      await sidecar.stop();
    }
    if (isOver && ++last > 1) break;
  }
  t.diagnostic(`${started} started, ${refused} did not`);
});

// ---- pages, versions of the policy, the state file

const ASKED = {
  '/api/summary': {}, '/api/patterns?limit=100&spark=1': {}, '/api/history?span=1h': {}, '/api/policies': {}, '/api/top': {}, '/api/families': {},
  '/api/policies/draft': { body: { document: 'global_rate: 0.5\n', by: 'test', why: 'a test' } },
  '/api/policies/propose': { body: {} },
  '/api/whatif': { body: { span: '1h', set: { 'sampling.global_rate': 0.5 } } },
  '/api/explain': { text: '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a line"},"severityNumber":9}]}]}]}' },
};

test('the n-th allocation of a page or of a change of policy fails', { skip }, async (t) => {
  const scarcity = new Scarcity(t);
  const set = { ...KEEP_ALL, 'exporters.file.path': '/dev/null', 'state.directory': path.join(scarcity.dir, 'state') };
  const sidecar = await Sidecar.start(t, { set, binary, env: scarcity.env });
  assert.equal((await sidecar.post(body(0))).status, 200);
  // The status; 0: the connection ended.
  const get = async (route, { body: asked, text }) => {
    const sent = text ?? (asked && JSON.stringify(asked));
    try {
      const answer = await fetch(`http://${sidecar.addresses.admin}${route}`, { method: sent ? 'POST' : 'GET', body: sent, headers: { connection: 'close', ...(sent ? { 'content-type': 'application/json' } : {}) }, signal: AbortSignal.timeout(20000) });
      await answer.arrayBuffer();
      return answer.status;
    } catch {
      return 0;
    }
  };
  let tried = 0;
  for (const [route, asked] of Object.entries(ASKED)) {
    const usual = await get(route, asked);
    assert.ok(usual === 200 || usual === 409, `${route}: ${usual}`);
    for (let n = 1; ; n++, tried++) {
      const before = scarcity.failed;
      scarcity.arm(n);
      const status = await get(route, asked);
      scarcity.disarm();
      assert.ok(!sidecar.hasEnded, `${route} ended it at ${n}: ${sidecar.stderr.slice(-2000)}`);
      if (scarcity.failed === before) break;
      assert.ok([0, 200, 400, 409, 422, 500, 503].includes(status), `${route}: ${status} at ${n}`);
      await sidecar.until(`${route} is answered again`, async () => [200, 409].includes(await get(route, asked)));
    }
  }
  t.diagnostic(`${tried} allocations`);
  assert.ok(tried > 100, `${tried}`);
  await closeLedger(sidecar, { received: RECORDS });
});

test('the n-th allocation of an end that writes the state fails: it ends well, and the next start has the old state or the new', { skip }, async (t) => {
  const scarcity = new Scarcity(t);
  const set = { ...KEEP_ALL, 'exporters.file.path': '/dev/null', 'state.directory': path.join(scarcity.dir, 'state') };
  let known = 0;
  for (let n = 1, last = 0; last < 2; n += STRIDE === 1 ? 1 : 1 + Math.floor(n / 12)) {
    scarcity.disarm();
    writeFileSync(scarcity.file, Buffer.alloc(32), { flag: 'r+' });
    const sidecar = await Sidecar.start(t, { set, binary, env: scarcity.env });
    const patterns = (await sidecar.patterns()).length;
    assert.ok(patterns >= known, `${patterns} patterns of ${known} came back at ${n}`);
    assert.equal((await sidecar.post(body(n))).status, 200);
    known = patterns; // what this end writes may be missing, what an earlier one wrote may not
    await until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
    scarcity.arm(n);
    sidecar.signal('SIGTERM');
    assert.deepEqual(await sidecar.end(), { code: 0, signal: null }, `${n}: ${sidecar.stderr.slice(-2000)}`);
    if (scarcity.failed === 0) last++;
  }
});
