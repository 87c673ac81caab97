// A policy server with the counts of a small fleet, and its page in a browser.
import http from 'node:http';
import { open } from './browser.mjs';
import { counted, Server } from './server.mjs';
import { until } from './wait.mjs';

export const FAST = { 'server.flush_interval': '100ms', 'cost.free_gb': 0 };

export const text = (page, selector) => page.locator(selector).innerText();
export const templates = (page) => page.locator('#rows .template').allInnerTexts();
export const stats = '/api/v1/patterns/stats';
export const id = (n) => `lps1:${n.toString(16).padStart(16, '0')}`;

// Of a service: one pattern for each row {count, kept, bytes, template, level}.
export function counts(service, rows, more = {}) {
  const now = Date.now() / 1000;
  const patterns = rows.map(({ n, count, kept = count, bytes = count * 100, template, level = 'INFO' }) => ({ signature: id(n), count, sampled_count: kept, bytes, sampled_bytes: Math.round((bytes * kept) / count), template, first_seen: now, last_seen: now, severity_distribution: { [level]: count } }));
  return { service_name: service, patterns, ...more };
}

export const FLEET = {
  gateway: [{ n: 1, count: 40000, kept: 10000, template: 'GET /orders/<num> answered' }, { n: 2, count: 30, template: 'upstream is slow', level: 'WARN' }],
  checkout: [{ n: 3, count: 20000, kept: 20000, template: 'cache hit for cart <*>', level: 'DEBUG' }, { n: 4, count: 12, template: 'payment <*> was refused', level: 'ERROR' }],
};
export const LOST = { queue_full: 5, expired: 2 };
export const RECEIVED = 60042;
export const KEPT = 30042;

export async function fleet(t, set = {}) {
  const server = await Server.start(t, { set: { ...FAST, ...set } });
  let sequence = 0;
  for (const [service, rows] of Object.entries(FLEET)) await server.ok('POST', stats, counts(service, rows, { instance: `of-${service}`, boot: 'b', sequence: ++sequence, ...(service === 'gateway' ? { lost: LOST } : {}) }));
  await until('all of them', async () => (await counted(server, 'gateway')) + (await counted(server, 'checkout')) === RECEIVED);
  return server;
}

export async function ready(page) {
  await page.waitForSelector('#content:not([hidden])');
  await page.waitForSelector('#rows .template');
  await page.waitForSelector('#history:not([hidden])');
}

// The page of a server, entered with a key.
export async function enter(t, server, key, how = {}) {
  const all = await open(t, server.url, { key, ...how });
  await ready(all.page);
  return all;
}

export const tab = (page, name) => page.getByRole('tab', { name, exact: true }).click();

// A proxy that may refuse: what the page does then. {url, asked: [path], refuse(path) -> [status, headers] or undefined}
export async function between(t, server) {
  const proxy = { asked: [], open: new Map(), most: 0, refuse: () => undefined };
  const front = http.createServer((req, res) => {
    const path = req.url.split('?')[0];
    if (path.startsWith('/api/')) proxy.asked.push(path);
    const now = (proxy.open.get(req.url) ?? 0) + 1;
    proxy.open.set(req.url, now);
    proxy.most = Math.max(proxy.most, now);
    res.on('close', () => proxy.open.set(req.url, proxy.open.get(req.url) - 1));
    const [status, headers] = proxy.refuse(path) ?? [];
    if (status === 0) return req.socket.destroy();
    if (status) return res.writeHead(status, { 'content-type': 'application/json', ...headers }).end('{"detail":"not now, says the test"}');
    const to = http.request(server.url + req.url, { method: req.method, headers: req.headers }, (answer) => {
      res.writeHead(answer.statusCode, answer.headers);
      answer.pipe(res);
    });
    to.on('error', () => res.destroy());
    req.pipe(to);
  });
  await new Promise((resolve) => front.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    front.closeAllConnections();
    front.close();
  });
  return Object.assign(proxy, { url: `http://127.0.0.1:${front.address().port}` });
}
