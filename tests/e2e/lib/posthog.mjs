// A stand-in for PostHog's capture-logs: the same order of checks, limits, answers and rows.
//
// Faults: `faults` is consumed one per request on the logs route, in order; null is a
// good day. `answer(request)`, when set, decides for each request that finds no fault there.
//   {status, headers, body}  answer so      {delay}  wait before going on
//   {close: true}            read, then hang up without an answer
//   {raw: socket => …}       read, then the test writes what it likes; {store} first
//   {cut: true}              store, then break off in the middle of the answer
//
// `flow(req, res)` sees a request on another path (events, flags, recordings) before its body has come.
// What is asked for on other paths is answered by `other(req, res, body)`
// when set, else by 404, and kept in `stray`.
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import zlib from 'node:zlib';
import { decompress as unzstd } from 'fzstd';
import { decodeLogs, flatten, normalizeJson } from './otlp.mjs';
import { pause } from './wait.mjs';

const ROUTE = /^(?:\/i)?\/v1\/(logs|traces|metrics)$/;
const CODINGS = new Set(['gzip', 'deflate', 'br', 'zstd']);
const LIMIT = 2097152;
const DAY_MS = 86400000;
const TEXT_LEVEL = {
  critical: 'fatal', fatal: 'fatal', crit: 'fatal', alert: 'fatal', emerg: 'fatal',
  error: 'error', err: 'error', eror: 'error', warn: 'warn', warning: 'warn',
  info: 'info', information: 'info', informational: 'info',
  debug: 'debug', dbug: 'debug', trace: 'trace',
};
const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];

class Refusal extends Error {
  constructor(status, body = '', type = 'text/plain') {
    super(`${status} ${body}`);
    Object.assign(this, { status, body, type });
  }
}
const refuseJson = (status, message) => new Refusal(status, JSON.stringify({ error: message }), 'application/json');

function inflate(coding, bytes, limit) {
  try {
    if (coding === 'zstd') return Buffer.from(unzstd(bytes));
    const options = { maxOutputLength: limit + 1 };
    if (coding === 'gzip') return zlib.gunzipSync(bytes, options);
    if (coding === 'deflate') return zlib.inflateSync(bytes, options);
    return zlib.brotliDecompressSync(bytes, options);
  } catch (error) {
    if (error.code === 'ERR_BUFFER_TOO_LARGE') throw new Refusal(413, 'length limit exceeded');
    throw new Refusal(400, 'broken compressed stream');
  }
}

function decode(body) {
  if (body.length === 0) return {};
  const failures = [];
  try {
    return decodeLogs(body);
  } catch (error) {
    failures.push(error.message);
  }
  const text = body.toString('utf8');
  try {
    return normalizeJson(JSON.parse(text));
  } catch (error) {
    failures.push(error.message);
  }
  try {
    const lines = text.split('\n').filter((line) => line.trim() !== '');
    return { resourceLogs: lines.flatMap((line) => normalizeJson(JSON.parse(line)).resourceLogs ?? []) };
  } catch {
    throw refuseJson(400, `Failed to decode JSON: ${failures[1]} or Protobuf: ${failures[0]}`);
  }
}

// ---- rows

function valueJson(any) {
  if (any === undefined || any === null) return '""';
  if ('stringValue' in any) return JSON.stringify(any.stringValue);
  if ('boolValue' in any) return String(any.boolValue);
  if ('intValue' in any) return String(any.intValue);
  if ('doubleValue' in any) return JSON.stringify(any.doubleValue);
  if ('bytesValue' in any) return JSON.stringify(any.bytesValue);
  if ('arrayValue' in any) return `[${(any.arrayValue.values ?? []).map(valueJson).join(',')}]`;
  if ('kvlistValue' in any) {
    const entries = (any.kvlistValue.values ?? []).filter((e) => e.value);
    return `{${entries.map((e) => `${JSON.stringify(e.key)}:${valueJson(e.value)}`).join(',')}}`;
  }
  return 'null';
}

const attributesOf = (list) => Object.fromEntries((list ?? []).map((a) => [a.key, valueJson(a.value)]));

function bodyOf(any) {
  if (!any || Object.keys(any).length === 0) return '';
  return 'stringValue' in any ? any.stringValue : valueJson(any);
}

function levelInBody(body) {
  if (!body.startsWith('{')) return null;
  let object;
  try {
    object = JSON.parse(body);
  } catch {
    return null;
  }
  for (const key of ['level', 'severity', 'log.level', 'config.log_level'])
    if (typeof object[key] === 'string' && LEVELS.includes(object[key].toLowerCase())) return object[key].toLowerCase();
  return null;
}

