// explain and replay: what the pipeline would do, without running it.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs } from './lib/otlp.mjs';
import { pair, run, Sidecar } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

function scratch(t) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-verbs-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const START = 1700000000000000000n;
const document = (records, service = 'checkout') => ({
  resourceLogs: [{ resource: { attributes: [{ key: 'service.name', value: { stringValue: service } }] }, scopeLogs: [{ logRecords: records }] }],
});
const record = (i, more = {}) => ({ timeUnixNano: String(START + BigInt(i) * 1000000n), severityNumber: 9, body: { stringValue: `user ${i} logged in` }, ...more });
const many = (n, more) => Array.from({ length: n }, (_, i) => record(i, more));

const bare = ['--config', '/dev/null'];
const objects = (out) => out.stdout.trim().split('\n').map((line) => JSON.parse(line));

// ---- explain

test('explain says each rule that is tried, in order, and the verdict', async () => {
  const out = await run(['explain', ...bare, '--set', 'sampling.keep=[{service: vip}, {body: "*x*"}]', '--set', 'sampling.drop=[{body: "health*"}]', '--severity', 'warning', 'user 7 logged in']);
  assert.equal(out.code, 0, out.stderr);
  const said = ['template   "user <*> logged in"', 'lps1:367817fea19ab08d', 'WARN, from the severity text "warning"', 'below ERROR', 'keep[0]    {service: "vip"}: does not match',
    'keep[1]    {body: "*x*"}: does not match', 'drop[0]    {body: "health*"}: does not match', 'not counted here', 'rate       0.5, from severity_rates (config)', 'T = 0x80000000000000', 'from the even spacing of its pattern', 'verdict    in turn', 'one of 2 of its pattern is kept'];
  let at = -1;
  for (const text of said) {
    const next = out.stdout.indexOf(text, at + 1);
    assert.ok(next > at, `${text} in\n${out.stdout}`);
    at = next;
  }
});

test('explain reads lines and OTLP JSON, and tells where severity and randomness come from', async () => {
  const lines = await run(['explain', '--json', ...bare, '--service', 'a'], { input: 'one 1\ntwo\r\n' });
  assert.deepEqual(objects(lines).map((o) => [o.body, o.service, o.severity.from]), [['one 1', 'a', 'default'], ['two', 'a', 'default']]);

  const traceId = '0102030405060708090a0b0c0d0e0f10';
  const input = JSON.stringify(document([record(1, { traceId }), record(2, { severityNumber: 0, severityText: 'crit' }), record(3, { body: { kvlistValue: { values: [] } } })]), null, 2);
  const [first, second, third] = objects(await run(['explain', '--json', ...bare], { input }));
  assert.equal(first.randomness, '0x0a0b0c0d0e0f10');
  assert.equal(first.randomness_from, 'trace_id');
  assert.equal(first.severity.from, 'number');
  assert.deepEqual(first.steps.map((s) => [s.stage, s.applies]), [['floor', false], ['priority', false], ['context', false], ['first', false], ['rate', true]]);
  assert.equal(first.verdict, 'sampled_out');
  assert.deepEqual([second.severity.level, second.severity.from, second.reason, second.verdict], ['FATAL', 'text', 'floor', 'kept']);
  assert.equal(second.randomness_from, 'spacing');
  assert.equal(third.body, '(a map)');
});

test('explain uses the policy file, and refuses what it cannot read', async (t) => {
  const policy = path.join(scratch(t), 'p.yaml');
  writeFileSync(policy, 'pattern_rates: {"lps1:367817fea19ab08d": 0}\nglobal_rate: 1\n');
  const [o] = objects(await run(['explain', '--json', ...bare, '--set', `sampling.policy_file=${policy}`, 'user 7 logged in']));
  assert.deepEqual([o.reason, o.verdict, o.threshold, o.steps.at(-1).origin], ['pattern_rate', 'sampled_out', '0x100000000000000', 'file']);
  assert.equal((await run(['explain', ...bare, '--severity', 'loud', 'x'])).code, 64);
  assert.equal((await run(['explain', ...bare, 'x', 'y'])).code, 64);
  assert.equal((await run(['explain', ...bare, '--set', 'sampling.policy_file=/nowhere', 'x'])).code, 78);
  assert.equal((await run(['explain', ...bare], { input: '{"resourceLogs": [' })).code, 64);
});

test('a file that cannot be read or written is the user\'s mistake, not a bug', async (t) => {
  const dir = scratch(t);
  const file = (name, text) => (writeFileSync(path.join(dir, name), text), path.join(dir, name));
  const files = { policies: file('p.json', '{"policies":[]}'), input: file('i.json', '{"resourceLogs":[]}'), output: path.join(dir, 'o.json'), stats: path.join(dir, 's.json') };
  const conformance = (more) => run(['policy', 'conformance', ...Object.entries({ ...files, ...more }).flatMap(([name, value]) => [`--${name}`, value])]);
  assert.equal((await conformance({})).code, 0);
  for (const name of Object.keys(files)) {
    const { code, stderr } = await conformance({ [name]: '/nowhere/at/all' });
    assert.deepEqual([name, code], [name, 64]);
    assert.match(stderr, /cannot (read|write) '\/nowhere\/at\/all'/);
  }
});

