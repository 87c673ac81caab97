// HogQL over rows, run for real by DuckDB. Where the two differ, what PostHog does is made here:
// a missing key of a map is '', sums of nothing are 0 where they have a condition, names are those
// that HogQL knows, now() is the stand-in's, 100 rows are given where no LIMIT stands.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';

const LIMIT = 100;
const LIMIT_MAX = 50000;
const SECONDS = 10;

const FUNCTIONS = new Set(`abs any anyLast argMax argMin arrayJoin avg avgIf ceil coalesce concat count countIf dateDiff
  empty endsWith exp extract floor formatDateTime greatest has if ifNull ilike least left length like log
  log10 log2 lower match max maxIf median min minIf multiIf not notEmpty notILike notLike now nullIf nullif plus position
  pow power quantile rank replaceAll replaceOne replaceRegexpAll right round row_number sqrt startsWith stddevPop
  stddevSamp substring sum sumIf toDate toDateTime toFloat toFloatOrDefault toFloatOrZero toInt toIntOrZero
  toStartOfDay toStartOfFifteenMinutes toStartOfFiveMinutes toStartOfHour toStartOfInterval toStartOfMinute
  toStartOfMonth toStartOfWeek toString toUnixTimestamp trim tuple uniq uniqExact uniqIf upper varPop varSamp`.split(/\s+/));
const WORDS = new Set('and as asc between by case desc distinct else end exists filter from group having in interval is join limit not on or order over partition select then union using values when where with all left inner'.split(' '));
const TABLES = new Set(['logs']);

const MACROS = [
  'toFloat(x) AS try_cast(x AS DOUBLE)',
  'toFloatOrZero(x) AS coalesce(try_cast(x AS DOUBLE), 0)',
  '"toFloatOrDefault"(x, y) AS coalesce(try_cast(x AS DOUBLE), y)',
  'toInt(x) AS try_cast(x AS BIGINT)',
  'toIntOrZero(x) AS coalesce(try_cast(x AS BIGINT), 0)',
  'toString(x) AS cast(x AS VARCHAR)',
  'toDateTime(x) AS cast(x AS TIMESTAMP)',
  'toUnixTimestamp(x) AS cast(epoch(x) AS BIGINT)',
  'toDate(x) AS cast(x AS DATE)',
  "toStartOfMinute(x) AS date_trunc('minute', x)",
  "toStartOfHour(x) AS date_trunc('hour', x)",
  "toStartOfDay(x) AS date_trunc('day', x)",
  "toStartOfWeek(x) AS date_trunc('week', x)",
  "toStartOfMonth(x) AS date_trunc('month', x)",
  "toStartOfFiveMinutes(x) AS time_bucket(INTERVAL 5 MINUTE, x, TIMESTAMP '1970-01-01')",
  "toStartOfFifteenMinutes(x) AS time_bucket(INTERVAL 15 MINUTE, x, TIMESTAMP '1970-01-01')",
  "toStartOfInterval(x, i) AS time_bucket(i, x, TIMESTAMP '1970-01-01')",
  'multiIf(a, b, c) AS CASE WHEN a THEN b ELSE c END, (a, b, c, d, e) AS CASE WHEN a THEN b WHEN c THEN d ELSE e END, (a, b, c, d, e, f, g) AS CASE WHEN a THEN b WHEN c THEN d WHEN e THEN f ELSE g END, (a, b, c, d, e, f, g, h, i) AS CASE WHEN a THEN b WHEN c THEN d WHEN e THEN f WHEN g THEN h ELSE i END',
  'sumIf(x, c) AS coalesce(sum(CASE WHEN c THEN x END), 0)',
  'avgIf(x, c) AS avg(CASE WHEN c THEN x END)',
  'minIf(x, c) AS min(CASE WHEN c THEN x END)',
  'maxIf(x, c) AS max(CASE WHEN c THEN x END)',
  'uniq(x) AS count(DISTINCT x)',
  'uniqExact(x) AS count(DISTINCT x)',
  'uniqIf(x, c) AS count(DISTINCT CASE WHEN c THEN x END)',
  'anyLast(x) AS last(x)',
  'ifNull(x, y) AS coalesce(x, y)',
  "empty(x) AS x = ''",
  "notEmpty(x) AS x <> ''",
  'startsWith(x, y) AS starts_with(x, y)',
  'endsWith(x, y) AS ends_with(x, y)',
  'match(x, y) AS regexp_matches(x, y)',
  "replaceAll(x, y, z) AS replace(x, y, z)",
  "replaceRegexpAll(x, y, z) AS regexp_replace(x, y, z, 'g')",
  "dateDiff(u, a, b) AS date_diff(u, a, b)",
  'plus(a, b) AS a + b',
];

export class Refused extends Error {
  isRefusal = true;
}

// The text without what stands in quotes, of the same length.
const outside = (sql) => sql.replace(/'(?:[^'\\]|\\.|'')*'/g, (text) => `'${' '.repeat(text.length - 2)}'`);

