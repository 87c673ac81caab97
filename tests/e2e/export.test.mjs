// What the upstream may do, and what becomes of the records.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attribute, encodeLogs, request } from './lib/otlp.mjs';
import { audit, closeLedger, KEEP_ALL, KEY, pair } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

// Records with texts that no compressor makes small.
function noise(i, length) {
  let state = (i + 1) * 2654435761;
  let text = `${i} `;
  while (text.length < length) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    text += state.toString(36);
  }
  return text;
}
const noisy = (n, length, from = 0, base = {}) => encodeLogs(request(n, { base, body: (i) => noise(from + i, length) }));
const ERRORS = { severityNumber: 17 }; // never shed: the only way to fill a queue to its end

async function send(sidecar, body) {
  const answer = await sidecar.post(body);
  assert.equal(answer.status, 200);
}

const delivered = (sidecar, n) => until(`${n} delivered`, async () => (await sidecar.ledger()).delivered === n);
const answers = async (sidecar, kind) => (await sidecar.metrics())[`lipservice_exporter_requests_total{answer="${kind}"}`];

test('the good day: path, key, coding, and nothing else', async (t) => {
  const { stub, sidecar } = await pair(t);
  await send(sidecar, noisy(10, 100));
  await delivered(sidecar, 10);
  const [first] = stub.logs;
  assert.equal(first.path, '/i/v1/logs');
  assert.equal(first.headers.authorization, `Bearer ${KEY}`);
  assert.equal(first.headers['content-type'], 'application/x-protobuf');
  assert.equal(first.headers['content-encoding'], 'zstd');
  assert.match(first.headers['user-agent'], /^lipservice\//);
  assert.equal(first.headers.expect, undefined);
  const metrics = await sidecar.metrics();
  assert.equal(metrics['lipservice_exporter_sent_bytes_total{form="wire"}'], first.wire_bytes);
  assert.equal(metrics['lipservice_exporter_sent_bytes_total{form="decoded"}'], first.billed_bytes);
  await closeLedger(sidecar, { received: 10, kept: 10, delivered: 10 });
});

for (const [setting, header] of [['zstd', 'zstd'], ['gzip', 'gzip'], ['none', null]]) {
  test(`compression: ${setting}`, async (t) => {
    const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'exporters.posthog.compression': setting } });
    await send(sidecar, encodeLogs(request(500)));
    await delivered(sidecar, 500);
    assert.ok(stub.logs.every((r) => r.coding === header));
    const [first] = stub.logs;
    if (header) assert.ok(first.wire_bytes < first.billed_bytes / 3);
    else assert.equal(first.wire_bytes, first.billed_bytes);
    await closeLedger(sidecar, { delivered: 500 });
  });
}

test('many requests leave as few, each resource once', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'batch.max_age': '1s' } });
  const services = ['a', 'b', 'c'];
  for (let i = 0; i < 60; i++) await send(sidecar, encodeLogs(request(5, { service: services[i % 3], resource: [{ key: 'pod', value: { stringValue: 'x'.repeat(200) } }] })));
  await delivered(sidecar, 300);
  assert.ok(stub.logs.length <= 5, `${stub.logs.length} requests`);
  for (const { decoded } of stub.logs) {
    const names = decoded.resourceLogs.map((r) => JSON.stringify(r.resource));
    assert.equal(new Set(names).size, names.length, 'a resource is there once');
    assert.ok(decoded.resourceLogs.every((r) => r.scopeLogs.length === 1), 'and a scope');
  }
  for (const service of services) assert.equal(stub.rows.filter((r) => r.service_name === service).length, 100);
  const ledger = await closeLedger(sidecar, { received: 300, delivered: 300 });
  for (const service of services) assert.equal(ledger.services[service].delivered, 100);
});

test('batches are cut by size and by number', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'batch.max_age': '10s', 'batch.max_bytes': '64KiB', 'batch.max_records': 200 } });
  await send(sidecar, noisy(300, 1000));
  await send(sidecar, encodeLogs(request(1000)));
  await until('what was full', () => stub.rows.length >= 1100);
  assert.ok(stub.logs.every((r) => r.billed_bytes <= 65536 && r.records <= 200));
  assert.ok(stub.logs.some((r) => r.records === 200), 'full by number');
  assert.ok(stub.logs.some((r) => r.billed_bytes > 60000), 'full by size');
  await delivered(sidecar, 1300); // the rest, at its age
  await closeLedger(sidecar, { delivered: 1300 });
});

