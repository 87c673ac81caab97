// A policy server that is killed at random times, again and again, under reports: each sender
// repeats a report until it is answered, and at the end every record is counted once. With several
// servers of one database each try goes to any of them.
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

const pick = (list) => list[Math.floor(Math.random() * list.length)];

// One report until it is answered: how often it was sent. Where there are several servers, of every
// fifth the answer is not waited for.
async function deliver(urls, key, body, isOver) {
  for (let tries = 1; !isOver(); tries++) {
    const patience = urls.length > 1 && Math.random() < 0.2 ? Math.random() * 10 : 3000;
    try {
      const answer = await fetch(`${pick(urls)}/api/v1/patterns/stats`, {
        method: 'POST', body: JSON.stringify(body), signal: AbortSignal.timeout(patience), headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
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

async function sender(number, { urls, key, isOver, sums }) {
  for (let sequence = 1; !isOver(); sequence++) {
    const count = 1 + Math.floor(Math.random() * 1000);
    const body = report('fleet', count, { instance: `host-${number}`, boot: 'one', sequence });
    const tries = await deliver(urls, key, body, () => false); // also the last one is repeated until it is answered
    sums.records += count;
    sums.reports++;
    sums.repeated += tries - 1;
    if (sequence % 7 === 0) await deliver(urls, key, body, () => false); // once too often, and elsewhere
  }
}

export async function killServer(t, kills, { servers = 1, database } = {}) {
  const set = [];
  for (let i = 0; i < servers; i++)
    set.push({ 'server.endpoint': `127.0.0.1:${await freePort()}`, 'server.flush_interval': '100ms', 'server.requests_per_second': 100000 });
  const all = [];
  for (let i = 0; i < servers; i++) all.push(await Server.start(t, { set: set[i], database, key: all[0]?.key }));
  const { key } = all[0];
  let over = false;
  const sums = { records: 0, reports: 0, repeated: 0, elsewhere: 0 };
  const senders = Array.from({ length: SENDERS }, (_, i) => sender(i, { urls: all.map((one) => one.url), key, isOver: () => over, sums }));
  for (let i = 0; i < kills; i++) {
    await pause(Math.random() * 400);
    const at = Math.floor(Math.random() * servers);
    sums.elsewhere += (await all[at].metrics()).lipservice_server_reports_counted_elsewhere_total;
    await all[at].kill();
    all[at] = await Server.start(t, { set: set[at], directory: all[at].directory, database, key });
  }
  over = true;
  await Promise.all(senders);
  for (const one of all) await until('all is in the database', async () => (await one.metrics()).lipservice_server_journal_bytes === 0);
  assert.equal(await counted(all[0], 'fleet'), sums.records);
  // A sender that goes on at another server leaves a gap at the first.
  if (servers === 1) assert.equal((await all[0].metrics()).lipservice_server_report_gaps_total, 0);
  for (const one of all) await one.stop();
  const last = await Server.start(t, { set: set[0], directory: all[0].directory, database, key });
  assert.equal(await counted(last, 'fleet'), sums.records);
  await last.stop();
  return sums;
}
