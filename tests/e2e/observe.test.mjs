// Look before you drop: observe, and a second policy that is only counted.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs, request } from './lib/otlp.mjs';
import { BINARY, closeLedger, pair, run } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

const QUICK = { 'batch.max_age': '50ms', 'sampling.first.count': 0 };

function policyFile(t, text) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-e2e-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const file = path.join(dir, 'policy.yaml');
  writeFileSync(file, text);
  return file;
}

const send = async (sidecar, bytes) => assert.equal((await sidecar.post(bytes)).status, 200);
const shadow = async (sidecar) => JSON.parse(await sidecar.page('admin', '/api/shadow'));
const lane = (page, name) => page.lanes.find((l) => l.lane === name);

test('observe: everything arrives byte by byte, and what enforcing would do is counted', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...QUICK, mode: 'observe', 'cost.per_gb': 1000, 'cost.free_gb': 0, 'cost.currency': 'EUR' }, posthog: { keepBodies: true } });
  const bytes = encodeLogs(request(1000, { body: (i) => `took ${i} ms`, base: { attributes: [{ key: 'a', value: { intValue: 1 } }] } }));
  const untimed = encodeLogs(request(1, { body: () => 'no time', base: { timeUnixNano: 0 } }));
  await send(sidecar, bytes);
  await send(sidecar, untimed);
  await until('all of them', () => stub.rows.length === 1001);
  // Records lie side by side in the request that was sent, and so they do in what arrived.
  const arrived = Buffer.concat(stub.logs.map((r) => r.body));
  const first = bytes.indexOf('took 0 ms'), last = bytes.indexOf('took 999 ms');
  assert.ok(arrived.includes(bytes.subarray(first, last)), 'the bytes of the records are those that came');
  for (const { attributes } of stub.rows) assert.ok(!('otel.logs.adjusted_count' in attributes));

  const page = await shadow(sidecar);
  assert.equal(page.mode, 'observe');
  const would = lane(page, 'enforced');
  assert.equal(would.kept + would.sampled_out, 1001);
  assert.ok(would.kept > 120 && would.kept < 290, `${would.kept} of 1001 at 0.2`);
  assert.equal(lane(page, 'done').kept, 1001);
  assert.equal(lane(page, 'shadow'), undefined);
  const [done, everything] = [lane(page, 'done'), lane(page, 'everything')];
  assert.deepEqual([page.currency, page.is_assumed, everything.saving_a_month], ['EUR', true, 0]);
  assert.ok(Math.abs(done.saving_a_month) < 0.01 * done.price_a_month, 'observing saves nothing');
  assert.ok(Math.abs(would.price_a_month / done.price_a_month - would.kept_bytes / done.kept_bytes) < 1e-6);
  assert.ok(Math.abs(would.saving_a_month + would.price_a_month - everything.price_a_month) < 1e-6 * done.price_a_month);
  const [pattern] = page.patterns;
  assert.equal(pattern.template, 'took <*>');
  assert.equal(pattern.done.kept, 1000);
  assert.equal(pattern.enforced.kept + pattern.enforced.sampled_out, 1000);
  const words = await run(['shadow', '--admin', `http://${sidecar.addresses.admin}`]);
  assert.equal(words.code, 0, words.stderr);
  assert.match(words.stdout, /^observing: everything is forwarded; money is EUR a month at the rate since the start, prices are assumed\n/);
  assert.match(words.stdout, new RegExp(`^enforced +${would.kept} +[0-9.]+% .* config, version 0$`, 'm'));
  assert.match(words.stdout, /^lps1:[0-9a-f]{16} INFO +1000 +100\.0% +[12][0-9]\.[0-9]% +"e2e" "took <\*>"$/m);
  const metrics = await sidecar.metrics();
  assert.equal(metrics.lipservice_observing, 1);
  assert.equal(metrics.lipservice_price_is_assumed, 1);
  assert.ok(metrics['lipservice_price_per_month{of="sent"}'] > 0);
  assert.equal(metrics['lipservice_shadow_records_total{lane="enforced",verdict="kept"}'], would.kept);
  await closeLedger(sidecar, { received: 1001, kept: 1001, sampled_out: 0 });
});

