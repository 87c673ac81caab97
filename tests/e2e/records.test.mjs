// One bad record costs one record: over each protocol, in memory and on disk.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { directory } from './lib/disk.mjs';
import { decodeLogsResponse, encodeLogs, request } from './lib/otlp.mjs';
import { closeLedger, KEEP_ALL, pair } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';
import { grpc, h2, http1 } from './lib/wire.mjs';

const JSON_TYPE = { 'content-type': 'application/json' };
const INVALID_ARGUMENT = 3;
const INFINITELY = '18446744073709551615';

const errors = (n) => request(n, { base: { severityNumber: 17, severityText: 'ERROR' }, body: (i) => `payment ${i} failed` });
const sound = (n, but) => Array.from({ length: n }, (_, i) => `payment ${i} failed`).filter((_, i) => i !== but);

// Ten errors in JSON, the fifth of them changed by `change`, as text.
function jsonWith(change, but = 5) {
  const body = errors(10);
  const record = body.resourceLogs[0].scopeLogs[0].logRecords[but];
  return Buffer.from(JSON.stringify(body, (key, value) => (value === record ? change(record) : value)), 'utf8');
}
// The same with raw bytes in place of a word of the text.
function withBytes(word, bytes) {
  const text = jsonWith((r) => ({ ...r, body: { stringValue: word } }));
  const at = text.indexOf(word);
  return Buffer.concat([text.subarray(0, at), Buffer.from(bytes), text.subarray(at + word.length)]);
}
// Ten errors in protobuf, with bytes of the fifth's text replaced in place.
function protobufWith(change) {
  const bytes = encodeLogs(errors(10));
  change(bytes, bytes.indexOf('payment 5 failed'));
  return bytes;
}

const bodies = (stub) => stub.rows.map((row) => row.body).sort();

const WAYS = {
  'HTTP/1.1 protobuf': {
    type: 'protobuf', send: (sidecar, body) => http1(sidecar.httpPort, { body }),
    partial: (answer) => decodeLogsResponse(answer.body).partialSuccess, ok: (answer) => answer.status === 200, bad: (answer) => answer.status === 400,
  },
  'HTTP/2 protobuf': {
    type: 'protobuf', send: (sidecar, body) => h2(sidecar.httpPort, { body }),
    partial: (answer) => decodeLogsResponse(answer.body).partialSuccess, ok: (answer) => answer.status === 200, bad: (answer) => answer.status === 400,
  },
  gRPC: {
    type: 'protobuf', send: (sidecar, message) => grpc(sidecar.grpcPort, { message }),
    partial: (answer) => decodeLogsResponse(answer.body.subarray(5)).partialSuccess, ok: (answer) => answer.code === 0, bad: (answer) => answer.code === INVALID_ARGUMENT,
  },
  JSON: {
    type: 'json', send: (sidecar, body) => http1(sidecar.httpPort, { body, headers: JSON_TYPE }),
    partial: (answer) => JSON.parse(answer.body).partialSuccess, ok: (answer) => answer.status === 200, bad: (answer) => answer.status === 400,
  },
};

// What can be repaired: the text that arrives for record 5.
const REPAIRED = {
  protobuf: [
    ['a byte that is none of UTF-8', protobufWith((b, at) => { b[at + 8] = 0xff; }), 'payment � failed'],
    ['half a character', protobufWith((b, at) => { b.set([0xf0, 0x9f], at + 14); }), 'payment 5 fail�'],
  ],
  json: [
    ['a byte that is none of UTF-8', withBytes('WORD', [0x70, 0xff, 0x71]), 'p�q'],
    ['a lone surrogate', withBytes('WORD', Buffer.from('x\\ud83d')), 'x�'],
    ['more than 64 bits', jsonWith((r) => ({ ...r, body: { intValue: '18446744073709551616' } })), '18446744073709551616'],
    ['a time in words', jsonWith((r) => ({ ...r, timeUnixNano: 'yesterday' })), 'payment 5 failed'],
  ],
};
const BROKEN = {
  protobuf: [
    ['a wrong wire type', protobufWith((b, at) => { b[at - 4] = 0x28; }), /log record 6 /],
    ['a length past the end', protobufWith((b, at) => { b[at - 1] = 0x7f; }), /log record 6 /],
  ],
  json: [
    ['a body that is text', jsonWith((r) => ({ ...r, body: 'text' })), /logRecords\.body/],
    ['bad base64', jsonWith((r) => ({ ...r, body: { bytesValue: '?' } })), /base64/],
    ['an unknown severity', jsonWith((r) => ({ ...r, severityNumber: 'SEVERITY_NUMBER_LOUD' })), /SeverityNumber/],
    ['an id that is no hex', jsonWith((r) => ({ ...r, traceId: 'a-b' })), /hex/],
    ['no object', jsonWith(() => 5), /logRecords/],
    ['too deep', jsonWith((r) => ({ ...r, attributes: [{ key: 'k', value: Array.from({ length: 60 }).reduce((v) => ({ arrayValue: { values: [v] } }), { stringValue: 'x' }) }] })), /deep/],
  ],
};

