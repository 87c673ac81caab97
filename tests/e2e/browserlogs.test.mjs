// The OpenTelemetry log exporters for browsers, in Debian's Chromium, on a page of another origin.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { site, skip } from './lib/browser.mjs';
import { directory } from './lib/disk.mjs';
import { closeLedger, KEEP_ALL, pair } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

const CORS = 'receivers.otlp.protocols.http.cors';
const SECRET = 'canary-page-0123456789';
const COUNT = 5;

let script;
before(async () => {
  if (skip) return;
  const entry = fileURLToPath(new URL('lib/browser_logs.js', import.meta.url));
  const made = await build({ entryPoints: [entry], bundle: true, write: false, format: 'iife', platform: 'browser', logLevel: 'error' });
  script = made.outputFiles[0].contents;
});

// A page of its own origin. `requests`: what the browser sends beyond that origin, by its own account.
async function open(t) {
  const requests = [];
  const watch = (page, origin) =>
    page.on('request', (request) => {
      if (!request.url().startsWith(origin)) requests.push({ method: request.method(), type: request.resourceType() });
    });
  const files = { '/': '<!doctype html><title>t</title><script src="/logs.js"></script>', '/logs.js': Buffer.from(script) };
  return { ...(await site(t, files, watch)), requests };
}

const sendLogs = (page, generation, config) => page.evaluate(([name, options, count]) => globalThis.sendLogs(name, options, count), [generation, config, COUNT]);
const preflights = async (sidecar, outcome) => (await sidecar.metrics())[`lipservice_receiver_preflights_total{outcome="${outcome}"}`];
const refusals = (sidecar) => sidecar.log.filter((line) => line.event === 'preflight_refused');
const allowed = (origin, headers = []) => ({ [`${CORS}.allowed_origins`]: JSON.stringify([origin]), [`${CORS}.allowed_headers`]: JSON.stringify(headers) });

// How an exporter sends, and what Chromium calls the request.
const PATHS = {
  'fetch()': { generation: 'current', headers: {}, type: 'fetch' },
  'fetch() with a header': { generation: 'current', headers: { 'x-team': 'shop' }, type: 'fetch' },
  'sendBeacon()': { generation: 'old', type: 'ping' },
  'XMLHttpRequest with a header': { generation: 'old', headers: { 'x-team': 'shop' }, type: 'xhr' },
};
const configOf = (sidecar, headers) => ({ url: `${sidecar.http}/v1/logs`, ...(headers ? { headers } : {}) });
const DURABILITY = { 'in memory': () => ({}), 'on disk': (t) => ({ durability: 'disk', 'spool.directory': directory(t) }) };

for (const [where, settings] of Object.entries(DURABILITY))
  for (const [name, { generation, headers, type }] of Object.entries(PATHS)) {
    test(`${name}, ${where}: a listed origin gets its records through`, { skip }, async (t) => {
      const { page, origin, requests } = await open(t);
      const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, ...allowed(origin, ['x-team']), ...settings(t) } });
      assert.deepEqual(await sendLogs(page, generation, configOf(sidecar, headers)), []);
      await until('all of them', () => stub.rows.length === COUNT);
      assert.deepEqual(stub.rows.map((row) => row.body).sort(), Array.from({ length: COUNT }, (_, i) => `of the page, ${generation}, line ${i}`));
      assert.ok(stub.rows.every((row) => row.service_name === 'shop-page'), JSON.stringify(stub.rows[0]));
      assert.deepEqual(requests.filter(({ method }) => method === 'POST').map((request) => request.type), [type]);
      assert.equal(await preflights(sidecar, 'allowed'), 1);
      assert.equal(await preflights(sidecar, 'refused'), 0);
      assert.deepEqual(refusals(sidecar), []);
      await closeLedger(sidecar, { received: COUNT, delivered: COUNT });
    });
  }

