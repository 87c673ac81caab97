// A budget for what is kept, and a queue that fills: what is shed, what is lost, who is refused.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs, request } from './lib/otlp.mjs';
import { closeLedger, KEEP_ALL, pair, run } from './lib/sidecar.mjs';

// n records of each severity, told apart by their words alone; nothing that zstd makes small.
const WORDS = { 5: 'cache', 9: 'user', 13: 'retry', 17: 'failed' };
let made = 0;
const noise = () => {
  let text = '';
  for (let state = ++made * 2654435761; text.length < 600; state = (Math.imul(state, 1664525) + 1013904223) >>> 0) text += state.toString(36);
  return text;
};
function mixed(n, severities) {
  const parts = severities.map((severityNumber) =>
    request(n, { base: { severityNumber, severityText: '', attributes: [{ key: 'noise', value: { stringValue: noise() } }] }, body: (i) => `${WORDS[severityNumber]} event ${i} ${noise()}` }));
  return encodeLogs({ resourceLogs: parts.flatMap((part) => part.resourceLogs) });
}

const severities = (sidecar, stub) => {
  const kept = { 5: 0, 9: 0, 13: 0, 17: 0 };
  for (const row of stub.rows) kept[{ debug: 5, info: 9, warn: 13, error: 17 }[row.severity_text ?? row.level]]++;
  return kept;
};

test('an outage under load: DEBUG goes first, errors never, and no client is refused', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'queue.max_bytes': '4MiB', 'batch.max_bytes': '256KiB', 'exporters.posthog.compression': 'none' } });
  await stub.down();
  let sent = 0;
  // 20 MB for a queue of 4 MiB; 0.1 MB are errors, for which the last tenth of it is left.
  for (let i = 0; i < 400; i++) {
    const severity = i % 100 === 0 ? [5, 9, 13, 17] : [5, 9, 13];
    const answer = await sidecar.post(mixed(10, severity));
    assert.equal(answer.status, 200, `request ${i}`);
    await answer.arrayBuffer();
    sent += 10 * severity.length;
  }
  const metrics = await sidecar.metrics();
  assert.ok(metrics.lipservice_pressure > 0.3, `pressure ${metrics.lipservice_pressure}`);
  assert.ok(metrics['lipservice_records_dropped_total{reason="pressure"}'] > 0);
  assert.equal(metrics['lipservice_records_dropped_total{reason="budget"}'], 0);
  assert.ok(metrics.lipservice_exporter_queue_size_bytes <= 4 << 20);
  await stub.up();
  const ledger = await closeLedger(sidecar, { received: sent, rejected: 0, lost: {} });
  const kept = severities(sidecar, stub);
  assert.equal(kept[17], 40);
  assert.ok(kept[5] < kept[9] && kept[9] < kept[13], JSON.stringify(kept));
  assert.equal(ledger.kept + ledger.sampled_out, sent);
});

test('errors alone fill the queue: only then 503, and the ledger says so', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'queue.max_bytes': '1MiB', 'batch.max_bytes': '64KiB', 'exporters.posthog.compression': 'none' } });
  await stub.down();
  let taken = 0;
  let refused = 0;
  for (let i = 0; refused === 0; i++) {
    assert.ok(i < 200, 'a bound');
    const answer = await sidecar.post(mixed(10, [17]));
    if (answer.status === 200) taken += 10;
    else refused += 10;
    await answer.arrayBuffer();
  }
  assert.ok(taken > 300);
  await stub.up();
  await closeLedger(sidecar, { received: taken + refused, kept: taken, delivered: taken, rejected: refused, lost: {} });
});

