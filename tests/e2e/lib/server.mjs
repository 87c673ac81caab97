// The policy server under test: started, asked, each request and answer held against its own
// OpenAPI document, stopped.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import Ajv from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { BINARY } from './sidecar.mjs';
import { until } from './wait.mjs';

export const document = JSON.parse(readFileSync(new URL('../../../src/server/openapi.json', import.meta.url)));
const SANITIZER = /(AddressSanitizer|LeakSanitizer|runtime error:|UndefinedBehaviorSanitizer|Assertion .* failed)/;

const ajv = new Ajv({ strict: false, allErrors: true });
addFormats(ajv);
ajv.addSchema(document, 'api');

const resolve = (node) => (node?.$ref ? node.$ref.slice(2).split('/').reduce((at, key) => at[key], document) : node);
const compiled = new Map();

// A schema at a place of the document.
function validator(pointer) {
  if (!compiled.has(pointer)) compiled.set(pointer, ajv.compile({ $ref: `api#${pointer}` }));
  return compiled.get(pointer);
}

const escape = (text) => encodeURIComponent(text.replaceAll('~', '~0').replaceAll('/', '~1'));

// The path of the document that a request is for: with names rather than parameters where both do.
export function template(pathname) {
  const parts = pathname.replace(/(.)\/$/, '$1').split('/');
  return Object.keys(document.paths).find((one) => {
    const want = one.split('/');
    return want.length === parts.length && want.every((part, i) => part.startsWith('{') || part === parts[i]);
  });
}

// Every operation: {method, path, roles, operation}.
export const operations = Object.entries(document.paths).flatMap(([route, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path: route, roles: operation['x-roles'] ?? null, operation })));

export const seen = new Set(); // of operations that were answered with success

function check(method, pathname, sent, answer, body) {
  const route = template(pathname);
  assert.ok(route, `${method} ${pathname}: not in the document`);
  const operation = document.paths[route][method.toLowerCase()];
  assert.ok(operation, `${method} ${pathname}: not in the document`);
  const at = `/paths/${escape(route)}/${method.toLowerCase()}`;
  if (sent !== undefined && answer.status < 300) {
    const valid = validator(`${at}/requestBody/content/${escape('application/json')}/schema`);
    assert.ok(valid(sent), `${method} ${route}: the document has another request: ${JSON.stringify(valid.errors)}`);
  }
  const response = operation.responses[answer.status];
  assert.ok(response, `${method} ${route}: ${answer.status} is not in the document: ${JSON.stringify(body)}`);
  if (answer.status < 300) seen.add(operation.operationId);
  const { content } = resolve(response);
  const type = (answer.headers.get('content-type') ?? '').split(';')[0];
  if (!content?.['application/json']) return;
  assert.ok(content[type], `${method} ${route}: ${answer.status}: ${type} is not in the document`);
  if (type !== 'application/json') return;
  const pointer = response.$ref ? response.$ref.slice(1) : `${at}/responses/${answer.status}`;
  const valid = validator(`${pointer}/content/${escape('application/json')}/schema`);
  assert.ok(valid(body), `${method} ${route}: ${answer.status}: the document has another answer: ${JSON.stringify(valid.errors)} ${JSON.stringify(body)}`);
}

// Where its database is: in its directory, or, with `postgres` set, in one of its own there.
export const home = { postgres: null, urls: new Map() };

export class Server {
  static async start(t, { set = {}, directory, env = {}, key, wrap = [], database, binary = BINARY } = {}) {
    const own = directory ?? mkdtempSync(path.join(os.tmpdir(), 'lipservice-server-'));
    if (!directory) t.after(() => rmSync(own, { recursive: true, force: true }));
    const settings = { 'server.endpoint': '127.0.0.1:0', 'server.directory': own, 'telemetry.log.format': 'json', ...set };
    if (home.postgres && !home.urls.has(own)) home.urls.set(own, database ?? home.postgres.database());
    if (home.postgres) settings['server.database'] = home.urls.get(own);
    const argv = ['server', '--config', '/dev/null', ...Object.entries(settings).flatMap(([name, value]) => ['--set', `${name}=${value}`])];
    const server = new Server(argv, env, wrap, binary);
    server.directory = own;
    t.after(() => server.child.kill('SIGKILL'));
    await server.#started();
    server.key = key ?? /lsk_[\w-]{43}/.exec(server.stdout)?.[0];
    return server;
  }

