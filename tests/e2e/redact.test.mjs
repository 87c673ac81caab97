// Nothing personal leaves by accident: a secret of every kind is sent in every place of a record,
// and looked for in all that comes out.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { directory } from './lib/disk.mjs';
import { encodeLogs, request } from './lib/otlp.mjs';
import { PostHog } from './lib/posthog.mjs';
import { KEEP_ALL, Sidecar, audit, balance, closeLedger, lastLine, pair, run } from './lib/sidecar.mjs';
import { NAMED, SECRETS, found } from './lib/secrets.mjs';
import { until } from './lib/wait.mjs';

const ALL = [...Object.keys(SECRETS), 'attribute'];
const EVERYTHING = { 'redaction.detectors': '[all]', 'redaction.patterns': '{staff: "EMP-[0-9]{6}"}' };
const ENFORCE = { 'redaction.mode': 'enforce', ...EVERYTHING };
const NONE = { ...KEEP_ALL, 'sampling.first.count': 0, 'sampling.severity_rates.INFO': 0 };
const EVENTS = { 'events.enabled': true, 'events.interval': '200ms', 'events.learning': '1ms', 'events.summary_interval': '300ms' };
const admin = (sidecar) => ['--config', '/dev/null', '--admin', `http://${sidecar.addresses.admin}`];

// ---- what is sent

const string = (stringValue) => ({ stringValue });
const map = (entries) => ({ kvlistValue: { values: Object.entries(entries).map(([key, value]) => ({ key, value })) } });

// A record for each place that a text may stand in.
const PLACES = {
  body: (text) => ({ body: string(`sent to ${text} now`) }),
  first: (text) => ({ body: string(`${text} came`) }),
  json: (text) => ({ body: string(JSON.stringify({ message: 'sent', to: text })) }),
  nested: (text) => ({ body: string(JSON.stringify({ message: JSON.stringify({ to: text }) })) }),
  array: (text) => ({ body: { arrayValue: { values: [string('a'), string(text)] } } }),
  map: (text) => ({ body: map({ to: map({ deep: string(text) }) }) }),
  key: (text) => ({ body: map({ message: string('m'), [text]: string('x') }) }),
  bytes: (text) => ({ body: { bytesValue: Buffer.from(text) } }),
  attribute: (text) => ({ body: string('of an attribute'), attributes: [{ key: 'to', value: string(text) }] }),
  deep: (text) => ({ body: string('of a map'), attributes: [{ key: 'to', value: map({ deep: { arrayValue: { values: [string(text)] } } }) }] }),
  template: (text) => ({ body: string('x'), attributes: [{ key: 'message_template.text', value: string(`to ${text} {Id}`) }] }),
  event: (text) => ({ eventName: `event ${text}` }),
  severity: (text) => ({ body: string('of a level'), severityText: text }),
};
const NAMED_ATTRIBUTES = [{ key: 'db.password', value: string(NAMED) }, { key: 'x-api-key', value: { arrayValue: { values: [string(NAMED)] } } }];

// All kinds in all places; each kind in a Resource and a scope of its own, and one in the name of a service.
function secrets({ base = {}, places = Object.keys(PLACES) } = {}) {
  const now = BigInt(Date.now()) * 1000000n;
  return {
    resourceLogs: Object.entries(SECRETS).map(([kind, { text }]) => ({
      resource: {
        attributes: [
          { key: 'service.name', value: string(kind === 'email' ? `of ${text}` : 'shop') },
          { key: 'host', value: string(text) },
          { key: 'process.token', value: string(NAMED) },
        ],
      },
      schemaUrl: `of ${text} `,
      scopeLogs: [
        {
          scope: { name: `scope ${text}`, version: text, attributes: [{ key: 'a', value: string(text) }] },
          logRecords: places.map((place, i) => {
            const record = { timeUnixNano: String(now + BigInt(i)), severityNumber: 9, severityText: 'INFO', ...PLACES[place](text), ...base };
            return { ...record, attributes: [...(record.attributes ?? []), ...NAMED_ATTRIBUTES] };
          }),
        },
      ],
    })),
  };
}
const COUNT = Object.keys(SECRETS).length * Object.keys(PLACES).length;

