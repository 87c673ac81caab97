// An upstream that answers large requests too late.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeLogs, request } from './lib/otlp.mjs';
import { closeLedger, KEEP_ALL, pair } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

const LARGE = 20000;
const send = async (sidecar, n, text) =>
  assert.equal((await sidecar.post(encodeLogs(request(n, { body: (i) => `${text} ${i} `.padEnd(100, '.') })))).status, 200);

for (const concurrency of [1, 4]) {
  test(`halved until it is small enough, and others pass meanwhile; ${concurrency} at once`, async (t) => {
    const set = { ...KEEP_ALL, 'exporters.posthog.timeout': '300ms', 'exporters.posthog.concurrency': concurrency, 'exporters.posthog.compression': 'none' };
    const { stub, sidecar } = await pair(t, { set });
    stub.answer = (entry) => (entry.wire_bytes > LARGE ? { delay: 600, close: true } : null);
    await send(sidecar, 2000, 'large');
    await until('the first to be late', () => stub.logs.length > 1);
    await send(sidecar, 1, 'small');
    await until('the small one', () => stub.rows.some((row) => row.body.startsWith('small')));
    assert.ok(stub.rows.length < 2000, 'before the large one is through');
    await until('all of it', async () => (await sidecar.ledger()).delivered === 2001, { timeout: 60000 });
    assert.equal(new Set(stub.rows.map((row) => row.body)).size, 2001);
    assert.ok(sidecar.log.some((line) => line.event === 'upstream_slow' && line.records === 2000));
    await closeLedger(sidecar, { received: 2001, delivered: 2001, lost: {} });
  });
}
