// The program as a person or a container meets it: verbs, settings, signals, exit codes.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs, flatten, normalizeJson, request } from './lib/otlp.mjs';
import { PostHog } from './lib/posthog.mjs';
import { audit, closeLedger, KEEP_ALL, KEY, pair, run, Sidecar } from './lib/sidecar.mjs';
import { pause, until } from './lib/wait.mjs';
import { http1 } from './lib/wire.mjs';

const CODE = { OK: 0, USAGE: 64, UNAVAILABLE: 69, CONFIG: 78 };

function scratch(t) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-e2e-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

function configFile(t, text) {
  const file = path.join(scratch(t), 'config.yaml');
  writeFileSync(file, text);
  return file;
}

const freePort = async () => {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return { port: server.address().port, close: () => new Promise((resolve) => server.close(resolve)) };
};

// ---- verbs

test('--help and --version', async () => {
  const help = await run(['--help']);
  assert.equal(help.code, CODE.OK);
  for (const word of ['run', 'validate', 'print-config', 'healthcheck', 'signature', 'Exit codes']) assert.ok(help.stdout.includes(word), word);
  const settings = await run(['settings']);
  for (const word of ['batch.max_age', 'exporters.posthog.api_key', 'sampling.keep']) assert.ok(settings.stdout.includes(word), word);
  const document = await run(['settings', '--markdown']);
  assert.equal(document.code, CODE.OK);
  assert.match(document.stdout, /^# Settings\n[^]*\n\| `batch\.max_age` \| `1s` \| restart \| /);
  for (const [, command] of help.stdout.matchAll(/^ {2}([a-z-]+) +\S/gm)) {
    const { code, stdout, stderr } = await run([command, '--help']);
    assert.deepEqual([code, stderr], [CODE.OK, ''], command);
    assert.match(stdout, new RegExp(`usage: lipservice ${command}`), command);
  }
  const version = await run(['--version']);
  assert.equal(version.code, CODE.OK);
  assert.match(version.stdout, /^lipservice \d+\.\d+\.\d+/);
  assert.equal(help.stderr + version.stderr, '');
});

test('64 for wrong usage', async () => {
  for (const args of [['nonsense'], ['--nonsense'], ['run', '--config'], ['run', 'extra'], ['validate', '--set'], ['signature', '--mode', 'x'], ['settings', '--json'], ['settings', '--markdown', 'x']]) {
    const { code, stderr, stdout } = await run(args);
    assert.equal(code, CODE.USAGE, args.join(' '));
    assert.notEqual(stderr, '');
    assert.equal(stdout, '');
  }
});

test('validate: 0 and a sentence', async (t) => {
  const file = configFile(t, 'exporters:\n  posthog:\n    api_key: phc_abcdefgh\nsampling:\n  severity_rates: {INFO: 0.1, warning: 0.5}\n');
  const { code, stdout, stderr } = await run(['validate', '--config', file]);
  assert.deepEqual([code, stderr], [CODE.OK, '']);
  assert.match(stdout, /sound/);
  assert.ok(!stdout.includes('phc_abcdefgh'));
});

test("validate names PostHog's ingestion host for its application's", async () => {
  const env = { POSTHOG_API_KEY: 'phc_x', POSTHOG_HOST: 'https://us.posthog.com' };
  const { code, stdout } = await run(['validate', '--config', '/dev/null'], { env });
  assert.equal(code, CODE.OK);
  assert.match(stdout, /'https:\/\/us\.posthog\.com' is PostHog's application.*https:\/\/us\.i\.posthog\.com/);
  for (const key of ['$POSTHOG_API_KEY', '${POSTHOG_API_KEY}']) {
    const end = await run(['validate', '--config', '/dev/null'], { env: { ...env, POSTHOG_API_KEY: key } });
    assert.equal(end.code, CODE.CONFIG);
    assert.match(end.stderr, /\$\{env:NAME\}/);
  }
});

const wrong = [
  ['an unknown key', 'batch:\n  max_agee: 1s\n', /:2:3: .*max_agee/],
  ['an unknown section', 'batch:\n  max_age: 1s\nsamplign:\n  global_rate: 1\n', /:3:1: .*samplign/],
  ['a rate over 1', 'sampling:\n  severity_rates:\n    INFO: 1.5\n', /:3:11: .*1\.5/],
  ['a rate that is a word', 'sampling:\n  global_rate: often\n', /:2:16: .*often/],
  ['a source of severities that is none', 'sampling:\n  severity_from: [body]\n', /sampling\.severity_from: 'body' is not \[fields, text\] or \[fields\]/],
  ['a weight that makes every word a variable', 'sampling:\n  family_weight: 1\n', /sampling\.family_weight: must be 0, or from 2 to 32/],
  ['errors sampled', 'sampling:\n  severity_rates:\n    ERROR: 0.5\n', /:3:12: .*always kept/],
  ['an unknown level', 'sampling:\n  severity_rates:\n    LOUD: 1\n', /:3:11: .*LOUD/],
  ['a pattern id that is none', 'sampling:\n  pattern_rates:\n    xyz: 1\n', /:3:10: .*xyz/],
  ['a rule without conditions', 'sampling:\n  drop:\n    - {}\n', /:3:7: .*condition/],
  ['a rule with an unknown condition', 'sampling:\n  keep:\n    - {colour: red}\n', /:3:8: /],
  ['a key twice', 'batch:\n  max_age: 1s\n  max_age: 2s\n', /:3:3: .*twice/],
  ['a time without unit', 'batch:\n  max_age: 5\n', /:2:12: .*5/],
  ['a size that is none', 'queue:\n  max_bytes: lots\n', /:2:14: .*lots/],
  ['no YAML', 'batch: [\n', /:\d+:\d+: /],
  ['a variable that is not set', 'exporters:\n  posthog:\n    host: ${env:NOT_SET_HERE}\n', /:3:11: .*NOT_SET_HERE/],
  ['a list where a map belongs', 'batch:\n  - max_age\n', /:2:3: /],
  ['too small', 'memory:\n  limit: 1KiB\n', /memory\.limit: must be/],
  ['a personal key', 'exporters:\n  posthog:\n    api_key: phx_secretsecret\n', /personal/],
  ['two exporters', 'exporters:\n  posthog:\n    api_key: phc_x\n  file:\n    path: /tmp/x\n', /exporters/],
  ['an endpoint that is no URL', 'exporters:\n  otlphttp:\n    endpoint: collector:4318\n', /exporters\.otlphttp\.endpoint: 'collector:4318' is not a URL/],
  ['a policy server without a host', 'policy:\n  server: http:///x\n', /policy\.server: .* is not a URL/],
  ['a variable as in a shell', 'exporters:\n  posthog:\n    api_key: ${POSTHOG_API_KEY}\n', /:3:14: .*\$\{env:POSTHOG_API_KEY\}/],
  ['a variable as in make', 'exporters:\n  file: {path: "/tmp/$(NAME)"}\n', /:2:16: .*\$\{env:NAME\}/],
  ['a variable with a dot', 'batch:\n  max_age: ${env.AGE}\n', /:2:12: .*\$\{env:AGE\}/],
  ['a key that is a variable', 'exporters:\n  posthog:\n    api_key: $POSTHOG_API_KEY\n', /:3:14: .*\$\{env:POSTHOG_API_KEY\}/],
  ['a key that is a template', 'exporters:\n  posthog:\n    api_key: "{{ .Values.key }}"\n', /api_key: .*\$\{env:NAME\}/],
  ["PostHog's application", 'exporters:\n  otlphttp:\n    endpoint: https://eu.posthog.com/i\n', /endpoint: .*https:\/\/eu\.i\.posthog\.com\/i/],
  ['a host with a path', 'exporters:\n  posthog:\n    api_key: phc_x\n    host: https://us.i.posthog.com/i/v1\n', /host/],
];

test('78 for a wrong configuration, with line and column', async (t) => {
  for (const [name, text, pattern] of wrong) {
    const file = configFile(t, text);
    for (const verb of ['validate', 'run']) {
      const { code, stderr } = await run([verb, '--config', file]);
      assert.equal(code, CODE.CONFIG, `${name}: ${stderr}`);
      assert.match(stderr, pattern, name);
      assert.ok(!stderr.includes('phx_secretsecret'), 'no secrets');
      assert.equal(stderr.trim().split('\n').length, 1, `${name}: one line`);
    }
  }
  assert.equal((await run(['validate', '--config', '/nonexistent.yaml'])).code, CODE.CONFIG);
  assert.equal((await run(['validate', '--set', 'batch.max_age=x'])).code, CODE.CONFIG);
  assert.equal((await run(['validate', '--set', 'nothing=1'])).code, CODE.CONFIG);
  const env = await run(['validate'], { env: { LIPSERVICE_BATCH_MAX_AGE: 'soon' } });
  assert.equal(env.code, CODE.CONFIG);
  assert.match(env.stderr, /LIPSERVICE_BATCH_MAX_AGE/);
});

test('69 when a port is taken, and it says which', async (t) => {
  const taken = await freePort();
  t.after(taken.close);
  for (const key of ['receivers.otlp.protocols.http.endpoint', 'telemetry.metrics.endpoint', 'telemetry.admin.endpoint']) {
    const sets = Object.entries({
      'receivers.otlp.protocols.grpc.endpoint': '127.0.0.1:0', 'receivers.otlp.protocols.http.endpoint': '127.0.0.1:0',
      'telemetry.health.endpoint': '', 'telemetry.metrics.endpoint': '', 'telemetry.admin.endpoint': '',
      [key]: `127.0.0.1:${taken.port}`,
    }).flatMap(([k, v]) => ['--set', `${k}=${v}`]);
    const { code, stderr } = await run(['run', '--config', '/dev/null', ...sets]);
    assert.equal(code, CODE.UNAVAILABLE, key);
    assert.ok(stderr.includes(String(taken.port)), key);
    assert.ok(stderr.includes(key), stderr);
  }
});

test('validate refuses what the start would: addresses, certificates, policy files', async () => {
  for (const set of ['telemetry.admin.endpoint=foo', 'receivers.otlp.protocols.grpc.endpoint=host.example:4317',
    'exporters.posthog.tls.ca_file=/nonexistent.pem', 'shadow.policy_file=/nonexistent.yaml']) {
    for (const verb of ['validate', 'run']) {
      const { code, stdout, stderr } = await run([verb, '--set', 'exporters.posthog.api_key=phc_x', '--set', set]);
      assert.deepEqual([code, stdout], [CODE.CONFIG, ''], `${verb} ${set}`);
      assert.match(stderr, /foo|host\.example|nonexistent/);
    }
  }
});

test('a variable that no setting has the name of is told, but for what Kubernetes sets', async () => {
  const env = { LIPSERVICE_MEMORY_LIMT: '8MiB', LIPSERVICE_SERVICE_HOST: '10.0.0.1', LIPSERVICE_PORT_4317_TCP: 'tcp://10.0.0.1:4317', LIPSERVICE_BATCH_MAX_AGE: '2s' };
  const { code, stdout } = await run(['validate'], { env });
  assert.equal(code, CODE.OK);
  assert.deepEqual(stdout.match(/LIPSERVICE_\w+/g), ['LIPSERVICE_MEMORY_LIMT']);
});

test('print-config: what is in force, from file, environment and --set, in this order', async (t) => {
  const file = configFile(t, 'batch:\n  max_age: 2s\n  max_records: 7\n  max_bytes: 2MiB\nexporters:\n  posthog:\n    host: ${env:WHERE:-http://127.0.0.1:1}\n    api_key: ${env:CANARY}\nsampling:\n  keep:\n    - {service: "pay*", severity: [INFO]}\n');
  const env = { CANARY: 'phc_canary_0123456789', LIPSERVICE_BATCH_MAX_RECORDS: '8', LIPSERVICE_BATCH_MAX_BYTES: '3MiB' };
  const { code, stdout, stderr } = await run(['print-config', '--config', file, '--set', 'batch.max_bytes=4MiB', '--set', 'sampling.pattern_rates={"lps1:0123456789abcdef": 0.25}'], { env });
  assert.deepEqual([code, stderr], [CODE.OK, '']);
  assert.match(stdout, /max_age: 2s/);
  assert.match(stdout, /max_records: 8/);
  assert.match(stdout, /max_bytes: 4MiB/);
  assert.match(stdout, /host: "http:\/\/127\.0\.0\.1:1"/);
  assert.match(stdout, /api_key: "?\[redacted\]/);
  assert.match(stdout, /"lps1:0123456789abcdef": 0\.25/);
  assert.match(stdout, /service: "pay\*"/);
  assert.ok(!stdout.includes('canary'));
  const again = await run(['print-config', '--config', file], { env: { ...env, WHERE: 'http://127.0.0.1:2' } });
  assert.match(again.stdout, /host: "http:\/\/127\.0\.0\.1:2"/);
});

test('what print-config prints is a configuration', async (t) => {
  const first = await run(['print-config', '--config', '/dev/null', '--set', 'sampling.drop=[{body: "GET /health*"}]', '--set', 'sampling.pattern_rates={"lps1:0123456789abcdef": 0.25}']);
  const file = configFile(t, first.stdout);
  const second = await run(['print-config', '--config', file]);
  assert.equal(second.code, CODE.OK, second.stderr);
  assert.equal(second.stdout, first.stdout);
});

test('the key appears nowhere', async (t) => {
  const canary = 'phc_canaryCANARY0123456789abcdefgh';
  const stub = await PostHog.start({ projects: [canary] });
  t.after(() => stub.down());
  const sidecar = await Sidecar.start(t, {
    set: { ...KEEP_ALL, 'telemetry.log.level': 'debug' }, env: { POSTHOG_API_KEY: canary, POSTHOG_HOST: stub.url },
  });
  sidecar.stub = stub;
  stub.faults.push({ status: 401, body: `the key ${canary.slice(0, 3)} is wrong` });
  await sidecar.post(encodeLogs(request(1)));
  await until('the hold', async () => (await sidecar.metrics()).lipservice_exporter_key_refused === 1);
  const pages = [];
  for (const route of ['/', '/api/ledger', '/api/patterns', '/api/families', '/api/config']) pages.push(await sidecar.page('admin', route));
  pages.push(await sidecar.page('metrics', '/metrics'), await sidecar.page('health', '/readyz'), await sidecar.page('health', '/livez'));
  const shown = await run(['print-config', '--config', '/dev/null'], { env: { POSTHOG_API_KEY: canary } });
  await until('delivery', async () => (await sidecar.ledger()).delivered === 1, { timeout: 45000 });
  await closeLedger(sidecar, { delivered: 1 });
  for (const text of [...pages, shown.stdout, shown.stderr, sidecar.stderr, sidecar.stdout]) assert.ok(!text.includes(canary.slice(0, -4)), text);
});

test('healthcheck: 69, 0 while it serves, 69 while it drains', async (t) => {
  const { stub, sidecar } = await pair(t);
  const check = () => run(['healthcheck', '--config', '/dev/null', '--set', `telemetry.health.endpoint=127.0.0.1:${sidecar.healthPort}`], { env: { http_proxy: 'http://127.0.0.1:9', HTTP_PROXY: 'http://127.0.0.1:9' } });
  assert.deepEqual([(await check()).code, (await check()).stderr], [CODE.OK, '']);
  stub.answer = () => ({ status: 503 }); // an outage upstream is no reason to be restarted
  await sidecar.post(encodeLogs(request(1)));
  await until('a retry', () => stub.logs.length >= 1);
  assert.equal((await check()).code, CODE.OK);
  sidecar.signal('SIGTERM');
  await until('draining', async () => (await fetch(`http://${sidecar.addresses.health}/readyz`)).status === 503);
  const draining = await check();
  assert.equal(draining.code, CODE.UNAVAILABLE);
  assert.equal((await fetch(`http://${sidecar.addresses.health}/livez`)).status, 200);
  stub.answer = null;
  assert.deepEqual(await sidecar.end(), { code: 0, signal: null });
  assert.equal(stub.rows.length, 1);
  const gone = await check();
  assert.equal(gone.code, CODE.UNAVAILABLE);
  assert.notEqual(gone.stderr, '');
});

test('the environment alone suffices; OTEL_EXPORTER_OTLP_* is not read', async (t) => {
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const sidecar = await Sidecar.start(t, {
    set: KEEP_ALL,
    env: { POSTHOG_PROJECT_TOKEN: KEY, POSTHOG_HOST: `${stub.url}/`, LIPSERVICE_SAMPLING_SEVERITY_RATES_INFO: '0.5', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9', OTEL_EXPORTER_OTLP_HEADERS: 'a=b' },
  });
  sidecar.stub = stub;
  await sidecar.post(encodeLogs(request(3)));
  await closeLedger(sidecar, { delivered: 3 });
});

// ---- exporters without PostHog

test('no key: standard output, OTLP JSON lines, and the start line says so', async (t) => {
  const sidecar = await Sidecar.start(t, { set: KEEP_ALL });
  assert.match(sidecar.log.find((line) => line.event === 'started').msg, /POSTHOG_API_KEY/);
  const body = request(50, { base: { attributes: [{ key: 'n', value: { intValue: '5' } }, { key: 'ü', value: { stringValue: 'x\n"y"' } }], traceId: '0af7651916cd43dd8448eb211c80319c' } });
  assert.equal((await http1(sidecar.httpPort, { body: Buffer.from(JSON.stringify(body)), headers: { 'content-type': 'application/json' } })).status, 200);
  await closeLedger(sidecar, { received: 50, kept: 50, delivered: 50 });
  const lines = sidecar.stdout.trim().split('\n').map((line) => JSON.parse(line));
  const got = lines.flatMap((line) => flatten(normalizeJson(line)));
  assert.deepEqual(got.map((r) => r.record), flatten(normalizeJson(body)).map((r) => r.record));
  assert.match(sidecar.stdout, /0af7651916cd43dd8448eb211c80319c/);
});

test('the file exporter appends', async (t) => {
  const file = path.join(scratch(t), 'out.jsonl');
  writeFileSync(file, '{"already":"here"}\n');
  const sidecar = await Sidecar.start(t, { set: { ...KEEP_ALL, 'exporters.file.path': file } });
  await sidecar.post(encodeLogs(request(20)));
  await sidecar.post(encodeLogs(request(20)));
  await closeLedger(sidecar, { received: 40, delivered: 40 });
  const lines = readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  assert.deepEqual(lines[0], { already: 'here' });
  assert.equal(lines.slice(1).flatMap((line) => flatten(normalizeJson(line))).length, 40);
});

test('a file that cannot be opened: an error at the start', async (t) => {
  const { code, stderr } = await run(['run', '--config', '/dev/null', '--set', `exporters.file.path=${path.join(scratch(t), 'no/such/dir')}`]);
  assert.ok([CODE.UNAVAILABLE, CODE.CONFIG].includes(code), String(code));
  assert.match(stderr, /no\/such\/dir/);
});

test('any OTLP/HTTP server, with headers of one\'s own', async (t) => {
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const sidecar = await Sidecar.start(t, { set: { ...KEEP_ALL, 'exporters.otlphttp.endpoint': `${stub.url}/`, 'exporters.otlphttp.headers': `{Authorization: "Bearer ${KEY}", X-Mine: "a b"}` } });
  sidecar.stub = stub;
  await sidecar.post(encodeLogs(request(3)));
  await closeLedger(sidecar, { delivered: 3 });
  const [first] = stub.logs;
  assert.deepEqual([first.path, first.coding, first.headers['x-mine']], ['/v1/logs', 'gzip', 'a b']);
});

// ---- stopping

test('SIGTERM: what comes during the drain is taken, all of it is delivered, 0', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'batch.max_age': '30s' } });
  stub.faults.push({ status: 503 }, { delay: 300 });
  let sent = 0;
  let stopped = false;
  // An application that goes on for a while, as they do.
  const application = (async () => {
    for (const end = Date.now() + 2000; Date.now() < end; ) {
      if (!stopped && sent >= 200) {
        stopped = true;
        sidecar.signal('SIGTERM');
      }
      const answer = await sidecar.post(encodeLogs(request(20)));
      assert.equal(answer.status, 200);
      sent += 20;
      await pause(20);
    }
  })();
  await application;
  assert.deepEqual(await sidecar.end(), { code: 0, signal: null }, sidecar.stderr);
  assert.equal(stub.rows.length, sent);
  const last = sidecar.log.find((line) => line.event === 'ledger');
  assert.deepEqual([last.received, last.kept, last.delivered, last.lost], [sent, sent, sent, 0]);
});

