// Directories for a spool: of their own, removed at the end of the test.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

export function directory(t) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-disk-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

// A file system of its own, small enough to fill: null where nobody may mount one.
export function smallDisk(t, megabytes) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-disk-'));
  t.after(() => {
    spawnSync('umount', ['-l', dir], { stdio: 'ignore' });
    rmSync(dir, { recursive: true, force: true });
  });
  const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', dir]);
  return mount.status === 0 ? dir : null;
}
