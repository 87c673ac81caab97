// What outlives the process: nothing that was known is new after a restart, whatever happened to the file.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { smallDisk } from './lib/disk.mjs';
import { encodeLogs, request } from './lib/otlp.mjs';
import { PostHog } from './lib/posthog.mjs';
import { closeLedger, Sidecar } from './lib/sidecar.mjs';
import { pause, until } from './lib/wait.mjs';

const FILE = 'lipservice.state';
// Five an hour are kept, and no others: so a window that begins anew shows.
const SAMPLING = {
  'batch.max_age': '50ms',
  'sampling.first.count': 5,
  'sampling.first.window': '12h',
  'sampling.severity_rates.INFO': 0,
  'sampling.anomaly_boost': 2,
  'events.learning': '1ms',
  'events.interval': '100ms',
  'policy.propose_interval': 0,
  'state.interval': '1s',
};

const sum = (list) => list.reduce((a, b) => a + b, 0);
const get = async (sidecar, route) => (await fetch(`http://${sidecar.addresses.admin}${route}`)).json();

function scratch(t) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-state-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function start(t, dir, more = {}) {
  const stub = await PostHog.start({});
  t.after(() => stub.down());
  const sidecar = await Sidecar.start(t, { stub, set: { ...SAMPLING, 'state.directory': dir, ...more } });
  return sidecar;
}

async function send(sidecar, n, body = (i) => `order ${i} paid`) {
  assert.equal((await sidecar.post(encodeLogs(request(n, { service: 'shop', body })))).status, 200);
}

const row = async (sidecar, template) => (await get(sidecar, '/api/patterns?spark=1&limit=1000')).patterns.find((p) => p.template === template);
const remembered = async (sidecar) => sum((await get(sidecar, '/api/history')).total.received);
const written = (dir, since = 0) => until('the state file', () => existsSync(path.join(dir, FILE)) && statSync(path.join(dir, FILE)).mtimeMs > since);

// It is known, and its five are spent; another one is new.
async function checkKnown(sidecar, history) {
  const known = await row(sidecar, 'order <*> paid');
  assert.ok(known, 'the pattern is in the table');
  assert.equal(known.received, 0);
  assert.equal(sum(known.spark), history);
  assert.equal(await remembered(sidecar), history);
  await send(sidecar, 20);
  assert.equal((await sidecar.ledger()).services.shop.kept, 0, 'the first of the window are not kept again');
  assert.deepEqual((await row(sidecar, 'order <*> paid')).anomalies, []);
  let n = 0; // one that comes while the process learns is not new: another is tried then
  await until('a new pattern', async () => {
    const line = `${'abcdefghijklmnop'[n++ % 16].repeat(6)} is here for the ${n}. time`;
    await send(sidecar, 1, () => line);
    return (await get(sidecar, '/api/patterns?spark=1')).patterns.some((p) => p.anomalies.includes('new'));
  });
}

