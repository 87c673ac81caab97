// System calls that fail, by strace.
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { until } from './wait.mjs';

export const hasStrace = () => spawnSync('strace', ['-V']).status === 0;

// Inject into the running `sidecar` what strace's -e inject= takes ("pread64:error=EIO:when=1..16",
// counted in each thread): {count(), the calls tampered with so far; detach()}. null where
// nobody may attach. `dir`: for its output.
export async function inject(sidecar, dir, fault) {
  const output = path.join(dir, 'strace');
  const call = fault.slice(0, fault.indexOf(':'));
  const strace = spawn('strace', ['-f', '-e', `trace=${call}`, '-e', `inject=${fault}`, '-e', 'signal=none', '-o', output, '-p', String(sidecar.pid)], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  strace.stderr.on('data', (text) => (said += text));
  const ended = new Promise((resolve) => strace.on('close', resolve));
  await until('strace', () => /attached/.test(said) || strace.exitCode !== null);
  if (strace.exitCode !== null) return null;
  const count = () => readFileSync(output, 'utf8').split('\n').filter((line) => /\((INJECTED|DELAYED)\)/.test(line)).length;
  const detach = () => {
    strace.kill('SIGINT');
    return ended;
  };
  return { count, detach };
}