// The current exporter tries again after a refusal by the browser, for as long as its timeout allows.
const IMPATIENT = { timeoutMillis: 1500 };

for (const [what, cors] of Object.entries({
  'another origin is listed': { [`${CORS}.allowed_origins`]: '["https://other.example.com"]' },
  'none is listed': {},
}))
  for (const [name, { generation, headers }] of Object.entries(PATHS)) {
    test(`${name}, ${what}: nothing arrives, it is counted, and the log names the origin once`, { skip }, async (t) => {
      const { page, origin, requests } = await open(t);
      const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, ...cors } });
      for (let round = 1; round <= 2; round++) {
        const complaints = await sendLogs(page, generation, { ...configOf(sidecar, headers), ...IMPATIENT });
        if (name !== 'sendBeacon()') assert.notDeepEqual(complaints, []); // a beacon has no answer
        // Each attempt is one preflight, and the request itself is not made.
        await until('each attempt to be counted', async () => (await preflights(sidecar, 'refused')) >= round && (await preflights(sidecar, 'refused')) === requests.filter(({ method }) => method === 'POST').length);
      }
      assert.equal(await preflights(sidecar, 'allowed'), 0);
      const lines = refusals(sidecar);
      assert.deepEqual(lines.map((line) => line.origin), [origin]);
      assert.match(lines[0].msg, /allowed_origins/);
      assert.equal(stub.rows.length, 0);
      await closeLedger(sidecar, { received: 0 });
    });
  }

test('a header that is not listed is refused, though the origin is listed', { skip }, async (t) => {
  const { page, origin } = await open(t);
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, ...allowed(origin) } });
  assert.deepEqual(await sendLogs(page, 'current', configOf(sidecar, {})), []);
  assert.notDeepEqual(await sendLogs(page, 'current', { ...configOf(sidecar, { 'x-team': 'shop' }), ...IMPATIENT }), []);
  const lines = refusals(sidecar);
  assert.deepEqual(lines.map((line) => line.origin), [origin]);
  assert.match(lines[0].msg, /allowed_headers/);
  assert.match(lines[0].headers, /x-team/);
  assert.equal(await preflights(sidecar, 'allowed'), 1);
  await until('the first lot', () => stub.rows.length === COUNT);
  await closeLedger(sidecar, { received: COUNT, delivered: COUNT });
});

for (const [where, settings] of Object.entries(DURABILITY))
  test(`a key, ${where}: the preflight needs none, the records do`, { skip }, async (t) => {
    const { page, origin } = await open(t);
    const keys = path.join(directory(t), 'keys.yaml');
    writeFileSync(keys, `page: ${SECRET}\n`, { mode: 0o600 });
    const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, ...allowed(origin, ['authorization']), 'receivers.otlp.auth.keys_file': keys, ...settings(t) } });
    const bearer = (key) => configOf(sidecar, { authorization: `Bearer ${key}` });
    for (const generation of ['current', 'old']) assert.deepEqual(await sendLogs(page, generation, bearer(SECRET)), [], generation);
    await until('those with a key', () => stub.rows.length === 2 * COUNT);

    // The page can read why it was refused: the answer carries the grant.
    assert.match((await sendLogs(page, 'current', configOf(sidecar, {}))).join(), /401/);
    assert.equal(await sidecar.refused('auth_missing'), 1);
    assert.match((await sendLogs(page, 'current', bearer('canary-wrong-0123456789'))).join(), /401/);
    assert.equal(await sidecar.refused('auth_wrong'), 1);
    await sendLogs(page, 'old', configOf(sidecar)); // a beacon carries no key
    await until('the beacon to be refused', async () => (await sidecar.refused('auth_missing')) === 2);

    assert.equal(await preflights(sidecar, 'refused'), 0);
    assert.doesNotMatch(sidecar.stderr, /canary-/);
    await closeLedger(sidecar, { received: 2 * COUNT, delivered: 2 * COUNT });
  });
