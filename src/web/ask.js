// The page of lipservice. No framework: what comes from a log is only ever text of a node.

// ---- ask: one request, with the key that this tab keeps

const KEY = 'lipservice-admin-key';

class Refused extends Error {
  constructor(status, message, retryMs) {
    super(message);
    this.status = status;
    this.retryMs = retryMs; // that the server asks for; undefined: it does not
  }
}

const asking = {
  key: sessionStorage.getItem(KEY) ?? '',

  useKey(key) {
    this.key = key;
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  },

  // What is decoded by page_query_text() has no '+' for a blank.
  target(path, query) {
    const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined));
    return path + (String(asked) ? `?${String(asked).replaceAll('+', '%20')}` : '');
  },

  // The answer, which is a success or 304; else Refused, with the server's own words.
  async open(method, target, { headers = {}, body, signal } = {}) {
    const sent = { ...headers };
    if (this.key) sent.authorization = `Bearer ${this.key}`;
    if (body !== undefined) sent['content-type'] = 'application/json';
    const answer = await fetch(target, { method, headers: sent, signal, cache: 'no-store', body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body) });
    if (answer.ok || answer.status === 304) return answer;
    const text = await answer.text();
    let why = text.trim();
    try {
      const said = JSON.parse(text);
      why = said.error ?? said.detail ?? why;
      if (said.line) why += ` (line ${said.line}, column ${said.column})`;
    } catch {
      // not JSON: the words as they are
    }
    const retryS = Number(answer.headers.get('retry-after') ?? NaN);
    throw new Refused(answer.status, why || `status ${answer.status}`, retryS >= 0 ? retryS * 1000 : undefined);
  },
};
