// TLS and proxies, against real servers: nothing goes to whom cannot be trusted.
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execFileSync } from 'node:child_process';
import { before, test } from 'node:test';
import { encodeLogs, request } from './lib/otlp.mjs';
import { PostHog } from './lib/posthog.mjs';
import { audit, closeLedger, KEEP_ALL, KEY, run, Sidecar } from './lib/sidecar.mjs';
import { Certificates, proxy, tlsFront } from './lib/tls.mjs';
import { until } from './lib/wait.mjs';

const P = 'exporters.posthog';
const delivered = (sidecar, n) => until(`${n} delivered`, async () => (await sidecar.ledger()).delivered === n);
const lines = (sidecar, event) => sidecar.log.filter((line) => line.event === event);
let certificates;
before((t) => {
  certificates = new Certificates({ after: (fn) => process.on('exit', fn) });
});

// A stand-in behind TLS, and a program that knows it by that address.
async function secure(t, options, set = {}, env) {
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const front = await tlsFront(t, stub.url, options);
  const sidecar = await Sidecar.start(t, {
    stub, env, set: { ...KEEP_ALL, [`${P}.host`]: front.url, [`${P}.tls.ca_file`]: certificates.file('ca.crt'), ...set },
  });
  return { stub, front, sidecar };
}

async function send(sidecar, n) {
  assert.equal((await sidecar.post(encodeLogs(request(n)))).status, 200);
}

test('a CA of our own: verified, and over HTTP/1.1 or 2', async (t) => {
  const { sidecar, stub } = await secure(t, certificates.pair('good'));
  await send(sidecar, 5);
  await delivered(sidecar, 5);
  assert.equal(stub.logs[0].headers.authorization, `Bearer ${KEY}`);
  await closeLedger(sidecar, { delivered: 5, lost: {} });
});

for (const [name, said] of [
  ['expired', /expired/],
  ['wrong-host', /does not match|no alternative certificate subject name/],
  ['self-signed', /self[- ]signed/],
]) {
  test(`${name}: nothing is sent, records wait, and are delivered when it is mended`, async (t) => {
    const { sidecar, stub, front } = await secure(t, certificates.pair(name));
    await send(sidecar, 5);
    await until('three refusals', async () => (await sidecar.metrics()).lipservice_exporter_failures_total >= 3);
    assert.equal(front.requests, 0);
    assert.equal(stub.requests.length, 0);
    const down = lines(sidecar, 'upstream_down');
    assert.equal(down.length, 1, 'told once, not per attempt');
    assert.match(down[0].error, said);
    const status = JSON.parse(await sidecar.page('health', '/status'));
    assert.notEqual(status.exporter.circuit, 'closed');
    await audit(sidecar, { received: 5, kept: 5, queued: 5, delivered: 0, lost: {} });
    await front.change(certificates.pair('good'));
    await delivered(sidecar, 5);
    const [up] = lines(sidecar, 'upstream_up');
    assert.ok(up.outage_ms > 0);
    await closeLedger(sidecar, { delivered: 5, lost: {} });
  });
}

test('SIGHUP reads a CA file that was replaced, at once', async (t) => {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-e2e-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const ca = path.join(dir, 'ca.crt');
  copyFileSync(certificates.file('self-signed.crt'), ca);
  const { sidecar, stub } = await secure(t, certificates.pair('good'), { [`${P}.tls.ca_file`]: ca });
  await send(sidecar, 5);
  await until('a refusal', () => lines(sidecar, 'upstream_down').length === 1);
  assert.equal(stub.requests.length, 0);
  copyFileSync(certificates.file('ca.crt'), ca);
  sidecar.signal('SIGHUP');
  await delivered(sidecar, 5); // the deadline is half of what libcurl would remember the old one for
  await closeLedger(sidecar, { delivered: 5, lost: {} });
});

