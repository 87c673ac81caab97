// A stand-in for PostHog's app API (us.posthog.com/api), beside the one for ingestion, of whose
// rows and metered bytes it answers. Another port, another key.
//
//   const app = await PostHogApp.start(t, stub, {keys: {phx_x: {scopes: ['logs:read']}}})
//
// Faults: `faults` is consumed one per request, in order, null is a good day; `fault(request)`,
// when set, decides for each that finds none there. Ready ones are in FAULTS.
//   {status, headers, body}   answer so       {delay: ms}   wait before going on
//   {hang: true}              never answer    {close: true} hang up
import http from 'node:http';
import { Invalid, KINDS, Store } from './posthog_store.mjs';
import { countRanges, filterProblem, grouped, hasSource, readBack, select, services, shown, sparkline, timeOf } from './posthog_rows.mjs';
import { pause } from './wait.mjs';

const JSON_TYPE = { 'content-type': 'application/json' };
const json = (status, body, headers = {}) => ({ status, body: JSON.stringify(body), headers: { ...JSON_TYPE, ...headers } });
const HTML = { 'content-type': 'text/html' };

export const FAULTS = {
  throttled: json(429, { type: 'throttled_error', code: 'throttled', detail: 'Request was throttled. Expected available in 30 seconds.', attr: null }, { 'retry-after': '30' }),
  failed: json(500, { type: 'server_error', code: 'error', detail: 'A server error occurred.', attr: null }),
  away: { status: 503, headers: HTML, body: '<html>503</html>' },
  gateway: { status: 502, headers: HTML, body: '<html><h1>502 Bad Gateway</h1></html>' },
  login: { status: 302, headers: { location: '/login?next=/api/' }, body: '' },
  slow: { delay: 9000 },
  hang: { hang: true },
};

class Refusal extends Error {
  constructor(status, body, headers) {
    super(`${status}`);
    Object.assign(this, json(status, body, headers));
  }
}
const refuse = (status, code, detail, attr = null, type = status === 400 ? 'validation_error' : status === 429 ? 'throttled_error' : 'authentication_error') =>
  new Refusal(status, { type, code, detail, attr });
const denied = (detail) => refuse(403, 'permission_denied', detail);
const missing = () => refuse(404, 'not_found', 'Not found.', null, 'invalid_request');

export const ALL_SCOPES = ['logs', 'metrics', 'query', 'project', 'billing', 'insight', 'dashboard', 'dashboard_template', 'alert', 'annotation'].map((s) => `${s}:write`);
const PAGE = 100;
const MB = 1000000;
const DAY_MS = 86400000;
const dayOf = (ms) => new Date(ms).toISOString().slice(0, 10);

// What logs cost there: free part, tiers, retention, as PostHog's billing page gives it.
const BILLING = {
  discount_percent: 0,
  custom_limits_usd: {},
  subscribed: true,
  tiers: [{ unit_amount_usd: '0', up_to: 10000 }, { unit_amount_usd: '0.00025', up_to: 50000 }, { unit_amount_usd: '0.00015', up_to: null }],
  retention_unit_usd: '0.00005',
};

export class PostHogApp {
  static async start(t, stub, options = {}) {
    const app = new PostHogApp(stub, options);
    await app.up();
    t.after(() => app.down());
    return app;
  }

