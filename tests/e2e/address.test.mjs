// An upstream whose address is wrong: nothing is lost by it, and it is named.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeLogs, request } from './lib/otlp.mjs';
import { audit, closeLedger, KEEP_ALL, pair } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

const PAGE = '<!DOCTYPE html><html><title>Log in</title></html>';
const HTML = { 'content-type': 'text/html; charset=utf-8' };
const lines = (sidecar, event) => sidecar.log.filter((line) => line.event === event);
const status = async (sidecar) => JSON.parse(await sidecar.page('health', '/status')).exporter;

async function send(sidecar, n, base) {
  assert.equal((await sidecar.post(encodeLogs(request(n, { body: (i) => `number ${base + i}` })))).status, 200);
}

for (const code of [300, 301, 302, 303, 304, 307, 308, 399, 404, 405]) {
  test(`${code}: held, one request asks, and all is delivered when the address is right`, async (t) => {
    const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'exporters.posthog.concurrency': 1 } });
    stub.answer = () => ({ status: code, headers: { location: '/login', ...HTML }, body: code === 304 ? '' : PAGE });
    await send(sidecar, 100, 0);
    await until('the hold', async () => (await status(sidecar)).address_refused);
    await send(sidecar, 200, 100);
    await until('more that waits', async () => (await status(sidecar)).queued_requests > 0);
    assert.equal(stub.logs.length, 1);
    assert.equal(stub.stray.length, 0, 'no redirect is followed');
    await audit(sidecar, { received: 300, delivered: 0, queued: 300, lost: {} });
    const told = await status(sidecar);
    assert.deepEqual([told.host, told.right_host, told.last_status, told.key_refused], [`127.0.0.1:${stub.port}`, '', code, false]);
    assert.equal((await sidecar.metrics())['lipservice_exporter_requests_total{answer="wrong_address"}'], 1);
    const [line] = lines(sidecar, 'wrong_address');
    assert.deepEqual([line.level, line.status, line.host, line.location], ['error', code, `127.0.0.1:${stub.port}`, code === 404 || code === 405 ? line.location : '/login']);
    stub.answer = null;
    if (code !== 302) sidecar.signal('SIGHUP'); // else it is found by time
    await until('delivery', async () => (await sidecar.ledger()).delivered === 300, { timeout: 45000 });
    assert.equal((await status(sidecar)).address_refused, false);
    assert.equal(lines(sidecar, 'wrong_address').length, 1);
    await closeLedger(sidecar, { received: 300, delivered: 300, lost: {} });
  });
}

test('a path for traces that is missing holds no logs', async (t) => {
  const { stub, sidecar } = await pair(t);
  stub.server.removeAllListeners('request');
  const seen = { logs: 0, traces: 0 };
  stub.server.on('request', (req, res) => {
    const what = req.url.split('/').at(-1);
    seen[what]++;
    req.resume().on('end', () => res.writeHead(what === 'logs' ? 200 : 404).end());
  });
  for (let i = 0; i < 3; i++) {
    assert.equal((await sidecar.post(Buffer.alloc(0), { path: '/v1/traces' })).status, 200);
    await until('an answer', () => seen.traces === i + 1);
    await send(sidecar, 5, 5 * i);
    await until('delivery', async () => (await sidecar.ledger()).delivered === 5 * (i + 1), { timeout: 10000 });
  }
  assert.equal((await sidecar.metrics())['lipservice_relay_requests_total{signal="traces",outcome="lost"}'], 3);
  await closeLedger(sidecar, { delivered: 15, lost: {} }, { stored: 15 });
});

test('a page with 200 counts as delivered, with one warning a minute and a metric', async (t) => {
  const { stub, sidecar } = await pair(t);
  for (const fault of [{ headers: HTML, body: PAGE }, { body: `\n ${PAGE}` }, { body: '<HTML>' }, { headers: { 'content-type': 'application/json' }, body: '{}' }, {}])
    stub.faults.push({ status: 200, ...fault });
  for (let i = 0; i < 5; i++) {
    await send(sidecar, 2, 2 * i);
    await until('delivery', async () => (await sidecar.ledger()).delivered === 2 * (i + 1));
  }
  assert.equal((await sidecar.metrics()).lipservice_exporter_page_answers_total, 3);
  const [line, ...more] = lines(sidecar, 'upstream_page');
  assert.deepEqual([line.level, line.status, line.host, more.length], ['warn', 200, `127.0.0.1:${stub.port}`, 0]);
  await closeLedger(sidecar, { delivered: 10, lost: {} }, { stored: 10 });
});
