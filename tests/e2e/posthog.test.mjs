// PostHog's app API: what is asked of it, and what is said of its answers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeLogs } from './lib/otlp.mjs';
import { ALL_SCOPES, FAULTS, PostHogApp } from './lib/posthog_app.mjs';
import { PostHog } from './lib/posthog.mjs';
import { run } from './lib/sidecar.mjs';

const APP_KEY = 'phx_e2e';

export async function standIn(t, options = {}, posthog = {}) {
  const stub = await PostHog.start(posthog);
  t.after(() => stub.down());
  return { stub, app: await PostHogApp.start(t, stub, { delayMs: 0, ...options }) };
}

const command = (app, args, { key = APP_KEY, token = 'phc_e2e', set = {} } = {}) =>
  run(['posthog', ...args, '--config', '/dev/null', '--set', `exporters.posthog.host=${app.stub.url}`, '--set', `posthog.app_host=${app.url}`, ...Object.entries(set).flatMap(([k, v]) => ['--set', `${k}=${v}`])],
    { env: { POSTHOG_PERSONAL_API_KEY: key, POSTHOG_API_KEY: token } });

test('the project is found by its ingestion key', async (t) => {
  const { app } = await standIn(t, { projects: [{ id: 5, name: 'Other', api_token: 'phc_other' }, { id: 77, name: 'Shop', api_token: 'phc_e2e' }] });
  const out = await command(app, ['check']);
  assert.match(out.stdout, /77/, out.stderr);
});
