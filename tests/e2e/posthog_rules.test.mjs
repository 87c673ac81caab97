// The part of our policy that PostHog's drop rules can say: what they drop is a part of what is
// dropped here, and who has rules there keeps them.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs } from './lib/otlp.mjs';
import { PostHog } from './lib/posthog.mjs';
import { FAULTS, PostHogApp } from './lib/posthog_app.mjs';
import { readBack } from './lib/posthog_rows.mjs';
import { droppedBy } from './lib/posthog_rules.mjs';
import { closeLedger, KEY, run, Sidecar } from './lib/sidecar.mjs';

const POLICY = `
sampling:
  global_rate: 1
  severity_rates: {TRACE: 0, DEBUG: 1, INFO: 1, WARN: 1}
  first: {count: 0}
  error_context: {bytes: 0}
  keep:
    - {service: "pay*", severity: WARN}
    - {body: "*audit*"}
    - {attributes: {tenant: "big*"}}
    - {service: shop, attributes: {plan: gold}}
  drop:
    - {service: web, body: "GET /health*"}
    - {attributes: {http.route: /ping}}
    - {severity: [DEBUG, ERROR], service: "*-worker"}
    - {body: "*cache hit*"}
    - {service: shop, severity: INFO, attributes: {status: "20*", region: eu}}
    - {service: "p*y", body: "tick"}
    - {pattern: "lps1:0123456789abcdef"}
`;
const ALL = 100000;

function policyFile(t, text = POLICY) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-e2e-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const file = path.join(dir, 'c.yaml');
  writeFileSync(file, text);
  return file;
}

async function standIn(t, options = {}) {
  const stub = await PostHog.start({ projects: [KEY] });
  t.after(() => stub.down());
  return { stub, app: await PostHogApp.start(t, stub, { delayMs: 0, ...options }) };
}

const command = (app, file, args, options = {}) =>
  run(['posthog', 'rules', ...args, '--config', file, '--set', `exporters.posthog.host=${app.stub.url}`, '--set', `posthog.app_host=${app.url}`], { env: { POSTHOG_PERSONAL_API_KEY: 'phx_e2e', POSTHOG_API_KEY: KEY }, ...options });

// A generator of its own, so that each run has the same records.
function dice(seed) {
  let s = seed;
  const next = () => ((s = (Math.imul(s, 1664525) + 1013904223) >>> 0) / 4294967296);
  return { next, pick: (list) => list[Math.floor(next() * list.length)], chance: (p) => next() < p };
}

// The same text in another case: what the rules there may drop and ours does not.
const recased = (text) => text.replace(/[a-z]/i, (c) => (c === c.toLowerCase() ? c.toUpperCase() : c.toLowerCase()));

const SERVICES = ['web', 'shop', 'payments', 'pay', 'play', 'mail-worker', 'worker', ''];
const BODIES = ['GET /health', 'GET /healthz 200', 'GET /', 'the cache hit 7 times', 'cache miss', 'audit: cache hit', 'tick', 'tick tock', 'panic: cache hit', 'ERROR cache hit', 'E0405 12:00:00.000000 1 a.go:1] cache hit', 'Caused by: cache hit', 'line one\ncache hit', '{"msg":"cache hit"}', '(cache hit)+', 'GET /health?x=[a-z]*', 'größe cache hit'];
const SEVERITIES = [{ severityNumber: 5 }, { severityNumber: 9 }, { severityNumber: 9, severityText: 'ERROR' }, { severityNumber: 13 }, { severityNumber: 17 }, { severityNumber: 21 }, { severityNumber: 1 }, {}, { severityText: 'Warning' }, { severityText: 'critical' }, { severityText: 'debug' }, { severityNumber: 3, severityText: 'x' }];
const VALUES = { 'http.route': ['/ping', '/pong', '/ping/'], tenant: ['bigcorp', 'small', 'a big one'], plan: ['gold', 'free'], status: [200, 204, '200', 500, true, 2.5, 20], region: ['eu', 'us'] };

function generate(count) {
  const d = dice(7);
  const records = [];
  for (let i = 0; i < count; i++) {
    const attributes = [{ key: 'id', value: { stringValue: String(i) } }];
    const recase = d.chance(0.03);
    let isRecased = false;
    const text = (value) => {
      const other = recase ? recased(value) : value;
      isRecased ||= other !== value;
      return other;
    };
    for (const [key, values] of Object.entries(VALUES)) {
      if (!d.chance(0.3)) continue;
      const value = d.pick(values);
      attributes.push({ key, value: typeof value === 'string' ? { stringValue: text(value) } : typeof value === 'boolean' ? { boolValue: value } : Number.isInteger(value) ? { intValue: value } : { doubleValue: value } });
    }
    if (d.chance(0.02)) attributes.push({ key: 'exception.type', value: { stringValue: 'java.lang.E' } });
    if (d.chance(0.02)) attributes.push({ key: 'sampling.priority', value: { intValue: 1 } });
    if (d.chance(0.02) && !attributes.some((a) => a.key === 'tenant')) attributes.push({ key: 'tenant', value: { arrayValue: { values: [{ stringValue: 'bigcorp' }] } } });
    const service = text(d.pick(SERVICES));
    const kind = d.next();
    const body = kind < 0.9 ? { stringValue: text(d.pick(BODIES)) } : kind < 0.94 ? { kvlistValue: { values: [{ key: 'msg', value: { stringValue: 'cache hit' } }] } } : kind < 0.96 ? { intValue: 5 } : kind < 0.98 ? { boolValue: true } : undefined;
    records.push({ service, isRecased, record: { ...d.pick(SEVERITIES), ...(body && { body }), attributes } });
  }
  return records;
}

