// A policy server that is killed at random times, again and again, under reports: each sender
// repeats a report until it is answered, and at the end every record is counted once.
import assert from 'node:assert/strict';
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { counted, report, Server } from './server.mjs';
import { until } from './wait.mjs';

const SENDERS = 4;

async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

// One report until it is answered: {sent, repeated}.
async function deliver(url, key, body, isOver) {
  for (let tries = 1; !isOver(); tries++) {
    try {
      const answer = await fetch(`${url}/api/v1/patterns/stats`, {
        method: 'POST', body: JSON.stringify(body), signal: AbortSignal.timeout(3000), headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      });
      await answer.arrayBuffer();
      if (answer.status === 202) return tries;
      assert.equal(answer.status, 503, 'nothing else is answered');
    } catch (error) {
      if (error.code === 'ERR_ASSERTION') throw error;
    }
    await pause(10);
  }
  return 0;
}

async function sender(number, { url, key, isOver, sums }) {
  for (let sequence = 1; !isOver(); sequence++) {
    const count = 1 + Math.floor(Math.random() * 1000);
    const body = report('fleet', count, { instance: `host-${number}`, boot: 'one', sequence });
    const tries = await deliver(url, key, body, () => false); // also the last one is repeated until it is answered
    sums.records += count;
    sums.reports++;
    sums.repeated += tries - 1;
    if (sequence % 7 === 0) await deliver(url, key, body, () => false); // once too often
  }
}

export async function killServer(t, kills) {
  const set = { 'server.endpoint': `127.0.0.1:${await freePort()}`, 'server.flush_interval': '100ms', 'server.requests_per_second': 100000 };
  let server = await Server.start(t, { set });
  const { key, directory, url } = server;
  let over = false;
  const sums = { records: 0, reports: 0, repeated: 0 };
  const senders = Array.from({ length: SENDERS }, (_, i) => sender(i, { url, key, isOver: () => over, sums }));
  for (let i = 0; i < kills; i++) {
    await pause(Math.random() * 400);
    await server.kill();
    server = await Server.start(t, { set, directory, key });
  }
  over = true;
  await Promise.all(senders);
  await until('all are in the database', async () => (await counted(server, 'fleet')) >= sums.records);
  assert.equal(await counted(server, 'fleet'), sums.records);
  assert.equal((await server.metrics()).lipservice_server_report_gaps_total, 0);
  await server.stop();
  const last = await Server.start(t, { set, directory, key });
  assert.equal(await counted(last, 'fleet'), sums.records);
  await last.stop();
  return sums;
}
