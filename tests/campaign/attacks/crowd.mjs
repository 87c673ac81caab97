// The attackers of one attack, in a process of their own: crowd.mjs NAME PORTS-AS-JSON, until it is killed.
// Prints nothing; what they were answered is in the program's own counts.
import { ATTACKS } from './attacks.mjs';

const [name, ports] = process.argv.slice(2);
process.on('uncaughtException', (error) => {
  if (!['ECONNRESET', 'EPIPE', 'ECONNREFUSED', 'ETIMEDOUT'].includes(error.code)) throw error;
});
await ATTACKS[name].run(JSON.parse(ports));
process.send('begun');
