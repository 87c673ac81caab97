// `lipservice posthog check`: whose key this is, what is missing, what PostHog does to our records.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ALL_SCOPES, FAULTS, PostHogApp } from './lib/posthog_app.mjs';
import { PostHog } from './lib/posthog.mjs';
import { run } from './lib/sidecar.mjs';

async function standIn(t, options = {}) {
  const stub = await PostHog.start();
  t.after(() => stub.down());
  return PostHogApp.start(t, stub, { delayMs: 0, projects: [{ id: 5, name: 'Other', api_token: 'phc_other' }, { id: 77, name: 'Shop', api_token: 'phc_e2e' }], ...options });
}

const command = (app, args, { key = 'phx_e2e', token = 'phc_e2e', set = {} } = {}) =>
  run(['posthog', ...args, '--config', '/dev/null', ...Object.entries({ 'exporters.posthog.host': app.stub.url, 'posthog.app_host': app.url, ...set }).flatMap(([k, v]) => ['--set', `${k}=${v}`])],
    { env: { POSTHOG_PERSONAL_API_KEY: key, POSTHOG_API_KEY: token } });

// {code, document} of a check as JSON; each finding has a sentence and a remedy of its own.
async function check(app, options) {
  const out = await command(app, ['check', '--json'], options);
  const document = JSON.parse(out.stdout);
  assert.equal(out.code, document.ok ? 0 : 1, out.stderr);
  for (const finding of document.findings) {
    assert.ok(finding.text.length > 20 && finding.remedy.length > 10, JSON.stringify(finding));
    assert.doesNotMatch(finding.text, /\.$/);
  }
  return { ...document, what: document.findings.map((f) => f.what), all: out };
}
const faults = (document) => document.findings.filter((f) => f.grade === 'fault').map((f) => f.what);

test('all is well', async (t) => {
  const app = await standIn(t, { quota: { limitMb: 50000, baseMb: 5120 } });
  const found = await check(app);
  assert.deepEqual(found.project, { id: 77, name: 'Shop' });
  assert.deepEqual(found.quota, { known: true, limited: false, usage_mb: 5120, limit_mb: 50000 });
  assert.deepEqual([found.person_attributes, found.session_attributes, found.findings], [['posthogDistinctId'], ['sessionId'], []]);
  const { stdout, code } = await command(app, ['check']);
  assert.equal(code, 0);
  assert.match(stdout, /project +77 Shop[^]*5120 of 50000 MB[^]*all is well/);
});

test('a wrong ingestion key, and the key of another project', async (t) => {
  const app = await standIn(t);
  assert.deepEqual(faults(await check(app, { token: 'phc_nobody' })), ['token_unknown']);
  const other = await check(app, { token: 'phc_other', set: { 'posthog.project_id': 77 } });
  assert.deepEqual(faults(other), ['token_of_other']);
  assert.match(other.findings[0].text, /key of project 5, and not of project 77 \(Shop\)/);
  assert.match(other.findings[0].remedy, /project_id to 5/);
  assert.deepEqual(faults(await check(app, { token: 'phc_nobody', set: { 'posthog.project_id': 77 } })), ['token_of_other']);
});

test('a personal key that is wrong, limited to projects, or lacks a scope', async (t) => {
  const app = await standIn(t, {
    keys: {
      phx_team: { scopes: ALL_SCOPES, teams: [77] }, phx_wrong_team: { scopes: ALL_SCOPES, teams: [5] },
      phx_logs: { scopes: ['logs:read'] }, phx_project: { scopes: ['project:read', 'logs:write'] },
    },
  });
  const unknown = await check(app, { key: 'phx_wrong' });
  assert.deepEqual(faults(unknown), ['key_unknown']);
  const limited = await check(app, { key: 'phx_team' });
  assert.deepEqual([faults(limited), limited.what], [[], ['key_limited']]);
  assert.deepEqual(limited.project, { id: 77, name: 'Shop' });
  assert.deepEqual(faults(await check(app, { key: 'phx_wrong_team' })), ['token_unknown']);
  const logs = await check(app, { key: 'phx_logs' });
  assert.deepEqual(faults(logs), ['scope_missing']);
  assert.match(logs.findings[0].text, /lacks the scope project:read/);
  const project = await check(app, { key: 'phx_project' });
  assert.deepEqual([faults(project), project.what.includes('scope_wanted')], [[], true]);
  assert.match(project.findings.map((f) => f.text).join('\n'), /query:read[^]*insight:write/);
});

test('a key of one region at the host of another', async (t) => {
  const app = await standIn(t);
  const found = await check(app, { set: { 'exporters.posthog.host': 'https://eu.i.posthog.com' } });
  assert.deepEqual(faults(found), []); // the stand-in is in none
  // Nobody is asked: what is configured says it. The name is one that nothing answers to.
  const out = await run(['posthog', 'check', '--json', '--config', '/dev/null', '--set', 'posthog.app_host=us.posthog.com', '--set', 'exporters.posthog.host=https://eu.i.posthog.com', '--set', 'exporters.posthog.proxy_url=http://127.0.0.1:9'], { env: { POSTHOG_PERSONAL_API_KEY: 'phx_x', POSTHOG_API_KEY: 'phc_x' } });
  assert.deepEqual([out.code, faults(JSON.parse(out.stdout))], [1, ['wrong_region', 'unreachable']]);
});

