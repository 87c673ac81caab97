// ---- table: as many nodes as can be seen, and rows that stay where they are while it is in use

const OVERSCAN = 6; // rows above and below of what is seen

function setHeight(row, px) {
  row.hidden = px <= 0;
  row.firstChild.style.height = `${px}px`;
}

class RowTable {
  // A column: {name, title, text(row) or of(row) to sort by (neither: not sorted), show(cell, row)};
  // the first is the pattern itself. on: {open(row), sorted(), badge(row)}.
  constructor(box, caption, columns, sort, on) {
    Object.assign(this, { box, columns, sort, on, reverse: false, shown: [], places: new Map(), pool: [] });
    this.head = h('tr', { role: 'row' });
    for (const column of columns) {
      const isSorted = column.text !== undefined || column.of !== undefined;
      const title = isSorted ? h('button', { type: 'button', on: { click: () => this.sortBy(column.name) } }, column.title) : column.title;
      this.head.append(h('th', { scope: 'col', class: `c-${column.name}` }, title));
    }
    this.body = h('tbody');
    this.table = h('table', {}, h('caption', { class: 'unseen' }, caption), h('thead', {}, this.head), this.body);
    this.above = h('tr', { 'aria-hidden': 'true', class: 'space' }, h('td'));
    this.below = this.above.cloneNode(true);
    box.append(this.table);
    box.addEventListener('scroll', () => this.draw(), { passive: true });
    box.addEventListener('keydown', (event) => this.#key(event));
    new ResizeObserver(() => this.draw()).observe(box);
    this.#ariaSort();
  }

  column() {
    return this.columns.find(({ name }) => name === this.sort);
  }

  #ariaSort() {
    this.columns.forEach((column, i) => setAttribute(this.head.children[i], 'aria-sort', column.name === this.sort ? (this.reverse === (column.text !== undefined) ? 'descending' : 'ascending') : null));
  }

  sortBy(name) {
    this.reverse = this.sort === name ? !this.reverse : false;
    this.sort = name;
    this.#ariaSort();
    this.places.clear();
    this.on.sorted();
  }

  // Other rows than before: from the top, in their own order.
  restart() {
    this.places.clear();
    this.box.scrollTop = 0;
  }

  // While the table is in use, no row may change its place.
  isHeld() {
    return this.box.matches(':hover') || this.box.contains(document.activeElement) || this.box.scrollTop > 0;
  }

  // While the table is in use, rows keep their places; new ones go to the end.
  arrange(rows) {
    const column = this.column();
    const sign = this.reverse ? -1 : 1;
    const compare = column.text ? (a, b) => sign * (column.text(a) < column.text(b) ? -1 : column.text(a) > column.text(b) ? 1 : 0) : (a, b) => sign * (column.of(b) - column.of(a));
    rows.sort(compare);
    if (this.places.size > 0 && this.isHeld()) rows.sort((a, b) => (this.places.get(a.key) ?? Infinity) - (this.places.get(b.key) ?? Infinity) || 0);
    this.places = new Map(rows.map((row, i) => [row.key, i]));
    this.shown = rows;
    this.draw();
  }

  rowHeight() {
    return matchMedia('(max-width: 40rem)').matches ? 76 : 52; // as style.css has it
  }

  // The place of the first row that is seen.
  firstSeen() {
    return Math.floor(this.box.scrollTop / this.rowHeight());
  }

  #makeRow() {
    const row = { cells: {}, node: h('tr') };
    this.columns.forEach(({ name }, i) => {
      row.cells[name] = h(i === 0 ? 'th' : 'td', { class: `c-${name}`, scope: i === 0 ? 'row' : undefined });
      row.node.append(row.cells[name]);
    });
    row.template = h('span', { class: 'template' });
    row.badge = h('span', { class: 'badge' });
    row.under = h('span', { class: 'under' });
    row.button = h('button', { type: 'button', class: 'open', tabindex: -1, on: { click: () => this.on.open(row.of) } }, row.template);
    row.node.firstChild.append(row.button, row.under, row.badge);
    row.button.addEventListener('focus', () => (this.focused = row.of?.key));
    return row;
  }

  draw() {
    const height = this.rowHeight();
    const { box } = this;
    const first = Math.max(0, Math.floor(box.scrollTop / height) - OVERSCAN);
    const last = Math.min(this.shown.length, Math.ceil((box.scrollTop + (box.clientHeight || 600)) / height) + OVERSCAN);
    while (this.pool.length < last - first) this.pool.push(this.#makeRow());
    const nodes = [];
    for (let i = first; i < last; i++) {
      this.#fillRow(this.pool[i - first], this.shown[i], i);
      nodes.push(this.pool[i - first].node);
    }
    setHeight(this.above, first * height);
    setHeight(this.below, (this.shown.length - last) * height);
    setAttribute(this.table, 'aria-rowcount', this.shown.length + 1);
    const wanted = [this.above, ...nodes, this.below];
    if (wanted.length !== this.body.children.length || wanted.some((node, i) => this.body.children[i] !== node)) this.body.replaceChildren(...wanted);
    this.#rove();
  }

  #fillRow(row, of, index) {
    row.of = of;
    setAttribute(row.node, 'aria-rowindex', index + 2);
    setText(row.template, visible(of.template || '(empty)', 300));
    setText(row.under, [of.severity, serviceName(of.service), of.pattern.replace(/^lps1:/, '')].filter(Boolean).join(' · '));
    setAttribute(row.under, 'data-level', of.severity);
    const mark = this.on.badge(of);
    setText(row.badge, mark);
    row.badge.hidden = mark === '';
    setAttribute(row.badge, 'data-kind', mark);
    for (const { name, show } of this.columns) show?.(row.cells[name], of);
  }

  // One row of all can be reached by Tab; arrows go on from there.
  #rove() {
    const visibleRows = this.pool.filter(({ node }) => node.isConnected);
    const chosen = visibleRows.find(({ of }) => of.key === this.focused) ?? visibleRows[0];
    for (const row of visibleRows) row.button.tabIndex = row === chosen ? 0 : -1;
  }

  focusAt(index) {
    const to = Math.max(0, Math.min(this.shown.length - 1, index));
    const height = this.rowHeight();
    const { box } = this;
    const room = box.clientHeight - this.head.offsetHeight;
    if (to * height < box.scrollTop) box.scrollTop = to * height;
    else if ((to + 1) * height > box.scrollTop + room) box.scrollTop = (to + 1) * height - room;
    this.draw();
    this.pool.find(({ of, node }) => node.isConnected && of === this.shown[to])?.button.focus({ preventScroll: true });
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined || !event.target.classList.contains('open')) return;
    event.preventDefault();
    this.focusAt((this.places.get(this.focused) ?? 0) + step);
  }
}

// Does each word that was typed stand in the row?
function matchesWords(row, typed) {
  const wanted = typed.toLowerCase().split(/\s+/).filter(Boolean);
  if (wanted.length === 0) return true;
  const text = `${row.template} ${row.service} ${row.pattern} ${row.severity}`.toLowerCase();
  return wanted.every((word) => text.includes(word));
}
