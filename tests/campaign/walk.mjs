// A walk at random: one sidecar after another on the same directories, and at each step something
// else happens to it: loads of all kinds, settings, an upstream that fails in ten ways, pages that
// are read, SIGTERM, kill -9. What features do to one another comes up here.
//
//     LIPSERVICE_BIN=build/lipservice node tests/campaign/walk.mjs [SECONDS] [SEED]
//
// Of a build with sanitizers. 0 when after each step the books close, each end is 0, every
// error that was taken has arrived or is counted as lost, and nothing has arrived that was not sent.
// A seed gives the same steps again; what happens between them is up to the machine.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import zlib from 'node:zlib';
import { encodeLogs, request } from '../e2e/lib/otlp.mjs';
import { PostHog } from '../e2e/lib/posthog.mjs';
import { Sidecar, balance, lastLine } from '../e2e/lib/sidecar.mjs';
import { pause } from '../e2e/lib/wait.mjs';

const [seconds = 600, firstSeed = Date.now() % 1e6] = process.argv.slice(2).map(Number);
const STEPS = 60; // of one walk

// mulberry32: small, and the same everywhere.
const randomOf = (seed) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};

// ---- settings: of each group one, at a start or (reload) at any time

const RELOADED = [
  [{}, { 'sampling.severity_rates.INFO': 1 }, { 'sampling.severity_rates.INFO': 0.05 }],
  [{}, { mode: 'observe' }, {}],
  [{}, { 'sampling.budget.records_per_second': 1 }, { 'sampling.budget.records_per_second': 40 }, { 'sampling.budget.bytes_per_month': '1GiB' }, { 'sampling.budget.target_reduction': 0.9 }],
  [{}, { 'sampling.first.count': 0 }, { 'sampling.first.window': '1s' }],
  [{}, { 'sampling.keep': '[{body: "order 1*"}]' }, { 'sampling.drop': '[{body: "user*"}]' }, { 'sampling.drop': '[{severity: INFO}]' }],
  [{}, { 'sampling.anomaly_boost': 8 }],
];
const STARTED = [
  [{}, { 'events.enabled': true, 'events.interval': '200ms', 'events.learning': '1ms', 'events.summary_interval': '300ms' }],
  [{}, { 'redaction.mode': 'enforce', 'redaction.action': 'drop_record' }, { 'redaction.mode': 'off' }],
  [{}, { 'batch.max_records': 7 }, { 'batch.max_bytes': '4KiB' }],
  [{}, { 'queue.errors_first': true }],
  [{}, { 'sampling.error_context.trigger': 'WARN' }, { 'sampling.error_context.bytes': 0 }],
  [{}, { 'sampling.max_patterns': 8 }, { 'sampling.max_services': 3 }, { 'sampling.max_patterns_per_service': 4 }],
  [{}, { 'sampling.stamps': '[adjusted_count, pattern, family, threshold, randomness, template, reason]' }],
  [{}, { 'sampling.key': 'session' }, { multiline: 'join' }],
  [{}, { 'memory.limit': '24MiB', 'queue.max_bytes': '1MiB' }],
  [{}, { 'exporters.posthog.compression': 'gzip' }, { 'exporters.posthog.compression': 'none' }],
];

// ---- the upstream: [answer(request), the most bytes of a request]

const UPSTREAM = [
  [null], [null], [null],
  [() => ({ status: 503 })], [() => ({ status: 500 })], [() => ({ status: 401 })], [() => ({ status: 302 })],
  [() => ({ status: 429, headers: { 'retry-after': '1' } })],
  [() => ({ close: true })], [() => ({ cut: true })], [() => ({ delay: 300 })],
  [null, 3000], // 413 above it
];

class Walk {
  constructor(t, seed, durability) {
    Object.assign(this, { t, seed, durability, random: randomOf(seed), count: 0, log: [], settings: {} });
    Object.assign(this, { sent: new Set(), errors: new Set(), lost: 0, killed: false });
    this.dir = mkdtempSync(path.join(process.env.LIPSERVICE_CAMPAIGN_DIR ?? os.tmpdir(), 'lipservice-walk-'));
    this.config = path.join(this.dir, 'config.yaml');
    for (const name of ['state', 'spool']) mkdirSync(path.join(this.dir, name));
    t.after(() => rmSync(this.dir, { recursive: true, force: true }));
  }

  one(list) {
    return list[Math.floor(this.random() * list.length)];
  }

  upTo(n) {
    return 1 + Math.floor(this.random() * n);
  }

  write() {
    const set = Object.assign({}, ...RELOADED.map((group) => this.one(group)));
    // The groups are merged below their common heads: a key may not stand twice.
    const tree = {};
    for (const [key, value] of Object.entries(set)) {
      const names = key.split('.');
      let at = tree;
      for (const name of names.slice(0, -1)) at = at[name] ??= {};
      at[names.at(-1)] = value;
    }
    writeFileSync(`${this.config}.new`, yaml(tree));
    renameSync(`${this.config}.new`, this.config);
    return set;
  }

