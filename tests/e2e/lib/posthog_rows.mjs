// What PostHog's log routes compute from rows: filters, counts, buckets. The rows are those that
// the stand-in for ingestion stored, as they are read back: one layer of JSON strings stripped.
const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];

const plain = (cell) => {
  if (!cell.startsWith('"')) return cell;
  try {
    return JSON.parse(cell);
  } catch {
    return cell;
  }
};
const plainMap = (map) => Object.fromEntries(Object.entries(map).map(([key, cell]) => [key, plain(cell)]));

// A stored row as the API gives it; `at`: its time in ms, `us` in microseconds.
export function readBack(row) {
  const us = BigInt(row.timestamp);
  return {
    us,
    at: Number(us / 1000n),
    seenAt: Number(BigInt(row.observed_timestamp) / 1000n),
    uuid: row.uuid,
    timestamp: isoOf(us),
    observed_timestamp: isoOf(BigInt(row.observed_timestamp)),
    body: row.body,
    severity_text: row.severity_text,
    severity_number: row.severity_number,
    level: row.severity_text,
    trace_id: row.trace_id,
    span_id: row.span_id,
    trace_flags: row.trace_flags,
    attributes: plainMap(row.attributes),
    resource_attributes: plainMap(row.resource_attributes),
    event_name: row.event_name,
    service_name: row.service_name,
    instrumentation_scope: row.instrumentation_scope,
    bytes: Buffer.byteLength(JSON.stringify([row.body, row.attributes, row.resource_attributes])),
  };
}

const isoOf = (us) => `${new Date(Number(us / 1000n)).toISOString().slice(0, 19)}.${String(us % 1000000n).padStart(6, '0')}Z`;

export const COLUMNS = ['uuid', 'timestamp', 'observed_timestamp', 'body', 'severity_text', 'severity_number', 'level', 'trace_id', 'span_id', 'trace_flags', 'attributes', 'resource_attributes', 'event_name'];
export const shown = (row, bare) => Object.fromEntries(COLUMNS.map((key) => [key, bare && key.endsWith('attributes') ? {} : row[key]]));

// ---- times

const UNIT_MS = { s: 1000, m: 60000, h: 3600000, d: 86400000, w: 604800000 };

// Microseconds of "-1h", an ISO time, or nothing (otherwise).
export function timeOf(text, now, otherwise) {
  if (text === undefined || text === null || text === '') return BigInt(otherwise) * 1000n;
  const relative = /^-(\d+)([smhdw])$/.exec(text);
  if (relative) return BigInt(now - Number(relative[1]) * UNIT_MS[relative[2]]) * 1000n;
  const whole = Date.parse(text);
  if (Number.isNaN(whole)) throw new Error(`no time: ${text}`);
  const fraction = /\.(\d+)/.exec(text)?.[1] ?? '';
  return BigInt(Math.floor(whole / 1000)) * 1000000n + BigInt(fraction.padEnd(6, '0').slice(0, 6));
}

// ---- filters

const list = (value) => (Array.isArray(value) ? value : [value]).map(String);
const regex = (text) => {
  try {
    return new RegExp(text.replace(/^\(\?i\)/, ''), text.startsWith('(?i)') ? 'isu' : 'su');
  } catch {
    return null;
  }
};
const number = (text) => (text === undefined || text === '' ? NaN : Number(text));

// value: undefined where the row has none.
const OPERATORS = {
  exact: (value, wanted) => value !== undefined && list(wanted).includes(value),
  is_not: (value, wanted) => !list(wanted).includes(value ?? ''),
  icontains: (value, wanted) => value !== undefined && list(wanted).some((w) => value.toLowerCase().includes(w.toLowerCase())),
  not_icontains: (value, wanted) => !list(wanted).some((w) => (value ?? '').toLowerCase().includes(w.toLowerCase())),
  regex: (value, wanted) => value !== undefined && list(wanted).some((w) => regex(w)?.test(value) ?? false),
  not_regex: (value, wanted) => !list(wanted).some((w) => regex(w)?.test(value ?? '') ?? false),
  gt: (value, wanted) => number(value) > Number(wanted),
  lt: (value, wanted) => number(value) < Number(wanted),
  is_set: (value) => value !== undefined,
  is_not_set: (value) => value === undefined,
};
const TYPES = new Set(['log', 'log_attribute', 'log_resource_attribute']);

function valueAt(row, leaf) {
  if (leaf.type === 'log') return row.body;
  return (leaf.type === 'log_resource_attribute' ? row.resource_attributes : row.attributes)[leaf.key];
}