  constructor(argv, env, wrap, binary = BINARY) {
    this.stdout = '';
    this.stderr = '';
    const [command, ...rest] = [...wrap, binary, ...argv];
    this.child = spawn(command, rest, { env: { PATH: process.env.PATH, ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '', ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout.setEncoding('utf8').on('data', (text) => (this.stdout += text));
    this.child.stderr.setEncoding('utf8').on('data', (text) => (this.stderr += text));
    this.ended = new Promise((done) => this.child.once('close', (code, signal) => done({ code, signal })));
  }

  get log() {
    return this.stderr.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  }

  async #started() {
    const line = await until('the start of the server', async () => {
      if (this.child.exitCode !== null) return { ended: this.child.exitCode };
      return this.log.find((entry) => entry.event === 'started');
    });
    assert.equal(line.ended, undefined, `it ended with ${line.ended}: ${this.stderr}`);
    this.url = `http${line.tls === 'on' ? 's' : ''}://${line.server}`;
  }

  // {status, body, headers}; `valid` false: the request is wrong on purpose.
  async call(method, route, { body, key = this.key, headers = {}, raw, signal } = {}) {
    const answer = await fetch(this.url + route, {
      method,
      signal,
      headers: { ...(key ? { authorization: `Bearer ${key}` } : {}), ...(body !== undefined || raw !== undefined ? { 'content-type': 'application/json' } : {}), ...headers },
      body: raw ?? (body === undefined ? undefined : JSON.stringify(body)),
    });
    const text = await answer.text();
    const isJson = answer.headers.get('content-type')?.startsWith('application/json') && text !== '';
    const read = isJson ? JSON.parse(text) : text;
    const { pathname } = new URL(this.url + route);
    if (template(pathname) && document.paths[template(pathname)][method.toLowerCase()]) check(method, pathname, body, answer, read);
    return { status: answer.status, body: read, headers: answer.headers };
  }

  // The body, where it is answered with success.
  async ok(method, route, body, options = {}) {
    const answer = await this.call(method, route, { body, ...options });
    assert.ok(answer.status < 300, `${method} ${route}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  async metrics() {
    const text = (await this.call('GET', '/metrics', { key: null })).body;
    return Object.fromEntries(text.split('\n').filter((line) => line && !line.startsWith('#')).map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]));
  }

  // A key of a role, for this team or, with `team`, for a new one.
  async newKey(role, by = this.key) {
    return (await this.ok('POST', '/api/v1/keys', { role, name: `${role} of a test` }, { key: by })).key;
  }

  async kill() {
    this.child.kill('SIGKILL');
    await this.ended;
    assert.doesNotMatch(this.stderr, SANITIZER);
  }

  async stop() {
    this.child.kill('SIGTERM');
    const end = await this.ended;
    assert.doesNotMatch(this.stderr, SANITIZER);
    assert.deepEqual(end, { code: 0, signal: null }, this.stderr);
  }
}

// A report as a sidecar sends it.
export const report = (service, count, more = {}) => ({
  service_name: service,
  team_id: 0,
  timestamp: Date.now() / 1000,
  algorithm: 'lps1',
  patterns: [{
    signature: 'lps1:00000000000000ab',
    count,
    sampled_count: Math.floor(count / 2),
    first_seen: Date.now() / 1000,
    last_seen: Date.now() / 1000,
    bytes: count * 100,
    sampled_bytes: Math.floor(count / 2) * 100,
    template: 'user <num> logged in',
    severity_distribution: { INFO: count },
  }],
  total_logs: count,
  unique_patterns: 1,
  ...more,
});

// Records of a service that its database has, as soon as they are there.
export async function counted(server, service) {
  const answer = await server.call('GET', `/api/v1/services/${encodeURIComponent(service)}/patterns?hours=720&limit=1000`);
  return answer.status === 200 ? answer.body.patterns.reduce((sum, row) => sum + row.count, 0) : 0;
}