test('a budget in records: what comes beyond it is sampled, and counts for what it stands', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'sampling.first.count': 0, 'sampling.budget.records_per_second': 50 } });
  let sent = 0;
  const end = Date.now() + 3000;
  while (Date.now() < end) {
    const answer = await sidecar.post(encodeLogs(request(100, { base: { severityNumber: 9 }, body: (i) => `request ${i} served` })));
    assert.equal(answer.status, 200);
    await answer.arrayBuffer();
    sent += 100;
  }
  const metrics = await sidecar.metrics();
  assert.equal(metrics['lipservice_budget_rate{unit="records"}'], 50);
  assert.ok(metrics['lipservice_budget_allowed_total{unit="records"}'] >= 100);
  const ledger = await closeLedger(sidecar, { received: sent, lost: {} });
  assert.equal(metrics['lipservice_budget_used_total{unit="records"}'], ledger.kept);
  assert.ok(ledger.kept < 3 * 150 && ledger.kept > 20, `${ledger.kept} of ${sent}`);
  assert.equal(metrics['lipservice_records_dropped_total{reason="budget"}'], ledger.sampled_out);
  assert.equal(stub.rows.length, ledger.kept);
});

test('what must be kept beyond four times the budget is lost and told, errors are not', async (t) => {
  const { sidecar } = await pair(t, { set: { ...KEEP_ALL, 'sampling.budget.records_per_second': 1, 'sampling.keep': '[{body: "user*"}]' } });
  for (let i = 0; i < 10; i++) {
    const answer = await sidecar.post(mixed(20, [9, 17]));
    assert.equal(answer.status, 200);
  }
  const ledger = await closeLedger(sidecar, { received: 400, kept: 400, sampled_out: 0 });
  assert.ok(ledger.lost.budget > 100 && ledger.lost.budget < 200, JSON.stringify(ledger.lost));
  assert.equal(ledger.delivered, 400 - ledger.lost.budget);
});

const file = (t, text) => {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-budget-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  writeFileSync(path.join(dir, 'file'), text);
  return path.join(dir, 'file');
};

test("replay holds a budget by the records' clock, not by its own", async (t) => {
  const start = 1700000000n * 1000000000n;
  const lines = [];
  for (let second = 0; second < 300; second++) {
    const one = request(100, { base: { timeUnixNano: undefined }, body: (i) => `request ${i} served` });
    one.resourceLogs[0].scopeLogs[0].logRecords.forEach((record, i) => (record.timeUnixNano = String(start + BigInt(second) * 1000000000n + BigInt(i) * 10000000n)));
    lines.push(JSON.stringify(one));
  }
  const capture = file(t, lines.join('\n') + '\n');
  const args = ['replay', '--config', '/dev/null', '--set', 'sampling.severity_rates.INFO=1', '--set', 'sampling.budget.records_per_second=10', capture];
  const { code, stdout } = await run([...args, '--json']);
  assert.equal(code, 0);
  const [lane] = JSON.parse(stdout).policies;
  assert.ok(Math.abs(lane.budget.used / lane.budget.allowed - 1) < 0.05, JSON.stringify(lane.budget));
  assert.ok(Math.abs(lane.budget.allowed - 3000) < 20);
  assert.equal(lane.budget.used, lane.kept);
  assert.equal(lane.budget.lost_records, 0);
  const words = await run(args);
  assert.match(words.stdout, /budget of \[1\]: \d+ records allowed, \d+ used \(\d+\.\d%\), 0 records lost to it/);
  const free = await run(args.filter((a) => !a.startsWith('sampling.budget')).filter((a, i, all) => a !== '--set' || all[i + 1]?.includes('=')));
  assert.doesNotMatch(free.stdout, /budget/);
});

test('explain tells that a budget may lower a rate; two budgets are one too many', async (t) => {
  const args = ['explain', '--config', '/dev/null', '--set', 'sampling.budget.target_reduction=0.9'];
  const words = await run([...args, 'hello world']);
  assert.match(words.stdout, /budget {5}sampling\.budget may lower the rate: depends on the records before/);
  const json = JSON.parse((await run([...args, '--json', 'hello world'])).stdout);
  assert.deepEqual(json.steps.at(-1), { stage: 'budget', applies: false, note: 'not counted here' });
  const config = file(t, 'sampling:\n  budget:\n    records_per_second: 5\n    bytes_per_month: 1GiB\n');
  const bad = await run(['validate', '--config', config]);
  assert.notEqual(bad.code, 0);
  assert.match(bad.stderr + bad.stdout, /file:4:22: sampling\.budget\.bytes_per_month: a second budget/);
});
