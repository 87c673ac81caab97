// A stand-in for a policy server, as strict as the real one: fields that are missing or
// of another type are 422, unknown services 404.
import http from 'node:http';

const PATTERN = { signature: 'string', count: 'number', sampled_count: 'number', first_seen: 'number', last_seen: 'number' };
const REPORT = { service_name: 'string', team_id: 'number', timestamp: 'number', total_logs: 'number', unique_patterns: 'number' };

const misses = (object, fields) => Object.entries(fields).filter(([key, type]) => typeof object?.[key] !== type).map(([key]) => key);

export class PolicyServer {
  static async start() {
    const server = new PolicyServer();
    await server.up();
    return server;
  }

  constructor() {
    this.policies = {}; // by service and team: 'shop 7'
    this.fetches = [];
    this.reports = []; // taken
    this.refused = []; // not taken
    this.answer = null; // {status, body}: instead of everything
    this.port = 0;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  async up() {
    this.server = http.createServer((req, res) => this.#handle(req, res));
    await new Promise((resolve) => this.server.listen(this.port, '127.0.0.1', resolve));
    this.port = this.server.address().port;
  }

  async down() {
    this.server.closeAllConnections();
    if (this.server.listening) await new Promise((resolve) => this.server.close(resolve));
  }

  async #handle(req, res) {
    const chunks = [];
    for await (const chunk of req) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString('utf8');
    const url = new URL(req.url, 'http://stub');
    const json = (status, value) => res.writeHead(status, { 'content-type': 'application/json' }).end(typeof value === 'string' ? value : JSON.stringify(value));
    const fetched = /^\/api\/v1\/policies\/([^/]+)$/.exec(url.pathname);
    if (req.method === 'GET' && fetched) {
      const service = decodeURIComponent(fetched[1]);
      const team = url.searchParams.get('team_id');
      this.fetches.push({ service, team, authorization: req.headers.authorization });
      if (this.answer) return json(this.answer.status, this.answer.body);
      if (!/^\d+$/.test(team ?? '')) return json(422, { detail: 'team_id' });
      const policy = this.policies[`${service} ${team}`];
      return policy ? json(200, policy) : json(404, { detail: 'Service not found' });
    }
    if (req.method === 'POST' && url.pathname === '/api/v1/patterns/stats') {
      if (this.answer) {
        this.refused.push(JSON.parse(body));
        return json(this.answer.status, this.answer.body);
      }
      const report = JSON.parse(body);
      const wrong = [...misses(report, REPORT), ...(Array.isArray(report.patterns) ? report.patterns.flatMap((p) => misses(p, PATTERN)) : ['patterns'])];
      if (wrong.length > 0) {
        this.refused.push(report);
        return json(422, { detail: wrong });
      }
      this.reports.push({ ...report, authorization: req.headers.authorization });
      return json(202, { status: 'accepted', message: report.service_name, analysis_run_id: 1 });
    }
    return json(404, { detail: 'Not Found' });
  }
}

export const policy = (more) => ({
  global_rate: 1, severity_rates: { DEBUG: 1, INFO: 1, WARNING: 1, ERROR: 1, CRITICAL: 1 }, pattern_rates: {}, anomaly_boost: 2,
  reasoning: null, generated_by: 'rule-based', llm_model: null, version: 1, ...more,
});
