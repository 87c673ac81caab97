// One allocation of the program fails, the n-th: lib/scarce.c preloaded, and the numbers that it maps.
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { BINARY } from './sidecar.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
export const binary = process.env.LIPSERVICE_RELEASE_BIN ?? BINARY;
// A sanitizer has an allocator of its own, and aborts where that fails.
const sanitized = () => /__asan_init/.test(String(execFileSync('strings', ['-n', '11', binary], { maxBuffer: 1 << 28 }).subarray(0, 1 << 27)));
export const skip = (!existsSync(binary) || sanitized()) && 'needs a build without sanitizers (LIPSERVICE_RELEASE_BIN)';
export const STRIDE = Number(process.env.LIPSERVICE_STRIDE ?? 7); // 1: each allocation

let library;
function build() {
  if (library) return library;
  const dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-scarce-'));
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
  library = path.join(dir, 'scarce.so');
  execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, path.join(here, 'scarce.c')]);
  return library;
}

export class Scarcity {
  constructor(t) {
    this.dir = mkdtempSync(path.join(os.tmpdir(), 'lipservice-e2e-'));
    this.file = path.join(this.dir, 'numbers');
    writeFileSync(this.file, Buffer.alloc(32));
    this.fd = openSync(this.file, 'r+');
    t.after(() => (closeSync(this.fd), rmSync(this.dir, { recursive: true, force: true })));
    this.env = { LD_PRELOAD: build(), SCARCE_FILE: this.file };
  }
  #read(at) {
    const bytes = Buffer.alloc(8);
    readSync(this.fd, bytes, 0, 8, at * 8);
    return Number(bytes.readBigUInt64LE());
  }
  #write(at, n) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(n));
    writeSync(this.fd, bytes, 0, 8, at * 8);
  }
  get failed() {
    return this.#read(3);
  }
  // The n-th from now on, and `more` after it.
  arm(n, more = 0) {
    this.#write(2, more);
    this.#write(1, this.#read(0) + n);
  }
  disarm() {
    this.#write(1, 0);
  }
  // The n-th of a process that begins now.
  begin(n) {
    writeFileSync(this.file, Buffer.alloc(32), { flag: 'r+' });
    this.arm(n);
  }
}