// What is wrong with a filter, or null.
export function filterProblem(group, depth = 0) {
  if (group === undefined || group === null) return null;
  if (Array.isArray(group)) return group.map((g) => filterProblem(g, depth + 1)).find(Boolean) ?? null;
  if (Array.isArray(group.values)) {
    if (!['AND', 'OR'].includes(group.type)) return `Unknown group type: ${group.type}`;
    return depth > 16 ? 'Nested too deep' : (group.values.map((g) => filterProblem(g, depth + 1)).find(Boolean) ?? null);
  }
  if (!TYPES.has(group.type)) return `Unknown property type: ${group.type}`;
  if (group.type === 'log' && !['message', 'body'].includes(group.key)) return `Unknown log property: ${group.key}`;
  if (!OPERATORS[group.operator]) return `Unknown operator: ${group.operator}`;
  return null;
}

function holds(row, group) {
  if (Array.isArray(group)) return group.every((g) => holds(row, g));
  if (Array.isArray(group.values)) {
    const test = (g) => holds(row, g);
    return group.type === 'OR' ? group.values.some(test) : group.values.every(test);
  }
  return OPERATORS[group.operator](valueAt(row, group), group.value);
}

// {severityLevels, serviceNames, searchTerm, filterGroup}, and the range in microseconds.
export function select(rows, query, { from, to }) {
  const { severityLevels: levels = [], serviceNames: services = [], searchTerm = '', filterGroup } = query;
  const term = searchTerm.toLowerCase();
  return rows.filter((row) =>
    row.us >= from && row.us < to &&
    (levels.length === 0 || levels.includes(row.severity_text)) &&
    (services.length === 0 || services.includes(row.service_name)) &&
    (term === '' || row.body.toLowerCase().includes(term)) &&
    (!filterGroup || holds(row, filterGroup)));
}

// ---- buckets

const STEPS_S = [1, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400];

export function stepOf({ from, to }, target) {
  const seconds = Number(to - from) / 1e6;
  return STEPS_S.find((step) => Math.floor(seconds / step) <= target) ?? STEPS_S.at(-1);
}

export function groupBy(rows, keyOf) {
  const groups = new Map();
  for (const row of rows) {
    const key = keyOf(row);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(row);
  }
  return groups;
}

const iso = (ms) => new Date(ms).toISOString();

export function countRanges(rows, range, target) {
  const step = stepOf(range, target);
  const groups = groupBy(rows, (row) => Math.floor(row.at / 1000 / step) * step * 1000);
  return {
    interval: `${step}s`,
    ranges: [...groups].sort(([a], [b]) => a - b).map(([start, group]) => ({ date_from: iso(start), date_to: iso(start + step * 1000), count: group.length })),
  };
}

export function sparkline(rows, range, { sparklineBreakdownBy: by = 'severity' } = {}) {
  const step = stepOf(range, 50);
  const groups = groupBy(rows, (row) => JSON.stringify([Math.floor(row.at / 1000 / step) * step * 1000, by === 'service' ? row.service_name : row.severity_text]));
  return [...groups].map(([key, group]) => {
    const [start, name] = JSON.parse(key);
    return { time: iso(start), [by]: name, count: group.length, bytes_uncompressed: group.reduce((sum, row) => sum + row.bytes, 0) };
  }).sort((a, b) => (a.time < b.time ? -1 : 1));
}

const errors = (rows) => rows.filter((row) => ['error', 'fatal'].includes(row.severity_text)).length;

export function services(rows, range) {
  const groups = [...groupBy(rows, (row) => row.service_name)].sort(([, a], [, b]) => b.length - a.length);
  return {
    services: groups.map(([name, group]) => ({
      service_name: name, log_count: group.length, error_count: errors(group), error_rate: errors(group) / group.length,
      volume_share_pct: (100 * group.length) / rows.length,
      severity_breakdown: Object.fromEntries(LEVELS.map((level) => [level, group.filter((row) => row.severity_text === level).length])),
      active_rules: [],
    })),
    sparkline: sparkline(rows, range, { sparklineBreakdownBy: 'service' }),
    total_services: groups.length,
  };
}

const SOURCES = { log: (row, key) => row.attributes[key] ?? '', resource: (row, key) => row.resource_attributes[key] ?? '', column: (row, key) => String(row[key] ?? '') };

export function grouped(rows, groupBys) {
  const groups = groupBy(rows, (row) => JSON.stringify(groupBys.map(({ key, source }) => SOURCES[source](row, key))));
  return {
    groups: [...groups].map(([key, group]) => ({ values: JSON.parse(key), log_count: group.length, error_count: errors(group), last_seen: group.reduce((last, row) => (row.timestamp > last ? row.timestamp : last), '') }))
      .sort((a, b) => b.log_count - a.log_count),
    total_groups: groups.size,
    total_logs: rows.length,
  };
}
export const hasSource = (source) => source in SOURCES;
