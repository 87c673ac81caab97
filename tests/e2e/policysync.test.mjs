// Tero's policy sync: the server provides, the sidecar consumes, each also against a peer that
// shares no code with it.
import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import protobuf from 'protobufjs';
import { encodeLogs, request } from './lib/otlp.mjs';
import { PostHog } from './lib/posthog.mjs';
import { Server } from './lib/server.mjs';
import { closeLedger, KEEP_ALL, pair, Sidecar } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

// The messages as Tero's public files number them, in proto3.
const { root } = protobuf.parse(`
syntax = "proto3"; package t;
message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; } }
message KeyValue { string key = 1; AnyValue value = 2; }
message Path { repeated string path = 1; }
message Matcher {
  oneof field { int32 log_field = 1; Path log_attribute = 2; Path resource_attribute = 3; Path scope_attribute = 4; }
  oneof match { string exact = 10; string regex = 11; bool exists = 12; string starts_with = 13; string ends_with = 14; string contains = 15; }
  bool negate = 20; bool case_insensitive = 21;
}
message Redact { oneof field { int32 log_field = 1; Path log_attribute = 2; Path resource_attribute = 3; } string replacement = 10; string later = 99; }
message Add { oneof field { int32 log_field = 1; Path log_attribute = 2; Path resource_attribute = 3; } string value = 10; bool upsert = 11; }
message Transform { repeated Redact redact = 2; repeated Add add = 4; }
message Log { repeated Matcher match = 1; string keep = 2; Transform transform = 3; }
message Policy { string id = 1; string name = 2; bool enabled = 4; fixed64 created_at_unix_nano = 5; repeated KeyValue labels = 7; Log log = 10; }
message Metadata { repeated int32 supported_policy_stages = 1; repeated KeyValue labels = 2; repeated KeyValue resource_attributes = 3; }
message Status { string id = 1; int64 match_hits = 2; int64 match_misses = 3; repeated string errors = 4; }
message Request { Metadata client_metadata = 1; bool full_sync = 2; fixed64 last_sync_timestamp_unix_nano = 3; string last_successful_hash = 4; repeated Status policy_statuses = 5; }
message Response { repeated Policy policies = 1; string hash = 2; fixed64 sync_timestamp_unix_nano = 3; uint32 recommended_sync_interval_seconds = 4; int32 sync_type = 5; string error_message = 6; }
`);
const Request = root.lookupType('t.Request');
const Response = root.lookupType('t.Response');
const camel = (value) => (Array.isArray(value) ? value.map(camel) : value && typeof value === 'object'
  ? Object.fromEntries(Object.entries(value).map(([key, one]) => [key.replace(/_(\w)/g, (_, letter) => letter.toUpperCase()), camel(one)]))
  : value);
const encode = (type, object) => Buffer.from(type.encode(type.fromObject(camel(object))).finish());
const decode = (type, bytes) => type.toObject(type.decode(bytes), { longs: Number, defaults: false });
const PROTOBUF = 'application/x-protobuf';

const drop = (id, text, more = {}) => ({ id, name: id, enabled: true, log: { match: [{ log_field: 'body', contains: text }], keep: 'none' }, ...more });
const mask = { id: 'mask-user', enabled: true, log: { match: [{ log_field: 'LOG_FIELD_BODY', starts_with: 'card' }], transform: { redact: [{ log_attribute: ['card'], replacement: 'XXXX' }], add: [{ resource_attribute: 'seen.by', value: 'tero' }] } } };

const settings = (url, key, more = {}) => ({
  ...KEEP_ALL,
  'sampling.first.count': 0,
  'sampling.error_context.bytes': 0,
  'policy.sync.server': url,
  'policy.sync.api_key': key,
  'policy.sync.interval': '1s',
  ...more,
});
const send = async (sidecar, n, options) => assert.equal((await sidecar.post(encodeLogs(request(n, options)))).status, 200);
const metric = async (sidecar, name) => (await sidecar.metrics())[`lipservice_policy_sync${name}`];
const inForce = (sidecar, n) => until(`${n} policies`, async () => (await metric(sidecar, '_policies')) === n);
const statuses = async (server) => Object.fromEntries((await server.ok('GET', '/api/v1/tero/statuses')).map((one) => [one.policy_id, one]));

