// ---- main: who looks, what is shown, when it is asked for, keys

const CHART_MS = 10000;
const DAY_MS = 30000;
const MONTH_MS = 60000;
const PART_MS = 10000;
const PATIENCE = 150; // times as long as an answer took: its cost stays below a hundredth
const AGAIN_LEAST_MS = 2000;
const AGAIN_MOST_MS = 60000;

const state = { me: null };
const may = { write: false, admin: false };

const PARTS = { patterns, policies, alerts, access, webhooks, audit };
const FOR_ADMINS = new Set(['access', 'webhooks', 'audit']);
const TABS = [
  ['patterns', 'Patterns'],
  ['policies', 'Policies'],
  ['alerts', 'Alerts'],
  ['access', 'Keys'],
  ['webhooks', 'Webhooks'],
  ['audit', 'Audit'],
];
const tabs = new Tabs(TABS, (name) => may.admin || !FOR_ADMINS.has(name), () => {
  loops.part.soon();
  loops.anomalies.soon();
});

// ---- what is asked again and again

const loops = {};
const troubles = new Map(); // part: what is wrong with it

function showLink() {
  const [words] = troubles.values();
  setText($('link'), words ?? state.me?.version ?? '');
  setAttribute($('link'), 'data-tone', words === undefined ? null : 'bad');
}

// How long to wait after so many failures: as the server says, else longer each time.
function waitAfter(error, times) {
  const own = Math.min(AGAIN_MOST_MS, AGAIN_LEAST_MS * 2 ** (times - 1));
  return Math.max(own, error.retryMs ?? 0);
}

function broken(name, error, times) {
  if (error.status === 401) {
    if (state.me === null && name !== 'login') return AGAIN_MOST_MS; // of the key that was
    askKey('This key is not valid: it is wrong, was revoked, or its time is over.');
    return AGAIN_MOST_MS;
  }
  const wait = waitAfter(error, times);
  troubles.set(name, `${error.status === undefined ? 'no connection' : error.message}; again in ${duration(wait)}`);
  showLink();
  return wait;
}

// A part of the page; run() asks. What costs the server much is asked less often.
function follow(name, run, leastMs) {
  let took = 0;
  const turn = async () => {
    const began = performance.now();
    await run();
    took = performance.now() - began;
    if (troubles.delete(name)) showLink();
  };
  loops[name] = loop(turn, () => Math.max(leastMs, took * PATIENCE), () => state.me !== null, (error, times) => broken(name, error, times));
}

const soon = () => Object.values(loops).forEach((one) => one.soon());

// ---- the key

function askKey(why) {
  asking.useKey('');
  state.me = null;
  $('content').hidden = true;
  $('leave').hidden = true;
  $('key-form').hidden = false;
  for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
  setText($('key-wrong'), why);
  setText($('who'), '');
  troubles.clear();
  showLink();
  $('key').focus();
}

// What an earlier key has shown stays nowhere.
function leave() {
  asking.useKey('');
  location.reload();
}

let hasEntered = false;

function enter(me) {
  if (hasEntered) {
    location.reload();
    return;
  }
  hasEntered = true;
  troubles.delete('login');
  state.me = me;
  may.admin = me.role === 'admin';
  may.write = may.admin || me.role === 'write';
  setText($('who'), `${visible(me.team.name, 60)}, ${me.role}`);
  showLink();
  $('key-form').hidden = true;
  $('leave').hidden = false;
  $('content').hidden = false;
  tabs.build();
  soon();
}

async function login(times = 1) {
  try {
    const me = await data.get(data.path('me'));
    if (me.role === 'report') askKey('This is a key for the reports of sidecars: it cannot look. A key with the role read, write or admin is needed.');
    else enter(me);
  } catch (error) {
    const wait = broken('login', error, times);
    if (error.status !== 401) setTimeout(() => login(times + 1), wait);
  }
}

$('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  asking.useKey($('key').value.trim());
  $('key').value = '';
  setText($('key-wrong'), '');
  login();
});
$('leave').addEventListener('click', leave);

// ---- keys

const KEYS = {
  '/': () => {
    tabs.choose('patterns');
    $('filter').focus();
  },
  '?': () => $('keys').showModal(),
  ...Object.fromEntries(TABS.map(([name], i) => [i + 1, () => tabs.choose(name)])),
};

document.addEventListener('keydown', (event) => {
  const typing = event.target.closest('input, textarea, select');
  if (event.ctrlKey || event.metaKey || event.altKey || $('content').hidden || document.querySelector('dialog[open]')) return;
  if (event.key === 'Escape') {
    if (typing === $('filter') && $('filter').value !== '') {
      $('filter').value = '';
      patterns.filtered();
    } else if (typing) typing.blur();
    else if (services.chosen !== null) services.choose(services.chosen);
    return;
  }
  if (typing) {
    if (typing === $('filter') && event.key === 'ArrowDown') {
      patterns.table.focusAt(0);
      event.preventDefault();
    }
    return;
  }
  if (Object.hasOwn(KEYS, event.key)) {
    KEYS[event.key]();
    event.preventDefault();
  }
});

$('help').addEventListener('click', () => $('keys').showModal());
document.addEventListener('visibilitychange', () => !document.hidden && soon());

strip.build();
services.build(() => {
  loops.chart.soon();
  loops.part.soon();
});
traffic.build();
opened.build();
patterns.build((row) => opened.open(row));
follow('chart', () => traffic.refresh(), CHART_MS);
follow('day', () => traffic.refreshDay(), DAY_MS);
follow('month', async () => strip.month(await data.get(data.path('cost-savings'), { days: new Date().getUTCDate() })), MONTH_MS);
follow('alerts', () => (tabs.chosen === 'alerts' ? undefined : alerts.open()), PART_MS);
follow('anomalies', () => alerts.look(), ANOMALIES_MS);
follow('part', () => PARTS[tabs.chosen].refresh(), PART_MS);
if (asking.key) login();
else askKey('');
