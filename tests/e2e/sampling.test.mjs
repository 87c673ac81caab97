// Which records survive, and how far their weights may be from the truth.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { encodeLogs } from './lib/otlp.mjs';
import { closeLedger, pair } from './lib/sidecar.mjs';

const CASES = path.join(process.env.SHARED_DIR ?? fileURLToPath(new URL('../../../shared', import.meta.url)), 'cases');
const FAST = { 'batch.max_age': '50ms' };
const START = 1796030000000000000n;

const text = (stringValue) => ({ stringValue });
const record = (i, body, more = {}) => ({ timeUnixNano: String(START + BigInt(i) * 1000n), severityNumber: 9, severityText: 'INFO', body: text(body), ...more });
const requests = (records, each = 500) =>
  Array.from({ length: Math.ceil(records.length / each) }, (_, k) => ({
    resourceLogs: [{ resource: { attributes: [{ key: 'service.name', value: text('nightly') }] }, scopeLogs: [{ logRecords: records.slice(k * each, (k + 1) * each) }] }],
  }));
const traceOf = (name) => createHash('sha256').update(name).digest().subarray(0, 16);
const weightOf = (row) => Number(row.attributes['otel.logs.adjusted_count'] ?? 1);
const sum = (rows) => rows.reduce((all, row) => all + weightOf(row), 0);

// Every way of holding what survives.
function places(t) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'sampling-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return { memory: {}, disk: { durability: 'disk', 'spool.directory': path.join(dir, 'spool') } };
}

// Send all, to the end; the rows that PostHog has then.
async function run(t, docs, set = {}) {
  const { stub, sidecar } = await pair(t, { set: { ...FAST, ...set } });
  const received = docs.reduce((n, doc) => n + doc.resourceLogs[0].scopeLogs[0].logRecords.length, 0);
  for (const doc of docs) assert.equal((await sidecar.post(encodeLogs(doc))).status, 200);
  const page = JSON.parse(await sidecar.page('admin', '/api/patterns'));
  await closeLedger(sidecar, { received, rejected: 0, lost: {} });
  return { rows: stub.rows, patterns: page.patterns, received };
}

const oneTrace = Array.from({ length: 3000 }, (_, i) => record(i, `processed row ${i} of table orders`, { traceId: Buffer.from('0af7651916cd43dd8448eb211c80319c', 'hex') }));

for (const place of ['memory', 'disk'])
  test(`one trace does not decide a pattern alone: ${place}`, async (t) => {
    const { rows } = await run(t, requests(oneTrace), places(t)[place]);
    assert.ok(rows.length > 560 && rows.length < 710, `${rows.length} of 3,000`);
    assert.ok(Math.abs(sum(rows) / 3000 - 1) < 0.2, `${sum(rows)} for 3,000`);
  });

test('traces of a hundred records are whole', async (t) => {
  const traces = Array.from({ length: 60 }, (_, i) => traceOf(`trace ${i}`));
  const records = Array.from({ length: 100 }, (_, i) => traces.map((traceId, k) => record(i * 60 + k, ['cart updated', 'order placed', 'stock checked'][i % 3], { traceId }))).flat();
  const { rows } = await run(t, requests(records), { 'sampling.first.count': 0 });
  const kept = new Map();
  for (const row of rows) kept.set(row.trace_id, (kept.get(row.trace_id) ?? 0) + 1);
  assert.ok(kept.size > 2 && kept.size < 30, `${kept.size} traces`);
  for (const [trace, n] of kept) assert.equal(n, 100, trace);
});

for (const place of ['memory', 'disk'])
  test(`sessions are whole by a key: ${place}`, async (t) => {
    const sessions = Array.from({ length: 100 }, (_, s) => `s${s}`);
    const records = Array.from({ length: 40 }, (_, i) => sessions.map((id, s) => record(i * 100 + s, `step ${i} done`, { attributes: [{ key: 'sessionId', value: text(id) }] }))).flat();
    const { rows } = await run(t, requests(records), { ...places(t)[place], 'sampling.first.count': 0, 'sampling.key': 'sessionId' });
    const kept = new Map();
    for (const row of rows) kept.set(row.attributes.sessionId, (kept.get(row.attributes.sessionId) ?? 0) + 1);
    assert.ok(kept.size > 5 && kept.size < 40, `${kept.size} sessions`);
    for (const [session, n] of kept) assert.equal(n, 40, session);
  });

