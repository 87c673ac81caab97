// ---- history: the chart, its marks, and the moment that the tables are of

const SPANS = [['15m', '15 min'], ['1h', '1 hour'], ['24h', '24 hours']];
const HISTORY_MS = { '15m': 10000, '1h': 10000, '24h': 60000 }; // a step of each
const TABLE_ROWS = 30;
const MOMENT_STEPS = 6; // around a chosen moment: a minute of 10 s steps

// A service that the history does not know.
function emptyOf(steps) {
  const none = Array(steps).fill(0);
  return { received: none, kept: none, errors: none };
}

const traffic = {
  span: '1h',
  service: null,
  moment: null, // {from, to}: of the tables; null: until now
  loaded: null,

  build(changed) {
    this.changed = changed;
    this.chart = new TrafficChart($('chart'), (index) => this.choose(index));
    for (const [span, title] of SPANS) {
      const button = h('button', { type: 'button', class: 'segment', 'aria-pressed': span === this.span, on: { click: () => this.useSpan(span) } }, title);
      button.dataset.span = span;
      $('spans').append(button);
    }
    $('chart-table').addEventListener('toggle', () => this.table());
  },

  pause() {
    return HISTORY_MS[this.span];
  },

  useSpan(span) {
    this.span = span;
    this.isChosen = true;
    for (const button of $('spans').children) setAttribute(button, 'aria-pressed', button.dataset.span === span);
    this.chart.chosen = null;
    this.chart.at = null;
    this.choose(null);
  },

  choose(index) {
    const got = this.loaded;
    if (index === null || !got) this.moment = null;
    else {
      const at = got.from_unix_s + index * got.step_s;
      const around = (got.step_s === 10 ? MOMENT_STEPS : 1) * got.step_s;
      this.moment = { from: at - around, to: at + around };
    }
    this.momentText();
    this.changed();
  },

  momentText() {
    const node = $('moment');
    if (!this.moment) {
      setText(node, '');
      return;
    }
    const clear = h('button', { type: 'button', class: 'quiet', on: { click: () => this.chart.choose(null) } }, 'Back to now');
    node.replaceChildren(`Showing ${clock(this.moment.from)} to ${clock(this.moment.to)} `, clear);
  },

  async refresh() {
    if (!data.has('history')) return;
    const query = { span: this.span, service: this.service ?? undefined };
    const got = await data.ask('history', { query });
    if (this.service !== null) got.total = got.services[0] ?? emptyOf(got.steps);
    $('history').hidden = false;
    const isFirst = this.loaded === null;
    this.loaded = got;
    // Of a short life a short span shows more.
    if (isFirst && !this.isChosen && got.until_unix_s - got.since_unix_s < 900) {
      this.useSpan('15m');
      return;
    }
    const marks = (got.marks ?? [])
      .map((mark) => ({ ...mark, index: Math.floor((mark.unix_s - got.from_unix_s) / got.step_s) }))
      .filter(({ index }) => index >= 0 && index < got.total.received.length);
    this.chart.draw(got, marks);
    this.marks(marks);
    this.table();
    setText($('history-title'), this.service === null ? 'Traffic' : `Traffic of ${serviceName(this.service)}`);
  },

  marks(marks) {
    const items = marks.slice(-6).reverse().map((mark) => h('li', { class: `mark ${mark.kind}` }, h('time', {}, clock(mark.unix_s)), ` ${MARK_NAMES[mark.kind] ?? mark.kind}: ${visible(mark.text, 160)}`));
    if (marks.length > 6) items.push(h('li', {}, `and ${marks.length - 6} before`));
    $('marks').replaceChildren(...items);
  },

  // The text equivalent: at most 30 rows, newest first. Made while it is open.
  table() {
    const got = this.loaded;
    if (!$('chart-table').open || !got) return;
    const n = got.total.received.length;
    const per = Math.ceil(n / TABLE_ROWS);
    const sum = (list, from) => list.slice(from, from + per).reduce((a, b) => a + b, 0);
    const rows = [];
    for (let from = Math.floor((n - 1) / per) * per; from >= 0; from -= per)
      rows.push(h('tr', {}, h('th', { scope: 'row' }, clock(got.from_unix_s + from * got.step_s)), ...['received', 'kept', 'errors', 'lost'].map((key) => h('td', {}, number(sum(got.total[key] ?? [], from))))));
    const head = h('tr', {}, ...['From', 'Received', 'Kept', 'Errors', 'Lost'].map((title) => h('th', { scope: 'col' }, title)));
    $('chart-table').querySelector('.scroll').replaceChildren(h('table', {}, h('caption', {}, `Records per ${duration(per * got.step_s * 1000)}`), h('thead', {}, head), h('tbody', {}, ...rows)));
  },

  // Sums by service of the span, or of the moment: [{name, received, kept, ...}].
  services() {
    const got = this.loaded;
    if (!got || this.service !== null) return null;
    const first = this.moment ? Math.max(0, Math.floor((this.moment.from - got.from_unix_s) / got.step_s)) : 0;
    const last = this.moment ? Math.ceil((this.moment.to - got.from_unix_s) / got.step_s) : got.total.received.length;
    const sum = (list) => (list ?? []).slice(first, last).reduce((a, b) => a + b, 0);
    return got.services.map((one) => ({
      name: one.name,
      is_other: one.name === '(other)',
      received: sum(one.received),
      kept: sum(one.kept),
      received_bytes: sum(one.received_bytes),
      kept_bytes: sum(one.kept_bytes),
    }));
  },
};

