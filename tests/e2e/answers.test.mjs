// Every answer that an upstream may give, by a table: what becomes of the records.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs, flatten, normalizeJson, request } from './lib/otlp.mjs';
import { audit, closeLedger, KEEP_ALL, pair, run, Sidecar } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

const KIB = 1024;
const lines = (sidecar, event) => sidecar.log.filter((line) => line.event === event);
const answers = async (sidecar, kind) => (await sidecar.metrics())[`lipservice_exporter_requests_total{answer="${kind}"}`];
const drained = (sidecar) => until('an empty queue', async () => (await sidecar.ledger()).queued === 0);

async function send(sidecar, n, options = {}) {
  assert.equal((await sidecar.post(encodeLogs(request(n, options)))).status, 200);
}

// ---- the status table

// What happens to a batch of five whose first answer is this; then all is well.
const AGAIN = { delivered: 5, lost: {} };
const LOST = { delivered: 0, lost: { refused_upstream: 5 } };
const TABLE = [
  [200, 'accepted', AGAIN], [201, 'accepted', AGAIN], [202, 'accepted', AGAIN], [204, 'accepted', AGAIN], [299, 'accepted', AGAIN],
  [400, 'isolate', AGAIN], [402, 'refused', LOST], [406, 'refused', LOST],
  [408, 'retry', AGAIN], [409, 'refused', LOST], [410, 'refused', LOST], [411, 'refused', LOST], [413, 'split', AGAIN], [414, 'refused', LOST],
  [415, 'recode', AGAIN], [418, 'refused', LOST], [421, 'retry', AGAIN], [422, 'isolate', AGAIN], [425, 'retry', AGAIN], [426, 'refused', LOST], [429, 'retry', AGAIN], [431, 'refused', LOST], [451, 'refused', LOST], [499, 'refused', LOST],
  [500, 'server_error', AGAIN], [501, 'refused', LOST], [502, 'retry', AGAIN], [503, 'retry', AGAIN], [504, 'retry', AGAIN], [505, 'refused', LOST], [507, 'retry', AGAIN], [520, 'retry', AGAIN], [599, 'retry', AGAIN],
];
test('every row of the status table', async (t) => {
  const { stub, sidecar } = await pair(t);
  let received = 0;
  let delivered = 0;
  let lost = 0;
  let silent = 0; // delivered, by an answer that did not store
  for (const [status, kind, { delivered: d, lost: l }] of TABLE) {
    const before = await answers(sidecar, kind);
    stub.faults.push({ status, headers: { location: `${stub.url}/login` } });
    await send(sidecar, 5);
    await until(`${status} answered`, () => stub.faults.length === 0);
    await drained(sidecar);
    const ledger = await sidecar.ledger();
    received += 5;
    delivered += d;
    lost += l.refused_upstream ?? 0;
    if (status < 300) silent += 5;
    assert.deepEqual([ledger.delivered, ledger.lost.refused_upstream ?? 0], [delivered, lost], `${status}`);
    assert.equal((await answers(sidecar, kind)) - before, 1, `${status}: ${kind}`);
  }
  assert.equal(stub.stray.length, 0, 'no redirect was followed');
  await closeLedger(sidecar, { received, delivered }, { stored: stub.rows.length + silent });
});

test('421: on another connection', async (t) => {
  const { stub, sidecar } = await pair(t);
  let connections = 0;
  stub.server.on('connection', () => connections++);
  for (let i = 0; i < 3; i++) {
    await send(sidecar, 5);
    await drained(sidecar);
  }
  const before = connections;
  stub.faults.push({ status: 425 });
  await send(sidecar, 5);
  await drained(sidecar);
  assert.equal(connections, before, 'others are kept alive');
  stub.faults.push({ status: 421 });
  await send(sidecar, 5);
  await drained(sidecar);
  assert.equal(connections, before + 1);
  await closeLedger(sidecar, { received: 25, delivered: 25, lost: {} });
});

test('a redirect elsewhere: the key does not go there', async (t) => {
  const { stub, sidecar } = await pair(t);
  const other = await pair(t);
  stub.faults.push({ status: 307, headers: { location: `${other.stub.url}/i/v1/logs` } });
  await send(sidecar, 2);
  await until('the hold', async () => (await sidecar.metrics()).lipservice_exporter_address_refused === 1);
  const { exporter } = JSON.parse(await sidecar.page('health', '/status'));
  assert.equal(exporter.right_host, `${other.stub.url}/i/v1/logs`);
  assert.equal(other.stub.requests.length + other.stub.stray.length, 0);
  sidecar.signal('SIGHUP');
  await until('delivery', async () => (await sidecar.ledger()).delivered === 2);
  await closeLedger(sidecar, { delivered: 2, lost: {} });
  await closeLedger(other.sidecar);
});

