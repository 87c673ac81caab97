// Every feature that makes, moves or drops records, by itself and in pairs, with durability
// memory and disk, through four endings: the books close in each, and exit is 0.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { directory } from './lib/disk.mjs';
import { encodeLogs, request } from './lib/otlp.mjs';
import { PostHogApp } from './lib/posthog_app.mjs';
import { PostHog } from './lib/posthog.mjs';
import { Sidecar, audit, balance, lastLine } from './lib/sidecar.mjs';

const AT_ONCE = 4; // cells

// ---- what is set

const BASE = { 'batch.max_age': '50ms', 'sampling.first.count': 0, 'shutdown.timeout': '10s', 'sampling.stamps': '[adjusted_count, pattern, family, reason]' };
const HASTY = { 'shutdown.timeout': '300ms' }; // nothing can be delivered anyway
const KEEP = { 'sampling.severity_rates.INFO': 1 };
const HALF = { 'sampling.severity_rates.INFO': 0.5 };
const NONE = { 'sampling.severity_rates.INFO': 0 };
const EVENTS = { 'events.enabled': true, 'events.interval': '200ms', 'events.learning': '1ms', 'events.summary_interval': '300ms' };
const FLOOR = { 'sampling.floor.max_per_second': 5, 'events.summary_interval': '300ms' };
const BUDGET = { 'sampling.budget.records_per_second': 1 };
const SMALL = { 'spool.max_bytes': '1MiB', 'queue.max_bytes': '1MiB', 'spool.when_full': 'drop_oldest' };
const SHORT = { 'queue.max_age': '1s', 'spool.max_age': '1s' };

// ---- how it is loaded: n names a record, and is in its body

const INFO = { severityNumber: 9 };
const ERROR = { severityNumber: 17, severityText: 'ERROR' };
const order = (n) => `order ${n} was placed`;
const NOISE = randomBytes(3 << 20).toString('base64'); // nothing that zstd makes small
const letters = (n) => `x${String(n).replace(/\d/g, (digit) => 'abcdefghij'[digit])}`;