test('another reason is told as well: expired, then the wrong host', async (t) => {
  const { sidecar, front } = await secure(t, certificates.pair('expired'));
  await send(sidecar, 2);
  await until('the first', () => lines(sidecar, 'upstream_down').length === 1);
  await front.change(certificates.pair('wrong-host'));
  await until('the second', () => lines(sidecar, 'upstream_down').some((l) => /match/.test(l.error)));
  await front.change(certificates.pair('good'));
  await closeLedger(sidecar, { delivered: 2, lost: {} });
});

test('a CA that the system does not know, and none configured', async (t) => {
  const { sidecar, stub } = await secure(t, certificates.pair('good'), { [`${P}.tls.ca_file`]: '', 'shutdown.timeout': '1s' });
  await send(sidecar, 3);
  await until('a refusal', () => lines(sidecar, 'upstream_down').length === 1);
  assert.match(lines(sidecar, 'upstream_down')[0].error, /unable to get local issuer|self[- ]signed/);
  await audit(sidecar, { queued: 3, delivered: 0 });
  await sidecar.stop();
  assert.equal(stub.requests.length, 0);
});

test('insecure_skip_verify: any certificate, and a warning', async (t) => {
  const { sidecar } = await secure(t, certificates.pair('expired'), { [`${P}.tls.ca_file`]: '', [`${P}.tls.insecure_skip_verify`]: 'true' });
  await send(sidecar, 3);
  await delivered(sidecar, 3);
  assert.equal(lines(sidecar, 'insecure').length, 1);
  await closeLedger(sidecar, { delivered: 3, lost: {} });
});

test('TLS 1.1 is refused', async (t) => {
  const { sidecar, front, stub } = await secure(t, { ...certificates.pair('good'), minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }, { 'shutdown.timeout': '1s' });
  await send(sidecar, 3);
  await until('a refusal', () => lines(sidecar, 'upstream_down').length === 1);
  assert.match(lines(sidecar, 'upstream_down')[0].error, /protocol version|alert|unsupported protocol/i);
  assert.equal(front.requests + stub.requests.length, 0);
  await audit(sidecar, { queued: 3, delivered: 0 });
  await sidecar.stop();
});

test('a client certificate: asked for and shown', async (t) => {
  const ca = certificates.pair('ca').cert;
  const { sidecar } = await secure(t, { ...certificates.pair('good'), ca, requestCert: true, rejectUnauthorized: true },
    { [`${P}.tls.cert_file`]: certificates.file('client.crt'), [`${P}.tls.key_file`]: certificates.file('client.key') });
  await send(sidecar, 4);
  await delivered(sidecar, 4);
  await closeLedger(sidecar, { delivered: 4, lost: {} });
});

for (const [what, set] of [
  ['none', {}],
  ['one of another CA', { cert: 'other-client' }],
]) {
  test(`a client certificate: asked for, and ${what} shown: records wait`, async (t) => {
    const ca = certificates.pair('ca').cert;
    const files = set.cert ? { [`${P}.tls.cert_file`]: certificates.file(`${set.cert}.crt`), [`${P}.tls.key_file`]: certificates.file(`${set.cert}.key`) } : {};
    const { sidecar, stub, front } = await secure(t, { ...certificates.pair('good'), ca, requestCert: true, rejectUnauthorized: true }, files);
    await send(sidecar, 4);
    await until('a refusal', () => lines(sidecar, 'upstream_down').length >= 1);
    assert.equal(stub.requests.length, 0);
    await audit(sidecar, { queued: 4, delivered: 0, lost: {} });
    await front.change(certificates.pair('good'));
    await closeLedger(sidecar, { delivered: 4, lost: {} });
  });
}

// ---- what cannot work is told at the start