// ---- answers that are not well

const head = (text) => `HTTP/1.1 ${text}`;
const RAW = [
  // [what, the bytes before the connection ends, delivered by it (else sent again)]
  ['a head cut short behind the status line', head('200 OK\r\n'), false],
  ['a head cut short in a field', head('200 OK\r\nContent-Le'), false],
  ['half a status line', 'HTTP/1.1 2', false],
  ['nothing at all', '', false],
  ['no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n', false],
  ['only an interim answer', head('100 Continue\r\n\r\n'), false],
  ['an interim answer, then a good one', head('103 Early Hints\r\nRetry-After: 900\r\n\r\n') + head('200 OK\r\nContent-Length: 2\r\n\r\n{}'), true],
  ['a body cut short', head('200 OK\r\nContent-Length: 100\r\n\r\n{'), true],
  ['a chunked body cut short', head('200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{'), true],
  ['a chunked body that is none', head('200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'), true],
  ['bad gzip', head('200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n\x1f\x8b not it'), true],
  ['a coding that nobody knows', head('200 OK\r\nContent-Encoding: foo, gzip\r\nContent-Length: 2\r\n\r\n{}'), true],
  ['a page', head('200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>'), true],
  ['JSON that is none', head('200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n{"par'), true],
  ['protobuf that is none', head('200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 5\r\n\r\n\x0a\x7f\x01\x02\x03'), true],
  ['503 cut short in its body', head('503 No\r\nContent-Length: 100\r\n\r\n<'), false],
  ['503 with bad gzip', head('503 No\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc'), false],
];
test('answers cut short, in the wrong form, or not HTTP', async (t) => {
  const { stub, sidecar } = await pair(t);
  let sent = 0;
  let silent = 0;
  for (const [what, bytes, isSuccess] of RAW) {
    const before = stub.logs.length;
    stub.faults.push({ raw: (socket) => socket.end(bytes, 'latin1') });
    await send(sidecar, 2);
    sent += 2;
    await until(`${what}: delivered`, async () => (await sidecar.ledger()).delivered === sent);
    if (isSuccess) silent += 2;
    assert.ok(isSuccess ? stub.logs.length === before + 1 : stub.logs.length >= before + 2, `${what}: ${stub.logs.length - before} requests`);
  }
  assert.ok(stub.logs.every((r) => r.headers['accept-encoding'] === undefined), 'compression is not asked for');
  await closeLedger(sidecar, { delivered: sent, lost: {} }, { stored: stub.rows.length + silent });
});

for (const [status, want] of [[200, 'delivered'], [400, 'refused_upstream']]) {
  test(`${status} with an answer without end: no more than 64 KiB are read, the status counts`, async (t) => {
    const { stub, sidecar } = await pair(t);
    const block = Buffer.alloc(64 * KIB, 'x');
    let written = 0;
    let closed = false;
    stub.faults.push({
      raw(socket) {
        socket.on('close', () => (closed = true));
        socket.write(head(`${status} X\r\nContent-Length: 10737418240\r\n\r\n`));
        const more = () => {
          while (!closed) {
            written += block.length;
            if (!socket.write(block)) {
              socket.once('drain', more);
              return;
            }
          }
        };
        more();
      },
    });
    const resident = (await sidecar.metrics()).lipservice_process_resident_memory_bytes;
    await send(sidecar, 1);
    await drained(sidecar);
    await until('the connection is closed', () => closed);
    assert.ok(written < 32 * KIB * KIB, `${written} bytes`);
    const metrics = await sidecar.metrics();
    assert.ok(metrics.lipservice_process_resident_memory_bytes < resident + 16 * KIB * KIB);
    await send(sidecar, 1);
    await closeLedger(sidecar, want === 'delivered' ? { delivered: 2, lost: {} } : { delivered: 1, lost: { [want]: 1 } }, { stored: want === 'delivered' ? 2 : 1 });
  });
}