test('SIGINT likewise; SIGHUP does not end it', async (t) => {
  const { stub, sidecar } = await pair(t);
  sidecar.signal('SIGHUP');
  await sidecar.post(encodeLogs(request(5)));
  await until('delivery', () => stub.rows.length === 5);
  await audit(sidecar, { received: 5 });
  sidecar.signal('SIGINT');
  assert.deepEqual(await sidecar.end(), { code: 0, signal: null });
});

test('a dead upstream: the deadline ends it, and the loss is told', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'shutdown.timeout': '2s' } });
  await stub.down();
  await sidecar.post(encodeLogs(request(5)));
  const began = Date.now();
  sidecar.signal('SIGTERM');
  assert.deepEqual(await sidecar.end(), { code: 0, signal: null });
  const took = Date.now() - began;
  assert.ok(took >= 1900 && took < 8000, `${took} ms`);
  const last = sidecar.log.find((line) => line.event === 'ledger');
  assert.deepEqual([last.kept, last.delivered, last.lost, last.lost_shutdown], [5, 0, 5, 5]);
});

test('a second SIGTERM ends it at once', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { ...KEEP_ALL, 'shutdown.timeout': '60s' } });
  await stub.down();
  await sidecar.post(encodeLogs(request(5)));
  sidecar.signal('SIGTERM');
  await until('the first', () => sidecar.log.some((line) => line.event === 'stopping'));
  const began = Date.now();
  sidecar.signal('SIGTERM');
  assert.deepEqual(await sidecar.end(), { code: 0, signal: null });
  assert.ok(Date.now() - began < 10000);
  const last = sidecar.log.find((line) => line.event === 'ledger');
  assert.deepEqual([last.kept, last.lost], [5, 5]);
});

