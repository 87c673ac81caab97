// Each limit of `lipservice limits` that is a size or a number in one request: one less, as many, and one more.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import net from 'node:net';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { encodeLogs, request } from './lib/otlp.mjs';
import { BINARY, closeLedger, KEEP_ALL, pair } from './lib/sidecar.mjs';
import { http1 } from './lib/wire.mjs';

const UNIT = { KiB: 1 << 10, MiB: 1 << 20 };
const number = (text) => Number.parseInt(text, 10) * (UNIT[text.replace(/^\d+/, '')] ?? 1);
const limits = new Map(execFileSync(BINARY, ['limits'], { encoding: 'utf8' }).trimEnd().split('\n').map((line) => {
  const [name, value, unit, beyond, counted] = line.split('\t');
  return [name, { value: number(value), setting: unit.includes('.') ? unit : undefined, unit, beyond, counted }];
}));

// The status of an answer to bytes, of which more than the head need not come.
const status = (port, bytes) =>
  new Promise((resolve, reject) => {
    let text = '';
    const socket = net.connect(port, '127.0.0.1', () => socket.write(bytes));
    socket.setEncoding('latin1').on('data', (part) => {
      text += part;
      const found = /^HTTP\/1\.1 (\d+)/.exec(text);
      if (found) {
        socket.destroy();
        resolve(Number(found[1]));
      }
    });
    socket.on('error', reject).on('close', () => resolve(undefined));
    socket.setTimeout(10000, () => socket.destroy(new Error(`no answer: ${text}`)));
  });

const HEAD = 'POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n';
const sized = (n) => {
  const plain = encodeLogs(request(1, { body: () => '' })).length;
  for (let pad = Math.max(0, n - plain - 16); ; pad++) {
    const body = encodeLogs(request(1, { body: () => 'x'.repeat(pad) }));
    if (body.length === n) return body;
    assert.ok(body.length < n, `no body of ${n} bytes`);
  }
};
const chunked = (extension, trailers) => `${HEAD}Transfer-Encoding: chunked\r\n\r\n64${extension}\r\n${'\0'.repeat(100)}\r\n0\r\n${trailers}\r\n`;
// By hand: protobufjs goes no deeper than we do.
const field = (number, bytes) => {
  const length = [];
  for (let n = bytes.length; ; n >>= 7) {
    length.push(n > 127 ? (n & 127) | 128 : n);
    if (n <= 127) break;
  }
  return Buffer.concat([Buffer.from([number << 3 | 2, ...length]), bytes]);
};
// A request of one record with messages so deep: its body is the fourth, an element two below its array.
const nested = (depth) => {
  let value = field(1, Buffer.from('x'));
  for (let i = 4; i + 2 <= depth; i += 2) value = field(5, field(1, value));
  return field(1, field(2, field(2, field(5, value))));
};

// By name: the status for n. `of`: the same limit set to a smaller number for the test.
const probes = {
  'request target': { ask: (s, n) => status(s.httpPort, `POST /v1/logs?${'x'.repeat(n - 9)} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n`), beyond: 414 },
  'head': { ask: (s, n) => status(s.httpPort, (() => { const rest = `${HEAD}Content-Length: 0\r\nX: `; return `${rest}${'x'.repeat(n - rest.length - 4)}\r\n\r\n`; })()), beyond: 431 },
  'header fields': { ask: (s, n) => status(s.httpPort, `${HEAD}Content-Length: 0\r\n${'X: y\r\n'.repeat(n - 3)}\r\n`), beyond: 431 },
  'body': { of: 4096, ask: async (s, n) => (await http1(s.httpPort, { body: sized(n) })).status, beyond: 413, records: 1 },
  'body, inflated': { of: 4096, ask: async (s, n) => (await http1(s.httpPort, { body: gzipSync(sized(n)), headers: { 'content-encoding': 'gzip' } })).status, beyond: 413, records: 1 },
  'body of a question to a page': { ask: async (s, n) => (await http1(s.adminPort, { path: '/api/explain', body: Buffer.alloc(n, 'x'), headers: { 'content-type': 'application/json' } })).status, good: (code) => code !== 413, beyond: 413 },
  'chunk extensions and trailers, with line ends': { ask: (s, n) => status(s.httpPort, chunked(`;a=${'x'.repeat(n - 3 - 4)}`, '')), good: (code) => code === 400, counts: true, beyond: 400 },
  'trailer fields': { ask: (s, n) => status(s.httpPort, chunked('', 'X: y\r\n'.repeat(n))), good: (code) => code === 400, counts: true, beyond: 400 },
  'members of a gzip body': { ask: async (s, n) => (await http1(s.httpPort, { body: Buffer.concat(Array(n).fill(gzipSync(''))), headers: { 'content-encoding': 'gzip' } })).status, beyond: 400 },
  'messages and values inside each other': { ask: async (s, n) => (await http1(s.httpPort, { body: nested(n) })).status, step: 2, beyond: 400, records: 1 },
};

test('the table: every row says what happens, and each that can be tried in one request is', () => {
  assert.ok(limits.size > 50, `${limits.size} rows`);
  for (const [name, { value, beyond }] of limits) assert.ok(value > 0 && beyond.length >= 3, name);
  for (const name of Object.keys(probes)) assert.ok(limits.has(name), `${name} is no limit`);
  const tried = new Set(Object.keys(probes));
  const inOneRequest = [...limits].filter(([name, { unit }]) => /^(bytes|)$/.test(unit) && /^(request|head(er|$)|body|chunk|trailer|members|messages|streams)/.test(name)).map(([name]) => name);
  const elsewhere = ['body that is decoded on the loop', 'message of a TLS handshake', 'streams of a connection']; // hostile.test.mjs, test_tls.c, test_http2.c
  for (const name of inOneRequest) assert.ok(tried.has(name) || elsewhere.includes(name), `${name}: no probe`);
});

for (const [name, { ask, of, step = 1, good = (code) => code === 200, counts = false, beyond, records = 0 }] of Object.entries(probes)) {
  test(`limit: ${name}`, async (t) => {
    const { value, setting } = limits.get(name);
    const n = of ?? value;
    const { sidecar } = await pair(t, { set: { ...KEEP_ALL, ...(of && setting ? { [setting]: of } : {}) } });
    const faults = async () => (await sidecar.metrics())['lipservice_http_faults_total{reason="bad_request"}'];
    for (const under of [n - step, n]) {
      const before = await faults();
      const code = await ask(sidecar, under);
      assert.ok(good(code), `${under}: ${code}`);
      if (counts) assert.equal(await faults(), before, `${under}: refused for its framing`);
    }
    const before = await faults();
    assert.equal(await ask(sidecar, n + step), beyond, `${n + step}`);
    if (counts) assert.equal(await faults(), before + 1, `${n + step}: not counted`);
    await closeLedger(sidecar, { received: 2 * records, rejected: 0 });
  });
}
