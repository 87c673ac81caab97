// What PostHog's app keeps for its users, in memory: insights, dashboards, alerts, views, rules,
// annotations. Each kind is one row: its path, its scopes, what a body must look like.
import { randomUUID } from 'node:crypto';
import { filterProblem } from './posthog_rows.mjs';

export class Invalid extends Error {
  constructor(attr, detail, code = 'invalid_input') {
    super(detail);
    Object.assign(this, { attr, detail, code });
  }
}

const need = (ok, attr, detail) => {
  if (!ok) throw new Invalid(attr, detail);
};
const text = (body, key, max, { required = false } = {}) => {
  if (required) need(body[key] !== undefined && body[key] !== '', key, 'This field is required.');
  if (body[key] === undefined || body[key] === null) return;
  need(typeof body[key] === 'string', key, 'Not a valid string.');
  need(body[key].length <= max, key, `Ensure this field has no more than ${max} characters.`);
};
const whole = (body, key, least, most) => {
  if (body[key] === undefined || body[key] === null) return;
  need(Number.isInteger(body[key]) && body[key] >= least && body[key] <= most, key, `Ensure this value is from ${least} to ${most}.`);
};
const tags = (body) => need(body.tags === undefined || (Array.isArray(body.tags) && body.tags.every((t) => typeof t === 'string')), 'tags', 'Expected a list of strings.');
const groupOk = (body, key) => {
  const problem = filterProblem(body[key]);
  need(!problem, key, problem);
};

const shortId = () => randomUUID().replaceAll('-', '').slice(0, 8);
const LEVELS = new Set(['trace', 'debug', 'info', 'warn', 'error', 'fatal']);

function checkQuery(body) {
  if (body.query === undefined || body.query === null) return;
  need(typeof body.query === 'object' && typeof body.query.kind === 'string', 'query', 'A query has a kind.');
  if (body.query.kind === 'HogQLQuery') body.query = { kind: 'DataVisualizationNode', source: body.query };
  if (body.query.kind === 'DataVisualizationNode')
    need(body.query.source?.kind === 'HogQLQuery' && typeof body.query.source.query === 'string', 'query', 'source must be a HogQLQuery.');
}

const TILES = {
  INSIGHT: (tile) => {
    need(typeof tile.name === 'string', 'template', 'INSIGHT needs a name');
    checkQuery(tile);
    need(tile.query, 'template', 'INSIGHT needs a query');
  },
  TEXT: (tile) => need(typeof tile.body === 'string' && tile.body.length <= 4000, 'template', 'TEXT needs a body of at most 4000 characters'),
  BUTTON: (tile) => need(typeof tile.button_tile?.url === 'string', 'template', 'BUTTON needs a button_tile'),
  WIDGET: (tile) => need(typeof tile.widget_type === 'string' && typeof tile.config === 'object', 'template', 'WIDGET needs widget_type and config'),
};

function checkAlert(body, store, item) {
  const whole_ = { enabled: true, threshold_count: 100, threshold_operator: 'above', window_minutes: 5, evaluation_periods: 1, datapoints_to_alarm: 1, cooldown_minutes: 0, ...item, ...body };
  text(body, 'name', 255, { required: !item });
  need(body.threshold_count === undefined || (typeof body.threshold_count === 'number' && body.threshold_count >= 0), 'threshold_count', 'Must be at least 0.');
  need(['above', 'below'].includes(whole_.threshold_operator), 'threshold_operator', 'Not a valid choice.');
  need([5, 10, 15, 30, 60].includes(whole_.window_minutes), 'window_minutes', 'Must be one of 5, 10, 15, 30, 60.');
  whole(body, 'evaluation_periods', 1, 10);
  whole(body, 'datapoints_to_alarm', 1, 10);
  need(whole_.datapoints_to_alarm <= whole_.evaluation_periods, 'datapoints_to_alarm', 'More than evaluation_periods.');
  const f = whole_.filters ?? {};
  need((f.severityLevels ?? []).every((l) => LEVELS.has(l)), 'filters', 'Unknown severity level.');
  groupOk(f, 'filterGroup');
  const some = (f.severityLevels?.length ?? 0) > 0 || (f.serviceNames?.length ?? 0) > 0 || (f.filterGroup?.values?.length ?? 0) > 0;
  need(!whole_.enabled || some, 'filters', 'At least one filter is required.');
  need(item || store.length < 20, 'non_field_errors', 'Maximum of 20 alerts per project.');
  return item ? {} : { state: 'not_firing', destinations: [], ...whole_ };
}