function severityOf(record, body) {
  let text = TEXT_LEVEL[(record.severityText ?? '').toLowerCase()] ?? 'info';
  const inBody = levelInBody(body);
  let number = Number(record.severityNumber ?? 0);
  if (inBody) text = inBody;
  if (number > 0) {
    text = LEVELS[Math.floor((number - 1) / 4)] ?? 'unknown';
    if (inBody) number = 1 + 4 * LEVELS.indexOf(inBody);
  } else {
    number = 1 + 4 * LEVELS.indexOf(text);
  }
  return { severity_text: text, severity_number: number };
}

const idHex = (base64, bytes) => {
  const id = Buffer.from(base64 ?? '', 'base64');
  return (id.length === bytes ? id : Buffer.alloc(bytes)).toString('hex');
};

function rowOf({ resource, scope, record }, now) {
  const body = bodyOf(record.body);
  const attributes = attributesOf(record.attributes);
  const nanos = BigInt(record.timeUnixNano ?? 0);
  let micros = nanos / 1000n;
  const apart = Math.abs(Number(nanos / 1000000n) - now);
  if (nanos === 0n || apart > DAY_MS) {
    micros = BigInt(now) * 1000n;
    if (nanos !== 0n) attributes.$originalTimestamp = JSON.stringify(new Date(Number(nanos / 1000000n)).toISOString());
  }
  const resourceAttributes = attributesOf(resource?.attributes);
  resourceAttributes['service.name'] ??= '""';
  return {
    uuid: randomUUID(),
    timestamp: String(micros),
    observed_timestamp: String(BigInt(now) * 1000n),
    body,
    ...severityOf(record, body),
    trace_id: idHex(record.traceId, 16),
    span_id: idHex(record.spanId, 8),
    trace_flags: Number(record.flags ?? 0),
    attributes,
    resource_attributes: resourceAttributes,
    service_name: JSON.parse(resourceAttributes['service.name']),
    instrumentation_scope: scope ? `${scope.name ?? ''}@${scope.version ?? ''}` : '',
    event_name: record.eventName ?? '',
  };
}

// ---- server

export class PostHog {
  static async start(options = {}) {
    const stub = new PostHog(options);
    await stub.up();
    return stub;
  }

  constructor({ limit = LIMIT, projects = ['phc_e2e'], kafkaMax = 1000000, keepBodies = false } = {}) {
    Object.assign(this, { limit, kafkaMax, keepBodies, projects: new Set(projects), dropped: new Set(), refusedCodings: new Set() });
    this.refuseKeys = false; // what capture itself never does: a gateway that checks the key
    this.faults = [];
    this.answer = null;
    this.refuses = null; // row => status: a record that costs the whole request
    this.failStore = false;
    this.requests = []; // every request on the three routes, in order, with what was answered
    this.rows = [];
    this.records = []; // {resource, scope, record} as stored, uncooked
    this.discarded = 0;
    this.gate = null; // set by the stand-in for the app: what becomes of rows behind the 200
    this.tokenOf = new WeakMap(); // row => the key that it came with
    this.relayed = { traces: [], metrics: [] };
    this.stray = []; // anything on other paths: a followed redirect, for example
    this.sockets = new Set();
    this.port = 0;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  get logs() {
    return this.requests.filter((r) => r.signal === 'logs');
  }

  async up() {
    this.server = http.createServer((req, res) => this.#handle(req, res));
    this.server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
      socket.on('error', () => {});
    });
    // Not a port that the kernel gives away: one that is down for a while must be its own
    // when it comes back.
    for (let tries = 0; ; tries++) {
      const port = this.port || 20000 + Math.floor(Math.random() * 10000);
      const taken = await new Promise((resolve, reject) => {
        this.server.once('error', (error) => (error.code === 'EADDRINUSE' && !this.port && tries < 20 ? resolve(true) : reject(error)));
        this.server.listen(port, '127.0.0.1', () => resolve(false));
      });
      if (taken) continue;
      this.port = port;
      break;
    }
  }

  // Nobody listens any more; up() takes the same port again.
  async down() {
    for (const socket of this.sockets) socket.destroy();
    if (this.server.listening) await new Promise((resolve) => this.server.close(resolve));
  }

