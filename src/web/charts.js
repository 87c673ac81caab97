// ---- charts: SVG by hand. What they show is said in words beside them, or in a table.

const SPARK_W = 120;
const SPARK_H = 24;

// A line of counts, and what it says.
function spark(counts) {
  const most = Math.max(1, ...counts);
  const step = SPARK_W / Math.max(1, counts.length - 1);
  const points = counts.map((n, i) => `${(i * step).toFixed(1)},${(SPARK_H - 2 - (n / most) * (SPARK_H - 4)).toFixed(1)}`);
  return s(
    'svg',
    { class: 'spark', role: 'img', viewBox: `0 0 ${SPARK_W} ${SPARK_H}`, preserveAspectRatio: 'none', 'aria-label': sparkWords(counts) },
    s('polygon', { points: `0,${SPARK_H} ${points.join(' ')} ${SPARK_W},${SPARK_H}` }),
    s('polyline', { points: points.join(' ') }),
  );
}

function sparkWords(counts) {
  const sum = counts.reduce((a, b) => a + b, 0);
  if (sum === 0) return 'nothing in the last hour';
  return `last hour: ${number(sum)} records, at most ${number(Math.max(...counts))} a minute, ${number(counts.at(-1) ?? 0)} in the last one`;
}

// New, surging or silent, by its last hour; '' where it is as ever.
const SURGE_TIMES = 4; // so much more than its usual minute
const SURGE_LEAST = 60; // records: of fewer a factor says little
const NEW_S = 900;

function badge(row, nowS, startedS) {
  const counts = row.spark ?? [];
  if (row.anomalies?.length > 0) return row.anomalies[0];
  if (nowS - row.first_seen < NEW_S && row.first_seen - startedS > NEW_S) return 'new';
  if (counts.length < 10) return '';
  const recent = Math.max(...counts.slice(-2));
  const usual = [...counts.slice(0, -2)].sort((a, b) => a - b)[Math.floor((counts.length - 2) / 2)];
  if (recent >= SURGE_LEAST && usual > 0 && recent > usual * SURGE_TIMES) return 'surge';
  const heard = counts.slice(0, -10).filter((n) => n > 0).length;
  return heard > 20 && counts.slice(-10).every((n) => n === 0) ? 'silent' : '';
}

// A round number at or above n: the top of an axis.
function roundUp(n) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(n, 1)));
  return [1, 2, 2.5, 5, 10].map((k) => k * unit).find((top) => top >= n);
}

const CHART_W = 1000;
const CHART_H = 220;
const PLOT = { top: 22, bottom: CHART_H - 2 };
const ERROR_LEAST = 3;
const MARK_NAMES = { policy: 'Policy', surge: 'Surge', silent: 'Silent', new: 'New', outage: 'Outage' };

