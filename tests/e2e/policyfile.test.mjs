// The policy file: rates that are swapped while records arrive, and what a bad one cannot do.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs, request } from './lib/otlp.mjs';
import { closeLedger, KEEP_ALL, pair, run } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

function scratch(t) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-policy-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

// Replaced whole, as a careful writer does.
function put(dir, text) {
  writeFileSync(path.join(dir, '.new'), text);
  renameSync(path.join(dir, '.new'), path.join(dir, 'policy.yaml'));
}

const policy = (rate, version) => `version: ${version}\nglobal_rate: ${rate}\n`;
const settings = (file, more = {}) => ({ ...KEEP_ALL, 'sampling.first.count': 0, 'sampling.policy_file': file, ...more });

async function start(t, text, more) {
  const dir = scratch(t);
  put(dir, text);
  return { dir, ...(await pair(t, { set: settings(path.join(dir, 'policy.yaml'), more) })) };
}

async function send(sidecar, n, options) {
  assert.equal((await sidecar.post(encodeLogs(request(n, options)))).status, 200);
}

const metric = async (sidecar, name) => (await sidecar.metrics())[`lipservice_policy_file_${name}`];
const version = (sidecar, n) => until(`version ${n}`, async () => (await metric(sidecar, 'version')) === n);
const loads = (sidecar, outcome, n) => until(`${n} loads ${outcome}`, async () => (await metric(sidecar, `loads_total{outcome="${outcome}"}`)) === n);

test('a policy file goes before the configured rates, and is swapped by rename, in place, by links and by SIGHUP', async (t) => {
  const { dir, sidecar } = await start(t, policy(0, 1), { 'sampling.drop': '[{body: "noise*"}]' });
  const file = path.join(dir, 'policy.yaml');
  await send(sidecar, 100);
  await send(sidecar, 10, { base: { severityNumber: 17 } });
  assert.equal((await sidecar.ledger()).kept, 10);
  assert.ok((await metric(sidecar, 'age_seconds')) >= 0);

  put(dir, policy(1, 2));
  await version(sidecar, 2);
  await send(sidecar, 100);
  await send(sidecar, 5, { body: () => 'noise' }); // drop stays as configured
  writeFileSync(file, JSON.stringify({ global_rate: 1, severity_rates: { INFO: 0, WARNING: 0.5, CRITICAL: 1 }, pattern_rates: {}, anomaly_boost: 3, reasoning: 'quiet \u{1f600}', version: 3 }));
  await version(sidecar, 3);
  await send(sidecar, 100);

  // As a ConfigMap is swapped.
  for (const [name, rate, n] of [['a', 1, 4], ['b', 0, 5]]) {
    mkdirSync(path.join(dir, name));
    writeFileSync(path.join(dir, name, 'policy.yaml'), policy(rate, n));
  }
  symlinkSync('a', path.join(dir, '..data'));
  unlinkSync(file);
  symlinkSync('..data/policy.yaml', file);
  await version(sidecar, 4);
  await send(sidecar, 100);
  symlinkSync('b', path.join(dir, '..tmp'));
  renameSync(path.join(dir, '..tmp'), path.join(dir, '..data'));
  await version(sidecar, 5);
  await send(sidecar, 100);

  const before = await metric(sidecar, 'loads_total{outcome="installed"}');
  sidecar.signal('SIGHUP');
  await loads(sidecar, 'installed', before + 1);
  await closeLedger(sidecar, { received: 515, kept: 210, sampled_out: 300, dropped_by_rule: 5 });
});

test('a bad file never replaces a good one', async (t) => {
  const { dir, sidecar } = await start(t, policy(0, 1));
  const bad = ['', 'global_rate: 2\n', 'severity_rates: {ERROR: 0.5}\n', '{"global_rate": 1,', 'global_rate: 1\nrates: {}\n'];
  for (const [i, text] of bad.entries()) {
    put(dir, text);
    await loads(sidecar, 'invalid', i + 1);
  }
  unlinkSync(path.join(dir, 'policy.yaml'));
  await loads(sidecar, 'unreadable', 1);
  assert.ok(sidecar.log.some((line) => line.event === 'policy_file_refused' && /policy\.yaml:1:14: global_rate: a rate is a number from 0 to 1/.test(line.reason)));
  await send(sidecar, 50);
  assert.equal(await metric(sidecar, 'version'), 1);
  put(dir, policy(1, 2));
  await version(sidecar, 2);
  await send(sidecar, 50);
  await closeLedger(sidecar, { received: 100, kept: 50, sampled_out: 50 });
});

test('at start a bad file is exit code 78, with file, line and what would be right', async (t) => {
  const dir = scratch(t);
  const file = path.join(dir, 'policy.yaml');
  const set = ['--config', '/dev/null', '--set', `sampling.policy_file=${file}`];
  const rows = [
    [null, /cannot read '.*policy\.yaml'/],
    ['global_rate: 1\nseverity_rates:\n  INFO: lots\n', /policy\.yaml:3:9: severity_rates\.INFO: a rate is a number from 0 to 1/],
    ['severity_rates: {NOTICABLE: 1}\n', /policy\.yaml:1:29: .*one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL/],
  ];
  for (const [text, said] of rows) {
    if (text !== null) writeFileSync(file, text);
    for (const verb of ['run', 'validate']) {
      const out = await run([verb, ...set]);
      assert.equal(out.code, 78, out.stderr);
      assert.match(out.stderr, said);
    }
  }
  writeFileSync(file, policy(0.5, 1));
  assert.equal((await run(['validate', ...set])).code, 0);
});

test("a policy server's policy of a service goes before the file", async (t) => {
  const server = http.createServer((req, res) => {
    const known = req.url.startsWith('/api/v1/policies/known?');
    res.writeHead(known ? 200 : 404).end(known ? '{"global_rate": 1, "version": 9}' : '{}');
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  t.after(() => server.closeAllConnections());
  const { dir, sidecar } = await start(t, policy(0, 1), {
    'policy.server': `http://127.0.0.1:${server.address().port}`,
    'policy.refresh_interval': '200ms',
  });
  await send(sidecar, 1, { service: 'known' });
  await until('its policy', async () => (await sidecar.metrics()).lipservice_policy_services === 1);
  const first = (await sidecar.ledger()).kept;
  await send(sidecar, 40, { service: 'known' });
  await send(sidecar, 40, { service: 'other' });
  put(dir, policy(0, 2));
  await version(sidecar, 2);
  await send(sidecar, 40, { service: 'known' });
  await closeLedger(sidecar, { received: 121, kept: first + 80 });
});

test('many swaps under load: nothing lost, nothing counted twice', async (t) => {
  const { dir, stub, sidecar } = await start(t, policy(1, 0));
  let going = true;
  let sent = 0;
  const load = (async () => {
    while (going) {
      await send(sidecar, 20);
      sent += 20;
    }
  })();
  for (let i = 1; i <= 200; i++) {
    put(dir, i % 20 === 7 ? 'global_rate: x\n' : policy(i % 2, i));
    sidecar.signal('SIGHUP');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await version(sidecar, 200);
  going = false;
  await load;
  const installed = await metric(sidecar, 'loads_total{outcome="installed"}');
  assert.ok(installed > 50, `${installed} swaps`);
  const ledger = await closeLedger(sidecar, { received: sent });
  assert.ok(ledger.kept > 0 && ledger.sampled_out > 0);
  assert.equal(ledger.kept, stub.rows.length);
});