// ---- services: by bytes, kept part darker; a click filters

const services = {
  chosen: null,
  rows: new Map(),
  last: [],

  build(changed) {
    this.changed = changed;
    $('services-all').addEventListener('click', () => this.choose(null));
  },

  choose(name) {
    this.chosen = this.chosen === name ? null : name;
    $('services-all').hidden = this.chosen === null;
    this.draw();
    this.changed(this.chosen);
  },

  row(name) {
    const bar = s('svg', { class: 'share', 'aria-hidden': 'true', viewBox: '0 0 100 6', preserveAspectRatio: 'none' }, s('rect', { class: 'all', height: 6, rx: 1 }), s('rect', { class: 'part', height: 6, rx: 1 }));
    const row = { bar, name: h('span', { class: 'name' }), size: h('span', { class: 'size' }), kept: h('span', { class: 'kept' }) };
    row.button = h('button', { type: 'button', 'aria-pressed': 'false', on: { click: () => this.choose(name) } }, row.name, row.size, bar, row.kept);
    row.node = h('li', {}, row.button);
    return row;
  },

  // Of the span that the chart shows, else since the start.
  update(now) {
    const shown = this.chosen === null ? traffic.services() : null;
    this.last = shown?.length === 0 && !traffic.moment ? now.services : shown ?? (this.chosen !== null && this.last.length > 0 ? this.last : now.services);
    this.last = [...this.last].sort((a, b) => Boolean(a.is_other) - Boolean(b.is_other) || b.received_bytes - a.received_bytes);
    this.draw();
  },

  draw() {
    const most = Math.max(1, ...this.last.map((one) => one.received_bytes));
    const seen = new Set();
    const list = $('services').querySelector('ul');
    this.last.forEach((one, i) => {
      const key = one.is_other ? '\0other' : one.name;
      seen.add(key);
      if (!this.rows.has(key)) this.rows.set(key, this.row(one.name));
      const row = this.rows.get(key);
      row.button.disabled = Boolean(one.is_other);
      setText(row.name, one.is_other ? '(other)' : serviceName(one.name));
      setText(row.size, bytes(one.received_bytes));
      setText(row.kept, `${percent(one.kept, one.received)} kept, ${bytes(one.kept_bytes)}`);
      setAttribute(row.bar.firstChild, 'width', ((one.received_bytes / most) * 100).toFixed(2));
      setAttribute(row.bar.lastChild, 'width', ((Math.min(one.kept_bytes, one.received_bytes) / most) * 100).toFixed(2));
      setAttribute(row.button, 'aria-pressed', this.chosen !== null && this.chosen === one.name);
      if (list.children[i] !== row.node) list.insertBefore(row.node, list.children[i] ?? null);
    });
    for (const [key, row] of this.rows)
      if (!seen.has(key)) {
        row.node.remove();
        this.rows.delete(key);
      }
  },
};