test('replay redacts as the sidecar does: what it prints, and how much would be sent', async (t) => {
  const file = path.join(directory(t), 'request.pb');
  writeFileSync(file, encodeLogs(secrets()));
  const set = (more = {}) => Object.entries({ ...KEEP_ALL, ...EVERYTHING, ...more }).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const enforced = await run(['replay', '--config', '/dev/null', ...set(ENFORCE), file]);
  assert.equal(enforced.code, 0, enforced.stderr);
  assert.match(enforced.stdout, /redacted-email-0/);
  assertClean({ stdout: enforced.stdout, stderr: enforced.stderr });
  const figures = async (more) => JSON.parse((await run(['replay', '--config', '/dev/null', '--json', ...set(more), file])).stdout).policies[0];
  const [whole, dropped] = [await figures({ ...ENFORCE }), await figures({ ...ENFORCE, 'redaction.action': 'drop_record' })];
  assert.deepEqual([whole.kept, dropped.kept], [COUNT, 0]);
});

async function send(sidecar, what) {
  const answer = await sidecar.post(encodeLogs(what));
  await answer.arrayBuffer();
  assert.equal(answer.status, 200);
}

// ---- what comes out

const PAGES = ['/', '/api/ledger', '/api/patterns?limit=1000', '/api/top', '/api/families', '/api/shadow?limit=1000', '/api/config'];

// All that a running sidecar can be asked, and its log.
async function exits(sidecar) {
  const out = { log: sidecar.stderr, stdout: sidecar.stdout };
  for (const route of PAGES) out[route] = await (await fetch(`http://${sidecar.addresses.admin}${route}`)).text();
  for (const [server, route] of [['metrics', '/metrics'], ['health', '/status']]) out[route] = await (await fetch(`http://${sidecar.addresses[server]}${route}`)).text();
  assert.match(out['/api/top'], /"redaction":"/);
  out.top = (await run(['top', '--once', ...admin(sidecar)])).stdout;
  const texts = Object.values(SECRETS).map(({ text }) => text.replaceAll('\n', '\\n')).join('\n');
  for (const form of [[], ['--json']]) out[`explain ${form}`] = (await run(['explain', '--live', ...form, ...admin(sidecar)], { input: texts })).stdout;
  return out;
}

// The first that was found, with what stands around it.
function around(data) {
  const text = Buffer.from(data).toString('latin1');
  const piece = found(data).map((kind) => SECRETS[kind]?.piece ?? NAMED)[0];
  const at = text.indexOf(piece ?? '');
  return JSON.stringify(text.slice(Math.max(0, at - 200), at + 100));
}

function assertClean(out) {
  for (const [exit, data] of Object.entries(out)) assert.deepEqual(found(data), [], `${exit}: ${around(data)}`);
}

function readAll(dir) {
  return Buffer.concat(readdirSync(dir, { recursive: true, withFileTypes: true }).filter((e) => e.isFile()).map((e) => readFileSync(path.join(e.parentPath ?? e.path, e.name))));
}

// The stream of a tap, from its beginning.
async function tap(t, sidecar) {
  const answer = await fetch(`http://${sidecar.addresses.admin}/api/tap?rate=10000`);
  const state = { text: '' };
  assert.equal(answer.status, 200);
  (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of answer.body) state.text += decoder.decode(chunk, { stream: true });
  })().catch(() => {});
  await until('the tap listens', () => state.text.includes('"tap"'));
  return state;
}

