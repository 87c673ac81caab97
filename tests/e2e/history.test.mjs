// What is remembered: steps, sparks, lines of a pattern, and what another policy would have cost.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { directory } from './lib/disk.mjs';
import { encodeLogs, request } from './lib/otlp.mjs';
import { closeLedger, pair } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

const INFO = 9;
const ERROR = 17;
const SAMPLING = {
  'batch.max_age': '50ms',
  'sampling.first.count': 5,
  'sampling.severity_rates.INFO': 0.1,
  'sampling.severity_rates.DEBUG': 0.05,
  'events.enabled': false,
};

const sum = (list) => list.reduce((a, b) => a + b, 0);
const url = (sidecar, route) => `http://${sidecar.addresses.admin}${route}`;
const get = async (sidecar, route) => (await fetch(url(sidecar, route))).json();
const status = async (sidecar, route) => (await fetch(url(sidecar, route))).status;

async function ask(sidecar, route, body, headers = {}) {
  const answer = await fetch(url(sidecar, route), { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) });
  return { status: answer.status, ...(await answer.json()) };
}

async function send(sidecar, n, options, base = {}) {
  assert.equal((await sidecar.post(encodeLogs(request(n, { ...options, base })))).status, 200);
}

// The history that holds so many records.
const remembered = (sidecar, received, query = 'span=1h') =>
  until(`${received} records in the history`, async () => {
    const history = await get(sidecar, `/api/history?${query}`);
    return sum(history.total.received) === received && history;
  });

test('the history adds up to the ledger, in total and by service', async (t) => {
  const { sidecar } = await pair(t, { set: SAMPLING });
  await send(sidecar, 300, { service: 'shop', body: (i) => `order ${i} paid` });
  await send(sidecar, 40, { service: '', body: (i) => `tick ${i}` });
  await send(sidecar, 20, { service: 'shop', body: (i) => `order ${i} failed` }, { severityNumber: ERROR, severityText: 'ERROR' });
  const history = await remembered(sidecar, 360);
  const ledger = await sidecar.ledger();
  assert.equal(history.step_s, 10);
  assert.equal(history.steps, 360);
  for (const column of ['received', 'kept', 'errors', 'lost', 'received_bytes', 'kept_bytes']) assert.equal(history.total[column].length, 360, column);
  assert.equal(sum(history.total.kept), ledger.kept + ledger.released);
  assert.equal(sum(history.total.errors), 20);
  assert.ok(sum(history.total.kept_bytes) > 0 && sum(history.total.kept_bytes) < sum(history.total.received_bytes));
  const by = Object.fromEntries(history.services.map((service) => [service.name, service]));
  assert.deepEqual(history.services.map((service) => service.name), ['shop', '']);
  assert.equal(sum(by.shop.received), 320);
  assert.equal(sum(by.shop.errors), 20);
  assert.equal(sum(by[''].received), 40);
  const age = Date.now() / 1000 - (history.from_unix_s + 3600);
  assert.ok(age > -11 && age < 30, `the last step ends now: ${age}`);
  const day = await get(sidecar, '/api/history?span=24h&service=shop');
  assert.deepEqual([day.step_s, day.steps, sum(day.total.received), day.services.length, sum(day.services[0].received)], [60, 1440, 360, 1, 320]);
  assert.equal((await get(sidecar, '/api/history?span=15m')).steps, 90);
  assert.equal(await status(sidecar, '/api/history?span=2h'), 400);
  assert.deepEqual((await get(sidecar, '/api/history?span=1h&service=nobody')).services, []);
  await closeLedger(sidecar);
});