test('explain says what the proxy does', async (t) => {
  const set = { 'sampling.first.count': 0, 'batch.max_age': '50ms', 'sampling.severity_rates.INFO': 0.3 };
  const { stub, sidecar } = await pair(t, { set });
  const traced = (encoding) => many(300).map((r, i) => ({ ...r, traceId: createHash('sha256').update(`trace ${i}`).digest().subarray(0, 16).toString(encoding) }));
  const doc = document(traced('hex'));
  assert.equal((await sidecar.post(encodeLogs(document(traced('base64'))))).status, 200);
  const said = objects(await run(['explain', '--json', ...bare, '--set', 'sampling.severity_rates.INFO=0.3'], { input: JSON.stringify(doc) }));
  const kept = said.filter((o) => o.verdict === 'kept').map((o) => o.body);
  assert.ok(kept.length > 60 && kept.length < 120, `${kept.length} kept of 300`);
  await until('delivery', () => stub.rows.length >= kept.length);
  assert.equal((await sidecar.ledger()).kept, kept.length);
  await sidecar.stop();
});

test('explain runs the options of the configuration: a limit on errors is said', async () => {
  const limited = ['explain', ...bare, '--set', 'sampling.floor.max_per_second=5', '--severity', 'error', 'it failed'];
  assert.match((await run(limited)).stdout, /floor {6}ERROR or above.*: kept, but not more than 5 a second: depends on the records before/);
  const [json] = objects(await run([...limited.slice(0, -1), '--json', 'it failed']));
  assert.deepEqual(json.steps[0], { stage: 'floor', applies: true, max_per_second: 5, note: 'not counted here' });
  assert.doesNotMatch((await run(limited.filter((a) => !a.startsWith('sampling.floor') && a !== '--set'))).stdout, /a second/);
});

// ---- replay

test('replay counts as the proxy would, over protobuf, documents and lines', async (t) => {
  const dir = scratch(t);
  const at = (name) => path.join(dir, name);
  const docs = [document(many(400)), document(many(50, { severityNumber: 17 }), 'billing'), document(many(100, { severityNumber: 5, body: { stringValue: 'cache miss' } }))];
  writeFileSync(at('a.pb'), encodeLogs(docs[0]));
  writeFileSync(at('b.json'), JSON.stringify(docs[1], null, 2));
  writeFileSync(at('c.jsonl'), docs.slice(2).map((d) => JSON.stringify(d) + '\n').join('\n'));
  const args = ['replay', ...bare, at('a.pb'), at('b.json'), at('c.jsonl'), '--json'];
  const out = await run(args);
  assert.equal(out.code, 0, out.stderr);
  assert.equal(out.stderr, '');
  assert.equal((await run([...args, '--seed', '99'])).stdout, out.stdout);
  const [r] = objects(out);
  assert.deepEqual([r.files, r.requests, r.refused, r.records], [3, 3, 0, 550]);
  assert.equal(r.from_unix_ns, String(START));
  assert.equal(r.to_unix_ns, String(START + 399n * 1000000n));
  const [p] = r.policies;
  assert.equal(p.kept + p.sampled_out + p.dropped_by_rule, 550);
  assert.deepEqual(p.severities.ERROR, { received: 50, kept: 50 });
  assert.equal(p.kept_by_reason.floor, 50);
  assert.equal(p.kept_by_reason.first, 10);
  assert.equal(Object.values(p.severities).reduce((n, s) => n + s.kept, 0), p.kept);
  assert.equal(r.patterns.reduce((n, x) => n + x.received, 0), 550);
  assert.equal(r.patterns.reduce((n, x) => n + x.policies[0].kept, 0), p.kept);
  // 0.4 s of logs as a month, of which 10 GB are free: priced through the tiers.
  const month = (bytes) => (bytes / 0.399) * 30.4375 * 86400;
  const price = (bytes) => Math.max(0, (month(bytes) - 10e9) / 1e9) * 0.25;
  const near = (a, b) => assert.ok(Math.abs(a - b) <= 1e-6 * Math.abs(b), `${a} and ${b}`);
  near(r.metered_bytes_a_month, month(r.metered_bytes));
  near(r.price_a_month, price(r.metered_bytes));
  near(p.price_a_month, price(p.metered_bytes));
  near(p.saving_a_month, price(r.metered_bytes) - price(p.metered_bytes));
  assert.deepEqual([r.currency, r.is_assumed], ['USD', true]);
  const [free] = objects(await run([...args, '--set', 'cost.free_gb=100000000']));
  assert.deepEqual([free.price_a_month, free.policies[0].saving_a_month], [0, 0]);

  // The proxy itself.
  const sidecar = await Sidecar.start(t, { set: { 'exporters.file.path': at('kept.jsonl'), 'batch.max_age': '50ms' } });
  for (const doc of docs) assert.equal((await sidecar.post(encodeLogs(doc))).status, 200);
  const { kept } = await sidecar.ledger();
  // Where the spacing of a pattern begins is random: one record of each of the two.
  assert.ok(Math.abs(kept - p.kept) <= 2, `${kept} and ${p.kept}`);
  await sidecar.stop();
  const [again] = objects(await run(['replay', ...bare, '--json', '--set', 'sampling.global_rate=1', at('kept.jsonl')]));
  assert.equal(again.records, kept, 'what the file exporter wrote is read');
  assert.ok(readFileSync(at('kept.jsonl'), 'utf8').startsWith('{"resourceLogs"'));
});

