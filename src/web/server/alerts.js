// ---- alerts: what stands out and goes on; anomalies: what stands out now

const ALERTS_MOST = 200;
const ANOMALIES_MS = 60000; // the server walks over an hour of minutes for them

const TYPES = { new_pattern: 'New pattern', rate_spike: 'Rate spike', error_surge: 'Error surge', silence: 'Silence', losses: 'Losses', quota: 'Quota' };
const typeText = (type) => TYPES[type] ?? visible(type.replaceAll('_', ' '), 60);
const toneOf = (severity) => (severity === 'high' ? 'warn' : undefined);
const ofPattern = (signature) => (signature === '' ? '' : visible(patterns.templateOf(signature) ?? signature, 200));

const alerts = new (class extends Part {
  constructor() {
    super('alerts', 'Alerts');
    this.anomalies = null; // not asked for yet
    this.due = 0;
  }

  form() {
    this.all = h('input', { type: 'checkbox', on: { change: () => loops.part.soon() } });
    return [h('p', { class: 'row' }, h('label', {}, this.all, ' with those that are resolved'))];
  }

  // For the number above, as well.
  async open() {
    const list = await data.get(data.path('alerts'), { limit: ALERTS_MOST });
    strip.alerts(list);
    return list;
  }

  async read() {
    const list = this.all.checked ? await data.get(data.path('alerts'), { limit: ALERTS_MOST, all: true }) : await this.open();
    if (this.all.checked) strip.alerts(list.filter(({ state: now }) => now !== 'resolved'));
    return { list, anomalies: this.anomalies };
  }

  // On their own, because they may take long; only while they are seen.
  async look() {
    const began = performance.now();
    if (tabs.chosen !== this.id || began < this.due) return;
    this.anomalies = await data.get(data.path('anomalies'), { limit: ALERTS_MOST });
    const now = performance.now();
    this.due = now + Math.max(ANOMALIES_MS, (now - began) * PATIENCE);
    loops.part.soon();
  }

  draw({ list, anomalies }) {
    return [
      h('h3', {}, 'Alerts'),
      list.length === 0 ? none('Nothing stands out and goes on.') : entries(list.map((one) => this.row(one))),
      h('h3', {}, 'Anomalies of now'),
      anomalies === null ? none('Being looked for.') : anomalies.length === 0 ? none('None.') : entries(anomalies.map((one) => entry(typeText(one.type), { text: one.severity, tone: toneOf(one.severity) }, serviceName(one.service_name), h('p', {}, visible(one.message, 600)), under(ofPattern(one.pattern_signature), `${percent(one.confidence, 1)} sure`)))),
    ];
  }

  row(one) {
    const actions = [
      one.state === 'open' ? button('Acknowledge', () => this.change(one.id, 'acknowledge', 'acknowledged')) : null,
      one.state !== 'resolved' ? button('Resolve', () => this.change(one.id, 'resolve', 'resolved')) : null,
    ].filter(Boolean);
    const node = entry(typeText(one.type), { text: one.state, tone: one.state === 'open' ? toneOf(one.severity) : undefined }, serviceName(one.service_name), h('p', {}, visible(one.message, 600)), under(ofPattern(one.pattern_signature), `${visible(one.severity, 20)}, since ${when(one.first_seen)}, last seen ${when(one.last_seen)}`), may.write && actions.length > 0 ? h('p', { class: 'row' }, ...actions) : null);
    node.dataset.state = one.state;
    return node;
  }

  change(id, action, done) {
    return this.act(`Not ${done}`, async () => {
      const one = await data.send('POST', data.path('alerts', id, action));
      return `${typeText(one.type)} of ${serviceName(one.service_name)} is ${done}.`;
    });
  }
})();