  async start() {
    const reloaded = this.write();
    const set = Object.assign({}, ...STARTED.map((group) => this.one(group)), {
      'batch.max_age': '50ms', 'shutdown.timeout': '1s', durability: this.durability,
      'state.directory': path.join(this.dir, 'state'),
    });
    if (this.durability === 'disk') set['spool.directory'] = path.join(this.dir, 'spool');
    this.settings = { ...reloaded, ...set };
    this.sidecar = await Sidecar.start(this.t, { set, stub: this.stub, args: ['--config', this.config] });
  }

  // One request; what it held is remembered when it was taken.
  async send(n, { service = 'shop', base = {}, body, form = 'pb', isError = false }) {
    const bodies = Array.from({ length: n }, () => body(this.count++));
    const sent = request(n, { service, base, body: (i) => bodies[i] });
    const [bytes, type, headers] = FORMS[form](sent);
    for (const text of bodies) this.sent.add(text); // it may arrive without having been answered
    const answer = await this.sidecar.post(bytes, { type, headers });
    await answer.arrayBuffer();
    assert.ok([200, 429, 503].includes(answer.status), `${form}: ${answer.status}`);
    if (answer.status === 200 && isError) for (const text of bodies) this.errors.add(text);
  }

  async step() {
    const name = this.one(Object.keys(ACTIONS));
    this.log.push(name);
    await ACTIONS[name](this);
    balance(await this.sidecar.ledger());
    const imbalance = (await this.sidecar.metrics()).lipservice_ledger_imbalance;
    assert.equal(imbalance, 0);
  }

  async stop() {
    await this.sidecar.stop();
    const last = lastLine(this.sidecar);
    this.lost += last.lost;
    if (this.durability === 'disk') assert.equal(last.lost, last.lost_budget ?? 0, JSON.stringify(last));
    return last;
  }

  async run() {
    this.stub = await PostHog.start();
    this.t.after(() => this.stub.down());
    await this.start();
    for (let i = 0; i < STEPS; i++) await this.step();
    this.log.push('end');
    this.stub.answer = null;
    this.stub.limit = 2097152;
    await this.sidecar.until('an empty queue', async () => (await this.sidecar.ledger()).queued === 0, { timeout: 60000 });
    const last = await this.stop();
    assert.equal(last.left_on_disk, 0);
    this.check();
  }

  check() {
    const arrived = new Set();
    for (const row of this.stub.rows) {
      if (row.instrumentation_scope.startsWith('lipservice@')) continue;
      for (const line of row.body.split('\n')) {
        assert.ok(this.sent.has(line), `not sent: ${line}`);
        arrived.add(line);
      }
    }
    const missing = [...this.errors].filter((text) => !arrived.has(text));
    if (!this.killed || this.durability === 'disk') assert.ok(missing.length <= this.lost, `${missing.length} errors are missing, ${this.lost} records were counted as lost: ${missing.slice(0, 5)}`);
  }
}

const yaml = (tree, depth = 0) =>
  Object.entries(tree).map(([key, value]) => '  '.repeat(depth) + (typeof value === 'object' ? `${key}:\n${yaml(value, depth + 1)}` : `${key}: ${value}\n`)).join('');

const FORMS = {
  pb: (sent) => [encodeLogs(sent), 'application/x-protobuf', {}],
  json: (sent) => [JSON.stringify(sent), 'application/json', {}],
  gzip: (sent) => [zlib.gzipSync(encodeLogs(sent)), 'application/x-protobuf', { 'content-encoding': 'gzip' }],
};

const SEVERITY = { info: { severityNumber: 9, severityText: 'INFO' }, warn: { severityNumber: 13, severityText: 'WARN' }, error: { severityNumber: 17, severityText: 'ERROR' } };
const letters = (n) => `x${String(n).replace(/\d/g, (digit) => 'abcdefghij'[digit])}`;
const form = (walk) => walk.one(Object.keys(FORMS));
const pageOf = (server, route) => async (walk) => void (await walk.sidecar.page(server, route));
const ask = async (walk, route, what) => {
  const headers = { 'content-type': 'application/json', origin: `http://${walk.sidecar.addresses.admin}` };
  const answer = await fetch(`http://${walk.sidecar.addresses.admin}${route}`, { method: 'POST', headers, body: JSON.stringify(what) });
  const text = await answer.text();
  assert.ok([200, 404, 409, 422, 503].includes(answer.status), `${route}: ${answer.status} ${text}`);
  return text;
};
const end = (how) => async (walk) => {
  await how(walk);
  await walk.start();
};