// received as outline, kept filled, errors (or what `bars` names) as bars at the ground.
// `pick(index)` when a moment is chosen.
class TrafficChart {
  constructor(root, pick, bars = 'errors') {
    Object.assign(this, { root, pick, bars, at: null });
    this.svg = s('svg', { viewBox: `0 0 ${CHART_W} ${CHART_H}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
    this.axis = h('div', { class: 'axis', 'aria-hidden': 'true' });
    this.tip = h('p', { class: 'tip', hidden: true, 'aria-hidden': 'true' });
    this.slider = h('div', { class: 'plot', role: 'slider', tabindex: 0, 'aria-label': 'Moment', 'aria-valuemin': 0, 'aria-orientation': 'horizontal' }, this.svg);
    root.append(h('p', { class: 'legend', 'aria-hidden': 'true' }, h('span', { class: 'k-received' }, 'received'), h('span', { class: 'k-kept' }, 'kept'), h('span', { class: 'k-errors' }, bars)), this.slider, this.axis, this.tip);
    this.slider.addEventListener('keydown', (event) => this.#key(event));
    this.slider.addEventListener('pointermove', (event) => this.#hover(this.#indexOf(event)));
    this.slider.addEventListener('pointerleave', () => this.#hover(null));
    this.slider.addEventListener('click', (event) => this.choose(this.#indexOf(event)));
    this.slider.addEventListener('blur', () => this.#hover(null));
  }

  #indexOf(event) {
    const box = this.slider.getBoundingClientRect();
    const share = (event.clientX - box.left) / Math.max(1, box.width);
    return Math.max(0, Math.min(this.length - 1, Math.floor(share * this.length)));
  }

  #key(event) {
    const last = this.length - 1;
    const from = this.at ?? last;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, PageUp: from + 10, PageDown: from - 10, Home: 0, End: last }[event.key];
    if (event.key === 'Enter' || event.key === ' ') this.choose(from);
    else if (event.key === 'Escape' && this.chosen !== null) this.choose(null);
    else if (to === undefined) return;
    else this.#hover(Math.max(0, Math.min(last, to)));
    event.preventDefault();
    event.stopPropagation();
  }

  choose(index) {
    this.chosen = index;
    this.#cursor();
    this.pick(index);
  }

  words(i) {
    const { total, from_unix_s: from, step_s: step } = this.history;
    const per = (list) => rate((list[i] ?? 0) / step);
    const bars = total[this.bars] ? `, ${per(total[this.bars])} ${this.bars}` : '';
    return `${clock(from + i * step, step < 60)}: ${per(total.received)} received a second, ${per(total.kept)} kept${bars}`;
  }

  #hover(index) {
    this.at = index;
    this.#cursor();
    this.tip.hidden = index === null;
    if (index === null) return;
    setText(this.tip, this.words(index));
    setAttribute(this.slider, 'aria-valuenow', index);
    setAttribute(this.slider, 'aria-valuetext', this.words(index));
  }

  #x(i) {
    return ((i + 0.5) / this.length) * CHART_W;
  }

  #cursor() {
    this.svg.querySelectorAll('.cursor').forEach((line) => line.remove());
    for (const [index, name] of [[this.chosen, 'chosen'], [this.at, 'at']])
      if (index !== null && index !== undefined) this.svg.append(s('line', { class: `cursor ${name}`, x1: this.#x(index), x2: this.#x(index), y1: 0, y2: PLOT.bottom }));
  }

  // Of the steps that are known.
  #line(list, top) {
    const y = (n) => PLOT.bottom - (n / top) * (PLOT.bottom - PLOT.top);
    const points = [];
    for (let i = this.first; i <= this.last; i++) points.push(`${this.#x(i).toFixed(1)},${y(list[i]).toFixed(1)}`);
    return points.join(' ');
  }

  // A bar for each step with some, which can be seen however few they are.
  #barsOf(list, top) {
    const width = Math.max(1.5, (CHART_W / this.length) * 0.6);
    const bar = (n, i) => `M${(this.#x(i) - width / 2).toFixed(1)} ${PLOT.bottom}v-${Math.max(ERROR_LEAST, (n / top) * (PLOT.bottom - PLOT.top)).toFixed(1)}h${width.toFixed(1)}V${PLOT.bottom}z`;
    return list.map((n, i) => (n > 0 ? bar(n, i) : '')).join('');
  }

  // Before the first count nothing is known, and the last step is not over.
  #known({ from_unix_s: from, step_s: step, since_unix_s: since, until_unix_s: until }) {
    this.first = since > from ? Math.min(this.length - 1, Math.floor((since - from) / step)) : 0;
    const whole = until === undefined ? this.length : Math.floor((until - from) / step);
    this.last = Math.max(this.first, Math.min(this.length, whole) - 1);
  }

  draw(history, marks) {
    const { total, step_s: step } = history;
    const top = roundUp(Math.max(1, ...total.received, ...total.kept) / step) * step;
    Object.assign(this, { history, length: total.received.length, chosen: this.chosen ?? null });
    const kept = history.total.would_keep ?? total.kept;
    this.#known(history);
    const ground = `${this.#x(this.last)},${PLOT.bottom} ${this.#x(this.first)},${PLOT.bottom}`;
    const grid = [0.5, 1].map((share) => s('line', { class: 'grid', x1: 0, x2: CHART_W, y1: PLOT.bottom - share * (PLOT.bottom - PLOT.top), y2: PLOT.bottom - share * (PLOT.bottom - PLOT.top) }));
    this.svg.replaceChildren(
      ...grid,
      s('line', { class: 'ground', x1: 0, x2: CHART_W, y1: PLOT.bottom, y2: PLOT.bottom }),
      s('polygon', { class: 'kept', points: `${this.#line(kept, top)} ${ground}` }),
      s('polyline', { class: 'received', points: this.#line(total.received, top) }),
      s('path', { class: 'errors', d: this.#barsOf(total[this.bars] ?? [], top) }),
      ...marks.map(({ index, kind }) => s('line', { class: `mark ${kind}`, x1: this.#x(index), x2: this.#x(index), y1: 0, y2: PLOT.bottom })),
    );
    this.#cursor();
    this.#axes(history, top / step);
    setAttribute(this.slider, 'aria-valuemax', this.length - 1);
    setAttribute(this.slider, 'aria-valuenow', this.at ?? this.length - 1);
    setAttribute(this.slider, 'aria-valuetext', this.words(this.at ?? this.length - 1));
  }

  #axes({ from_unix_s: from, step_s: step }, top) {
    const labels = [0, 0.25, 0.5, 0.75, 1].map((share) => h('span', {}, clock(from + share * this.length * step)));
    this.axis.replaceChildren(h('span', { class: 'y' }, `${rate(top)} a second`), ...labels);
  }
}

// The text equivalent of a series: at most 30 rows, newest first.
const TABLE_ROWS = 30;

function seriesTable({ total, from_unix_s: start, step_s: step }, keys) {
  const n = total.received.length;
  const per = Math.ceil(n / TABLE_ROWS);
  const sum = (list, from) => list.slice(from, from + per).reduce((a, b) => a + b, 0);
  const rows = [];
  for (let from = Math.floor((n - 1) / per) * per; from >= 0; from -= per)
    rows.push(h('tr', {}, h('th', { scope: 'row' }, clock(start + from * step)), ...keys.map((key) => h('td', {}, number(sum(total[key] ?? [], from))))));
  const head = h('tr', {}, ...['from', ...keys].map((title) => h('th', { scope: 'col' }, title[0].toUpperCase() + title.slice(1))));
  return h('table', {}, h('caption', {}, `Records per ${duration(per * step * 1000)}`), h('thead', {}, head), h('tbody', {}, ...rows));
}
