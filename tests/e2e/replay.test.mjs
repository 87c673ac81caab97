// One pipeline: what the sidecar does, what replay says of the same requests, and what observing
// and a shadow say of them.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { directory } from './lib/disk.mjs';
import { closeLedger, pair, run, Sidecar } from './lib/sidecar.mjs';
import { until } from './lib/wait.mjs';

const SECONDS = 6;
const PER_S = 2000;
const IN_REQUEST = 200;
const NEAR = 0.005;
const NAMES = ['alice', 'bob', 'carol', 'dave', 'erin', 'frank', 'grace', 'heidi', 'ivan', 'judy', 'ken', 'lara'];
const TAIL = 'the request was served from the shard that holds it, in the order in which it came';
const alphabet = 'abcdefghijklmnopqrstuvwxyz';

// A word for each number, of letters alone: a digit would be a variable.
const word = (n) => (n < 26 ? '' : word(Math.floor(n / 26) - 1)) + alphabet[n % 26];

const streams = {
  plain: (i) => ({ severityNumber: [5, 9, 9, 9, 13][i % 5], body: `${['cart', 'stock', 'mail'][i % 3]} took ${i % 977} ms, ${TAIL}` }),
  names: (i) => ({ severityNumber: 9, body: `user ${NAMES[(i * 7) % NAMES.length]} logged in after ${i % 977} ms, ${TAIL}` }),
  errors: (i) => ({ severityNumber: i % 40 === 0 ? 17 : 9, body: i % 40 === 0 ? `request ${i} failed` : `step ${i % 977} done, ${TAIL}` }),
  traced: (i) => ({ ...streams.errors(i + 33), traceId: createHash('md5').update(String(Math.floor(i / 8))).digest('hex') }),
  many: (i) => ({ severityNumber: 9, body: `${word(i % 700)}x ${word((i * 31) % 700)}y finished, ${TAIL}` }),
};

// Requests as OTLP/JSON, of records whose times go on by themselves, ending `ago` seconds ago.
function requests(record, ago = 30) {
  const end = BigInt(Date.now() - ago * 1000) * 1000000n;
  const start = end - BigInt(SECONDS) * 1000000000n;
  const made = [];
  for (let first = 0; first < SECONDS * PER_S; first += IN_REQUEST) {
    const parts = ['one', 'two'].map((service, s) => ({
      resource: { attributes: [{ key: 'service.name', value: { stringValue: service } }] },
      scopeLogs: [{
        logRecords: Array.from({ length: IN_REQUEST / 2 }, (_, k) => {
          const i = first + 2 * k + s;
          const { body, ...rest } = record(i);
          return { timeUnixNano: String(start + (BigInt(i) * 1000000000n) / BigInt(PER_S)), body: { stringValue: body }, ...rest };
        }),
      }],
    }));
    made.push(JSON.stringify({ resourceLogs: parts }));
  }
  return made;
}

const near = (a, b, what, within = NEAR) => assert.ok(Math.abs(a - b) <= within * Math.max(a, b), `${what}: ${a} and ${b}`);
const counted = ['received', 'kept', 'sampled_out', 'dropped_by_rule', 'released'];

async function send(sidecar, made) {
  for (const body of made) assert.equal((await sidecar.post(body, { type: 'application/json' })).status, 200);
}

// What the program does, with `set`: its ledger at the end, the bytes that it sent, its pages.
async function live(t, set, made) {
  const { sidecar } = await pair(t, { set });
  await send(sidecar, made);
  await until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
  const hasStorm = 'sampling.floor.max_per_second' in set && set.mode !== 'observe'; // an event tells of it when it is over
  if (hasStorm) await until('the end of the storm', async () => (await sidecar.ledger()).services.lipservice?.delivered > 0);
  const metrics = await sidecar.metrics();
  const sentBytes = metrics['lipservice_exporter_sent_bytes_total{form="decoded"}'];
  const top = JSON.parse((await sidecar.page('admin', '/api/top')).split('\n')[0]);
  const shadow = set.mode || set['shadow.policy_file'] ? JSON.parse(await sidecar.page('admin', '/api/shadow')) : null;
  const events = metrics['lipservice_records_kept_total{reason="event"}'];
  const ledger = await closeLedger(sidecar, { received: SECONDS * PER_S + events, lost: {} });
  return { ledger, events, sentBytes, metrics, top, shadow };
}

async function replay(t, set, made, args = []) {
  const capture = path.join(directory(t), 'capture.jsonl');
  writeFileSync(capture, made.join('\n') + '\n');
  const settings = Object.entries(set).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const { code, stdout, stderr } = await run(['replay', '--config', '/dev/null', '--json', ...settings, ...args, capture]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout).policies;
}

