import type {Fence, Leadership} from '../../coordinator/ports.js';
import {Topic} from '../../coordinator/wake.js';

/** A leadership that the test hands out and takes away. */
export class GivenLeadership implements Leadership {
  private readonly topic = new Topic();
  private another = false;

  constructor(
    private revision: number | undefined,
    private readonly key = 'tenfold/leader',
  ) {}

  fence(): Fence | undefined {
    return this.revision === undefined ? undefined : {key: this.key, revision: this.revision};
  }

  ledByAnother(): boolean {
    return this.another;
  }

  onChange(listener: () => void): () => void {
    return this.topic.subscribe(listener);
  }

  /** Leads with this revision; undefined: not any more. */
  give(revision: number | undefined, another = false): void {
    this.revision = revision;
    this.another = another;
    this.topic.publish();
  }
}