// ---- pages

test('metrics are what promtool likes', async (t) => {
  const { sidecar } = await pair(t);
  await sidecar.post(encodeLogs(request(5)));
  const text = await sidecar.page('metrics', '/metrics');
  await closeLedger(sidecar, { delivered: 5 });
  const families = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map((m) => m[1]);
  assert.equal(new Set(families).size, families.length, 'each family once');
  for (const [, name, type] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) assert.equal(name.endsWith('_total'), type === 'counter', name);
  const lint = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
  if (lint.error) {
    t.skip('promtool is not installed');
    return;
  }
  assert.deepEqual([lint.status, lint.stdout, lint.stderr], [0, '', '']);
});

test('the log as text, for people', async (t) => {
  const { sidecar } = await pair(t, { log: 'text' });
  await sidecar.post(encodeLogs(request(5)));
  await sidecar.post(Buffer.from('nonsense "quoted" \n'), { headers: { 'user-agent': 'evil" level=error' } });
  await closeLedger(sidecar, { delivered: 5 });
  for (const line of sidecar.stderr.trim().split('\n')) assert.match(line, /^time=\S+ level=\w+ event=\w+ msg=".*"( \w+=.*)?$/);
  const refused = sidecar.log.find((line) => line.event === 'request_refused');
  assert.deepEqual([refused.level, refused.agent], ['warn', 'evil" level=error']);
});

