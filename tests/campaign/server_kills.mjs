// 200 kills of a policy server under reports: node tests/campaign/server_kills.mjs [KILLS] [SERVERS]
// With two or more servers they share a database of PostgreSQL.
import { test } from 'node:test';
import * as postgres from '../e2e/lib/postgres.mjs';
import { home } from '../e2e/lib/server.mjs';
import { killServer } from '../e2e/lib/serverkills.mjs';

const kills = Number(process.argv[2] ?? 200);
const servers = Number(process.argv[3] ?? 1);
if (servers > 1 && postgres.start()) home.postgres = postgres;

test(`${kills} kills`, { timeout: 1800000 }, async (t) => {
  const database = servers > 1 ? postgres.database() : undefined;
  const sums = await killServer(t, kills, { servers, database });
  console.log(`${kills} kills: ${sums.reports} reports with ${sums.records} records, ${sums.repeated} sent again, ${sums.elsewhere} counted by another server, none lost, none counted twice`);
});
