// ---- a pattern opened: its lines, why, and what another rate would do

const STAGES = {
  floor: 'Is it an error?',
  priority: 'Does the record itself ask?',
  keep: 'Does a keep rule match?',
  drop: 'Does a drop rule match?',
  guard: 'Does PostHog count it?',
  context: 'Is it the context of an error?',
  first: 'Is it among the first?',
  rate: 'Which rate holds?',
};

const VERDICTS = {
  kept: 'it is kept',
  sampled_out: 'it is sampled out',
  dropped_by_rule: 'it is dropped',
  in_turn: 'one of so many is kept, evenly spaced',
};

const opened = {
  row: null,

  build() {
    this.dialog = $('pattern');
    this.dialog.addEventListener('close', () => (this.row = null));
    this.dialog.addEventListener('click', (event) => event.target === this.dialog && this.dialog.close());
  },

  async open(row) {
    this.row = row;
    this.status = h('p', { role: 'status' });
    const close = h('button', { type: 'button', class: 'quiet close', 'aria-label': 'Close', on: { click: () => this.dialog.close() } }, '×');
    this.dialog.replaceChildren(h('div', { class: 'bar' }, h('h2', { id: 'pattern-title', class: 'template' }, visible(row.template || '(empty)', 600)), close), this.facts(row), this.status);
    if (!this.dialog.open) this.dialog.showModal();
    try {
      await this.load(row);
    } catch (error) {
      say(this.status, error.message, true);
    }
  },

  facts(row) {
    const pair = (title, ...value) => h('div', {}, h('dt', {}, title), h('dd', {}, ...value));
    const copyId = h('button', { type: 'button', class: 'quiet', on: { click: () => copy(row.pattern, copyId) } }, 'Copy');
    const family = row.family && row.family !== row.pattern ? pair('Family', h('code', {}, row.family)) : null;
    return h(
      'dl',
      { class: 'facts' },
      pair('Service', serviceName(row.service)),
      pair('Severity', row.status_class ? `${row.severity}, ${row.status_class}` : row.severity),
      pair('Received', `${number(row.received)} records, ${bytes(row.received_bytes)}`),
      row.would_keep === undefined ? pair('Kept', `${number(row.kept)}, ${percent(row.kept, row.received)}`) : pair('Would keep', `${number(row.would_keep)}, ${percent(row.would_keep, row.received)}`),
      pair('Dropped', `${number(row.sampled_out)} sampled out, ${number(row.dropped_by_rule)} by rule`),
      pair('Seen', `${day(row.first_seen)} to ${day(row.last_seen)}`),
      pair('Pattern', h('code', {}, row.pattern), ' ', copyId),
      family,
    );
  },

  async load(row) {
    const got = data.has('pattern') ? await data.ask('pattern', { query: { id: row.pattern, service: row.service, severity: row.severity } }) : null;
    if (this.row !== row) return;
    const parts = [];
    if (got?.why) parts.push(h('p', { class: 'why' }, `${got.why}.`.replace(/\.\.$/, '.')));
    if (got?.spark) parts.push(h('figure', {}, spark(got.spark), h('figcaption', {}, `The ${sparkWords(got.spark)}.`)));
    if (data.has('whatif')) parts.push(this.rate(row, got));
    if (got) parts.push(this.samples('Kept', got.samples.kept), this.samples('Dropped', got.samples.dropped));
    this.status.before(...parts);
    if (data.has('explain')) this.status.before(await this.steps(row, got));
    if (data.has('tap')) this.status.before(h('p', {}, h('button', { type: 'button', on: { click: () => live.show(row) } }, 'Watch it live')));
  },

  samples(title, list) {
    const items = list.map(({ unix_ns: at, body }) => h('li', {}, h('time', {}, clock(Number(BigInt(at) / 1000000000n), true)), h('code', {}, visible(body, 1000))));
    return h('section', {}, h('h3', {}, title), items.length > 0 ? h('ol', { class: 'lines' }, ...items) : h('p', { class: 'none' }, 'none yet'));
  },

  // The steps that a line like these takes, as `lipservice explain` says them.
  async steps(row, got) {
    const line = got?.samples.kept[0]?.body ?? got?.samples.dropped[0]?.body ?? row.template;
    const section = h('section', {}, h('h3', {}, 'Explained'));
    try {
      const answer = await data.open('explain', { query: { input: 'line', service: row.service || undefined, severity: row.severity }, body: line });
      const said = JSON.parse((await answer.text()).split('\n')[0]);
      const rows = said.steps.map((step) => h('li', { 'data-applies': String(step.applies) }, h('span', {}, STAGES[step.stage] ?? step.stage), h('span', {}, stepWords(step))));
      section.append(h('ol', { class: 'steps' }, ...rows), h('p', {}, `Result: ${VERDICTS[said.verdict] ?? said.verdict} (${said.reason.replaceAll('_', ' ')}).`));
    } catch (error) {
      section.append(h('p', { class: 'none' }, error.message));
    }
    return section;
  },

  // What another rate would do to its count and to the bill.
  rate(row, got) {
    const id = got?.family ?? row.family ?? row.pattern;
    const words = h('p', { role: 'status' });
    const yaml = h('pre', { tabindex: 0, 'aria-label': 'As a policy' });
    const now = Number(Math.max(RATE_MIN, got?.own_rate ?? got?.rate ?? (row.received ? keptOf(row) / row.received : 1)).toPrecision(3));
    const perHour = got?.spark ? got.spark.reduce((a, b) => a + b, 0) : 0;
    const ask = settled(QUIET_MS, async (value) => {
      try {
        const answer = await data.ask('whatif', { body: { span: '1h', set: { [`sampling.pattern_rates.${id}`]: value } } });
        say(words, rateWords(value, perHour, answer));
      } catch (error) {
        say(words, error.message, true);
      }
    });
    const show = (value) => {
      setText(yaml, `pattern_rates:\n  "${id}": ${value}\n`);
      ask(value);
    };
    const slider = rateSlider('Rate', now, show);
    const done = h('p', { role: 'status' });
    const decide = async (then) => {
      try {
        say(done, await policy.draft(withRates(await policy.active(), 'pattern_rates', { [id]: slider.value }), `rate of ${id}`, then));
        proposals.refresh();
      } catch (error) {
        say(done, error.message, true);
      }
    };
    const copyYaml = h('button', { type: 'button', class: 'quiet', on: { click: () => copy(yaml.textContent, copyYaml) } }, 'Copy YAML');
    const actions = data.has('draft') && !got?.protected_by ? [h('button', { type: 'button', class: 'main', on: { click: () => decide('apply') } }, 'Apply'), h('button', { type: 'button', on: { click: () => decide('shadow') } }, 'Try as shadow'), policy.byField()] : [];
    const held = got?.protected_by ? h('p', { class: 'none' }, `No rate applies here: ${got.protected_by}.`) : null;
    show(now);
    return h('section', {}, h('h3', {}, 'Another rate'), held, slider.node, words, yaml, h('p', { class: 'row' }, copyYaml, ...actions), done);
  },
};