for (const disk of [false, true]) {
  for (const [name, way] of Object.entries(WAYS)) {
    test(`${name}, ${disk ? 'on disk' : 'in memory'}: the bad record alone`, async (t) => {
      const set = { ...KEEP_ALL, ...(disk ? { durability: 'disk', 'spool.directory': directory(t) } : {}) };
      const { stub, sidecar } = await pair(t, { set });
      let kept = 0, rejected = 0;
      for (const [what, body, text] of REPAIRED[way.type]) {
        stub.rows.length = stub.records.length = 0;
        const answer = await way.send(sidecar, body);
        assert.ok(way.ok(answer), what);
        assert.equal(way.partial(answer), undefined, what);
        await until(`${what}: ten records`, () => stub.rows.length === 10);
        assert.deepEqual(bodies(stub), [...sound(10, 5), text].sort(), what);
        kept += 10;
      }
      for (const [what, body, why] of BROKEN[way.type]) {
        stub.rows.length = stub.records.length = 0;
        const answer = await way.send(sidecar, body);
        assert.ok(way.ok(answer), what);
        const partial = way.partial(answer);
        assert.equal(String(partial.rejectedLogRecords), '1', what);
        assert.match(partial.errorMessage, /^1 of 10 log records refused/, what);
        assert.match(partial.errorMessage, why, what);
        await until(`${what}: nine records`, () => stub.rows.length === 9);
        assert.deepEqual(bodies(stub), sound(10, 5), what);
        kept += 9;
        rejected++;
        assert.equal(sidecar.log.filter((line) => line.event === 'records_refused').length, rejected, what);
      }
      const repairs = await sidecar.metrics();
      assert.ok(repairs['lipservice_receiver_repairs_total{what="utf8"}'] >= 2);
      const ledger = await closeLedger(sidecar, { received: kept + rejected, kept, rejected, delivered: kept, lost: {} }, { stored: kept });
      assert.equal(ledger.services.e2e.rejected, rejected, 'counted where they belong');
    });
  }
}

for (const [name, way] of Object.entries(WAYS)) {
  test(`${name}, strict: one bad record refuses its request`, async (t) => {
    const { sidecar } = await pair(t, { set: { ...KEEP_ALL, 'receivers.otlp.strict': true } });
    for (const [what, body] of [...REPAIRED[way.type], ...BROKEN[way.type]]) assert.ok(way.bad(await way.send(sidecar, body)), what);
    const whole = way.type === 'json' ? Buffer.from(JSON.stringify(errors(10))) : encodeLogs(errors(10));
    assert.ok(way.ok(await way.send(sidecar, whole)));
    await closeLedger(sidecar, { received: 10, kept: 10, rejected: 0 });
  });
}

test('a request of which nothing is any good, or that cannot be read, is refused as a whole', async (t) => {
  const { sidecar } = await pair(t);
  const whole = encodeLogs(errors(2));
  const json = JSON.stringify(errors(2));
  const refused = [
    [WAYS.JSON, Buffer.from('{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":5},7]}]}]}'), 'malformed'],
    [WAYS.JSON, Buffer.from(json.slice(0, -1)), 'malformed'],
    [WAYS.JSON, Buffer.from(json.replace('"tests"', '5')), 'malformed'],
    [WAYS['HTTP/1.1 protobuf'], whole.subarray(0, whole.length - 1), 'malformed'],
    [WAYS.gRPC, Buffer.from('0a0712050a0328010a', 'hex'), 'malformed'],
  ];
  for (const [way, body, reason] of refused) {
    const before = await sidecar.refused(reason);
    assert.ok(way.bad(await way.send(sidecar, body)), body.toString('latin1'));
    assert.equal(await sidecar.refused(reason), before + 1);
  }
  await closeLedger(sidecar, { received: 0 });
});

test('records that are put off are counted with those that were refused alone', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'queue.max_bytes': '64KiB', 'batch.max_bytes': '16KiB', 'exporters.posthog.compression': 'none' } });
  stub.answer = () => ({ status: 503 });
  const body = errors(40);
  for (const record of body.resourceLogs[0].scopeLogs[0].logRecords) record.body.stringValue = record.body.stringValue.padEnd(400, 'y');
  body.resourceLogs[0].scopeLogs[0].logRecords.push({ body: 5 });
  let taken = 0, rejected = 0;
  await until('a refusal', async () => {
    const answer = await WAYS.JSON.send(sidecar, Buffer.from(JSON.stringify(body)));
    taken += answer.status === 200 ? 40 : 0;
    rejected += answer.status === 200 ? 1 : 41;
    return answer.status === 503;
  });
  stub.answer = null;
  await closeLedger(sidecar, { received: taken + rejected, kept: taken, rejected, lost: {} });
});

