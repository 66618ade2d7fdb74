import {z} from 'zod';

/** A position in the data: `offset` samples of epoch `epoch` (from 1) are done. After an epoch's last sample: `{epoch + 1, 0}`. */
export const cursorSchema = z.object({epoch: z.number().int().min(1), offset: z.number().int().min(0)});
export type Cursor = z.infer<typeof cursorSchema>;

/** Negative when `a` lies before `b`. */
export function compareCursors(a: Cursor, b: Cursor): number {
  return a.epoch - b.epoch || a.offset - b.offset;
}

export const fileDigestSchema = z.object({
  name: z.string().min(1),
  bytes: z.number().int().min(0),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
export type FileDigest = z.infer<typeof fileDigestSchema>;

/** What a checkpoint consists of. It exists for Tenfold once this is committed with all its files verified. */
export const checkpointManifestSchema = z.object({
  step: z.number().int().min(0),
  cursor: cursorSchema,
  files: z.array(fileDigestSchema).min(1),
  /** Present when it was made right after a validation. */
  map50: z.number().optional(),
  map50_95: z.number().optional(),
});
export type CheckpointManifest = z.infer<typeof checkpointManifestSchema>;

/** A committed checkpoint, as stored. */
export const checkpointRecordSchema = checkpointManifestSchema.extend({
  attempt: z.number().int().min(1),
  committedAt: z.number(),
});
export type CheckpointRecord = z.infer<typeof checkpointRecordSchema>;

/** A kept file of the run folder. `file.name` is its path within the run folder. */
export const artifactRecordSchema = z.object({file: fileDigestSchema, attempt: z.number().int().min(1), registeredAt: z.number()});
export type ArtifactRecord = z.infer<typeof artifactRecordSchema>;

/** Whether `path` names a file inside a folder: relative, without `..`, of plain characters. Paths of peers are data, never trusted. */
export function isSafeRelativePath(path: string): boolean {
  return path.length <= 512 && /^[A-Za-z0-9_][A-Za-z0-9._ ()+-]*(\/[A-Za-z0-9_][A-Za-z0-9._ ()+-]*)*$/.test(path);
}
