// Ten times of what the upstream takes: an upstream of bounded rate, and a paced sender.
//
// As a program: overload.mjs PORT RECORDS-A-SECOND sends so many until it is killed, whatever is answered.
import http from 'node:http';
import { fileURLToPath } from 'node:url';
import { encodeLogs, request } from '../../e2e/lib/otlp.mjs';
import { pause } from '../../e2e/lib/wait.mjs';

const RECORDS = 200;
const CONNECTIONS = 64;

// Takes each request after `delay_ms`; what is at once is the program's business.
export function slowUpstream(delay_ms) {
  const server = http.createServer((req, res) => req.resume().on('end', () => setTimeout(() => res.writeHead(200).end('{}'), delay_ms)));
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve({ url: `http://127.0.0.1:${server.address().port}`, close: () => (server.closeAllConnections(), server.close()) })));
}

const WORDS = ['order', 'user', 'cart', 'payment', 'session', 'invoice', 'parcel', 'coupon'];
const bodies = () => Array.from({ length: 24 }, (_, b) => encodeLogs(request(RECORDS, {
  service: `load-${b % 3}`,
  body: (i) => `${WORDS[(b + i) % 8]} ${b * RECORDS + i} of ${WORDS[(b * i) % 8]} ${Math.floor(Math.random() * 1e9)} was handled by host-${i % 40} in ${i} ms, ${'and nothing else is to be said of it '.repeat(8)}`,
})));

async function send(port, records_per_s) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const all = bodies();
  const every_ms = 1000 * RECORDS / records_per_s;
  let waiting = 0;
  for (let i = 0, due = performance.now(); ; i++, due += every_ms) {
    if (due > performance.now()) await pause(due - performance.now());
    while (waiting >= CONNECTIONS) await pause(1); // an answer is late: so many are too many
    const body = all[i % all.length];
    waiting++;
    const req = http.request({ host: '127.0.0.1', port, path: '/v1/logs', method: 'POST', agent, headers: { 'content-type': 'application/x-protobuf', 'content-length': body.length } }, (res) => res.resume().on('close', () => waiting--));
    req.on('error', () => waiting--);
    req.end(body);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await send(Number(process.argv[2]), Number(process.argv[3]));
