// receivers.otlp.auth: who may send, and whose records they then are.
import assert from 'node:assert/strict';
import { chmodSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { directory } from './lib/disk.mjs';
import { decodeStatus, encodeLogs, flatten, attribute, request } from './lib/otlp.mjs';
import { closeLedger, KEEP_ALL, KEY, pair, run } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';
import { grpc, h2, http1, raw } from './lib/wire.mjs';

const SHOP = 'canary-shop-0123456789', PHONE = 'canary-phone-0123456789', NEXT = 'canary-next-0123456789';
const UNAUTHENTICATED = 16;
const body = encodeLogs(request(3));
const bearer = (key) => ({ authorization: `Bearer ${key}` });
const api = (key) => ({ 'x-api-key': key });

function keysFile(t, text) {
  const file = path.join(directory(t), 'keys.yaml');
  const write = (next) => {
    writeFileSync(`${file}.new`, next, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  };
  write(text);
  return { file, write };
}
const loads = async (sidecar, outcome) => (await sidecar.metrics())[`lipservice_receiver_keys_file_loads_total{outcome="${outcome}"}`];

async function staysSecret(sidecar) {
  for (const route of ['/api/config', '/api/ledger', '/api/patterns?limit=100']) assert.doesNotMatch(await sidecar.page('admin', route), /canary-/);
  assert.doesNotMatch(await sidecar.page('metrics', '/metrics'), /canary-/);
  assert.doesNotMatch(sidecar.stderr, /canary-/);
}

const WAYS = { 'in memory': () => ({}), 'on disk': (t) => ({ durability: 'disk', 'spool.directory': directory(t) }) };

for (const [where, settings] of Object.entries(WAYS))
  test(`who shows a key may send, ${where}; who shows none or another is told so in his protocol`, async (t) => {
    const { file } = keysFile(t, `shop: ${SHOP}\nphone: {key: ${PHONE}, service: phone-app}\n`);
    const set = { ...KEEP_ALL, 'receivers.otlp.auth.keys_file': file, 'telemetry.log.level': 'debug', ...settings(t) };
    const { stub, sidecar } = await pair(t, { set });
    const bad = [[{}, 'auth_missing'], [bearer(KEY), 'auth_wrong'], [api('canary-other-0123456789'), 'auth_wrong'], [bearer(SHOP.slice(0, -1)), 'auth_wrong'],
      [{ ...api('x'), ...bearer(SHOP) }, 'auth_wrong'], [{ authorization: `Basic ${SHOP}` }, 'auth_missing']];
    for (const [headers, reason] of bad) {
      const before = await sidecar.refused(reason);
      const answer = await http1(sidecar.httpPort, { body, headers });
      assert.equal(answer.status, 401);
      assert.equal(answer.headers['www-authenticate'], `Bearer realm="lipservice"${reason === 'auth_wrong' ? ', error="invalid_token"' : ''}`);
      assert.equal(decodeStatus(answer.body).code, UNAUTHENTICATED);
      const json = await http1(sidecar.httpPort, { body: Buffer.from('{}'), headers: { ...headers, 'content-type': 'application/json' } });
      assert.equal(json.status, 401);
      assert.equal(JSON.parse(json.body).code, UNAUTHENTICATED);
      assert.equal((await h2(sidecar.grpcPort, { body, headers })).status, 401);
      const call = await grpc(sidecar.grpcPort, { message: body, headers });
      assert.deepEqual([call.status, call.code], [200, UNAUTHENTICATED]);
      assert.equal((await http1(sidecar.httpPort, { path: '/v1/traces', body, headers })).status, 401);
      assert.equal(await sidecar.refused(reason), before + 5);
    }
    assert.equal(stub.rows.length, 0);
    assert.equal(stub.relayed.traces.length, 0);
    for (const headers of [bearer(SHOP), api(SHOP), { ...api(SHOP), ...bearer('phc_whoever') }, api(PHONE)]) {
      assert.equal((await http1(sidecar.httpPort, { body, headers })).status, 200);
      assert.equal((await grpc(sidecar.grpcPort, { message: body, headers })).code, 0);
    }
    await until('all of it', () => stub.rows.length === 24);
    const services = {};
    for (const { decoded } of stub.logs)
      for (const { resource } of flatten(decoded)) services[attribute(resource, 'service.name')] = (services[attribute(resource, 'service.name')] ?? 0) + 1;
    assert.deepEqual(services, { e2e: 18, 'phone-app': 6 });
    const ledger = await sidecar.ledger();
    assert.equal(ledger.services['phone-app'].received, 6);
    await staysSecret(sidecar);
    await closeLedger(sidecar, { received: 24, kept: 24 });
  });

test('refused before the body: it is not waited for, and takes no memory', async (t) => {
  const { file } = keysFile(t, `shop: ${SHOP}\n`);
  const { sidecar } = await pair(t, { set: { ...KEEP_ALL, 'receivers.otlp.auth.keys_file': file } });
  const answer = await raw(sidecar.httpPort, 'POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: 9000000\r\nExpect: 100-continue\r\n\r\n');
  assert.match(answer, /^HTTP\/1\.1 401 /);
  assert.doesNotMatch(answer, /100 Continue/);
  await closeLedger(sidecar, { received: 0 });
});

test('a key names its project; a bearer that is a key of ours is never shown upstream', async (t) => {
  const { file } = keysFile(t, `shop: {key: ${SHOP}, upstream_key: phc_shop}\nphone: ${PHONE}\n`);
  const set = { ...KEEP_ALL, 'receivers.otlp.auth.keys_file': file, 'auth.upstream_key': 'client_or_configured' };
  const { stub, sidecar } = await pair(t, { set, posthog: { projects: [KEY, 'phc_shop', 'phc_phone'] } });
  const send = async (name, headers, route = '/v1/logs') =>
    assert.equal((await http1(sidecar.httpPort, { path: route, body: encodeLogs(request(1, { body: () => name })), headers })).status, 200, name);
  await send('key names it', bearer(SHOP));
  await send('key wins', { ...api(SHOP), ...bearer('phc_phone') });
  await send('bearer beside the key', { ...api(PHONE), ...bearer('phc_phone') });
  await send('token beside the bearer', bearer(PHONE), '/v1/logs?token=phc_phone');
  await send('ours', bearer(PHONE));
  await until('all of it', () => stub.rows.length === 5);
  const by = {};
  for (const { token, decoded } of stub.logs) for (const { record } of flatten(decoded)) (by[token] ??= []).push(record.body.stringValue);
  for (const list of Object.values(by)) list.sort();
  assert.deepEqual(by, { phc_shop: ['key names it', 'key wins'], phc_phone: ['bearer beside the key', 'token beside the bearer'], [KEY]: ['ours'] });
  await staysSecret(sidecar);
  await closeLedger(sidecar, { received: 5, kept: 5 });
});

test('keys change with the file and at SIGHUP; a bad file leaves the last good keys', async (t) => {
  const { file, write } = keysFile(t, `shop: ${SHOP}\n`);
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'receivers.otlp.auth.keys_file': file } });
  const status = async (key) => (await http1(sidecar.httpPort, { body, headers: api(key) })).status;
  assert.deepEqual([await status(SHOP), await status(NEXT)], [200, 401]);

  write(`shop: ${SHOP}\nnext: ${NEXT}\n`); // rotation: both for a while
  await until('both', async () => (await loads(sidecar, 'installed')) === 2);
  assert.deepEqual([await status(SHOP), await status(NEXT)], [200, 200]);
  write(`next: ${NEXT}\n`);
  await until('one', async () => (await loads(sidecar, 'installed')) === 3);
  assert.deepEqual([await status(SHOP), await status(NEXT)], [401, 200]);

  for (const [n, bad] of [`next: canary-short\n`, '', 'next: [1]\n', `a: ${NEXT}\nb: ${NEXT}\n`].entries()) {
    write(bad);
    await until('a refusal', async () => (await loads(sidecar, 'refused')) === n + 1);
    assert.deepEqual([await status(SHOP), await status(NEXT)], [401, 200]);
  }
  rmSync(file);
  await until('a refusal', async () => (await loads(sidecar, 'refused')) === 5);
  assert.equal(await status(NEXT), 200);

  write(`shop: ${SHOP}\n`);
  await until('the first again', async () => (await loads(sidecar, 'installed')) === 4);
  sidecar.signal('SIGHUP'); // read whether it changed or not
  await until('a reload', async () => (await loads(sidecar, 'installed')) === 5);
  assert.deepEqual([await status(SHOP), await status(NEXT)], [200, 401]);
  await staysSecret(sidecar);
  await until('all of it', () => stub.rows.length === 30);
  await closeLedger(sidecar, { received: 30, kept: 30 });
});

