// ---- strip: how the fleet stands

const CELLS = [
  ['saved', 'Saved a month'],
  ['received', 'Received this month'],
  ['kept', 'Kept this month'],
  ['lost', 'Lost, last hour'],
  ['sidecars', 'Sidecars'],
  ['alerts', 'Alerts'],
];

const strip = {
  build() {
    this.cells = makeCells($('strip'), CELLS);
    for (const [name] of CELLS) setCell(this.cells, name, '–', '');
  },

  // This month, by the days of UTC, as the server counts them.
  month(m) {
    const { currency } = m;
    if (m.is_free) setCell(this.cells, 'saved', bytes(m.saved_bytes), 'so far this month; within the free tier');
    else setCell(this.cells, 'saved', money(m.estimated_monthly_savings, currency), `${money(m.cost_savings, currency)} so far this month · costs ${money(m.monthly_cost_with, currency)} instead of ${money(m.monthly_cost_without, currency)}`);
    setCell(this.cells, 'received', number(m.total_logs), `${bytes(m.total_bytes)}, ${number(m.patterns_detected)} patterns`);
    setCell(this.cells, 'kept', percent(m.sampled_logs, m.total_logs), `${number(m.sampled_logs)} records, ${bytes(m.sampled_bytes)}`);
  },

  fleet(now) {
    const reasons = Object.entries(now.losses);
    const lost = reasons.reduce((sum, [, n]) => sum + n, 0);
    setCell(this.cells, 'lost', number(lost), lost > 0 ? reasons.map(([why, n]) => `${number(n)} ${visible(why.replaceAll('_', ' '), 60)}`).join(', ') : 'nothing that was to be kept', lost > 0 ? 'bad' : '');
    const known = now.services_known === 1 ? '1 service known' : `${number(now.services_known)} services known`;
    setCell(this.cells, 'sidecars', number(now.sidecars), now.quota_reports > 0 ? `PostHog's quota is reached, ${number(now.quota_reports)} reports say` : `reported in the last 5 min · ${known}`, now.quota_reports > 0 ? 'bad' : '');
  },

  alerts(list) {
    const open = list.filter(({ state: now }) => now === 'open').length;
    setCell(this.cells, 'alerts', list.length >= ALERTS_MOST ? `${number(open)}+` : number(open), open === list.length ? 'open' : `open, ${number(list.length - open)} acknowledged`, open > 0 ? 'warn' : '');
  },
};
