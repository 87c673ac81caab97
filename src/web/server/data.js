// ---- data: what is asked of a policy server, by the paths of its openapi.json

const API = '/api/v1/';
const TAGS_MOST = 32; // answers that are kept, to be asked for with their tags

const data = {
  kept: new Map(), // target: {tag, body}

  path(...parts) {
    return API + parts.map(encodeURIComponent).join('/');
  },

  // An answer that is still the same is the same object.
  async get(path, query = {}) {
    const target = asking.target(path, query);
    const before = this.kept.get(target);
    const answer = await asking.open('GET', target, { headers: before ? { 'if-none-match': before.tag } : {} });
    if (answer.status === 304) return before.body;
    const body = await answer.json();
    const tag = answer.headers.get('etag');
    this.kept.delete(target);
    if (tag) this.kept.set(target, { tag, body });
    if (this.kept.size > TAGS_MOST) this.kept.delete(this.kept.keys().next().value);
    return body;
  },

  async send(method, path, body, query = {}) {
    return (await asking.open(method, asking.target(path, query), { body })).json();
  },
};

// Times come as "2026-11-30T21:00:00.000Z".
const unixOf = (time) => Date.parse(time) / 1000;
const when = (time) => day(unixOf(time));