test('an empty address is no listener', async (t) => {
  const { sidecar } = await pair(t, { set: { ...KEEP_ALL, 'receivers.otlp.protocols.grpc.endpoint': '' } });
  assert.equal(sidecar.addresses.grpc, '');
  await sidecar.post(encodeLogs(request(5)));
  await closeLedger(sidecar, { delivered: 5 });
});

test('connections beyond receivers.otlp.max_connections are closed and counted', async (t) => {
  const { sidecar } = await pair(t, { set: { ...KEEP_ALL, 'receivers.otlp.max_connections': 3 } });
  const sockets = Array.from({ length: 3 }, () => net.connect(sidecar.httpPort, '127.0.0.1'));
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  // A request under way: idle ones would make room.
  for (const socket of sockets) socket.write('POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: 5\r\n\r\n');
  await until('three connections', async () => (await sidecar.metrics()).lipservice_http_connections === 3);
  await assert.rejects(http1(sidecar.httpPort, { body: encodeLogs(request(1)) }));
  assert.equal(await sidecar.fault('too_many_connections'), 1);
  sockets[0].destroy();
  await until('room again', async () => (await http1(sidecar.httpPort, { body: encodeLogs(request(1)) })).status === 200);
  await closeLedger(sidecar, { received: 1, delivered: 1 });
});