test('a head without end: no answer, bounded, sent again', async (t) => {
  const { stub, sidecar } = await pair(t);
  let closed = false;
  stub.faults.push({
    raw(socket) {
      const field = `X-Field: ${'x'.repeat(1000)}\r\n`;
      socket.on('close', () => (closed = true));
      socket.write(head('200 OK\r\n'));
      const more = () => {
        while (!closed) if (!socket.write(field)) return void socket.once('drain', more);
      };
      more();
    },
  });
  await send(sidecar, 2);
  await until('the connection is closed', () => closed);
  await closeLedger(sidecar, { delivered: 2, lost: {} });
});

test('hangs: before the head, in it, in the body', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'exporters.posthog.timeout': '400ms' } });
  let n = 0;
  for (const [bytes, again] of [['', true], [head('200 OK\r\nContent-'), true], [head('200 OK\r\nContent-Length: 10\r\n\r\n{'), false]]) {
    const before = stub.logs.length;
    stub.faults.push({ raw: (socket) => socket.write(bytes) });
    await send(sidecar, 1);
    n++;
    await until(`${n} delivered`, async () => (await sidecar.ledger()).delivered === n);
    assert.equal(stub.logs.length - before >= 2, again, bytes);
    if (again) assert.ok(stub.logs[before + 1].at - stub.logs[before].at >= 390);
  }
  await closeLedger(sidecar, { delivered: 3, lost: {} }, { stored: 3 });
});

// ---- Retry-After

test('Retry-After that is absurd: as if it were not there', async (t) => {
  const { stub, sidecar } = await pair(t);
  const absurd = ['', '0', '-5', '1.5', 'soon', '1e9', 'Thu, 01 Jan 1970 00:00:00 GMT', 'Fri, 99 Foo 2999 00:00:00 GMT', '0x10', '5 5'];
  let n = 0;
  for (const value of absurd) {
    for (const status of [429, 503]) {
      stub.faults.push({ status, headers: { 'retry-after': value } });
      await send(sidecar, 1);
      n++;
      await until(`'${value}'`, async () => (await sidecar.ledger()).delivered === n, { timeout: 5000 });
    }
  }
  await closeLedger(sidecar, { delivered: n, lost: {} });
});

test('Retry-After of a hundred years: a quarter of an hour at most', async (t) => {
  for (const value of ['3153600000', '99999999999999999999', 'Fri, 31 Dec 2100 23:59:59 GMT']) {
    const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'shutdown.timeout': '300ms' } });
    stub.answer = () => ({ status: 429, headers: { 'retry-after': value } });
    await send(sidecar, 1);
    const seconds = await until('the wait', async () => (await sidecar.metrics()).lipservice_exporter_next_retry_seconds);
    assert.ok(seconds > 890 && seconds <= 901.1, `${value}: ${seconds}`);
    assert.deepEqual(lines(sidecar, 'retry_after_long').map((l) => [l.retry_after, l.longest_ms]), [[value, 900000]]);
    await sidecar.stop();
    assert.equal(stub.logs.length, 1);
    assert.deepEqual(lines(sidecar, 'ledger').map((l) => [l.delivered, l.lost]), [[0, 1]]);
  }
});

test('Retry-After holds for every sender, whatever the others were answered', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'batch.max_records': 10, 'exporters.posthog.concurrency': 4 } });
  const open = [];
  stub.answer = () => (open.length < 4 ? { raw: (socket) => void open.push(socket) } : {});
  await send(sidecar, 80);
  await until('four in flight', () => open.length === 4);
  const at = Date.now();
  open[0].end(head('503 X\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n'));
  await until('open', async () => (await sidecar.metrics())['lipservice_exporter_circuit_state{state="open"}'] === 1);
  for (const socket of open.slice(1)) socket.end(head('200 OK\r\nContent-Length: 2\r\n\r\n{}')); // of before
  await until('all', async () => (await sidecar.ledger()).delivered === 80);
  for (const later of stub.logs.slice(4)) assert.ok(later.at - at >= 1990, `${later.at - at} ms`);
  await closeLedger(sidecar, { delivered: 80, lost: {} }, { stored: stub.rows.length + 30 });
});

// ---- partial success

