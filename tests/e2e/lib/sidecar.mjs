// The program under test: started on ports of its own, watched, stopped, audited.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { PostHog } from './posthog.mjs';
import { until } from './wait.mjs';

const here = fileURLToPath(new URL('..', import.meta.url));
export const BINARY = path.resolve(here, process.env.LIPSERVICE_BIN ?? '../../build/lipservice');
export const KEY = 'phc_e2e';

const PORT_TRIES = 5; // localhost:0 takes one port on both loopbacks; another may hold one of them
const SANITIZER = /(AddressSanitizer|LeakSanitizer|runtime error:|UndefinedBehaviorSanitizer|Assertion .* failed)/;

// Nothing of the caller's environment that the program would read.
const environment = (extra = {}) => ({
  PATH: process.env.PATH,
  ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? 'detect_stack_use_after_return=1:quarantine_size_mb=8',
  UBSAN_OPTIONS: process.env.UBSAN_OPTIONS ?? 'print_stacktrace=1:halt_on_error=1',
  ...extra,
});

// Run to the end: {code, signal, stdout, stderr}.
export async function run(args, { env = {}, input, timeout = 20000 } = {}) {
  const child = spawn(BINARY, args, { env: environment(env), stdio: ['pipe', 'pipe', 'pipe'] });
  const out = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) child[name].setEncoding('utf8').on('data', (text) => (out[name] += text));
  child.stdin.on('error', () => {});
  child.stdin.end(input ?? '');
  const timer = setTimeout(() => child.kill('SIGKILL'), timeout);
  const [code, signal] = await new Promise((resolve) => child.once('close', (...ends) => resolve(ends)));
  clearTimeout(timer);
  assert.doesNotMatch(out.stderr, SANITIZER);
  return { code, signal, ...out };
}

const freePorts = [
  'receivers.otlp.protocols.grpc.endpoint',
  'receivers.otlp.protocols.http.endpoint',
  'telemetry.health.endpoint',
  'telemetry.metrics.endpoint',
  'telemetry.admin.endpoint',
];

const shortName = (key) => key.split('.').at(-2); // "grpc", "health"

// Ports that nobody has now.
export async function chooseAddresses() {
  const servers = await Promise.all(freePorts.map(() => new Promise((resolve, reject) => {
    const server = net.createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(server));
  })));
  const chosen = Object.fromEntries(freePorts.map((key, i) => [key, `127.0.0.1:${servers[i].address().port}`]));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return chosen;
}

// Everything is kept, and sent soon: for tests of something else than sampling.
export const KEEP_ALL = {
  'sampling.severity_rates.TRACE': 1,
  'sampling.severity_rates.DEBUG': 1,
  'sampling.severity_rates.INFO': 1,
  'sampling.severity_rates.WARN': 1,
  'batch.max_age': '50ms',
};

