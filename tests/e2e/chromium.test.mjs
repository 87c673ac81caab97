// A real browser, Debian's Chromium: posthog-js by one host, and which pages may send logs (CORS).
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import zlib from 'node:zlib';
import { site, skip } from './lib/browser.mjs';
import { KEY, KEEP_ALL, closeLedger, pair } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

const SDK = path.join(path.dirname(fileURLToPath(import.meta.url)), 'node_modules/posthog-js/dist/array.full.js');

const open = (t, html) => site(t, { '/': `<!doctype html><title>t</title>${html}`, '/posthog.js': readFileSync(SDK) });

test('posthog-js: events and flags through lipservice, with only the host changed', { skip }, async (t) => {
  const { stub, sidecar } = await pair(t);
  const seen = [];
  stub.other = (req, res, body) => {
    const cors = { 'access-control-allow-origin': req.headers.origin ?? '*', 'access-control-allow-headers': req.headers['access-control-request-headers'] ?? '*', 'access-control-allow-credentials': 'true', 'content-type': 'application/json' };
    seen.push({ method: req.method, url: req.url, headers: req.headers, body });
    if (req.method === 'OPTIONS') res.writeHead(204, cors).end();
    else if (req.url.startsWith('/flags')) res.writeHead(200, cors).end(JSON.stringify({ flags: { beta: { key: 'beta', enabled: true, metadata: { id: 1, version: 1 } } }, featureFlags: { beta: true }, featureFlagPayloads: {} }));
    else res.writeHead(200, cors).end('{"status":"Ok"}');
  };
  const { page, origin } = await open(t, '<script src="/posthog.js"></script>');
  const beta = await page.evaluate(
    ([key, host]) =>
      new Promise((resolve) => {
        window.posthog.init(key, { api_host: host, persistence: 'memory', capture_pageview: false, autocapture: false, disable_session_recording: true, request_batching: false, opt_out_useragent_filter: true });
        window.posthog.capture('paid', { total: 7 });
        window.posthog.onFeatureFlags(() => resolve(window.posthog.isFeatureEnabled('beta')));
      }),
    [KEY, sidecar.http],
  );
  assert.equal(beta, true);
  const events = () =>
    seen
      .filter(({ method, url }) => method === 'POST' && /^\/(e|i\/v0\/e)\//.test(url))
      .map(({ body }) => JSON.parse(body[0] === 0x1f ? zlib.gunzipSync(body) : body))
      .flatMap((sent) => sent.batch ?? sent);
  await until('the event', () => events().some((e) => e.event === 'paid'));
  assert.equal(events().find((e) => e.event === 'paid').properties.total, 7);
  const post = seen.find(({ method }) => method === 'POST');
  assert.equal(post.headers.origin, origin);
  assert.equal(post.headers['x-forwarded-for'], '127.0.0.1');
  await closeLedger(sidecar, { received: 0 });
});

// What a page's script gets when it sends a record: the status, or the browser's refusal.
const send = (page, url, type, credentials = 'omit') =>
  page.evaluate(
    async ([to, contentType, mode]) => {
      const body = JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords: [{ severityText: 'INFO', body: { stringValue: 'of a page' } }] }] }] });
      try {
        return (await fetch(to, { method: 'POST', headers: { 'content-type': contentType }, body, credentials: mode })).status;
      } catch (error) {
        return error.name;
      }
    },
    [url, type, credentials],
  );

test('CORS: a page that is listed may send logs, and read the answer; another may not', { skip }, async (t) => {
  const { page, origin } = await open(t, '');
  const listed = await pair(t, { set: { ...KEEP_ALL, 'receivers.otlp.protocols.http.cors.allowed_origins': `[${JSON.stringify(origin)}]` } });
  assert.equal(await send(page, `${listed.sidecar.http}/v1/logs`, 'application/json'), 200);
  assert.equal(await send(page, `${listed.sidecar.http}/v1/logs`, 'application/json', 'include'), 200);
  const beacon = await page.evaluate(
    ([to]) => navigator.sendBeacon(to, new Blob([JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords: [{ severityText: 'INFO', body: { stringValue: 'of a beacon' } }] }] }] })], { type: 'application/json' })),
    [`${listed.sidecar.http}/v1/logs`],
  );
  assert.equal(beacon, true);
  await until('all three', () => listed.stub.rows.length === 3);
  await closeLedger(listed.sidecar, { received: 3, delivered: 3 });

  const other = await pair(t, { set: { ...KEEP_ALL, 'receivers.otlp.protocols.http.cors.allowed_origins': '["https://other.example.com"]' } });
  assert.equal(await send(page, `${other.sidecar.http}/v1/logs`, 'application/json'), 'TypeError');
  const metrics = await other.sidecar.metrics();
  assert.equal(metrics['lipservice_receiver_preflights_total{outcome="refused"}'], 1);
  await closeLedger(other.sidecar, { received: 0 });
});
