// Errors bring what led to them; only by explicit setting are errors themselves limited.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { directory } from './lib/disk.mjs';
import { encodeLogs, request } from './lib/otlp.mjs';
import { closeLedger, KEEP_ALL, pair } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

// All below ERROR is sampled out, nothing is kept for being first.
const DROP_ALL = {
  ...KEEP_ALL,
  'sampling.first.count': 0,
  'sampling.severity_rates.DEBUG': 0,
  'sampling.severity_rates.INFO': 0,
  'sampling.severity_rates.WARN': 0,
};
const TRACE = Buffer.from('0123456789abcdef0123456789abcdef', 'hex');
const OTHER = Buffer.from('fedcba9876543210fedcba9876543210', 'hex');
const ERROR = { severityNumber: 17, severityText: 'ERROR' };

const send = async (sidecar, n, options) => {
  const answer = await sidecar.post(encodeLogs(request(n, options)));
  assert.equal(answer.status, 200);
};
const bodies = (stub) => stub.rows.map((row) => row.body);

test('of the same trace, across services, in order, weight 0 and the reason', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...DROP_ALL, 'sampling.stamps': '[adjusted_count, reason]' } });
  await send(sidecar, 2, { service: 'web', base: { traceId: TRACE }, body: (i) => `web step ${i}` });
  await send(sidecar, 2, { service: 'db', base: { traceId: TRACE }, body: (i) => `db step ${i}` });
  await send(sidecar, 5, { service: 'web', base: { traceId: OTHER }, body: (i) => `other ${i}` });
  await send(sidecar, 1, { service: 'web', base: { traceId: TRACE, ...ERROR }, body: () => 'it failed' });
  await until('context and error', () => stub.rows.length === 5);
  assert.deepEqual(new Set(bodies(stub)), new Set(['web step 0', 'web step 1', 'db step 0', 'db step 1', 'it failed']));
  const web = bodies(stub).filter((body) => !body.startsWith('db'));
  assert.deepEqual(web, ['web step 0', 'web step 1', 'it failed']);
  for (const { body, attributes } of stub.rows) {
    const isError = body === 'it failed';
    assert.equal(attributes['otel.logs.adjusted_count'], isError ? undefined : '0');
    assert.equal(attributes['sampling.reason'], isError ? undefined : '"error_context"');
  }
  const ledger = await closeLedger(sidecar, { received: 10, kept: 1, released: 4, sampled_out: 9 });
  assert.equal(ledger.services.db.released, 2);
});

test('without a trace: of the same service instance, once', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...DROP_ALL, 'sampling.error_context.max_records': 3 } });
  await send(sidecar, 5, { service: 'a', body: (i) => `a ${i}` });
  await send(sidecar, 5, { service: 'b', body: (i) => `b ${i}` });
  await send(sidecar, 2, { service: 'a', base: ERROR, body: (i) => `failed ${i}` });
  await until('context and errors', () => stub.rows.length === 5);
  assert.deepEqual(bodies(stub), ['a 2', 'a 3', 'a 4', 'failed 0', 'failed 1']);
  await closeLedger(sidecar, { received: 12, kept: 2, released: 3 });
});

test('a second lipservice leaves context as it is', async (t) => {
  const { stub, sidecar } = await pair(t, { set: DROP_ALL });
  const base = { attributes: [{ key: 'otel.logs.adjusted_count', value: { doubleValue: 0 } }] };
  await send(sidecar, 3, { base });
  await until('all of it', () => stub.rows.length === 3);
  for (const { attributes } of stub.rows) assert.deepEqual(attributes, { 'otel.logs.adjusted_count': '0' });
  await closeLedger(sidecar, { received: 3, kept: 3, released: 0 });
});

test('no memory for context, no context', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...DROP_ALL, 'sampling.error_context.bytes': 0 } });
  await send(sidecar, 5);
  await send(sidecar, 1, { base: ERROR });
  await until('the error', () => stub.rows.length === 1);
  await closeLedger(sidecar, { received: 6, kept: 1, released: 0 });
});

test('sampling.floor.max_per_second: beyond it errors are dropped, counted and told', async (t) => {
  const { sidecar } = await pair(t, { set: { ...DROP_ALL, 'sampling.floor.max_per_second': 10 } });
  await send(sidecar, 1000, { base: ERROR });
  const metrics = await sidecar.metrics();
  const ledger = await closeLedger(sidecar, { received: 1000, sampled_out: 0 }, { told: 1 });
  assert.ok(ledger.kept >= 10 && ledger.kept < 100, `${ledger.kept} kept`);
  assert.equal(metrics['lipservice_records_dropped_total{reason="floor_limit"}'], ledger.dropped_by_rule);
  assert.ok(sidecar.log.some((line) => line.event === 'errors'), 'the log says so');
});

// ---- a stack trace, line by line

const HEAD = { severityNumber: 17, severityText: 'ERROR' };
const frames = (n) => Array.from({ length: n }, (_, i) => `    at com.example.shop.C${i % 5}.m${i % 7}(C${i % 5}.java:${i})`);
// [text, more fields] or text, each a record without a severity, of one service.
const lines = (list, options = {}) => {
  const body = request(list.length, options);
  body.resourceLogs[0].scopeLogs[0].logRecords.forEach((record, i) => {
    const [text, more] = [list[i]].flat();
    delete record.severityNumber;
    Object.assign(record, { severityText: '', body: { stringValue: text }, ...more });
  });
  return encodeLogs(body);
};
const TRACE_LINES = ['java.lang.RuntimeException: it failed', ...frames(40), 'Caused by: java.lang.IllegalStateException: boom', '    ... 20 more'];
const WAYS = { 'in memory': () => ({}), 'on disk': (t) => ({ durability: 'disk', 'spool.directory': directory(t) }) };