test('patterns have a spark, a rate and a reason', async (t) => {
  const { sidecar } = await pair(t, { set: { ...SAMPLING, 'sampling.keep': '[{service: pay}]' } });
  await send(sidecar, 300, { service: 'shop', body: (i) => `order ${i} paid` });
  await send(sidecar, 3, { service: 'shop', body: (i) => `cache of ${i} is cold` });
  await send(sidecar, 50, { service: 'pay', body: (i) => `charge ${i} booked` });
  await send(sidecar, 20, { service: 'shop', body: (i) => `order ${i} failed` }, { severityNumber: ERROR });
  await remembered(sidecar, 373);
  const rows = await until('sparks', async () => {
    const { patterns } = await get(sidecar, '/api/patterns?spark=1&limit=100');
    return patterns.length === 4 && patterns.every((row) => row.spark && sum(row.spark) === row.received) && patterns;
  });
  const by = Object.fromEntries(rows.map((row) => [row.template, row]));
  assert.equal(rows[0].spark.length, 60);
  assert.deepEqual(['order <*> paid', 'cache of <*> is cold', 'charge <*> booked', 'order <*> failed'].map((template) => [by[template].rate_origin, by[template].why]), [
    ['severity', 'severity_rates.INFO keeps 10% of it'],
    ['first', 'the first 5 of each 60s are kept, and no more came'],
    ['keep', 'rule keep[0] keeps it'],
    ['floor', 'errors are always kept'],
  ]);
  assert.deepEqual((await get(sidecar, '/api/patterns?spark=1&service=pay')).patterns.map((row) => row.template), ['charge <*> booked']);
  assert.deepEqual((await get(sidecar, '/api/patterns?spark=1&service=nobody')).patterns, []);
  // An interval: now, and before there was anything.
  const now = Math.floor(Date.now() / 1000);
  const within = await get(sidecar, `/api/patterns?spark=1&limit=2&from=${now - 1800}&to=${now + 60}`);
  assert.deepEqual(within.patterns.map((row) => row.records), [300, 50]);
  assert.deepEqual((await get(sidecar, `/api/patterns?spark=1&from=${now - 7200}&to=${now - 3700}`)).patterns, []);
  for (const from of ['yesterday', '1e300', '-1', '5x']) assert.equal(await status(sidecar, `/api/patterns?from=${from}`), 400, from);
  await closeLedger(sidecar);
});

test('a pattern opened has lines that were kept and dropped, redacted', async (t) => {
  const { sidecar } = await pair(t, { set: { ...SAMPLING, 'redaction.mode': 'enforce' } });
  await send(sidecar, 400, { service: 'shop', body: (i) => `order ${i} of ann@example.com paid` });
  const [row] = await sidecar.patterns();
  const query = `id=${row.pattern}&service=shop&severity=INFO`;
  const opened = await get(sidecar, `/api/pattern?${query}`);
  assert.equal(opened.received, 400);
  assert.equal(opened.family, opened.pattern);
  assert.equal(opened.protected_by, null);
  for (const kind of ['kept', 'dropped']) {
    const lines = opened.samples[kind];
    assert.ok(lines.length > 0 && lines.length <= 5, kind);
    for (const { body, unix_ns: at } of lines) {
      assert.match(body, /^order \d+ of .+ paid$/);
      assert.doesNotMatch(body, /example\.com/);
      assert.match(at, /^\d{19}$/);
    }
  }
  assert.equal(await status(sidecar, '/api/pattern?id=lps1:0123456789abcdef'), 404);
  assert.equal(await status(sidecar, '/api/pattern?id=nothing'), 400);
  assert.equal(await status(sidecar, `/api/pattern?id=${row.pattern}&service=nobody`), 404);
  await closeLedger(sidecar);
});

