// ---- for admins: keys and teams, webhooks, the audit log

const ROLES = [['report', 'report: for sidecars'], ['read', 'read: look'], ['write', 'write: policies and alerts'], ['admin', 'admin: keys, too']];
const OVERLAPS = [[86400, 'the old one works for a day'], [3600, 'for an hour'], [0, 'and ends at once']];

const access = new (class extends Part {
  constructor() {
    super('access', 'Keys and teams');
  }

  form() {
    this.makeForm = rowForm('Make a key', [textField('Name', { name: 'name', maxlength: 100 }), selectField('Role', ROLES, { name: 'role' })], 'Make a key', (form) => this.make(form));
    this.overlap = h('select', {}, ...OVERLAPS.map(([s, text]) => h('option', { value: s }, text)));
    return [this.makeForm, h('p', { class: 'row' }, field('When a key is rotated,', this.overlap))];
  }

  async read() {
    const keys = await data.get(data.path('keys'));
    const teams = await data.get(data.path('teams'));
    return { keys, teams };
  }

  draw({ keys, teams }) {
    const isOver = ({ ends_at: end }) => end !== null && unixOf(end) <= Date.now() / 1000;
    const live = keys.filter((one) => !isOver(one));
    const over = keys.filter(isOver);
    return [
      h('h3', {}, 'Keys'),
      entries(live.map((one) => this.row(one))),
      over.length > 0 ? h('details', {}, h('summary', {}, `${number(over.length)} that ended`), entries(over.map((one) => entry(visible(one.name, 100), one.role, '', under(`number ${one.id}`, `made ${when(one.created_at)}`, `ended ${when(one.ends_at)}`))))) : null,
      h('h3', {}, 'Teams'),
      entries(teams.map((one) => entry(visible(one.name, 100), one.is_operator ? 'operator' : '', `number ${one.id}`))),
      state.me.team.is_operator ? rowForm('Make a team', [textField('Name', { name: 'name', maxlength: 100 })], 'Make a team', (form) => this.makeTeam(form)) : null,
    ].filter(Boolean);
  }

  row(one) {
    const isOwn = one.id === state.me.key_id;
    const actions = [button('Rotate', () => this.rotate(one)), isOwn ? null : sureButton('Revoke', () => this.revoke(one))].filter(Boolean);
    return entry(visible(one.name, 100), one.role, isOwn ? 'yours' : '', under(`number ${one.id}`, `made ${when(one.created_at)}`, one.ends_at === null ? '' : `ends ${when(one.ends_at)}`), h('p', { class: 'row' }, ...actions));
  }

  // The secret is shown once, here alone.
  show(what, key) {
    this.once?.remove();
    this.once = shownOnce(this.status, what, key);
  }

  make(form) {
    return this.act('Not made', async () => {
      const made = await data.send('POST', data.path('keys'), { name: form.elements.name.value, role: form.elements.role.value });
      form.reset();
      this.show(`The key ${visible(made.name, 100)}, role ${made.role}`, made.key);
      return `Key number ${made.id} is made.`;
    });
  }

  rotate(one) {
    return this.act('Not rotated', async () => {
      const made = await data.send('POST', data.path('keys', one.id, 'rotate'), { overlap_s: Number(this.overlap.value) });
      this.show(`The next key ${visible(made.name, 100)}, role ${made.role}`, made.key);
      return `Key number ${made.id} follows number ${one.id}.`;
    });
  }

  revoke(one) {
    return this.act('Not revoked', async () => {
      await data.send('DELETE', data.path('keys', one.id));
      return `Key number ${one.id} is revoked.`;
    });
  }

  makeTeam(form) {
    return this.act('Not made', async () => {
      const made = await data.send('POST', data.path('teams'), { name: form.elements.name.value });
      this.show(`The first key of team ${made.team_id}, role ${made.role}`, made.key);
      return `Team ${made.team_id} is made.`;
    });
  }
})();

const webhooks = new (class extends Part {
  constructor() {
    super('webhooks', 'Webhooks');
  }

  form() {
    return [rowForm('Add a webhook', [textField('Name', { name: 'name', maxlength: 100 }), textField('URL', { name: 'url', type: 'url', maxlength: 1000 }), selectField('Form', [['json', 'JSON'], ['slack', 'Slack']], { name: 'form' })], 'Add a webhook', (form) => this.make(form))];
  }

  read() {
    return data.get(data.path('webhooks'));
  }

  draw(list) {
    if (list.length === 0) return [none('None: alerts are seen here only.')];
    return [entries(list.map((one) => entry(visible(one.name, 100), one.is_active ? one.form : { text: 'off: it answered 410', tone: 'warn' }, one.pending > 0 ? `${number(one.pending)} wait` : '', under(visible(one.url, 200), `made ${when(one.created_at)}`), h('p', { class: 'row' }, sureButton('Remove', () => this.remove(one))))))];
  }

  make(form) {
    return this.act('Not added', async () => {
      const { name, url, form: kind } = form.elements;
      const made = await data.send('POST', data.path('webhooks'), { name: name.value, url: url.value, form: kind.value });
      form.reset();
      this.once?.remove();
      this.once = shownOnce(this.status, `The secret that signs what ${visible(made.name, 100)} gets`, made.secret);
      return `Webhook number ${made.id} is added.`;
    });
  }

  remove(one) {
    return this.act('Not removed', async () => {
      await data.send('DELETE', data.path('webhooks', one.id));
      return `Webhook number ${one.id} is removed.`;
    });
  }
})();

const AUDIT_ROWS = 50;

const audit = new (class extends Part {
  constructor() {
    super('audit', 'Audit log');
    this.before = []; // the pages that were turned
  }

  async read() {
    const rows = await data.get(data.path('audit'), { limit: AUDIT_ROWS, before: this.before.at(-1) });
    const keys = await data.get(data.path('keys'));
    return { rows, names: Object.fromEntries(keys.map((one) => [one.id, one.name])) };
  }

  draw({ rows, names }) {
    const turn = (title, run) => button(title, () => {
      run();
      loops.part.soon();
    });
    const by = (id) => (id === 0 ? 'the server' : `key ${id}${names[id] === undefined ? '' : `, ${visible(names[id], 100)}`}`);
    return [
      rows.length === 0 ? none('Nothing more.') : entries(rows.map((one) => entry(visible(one.action, 60), '', visible(one.subject, 255), under(when(one.at), by(one.key_id), visible(one.detail, 200))))),
      h('p', { class: 'row' }, this.before.length > 0 ? turn('Later', () => this.before.pop()) : null, rows.length === AUDIT_ROWS ? turn('Earlier', () => this.before.push(rows.at(-1).id)) : null),
    ];
  }
})();
