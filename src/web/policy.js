// ---- policy documents: the YAML that people know, with one rate changed, and what is done with them

const BY = 'lipservice-by';

// Set `rates` in the map `section` of a document of ours; what else it says stays. The server reads
// it all again and refuses what is wrong.
function withRates(document, section, rates) {
  const lines = document.replace(/\n+$/, '').split('\n').filter((line, i, all) => line !== '' || i < all.length - 1);
  let at = lines.findIndex((line) => line.startsWith(`${section}:`));
  if (at < 0) at = lines.push(`${section}:`) - 1;
  else lines[at] = `${section}:`;
  let end = at + 1;
  while (end < lines.length && /^\s+\S/.test(lines[end])) end++;
  for (const [key, rate] of Object.entries(rates)) {
    const name = key.includes(':') ? `"${key}"` : key;
    const old = lines.slice(at + 1, end).findIndex((line) => line.trim().replaceAll('"', '').startsWith(`${key}:`));
    if (old >= 0) lines[at + 1 + old] = `  ${name}: ${rate}`;
    else lines.splice(end++, 0, `  ${name}: ${rate}`);
  }
  return `${lines.filter((line) => line !== '').join('\n')}\n`;
}

const policy = {
  by: sessionStorage.getItem(BY) ?? '',

  // Who decides: kept with the version, and in this tab.
  byField() {
    const input = h('input', { type: 'text', value: this.by, maxlength: 60, autocomplete: 'name', placeholder: 'your name', 'aria-label': 'Your name, which is kept with the version' });
    input.addEventListener('input', () => {
      this.by = input.value.trim();
      sessionStorage.setItem(BY, this.by);
      document.querySelectorAll('input[autocomplete="name"]').forEach((other) => other !== input && (other.value = input.value));
    });
    return input;
  },

  who() {
    return this.by || 'page';
  },

  // The document in force, or what an empty one is.
  async active() {
    if (!data.has('policies')) return '';
    const { active } = await data.ask('policies');
    return active > 0 ? (await data.ask('policies', { query: { version: active } })).document : '';
  },

  // A new version, in force or counted as a shadow; resolves to what has become of it.
  async draft(document, why, then) {
    const made = await data.ask('draft', { body: { document, by: this.who(), why } });
    return this.outcome(await data.ask('apply', { body: { version: made.version, by: this.who(), ...(then === 'shadow' ? { shadow: true } : {}) } }));
  },

  // What has become of a version, in words; `note` says why it is another than what was asked for.
  outcome({ version, state: now, note }) {
    const words = now === 'shadow' ? `Version ${version} is counted as a shadow, beside what is in force.` : now === 'active' ? `Version ${version} is in force.` : `Version ${version} is ${now}.`;
    return note ? `${words} ${visible(note, 300)}` : words;
  },
};

// ---- rates on a scale where 1 % has as much room as 100 %

const RATE_MIN = 0.001;
const toSlider = (value) => (value <= RATE_MIN ? 0 : 100 * (1 + Math.log10(value) / 3));
const fromSlider = (at) => (at <= 0 ? RATE_MIN : Number((10 ** ((at / 100 - 1) * 3)).toPrecision(2)));

// What a slider's 0 to 100 stand for, there and back, and how it reads.
const RATES = { to: toSlider, from: fromSlider, text: rateText };

// {node, value, set(value)}; `changed(value)` while it moves.
function rateSlider(title, value, changed, { to, from, text } = RATES) {
  const id = `rate-${title.replace(/\W+/g, '-')}`;
  const output = h('output', { for: id });
  const input = h('input', { type: 'range', id, min: 0, max: 100, step: 1 });
  const show = (now) => {
    setText(output, text(now));
    input.setAttribute('aria-valuetext', text(now));
  };
  const slider = {
    node: h('div', { class: 'slider' }, h('label', { for: id }, title), input, output),
    value,
    set(now) {
      slider.value = now;
      input.value = to(now);
      show(now);
    },
  };
  input.addEventListener('input', () => {
    slider.value = from(Number(input.value));
    show(slider.value);
    changed(slider.value);
  });
  slider.set(value);
  return slider;
}

// Runs the last of many calls, when there is quiet.
function settled(ms, run) {
  let timer;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...args), ms);
  };
}
const QUIET_MS = 150;