// One line of its log, in either format.
function parseLine(line) {
  if (line.startsWith('{')) return JSON.parse(line);
  if (!line.startsWith('time=')) return null;
  const fields = [...line.matchAll(/(\w+)=("(?:[^"\\]|\\.)*"|\S*)/g)];
  return Object.fromEntries(fields.map(([, key, value]) => [key, value.startsWith('"') ? JSON.parse(value) : value]));
}

export class Sidecar {
  // `set`: settings by key; `stub`: send to it; `wrap`: a command that becomes the program
  // (prlimit, sh -c 'exec "$@" <&-' sh); `blind`: its log cannot be read, so its ports are chosen
  // here; `uid`: of another user, and of his group; `ready`: false, it will not be ready so soon.
  // Killed at the end of test `t` if it still runs.
  static async start(t, { set = {}, stub, env, args = [], log = 'json', binary = BINARY, uid, ready = true, wrap = [], blind = false } = {}) {
    const settings = Object.fromEntries(freePorts.map((key) => [key, 'localhost:0']));
    settings['telemetry.log.format'] = log;
    if (stub) Object.assign(settings, { 'exporters.posthog.host': stub.url, 'exporters.posthog.api_key': KEY });
    Object.assign(settings, set);
    const argv = ['run', '--config', '/dev/null', ...args];
    for (const [key, value] of Object.entries(settings)) argv.push('--set', `${key}=${value}`);
    for (let i = 0; ; i++) {
      const chosen = blind ? await chooseAddresses() : {};
      const ports = Object.entries(chosen).flatMap(([key, address]) => ['--set', `${key}=${address}`]);
      const sidecar = new Sidecar([...argv, ...ports], env, stub, { binary, uid, wrap });
      if (blind) sidecar.addresses = Object.fromEntries(freePorts.map((key) => [shortName(key), chosen[key]]));
      t.after(() => sidecar.child.kill('SIGKILL'));
      try {
        await sidecar.#started();
        if (ready) await sidecar.#ready();
        return sidecar;
      } catch (error) {
        if (sidecar.child.exitCode !== 69 || i === PORT_TRIES) throw error;
      }
    }
  }

  constructor(argv, env, stub, { binary = BINARY, uid, wrap = [] } = {}) {
    this.stub = stub;
    this.stdout = '';
    this.stderr = '';
    const [command, ...rest] = [...wrap, binary, ...argv];
    const user = uid === undefined ? {} : { uid, gid: uid };
    this.child = spawn(command, rest, { env: environment(env), stdio: ['ignore', 'pipe', 'pipe'], ...user });
    this.child.stdout.setEncoding('utf8').on('data', (text) => (this.stdout += text));
    this.child.stderr.setEncoding('utf8').on('data', (text) => (this.stderr += text));
    this.ended = new Promise((resolve) => this.child.once('close', (code, signal) => resolve({ code, signal })));
  }

  get pid() {
    return this.child.pid;
  }

  // The lines of its log, parsed.
  get log() {
    return this.stderr.split('\n').slice(0, -1).map(parseLine).filter(Boolean);
  }

  async #started() {
    const line = await until('the start', async () => {
      if (this.child.exitCode !== null) return { ended: this.child.exitCode };
      if (this.addresses) return (await fetch(`http://${this.addresses.health}/readyz`, { signal: AbortSignal.timeout(2000) })).ok && this.addresses;
      return this.log.find((entry) => entry.event === 'started');
    });
    if (line.ended !== undefined) {
      await this.ended;
      throw new Error(`the program ended with ${line.ended}: ${this.stderr}`);
    }
    this.addresses = line;
    for (const name of ['grpc', 'http', 'health', 'metrics', 'admin'])
      if (line[name]) this[`${name}Port`] = Number(line[name].split(':').pop());
    this.http = `http://${line.http}`;
    this.grpc = `http://${line.grpc}`;
  }

  #ready() {
    return until('readiness', async () => (await this.readiness()).code === 200);
  }

  // /readyz: {code, status, …}.
  async readiness() {
    const answer = await fetch(`http://${this.addresses.health}/readyz`);
    return { code: answer.status, ...(await answer.json()) };
  }

  async page(server, route) {
    const answer = await fetch(`http://${this.addresses[server]}${route}`);
    assert.equal(answer.status, 200);
    return answer.text();
  }

  async ledger() {
    return JSON.parse(await this.page('admin', '/api/ledger'));
  }

  async patterns() {
    return JSON.parse(await this.page('admin', '/api/patterns?limit=1000')).patterns;
  }

  // metrics(): {'name{label="x"}': number}
  async metrics() {
    const text = await this.page('metrics', '/metrics');
    const samples = {};
    for (const line of text.split('\n')) {
      if (line === '' || line.startsWith('#')) continue;
      const at = line.lastIndexOf(' ');
      samples[line.slice(0, at)] = Number(line.slice(at + 1));
    }
    return samples;
  }

  async refused(reason) {
    return (await this.metrics())[`lipservice_receiver_refused_requests_total{reason="${reason}"}`];
  }

  async fault(reason) {
    return (await this.metrics())[`lipservice_http_faults_total{reason="${reason}"}`];
  }

  post(body, { path: route = '/v1/logs', type = 'application/x-protobuf', headers = {}, method = 'POST' } = {}) {
    return fetch(this.http + route, { method, body, headers: { 'content-type': type, ...headers } });
  }

  signal(name) {
    this.child.kill(name);
  }

  get hasEnded() {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  // until(), but an end of the program is reported at once, with its log.
  async until(what, condition, options) {
    const outcome = await until(what, async () => (this.hasEnded ? 'ended' : (await condition()) && 'holds'), options);
    if (outcome === 'holds') return;
    const { code, signal } = await this.ended;
    throw new Error(`${what}: the program ended with ${code ?? signal}: ${this.stderr.slice(-3000)}`);
  }

  // {code, signal} once it has ended by itself.
  async end({ timeout = 30000 } = {}) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`the program did not end within ${timeout} ms`)), timeout);
    });
    try {
      return await Promise.race([this.ended, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  // Ask to stop; the exit code must be 0 and no sanitizer may have spoken.
  async stop() {
    this.signal('SIGTERM');
    const end = await this.end();
    assert.doesNotMatch(this.stderr, SANITIZER);
    assert.deepEqual(end, { code: 0, signal: null }, this.stderr);
  }
}

const total = (object) => Object.values(object ?? {}).reduce((sum, n) => sum + n, 0);

function checkRow(row, where) {
  assert.equal(row.received, row.kept + row.sampled_out + row.dropped_by_rule + row.rejected + row.joined, `${where}: received`);
  assert.equal(row.kept + row.released, row.delivered + row.queued + total(row.lost), `${where}: kept`);
}

// One look at /api/ledger: whole in total and per service.
export function balance(ledger) {
  const { services, ...sums } = ledger;
  checkRow(sums, 'total');
  const added = { received: 0, kept: 0, released: 0, delivered: 0, queued: 0, lost: 0 };
  for (const [name, row] of Object.entries(services)) {
    checkRow(row, `service ${name}`);
    for (const key of ['received', 'kept', 'released', 'delivered', 'queued']) added[key] += row[key];
    added.lost += total(row.lost);
  }
  for (const key of ['received', 'kept', 'released', 'delivered', 'queued']) assert.equal(added[key], sums[key], `services: ${key}`);
  assert.equal(added.lost, total(sums.lost), 'services: lost');
}

// The books: in balance, and equal to what the page of metrics says. `want` names counts
// that must be exactly so ({received: 5, lost: {…}}).
export async function audit(sidecar, want = {}) {
  const ledger = await sidecar.ledger();
  const metrics = await sidecar.metrics();
  balance(ledger);
  const { services, ...sums } = ledger;
  assert.equal(metrics.lipservice_ledger_imbalance, 0);
  if (sums.queued === 0) {
    assert.equal(metrics.lipservice_receiver_accepted_log_records_total, sums.received - sums.rejected);
    assert.equal(metrics.lipservice_exporter_sent_log_records_total, sums.delivered);
    assert.equal(metrics.lipservice_records_queued, 0);
  }
  for (const [key, value] of Object.entries(want)) assert.deepEqual(sums[key], value, `ledger: ${key}`);
  return ledger;
}

// The counts of the last line of its log, in balance: {received, …, lost, lost_<reason>, left_on_disk}.
export function lastLine(sidecar) {
  const line = sidecar.log.findLast((entry) => entry.event === 'ledger');
  assert.ok(line, `no last line: ${sidecar.stderr}`);
  const last = Object.fromEntries(Object.entries(line).filter(([, value]) => /^\d+$/.test(value)).map(([key, value]) => [key, Number(value)]));
  assert.equal(last.received, last.kept + last.sampled_out + last.dropped_by_rule + last.rejected + last.joined, `last line: received: ${JSON.stringify(last)}`);
  const left = last.left_on_disk - (last.earlier_unread ?? 0); // what it has read itself, or stored
  assert.equal(last.kept + last.released, last.delivered + left + last.lost, `last line: kept: ${JSON.stringify(last)}`);
  const reasons = Object.entries(last).filter(([key]) => key.startsWith('lost_'));
  assert.equal(last.lost, reasons.reduce((sum, [, n]) => sum + n, 0), `last line: lost: ${JSON.stringify(last)}`);
  return last;
}

// How every test ends: wait until nothing is queued, audit, compare with what the
// stand-in stored (`stored`: when duplicates are expected, the number without them),
// then stop and find the same sums in the last line of the log (`told`: and so many events
// of its own that are told at the end).
export async function closeLedger(sidecar, want = {}, { stored, told = 0 } = {}) {
  await until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
  const ledger = await audit(sidecar, want);
  if (sidecar.stub) assert.equal(ledger.delivered, stored ?? sidecar.stub.rows.length, 'delivered and stored');
  await sidecar.stop();
  const last = sidecar.log.find((line) => line.event === 'ledger');
  if (last) {
    for (const key of ['received', 'kept', 'released', 'sampled_out', 'dropped_by_rule', 'rejected', 'joined', 'delivered'])
      assert.equal(Number(last[key]), ledger[key] + (['received', 'kept', 'delivered'].includes(key) ? told : 0), `last line: ${key}`);
    assert.equal(Number(last.lost), total(ledger.lost), 'last line: lost');
  }
  return ledger;
}

// A stand-in and a program that sends to it.
export async function pair(t, { set = KEEP_ALL, posthog = {}, ...rest } = {}) {
  const stub = await PostHog.start(posthog);
  t.after(() => stub.down());
  const sidecar = await Sidecar.start(t, { set, stub, ...rest });
  return { stub, sidecar };
}
