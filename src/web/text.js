// ---- text: numbers as people read them, and characters that could deceive them

const count = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });

const number = (n) => (Math.abs(n) < 1e5 ? count.format(n) : short.format(n));

// Units of the bill: 1 GB is 10^9 bytes.
const UNITS = [[1e12, 'TB'], [1e9, 'GB'], [1e6, 'MB'], [1e3, 'kB']];

function bytes(n) {
  const [size, unit] = UNITS.find(([least]) => Math.abs(n) >= least) ?? [1, 'B'];
  return `${(n / size).toLocaleString('en', { maximumSignificantDigits: 3 })} ${unit}`;
}

function rate(perSecond) {
  if (perSecond === 0) return '0';
  if (perSecond >= 0.95) return perSecond < 100 ? perSecond.toFixed(1).replace(/\.0$/, '') : number(perSecond);
  return `${(perSecond * 60).toFixed(1).replace(/\.0$/, '')}/min`;
}

function percent(part, whole) {
  if (!whole) return '–';
  const p = (part / whole) * 100;
  if (p >= 100) return '100 %';
  return p > 99.9 ? '> 99.9 %' : `${p < 1 && p > 0 ? p.toPrecision(1) : p.toFixed(p < 10 ? 1 : 0)} %`;
}

function money(amount, currency) {
  if (amount > 0 && amount < 0.005) return `< ${money(0.01, currency)}`;
  const digits = Math.abs(amount) >= 100 || amount === 0 ? 0 : 2;
  try {
    return new Intl.NumberFormat('en', { style: 'currency', currency, minimumFractionDigits: digits, maximumFractionDigits: digits }).format(amount);
  } catch {
    return `${amount.toFixed(digits)} ${currency}`; // not a code of ISO 4217
  }
}

// A rate of sampling.
const rateText = (value) => (value >= 1 ? 'all' : `${Number((value * 100).toPrecision(2))} %`);

const DURATIONS = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];

function duration(ms) {
  const s = ms / 1000;
  const at = DURATIONS.findIndex(([unit]) => s >= unit);
  if (at < 0) return `${Math.round(ms)} ms`;
  const [unit, name] = DURATIONS[at];
  return `${Math.floor(s / unit)} ${name}`;
}

const clock = (unixS, seconds = false) =>
  new Date(unixS * 1000).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit', ...(seconds ? { second: '2-digit' } : {}) });

const day = (unixS) => new Date(unixS * 1000).toLocaleString('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });

// Controls, marks of direction, what has no width, separators of lines, tags, lone surrogates: shown
// as what they are.
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e0fff}]|[\ud800-\udfff]/gu;
const NAMED = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

const escapeOne = (c) => NAMED[c] ?? `\\u{${c.codePointAt(0).toString(16)}}`;

// `most` characters of it, the rest as its number.
function visible(text, most = 400) {
  const cut = text.length > most ? text.slice(0, most) : text;
  const shown = cut.replace(UNSAFE, escapeOne);
  return text.length > most ? `${shown} … ${count.format(text.length - most)} more` : shown;
}

const serviceName = (name) => (name === '' || name === undefined ? '(unnamed)' : visible(name, 120));

// ---- nodes

const SVG = 'http://www.w3.org/2000/svg';

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key === 'on') for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else setAttribute(node, key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const h = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const s = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
const $ = (id) => document.getElementById(id);

// Touches what has changed alone: an unchanged page costs nothing to lay out.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setAttribute(node, name, value) {
  const text = typeof value === 'boolean' && !name.startsWith('aria-') ? (value ? '' : null) : (value ?? null);
  if (text === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(text)) node.setAttribute(name, text);
}

// A short-lived note of what was done or refused.
function say(node, text, isBad = false) {
  setText(node, text);
  node.classList.toggle('bad', isBad);
}

async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
  } catch {
    button.textContent = 'Not allowed here: select and copy'; // no secure context
  }
  setTimeout(() => (button.textContent = before), 2000);
}