// ---- answers

test('413: halved until it fits; one record too large is given up alone', async (t) => {
  const { stub, sidecar } = await pair(t, { posthog: { limit: 20000 } });
  const body = request(64, { body: (i) => noise(i, i === 17 ? 30000 : 1000) });
  await send(sidecar, encodeLogs(body));
  await until('the end of it', async () => (await sidecar.ledger()).queued === 0);
  await closeLedger(sidecar, { received: 64, kept: 64, delivered: 63, lost: { too_large: 1 } });
  assert.equal(new Set(stub.rows.map((r) => r.body)).size, 63, 'no duplicates');
  assert.ok(stub.rows.every((r) => !r.body.startsWith('17 ')));
});

test('415 for zstd: gzip from then on, nothing lost', async (t) => {
  const { stub, sidecar } = await pair(t);
  stub.refusedCodings.add('zstd');
  await send(sidecar, noisy(20, 100));
  await delivered(sidecar, 20);
  stub.refusedCodings.clear();
  await send(sidecar, noisy(20, 100, 20));
  await delivered(sidecar, 40);
  assert.deepEqual(stub.logs.map((r) => [r.coding, r.status]), [['zstd', 415], ['gzip', 200], ['gzip', 200]]);
  assert.equal(sidecar.log.filter((line) => line.event === 'compression_fallback').length, 1);
  await closeLedger(sidecar, { delivered: 40, lost: {} });
});

test('415 for everything: lost, and counted', async (t) => {
  const { stub, sidecar } = await pair(t);
  stub.refusedCodings.add('zstd').add('gzip');
  await send(sidecar, noisy(5, 100));
  await closeLedger(sidecar, { received: 5, kept: 5, delivered: 0, lost: { refused_upstream: 5 } });
  assert.deepEqual(stub.logs.map((r) => r.coding), ['zstd', 'gzip']);
});

for (const status of [429, 503]) {
  test(`${status} with Retry-After in seconds: nobody asks earlier`, async (t) => {
    const { stub, sidecar } = await pair(t);
    stub.faults.push({ status, headers: { 'retry-after': '2' } });
    await send(sidecar, noisy(5, 100));
    await until('the answer', () => stub.logs[0]?.status === status);
    await send(sidecar, noisy(5, 100, 5)); // another batch meanwhile waits as well
    await delivered(sidecar, 10);
    for (const later of stub.logs.slice(1)) assert.ok(later.at - stub.logs[0].at >= 1990, `${later.at - stub.logs[0].at} ms`);
    await closeLedger(sidecar, { delivered: 10, lost: {} });
  });

  test(`${status} with Retry-After as a date`, async (t) => {
    const { stub, sidecar } = await pair(t);
    const date = new Date(Math.ceil(Date.now() / 1000) * 1000 + 2000);
    stub.faults.push({ status, headers: { 'retry-after': date.toUTCString() } });
    await send(sidecar, noisy(5, 100));
    await delivered(sidecar, 5);
    assert.ok(stub.logs[1].at >= date.getTime() - 10, `${date.getTime() - stub.logs[1].at} ms early`);
    await closeLedger(sidecar, { delivered: 5, lost: {} });
  });
}

for (const status of [408, 429, 500, 502, 503, 504, 507]) {
  test(`${status}, twice, then well`, async (t) => {
    const { stub, sidecar } = await pair(t);
    stub.faults.push({ status }, { status });
    await send(sidecar, noisy(5, 100));
    await delivered(sidecar, 5);
    assert.deepEqual(stub.logs.map((r) => r.status), [status, status, 200]);
    assert.equal(await answers(sidecar, status === 500 ? 'server_error' : 'retry'), 2);
    await closeLedger(sidecar, { delivered: 5, lost: {} });
  });
}

