import {execFileSync} from 'node:child_process';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

/** A file system of its own that is soon full. */
export interface SmallDisk {
  readonly path: string;
  remove(): void;
}

/** Undefined where mounting one is not permitted. */
export function smallDisk(kib: number): SmallDisk | undefined {
  const path = mkdtempSync(join(tmpdir(), 'tenfold-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${kib}k`, 'tenfold-test', path], {stdio: 'ignore'});
  } catch {
    rmSync(path, {recursive: true});
    return undefined;
  }
  return {
    path,
    remove: () => {
      execFileSync('umount', ['--lazy', path]);
      rmSync(path, {recursive: true});
    },
  };
}
