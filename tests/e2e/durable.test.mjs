// durability: disk, with the real binary: what is answered with success arrives.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs, request } from './lib/otlp.mjs';
import { PostHog } from './lib/posthog.mjs';
import { Sidecar, KEEP_ALL, closeLedger } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

function directory(t) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-durable-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const onDisk = (dir, more = {}) => ({ ...KEEP_ALL, durability: 'disk', 'spool.directory': dir, ...more });

async function stub(t) {
  const s = await PostHog.start();
  t.after(() => s.down());
  return s;
}

test('a request is answered when it is synced, and delivered from the spool', async (t) => {
  const s = await stub(t);
  const sidecar = await Sidecar.start(t, { set: onDisk(directory(t)), stub: s });
  const answer = await sidecar.post(encodeLogs(request(10)));
  assert.equal(answer.status, 200);
  const metrics = await sidecar.metrics();
  assert.equal(metrics.lipservice_spool_commit_records_total, 10);
  assert.ok(metrics.lipservice_spool_fsyncs_total >= 1);
  await until('delivery', () => s.rows.length === 10);
  await closeLedger(sidecar, { received: 10, delivered: 10 });
});