async function policyServer(t) {
  const reports = [];
  const server = createServer(async (req, res) => {
    const chunks = [];
    for await (const chunk of req) chunks.push(chunk);
    if (req.method === 'POST') reports.push(Buffer.concat(chunks).toString());
    else reports.push(decodeURIComponent(req.url));
    res.writeHead(req.method === 'POST' ? 202 : 404, { 'content-type': 'application/json' }).end('{"status":"accepted"}');
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return { reports, url: `http://127.0.0.1:${server.address().port}` };
}

// ---- tests

test('detect counts every kind in every place, and changes nothing', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, ...EVERYTHING }, posthog: { keepBodies: true } });
  const what = secrets();
  await send(sidecar, what);
  await until('all of it', () => stub.rows.length === COUNT);
  assert.deepEqual(found(stub.rows), ALL); // that found() can find them
  const sent = what.resourceLogs.flatMap((r) => r.scopeLogs[0].logRecords.map((record) => record));
  const bytes = (records) => records.map((record) => encodeLogs({ resourceLogs: [{ scopeLogs: [{ logRecords: [record] }] }] }).toString('hex')).sort();
  assert.deepEqual(bytes(stub.records.map((r) => r.record)), bytes(sent));
  const metrics = await sidecar.metrics();
  for (const kind of ALL) {
    for (const where of ['body', 'attribute', 'resource'])
      if (kind !== 'attribute' || where !== 'body')
        assert.ok(metrics[`lipservice_redactions_total{kind="${kind}",action="detect",where="${where}"}`] > 0, `${kind} ${where}`);
  }
  const told = sidecar.log.filter((line) => line.event === 'redaction').map((line) => `${line.kind} ${line.service}`); // ten lines a second
  assert.ok(told.length >= 10 && told.includes('card shop'), told.join());
  assert.equal(new Set(told).size, told.length);
  assert.equal(metrics.lipservice_redaction_changed_records_total, 0);
  await closeLedger(sidecar, { received: COUNT, kept: COUNT });
});

for (const durability of ['memory', 'disk'])
  for (const mode of ['enforce', 'observe'])
    test(`no exit lets a secret out: ${durability}, mode: ${mode}`, { timeout: 120000 }, async (t) => {
      const dir = directory(t);
      const server = await policyServer(t);
      const refused = path.join(dir, 'refused.jsonl');
      const set = {
        ...NONE, ...ENFORCE, ...EVENTS, mode, durability,
        'sampling.first.count': 1, // some of it is kept, some is not
        'sampling.stamps': '[adjusted_count,pattern,family,template,reason]',
        'policy.server': server.url, 'policy.api_key': 'k', 'policy.team_id': 1, 'policy.report_interval': '200ms', 'policy.refresh_interval': '200ms',
        'exporters.refused_file': refused,
        'telemetry.log.level': 'debug',
      };
      if (durability === 'disk') set['spool.directory'] = path.join(dir, 'spool');
      const { stub, sidecar } = await pair(t, { set, posthog: { keepBodies: true } });
      const open = await tap(t, sidecar);
      await send(sidecar, secrets()); // new patterns
      await send(sidecar, secrets()); // sampled out: context, samples
      const word = (i) => // a constant, as it has no digit
        `user ${String.fromCharCode(97 + (i % 26))}x${String.fromCharCode(97 + Math.floor(i / 26))} logged in, password: canaryhunter`;
      await send(sidecar, request(60, { service: 'shop', body: word })); // a family
      const error = { severityNumber: 17, severityText: 'ERROR' };
      for (const { scopeLogs, ...rest } of secrets({ places: ['body'] }).resourceLogs) // each releases the context of its instance
        await send(sidecar, { resourceLogs: [{ ...rest, scopeLogs: scopeLogs.map((s) => ({ ...s, logRecords: s.logRecords.map((r) => ({ ...r, ...error })) })) }] });
      if (mode === 'enforce') {
        await until('context', async () => (await sidecar.ledger()).released > 0);
        await until('a summary', () => stub.rows.some((row) => row.event_name === 'lipservice.pattern.summary' && row.attributes['lipservice.sample']));
      }
      await until('a family', async () => JSON.parse(await sidecar.page('admin', '/api/families')).aliases.some((a) => a.template.includes('redacted-assigned-0')));
      await until('a report', () => server.reports.some((text) => text.includes('template')));
      await until('the tap', () => open.text.includes('"verdict"'));
      await until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
      assert.ok(open.text.includes('redacted-email-0'));
      assertClean({ tap: open.text, rows: JSON.stringify(stub.rows), bodies: Buffer.concat(stub.logs.map((r) => r.body ?? Buffer.alloc(0))), reports: server.reports.join('\n'), ...(await exits(sidecar)) });
      if (durability === 'disk') assertClean({ spool: readAll(path.join(dir, 'spool')) });

      stub.refuses = () => 400; // all that comes now is put aside
      await send(sidecar, secrets({ base: error, places: ['body', 'json', 'attribute'] }));
      await until('the refused file', async () => (await sidecar.metrics())['lipservice_refused_file_records_total{outcome="written"}'] > 0);
      await until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
      const file = readFileSync(refused);
      assert.ok(file.includes('redacted-jwt-0'));
      assertClean({ refused: file, log: sidecar.stderr });
      balance(await sidecar.ledger());
      await sidecar.stop();
      lastLine(sidecar);
      assertClean({ log: sidecar.stderr, reports: server.reports.join('\n') });
    });

