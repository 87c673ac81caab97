// One allocation of the policy server fails, the n-th: of a start, a report, a policy, a page. Nothing
// ends, nothing is acknowledged that is not counted, and the next request is served.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { binary, Scarcity, skip, STRIDE } from './lib/scarce.mjs';
import { counted, report, Server } from './lib/server.mjs';
import { until } from './lib/wait.mjs';

const POLICY = { global_rate: 1, severity_rates: { DEBUG: 0.05, INFO: 0.2, WARNING: 0.5, ERROR: 1, CRITICAL: 1 } };
const MOST = 20000; // allocations of a request, never reached

// Success, or not: a refusal, or a connection that ends.
async function ask(server, method, route, body) {
  try {
    const answer = await fetch(server.url + route, {
      method,
      headers: { authorization: `Bearer ${server.key}`, connection: 'close', ...(body ? { 'content-type': 'application/json' } : {}) },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(20000),
    });
    await answer.text();
    return answer.status < 300;
  } catch {
    return false;
  }
}

const requests = {
  'a report': (server) => ask(server, 'POST', '/api/v1/patterns/stats', report('scarce', 10)),
  'a policy': (server) => ask(server, 'PUT', '/api/v1/policies/scarce', POLICY),
  'the policy, read': (server) => ask(server, 'GET', '/api/v1/policies/scarce'),
  'a page of patterns': (server) => ask(server, 'GET', '/api/v1/services/scarce/patterns?hours=24'),
  'metrics': (server) => ask(server, 'GET', '/metrics'),
};

for (const [name, request] of Object.entries(requests)) {
  test(`${name}: the n-th allocation fails`, { skip }, async (t) => {
    const scarcity = new Scarcity(t);
    const server = await Server.start(t, { binary, env: scarcity.env, set: { 'server.requests_per_second': 1000000 } });
    assert.ok(await ask(server, 'POST', '/api/v1/patterns/stats', report('scarce', 10)));
    await until('it is stored', async () => (await counted(server, 'scarce')) === 10);
    assert.ok(await request(server));
    let acknowledged = name === 'a report' ? 2 : 1;
    let tried = 0;
    for (let n = 1; n < MOST; n++) {
      const before = scarcity.failed;
      scarcity.arm(n);
      const is = await request(server);
      scarcity.disarm();
      if (name === 'a report') acknowledged += is;
      if (server.child.exitCode !== null || server.child.signalCode !== null || scarcity.failed === before) break;
      tried++;
      await until('the next one is taken', async () => {
        const good = await request(server);
        if (name === 'a report') acknowledged += good;
        return good;
      });
    }
    assert.equal(server.child.exitCode ?? server.child.signalCode, null, `ended at ${tried}: ${server.stderr.slice(-2000)}`);
    assert.ok(tried > 0);
    t.diagnostic(`${tried} allocations`);
    // An answer may have been lost, and its report not.
    await until('all that was acknowledged', async () => (await counted(server, 'scarce')) >= 10 * acknowledged);
    await server.stop();
  });
}

test('the n-th allocation of a start fails: it says so, or does without', { skip }, async (t) => {
  const scarcity = new Scarcity(t);
  let [started, refused] = [0, 0];
  for (let n = 1, last = 0; ; n += STRIDE === 1 ? 1 : 1 + Math.floor(n / 12) + STRIDE) {
    scarcity.begin(n);
    let server;
    try {
      server = await Server.start(t, { binary, env: scarcity.env });
      started++;
    } catch (error) {
      assert.match(String(error), /it ended with (64|69|70|78|1)\b/, `${n}: ${error}`);
      refused++;
    }
    const isOver = scarcity.failed === 0;
    scarcity.disarm();
    if (server) {
      if (server.key) assert.ok(await ask(server, 'POST', '/api/v1/patterns/stats', report('scarce', 10)), `${n}`);
      await server.stop();
    }
    if (isOver && ++last > 1) break;
  }
  t.diagnostic(`${started} started, ${refused} did not`);
});