  constructor(stub, { projects, keys, delayMs = 5000, perMinute = 480, quota = {}, billing = {}, now = Date.now } = {}) {
    Object.assign(this, { stub, delayMs, perMinute, now });
    this.projects = projects ?? [...stub.projects].map((api_token, i) => ({ id: 101 + i, name: `Project ${i + 1}`, api_token }));
    for (const project of this.projects) {
      project.store = new Store();
      project.settings ??= {};
      stub.projects.add(project.api_token);
    }
    // scopes; teams: ids that it is limited to; owner: may see the bill
    this.keys = keys ?? { phx_e2e: { scopes: ALL_SCOPES, owner: true } };
    // limitMb: null is none; usage is what was metered, baseMb of before, and others(ms) of now.
    this.quota = { limitMb: null, baseMb: 0, others: () => 0, hasNull: false, hasPage: true, ...quota };
    this.billing = { ...BILLING, period: null, ...billing };
    this.flagsOff = new Set();
    this.faults = [];
    this.fault = null;
    this.beforeWrite = null; // (app, request): somebody else is quicker
    this.repeatsPages = false;
    this.requests = [];
    this.queries = 0; // under way
    this.asked = []; // times of requests, for the limit
    this.sockets = new Set();
    this.metered = []; // {at, bytes, token} of what ingestion took
    this.lostToQuota = 0;
    stub.gate = (entry, rows) => this.#gate(entry, rows);
    this.act = null; // (project, rows) => rows: drop rules and scrub (posthog_rules.mjs)
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  store(id = this.projects[0].id) {
    return this.projects.find((p) => p.id === id).store;
  }

  async up() {
    this.server = http.createServer((req, res) => this.#handle(req, res));
    this.server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
      socket.on('error', () => {});
    });
    await new Promise((resolve) => this.server.listen(this.port ?? 0, '127.0.0.1', resolve));
    this.port = this.server.address().port;
  }

  async down() {
    for (const socket of this.sockets) socket.destroy();
    if (this.server.listening) await new Promise((resolve) => this.server.close(resolve));
    await this.sql?.close();
    this.sql = null;
  }

  // ---- what ingestion does with a request that it answered 200