test('what is left on disk is clean, and so is what the next process finds of it', async (t) => {
  const dir = directory(t);
  const set = { ...KEEP_ALL, ...ENFORCE, durability: 'disk', 'spool.directory': path.join(dir, 'spool'), 'shutdown.timeout': '300ms' };
  const { stub, sidecar } = await pair(t, { set });
  stub.answer = () => ({ status: 503 });
  await send(sidecar, secrets());
  await audit(sidecar, { received: COUNT, kept: COUNT });
  await sidecar.stop();
  assert.equal(lastLine(sidecar).left_on_disk, COUNT);
  const spool = readAll(path.join(dir, 'spool'));
  assert.ok(spool.includes('redacted-email-0'));
  assertClean({ spool, exported: (await run(['spool', 'export', path.join(dir, 'spool')])).stdout });
  stub.answer = null;
  const next = await Sidecar.start(t, { set, stub });
  await until('all of it', () => stub.rows.length === COUNT);
  assertClean({ rows: JSON.stringify(stub.rows), ...(await exits(next)) });
  await closeLedger(next, { delivered: COUNT });
});

test('the file exporter and standard output', async (t) => {
  const file = path.join(directory(t), 'out.jsonl');
  for (const target of [file, '-']) {
    const sidecar = await Sidecar.start(t, { set: { ...KEEP_ALL, ...ENFORCE, 'exporters.file.path': target } });
    await send(sidecar, secrets());
    await until('all of it', async () => (await sidecar.ledger()).delivered === COUNT);
    await closeLedger(sidecar, { received: COUNT, kept: COUNT });
    const text = target === '-' ? sidecar.stdout : readFileSync(file, 'utf8');
    assert.ok(text.includes('redacted-email-0'));
    assertClean({ text });
  }
});

test('ids of patterns are the same with and without', async (t) => {
  const ids = [];
  for (const more of [{ 'redaction.mode': 'off' }, ENFORCE]) {
    const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, ...more } });
    await send(sidecar, secrets());
    await until('all of it', () => stub.rows.length === COUNT);
    ids.push((await sidecar.patterns()).filter((p) => p.service === 'shop').map((p) => `${p.pattern} ${p.received}`).sort());
    await closeLedger(sidecar, { received: COUNT, kept: COUNT });
  }
  assert.deepEqual(ids[0], ids[1]);
});

test('a record without a hit is what came, byte for byte', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, ...ENFORCE }, posthog: { keepBodies: true } });
  const clean = encodeLogs(request(50, { service: 'shop', body: (i) => `order ${i} was placed` }));
  assert.equal((await sidecar.post(clean)).status, 200);
  await until('all of it', () => stub.rows.length === 50);
  assert.ok(stub.logs[0].body.equals(clean));
  await closeLedger(sidecar, { received: 50, kept: 50 });
});