test('identical records without times share no coin', async (t) => {
  const records = Array.from({ length: 5000 }, () => ({ severityNumber: 9, body: text('tick') }));
  const { rows, patterns } = await run(t, requests(records));
  assert.ok(Math.abs(sum(rows) - 5000) <= 6, `${sum(rows)} for 5,000`);
  assert.ok(patterns[0].standard_error > 0 && patterns[0].standard_error <= 3, `error of ${patterns[0].standard_error}`);
});

test('the standard error covers what the weights say', async (t) => {
  const records = Array.from({ length: 6000 }, (_, i) => record(i, `${['alpha', 'beta', 'gamma', 'delta'][i % 4]} is ready`, i % 2 ? {} : { traceId: traceOf(`t${i >> 4}`) }));
  const { rows, patterns } = await run(t, requests(records));
  for (const p of patterns) {
    const estimate = sum(rows.filter((row) => row.body.includes(p.template)));
    assert.ok(Math.abs(estimate - p.received) <= 4 * p.standard_error + 1, `${p.template}: ${estimate} for ${p.received}, said to be off by ${p.standard_error}`);
  }
});

test('under the smallest budget the first record of each pattern is kept', async (t) => {
  const words = Array.from({ length: 200 }, (_, i) => `${String.fromCharCode(97 + i % 26)}${String.fromCharCode(97 + i / 26)}q was seen`);
  const records = words.flatMap((word, i) => [...Array.from({ length: 20 }, (_, k) => record(i * 21 + k, 'the loud one')), record(i * 21 + 20, word)]);
  const { rows } = await run(t, requests(records), { 'sampling.budget.records_per_second': 1, 'sampling.family_weight': 0 });
  for (const word of words) assert.ok(rows.some((row) => row.body === word), word);
  assert.ok(rows.filter((row) => row.body === 'the loud one').length < 400);
});

test('cases of public reports: one trace, sessions', async (t) => {
  if (!existsSync(CASES)) return t.skip('the cases are not here');
  const bytes = (r) => (r.traceId ? { ...r, traceId: Buffer.from(r.traceId, 'hex'), spanId: Buffer.from(r.spanId, 'hex') } : r);
  const read = (name) => readFileSync(path.join(CASES, name), 'utf8').split('\n').filter((line) => line !== '').map((line) => JSON.parse(line, (_, v) => (v?.body ? bytes(v) : v)));
  const trace = await run(t, read('B04-one-trace.jsonl'));
  assert.ok(trace.rows.length > trace.received * 0.18 && trace.rows.length < trace.received * 0.24 + 20, `${trace.rows.length} of ${trace.received}`);
  const { rows } = await run(t, read('B30-sessions.jsonl'), { 'sampling.key': 'sessionId', 'sampling.first.count': 0 });
  const kept = new Map();
  for (const row of rows) kept.set(row.attributes.sessionId, (kept.get(row.attributes.sessionId) ?? 0) + 1);
  assert.equal(new Set(kept.values()).size <= 1, true, JSON.stringify([...kept]));
});

test('a case of a public report: a user name of two words', async (t) => {
  const file = path.join(CASES, 'B32-two-names.txt');
  if (!existsSync(file)) return t.skip('the case is not here');
  const lines = readFileSync(file, 'utf8').split('\n').filter((line) => line !== '').map((line) => line.replaceAll('\\n', '\n').replaceAll('\\\\', '\\'));
  const { rows } = await run(t, requests(lines.map((line, i) => record(i, line))));
  assert.ok(rows.length < lines.length * 0.3, `${rows.length} of ${lines.length}`);
});
