// Ten minutes without an upstream at 5,000 records a second, then its return:
//
//     LIPSERVICE_BIN=build/lipservice node tests/campaign/outage.mjs [SECONDS] [RATE]
//
// Of a build without sanitizers: they keep memory that is freed. 0 when nothing is lost, memory
// stays within 5 MiB, and the backlog goes at twice the rate at which it came.
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { outage } from '../e2e/lib/outage.mjs';
import { PostHog } from '../e2e/lib/posthog.mjs';

const [seconds = 600, rate = 5000] = process.argv.slice(2).map(Number);
const undo = [];
const t = { after: (fn) => undo.push(fn) };
const dir = mkdtempSync(path.join(process.env.LIPSERVICE_CAMPAIGN_DIR ?? os.tmpdir(), 'lipservice-outage-'));
const stub = await PostHog.start();
try {
  const { result, sidecar } = await outage(t, stub, dir, { records: seconds * rate, rate, log: (line) => console.error(line) });
  await sidecar.stop();
  console.log(JSON.stringify(result));
} finally {
  for (const fn of undo) fn();
  await stub.down();
  rmSync(dir, { recursive: true, force: true });
}