const partial = (n, message = 'quota') => ({ status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ partialSuccess: { rejectedLogRecords: n, errorMessage: message } }) });
test('partial_success: what was rejected downstream is in the ledger', async (t) => {
  const { stub, sidecar } = await pair(t);
  const protobuf = Buffer.from([0x0a, 0x07, 0x08, 0x02, 0x12, 0x03, 0x6e, 0x6f, 0x21]); // 2, "no!"
  const raw = (body) => ({ raw: (socket) => socket.end(Buffer.concat([Buffer.from(head(`200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: ${body.length}\r\n\r\n`)), body])) });
  let lost = 0;
  let delivered = 0;
  for (const [fault, n] of [[partial('3', 'a "quota"\n'), 3], [partial(4), 4], [raw(protobuf), 2], [partial('99'), 10], [partial('0', 'slower, please'), 0], [partial('x'), 0]]) {
    stub.faults.push(fault);
    await send(sidecar, 10);
    await until('the answer', () => stub.faults.length === 0);
    await drained(sidecar);
    lost += n;
    delivered += 10 - n;
    const ledger = await sidecar.ledger();
    assert.deepEqual([ledger.delivered, ledger.lost.rejected_downstream], [delivered, lost]);
  }
  assert.equal((await sidecar.metrics())['lipservice_records_lost_total{reason="rejected_downstream"}'], lost);
  const told = lines(sidecar, 'upstream_partial');
  assert.deepEqual(told.map((l) => [l.rejected, l.message]), [[3, 'a "quota"\n'], [4, 'quota'], [2, 'no!'], [99, 'quota'], [0, 'slower, please']]);
  await closeLedger(sidecar, { received: 60, kept: 60, delivered, lost: { rejected_downstream: lost } }, { stored: delivered });
});

// ---- a record that is refused

function folder(t) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-aside-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}
const bodiesIn = (file) => readFileSync(file, 'utf8').split('\n').slice(0, -1).map((line) => flatten(normalizeJson(JSON.parse(line))).map((r) => r.record.body.stringValue));

for (const status of [400, 422]) {
  test(`${status} for one record of 300: it is found, put aside, and the rest is delivered`, async (t) => {
    const file = path.join(folder(t), 'refused.jsonl');
    const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'exporters.refused_file': file } });
    stub.refuses = (row) => row.body === 'number 217' && status;
    await send(sidecar, 300, { body: (i) => `number ${i}` });
    await drained(sidecar);
    assert.equal(new Set(stub.rows.map((r) => r.body)).size, 299);
    assert.deepEqual(bodiesIn(file), [['number 217']]);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const metrics = await sidecar.metrics();
    assert.equal(metrics['lipservice_refused_file_records_total{outcome="written"}'], 1);
    assert.equal(metrics.lipservice_refused_file_bytes, statSync(file).size);
    assert.ok(stub.logs.length <= 2 * 9 + 1, `${stub.logs.length} requests`);
    await closeLedger(sidecar, { delivered: 299, lost: { refused_upstream: 1 } });
    const again = await run(['replay', '--config', '/dev/null', '--json', file]);
    assert.equal(again.code, 0, again.stderr);
  });
}

test('400 for everything: few requests more, all counted, all put aside', async (t) => {
  const file = path.join(folder(t), 'refused.jsonl');
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'exporters.refused_file': file } });
  stub.answer = () => ({ status: 400 });
  await send(sidecar, 2000, { body: (i) => `number ${i}` });
  await drained(sidecar);
  assert.ok(stub.logs.length <= 129, `${stub.logs.length} requests`);
  const before = stub.logs.length;
  await send(sidecar, 100, { body: (i) => `later ${i}` });
  await drained(sidecar);
  assert.equal(stub.logs.length, before + 1);
  assert.equal(new Set(bodiesIn(file).flat()).size, 2100);
  await closeLedger(sidecar, { delivered: 0, lost: { refused_upstream: 2100 } });
});

test('the refused file is bounded, over a restart too, and says so once', async (t) => {
  const file = path.join(folder(t), 'refused.jsonl');
  const set = { ...KEEP_ALL, 'exporters.refused_file': file, 'exporters.refused_file_max_bytes': '4KiB' };
  for (let i = 0; i < 2; i++) {
    const { stub, sidecar } = await pair(t, { set });
    stub.answer = () => ({ status: 410 });
    for (let n = 0; n < 20; n++) {
      await send(sidecar, 3);
      await drained(sidecar);
    }
    const metrics = await sidecar.metrics();
    const [written, left] = ['written', 'left_out'].map((o) => metrics[`lipservice_refused_file_records_total{outcome="${o}"}`]);
    assert.equal(written + left, 60);
    assert.ok(left > 0 && (i === 1 || written > 0));
    assert.ok(statSync(file).size <= 4096);
    assert.equal(lines(sidecar, 'refused_file').length, 1);
    await closeLedger(sidecar, { delivered: 0, lost: { refused_upstream: 60 } });
  }
  assert.ok(bodiesIn(file).every((l) => l.length === 3), 'whole lines only');
});

