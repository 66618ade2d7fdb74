import {z} from 'zod';

/** What can be wrong with a data set. `error`: it cannot be trained on. `warning`: told, and gone on without. */
export const datasetProblemSchema = z.object({
  code: z.string(),
  severity: z.enum(['warning', 'error']),
  file: z.string(),
  /** Line of a label file or of the data.yaml; 0: the whole file. */
  line: z.number().int(),
  message: z.string(),
});
export type DatasetProblem = z.infer<typeof datasetProblemSchema>;

export const datasetSplitSchema = z.object({
  name: z.enum(['train', 'val']),
  samples: z.number().int(),
  boxes: z.number().int(),
  backgrounds: z.number().int(),
  bytes: z.number().int(),
  shards: z.number().int(),
});
export type DatasetSplit = z.infer<typeof datasetSplitSchema>;

/** A data set as stored in etcd. Its index and shards lie in the object store, named by their digests. */
export const datasetRecordSchema = z.object({
  id: z.string(),
  /** The data.yaml's path on the coordinator's machine. */
  source: z.string(),
  requestId: z.string(),
  /** SHA-256 over the data.yaml and the path, size and time of each of its files: the same source unchanged is the same data set. */
  fingerprint: z.string(),
  /** Leave bad samples out and go on, instead of refusing the data set. */
  skipBadSamples: z.boolean(),
  createdAt: z.number(),
  status: z.discriminatedUnion('state', [
    z.object({state: z.literal('registering')}),
    z.object({
      state: z.literal('ready'),
      classNames: z.array(z.string()),
      splits: z.array(datasetSplitSchema),
      indexDigest: z.string(),
      problems: z.array(datasetProblemSchema),
      problemCounts: z.record(z.string(), z.number()),
    }),
    z.object({state: z.literal('failed'), problems: z.array(datasetProblemSchema), problemCounts: z.record(z.string(), z.number())}),
  ]),
});
export type DatasetRecord = z.infer<typeof datasetRecordSchema>;

/** The index of a data set: the shards of each split, in the order of their samples' ids (test/fixtures/trainer-contract/README.md). */
export const datasetIndexSchema = z.object({
  version: z.literal(1),
  names: z.array(z.string()),
  splits: z.record(
    z.string(),
    z.object({
      samples: z.number().int(),
      shards: z.array(z.object({digest: z.string(), bytes: z.number().int(), samples: z.number().int()})),
    }),
  ),
});
export type DatasetIndex = z.infer<typeof datasetIndexSchema>;
