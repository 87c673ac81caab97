// Policies are versions: proposed from counts, applied, counted as shadow, taken back.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs, request } from './lib/otlp.mjs';
import { closeLedger, KEEP_ALL, pair, run } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

const ERROR = 17;
const LOUD = { ...KEEP_ALL, 'sampling.first.count': 0, 'events.enabled': false, 'policy.propose_interval': 0, 'policy.max_drop_change': 1 };

const url = (sidecar, route) => `http://${sidecar.addresses.admin}${route}`;
const get = async (sidecar, route) => (await fetch(url(sidecar, route))).json();
const verb = (sidecar, ...args) => run(['policy', '--config', '/dev/null', '--admin', url(sidecar, ''), ...args]);

async function ask(sidecar, route, body) {
  const answer = await fetch(url(sidecar, route), { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  return { status: answer.status, ...(await answer.json()) };
}

async function send(sidecar, n, options) {
  assert.equal((await sidecar.post(encodeLogs(request(n, { service: 'shop', ...options })))).status, 200);
}

const noise = (sidecar, n = 3000) => send(sidecar, n, { body: (i) => `order ${i} paid` });
const states = async (sidecar) => (await get(sidecar, '/api/policies')).versions.map((v) => [v.version, v.by, v.state]);

function scratch(t) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-versions-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

test('a proposal is made, shown, applied and taken back', async (t) => {
  const { sidecar } = await pair(t, { set: LOUD });
  assert.deepEqual(await states(sidecar), [[1, 'config', 'active']]);
  assert.deepEqual(await ask(sidecar, '/api/policies/propose', {}), { status: 200, none: 'nothing was counted yet' });
  await noise(sidecar);
  await send(sidecar, 50, { body: (i) => `order ${i} failed`, base: { severityNumber: ERROR } });
  await until('the counts', async () => (await get(sidecar, '/api/history')).total.received.reduce((a, b) => a + b, 0) === 3050);
  const made = await ask(sidecar, '/api/policies/propose', {});
  assert.deepEqual([made.status, made.version, made.by, made.state, made.changes], [200, 2, 'auto', 'proposed', 1]);
  assert.match(made.why, /1 rates from the counts of the last hours: \d+% fewer bytes/);
  assert.ok(made.saving.bytes_a_month > 0);
  // The same again is none.
  assert.match((await ask(sidecar, '/api/policies/propose', {})).none, /as much as the last proposal/);

  const shown = await get(sidecar, '/api/policies?version=2');
  const [row] = shown.changes;
  assert.equal(shown.changes.length, 1);
  assert.deepEqual([row.template, row.service, row.severity, row.rate_now, row.protected_by], ['order <*> paid', 'shop', 'INFO', 1, null]);
  assert.ok(row.rate_proposed >= 0.25 && row.rate_proposed < 1 && row.bytes_a_month > 0);
  assert.match(row.why, /an hour: .* of them are enough to count it/);
  const id = row.pattern;
  assert.match(shown.document, new RegExp(`pattern_rates:\\n  "${id}": 0\\.`));

  // The document is a policy file.
  const file = path.join(scratch(t), 'policy.yaml');
  const text = (await verb(sidecar, 'show', '2')).stdout;
  assert.equal(text, shown.document);
  writeFileSync(file, text);
  assert.equal((await run(['validate', '--config', '/dev/null', '--set', `sampling.policy_file=${file}`])).code, 0);
  assert.match((await verb(sidecar, 'diff', '2')).stdout, new RegExp(`^\\+ ${id}: 0\\.\\d+\\n$`));

  const applied = await verb(sidecar, 'apply', '2', '--by', 'ann');
  assert.equal(applied.stdout, 'version 2 is active\n', applied.stderr);
  assert.deepEqual(await states(sidecar), [[1, 'config', 'past'], [2, 'auto', 'active']]);
  const before = (await sidecar.ledger()).kept;
  await noise(sidecar, 2000);
  const kept = (await sidecar.ledger()).kept - before;
  assert.ok(kept > 2000 * row.rate_proposed * 0.7 && kept < 2000 * row.rate_proposed * 1.3, `${kept} of 2000 at ${row.rate_proposed}`);
  assert.equal((await get(sidecar, '/api/patterns?spark=1')).patterns.find((p) => p.pattern === id).rate_origin, 'pattern');
  // In force it shows what it changed of the version before it.
  const active = await get(sidecar, '/api/policies?version=2');
  assert.equal(active.base, 1);
  assert.deepEqual(active.changes.map((r) => [r.pattern, r.rate_now, r.rate_proposed]), [[id, 1, row.rate_proposed]]);
  assert.ok(active.changes[0].bytes_a_month > 0);
  assert.ok((await get(sidecar, '/api/history')).marks.some((m) => m.kind === 'policy' && /policy 2/.test(m.text)));
  assert.equal((await ask(sidecar, '/api/policies/apply', { version: 2 })).status, 422);
  assert.equal((await ask(sidecar, '/api/policies/apply', { version: 1 })).status, 422);
  assert.equal((await ask(sidecar, '/api/policies/apply', { version: 99 })).status, 404);
  assert.equal((await ask(sidecar, '/api/policies/apply', {})).status, 400);
  assert.equal((await ask(sidecar, '/api/policies/apply', { version: 2, by: 'auto' })).status, 400);

  assert.equal((await verb(sidecar, 'rollback', '1', '--by', 'bob')).stdout, 'version 3 is active\n');
  assert.deepEqual(await states(sidecar), [[1, 'config', 'past'], [2, 'auto', 'past'], [3, 'bob', 'active']]);
  assert.equal((await get(sidecar, '/api/policies?version=3')).why, 'rollback to version 1');
  assert.equal((await get(sidecar, '/api/policies?version=3&as=diff&with=1')).diff, '');
  const all = (await sidecar.ledger()).kept;
  await noise(sidecar, 500);
  assert.equal((await sidecar.ledger()).kept - all, 500);
  const list = (await verb(sidecar, 'list')).stdout;
  assert.match(list, /3  active .* bob .* rollback to version 1/);
  await closeLedger(sidecar);
});

test('a draft is checked, counted as shadow, and then in force', async (t) => {
  const { sidecar } = await pair(t, { set: LOUD });
  await noise(sidecar, 500);
  const wrong = await ask(sidecar, '/api/policies/draft', { document: 'global_rate: 1\nseverity_rates: {ERROR: 0.5}\n', by: 'ann' });
  assert.equal(wrong.status, 422);
  assert.match(wrong.error, /policy:2:\d+: .*errors are always kept/);
  assert.equal((await ask(sidecar, '/api/policies/draft', { by: 'ann' })).status, 422);
  const made = await ask(sidecar, '/api/policies/draft', { document: 'global_rate: 1\nseverity_rates: {INFO: 0}\n', by: 'ann', why: 'quiet\nnow' });
  assert.deepEqual([made.version, made.state, made.by], [2, 'proposed', 'ann']);
  const tried = await ask(sidecar, '/api/policies/apply', { version: 2, by: 'ann', shadow: true });
  assert.equal(tried.state, 'shadow');
  await noise(sidecar, 700);
  assert.equal((await sidecar.ledger()).kept, 1200);
  const shadow = await get(sidecar, '/api/shadow');
  assert.match(JSON.stringify(shadow), /"name":"shadow"|"shadow"/);
  assert.equal((await ask(sidecar, '/api/policies/apply', { version: 2, by: 'ann' })).state, 'active');
  await noise(sidecar, 100);
  assert.equal((await sidecar.ledger()).kept, 1200);
  await closeLedger(sidecar);
});

test('what lowers something protected is counted first', async (t) => {
  const { sidecar } = await pair(t, { set: LOUD });
  const failed = { attributes: [{ key: 'http.response.status_code', value: { intValue: 503 } }] };
  await noise(sidecar, 500);
  await send(sidecar, 200, { body: (i) => `GET /cart/${i} took 5 ms`, base: failed });
  await until('the counts', async () => (await get(sidecar, '/api/history')).total.received.reduce((a, b) => a + b, 0) === 700);
  await ask(sidecar, '/api/policies/draft', { document: 'global_rate: 0.1\n', by: 'ann' });
  const first = await ask(sidecar, '/api/policies/apply', { version: 2, by: 'ann' });
  assert.equal(first.state, 'shadow');
  assert.match(first.note, /lowers 1 protected patterns \(its HTTP answers failed \(5xx\)\)/);
  assert.equal((await ask(sidecar, '/api/policies/apply', { version: 2, by: 'ann' })).state, 'active');
  await closeLedger(sidecar);
});

test('policy.apply: auto follows the counts by itself, and a reload keeps what is in force', async (t) => {
  const config = path.join(scratch(t), 'config.yaml');
  writeFileSync(config, 'sampling: {severity_rates: {INFO: 1}}\n');
  const { 'sampling.severity_rates.INFO': _, ...set } = { ...LOUD, 'policy.apply': 'auto', 'policy.propose_interval': '1s' };
  const { sidecar } = await pair(t, { set, args: ['--config', config] });
  await noise(sidecar);
  await until('a version of its own in force', async () => (await states(sidecar)).some(([, by, state]) => by === 'auto' && state === 'active'));
  const active = (await get(sidecar, '/api/policies')).active;
  sidecar.signal('SIGHUP');
  await until('the reload', async () => sidecar.log.some((line) => line.event === 'reloaded'));
  assert.ok((await get(sidecar, '/api/policies')).active >= active);
  assert.notEqual((await states(sidecar)).find(([, , state]) => state === 'active')[1], 'config');
  writeFileSync(config, 'sampling: {severity_rates: {INFO: 0.5}}\n');
  sidecar.signal('SIGHUP');
  await until('the configuration in force', async () => (await states(sidecar)).filter(([, by]) => by === 'config').length === 2);
  await closeLedger(sidecar);
});

test('auto: what lowers something protected is only counted, and not proposed again and again', async (t) => {
  const { sidecar } = await pair(t, { set: { ...LOUD, 'policy.apply': 'auto', 'policy.propose_interval': '1s' } });
  await send(sidecar, 3000, { body: (i) => `GET /cart/${i} took 5 ms`, base: { attributes: [{ key: 'http.response.status_code', value: { intValue: 503 } }] } });
  await until('a version that is only counted', async () => (await states(sidecar)).some(([, by, state]) => by === 'auto' && state === 'shadow'));
  assert.match((await ask(sidecar, '/api/policies/propose', {})).none, /as much as the last proposal/);
  assert.deepEqual(await states(sidecar), [[1, 'config', 'active'], [2, 'auto', 'shadow']]);
  assert.match((await get(sidecar, '/api/policies?version=2')).why, /lowers something protected/);
  assert.equal((await sidecar.ledger()).kept, 3000);
  await closeLedger(sidecar);
});

test('a policy file is a version, and what is applied goes before it until it changes', async (t) => {
  const file = path.join(scratch(t), 'policy.yaml');
  writeFileSync(file, 'version: 7\nglobal_rate: 0\n');
  const { sidecar } = await pair(t, { set: { ...LOUD, 'sampling.policy_file': file } });
  assert.deepEqual(await states(sidecar), [[1, 'file', 'active']]);
  await ask(sidecar, '/api/policies/draft', { document: 'global_rate: 1\n', by: 'ann' });
  await ask(sidecar, '/api/policies/apply', { version: 2, by: 'ann' });
  sidecar.signal('SIGHUP');
  await until('the reload', async () => sidecar.log.some((line) => line.event === 'reloaded'));
  await noise(sidecar, 100);
  assert.equal((await sidecar.ledger()).kept, 100);
  writeFileSync(file, 'version: 8\nglobal_rate: 0\nseverity_rates: {DEBUG: 0.5}\n');
  await until('the file again', async () => (await states(sidecar)).at(-1)[1] === 'file');
  await noise(sidecar, 100);
  assert.equal((await sidecar.ledger()).kept, 100);
  await closeLedger(sidecar);
});

test('the verbs say what is wrong', async (t) => {
  const { sidecar } = await pair(t, { set: LOUD });
  for (const [args, code, text] of [
    [['nothing'], 64, /no such command/],
    [['apply'], 64, /one version/],
    [['apply', 'two'], 64, /a number/],
    [['show', '9'], 69, /no version 9/],
    [['draft', '/nowhere/at/all'], 64, /cannot read/],
    [['apply', '1'], 78, /version 1 is in force/],
  ]) {
    const { code: got, stderr } = await verb(sidecar, ...args);
    assert.equal(got, code, `${args}: ${stderr}`);
    assert.match(stderr, text);
  }
  const whatif = await run(['whatif', '--config', '/dev/null', '--admin', url(sidecar, ''), '--set', 'sampling.severity_rates.INFO=0.1']);
  assert.equal(whatif.code, 0, whatif.stderr);
  assert.match(whatif.stdout, /^received +0 /m);
  assert.equal((await run(['whatif', '--config', '/dev/null', '--admin', url(sidecar, ''), '--set', 'sampling.severity_rates.ERROR=0.1'])).code, 78);
  await closeLedger(sidecar);
});
