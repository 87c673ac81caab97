// What PostHog does with records behind ingestion: PII scrub, drop rules; and its alerts, which
// count the rows that are left. After its own semantics (case is ignored in rules, a missing value
// matches nothing but is_not_set), written here apart from the program under test.
import { createHash } from 'node:crypto';
import { readBack, select } from './posthog_rows.mjs';

export const REDACTED = '{{REDACTED}}';
const KEY_WORDS = ['password', 'secret', 'token', 'authorization', 'cookie', 'credential', 'apikey', 'api_key', 'access_token', 'refresh_token', 'bearer', 'email'];
const TEXTS = [/Bearer\s+[A-Za-z0-9._~+/-]+=*/g, /\b[sprk]{2}_(?:live|test)_[A-Za-z0-9]{10,}/g, /[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}/g];

// ---- scrub

const scrubText = (text) => TEXTS.reduce((out, pattern) => out.replace(pattern, REDACTED), text);
const isNamed = (key) => KEY_WORDS.some((word) => key.toLowerCase().includes(word));
const scrubMap = (map) => Object.fromEntries(Object.entries(map).map(([key, cell]) => [key, isNamed(key) ? JSON.stringify(REDACTED) : scrubText(cell)]));

const scrub = (row) => ({ ...row, body: scrubText(row.body), attributes: scrubMap(row.attributes), resource_attributes: scrubMap(row.resource_attributes) });

// ---- rules

const pattern = (text, flags = 'isu') => {
  try {
    return new RegExp(text.replace(/^\(\?i\)/, ''), flags);
  } catch {
    return null;
  }
};
const lower = (value) => String(value).toLowerCase();
const list = (value) => (Array.isArray(value) ? value : [value]).map(lower);
const compare = (test) => (value, wanted) => value.trim() !== '' && test(Number(value), Number(wanted));

const LEAF = {
  exact: (value, wanted) => list(wanted).includes(lower(value)),
  is_not: (value, wanted) => !list(wanted).includes(lower(value)),
  in: (value, wanted) => list(wanted).includes(lower(value)),
  not_in: (value, wanted) => !list(wanted).includes(lower(value)),
  icontains: (value, wanted) => list(wanted).some((w) => lower(value).includes(w)),
  not_icontains: (value, wanted) => !list(wanted).some((w) => lower(value).includes(w)),
  regex: (value, wanted) => pattern(wanted)?.test(value) ?? false,
  not_regex: (value, wanted) => (pattern(wanted) ? !pattern(wanted).test(value) : false),
  gt: compare((a, b) => a > b),
  gte: compare((a, b) => a >= b),
  lt: compare((a, b) => a < b),
  lte: compare((a, b) => a <= b),
  is_set: () => true,
};

function valueOf(row, leaf) {
  if (leaf.key === 'service.name') return row.service_name;
  if (leaf.key === 'severity_text' || leaf.key === 'level') return row.severity_text;
  if (leaf.key === 'message' || leaf.type === 'log') return row.body;
  return row.attributes[leaf.key] ?? row.resource_attributes[leaf.key];
}

// `row`: as readBack() gives it.
export function matchesGroup(row, group) {
  if (Array.isArray(group.values)) {
    if (group.values.length === 0) return false;
    return group.type === 'OR' ? group.values.some((g) => matchesGroup(row, g)) : group.values.every((g) => matchesGroup(row, g));
  }
  const value = valueOf(row, group);
  if (value === undefined) return group.operator === 'is_not_set';
  return LEAF[group.operator]?.(value, group.value) ?? false;
}

const pathOf = (row) => ['url.path', 'http.path', 'http.route', 'path'].map((key) => row.attributes[key]).find((value) => value !== undefined);

function inScope(rule, row) {
  if (rule.scope_service && rule.scope_service !== row.service_name) return false;
  return !rule.scope_path_pattern || (pattern(rule.scope_path_pattern, 'su')?.test(pathOf(row) ?? '') ?? false);
}

const numberAt = (row, ...keys) => Number(keys.map((key) => row.attributes[key]).find((value) => value !== undefined) ?? NaN);

function alwaysKeeps(keep, row) {
  if (!keep) return false;
  if (keep.status_gte !== undefined && numberAt(row, 'http.response.status_code', 'http.status_code', 'status_code') >= keep.status_gte) return true;
  if (keep.latency_ms_gt !== undefined && numberAt(row, 'latency_ms', 'duration_ms') > keep.latency_ms_gt) return true;
  return (keep.attribute_predicates ?? []).some(({ key, op, value }) => {
    const got = row.attributes[key] ?? row.resource_attributes[key];
    if (op === 'exists') return got !== undefined;
    return got !== undefined && (op === 'eq' ? got === String(value) : got !== String(value));
  });
}

