// ---- proposals: versions of the policy, who made them and why; apply, compare, roll back

const DOCUMENT_MOST = 20000; // characters that are shown

const proposals = {
  build() {
    this.status = h('p', { role: 'status' });
    this.list = h('ol', { class: 'versions' });
    const make = h('button', { type: 'button', on: { click: () => this.propose() } }, 'Propose now');
    $('proposals').append(h('h2', { class: 'unseen' }, 'Proposals'), h('p', { class: 'row' }, make, policy.byField()), this.status, this.list);
  },

  async act(what, done) {
    try {
      say(this.status, await done());
    } catch (error) {
      say(this.status, `${what}: ${error.message}`, true);
    }
    await this.refresh(true);
  },

  propose() {
    return this.act('Not proposed', async () => {
      const made = await data.ask('propose', { body: {} });
      return made.none ? `Nothing to propose: ${made.none}` : `Version ${made.version} is proposed.`;
    });
  },

  apply(version, shadow) {
    return this.act('Not applied', async () => {
      return policy.outcome(await data.ask('apply', { body: { version, by: policy.who(), ...(shadow ? { shadow: true } : {}) } }));
    });
  },

  rollback(version) {
    return this.act('Not rolled back', async () => {
      const made = await data.ask('rollback', { body: { version, by: policy.who() } });
      return `The content of version ${version} is in force again${made.version ? `, as version ${made.version}` : ''}.`;
    });
  },

  async refresh(force = false) {
    if (!data.has('policies')) return;
    if (!this.list) this.build();
    try {
      const got = await data.ask('policies');
      await this.count(got.versions.find(({ state: now }) => now === 'shadow'));
      // Open details stay as they are while nothing has changed.
      const drawn = JSON.stringify([got, this.counted]);
      if (drawn === this.drawn && !force) return;
      this.drawn = drawn;
      this.list.replaceChildren(...[...got.versions].reverse().map((version) => this.row(version)));
      if (got.versions.length === 0) this.list.replaceChildren(h('li', { class: 'none' }, got.apply === 'auto' ? 'No version yet. One is made each hour, and applied.' : 'No version yet. One is proposed each hour when it saves enough.'));
    } catch (error) {
      say(this.status, error.message, true);
    }
  },

  // What the shadow would have kept by now, beside what was kept.
  async count(shadow) {
    this.counted = '';
    if (!shadow) return;
    const { lanes, currency } = await data.ask('shadow', { query: { limit: 1 } });
    const lane = (name) => lanes.find((one) => one.lane === name);
    const would = lane('shadow');
    if (!would) return;
    const all = lane('everything').kept;
    const did = lane('enforced') ?? lane('done');
    this.counted = `So far it would have kept ${percent(would.kept, all)} where ${percent(did.kept, all)} is kept; a month costs ${money(would.price_a_month, currency)} instead of ${money(did.price_a_month, currency)}.`;
  },

  row(v) {
    const saving = v.saving?.bytes_a_month > 0 ? (v.saving.money_a_month > 0 ? `${money(v.saving.money_a_month, v.saving.currency)} a month` : `${bytes(v.saving.bytes_a_month)} a month`) : '';
    const button = (title, run, kind = '') => h('button', { type: 'button', class: kind, on: { click: run } }, title);
    const actions = {
      proposed: [button('Apply', () => this.apply(v.version), 'main'), button('Try as shadow', () => this.apply(v.version, true))],
      shadow: [button('Apply', () => this.apply(v.version), 'main')],
      past: [button('Roll back to it', () => this.rollback(v.version))],
      active: [],
    }[v.state] ?? [];
    const body = h('div', { class: 'changes' });
    const details = h('details', {}, h('summary', {}, v.changes === 0 ? 'The policy' : v.changes === 1 ? '1 change' : `${number(v.changes)} changes`), body);
    details.addEventListener('toggle', () => details.open && body.children.length === 0 && this.changes(v.version, body));
    return h(
      'li',
      { 'data-state': v.state },
      h('p', { class: 'bar' }, h('strong', {}, `Version ${v.version}`), h('span', { class: 'pill' }, v.state === 'active' ? 'in force' : v.state), h('span', { class: 'saving' }, saving)),
      h('p', { class: 'under' }, `${day(v.created_unix_s)}, by ${visible(v.by, 60)}${v.why ? `: ${visible(v.why, 300)}` : ''}`),
      v.state === 'shadow' && this.counted ? h('p', {}, this.counted) : null,
      details,
      h('p', { class: 'row' }, ...actions),
    );
  },

  async changes(version, body) {
    try {
      const got = await data.ask('policies', { query: { version } });
      const rows = got.changes.map((c) => h('tr', {}, h('th', { scope: 'row' }, h('span', { class: 'template' }, visible(c.template ?? c.pattern, 200)), h('span', { class: 'under' }, [c.severity, c.service !== undefined ? serviceName(c.service) : '', c.why, c.protected_by ? `protected: ${c.protected_by}` : ''].filter(Boolean).map((part) => visible(part, 200)).join(' · '))), h('td', {}, rateText(c.rate_now)), h('td', {}, rateText(c.rate_proposed)), h('td', {}, bytes(c.bytes_a_month))));
      const head = h('tr', {}, ...['Pattern', 'Rate', 'Proposed', 'A month'].map((title) => h('th', { scope: 'col' }, title)));
      const diff = h('pre', { tabindex: 0, 'aria-label': `Version ${version} as YAML` }, got.document.slice(0, DOCUMENT_MOST).split('\n').map((line) => visible(line, 300)).join('\n'));
      const against = h('button', { type: 'button', class: 'quiet', on: { click: () => this.diff(version, diff) } }, 'Compare with what is in force');
      body.replaceChildren(rows.length > 0 ? h('table', { class: 'plain' }, h('thead', {}, head), h('tbody', {}, ...rows)) : '', diff, h('p', { class: 'row' }, against));
    } catch (error) {
      body.replaceChildren(h('p', { class: 'bad' }, error.message));
    }
  },

  async diff(version, pre) {
    try {
      const { active } = await data.ask('policies');
      const answer = await data.open('policies', { query: { version, as: 'diff', with: active } });
      const text = await answer.text();
      const lines = (text.startsWith('{') ? (JSON.parse(text).diff ?? text) : text).split('\n');
      pre.replaceChildren(...lines.map((line) => h('span', { class: line.startsWith('+') ? 'more' : line.startsWith('-') ? 'less' : '' }, `${visible(line, 300)}\n`)));
    } catch (error) {
      setText(pre, error.message);
    }
  },
};
