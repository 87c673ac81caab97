// The first of a window where many signatures are counted as one: a family, the overflow.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { encodeLogs } from './lib/otlp.mjs';
import { closeLedger, pair } from './lib/sidecar.mjs';

const SHARED = process.env.SHARED_DIR ?? fileURLToPath(new URL('../../../shared', import.meta.url));
const CASE = path.join(SHARED, 'cases', 'B33-family-first.jsonl');
const FIRST = 5;
const MOST = 230; // a fifth of 1,000, the first of two windows, and those of names not yet merged
const RATES = 'version: 1\nseverity_rates: {INFO: 0.2}\n';

// 1,000 records as 20 requests. Their times are fixed and so is the draw, which is by their bytes.
function generated(body) {
  const record = (i) => ({ timeUnixNano: String(1796030000000000000n + BigInt(i) * 1000000n), severityNumber: 9, severityText: 'INFO', body: { stringValue: body(i) } });
  const requestOf = (k) => ({
    resourceLogs: [{
      resource: { attributes: [{ key: 'service.name', value: { stringValue: 'broker' } }] },
      scopeLogs: [{ logRecords: Array.from({ length: 50 }, (_, i) => record(50 * k + i)) }],
    }],
  });
  return Array.from({ length: 20 }, (_, k) => requestOf(k));
}

const NAMES = ['alice', 'bob', 'carol', 'dave', 'erin', 'frank', 'grace', 'heidi', 'ivan', 'judy', 'ken', 'lena', 'mallory', 'nina', 'oscar', 'peggy', 'quinn', 'rita', 'sybil', 'trent'];
const named = (i) => `connection ${30000 + ((i * 7919) % 40000)}: user '${NAMES[(i * 7) % 20]}' authenticated and granted access to vhost '/'`;
// A word in each that was never there before.
const word = (i) => `cache miss ${[...String(1000 + i)].map((digit) => 'bcdfghjklm'[digit] + 'aeiouyaeio'[digit]).join('')}`;

// Send all; what the policy, and the same as a shadow, have kept, and how much of it as the first.
async function kept(t, requests, set = {}) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'families-'));
  t.after(() => rmSync(dir, { recursive: true }));
  writeFileSync(path.join(dir, 'policy.yaml'), RATES);
  const { sidecar } = await pair(t, { set: { 'batch.max_age': '50ms', 'shadow.policy_file': path.join(dir, 'policy.yaml'), ...set } });
  for (const one of requests) assert.equal((await sidecar.post(encodeLogs(one))).status, 200);
  const first = (await sidecar.metrics())['lipservice_records_kept_total{reason="first"}'];
  const lanes = JSON.parse(await sidecar.page('admin', '/api/shadow')).lanes;
  const ledger = await closeLedger(sidecar, { received: 1000, lost: {} });
  return { first, enforced: ledger.kept, shadow: lanes.find((lane) => lane.lane === 'shadow').kept };
}

function check(found, before) {
  const text = JSON.stringify(found);
  assert.ok(found.first >= FIRST && found.first <= before + 2 * FIRST, text);
  for (const lane of ['enforced', 'shadow']) assert.ok(found[lane] > 150 && found[lane] <= MOST + before, `${lane}: ${text}`);
}

test('a name in each line: the first five are the first five of all names', async (t) => {
  check(await kept(t, generated(named)), 8);
});

test('more patterns than a service may have: the first five are of all that is beyond', async (t) => {
  check(await kept(t, generated(word), { 'sampling.family_weight': 0, 'sampling.max_patterns_per_service': 16 }), 16);
});

test('the case of a public report: about a fifth and the first five', async (t) => {
  if (!existsSync(CASE)) return t.skip('the case is not here');
  const requests = readFileSync(CASE, 'utf8').split('\n').filter((line) => line !== '').map((line) => JSON.parse(line));
  const found = await kept(t, requests);
  check(found, 8);
  assert.ok(found.enforced <= MOST, JSON.stringify(found));
});