test('413 for a single record: put aside as well', async (t) => {
  const file = path.join(folder(t), 'refused.jsonl');
  const { sidecar } = await pair(t, { set: { ...KEEP_ALL, 'exporters.refused_file': file }, posthog: { limit: 2000 } });
  await send(sidecar, 2, { body: (i) => (i === 0 ? 'x'.repeat(3000) : 'small') });
  await closeLedger(sidecar, { delivered: 1, lost: { too_large: 1 } });
  assert.deepEqual(bodiesIn(file), [['x'.repeat(3000)]]);
});

test('the refused file cannot be opened: exit code 78 and the key', async () => {
  for (const value of ['/nonexistent/refused', '/dev/null']) {
    const end = await run(['run', '--config', '/dev/null', '--set', `exporters.refused_file=${value}`, '--set', 'exporters.file.path=/dev/null']);
    assert.equal(end.code, 78);
    assert.match(end.stderr, /exporters\.refused_file/);
  }
  const end = await run(['validate', '--config', '/dev/null', '--set', 'exporters.refused_file_max_bytes=1']);
  assert.equal(end.code, 78);
  assert.match(end.stderr, /exporters\.refused_file_max_bytes: must be at least 4KiB/);
});

// ---- the circuit

test('an outage: one line at its begin and one at its end, one probe at a time, all of it visible', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'batch.max_records': 10, 'exporters.posthog.concurrency': 4 } });
  const state = async (name) => (await sidecar.metrics())[`lipservice_exporter_circuit_state{state="${name}"}`];
  assert.deepEqual([await state('closed'), await state('open'), await state('half_open')], [1, 0, 0]);
  const held = [];
  let holding = false;
  stub.answer = () => (holding ? { raw: (socket) => void held.push(socket) } : { status: 503 });
  await send(sidecar, 200);
  await until('open', async () => (await state('closed')) === 0);
  const status = JSON.parse(await sidecar.page('health', '/status')).exporter;
  assert.ok(['open', 'half_open'].includes(status.circuit));
  assert.ok(status.outage_ms >= 0 && status.queue_bytes > 0 && status.oldest_ms > 0 && status.waiting_to_retry >= 1);
  const ready = await fetch(`http://${sidecar.addresses.health}/readyz`);
  assert.equal(ready.status, 200);
  assert.deepEqual(Object.keys((await ready.json()).exporter), Object.keys(status));
  await until('more failures', () => stub.logs.length >= 6);
  holding = true;
  await until('a probe', () => held.length === 1);
  await send(sidecar, 10); // nobody but the probe goes out
  const metrics = await sidecar.metrics();
  assert.equal(metrics['lipservice_exporter_circuit_state{state="half_open"}'], 1);
  assert.equal(metrics.lipservice_exporter_in_flight_requests, 1);
  assert.ok(metrics.lipservice_exporter_outage_seconds > 0);
  assert.ok(metrics.lipservice_exporter_oldest_seconds > 0);
  stub.answer = null;
  held[0].end(head('503 X\r\nContent-Length: 0\r\n\r\n'));
  await until('the end', async () => (await sidecar.ledger()).delivered === 210);
  assert.equal(held.length, 1);
  assert.equal(await state('closed'), 1);
  assert.equal((await sidecar.metrics()).lipservice_exporter_outage_seconds, 0);
  assert.equal(lines(sidecar, 'upstream_down').length, 1);
  const [up, ...others] = lines(sidecar, 'upstream_up');
  assert.equal(others.length, 0);
  assert.ok(up.outage_ms > 0 && up.failures >= 7);
  await closeLedger(sidecar, { delivered: 210, lost: {} });
});

test('a timeout below 20 s is taken, with a warning; 30 s is the default', async (t) => {
  const short = await pair(t, { set: { ...KEEP_ALL, 'exporters.posthog.timeout': '19999ms' } });
  const [warning, ...more] = lines(short.sidecar, 'short_timeout');
  assert.deepEqual([warning.level, warning.timeout_ms, more.length], ['warn', 19999, 0]);
  await closeLedger(short.sidecar);
  const usual = await pair(t);
  assert.equal(lines(usual.sidecar, 'short_timeout').length, 0);
  assert.match(await usual.sidecar.page('admin', '/api/config'), /posthog:[\s\S]*timeout: 30s/);
  await closeLedger(usual.sidecar);
});
