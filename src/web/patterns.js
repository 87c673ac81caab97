// ---- patterns: a table with as many nodes as can be seen, whose rows stay where they are

const OVERSCAN = 6; // rows above and below of what is seen

// While observing, what enforcing would keep.
const keptOf = (row) => row.would_keep ?? row.kept;
const keptBytesOf = (row) => row.would_keep_bytes ?? row.kept_bytes;

const COLUMNS = [
  { name: 'template', title: 'Pattern', text: (row) => row.template },
  { name: 'spark', title: 'Last hour', needs: 'spark' },
  { name: 'volume', title: 'Rate', of: (row) => row.received, server: 'volume' },
  { name: 'share', title: 'Share', of: (row) => row.received_bytes, server: 'volume' },
  { name: 'kept', title: 'Kept', of: (row) => (row.received ? keptOf(row) / row.received : 0), server: 'kept' },
  { name: 'why', title: 'Why', text: (row) => row.why ?? '', needs: 'why' },
  { name: 'saved', title: 'Saved a month', of: (row) => row.received_bytes - keptBytesOf(row), server: 'saved' },
];

const patterns = {
  shown: [], // filtered, in the order of the table
  places: new Map(), // key: place, while the order holds
  sort: 'saved',
  reverse: false,
  wantAll: false,

  build(open) {
    this.open = open;
    this.head = h('tr', { role: 'row' });
    for (const column of COLUMNS) {
      const name = `c-${column.name}`;
      const title = column.name === 'spark' || column.name === 'why' ? column.title : h('button', { type: 'button', on: { click: () => this.sortBy(column.name) } }, column.title);
      this.head.append(h('th', { scope: 'col', class: name }, title));
    }
    this.body = h('tbody');
    this.table = h('table', {}, h('caption', { class: 'unseen' }, 'Patterns of log lines'), h('thead', {}, this.head), this.body);
    this.above = h('tr', { 'aria-hidden': 'true', class: 'space' }, h('td'));
    this.below = this.above.cloneNode(true);
    this.pool = [];
    $('rows').append(this.table);
    $('rows').addEventListener('scroll', () => this.draw(), { passive: true });
    $('rows').addEventListener('keydown', (event) => this.key(event));
    $('filter').addEventListener('input', () => this.filtered());
    $('patterns-all').addEventListener('click', () => this.wantMore());
    new ResizeObserver(() => this.draw()).observe($('rows'));
    this.ariaSort();
  },

  wantMore() {
    this.wantAll = !this.wantAll;
    return this.refresh();
  },

  ariaSort() {
    COLUMNS.forEach((column, i) => setAttribute(this.head.children[i], 'aria-sort', column.name === this.sort ? (this.reverse === (column.text !== undefined) ? 'descending' : 'ascending') : null));
  },

  sortBy(name) {
    this.reverse = this.sort === name ? !this.reverse : false;
    this.sort = name;
    this.ariaSort();
    this.places.clear();
    this.arrange();
    if (!this.wantAll) this.refresh().catch(() => {});
  },

  filtered() {
    this.places.clear();
    $('rows').scrollTop = 0;
    this.arrange();
    // What is not here yet may match as well.
    if ($('filter').value !== '' && known.held > known.list.length) this.refresh().catch(() => {});
  },

  // While the table is in use, no row may change its place.
  isHeld() {
    return $('rows').matches(':hover') || $('rows').contains(document.activeElement) || $('rows').scrollTop > 0;
  },

  async refresh() {
    const column = COLUMNS.find(({ name }) => name === this.sort);
    const moment = traffic.moment;
    const query = { sort: column.server ?? 'volume', reverse: this.reverse ? 1 : undefined, spark: 1, service: services.chosen ?? undefined, from: moment?.from, to: moment?.to };
    const isFiltered = $('filter').value !== '';
    const wantsAll = this.wantAll || isFiltered;
    const rank = isFiltered || column.text ? -1 : Math.floor($('rows').scrollTop / this.rowHeight());
    const began = performance.now();
    const came = await known.refresh(query, wantsAll, rank);
    for (const one of COLUMNS) if (one.needs) this.table.classList.toggle(`no-${one.name}`, !known.list.some((row) => row[one.needs] !== undefined));
    this.arrange();
    performance.clearMeasures();
    performance.measure('patterns-drawn', { start: came });
    performance.measure('patterns-asked', { start: began });
  },

  matches(row) {
    if (services.chosen !== null && row.service !== services.chosen) return false;
    const wanted = $('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
    if (wanted.length === 0) return true;
    const text = `${row.template} ${row.service} ${row.pattern} ${row.severity}`.toLowerCase();
    return wanted.every((word) => text.includes(word));
  },

  // While the table is in use, rows keep their places; new ones go to the end.
  arrange() {
    const column = COLUMNS.find(({ name }) => name === this.sort);
    const sign = this.reverse ? -1 : 1;
    const compare = column.text ? (a, b) => sign * (column.text(a) < column.text(b) ? -1 : column.text(a) > column.text(b) ? 1 : 0) : (a, b) => sign * (column.of(b) - column.of(a));
    const rows = known.list.filter((row) => this.matches(row)).sort(compare);
    if (this.places.size > 0 && this.isHeld()) rows.sort((a, b) => (this.places.get(a.key) ?? Infinity) - (this.places.get(b.key) ?? Infinity) || 0);
    this.places = new Map(rows.map((row, i) => [row.key, i]));
    this.shown = rows;
    this.note();
    this.draw();
  },

  note() {
    const { held } = known;
    const n = this.shown.length;
    setText($('patterns-note'), n === 0 ? 'no pattern' : n === held ? `${number(n)} patterns` : `${number(n)} of ${number(held)}`);
    $('patterns-all').hidden = held <= FEW;
    setText($('patterns-all'), this.wantAll ? `Show ${FEW}` : 'Show all');
  },

  rowHeight() {
    return matchMedia('(max-width: 40rem)').matches ? 76 : 52; // as style.css has it
  },

  makeRow() {
    const row = { cells: {}, node: h('tr') };
    for (const { name } of COLUMNS) {
      row.cells[name] = h(name === 'template' ? 'th' : 'td', { class: `c-${name}`, scope: name === 'template' ? 'row' : undefined });
      row.node.append(row.cells[name]);
    }
    row.template = h('span', { class: 'template' });
    row.badge = h('span', { class: 'badge' });
    row.under = h('span', { class: 'under' });
    row.button = h('button', { type: 'button', class: 'open', tabindex: -1, on: { click: () => this.open(row.of) } }, row.template);
    row.cells.template.append(row.button, row.under, row.badge);
    row.button.addEventListener('focus', () => (this.focused = row.of?.key));
    return row;
  },

  draw() {
    const height = this.rowHeight();
    const box = $('rows');
    const first = Math.max(0, Math.floor(box.scrollTop / height) - OVERSCAN);
    const last = Math.min(this.shown.length, Math.ceil((box.scrollTop + (box.clientHeight || 600)) / height) + OVERSCAN);
    while (this.pool.length < last - first) this.pool.push(this.makeRow());
    const nodes = [];
    for (let i = first; i < last; i++) {
      this.fillRow(this.pool[i - first], this.shown[i], i);
      nodes.push(this.pool[i - first].node);
    }
    setHeight(this.above, first * height);
    setHeight(this.below, (this.shown.length - last) * height);
    setAttribute(this.table, 'aria-rowcount', this.shown.length + 1);
    const wanted = [this.above, ...nodes, this.below];
    if (wanted.length !== this.body.children.length || wanted.some((node, i) => this.body.children[i] !== node)) this.body.replaceChildren(...wanted);
    this.rove();
  },

  fillRow(row, of, index) {
    row.of = of;
    setAttribute(row.node, 'aria-rowindex', index + 2);
    setText(row.template, visible(of.template || '(empty)', 300));
    setText(row.under, `${of.severity} · ${serviceName(of.service)} · ${of.pattern.slice(5)}`);
    setAttribute(row.under, 'data-level', of.severity);
    const mark = badge(of, state.nowS, state.startedS);
    setText(row.badge, mark);
    row.badge.hidden = mark === '';
    setAttribute(row.badge, 'data-kind', mark);
    const drawn = of.spark?.join();
    if (drawn !== row.drawn) row.cells.spark.replaceChildren(...(of.spark ? [spark(of.spark)] : []));
    row.drawn = drawn;
    setText(row.cells.volume, of.per_s === undefined ? '–' : rate(of.per_s));
    setText(row.cells.share, percent(of.received_bytes, state.now?.received_bytes));
    setText(row.cells.kept, percent(keptOf(of), of.received));
    setText(row.cells.why, of.why ?? '');
    setText(row.cells.saved, savedText(of));
  },

  // One row of all can be reached by Tab; arrows go on from there.
  rove() {
    const visibleRows = this.pool.filter(({ node }) => node.isConnected);
    const chosen = visibleRows.find(({ of }) => of.key === this.focused) ?? visibleRows[0];
    for (const row of visibleRows) row.button.tabIndex = row === chosen ? 0 : -1;
  },

  focusAt(index) {
    const to = Math.max(0, Math.min(this.shown.length - 1, index));
    const height = this.rowHeight();
    const box = $('rows');
    const room = box.clientHeight - this.head.offsetHeight;
    if (to * height < box.scrollTop) box.scrollTop = to * height;
    else if ((to + 1) * height > box.scrollTop + room) box.scrollTop = (to + 1) * height - room;
    this.draw();
    this.pool.find(({ of, node }) => node.isConnected && of === this.shown[to])?.button.focus({ preventScroll: true });
  },

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined || !event.target.classList.contains('open')) return;
    event.preventDefault();
    this.focusAt((this.places.get(this.focused) ?? 0) + step);
  },
};

function setHeight(row, px) {
  row.hidden = px <= 0;
  row.firstChild.style.height = `${px}px`;
}

// Its part of what sampling saves; in bytes where they are free.
function savedText(row) {
  const saved = Math.max(0, row.received_bytes - keptBytesOf(row));
  const month = state.now?.month;
  if (!month || saved === 0) return '–';
  const factor = month.without_bytes > 0 && state.now.received_bytes > 0 ? month.by_sampling / Math.max(1, state.now.received_bytes - keptBytesOf(state.now)) : 0;
  if (!month.is_free && factor > 0) return money(saved * factor, month.currency);
  return bytes((saved / Math.max(1, state.now.uptime_ms)) * 1000 * MONTH_S);
}
const MONTH_S = 30.4375 * 86400;