function folder(t) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-sync-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

for (const [protobufs, durability] of [[false, 'memory'], [true, 'disk']])
  test(`a policy that is put reaches the sidecar by ${protobufs ? 'protobuf' : 'JSON'}, with durability: ${durability}; what it did comes back`, async (t) => {
    const server = await Server.start(t, { set: { 'server.sync_interval': '1s' } });
    const key = await server.newKey('report');
    const onDisk = durability === 'disk' ? { durability, 'spool.directory': folder(t) } : {};
    const { sidecar, stub } = await pair(t, { set: settings(server.url, key, { 'policy.sync.protobuf': protobufs, ...onDisk }) });
    await until('a first answer', async () => (await metric(sidecar, 's_total{outcome="installed"}')) === 1);
    await send(sidecar, 5, { body: () => 'debug noise' }); // nothing speaks of it yet

    assert.deepEqual(await server.ok('PUT', '/api/v1/tero/policies', { policies: [drop('no-debug', 'debug'), mask] }), { version: 1 });
    await inForce(sidecar, 2);
    await send(sidecar, 7, { body: () => 'debug noise' });
    await send(sidecar, 3, { body: () => 'debug of a failure', base: { severityNumber: 17 } });
    await send(sidecar, 2, { body: () => 'card was seen', base: { attributes: [{ key: 'card', value: { stringValue: '4111-1111' } }] } });
    await until('what they did', async () => (await statuses(server))['mask-user'].match_hits === 2);
    const done = await until('that errors stay', async () => {
      const all = await statuses(server);
      return all['no-debug'].match_misses === 3 && all['no-debug'].errors.length > 0 && all;
    });
    assert.equal(done['no-debug'].match_hits, 7);
    assert.match(done['no-debug'].errors[0], /errors are always kept: it would have dropped 3/);
    assert.notEqual(done['no-debug'].instance, '');
    await until('the same again', async () => (await metric(sidecar, 's_total{outcome="unchanged"}')) > 0);

    // Off again, by another version.
    await server.ok('PUT', '/api/v1/tero/policies', { policies: [drop('no-debug', 'debug', { enabled: false })] });
    await inForce(sidecar, 1);
    await send(sidecar, 4, { body: () => 'debug noise' });
    await closeLedger(sidecar, { received: 21, kept: 14, dropped_by_rule: 7, sampled_out: 0 });
    const cards = stub.rows.filter((row) => row.body === 'card was seen');
    assert.equal(cards.length, 2);
    assert.ok(JSON.stringify(cards).includes('XXXX') && !JSON.stringify(cards).includes('4111'), JSON.stringify(cards[0]));
    for (const row of cards) assert.match(JSON.stringify(row.resource_attributes), /seen\.by.*tero/);
    for (const row of stub.rows.filter((row) => row.body !== 'card was seen')) assert.ok(!JSON.stringify(row.resource_attributes).includes('seen.by'));
    await server.stop();
  });

