import type {FileDigest} from '../shared/checkpoint.js';

/** Where bulk lies in the object store. What is complete there is never written again: other bytes lie at another key. */
export const objectKeys = {
  /** A shard's, or a data set index's, bytes by their SHA-256. */
  blob: (digest: string): string => `blobs/${digest}`,
  /** What an ended job's figures came to (`Progress`, as protobuf). */
  progress: (jobId: string): string => `jobs/${jobId}/progress.pb`,
  /** Below it lie the files of all checkpoints of a job. */
  checkpoints: (jobId: string): string => `jobs/${jobId}/checkpoints/`,
  /** Below it lie the files of one checkpoint. A later attempt may reach the same step with other bytes. */
  checkpoint: (jobId: string, step: number, attempt: number): string => `${objectKeys.checkpoints(jobId)}${step}/attempt-${attempt}/`,
  /** The checkpoint that a file is of; undefined for keys of anything else. */
  checkpointOf: (key: string): {readonly step: number; readonly attempt: number} | undefined => {
    const [, step, attempt] = /^jobs\/[^/]+\/checkpoints\/(\d+)\/attempt-(\d+)\//.exec(key) ?? [];
    return attempt === undefined ? undefined : {step: Number(step), attempt: Number(attempt)};
  },
  checkpointFile: (jobId: string, step: number, attempt: number, name: string): string =>
    `${objectKeys.checkpoint(jobId, step, attempt)}${name}`,
  /** A file of the run folder, `file.name` being its path there. It may be made again and differ: `results.csv`, the best weights. */
  artifact: (jobId: string, file: FileDigest): string => `jobs/${jobId}/artifacts/${file.sha256.slice(0, 16)}/${file.name}`,
} as const;
