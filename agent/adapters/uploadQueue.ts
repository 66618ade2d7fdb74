import {mkdir, readdir, readFile, rm, stat} from 'node:fs/promises';
import {join, sep} from 'node:path';
import {z} from 'zod';
import {checkpointManifestSchema, type FileDigest, fileDigestSchema, isSafeRelativePath} from '../../shared/checkpoint.js';
import type {Log} from '../../shared/log.js';
import type {Upload} from '../ports.js';
import {copyWhole, linkOrCopy, writeDurably} from './durableFiles.js';

/**
 * What one attempt still has to upload, on disk: a record each, and links to the files as they were when they were announced, so that
 * neither a trainer that writes the next `best` nor a restart of the agent takes them away.
 */

const uploadSchema = z.discriminatedUnion('kind', [
  z.object({kind: z.literal('checkpoint'), manifest: checkpointManifestSchema, dir: z.string()}),
  z.object({kind: z.literal('artifact'), file: fileDigestSchema, path: z.string()}),
]);

export interface QueuedUpload {
  readonly name: string;
  readonly upload: Upload;
  /** Files of it that are not yet with the coordinator; at least 1 until it is settled. */
  remaining: number;
}

/** Files up to this size are copied rather than linked: a trainer may append to them in place. */
const COPIED_BYTES = 1024 * 1024;
/** More checkpoints than this do not wait; the oldest one that is not yet under way gives way, since a newer one is worth more. */
const MAX_WAITING_CHECKPOINTS = 8;

export class UploadQueue {
  readonly items: QueuedUpload[] = [];
  private nextNumber = 1;
  private lastChange: Promise<void> = Promise.resolve();

  constructor(
    private readonly folder: string,
    private readonly log: Log,
  ) {}

  static async recover(folder: string, log: Log): Promise<UploadQueue> {
    const queue = new UploadQueue(folder, log);
    const names = (await readdir(queue.dir).catch(() => [])).filter(name => /^\d{8}\.json$/.test(name)).sort();
    for (const name of names) {
      const upload: Upload = uploadSchema.parse(JSON.parse(await readFile(join(queue.dir, name), 'utf8')));
      queue.items.push({name, upload, remaining: filesOf(upload).length});
      queue.nextNumber = Number(name.slice(0, 8)) + 1;
    }
    return queue;
  }

  /** Takes hold of the files and writes the record. Throws when a path leaves the attempt's folder, or a file is not there. */
  add(upload: Upload): Promise<void> {
    return this.inTurn(() => this.addNow(upload));
  }

  pathOf(file: FileDigest): string {
    return join(this.dir, 'files', file.sha256);
  }

  /**
   * Takes an upload off the queue, with its files unless another one needs them. Files that cannot be removed now are no reason to hold up
   * the others: they go with the attempt's folder.
   */
  remove(item: QueuedUpload): Promise<void> {
    return this.inTurn(() => this.removeNow(item));
  }

  /** One change after the other: uploads may share a file, which one must not remove while another takes hold of it. */
  private inTurn(change: () => Promise<void>): Promise<void> {
    const mine = this.lastChange.then(change, change);
    this.lastChange = mine;
    return mine;
  }

  private async addNow(upload: Upload): Promise<void> {
    await mkdir(join(this.dir, 'files'), {recursive: true});
    for (const file of filesOf(upload)) await this.takeHold(this.sourceOf(upload, file), file);
    const name = `${String(this.nextNumber++).padStart(8, '0')}.json`;
    await writeDurably(join(this.dir, name), JSON.stringify(upload));
    const overtaken = this.overtakenBy(upload);
    this.items.push({name, upload, remaining: filesOf(upload).length});
    for (const item of overtaken) await this.removeNow(item);
  }

  private async removeNow(item: QueuedUpload): Promise<void> {
    const index = this.items.indexOf(item);
    if (index < 0) return;
    this.items.splice(index, 1);
    await this.removeFilesOf(item).catch(error => {
      this.log.warn('the files of an upload that is settled could not be removed', {folder: this.folder, upload: item.name, error});
    });
  }

  private async removeFilesOf(item: QueuedUpload): Promise<void> {
    await rm(join(this.dir, item.name), {force: true});
    const needed = new Set(this.items.flatMap(({upload}) => filesOf(upload).map(file => file.sha256)));
    for (const file of filesOf(item.upload)) if (!needed.has(file.sha256)) await rm(this.pathOf(file), {force: true});
    if (item.upload.kind === 'checkpoint') await rm(item.upload.dir, {recursive: true, force: true});
  }

  private get dir(): string {
    return join(this.folder, 'uploads');
  }

  /** Waiting uploads that a new one makes pointless: never the first, which is under way. */
  private overtakenBy(upload: Upload): QueuedUpload[] {
    const waiting = this.items.slice(1);
    if (upload.kind === 'artifact') return waiting.filter(item => item.upload.kind === 'artifact' && item.upload.path === upload.path);
    const checkpoints = waiting.filter(item => item.upload.kind === 'checkpoint');
    return checkpoints.slice(0, Math.max(0, checkpoints.length + 1 - MAX_WAITING_CHECKPOINTS));
  }

  private sourceOf(upload: Upload, file: FileDigest): string {
    if (!isSafeRelativePath(file.name)) throw new Error(`the trainer named a file outside of its folder: ${file.name}`);
    if (upload.kind === 'artifact') return join(this.folder, 'run', file.name);
    if (!join(upload.dir).startsWith(this.folder + sep))
      throw new Error(`the trainer named a checkpoint outside of its folder: ${upload.dir}`);
    return join(upload.dir, file.name);
  }

  private async takeHold(source: string, file: FileDigest): Promise<void> {
    const target = this.pathOf(file);
    if ((await stat(target).catch(() => undefined)) !== undefined) return;
    if (file.bytes <= COPIED_BYTES) await copyWhole(source, target);
    else await linkOrCopy(source, target);
  }
}

export function filesOf(upload: Upload): readonly FileDigest[] {
  return upload.kind === 'checkpoint' ? upload.manifest.files : [upload.file];
}
