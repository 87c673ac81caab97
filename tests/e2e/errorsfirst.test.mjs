// queue.errors_first: errors are sent before a backlog, in memory and on disk, and nothing is lost by it.
import assert from 'node:assert/strict';
import path from 'node:path';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { directory } from './lib/disk.mjs';
import { encodeLogs, request } from './lib/otlp.mjs';
import { PostHog } from './lib/posthog.mjs';
import { closeLedger, KEEP_ALL, lastLine, Sidecar } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

const BACKLOG = 40; // requests
const EACH = 100;
const settings = (dir, durability, first, more = {}) => ({
  ...KEEP_ALL, durability, ...(durability === 'disk' ? { 'spool.directory': dir } : {}), 'queue.errors_first': first,
  'exporters.posthog.concurrency': 1, 'batch.max_bytes': '16KiB', 'sampling.error_context.bytes': 0, ...more,
});

const ERROR = { base: { severityNumber: 17, severityText: 'ERROR' } };

async function send(sidecar, n, text, fields = {}) {
  const answer = await sidecar.post(encodeLogs(request(n, { body: (i) => `${text} ${i} `.padEnd(120, '.'), ...fields })));
  assert.equal(answer.status, 200);
}

async function stub(t) {
  const s = await PostHog.start();
  t.after(() => s.down());
  return s;
}

// A backlog behind an upstream that is away, then one error; how many requests came before it.
async function overtake(t, set, want = {}) {
  const s = await stub(t);
  await s.down();
  const sidecar = await Sidecar.start(t, { set, stub: s });
  for (let n = 0; n < BACKLOG; n++) await send(sidecar, EACH, `old ${n}`);
  await send(sidecar, 1, 'it broke', ERROR);
  s.answer = () => ({ delay: 20 });
  await s.up();
  await until('the error', () => s.rows.some((row) => row.body.startsWith('it broke')), { timeout: 60000 });
  const before = s.rows.findIndex((row) => row.body.startsWith('it broke'));
  s.answer = () => null;
  const total = BACKLOG * EACH + 1;
  await until('all of it', async () => (await sidecar.ledger()).delivered === total, { timeout: 60000 });
  assert.equal(new Set(s.rows.map((row) => row.body)).size, total);
  await closeLedger(sidecar, { received: total, delivered: total, lost: {}, ...want });
  return before;
}

for (const durability of ['memory', 'disk'])
  for (const more of [{}, { mode: 'observe' }, { 'sampling.budget.records_per_second': 1000000 }]) {
    const what = `${durability}${Object.entries(more).map(([k, v]) => `, ${k} ${v}`)}`;
    test(`an error overtakes a backlog: ${what}`, { timeout: 120000 }, async (t) => {
      const before = await overtake(t, settings(directory(t), durability, true, more));
      assert.ok(before <= 4 * EACH, `${before} records were sent before it`);
    });
  }

test('by default all go in order', { timeout: 120000 }, async (t) => {
  const before = await overtake(t, settings(directory(t), 'disk', false));
  assert.ok(before >= (BACKLOG - 2) * EACH, `${before} records were sent before it`);
});

test('what lies in the lane of errors is delivered by a start without the setting', { timeout: 120000 }, async (t) => {
  const s = await stub(t);
  await s.down();
  const dir = directory(t);
  const first = await Sidecar.start(t, { set: settings(dir, 'disk', true), stub: s });
  await send(first, 50, 'plain');
  await send(first, 5, 'it broke', ERROR);
  first.signal('SIGKILL');
  await first.ended;
  assert.ok(existsSync(path.join(dir, 'errors')));
  await s.up();
  const second = await Sidecar.start(t, { set: settings(dir, 'disk', false), stub: s });
  await until('delivery', () => s.rows.length === 55);
  assert.equal((await second.metrics()).lipservice_spool_recovered_records_total, 55);
  await send(second, 5, 'it broke again', ERROR);
  await closeLedger(second, { received: 60, kept: 60, delivered: 60, lost: {} });
});

test('stopped in an outage: what is on disk stays, what is in memory is reported as lost', { timeout: 120000 }, async (t) => {
  for (const durability of ['disk', 'memory']) {
    const s = await stub(t);
    await s.down();
    const sidecar = await Sidecar.start(t, { set: settings(directory(t), durability, true, { 'shutdown.timeout': '2s' }), stub: s });
    await send(sidecar, 50, 'plain');
    await send(sidecar, 5, 'it broke', ERROR);
    await sidecar.stop();
    const last = lastLine(sidecar);
    assert.equal(durability === 'disk' ? last.left_on_disk : last.lost, 55, durability);
  }
});

test('more errors than their lane holds go with the others', { timeout: 120000 }, async (t) => {
  const s = await stub(t);
  await s.down();
  const sidecar = await Sidecar.start(t, { set: settings(directory(t), 'disk', true, { 'spool.max_bytes': '16MiB' }), stub: s });
  for (let n = 0; n < 30; n++) await send(sidecar, 1000, `it broke ${n}`, ERROR); // some 4 MB
  await s.up();
  await until('all of it', async () => (await sidecar.ledger()).delivered === 30000, { timeout: 60000 });
  await closeLedger(sidecar, { received: 30000, delivered: 30000, lost: {} });
});
