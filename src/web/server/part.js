// ---- part: a view behind a tab. It is built when it is first seen, asks while it is seen, and draws
// when something has changed.

class Part {
  constructor(id, title) {
    Object.assign(this, { id, title, drawn: '' });
  }

  // What of it stays: form() gives the nodes above the list, read() what is asked, draw(got) the list.
  build() {
    this.status = h('p', { role: 'status', tabindex: -1 });
    this.list = h('div');
    $(this.id).append(h('h2', { class: 'unseen' }, this.title), ...this.form(), this.status, this.list);
  }

  form() {
    return [];
  }

  async refresh() {
    if (!this.list) this.build();
    const got = await this.read();
    const drawn = JSON.stringify(got);
    if (drawn === this.drawn) return; // open details stay as they are
    this.drawn = drawn;
    const hadFocus = this.list.contains(document.activeElement);
    this.list.replaceChildren(...this.draw(got));
    if (hadFocus) this.status.focus();
  }

  // Do it and say what came of it, then look again.
  async act(what, run) {
    try {
      say(this.status, await run());
    } catch (error) {
      say(this.status, `${what}: ${error.message}`, true);
    }
    loops.part.soon();
  }
}

const button = (title, run, kind = '') => h('button', { type: 'button', class: kind, on: { click: run } }, title);

// One that asks once more, because nothing brings back what it ends.
const SURE_MS = 6000;

function sureButton(title, run) {
  const one = button(title, () => {
    if (one.textContent !== title) {
      run();
      return;
    }
    one.textContent = `${title}: sure?`;
    setTimeout(() => (one.textContent = title), SURE_MS);
  });
  return one;
}

const field = (title, input) => h('label', {}, title, ' ', input);
const textField = (title, more) => field(title, h('input', { type: 'text', required: true, autocomplete: 'off', spellcheck: 'false', ...more }));
const selectField = (title, options, more = {}) => field(title, h('select', more, ...options.map(([value, text]) => h('option', { value }, text))));

// A form of fields in a row; run(form) when it is sent.
function rowForm(title, fields, submit, run) {
  const form = h('form', { class: 'row', 'aria-label': title }, ...fields, h('button', { type: 'submit', class: 'main' }, submit));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    run(form);
  });
  return form;
}

// A secret that the server does not say again: until it is put away.
function shownOnce(into, what, secret) {
  const copyIt = button('Copy', () => copy(secret, copyIt));
  const done = button('Done', () => box.remove(), 'quiet');
  const box = h('div', { class: 'once', role: 'group', 'aria-label': what }, h('p', {}, `${what}. It is shown once: keep it now.`), h('p', { class: 'row' }, h('code', {}, secret), copyIt, done));
  into.after(box);
  return box;
}

const none = (words) => h('p', { class: 'none' }, words);
const entry = (title, pill, right, ...more) => h('li', {}, h('p', { class: 'bar' }, h('strong', {}, title), pill ? h('span', { class: 'pill', ...(pill.tone ? { 'data-tone': pill.tone } : {}) }, pill.text ?? pill) : null, h('span', { class: 'saving' }, right)), ...more);
const entries = (rows) => h('ol', { class: 'versions' }, ...rows);
const under = (...parts) => h('p', { class: 'under' }, parts.filter(Boolean).join(' · '));