test('what-if: rates, a budget, a policy; nothing changes', async (t) => {
  const { sidecar } = await pair(t, { set: { ...SAMPLING, 'cost.per_gb': 0.25, 'cost.free_gb': 0 } });
  await send(sidecar, 2000, { service: 'shop', body: (i) => `order ${i} paid` });
  await send(sidecar, 100, { service: 'shop', body: (i) => `order ${i} failed` }, { severityNumber: ERROR });
  await remembered(sidecar, 2100);
  const ledger = await sidecar.ledger();
  const same = await ask(sidecar, '/api/whatif', { span: '1h', set: {} });
  assert.equal(same.status, 200);
  assert.equal(same.received, 2100);
  assert.equal(same.kept_now, ledger.kept + ledger.released);
  assert.equal(same.kept_then, same.kept_now);
  assert.equal(same.kept_bytes_then, same.kept_bytes_now);
  assert.deepEqual(same.rows, []);
  assert.equal(same.month.saving, 0);
  const all = await ask(sidecar, '/api/whatif', { span: '1h', set: { 'sampling.severity_rates.INFO': 1 } });
  assert.ok(Math.abs(all.kept_then - 2100) < 250, `all of it, about: ${all.kept_then}`);
  assert.ok(all.month.saving < 0 && all.month.currency === 'USD');
  assert.equal(all.rows.length, 1);
  assert.equal(all.rows[0].template, 'order <*> paid');
  assert.equal(all.rows[0].share_then, 1);
  const none = await ask(sidecar, '/api/whatif', { span: '24h', set: { 'sampling.severity_rates': { INFO: 0 }, 'sampling.first.count': 0 } });
  assert.ok(Math.abs(none.kept_then - 100) < 30, `errors alone: ${none.kept_then}`);
  const id = all.rows[0].pattern;
  const one = await ask(sidecar, '/api/whatif', { span: '1h', set: { [`sampling.pattern_rates.${id}`]: 0 } });
  assert.equal(one.rows[0].pattern, id);
  const policy = await ask(sidecar, '/api/whatif', { span: '1h', document: 'global_rate: 1\nseverity_rates: {INFO: 1, DEBUG: 1}\n' });
  assert.equal(policy.kept_then, all.kept_then);
  const budget = await ask(sidecar, '/api/whatif', { span: '1h', set: { 'sampling.budget.target_reduction': 0.98 } });
  assert.ok(budget.kept_then < same.kept_now);
  const wrong = [
    [{ set: { 'sampling.severity_rates.ERROR': 0.5 } }, 422, /errors are always kept/],
    [{ set: { 'memory.limit': 1 } }, 422, /what-if knows/],
    [{ set: { 'sampling.severity_rates.INFO': 'much' } }, 422, /rate/],
    [{ span: '2h' }, 422, /1h or 24h/],
    [{ document: 'global_rate: [' }, 422, /policy:\d+:\d+/],
    [[], 400, /object/],
  ];
  for (const [body, code, text] of wrong) {
    const answer = await ask(sidecar, '/api/whatif', body);
    assert.equal(answer.status, code, JSON.stringify(body));
    assert.match(answer.error, text);
  }
  assert.equal((await fetch(url(sidecar, '/api/whatif'), { method: 'POST', headers: { origin: 'http://evil.example' }, body: '{}' })).status, 403);
  const after = (await get(sidecar, '/api/patterns?spark=1')).patterns.find((row) => row.pattern === id);
  assert.equal(after.why, 'severity_rates.INFO keeps 10% of it');
  await closeLedger(sidecar);
});

test('observing, the history has what would be kept', async (t) => {
  const { sidecar } = await pair(t, { set: { ...SAMPLING, mode: 'observe' } });
  await send(sidecar, 500, { service: 'shop', body: (i) => `order ${i} paid` });
  const history = await remembered(sidecar, 500);
  assert.equal(sum(history.total.kept), 500);
  const would = sum(history.total.would_keep);
  assert.ok(would > 5 && would < 150, `${would} of 500`);
  assert.equal(history.total.would_keep_bytes.length, 360);
  const [row] = await sidecar.patterns();
  const { samples } = await get(sidecar, `/api/pattern?id=${row.pattern}`);
  assert.ok(samples.kept.length > 0 && samples.dropped.length > 0, 'lines that would be kept and dropped');
  const asked = await ask(sidecar, '/api/whatif', { span: '1h', set: {} });
  assert.deepEqual([asked.observing, asked.kept_now], [true, would]);
  await closeLedger(sidecar);
});