function check(sql) {
  const bare = outside(sql);
  for (const [, name] of bare.matchAll(/([A-Za-z_]\w*)\s*\(/g))
    if (!FUNCTIONS.has(name) && !WORDS.has(name.toLowerCase())) throw new Refused(`Unsupported function call '${name}(...)'`);
  for (const [, name] of bare.matchAll(/\b(?:from|join)\s+([A-Za-z_]\w*)/gi))
    if (!TABLES.has(name) && !new RegExp(`\\b${name}\\s+as\\s*\\(`, 'i').test(bare)) throw new Refused(`Unknown table '${name}'.`);
  if (/;|\b(?:insert|update|delete|create|drop|attach|copy|pragma|install|load)\b/i.test(bare)) throw new Refused('Only SELECT is allowed.');
  if (/\b\w+\s*=\s*"/.test(bare)) throw new Refused('A double quote is an identifier.');
}

function translate(sql, now) {
  const cells = sql.replace(/\b((?:\w+\.)?(?:resource_)?attributes)\[('(?:[^']|'')*')\]/g, "coalesce($1[$2], '')");
  const instant = new Date(now).toISOString().replace('T', ' ').replace('Z', '');
  const limited = /\blimit\s+(\d+)/i.exec(outside(cells).split(')').at(-1));
  if (limited && Number(limited[1]) > LIMIT_MAX) throw new Refused(`LIMIT is at most ${LIMIT_MAX}.`);
  return cells.replace(/\bany\(/g, 'any_value(').replace(/\bnow\(\)/g, `TIMESTAMP '${instant}'`) + (limited ? '' : ` LIMIT ${LIMIT}`);
}

const TABLE = `uuid VARCHAR, "timestamp" TIMESTAMP, observed_timestamp TIMESTAMP, body VARCHAR, message VARCHAR, severity_text VARCHAR, severity_number INTEGER,
  level VARCHAR, trace_id VARCHAR, span_id VARCHAR, trace_flags INTEGER, attributes MAP(VARCHAR, VARCHAR), resource_attributes MAP(VARCHAR, VARCHAR),
  event_name VARCHAR, service_name VARCHAR, instrumentation_scope VARCHAR, _bytes_uncompressed BIGINT, time_bucket TIMESTAMP`;
const NAMES = [...TABLE.matchAll(/"?(\w+)"? (VARCHAR|TIMESTAMP|INTEGER|BIGINT|MAP\(VARCHAR, VARCHAR\))/g)].map(([, name, type]) => [name, type]);

const rowOf = (row) => JSON.stringify({
  ...Object.fromEntries(NAMES.map(([name]) => [name, row[name]])),
  timestamp: row.timestamp.replace('T', ' ').replace('Z', ''),
  observed_timestamp: row.observed_timestamp.replace('T', ' ').replace('Z', ''),
  message: row.body,
  _bytes_uncompressed: row.bytes,
  time_bucket: `${row.timestamp.slice(0, 10)} 00:00:00`,
});

function plain(value, type) {
  if (value === null) return null;
  if (/^(U?BIGINT|HUGEINT|U?INTEGER|DECIMAL|DOUBLE|FLOAT)/.test(type)) return Number(value);
  if (/^TIMESTAMP/.test(type)) return `${String(value).replace(' ', 'T').replace(/\+00$/, '')}Z`;
  return value;
}

export class Sql {
  constructor() {
    this.loaded = 0;
    this.first = null;
    this.dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-sql-'));
    this.turn = Promise.resolve();
  }

  async #open() {
    this.instance = await DuckDBInstance.create(':memory:', { threads: '1', max_memory: '1GB' });
    this.db = await this.instance.connect();
    await this.db.run(`CREATE TABLE logs (${TABLE})`);
    for (const macro of MACROS) {
      const [name] = macro.split('(');
      await this.db.run(`CREATE OR REPLACE MACRO ${name}${macro.slice(name.length)}`);
    }
  }

  // Rows are appended as they come; those of another list begin anew.
  async #load(rows) {
    if (!this.db) await this.#open();
    if (rows.length < this.loaded || rows[0] !== this.first) {
      await this.db.run('DELETE FROM logs');
      this.loaded = 0;
    }
    if (rows.length === this.loaded) return;
    const file = path.join(this.dir, 'rows.ndjson');
    writeFileSync(file, rows.slice(this.loaded).map(rowOf).join('\n'));
    await this.db.run(`INSERT INTO logs SELECT * FROM read_json('${file}', format = 'newline_delimited', columns = {${NAMES.map(([name, type]) => `${name}: '${type}'`).join(', ')}})`);
    this.loaded = rows.length;
    this.first = rows[0];
  }

  run(sql, rows, now) {
    const answer = this.turn.then(() => this.#run(sql, rows, now));
    this.turn = answer.catch(() => {});
    return answer;
  }

  async #run(sql, rows, now) {
    check(sql);
    const text = translate(sql, now);
    await this.#load(rows);
    const timer = setTimeout(() => this.db.interrupt(), SECONDS * 1000);
    let reader;
    try {
      reader = await this.db.runAndReadAll(text);
    } catch (error) {
      throw new Refused(error.message);
    } finally {
      clearTimeout(timer);
    }
    const types = reader.columnTypes().map(String);
    const columns = reader.columnNames();
    const results = reader.getRowsJson().map((row) => row.map((value, i) => plain(value, types[i])));
    return { results, columns, types: columns.map((name, i) => [name, types[i]]) };
  }

  async close() {
    await this.turn;
    this.db?.closeSync();
    this.instance?.closeSync();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
