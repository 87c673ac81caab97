// ---- main: what is shown, when it is asked for, keys

const TABS = [
  ['patterns', 'Patterns'],
  ['whatif', 'What if'],
  ['proposals', 'Proposals'],
  ['live', 'Live'],
];
const NEEDS = { patterns: 'patterns', whatif: 'whatif', proposals: 'policies', live: 'tap' };
const PROPOSALS_MS = 30000;

const state = { now: null, nowS: 0, startedS: 0 };

const tabs = new Tabs(TABS, (name) => data.has(NEEDS[name]), (name, before) => {
  if (before === 'live' && name !== 'live') live.end();
  if (name === 'whatif') whatif.refresh();
  if (name === 'proposals') proposals.refresh();
  if (name === 'live') live.start();
  if (name === 'patterns') loops.patterns?.soon();
});

const loops = {};

const follows = (run, pause) => loop(run, pause, () => data.endpoints.size > 0, broken);

function broken(error) {
  if (error.status === 401) {
    askKey(asking.key ? 'Wrong key.' : '');
    return;
  }
  setText($('link'), error.status === undefined ? 'no connection, retrying' : error.message);
  setAttribute($('link'), 'data-tone', 'bad');
}

function onSummary(now) {
  const isFirst = state.now === null;
  state.now = now;
  state.nowS = now.unix_ms / 1000;
  state.startedS = (now.unix_ms - now.uptime_ms) / 1000;
  data.endpoints = new Set(now.endpoints);
  setText($('link'), `${now.version} · up ${duration(now.uptime_ms)}`);
  setAttribute($('link'), 'data-tone', null);
  strip.update(now);
  services.update(now);
  if (!isFirst) return;
  $('content').hidden = false;
  tabs.mark();
  for (const one of Object.values(loops)) one.soon();
}

let unfollow = null;

// Streams are open exactly while the tab is seen.
function listen() {
  unfollow?.();
  unfollow = null;
  if (document.hidden || !$('key-form').hidden) {
    live.end();
    return;
  }
  unfollow = follow({ summary: onSummary, broken });
  if (state.now === null) return;
  for (const one of Object.values(loops)) one.soon();
  if (tabs.chosen === 'live') live.start();
}

// ---- the key

function askKey(why) {
  unfollow?.();
  unfollow = null;
  asking.useKey('');
  $('content').hidden = true;
  $('key-form').hidden = false;
  setText($('key-wrong'), why);
  setText($('link'), '');
  $('key').focus();
}

$('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  asking.useKey($('key').value);
  $('key').value = '';
  $('key-form').hidden = true;
  $('content').hidden = state.now === null;
  listen();
});

// ---- keys

const KEYS = {
  '/': () => {
    tabs.choose('patterns');
    $('filter').focus();
  },
  '?': () => $('keys').showModal(),
  1: () => tabs.choose('patterns'),
  2: () => tabs.choose('whatif'),
  3: () => tabs.choose('proposals'),
  4: () => tabs.choose('live'),
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
  if (event.key === ' ' && tabs.chosen === 'live' && !event.target.closest('button')) {
    live.pause();
    event.preventDefault();
  } else if (Object.hasOwn(KEYS, event.key)) {
    KEYS[event.key]();
    event.preventDefault();
  }
});

$('help').addEventListener('click', () => $('keys').showModal());
document.addEventListener('visibilitychange', listen);

strip.build();
services.build((chosen) => {
  traffic.service = chosen;
  loops.history.soon();
  loops.patterns.soon();
  if (tabs.chosen === 'live') live.restart();
});
traffic.build(() => {
  services.update(state.now);
  loops.history.soon();
  loops.patterns.soon();
});
opened.build();
patterns.build((row) => opened.open(row));
tabs.build();
loops.history = follows(() => traffic.refresh().then(() => services.update(state.now)), () => traffic.pause());
loops.patterns = follows(async () => tabs.chosen === 'patterns' && patterns.refresh(), () => known.pause());
loops.proposals = follows(async () => tabs.chosen === 'proposals' && proposals.refresh(), () => PROPOSALS_MS);
// A key that is known is tried; without one the server says whether one is needed.
listen();
