// ---- patterns of a fleet: what the last day counted

const FEW = 200; // patterns that are asked for, until all are wanted
const PIECE = 1000; // of one answer
const PIECES_MOST = 20;
const HOURS = 24;
const LEVELS_UP = ['FATAL', 'ERROR', 'WARN', 'INFO', 'DEBUG', 'TRACE'];

const trendText = (trend) => (trend === null ? '–' : `× ${trend < 0.095 ? trend.toFixed(2) : trend < 10 ? trend.toFixed(1) : number(trend)}`);

const COLUMNS = [
  { name: 'template', title: 'Pattern', text: (row) => row.template },
  { name: 'volume', title: 'Rate', of: (row) => row.per_s, show: (cell, row) => setText(cell, rate(row.per_s)) },
  { name: 'share', title: 'Share', of: (row) => row.received_bytes, show: (cell, row) => setText(cell, percent(row.received_bytes, patterns.allBytes())) },
  { name: 'kept', title: 'Kept', of: (row) => (row.received ? row.kept / row.received : 0), show: (cell, row) => setText(cell, percent(row.kept, row.received)) },
  { name: 'trend', title: 'Trend', of: (row) => row.trend ?? -1, show: (cell, row) => setText(cell, trendText(row.trend)) },
  { name: 'first', title: 'First seen', of: (row) => row.first_s, show: (cell, row) => setText(cell, day(row.first_s)) },
  { name: 'saved', title: 'Not sent, 24 h', of: (row) => row.received_bytes - row.kept_bytes, show: (cell, row) => setText(cell, row.received_bytes > row.kept_bytes ? bytes(row.received_bytes - row.kept_bytes) : '–') },
];

const NEW_FOR_S = 3600;

// As the table and an opened pattern want it.
function patternRow(got, nowS) {
  const levels = got.severity_distribution;
  const first = unixOf(got.first_seen);
  return {
    key: `${got.signature} ${got.service_name}`,
    template: got.signature === '' ? '(patterns beyond the limit of the service)' : got.message_sample,
    pattern: got.signature,
    service: got.service_name,
    severity: LEVELS_UP.reduce((most, level) => ((levels[level] ?? 0) > (levels[most] ?? 0) ? level : most), 'INFO'),
    received: got.count,
    kept: got.sampled_count,
    received_bytes: got.bytes,
    kept_bytes: got.sampled_bytes,
    trend: got.trend,
    first_s: first,
    last_s: unixOf(got.last_seen),
    per_s: got.count / Math.max(60, Math.min(HOURS * 3600, nowS - first)),
    levels,
    family: got.family,
    policy_rate: got.policy_rate,
    isNew: nowS - first < NEW_FOR_S && got.signature !== '',
  };
}

const patterns = {
  list: [],
  wantAll: false,
  isMore: false, // the server has others
  of: null, // the service of the list
  took: 0,

  build(open) {
    this.table = new RowTable($('rows'), 'Patterns of log lines, last 24 hours', COLUMNS, 'share', { open, badge: (row) => (row.isNew ? 'new' : ''), sorted: () => this.arrange() });
    $('filter').addEventListener('input', () => this.filtered());
    $('patterns-all').addEventListener('click', () => {
      this.wantAll = !this.wantAll;
      loops.part.soon();
    });
  },

  filtered() {
    this.table.restart();
    this.arrange();
    if ($('filter').value !== '' && this.isMore) loops.part.soon(); // what is not here yet may match as well
  },

  allBytes() {
    const list = traffic.day?.services ?? [];
    return list.filter(({ name }) => services.chosen === null || name === services.chosen).reduce((sum, one) => sum + one.received_bytes, 0);
  },

  async refresh() {
    const began = performance.now();
    const service = services.chosen;
    const wantsAll = this.wantAll || $('filter').value !== '';
    const path = service === null ? data.path('patterns') : data.path('services', service, 'patterns');
    const got = [];
    let piece = [];
    do {
      piece = (await data.get(path, { hours: HOURS, limit: wantsAll ? PIECE : FEW, offset: got.length || undefined })).patterns;
      got.push(...piece);
    } while (wantsAll && piece.length === PIECE && got.length < PIECE * PIECES_MOST);
    const came = performance.now();
    if (service !== services.chosen) return; // another one is asked for by now
    this.took = came - began;
    this.isMore = piece.length === (wantsAll ? PIECE : FEW);
    if (this.of !== service) this.table.restart();
    this.of = service;
    const nowS = Date.now() / 1000;
    this.list = [...new Map(got.map((one) => patternRow({ service_name: service, ...one }, nowS)).map((row) => [row.key, row])).values()];
    this.arrange();
    performance.clearMeasures();
    performance.measure('patterns-drawn', { start: came });
  },

  arrange() {
    const typed = $('filter').value;
    this.table.arrange(this.list.filter((row) => matchesWords(row, typed)));
    const n = this.table.shown.length;
    const all = this.list.length;
    const words = this.isMore ? `the loudest ${number(all)}` : `${number(all)} patterns`;
    setText($('patterns-note'), n === 0 ? 'no pattern' : n === all ? words : `${number(n)} of ${words}`);
    $('patterns-all').hidden = !this.isMore && !(this.wantAll && all > FEW);
    setText($('patterns-all'), this.wantAll ? `Show ${FEW}` : 'Show all');
  },

  templateOf(signature) {
    return this.list.find((row) => row.pattern === signature)?.template;
  },
};

// ---- a pattern opened

const opened = {
  build() {
    this.dialog = $('pattern');
    this.dialog.addEventListener('click', (event) => event.target === this.dialog && this.dialog.close());
  },

  open(row) {
    const pair = (title, ...value) => h('div', {}, h('dt', {}, title), h('dd', {}, ...value));
    const copyId = button('Copy', () => copy(row.pattern, copyId), 'quiet');
    const levels = Object.entries(row.levels).map(([level, n]) => `${number(n)} ${level}`);
    const close = h('button', { type: 'button', class: 'quiet close', 'aria-label': 'Close', on: { click: () => this.dialog.close() } }, '×');
    this.dialog.replaceChildren(
      h('div', { class: 'bar' }, h('h2', { id: 'pattern-title', class: 'template' }, visible(row.template || '(empty)', 600)), close),
      h('dl', { class: 'facts' },
        pair('Service', serviceName(row.service)),
        pair('Severities, ever', levels.join(', ') || '–'),
        pair('Received, 24 hours', `${number(row.received)} records, ${bytes(row.received_bytes)}`),
        pair('Kept', `${number(row.kept)}, ${percent(row.kept, row.received)}, ${bytes(row.kept_bytes)}`),
        pair('Trend', row.trend === null ? 'nothing before this hour' : `${trendText(row.trend)} the mean of the hours before, in the present hour`),
        row.policy_rate === undefined ? null : pair('By the policy', rateText(row.policy_rate)),
        pair('Seen', `${day(row.first_s)} to ${day(row.last_s)}`),
        row.pattern === '' ? null : pair('Pattern', h('code', {}, visible(row.pattern, 64)), ' ', copyId),
        row.family && row.family !== row.pattern ? pair('Family', h('code', {}, visible(row.family, 64))) : null),
      h('p', {}, button('Policies of this service', () => {
        this.dialog.close();
        policies.choose(row.service);
      })),
    );
    this.dialog.showModal();
  },
};
