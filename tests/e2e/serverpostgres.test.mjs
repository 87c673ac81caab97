// The same tests with PostgreSQL, and what only that has: several servers.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import http from 'node:http';
import { test } from 'node:test';
import * as postgres from './lib/postgres.mjs';
import { counted, home, report, Server } from './lib/server.mjs';
import { killServer } from './lib/serverkills.mjs';
import { until } from './lib/wait.mjs';

const isThere = postgres.start();

if (!isThere) {
  test('PostgreSQL', { skip: 'it is not installed' }, () => {});
} else {
  home.postgres = postgres;
  await import('./server.test.mjs');

  test('a server that is killed at any time: with PostgreSQL', async (t) => {
    const sums = await killServer(t, 6);
    assert.ok(sums.reports > 10, `only ${sums.reports} reports`);
  });

  test('two servers that are killed at any time, and reports that are sent to both: each counts once', async (t) => {
    const sums = await killServer(t, 8, { servers: 2, database: postgres.database() });
    assert.ok(sums.reports > 10, `only ${sums.reports} reports`);
    assert.ok(sums.repeated > 0);
  });

  // An answer that does not come: the connection is cut when the report is on its way.
  const withoutAnswer = (server, body) => assert.rejects(new Promise((resolve, reject) => {
    const text = JSON.stringify(body);
    const request = http.request(`${server.url}/api/v1/patterns/stats`, {
      method: 'POST', headers: { authorization: `Bearer ${server.key}`, 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
    });
    request.on('error', reject).on('response', resolve);
    request.end(text, () => request.destroy(new Error('cut')));
  }));
  const taken = (server, n) => until(`${n} reports`, async () => (await server.metrics())['lipservice_server_reports_total{outcome="accepted"}'] >= n);
  const of = (sequence, count) => report('a', count, { instance: 'host', boot: 'one', sequence, lost: { expired: count } });

  for (const [first, second] of [['one', 'two'], ['two', 'one']])
    test(`a report that both servers take is counted once; ${first} writes before ${second}, and is killed`, async (t) => {
      const database = postgres.database();
      // Each writes when it ends, or starts again after a kill.
      const set = { 'server.flush_interval': '5m' };
      const servers = { one: await Server.start(t, { set, database }) };
      await servers.one.ok('POST', '/api/v1/patterns/stats', report('a', 200));
      await until('it is written, as the service is new', async () => (await counted(servers.one, 'a')) === 200);
      servers.two = await Server.start(t, { set, database, key: servers.one.key }); // which knows it
      await withoutAnswer(servers.one, of(1, 10));
      await taken(servers.one, 2);
      await servers.two.ok('POST', '/api/v1/patterns/stats', of(1, 10));
      await servers.two.ok('POST', '/api/v1/patterns/stats', of(2, 20));
      await servers.one.ok('POST', '/api/v1/patterns/stats', of(3, 30));
      assert.equal(await counted(servers.one, 'a'), 200, 'nothing is written yet');

      const again = async (at) => {
        const { directory, key } = servers[at];
        await servers[at].kill();
        servers[at] = await Server.start(t, { set, directory, database, key });
      };
      await again(first);
      assert.equal(await counted(servers[first], 'a'), first === 'one' ? 240 : 230);
      await again(second);
      assert.equal(await counted(servers[second], 'a'), 260);
      const elsewhere = async (at) => (await servers[at].metrics()).lipservice_server_reports_counted_elsewhere_total;
      assert.deepEqual([await elsewhere(first), await elsewhere(second)], [0, 1]);
      assert.equal(execFileSync('psql', [database, '-Atc', 'SELECT SUM(records), MAX(sequence), MAX(missing) FROM troubles, senders'], { encoding: 'utf8' }).trim(), '60|3|');
      await again(first); // what is written is written
      assert.equal(await counted(servers[first], 'a'), 260);
      for (const at of ['one', 'two']) await servers[at].stop();
    });

  test('alerts: losses, the quota, and what is silent, with PostgreSQL', async (t) => {
    const database = postgres.database();
    const server = await Server.start(t, { set: { 'server.flush_interval': '100ms', 'server.alerts.interval': '1s' }, database });
    await server.ok('POST', '/api/v1/patterns/stats', report('a', 10, { lost: { expired: 3, too_large: 4 }, quota_limited: true }));
    await server.ok('POST', '/api/v1/patterns/stats', report('a', 10, { lost: { expired: 5 } }));
    await until('rows', async () => (await counted(server, 'a')) === 20);
    execFileSync('psql', [database, '-qc', `
      INSERT INTO patterns (id, service_id, signature, template, family, received, kept, bytes, kept_bytes, traces, debugs, infos, warns, errors, fatals, first_seen_ms, last_seen_ms)
        SELECT 1000 + n, (SELECT MIN(id) FROM services), 'p' || n, 'p' || n, '', 9, 9, 9, 9, 0, 0, 9, 0, 0, 0, 0, CAST(EXTRACT(EPOCH FROM now()) AS BIGINT) * 1000 FROM generate_series(1, 2) n;
      INSERT INTO counts (grain_s, pattern_id, start_s, received, kept, bytes, kept_bytes)
        SELECT 60, 1000 + n, CAST(EXTRACT(EPOCH FROM now()) AS BIGINT) / 60 * 60 - 60 * back, 20, 20, 0, 0
        FROM generate_series(1, 2) n, generate_series(0, 100) back WHERE n = 1 OR back > 5;
      INSERT INTO heard (team_id, start_s) SELECT 1, CAST(EXTRACT(EPOCH FROM now()) AS BIGINT) / 60 * 60 - 60 * back FROM generate_series(0, 100) back ON CONFLICT DO NOTHING;
      UPDATE services SET created_ms = created_ms - 90000000;
      UPDATE patterns SET first_seen_ms = first_seen_ms - 90000000;
      INSERT INTO patterns (id, service_id, signature, template, family, received, kept, bytes, kept_bytes, traces, debugs, infos, warns, errors, fatals, first_seen_ms, last_seen_ms, instance)
        SELECT 1003, service_id, 'came', 'came', '', 9, 9, 9, 9, 0, 0, 9, 0, 0, 0, CAST(EXTRACT(EPOCH FROM now()) AS BIGINT) * 1000 - 1200000, last_seen_ms, 'host-b' FROM patterns WHERE id = 1001;
      INSERT INTO counts (grain_s, pattern_id, start_s, received, kept, bytes, kept_bytes)
        SELECT 60, 1003, start_s, 5, 5, 0, 0 FROM counts WHERE pattern_id = 1001 AND grain_s = 60 ORDER BY start_s DESC LIMIT 15;
      INSERT INTO senders (service_id, instance, boot, sequence, seen_ms, first_ms) SELECT MIN(id), 'host-' || n, 'boot', 9, MAX(seen_ms), MAX(seen_ms) - 9000000 FROM services, (VALUES ('a'), ('b'), ('c')) v (n) GROUP BY n;
      INSERT INTO service_versions (service_id, version, first_ms) SELECT MIN(id), v.n, MAX(seen_ms) - back FROM services, (VALUES ('1.0', 90000000), ('2.0', 1260000)) v (n, back) GROUP BY v.n, back`], { stdio: 'pipe' });
    const alerts = await until('alerts of all three', async () => {
      const found = await server.ok('GET', '/api/v1/alerts');
      return ['losses', 'quota', 'silence', 'new_since_version', 'new_on_instance'].every((type) => found.some((row) => row.type === type)) && found;
    });
    const of = (type) => alerts.filter((row) => row.type === type).map((row) => [row.service_name, row.pattern_signature, row.message]);
    assert.deepEqual(of('losses'), [['a', '', '12 records were lost in 5 minutes: expired 8, too_large 4']]);
    assert.deepEqual(of('quota').map((row) => row.slice(0, 2)), [['a', '']]);
    assert.deepEqual(of('silence'), [['a', 'p2', '0 in five minutes, 100 before: p2']]);
    assert.deepEqual(of('new_since_version').map((row) => row[1]), ['came']);
    assert.match(of('new_on_instance')[0][2], /^new on one of 3 instances, host-b, for \d+ minutes: came$/);
    await server.stop();
  });

  test('two servers: what one is told is in force at the other within two seconds', async (t) => {
    const database = postgres.database();
    const set = { 'server.flush_interval': '100ms' };
    const one = await Server.start(t, { set, database });
    const two = await Server.start(t, { set, database, key: one.key });
    assert.equal(two.stdout, ''); // the first key was made once
    await one.ok('POST', '/api/v1/patterns/stats', report('a', 10));
    await until('rows of one', async () => (await counted(one, 'a')) === 10);
    await one.ok('PUT', '/api/v1/policies/a', { global_rate: 0.5 });

    const reporter = await one.newKey('report'); // a key of one opens the other
    await until('the key', async () => (await two.call('GET', '/api/v1/policies/none', { key: reporter })).status === 404);
    await two.ok('POST', '/api/v1/patterns/stats', report('a', 7), { key: reporter }); // learned there, too
    await until('the policy of a service that is learned', async () => (await two.ok('GET', '/api/v1/policies/a')).version === 1);
    await until('both add up', async () => (await counted(one, 'a')) === 17 && (await counted(two, 'a')) === 17);

    const now = await two.call('GET', '/api/v1/policies/a');
    const held = two.call('GET', '/api/v1/policies/a', { headers: { 'if-none-match': now.headers.get('etag'), prefer: 'wait=60' } });
    await until('it waits', async () => (await two.metrics()).lipservice_server_waiting === 1);
    const began = Date.now();
    await one.ok('PUT', '/api/v1/policies/a', { global_rate: 0.25 });
    assert.equal((await held).body.version, 2);
    assert.ok(Date.now() - began < 2000);
    assert.ok((await two.metrics()).lipservice_server_notifications_total > 0);

    // Each change reaches who waits at the other, though that one looks by itself every ten seconds.
    const took = [];
    for (let version = 3; version < 23; version++) {
      const tag = (await two.call('GET', '/api/v1/policies/a')).headers.get('etag');
      const next = two.call('GET', '/api/v1/policies/a', { headers: { 'if-none-match': tag, prefer: 'wait=60' } });
      await until('it waits', async () => (await two.metrics()).lipservice_server_waiting === 1);
      const at = Date.now();
      await one.ok('PUT', '/api/v1/policies/a', { global_rate: version / 100 });
      assert.equal((await next).body.version, version);
      took.push(Date.now() - at);
    }
    took.sort((a, b) => a - b);
    t.diagnostic(`a change at one reached the other in ${took[10]} ms, at most ${took[19]}`);
    assert.ok(took[19] < 2000, `${took}`);

    // The connection on which it is said is lost: it looks by itself, and connects again.
    const cut = () => execFileSync('psql', [database, '-Atc', "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"], { encoding: 'utf8' }).trim();
    assert.equal(cut(), '2');
    await one.ok('PUT', '/api/v1/policies/a', { global_rate: 0.5 });
    await until('it is in force at the other', async () => (await two.ok('GET', '/api/v1/policies/a')).version === 23);
    await until('both listen again', () => execFileSync('psql', [database, '-Atc', "SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"], { encoding: 'utf8' }).trim() === '2');
    const heard = (await two.metrics()).lipservice_server_notifications_total;
    await one.ok('PUT', '/api/v1/policies/a', { global_rate: 0.6 });
    await until('it is said again', async () => (await two.metrics()).lipservice_server_notifications_total > heard);

    const made = await two.ok('POST', '/api/v1/teams', { name: 'other' });
    await until('the team', async () => (await one.call('GET', '/api/v1/services', { key: made.key })).status === 200);
    const key = (await two.ok('GET', '/api/v1/keys')).find((row) => row.role === 'report');
    await two.ok('DELETE', `/api/v1/keys/${key.id}`);
    await until('the end of the key', async () => (await one.call('GET', '/api/v1/policies/a', { key: reporter })).status === 401);
    await one.stop();
    await two.stop();
  });
}
