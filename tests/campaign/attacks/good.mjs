// The good clients, in a process of their own so that attackers do not hold them up: one that was
// connected before, one that comes meanwhile, and one with a new connection for each request.
//
// Messages in: {quiet_ms}, {loud_ms}; out: {phase, sent, ok, p99_ms, slowest_ms, statuses}.
import http from 'node:http';
import { encodeLogs, request } from '../../e2e/lib/otlp.mjs';
import { pause } from '../../e2e/lib/wait.mjs';

const [port, every_ms] = process.argv.slice(2).map(Number);
const RECORDS = 10;
const ANSWER_MS = 10000;
const body = encodeLogs(request(RECORDS, { service: 'good', body: (i) => `order ${i} was placed` }));

function post(agent) {
  return new Promise((resolve) => {
    const req = http.request({ host: '127.0.0.1', port, path: '/v1/logs', method: 'POST', agent, timeout: ANSWER_MS, headers: { 'content-type': 'application/x-protobuf', 'content-length': body.length } },
      (res) => res.resume().on('end', () => resolve(res.statusCode)).on('error', () => resolve(0)));
    req.on('timeout', () => req.destroy()).on('error', () => resolve(0));
    req.end(body);
  });
}

const agents = { before: new http.Agent({ keepAlive: true, maxSockets: 1 }) };

async function client(agent, until, seen) {
  for (let due = performance.now(); due < until; due += every_ms) {
    if (due > performance.now()) await pause(due - performance.now());
    const began = performance.now();
    let status = await post(agent);
    // A kept connection may have ended between two requests: every HTTP client sends again then.
    if (status === 0 && agent && performance.now() - began < ANSWER_MS / 2) status = await post(agent);
    seen.push([status, performance.now() - began]);
  }
}

async function phase(name, ms, crowd) {
  const seen = [];
  const until = performance.now() + ms;
  await Promise.all(crowd.map((agent) => client(agent, until, seen)));
  const times = seen.map(([, time]) => time).sort((a, b) => a - b);
  const statuses = {};
  for (const [status] of seen) statuses[status] = (statuses[status] ?? 0) + 1;
  process.send({ phase: name, sent: seen.length, ok: statuses[200] ?? 0, records: RECORDS, statuses, p50_ms: times[Math.floor(times.length / 2)], p99_ms: times[Math.floor(times.length * 0.99)], slowest_ms: times.at(-1) });
}

process.on('message', async ({ quiet_ms, loud_ms }) => {
  if (quiet_ms) {
    await phase('warm', 500, [agents.before, false]);
    await phase('quiet', quiet_ms, [agents.before, false]);
  } else {
    agents.meanwhile = new http.Agent({ keepAlive: true, maxSockets: 1 });
    await phase('loud', loud_ms, [agents.before, agents.meanwhile, false]);
    process.disconnect();
  }
});
