// The page of lipservice. No framework: what comes from a log is only ever text of a node.

// ---- data: all that is asked of the server, and how
//
// A server of another role answers the same names; what it does not list in `endpoints` of the
// summary has no part on the page.

const ENDPOINTS = {
  summary: { path: '/api/summary' },
  events: { path: '/api/events' },
  history: { path: '/api/history' },
  patterns: { path: '/api/patterns' },
  pattern: { path: '/api/pattern' },
  explain: { path: '/api/explain', method: 'POST' },
  policies: { path: '/api/policies' },
  propose: { path: '/api/policies/propose', method: 'POST' },
  apply: { path: '/api/policies/apply', method: 'POST' },
  rollback: { path: '/api/policies/rollback', method: 'POST' },
  draft: { path: '/api/policies/draft', method: 'POST' },
  whatif: { path: '/api/whatif', method: 'POST' },
  shadow: { path: '/api/shadow' },
  tap: { path: '/api/tap' },
};
const KEY = 'lipservice-admin-key';
const REFUSED_MS = 30000; // until a stream that was refused is tried again
const AGAIN_MS = 2000; // after a stream that broke, or where none is to be had

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const data = {
  key: sessionStorage.getItem(KEY) ?? '',
  endpoints: new Set(),

  useKey(key) {
    this.key = key;
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  },

  has(name) {
    return this.endpoints.has(ENDPOINTS[name].path);
  },

  // The answer, which is a success; else Refused, with the server's own words.
  async open(name, { query = {}, body, signal } = {}) {
    const { path, method = 'GET' } = ENDPOINTS[name];
    const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined));
    const headers = this.key ? { 'x-api-key': this.key } : {};
    if (body !== undefined) headers['content-type'] = 'application/json';
    // What is decoded by page_query_text() has no '+' for a blank.
    const target = path + (String(asked) ? `?${String(asked).replaceAll('+', '%20')}` : '');
    const answer = await fetch(target, { method, headers, signal, cache: 'no-store', body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body) });
    if (answer.ok) return answer;
    const text = await answer.text();
    let why = text.trim();
    try {
      const said = JSON.parse(text);
      why = said.error ?? why;
      if (said.line) why += ` (line ${said.line}, column ${said.column})`;
    } catch {
      // not JSON: the words as they are
    }
    throw new Refused(answer.status, why || `status ${answer.status}`);
  },

  async ask(name, options) {
    return (await this.open(name, options)).json();
  },

  // Lines of an answer that stays open, until it ends or `signal` says so.
  async lines(name, options, each) {
    const answer = await this.open(name, options);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ''; ;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split('\n');
      rest = lines.pop();
      lines.forEach(each);
    }
  },
};

// Server-sent events by fetch(), because EventSource can show no key. Without a stream (too
// many readers) the summary is asked for instead. on: {summary(object), broken(error)}.
function follow(on) {
  const stop = new AbortController();
  let noStreamUntil = 0;
  const stream = (signal) =>
    data.lines('events', { signal }, (line) => {
      if (line.startsWith('data: ')) on.summary(JSON.parse(line.slice(6)));
    });
  const turn = async (signal) => {
    try {
      if (performance.now() >= noStreamUntil) return await stream(signal);
    } catch (error) {
      if (error.status === undefined || error.status === 401) throw error;
      noStreamUntil = performance.now() + REFUSED_MS;
    }
    on.summary(await data.ask('summary', { signal }));
  };
  const run = async (signal) => {
    while (!signal.aborted) {
      try {
        await turn(signal);
      } catch (error) {
        if (signal.aborted) return;
        on.broken(error);
        if (error.status === 401) return;
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  };
  run(stop.signal);
  return () => stop.abort();
}
