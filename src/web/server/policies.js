// ---- policies of a service: versions, who made them and why, what they change; proposals

const HISTORY = 30; // versions that are listed
const DOCUMENT_LINES = 2000; // that are shown
const NO_RATES = new Set(['reasoning', 'generated_by', 'llm_model']); // said elsewhere

const policies = new (class extends Part {
  constructor() {
    super('policies', 'Policies');
    this.held = new Set(); // versions that the server has not put in force, because they would drop much
  }

  form() {
    this.select = h('select', { id: 'policy-service', on: { change: () => this.choose(this.select.value) } }, h('option', { value: '' }, 'a service'));
    this.propose = button('Propose a policy', () => this.make());
    this.byModel = h('input', { type: 'checkbox' });
    return [h('p', { class: 'row' }, field('Of', this.select), may.write ? this.propose : null, may.write && state.me.has_model ? h('label', {}, this.byModel, ' ask the model') : null)];
  }

  // Here and in the list at the left.
  choose(name) {
    if (name !== '' && services.chosen !== name) services.choose(name);
    if (name === '' && services.chosen !== null) services.choose(services.chosen);
    tabs.choose('policies');
  }

  async read() {
    const names = (await data.get(data.path('services'), { limit: 1000 })).map(({ name }) => name).sort();
    const service = services.chosen;
    this.offer(names, service);
    if (service === null) return { service };
    const history = await data.get(data.path('policies', service, 'history'), { limit: HISTORY });
    return { service, history, held: [...this.held] };
  }

  offer(names, chosen) {
    const key = names.join('\n');
    if (key !== this.offered) this.select.replaceChildren(h('option', { value: '' }, 'a service'), ...names.map((name) => h('option', { value: name }, serviceName(name))));
    this.offered = key;
    this.select.value = chosen ?? '';
    this.propose.disabled = chosen === null;
  }

  draw({ service, history }) {
    if (service === null) return [none('Choose a service, here or in the list.')];
    if (history.length === 0) return [none('No version yet: its sidecars do what the server does by default, or what they are configured to do.')];
    const active = history.find((row) => row.is_active)?.version ?? 0;
    return [entries(history.map((row) => this.row(service, row, active)))];
  }

  row(service, v, active) {
    const now = v.is_active ? 'in force' : v.version > active ? 'proposed' : 'past';
    const actions = {
      'in force': [],
      proposed: [button(this.isHeld(service, v.version) ? 'Apply all the same' : 'Apply', () => this.apply(service, v.version), 'main')],
      past: [button('Roll back to it', () => this.rollback(service, v.version))],
    }[now];
    const body = h('div', { class: 'changes' });
    const details = h('details', {}, h('summary', {}, now === 'proposed' ? 'What it changes' : 'The policy'), body);
    details.addEventListener('toggle', () => details.open && body.children.length === 0 && this.details(service, v.version, active, now, body));
    const node = entry(`Version ${v.version}`, now, '', under(when(v.created_at), `by ${visible(v.author, 100)}`, visible(v.generated_by, 60)), v.reasoning === '' ? null : h('p', { class: 'why' }, visible(v.reasoning, 600)), details, may.write && actions.length > 0 ? h('p', { class: 'row' }, ...actions) : null);
    node.dataset.state = now;
    return node;
  }

  make() {
    const service = services.chosen;
    return this.act('Not proposed', async () => {
      this.propose.disabled = true;
      const by = state.me.has_model && !this.byModel.checked ? { llm_provider: 'rule-based' } : {};
      const made = await data.send('POST', data.path('pipeline', 'generate-policy'), { service_name: service, hours: HOURS, ...by }, { draft: true });
      return `Version ${made.policy_version} is proposed.`;
    });
  }

  isHeld(service, version) {
    return this.held.has(JSON.stringify([service, version]));
  }

  // The answer to what was to be in force. What would drop much at once waits for a second click.
  outcome(service, { version, held }, words) {
    if (!held) return words;
    this.held.add(JSON.stringify([service, version]));
    return `Version ${version} is not in force yet: it would drop ${percent(held.drop_change, 1)} more of the last hour's logs, and more than ${percent(held.max_drop_change, 1)} at once is held.`;
  }

  apply(service, version) {
    return this.act('Not applied', async () => {
      const force = this.isHeld(service, version) ? { force: true } : {};
      const made = await data.send('POST', data.path('policies', service, 'activate'), { version }, force);
      return this.outcome(service, made, `Version ${version} is in force.`);
    });
  }

  rollback(service, version) {
    return this.act('Not rolled back', async () => {
      const made = await data.send('POST', data.path('policies', service, 'rollback'), { version });
      return this.outcome(service, made, `The content of version ${version} is in force again, as version ${made.version}.`);
    });
  }

  // What it changes, what that would mean, and all of it.
  async details(service, version, active, now, body) {
    try {
      const { policy } = await data.get(data.path('policies', service, 'versions', version));
      const from = now === 'in force' ? version - 1 : active;
      const parts = [];
      if (may.write && now !== 'in force') parts.push(await this.estimate(service, policy));
      if (from > 0 && from !== version) parts.push(...(await this.diff(service, from, version)));
      const lines = JSON.stringify(policy, null, 1).split('\n');
      parts.push(h('pre', { tabindex: 0, 'aria-label': `Version ${version} as JSON` }, lines.slice(0, DOCUMENT_LINES).map((line) => visible(line, 600)).join('\n')));
      body.replaceChildren(...parts);
    } catch (error) {
      body.replaceChildren(h('p', { class: 'bad' }, error.message));
    }
  }

  async estimate(service, { version, ...policy }) {
    const wanted = Object.fromEntries(Object.entries(policy).filter(([, value]) => value !== null));
    const { estimate: e } = await data.send('PUT', data.path('policies', service), wanted, { dry_run: true });
    if (e.received === 0) return none('No records in the last day to say what it would do.');
    return h('p', {}, `Of the records of the last day it would keep ${percent(e.kept_then, e.received)}; ${percent(e.kept_now, e.received)} were kept. ${bytes(e.kept_bytes_then)} instead of ${bytes(e.kept_bytes_now)}; a month like that costs ${money(e.monthly_cost_then, e.currency)} instead of ${money(e.monthly_cost_now, e.currency)}.`);
  }

  async diff(service, from, to) {
    const { changes } = await data.get(data.path('policies', service, 'diff'), { from, to });
    const words = (value) => (value === null ? '–' : typeof value === 'number' ? rateText(value) : visible(String(value), 300));
    const rows = changes.filter(({ path }) => !NO_RATES.has(path)).map(({ path, from: old, to: then }) => {
      const signature = path.replace(/^pattern_rates\./, '');
      const template = signature === path ? undefined : patterns.templateOf(signature);
      return h('tr', {}, h('th', { scope: 'row' }, h('span', { class: 'template' }, visible(template ?? path, 200)), template === undefined ? null : h('span', { class: 'under' }, visible(signature, 64))), h('td', {}, words(old)), h('td', {}, words(then)));
    });
    if (rows.length === 0) return [none(`No other rates than version ${from}.`)];
    const head = h('tr', {}, ...['Changed', `Version ${from}`, `Version ${to}`].map((title) => h('th', { scope: 'col' }, title)));
    return [h('table', { class: 'plain' }, h('caption', { class: 'unseen' }, `Version ${to} beside version ${from}`), h('thead', {}, head), h('tbody', {}, ...rows))];
  }
})();