for (const [what, key, settings] of [
  ['no such file', 'tls.ca_file', () => ({ 'tls.ca_file': '/nonexistent.pem' })],
  ['no certificate in it', 'tls.ca_file', () => ({ 'tls.ca_file': certificates.write('junk.pem', 'hello\n') })],
  ['a key without its certificate', 'tls.cert_file', () => ({ 'tls.key_file': certificates.file('client.key') })],
  ['a certificate without its key', 'tls.key_file', () => ({ 'tls.cert_file': certificates.file('client.crt') })],
  ['the key of another', 'tls.key_file', () => ({ 'tls.cert_file': certificates.file('client.crt'), 'tls.key_file': certificates.file('good.key') })],
  ['an encrypted key', 'tls.key_file', () => ({ 'tls.cert_file': certificates.file('client.crt'), 'tls.key_file': encrypted() })],
  ['not true or false', 'tls.insecure_skip_verify', () => ({ 'tls.insecure_skip_verify': 'maybe' })],
  ['not a URL', 'proxy_url', () => ({ proxy_url: 'user:secret@proxy' })],
]) {
  for (const prefix of ['exporters.posthog', 'exporters.otlphttp', 'policy']) {
    test(`start: ${prefix}: ${what}`, async () => {
      const to = { 'exporters.posthog': [`${P}.api_key=${KEY}`], 'exporters.otlphttp': ['exporters.otlphttp.endpoint=https://127.0.0.1:1'], policy: ['policy.server=https://127.0.0.1:1', 'exporters.file.path=/dev/null'] }[prefix];
      const sets = [...to, ...Object.entries(settings()).map(([k, v]) => `${prefix}.${k}=${v}`),
        ...['grpc', 'http'].map((p) => `receivers.otlp.protocols.${p}.endpoint=localhost:0`)];
      const end = await run(['run', '--config', '/dev/null', ...sets.flatMap((s) => ['--set', s])]);
      assert.equal(end.code, 78, end.stderr);
      assert.ok(end.stderr.includes(`${prefix}.${key}`), end.stderr);
      assert.ok(!end.stderr.includes('secret'));
    });
  }
}

function encrypted() {
  const file = certificates.file('encrypted.key');
  execFileSync('openssl', ['pkey', '-in', certificates.file('client.key'), '-aes256', '-passout', 'pass:x', '-out', file]);
  chmodSync(file, 0o600);
  return file;
}

// ---- proxies

test('HTTPS_PROXY: through CONNECT, and the proxy sees no key', async (t) => {
  const p = await proxy(t);
  const { sidecar, front } = await secure(t, certificates.pair('good'), {}, { HTTPS_PROXY: p.url });
  await send(sidecar, 5);
  await delivered(sidecar, 5);
  assert.deepEqual(p.seen.map((r) => [r.method, r.url]), [['CONNECT', `127.0.0.1:${front.port}`]]);
  assert.equal(p.seen[0].headers.authorization, undefined);
  assert.ok(!JSON.stringify(p.seen).includes(KEY));
  await closeLedger(sidecar, { delivered: 5, lost: {} });
});

test('the proxy says 200 and the server behind it is not who it should be: not delivered', async (t) => {
  const p = await proxy(t);
  const { sidecar, stub, front } = await secure(t, certificates.pair('wrong-host'), {}, { HTTPS_PROXY: p.url });
  await send(sidecar, 5);
  await until('refusals', async () => (await sidecar.metrics()).lipservice_exporter_failures_total >= 2);
  assert.equal(stub.requests.length, 0);
  await audit(sidecar, { queued: 5, delivered: 0, lost: {} });
  await front.change(certificates.pair('good'));
  await closeLedger(sidecar, { delivered: 5, lost: {} });
});

for (const name of ['HTTP_PROXY', 'http_proxy']) {
  test(`${name}: for http`, async (t) => {
    const p = await proxy(t);
    const stub = await PostHog.start();
    t.after(() => stub.down());
    const sidecar = await Sidecar.start(t, { stub, set: KEEP_ALL, env: { [name]: p.url, HTTPS_PROXY: 'http://127.0.0.1:1' } });
    await send(sidecar, 5);
    await delivered(sidecar, 5);
    assert.deepEqual(p.seen.map((r) => [r.method, r.url]), [['POST', `${stub.url}/i/v1/logs`]]);
    await closeLedger(sidecar, { delivered: 5, lost: {} });
  });
}