test('500 because the batch is too large for Kafka: halved until it passes', async (t) => {
  const { stub, sidecar } = await pair(t, { posthog: { kafkaMax: 30000 } });
  await send(sidecar, noisy(100, 1000));
  await delivered(sidecar, 100);
  assert.equal(new Set(stub.rows.map((r) => r.body)).size, 100);
  assert.ok(stub.logs.filter((r) => r.status === 200).length >= 2);
  await closeLedger(sidecar, { delivered: 100, lost: {} });
});

for (const status of [401, 403, 407]) {
  test(`${status}: held, told, and counted as unauthorized when there is no more time`, async (t) => {
    const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'shutdown.timeout': '1s' } });
    stub.answer = () => ({ status });
    await send(sidecar, noisy(5, 100));
    await until('the hold', async () => (await sidecar.metrics()).lipservice_exporter_key_refused === 1);
    const ready = await (await fetch(`http://${sidecar.addresses.health}/readyz`)).json();
    assert.equal(ready.status, 'ready');
    assert.deepEqual([ready.exporter.key_refused, ready.exporter.last_status], [true, status]);
    await audit(sidecar, { received: 5, kept: 5, queued: 5, delivered: 0, lost: {} });
    await sidecar.stop();
    const last = sidecar.log.find((line) => line.event === 'ledger');
    assert.deepEqual([last.level, last.kept, last.delivered, last.lost, last.lost_unauthorized], ['warn', 5, 0, 5, 5]);
    assert.equal(stub.rows.length, 0);
  });
}

test('401 until the key is taken: everything arrives', async (t) => {
  const { stub, sidecar } = await pair(t);
  stub.refuseKeys = true;
  await send(sidecar, noisy(5, 100));
  await until('the hold', async () => (await sidecar.metrics()).lipservice_exporter_key_refused === 1);
  await send(sidecar, noisy(5, 100, 5));
  stub.refuseKeys = false;
  await until('delivery', async () => (await sidecar.ledger()).delivered === 10, { timeout: 45000 });
  assert.equal((await sidecar.metrics()).lipservice_exporter_key_refused, 0);
  await closeLedger(sidecar, { delivered: 10, lost: {} });
});

test('302: not followed, not taken for success', async (t) => {
  const { stub, sidecar } = await pair(t);
  stub.faults.push({ status: 302, headers: { location: `${stub.url}/login` }, body: '<html></html>' });
  await send(sidecar, noisy(5, 100));
  await until('the hold', async () => (await sidecar.metrics()).lipservice_exporter_address_refused === 1);
  assert.equal(stub.stray.length, 0);
  sidecar.signal('SIGHUP');
  await until('delivery', async () => (await sidecar.ledger()).delivered === 5);
  await closeLedger(sidecar, { delivered: 5, lost: {} });
});

for (const status of [402, 410, 501, 505]) {
  test(`${status}: given up, counted, and the next batch is sent`, async (t) => {
    const { stub, sidecar } = await pair(t);
    stub.faults.push({ status, body: '{"error":"no"}' });
    await send(sidecar, noisy(5, 100));
    await until('the end of it', async () => (await sidecar.ledger()).queued === 0);
    await send(sidecar, noisy(3, 100, 5));
    await closeLedger(sidecar, { received: 8, delivered: 3, lost: { refused_upstream: 5 } });
    assert.ok(sidecar.log.some((line) => line.event === 'upstream_refused' && line.status === status));
  });
}

test('2xx is success whatever the body says', async (t) => {
  const { stub, sidecar } = await pair(t);
  stub.faults.push({ status: 200, body: '<html>hello</html>', headers: { 'content-type': 'text/html' } }, { status: 204 });
  await send(sidecar, noisy(2, 100));
  await delivered(sidecar, 2);
  await send(sidecar, noisy(2, 100));
  await delivered(sidecar, 4);
  await closeLedger(sidecar, { delivered: 4 }, { stored: 4 });
});

// ---- no answers

test('hang-ups before the answer: sent again', async (t) => {
  const { stub, sidecar } = await pair(t);
  stub.faults.push({ close: true }, { close: true });
  await send(sidecar, noisy(5, 100));
  await delivered(sidecar, 5);
  assert.ok((await sidecar.metrics()).lipservice_exporter_failures_total >= 1);
  await closeLedger(sidecar, { delivered: 5, lost: {} });
});

