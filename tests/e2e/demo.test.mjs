// The demo: traffic against a sidecar of its own or a running one, what it says, how it ends.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { BINARY, chooseAddresses, closeLedger, pair, run } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

const SERVICES = ['gateway', 'checkout', 'auth', 'payments', 'worker', ''];

class Demo {
  constructor(t, args) {
    this.stdout = this.stderr = '';
    this.child = spawn(BINARY, ['demo', '--config', '/dev/null', ...args], { env: { PATH: process.env.PATH }, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout.setEncoding('utf8').on('data', (text) => (this.stdout += text));
    this.child.stderr.setEncoding('utf8').on('data', (text) => (this.stderr += text));
    this.ended = new Promise((resolve) => this.child.once('close', (code, signal) => resolve({ code, signal })));
    t.after(() => this.child.kill('SIGKILL'));
  }

  async interrupt() {
    this.child.kill('SIGINT');
    const end = await this.ended;
    assert.doesNotMatch(this.stderr, /Sanitizer|runtime error/);
    return end;
  }
}

// The last lines as numbers; the sentence and the ledger say the same, and the ledger is closed.
function sums(stdout) {
  const numbers = (pattern) => {
    const found = pattern.exec(stdout);
    assert.ok(found, stdout);
    return found.slice(1).map(Number);
  };
  const [records, sentOn, bytes, allBytes] = numbers(/Of (\d+) records (\d+) were sent on \([\d.]+%\), and (\d+) of (\d+) metered bytes/);
  const [received, kept, sampledOut, byRule, rejected, joined] = numbers(/received (\d+) = kept (\d+) \+ sampled_out (\d+) \+ dropped_by_rule (\d+) \+ rejected (\d+) \+ joined (\d+)/);
  const [again, released, delivered, queued, lost] = numbers(/\n +kept (\d+) \+ released (\d+) = delivered (\d+) \+ queued (\d+) \+ lost (\d+)/);
  assert.equal(received, kept + sampledOut + byRule + rejected + joined);
  assert.equal(kept + released, delivered + queued + lost);
  assert.deepEqual([records, sentOn, again, queued, lost], [received, kept + released, kept, 0, 0]);
  assert.ok(bytes > 0 && bytes < allBytes);
  return { received, kept, sampled_out: sampledOut, dropped_by_rule: byRule, rejected, joined, released, delivered, bytes, allBytes };
}

const policies = () => readdirSync('/tmp').filter((name) => name.startsWith('lipservice-demo-'));

// A sidecar of its own, on ports that are free.
async function own(t, ...args) {
  const addresses = await chooseAddresses();
  const set = Object.entries(addresses).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const demo = new Demo(t, [...set, ...args]);
  demo.admin = `http://${addresses['telemetry.admin.endpoint']}`;
  demo.health = `http://${addresses['telemetry.health.endpoint']}`;
  demo.ask = (verb, ...more) => run([verb, '--config', '/dev/null', '--admin', demo.admin, ...more]);
  return demo;
}

test('a sidecar of its own: what it names shows something, and Ctrl-C ends both', async (t) => {
  const before = policies();
  const demo = await own(t, '--rate', '1000');
  await until('a line of progress with records', () => /records sent; received \d+, kept \d+/.test(demo.stdout));
  assert.match(demo.stdout, /lipservice top --admin[^]*lipservice tap --dropped[^]*lipservice shadow[^]*lipservice explain --live/);
  const top = (await demo.ask('top', '--once')).stdout;
  for (const name of SERVICES.filter(Boolean)) assert.match(top, new RegExp(` ${name} `), name);
  const tap = await demo.ask('tap', '--dropped', '--limit', '3');
  assert.equal(tap.stdout.match(/ sampled_out /g)?.length, 3, tap.stdout);
  assert.match((await demo.ask('shadow')).stdout, /\nshadow +\d+ /);
  assert.match((await demo.ask('explain', '--live', '--service', 'auth', '--severity', 'info', 'user 7 logged in from 203.0.113.9')).stdout, /counts +\d+ received/);
  await until('the context of an error', async () => (await (await fetch(`${demo.admin}/api/ledger`)).json()).released > 0);
  const services = Object.keys((await (await fetch(`${demo.admin}/api/ledger`)).json()).services);
  assert.deepEqual(services.filter((name) => name !== '(other)').sort(), [...SERVICES].sort());
  assert.deepEqual(await demo.interrupt(), { code: 0, signal: null }, demo.stderr);
  const end = sums(demo.stdout);
  assert.ok(end.received > 0 && end.sampled_out > 0 && end.released > 0);
  assert.match(demo.stdout, /(saves [\d.]+ of [\d.]+ USD a month|saves no money).*assumed/);
  await assert.rejects(fetch(`${demo.health}/livez`), 'its sidecar has ended');
  assert.deepEqual(policies(), before);
});

test('mode: observe: everything is sent on, and what enforcing would save is said', async (t) => {
  const demo = await own(t, '--set', 'mode=observe', '--seconds', '3');
  assert.deepEqual(await demo.ended, { code: 0, signal: null }, demo.stderr);
  const [, received, sentOn] = /Of (\d+) records (\d+) were sent on/.exec(demo.stdout);
  const [, would, money] = /Enforcing would keep (\d+) records and send \d+ bytes: it (.*)\./.exec(demo.stdout);
  assert.equal(received, sentOn);
  assert.ok(Number(would) > 0 && Number(would) < Number(received) / 2, `${would} of ${received}`);
  assert.match(money, /^saves [\d.]+ of [\d.]+ USD a month, assumed$/);
});

test('a sidecar of its own ends with the demo, even when that is killed', async (t) => {
  const demo = await own(t);
  await until('it runs', async () => (await fetch(`${demo.health}/readyz`)).ok);
  demo.child.kill('SIGKILL');
  await until('the sidecar has ended', () => fetch(`${demo.health}/livez`).then(() => false, () => true));
});

test('--endpoint: a running sidecar gets the records; the sentence is that of its ledger', async (t) => {
  const { stub, sidecar } = await pair(t, { set: { 'batch.max_age': '50ms' } });
  const demo = new Demo(t, ['--endpoint', sidecar.http, '--admin', `http://${sidecar.addresses.admin}`, '--seconds', '3', '--seed', '7']);
  assert.deepEqual(await demo.ended, { code: 0, signal: null }, demo.stderr);
  const { bytes, allBytes, ...end } = sums(demo.stdout);
  await closeLedger(sidecar, end);
  assert.equal(end.delivered, stub.rows.length);
});

test('the same seed makes the same records', async (t) => {
  const bodies = async () => {
    const { stub, sidecar } = await pair(t, { set: { 'sampling.first.count': 1000000, 'batch.max_age': '50ms', 'exporters.posthog.concurrency': 1 } });
    const demo = new Demo(t, ['--endpoint', sidecar.http, '--admin', `http://${sidecar.addresses.admin}`, '--seconds', '2', '--seed', '7']);
    assert.equal((await demo.ended).code, 0, demo.stderr);
    await closeLedger(sidecar);
    return stub.rows.filter((row) => row.service_name === 'auth').map((row) => row.body);
  };
  const [a, b] = [await bodies(), await bodies()];
  const n = Math.min(a.length, b.length);
  assert.ok(n > 20);
  assert.deepEqual(a.slice(0, n), b.slice(0, n));
});

test('nothing listens, a port is taken, a number is none: an exit code and a reason', async (t) => {
  const gone = await run(['demo', '--config', '/dev/null', '--endpoint', 'http://127.0.0.1:9', '--admin', 'http://127.0.0.1:9']);
  assert.equal(gone.code, 69);
  assert.match(gone.stderr, /nothing takes records at http:\/\/127\.0\.0\.1:9\/v1\/logs/);
  const { sidecar } = await pair(t);
  const set = Object.entries({ 'receivers.otlp.protocols.http.endpoint': sidecar.addresses.http }).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const before = policies();
  const taken = await run(['demo', '--config', '/dev/null', ...set, '--seconds', '1']);
  assert.equal(taken.code, 69, taken.stderr);
  assert.deepEqual(policies(), before);
  for (const [flag, value] of [['--rate', '0'], ['--rate', '1e3'], ['--seconds', '-1'], ['--seed', 'x']]) {
    const wrong = await run(['demo', '--config', '/dev/null', flag, value]);
    assert.equal(wrong.code, 64);
    assert.match(wrong.stderr, new RegExp(`${flag}: .*not ${value}`));
  }
  await closeLedger(sidecar);
});
