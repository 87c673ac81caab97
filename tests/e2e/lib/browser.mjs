// Debian's Chromium, and in it a page of ours, watched: what the content policy or the console
// complains of fails the test, and so does a request to another host.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

const BROWSER = '/usr/bin/chromium';
export const skip = existsSync(BROWSER) ? false : `${BROWSER} is not installed`;

// A browser that ends with the test.
async function launch(t) {
  const browser = await chromium.launch({ executablePath: BROWSER, args: ['--no-sandbox'] });
  t.after(() => browser.close());
  return browser;
}

// A site of its own origin, and a page on it: {page, origin}. `files`: text by path, '/' the document;
// a path that ends with .js is a script. `watch(page, origin)` before the page is loaded.
export async function site(t, files, watch = () => {}) {
  const server = createServer((req, res) => {
    const isScript = req.url.endsWith('.js') && files[req.url] !== undefined;
    res.writeHead(200, { 'content-type': isScript ? 'text/javascript' : 'text/html' }).end(files[req.url] ?? files['/']);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const browser = await launch(t);
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const page = await browser.newPage();
  const origin = `http://127.0.0.1:${server.address().port}`;
  watch(page, origin);
  await page.goto(origin);
  return { page, origin };
}

// Pictures stay behind the run, outside of the repository.
export const PICTURES = process.env.LIPSERVICE_PICTURES ?? path.join(os.tmpdir(), 'lipservice-pictures');

// {page, complaints, requests, check()} of the page at `origin`. `expected`: complaints that are the
// point of the test.
export async function open(t, origin, { width = 1280, height = 900, theme = 'light', motion = 'no-preference', expected = [], route = '/', key, trusts = false } = {}) {
  const browser = await launch(t);
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, reducedMotion: motion, ignoreHTTPSErrors: trusts, permissions: ['clipboard-read', 'clipboard-write'] });
  const page = await context.newPage();
  const complaints = [];
  const requests = [];
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(`console: ${message.text()} ${message.location().url}`));
  page.on('pageerror', (error) => complaints.push(`error: ${error.stack}`));
  page.on('request', (request) => requests.push(request.url()));
  await page.exposeFunction('reportViolation', (text) => complaints.push(`policy: ${text}`));
  await page.addInitScript((shown) => {
    document.addEventListener('securitypolicyviolation', (event) => window.reportViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
    window.hacked = false;
    if (shown) sessionStorage.setItem('lipservice-admin-key', shown);
  }, key);
  await page.goto(origin + route);
  const check = () => {
    assert.deepEqual(complaints.filter((text) => !expected.some((pattern) => pattern.test(text))), []);
    assert.deepEqual(requests.filter((url) => !url.startsWith(`${origin}/`)), [], 'requests to other hosts');
  };
  return { browser, page, complaints, requests, check };
}

// axe-core on what is shown now: no violations of WCAG 2.2 A and AA, nor of its best practices. The
// content policy lets no script in, so it comes by the debugger.
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
export async function accessible(page, what) {
  await page.evaluate(AXE);
  const { violations, passes } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  assert.ok(passes.length > 10, `${what}: axe-core looked at something`);
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target.join(' ')} (${node.failureSummary?.split('\n').slice(1).join(';').trim()})`).slice(0, 4).join(', ')}`);
  assert.deepEqual(found, [], what);
}

export async function picture(page, name) {
  mkdirSync(PICTURES, { recursive: true });
  await page.screenshot({ path: path.join(PICTURES, `${name}.png`) });
}

// Nothing is wider than the screen.
export async function fits(page, what) {
  const wide = await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    return [...document.querySelectorAll('body *')].filter((node) => node.getBoundingClientRect().right > width + 1).map((node) => `${node.tagName}.${node.className}#${node.id}`).slice(0, 8);
  });
  assert.deepEqual(wide, [], `${what}: wider than the screen`);
}