const ACTIONS = {
  infos: (walk) => walk.send(walk.upTo(200), { base: SEVERITY.info, body: (n) => `order ${n} was placed`, form: form(walk) }),
  'infos again': (walk) => walk.send(walk.upTo(200), { base: SEVERITY.info, body: (n) => `order ${n} was placed`, form: form(walk) }),
  errors: (walk) => walk.send(walk.upTo(20), { base: SEVERITY.error, body: (n) => `order ${n} failed`, form: form(walk), isError: true }),
  warnings: (walk) => walk.send(walk.upTo(20), { base: SEVERITY.warn, body: (n) => `order ${n} is late`, form: form(walk) }),
  names: (walk) => walk.send(walk.upTo(60), { base: SEVERITY.info, body: (n) => `user ${letters(n)} logged in` }),
  'another service': (walk) => walk.send(walk.upTo(30), { service: `s${walk.upTo(6)}`, base: SEVERITY.info, body: (n) => `order ${n} was packed` }),
  'a trace': (walk) => walk.send(walk.upTo(150), { base: { ...SEVERITY.info, traceId: Buffer.alloc(16, walk.upTo(200)).toString('base64') }, body: (n) => `order ${n} was sent` }),
  sessions: (walk) => walk.send(walk.upTo(30), { base: { ...SEVERITY.info, attributes: [{ key: 'session', value: { stringValue: letters(walk.upTo(9)) } }] }, body: (n) => `order ${n} was seen` }),
  large: (walk) => walk.send(walk.upTo(8), { base: SEVERITY.error, body: (n) => `order ${n} ${'x'.repeat(2000)}`, form: form(walk), isError: true }),
  'a stack trace': (walk) => walk.send(walk.upTo(40), { base: {}, body: (n) => `    at f${n} (a.js:${n}:1)` }),
  mails: (walk) => walk.send(walk.upTo(5), { base: SEVERITY.info, body: (n) => `order ${n} of user${n}@example.com` }),
  async 'many at once'(walk) {
    const loads = Array.from({ length: 8 }, () => walk.send(walk.upTo(300), { base: SEVERITY.info, body: (n) => `order ${n} was counted`, form: form(walk) }));
    await Promise.all(loads);
  },
  upstream(walk) {
    const [answer, limit = 2097152] = walk.one(UPSTREAM);
    Object.assign(walk.stub, { answer, limit });
    walk.log.push(String(answer ?? limit));
  },
  async 'upstream away and back'(walk) {
    await walk.stub.down();
    await ACTIONS.errors(walk);
    await pause(100);
    await walk.stub.up();
  },
  async reload(walk) {
    const count = async () => Object.entries(await walk.sidecar.metrics()).filter(([key]) => key.startsWith('lipservice_config_reloads_total')).reduce((sum, [, n]) => sum + n, 0);
    const before = await count();
    Object.assign(walk.settings, walk.write());
    walk.sidecar.signal('SIGHUP');
    await walk.sidecar.until('a reload', async () => (await count()) > before);
  },
  patterns: pageOf('admin', '/api/patterns?spark=1'),
  history: pageOf('admin', '/api/history'),
  summary: pageOf('admin', '/api/summary'),
  policies: pageOf('admin', '/api/policies'),
  'what if': (walk) => ask(walk, '/api/whatif', { span: walk.one(['1h', '24h']), set: { 'sampling.severity_rates.INFO': walk.random() } }),
  explain: (walk) => ask(walk, '/api/explain', request(3, { body: (n) => `order ${n} was placed` })),
  'a proposal': (walk) => ask(walk, '/api/policies/propose', {}),
  'a draft': (walk) => ask(walk, '/api/policies/draft', { document: `version: 1\nseverity_rates: {INFO: ${walk.one([0.1, 0.5, 1])}}\n`, by: 'walk', why: 'at random' }),
  'another version': (walk) => ask(walk, `/api/policies/${walk.one(['apply', 'rollback'])}`, { version: walk.upTo(5), by: 'walk', ...walk.one([{}, { shadow: true }]) }),
  async 'a tap'(walk) {
    const control = new AbortController();
    const tap = await fetch(`http://${walk.sidecar.addresses.admin}/api/tap`, { signal: control.signal });
    const reads = tap.text().catch(() => {});
    await ACTIONS.infos(walk);
    control.abort();
    await reads;
  },
  wait: (walk) => pause(walk.upTo(600)),
  SIGTERM: end(async (walk) => void (await walk.stop())),
  'SIGTERM under load': end(async (walk) => {
    const load = ACTIONS.errors(walk).catch(() => {}); // it may come too late
    await walk.stop();
    await load;
  }),
  'kill -9': end(async (walk) => {
    walk.sidecar.signal('SIGKILL');
    await walk.sidecar.end();
    walk.killed = true;
  }),
};

const until = Date.now() + seconds * 1000;
let walks = 0;
for (let seed = firstSeed; Date.now() < until; seed++) {
  for (const durability of ['memory', 'disk']) {
    const undo = [];
    const walk = new Walk({ after: (fn) => undo.push(fn) }, seed, durability);
    try {
      await walk.run();
      walks++;
      console.error(`seed ${seed}, ${durability}: ${walk.count} records sent, ${walk.stub.rows.length} arrived, ${walk.lost} lost`);
    } catch (error) {
      console.error(`seed ${seed}, ${durability}: ${walk.log.join(', ')}\n${JSON.stringify(walk.settings)}\n${walk.sidecar?.stderr.slice(-6000)}`);
      throw error;
    } finally {
      for (const fn of undo.reverse()) await fn();
    }
  }
}
console.log(JSON.stringify({ walks, steps: walks * STEPS }));
