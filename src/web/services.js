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
    const shown = traffic.services();
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
