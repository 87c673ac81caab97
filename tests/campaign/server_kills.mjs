// 200 kills of a policy server under reports: node tests/campaign/server_kills.mjs [KILLS]
import { test } from 'node:test';
import { killServer } from '../e2e/lib/serverkills.mjs';

const kills = Number(process.argv[2] ?? 200);

test(`${kills} kills`, { timeout: 1800000 }, async (t) => {
  const sums = await killServer(t, kills);
  console.log(`${kills} kills: ${sums.reports} reports with ${sums.records} records, ${sums.repeated} sent again, none lost, none counted twice`);
});
