// A policy server: what it says is done, what it cannot say is not missed, and it hears the counts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeLogs, request } from './lib/otlp.mjs';
import { policy, PolicyServer } from './lib/policy.mjs';
import { closeLedger, pair, run } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

const POLICY_KEY = 'canary-policy-key-0123456789';
const TEAM = 7;

async function setUp(t, { first, set = {} } = {}) {
  const server = await PolicyServer.start();
  t.after(() => server.down());
  first?.(server);
  const rest = await pair(t, {
    set: {
      'batch.max_age': '50ms', 'sampling.first.count': 0, 'sampling.severity_rates.INFO': 1, 'policy.server': `${server.url}/`,
      'policy.team_id': TEAM, 'policy.api_key': POLICY_KEY, 'policy.refresh_interval': '200ms', 'policy.report_interval': '1h', ...set,
    },
  });
  return { server, ...rest };
}

const outcome = async (sidecar, name) => (await sidecar.metrics())[`lipservice_policy_fetches_total{outcome="${name}"}`];
const logsOf = (service, n, severityNumber = 9, body) => encodeLogs(request(n, { service, base: { severityNumber }, ...(body ? { body } : {}) }));
const inForce = (sidecar, services) => until('the policy', async () => (await sidecar.metrics()).lipservice_policy_services === services);

test('a fetched policy is in force for its service, errors excepted', async (t) => {
  const { stdout } = await run(['signature'], { input: 'user 42 bought 3 items\n' });
  const [id] = /lps1:[0-9a-f]{16}/.exec(stdout);
  const service = 'shop/eu 1?ü';
  const { server, stub, sidecar } = await setUp(t, {
    first: (s) => (s.policies[`${service} ${TEAM}`] = policy({ version: 3, severity_rates: { DEBUG: 0, INFO: 0, WARNING: 0, ERROR: 0.5, CRITICAL: 1 }, pattern_rates: { [id]: 1, '192e2189dedd759b686b29a872987cc1': 0.1 } })),
  });
  await sidecar.post(logsOf(service, 1)); // at first sight: its own rules
  await sidecar.post(logsOf('other', 1));
  await inForce(sidecar, 1);
  await sidecar.post(logsOf(service, 50));
  await sidecar.post(logsOf(service, 50, 17));
  await sidecar.post(logsOf(service, 10, 9, (i) => `user ${i} bought ${i + 3} items`));
  await sidecar.post(logsOf('other', 20));
  await until('a second look', () => server.fetches.filter((f) => f.service === service).length >= 3);
  assert.ok(await outcome(sidecar, 'unknown_service') >= 1);
  const ledger = await closeLedger(sidecar, { received: 132, sampled_out: 50, kept: 82 });
  assert.equal(ledger.services[service].sampled_out, 50);
  assert.equal(stub.rows.filter((r) => r.severity_text === 'error').length, 50);
  assert.equal(stub.rows.filter((r) => r.body.startsWith('user')).length, 10);
  assert.ok(server.fetches.every((f) => f.team === String(TEAM) && f.authorization === `Bearer ${POLICY_KEY}`));
  assert.ok(sidecar.log.some((line) => line.event === 'policy' && line.version === 3));
  assert.equal(sidecar.log.filter((line) => line.event === 'policy').length, 1, 'told once');
  assert.ok(sidecar.log.some((line) => line.event === 'policy_floor'));
  assert.ok(!sidecar.stderr.includes(POLICY_KEY));
});

