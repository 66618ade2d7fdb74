import {createHash} from 'node:crypto';
import type {Box} from './labels.js';

/** The shard format of test/fixtures/trainer-contract/README.md. */

export interface ShardSample {
  readonly id: number;
  readonly name: string;
  /** In pixels, of the picture as shown. */
  readonly width: number;
  readonly height: number;
  readonly boxes: readonly Box[];
  readonly bytes: Buffer;
}

const MAGIC = 'TFSHARD1';

/** The bytes of one shard, and the digest that names it. Equal samples give equal bytes. */
export function encodeShard(samples: readonly ShardSample[]): {readonly bytes: Buffer; readonly digest: string} {
  let offset = 0;
  const entries = samples.map(sample => {
    const {id, name, width, height} = sample;
    const entry = {id, name, width, height, offset, bytes: sample.bytes.length, labels: sample.boxes.map(rounded)};
    offset += sample.bytes.length;
    return entry;
  });
  const header = Buffer.from(JSON.stringify({samples: entries}));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const bytes = Buffer.concat([Buffer.from(MAGIC), length, header, ...samples.map(sample => sample.bytes)]);
  return {bytes, digest: createHash('sha256').update(bytes).digest('hex')};
}

/** Seven significant digits are what a float32 holds. */
function rounded(box: Box): number[] {
  return box.map(value => Number(value.toPrecision(7)));
}