test('a request that began under a key ends under it, though the key is gone', async (t) => {
  const { file, write } = keysFile(t, `shop: {key: ${SHOP}, service: shop, upstream_key: phc_shop}\n`);
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'receivers.otlp.auth.keys_file': file }, posthog: { projects: [KEY, 'phc_shop'] } });
  const socket = net.connect(sidecar.httpPort, '127.0.0.1');
  t.after(() => socket.destroy());
  let answer = '';
  socket.on('data', (part) => (answer += part));
  socket.write(`POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nx-api-key: ${SHOP}\r\nExpect: 100-continue\r\nContent-Type: application/x-protobuf\r\nContent-Length: ${body.length}\r\n\r\n`);
  await until('an invitation', () => answer.includes('100 Continue'));
  write(`next: ${NEXT}\n`);
  await until('new keys', async () => (await loads(sidecar, 'installed')) === 2);
  socket.write(body);
  await until('an answer', () => answer.includes('200 OK'));
  await until('all of it', () => stub.rows.length === 3);
  assert.deepEqual(stub.logs.map(({ token }) => token), ['phc_shop']);
  await closeLedger(sidecar, { received: 3, kept: 3 });
});

test('a start with a file that is none ends with 78 and says why, without the keys', async (t) => {
  const { file, write } = keysFile(t, '');
  for (const [text, says] of [['', /a map is wanted/], ['a: canary-short\n', /from 16 to 255/], [null, /cannot read/]]) {
    if (text === null) rmSync(file);
    else write(text);
    const { code, stderr } = await run(['run', '--config', '/dev/null', '--set', `receivers.otlp.auth.keys_file=${file}`, '--set', 'exporters.file.path=/dev/null',
      ...['receivers.otlp.protocols.grpc', 'receivers.otlp.protocols.http', 'telemetry.health', 'telemetry.metrics', 'telemetry.admin'].flatMap((key) => ['--set', `${key}.endpoint=localhost:0`])]);
    assert.equal(code, 78, stderr);
    assert.match(stderr, says);
    assert.match(stderr, /receivers\.otlp\.auth\.keys_file/);
    assert.doesNotMatch(stderr, /canary-/);
  }
});

test('a file of keys that others may read is told of', async (t) => {
  const { file } = keysFile(t, `shop: ${SHOP}\n`);
  chmodSync(file, 0o644);
  const { sidecar } = await pair(t, { set: { ...KEEP_ALL, 'receivers.otlp.auth.keys_file': file } });
  assert.ok(sidecar.log.some((line) => line.event === 'keys_file_readable' && line.level === 'warn'), sidecar.stderr);
  await closeLedger(sidecar, { received: 0 });
});