function requests(records) {
  const now = BigInt(Date.now()) * 1000000n;
  const list = [];
  for (let i = 0; i < records.length; i += 2000) {
    const groups = new Map();
    for (const { service, record } of records.slice(i, i + 2000)) {
      if (!groups.has(service)) groups.set(service, []);
      groups.get(service).push({ timeUnixNano: String(now), ...record });
    }
    list.push(encodeLogs({ resourceLogs: [...groups].map(([service, logRecords]) => ({ resource: { attributes: [{ key: 'service.name', value: { stringValue: service } }] }, scopeLogs: [{ scope: { name: 'tests' }, logRecords }] })) }));
  }
  return list;
}

test('what the exported rules drop of 100,000 records is a part of what ours drop', { timeout: 240000 }, async (t) => {
  const file = policyFile(t);
  const here = await standIn(t);
  const there = await standIn(t);
  const records = generate(ALL);
  const sidecar = await Sidecar.start(t, { stub: here.stub, args: ['--config', file], set: { 'batch.max_age': '50ms' } });
  for (const bytes of requests(records)) {
    assert.equal((await sidecar.post(bytes)).status, 200);
    assert.equal((await fetch(`${there.stub.url}/i/v1/logs`, { method: 'POST', body: bytes, headers: { authorization: `Bearer ${KEY}` } })).status, 200);
  }
  await sidecar.until('an empty queue', async () => (await sidecar.ledger()).queued === 0, { timeout: 120000 });
  const idOf = (row) => Number(row.attributes.id);
  const kept = new Set(here.stub.rows.map((row) => idOf(readBack(row))));
  const ours = records.map((_, i) => i).filter((i) => !kept.has(i));

  const out = await command(there.app, file, ['--apply']);
  assert.equal(out.code, 0, out.stderr);
  const rules = there.app.store()['logs/sampling_rules'];
  assert.deepEqual(rules.map((r) => [r.name, r.enabled]), [0, 1, 2, 3, 4, 5].map((n) => [`[lipservice] drop[${n}]`, false]).concat([['[lipservice] severity_rates.TRACE', false]]));
  for (const rule of rules) assert.deepEqual(rule.config.filter_group.values[0], { key: 'severity_text', type: 'log_attribute', operator: 'is_not', value: ['error', 'fatal'] });
  assert.equal(there.stub.rows.length, ALL);
  const enabled = rules.map((rule) => ({ ...rule, enabled: true }));
  const theirs = [];
  for (const stored of there.stub.rows) {
    const row = readBack(stored);
    if (droppedBy(rules, row)) assert.fail('a rule that is not enabled');
    const rule = droppedBy(enabled, row);
    if (!rule) continue;
    assert.ok(!['error', 'fatal'].includes(row.severity_text) && !row.attributes['exception.type'], `an error was dropped by ${rule.name}: ${row.body}`);
    theirs.push(idOf(row));
  }
  const more = theirs.filter((i) => kept.has(i));
  const unwarned = more.filter((i) => !records[i].isRecased);
  assert.deepEqual(unwarned.slice(0, 3).map((i) => JSON.stringify(records[i])), []);
  assert.ok(more.length > 20, `${more.length}: the difference that is warned of exists`);
  assert.match(out.stdout, /^mind +drop\[0\]: PostHog's rules ignore case/m);
  assert.ok(theirs.length > 0.5 * ours.length, `${theirs.length} of ${ours.length}`);
  assert.match(out.stdout, /^not +drop\[6\]: a pattern is more/m);
  t.diagnostic(`dropped here ${ours.length}, there ${theirs.length}, of them kept here ${more.length}`);
  await closeLedger(sidecar, { received: ALL });
});

test('applied twice it is there once; rules of others stay where they are', async (t) => {
  const { app } = await standIn(t);
  const store = app.store();
  const theirs = (name) => store.create('logs/sampling_rules', { name, rule_type: 'path_drop', enabled: true, config: { patterns: ['^/a'] } });
  const first = theirs('first');
  theirs('second');
  const file = policyFile(t);
  const shown = () => store.list('logs/sampling_rules').map((r) => [r.name, r.enabled, r.version]);
  const printed = await command(app, file, ['--print'], { env: {} });
  assert.equal(printed.code, 0, printed.stderr);
  const document = JSON.parse(printed.stdout);
  assert.equal(document.rules.length, 7);
  const diff = await command(app, file, ['--diff']);
  assert.equal(diff.code, 0, diff.stderr);
  assert.match(diff.stdout, /^create +\[lipservice\] drop\[0\]$/m);
  assert.match(diff.stdout, /^2 of others are not touched$/m);
  assert.equal(store['logs/sampling_rules'].length, 2);

  assert.equal((await command(app, file, ['--apply'])).code, 0);
  const once = shown();
  assert.equal(once.length, 9);
  assert.deepEqual(once.slice(0, 2).map(([name]) => name), ['first', 'second']);
  const again = await command(app, file, ['--apply']);
  assert.equal(again.code, 0);
  assert.equal((again.stdout.match(/^same /gm) ?? []).length, 7);
  assert.deepEqual(shown(), once);

  // Somebody enables one and changes another.
  const [a, b] = store['logs/sampling_rules'].filter((r) => r.name.startsWith('[lipservice]'));
  store.change('logs/sampling_rules', a, { enabled: true });
  store.change('logs/sampling_rules', b, { config: { patterns: ['.*'] }, enabled: true });
  const mended = await command(app, file, ['--apply']);
  assert.match(mended.stdout, /^changed +\[lipservice\] drop\[1\]$/m);
  assert.equal(a.enabled, true, 'what was looked at stays enabled');
  assert.equal(b.enabled, false);
  assert.deepEqual(b.config.patterns ?? [], []);

  // Another policy: what it does not say any more goes.
  const other = policyFile(t, 'sampling: {drop: [{service: a}]}\n');
  assert.equal((await command(app, other, ['--apply'])).code, 0);
  assert.deepEqual(shown().map(([name]) => name), ['first', 'second', '[lipservice] drop[0]']);
  assert.equal((await command(app, other, ['--remove'])).code, 0);
  assert.deepEqual(shown().map(([name]) => name), ['first', 'second']);
  assert.equal(first.version, 1);
});

test('stopped at any request and repeated, the end is the same', async (t) => {
  const file = policyFile(t);
  const whole = await standIn(t);
  assert.equal((await command(whole.app, file, ['--apply'])).code, 0);
  const end = (app) => app.store().list('logs/sampling_rules').map((r) => JSON.stringify([r.name, r.rule_type, r.enabled, r.config]));
  const want = end(whole.app);
  for (const stopAt of [1, 2, 4, 7]) {
    const { app } = await standIn(t);
    let writes = 0;
    const isKilled = stopAt % 2 === 0; // while it waits for an answer
    app.fault = (request) => (request.method !== 'GET' && ++writes === stopAt ? (isKilled ? FAULTS.hang : FAULTS.failed) : null);
    const stopped = await command(app, file, ['--apply'], { timeout: isKilled ? 3000 : 20000 });
    assert.deepEqual([stopped.code, stopped.signal], isKilled ? [null, 'SIGKILL'] : [69, null], stopped.stderr);
    if (!isKilled) assert.match(stopped.stderr, /the same command goes on/);
    assert.equal(app.store()['logs/sampling_rules'].length, stopAt - 1);
    app.fault = null;
    assert.equal((await command(app, file, ['--apply'])).code, 0);
    assert.deepEqual(end(app), want, `stopped at ${stopAt}`);
  }
  // Done there, and the answer lost: the rule is there, and not twice.
  const { app } = await standIn(t);
  app.beforeWrite = (self) => self.server.closeAllConnections();
  await command(app, file, ['--apply']);
  app.beforeWrite = null;
  assert.equal((await command(app, file, ['--apply'])).code, 0);
  assert.deepEqual(end(app), want);
});

test('each fault is a clear sentence, and nothing is half done', async (t) => {
  const file = policyFile(t);
  const { app } = await standIn(t);
  const faults = [
    [{ status: 401, headers: { 'content-type': 'application/json' }, body: '{"type":"authentication_error","code":"authentication_failed","detail":"x"}' }, 78, /key/i],
    [FAULTS.failed, 69, /500/],
    [FAULTS.gateway, 69, /502/],
    [FAULTS.login, 69, /redirect|302/i],
  ];
  for (const [fault, code, sentence] of faults) {
    app.fault = (request) => (request.path.includes('sampling_rules') ? fault : null);
    const out = await command(app, file, ['--apply']);
    assert.equal(out.code, code, out.stderr);
    assert.match(out.stderr, sentence);
    assert.equal(out.stderr.trim().split('\n').length, 1, out.stderr);
    assert.equal(app.store()['logs/sampling_rules'].length, 0);
  }
  app.fault = null;
  app.flagsOff.add('drop_rules');
  const off = await command(app, file, ['--apply']);
  assert.equal(off.code, 78, off.stderr);
  app.flagsOff.clear();
  app.repeatsPages = true;
  app.store().create('logs/sampling_rules', { name: 'x', rule_type: 'path_drop', config: { patterns: ['a'] } });
  const repeated = await command(app, file, ['--apply']);
  assert.match(repeated.stderr, /same page twice/);
  assert.equal(app.store()['logs/sampling_rules'].length, 1);
  const none = await command(app, file, []);
  assert.equal(none.code, 64);
  assert.match(none.stderr, /--print --diff --apply --remove/);
});
