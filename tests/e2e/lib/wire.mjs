// Clients that do as they are told: HTTP/1.1, HTTP/2 and gRPC without anybody's help.
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { decodeStatus, grpcFrame } from './otlp.mjs';

const LOGS_METHOD = '/opentelemetry.proto.collector.logs.v1.LogsService/Export';
const DEADLINE_MS = 20000;

const bracket = (host) => (host.includes(':') ? `[${host}]` : host);

// One request of HTTP/1.1: {status, headers, body}. `chunks`: written one by one, chunked.
export function http1(port, { host = '127.0.0.1', path = '/v1/logs', method = 'POST', headers = {}, body, chunks, agent, expect100 = false } = {}) {
  return new Promise((resolve, reject) => {
    const length = chunks || body === undefined ? {} : { 'content-length': body.length };
    const all = { 'content-type': 'application/x-protobuf', ...length, ...headers };
    if (expect100) all.expect = '100-continue';
    let continued = false;
    const req = http.request({ host, port, path, method, headers: all, agent: agent ?? false, timeout: DEADLINE_MS }, (res) => {
      const parts = [];
      res.on('data', (part) => parts.push(part));
      res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, body: Buffer.concat(parts), continued, localPort: res.socket?.localPort ?? req.socket?.localPort }));
      res.on('error', reject);
    });
    req.on('timeout', () => req.destroy(new Error('no answer')));
    req.on('error', reject);
    const finish = () => {
      for (const chunk of chunks ?? []) req.write(chunk);
      req.end(chunks ? undefined : body);
    };
    if (!expect100) {
      finish();
      return;
    }
    req.on('continue', () => {
      continued = true;
      finish();
    });
    req.flushHeaders();
  });
}

// One request of HTTP/2 with prior knowledge: {status, headers, trailers, body}.
export function h2(port, { host = '127.0.0.1', path = '/v1/logs', method = 'POST', headers = {}, body, session } = {}) {
  return new Promise((resolve, reject) => {
    const own = session === undefined;
    session ??= http2.connect(`http://${bracket(host)}:${port}`);
    session.on('error', reject);
    const stream = session.request({ ':path': path, ':method': method, 'content-type': 'application/x-protobuf', ...headers });
    const answer = { status: 0, headers: {}, trailers: {} };
    const parts = [];
    stream.setTimeout(DEADLINE_MS, () => stream.destroy(new Error('no answer')));
    stream.on('response', (head) => Object.assign(answer, { status: head[':status'], headers: head }));
    stream.on('trailers', (trailers) => (answer.trailers = trailers));
    stream.on('data', (part) => parts.push(part));
    stream.on('error', (error) => answer.status === 0 && reject(error));
    stream.on('close', () => {
      if (own) session.close();
      resolve({ ...answer, body: Buffer.concat(parts) });
    });
    stream.end(body);
  });
}

// One unary call: {code, message, details, headers, body}. `frame`: the bytes as they are.
export async function grpc(port, { host, message = Buffer.alloc(0), compressed = 0, encoding, frame, path = LOGS_METHOD, headers = {}, session } = {}) {
  const answer = await h2(port, {
    host,
    path,
    session,
    headers: { 'content-type': 'application/grpc', te: 'trailers', ...(encoding ? { 'grpc-encoding': encoding } : {}), ...headers },
    body: frame ?? grpcFrame(message, compressed),
  });
  const from = 'grpc-status' in answer.headers ? answer.headers : answer.trailers;
  const bin = from['grpc-status-details-bin'];
  return {
    ...answer,
    code: Number(from['grpc-status']),
    message: decodeURIComponent(from['grpc-message'] ?? ''),
    details: bin === undefined ? undefined : decodeStatus(Buffer.from(bin, 'base64')),
  };
}

// Bytes to a port; everything that comes back until the peer hangs up or until(text) holds.
export function raw(port, bytes, { host = '127.0.0.1', until = () => false } = {}) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, host, () => socket.write(bytes));
    let text = '';
    const timer = setTimeout(() => reject(new Error(`no end: ${text}`)) || socket.destroy(), DEADLINE_MS);
    const finish = () => {
      clearTimeout(timer);
      socket.destroy();
      resolve(text);
    };
    socket.setEncoding('latin1').on('data', (part) => {
      text += part;
      if (until(text)) finish();
    });
    socket.on('close', finish);
    socket.on('error', () => {}); // 'close' follows
  });
}

// A zstd frame that compresses nothing (RFC 8878: one raw block).
export function zstdFrame(bytes) {
  const head = Buffer.alloc(12);
  head.writeUInt32LE(0xfd2fb528, 0);
  head[4] = 0xa0; // single segment, four bytes of content size
  head.writeUInt32LE(bytes.length, 5);
  head.writeUIntLE((bytes.length << 3) | 1, 9, 3);
  return Buffer.concat([head, bytes]);
}
