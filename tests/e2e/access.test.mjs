// Ports that others reach: what is told, what is asked for; and pages that other sites' pages ask for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closeLedger, KEEP_ALL, pair, run } from './lib/sidecar.mjs';
import { http1 } from './lib/wire.mjs';

const ADMIN_KEY = 'canary-admin-0123456789';
const OPEN = { 'receivers.otlp.protocols.grpc.endpoint': '0.0.0.0:0', 'telemetry.metrics.endpoint': '0.0.0.0:0', 'telemetry.health.endpoint': '0.0.0.0:0' };
const get = (port, path, headers = {}, method = 'GET') => http1(port, { method, path, headers });

test('a port off loopback without TLS and keys is told of, loudly, each by its setting', async (t) => {
  const { sidecar } = await pair(t, { set: { ...KEEP_ALL, ...OPEN } });
  const told = sidecar.log.filter((line) => line.event === 'insecure_port');
  assert.deepEqual(told.map((line) => [line.level, line.setting, line.missing]),
    [['warn', 'receivers.otlp.protocols.grpc.endpoint', 'tls,auth'], ['warn', 'telemetry.metrics.endpoint', 'tls,auth']]);
  await closeLedger(sidecar, { received: 0 });
});

test('allow_insecure: true silences that; on loopback there is nothing to tell', async (t) => {
  for (const set of [{ ...OPEN, allow_insecure: true }, {}]) {
    const { sidecar } = await pair(t, { set: { ...KEEP_ALL, ...set } });
    assert.equal(sidecar.log.filter((line) => line.event === 'insecure_port').length, 0);
    await closeLedger(sidecar, { received: 0 });
  }
});

test('an admin page off loopback needs a key, or the word that none is', async () => {
  const validate = (...sets) => run(['validate', '--config', '/dev/null', ...sets.flatMap((set) => ['--set', set])]);
  const far = 'telemetry.admin.endpoint=0.0.0.0:55679';
  const refused = await validate(far);
  assert.equal(refused.code, 78);
  assert.match(refused.stderr, /telemetry\.admin\.api_key/);
  for (const more of [`telemetry.admin.api_key=${ADMIN_KEY}`, 'allow_insecure=true']) assert.equal((await validate(far, more)).code, 0);
  for (const bad of ['short', 'with blanks 0123456789', 'x'.repeat(256)]) {
    const answer = await validate(`telemetry.admin.api_key=${bad}`);
    assert.equal(answer.code, 78, bad);
    assert.doesNotMatch(answer.stderr, /with blanks/);
  }
});

test('the key of the admin page: asked for, shown by the verbs, never told', async (t) => {
  const { sidecar } = await pair(t, { set: { ...KEEP_ALL, 'telemetry.admin.api_key': ADMIN_KEY, 'telemetry.log.level': 'debug' } });
  assert.equal((await get(sidecar.adminPort, '/api/ledger')).status, 401);
  assert.equal((await get(sidecar.adminPort, '/api/reload', {}, 'POST')).status, 401);
  assert.equal((await get(sidecar.adminPort, '/')).status, 401); // the page that asks for it
  assert.equal((await get(sidecar.adminPort, '/app.js')).status, 200);
  assert.equal((await get(sidecar.adminPort, '/api/')).status, 200);
  for (const headers of [{ 'x-api-key': ADMIN_KEY }, { authorization: `Bearer ${ADMIN_KEY}` }]) assert.equal((await get(sidecar.adminPort, '/api/ledger', headers)).status, 200);
  assert.equal((await sidecar.metrics()).lipservice_admin_refused_keys_total, 2);

  const verb = (key) => run(['reload', '--config', '/dev/null', '--admin', `http://127.0.0.1:${sidecar.adminPort}`], { env: key ? { LIPSERVICE_TELEMETRY_ADMIN_API_KEY: key } : {} });
  assert.equal((await verb(ADMIN_KEY)).code, 0);
  const refused = await verb();
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /401.*telemetry\.admin\.api_key/s);

  const config = (await get(sidecar.adminPort, '/api/config', { 'x-api-key': ADMIN_KEY })).body.toString();
  assert.match(config, /api_key: "\[redacted\]"/);
  assert.doesNotMatch(config + sidecar.stderr + (await sidecar.page('metrics', '/metrics')), /canary-/);
  await sidecar.stop();
});

test('pages of other sites make ours neither compute nor write', async (t) => {
  const { sidecar } = await pair(t, { set: KEEP_ALL });
  const foreign = [{ 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-site': 'same-site' }, { origin: 'https://evil.example' }];
  for (const headers of foreign) {
    for (const path of ['/api/ledger', '/api/tap', '/api/top']) assert.equal((await get(sidecar.adminPort, path, headers)).status, 403, path);
    for (const path of ['/api/reload', '/api/explain']) assert.equal((await get(sidecar.adminPort, path, headers, 'POST')).status, 403, path);
    assert.equal((await get(sidecar.metricsPort, '/metrics', headers)).status, 403);
    for (const path of ['/livez', '/readyz', '/status']) assert.equal((await get(sidecar.healthPort, path, headers)).status, 200, path);
  }
  for (const headers of [{ 'sec-fetch-site': 'none' }, { 'sec-fetch-site': 'same-origin' }, {}]) assert.equal((await get(sidecar.adminPort, '/api/ledger', headers)).status, 200);
  assert.equal((await get(sidecar.metricsPort, '/metrics', { host: 'evil.example:8888' })).status, 403);
  await closeLedger(sidecar, { received: 0 });
});

test('on every bind pages are asked by names of ours', async (t) => {
  const { sidecar } = await pair(t, { set: { ...KEEP_ALL, ...OPEN, 'telemetry.allowed_hosts': '[logs.example.com]' } });
  for (const [host, status] of [['logs.example.com:8888', 200], ['lipservice:8888', 200], ['10.0.0.7:8888', 200], ['evil.example', 403]]) {
    assert.equal((await get(sidecar.metricsPort, '/metrics', { host })).status, status, host);
    assert.equal((await get(sidecar.healthPort, '/readyz', { host })).status, status, host);
  }
  await closeLedger(sidecar, { received: 0 });
});