for (const [where, settings] of Object.entries(WAYS)) {
  test(`a trace that comes line by line stays with its error, ${where}`, async (t) => {
    const set = { ...DROP_ALL, 'sampling.severity_from': '[fields]', 'sampling.error_context.bytes': '64KiB', 'sampling.stamps': '[adjusted_count,reason]', ...settings(t) };
    const { stub, sidecar } = await pair(t, { set });
    const post = async (list, options) => assert.equal((await sidecar.post(lines(list, options))).status, 200);
    await post(frames(40), { service: 'other' }); // of nobody's error
    await post([['it failed', HEAD]], { service: 'spring' });
    for (const part of [TRACE_LINES.slice(0, 7), ['GET /health 200', ...TRACE_LINES.slice(7)]]) await post(part, { service: 'spring' });
    await post(frames(5), { service: 'other' });
    await until('the error and its trace', () => stub.rows.length === 44);
    assert.deepEqual(bodies(stub), ['it failed', ...TRACE_LINES]);
    for (const { body, attributes } of stub.rows) {
      const isError = body === 'it failed';
      assert.equal(attributes['otel.logs.adjusted_count'], isError ? undefined : '0', body);
      assert.equal(attributes['sampling.reason'], isError ? undefined : '"error_context"', body);
    }
    const ledger = await closeLedger(sidecar, { received: 90, kept: 1, released: 43, sampled_out: 89, lost: {} });
    assert.equal(ledger.services.spring.released, 43);
  });
}

test('of one error no more lines than sampling.error_context.trace_lines, and none with 0', async (t) => {
  for (const [limit, kept] of [[10, 10], [0, 0]]) {
    const { stub, sidecar } = await pair(t, { set: { ...DROP_ALL, 'sampling.severity_from': '[fields]', 'sampling.error_context.trace_lines': limit } });
    assert.equal((await sidecar.post(lines([['it failed', HEAD], ...TRACE_LINES]))).status, 200);
    await until('the error', () => stub.rows.length === 1 + kept);
    await closeLedger(sidecar, { received: 44, kept: 1, released: kept });
  }
});

test('under a budget a trace is paid like its error, and observing changes nothing', async (t) => {
  const set = { ...DROP_ALL, 'sampling.severity_from': '[fields]', 'sampling.budget.records_per_second': 1 };
  const { stub, sidecar } = await pair(t, { set });
  assert.equal((await sidecar.post(lines([['it failed', HEAD], ...TRACE_LINES]))).status, 200);
  await until('all of it', () => stub.rows.length === 44);
  await closeLedger(sidecar, { received: 44, kept: 1, released: 43, lost: {} });

  const other = await pair(t, { set: { ...set, mode: 'observe' } });
  assert.equal((await other.sidecar.post(lines([['it failed', HEAD], ...TRACE_LINES]))).status, 200);
  await until('all of it', () => other.stub.rows.length === 44);
  assert.ok(other.stub.rows.every((row) => row.attributes['sampling.reason'] === undefined));
  await closeLedger(other.sidecar, { received: 44, kept: 44, released: 0 });
});

const CASES = path.join(process.env.SHARED_DIR ?? fileURLToPath(new URL('../../../shared', import.meta.url)), 'cases');

test('the known case: all 43 lines, behind 400 of the same pattern, at default rates', { skip: !existsSync(CASES) && `${CASES} is not there` }, async (t) => {
  const { stub, sidecar } = await pair(t, { set: { 'batch.max_age': '50ms' } });
  const requests = readFileSync(path.join(CASES, 'B14-trace-line-by-line.jsonl'), 'utf8').split('\n').filter(Boolean);
  const now = BigInt(Date.now()) * 1000000n;
  let at = 0n;
  for (const text of requests) {
    const body = JSON.parse(text);
    for (const record of body.resourceLogs[0].scopeLogs[0].logRecords) record.timeUnixNano = String(now + at++);
    assert.equal((await sidecar.post(JSON.stringify(body), { type: 'application/json' })).status, 200);
  }
  const last = JSON.parse(requests.at(-1)).resourceLogs[0].scopeLogs[0].logRecords.map((record) => record.body.stringValue);
  await until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
  const behind = stub.records.filter(({ record }) => BigInt(record.timeUnixNano) >= now + at - 44n).map(({ record }) => record.body.stringValue);
  assert.deepEqual(behind, last, 'all of the trace, in order');
  await closeLedger(sidecar, { received: 444, lost: {} });
});

for (const [where, settings] of Object.entries(WAYS)) {
  test(`multiline: join makes one record of a trace, ${where}`, async (t) => {
    const set = { ...KEEP_ALL, multiline: 'join', ...settings(t) };
    const { stub, sidecar } = await pair(t, { set });
    const list = ['ready', ['it failed', HEAD], ...TRACE_LINES, 'ready again'];
    assert.equal((await sidecar.post(lines(list, { service: 'spring' }))).status, 200);
    const json = request(2, { service: 'json', body: (i) => ['  at the door', '  and again'][i] });
    json.resourceLogs[0].scopeLogs[0].logRecords.push({ body: 5 }); // refused alone
    const answer = await sidecar.post(JSON.stringify(json), { type: 'application/json' });
    assert.equal((await answer.json()).partialSuccess.rejectedLogRecords, '1');
    await until('all of it', () => stub.rows.length === 4);
    assert.deepEqual(bodies(stub).sort(), ['  at the door\n  and again', ['it failed', ...TRACE_LINES].join('\n'), 'ready', 'ready again'].sort());
    const ledger = await closeLedger(sidecar, { received: 49, kept: 4, joined: 44, rejected: 1, delivered: 4 });
    assert.deepEqual([ledger.services.spring.joined, ledger.services.json.joined], [43, 1]);
  });
}