test('more services than sampling.max_services: counted under "other", never lost', async (t) => {
  const { sidecar } = await pair(t, { set: { ...KEEP_ALL, 'sampling.max_services': 4, 'sampling.max_patterns': 16 } });
  for (let i = 0; i < 40; i++) await sidecar.post(encodeLogs(request(5, { service: `s${i}`, body: (j) => `${String.fromCharCode(97 + (i % 26)).repeat(3 + j)} happened` })));
  const metrics = await sidecar.metrics();
  assert.equal(metrics.lipservice_services, 3);
  assert.ok(metrics.lipservice_patterns <= 16, `${metrics.lipservice_patterns} patterns`);
  assert.ok(metrics.lipservice_patterns_evicted_total > 0, `evicted of ${metrics.lipservice_patterns}`);
  const ledger = await closeLedger(sidecar, { received: 200, delivered: 200 });
  assert.equal(ledger.services['(other)'].received, 200 - 3 * 5);
});

test('pages: unknown path, wrong method, foreign host', async (t) => {
  const { sidecar } = await pair(t);
  for (const port of [sidecar.healthPort, sidecar.metricsPort, sidecar.adminPort]) {
    assert.equal((await http1(port, { method: 'GET', path: '/nothing' })).status, 404);
    assert.equal((await http1(port, { method: 'DELETE', path: '/' })).status >= 400, true);
    assert.equal((await http1(port, { method: 'GET', path: '/', headers: { host: 'evil.example' } })).status, 403);
  }
  await closeLedger(sidecar, { received: 0 });
});