test('the provider gone: the last good policies stay, over a restart and a reload', async (t) => {
  const server = await Server.start(t, { set: { 'server.sync_interval': '1s' } });
  const key = await server.newKey('report');
  const stub = await PostHog.start();
  t.after(() => stub.down());
  const [state, home] = [folder(t), folder(t)];
  const file = path.join(home, 'config.yaml');
  const write = (sync) => {
    writeFileSync(`${file}.new`, `
exporters: {posthog: {host: "${stub.url}", api_key: phc_e2e}}
batch: {max_age: 50ms}
sampling: {first: {count: 0}, error_context: {bytes: 0}, severity_rates: {INFO: 1}}
state: {directory: "${state}"}
${sync}`);
    renameSync(`${file}.new`, file);
  };
  const sync = (more = '') => `policy: {sync: {server: "${server.url}", api_key: "${key}", interval: 1s${more}}}`;
  const start = async () => Object.assign(await Sidecar.start(t, { args: ['--config', file] }), { stub });
  const reload = async (sidecar, next) => {
    const count = async () => (await sidecar.metrics())['lipservice_config_reloads_total{outcome="accepted"}'];
    const before = await count();
    write(next);
    sidecar.signal('SIGHUP');
    await until('a reload', async () => (await count()) > before);
  };
  const drops = async (sidecar, n) => {
    const before = (await sidecar.ledger()).dropped_by_rule;
    await send(sidecar, 10, { body: () => 'debug noise' });
    assert.equal((await sidecar.ledger()).dropped_by_rule - before, n);
  };
  await server.ok('PUT', '/api/v1/tero/policies', { policies: [drop('no-debug', 'debug')] });
  write(sync());
  const first = await start();
  await inForce(first, 1);
  await server.stop();
  await until('a failure', async () => (await metric(first, 's_total{outcome="failed"}')) > 0);
  await drops(first, 10);
  await reload(first, sync(', protobuf: true')); // another way to ask: what is in force stays
  await drops(first, 10);
  stub.rows.length = 0; // the books of the next process
  await closeLedger(first, { received: 20, dropped_by_rule: 20 });

  write(sync());
  const second = await start();
  await inForce(second, 1);
  await until('it was on disk', () => second.log.some((line) => line.event === 'policy' && line.from === 'disk'));
  await drops(second, 10);
  await reload(second, ''); // no provider, no policies
  await drops(second, 0);
  await closeLedger(second, { received: 20, dropped_by_rule: 10, kept: 10 });

  write(`policy: {sync: {server: "http://127.0.0.1:1"}}`);
  const third = await start(); // what is kept is of another provider
  await drops(third, 0);
  stub.rows.splice(0, 10);
  await closeLedger(third, { received: 10, kept: 10 });
});

// A provider that is not ours: `answer(request, entry)` gives {status, type, body, headers}.
async function provider(t, answer) {
  const asked = [];
  const server = http.createServer((req, res) => {
    const chunks = [];
    req.on('data', (chunk) => chunks.push(chunk));
    req.on('end', () => {
      const bytes = Buffer.concat(chunks);
      const isProtobuf = req.headers['content-type'] === PROTOBUF;
      const body = isProtobuf ? decode(Request, bytes) : JSON.parse(bytes);
      asked.push({ url: req.url, method: req.method, headers: req.headers, body });
      const { status = 200, type = isProtobuf ? PROTOBUF : 'application/json', body: out } = self.answer(body, asked.length);
      res.writeHead(status, { 'content-type': type });
      res.end(Buffer.isBuffer(out) || typeof out === 'string' ? out : isProtobuf ? encode(Response, out) : JSON.stringify(out));
    });
  });
  const self = { asked, answer };
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  self.url = `http://127.0.0.1:${server.address().port}`;
  return self;
}

test('a bad policy alone is refused, by its id; the others work, and the provider hears of it', async (t) => {
  const good = { id: 'good', enabled: true, log: { match: [{ log_field: 1, contains: 'debug' }], keep: 'none' } };
  const bad = { id: 'bad', enabled: true, log: { match: [{ log_field: 1, regex: '(' }], keep: 'none' } };
  const unknown = { id: 'later', enabled: true, log: { match: [{ log_field: 1, contains: 'user' }], transform: { redact: [{ log_field: 1, replacement: 'x', later: 'y' }] } } };
  const off = { id: 'off', log: { match: [{ log_field: 1, contains: 'user' }], keep: 'none' } }; // proto3: enabled is false
  for (const as of [true, false]) {
    const set = { policies: as ? [good, bad, unknown, off] : [good, bad, unknown], hash: 'h 1"', sync_type: 1, sync_timestamp_unix_nano: 5 };
    const peer = await provider(t, () => ({ body: set }));
    const { sidecar } = await pair(t, { set: settings(`${peer.url}/`, 'canary-sync', { 'policy.sync.protobuf': as }) });
    await inForce(sidecar, set.policies.length);
    assert.equal(await metric(sidecar, '_invalid'), 2);
    await send(sidecar, 6, { body: () => 'debug of user 7' });
    await send(sidecar, 4, { body: () => 'user 7 came' });
    const told = await until('statuses', () => peer.asked.slice(1).find(({ body }) => {
      const hits = (body.policy_statuses ?? body.policyStatuses ?? []).find((one) => one.id === 'good');
      return hits && Number(hits.match_hits ?? hits.matchHits) === 6;
    }));
    const first = peer.asked[0];
    assert.deepEqual([first.method, first.url, first.headers.authorization], ['POST', '/v1/policy/sync', 'Bearer canary-sync']);
    const list = told.body.policy_statuses ?? told.body.policyStatuses;
    const why = Object.fromEntries(list.map((one) => [one.id, (one.errors ?? [])[0]]));
    assert.match(why.bad, /match\[0\]: invalid regex/);
    assert.match(why.later, as ? /unknown field "field 99"/ : /unknown field "later"/);
    assert.equal(why.good, undefined);
    const metadata = told.body.client_metadata ?? told.body.clientMetadata;
    assert.deepEqual([...(metadata.supported_policy_stages ?? metadata.supportedPolicyStages)], [1, 2]);
    assert.equal(told.headers['if-none-match'], undefined, 'a hash that no header can have');
    assert.ok(sidecar.log.some((line) => line.event === 'policy_invalid' && line.id === 'bad'));
    assert.ok(!sidecar.stderr.includes('canary-sync'));
    await closeLedger(sidecar, { received: 10, dropped_by_rule: 6, kept: 4 });
  }
});

