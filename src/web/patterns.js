// ---- patterns of a sidecar: what the table of them shows, and when it is asked for

// While observing, what enforcing would keep.
const keptOf = (row) => row.would_keep ?? row.kept;
const keptBytesOf = (row) => row.would_keep_bytes ?? row.kept_bytes;

function showSpark(cell, row) {
  const drawn = row.spark?.join();
  if (drawn !== cell.drawn) cell.replaceChildren(...(row.spark ? [spark(row.spark)] : []));
  cell.drawn = drawn;
}

const COLUMNS = [
  { name: 'template', title: 'Pattern', text: (row) => row.template },
  { name: 'spark', title: 'Last hour', needs: 'spark', show: showSpark },
  { name: 'volume', title: 'Rate', of: (row) => row.received, server: 'volume', show: (cell, row) => setText(cell, row.per_s === undefined ? '–' : rate(row.per_s)) },
  { name: 'share', title: 'Share', of: (row) => row.received_bytes, server: 'volume', show: (cell, row) => setText(cell, percent(row.received_bytes, state.now?.received_bytes)) },
  { name: 'kept', title: 'Kept', of: (row) => (row.received ? keptOf(row) / row.received : 0), server: 'kept', show: (cell, row) => setText(cell, percent(keptOf(row), row.received)) },
  { name: 'why', title: 'Why', needs: 'why', show: (cell, row) => setText(cell, row.why ?? '') },
  { name: 'saved', title: 'Saved a month', of: (row) => row.received_bytes - keptBytesOf(row), server: 'saved', show: (cell, row) => setText(cell, savedText(row)) },
];

const patterns = {
  wantAll: false,

  build(open) {
    this.table = new RowTable($('rows'), 'Patterns of log lines', COLUMNS, 'saved', {
      open,
      badge: (row) => badge(row, state.nowS, state.startedS),
      sorted: () => {
        this.arrange();
        if (!this.wantAll) this.refresh().catch(() => {});
      },
    });
    $('filter').addEventListener('input', () => this.filtered());
    $('patterns-all').addEventListener('click', () => this.wantMore());
  },

  wantMore() {
    this.wantAll = !this.wantAll;
    return this.refresh();
  },

  filtered() {
    this.table.restart();
    this.arrange();
    // What is not here yet may match as well.
    if ($('filter').value !== '' && known.held > known.list.length) this.refresh().catch(() => {});
  },

  async refresh() {
    const column = this.table.column();
    const moment = traffic.moment;
    const query = { sort: column.server ?? 'volume', reverse: this.table.reverse ? 1 : undefined, spark: 1, service: services.chosen ?? undefined, from: moment?.from, to: moment?.to };
    const isFiltered = $('filter').value !== '';
    const wantsAll = this.wantAll || isFiltered;
    const rank = isFiltered || column.text ? -1 : this.table.firstSeen();
    const began = performance.now();
    const came = await known.refresh(query, wantsAll, rank);
    for (const one of COLUMNS) if (one.needs) this.table.table.classList.toggle(`no-${one.name}`, !known.list.some((row) => row[one.needs] !== undefined));
    this.arrange();
    performance.clearMeasures();
    performance.measure('patterns-drawn', { start: came });
    performance.measure('patterns-asked', { start: began });
  },

  arrange() {
    const typed = $('filter').value;
    this.table.arrange(known.list.filter((row) => (services.chosen === null || row.service === services.chosen) && matchesWords(row, typed)));
    this.note();
  },

  note() {
    const { held } = known;
    const n = this.table.shown.length;
    setText($('patterns-note'), n === 0 ? 'no pattern' : n === held ? `${number(n)} patterns` : `${number(n)} of ${number(held)}`);
    $('patterns-all').hidden = held <= FEW;
    setText($('patterns-all'), this.wantAll ? `Show ${FEW}` : 'Show all');
  },
};

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
