// An outage of the upstream, then its return: nothing is lost, memory stays, and the backlog
// goes faster than it came.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Load, compare } from './load.mjs';
import { Sidecar, KEEP_ALL, audit } from './sidecar.mjs';
import { pause, until } from './wait.mjs';

const MiB = 1 << 20;

const resident = (sidecar) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${sidecar.pid}/status`, 'utf8'))[1]) * 1024;

// `seconds` of `rate` records a second, as fast as they go where rate is 0 until `records` are there.
export async function outage(t, stub, dir, { records, rate = 0, set = {}, growth = 5 * MiB, drain = 2 * rate, log = () => {} }) {
  const settings = { ...KEEP_ALL, durability: 'disk', 'spool.directory': dir, 'exporters.posthog.concurrency': 1, ...set };
  const sidecar = await Sidecar.start(t, { set: settings, stub });
  const load = new Load({ port: () => sidecar.httpPort, connections: 4, records: 100, rate });
  await until('the first records', () => stub.rows.length > 0);
  await stub.down();
  const began = performance.now();
  const memory = [];
  await until('a tenth of the records', () => load.acknowledged.size > records / 10, { timeout: 3600_000 });
  while (load.acknowledged.size < records) {
    memory.push(resident(sidecar));
    await pause(Math.min(1000, 50 + memory.length));
    if (memory.length % 60 === 0) log(`${load.acknowledged.size} acknowledged, ${Math.round(memory.at(-1) / MiB)} MiB resident`);
  }
  await load.stop();
  const inRate = load.acknowledged.size / ((performance.now() - began) / 1000);
  memory.push(resident(sidecar));
  await audit(sidecar);
  const waiting = (await sidecar.metrics()).lipservice_spool_records;
  await stub.up();
  await until('the first of the backlog', () => stub.rows.length > load.acknowledged.size - waiting, { timeout: 60_000 }); // a retry waits up to 30 s
  const back = performance.now();
  await until('an empty spool', async () => (await sidecar.metrics()).lipservice_spool_records === 0, { timeout: 600_000 });
  const outRate = waiting / ((performance.now() - back) / 1000);
  const after = resident(sidecar);
  await audit(sidecar);
  const found = compare(stub.rows, load.acknowledged);
  const result = {
    acknowledged: load.acknowledged.size, waiting, ...found, refused: load.refused,
    in_per_s: Math.round(inRate), out_per_s: Math.round(outRate),
    resident_MiB: [memory[0], Math.max(...memory), after].map((b) => Math.round(b / MiB * 10) / 10),
  };
  assert.equal(found.lost, 0, JSON.stringify(result));
  assert.equal(found.disorder, 0, JSON.stringify(result));
  assert.ok(outRate >= drain, JSON.stringify(result));
  assert.ok(Math.max(...memory) - memory[0] < growth, JSON.stringify(result));
  return { result, sidecar };
}