test('on disk, with a budget, and over a reload the history is the ledger\'s', async (t) => {
  for (const more of [{ durability: 'disk', 'spool.directory': directory(t) }, { 'sampling.budget.records_per_second': 20 }]) {
    const { sidecar } = await pair(t, { set: { ...SAMPLING, ...more } });
    await send(sidecar, 1500, { service: 'shop', body: (i) => `order ${i} paid` });
    sidecar.signal('SIGHUP');
    await sidecar.until('the reload', () => sidecar.log.some((line) => line.event === 'reloaded'));
    await send(sidecar, 500, { service: 'pay', body: (i) => `charge ${i} booked` });
    const history = await remembered(sidecar, 2000);
    const ledger = await sidecar.ledger();
    assert.equal(sum(history.total.kept), ledger.kept + ledger.released);
    assert.deepEqual(history.services.map((s) => sum(s.received)).sort((a, b) => a - b), [500, 1500]);
    const { month } = history;
    assert.deepEqual([month.received, month.kept], [2000, ledger.kept + ledger.released]);
    await closeLedger(sidecar);
  }
});

test('marks say when something was new, and when the upstream was away; a budget is a reason', async (t) => {
  const set = { ...SAMPLING, 'sampling.anomaly_boost': 2, 'events.learning': '1ms', 'events.interval': '100ms', 'sampling.severity_rates.INFO': 1, 'sampling.budget.records_per_second': 5 };
  const { sidecar, stub } = await pair(t, { set });
  const marks = async (kind) => (await get(sidecar, '/api/history')).marks.filter((m) => m.kind === kind);
  let n = 0; // what comes while the process learns is not new: another is tried then
  await until('a mark', async () => {
    const word = 'abcdefghijklmnop'[n++ % 16].repeat(6);
    await send(sidecar, 1, { service: 'shop', body: () => `${word} came for the ${n}. time` });
    return (await marks('new')).some((m) => /^new: shop |^\d+ new patterns, the first: shop /.test(m.text));
  });
  await until('the budget as a reason', async () => {
    await send(sidecar, 400, { service: 'shop', body: (i) => `order ${i} paid` });
    const { patterns } = await get(sidecar, '/api/patterns?spark=1');
    const row = patterns.find((p) => p.template === 'order <*> paid');
    return row.rate_origin === 'budget' && row.rate < 1 && /^the budget leaves .* of it; its own rate is 100%$/.test(row.why);
  });
  await until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
  stub.answer = () => ({ status: 503 });
  await until('the mark of an outage', async () => {
    await send(sidecar, 1, { service: 'shop', body: () => 'is it there', base: { severityNumber: ERROR } });
    return (await marks('outage')).some((m) => m.text === 'the upstream does not answer');
  });
  stub.answer = null;
  await until('that it is over', async () => (await marks('outage')).some((m) => m.text === 'it answers again'));
  await closeLedger(sidecar);
});

test('without history.memory there is none, and all else goes on', async (t) => {
  const { sidecar } = await pair(t, { set: { ...SAMPLING, 'history.memory': 0 } });
  await send(sidecar, 100, { service: 'shop', body: (i) => `order ${i} paid` });
  assert.equal(await status(sidecar, '/api/history'), 404);
  assert.equal((await ask(sidecar, '/api/whatif', {})).status, 404);
  const [row] = (await get(sidecar, '/api/patterns?spark=1')).patterns;
  assert.deepEqual([row.spark, row.rate_origin], [null, 'severity']);
  assert.deepEqual((await get(sidecar, `/api/pattern?id=${row.pattern}`)).samples, { kept: [], dropped: [] });
  await closeLedger(sidecar);
});