test('times that cannot be become the observed time, or now', async (t) => {
  const { stub, sidecar } = await pair(t, { posthog: { keepBodies: true } });
  const observed = String(BigInt(Date.now()) * 1000000n);
  const times = ['0', INFINITELY, '-5', '99999999999999999999', 'yesterday', null, {}, -1, 1e40, true];
  const body = { resourceLogs: [{ scopeLogs: [{ logRecords: times.flatMap((timeUnixNano, i) => [
    { timeUnixNano, observedTimeUnixNano: observed, severityNumber: 9, body: { stringValue: `${i} observed` } },
    { timeUnixNano, severityNumber: 9, body: { stringValue: `${i} now` } }]) }] }] };
  const before = BigInt(Date.now()) * 1000000n;
  const answer = await http1(sidecar.httpPort, { body: JSON.stringify(body), headers: JSON_TYPE });
  assert.deepEqual([answer.status, answer.body.toString()], [200, '{}']);
  await until('all', () => stub.records.length === 2 * times.length);
  for (const { record } of stub.records) {
    if (record.body.stringValue.endsWith('observed')) assert.equal(record.timeUnixNano, observed, record.body.stringValue);
    else assert.ok(BigInt(record.timeUnixNano) >= before && BigInt(record.timeUnixNano) <= BigInt(Date.now() + 1000) * 1000000n, record.body.stringValue);
  }
  await closeLedger(sidecar, { received: 2 * times.length, delivered: 2 * times.length });
});

// ---- what people have met

const CASES = path.join(process.env.SHARED_DIR ?? fileURLToPath(new URL('../../../shared', import.meta.url)), 'cases');
const KNOWN = { B07: ['one-bad-byte', 10], B08: ['lone-surrogate', 10], B10: ['null-double', 10], B21: ['charset', 1], B22: ['time-zero', 2], B23: ['numbers', 1], B35: ['text-30-number-9', 2] };

test('the known cases lose nothing', { skip: !existsSync(CASES) && `${CASES} is not there` }, async (t) => {
  const { stub, sidecar } = await pair(t);
  let sent = 0;
  for (const [id, [name, records]] of Object.entries(KNOWN)) {
    const body = readFileSync(path.join(CASES, `${id}-${name}.json`));
    const answer = await http1(sidecar.httpPort, { body, headers: { 'content-type': 'application/json; charset=utf-8' } });
    assert.deepEqual([answer.status, answer.body.toString()], [200, '{}'], id);
    sent += records;
  }
  await closeLedger(sidecar, { received: sent, kept: sent, delivered: sent });
  assert.ok(stub.rows.some((row) => row.body.includes('�')));
});

test('null for a double, numbers as text and text as numbers, a charset: all in order', async (t) => {
  const { stub, sidecar } = await pair(t);
  const record = (more) => ({ timeUnixNano: String(BigInt(Date.now()) * 1000000n), ...more });
  const logRecords = [
    record({ severityNumber: '17', body: { stringValue: 'as text' }, attributes: [{ key: 'none', value: { doubleValue: null } }, { key: 'n', value: { doubleValue: 'NaN' } }, { key: 'i', value: { intValue: 5 } }] }),
    { ...record({ severityNumber: 9, severityText: '30', body: { stringValue: 'pino' } }), timeUnixNano: Number(BigInt(Date.now()) * 1000000n) },
    record({ severityNumber: 17, severityText: 'INFO', body: { stringValue: 'loud' } }),
  ];
  const answer = await http1(sidecar.httpPort, { body: JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords }] }] }), headers: { 'content-type': 'application/json; charset=utf-8' } });
  assert.deepEqual([answer.status, answer.body.toString()], [200, '{}']);
  await closeLedger(sidecar, { received: 3, delivered: 3 });
  const level = (body) => stub.rows.find((row) => row.body === body).severity_text;
  assert.deepEqual([level('as text'), level('pino'), level('loud')], ['error', 'info', 'error'], 'the number decides');
});

test('an array around a request, and the batch of a log drain, are refused with what is expected', async (t) => {
  const { sidecar } = await pair(t);
  for (const body of [JSON.stringify([errors(1)]), '[{"id":"1","message":"GET / 200","timestamp":1796030000000,"type":"stdout","source":"lambda"}]']) {
    const answer = await http1(sidecar.httpPort, { body, headers: JSON_TYPE });
    assert.equal(answer.status, 400);
    assert.match(JSON.parse(answer.body).message, /resourceLogs/, body);
  }
  await closeLedger(sidecar, { received: 0 });
});
