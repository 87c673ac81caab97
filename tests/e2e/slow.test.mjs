// An upstream that answers large requests too late.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs, request } from './lib/otlp.mjs';
import { closeLedger, KEEP_ALL, pair } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

const LARGE = 20000;
const send = async (sidecar, n, text) =>
  assert.equal((await sidecar.post(encodeLogs(request(n, { body: (i) => `${text} ${i} `.padEnd(100, '.') })))).status, 200);

for (const [concurrency, durability] of [[1, 'memory'], [4, 'memory'], [2, 'disk']]) {
  test(`halved until it is small enough, and others pass meanwhile; ${concurrency} at once, ${durability}`, async (t) => {
    const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-e2e-'));
    t.after(() => rmSync(dir, { recursive: true, force: true }));
    const set = { durability, 'spool.directory': dir, ...KEEP_ALL, 'exporters.posthog.timeout': '300ms', 'exporters.posthog.concurrency': concurrency, 'exporters.posthog.compression': 'none' };
    const { stub, sidecar } = await pair(t, { set });
    stub.answer = (entry) => (entry.wire_bytes > LARGE ? { delay: 600, close: true } : null);
    await send(sidecar, 2000, 'large');
    await until('halves', async () => (await sidecar.metrics()).lipservice_exporter_slow_requests >= 3);
    const before = stub.logs.length;
    await send(sidecar, 1, 'small');
    await until('the small one', () => stub.rows.some((row) => row.body.startsWith('small')));
    const after = stub.logs.length - before; // all halves take some 30
    assert.ok(after <= 8, `the small one waited for ${after} requests`);
    await until('all of it', async () => (await sidecar.ledger()).delivered === 2001, { timeout: 60000 });
    assert.equal(new Set(stub.rows.map((row) => row.body)).size, 2001);
    assert.ok(sidecar.log.some((line) => line.event === 'upstream_slow' && line.records === 2000));
    await closeLedger(sidecar, { received: 2001, delivered: 2001, lost: {} });
  });
}
