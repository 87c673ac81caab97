// RFC 9113 and RFC 7541 as rows (tests/unit/net/test_http2_conformance.c), sent to every port of the
// program, in clear text and over TLS.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { before, test } from 'node:test';
import tls from 'node:tls';
import { BINARY, closeLedger, KEEP_ALL, pair } from './lib/sidecar.mjs';
import { Certificates } from './lib/tls.mjs';

const ROWS = path.join(path.dirname(BINARY), 'tests/test_net_http2_conformance');
const skip = !existsSync(ROWS) && `${ROWS} is not built`;
const DATA = 0, HEADERS = 1, RST = 3, SETTINGS = 4, PING = 6, GOAWAY = 7;
const ANSWER_MS = 10000;
const AT_ONCE = 16;

let certificates;
before(() => {
  certificates = new Certificates({ after: (fn) => process.on('exit', fn) });
});

const frame = (type, flags, stream, payload) => {
  const bytes = Buffer.alloc(9);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  return Buffer.concat([bytes, payload]);
};
const HELLO = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(SETTINGS, 0, 0, Buffer.alloc(0)), frame(SETTINGS, 1, 0, Buffer.alloc(0))]);
// The service of the unit test holds a request there; ours waits for the body of one of OTLP.
const HOLD = Buffer.from('44052f686f6c64', 'hex');
const OTLP = Buffer.from('44082f76312f6c6f6773', 'hex');

function rowsOf(text) {
  return text.trimEnd().split('\n').map((line) => {
    const [name, want, ...frames] = line.split('\t');
    let holds = false;
    const bytes = frames.map((text) => {
      const [type, flags, stream, zeros, hex] = text.split(' ');
      let payload = Buffer.from(hex ?? '', 'hex');
      const at = payload.indexOf(HOLD);
      if (at >= 0) {
        // A whole request is answered at once: nothing is held, and its stream is closed.
        holds ||= (Number(flags) & 1) !== 0;
        payload = Buffer.concat([payload.subarray(0, at), OTLP, payload.subarray(at + HOLD.length)]);
      }
      return frame(Number(type), Number(flags), Number(stream), Buffer.concat([payload, Buffer.alloc(Number(zeros))]));
    });
    return { name, want: want.split(' '), holds, bytes: Buffer.concat(bytes) };
  });
}

// What the program sent: G, R with their codes, ack, and "answer"; "over" when it hung up.
function outcome(bytes) {
  const seen = [];
  for (let at = 0; at + 9 <= bytes.length; ) {
    const length = bytes.readUIntBE(at, 3), type = bytes[at + 3], payload = bytes.subarray(at + 9, at + 9 + length);
    if (type === GOAWAY && payload.length >= 8 && payload[7] !== 0) seen.push(`G${payload[7]}`);
    if (type === RST && payload.length >= 4 && payload[3] !== 0) seen.push(`R${payload[3]}`);
    if (type === PING && bytes[at + 4] & 1) seen.push('ack');
    if (type === HEADERS) seen.push('answer');
    at += 9 + length;
  }
  return seen;
}

// `connect(cb)`: a socket. Resolves as soon as what came is wanted, or the peer hung up, or nothing came.
function send(connect, { want, bytes, holds }) {
  const wanted = new Set(want.map((word) => (/^\d+$|other/.test(word) ? 'answer' : word)));
  if (holds) wanted.add('answer');
  return new Promise((resolve) => {
    let got = Buffer.alloc(0);
    const socket = connect(() => socket.write(Buffer.concat([HELLO, bytes])));
    const finish = (is_over) => {
      clearTimeout(timer);
      socket.destroy();
      const seen = outcome(got);
      if (is_over) seen.push('over');
      const ends = seen.some((word) => word.startsWith('G'));
      resolve({ seen, good: seen.some((word) => wanted.has(word)) && (!ends || is_over) });
    };
    const timer = setTimeout(finish, ANSWER_MS, false);
    socket.on('data', (part) => {
      got = Buffer.concat([got, part]);
      const seen = outcome(got);
      // A GOAWAY is to be followed by the end.
      if (seen.some((word) => wanted.has(word)) && !seen.some((word) => word.startsWith('G'))) finish(false);
    });
    socket.on('end', () => finish(true)).on('close', () => finish(true)).on('error', () => {});
  });
}

const files = () => ({ cert_file: certificates.file('good.crt'), key_file: certificates.file('good.key') });
const on = (prefix) => Object.fromEntries(Object.entries(files()).map(([key, value]) => [`${prefix}.${key}`, value]));

test('every row on both OTLP ports and the page ports, in clear text and over TLS', { skip }, async (t) => {
  const rows = rowsOf(execFileSync(ROWS, ['--rows'], { encoding: 'utf8' }));
  assert.ok(rows.length > 100, `${rows.length} rows`);
  const set = { ...KEEP_ALL, ...on('receivers.otlp.protocols.grpc.tls'), ...on('receivers.otlp.protocols.http.tls'), ...on('telemetry.tls') };
  const { sidecar } = await pair(t, { set });
  const clear = (port) => (cb) => net.connect(port, '127.0.0.1', cb);
  const secure = (port) => (cb) => tls.connect({ port, host: '127.0.0.1', servername: 'localhost', ca: certificates.pair('ca').cert, ALPNProtocols: ['h2'] }, cb);
  const ports = Object.fromEntries(['grpc', 'http', 'admin', 'metrics'].flatMap((name) => [[`${name}, clear`, clear(sidecar[`${name}Port`])], [`${name}, TLS`, secure(sidecar[`${name}Port`])]]));
  ports['health, clear'] = clear(sidecar.healthPort);
  const failed = [];
  for (const [port, connect] of Object.entries(ports)) {
    const queue = [...rows];
    const one = async () => {
      for (let row; (row = queue.shift()); ) {
        const { seen, good } = await send(connect, row);
        if (!good) failed.push(`${port}: ${row.name}: ${seen.join(' ') || 'nothing'}, wanted ${row.want.join(' ')}`);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, one));
  }
  t.diagnostic(`${rows.length} rows on ${Object.keys(ports).length} ports`);
  assert.deepEqual(failed, []);
  assert.ok(!sidecar.hasEnded);
  await closeLedger(sidecar, { lost: {} });
});
