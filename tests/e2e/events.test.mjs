// What is unusual and what was dropped, told as records of our own; and rates boosted meanwhile.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeLogs, request } from './lib/otlp.mjs';
import { pair, run } from './lib/sidecar.mjs';
import { pause, until } from './lib/wait.mjs';

// Half is sampled out by the trace id; rates are judged five times a second.
const SETTINGS = {
  'sampling.severity_rates.INFO': 0.5,
  'sampling.first.count': 0,
  'batch.max_age': '50ms',
  'events.enabled': true,
  'events.interval': '200ms',
  'events.learning': '1ms',
  'events.summary_interval': '500ms',
};

const send = async (sidecar, n, options) => {
  const answer = await sidecar.post(encodeLogs(request(n, options)));
  assert.equal(answer.status, 200);
  await answer.arrayBuffer();
  return n;
};
const told = (stub, name) => stub.rows.filter((row) => row.event_name === `lipservice.${name}`);
const texts = (row) => Object.fromEntries(Object.entries(row.attributes).map(([key, value]) => [key, JSON.parse(value)]));

// What is told between the last look and the end.
const end = async (sidecar, stub, want) => {
  await until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
  sidecar.signal('SIGTERM');
  assert.deepEqual(await sidecar.end(), { code: 0, signal: null }, sidecar.stderr);
  const last = sidecar.log.find((line) => line.event === 'ledger');
  const sum = (...keys) => keys.reduce((n, key) => n + Number(last[key]), 0);
  assert.equal(sum('received'), sum('kept', 'sampled_out', 'dropped_by_rule', 'rejected'));
  assert.equal(sum('kept', 'released'), sum('delivered', 'lost'));
  assert.equal(sum('delivered'), stub.rows.length);
  const own = stub.rows.filter((row) => row.instrumentation_scope.startsWith('lipservice@'));
  assert.equal(sum('received'), want + own.length);
  return { last, own };
};

test('a surge arrives as a record of its service, with what is usual, and lifts the rate', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...SETTINGS, 'sampling.anomaly_boost': 4 } });
  const body = (i) => `order ${i} was placed`;
  let sent = 0;
  let sends = 0;
  for (const last = Date.now() + 4000; Date.now() < last; sends++) { // 20 intervals, steady
    sent += await send(sidecar, 2, { service: 'shop', body });
    await pause(50);
  }
  assert.ok(sends > 20);
  assert.equal(told(stub, 'pattern.surge').length, 0);
  sent += await send(sidecar, 500, { service: 'shop', body });
  const [row] = await until('the surge', () => told(stub, 'pattern.surge').length > 0 && told(stub, 'pattern.surge'));
  assert.equal(row.service_name, 'shop');
  assert.equal(row.severity_text, 'warn');
  assert.match(row.body, /^Pattern surges: \S+ records a second, usually \S+: order <\*> was placed$/);
  const attributes = texts(row);
  assert.match(attributes['pattern.id'], /^lps1:[0-9a-f]{16}$/);
  assert.equal(attributes['log.record.template'], 'order <*> was placed');
  assert.equal(attributes['otel.logs.adjusted_count'], 0);
  assert.ok(attributes['lipservice.rate'] > 3 * attributes['lipservice.rate.usual'], JSON.stringify(attributes));
  assert.equal(Number(attributes['lipservice.received']), sent);
  assert.equal(told(stub, 'service.surge').length, 0); // it is the pattern's: one event a spike
  const metrics = await sidecar.metrics();
  assert.equal(metrics['lipservice_events_total{event="lipservice.pattern.surge"}'], 1);

  // At 0.5 times 4 nothing is sampled out any more.
  const before = (await sidecar.ledger()).services.shop.kept;
  sent += await send(sidecar, 300, { service: 'shop', body });
  assert.equal((await sidecar.ledger()).services.shop.kept, before + 300);
  const { last, own } = await end(sidecar, stub, sent);

  // The summaries say exactly what is missing, the last of them at the end.
  const summaries = told(stub, 'pattern.summary');
  const sum = (key) => summaries.reduce((n, summary) => n + Number(texts(summary)[key]), 0);
  assert.equal(sum('lipservice.sampled_out'), Number(last.sampled_out));
  assert.ok(Number(last.sampled_out) > 0);
  assert.match(texts(summaries[0])['lipservice.sample'], /^order \d+ was placed$/);
  assert.ok(own.every((event) => event.severity_number === 9 || event.severity_number === 13));
});

test('new, once it has learnt; silent, when it stops', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...SETTINGS, 'sampling.severity_rates.INFO': 1 } });
  let sent = 0;
  const other = async () => (sent += await send(sidecar, 3, { service: 'shop', body: () => 'a heart beats' }));
  await other();
  await pause(300);
  for (const last = Date.now() + 7000; Date.now() < last;) { // 35 intervals
    sent += await send(sidecar, 5, { service: 'shop', body: () => 'the pump runs' });
    await other();
    await pause(50);
  }
  assert.deepEqual(told(stub, 'pattern.new').map((row) => texts(row)['log.record.template']), ['the pump runs']);
  await until('silence', async () => {
    await other();
    return told(stub, 'pattern.silent').length > 0;
  });
  const [row] = told(stub, 'pattern.silent');
  assert.equal(row.service_name, 'shop');
  assert.equal(texts(row)['log.record.template'], 'the pump runs');
  const metrics = await sidecar.metrics();
  assert.equal(metrics.lipservice_anomalous_patterns, 1);
  assert.equal(metrics['lipservice_events_total{event="lipservice.pattern.new"}'], 1);
  assert.equal(told(stub, 'pattern.summary').length, 0);
  await end(sidecar, stub, sent);
});

test('suppressed errors are told though events are off', async (t) => {
  const set = { 'batch.max_age': '50ms', 'sampling.floor.max_per_second': 10, 'events.summary_interval': '300ms' };
  const { stub, sidecar } = await pair(t, { set });
  const base = { severityNumber: 17, severityText: 'ERROR' };
  const sent = await send(sidecar, 500, { service: 'shop', base });
  await until('the event', () => told(stub, 'errors_suppressed').length > 0);
  const [row] = told(stub, 'errors_suppressed');
  assert.equal(row.service_name, 'shop');
  assert.equal(row.severity_text, 'warn');
  const { dropped_by_rule: dropped } = await sidecar.ledger();
  assert.ok(dropped > 400);
  assert.equal(Number(texts(row)['lipservice.errors.suppressed']), dropped);
  const { own } = await end(sidecar, stub, sent);
  assert.equal(own.length, 1);
});

test('observing tells nothing unless it is asked to', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...SETTINGS, mode: 'observe', 'events.enabled': false, 'sampling.anomaly_boost': 4 } });
  const sent = await send(sidecar, 100);
  const { own } = await end(sidecar, stub, sent);
  assert.equal(own.length, 0);
  assert.equal(stub.rows.length, 100);
});

test('explain says that a boost may come', async () => {
  const { code, stdout } = await run(['explain', '--config', '/dev/null', '--set', 'sampling.anomaly_boost=3', 'hello']);
  assert.equal(code, 0);
  assert.match(stdout, /boost +up to 3 times the rate while the pattern or its service is anomalous/);
});