  #gate(entry, rows) {
    const project = this.projects.find((p) => p.api_token === entry.token);
    if (this.isLimited()) {
      this.lostToQuota += rows.length;
      return [];
    }
    this.metered.push({ at: this.now(), bytes: entry.billed_bytes, token: entry.token });
    return this.act ? this.act(project, rows) : rows;
  }

  // ---- quota and bill

  usageMb(at = this.now()) {
    const { start } = this.period(at);
    const own = this.metered.filter((m) => m.at >= start).reduce((sum, m) => sum + m.bytes, 0);
    return this.quota.baseMb + this.quota.others(at) + own / MB;
  }

  isLimited() {
    return this.quota.limitMb !== null && this.usageMb() >= this.quota.limitMb;
  }

  period(at = this.now()) {
    if (this.billing.period) return this.billing.period;
    const date = new Date(at);
    return { start: Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1), end: Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1) };
  }

  #quota() {
    if (!this.quota.hasPage) throw missing();
    const usage = this.quota.hasNull ? null : this.usageMb();
    return {
      limited: {
        events: { limited: false, usage: 12, limit: null },
        logs_mb_ingested: { limited: this.isLimited(), usage, limit: this.quota.limitMb },
      },
      code_usage_billing_active: false,
    };
  }

  #bill(key) {
    if (!key.owner) throw denied('You need to be an organization owner to view billing.');
    const { start, end } = this.period();
    const b = this.billing;
    const usage = this.usageMb();
    return {
      billing_period: { current_period_start: new Date(start).toISOString(), current_period_end: new Date(end).toISOString(), interval: 'month' },
      discount_percent: b.discount_percent,
      custom_limits_usd: b.custom_limits_usd,
      stripe_portal_url: 'https://billing.example.com/p/session/a-private-address',
      products: [
        { type: 'product_analytics', usage_key: 'events', unit: 'event', subscribed: true, tiers: [], free_allocation: 1000000, current_usage: 12, usage_limit: null, addons: [] },
        {
          type: 'logs', usage_key: 'logs_mb_ingested', unit: 'MB', subscribed: b.subscribed,
          tiers: b.subscribed ? b.tiers.map((tier) => ({ flat_amount_usd: '0', current_usage: 0, projected_usage: 0, ...tier })) : null,
          free_allocation: b.subscribed ? 0 : 10000,
          current_usage: usage, usage_limit: this.quota.limitMb, projected_usage: usage, projected_amount_usd: '0',
          addons: [{ type: 'logs_retention_30d', subscribed: b.retention === true, unit: 'MB', tiers: [{ unit_amount_usd: b.retention_unit_usd, up_to: null }] }],
        },
      ],
    };
  }

  #billedUsage(key, query) {
    if (!key.owner) throw denied('You do not have access to billing.');
    const from = Date.parse(query.get('start_date'));
    if (Number.isNaN(from)) throw refuse(400, 'invalid_input', 'start_date is required', 'start_date');
    const to = query.get('end_date') ? Date.parse(query.get('end_date')) : Math.floor(this.now() / DAY_MS) * DAY_MS;
    const teams = query.get('team_ids') ? JSON.parse(query.get('team_ids')) : null;
    const tokens = teams && new Set(this.projects.filter((p) => teams.includes(p.id)).map((p) => p.api_token));
    const dates = [];
    const data = [];
    for (let day = from; day <= to; day += DAY_MS) {
      dates.push(dayOf(day));
      const bytes = this.metered.filter((m) => dayOf(m.at) === dayOf(day) && (!tokens || tokens.has(m.token))).reduce((sum, m) => sum + m.bytes, 0);
      data.push(dayOf(day) === dayOf(this.now()) ? 0 : Math.floor(bytes / MB));
    }
    return { status: 'ok', results: [{ id: 1, label: 'logs_mb_in_period', dates, data, breakdown_type: 'type', breakdown_value: 'logs_mb_in_period' }], team_id_options: this.projects.map((p) => p.id) };
  }

  // ---- requests

  async #handle(req, res) {
    const url = new URL(req.url, this.url);
    const request = { method: req.method, path: url.pathname, query: url.searchParams, headers: req.headers, at: Date.now(), status: 0 };
    this.requests.push(request);
    const chunks = [];
    for await (const chunk of req) chunks.push(chunk);
    request.body = Buffer.concat(chunks).toString();
    let answer;
    try {
      const fault = (this.faults.length > 0 ? this.faults.shift() : this.fault?.(request)) || {};
      if (fault.delay) await pause(fault.delay);
      if (fault.hang) return;
      if (fault.close) {
        req.socket.destroy();
        return;
      }
      answer = fault.status ? fault : await this.#answer(request);
    } catch (error) {
      if (error instanceof Invalid) answer = json(400, { type: 'validation_error', code: error.code, detail: error.detail, attr: error.attr });
      else if (error instanceof Refusal) answer = error;
      else {
        console.error(error);
        answer = json(500, { type: 'server_error', code: 'error', detail: String(error), attr: null });
      }
    }
    request.status = answer.status;
    res.writeHead(answer.status, answer.headers).end(answer.body);
  }

  #limit() {
    const now = Date.now();
    this.asked = this.asked.filter((at) => at > now - 60000);
    if (this.asked.length >= this.perMinute) throw new Refusal(429, { type: 'throttled_error', code: 'throttled', detail: 'Request was throttled.', attr: null }, { 'retry-after': '30' });
    this.asked.push(now);
  }

  #key(request) {
    const token = /^Bearer (phx_\S+)$/.exec(request.headers.authorization ?? '')?.[1];
    const key = token && this.keys[token];
    if (!key) throw refuse(401, 'authentication_failed', 'Incorrect authentication credentials.');
    return key;
  }

  #scope(key, ...scopes) {
    for (const scope of scopes) {
      const [thing, verb] = scope.split(':');
      if (key.scopes.includes('*') || key.scopes.includes(scope) || (verb === 'read' && key.scopes.includes(`${thing}:write`))) continue;
      throw denied(`API key missing required scope '${scope}'`);
    }
  }

  #flag(name) {
    if (this.flagsOff.has(name)) throw denied('This feature is not enabled for your project.');
  }

  async #answer(request) {
    const key = this.#key(request);
    this.#limit();
    const { path, method, query } = request;
    if (!path.endsWith('/')) throw missing();
    if (path === '/api/personal_api_keys/@current/') return json(200, { id: 'key', label: 'lipservice', scopes: key.scopes, scoped_teams: key.teams ?? [], scoped_organizations: [] });
    if (path === '/api/billing/') return this.#scope(key, 'billing:read') ?? json(200, this.#bill(key));
    if (path === '/api/billing/usage/') return this.#scope(key, 'billing:read') ?? json(200, this.#billedUsage(key, query));
    if (path === '/api/projects/') {
      if (key.teams?.length) throw denied('API keys with scoped projects are only supported on project-based endpoints.');
      this.#scope(key, 'project:read');
      return this.#page(request, this.projects.map(projectShown));
    }
    const below = /^\/api\/projects\/(\d+)\/(.*)$/.exec(path);
    if (!below) throw missing();
    const project = this.projects.find((p) => p.id === Number(below[1]));
    if (key.teams?.length && !key.teams.includes(Number(below[1]))) throw denied("API key does not have access to the requested project.");
    if (!project) throw missing();
    const rest = below[2];
    if (rest === '') {
      this.#scope(key, 'project:read');
      return json(200, { ...projectShown(project), secret_api_token: 'phs_a_secret_of_the_project', logs_settings: project.settings.logs ?? {} });
    }
    if (rest === 'quota_limits/') return this.#scope(key, 'project:read') ?? json(200, this.#quota());
    if (rest === 'query/') return this.#scope(key, 'query:read') ?? this.#hogql(project, request);
    if (rest === 'logs_config/') return this.#scope(key, 'project:read') ?? json(200, { logs_distinct_id_attribute_keys: ['posthogDistinctId'], logs_session_id_attribute_keys: ['sessionId'], ...project.settings.config });
    const logs = /^logs\/([a-z_-]+)\/$/.exec(rest)?.[1];
    if (logs && LOGS[logs]) {
      this.#scope(key, 'logs:read');
      if (method !== LOGS[logs].method) throw new Refusal(405, { type: 'invalid_request', code: 'method_not_allowed', detail: `Method "${method}" not allowed.`, attr: null });
      return json(200, LOGS[logs].run(this, project, method === 'GET' ? query : this.#logsQuery(request), request));
    }
    return this.#things(key, project, rest, request);
  }

  #logsQuery(request) {
    const body = parse(request.body);
    if (!body.query) throw new Refusal(400, { error: 'No query provided' });
    const problem = filterProblem(body.query.filterGroup);
    if (problem) throw new Refusal(400, { error: problem });
    if (!body.query.dateRange) throw new Refusal(400, { error: 'dateRange is required' });
    return { ...body, ...body.query };
  }

  // Rows of a project that are visible by now, newest first.
  rows(project = this.projects[0]) {
    const limit = this.now() - this.delayMs;
    this.read ??= new WeakMap();
    const rows = [];
    for (const row of this.stub.rows) {
      if (this.stub.tokenOf.get(row) !== project.api_token) continue;
      if (!this.read.has(row)) this.read.set(row, readBack(row));
      const back = this.read.get(row);
      if (back.seenAt <= limit) rows.push(back);
    }
    return rows;
  }

  selected(project, q) {
    let range;
    try {
      range = { from: timeOf(q.dateRange?.date_from, this.now(), this.now() - DAY_MS), to: timeOf(q.dateRange?.date_to, this.now(), this.now() + 1) };
    } catch (error) {
      throw new Refusal(400, { error: error.message });
    }
    return { range, rows: select(this.rows(project), q, range) };
  }

  #page(request, items) {
    const limit = Math.min(Number(request.query.get('limit') ?? PAGE), PAGE);
    const offset = this.repeatsPages ? 0 : Number(request.query.get('offset') ?? 0);
    const more = this.repeatsPages || offset + limit < items.length;
    const next = Number(request.query.get('offset') ?? 0) + limit;
    return json(200, {
      count: items.length,
      next: more ? `${this.url}${request.path}?limit=${limit}&offset=${next}` : null,
      previous: null,
      results: items.slice(offset, offset + limit),
    });
  }

  // ---- things that users make

  #things(key, project, rest, request) {
    const { method, query } = request;
    const { store } = project;
    const verb = method === 'GET' ? 'read' : 'write';
    const kind = Object.keys(KINDS).find((k) => rest === `${k}/` || rest.startsWith(`${k}/`));
    if (!kind) throw missing();
    this.#scope(key, ...KINDS[kind].scopes.map((s) => `${s}:${verb}`));
    if (KINDS[kind].flag) this.#flag(KINDS[kind].flag);
    if (verb === 'write') this.beforeWrite?.(this, request);
    const body = verb === 'write' && request.body !== '' ? parse(request.body) : {};
    const words = rest.slice(kind.length + 1).split('/').filter(Boolean);
    if (words.length === 0 && method === 'GET') return this.#page(request, store.list(kind, query.get('search')).map(shownItem));
    if (words.length === 0 && method === 'POST') return json(201, shownItem(store.create(kind, body)));
    if (kind === 'dashboards' && words[0] === 'create_from_template_json' && method === 'POST') return json(201, shownItem(store.fromTemplate(body)));
    if (kind === 'logs/sampling_rules' && words[0] === 'reorder' && method === 'POST') return json(200, store.reorder(body).map(shownItem));
    if (kind === 'logs/alerts' && words[0] === 'simulate' && method === 'POST') return json(200, this.simulate?.(project, body) ?? {});
    const item = store.find(kind, words[0]);
    if (!item) throw missing();
    if (kind === 'logs/alerts' && words[1] === 'destinations' && method === 'POST') {
      if (!['slack', 'webhook', 'teams', 'discord'].includes(body.type)) throw new Invalid('type', 'Not a valid choice.');
      item.destinations.push({ hog_function_ids: [`hog-${store.next++}`], ...body });
      return json(201, { hog_function_ids: item.destinations.at(-1).hog_function_ids });
    }
    if (words.length > 1) throw missing();
    if (method === 'GET') return json(200, shownItem(item));
    if (method === 'PATCH') return json(200, shownItem(store.change(kind, item, body)));
    if (method === 'DELETE' && !KINDS[kind].softDelete) {
      store.remove(kind, item);
      return { status: 204, headers: {}, body: '' };
    }
    throw new Refusal(405, { type: 'invalid_request', code: 'method_not_allowed', detail: `Method "${method}" not allowed.`, attr: null });
  }

  // ---- HogQL

  async #hogql(project, request) {
    const body = parse(request.body);
    if (body.query?.kind !== 'HogQLQuery' || typeof body.query.query !== 'string') throw new Invalid('query', 'This field is required.');
    if (this.queries >= 3) throw refuse(429, 'throttled', 'Too many queries at once.');
    this.queries++;
    try {
      this.sql ??= new (await import('./posthog_sql.mjs')).Sql();
      const answer = await this.sql.run(body.query.query, this.rows(project), this.now());
      return json(200, { ...answer, is_cached: false, hogql: body.query.query });
    } catch (error) {
      if (error.isRefusal) throw refuse(400, 'invalid_input', error.message, null);
      throw error;
    } finally {
      this.queries--;
    }
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw refuse(400, 'parse_error', 'JSON parse error', null);
  }
}

