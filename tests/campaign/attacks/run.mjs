// Each attack of attacks.mjs, and ten times of what the upstream takes, against the shipped program with
// 64 MiB, beside good clients:
//
//     LIPSERVICE_BIN=build-release/lipservice node tests/campaign/attacks/run.mjs [NAME...]
//
// Prints a table, and exits with 1 where a bar is missed: resident memory at most 80 MiB, 99 of 100 good
// requests answered by 200, their p99 at most twice the quiet one and 20 ms, and delivered under overload at
// least nine tenths of the most. LIPSERVICE_SECONDS: of an attack (10); of the overload six times that.
// A build without sanitizers. Attackers run at a lower priority: elsewhere they would have a core of their own.
import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { closeLedger, KEEP_ALL, Sidecar } from '../../e2e/lib/sidecar.mjs';
import { pause, until } from '../../e2e/lib/wait.mjs';
import { ATTACKS } from './attacks.mjs';
import { slowUpstream } from './overload.mjs';

const SECONDS = Number(process.env.LIPSERVICE_SECONDS ?? 10);
const QUIET_MS = 3000;
const EVERY_MS = 20;
const MOST_MIB = 80, LEAST_GOOD = 0.99, LEAST_DELIVERED = 0.9;
const ALLOWED_MS = (quiet) => 2 * quiet + 20;
const SET = { ...KEEP_ALL, 'memory.limit': '64MiB' };
const OVERLOAD = 'overload';
const UPSTREAM_MS = 1000;
const STEPS_PER_S = [5000, 10000, 20000]; // of which one is about what this upstream takes