test('observe: tap and top show what enforcing would do, and all is forwarded', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...QUICK, mode: 'observe', 'sampling.first.count': 0, 'sampling.severity_rates.INFO': 0.1, 'cost.free_gb': 0, 'cost.per_gb': 1000 } });
  const admin = ['--config', '/dev/null', '--admin', `http://${sidecar.addresses.admin}`];
  const tap = run(['tap', ...admin, '--dropped', '--limit', '20']);
  await until('the tap listens', async () => (await sidecar.metrics()).lipservice_taps === 1);
  await send(sidecar, encodeLogs(request(100, { service: 'shop', body: (i) => `took ${i} ms ${'and went well '.repeat(20)}` })));
  await send(sidecar, encodeLogs(request(10, { service: '', body: (i) => `failed ${i}`, base: { severityNumber: 17 } })));
  const { stdout, stderr, code } = await tap;
  assert.equal(code, 0, stderr);
  assert.equal(stdout.match(/ shop +INFO +sampled_out +severity_rate +0\.1 /g)?.length, 20, stdout);
  assert.match(stderr, /observing: all of them are forwarded/);
  const would = lane(await shadow(sidecar), 'enforced');
  assert.ok(would.kept > 15 && would.kept < 35);
  const top = (await run(['top', ...admin, '--once'])).stdout;
  assert.match(top, new RegExp(`kept ${((100 * would.kept) / 110).toFixed(1)}% {2}lost 0 `));
  assert.match(top, /by volume {2}OBSERVING, enforcing would do this: {2}saves [1-9][\d.]* of /);
  assert.match(top, / 100 +90\.9% +(\d|1\d|2\d)\.\d% .* INFO +shop +took/);
  assert.match(top, / ERROR +\(unnamed\) +failed/);
  // 200 errors cost more, but enforcing would save nothing of them.
  await send(sidecar, encodeLogs(request(200, { service: 'shop', body: (i) => `payment ${i} failed ${'for good '.repeat(20)}`, base: { severityNumber: 17 } })));
  const rows = (await sidecar.page('admin', '/api/top?sort=saved&limit=1')).trim().split('\n').map((line) => JSON.parse(line));
  assert.match(rows[1].template, /^took/, 'what would save most comes first');
  const words = (await run(['shadow', ...admin])).stdout;
  assert.match(words, /USD\/month +saved/);
  assert.match(words, / \(unnamed\) "failed/);
  const narrow = spawnSync('script', ['-qec', `stty cols 70; ${BINARY} shadow ${admin.join(' ')}`, '/dev/null'], { encoding: 'utf8', env: { PATH: process.env.PATH, TERM: 'xterm', SHELL: '/bin/sh' } });
  assert.match(narrow.stdout, /lps1:/);
  for (const line of narrow.stdout.split('\r\n')) assert.ok([...line].length <= 70, line);
  await until('all of them', () => stub.rows.length === 310);
  await closeLedger(sidecar, { received: 310, kept: 310, sampled_out: 0 });
});

test('shadow.policy_file: counted beside what is done, in either mode', async (t) => {
  for (const mode of ['enforce', 'observe']) {
    const file = policyFile(t, 'version: 7\nglobal_rate: 0\nseverity_rates: {INFO: 0.5}\n');
    const { sidecar } = await pair(t, { set: { ...QUICK, mode, 'shadow.policy_file': file } });
    await send(sidecar, encodeLogs(request(2000, { body: (i) => `took ${i} ms` })));
    await send(sidecar, encodeLogs(request(10, { body: (i) => `failed ${i}`, base: { severityNumber: 17 } })));
    const page = await shadow(sidecar);
    const second = lane(page, 'shadow');
    assert.equal(second.version, 7);
    assert.equal(second.kept + second.sampled_out, 2010);
    assert.ok(Math.abs(second.kept - 1010) < 120, `${second.kept}: INFO by half, and all errors`);
    assert.equal(lane(page, 'enforced') !== undefined, mode === 'observe');
    const ledger = await sidecar.ledger();
    if (mode === 'enforce') assert.ok(ledger.kept < 600 && ledger.kept > 200);
    else assert.equal(ledger.kept, 2010);
    for (const p of page.patterns) assert.ok(p.shadow.kept >= p[mode === 'observe' ? 'enforced' : 'done'].kept, 'the same randomness: more rate keeps more');

    // Hot, like any policy file.
    writeFileSync(file, 'version: 8\nglobal_rate: 1\n');
    await until('version 8', async () => lane(await shadow(sidecar), 'shadow').version === 8);
    await closeLedger(sidecar, { received: 2010 });
  }
});

test('neither: the page says what to set', async (t) => {
  const { sidecar } = await pair(t, { set: QUICK });
  const answer = await fetch(`http://${sidecar.addresses.admin}/api/shadow`);
  assert.equal(answer.status, 404);
  assert.match(await answer.text(), /mode: observe/);
  const words = await run(['shadow', '--admin', `http://${sidecar.addresses.admin}`]);
  assert.equal(words.code, 69);
  assert.match(words.stderr, /mode: observe/);
  await closeLedger(sidecar);
});