const BRIEF = { 'sampling.first.window': '1s' }; // some of them in the stream

const rows = {
  defaults: { stream: streams.plain, set: { ...BRIEF } },
  families: { stream: streams.names, set: { ...BRIEF }, also: ({ ledger }) => assert.ok(ledger.kept < 0.25 * ledger.received, 'the firsts are the family\'s') },
  // Under a budget the two draw from different starts and differ by a few records: enough are left for those to be below 0.5 %.
  'a budget in records': { stream: streams.plain, set: { ...BRIEF, 'sampling.budget.records_per_second': 450 }, also: ({ ledger }) => assert.ok(ledger.kept < 1.6 * 450 * SECONDS, `${ledger.kept}`) },
  'a budget in bytes': { stream: streams.errors, set: { ...BRIEF, 'sampling.budget.bytes_per_month': '200GiB' } },
  'a share to save': { stream: streams.plain, set: { ...BRIEF, 'sampling.budget.target_reduction': 0.7 } },
  'a limit on errors, of some days ago': { ago: 6 * 24 * 3600, stream: streams.errors, set: { ...BRIEF, 'sampling.floor.max_per_second': 5 }, also: ({ ledger }) => assert.ok(ledger.dropped_by_rule > 200 && ledger.dropped_by_rule < 300 - 5 * (SECONDS - 1), `${ledger.dropped_by_rule}`) },
  'context by instance': { stream: streams.errors, set: { ...BRIEF }, also: ({ ledger }) => assert.ok(ledger.released > 100) },
  'context by trace': { stream: streams.traced, set: { ...BRIEF }, also: ({ ledger }) => assert.ok(ledger.released > 100) },
  'a cap of patterns': { stream: streams.many, set: { ...BRIEF, 'sampling.max_patterns_per_service': 16, 'sampling.family_weight': 0 } },
  // Entries that come and go are spaced from a random start each: as good as independent draws.
  'a small table': { within: 0.08, stream: streams.many, set: { ...BRIEF, 'sampling.max_patterns': 256, 'sampling.family_weight': 0 } },
  'all stamps': { stream: streams.plain, set: { ...BRIEF, 'sampling.stamps': '[adjusted_count, pattern, family, threshold, randomness, template, reason]' } },
};

for (const [name, { stream, set, also, ago, within }] of Object.entries(rows))
  test(`replay is the sidecar: ${name}`, async (t) => {
    const made = requests(stream, ago);
    const is = await live(t, set, made);
    const [says] = await replay(t, set, made);
    for (const what of counted.slice(1)) near(says[what], is.ledger[what], what, within);
    near(says.metered_bytes, is.sentBytes, 'metered bytes', within);
    // The ledger's own bytes are those that were sent, all of them.
    const stages = (stage) => is.metrics[`lipservice_record_bytes_total{stage="${stage}"}`];
    assert.equal(stages('kept') + stages('released'), is.sentBytes);
    also?.(is);
  });

// Observing, and a shadow of the same policy, say what enforcing does: records, context, bytes.
for (const name of ['defaults', 'families', 'a limit on errors, of some days ago', 'context by instance', 'context by trace'])
  test(`what is only looked at is what would be done: ${name}`, async (t) => {
    const { stream, set, ago } = rows[name];
    const made = requests(stream, ago);
    const is = await live(t, set, made);
    const file = path.join(directory(t), 'policy.yaml');
    writeFileSync(file, 'version: 2\nglobal_rate: 0.2\nseverity_rates: {TRACE: 0.05, DEBUG: 0.05, INFO: 0.2, WARN: 0.5}\n'); // as by default
    const looks = { observing: { mode: 'observe' }, beside: { 'shadow.policy_file': file }, both: { mode: 'observe', 'shadow.policy_file': file } };
    for (const [look, more] of Object.entries(looks)) {
      const seen = await live(t, { ...set, ...more }, made);
      for (const lane of seen.shadow.lanes.filter((l) => ['enforced', 'shadow'].includes(l.lane))) {
        const what = `${look}, ${lane.lane}`;
        for (const key of ['sampled_out', 'dropped_by_rule', 'released']) near(lane[key], is.ledger[key], `${what}: ${key}`);
        near(lane.kept, is.ledger.kept - is.events, `${what}: kept`);
        assert.ok(Math.abs(lane.kept_bytes / is.sentBytes - 1) < 0.02, `${what}: ${lane.kept_bytes} bytes, ${is.sentBytes} were sent`);
      }
      const done = seen.shadow.lanes.find((l) => l.lane === 'done');
      assert.equal(done.kept_bytes, seen.sentBytes, `${look}: done`);
      assert.equal(done.released, seen.ledger.released, `${look}: done`);
    }
  });