const file = (name) => fileURLToPath(new URL(name, import.meta.url));
const resident = (sidecar, field) => Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${sidecar.pid}/status`, 'utf8'))[1]) / 1024;
const cpu = (sidecar) => readFileSync(`/proc/${sidecar.pid}/stat`, 'utf8').split(') ')[1].split(' ').slice(11, 13).reduce((sum, n) => sum + Number(n), 0) / 100;

const children = new Set();
function begin(name, args, priority = 0) {
  const child = fork(file(name), args.map(String), { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  children.add(child);
  child.once('exit', () => children.delete(child));
  os.setPriority(child.pid, Math.min(19, os.getPriority() + priority));
  return child;
}
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));

const answer = (child, is = () => true) => new Promise((resolve, reject) => {
  const onMessage = (message) => {
    if (!is(message)) return;
    child.off('message', onMessage);
    resolve(message);
  };
  child.on('message', onMessage).once('exit', (code) => reject(new Error(`a client ended with ${code}`)));
});
const end = (child) => new Promise((resolve) => {
  if (child.exitCode !== null || child.signalCode !== null) return resolve();
  child.once('exit', resolve).kill('SIGKILL');
});

const rows = [];
function row({ name, quiet, loud, most, note, delivered }) {
  const share = loud.ok / loud.sent;
  const missed = [];
  if (most > MOST_MIB) missed.push('memory');
  if (share < LEAST_GOOD) missed.push('answers');
  if (loud.p99_ms > ALLOWED_MS(quiet.p99_ms)) missed.push('p99');
  if (delivered !== undefined && delivered < LEAST_DELIVERED) missed.push('delivered');
  rows.push({ name, missed });
  const cells = [name, most.toFixed(1), `${(100 * share).toFixed(2)} % of ${loud.sent}`, `${quiet.p99_ms.toFixed(1)}, ${loud.p99_ms.toFixed(1)}`, note, missed.length > 0 ? `**${missed.join(', ')}**` : 'held'];
  console.log(`| ${cells.join(' | ')} |`);
  if (share < 1) console.error(`${name}: answers ${JSON.stringify(loud.statuses)}`);
}

// What becomes of the good clients while `during` goes on.
async function beside(sidecar, during, ms) {
  const good = begin('good.mjs', [sidecar.httpPort, EVERY_MS]);
  good.send({ quiet_ms: QUIET_MS });
  const quiet = await answer(good, (m) => m.phase === 'quiet');
  const over = await during();
  const spent = cpu(sidecar), began = performance.now();
  good.send({ loud_ms: ms });
  const loud = await answer(good, (m) => m.phase === 'loud');
  const cores = (cpu(sidecar) - spent) / ((performance.now() - began) / 1000);
  await over();
  await end(good);
  return { quiet, loud, cores, most: resident(sidecar, 'VmHWM') };
}

async function attack(name, { run, what, settings = {} }) {
  const undo = [];
  const upstream = await slowUpstream(0);
  try {
    const sidecar = await Sidecar.start({ after: (fn) => undo.push(fn) }, { set: { ...SET, ...settings, 'exporters.otlphttp.endpoint': upstream.url } });
    const ports = Object.fromEntries(['http', 'grpc', 'health', 'admin', 'metrics'].map((p) => [p, sidecar[`${p}Port`]]));
    const seen = await beside(sidecar, async () => {
      const crowd = begin('crowd.mjs', [name, JSON.stringify(ports)], 10);
      await answer(crowd);
      return () => end(crowd);
    }, SECONDS * 1000);
    row({ name, ...seen, note: `${what}; ${seen.cores.toFixed(2)} cores` });
    for (let received = -1; ;) { // what was being decoded goes on
      const now = await until('an empty queue', async () => ((l) => l.queued === 0 && l)(await sidecar.ledger()), { timeout: 120_000 });
      if (now.received === received) break;
      received = now.received;
      await pause(1000);
    }
    await closeLedger(sidecar, {});
  } finally {
    undo.forEach((fn) => fn());
    upstream.close();
  }
}

// Records a second that arrive in `ms`.
async function rate(sidecar, ms) {
  const before = (await sidecar.ledger()).delivered, began = performance.now();
  await pause(ms);
  return (await sidecar.ledger()).delivered - before > 0 ? ((await sidecar.ledger()).delivered - before) / ((performance.now() - began) / 1000) : 0;
}

async function overload() {
  const undo = [];
  const upstream = await slowUpstream(UPSTREAM_MS);
  try {
    const { 'batch.max_age': _, ...rest } = SET; // full batches, or what arrives would grow with what is offered
    const set = { ...rest, 'exporters.otlphttp.endpoint': upstream.url };
    const sidecar = await Sidecar.start({ after: (fn) => undo.push(fn) }, { set });
    let most = 0, delivered = 0;
    const seen = await beside(sidecar, async () => {
      for (const per_s of STEPS_PER_S) {
        const load = begin('overload.mjs', [sidecar.httpPort, per_s], 5);
        await pause(2000);
        most = Math.max(most, await rate(sidecar, 6000));
        await end(load);
        await until('an empty queue', async () => (await sidecar.ledger()).queued === 0, { timeout: 120_000 });
      }
      const tenfold = begin('overload.mjs', [sidecar.httpPort, Math.round(10 * most)], 5);
      const received = (await sidecar.ledger()).received, rejected = (await sidecar.ledger()).rejected;
      const measured = rate(sidecar, SECONDS * 6000);
      return async () => {
        delivered = await measured;
        await end(tenfold);
        const ledger = await sidecar.ledger();
        seen_offered = (ledger.received - received) / (SECONDS * 6);
        seen_refused = (ledger.rejected - rejected) / (ledger.received - received);
      };
    }, SECONDS * 6000);
    row({ name: OVERLOAD, ...seen, delivered: delivered / most, note: `${(seen_offered / 1000).toFixed(0)} k records/s offered, ${(most / 1000).toFixed(1)} k/s is the most that arrives, ${(delivered / 1000).toFixed(1)} k/s arrive; ${(100 * seen_refused).toFixed(1)} % refused; ${seen.cores.toFixed(2)} cores` });
    sidecar.signal('SIGTERM');
    const { code } = await sidecar.end();
    if (code !== 0) throw new Error(`the program ended with ${code}`);
  } finally {
    undo.forEach((fn) => fn());
    upstream.close();
  }
}
let seen_offered = 0, seen_refused = 0;

const chosen = process.argv.slice(2);
const names = [...Object.keys(ATTACKS), OVERLOAD];
for (const name of chosen) if (!names.includes(name)) throw new Error(`no such attack: ${name}; there are: ${names.join(', ')}`);
console.log(`${os.cpus()[0].model}, ${os.cpus().length} cores, Linux ${os.release()}, ${SECONDS} s each\n`);
console.log('| attack | most resident, MiB | good requests answered by 200 | their p99, quiet and beside it, ms | what it is | bars |\n|---|--:|--:|--:|---|---|');
for (const name of chosen.length > 0 ? chosen : names) await (name === OVERLOAD ? overload() : attack(name, ATTACKS[name]));
const missed = rows.filter((r) => r.missed.length > 0);
console.log(`\n${rows.length - missed.length} of ${rows.length} hold`);
process.exit(missed.length > 0 ? 1 : 0);
