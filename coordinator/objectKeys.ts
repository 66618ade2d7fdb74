/** Where bulk lies in the object store. */
export const objectKeys = {
  /** A shard's, or a data set index's, bytes by their SHA-256. */
  blob: (digest: string): string => `blobs/${digest}`,
  /**
   * A file of a checkpoint. The attempt is part of it: a later attempt may reach the same step with other bytes, and a committed file is
   * never written again.
   */
  checkpointFile: (jobId: string, step: number, attempt: number, name: string): string =>
    `jobs/${jobId}/checkpoints/${step}/attempt-${attempt}/${name}`,
  /** A file of the run folder, named by the attempt that made it for the same reason. */
  artifact: (jobId: string, attempt: number, path: string): string => `jobs/${jobId}/artifacts/attempt-${attempt}/${path}`,
} as const;
