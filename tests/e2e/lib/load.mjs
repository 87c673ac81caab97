// Numbered records over connections of their own, and a book of what was acknowledged.
import http from 'node:http';
import { encodeLogs } from './otlp.mjs';
import { pause } from './wait.mjs';

const ANSWER_MS = 20000;

// The number that a stored row's body ends with: "c3 n120".
export const nameOf = (row) => row.body;

function encode(connection, first, n) {
  const now = BigInt(Date.now()) * 1000000n;
  return encodeLogs({
    resourceLogs: [
      {
        resource: { attributes: [{ key: 'service.name', value: { stringValue: `load-${connection % 3}` } }] },
        scopeLogs: [
          {
            logRecords: Array.from({ length: n }, (_, i) => ({
              timeUnixNano: String(now + BigInt(i)),
              severityNumber: 9,
              body: { stringValue: `c${connection} n${first + i}` },
            })),
          },
        ],
      },
    ],
  });
}

// Clients that send, one request at a time each, until stop(); through restarts, when port()
// tells another. A request that was not answered with success is never sent again: its
// records get new numbers, so that a number which arrives twice is a duplicate of ours.
export class Load {
  // `rate`: records a second, of all together; 0: as fast as they are answered. `first`: the
  // number of its first connection, where there is another load beside it.
  constructor({ port, connections = 4, records = 20, rate = 0, first = 0 }) {
    Object.assign(this, { port, records, interval_ms: rate === 0 ? 0 : (1000 * records * connections) / rate, acknowledged: new Set(), refused: 0, broken: 0, sent: 0, slowest_ms: 0, times: [] });
    this.running = true;
    this.clients = Array.from({ length: connections }, (_, i) => this.#client(first + i));
  }

  async #client(connection) {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    let next = 0;
    let due = performance.now();
    while (this.running) {
      due += this.interval_ms;
      if (due - performance.now() > 1) await pause(due - performance.now());
      const first = next;
      next += this.records;
      const body = encode(connection, first, this.records);
      this.sent += this.records;
      const began = performance.now();
      const status = await this.#post(agent, body);
      this.times.push(performance.now() - began);
      if (status === 200) for (let i = first; i < next; i++) this.acknowledged.add(`c${connection} n${i}`);
      else if (status === 0) this.broken++;
      else this.refused++;
      if (status !== 200) await pause(20);
    }
    agent.destroy();
  }

  #post(agent, body) {
    return new Promise((resolve) => {
      const req = http.request(
        { host: '127.0.0.1', port: this.port(), path: '/v1/logs', method: 'POST', agent, timeout: ANSWER_MS, headers: { 'content-type': 'application/x-protobuf', 'content-length': body.length } },
        (res) => res.resume().on('end', () => resolve(res.statusCode)).on('error', () => resolve(0)),
      );
      req.on('timeout', () => req.destroy(new Error('no answer')));
      req.on('error', () => resolve(0));
      req.end(body);
    });
  }

  async stop() {
    this.running = false;
    await Promise.all(this.clients);
  }

  p99() {
    return this.times.sort((a, b) => a - b)[Math.floor(this.times.length * 0.99)];
  }
}

// What arrived against what was acknowledged: {lost, duplicates, disorder}. Order is that of
// a connection's records at their first arrival.
export function compare(rows, acknowledged) {
  const seen = new Map();
  const last = new Map();
  let disorder = 0;
  for (const row of rows) {
    const name = nameOf(row);
    seen.set(name, (seen.get(name) ?? 0) + 1);
    if (seen.get(name) > 1) continue;
    const [, connection, n] = /^c(\d+) n(\d+)$/.exec(name);
    if (Number(n) < (last.get(connection) ?? -1)) disorder++;
    else last.set(connection, Number(n));
  }
  return {
    lost: [...acknowledged].filter((name) => !seen.has(name)).length,
    duplicates: rows.length - seen.size,
    disorder,
  };
}