const LEVEL = { trace: 'DEBUG', debug: 'DEBUG', info: 'INFO', warn: 'WARN', error: 'ERROR', fatal: 'ERROR' };

function severityDrops(rule, row) {
  const action = rule.config.actions?.[LEVEL[row.severity_text]] ?? { type: 'keep' };
  if (action.type === 'sample') return createHash('sha256').update(row.trace_id).digest().readUInt32BE(0) / 0xffffffff >= action.rate;
  return action.type === 'drop';
}

function bucketDrops(rule, row, now) {
  const { logs_per_second: perSecond, burst_logs: burst = 3 * perSecond, kb_per_second: kb, burst_kb: burstKb = 3 * kb } = rule.config;
  const [rate, most, cost] = perSecond !== undefined ? [perSecond, burst, 1] : [kb, burstKb, row.bytes / 1000];
  const bucket = (rule.bucket ??= { level: most, at: now });
  bucket.level = Math.min(most, bucket.level + ((now - bucket.at) / 1000) * rate);
  bucket.at = now;
  if (bucket.level < cost) return true;
  bucket.level -= cost;
  return false;
}

function pathDrops(rule, row) {
  const { filter_group: group, patterns = [], match_attribute_key: key } = rule.config;
  if (group && matchesGroup(row, group)) return true;
  const value = key ? (row.attributes[key] ?? row.resource_attributes[key]) : pathOf(row);
  return value !== undefined && patterns.some((text) => pattern(text)?.test(value) ?? false);
}

// The rule that drops the record, or null.
export function droppedBy(rules, row, now = Date.now()) {
  const enabled = rules.filter((rule) => rule.enabled).sort((a, b) => a.priority - b.priority);
  const limits = [];
  for (const rule of enabled) {
    if (!inScope(rule, row)) continue;
    if (alwaysKeeps(rule.config.always_keep, row)) return null;
    if (rule.rule_type === 'path_drop' && pathDrops(rule, row)) return rule;
    if (rule.rule_type === 'severity_sampling') {
      if (severityDrops(rule, row)) return rule;
      break;
    }
    if (rule.rule_type === 'rate_limit' && (!rule.config.filter_group || matchesGroup(row, rule.config.filter_group))) limits.push(rule);
  }
  return limits.find((rule) => bucketDrops(rule, row, now)) ?? null;
}

// From now on rules and scrub act on what ingestion takes. `impact`: rule id => records dropped.
export function actOn(app) {
  app.impact = new Map();
  app.act = (project, rows) => {
    const rules = project.store['logs/sampling_rules'];
    const clean = project.settings.logs?.pii_scrub_logs ? rows.map(scrub) : rows;
    return clean.filter((row) => {
      const rule = droppedBy(rules, readBack(row), app.now());
      if (rule) app.impact.set(rule.id, (app.impact.get(rule.id) ?? 0) + 1);
      return !rule;
    });
  };
}

// ---- alerts

const STEP_MS = 300000;

// Evaluate the enabled alerts at each five minutes of a time, on rows: [{name, at, state}], changes
// of state only.
export function alertHistory(alerts, rows, from, to) {
  const history = [];
  for (const alert of alerts.filter((a) => a.enabled)) {
    const window = alert.window_minutes * 60000;
    let state = 'not_firing';
    let quietUntil = 0;
    for (let at = Math.ceil(from / STEP_MS) * STEP_MS; at <= to; at += STEP_MS) {
      let breaches = 0;
      for (let i = 0; i < alert.evaluation_periods; i++) {
        const end = at - i * window;
        const count = select(rows, alert.filters, { from: BigInt(end - window) * 1000n, to: BigInt(end) * 1000n }).length;
        breaches += alert.threshold_operator === 'above' ? count > alert.threshold_count : count < alert.threshold_count;
      }
      const next = breaches >= alert.datapoints_to_alarm ? 'firing' : 'not_firing';
      if (next === state || (next === 'firing' && at < quietUntil)) continue;
      if (next === 'not_firing') quietUntil = at + alert.cooldown_minutes * 60000;
      state = next;
      history.push({ name: alert.name, at, state });
    }
  }
  return history;
}

// A log-based metric over rows: {count, sum}, as the rule counts.
export function metricOf(rule, rows) {
  const chosen = select(rows, { filterGroup: rule.filter_group }, { from: 0n, to: 1n << 62n });
  if (!rule.value_attribute) return { count: chosen.length, sum: chosen.length };
  const dot = rule.value_attribute.indexOf('.');
  const values = chosen.map((row) => Number(row[rule.value_attribute.slice(0, dot)][rule.value_attribute.slice(dot + 1)] ?? NaN)).filter((value) => !Number.isNaN(value));
  return { count: values.length, sum: values.reduce((a, b) => a + b, 0) };
}
