// Kill -9 at random under load, restart, again; the upstream is down half of the time.
import assert from 'node:assert/strict';
import { Load, compare } from './load.mjs';
import { Sidecar, KEEP_ALL, audit } from './sidecar.mjs';
import { pause, until } from './wait.mjs';

const DUPLICATES_PER_KILL = 4 * 2000; // concurrency times batch.max_records

export async function kills(t, stub, dir, { count, set = {}, log = () => {} }) {
  const settings = { ...KEEP_ALL, durability: 'disk', 'spool.directory': dir, 'batch.max_records': 2000, ...set };
  let sidecar = await Sidecar.start(t, { set: settings, stub });
  const load = new Load({ port: () => sidecar.httpPort, connections: 4, records: 20 });
  let isUp = true;
  let slowestStart = 0;
  for (let i = 0; i < count; i++) {
    await pause(20 + Math.random() * 300);
    if (i % 2 === 1) {
      if (isUp) await stub.down();
      else await stub.up();
      isUp = !isUp;
      await pause(Math.random() * 100);
    }
    sidecar.signal('SIGKILL');
    await sidecar.end();
    const began = performance.now();
    sidecar = await Sidecar.start(t, { set: settings, stub });
    slowestStart = Math.max(slowestStart, performance.now() - began);
    log(`kill ${i + 1}: ${load.acknowledged.size} acknowledged, ${stub.rows.length} arrived, upstream ${isUp ? 'up' : 'down'}`);
  }
  await load.stop();
  if (!isUp) await stub.up();
  await until('everything delivered', async () => (await sidecar.metrics()).lipservice_spool_records === 0, { timeout: 60000 });
  await audit(sidecar);
  const found = compare(stub.rows, load.acknowledged);
  const result = { kills: count, acknowledged: load.acknowledged.size, arrived: stub.rows.length, ...found, slowestStart: Math.round(slowestStart) };
  assert.equal(found.lost, 0, JSON.stringify(result));
  assert.ok(found.duplicates <= count * DUPLICATES_PER_KILL, JSON.stringify(result));
  assert.ok(load.acknowledged.size > count * 20, JSON.stringify(result));
  return { result, sidecar };
}
