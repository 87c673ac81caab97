// The page's small functions, without a browser: what is shown of numbers and of text, and how a
// policy document is changed.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

const web = fileURLToPath(new URL('../../src/web/', import.meta.url));
const source = ['text.js', 'charts.js', 'table.js', 'patterns.js', 'policy.js'].map((name) => readFileSync(path.join(web, name), 'utf8')).join('\n');
const names = ['number', 'bytes', 'rate', 'percent', 'money', 'duration', 'visible', 'serviceName', 'roundUp', 'badge', 'sparkWords', 'withRates', 'toSlider', 'fromSlider', 'rateText'];
const sessionStorage = { getItem: () => null };
const page = new Function('sessionStorage', 'document', `'use strict'; ${source}; return {${names.join(', ')}};`)(sessionStorage, {});

function table(name, rows) {
  for (const [args, want] of rows) assert.equal(page[name](...args), want, `${name}(${JSON.stringify(args)})`);
}

test('numbers', () => {
  table('number', [[[0], '0'], [[1234], '1,234'], [[99999], '99,999'], [[123456], '123K'], [[12345678], '12.3M']]);
  table('bytes', [[[0], '0 B'], [[999], '999 B'], [[1000], '1 kB'], [[1234567], '1.23 MB'], [[10e9], '10 GB'], [[-2500], '-2.5 kB'], [[3e12], '3 TB']]);
  table('rate', [[[0], '0'], [[0.5], '30/min'], [[1], '1'], [[12.34], '12.3'], [[100], '100'], [[250000], '250K']]);
  table('percent', [[[1, 0], '–'], [[0, 5], '0.0 %'], [[5, 5], '100 %'], [[99999, 100000], '> 99.9 %'], [[1, 4], '25 %'], [[1, 30], '3.3 %'], [[1, 1000], '0.1 %']]);
  table('money', [[[0, 'USD'], '$0'], [[0.001, 'USD'], '< $0.01'], [[3.1, 'USD'], '$3.10'], [[1234.5, 'EUR'], '€1,235'], [[2, 'Taler'], '2.00 Taler']]);
  table('duration', [[[12], '12 ms'], [[1500], '1 s'], [[61000], '1 min'], [[7200000], '2 h'], [[90000000], '1 d']]);
  table('roundUp', [[[1], 1], [[3], 5], [[11], 20], [[201], 250], [[999], 1000]]);
});

test('text that could deceive is shown as what it is', () => {
  table('visible', [
    [['plain'], 'plain'],
    [['a\nb\tc'], 'a\\nb\\tc'],
    [['\u0000\u001b[31m\u007f\u0085'], '\\u{0}\\u{1b}[31m\\u{7f}\\u{85}'],
    [['\u202etxt.exe\u2066'], '\\u{202e}txt.exe\\u{2066}'],
    [['\u200b\u2060\ufeff\u00ad'], '\\u{200b}\\u{2060}\\u{feff}\\u{ad}'],
    [['\u{e0041}'], '\\u{e0041}'],
    [['\ud800 alone'], '\\u{d800} alone'],
    [['\u{1f600} é 日本 עברית'], '\u{1f600} é 日本 עברית'], // a script of its own is no deceit
    [['x'.repeat(12), 10], `${'x'.repeat(10)} … 2 more`],
  ]);
  table('serviceName', [[[''], '(unnamed)'], [[undefined], '(unnamed)'], [['shop\u202e'], 'shop\\u{202e}']]);
});

test('badges say new, surge and silent, and nothing of what is as ever', () => {
  const now = 1e6;
  const quiet = Array(60).fill(5);
  const row = (spark, more = {}) => ({ spark, first_seen: now - 90000, ...more });
  table('badge', [
    [[row(quiet), now, 0], ''],
    [[row(undefined), now, 0], ''],
    [[row(null), now, 0], ''],
    [[row(quiet, { first_seen: now - 60 }), now, now - 90000], 'new'],
    [[row(quiet, { first_seen: now - 60 }), now, now - 100], ''], // all is new at the start
    [[row([...Array(58).fill(20), 200, 10]), now, 0], 'surge'],
    [[row([...Array(58).fill(1), 20, 0]), now, 0], ''], // too few to say so
    [[row([...Array(50).fill(3), ...Array(10).fill(0)]), now, 0], 'silent'],
    [[row(quiet, { anomalies: ['errors'] }), now, 0], 'errors'],
  ]);
  assert.equal(page.sparkWords([0, 0]), 'nothing in the last hour');
  assert.equal(page.sparkWords([1, 4, 2]), 'last hour: 7 records, at most 4 a minute, 2 in the last one');
});

test('a rate is put into a policy, and all else stays', () => {
  const id = 'lps1:0123456789abcdef';
  const other = 'lps1:fedcba9876543210';
  table('withRates', [
    [['', 'severity_rates', { INFO: 0.1 }], 'severity_rates:\n  INFO: 0.1\n'],
    [['global_rate: 1\n', 'pattern_rates', { [id]: 0.5 }], `global_rate: 1\npattern_rates:\n  "${id}": 0.5\n`],
    [['pattern_rates: {}\nglobal_rate: 1\n', 'pattern_rates', { [id]: 0.5 }], `pattern_rates:\n  "${id}": 0.5\nglobal_rate: 1\n`],
    [[`pattern_rates:\n  "${id}": 0.2\n  "${other}": 0.3\nglobal_rate: 1\n`, 'pattern_rates', { [id]: 0.5 }], `pattern_rates:\n  "${id}": 0.5\n  "${other}": 0.3\nglobal_rate: 1\n`],
    [[`pattern_rates:\n  ${id}: 0.2\n`, 'pattern_rates', { [id]: 0.5, [other]: 1 }], `pattern_rates:\n  "${id}": 0.5\n  "${other}": 1\n`],
    [['# made by auto\nversion: 3\nseverity_rates:\n  INFO: 0.2\n  DEBUG: 0.05\npattern_rates:\n', 'severity_rates', { INFO: 0.1, WARN: 1 }], '# made by auto\nversion: 3\nseverity_rates:\n  INFO: 0.1\n  DEBUG: 0.05\n  WARN: 1\npattern_rates:\n'],
  ]);
});

test('the scale of rates goes there and back', () => {
  for (const value of [0.001, 0.002, 0.05, 0.2, 0.5, 1]) assert.ok(Math.abs(page.fromSlider(page.toSlider(value)) / value - 1) < 0.06, `${value}`);
  table('rateText', [[[1], 'all'], [[0.2], '20 %'], [[0.001], '0.1 %']]);
});
