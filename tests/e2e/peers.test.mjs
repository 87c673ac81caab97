// Weights that other programs have left on a record, under names of their own.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { directory } from './lib/disk.mjs';
import { encodeLogs, request } from './lib/otlp.mjs';
import { closeLedger, KEEP_ALL, pair } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

const NAMES = '[sample_rate, SampleRate, log_count]';
const weightOf = (row) => Number(row.attributes['otel.logs.adjusted_count'] ?? 1);
const near = (a, b) => Math.abs(a - b) < 1e-6 * b;
const send = async (sidecar, n, value, base = {}) =>
  assert.equal((await sidecar.post(encodeLogs(request(n, { base: { ...base, attributes: value === null ? [] : [value] } })))).status, 200);

test('by a setting they count as weights that the record came with', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'sampling.peer_weights': NAMES } });
  await send(sidecar, 5, { key: 'log_count', value: { intValue: 57 } });
  await send(sidecar, 5, { key: 'sample_rate', value: { stringValue: '10' } });
  await send(sidecar, 5, { key: 'SampleRate', value: { doubleValue: 0.25 } });
  await send(sidecar, 5, { key: 'log_count', value: { intValue: 57 } }, { severityNumber: 17 });
  await send(sidecar, 5, null);
  await until('all of it', () => stub.rows.length === 25);
  const sum = stub.rows.reduce((total, row) => total + weightOf(row), 0);
  assert.ok(near(sum, 5 * 57 + 50 + 20 + 5 * 57 + 5), `${sum}`);
  await closeLedger(sidecar, { received: 25, kept: 25 });
});

test('our own sampling multiplies them, and without the setting they are attributes', async (t) => {
  const rates = { ...KEEP_ALL, 'sampling.severity_rates.INFO': 0.5, 'sampling.first.count': 0 };
  const { stub, sidecar } = await pair(t, { set: { ...rates, 'sampling.peer_weights': '[log_count]' } });
  await send(sidecar, 400, { key: 'log_count', value: { intValue: 8 } });
  await until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
  assert.ok(stub.rows.length > 100 && stub.rows.every((row) => Math.abs(weightOf(row) - 16) < 0.01));
  await closeLedger(sidecar, { received: 400 });

  const other = await pair(t, { set: rates });
  await send(other.sidecar, 400, { key: 'log_count', value: { intValue: 8 } });
  await until('an empty queue', async () => (await other.sidecar.ledger()).queued === 0);
  assert.ok(other.stub.rows.every((row) => Math.abs(weightOf(row) - 2) < 0.01));
  await closeLedger(other.sidecar, { received: 400 });
});

const CASES = path.join(process.env.SHARED_DIR ?? fileURLToPath(new URL('../../../shared', import.meta.url)), 'cases');

test('the known case, with the setting from a file', { skip: !existsSync(CASES) && `${CASES} is not there` }, async (t) => {
  const file = path.join(directory(t), 'config.yaml');
  writeFileSync(file, 'sampling:\n  peer_weights: [sample_rate, SampleRate, log_count]\n');
  const { stub, sidecar } = await pair(t, { set: KEEP_ALL, args: ['--config', file] });
  const body = JSON.parse(readFileSync(path.join(CASES, 'B29-weights-of-others.json'), 'utf8'));
  assert.equal((await sidecar.post(JSON.stringify(body), { type: 'application/json' })).status, 200);
  await until('all of it', () => stub.rows.length === 60);
  const sums = {};
  for (const row of stub.rows) sums[row.body] = (sums[row.body] ?? 0) + weightOf(row);
  for (const [text, sum] of [['dedup line', 20 * 57], ['vector line', 200], ['honey line', 200]]) assert.ok(near(sums[text], sum), `${text}: ${sums[text]}`);
  await closeLedger(sidecar, { received: 60, kept: 60 });
});