const RULE_TYPES = new Set(['path_drop', 'rate_limit', 'severity_sampling']);
const RULE_OPERATORS = new Set(['exact', 'is_not', 'icontains', 'not_icontains', 'regex', 'not_regex', 'gt', 'lt', 'gte', 'lte', 'in', 'not_in', 'is_set', 'is_not_set']);

function checkRuleGroup(group, depth = 1, seen = { nodes: 0 }) {
  need(depth <= 16, 'config', 'filter_group is nested too deep.');
  need(++seen.nodes <= 256, 'config', 'filter_group has too many nodes.');
  if (Array.isArray(group.values)) {
    need(['AND', 'OR'].includes(group.type), 'config', 'A group is AND or OR.');
    need(group.values.length > 0, 'config', 'filter_group has an empty group.');
    group.values.forEach((g) => checkRuleGroup(g, depth + 1, seen));
    return;
  }
  need(typeof group.key === 'string' && RULE_OPERATORS.has(group.operator), 'config', `Unknown operator: ${group.operator}`);
}

function checkRule(body, store, item) {
  text(body, 'name', 255, { required: !item });
  const type = body.rule_type ?? item?.rule_type;
  need(RULE_TYPES.has(type), 'rule_type', 'Not a valid choice.');
  const config = body.config ?? item?.config ?? {};
  if (config.filter_group) checkRuleGroup(config.filter_group);
  if (type === 'path_drop')
    need(config.filter_group || (config.patterns?.length ?? 0) > 0, 'config', 'path_drop needs filter_group or patterns.');
  if (type === 'rate_limit') {
    need((config.logs_per_second !== undefined) !== (config.kb_per_second !== undefined), 'config', 'Either logs_per_second or kb_per_second.');
    whole(config, 'logs_per_second', 1, 1000000);
    whole(config, 'burst_logs', config.logs_per_second ?? 1, 10000000);
  }
  if (type === 'severity_sampling')
    for (const [level, action] of Object.entries(config.actions ?? {}))
      need(['DEBUG', 'INFO', 'WARN', 'ERROR'].includes(level) && ['keep', 'drop', 'sample'].includes(action.type), 'config', `Unknown action of ${level}.`);
  if (item) return { version: item.version + 1 };
  return { enabled: false, scope_service: null, scope_path_pattern: null, config, version: 1, priority: body.priority ?? Math.max(-1, ...store.map((r) => r.priority)) + 1 };
}

function checkMetric(body, store, item) {
  text(body, 'name', 255, { required: !item });
  if (!item) need(/^[A-Za-z][\w.-]*$/.test(body.metric_name ?? ''), 'metric_name', 'Not a valid metric name.');
  else need((body.metric_name ?? item.metric_name) === item.metric_name, 'metric_name', 'Cannot be changed.');
  need(body.value_attribute == null || /^(attributes|resource_attributes)\../.test(body.value_attribute), 'value_attribute', 'Not an attribute.');
  need((body.group_by ?? []).length <= 5, 'group_by', 'At most 5.');
  groupOk(body, 'filter_group');
  const enabled = body.enabled ?? item?.enabled ?? false;
  need(!enabled || store.filter((r) => r.enabled && r !== item).length < 10, 'enabled', 'At most 10 enabled rules per project.');
  return item ? {} : { enabled: false, filter_group: null, value_attribute: null, group_by: [] };
}

// path: {scopes, of an item its id, what is checked and added}
export const KINDS = {
  insights: {
    scopes: ['insight'],
    softDelete: true,
    check: (body, store, item, project) => {
      text(body, 'name', 400);
      tags(body);
      checkQuery(body);
      for (const id of body.dashboards ?? [])
        need(project.dashboards.some((d) => d.id === id && !d.deleted), 'dashboards', `No dashboard ${id}.`);
      return item ? {} : { short_id: shortId(), name: '', description: '', query: null, dashboards: [], tags: [], saved: false, deleted: false };
    },
  },
  dashboards: {
    scopes: ['dashboard'],
    softDelete: true,
    search: ['name', 'description'],
    check: (body, store, item) => {
      text(body, 'name', 400);
      tags(body);
      if (item && body.tiles) {
        for (const { id, layouts } of body.tiles) {
          const tile = item.tiles.find((t) => t.id === id);
          need(tile, 'tiles', `No tile ${id}.`);
          if (layouts) tile.layouts = layouts;
        }
        delete body.tiles;
      }
      return item ? {} : { name: '', description: '', tags: [], pinned: false, deleted: false, tiles: [] };
    },
  },
  'logs/alerts': { scopes: ['logs'], uuid: true, check: checkAlert },
  'logs/views': {
    scopes: ['logs'],
    uuid: true,
    idKey: 'short_id',
    check: (body, store, item) => {
      text(body, 'name', 400, { required: !item });
      return item ? {} : { short_id: shortId(), filters: {}, pinned: false };
    },
  },
  'logs/sampling_rules': { scopes: ['logs'], uuid: true, flag: 'drop_rules', check: checkRule, order: (a, b) => a.priority - b.priority },
  'logs/metric_rules': { scopes: ['logs', 'metrics'], uuid: true, flag: 'metrics', check: checkMetric },
  annotations: {
    scopes: ['annotation'],
    softDelete: true,
    check: (body, store, item) => {
      text(body, 'content', 8192, { required: !item });
      need(body.date_marker === undefined || !Number.isNaN(Date.parse(body.date_marker)), 'date_marker', 'Not a date.');
      need(['dashboard_item', 'dashboard', 'project', 'organization'].includes(body.scope ?? item?.scope ?? 'dashboard_item'), 'scope', 'Not a valid choice.');
      return item ? {} : { scope: 'dashboard_item', deleted: false };
    },
  },
};

