// ---- data: all that is asked of a sidecar. What it does not list in `endpoints` of the summary has
// no part on the page.

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
const REFUSED_MS = 30000; // until a stream that was refused is tried again
const AGAIN_MS = 2000; // after a stream that broke, or where none is to be had

const data = {
  endpoints: new Set(),

  has(name) {
    return this.endpoints.has(ENDPOINTS[name].path);
  },

  open(name, { query = {}, body, signal } = {}) {
    const { path, method = 'GET' } = ENDPOINTS[name];
    return asking.open(method, asking.target(path, query), { body, signal });
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