function stepWords(step) {
  const more = [];
  if (step.rate !== undefined) more.push(`${rateText(step.rate)} by ${step.from?.replaceAll('_', ' ') ?? ''}${step.origin ? ` (${step.origin})` : ''}`);
  if (step.count !== undefined) more.push(`${step.count} in each ${duration(step.window_ms)}`);
  if (step.rule !== undefined) more.push(visible(String(step.rule), 200));
  if (step.note) more.push(step.note);
  return `${step.applies ? 'yes' : 'no'}${more.length > 0 ? `: ${more.join(', ')}` : ''}`;
}

// Of n records kept at rate p the count is off by about 1/sqrt(kept): even spacing does better, so
// this is the most (95 %).
function rateWords(value, perHour, answer) {
  const left = perHour * value;
  const off = value >= 1 ? 'counts stay exact' : left < 1 ? 'too few are left to count an hour' : `an hour is counted to ± ${percent(Math.min(1, (2 * Math.sqrt(1 - value)) / Math.sqrt(left)), 1)}`;
  const m = answer.month;
  const less = answer.kept_bytes_now - answer.kept_bytes_then;
  const change = Math.abs(less) < 0.005 * Math.max(1, answer.kept_bytes_now) ? 'no difference' : m.is_free ? `${bytes(Math.abs(less))} an hour ${less >= 0 ? 'less' : 'more'}` : `${money(Math.abs(m.saving), m.currency)} a month ${m.saving >= 0 ? 'less' : 'more'}`;
  return `${change}; ${off}.`;
}