for (const name of ['NO_PROXY', 'no_proxy']) {
  test(`${name}: not for this host`, async (t) => {
    const p = await proxy(t);
    const env = { HTTP_PROXY: p.url, HTTPS_PROXY: p.url, [name]: 'example.com,127.0.0.1' };
    const { sidecar } = await secure(t, certificates.pair('good'), {}, env);
    const stub = await PostHog.start();
    t.after(() => stub.down());
    const plain = await Sidecar.start(t, { stub, set: KEEP_ALL, env });
    for (const s of [sidecar, plain]) {
      await send(s, 5);
      await delivered(s, 5);
    }
    assert.equal(p.seen.length, 0);
    await closeLedger(sidecar, { delivered: 5, lost: {} });
    await closeLedger(plain, { delivered: 5, lost: {} });
  });
}

test('proxy_url beats the environment, NO_PROXY too', async (t) => {
  const p = await proxy(t);
  const env = { HTTPS_PROXY: 'http://127.0.0.1:1', HTTP_PROXY: 'http://127.0.0.1:1', NO_PROXY: '*' };
  const { sidecar } = await secure(t, certificates.pair('good'), { [`${P}.proxy_url`]: p.url }, env);
  await send(sidecar, 5);
  await delivered(sidecar, 5);
  assert.equal(p.seen[0].method, 'CONNECT');
  assert.ok(!(await sidecar.page('admin', '/api/config')).includes(p.url), 'it may hold a password');
  await closeLedger(sidecar, { delivered: 5, lost: {} });
});

test('a proxy that is not there: records wait', async (t) => {
  const { sidecar, stub } = await secure(t, certificates.pair('good'), { [`${P}.proxy_url`]: 'http://127.0.0.1:1', 'shutdown.timeout': '1s' });
  await send(sidecar, 5);
  await until('a failure', () => lines(sidecar, 'upstream_down').length === 1);
  await audit(sidecar, { queued: 5, delivered: 0 });
  await sidecar.stop();
  assert.equal(stub.requests.length, 0);
});

// ---- the other two who ask servers

test('otlphttp: the same settings', async (t) => {
  const ca = certificates.pair('ca').cert;
  const p = await proxy(t);
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const front = await tlsFront(t, stub.url, { ...certificates.pair('good'), ca, requestCert: true, rejectUnauthorized: true });
  const o = 'exporters.otlphttp';
  const sidecar = await Sidecar.start(t, {
    set: {
      ...KEEP_ALL, [`${o}.endpoint`]: front.url, [`${o}.headers`]: `{authorization: "Bearer ${KEY}"}`, [`${o}.proxy_url`]: p.url, [`${o}.tls.ca_file`]: certificates.file('ca.crt'),
      [`${o}.tls.cert_file`]: certificates.file('client.crt'), [`${o}.tls.key_file`]: certificates.file('client.key'),
    },
  });
  await send(sidecar, 5);
  await delivered(sidecar, 5);
  assert.equal(p.seen[0].method, 'CONNECT');
  await closeLedger(sidecar, { delivered: 5, lost: {} });
  assert.equal(stub.rows.length, 5);
});

test('the policy server: the same settings', async (t) => {
  const stub = await PostHog.start();
  t.after(() => stub.down());
  for (const [name, trusted] of [['good', true], ['wrong-host', false]]) {
    const front = await tlsFront(t, stub.url, certificates.pair(name));
    const sidecar = await Sidecar.start(t, {
      set: { ...KEEP_ALL, 'exporters.file.path': '-', 'policy.server': front.url, 'policy.api_key': 'policy-key', 'policy.tls.ca_file': certificates.file('ca.crt') },
    });
    await send(sidecar, 1);
    if (trusted) await until('a request', () => front.requests > 0);
    else await until('a failure', async () => (await sidecar.metrics())['lipservice_policy_fetches_total{outcome="failed"}'] >= 1);
    assert.equal(front.requests > 0, trusted);
    await closeLedger(sidecar, { delivered: 1, lost: {} });
  }
});
