// What people have met with other tools, in small, and that nothing of it happens here. Bodies,
// numbers and keys that are odd are in records.test.mjs, protocol.test.mjs, keys.test.mjs and peers.test.mjs.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { directory } from './lib/disk.mjs';
import { encodeLogs, request } from './lib/otlp.mjs';
import { closeLedger, KEEP_ALL, lastLine, pair, run, Sidecar } from './lib/sidecar.mjs';
import { pause, until } from './lib/wait.mjs';
import { raw } from './lib/wire.mjs';

const CASES = path.join(process.env.SHARED_DIR ?? fileURLToPath(new URL('../../../shared', import.meta.url)), 'cases');
const known = { skip: !existsSync(CASES) && `${CASES} is not there` };
const read = (name) => readFileSync(path.join(CASES, name), 'utf8');
const text = (key, value) => ({ key, value: { stringValue: value } });

async function templatesOf(t, bodies, set = {}) {
  const { stub, sidecar } = await pair(t, { set: { 'batch.max_age': '50ms', ...set } });
  for (const body of bodies) assert.equal((await sidecar.post(typeof body === 'string' ? body : JSON.stringify(body), { type: 'application/json' })).status, 200);
  const patterns = await sidecar.patterns();
  await until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
  const rows = [...stub.rows];
  await closeLedger(sidecar);
  return { templates: patterns.map((p) => p.template ?? p.text).sort(), patterns, rows };
}

// ---- records without a body

const bodiless = (namespace, message) => ({ severityNumber: 5, attributes: [text('code.namespace', namespace), text('message', message)] });

async function checkBodiless(t, bodies, count, rare) {
  const { patterns, rows } = await templatesOf(t, bodies);
  assert.equal(patterns.length, count, JSON.stringify(patterns));
  assert.ok(rows.some((row) => row.attributes.message === JSON.stringify(rare)), 'the rare one is kept');
}

test('records without a body are told apart by what they have instead', (t) => {
  const common = Array.from({ length: 200 }, (_, i) => [bodiless('db::pool', `query took ${i}`), bodiless('http::server', `answered in ${i}`)]).flat();
  const logRecords = [...common, bodiless('keys', 'the root key was replaced')];
  return checkBodiless(t, [{ resourceLogs: [{ scopeLogs: [{ logRecords }] }] }], 3, 'the root key was replaced');
});
test('the same of the known case', known, (t) => checkBodiless(t, read('B06-empty-bodies.jsonl').split('\n').filter(Boolean), 4, 'master key rotated'));

// ---- a template of the logger's own

async function checkTemplate(t, body, template) {
  const { templates } = await templatesOf(t, [body], KEEP_ALL);
  assert.deepEqual(templates, [template]);
}

test('a template that a logger brings is the pattern, and readable', (t) => {
  const logRecords = ['Anna Maria', 'Bob', 'Cleo'].map((who) => ({ severityNumber: 9, body: { stringValue: `Parcel for ${who} left` }, attributes: [text('{OriginalFormat}', 'Parcel for {Customer} left')] }));
  return checkTemplate(t, { resourceLogs: [{ scopeLogs: [{ logRecords }] }] }, 'Parcel for <*> left');
});
test('the same of the known case', known, (t) => checkTemplate(t, read('B36-original-format.json'), 'Order <*> shipped to <*>'));

// ---- lines

const lines = (list) => ({ resourceLogs: [{ scopeLogs: [{ logRecords: list.map((line) => ({ severityNumber: 9, body: { stringValue: line } })) }] }] });

test('colours that were escaped on the way say nothing, and what stands in them all', async (t) => {
  const own = ['\\x1b[33mbackup\\x1b[0m done', '\\x1b[33mrestore\\x1b[0m done', '\\u001b[2m2026-01-02T10:00:00.1Z\\u001b[0m \\u001b[32m INFO\\u001b[0m \\u001b[2mweb\\u001b[0m listening'];
  const { templates } = await templatesOf(t, [lines(own)], KEEP_ALL);
  assert.deepEqual(templates, ['INFO: web listening', 'backup done', 'restore done']);
});
test('the same of the known case', known, async (t) => {
  const list = read('B38-escaped-colours.txt').split('\n').filter(Boolean).map((line) => line.replaceAll('\\\\', '\\'));
  const { templates } = await templatesOf(t, [lines(list)], KEEP_ALL);
  assert.deepEqual(templates, ['INFO: app server started', 'checkout done', 'migration done']);
});