const projectShown = ({ id, name, api_token }) => ({ id, name, api_token, uuid: `00000000-0000-0000-0000-${String(id).padStart(12, '0')}` });
const shownItem = (item) => JSON.parse(JSON.stringify(item));

const cursorOf = (row) => Buffer.from(JSON.stringify({ timestamp: row.timestamp, uuid: row.uuid })).toString('base64');
const newer = (a, b) => (a.us === b.us ? (a.uuid < b.uuid ? 1 : -1) : a.us < b.us ? 1 : -1);

function queryRows(app, project, q) {
  const { rows } = app.selected(project, q);
  rows.sort(newer);
  if (q.orderBy === 'earliest') rows.reverse();
  const limit = Math.min(q.limit ?? 1000, 2000);
  let at = 0;
  if (q.after) {
    let after;
    try {
      after = JSON.parse(Buffer.from(q.after, 'base64').toString());
    } catch {
      throw new Refusal(400, { error: 'Invalid cursor' });
    }
    const mark = { us: timeOf(after.timestamp), uuid: after.uuid };
    at = rows.findIndex((row) => (q.orderBy === 'earliest' ? newer(mark, row) > 0 : newer(row, mark) > 0));
    if (at < 0) at = rows.length;
  }
  const results = rows.slice(at, at + limit);
  const hasMore = at + limit < rows.length;
  return {
    query: q.query,
    results: results.map((row) => shown(row, q.excludeAttributes)),
    hasMore,
    nextCursor: hasMore ? cursorOf(results.at(-1)) : null,
    maxExportableLogs: 10000,
  };
}