// ---- policy by hand

const bodies = (stub) => stub.rows.map((r) => r.body).sort();

test('keep beats drop; errors beat both', async (t) => {
  const { stub, sidecar } = await pair(t, {
    set: {
      'batch.max_age': '50ms', 'sampling.first.count': 0, 'sampling.severity_rates.INFO': 0,
      'sampling.drop': '[{body: "GET /health*"}, {service: noisy, attributes: {tier: "fr*"}}]',
      'sampling.keep': '[{attributes: {customer: vip}}, {severity: WARN}]',
    },
  });
  const record = (text, attributes = {}, severityNumber = 9) => ({
    timeUnixNano: '1750000000000000000', severityNumber, body: { stringValue: text },
    attributes: Object.entries(attributes).map(([key, stringValue]) => ({ key, value: { stringValue } })),
  });
  const of = (service, logRecords) => ({ resource: { attributes: [{ key: 'service.name', value: { stringValue: service } }] }, scopeLogs: [{ logRecords }] });
  await sidecar.post(encodeLogs({
    resourceLogs: [
      of('web', [
        record('GET /health a'), record('GET /health vip', { customer: 'vip' }), record('GET /health warned', {}, 13),
        record('GET /health failed', {}, 17), record('nobody asks', {}),
      ]),
      of('noisy', [record('free', { tier: 'free' }), record('free vip', { tier: 'free', customer: 'vip' }), record('paid', { tier: 'gold' })]),
    ],
  }));
  const ledger = await closeLedger(sidecar, { received: 8, kept: 4, dropped_by_rule: 2, sampled_out: 2 });
  assert.deepEqual(bodies(stub), ['GET /health failed', 'GET /health vip', 'GET /health warned', 'free vip']);
  assert.deepEqual([ledger.services.web.dropped_by_rule, ledger.services.noisy.dropped_by_rule], [1, 1]);
});

