// A PostgreSQL server for a test file, and a database for each server under test.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('../../postgres.sh', import.meta.url));
let dir;
let made = 0;

// False: it is not installed.
export function start() {
  dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-pg-'));
  try {
    execFileSync(script, ['start', dir], { stdio: 'pipe' });
  } catch (error) {
    if (error.status === 77) return false;
    throw error;
  }
  process.on('exit', () => {
    try {
      execFileSync(script, ['stop', dir, 'immediate'], { stdio: 'pipe' });
    } catch { /* it is down already */ }
    rmSync(dir, { recursive: true, force: true });
    rmSync(`${dir}.log`, { force: true });
  });
  return true;
}

export const stop = () => execFileSync(script, ['stop', dir, 'immediate'], { stdio: 'pipe' });
export const again = () => execFileSync(script, ['start', dir], { stdio: 'pipe' });

// The URL of a new, empty database.
export function database() {
  const name = `t${made++}`;
  execFileSync('psql', ['-h', dir, '-U', 'lipservice', '-d', 'postgres', '-qc', `CREATE DATABASE ${name}`], { stdio: 'pipe' });
  return `postgresql:///${name}?host=${dir}&user=lipservice`;
}
