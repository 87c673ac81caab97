// ---- totals: the chart of the last hour or day, and what the services sent in a day

const SPANS = [['hour', '1 hour'], ['day', '24 hours']];

const traffic = {
  span: 'hour',
  loaded: null,
  day: null, // of all services, for the list and for shares
  moment: null, // the tables are of the last day, whatever the chart points at

  build() {
    this.chart = new TrafficChart($('chart'), () => {}, 'lost');
    for (const [span, title] of SPANS) {
      const one = h('button', { type: 'button', class: 'segment', 'aria-pressed': span === this.span, on: { click: () => this.useSpan(span) } }, title);
      one.dataset.span = span;
      $('spans').append(one);
    }
    $('chart-table').addEventListener('toggle', () => this.table());
  },

  useSpan(span) {
    this.span = span;
    for (const one of $('spans').children) setAttribute(one, 'aria-pressed', one.dataset.span === span);
    this.chart.chosen = null;
    this.chart.at = null;
    loops.chart.soon();
  },

  async refresh() {
    const service = services.chosen;
    this.loaded = await data.get(data.path('totals'), { span: this.span, service: service ?? undefined });
    $('history').hidden = false;
    this.chart.draw(this.loaded, []);
    this.table();
    setText($('history-title'), service === null ? 'Traffic' : `Traffic of ${serviceName(service)}`);
  },

  async refreshDay() {
    this.day = await data.get(data.path('totals'), { span: 'day' });
    strip.fleet(this.day);
    services.update({ services: [] });
  },

  table() {
    if (!$('chart-table').open || !this.loaded) return;
    const keys = ['received', 'kept', ...(this.loaded.total.lost ? ['lost'] : [])];
    $('chart-table').querySelector('.scroll').replaceChildren(seriesTable(this.loaded, keys));
  },

  services() {
    return this.day?.services ?? null;
  },
};
