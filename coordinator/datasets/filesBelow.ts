import type {Stats} from 'node:fs';
import {readdir, realpath, stat} from 'node:fs/promises';
import {join} from 'node:path';
import {inParallel} from './inParallel.js';

/** Looks at files and folders under way at once. Libuv's threads take four of them at a time, or what UV_THREADPOOL_SIZE says. */
export const LOOKS_IN_FLIGHT = 64;

export interface FoundFiles {
  readonly files: readonly string[];
  /** Links that lead nowhere. */
  readonly brokenLinks: readonly string[];
  /** Folders that cannot be listed, and why: `EACCES`. */
  readonly unlisted: readonly {readonly folder: string; readonly code: string}[];
}

/**
 * All files below a folder, through links too, as globs find them: not the hidden ones, which notebooks and Macs leave behind
 * (`.ipynb_checkpoints/x-checkpoint.jpg`, `._x.jpg`). A folder is entered once, so that links may go in circles, and by its
 * own path rather than by a link's, so that the same files have the same paths whatever was looked at first.
 */
export async function filesBelow(folder: string, signal: AbortSignal): Promise<FoundFiles> {
  const walk = new Walk(signal);
  await walk.enter([folder]);
  await walk.followLinks();
  return walk;
}

export function statOrAbsent(path: string): Promise<Stats | undefined> {
  return stat(path).catch(() => undefined);
}

class Walk implements FoundFiles {
  readonly files: string[] = [];
  readonly brokenLinks: string[] = [];
  readonly unlisted: {folder: string; code: string}[] = [];
  private links: string[] = [];
  /** By real path. */
  private readonly entered = new Set<string>();

  constructor(private readonly signal: AbortSignal) {}

  /** Takes the files of these folders and of those below them; links wait. */
  async enter(folders: readonly string[]): Promise<void> {
    for (let level = folders; level.length > 0; ) {
      const below = await this.each(await this.notYetEntered(level), folder => this.list(folder));
      level = below.flat();
    }
  }

  /** Only when every folder was entered by its own path. What links lead to may hold further ones. */
  async followLinks(): Promise<void> {
    while (this.links.length > 0) {
      const links = this.links.sort();
      this.links = [];
      const targets = await this.each(links, statOrAbsent);
      for (const [i, target] of targets.entries()) {
        if (target === undefined) this.brokenLinks.push(links[i]!);
        else if (target.isFile()) this.files.push(links[i]!);
      }
      await this.enter(links.filter((_, i) => targets[i]?.isDirectory()));
    }
  }

  private async notYetEntered(folders: readonly string[]): Promise<string[]> {
    const real = await this.each(folders, folder => realpath(folder).catch(() => folder));
    return folders.filter((_, i) => {
      const isNew = !this.entered.has(real[i]!);
      this.entered.add(real[i]!);
      return isNew;
    });
  }

  /** Takes the files and links in a folder; returns the folders in it. */
  private async list(folder: string): Promise<string[]> {
    const folders: string[] = [];
    try {
      for (const entry of await readdir(folder, {withFileTypes: true})) {
        const path = join(folder, entry.name);
        if (entry.name.startsWith('.')) continue;
        if (entry.isDirectory()) folders.push(path);
        else if (entry.isSymbolicLink()) this.links.push(path);
        else if (entry.isFile()) this.files.push(path);
      }
    } catch (error) {
      this.unlisted.push({folder, code: (error as NodeJS.ErrnoException).code ?? String(error)});
    }
    return folders;
  }

  private each<T, R>(items: readonly T[], look: (item: T) => Promise<R>): Promise<R[]> {
    return inParallel(items, LOOKS_IN_FLIGHT, this.signal, look);
  }
}