  async #handle(req, res) {
    const url = new URL(req.url, 'http://stub');
    const signal = ROUTE.exec(url.pathname)?.[1];
    const entry = {
      signal, path: url.pathname, method: req.method, headers: req.headers, at: Date.now(),
      coding: req.headers['content-encoding'] ?? null, wire_bytes: 0, billed_bytes: 0, records: 0, status: 0,
    };
    const reply = (status, body = '', headers = {}) => {
      entry.status = status;
      res.writeHead(status, headers).end(body);
    };
    if (!signal) {
      if (this.flow) {
        this.flow(req, res);
        return;
      }
      if (this.other) {
        this.other(req, res, await read(req));
        return;
      }
      this.stray.push(entry);
      reply(404);
      return;
    }
    if (req.method === 'OPTIONS') {
      reply(200, '', {
        'access-control-allow-origin': req.headers.origin ?? '*',
        'access-control-allow-headers': req.headers['access-control-request-headers'] ?? '*',
        'access-control-allow-credentials': 'true',
      });
      return;
    }
    if (req.method !== 'POST') {
      reply(405);
      return;
    }
    this.requests.push(entry);
    try {
      const wire = await read(req);
      entry.wire_bytes = wire.length;
      const fault = (signal === 'logs' && (this.faults.length > 0 ? this.faults.shift() : this.answer?.(entry))) || {};
      if (fault.delay) await pause(fault.delay);
      if (fault.close) {
        req.socket.destroy();
        return;
      }
      if (fault.raw) {
        if (fault.store) this.#take(signal, url, req, wire, entry);
        entry.status = -1;
        await fault.raw(req.socket);
        return;
      }
      if (fault.status) {
        reply(fault.status, fault.body ?? '', fault.headers ?? {});
        return;
      }
      this.#take(signal, url, req, wire, entry);
      if (fault.cut) {
        res.writeHead(200, { 'content-type': 'application/json', 'content-length': 200 });
        res.write('{');
        setImmediate(() => req.socket.destroy());
        return;
      }
      reply(200, '{}', { 'content-type': 'application/json' });
    } catch (error) {
      if (error instanceof Refusal) reply(error.status, error.body, { 'content-type': error.type });
      else if (!req.socket.destroyed) throw error;
    }
  }

  #take(signal, url, req, wire, entry) {
    let coding = entry.coding;
    if (!coding && ['gzip', 'gzip-js'].includes(url.searchParams.get('compression'))) coding = 'gzip';
    if (coding !== null && (!CODINGS.has(coding) || this.refusedCodings.has(coding))) throw new Refusal(415);
    let body = coding ? inflate(coding, wire, this.limit) : wire;
    if (body.length > this.limit) throw new Refusal(413, 'length limit exceeded');
    entry.token = this.#authorize(url, req);
    if (body[0] === 0x1f && body[1] === 0x8b) {
      try {
        body = zlib.gunzipSync(body, { maxOutputLength: this.limit + 1 });
      } catch (error) {
        if (error.code !== 'ERR_BUFFER_TOO_LARGE') throw refuseJson(400, `Failed to decompress gzip request body: ${error.message}`);
        throw refuseJson(413, `Decompressed request body exceeds limit (> ${this.limit} bytes)`);
      }
    }
    entry.billed_bytes = body.length;
    if (signal !== 'logs') {
      this.relayed[signal].push({ body, wire, headers: req.headers });
      return;
    }
    if (this.keepBodies) entry.body = body;
    entry.decoded = decode(body);
    const records = flatten(entry.decoded);
    if (records.some((r) => BigInt(r.record.timeUnixNano ?? 0) > 9223372036854775807n))
      throw refuseJson(400, 'Bad input format provided');
    const rows = records.map((r) => rowOf(r, entry.at));
    const refused = this.refuses ? rows.map(this.refuses).find(Boolean) : null;
    if (refused) throw refuseJson(refused, 'Bad input format provided');
    if (this.failStore) throw refuseJson(500, 'Internal server error');
    if (rows.length > 0 && zlib.deflateRawSync(JSON.stringify(rows), { level: 1 }).length > this.kafkaMax)
      throw refuseJson(500, 'Internal server error');
    entry.records = records.length;
    if (this.projects.has(entry.token)) {
      const taken = this.gate ? this.gate(entry, rows) : rows; // rows, perhaps changed, of which some are missing
      for (const row of taken) this.tokenOf.set(row, entry.token);
      this.records.push(...(taken.length === rows.length ? records : records.filter((_, i) => taken.includes(rows[i]))));
      this.rows.push(...taken);
    } else {
      this.discarded += records.length;
    }
  }

  #authorize(url, req) {
    const header = req.headers.authorization;
    let token;
    if (header !== undefined) {
      const at = header.lastIndexOf('Bearer ');
      token = at < 0 ? header : header.slice(at + 7);
      if (token === '' || !/^[\x20-\x7e]+$/.test(token)) throw refuseJson(401, 'No token provided');
    } else {
      token = url.searchParams.get('token');
      if (!token) throw refuseJson(401, 'No token provided');
    }
    if (this.dropped.has(token) || this.refuseKeys) throw refuseJson(401, 'Invalid token');
    token = token.trim();
    const reason =
      token === '' ? 'empty'
      : Buffer.byteLength(token) > 64 ? 'too_long'
      : /[^\x00-\x7f]/.test(token) ? 'not_ascii'
      : token.startsWith('phx_') ? 'personal_api_key'
      : token.includes('\0') ? 'null_byte'
      : null;
    if (reason)
      throw refuseJson(401, `Invalid project API key (${reason}). Use your project API key, which you can find in your PostHog project settings.`);
    return token;
  }
}

async function read(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return Buffer.concat(chunks);
}
