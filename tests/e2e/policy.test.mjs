// The policy server: rates fetched, counts told, and what a server that misbehaves can do.
import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';
import { encodeLogs } from './lib/otlp.mjs';
import { closeLedger, KEEP_ALL, pair } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

const POLICY = {
  global_rate: 1.0,
  severity_rates: { DEBUG: 0, INFO: 0, WARNING: 0.5, ERROR: 1.0, CRITICAL: 1.0 },
  pattern_rates: {},
  anomaly_boost: 3.0,
  reasoning: 'a test',
  generated_by: 'rule-based',
  llm_model: null,
  version: 4,
};

// A stand-in for the policy server. `policy(request)` and `report(request)` answer
// {status, body} or do with the response what they like and return nothing.
async function policyServer(t, { policy = () => ({ status: 200, body: POLICY }), report = () => ({ status: 202, body: { status: 'accepted' } }) } = {}) {
  const seen = { fetches: [], reports: [] };
  const behaviour = { policy, report };
  const server = http.createServer((req, res) => {
    const chunks = [];
    req.on('data', (chunk) => chunks.push(chunk));
    req.on('end', () => {
      const url = new URL(req.url, 'http://x');
      const isReport = req.method === 'POST' && url.pathname === '/api/v1/patterns/stats';
      const entry = { url, headers: req.headers };
      if (isReport) entry.body = JSON.parse(Buffer.concat(chunks));
      (isReport ? seen.reports : seen.fetches).push(entry);
      const answer = (isReport ? behaviour.report : behaviour.policy)(entry, res);
      if (!answer) return;
      res.writeHead(answer.status, { 'content-type': 'application/json' });
      res.end(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body));
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { ...seen, behaviour, url: `http://127.0.0.1:${server.address().port}` };
}

const settings = (server, more = {}) => ({
  ...KEEP_ALL,
  'sampling.first.count': 0,
  'policy.server': server.url,
  'policy.team_id': 7,
  'policy.refresh_interval': '200ms',
  'policy.report_interval': '200ms',
  'policy.timeout': '1s',
  ...more,
});

const logs = (n, { service = 'checkout', number = 9, text = 'INFO', body = (i) => `user ${i} logged in` } = {}) =>
  encodeLogs({
    resourceLogs: [{
      resource: { attributes: [{ key: 'service.name', value: { stringValue: service } }] },
      scopeLogs: [{ logRecords: Array.from({ length: n }, (_, i) => ({ timeUnixNano: '1', severityNumber: number, severityText: text, body: { stringValue: body(i) } })) }],
    }],
  });

async function send(sidecar, body) {
  assert.equal((await sidecar.post(body)).status, 200);
}

const metric = async (sidecar, name) => (await sidecar.metrics())[name];
const fetched = (sidecar, outcome, n = 1) =>
  until(`${n} fetches ${outcome}`, async () => (await metric(sidecar, `lipservice_policy_fetches_total{outcome="${outcome}"}`)) >= n);

test('a fetched policy replaces the rates of its service, and never those of errors', async (t) => {
  const server = await policyServer(t, {
    policy: () => ({ status: 200, body: { ...POLICY, severity_rates: { ...POLICY.severity_rates, ERROR: 0.1, CRITICAL: 0 } } }),
  });
  const { sidecar } = await pair(t, { set: settings(server, { 'policy.api_key': 'canary-bearer' }) });
  await send(sidecar, logs(1, { service: 'check out/ü' }));
  await fetched(sidecar, 'installed');
  const [first] = server.fetches;
  assert.equal(first.url.pathname, '/api/v1/policies/check%20out%2F%C3%BC');
  assert.equal(first.url.searchParams.get('team_id'), '7');
  assert.equal(first.headers.authorization, 'Bearer canary-bearer');

  await send(sidecar, logs(100, { service: 'check out/ü' }));
  await send(sidecar, logs(50, { service: 'check out/ü', number: 17, text: 'ERROR' }));
  await send(sidecar, logs(50, { service: 'check out/ü', number: 21, text: 'FATAL' }));
  assert.equal(await metric(sidecar, 'lipservice_policy_services'), 1);
  assert.ok(!sidecar.stderr.includes('canary-bearer'));
  await closeLedger(sidecar, { received: 201, kept: 101, sampled_out: 100 });
});

test('pattern rates bind by id; keys of older servers are left out', async (t) => {
  const server = await policyServer(t);
  const { sidecar } = await pair(t, { set: settings(server) });
  await send(sidecar, logs(1, { service: 'a' }));
  const [{ pattern }] = await sidecar.patterns();
  server.behaviour.policy = () => ({
    status: 200,
    body: { global_rate: 1, severity_rates: {}, pattern_rates: { [pattern]: 0, '192e2189dedd759b686b29a872987cc1': 0.5 }, anomaly_boost: 1, version: 5 },
  });
  await until('version 5', () => sidecar.log.some((line) => line.event === 'policy' && line.version === 5 && line.foreign_keys === 1));
  await send(sidecar, logs(40, { service: 'a' }));
  await send(sidecar, logs(40, { service: 'a', body: (i) => `order ${i} shipped` }));
  await closeLedger(sidecar, { received: 81, sampled_out: 40 });
});

test('a pattern takes the rate along into its family, which reports and the admin page name', async (t) => {
  const names = ['alice', 'bob', 'carol', 'dave', 'erin', 'frank', 'grace', 'heidi'];
  const log = (name) => logs(1, { service: 'a', body: () => `user ${name} logged in` });
  const server = await policyServer(t);
  const { sidecar } = await pair(t, { set: settings(server) });
  await send(sidecar, log('alice'));
  const [{ pattern, family }] = await sidecar.patterns();
  assert.equal(family, undefined);
  server.behaviour.policy = () => ({ status: 200, body: { global_rate: 1, severity_rates: {}, pattern_rates: { [pattern]: 0 }, anomaly_boost: 1, version: 5 } });
  await until('version 5', () => sidecar.log.some((line) => line.event === 'policy' && line.version === 5));
  for (const name of names) await send(sidecar, log(name));
  const { aliases } = JSON.parse(await sidecar.page('admin', '/api/families'));
  assert.equal(aliases.length, names.length);
  const { to } = aliases[0];
  for (const a of aliases) {
    assert.deepEqual(Object.keys(a), ['version', 'from', 'to', 'template', 'since']);
    assert.deepEqual([a.version, a.to, a.template], ['lps1', to, 'user <*> logged in']);
    assert.ok(Math.abs(a.since - Date.now() / 1000) < 60);
  }
  for (const p of await sidecar.patterns()) assert.ok(p.family === to || p.pattern === to);
  await until('the rate to hold for a new name', async () => {
    await send(sidecar, log('zoe'));
    const family = (await sidecar.patterns()).find((p) => p.pattern === to);
    return family.template === 'user <*> logged in' && family.sampled_out > 0;
  });
  await until('a report of the family', () => server.reports.some(({ body }) => body.patterns.some((p) => p.signature === to && p.template === 'user <*> logged in')));
  await until('a report of a member', () => server.reports.some(({ body }) => body.patterns.some((p) => p.signature === pattern && p.family === to)));
  assert.equal(await metric(sidecar, 'lipservice_pattern_aliases'), names.length + 1);
  await closeLedger(sidecar);
});

test('a policy of ten thousand pattern rates is taken', async (t) => {
  const pattern_rates = {};
  for (let i = 0; i < 10000; i++) pattern_rates[`lps1:${i.toString(16).padStart(16, '0')}`] = 0.01;
  const server = await policyServer(t, { policy: () => ({ status: 200, body: { ...POLICY, pattern_rates } }) });
  const { sidecar } = await pair(t, { set: settings(server) });
  await send(sidecar, logs(1));
  await fetched(sidecar, 'installed');
  await closeLedger(sidecar, { received: 1 });
});

test('whatever the server does, the last good policy stays', async (t) => {
  const server = await policyServer(t);
  const { sidecar } = await pair(t, { set: settings(server) });
  await send(sidecar, logs(1));
  await fetched(sidecar, 'installed');

  const nonsense = ['', 'not JSON', '[]', '{}', '{"global_rate":"1"}', '{"global_rate":2}', '{"severity_rates":{"LOUD":1}}',
    '{"severity_rates":{"INFO":-1}}', '{"global_rate":NaN}', `{"global_rate":1,"reasoning":"${'x'.repeat(2 << 20)}"}`];
  for (const body of nonsense) {
    const before = await metric(sidecar, 'lipservice_policy_fetches_total{outcome="invalid"}');
    server.behaviour.policy = () => ({ status: 200, body });
    await fetched(sidecar, 'invalid', before + 1);
  }
  server.behaviour.policy = () => ({ status: 404, body: { detail: 'Service not found' } });
  await fetched(sidecar, 'unknown_service');
  const bad = [
    () => ({ status: 500, body: 'oh' }),
    () => ({ status: 422, body: {} }),
    (_, res) => void res.destroy(),
    (_, res) => void res.writeHead(302, { location: '/login' }).end(),
    () => undefined, // hangs until the timeout
  ];
  for (const answer of bad) {
    const before = await metric(sidecar, 'lipservice_policy_fetches_total{outcome="failed"}');
    server.behaviour.policy = answer;
    await fetched(sidecar, 'failed', before + 1);
  }
  await send(sidecar, logs(50));
  await closeLedger(sidecar, { received: 51, sampled_out: 50 });
});

test('a server that is away costs nothing but its policy', async (t) => {
  const { sidecar } = await pair(t, { set: settings({ url: 'http://127.0.0.1:1' }) });
  await send(sidecar, logs(20));
  await fetched(sidecar, 'failed', 2);
  await until('a failed report', async () => (await metric(sidecar, 'lipservice_policy_reports_total{outcome="failed"}')) >= 2);
  assert.equal(await metric(sidecar, 'lipservice_policy_report_age_seconds'), -1);
  await closeLedger(sidecar, { received: 20, kept: 20 });
});

const told = (server) => {
  const sum = { total: 0, count: 0, sampled: 0 };
  for (const { body } of server.reports) {
    sum.total += body.total_logs;
    for (const p of body.patterns) {
      sum.count += p.count;
      sum.sampled += p.sampled_count;
    }
  }
  return sum;
};

test('reports carry what older servers require, and more, and add up to what was received', async (t) => {
  const server = await policyServer(t, { policy: () => ({ status: 404, body: {} }) });
  const { sidecar } = await pair(t, { set: settings(server) });
  for (let i = 0; i < 5; i++) {
    await send(sidecar, logs(30));
    await send(sidecar, logs(10, { number: 13, text: 'WARN' }));
    await send(sidecar, logs(7, { service: 'billing', body: (n) => `invoice ${n} sent` }));
  }
  await closeLedger(sidecar, { received: 235, kept: 235 });

  assert.deepEqual(told(server), { total: 235, count: 235, sampled: 235 });
  for (const { body, headers } of server.reports) {
    assert.equal(headers['content-type'], 'application/json');
    assert.ok(['checkout', 'billing'].includes(body.service_name));
    assert.equal(body.team_id, 7);
    assert.ok(Math.abs(body.timestamp - Date.now() / 1000) < 60);
    assert.equal(body.unique_patterns, body.patterns.length);
    assert.equal(body.algorithm, 'lps1');
    for (const p of body.patterns) {
      assert.match(p.signature, /^lps1:[0-9a-f]{16}$/);
      assert.ok(p.first_seen <= p.last_seen && p.first_seen > 1.7e9);
      assert.ok(p.bytes > 0);
      assert.match(p.template, /^(user|invoice) <\*> (logged in|sent)$/);
      assert.equal(Object.values(p.severity_distribution).reduce((a, b) => a + b, 0), p.count);
    }
  }
  const levels = new Set(server.reports.flatMap(({ body }) => body.patterns.flatMap((p) => Object.keys(p.severity_distribution))));
  assert.deepEqual([...levels].sort(), ['INFO', 'WARN']);
});

test('a report that fails goes with the next; nothing is told twice', async (t) => {
  const accepted = [];
  let failures = 3;
  const server = await policyServer(t, {
    policy: () => ({ status: 404, body: {} }),
    report: (entry, res) => {
      if (failures-- > 0) {
        if (failures === 1) return void res.destroy();
        return { status: 500, body: {} };
      }
      accepted.push(entry);
      return { status: 202, body: {} };
    },
  });
  const { sidecar } = await pair(t, { set: settings(server) });
  for (let i = 0; i < 4; i++) {
    await send(sidecar, logs(25));
    const n = server.reports.length;
    await until('another report', () => server.reports.length > n);
  }
  await closeLedger(sidecar, { received: 100 });
  assert.equal(told({ reports: accepted }).total, 100);
  assert.equal(told({ reports: accepted }).count, 100);
});

test('the last counts are told at the end, within the time to stop', async (t) => {
  const server = await policyServer(t, { policy: () => ({ status: 404, body: {} }) });
  const { sidecar } = await pair(t, { set: settings(server, { 'policy.report_interval': '1h' }) });
  await send(sidecar, logs(12));
  await closeLedger(sidecar, { received: 12 });
  assert.equal(told(server).total, 12);
});
