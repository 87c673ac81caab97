// /api/summary and /api/events: they say what the ledger says, are bounded, and hold nothing up.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs, request } from './lib/otlp.mjs';
import { KEEP_ALL, closeLedger, pair } from './lib/sidecar.mjs';
import { directory } from './lib/disk.mjs';
import { until } from './lib/wait.mjs';

const HALF = { ...KEEP_ALL, 'sampling.first.count': 0, 'sampling.severity_rates.INFO': 0.1 };
const READERS = 8;

async function post(sidecar, ...requests) {
  for (const r of requests) assert.equal((await sidecar.post(encodeLogs(r))).status, 200);
}

const summary = async (sidecar) => JSON.parse(await sidecar.page('admin', '/api/summary'));
const readers = async (sidecar) => (await sidecar.metrics()).lipservice_page_readers;

// A reader of events: {events, end(), ended}.
async function follow(t, sidecar) {
  const stop = new AbortController();
  t.after(() => stop.abort());
  const answer = await fetch(`http://${sidecar.addresses.admin}/api/events`, { signal: stop.signal });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-type'), 'text/event-stream');
  const reader = { events: [], end: () => stop.abort() };
  reader.ended = (async () => {
    let rest = '';
    for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + piece).split('\n\n');
      rest = parts.pop();
      for (const part of parts) {
        const [event, data] = part.split('\n');
        assert.equal(event, 'event: summary');
        reader.events.push(JSON.parse(data.slice('data: '.length)));
      }
    }
  })().catch((error) => (error.name === 'AbortError' ? null : Promise.reject(error)));
  return reader;
}

test('the summary says what the ledger says, and the loudest services', async (t) => {
  for (const more of [{}, { mode: 'observe' }, { durability: 'disk', 'spool.directory': directory(t) }, { 'sampling.budget.bytes_per_month': '10GiB' }]) {
    const { sidecar } = await pair(t, { set: { ...HALF, ...more } });
    const services = Array.from({ length: 25 }, (_, i) => request(10 + i, { service: `s${i}` }));
    await post(sidecar, ...services, request(40, { service: 's24', base: { severityNumber: 17, severityText: 'ERROR' } }));
    const unnamed = request(3);
    delete unnamed.resourceLogs[0].resource;
    await post(sidecar, unnamed);
    const expected = services.reduce((sum, r) => sum + r.resourceLogs[0].scopeLogs[0].logRecords.length, 0) + 43;
    await until('delivery', async () => (await sidecar.ledger()).queued === 0);
    const now = await summary(sidecar);
    const { services: counted, ...ledger } = await sidecar.ledger();
    for (const key of ['received', 'kept', 'sampled_out', 'dropped_by_rule', 'rejected', 'joined', 'released', 'delivered', 'queued']) assert.equal(now[key], ledger[key], key);
    assert.equal(now.received, expected);
    assert.deepEqual(now.errors, { received: 40, kept: 40 });
    assert.equal(now.lost, 0);
    assert.equal(now.mode, more.mode ?? 'enforce');
    // Twenty by bytes, and one row for the others; all together they are the whole.
    assert.equal(now.services.length, 21);
    assert.equal(now.services[0].name, 's24');
    assert.equal(now.services[20].is_other, true);
    for (let i = 1; i < 20; i++) assert.ok(now.services[i - 1].received_bytes >= now.services[i].received_bytes);
    const sum = (key) => now.services.reduce((all, row) => all + row[key], 0);
    assert.deepEqual([sum('received'), sum('received_bytes'), sum('kept_bytes'), sum('kept')], [now.received, now.received_bytes, now.kept_bytes, now.kept + now.released]);
    for (const row of now.services.slice(0, 20)) assert.equal(row.received, counted[row.name].received, row.name);
    if (more.mode === 'observe') assert.ok(now.would_keep < now.kept && now.would_keep >= 40 && now.would_keep_bytes < now.kept_bytes, JSON.stringify(now.would_keep));
    else assert.equal(now.would_keep, undefined);
    assert.equal(now.budget?.unit, more['sampling.budget.bytes_per_month'] ? 'bytes' : undefined);
    const m = now.month;
    assert.ok(Math.abs(m.saving - m.by_sampling - m.by_encoding) < 1e-6 * Math.max(1, m.saving));
    assert.ok(m.without_bytes >= m.with_bytes && m.without >= m.with);
    await closeLedger(sidecar, { received: expected });
  }
});

test('lost records and an upstream that is away are in the summary', async (t) => {
  const { stub, sidecar } = await pair(t, { set: KEEP_ALL });
  stub.faults.push({ status: 402 });
  await post(sidecar, request(5));
  await until('the loss', async () => (await summary(sidecar)).lost === 5);
  assert.deepEqual((await summary(sidecar)).losses, { refused_upstream: 5 });
  await stub.down();
  await post(sidecar, request(5));
  const away = await until('the outage', async () => {
    const { upstream } = await summary(sidecar);
    return upstream.circuit !== 'closed' && upstream;
  });
  assert.ok(away.queue_bytes > 0 && away.outage_ms >= 0, JSON.stringify(away));
  await stub.up();
  await closeLedger(sidecar, { received: 10, delivered: 5 });
});