test('whatever goes wrong, the last good policy stays; a better one replaces it', async (t) => {
  const { server, sidecar } = await setUp(t, { first: (s) => (s.policies[`shop ${TEAM}`] = policy({ severity_rates: { INFO: 0 } })) });
  await sidecar.post(logsOf('shop', 1));
  await inForce(sidecar, 1);
  let sent = 0;
  const stays = async (name) => {
    const before = (await sidecar.ledger()).sampled_out;
    await sidecar.post(logsOf('shop', 10));
    sent += 10;
    assert.equal((await sidecar.ledger()).sampled_out, before + 10, name);
  };
  const seen = async (name) => {
    const before = await outcome(sidecar, name);
    await until(name, async () => (await outcome(sidecar, name)) > before);
  };
  const bad = [
    ['failed', 500, 'Internal Server Error'], ['failed', 401, '{}'], ['failed', 302, ''], ['invalid', 200, '<html></html>'], ['invalid', 200, '{}'],
    ['invalid', 200, '[]'], ['invalid', 200, ''], ['invalid', 200, JSON.stringify(policy({ global_rate: 2 }))],
    ['invalid', 200, JSON.stringify(policy({ severity_rates: { INFO: 'much' } }))], ['invalid', 200, JSON.stringify(policy({ severity_rates: { LOUD: 1 } }))],
    ['unknown_service', 404, '{"detail":"Service not found"}'],
  ];
  for (const [name, status, body] of bad) {
    server.answer = { status, body };
    await seen(name);
    await stays(`${status} ${body}`);
  }
  server.answer = null;
  await server.down();
  await seen('failed');
  await stays('down');
  server.policies[`shop ${TEAM}`] = policy({ version: 2 });
  await server.up();
  await until('version 2', () => sidecar.log.some((line) => line.event === 'policy' && line.version === 2));
  await sidecar.post(logsOf('shop', 5));
  await closeLedger(sidecar, { received: 6 + sent, sampled_out: sent, kept: 6 });
});

test('no server at the start: the configuration decides, nothing waits', async (t) => {
  const { server, sidecar } = await setUp(t);
  await server.down();
  await sidecar.post(logsOf('shop', 10));
  await until('a failure', async () => (await outcome(sidecar, 'failed')) >= 1);
  await sidecar.post(logsOf('shop', 10));
  await closeLedger(sidecar, { received: 20, kept: 20 });
});

const counts = (reports, service) => reports.filter((r) => r.service_name === service).reduce((sum, r) => sum + r.total_logs, 0);
const countsOfPatterns = (reports, service, key) =>
  reports.filter((r) => r.service_name === service).flatMap((r) => r.patterns).reduce((sum, p) => sum + p[key], 0);

test('reports add up to what was received, over refusals and the end', async (t) => {
  const { server, sidecar } = await setUp(t, { set: { 'policy.report_interval': '200ms', 'sampling.severity_rates.INFO': 0.2 } });
  await sidecar.post(logsOf('shop', 100));
  await sidecar.post(logsOf('bank', 30, 17));
  await until('two reports', () => counts(server.reports, 'shop') === 100 && counts(server.reports, 'bank') === 30);
  server.answer = { status: 500, body: '{}' };
  await sidecar.post(logsOf('shop', 50));
  await until('refusals', () => server.refused.length >= 2);
  await sidecar.post(logsOf('shop', 20));
  server.answer = null;
  await until('what was refused, again', () => counts(server.reports, 'shop') === 170);
  const ledger = await sidecar.ledger();
  assert.equal(countsOfPatterns(server.reports, 'shop', 'count'), 170);
  assert.equal(countsOfPatterns(server.reports, 'shop', 'sampled_count'), ledger.services.shop.kept);
  await sidecar.post(logsOf('shop', 7)); // told at the end if not before
  await closeLedger(sidecar, { received: 207 });
  assert.equal(counts(server.reports, 'shop'), 177);
  assert.equal(countsOfPatterns(server.reports, 'shop', 'count'), 177);
  assert.equal(countsOfPatterns(server.reports, 'bank', 'sampled_count'), 30);
  for (const report of server.reports) {
    assert.equal(report.team_id, TEAM);
    assert.equal(report.unique_patterns, report.patterns.length);
    assert.equal(report.authorization, `Bearer ${POLICY_KEY}`);
    for (const p of report.patterns) {
      assert.match(p.signature, /^lps1:[0-9a-f]{16}$/);
      assert.ok(p.first_seen <= p.last_seen && Math.abs(p.last_seen * 1000 - Date.now()) < 60000);
      assert.equal(Object.values(p.severity_distribution).reduce((a, b) => a + b, 0), p.count);
    }
  }
});

test('a policy server that hangs does not hold the end up', async (t) => {
  const { server, sidecar } = await setUp(t, { set: { 'shutdown.timeout': '3s', 'policy.timeout': '60s' } });
  server.server.removeAllListeners('request');
  server.server.on('request', () => {});
  await sidecar.post(logsOf('shop', 5));
  await closeLedger(sidecar, { received: 5, delivered: 5 });
});
