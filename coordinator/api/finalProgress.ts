import {Progress as ProgressMessage} from '../../shared/gen/tenfold/v1/job.js';
import {instant} from '../../shared/ids.js';
import type {JobRecord} from '../../shared/job.js';
import {errorChain} from '../../shared/log.js';
import {progressToProto} from '../../shared/wire/job.js';
import {objectKeys} from '../objectKeys.js';
import type {ApiParts} from './parts.js';

/** So long after the end, nothing that its ranks had said is still on its way. */
const SETTLED_MS = 60_000;

/**
 * The figures that ended jobs came to. They are folded from a whole journal, a gigabyte for a day of four ranks, so they are kept once they
 * were asked for: a list of all jobs would take minutes otherwise.
 */
export class FinalProgress {
  /** Told once, and not for each job of each list. */
  private isToldThatNoneAreKept = false;

  constructor(private readonly parts: Pick<ApiParts, 'journal' | 'objects' | 'clock' | 'log'>) {}

  /** Of a job whose status is `ended`. */
  async of({id, status}: JobRecord): Promise<ProgressMessage> {
    const kept = await this.kept(id);
    if (kept !== undefined) return kept;
    const progress = progressToProto(await this.parts.journal.progress(id));
    const isSettled = status.phase === 'ended' && this.parts.clock.now() >= instant(status.at + SETTLED_MS);
    if (isSettled) await this.keep(id, progress);
    return progress;
  }

  /** Who asks for the figures has them all the same when there is no room to keep them. */
  private async keep(id: string, progress: ProgressMessage): Promise<void> {
    try {
      await this.parts.objects.put(objectKeys.progress(id), ProgressMessage.encode(progress).finish());
      this.isToldThatNoneAreKept = false;
    } catch (error) {
      if (!this.isToldThatNoneAreKept)
        this.parts.log.error('the figures of a job that ended cannot be kept', {job: id, error: errorChain(error)});
      this.isToldThatNoneAreKept = true;
    }
  }

  private async kept(id: string): Promise<ProgressMessage | undefined> {
    const key = objectKeys.progress(id);
    if ((await this.parts.objects.size(key)) === undefined) return undefined;
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.parts.objects.read(key)) chunks.push(chunk as Uint8Array);
    return ProgressMessage.decode(Buffer.concat(chunks));
  }
}