test('answers that are none leave the last good policies; the interval is what is recommended', async (t) => {
  const set = { policies: [{ id: 'a', enabled: true, log: { match: [{ logField: 'LOG_FIELD_BODY', contains: 'debug' }], keep: 'none' } }], hash: 'one', syncType: 'SYNC_TYPE_FULL', recommendedSyncIntervalSeconds: 1, syncTimestampUnixNano: '17' };
  const peer = await provider(t, () => ({ body: set }));
  const { sidecar } = await pair(t, { set: settings(peer.url, '', { 'policy.sync.interval': '30s' }) });
  await inForce(sidecar, 1);
  const wrong = [
    ['failed', { status: 500, body: 'no' }], ['failed', { status: 301, body: '' }], ['failed', { body: { error_message: 'not today' } }],
    ['invalid', { body: '' }], ['invalid', { body: '[]' }], ['invalid', { body: '{"policies":[' }], ['invalid', { body: { policies: {}, hash: 'two', sync_type: 1 } }],
    ['invalid', { type: PROTOBUF, body: Buffer.from([0x0a, 9, 1]) }], ['invalid', { body: `{"policies":[],"pad":"${'x'.repeat(1 << 20)}"}` }],
    ['unchanged', { body: {} }], ['unchanged', { body: set }], ['unchanged', { status: 304, body: '' }],
  ];
  for (const [outcome, answer] of wrong) {
    const name = `s_total{outcome="${outcome}"}`;
    const before = await metric(sidecar, name);
    peer.answer = () => answer;
    await until(`${outcome}: ${JSON.stringify(answer).slice(0, 60)}`, async () => (await metric(sidecar, name)) > before);
    assert.equal(await metric(sidecar, '_policies'), 1);
  }
  const last = peer.asked.at(-1);
  assert.deepEqual([last.headers['if-none-match'], last.body.last_successful_hash, last.body.last_sync_timestamp_unix_nano], ['"one"', 'one', '17']);
  await send(sidecar, 5, { body: () => 'debug' });
  peer.answer = () => ({ body: { hash: 'none', sync_type: 1 } }); // a set of none
  await inForce(sidecar, 0);
  await send(sidecar, 5, { body: () => 'debug' });
  await closeLedger(sidecar, { received: 10, dropped_by_rule: 5, kept: 5 });
});

test('observing, what policies would do is counted, and nothing is dropped or changed', async (t) => {
  const peer = await provider(t, () => ({ body: { policies: [drop('no-debug', 'debug'), mask], hash: 'x', sync_type: 1 } }));
  const { sidecar, stub } = await pair(t, { set: settings(peer.url, '', { mode: 'observe' }) });
  await inForce(sidecar, 2);
  await send(sidecar, 5, { body: () => 'debug' });
  await send(sidecar, 1, { body: () => 'card', base: { attributes: [{ key: 'card', value: { stringValue: '4111' } }] } });
  await closeLedger(sidecar, { received: 6, kept: 6, dropped_by_rule: 0 });
  assert.ok(JSON.stringify(stub.rows).includes('4111'));
});

