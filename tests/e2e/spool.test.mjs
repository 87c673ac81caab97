// spool inspect, verify, export: directories that are made here, byte by byte, as src/export/README.md says.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeLogs } from './lib/otlp.mjs';
import { run } from './lib/sidecar.mjs';

function crc32c(bytes, crc = 0) {
  crc = ~crc >>> 0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

const SALT = 0x1234567;

function header(firstId, version = 1) {
  const one = Buffer.alloc(512);
  one.write('LIPSPOOL');
  one.writeUInt32LE(version, 8);
  one.writeUInt32LE(SALT, 12);
  one.writeBigUInt64LE(BigInt(firstId), 16);
  one.writeBigUInt64LE(BigInt(firstId), 24);
  one.writeUInt32LE(crc32c(one.subarray(0, 60)), 60);
  return Buffer.concat([one, one]);
}

function frame(id, payload, records) {
  const head = Buffer.alloc(40);
  head.write('LSPF');
  head.writeUInt32LE(payload.length, 4);
  head.writeBigUInt64LE(BigInt(id), 8);
  head.writeBigUInt64LE(BigInt(Date.now() - 60_000) * 1000000n, 16);
  head.writeUInt32LE(records, 24);
  head.writeUInt32LE(crc32c(payload), 32);
  head.writeUInt32LE(crc32c(head.subarray(0, 36), SALT), 36);
  return Buffer.concat([head, payload]);
}

const request = (n) => encodeLogs({ resourceLogs: [{ scopeLogs: [{ logRecords: [{ severityNumber: 9, body: { stringValue: `line ${n}` } }] }] }] });

// Frames 1 to 3 in one segment, 4 to 6 in the next, which ends in reserved room.
function spool(t) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-spool-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const frames = [1, 2, 3, 4, 5, 6].map((n) => frame(n, Buffer.from(request(n)), 1));
  writeFileSync(path.join(dir, '0000000000000001.seg'), Buffer.concat([header(1), ...frames.slice(0, 3)]));
  writeFileSync(path.join(dir, '0000000000000004.seg'), Buffer.concat([header(4), ...frames.slice(3), Buffer.alloc(5000)]));
  return { dir, frames };
}

const contents = (dir) => readdirSync(dir).sort().map((name) => [name, statSync(path.join(dir, name)).mtimeMs, readFileSync(path.join(dir, name)).toString('latin1')]);
const bodies = (out) => out.stdout.trim().split('\n').map((line) => JSON.parse(line).resourceLogs[0].scopeLogs[0].logRecords[0].body.stringValue);

test('inspect and verify say what waits, and change nothing', async (t) => {
  const { dir } = spool(t);
  const before = contents(dir);
  const text = await run(['spool', 'inspect', dir]);
  assert.equal(text.code, 0, text.stderr);
  assert.match(text.stdout, /0000000000000001\.seg +1 +3 +3 /);
  assert.match(text.stdout, /6 frames with 6 records .* wait; the oldest for (59|6\d) s/);
  assert.match(text.stdout, /nothing is damaged/);
  const json = JSON.parse((await run(['spool', 'inspect', '--json', dir])).stdout);
  assert.deepEqual([json.frames, json.records, json.next_id, json.position, json.segments.map((s) => s.frames)], [6, 6, 7, null, [3, 3]]);
  assert.equal((await run(['spool', 'verify', dir])).code, 0);
  assert.deepEqual(contents(dir), before);
});

test('export writes every frame as OTLP JSON', async (t) => {
  const { dir } = spool(t);
  const before = contents(dir);
  const out = await run(['spool', 'export', dir]);
  assert.equal(out.code, 0, out.stderr);
  assert.deepEqual(bodies(out), [1, 2, 3, 4, 5, 6].map((n) => `line ${n}`));
  assert.match(out.stderr, /6 requests, 6 records/);
  assert.deepEqual(contents(dir), before);
});

test('damage is told by verify, and passed over by export', async (t) => {
  const { dir, frames } = spool(t);
  const file = path.join(dir, '0000000000000001.seg');
  const bytes = readFileSync(file);
  bytes[1024 + frames[0].length + 45] ^= 1; // in the second payload
  writeFileSync(file, bytes);
  const verify = await run(['spool', 'verify', '--json', dir]);
  assert.equal(verify.code, 65, verify.stderr);
  const { damage, segments } = JSON.parse(verify.stdout);
  assert.deepEqual([damage.lost_frames, damage.damaged_bytes, segments[0].damaged, segments[1].damaged], [1, frames[1].length, true, false]);
  const out = await run(['spool', 'export', dir]);
  assert.equal(out.code, 65);
  assert.deepEqual(bodies(out), [1, 3, 4, 5, 6].map((n) => `line ${n}`));
});

test('a frame that holds no logs is told', async (t) => {
  const { dir } = spool(t);
  writeFileSync(path.join(dir, '0000000000000007.seg'), Buffer.concat([header(7), frame(7, Buffer.from('not protobuf'), 1)]));
  const out = await run(['spool', 'export', dir]);
  assert.equal(out.code, 65);
  assert.match(out.stderr, /frame 7: /);
  assert.equal(bodies(out).length, 6);
});

test('what cannot be looked at', async (t) => {
  const { dir } = spool(t);
  writeFileSync(path.join(dir, '0000000000000009.seg'), header(9, 2));
  const newer = await run(['spool', 'inspect', dir]);
  assert.equal(newer.code, 78);
  assert.match(newer.stderr, /0000000000000009\.seg is of a newer version/);
  const nowhere = await run(['spool', 'inspect', path.join(dir, 'nowhere')]);
  assert.equal(nowhere.code, 69);
  assert.ok(!readdirSync(dir).includes('nowhere'));
  assert.equal((await run(['spool', 'look', dir])).code, 64);
  assert.equal((await run(['spool', 'verify'])).code, 64);
  assert.equal((await run(['spool', 'verify', dir, dir])).code, 64);
  mkdirSync(path.join(dir, 'empty'));
  const empty = await run(['spool', 'verify', '--json', path.join(dir, 'empty')]);
  assert.equal(empty.code, 0);
  assert.equal(JSON.parse(empty.stdout).frames, 0);
});