function attributePage(app, project, query, valuesOf) {
  const source = query.get('attribute_type') === 'resource' ? 'resource_attributes' : 'attributes';
  const dateRange = query.get('dateRange') ? JSON.parse(query.get('dateRange')) : {};
  const counts = new Map();
  for (const row of app.selected(project, { dateRange }).rows)
    for (const value of valuesOf(row[source])) counts.set(value, (counts.get(value) ?? 0) + 1);
  const limit = Math.min(Number(query.get('limit') ?? 100), 100);
  const offset = Number(query.get('offset') ?? 0);
  const search = (query.get('search') ?? query.get('value') ?? '').toLowerCase();
  const names = [...counts].filter(([name]) => name.toLowerCase().includes(search)).sort((a, b) => b[1] - a[1]);
  return { names: names.slice(offset, offset + limit), count: names.length };
}

const LOGS = {
  query: { method: 'POST', run: queryRows },
  count: { method: 'POST', run: (app, project, q) => ({ count: app.selected(project, q).rows.length }) },
  'count-ranges': {
    method: 'POST',
    run: (app, project, q) => {
      const { rows, range } = app.selected(project, q);
      return countRanges(rows, range, q.targetBuckets ?? 50);
    },
  },
  sparkline: {
    method: 'POST',
    run: (app, project, q) => {
      const { rows, range } = app.selected(project, q);
      return sparkline(rows, range, q);
    },
  },
  services: {
    method: 'POST',
    run: (app, project, q) => {
      const { rows, range } = app.selected(project, q);
      return services(rows, range);
    },
  },
  'group-by': {
    method: 'POST',
    run: (app, project, q) => {
      if (!Array.isArray(q.groupBys) || q.groupBys.length === 0 || !q.groupBys.every((g) => hasSource(g.source))) throw new Refusal(400, { error: 'groupBys is required' });
      return grouped(app.selected(project, q).rows, q.groupBys);
    },
  },
  has_logs: { method: 'GET', run: (app, project) => ({ hasLogs: app.rows(project).length > 0 }) },
  attributes: {
    method: 'GET',
    run: (app, project, query) => {
      const { names, count } = attributePage(app, project, query, (map) => Object.keys(map));
      return { results: names.map(([name]) => ({ name, propertyFilterType: query.get('attribute_type') === 'resource' ? 'log_resource_attribute' : 'log_attribute' })), count };
    },
  },
  values: {
    method: 'GET',
    run: (app, project, query) => {
      const key = query.get('key');
      if (!key) throw new Refusal(400, { error: 'key is required' });
      const { names } = attributePage(app, project, query, (map) => (map[key] === undefined ? [] : [map[key]]));
      return { results: names.map(([name]) => ({ id: name, name })) };
    },
  },
};
