// ---- what if: other rates, another budget or a whole policy, against what really came

const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN'];
const FIRST_RATES = { TRACE: 0.05, DEBUG: 0.05, INFO: 0.2, WARN: 0.5 };

// A budget from 10 MB to 10 TB a month; 0: the one in force.
const BUDGET_LEAST = 1e7;
const BUDGETS = {
  to: (n) => (n === 0 ? 0 : 1 + (Math.log10(n / BUDGET_LEAST) / 6) * 99),
  from: (at) => (at === 0 ? 0 : Number((BUDGET_LEAST * 10 ** (((at - 1) / 99) * 6)).toPrecision(2))),
  text: (n) => (n === 0 ? 'as it is' : `${bytes(n)} a month`),
};

const whatif = {
  span: '1h',
  rates: {},

  build() {
    this.result = h('div', { class: 'result' });
    this.status = h('p', { role: 'status' });
    this.ask = settled(QUIET_MS, () => this.run());
    this.sliders = LEVELS.map((level) => rateSlider(level, FIRST_RATES[level], (value) => {
      this.rates[level] = value;
      this.ask();
    }));
    this.budget = rateSlider('Budget', 0, () => this.ask(), BUDGETS);
    this.text = h('textarea', { id: 'whatif-document', rows: 8, spellcheck: 'false', placeholder: 'severity_rates:\n  INFO: 0.1' });
    this.text.addEventListener('input', () => this.ask());
    const span = h('div', { role: 'group', 'aria-label': 'Against' }, ...['1h', '24h'].map((name) => h('button', { type: 'button', class: 'segment', 'aria-pressed': name === this.span, 'data-span': name, on: { click: () => this.useSpan(name) } }, name === '1h' ? 'The last hour' : 'The last day')));
    this.spanGroup = span;
    const shadow = h('button', { type: 'button', on: { click: () => this.shadow() } }, 'Try as shadow');
    const reset = h('button', { type: 'button', class: 'quiet', on: { click: () => this.reset() } }, 'Reset');
    $('whatif').append(
      h('h2', { class: 'unseen' }, 'What if'),
      h('div', { class: 'form' },
        span,
        h('fieldset', {}, h('legend', {}, 'Rates by severity'), ...this.sliders.map((slider) => slider.node)),
        this.budget.node,
        h('details', {}, h('summary', {}, 'A policy instead'), h('label', { for: 'whatif-document' }, 'Policy as YAML'), this.text),
        h('p', { class: 'row' }, data.has('draft') ? shadow : null, data.has('draft') ? policy.byField() : null, reset),
        this.status),
      this.result,
    );
  },

  useSpan(name) {
    this.span = name;
    for (const button of this.spanGroup.children) setAttribute(button, 'aria-pressed', button.dataset.span === name);
    this.run();
  },

  async reset() {
    this.rates = {};
    this.budget.set(0);
    this.text.value = '';
    await this.readRates();
    await this.run();
  },

  // The rates in force, where the configuration or the policy says them.
  async readRates() {
    const document = await policy.active().catch(() => '');
    for (const [i, level] of LEVELS.entries()) {
      const said = new RegExp(`^\\s+"?${level}"?: ([0-9.]+)`, 'm').exec(document);
      if (this.rates[level] === undefined) this.sliders[i].set(said ? Math.max(RATE_MIN, Number(said[1])) : FIRST_RATES[level]);
    }
  },

  question() {
    const set = Object.fromEntries(Object.entries(this.rates).map(([level, value]) => [`sampling.severity_rates.${level}`, value]));
    if (this.budget.value > 0) set['sampling.budget.bytes_per_month'] = String(Math.round(this.budget.value));
    return this.text.value.trim() === '' ? { span: this.span, set } : { span: this.span, document: this.text.value, set };
  },

  async run() {
    try {
      const got = await data.ask('whatif', { body: this.question() });
      say(this.status, '');
      this.show(got);
    } catch (error) {
      say(this.status, error.message, true);
    }
  },

  show(got) {
    const m = got.month;
    const big = (title, now, then) => h('div', {}, h('dt', {}, title), h('dd', { class: 'value' }, then), h('dd', { class: 'more' }, `now ${now}`));
    const cost = m.is_free ? big('Sent in this time', bytes(got.kept_bytes_now), bytes(got.kept_bytes_then)) : big('A month costs', money(m.now, m.currency), money(m.then, m.currency));
    const known = got.known_s !== undefined && got.known_s < got.span_s ? `Based on the last ${duration(got.known_s * 1000)}. ` : '';
    const free = m.is_free ? 'A month of this is within the free tier. ' : Math.abs(m.saving) < 0.005 ? 'No difference. ' : `${m.saving >= 0 ? 'Saves' : 'Costs'} ${money(Math.abs(m.saving), m.currency)} a month more than now. `;
    const rows = got.rows.map((row) => h('tr', {}, h('th', { scope: 'row' }, h('span', { class: 'template' }, visible(row.template, 200)), h('span', { class: 'under' }, `${row.severity} · ${serviceName(row.service)}`)), h('td', {}, number(row.records)), h('td', {}, percent(row.share_now, 1)), h('td', {}, percent(row.share_then, 1))));
    const head = h('tr', {}, ...['What changes most', 'Records', 'Kept now', 'Then'].map((title) => h('th', { scope: 'col' }, title)));
    this.result.replaceChildren(
      h('dl', { class: 'numbers' }, cost, big('Kept', percent(got.kept_now, got.received), percent(got.kept_then, got.received))),
      h('p', { role: 'status' }, known + free),
      rows.length > 0 ? h('table', { class: 'plain' }, h('thead', {}, head), h('tbody', {}, ...rows)) : h('p', { class: 'none' }, 'Nothing would change.'),
    );
  },

  async shadow() {
    try {
      const document = this.text.value.trim() !== '' ? this.text.value : withRates(await policy.active(), 'severity_rates', this.rates);
      const words = await policy.draft(document, 'tried in what if', 'shadow');
      say(this.status, this.budget.value === 0 ? words : `${words} The budget is no part of it.`);
      proposals.refresh();
    } catch (error) {
      say(this.status, error.message, true);
    }
  },

  async refresh() {
    if (!this.result) {
      this.build();
      await this.readRates();
    }
    await this.run();
  },
};