test('an answer cut short: sent again, a duplicate rather than a loss', async (t) => {
  const { stub, sidecar } = await pair(t);
  stub.faults.push({ cut: true });
  await send(sidecar, noisy(5, 100));
  await delivered(sidecar, 5);
  const bodies = new Set(stub.rows.map((r) => r.body));
  assert.equal(bodies.size, 5);
  await closeLedger(sidecar, { delivered: 5, lost: {} }, { stored: bodies.size });
});

test('a hang: given up after the timeout, then sent again', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'exporters.posthog.timeout': '500ms' } });
  stub.faults.push({ delay: 3000, close: true });
  await send(sidecar, noisy(5, 100));
  await delivered(sidecar, 5);
  assert.ok(stub.logs[1].at - stub.logs[0].at >= 490);
  await closeLedger(sidecar, { delivered: 5, lost: {} });
});

test('nobody listens, then somebody does', async (t) => {
  const { stub, sidecar } = await pair(t);
  await stub.down();
  await send(sidecar, noisy(50, 100));
  await until('a failure', async () => (await sidecar.metrics()).lipservice_exporter_failures_total >= 2);
  await audit(sidecar, { received: 50, queued: 50 });
  await stub.up();
  await delivered(sidecar, 50);
  await closeLedger(sidecar, { delivered: 50, lost: {} });
});

test('queue.max_age: what waited too long is given up and counted', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'queue.max_age': '1s' } });
  await stub.down();
  await send(sidecar, noisy(7, 100));
  await until('the end of it', async () => (await sidecar.ledger()).queued === 0);
  await closeLedger(sidecar, { kept: 7, delivered: 0, lost: { expired: 7 } });
});

test('a dead upstream: 503 at the bound, memory bounded, and what was acknowledged arrives', async (t) => {
  const MIB = 1 << 20;
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'queue.max_bytes': '4MiB', 'memory.limit': '24MiB', 'exporters.posthog.compression': 'none', 'batch.max_bytes': '256KiB' } });
  await stub.down();
  const resident = (await sidecar.metrics()).lipservice_process_resident_memory_bytes;
  let taken = 0;
  let refused = 0;
  for (let i = 0; refused < 50; i++) {
    assert.ok(i < 1000, 'a bound');
    const answer = await sidecar.post(noisy(50, 1000, taken, ERRORS));
    if (answer.status === 200) {
      taken += 50;
    } else {
      assert.equal(answer.status, 503);
      assert.ok(Number(answer.headers.get('retry-after')) >= 1);
      refused++;
    }
    await answer.arrayBuffer();
  }
  assert.ok(taken > 1000);
  const metrics = await sidecar.metrics();
  assert.ok(metrics.lipservice_exporter_queue_size_bytes <= 4 * MIB);
  assert.ok(metrics.lipservice_memory_peak_bytes <= 24 * MIB);
  assert.ok(metrics.lipservice_process_resident_memory_bytes <= resident + 40 * MIB, `${resident} -> ${metrics.lipservice_process_resident_memory_bytes}`);
  await stub.up();
  await until('delivery', async () => (await sidecar.ledger()).queued === 0, { timeout: 60000 });
  assert.equal(new Set(stub.rows.map((r) => r.body)).size, taken);
  await closeLedger(sidecar, { kept: taken, delivered: taken, rejected: refused * 50, lost: {} });
});

test('records keep their stamps and their bytes through a split', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { 'batch.max_age': '50ms', 'sampling.first.count': 0 }, posthog: { limit: 4000 } });
  const N = 400;
  const body = request(N, { body: (i) => `user ${i} signed in` });
  await send(sidecar, encodeLogs(body));
  const ledger = await closeLedger(sidecar, { received: N });
  assert.ok(ledger.sampled_out > 0 && ledger.kept > 0);
  const sent = body.resourceLogs[0].scopeLogs[0].logRecords;
  for (const { record } of stub.records) {
    assert.ok(Math.abs(attribute(record, 'otel.logs.adjusted_count') - 5) < 1e-3);
    const source = sent.find((r) => r.body.stringValue === record.body.stringValue);
    assert.equal(record.timeUnixNano, source.timeUnixNano);
  }
  assert.ok(stub.logs.some((r) => r.status === 413));
});