test('the server, asked by a client that shares no code with it', async (t) => {
  const server = await Server.start(t);
  const key = await server.newKey('report');
  const other = (await server.ok('POST', '/api/v1/teams', { name: 'other', id: 7 })).key;
  const ask = (body, { headers = {}, by = key } = {}) => fetch(`${server.url}/v1/policy/sync`, { method: 'POST', body: encode(Request, body), headers: { 'content-type': PROTOBUF, authorization: `Bearer ${by}`, ...headers } });
  const labelled = { ...mask, labels: [{ key: 'team', value: { string_value: 'pay' } }], created_at_unix_nano: '1700000000000000000' };
  await server.ok('PUT', '/api/v1/tero/policies', { policies: [drop('no-debug', 'debug', { enabled: false }), labelled] });
  const answer = await ask({ clientMetadata: { resourceAttributes: [{ key: 'service.instance.id', value: { stringValue: 'pod-1' } }] }, policyStatuses: [{ id: 'mask-user', matchHits: 3, matchMisses: 1, errors: ['e'.repeat(2000)] }, { id: 'gone', matchHits: 9 }] });
  assert.deepEqual([answer.status, answer.headers.get('content-type')], [200, PROTOBUF]);
  const set = decode(Response, Buffer.from(await answer.arrayBuffer()));
  assert.deepEqual([set.syncType, set.recommendedSyncIntervalSeconds, set.policies.length], [1, 60, 2]);
  assert.deepEqual(set.policies[0], { id: 'no-debug', name: 'no-debug', log: { match: [{ logField: 1, contains: 'debug' }], keep: 'none' } });
  assert.deepEqual(set.policies[1].labels, [{ key: 'team', value: { stringValue: 'pay' } }]);
  assert.deepEqual(set.policies[1].log.transform, { redact: [{ logAttribute: { path: ['card'] }, replacement: 'XXXX' }], add: [{ resourceAttribute: { path: ['seen.by'] }, value: 'tero' }] });
  const done = await statuses(server);
  assert.deepEqual(Object.keys(done).sort(), ['mask-user', 'no-debug']);
  assert.deepEqual([done['mask-user'].match_hits, done['mask-user'].match_misses, done['mask-user'].errors[0].length, done['mask-user'].instance], [3, 1, 512, 'pod-1']);
  assert.equal(done['no-debug'].seen_at, null);

  // The same hash is asked for by a tag; a full sync, or no tag, has all of it.
  const etag = answer.headers.get('etag');
  assert.equal(etag, `"${set.hash}"`);
  assert.equal((await ask({ lastSuccessfulHash: set.hash }, { headers: { 'if-none-match': etag } })).status, 304);
  assert.equal((await ask({ lastSuccessfulHash: set.hash, fullSync: true }, { headers: { 'if-none-match': etag } })).status, 200);
  assert.equal(decode(Response, Buffer.from(await (await ask({ lastSuccessfulHash: set.hash })).arrayBuffer())).policies.length, 2);

  // JSON is in the form of proto3; another team has none of it.
  const json = await server.ok('POST', '/v1/policy/sync', {}, { key });
  assert.deepEqual(json.policies[1].log.transform.redact[0].log_attribute, { path: ['card'] });
  assert.equal(json.hash, set.hash);
  assert.deepEqual((await server.ok('POST', '/v1/policy/sync', { policy_statuses: [{ id: 'mask-user', match_hits: 100 }] }, { key: other })).policies, []);
  assert.equal((await statuses(server))['mask-user'].match_hits, 3);
  assert.deepEqual((await server.ok('GET', '/api/v1/tero/policies', undefined, { key: other })).policies, []);
  assert.equal((await server.ok('GET', '/api/v1/tero/policies')).version, 1);

  // What protobuf has no field for is carried by JSON alone.
  await server.ok('PUT', '/api/v1/tero/policies', { policies: [{ id: 'slow', log: { match: [{ log_attribute: 'ms', gt: 100 }], keep: '10%' } }] });
  const refused = await ask({});
  assert.equal(refused.status, 406);
  assert.match((await refused.json()).detail, /policy "slow": gt: is carried by JSON alone/);
  assert.equal((await server.ok('POST', '/v1/policy/sync', {}, { key })).policies[0].log.match[0].gt, 100);
  await server.stop();

  const again = await Server.start(t, { directory: server.directory, key: server.key });
  assert.equal((await again.ok('GET', '/api/v1/tero/policies')).version, 2);
  await again.stop();
});
