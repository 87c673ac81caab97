// kill -9 at random under load, on demand:
//
//     LIPSERVICE_BIN=build/lipservice node tests/campaign/kills.mjs [200]
//
// 0 when nothing that was acknowledged was lost; the last line says the figures.
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { kills } from '../e2e/lib/kills.mjs';
import { PostHog } from '../e2e/lib/posthog.mjs';

const undo = [];
const t = { after: (fn) => undo.push(fn) };
const dir = mkdtempSync(path.join(process.env.LIPSERVICE_CAMPAIGN_DIR ?? os.tmpdir(), 'lipservice-kills-'));
const stub = await PostHog.start();
try {
  const { result, sidecar } = await kills(t, stub, dir, { count: Number(process.argv[2] ?? 200), log: (line) => console.error(line) });
  await sidecar.stop();
  console.log(JSON.stringify(result));
} finally {
  for (const fn of undo) fn();
  await stub.down();
  rmSync(dir, { recursive: true, force: true });
}