test('what stamps cost is in every figure', async (t) => {
  const short = (i) => ({ severityNumber: 9, body: `same line ${i}` });
  const made = requests(short);
  for (const stamps of ['[]', '[adjusted_count]', '[adjusted_count, pattern, family]']) {
    const set = { 'sampling.stamps': stamps };
    const is = await live(t, set, made);
    const [says] = await replay(t, set, made);
    const part = is.sentBytes / is.metrics['lipservice_record_bytes_total{stage="received"}'];
    near(says.metered_bytes, is.sentBytes, 'replay');
    assert.equal(is.top.kept_bytes, is.sentBytes, 'top');
    assert.equal(is.top.received_bytes, is.metrics['lipservice_record_bytes_total{stage="received"}']);
    const [low, high] = { '[]': [0.19, 0.22], '[adjusted_count]': [0.42, 0.5], '[adjusted_count, pattern, family]': [0.65, 0.8] }[stamps];
    assert.ok(part > low && part < high, `${stamps}: ${part} of the bytes were sent`);
  }
});

// On disk groups are stored first, and a request merges several: what is counted is what was
// stored, which is never less than what is sent.
test('on disk and after a kill the figures are those of what was stored', async (t) => {
  const set = { ...BRIEF, durability: 'disk', 'spool.directory': directory(t) };
  const made = requests(streams.errors);
  const { stub, sidecar } = await pair(t, { set });
  await stub.down();
  await send(sidecar, made.slice(0, 30));
  const first = await sidecar.metrics();
  sidecar.signal('SIGKILL');
  await sidecar.end();
  await stub.up();
  const again = await Sidecar.start(t, { set, stub });
  await until('what was found', async () => (await again.ledger()).delivered > 0 && (await again.metrics()).lipservice_spool_records === 0);
  const found = await again.metrics();
  const stages = (m, stage) => m[`lipservice_record_bytes_total{stage="${stage}"}`];
  const sent = (m) => m['lipservice_exporter_sent_bytes_total{form="decoded"}'];
  // What was found is metered as it goes on: exactly that.
  assert.equal(stages(found, 'kept'), sent(found));
  const stored = stages(first, 'kept') + stages(first, 'released');
  assert.ok(sent(found) <= stored && sent(found) > 0.97 * stored, `${sent(found)} of ${stored}`);
  await send(again, made.slice(30));
  await until('an empty queue', async () => (await again.ledger()).queued === 0);
  const last = await again.metrics();
  const counted = stages(last, 'kept') + stages(last, 'released');
  assert.ok(sent(last) <= counted && sent(last) > 0.97 * counted, `${sent(last)} of ${counted}`);
  await closeLedger(again, { lost: {} });
});

// Features multiply: a reload changes what is observed, and figures go on as they should.
test('observing begins and ends by a reload: context is looked at, then released, and no bytes are lost', async (t) => {
  const file = path.join(directory(t), 'config.yaml');
  const config = (mode) => writeFileSync(file, `mode: ${mode}\nsampling:\n  first: {window: 1s}\n`);
  config('observe');
  const made = requests(streams.errors);
  const { sidecar } = await pair(t, { set: {}, args: ['--config', file] });
  const look = async () => JSON.parse(await sidecar.page('admin', '/api/shadow'));
  await send(sidecar, made.slice(0, 30));
  const would = (await look()).lanes.find((l) => l.lane === 'enforced');
  assert.ok(would.released > 50);
  assert.equal((await sidecar.ledger()).released, 0);
  assert.equal((await sidecar.metrics())['lipservice_records_released_total'], 0);
  config('enforce');
  sidecar.signal('SIGHUP');
  await until('the reload', async () => (await sidecar.metrics())['lipservice_config_reloads_total{outcome="accepted"}'] === 1);
  await send(sidecar, made.slice(30));
  await until('an empty queue', async () => (await sidecar.ledger()).queued === 0);
  const metrics = await sidecar.metrics();
  assert.equal(metrics['lipservice_record_bytes_total{stage="kept"}'] + metrics['lipservice_record_bytes_total{stage="released"}'], metrics['lipservice_exporter_sent_bytes_total{form="decoded"}']);
  const ledger = await closeLedger(sidecar, { received: SECONDS * PER_S, lost: {} });
  assert.ok(ledger.released > 50);
});
