// Project keys that clients bring: whose goes on, and that nobody's records go to another's project.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { directory } from './lib/disk.mjs';
import { encodeLogs, flatten, request } from './lib/otlp.mjs';
import { closeLedger, KEEP_ALL, KEY, pair, Sidecar } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';
import { grpc, h2, http1 } from './lib/wire.mjs';

const A = 'phc_tenantA', B = 'phc_tenantB';
const UNAUTHENTICATED = 16;
const WAYS = { 'in memory': () => ({}), 'on disk': (t) => ({ durability: 'disk', 'spool.directory': directory(t) }) };
const JSON_TYPE = { 'content-type': 'application/json' };

const logs = (text, n = 3, base = {}) => request(n, { service: text, base, body: (i) => `${text} ${i}` });
const bearer = (key) => ({ authorization: `Bearer ${key}` });
// The bodies that arrived under each key.
function arrived(stub) {
  const by = {};
  for (const { token, decoded, status } of stub.logs)
    if (status === 200) (by[token] ??= []).push(...flatten(decoded).map(({ record }) => record.body.stringValue));
  for (const list of Object.values(by)) list.sort();
  return by;
}
const bodies = (...names) => names.flatMap((name) => [0, 1, 2].map((i) => `${name} ${i}`)).sort();
// No key is in its log or on its pages.
async function staysSecret(sidecar) {
  for (const route of ['/api/config', '/api/ledger', '/api/patterns?limit=100']) assert.doesNotMatch(await sidecar.page('admin', route), /phc_tenant/);
  assert.doesNotMatch(await sidecar.page('metrics', '/metrics'), /phc_tenant/);
  assert.doesNotMatch(sidecar.stderr, /phc_tenant|phc_bad/);
}

for (const [where, settings] of Object.entries(WAYS)) {
  test(`client_or_configured, ${where}: each to its own project, and what brings no key to ours`, async (t) => {
    const set = { ...KEEP_ALL, 'auth.upstream_key': 'client_or_configured', ...settings(t) };
    const { stub, sidecar } = await pair(t, { set, posthog: { projects: [KEY, A, B], keepBodies: true } });
    const answers = [
      await http1(sidecar.httpPort, { body: encodeLogs(logs('a1')), headers: bearer(A) }),
      await http1(sidecar.httpPort, { body: encodeLogs(logs('b1')), path: `/v1/logs?x=1&token=${B}` }),
      await http1(sidecar.httpPort, { body: encodeLogs(logs('b2')), path: `/v1/logs%3Ftoken=${B}` }),
      await http1(sidecar.httpPort, { body: encodeLogs(logs('ours1')) }),
      await h2(sidecar.httpPort, { body: encodeLogs(logs('a2')), headers: { authorization: `bearer  ${A}` } }),
      await http1(sidecar.httpPort, { body: JSON.stringify(logs('b3')), headers: { ...JSON_TYPE, ...bearer(B) } }),
      await http1(sidecar.httpPort, { body: encodeLogs(logs('ours2')), headers: bearer(KEY) }),
      await http1(sidecar.httpPort, { body: encodeLogs(logs('ours3')), headers: { authorization: 'Basic eDp5' } }),
    ];
    for (const [i, answer] of answers.entries()) assert.equal(answer.status, 200, `request ${i}`);
    assert.equal((await grpc(sidecar.grpcPort, { message: encodeLogs(logs('a3')), headers: bearer(A) })).code, 0);
    await until('all of it', () => stub.rows.length === 27);
    assert.deepEqual(arrived(stub), { [A]: bodies('a1', 'a2', 'a3'), [B]: bodies('b1', 'b2', 'b3'), [KEY]: bodies('ours1', 'ours2', 'ours3') });
    for (const { body } of stub.logs) assert.doesNotMatch(body.toString('latin1'), /phc_/, 'a key in a body');
    await staysSecret(sidecar);
    await closeLedger(sidecar, { received: 27, kept: 27, delivered: 27 });
  });

  test(`client, ${where}: no key, or one that can be none, is 401`, async (t) => {
    const set = { ...KEEP_ALL, 'auth.upstream_key': 'client', ...settings(t) };
    const { stub, sidecar } = await pair(t, { set, posthog: { projects: [A] } });
  const bad = [{}, bearer('phc_bad'.padEnd(65, 'x')), bearer('phc_bad key'), { authorization: 'Bearer' }];
    for (const headers of bad) {
      const answer = await http1(sidecar.httpPort, { body: encodeLogs(logs('x')), headers });
      assert.equal(answer.status, 401);
      assert.equal((await grpc(sidecar.grpcPort, { message: encodeLogs(logs('x')), headers })).code, UNAUTHENTICATED);
    }
    assert.equal(await sidecar.refused('key'), 2 * bad.length);
    assert.equal((await http1(sidecar.httpPort, { body: encodeLogs(logs('a')), headers: bearer(A) })).status, 200);
    await until('all of it', () => stub.rows.length === 3);
    await staysSecret(sidecar);
    await closeLedger(sidecar, { received: 3, kept: 3 });
  });

  test(`a client's key that the upstream refuses holds nobody else up, ${where}`, async (t) => {
    const set = { ...KEEP_ALL, 'auth.upstream_key': 'client_or_configured', ...settings(t) };
    const { stub, sidecar } = await pair(t, { set, posthog: { projects: [KEY, A] } });
    stub.dropped.add(B);
    for (const key of [B, A]) assert.equal((await http1(sidecar.httpPort, { body: encodeLogs(logs('x')), headers: bearer(key) })).status, 200);
    assert.equal((await http1(sidecar.httpPort, { body: encodeLogs(logs('ours')) })).status, 200);
    await until('the others', () => stub.rows.length === 6);
    await closeLedger(sidecar, { received: 9, kept: 9, delivered: 6, lost: { unauthorized: 3 } });
  });

  test(`the context of an error goes to its own project, ${where}`, async (t) => {
    const set = { ...KEEP_ALL, 'auth.upstream_key': 'client_or_configured', 'sampling.severity_rates.INFO': 0, 'sampling.first.count': 0, ...settings(t) };
    const { stub, sidecar } = await pair(t, { set, posthog: { projects: [KEY, A, B] } });
    const traceId = Buffer.from('0123456789abcdef0123456789abcdef', 'hex');
    const send = async (body, key) => assert.equal((await http1(sidecar.httpPort, { body: encodeLogs(body), headers: bearer(key) })).status, 200);
    await send(logs('a', 1, { traceId }), A);
    await send(logs('b', 1, { traceId }), B);
    await send(logs('failed', 1, { traceId, severityNumber: 17 }), B);
    await until('all of the trace', () => stub.rows.length === 3);
    assert.deepEqual(arrived(stub), { [A]: ['a 0'], [B]: ['b 0', 'failed 0'] });
    await closeLedger(sidecar, { received: 3, kept: 1, released: 2, sampled_out: 2 });
  });
}