test('a stop and a start: patterns, families, history, month and versions go on', async (t) => {
  const dir = scratch(t);
  const first = await start(t, dir);
  await send(first, 100);
  for (let i = 0; i < 12; i++) await send(first, 2, () => `user ${'abcdefghijkl'[i].repeat(5)} logged in`);
  const families = (await get(first, '/api/families')).aliases;
  assert.ok(families.length > 5, 'a family was learned');
  const draft = { document: 'global_rate: 1\nseverity_rates: {INFO: 0, DEBUG: 0.5}\n', by: 'ann', why: 'quiet' };
  const post = (route, body) => fetch(`http://${first.addresses.admin}${route}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  assert.equal((await post('/api/policies/draft', draft)).status, 200);
  assert.equal((await post('/api/policies/apply', { version: 2, by: 'ann' })).status, 200);
  await until('the history', async () => (await remembered(first)) === 124);
  const before = await get(first, '/api/policies');
  const since = (await get(first, '/api/history')).since_unix_s;
  const seen = (await row(first, 'order <*> paid')).first_seen;
  await closeLedger(first);
  assert.deepEqual(readdirSync(dir).sort(), ['lipservice.lock', FILE]);
  assert.equal(statSync(path.join(dir, FILE)).mode & 0o077, 0, 'for its owner alone');

  const second = await start(t, dir);
  assert.ok(second.log.some((line) => line.event === 'state_restored'));
  assert.deepEqual(await get(second, '/api/policies'), before);
  assert.equal(before.active, 2);
  const byFrom = (list) => list.map((a) => [a.from, a.to, a.template]).sort();
  assert.deepEqual(byFrom((await get(second, '/api/families')).aliases), byFrom(families));
  const history = await get(second, '/api/history');
  assert.deepEqual([sum(history.total.received), history.month.received, history.since_unix_s], [124, 124, since]);
  assert.equal(sum(history.services.find((s) => s.name === 'shop').received), 124);
  const known = await row(second, 'order <*> paid');
  assert.deepEqual([known.received, sum(known.spark), known.first_seen], [0, 100, seen]);
  await send(second, 20);
  await send(second, 3, () => 'user mmmmm logged in'); // of the family, which is known
  assert.equal((await second.ledger()).services.shop.kept, 0);
  assert.deepEqual((await row(second, 'order <*> paid')).anomalies, []);
  assert.deepEqual((await row(second, 'user <*> logged in')).anomalies, []);
  assert.equal((await row(second, 'order <*> paid')).rate_origin, 'severity');
  await until('the history', async () => (await remembered(second)) === 147);
  await closeLedger(second);
});

test('kill -9: what was written last is known', async (t) => {
  const dir = scratch(t);
  const first = await start(t, dir);
  await send(first, 50);
  await until('the history', async () => (await remembered(first)) === 50);
  await written(dir, Date.now());
  first.signal('SIGKILL');
  await first.ended;
  const second = await start(t, dir);
  await checkKnown(second, 50);
  await closeLedger(second);
});

for (const [how, end] of [['a stop', (sidecar) => sidecar.stop()], ['kill -9', async (sidecar) => { sidecar.signal('SIGKILL'); await sidecar.ended; }]])
  test(`${how}: what the budget has overspent is paid back by the next process`, async (t) => {
    const dir = scratch(t);
    const budget = { 'sampling.severity_rates.INFO': 1, 'sampling.budget.records_per_second': 200, 'sampling.first.count': 0, 'sampling.anomaly_boost': 1, 'events.interval': '1h' };
    // 4,000 errors must stay: as much as the budget has in 20 s.
    const overspend = async (sidecar) => assert.equal((await sidecar.post(encodeLogs(request(4000, { service: 'shop', base: { severityNumber: 17, severityText: 'ERROR' }, body: (i) => `order ${i} failed` })))).status, 200);
    const used = async (sidecar) => (await get(sidecar, '/api/summary')).budget.used;
    const first = await start(t, dir, budget);
    await send(first, 100);
    await overspend(first);
    const spent = await used(first);
    assert.ok(spent >= 4000);
    await written(dir, Date.now());
    await end(first);

    const second = await start(t, dir, budget);
    assert.equal(await used(second), spent);
    const fresh = await start(t, scratch(t), budget);
    const each = [second, fresh];
    for (let i = 0; i < 40; i++) {
      await Promise.all([...each.map((sidecar) => send(sidecar, 500)), pause(200)]);
    }
    const [kept, freely] = await Promise.all(each.map(async (sidecar) => (await sidecar.ledger()).kept));
    assert.ok(kept < freely / 2, `${kept} of 20,000 are kept, and ${freely} by a process that knows of no debts`);
    for (const sidecar of each) await closeLedger(sidecar, { received: 20000 });
  });

test('what was saved so far this month is of all processes in it', async (t) => {
  const dir = scratch(t);
  const set = { 'cost.free_gb': 0, 'cost.per_gb': 1000 };
  const saved = async (sidecar) => (await get(sidecar, '/api/summary')).month.saved_so_far;
  const first = await start(t, dir, set);
  await send(first, 2000);
  await until('the history', async () => (await remembered(first)) === 2000);
  const before = await saved(first);
  assert.ok(before > 0);
  await closeLedger(first);
  const second = await start(t, dir, set);
  const after = await saved(second);
  assert.ok(Math.abs(after / before - 1) < 0.3, `${before}, and ${after} after the restart, when nothing has come yet`);
  await closeLedger(second);
});

for (const [what, spoil, reason] of [
  ['torn', (file) => truncateSync(file, Math.floor(statSync(file).size / 2)), /torn/],
  ['empty', (file) => writeFileSync(file, ''), /no state file/],
  ['damaged', (file) => {
    const bytes = readFileSync(file);
    bytes[bytes.length >> 1] ^= 1;
    writeFileSync(file, bytes);
  }, /damaged/],
  ['of another version', (file) => {
    const bytes = readFileSync(file);
    bytes.writeUInt32LE(99, 8);
    writeFileSync(file, bytes);
  }, /another version/],
]) {
  test(`a file that is ${what} is put aside, and the start goes on`, async (t) => {
    const dir = scratch(t);
    const first = await start(t, dir);
    await send(first, 50);
    await closeLedger(first);
    spoil(path.join(dir, FILE));
    const second = await start(t, dir);
    const line = second.log.find((entry) => entry.event === 'state_put_aside');
    assert.match(line.reason, reason);
    assert.ok(existsSync(path.join(dir, `${FILE}.aside`)));
    assert.equal(await row(second, 'order <*> paid'), undefined);
    await send(second, 50);
    assert.equal((await second.ledger()).services.shop.kept, 5);
    await closeLedger(second);
    const third = await start(t, dir);
    await checkKnown(third, 50);
    await closeLedger(third);
  });
}

test('a directory has one process', async (t) => {
  const dir = scratch(t);
  const first = await start(t, dir);
  await assert.rejects(start(t, dir), /is used by another process/);
  await closeLedger(first);
});

test('a directory that goes away or fills costs a line of log, and no record', async (t) => {
  const dir = scratch(t);
  const first = await start(t, dir);
  await send(first, 50);
  await written(dir);
  rmSync(dir, { recursive: true });
  await first.until('the line', () => first.log.some((entry) => entry.event === 'state_not_written'));
  const metrics = await first.metrics();
  assert.ok(metrics['lipservice_state_writes_total{outcome="written"}'] >= 1);
  assert.ok(metrics['lipservice_state_writes_total{outcome="failed"}'] >= 1);
  await send(first, 50);
  assert.equal((await first.ledger()).received >= 100, true);
  await closeLedger(first);
});

test('a full disk keeps the file of before, and it is written again when there is room', async (t) => {
  const disk = smallDisk(t, 1);
  if (disk === null) return t.skip('no file system can be mounted here');
  const first = await start(t, disk);
  await send(first, 50);
  await until('the history', async () => (await remembered(first)) === 50);
  await written(disk, Date.now());
  const filler = path.join(disk, 'filler');
  assert.throws(() => writeFileSync(filler, Buffer.alloc(2 << 20)), /ENOSPC/);
  await first.until('the line', () => first.log.some((entry) => entry.event === 'state_not_written' && /no space|room|full/i.test(entry.error)));
  assert.ok(statSync(path.join(disk, FILE)).size > 1000, 'the file of before is there');
  rmSync(filler);
  await first.until('the line', () => first.log.some((entry) => entry.event === 'state_written'));
  first.signal('SIGKILL');
  await first.ended;
  const second = await start(t, disk);
  await checkKnown(second, 50);
  await closeLedger(second);
});

test('with memory and disk, observing, and with a budget', async (t) => {
  for (const more of [{ mode: 'observe' }, { 'sampling.budget.records_per_second': 5 }, { durability: 'disk' }]) {
    const dir = scratch(t);
    const set = { ...more, ...(more.durability ? { 'spool.directory': path.join(dir, 'spool') } : {}) };
    const first = await start(t, path.join(dir, 'state'), set);
    await send(first, 60);
    await until('the history', async () => (await remembered(first)) === 60);
    await closeLedger(first);
    const second = await start(t, path.join(dir, 'state'), set);
    assert.equal(await remembered(second), 60);
    await send(second, 10);
    second.signal('SIGHUP');
    await second.until('the reload', () => second.log.some((line) => line.event === 'reloaded'));
    await until('the history', async () => (await remembered(second)) === 70);
    await closeLedger(second);
  }
});

test('where memory is too small for a copy of all patterns, the rest is kept', async (t) => {
  const dir = scratch(t);
  // Pages may have an eighth of 8 MiB: fewer than 12,000 patterns at 120 bytes.
  const small = { 'memory.limit': '8MiB', 'batch.max_bytes': '128KiB', 'queue.max_bytes': '1MiB', 'sampling.family_weight': 0, 'sampling.max_patterns_per_service': 0, 'sampling.first.count': 0, 'sampling.anomaly_boost': 1, 'sampling.error_context.bytes': 0 };
  const first = await start(t, dir, small);
  const word = (n) => [...n.toString(26)].map((digit) => 'abcdefghijklmnopqrstuvwxyz'[parseInt(digit, 26)]).join('');
  for (let i = 0; i < 24; i++) await send(first, 500, (k) => `alpha ${word(700 + i * 500 + k)} omega`);
  const { patterns_held: held } = await get(first, '/api/patterns?limit=1');
  await until('the history', async () => (await remembered(first)) === 12000);
  await written(dir, Date.now());
  assert.ok(!first.log.some((line) => line.event === 'state_not_written'));
  await closeLedger(first);
  const second = await start(t, dir, small);
  assert.equal((await get(second, '/api/patterns?limit=1')).patterns_held, held);
  assert.equal(await remembered(second), 12000);
  await closeLedger(second);
});