test("replay's clock is the records'", async (t) => {
  const file = path.join(scratch(t), 'day.json');
  // Ten minutes, a record each second: the first five of each minute.
  const records = Array.from({ length: 600 }, (_, i) => record(i * 1000, { severityNumber: 5 }));
  writeFileSync(file, JSON.stringify(document(records)));
  const [r] = objects(await run(['replay', '--json', ...bare, '--set', 'sampling.severity_rates.DEBUG=0', file]));
  const first = r.policies[0].kept_by_reason.first;
  assert.ok(first >= 50 && first <= 55, `${first}`); // windows begin at a phase of the pattern's own
  assert.equal(r.policies[0].kept, first);
});

test('replay compares a policy with the configuration, and prices both', async (t) => {
  const dir = scratch(t);
  const [file, policy] = [path.join(dir, 'in.json'), path.join(dir, 'p.yaml')];
  writeFileSync(file, JSON.stringify(document(many(500))));
  writeFileSync(policy, 'global_rate: 0\nversion: 12\n');
  const args = ['replay', file, '--policy', policy, '--cost-per-gb', '1000', ...bare];
  const [r] = objects(await run([...args, '--json']));
  assert.equal(r.policies.length, 2);
  assert.deepEqual([r.policies[1].version, r.policies[1].kept, r.policies[1].origin], [12, 5, 'file']);
  assert.equal(r.patterns[0].policies[1].kept, 5);
  assert.ok(r.policies[1].metered_bytes < r.policies[0].metered_bytes);
  const words = await run(args);
  assert.equal(words.code, 0);
  for (const said of ['records 500', '[1] configuration', `[2] ${policy} (file, version 12)`, 'metered bytes', 'price a month', 'USD a month, assumed', '"user <*> logged in"', '2023-11-14T22:13:20Z']) assert.ok(words.stdout.includes(said), said);
});

test('replay passes over a torn line, wherever it is, and reports it', async (t) => {
  const dir = scratch(t);
  const file = path.join(dir, 'torn.jsonl');
  const line = (n) => JSON.stringify(document(many(n)));
  const tail = (text) => text.slice(text.length / 2);
  const head = (text) => text.slice(0, text.length / 2);
  const files = [
    // [lines, which of them are torn]
    [[head(line(4)), line(3), line(2)], [1]],
    [[tail(line(4)), line(3), line(2)], [1]],
    [[line(3), head(line(4)), line(2)], [2]],
    [[line(3), line(2), head(line(4))], [3]],
    [[tail(line(4)), '', head(line(4)), line(5), head(line(1))], [1, 3, 5]],
  ];
  for (const [lines, torn] of files) {
    writeFileSync(file, lines.join('\n'));
    const out = await run(['replay', ...bare, '--json', file]);
    assert.equal(out.code, 0, out.stderr);
    assert.deepEqual([objects(out)[0].records, objects(out)[0].refused], [5, torn.length]);
    for (const n of torn) assert.match(out.stderr, new RegExp(`torn\\.jsonl:${n}: `));
  }
});

test('replay tells what it cannot read, and goes on', async (t) => {
  const dir = scratch(t);
  const [good, bad] = [path.join(dir, 'good.jsonl'), path.join(dir, 'bad')];
  writeFileSync(good, `${JSON.stringify(document(many(3)))}\n{"resourceLogs": 1}\n\n${JSON.stringify(document(many(2)))}`);
  writeFileSync(bad, 'a line of a log\n');
  const out = await run(['replay', ...bare, '--json', bad, good]);
  assert.equal(out.code, 0);
  assert.deepEqual([objects(out)[0].records, objects(out)[0].refused], [5, 2]);
  assert.match(out.stderr, /good\.jsonl:2: /);
  assert.match(out.stderr, /bad: neither an OTLP request/);
  assert.equal((await run(['replay', ...bare, '--json', '-'], { input: readFileSync(good) })).stdout.includes('"records":5'), true);
  assert.equal((await run(['replay', ...bare, bad])).code, 64);
  assert.equal((await run(['replay', ...bare, path.join(dir, 'missing')])).code, 64);
  assert.equal((await run(['replay', ...bare])).code, 64);
  assert.equal((await run(['replay', ...bare, '--cost-per-gb', 'x', good])).code, 64);
  assert.equal((await run(['replay', ...bare, '--seed', '-1', good])).code, 64);
  assert.equal((await run(['replay', ...bare, '--policy', bad, good])).code, 78);
});