test('pattern_rates: by the id that the admin page and `signature` name', async (t) => {
  const line = 'user 42 bought 3 items';
  const { stdout } = await run(['signature'], { input: `${line}\n` });
  const [id] = /lps1:[0-9a-f]{16}/.exec(stdout);
  const set = { 'batch.max_age': '50ms', 'sampling.first.count': 0, 'sampling.severity_rates.INFO': 1, 'sampling.pattern_rates': `{"${id}": 0}` };
  const { stub, sidecar } = await pair(t, { set });
  await sidecar.post(encodeLogs(request(100, { body: (i) => (i % 2 ? `user ${i} bought ${i + 1} items` : `another line ${i}`) })));
  const patterns = await sidecar.patterns();
  assert.ok(patterns.some((p) => p.pattern === id && p.received === 50 && p.kept === 0));
  await closeLedger(sidecar, { received: 100, kept: 50, sampled_out: 50 });
  assert.ok(bodies(stub).every((body) => body.startsWith('another')));
});

// A record that has no severity is as severe as its text says, which is what PostHog will show.
const NAMES_AN_ERROR = [
  '2026-11-30 09:00:00,123 ERROR [main] c.e.App - order 17 failed',
  'E1130 09:00:00.123456       1 reflector.go:138] Failed to watch *v1.Pod: unknown',
  'ts=2026-11-30T09:00:00Z caller=main.go:1 level=error msg="db down"',
  'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\nValueError: bad',
  'panic: runtime error: invalid memory address\n\ngoroutine 1 [running]:',
  '{"level":"error","msg":"db down"}',
  '{"level":50,"time":1,"msg":"db down"}',
  '{"log.level":"error","message":"db down"}',
];
const NAMES_NONE = ['the error was fixed', '0 errors found', '{"status":"error","msg":"x"}', 'order 17 saved'];

