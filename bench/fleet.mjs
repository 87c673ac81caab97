// A fleet on one machine: sidecars on the real wire against one policy server.
//
//     LIPSERVICE_BIN=build-release/lipservice node bench/fleet.mjs [--reports 4000] [--polls 4000] [--patterns 500] [--postgres URL]
//
// What a report costs the server (CPU of all its threads, the database's included), what a request
// that is held costs in memory, and how long a change takes to reach all of them.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { reports: { type: 'string', default: '4000' }, polls: { type: 'string', default: '4000' }, patterns: { type: 'string', default: '500' }, postgres: { type: 'string' } } });
const REPORTS = Number(values.reports), POLLS = Number(values.polls), PATTERNS = Number(values.patterns);
const SERVICES = 20, CONNECTIONS = 16;
const TICKS = 100; // of /proc, a second

const directory = mkdtempSync(path.join(os.tmpdir(), 'lipservice-fleet-'));
const settings = { 'server.endpoint': '127.0.0.1:0', 'server.directory': directory, 'server.requests_per_second': 1000000, 'memory.limit': '512MiB', 'server.journal_max_bytes': '1GiB', 'telemetry.log.format': 'json', ...(values.postgres ? { 'server.database': values.postgres } : {}) };
const child = spawn(process.env.LIPSERVICE_BIN ?? 'build-release/lipservice', ['server', '--config', '/dev/null', ...Object.entries(settings).flatMap(([name, value]) => ['--set', `${name}=${value}`])], { stdio: ['ignore', 'pipe', 'pipe'] });
let out = '', log = '';
child.stdout.on('data', (text) => (out += text));
child.stderr.on('data', (text) => (log += text));
process.on('exit', () => {
  child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
while (!log.includes('"started"')) await pause(50);
const key = /lsk_[\w-]{43}/.exec(out)[0];
const [, host, port] = /"server":"([\d.]+):(\d+)"/.exec(log);

const cpu = () => {
  const fields = readFileSync(`/proc/${child.pid}/stat`, 'latin1').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
};
const rss = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'latin1'))[1]) * 1024;
const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS });

function call(method, route, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host, port, method, path: route, agent, headers: { authorization: `Bearer ${key}`, ...(body ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) } : {}), ...headers } }, (answer) => {
      const chunks = [];
      answer.on('data', (chunk) => chunks.push(chunk));
      answer.on('end', () => resolve({ status: answer.statusCode, text: Buffer.concat(chunks).toString(), headers: answer.headers }));
    });
    request.on('error', reject);
    request.end(body);
  });
}

const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
const result = { database: values.postgres ? 'postgresql' : 'sqlite', patterns: PATTERNS };

// ---- reports

const id = (service, pattern) => `lps1:${(service * 65536 + pattern).toString(16).padStart(16, '0')}`;
const now = Date.now() / 1000;
const tails = Array.from({ length: SERVICES }, (_, service) => `"service_name":"service-${service}","timestamp":${now},"algorithm":"lps1","patterns":[${Array.from({ length: PATTERNS }, (__, i) =>
  `{"signature":"${id(service, i)}","count":100,"sampled_count":20,"first_seen":${now},"last_seen":${now},"bytes":48000,"sampled_bytes":9600,"template":"user <num> logged in from <ip> after ${i} tries, session <uuid> of the shop","severity_distribution":{"INFO":90,"WARN":10}}`).join(',')}],"total_logs":${PATTERNS * 100},"unique_patterns":${PATTERNS}}`);
result.report_bytes = tails[0].length;
let next = 0;
const took = [];
async function reporter() {
  for (let n = next++; n < REPORTS; n = next++) {
    const began = performance.now();
    const answer = await call('POST', '/api/v1/patterns/stats', `{"instance":"host-${n}","boot":"one","sequence":1,${tails[n % SERVICES]}`);
    assert.equal(answer.status, 202, answer.text);
    took.push(performance.now() - began);
  }
}
const cpuBefore = cpu(), began = performance.now();
await Promise.all(Array.from({ length: CONNECTIONS }, reporter));
const seconds = (performance.now() - began) / 1000;
const want = REPORTS * PATTERNS * 100;
for (let sum = 0; sum !== want; await pause(200)) {
  const { text } = await call('GET', '/api/v1/cost-savings');
  sum = JSON.parse(text).total_logs;
  assert.ok(sum <= want, `${sum} of ${want}: counted twice`);
}
took.sort((a, b) => a - b);
const perReport = (cpu() - cpuBefore) / REPORTS;
Object.assign(result, {
  reports: REPORTS, reports_per_s: Math.round(REPORTS / seconds), report_p99_ms: Number(quantile(took, 0.99).toFixed(1)),
  cpu_ms_per_report: Number((perReport * 1000).toFixed(2)), sidecars_a_core: Math.round(60 / perReport), rss_mib: Math.round(rss() / 1048576),
});

// ---- held requests, and a change

const policy = (rate) => JSON.stringify({ global_rate: 1, pattern_rates: Object.fromEntries(Array.from({ length: PATTERNS }, (_, i) => [id(0, i), rate])) });
await call('PUT', '/api/v1/policies/service-0', policy(0.5));
const { headers: { etag } } = await call('GET', '/api/v1/policies/service-0');
await pause(500);
const before = rss();
const arrived = [];
const sockets = [];
for (let i = 0; i < POLLS; i++) {
  const socket = net.connect(Number(port), host);
  socket.on('error', () => {});
  let seen = 0;
  socket.on('data', (chunk) => {
    if (seen === 0 && chunk.includes('HTTP/1.1 200')) arrived.push(performance.now());
    seen += chunk.length;
  });
  socket.write(`GET /api/v1/policies/service-0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${key}\r\nIf-None-Match: ${etag}\r\nPrefer: wait=240\r\n\r\n`);
  sockets.push(socket);
  if (i % 200 === 199) await pause(50);
}
for (let waiting = 0; waiting < POLLS; await pause(100)) waiting = Number(/server_waiting (\d+)/.exec((await call('GET', '/metrics')).text)[1]);
result.polls = POLLS;
result.bytes_per_poll = Math.round((rss() - before) / POLLS);
const changed = performance.now();
await call('PUT', '/api/v1/policies/service-0', policy(0.25));
while (arrived.length < POLLS) await pause(10);
const delays = arrived.map((at) => at - changed).sort((a, b) => a - b);
Object.assign(result, { change_p50_ms: Math.round(quantile(delays, 0.5)), change_p99_ms: Math.round(quantile(delays, 0.99)), change_last_ms: Math.round(delays.at(-1)) });
for (const socket of sockets) socket.destroy();

// ---- fetches

const fetches = [];
for (let i = 0; i < 2000; i++) {
  const at = performance.now();
  await call('GET', '/api/v1/policies/service-0');
  fetches.push(performance.now() - at);
}
fetches.sort((a, b) => a - b);
result.fetch_p99_ms = Number(quantile(fetches, 0.99).toFixed(2));
console.log(JSON.stringify(result));
process.exit(0);
