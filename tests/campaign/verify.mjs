// A million records through retries, lost answers, splits, a crash, minutes of quota, a drop rule
// and a second sender; then `lipservice posthog verify`, which has to explain each difference:
//
//     LIPSERVICE_BIN=build/lipservice node tests/campaign/verify.mjs [RECORDS]
//
// 0 when nothing is unexplained.
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { encodeLogs } from '../e2e/lib/otlp.mjs';
import { PostHogApp } from '../e2e/lib/posthog_app.mjs';
import { actOn } from '../e2e/lib/posthog_rules.mjs';
import { PostHog } from '../e2e/lib/posthog.mjs';
import { KEEP_ALL, KEY, run, Sidecar } from '../e2e/lib/sidecar.mjs';
import { pause, until } from '../e2e/lib/wait.mjs';

const records = Number(process.argv[2] ?? 1000000);
const LOTS = 2000; // records of a request
const SERVICES = ['api', 'web', 'db'];
const undo = [];
const t = { after: (fn) => undo.push(fn) };
const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-verify-'));
const wait = { timeout: 300000 };
const attribute = (key, value) => ({ key, value: { stringValue: value } });
let serial = 0;

const lot = (n, service, ago = 180000) => encodeLogs({
  resourceLogs: [{
    resource: { attributes: [attribute('service.name', service)] },
    scopeLogs: [{ logRecords: Array.from({ length: n }, (_, i) => ({ timeUnixNano: String(BigInt(Date.now() - ago - Math.floor((i * 300000) / n)) * 1000000n), severityNumber: 9, body: { stringValue: `line ${serial++} of ${service}` } })) }],
  }],
});

const stub = await PostHog.start();
try {
  const app = await PostHogApp.start(t, stub, { delayMs: 0, perMinute: 100000, projects: [{ id: 77, name: 'Shop', api_token: KEY }] });
  actOn(app);
  app.store().create('logs/sampling_rules', { name: 'quiet', enabled: true, rule_type: 'path_drop', config: { filter_group: { type: 'AND', values: [{ key: 'service.name', operator: 'exact', value: 'web' }, { key: 'message', operator: 'regex', value: '[05] of web' }] } } });
  const set = {
    ...KEEP_ALL, durability: 'disk', 'spool.directory': dir, 'posthog.app_host': app.url, 'posthog.personal_api_key': 'phx_e2e', 'posthog.check_interval': '1s', 'posthog.visible_after': '2s', 'posthog.role': 'leader', 'batch.max_records': 1000,
  };
  let sidecar = await Sidecar.start(t, { set, stub });
  const send = async (n) => {
    for (let sent = 0; sent < n; sent += LOTS * SERVICES.length)
      for (const service of SERVICES)
        for (;;) {
          const { status } = await sidecar.post(lot(LOTS, service));
          if (status === 200) break;
          await pause(200); // no room now
        }
  };
  const drained = () => until('an empty queue', async () => (await sidecar.ledger()).queued === 0, wait);
  const checks = async () => {
    const count = () => app.requests.filter((r) => r.path.endsWith('/quota_limits/')).length;
    const seen = count();
    await until('more checks', () => count() >= seen + 2, wait);
  };
  // A first process, killed with a backlog that the second one delivers.
  stub.answer = () => ({ status: 503 });
  await send(records / 20);
  sidecar.signal('SIGKILL');
  await sidecar.end();
  stub.answer = null;
  sidecar = await Sidecar.start(t, { set, stub });
  await drained();
  const before = stub.rows.length;
  // Every fortieth request fails in one of six ways.
  const faults = [() => ({ status: 503 }), () => ({ close: true }), () => ({ raw: (socket) => socket.destroy(), store: true }), () => ({ status: 413 }), () => ({ status: 500, body: '{}' }), () => ({ status: 429, headers: { 'retry-after': '1' } })];
  let asked = 0;
  stub.answer = () => (++asked % 40 === 0 ? faults[(asked / 40) % faults.length]() : null);
  await send(records * 0.7);
  await drained();
  const bad = stub.answer;
  stub.answer = null;
  for (let i = 0; i < 10; i++) await fetch(`${stub.url}/i/v1/logs`, { method: 'POST', body: lot(100, 'db', 1200000), headers: { authorization: `Bearer ${KEY}` } });
  stub.answer = bad;
  await checks();
  app.quota.limitMb = 0;
  await until('a limit', async () => (await sidecar.metrics()).lipservice_posthog_quota_limited === 1, wait);
  await send(records * 0.15);
  await drained();
  app.quota.limitMb = null;
  await until('none', async () => (await sidecar.metrics()).lipservice_posthog_quota_limited === 0, wait);
  await checks();
  await send(records * 0.1);
  await drained();
  await pause(4000);
  const begin = Date.now();
  const out = await run(['posthog', 'verify', '--json', '--admin', sidecar.addresses.admin, '--config', '/dev/null', '--set', `exporters.posthog.host=${stub.url}`, '--set', `posthog.app_host=${app.url}`], { env: { POSTHOG_PERSONAL_API_KEY: 'phx_e2e', POSTHOG_API_KEY: KEY }, timeout: 300000 });
  const found = JSON.parse(out.stdout);
  console.log(JSON.stringify({ exit: out.code, seconds: (Date.now() - begin) / 1000, rows: stub.rows.length, of_the_first_process: before, lost_to_quota: app.lostToQuota, dropped_by_rule: [...app.impact.values()][0], ...found.records }));
  process.exitCode = found.records.unexplained === 0 ? 0 : 1;
  sidecar.signal('SIGTERM');
  await sidecar.end();
} finally {
  for (const fn of undo.reverse()) await fn();
  await stub.down();
  rmSync(dir, { recursive: true, force: true });
}