test('events come each second to each reader, and only while there are readers', async (t) => {
  const { sidecar } = await pair(t, { set: HALF });
  const memory = async () => (await sidecar.metrics()).lipservice_memory_used_bytes;
  assert.equal(await readers(sidecar), 0);
  const two = [await follow(t, sidecar), await follow(t, sidecar)];
  await until('both', async () => (await readers(sidecar)) === 2);
  await post(sidecar, request(20));
  for (const reader of two) await until('the records', () => reader.events.some((event) => event.received === 20));
  const [first] = two;
  const times = first.events.map((event) => event.unix_ms);
  for (let i = 2; i < times.length; i++) assert.ok(times[i] - times[i - 1] >= 900, `${times}`); // the first came at once
  assert.deepEqual(Object.keys(first.events[0]), Object.keys(await summary(sidecar)).filter((key) => key in first.events[0]));
  const before = await memory();
  for (const reader of two) reader.end();
  await until('none', async () => (await readers(sidecar)) === 0);
  await until('their memory', async () => (await memory()) <= before - 2 * 128 * 1024);
  await closeLedger(sidecar, { received: 20 });
});

test('a reload changes what is said, and ends no reader', async (t) => {
  const file = path.join(directory(t), 'config.yaml');
  const write = (mode) => writeFileSync(file, `mode: ${mode}\nbatch: {max_age: 50ms}\nsampling: {first: {count: 0}, severity_rates: {INFO: 0}}\n`);
  write('enforce');
  const { sidecar } = await pair(t, { set: {}, args: ['--config', file] });
  const reader = await follow(t, sidecar);
  await post(sidecar, request(10));
  await until('dropped', () => reader.events.at(-1)?.sampled_out === 10);
  write('observe');
  sidecar.signal('SIGHUP');
  await until('observing', () => reader.events.at(-1).mode === 'observe');
  await post(sidecar, request(10));
  const last = await until('kept, and what would be', () => reader.events.findLast((event) => event.received === 20));
  assert.deepEqual([last.kept, last.would_keep], [10, 0]);
  reader.end();
  await closeLedger(sidecar, { received: 20, kept: 10, sampled_out: 10 });
});

test('there are eight readers at most, by either version of HTTP, and the end of the sidecar ends them', async (t) => {
  const { sidecar } = await pair(t, { set: KEEP_ALL });
  const all = await Promise.all(Array.from({ length: READERS }, () => follow(t, sidecar)));
  const ninth = await fetch(`http://${sidecar.addresses.admin}/api/events`);
  assert.equal(ninth.status, 503);
  assert.match((await ninth.json()).error, /as many readers/);
  all.pop().end();
  await until('a place', async () => (await readers(sidecar)) === READERS - 1);
  const session = http2.connect(`http://${sidecar.addresses.admin}`);
  const eighth = session.request({ ':path': '/api/events' });
  const [answer] = await once(eighth, 'response');
  assert.equal(answer[':status'], 200);
  const ended = once(eighth, 'end');
  let text = '';
  eighth.setEncoding('utf8').on('data', (part) => (text += part));
  await until('two events', () => text.match(/^event: summary$/gm)?.length >= 2);
  assert.equal(await readers(sidecar), READERS);
  const foreign = await fetch(`http://${sidecar.addresses.admin}/api/events`, { headers: { 'sec-fetch-site': 'cross-site' } });
  assert.equal(foreign.status, 403);
  await sidecar.stop();
  await Promise.all([...all.map((reader) => reader.ended), ended]);
  session.close();
  for (const reader of all) assert.ok(reader.events.length >= 1);
});

test('a reader that does not read holds nothing up and costs what was promised', async (t) => {
  const { sidecar } = await pair(t, { set: { ...KEEP_ALL, 'batch.max_age': '20ms' } });
  // Long names make an event long, so that the socket fills.
  const name = 'n'.repeat(240);
  await post(sidecar, ...Array.from({ length: 20 }, (_, i) => request(1, { service: name + String.fromCharCode(97 + i) })));
  const socket = net.connect(sidecar.adminPort, '127.0.0.1');
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  socket.write('GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n');
  socket.pause();
  await until('the reader', async () => (await readers(sidecar)) === 1);
  const reader = await follow(t, sidecar);
  for (let i = 0; i < 20; i++) await post(sidecar, request(100));
  await until('the one that reads has it all', () => reader.events.at(-1)?.received === 2020);
  assert.equal((await sidecar.metrics()).lipservice_memory_refused_total, 0);
  socket.destroy();
  reader.end();
  await until('none', async () => (await readers(sidecar)) === 0);
  await closeLedger(sidecar, { received: 2020, delivered: 2020 });
});
