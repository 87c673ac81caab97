// ---- strip: how it stands, in six numbers

const CELLS = [
  ['saved', 'Saved a month'],
  ['kept', 'Kept'],
  ['errors', 'Errors kept'],
  ['lost', 'Lost'],
  ['upstream', 'PostHog'],
  ['budget', 'Budget'],
];

const strip = {
  build() {
    this.cells = makeCells($('strip'), CELLS);
    this.cells.budget.meter = s('svg', { class: 'meter', 'aria-hidden': 'true', viewBox: '0 0 100 4', preserveAspectRatio: 'none' }, s('rect', { width: 100, height: 4, rx: 2, class: 'rail' }), s('rect', { width: 0, height: 4, rx: 2 }));
    this.cells.budget.value.after(h('dd', {}, this.cells.budget.meter));
  },

  set(...all) {
    setCell(this.cells, ...all);
  },

  saved(now) {
    const m = now.month;
    const title = now.mode === 'observe' ? 'Would save a month' : 'Saved a month';
    setText(this.cells.saved.title, title);
    if (m.is_free) {
      this.set('saved', bytes(Math.max(0, m.without_bytes - m.with_bytes)), `of ${bytes(m.without_bytes)}; within the free tier`);
      return;
    }
    const parts = m.by_encoding >= 0.005 ? ` · ${money(m.by_sampling, m.currency)} by sampling, ${money(m.by_encoding, m.currency)} by encoding` : ' · by sampling';
    this.set('saved', money(m.saving, m.currency), `${money(m.saved_so_far, m.currency)} so far this month${parts}${m.is_assumed ? ' · price assumed' : ''}`);
  },

  kept(now) {
    const observes = now.mode === 'observe';
    const kept = observes ? (now.would_keep ?? now.kept) : now.kept + now.released;
    const keptBytes = observes ? (now.would_keep_bytes ?? now.kept_bytes) : now.kept_bytes;
    setText(this.cells.kept.title, observes ? 'Would keep' : 'Kept');
    this.set('kept', percent(kept, now.received), `${number(kept)} of ${number(now.received)} records · ${bytes(keptBytes)} of ${bytes(now.received_bytes)}`);
  },

  errors(now) {
    const { received, kept } = now.errors;
    this.set('errors', received === 0 ? '100 %' : percent(kept, received), received === 0 ? 'none so far' : `${number(kept)} of ${number(received)}`, kept < received ? 'warn' : '');
  },

  lost(now) {
    const reasons = Object.entries(now.losses).map(([why, n]) => `${number(n)} ${why.replaceAll('_', ' ')}`);
    const more = now.lost > 0 ? reasons.join(', ') : `${number(now.delivered)} delivered, ${number(now.queued)} under way`;
    this.set('lost', number(now.lost), more, now.lost > 0 ? 'bad' : '');
  },

  upstream(now) {
    const u = now.upstream;
    const waiting = u.oldest_ms > 0 ? `oldest ${duration(u.oldest_ms)}, ` : '';
    const queue = `${waiting}${bytes(u.queue_bytes)} queued`;
    setText(this.cells.upstream.title, u.name === 'standard output' ? 'Output' : 'PostHog');
    if (u.quota?.is_limited) this.set('upstream', 'Over quota', 'PostHog answers 200 and throws logs away', 'bad');
    else if (u.key_refused) this.set('upstream', 'Key refused', queue, 'bad');
    else if (u.address_refused) this.set('upstream', 'Wrong address', queue, 'bad');
    else if (u.circuit !== 'closed') this.set('upstream', u.circuit === 'open' ? 'Away' : 'Trying', `for ${duration(u.outage_ms)} · next try in ${duration(u.next_retry_ms)} · ${queue}`, 'bad');
    else if (u.last_status === 0) this.set('upstream', now.delivered > 0 ? 'Good' : 'Idle', u.name === 'standard output' ? 'no key: written to standard output' : queue);
    else this.set('upstream', u.last_status < 300 ? 'Good' : `Answers ${u.last_status}`, queue, u.last_status < 300 ? '' : 'warn');
  },

  budget(now) {
    const b = now.budget;
    const meter = this.cells.budget.meter;
    setAttribute(meter, 'hidden', !b);
    const share = b ? Math.min(1, b.allowed > 0 ? b.used / b.allowed : 0) : now.pressure;
    setAttribute(meter.lastChild, 'width', (share * 100).toFixed(1));
    if (b) {
      const unit = b.unit === 'bytes' ? bytes : (n) => `${number(n)} records`;
      this.set('budget', percent(b.used, b.allowed), `${unit(b.rate)} a second may be kept`, b.used > b.allowed * 1.02 ? 'warn' : '');
    } else {
      this.set('budget', 'None', now.pressure > 0 ? `queue pressure ${percent(now.pressure, 1)}` : 'no pressure', now.pressure > 0 ? 'warn' : '');
    }
  },

  update(now) {
    setText($('mode'), now.status !== 'ready' ? now.status : now.mode === 'observe' ? 'observing' : 'enforcing');
    setAttribute($('mode'), 'data-tone', now.status !== 'ready' ? 'warn' : null);
    for (const [name] of CELLS) this[name](now);
  },
};
