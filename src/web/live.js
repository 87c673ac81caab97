// ---- live: decisions as they are made, while this view is open

const LIVE_LINES = 200; // that stay
const LIVE_RATE = 50; // lines a second are asked for
const DRAW_MS = 250;

const live = {
  waiting: [],

  build() {
    const choice = (id, title, options) => h('label', { for: id }, title, ' ', h('select', { id, on: { change: () => this.restart() } }, ...options.map(([value, text]) => h('option', { value }, text))));
    this.grep = h('input', { type: 'search', id: 'live-grep', placeholder: 'Text', 'aria-label': 'Lines with this text', spellcheck: 'false' });
    this.grep.addEventListener('input', settled(400, () => this.restart()));
    this.pauseButton = h('button', { type: 'button', 'aria-pressed': 'false', on: { click: () => this.pause() } }, 'Pause');
    this.of = h('p', { class: 'under' });
    this.sums = h('p', { class: 'under' });
    this.list = h('ol', { class: 'lines', 'aria-label': 'Decisions, newest first' });
    this.box = h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Decisions' }, this.list);
    $('live').append(
      h('h2', { class: 'unseen' }, 'Live'),
      h('p', { class: 'row' }, this.pauseButton, choice('live-verdict', 'Show', [['', 'all'], ['kept', 'kept'], ['dropped', 'dropped']]), choice('live-severity', 'from', [['', 'any severity'], ['debug+', 'DEBUG'], ['info+', 'INFO'], ['warn+', 'WARN'], ['error+', 'ERROR']]), this.grep),
      this.of,
      this.box,
      this.sums,
    );
  },

  // With the filters of a row of the patterns.
  show(row) {
    this.row = row;
    opened.dialog.close();
    tabs.choose('live');
    this.restart();
  },

  query() {
    const row = this.row;
    return {
      verdict: $('live-verdict').value || undefined,
      severity: row ? row.severity.toLowerCase() : $('live-severity').value || undefined,
      pattern: row?.pattern,
      service: (row?.service ?? services.chosen) || undefined,
      grep: this.grep.value || undefined,
      rate: LIVE_RATE,
    };
  },

  start() {
    if (!this.list) this.build();
    if (this.stop || this.isPaused) return;
    this.stop = new AbortController();
    const { signal } = this.stop;
    const clear = this.row ? h('button', { type: 'button', class: 'quiet', on: { click: () => this.forget() } }, 'Show all patterns') : '';
    this.of.replaceChildren(this.row ? `One pattern: ${visible(this.row.template, 120)} ` : '', clear);
    this.timer = setInterval(() => this.draw(), DRAW_MS);
    data
      .lines('tap', { query: this.query(), signal }, (line) => this.line(line))
      .then(() => this.ended('The stream has ended.'))
      .catch((error) => signal.aborted || this.ended(error.message));
  },

  ended(why) {
    this.end();
    setText(this.sums, why);
  },

  end() {
    this.stop?.abort();
    this.stop = null;
    clearInterval(this.timer);
  },

  restart() {
    this.end();
    this.waiting = [];
    this.list?.replaceChildren();
    if (tabs.chosen === 'live') this.start();
  },

  forget() {
    this.row = null;
    this.restart();
  },

  pause() {
    this.isPaused = !this.isPaused;
    setAttribute(this.pauseButton, 'aria-pressed', this.isPaused);
    setText(this.pauseButton, this.isPaused ? 'Resume' : 'Pause');
    if (this.isPaused) this.end();
    else this.start();
  },

  line(text) {
    if (text === '') return;
    const line = JSON.parse(text);
    if (line.tap) this.sent = line.tap;
    else this.waiting.push(line);
    if (this.waiting.length > LIVE_LINES) this.waiting.splice(0, this.waiting.length - LIVE_LINES);
  },

  draw() {
    if (this.sent) setText(this.sums, `${number(this.sent.shown)} shown of ${number(this.sent.matched)} that matched.`);
    if (this.waiting.length === 0) return;
    const items = this.waiting.splice(0).map((line) => h('li', { 'data-verdict': line.verdict }, h('span', { class: 'verdict' }, line.verdict === 'kept' ? 'kept' : 'dropped'), h('span', { class: 'under' }, `${line.severity} · ${serviceName(line.service)} · ${line.reason.replaceAll('_', ' ')}`), h('code', {}, visible(line.body, 1000))));
    this.list.prepend(...items.reverse());
    while (this.list.children.length > LIVE_LINES) this.list.lastChild.remove();
  },
};
