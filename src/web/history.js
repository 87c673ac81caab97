// ---- history: the chart, its marks, and the moment that the tables are of

const SPANS = [['15m', '15 min'], ['1h', '1 hour'], ['24h', '24 hours']];
const HISTORY_MS = { '15m': 10000, '1h': 10000, '24h': 60000 }; // a step of each
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

  // The text equivalent, made while it is open.
  table() {
    const got = this.loaded;
    if (!$('chart-table').open || !got) return;
    $('chart-table').querySelector('.scroll').replaceChildren(seriesTable(got, ['received', 'kept', 'errors', 'lost']));
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