test('keys outlast the process, on disk', async (t) => {
  const set = { ...KEEP_ALL, 'auth.upstream_key': 'client', durability: 'disk', 'spool.directory': directory(t), 'shutdown.timeout': '500ms' };
  const { stub, sidecar } = await pair(t, { set, posthog: { projects: [KEY, A, B], keepBodies: true } });
  stub.answer = () => ({ status: 503 });
  for (const [name, key] of [['a1', A], ['b1', B], ['a2', A]])
    assert.equal((await http1(sidecar.httpPort, { body: encodeLogs(logs(name)), headers: bearer(key) })).status, 200);
  sidecar.signal('SIGKILL');
  await sidecar.end();
  stub.answer = null;
  const next = await Sidecar.start(t, { set, stub });
  await until('all of it', () => stub.rows.length >= 9);
  assert.deepEqual(arrived(stub), { [A]: bodies('a1', 'a2'), [B]: bodies('b1') });
  for (const { body } of stub.logs.filter((entry) => entry.body)) assert.doesNotMatch(body.toString('latin1'), /phc_/);
  await closeLedger(next, { received: 9, kept: 9, delivered: 9 });
});

test('configured: all to one project, one warning', async (t) => {
  const { stub, sidecar } = await pair(t, { posthog: { projects: [KEY] } });
  for (const headers of [bearer(KEY), bearer(A), bearer(B), {}]) assert.equal((await http1(sidecar.httpPort, { body: encodeLogs(logs('x')), headers })).status, 200);
  await until('all of it', () => stub.rows.length === 12);
  assert.equal(sidecar.log.filter((line) => line.event === 'another_key').length, 1);
  await staysSecret(sidecar);
  await closeLedger(sidecar, { received: 12, delivered: 12 });
});

test('traces go on with the key that they came with', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'auth.upstream_key': 'client_or_configured' }, posthog: { projects: [KEY, A] } });
  for (const headers of [bearer(A), {}]) assert.equal((await http1(sidecar.httpPort, { path: '/v1/traces', body: Buffer.from('0a00', 'hex'), headers })).status, 200);
  await until('both', () => stub.relayed.traces.length === 2);
  assert.deepEqual(stub.relayed.traces.map(({ headers }) => headers.authorization).sort(), [bearer(A), bearer(KEY)].map((h) => h.authorization).sort());
  await closeLedger(sidecar, { received: 0 });
});
