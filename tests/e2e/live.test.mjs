// What a running sidecar can be asked: explain --live, tap, top.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import { test } from 'node:test';
import { encodeLogs, request } from './lib/otlp.mjs';
import { BINARY, closeLedger, pair, run } from './lib/sidecar.mjs';
import { pause, until } from './lib/wait.mjs';

const QUICK = { 'batch.max_age': '50ms' };
const DROPPING = { ...QUICK, 'sampling.first.count': 0, 'sampling.severity_rates.INFO': 0, 'sampling.severity_rates.DEBUG': 0.5 };
const admin = (sidecar) => ['--config', '/dev/null', '--admin', `http://${sidecar.addresses.admin}`];
const objects = (text) => text.trim().split('\n').map((line) => JSON.parse(line));

async function post(sidecar, ...requests) {
  for (const r of requests) assert.equal((await sidecar.post(encodeLogs(r))).status, 200);
}

// A verb that runs until it is told to stop.
class Verb {
  constructor(t, args, { command = BINARY, env = {} } = {}) {
    this.stdout = this.stderr = '';
    this.child = spawn(command, args, { env: { PATH: process.env.PATH, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
    this.child.stdout.setEncoding('utf8').on('data', (text) => (this.stdout += text));
    this.child.stderr.setEncoding('utf8').on('data', (text) => (this.stderr += text));
    this.ended = new Promise((resolve) => this.child.once('close', (code) => resolve(code)));
    t.after(() => this.child.kill('SIGKILL'));
  }

  // What came by now as JSON lines.
  get lines() {
    return this.stdout.split('\n').slice(0, -1).map((line) => JSON.parse(line));
  }

  get decisions() {
    return this.lines.filter((line) => line.verdict);
  }

  get sums() {
    return this.lines.filter((line) => line.tap).at(-1)?.tap;
  }

  async interrupt() {
    this.child.kill('SIGINT');
    const code = await this.ended;
    assert.doesNotMatch(this.stderr, /Sanitizer|runtime error/);
    return code;
  }
}

// A tap that listens: its first line says so.
async function tap(t, sidecar, ...args) {
  const verb = new Verb(t, ['tap', ...admin(sidecar), '--json', ...args]);
  await until('the tap listens', () => verb.sums);
  return verb;
}

// ---- explain --live

test('explain --live says the counts of the pattern and the rules in force', async (t) => {
  const { sidecar } = await pair(t, { set: DROPPING });
  const line = ['--service', 'checkout', 'user 7 logged in'];
  const ask = async (...args) => objects((await run(['explain', ...admin(sidecar), '--live', '--json', ...args])).stdout)[0];
  assert.equal((await ask(...line)).counts, null);
  await post(sidecar, request(30, { service: 'checkout', body: (i) => `user ${i} logged in` }), request(4, { service: 'other', body: (i) => `user ${i} logged in` }));
  const said = await ask(...line);
  assert.deepEqual([said.verdict, said.reason, said.template], ['sampled_out', 'severity_rate', 'user <*> logged in']);
  const sums = { received: 30, kept: 0, sampled_out: 30, dropped_by_rule: 0 };
  const { today, first_seen: first, last_seen: last, ...all } = said.counts;
  const { since, ...now } = today;
  assert.deepEqual([all, now], [sums, sums]);
  assert.ok(since <= first && first <= last && last <= Date.now() / 1000 + 1);
  // But for the counts it is what is said without a sidecar.
  const settings = Object.entries(DROPPING).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const offline = objects((await run(['explain', '--config', '/dev/null', ...settings, '--json', ...line])).stdout)[0];
  assert.deepEqual({ ...said, counts: undefined }, { ...offline, counts: undefined });

  const words = await run(['explain', ...admin(sidecar), '--live', ...line]);
  assert.match(words.stdout, /counts {5}30 received, 0 kept, 30 sampled out, 0 dropped by rule, since 20\d\d-.*Z, last seen/);
  assert.match(words.stdout, /today {6}30 received/);
  const input = JSON.stringify(request(3, { service: 'other', body: (i) => `user ${i} logged in` }));
  const three = objects((await run(['explain', ...admin(sidecar), '--live', '--json'], { input })).stdout);
  assert.deepEqual(three.map((o) => [o.service, o.counts.received]), [['other', 4], ['other', 4], ['other', 4]]);
  await closeLedger(sidecar, { received: 34, kept: 0 });
});

test('explain --live refuses what is too much or no record, and says when nobody answers', async (t) => {
  const { sidecar } = await pair(t, { set: QUICK });
  const ask = (args, input) => run(['explain', ...admin(sidecar), '--live', ...args], { input });
  const many = await ask([], 'line\n'.repeat(101));
  assert.equal(many.code, 64);
  assert.match(many.stderr, /more than 100 records/);
  assert.equal(objects((await ask(['--json'], 'line\n'.repeat(100))).stdout).length, 100);
  assert.match((await ask([], 'x'.repeat(300000))).stderr, /answers 413/);
  assert.equal((await ask([], '{"resourceLogs": [')).code, 64);
  assert.equal((await ask(['--severity', 'loud', 'x'])).code, 64);
  const direct = (query, body) => fetch(`http://${sidecar.addresses.admin}/api/explain${query}`, { method: 'POST', body });
  assert.equal((await direct('?severity=loud', 'x')).status, 400);
  assert.equal((await direct('?service=%00', 'x')).status, 400);
  assert.equal((await fetch(`http://${sidecar.addresses.admin}/api/explain`)).status, 405);
  await closeLedger(sidecar, { received: 0 });
  for (const verb of [['explain', '--live', 'x'], ['tap'], ['top', '--once']]) {
    const out = await run([verb[0], ...admin(sidecar), ...verb.slice(1)]);
    assert.equal(out.code, 69, out.stderr);
    assert.match(out.stderr, /no sidecar answers at http:\/\//);
  }
  assert.equal((await run(['top', '--config', '/dev/null', '--admin', 'ftp://localhost:1'])).code, 64);
  assert.equal((await run(['top', '--once', '--config', '/dev/null', '--admin', 'https://localhost:1'])).code, 69);
  assert.equal((await run(['tap', '--config', '/dev/null', '--set', 'telemetry.admin.endpoint='])).code, 64);
});

// ---- tap

test('tap shows decisions with their reasons, and obeys each filter', async (t) => {
  const { sidecar } = await pair(t, { set: DROPPING });
  const requests = [
    request(20, { service: 'checkout', body: (i) => `user ${i} logged in` }),
    request(5, { service: 'billing', body: (i) => `payment ${i} failed`, base: { severityNumber: 17, severityText: 'ERROR' } }),
    request(3, { service: 'billing', body: (i) => `slow answer ${i}`, base: { severityNumber: 13, severityText: 'WARN' } }),
  ];
  const filters = [
    { args: [], want: 28 },
    { args: ['--dropped'], all: (l) => l.verdict === 'sampled_out', least: 20 },
    { args: ['--kept', '--severity', 'error'], all: (l) => l.reason === 'floor' && l.verdict === 'kept' && l.rate === 1, want: 5 },
    { args: ['--severity', 'warn+'], all: (l) => ['WARN', 'ERROR'].includes(l.severity), want: 8 },
    { args: ['--service', 'check*'], all: (l) => l.service === 'checkout' && l.reason === 'severity_rate' && l.rate === 0, want: 20 },
    { args: ['--pattern', 'lps1:367817fea19ab08d'], all: (l) => l.pattern === 'lps1:367817fea19ab08d', want: 20 },
    { args: ['--grep', 'user 7 log'], all: (l) => l.body === 'user 7 logged in', want: 1 },
  ];
  for (let i = 0; i < filters.length; i += 3) { // four taps at once are the most
    const open = await Promise.all(filters.slice(i, i + 3).map(async (f) => ({ ...f, verb: await tap(t, sidecar, ...f.args) })));
    await post(sidecar, ...requests);
    for (const f of open) {
      const enough = f.want ?? f.least;
      await until(`lines of ${f.args}`, () => f.verb.decisions.length >= enough);
      await until(`sums of ${f.args}`, () => f.verb.sums.matched >= enough);
      if (f.want) assert.equal(f.verb.sums.matched, f.want, f.args.join(' '));
      assert.equal(f.verb.sums.shown, f.verb.decisions.length);
      for (const line of f.verb.decisions) assert.ok(f.all?.(line) ?? true, JSON.stringify(line));
      assert.equal(await f.verb.interrupt(), 0);
      assert.match(f.verb.stderr, new RegExp(`^${f.verb.decisions.length} shown of ${f.verb.sums.matched} that matched`));
    }
    await until('no tap', async () => (await sidecar.metrics()).lipservice_taps === 0);
  }
  assert.match((await run(['tap', ...admin(sidecar), '--json', '--severity', 'loud'])).stderr, /^lipservice: \S+ answers 400: [^{}]*severity[^{}]*\n$/);
  for (const bad of [['--pattern', 'x'], ['--rate', '0'], ['--rate', 'x'], ['--limit', '0']]) assert.equal((await run(['tap', ...admin(sidecar), ...bad])).code, 64, bad.join(' '));
  await closeLedger(sidecar, { received: 28 * 3 });
});

test('tap is bounded, tells what it left out, and writes lines for people', async (t) => {
  const { sidecar } = await pair(t, { set: DROPPING });
  const [few, words, limited] = [await tap(t, sidecar, '--rate', '10'), new Verb(t, ['tap', ...admin(sidecar), '--rate', '10']), await tap(t, sidecar, '--limit', '3')];
  await until('three taps', async () => (await sidecar.metrics()).lipservice_taps === 3);
  await post(sidecar, request(2000, { service: 'checkout', body: (i) => `user ${i} \u001b[31m logged in` }));
  await until('the sums', () => few.sums.matched === 2000);
  assert.ok(few.decisions.length >= 10 && few.decisions.length < 60, `${few.decisions.length}`);
  assert.deepEqual([few.sums.shown, few.sums.over_rate, few.sums.slow], [few.decisions.length, 2000 - few.decisions.length, 0]);
  assert.equal(await limited.ended, 0);
  assert.equal(limited.decisions.length, 3);
  await until('what was left out', () => /\.\.\. \d+ more matched and were not shown/.test(words.stdout));
  assert.match(words.stdout, /^\d\d:\d\d:\d\d\.\d{3} checkout {5}INFO {2}sampled_out {5}severity_rate 0 {8}lps1:[0-9a-f]{16} user 0 \?\[31m logged in\n/);
  assert.equal(words.stdout.includes('\u001b'), false, 'no colours where there is no terminal, and none of the line');
  await words.interrupt();
  await few.interrupt();
  await until('no tap', async () => (await sidecar.metrics()).lipservice_taps === 0);
  await closeLedger(sidecar, { received: 2000, kept: 0 });
});

test('tap colours its lines on a terminal, unless NO_COLOR is set', async (t) => {
  const { sidecar } = await pair(t, { set: DROPPING });
  const command = `${BINARY} tap ${admin(sidecar).join(' ')} --limit 1`;
  const open = (env) => new Verb(t, ['-qfec', command, '/dev/null'], { command: 'script', env: { TERM: 'xterm', SHELL: '/bin/sh', ...env } });
  const verbs = [open({}), open({ NO_COLOR: '1' }), open({ TERM: 'dumb' })];
  await until('three taps', async () => (await sidecar.metrics()).lipservice_taps === 3);
  await post(sidecar, request(1, { service: 'checkout' }));
  for (const verb of verbs) assert.equal(await verb.ended, 0);
  const [coloured, ...plain] = verbs.map((verb) => verb.stdout);
  assert.match(coloured, /\u001b\[33m\d\d:.*checkout.*sampled_out.*\u001b\[0m record 0/);
  for (const text of plain) {
    assert.match(text, /checkout.* record 0/);
    assert.equal(text.includes('\u001b'), false);
  }
  await closeLedger(sidecar, { received: 1 });
});

test('there are four taps at most, and the end of the sidecar ends them', async (t) => {
  const { sidecar } = await pair(t, { set: DROPPING });
  const taps = await Promise.all([1, 2, 3, 4].map(() => tap(t, sidecar)));
  const fifth = await run(['tap', ...admin(sidecar)]);
  assert.equal(fifth.code, 69);
  assert.match(fifth.stderr, /as many taps/);
  const session = http2.connect(`http://${sidecar.addresses.admin}`);
  const [head] = await once(session.request({ ':path': '/api/tap?severity=loud' }).resume(), 'response');
  assert.equal(head[':status'], 400);
  taps.pop().interrupt(); // its place is for one by HTTP/2
  await until('a place', async () => (await sidecar.metrics()).lipservice_taps === 3);
  const fourth = session.request({ ':path': '/api/tap' });
  const [answer] = await once(fourth, 'response');
  assert.equal(answer[':status'], 200);
  let text = '';
  fourth.setEncoding('utf8').on('data', (part) => (text += part));
  assert.equal((await sidecar.metrics()).lipservice_taps, 4);
  await post(sidecar, request(5));
  await until('the lines', () => taps.every((verb) => verb.decisions.length === 5) && text.match(/"verdict"/g)?.length === 5);
  session.destroy();
  await until('it is left', async () => (await sidecar.metrics()).lipservice_taps === 3);
  await closeLedger(sidecar, { received: 5 });
  for (const verb of taps) {
    assert.equal(await verb.ended, 0);
    assert.match(verb.stderr, /the sidecar has ended it\n5 shown of 5/);
  }
});

const residentKiB = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);

test('a tap that nobody reads costs a bound, loses lines and holds up nothing', async (t) => {
  const { sidecar } = await pair(t, { set: { ...DROPPING, 'shutdown.timeout': '20s' } });
  const socket = net.connect(sidecar.adminPort, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.on('error', () => {});
  socket.pause();
  socket.write('GET /api/tap?rate=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await until('the tap is open', async () => (await sidecar.metrics()).lipservice_taps === 1);
  const body = 'x'.repeat(1000);
  const flood = () => post(sidecar, request(2000, { body: (i) => `${body} ${i}` }));
  for (let i = 0; i < 4; i++) await flood(); // the kernel's buffers and ours are full
  const before = (await sidecar.metrics()).lipservice_memory_used_bytes;
  const resident = residentKiB(sidecar.pid);
  let sent = 4;
  await until('lines are lost', async () => {
    await flood();
    sent++;
    return (await sidecar.metrics())['lipservice_tap_lines_total{outcome="slow"}'] > 2000;
  });
  for (let i = 0; i < 10; i++, sent++) await flood();
  const metrics = await sidecar.metrics();
  // But for the heads of the connections that are open, and what waits for the one that does not read.
  assert.ok(Math.abs(metrics.lipservice_memory_used_bytes - before) < 256 * 1024, `${metrics.lipservice_memory_used_bytes} after ${before}`);
  assert.ok(residentKiB(sidecar.pid) - resident < 16384, `${residentKiB(sidecar.pid)} after ${resident}`);
  const began = Date.now();
  await closeLedger(sidecar, { received: 2000 * sent, kept: 0 });
  assert.ok(Date.now() - began < 15000, 'the drain did not wait for it');
});

// ---- top

const TRAFFIC = [
  request(50, { service: 'checkout', body: (i) => `user ${i} logged in` }),
  request(20, { service: 'billing', body: (i) => `payment ${i} failed`, base: { severityNumber: 17, severityText: 'ERROR' } }),
  request(30, { service: 'billing', body: (i) => `a much longer and quite useless line number ${i} of no interest to anybody whatsoever` }),
];

test('top --once shows the patterns in the order wanted, as plain text', async (t) => {
  const { sidecar } = await pair(t, { set: DROPPING });
  await post(sidecar, ...TRAFFIC);
  const frame = async (...args) => {
    const out = await run(['top', ...admin(sidecar), '--once', '--interval', '100ms', ...args]);
    assert.equal(out.code, 0, out.stderr);
    assert.equal(out.stdout.includes('\u001b'), false);
    const rows = out.stdout.split('\n').slice(5, -1);
    return { text: out.stdout, order: rows.map((row) => (row.includes('logged') ? 'user' : row.includes('failed') ? 'payment' : 'long')).join(' ') };
  };
  const { text, order } = await frame();
  assert.equal(order, 'user long payment');
  assert.match(text, /^lipservice [\d.]+ {2}up 0:00:\d\d {2}policy config {2}services 2 {2}patterns 3\n/);
  assert.match(text, /\nrecords 100 \(0\/s\) {2}kept 20\.0% {2}lost 0 {2}rejected 0 {2}delivered \d+ {2}queued \d+\n/);
  assert.match(text, /\nlps1:[0-9a-f]{16} .* checkout +user <\*> logged in\n/);
  assert.match(text, / +50 +50\.0% +0\.0% .*INFO +checkout +user <\*> logged in\n/);
  assert.equal((await frame('--sort', 'saved')).order, 'long user payment');
  assert.equal((await frame('--sort', 'kept')).order, 'payment user long');
  assert.equal((await frame('--sort', 'severity')).order, 'payment user long');
  assert.equal((await frame('--reverse')).order, 'payment long user');
  assert.equal((await run(['top', ...admin(sidecar), '--sort', 'colour'])).code, 64);
  assert.equal((await run(['top', ...admin(sidecar), '--interval', '1ms'])).code, 64);
  await closeLedger(sidecar, { received: 100, kept: 20 });
});

test('top draws on a terminal, takes keys and gives the screen back', async (t) => {
  const { sidecar } = await pair(t, { set: DROPPING });
  await post(sidecar, ...TRAFFIC);
  const command = `stty rows 24 cols 80; ${BINARY} top ${admin(sidecar).join(' ')} --interval 100ms; code=$?; stty -a | grep -o -- "-\\?\\bicanon"; echo "code $code"`;
  const verb = new Verb(t, ['-qfec', command, '/dev/null'], { command: 'script', env: { TERM: 'xterm', SHELL: '/bin/sh' } });
  const frames = () => verb.stdout.split('\u001b[H');
  const shows = (what, pattern) => until(what, () => pattern.test(frames().at(-1)) || pattern.test(frames().at(-2) ?? ''));
  await shows('a frame', /by volume.*SERVICE.*user <\*> logged.*a much.*payment/s);
  assert.ok(verb.stdout.includes('\u001b[?1049h\u001b[?25l'));
  const widest = Math.max(...frames().at(-2).replace(/\u001b\[[0-9;?]*[a-zA-Z]/g, '').split('\r\n').map((line) => [...line].length));
  assert.ok(widest <= 80, `${widest}`);
  verb.child.stdin.write('s');
  await shows('by saved', /by saved[^,].*a much.*user/s);
  verb.child.stdin.write('r');
  await shows('reversed', /by saved, reversed.*payment.*user.*a much/s);
  verb.child.stdin.write('\u001b[B');
  await shows('the arrow changes nothing where all is shown', /by saved, reversed.*payment/s);
  await shows('the keys', /\/ filter {2}Enter detail {2}p pause {2}\? help {2}q end/);
  verb.child.stdin.write('?');
  await shows('help', /any key: back/);
  verb.child.stdin.write('?');
  await shows('the rows again', /by saved, reversed.*payment/s);
  verb.child.stdin.write('/LOGGED');
  await until('filtered rows', () => /user <\*> logged/.test(frames().at(-1)) && !/payment/.test(frames().at(-1)) && /\/LOGGED_/.test(frames().at(-1)));
  verb.child.stdin.write('\r');
  await shows('the filter stays', /\/LOGGED {2}/);
  verb.child.stdin.write('\r');
  await shows('all of the row', /pattern +lps1:[0-9a-f]{16}.*service +checkout.*received +50\b.*tap --pattern lps1:/s);
  verb.child.stdin.write('q');
  await shows('the rows again', /SERVICE.*\/LOGGED {2}/s);
  verb.child.stdin.write('p');
  await shows('paused', /PAUSED/);
  verb.child.stdin.write('q');
  await until('the end', () => /code \d/.test(verb.stdout));
  assert.match(verb.stdout, /\u001b\[\?25h\u001b\[\?1049l(?!.*\u001b\[H)/s, 'the screen is given back, and left alone');
  assert.match(verb.stdout, /1049licanon\r\ncode 0/, 'and the terminal reads lines again');
  await verb.ended;
  await closeLedger(sidecar, { received: 100 });
});

test('top gives the screen back on a signal', async (t) => {
  const { sidecar } = await pair(t, { set: DROPPING });
  const command = `${BINARY} top ${admin(sidecar).join(' ')} --interval 100ms & pid=$!; read line; kill -TERM $pid; wait $pid; echo "code $?"`;
  const verb = new Verb(t, ['-qfec', command, '/dev/null'], { command: 'script', env: { TERM: 'xterm', SHELL: '/bin/sh' } });
  await until('a frame', () => verb.stdout.includes('\u001b[H'));
  verb.child.stdin.write('\n');
  await until('the end', () => /\u001b\[\?1049l[^]*code 0/.test(verb.stdout));
  await verb.ended;
  await closeLedger(sidecar, { received: 0 });
});

test('a tap whose peer has said more than it should is gone with it', async (t) => {
  const { sidecar } = await pair(t, { set: DROPPING });
  const [host, port] = sidecar.addresses.admin.split(':');
  const peers = [1, 2, 3, 4].map(() => net.connect(port, host, function () {
    this.write('GET /api/tap?grep=nothing HTTP/1.1\r\nHost: localhost\r\n\r\n\r\nGET / HTTP/1.1\r\n');
  }).resume());
  await until('four taps', async () => (await sidecar.metrics()).lipservice_taps === 4);
  for (const peer of peers) peer.end();
  await until('no tap', async () => (await sidecar.metrics()).lipservice_taps === 0);
});