const infos = (count) => (cell) => cell.send(count, { base: INFO, body: order });
const errors = (count) => (cell) => cell.send(count, { base: ERROR, body: (n) => `order ${n} failed` });
const withError = async (cell) => {
  await infos(20)(cell);
  await errors(1)(cell);
};
const names = (cell) => cell.send(40, { base: INFO, body: (n) => `user ${letters(n)} logged in` });
const mails = (cell) => cell.send(5, { base: INFO, body: (n) => `order ${n} of user${n}@example.com` });
const fresh = (cell) => cell.send(3, { base: INFO, body: (n) => `${letters(n)} began` });
const services = async (cell) => {
  for (const service of ['a', 'b', 'c', 'd', 'e']) await cell.send(4, { service, base: INFO, body: order });
};
const oneTrace = (cell) => cell.send(150, { base: { ...INFO, traceId: Buffer.alloc(16, 7).toString('base64') }, body: order });
const sessions = async (cell) => {
  for (const session of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l'])
    await cell.send(3, { base: { ...INFO, attributes: [{ key: 'session', value: { stringValue: session } }] }, body: order });
};
const large = (count) => (cell) => cell.send(count, { base: INFO, body: (n) => `order ${n} ${'x'.repeat(1500)}` });
const megabytes = async (cell) => {
  for (let i = 0; i < 50; i++) await cell.send(40, { base: ERROR, body: (n) => `order ${n} ${NOISE.slice((n % 1000) * 4000, (n % 1000 + 1) * 4000)}` });
};
const traces = async (cell) => {
  assert.equal((await cell.sidecar.post(Buffer.from('a trace'), { path: '/v1/traces' })).status, 200);
  await infos(20)(cell);
};
const reloads = async (cell) => {
  await cell.reload();
  await infos(20)(cell);
};
const withTrace = async (cell) => {
  await errors(1)(cell);
  await cell.send(3, { base: {}, body: (n) => `    at f${n} (a.js:${n}:1)` });
};
const twoKeys = async (cell) => {
  await infos(10)(cell);
  await cell.send(10, { base: INFO, body: order, headers: { authorization: 'Bearer phc_client' } });
};
const withBad = (cell) => cell.send(5, { base: INFO, body: order, bad: 1 });
const joinable = (cell) => cell.send(4, { base: INFO, body: (n) => (n % 4 === 0 ? order(n) : `    at f${n}`), arrives: (bodies) => [bodies.join('\n')] });
const both = (...loads) => async (cell) => {
  for (const load of loads) await load(cell);
};

// ---- what shows that it was at work: of {ledger, metrics, cell}

const shadowOf = async ({ cell }, name) => JSON.parse(await cell.sidecar.page('admin', '/api/shadow')).lanes.find((lane) => lane.lane === name);
const delivers = ({ ledger }) => ledger.delivered > 0;
const samples = ({ ledger }) => ledger.sampled_out > 0;
const tells = ({ cell }) => cell.own().length > 0;
const sings = ({ cell }) => cell.own().some((row) => row.attributes['lipservice.canary']);
const paces = ({ metrics }) => metrics['lipservice_budget_rate{unit="bytes"}'] > 0;
const makesEvents = ({ metrics }) => Object.entries(metrics).some(([key, n]) => key.startsWith('lipservice_events_total{') && n > 0);
const suppresses = ({ metrics, cell }) =>
  metrics['lipservice_records_dropped_total{reason="floor_limit"}'] > 0 && cell.own().some((row) => row.event_name === 'lipservice.errors_suppressed');
const redacts = ({ metrics }) => metrics['lipservice_records_dropped_total{reason="redaction"}'] > 0;
const releases = ({ ledger, cell }) => ledger.released > 0 && cell.stub.rows.some((row) => row.attributes['sampling.reason'] === '"error_context"');
const budgets = ({ metrics }) => metrics['lipservice_records_dropped_total{reason="budget"}'] > 0;
const overspends = ({ ledger }) => ledger.lost.budget > 0;
const observes = async (look) => look.metrics.lipservice_observing === 1 && (await shadowOf(look, 'enforced')).sampled_out > 0;
const shadows = async (look) => (await shadowOf(look, 'shadow')).sampled_out > 0;
const unites = ({ metrics }) => metrics.lipservice_pattern_aliases > 0;
const hasTwoKeys = ({ cell }) => new Set(cell.stub.logs.map((r) => r.token).filter(Boolean)).size === 2;
const rejects = ({ ledger }) => ledger.rejected > 0;
const joins = ({ ledger }) => ledger.joined > 0;
const drops = ({ ledger }) => ledger.dropped_by_rule > 0;
const overflows = ({ ledger }) => ledger.services['(other)']?.delivered > 0;
const relays = ({ cell }) => cell.stub.relayed.traces.length > 0;
const reloaded = ({ metrics }) => metrics['lipservice_config_reloads_total{outcome="accepted"}'] > 0;
const splits = ({ cell }) => cell.stub.logs.some((r) => r.status === 413);
const isRefused = ({ ledger }) => ledger.lost.refused_upstream > 0;
const expires = ({ ledger }) => ledger.lost.expired > 0;
const makesRoom = ({ ledger }) => ledger.lost.spool_full > 0;

// keeps: every record is kept. lost: reasons for which it may lose records. repeats: loaded
// again until it works. rejects: some of what it loads. away: so is the upstream, at the first load. upstream: the options of
// the stand-in. refuses: the rows that it answers 400 for.
const FEATURES = [
  { name: 'nothing',                    set: KEEP,                                     load: infos(20), works: [delivers], keeps: true },
  { name: 'sampling',                   set: HALF,                                     load: infos(20), works: [delivers, samples] },
  { name: 'drop rule',                  set: { ...KEEP, 'sampling.drop': '[{body: "user*"}]' }, load: both(infos(20), names), works: [delivers, drops] },
  { name: 'redaction drops records',    set: { ...KEEP, 'redaction.mode': 'enforce', 'redaction.action': 'drop_record' }, load: both(infos(20), mails), works: [delivers, redacts] },
  { name: 'redaction, context',         set: { ...NONE, 'redaction.mode': 'enforce', 'redaction.action': 'drop_record' }, load: both(mails, withError), works: [releases] },
  { name: 'events',                     set: { ...HALF, ...EVENTS },                   load: infos(20), works: [tells, samples] },
  { name: 'floor limit',                set: { ...KEEP, ...FLOOR },                    load: errors(30), works: [suppresses] },
  { name: 'context',                    set: NONE,                                     load: withError, works: [releases] },
  { name: 'trace line by line',         set: NONE,                                     load: withTrace, works: [releases] },
  { name: 'keys of clients',            set: { ...KEEP, 'auth.upstream_key': 'client_or_configured' }, load: twoKeys, works: [delivers, hasTwoKeys], keeps: true, upstream: { projects: ['phc_e2e', 'phc_client'] } },
  { name: 'bad record',                 set: KEEP,                                     load: withBad, works: [delivers, rejects], keeps: true, rejects: true },
  { name: 'multiline',                  set: { ...KEEP, multiline: 'join' },           load: joinable, works: [delivers, joins], keeps: true },
  { name: 'budget',                     set: { ...KEEP, ...BUDGET },                   load: infos(40), works: [delivers, budgets], repeats: true },
  { name: 'overspent budget',           set: { ...KEEP, ...BUDGET, 'sampling.keep': '[{body: "order*"}]' }, load: infos(40), works: [delivers, overspends], repeats: true, keeps: true, lost: ['budget'] },
  { name: 'a crowd of one trace',       set: HALF,                                     load: oneTrace, works: [delivers, samples] },
  { name: 'sessions by a key',          set: { ...HALF, 'sampling.key': 'session' },   load: sessions, works: [delivers, samples] },
  { name: 'observe',                    set: { ...HALF, mode: 'observe' },             load: infos(20), works: [delivers, observes], keeps: true },
  { name: 'shadow',                     set: { ...KEEP, shadow: true },                load: infos(20), works: [delivers, shadows], keeps: true },
  { name: 'families',                   set: HALF,                                     load: names, works: [delivers, unites], repeats: true },
  { name: 'services past the bound',    set: { ...HALF, ...EVENTS, 'sampling.max_services': 4 }, load: services, works: [overflows, tells] },
  { name: 'relay',                      set: KEEP,                                     load: traces, works: [relays, delivers], keeps: true },
  { name: 'reload',                     set: {},                                       load: reloads, works: [reloaded, delivers] },
  { name: '413',                        set: KEEP,                                     load: large(8), works: [splits, delivers], keeps: true, upstream: { limit: 4000 } },
  { name: 'refused record',             set: KEEP,                                     load: infos(20), works: [isRefused, delivers], keeps: true, refuses: (row) => row.body === order(3) && 400, lost: ['refused_upstream'] },
  { name: 'expired',                    set: { ...KEEP, ...SHORT },                    load: infos(20), works: [expires], keeps: true, away: true, lost: ['expired'] },
  { name: 'drop oldest',                set: { ...KEEP, ...SMALL },                    load: megabytes, works: [makesRoom], keeps: true, away: true, lost: ['spool_full'], only: 'disk' },
  { name: 'events, boost',              set: { ...HALF, ...EVENTS, 'sampling.anomaly_boost': 4 }, load: infos(20), works: [tells, samples] },
  { name: 'events, floor limit',        set: { ...HALF, ...EVENTS, ...FLOOR },         load: both(infos(20), errors(30)), works: [tells, suppresses] },
  { name: 'events, context',            set: { ...NONE, ...EVENTS },                   load: withError, works: [tells, releases] },
  { name: 'context, budget',            set: { ...KEEP, ...BUDGET },                   load: both(infos(40), errors(1)), works: [releases, budgets], repeats: true, lost: ['budget'] },
  { name: 'canary',                     set: { ...KEEP, app: true },                   load: infos(20), works: [delivers, sings], keeps: true },
  { name: 'canary, observe, events',    set: { ...HALF, ...EVENTS, mode: 'observe', app: true }, load: both(infos(20), fresh), works: [observes, sings], repeats: true, keeps: true },
  { name: 'canary, quota, reload',      set: { 'sampling.budget.source': 'posthog', app: true }, load: reloads, works: [sings, paces, reloaded] },
  { name: 'observe, events',            set: { ...HALF, ...EVENTS, mode: 'observe' },  load: both(infos(20), fresh), works: [observes, tells], repeats: true, keeps: true },
  { name: 'shadow, families, reload',   set: { shadow: true },                         load: both(reloads, names), works: [shadows, unites, reloaded], repeats: true },
  { name: '413, context',               set: NONE,                                     load: both(large(8), errors(1)), works: [splits, releases], upstream: { limit: 4000 } },
  { name: 'refused record, events',     set: { ...HALF, ...EVENTS },                   load: both(infos(20), errors(5)), works: [isRefused, tells], refuses: (row) => row.body === 'order 20 failed' && 400, lost: ['refused_upstream'] },
  { name: 'expired, events',            set: { ...HALF, ...EVENTS, ...SHORT },         load: infos(20), works: [expires, makesEvents], away: true, lost: ['expired'] },
  { name: 'drop oldest, events',        set: { ...HALF, ...EVENTS, ...SMALL },         load: both(infos(20), megabytes), works: [makesRoom, makesEvents], away: true, lost: ['spool_full'], only: 'disk' },
];

// ---- one cell

const isOwn = (row) => row.instrumentation_scope.startsWith('lipservice@');

class Cell {
  constructor(t, feature, durability) {
    Object.assign(this, { t, feature, durability, count: 0, sent: {}, names: new Set(), times: 0, isFirst: true });
    this.dir = directory(t);
    this.config = path.join(this.dir, 'config.yaml');
  }

  async open(more) {
    this.stub = await PostHog.start(this.feature.upstream);
    this.t.after(() => this.stub.down());
    this.stub.refuses = this.feature.refuses ?? null;
    this.#write();
    await this.start(more);
  }

  // The next process on the same settings and directory.
  async start(more = {}) {
    const { shadow, app, ...set } = { ...BASE, ...this.feature.set, durability: this.durability, ...more };
    if (this.durability === 'disk') set['spool.directory'] = path.join(this.dir, 'spool');
    else for (const key of Object.keys(set)) if (key.startsWith('spool.')) delete set[key];
    if (shadow) {
      set['shadow.policy_file'] = path.join(this.dir, 'shadow.yaml');
      writeFileSync(set['shadow.policy_file'], 'version: 1\nseverity_rates: {INFO: 0.25}\n');
    }
    if (app) {
      this.app ??= await PostHogApp.start(this.t, this.stub, { delayMs: 0, quota: { limitMb: 1000, baseMb: 0 } });
      Object.assign(set, { 'posthog.app_host': this.app.url, 'posthog.personal_api_key': 'phx_e2e', 'posthog.check_interval': '1s', 'posthog.visible_after': '1s', 'posthog.role': 'leader' });
    }
    this.sidecar = await Sidecar.start(this.t, { set, stub: this.stub, args: ['--config', this.config] });
  }

  #write() {
    writeFileSync(`${this.config}.new`, `sampling: {severity_rates: {INFO: ${this.times++ % 2 === 0 ? 0.5 : 1}}}\n`);
    renameSync(`${this.config}.new`, this.config);
  }

  async reload() {
    const count = async () => (await this.sidecar.metrics())['lipservice_config_reloads_total{outcome="accepted"}'];
    const before = await count();
    this.#write();
    this.sidecar.signal('SIGHUP');
    await this.sidecar.until('a reload', async () => (await count()) > before);
  }

  // bad: so many more that cannot be read; arrives: what becomes of the bodies, if not they.
  async send(n, { service = 'shop', base, body, headers, bad = 0, arrives = (bodies) => bodies }) {
    const first = this.count;
    this.count += n;
    const sent = request(n, { service, base, body: (i) => body(first + i) });
    for (let i = 0; i < bad; i++) sent.resourceLogs[0].scopeLogs[0].logRecords.push({ body: 'text' });
    const answer = bad > 0 ? await this.sidecar.post(JSON.stringify(sent), { type: 'application/json', headers }) : await this.sidecar.post(encodeLogs(sent), { headers });
    await answer.arrayBuffer();
    assert.equal(answer.status, 200);
    this.sent[service] = (this.sent[service] ?? 0) + n + bad;
    for (const name of arrives(Array.from({ length: n }, (_, i) => body(first + i)))) this.names.add(name);
  }

  own() {
    return this.stub.rows.filter(isOwn);
  }

  // The bodies of loaded records that have arrived, once each: nothing else has, and nothing twice.
  arrived() {
    const bodies = this.stub.rows.filter((row) => !isOwn(row)).map((row) => row.body);
    const once = new Set(bodies);
    assert.equal(bodies.length, once.size, 'duplicates');
    for (const body of once) assert.ok(this.names.has(body), `nobody sent ${body}`);
    return once;
  }

  // The first load: until the feature has been at work.
  async prove() {
    const { name, load, works, repeats } = this.feature;
    await load(this);
    await this.sidecar.until(`${name}: at work`, async () => {
      const look = { cell: this, ledger: await this.sidecar.ledger(), metrics: await this.sidecar.metrics() };
      balance(look.ledger);
      let done = true;
      for (const holds of works) done &&= await holds(look);
      if (!done && repeats) await load(this);
      return done;
    });
    if (!this.feature.away) await this.drained(); // no commit is delivered in part
  }

  // The upstream answers 503, and nothing that it has stored is unanswered.
  async away() {
    this.stub.answer = () => ({ status: 503 });
    await this.sidecar.until('nothing in flight', async () => (await this.sidecar.metrics()).lipservice_exporter_in_flight_requests === 0);
  }

  // The second load, of which something waits.
  async wait() {
    await this.feature.load(this);
    await this.sidecar.until('a backlog', async () => {
      if ((await this.sidecar.ledger()).queued > 0) return true;
      if (this.feature.repeats || this.feature.away) await this.feature.load(this);
      return false;
    });
  }

  back() {
    this.stub.answer = null;
  }

  // Pages are not of one moment, and events come between them; each is in balance by itself.
  async audit() {
    let ledger;
    await this.sidecar.until('pages that agree', async () => {
      balance(await this.sidecar.ledger());
      ledger = await audit(this.sidecar);
      return true;
    });
    for (const [service, n] of this.#apart()) assert.equal(ledger.services[service].received, n, service);
    return ledger;
  }

  async drained() {
    await this.sidecar.until('an empty queue', async () => (await this.sidecar.ledger()).queued === 0);
    const ledger = await this.audit();
    const rows = (service) => this.stub.rows.filter((row) => row.service_name === service && !isOwn(row)).length;
    for (const [service] of this.#apart()) assert.equal(ledger.services[service].delivered, rows(service), service);
  }

  // What was sent, by services that the ledger of this process counts apart.
  #apart() {
    return 'sampling.max_services' in this.feature.set || !this.isFirst ? [] : Object.entries(this.sent);
  }

  // SIGTERM, exit 0, no sanitizer; and the counts of the last line, which `reasons` may hold losses of.
  async stop(reasons = []) {
    await this.sidecar.stop();
    const last = lastLine(this.sidecar);
    const allowed = [...(this.feature.lost ?? []), ...reasons].map((reason) => `lost_${reason}`);
    for (const key of Object.keys(last).filter((name) => name.startsWith('lost_'))) assert.ok(allowed.includes(key), `${key}: ${JSON.stringify(last)}`);
    return last;
  }

  loaded() {
    return Object.values(this.sent).reduce((sum, n) => sum + n, 0);
  }
}

// All that was kept has arrived, once, or was lost for the feature's own reasons.
function checkWhole(cell, last) {
  const arrived = cell.arrived();
  assert.equal(last.left_on_disk, 0);
  assert.equal(last.rejected > 0, cell.feature.rejects === true);
  assert.equal(cell.stub.rows.length, last.delivered, 'delivered and stored');
  if (!cell.feature.away) assert.equal(last.received, cell.loaded() + cell.own().length, 'received');
  if (cell.feature.keeps) assert.equal(arrived.size + last.lost, cell.names.size, 'all is kept, and arrived or lost');
}

// ---- how it ends

const SUDDEN = 'SIGTERM while the upstream is away';
const ENDINGS = {
  async 'all delivered, then SIGTERM'(cell) {
    await cell.prove();
    await cell.feature.load(cell);
    await cell.drained();
    checkWhole(cell, await cell.stop());
  },

  async 'SIGTERM right behind the last answer'(cell) {
    await cell.prove();
    await cell.feature.load(cell);
    checkWhole(cell, await cell.stop());
  },

  async 'upstream away, back, then SIGTERM'(cell) {
    if (cell.feature.away) await cell.away();
    await cell.prove();
    await cell.away();
    await cell.wait();
    await cell.sidecar.until('an answer of 503', () => cell.stub.logs.some((r) => r.status === 503));
    await cell.audit();
    cell.back();
    await cell.drained();
    checkWhole(cell, await cell.stop());
  },

  async [SUDDEN](cell) {
    if (cell.feature.away) await cell.away();
    await cell.prove();
    await cell.away();
    await cell.wait();
    await cell.stub.down();
    await cell.audit();
    const isDisk = cell.durability === 'disk';
    const last = await cell.stop(isDisk ? [] : ['shutdown']);
    const arrived = cell.arrived();
    assert.equal(cell.stub.rows.length, last.delivered, 'delivered and stored');
    if (!isDisk) {
      assert.equal(last.left_on_disk, 0);
      assert.ok(last.lost_shutdown > 0, JSON.stringify(last));
      const events = last.received - cell.loaded() - cell.own().length; // that did not arrive
      if (cell.feature.keeps) assert.equal(last.lost, cell.names.size - arrived.size + events, 'what did not arrive is lost');
      return;
    }
    assert.ok(last.left_on_disk > 0, JSON.stringify(last));
    cell.back();
    await cell.stub.up();
    cell.isFirst = false;
    const before = cell.stub.rows.length;
    await cell.start();
    await cell.sidecar.until('what was left', async () => (await cell.sidecar.metrics()).lipservice_spool_records === 0);
    await cell.drained();
    const metrics = await cell.sidecar.metrics();
    const recovered = metrics.lipservice_spool_recovered_records_total;
    const expired = metrics['lipservice_spool_lost_records_total{reason="expired"}']; // before they were read
    assert.equal(recovered + expired, last.left_on_disk, 'recovered');
    const next = await cell.stop();
    assert.equal(next.left_on_disk, 0);
    assert.equal(cell.stub.rows.length - before, next.delivered, 'delivered and stored');
    const whole = last.kept + last.released + next.kept + next.released - recovered;
    assert.equal(cell.stub.rows.length + last.lost + expired + next.lost, whole, 'all that was kept has arrived or was lost');
    if (cell.feature.keeps) assert.equal(cell.arrived().size + last.lost + expired + next.lost, cell.names.size);
  },
};
const AWAY_ENDINGS = ['upstream away, back, then SIGTERM', SUDDEN];

test('features, durability, endings', { concurrency: AT_ONCE, timeout: 600000 }, async (t) => {
  const cells = [];
  for (const feature of FEATURES)
    for (const durability of ['memory', 'disk'].filter((name) => !feature.only || feature.only === name))
      for (const [ending, run] of Object.entries(ENDINGS).filter(([name]) => !feature.away || AWAY_ENDINGS.includes(name)))
        cells.push(t.test(`${feature.name}; ${durability}; ${ending}`, { timeout: 120000 }, async (tt) => {
          const cell = new Cell(tt, feature, durability);
          await cell.open(ending === SUDDEN ? HASTY : {});
          await run(cell);
        }));
  await Promise.all(cells);
});

test('a commit that is delivered in part: the last line counts its records once', async (t) => {
  const feature = { set: { ...KEEP, 'batch.max_records': 10, 'exporters.posthog.concurrency': 1 }, load: infos(25) };
  const cell = new Cell(t, feature, 'disk');
  await cell.open(HASTY);
  cell.stub.faults = [null];
  cell.stub.answer = () => ({ status: 503 });
  await feature.load(cell);
  await cell.sidecar.until('the first ten', async () => (await cell.sidecar.ledger()).delivered === 10);
  const last = await cell.stop();
  assert.deepEqual([last.delivered, last.left_on_disk], [10, 15]);
  cell.isFirst = false;
  cell.back();
  await cell.start();
  await cell.sidecar.until('the rest', async () => (await cell.sidecar.metrics()).lipservice_spool_records === 0);
  await cell.drained();
  await cell.stop();
  assert.equal(new Set(cell.stub.rows.map((row) => row.body)).size, 25); // the commit is sent again, whole
});
