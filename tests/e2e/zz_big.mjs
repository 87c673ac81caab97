import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { Server } from './lib/server.mjs';
test('big', { timeout: 500000 }, async (t) => {
  for (const extra of [{}, {sandbox:'off'}, {'memory.limit':'512MiB'}]) {
  const server = await Server.start(t, {set: {'server.alerts.interval':'1h', ...extra}});
  execFileSync('python3',['/tmp/big.py',`${server.directory}/lipservice.db`,'4','500']);
  for (const r of ['totals?span=hour','patterns?limit=200']) { const a=await fetch(`${server.url}/api/v1/${r}`,{headers:{authorization:`Bearer ${server.key}`}}); console.log(JSON.stringify(extra), r, (await a.text()).slice(0,150)); }
  console.log(server.stderr.split('\n').slice(-3).join('\n'));
  await server.stop(); }
});
