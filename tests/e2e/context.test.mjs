// Errors bring what led to them; only by explicit setting are errors themselves limited.
import assert from 'node:assert/strict';
import { test } from 'node:test';
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