test('started and paused are two events, whatever stands before them', async (t) => {
  const id = (n) => `b9000564-fe1a-409b-b8cc-1e88b294cd${n}`;
  const list = ['Started', 'Paused'].flatMap((what) => [10, 11, 12].map((n) => `[req-${id(n)} - - - - -] [instance: ${id(n + 9)}] VM ${what} (Lifecycle Event)`));
  assert.equal((await templatesOf(t, [lines(list)], KEEP_ALL)).patterns.length, 2);
});
test('the same of the known case', known, async (t) => {
  const { templates } = await templatesOf(t, [lines(read('B19-drain3.txt').split('\n').filter(Boolean))], KEEP_ALL);
  for (const word of ['Started', 'Paused']) assert.equal(templates.filter((template) => template.includes(`VM ${word}`)).length, 1, word);
});

// ---- on the wire

test('an upgrade to h2c is ignored, and the request answered over HTTP/1.1', async (t) => {
  const { sidecar } = await pair(t);
  const head = 'POST /v1/logs HTTP/1.1\r\nHost: localhost:4318\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Type: application/json\r\n';
  const body = JSON.stringify(request(1));
  for (const port of [sidecar.httpPort, sidecar.grpcPort]) {
    const answer = await raw(port, `${head}Content-Length: ${body.length}\r\n\r\n${body}`, { until: (got) => got.includes('{}') });
    assert.match(answer, /^HTTP\/1\.1 200 /);
    assert.doesNotMatch(answer, /101|upgrade:/i);
  }
  await closeLedger(sidecar, { received: 2 });
});

test('a preflight from another origin gets no permission', async (t) => {
  const { sidecar } = await pair(t);
  const ask = 'OPTIONS /v1/logs HTTP/1.1\r\nHost: localhost:4318\r\nOrigin: http://localhost:3000\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n';
  assert.doesNotMatch(await raw(sidecar.httpPort, ask, { until: (got) => got.includes('\r\n\r\n') }), /access-control/i);
  await closeLedger(sidecar, { received: 0 });
});

// ---- start and end

test('an address that leads back here is refused at the start', async (t) => {
  for (const host of ['127.1', '127.0.0.1', 'localhost', '2130706433', '0x7f.1', '[::1]', 'logs.localhost']) {
    const file = path.join(directory(t), 'config.yaml');
    writeFileSync(file, `exporters:\n  otlphttp: {endpoint: "http://${host}:4318"}\n`);
    for (const verb of ['run', 'validate']) {
      const out = await run([verb, '--config', file]);
      assert.equal(out.code, 78, `${verb} ${host}: ${out.stderr}`);
      assert.match(out.stderr, /loop/, host);
    }
  }
});

test('the last flush of an application is taken while the program ends, and delivered', async (t) => {
  const file = path.join(directory(t), 'out.jsonl');
  const sidecar = await Sidecar.start(t, { set: { ...KEEP_ALL, 'exporters.file.path': file } });
  const send = () => sidecar.post(encodeLogs(request(1))).then((answer) => answer.status, () => 0);
  assert.equal(await send(), 200);
  sidecar.signal('SIGTERM');
  let late = 0;
  while ((await send()) === 200) {
    late++;
    await pause(250);
  }
  assert.ok(late >= 2, `${late} late records were taken`);
  assert.deepEqual(await sidecar.end(), { code: 0, signal: null });
  const written = readFileSync(file, 'utf8').split('\n').filter(Boolean).map(JSON.parse).flatMap((r) => r.resourceLogs.flatMap((l) => l.scopeLogs.flatMap((s) => s.logRecords)));
  assert.equal(written.length, 1 + late);
  assert.equal(lastLine(sidecar).delivered, 1 + late);
});