for (const [name, from, severity, kept] of [
  ['what its text names is its severity', '[fields, text]', { severityNumber: 0, severityText: '' }, NAMES_AN_ERROR.length],
  ['its own severity wins', '[fields, text]', {}, 0],
  ['where texts are not asked they say nothing', '[fields]', { severityNumber: 0, severityText: '' }, 0],
])
  test(`severity_from: ${name}`, async (t) => {
    const all = [...NAMES_AN_ERROR, ...NAMES_NONE];
    const set = { 'batch.max_age': '50ms', 'sampling.first.count': 0, 'sampling.severity_rates.INFO': 0, 'sampling.severity_from': from };
    const { stub, sidecar } = await pair(t, { set });
    const message = request(all.length, { body: (i) => all[i] });
    for (const record of message.resourceLogs[0].scopeLogs[0].logRecords) Object.assign(record, severity);
    await sidecar.post(encodeLogs(message));
    const metrics = await sidecar.metrics();
    const has = 'severityNumber' in severity ? 0 : all.length;
    assert.equal(metrics['lipservice_severity_records_total{source="fields"}'], has);
    assert.equal(metrics['lipservice_severity_records_total{source="text"}'], kept);
    assert.equal(metrics['lipservice_severity_records_total{source="none"}'], all.length - has - kept);
    await closeLedger(sidecar, { received: all.length, kept, sampled_out: all.length - kept });
    assert.deepEqual(bodies(stub).sort(), NAMES_AN_ERROR.slice(0, kept).sort());
  });