test('the quota: reached, near, not counted yet, and an installation without billing', async (t) => {
  const app = await standIn(t, { quota: { limitMb: 100, baseMb: 100 } });
  const limited = await check(app);
  assert.deepEqual(faults(limited), ['quota_limited']);
  assert.match(limited.findings[0].text, /throws all logs .* away now.*100 of 100 MB/);
  app.quota.baseMb = 95;
  assert.deepEqual((await check(app)).what, ['quota_near']);
  app.quota.hasNull = true;
  assert.deepEqual((await check(app)).what, ['quota_unknown']);
  app.quota.hasPage = false;
  assert.deepEqual((await check(app)).what, ['quota_absent']);
});

test('drop rules and scrub that act on our records', async (t) => {
  const app = await standIn(t);
  const make = (name, more) => app.store(77).create('logs/sampling_rules', { name, enabled: true, rule_type: 'path_drop', config: { patterns: ['^/health'] }, ...more });
  make('off', { enabled: false });
  make('all kept', { rule_type: 'severity_sampling', config: { actions: { DEBUG: { type: 'keep' } } } });
  assert.deepEqual((await check(app)).what, []);
  for (let i = 0; i < 120; i++) make(`rule ${i}`, i === 0 ? { scope_service: 'api' } : {});
  const found = await check(app);
  assert.equal(found.findings.length, 17);
  assert.match(found.findings[0].text, /'rule 0' acts on service api/);
  assert.match(found.findings[16].text, /104 more/);
  app.store(77)['logs/sampling_rules'].length = 0;
  app.projects[1].settings.logs = { pii_scrub_logs: true };
  app.projects[1].settings.config = { logs_distinct_id_attribute_keys: ['user.id', 'uid'], logs_session_id_attribute_keys: [] };
  const scrubbed = await check(app);
  assert.deepEqual(faults(scrubbed), ['scrub']);
  assert.match(scrubbed.findings[0].text, /\(user\.id,uid\)/);
  assert.deepEqual([scrubbed.person_attributes, scrubbed.session_attributes], [['user.id', 'uid'], []]);
  app.flagsOff.add('drop_rules');
  assert.deepEqual(faults(await check(app)), ['scrub']);
});

test('each way to fail is one clear sentence, and redirects are not followed', async (t) => {
  const app = await standIn(t);
  const rows = [
    [FAULTS.failed, /failed at GET .*\(500\)/], [FAULTS.gateway, /\(502\)/], [FAULTS.away, /\(503\)/], [FAULTS.login, /redirect \(302\) to '\/login/],
    [{ status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' }, /something else than JSON/],
    [{ status: 200, headers: {}, body: `{"a":"${'x'.repeat(300000)}"}` }, /more than 262144 bytes/],
    [{ close: true }, /broke off/],
  ];
  for (const [fault, text] of rows) {
    app.faults.push(fault);
    const { findings } = await check(app);
    assert.equal(findings[0].what, 'unreachable');
    assert.match(findings[0].text, text);
  }
  assert.ok(app.requests.every((r) => !r.path.startsWith('/login')));
  // A part that fails does not hide the others.
  app.fault = (r) => (r.path.endsWith('/quota_limits/') ? FAULTS.failed : null);
  app.projects[1].settings.logs = { pii_scrub_logs: true };
  assert.deepEqual((await check(app)).what, ['part_unread', 'scrub']);
  app.fault = null;
  app.repeatsPages = true;
  assert.deepEqual(faults(await check(app, { token: 'phc_nobody' })), ['token_unknown']);
});

test('a 429 is waited for, and asked again', async (t) => {
  const app = await standIn(t);
  app.faults.push({ ...FAULTS.throttled, headers: { ...FAULTS.throttled.headers, 'retry-after': '1' } });
  const found = await check(app);
  assert.deepEqual(found.what, []);
  assert.ok(app.requests[1].at - app.requests[0].at >= 990);
  // Longer than it can wait: said at once.
  app.faults.push({ ...FAULTS.throttled, headers: { ...FAULTS.throttled.headers, 'retry-after': '600' } });
  const { findings } = await check(app);
  assert.match(`${findings[0].text}; ${findings[0].remedy}`, /limit of requests is reached; try again in 600 s/);
});

test('nothing is asked without a key, and words are checked', async (t) => {
  const app = await standIn(t);
  const none = await command(app, ['check'], { key: '' });
  assert.deepEqual([none.code, /POSTHOG_PERSONAL_API_KEY/.test(none.stderr)], [78, true]);
  const project = await command(app, ['check'], { key: 'phc_e2e' });
  assert.deepEqual([project.code, /this is a project API key/.test(project.stderr)], [78, true]);
  assert.equal((await command(app, ['nothing'])).code, 64);
  assert.equal((await run(['posthog'])).code, 0);
  assert.match((await run(['posthog', 'check', '--help'])).stdout, /--json[^]*--config/);
  assert.equal(app.requests.length, 0);
});