test('actions: hash joins, partial keeps four, attributes and records go', async (t) => {
  const body = () => 'by canary.mail@example.com with 4111 1111 1111 1111';
  const base = { attributes: [{ key: 'to', value: string('canary.mail@example.com') }, { key: 'n', value: { intValue: 1 } }] };
  const rows = async (set, n = 2) => {
    const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, ...ENFORCE, ...set } });
    await send(sidecar, request(n, { body, base }));
    await send(sidecar, request(1, { body: () => 'nothing' }));
    const total = set['redaction.action'] === 'drop_record' ? 1 : n + 1;
    await until('all of it', () => stub.rows.length === total);
    const ledger = await closeLedger(sidecar, { received: n + 1, kept: total, dropped_by_rule: n + 1 - total });
    return { rows: stub.rows, ledger };
  };
  const hash = (await rows({ 'redaction.action': 'hash', 'redaction.key': 'a key that nobody knows' })).rows;
  assert.match(hash[0].body, /^by email_[0-9a-f]{8} with card_[0-9a-f]{8}$/);
  assert.equal(hash[0].body, hash[1].body);
  assert.equal(JSON.parse(hash[0].attributes.to), hash[0].body.split(' ')[1]);
  const partial = (await rows({ 'redaction.action': 'partial' })).rows;
  assert.equal(partial[0].body, 'by redacted-email-0 with redacted-card-1111');
  const without = (await rows({ 'redaction.action': 'drop_attribute' })).rows;
  assert.deepEqual([without[0].body, without[0].attributes], ['by redacted-email-0 with redacted-card-0', { n: '1' }]);
  assert.deepEqual((await rows({ 'redaction.action': 'drop_record' })).rows.map((row) => row.body), ['nothing']);
  const key = await run(['validate', '--config', '/dev/null', '--set', 'redaction.action=hash']);
  assert.equal(key.code, 78);
  assert.match(key.stderr, /redaction\.key: action: hash needs a key/);
  const mask = await run(['validate', '--config', '/dev/null', '--set', 'redaction.mode=enforce', '--set', 'redaction.mask=<{kind}>']);
  assert.equal(mask.code, 0);
  assert.match(mask.stdout, /note: redaction\.mask: .* get other pattern ids/);
});

test('a budget, a reload and an ending do not open a way out', async (t) => {
  const config = path.join(directory(t), 'config.yaml');
  const patterns = 'patterns: {staff: "EMP-[0-9]{6}"}';
  writeFileSync(config, `redaction: {mode: enforce, detectors: [all], ${patterns}}\n`);
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'sampling.budget.records_per_second': 20 }, args: ['--config', config] });
  await send(sidecar, secrets());
  writeFileSync(config, `redaction: {mode: "off", ${patterns}}\nsampling: {global_rate: 0.9}\n`);
  sidecar.signal('SIGHUP');
  await until('a reload', async () => (await sidecar.metrics())['lipservice_config_reloads_total{outcome="accepted"}'] === 1);
  assert.ok(sidecar.log.some((line) => line.event.startsWith('reload') && JSON.stringify(line).includes('redaction.mode')), 'the reload says that it takes a restart');
  assert.ok(!sidecar.log.some((line) => JSON.stringify(line).includes('redaction.patterns')), 'what is the same needs none');
  await send(sidecar, secrets());
  await until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
  await send(sidecar, secrets());
  balance(await sidecar.ledger());
  await sidecar.stop();
  lastLine(sidecar);
  assert.ok(stub.rows.length > 0);
  assertClean({ rows: JSON.stringify(stub.rows), log: sidecar.stderr });
});

test('lipservice redact: lines, OTLP JSON, and a request of protobuf', async (t) => {
  const lines = 'nothing\nlogin of canary.mail@example.com with 4111 1111 1111 1111\n';
  const told = await run(['redact', '--config', '/dev/null'], { input: lines });
  assert.equal(told.code, 0, told.stderr);
  assert.equal(told.stdout, '2:10: email\n2:39: card\nlogin of redacted-email-0 with redacted-card-0\n');
  const text = await run(['redact', '--config', '/dev/null', '--text', '--set', 'redaction.mode=off'], { input: lines });
  assert.equal(text.stdout, 'nothing\nlogin of redacted-email-0 with redacted-card-0\n');
  const what = secrets({ places: ['body'] });
  const file = path.join(directory(t), 'request.pb');
  writeFileSync(file, encodeLogs(what));
  for (const [args, input] of [[[file]], [[], JSON.stringify(what)]]) {
    const out = await run(['redact', '--config', '/dev/null', ...Object.entries(EVERYTHING).flatMap(([key, value]) => ['--set', `${key}=${value}`]), ...args], { input });
    assert.equal(out.code, 0, out.stderr);
    assert.match(out.stdout, /^1: resource service.name:4: email$/m);
    assert.match(out.stdout, /^1: body:9: email$/m);
    assert.match(out.stdout, /^1: attribute db.password:1: attribute$/m);
    assertClean({ out: out.stdout });
    assert.equal(out.stdout.split('\n').filter((line) => line.startsWith('{')).length, Object.keys(SECRETS).length);
  }
  assert.equal((await run(['redact', '--config', '/dev/null', 'a', 'b'])).code, 64);
  assert.equal((await run(['redact', '--config', '/dev/null', '/nowhere'])).code, 64);
});