const FIXED = new Set(['id', 'short_id', 'version', 'state', 'destinations', 'tiles']);

// The things of one project.
export class Store {
  constructor() {
    this.next = 1;
    for (const kind of Object.keys(KINDS)) this[kind] = [];
  }

  find(kind, id) {
    const { idKey = 'id', softDelete } = KINDS[kind];
    return this[kind].find((item) => String(item[idKey]) === id && !(softDelete && item.deleted));
  }

  list(kind, search) {
    const { softDelete, search: keys = [], order } = KINDS[kind];
    const items = this[kind].filter((item) => !(softDelete && item.deleted) && (!search || keys.length === 0 || keys.some((key) => (item[key] ?? '').toLowerCase().includes(search.toLowerCase()))));
    return order ? items.sort(order) : items;
  }

  create(kind, body) {
    const more = KINDS[kind].check(body, this[kind], null, this);
    const given = Object.fromEntries(Object.entries(body).filter(([key]) => !FIXED.has(key)));
    const item = { id: KINDS[kind].uuid ? randomUUID() : this.next++, ...more, ...given, created_at: new Date().toISOString() };
    this[kind].push(item);
    if (kind === 'insights') this.#tile(item, item.dashboards);
    return item;
  }

  change(kind, item, body) {
    const more = KINDS[kind].check(body, this[kind], item, this);
    for (const [key, value] of Object.entries(body)) if (!FIXED.has(key)) item[key] = value;
    Object.assign(item, more);
    if (kind === 'insights') this.#tile(item, item.deleted ? [] : item.dashboards);
    return item;
  }

  remove(kind, item) {
    this[kind].splice(this[kind].indexOf(item), 1);
  }

  // A dashboard's tiles come from the insights that name it.
  #tile(insight, dashboards) {
    for (const dashboard of this.dashboards) {
      const at = dashboard.tiles.findIndex((tile) => tile.insight?.id === insight.id);
      const named = dashboards.includes(dashboard.id);
      if (named && at < 0) dashboard.tiles.push({ id: this.next++, layouts: {}, insight });
      if (!named && at >= 0) dashboard.tiles.splice(at, 1);
    }
  }

  fromTemplate({ template }) {
    need(template && typeof template === 'object', 'template', 'This field is required.');
    need(typeof template.template_name === 'string', 'template', 'template_name is required.');
    need(Array.isArray(template.tiles), 'template', 'tiles is required.');
    for (const tile of template.tiles) {
      need(TILES[tile.type], 'template', `Unknown tile type: ${tile.type}`);
      TILES[tile.type](tile);
    }
    const dashboard = this.create('dashboards', { name: template.template_name, description: template.dashboard_description ?? '', tags: template.tags ?? [] });
    for (const tile of template.tiles) {
      if (tile.type === 'INSIGHT') {
        const { name, description = '', query } = tile;
        this.create('insights', { name, description, query, dashboards: [dashboard.id], saved: true, tags: template.tags ?? [] });
        dashboard.tiles.at(-1).layouts = tile.layouts ?? {};
        continue;
      }
      const { type, layouts = {}, ...rest } = tile;
      dashboard.tiles.push({ id: this.next++, layouts, [type.toLowerCase()]: rest });
    }
    return dashboard;
  }

  reorder({ ordered_ids: ids }) {
    const rules = this['logs/sampling_rules'];
    need(Array.isArray(ids) && ids.length === rules.length && new Set(ids).size === ids.length && ids.every((id) => rules.some((r) => r.id === id)), 'ordered_ids', 'All rules of the project, once each.');
    for (const rule of rules) rule.priority = ids.indexOf(rule.id);
    return this.list('logs/sampling_rules');
  }
}
