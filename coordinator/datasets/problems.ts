import type {DatasetProblem} from '../../shared/dataset.js';

/** Every way in which a data set can be wrong. Those of `sample` concern one image and can be skipped; those of `set` cannot. */
const TABLE = {
  yaml_missing: {severity: 'error', scope: 'set'},
  yaml_malformed: {severity: 'error', scope: 'set'},
  yaml_invalid: {severity: 'error', scope: 'set'},
  split_missing: {severity: 'error', scope: 'set'},
  split_empty: {severity: 'error', scope: 'set'},
  folder_unreadable: {severity: 'error', scope: 'set'},
  changed_meanwhile: {severity: 'error', scope: 'set'},
  registration_failed: {severity: 'error', scope: 'set'},
  names_invalid: {severity: 'error', scope: 'set'},
  no_boxes: {severity: 'error', scope: 'set'},
  broken_link: {severity: 'error', scope: 'sample'},
  missing_image: {severity: 'error', scope: 'sample'},
  unreadable_image: {severity: 'error', scope: 'sample'},
  unsupported_image: {severity: 'error', scope: 'sample'},
  label_unreadable: {severity: 'error', scope: 'sample'},
  label_malformed: {severity: 'error', scope: 'sample'},
  label_out_of_range: {severity: 'error', scope: 'sample'},
  class_out_of_range: {severity: 'error', scope: 'sample'},
  duplicate_label: {severity: 'warning', scope: 'sample'},
  duplicate_image: {severity: 'warning', scope: 'sample'},
  train_val_overlap: {severity: 'warning', scope: 'sample'},
} as const;

export type ProblemCode = keyof typeof TABLE;

/** A problem of the table. `line` 0 means the whole file. */
export function problem(code: ProblemCode, file: string, line: number, message: string): DatasetProblem {
  return {code, severity: TABLE[code].severity, file, line, message};
}

/** Whether the problem concerns one sample, so that the rest can go on without it. */
export function isSkippable(found: DatasetProblem): boolean {
  return TABLE[found.code as ProblemCode]?.scope === 'sample';
}

/** Keeps the first problems of each kind, and counts them all: a data set can have a million of them. */
export class ProblemLog {
  static readonly KEPT_PER_CODE = 20;
  private readonly kept: DatasetProblem[] = [];
  private readonly countByCode = new Map<string, number>();

  add(found: DatasetProblem): void {
    const count = (this.countByCode.get(found.code) ?? 0) + 1;
    this.countByCode.set(found.code, count);
    if (count <= ProblemLog.KEPT_PER_CODE) this.kept.push(found);
  }

  /** Those kept, errors first. */
  get problems(): DatasetProblem[] {
    return [...this.kept].sort((a, b) => Number(a.severity === 'warning') - Number(b.severity === 'warning'));
  }

  get counts(): Record<string, number> {
    return Object.fromEntries(this.countByCode);
  }

  /** Whether the data set must be refused. */
  isFatal(skipBadSamples: boolean): boolean {
    return this.kept.some(found => found.severity === 'error' && !(skipBadSamples && isSkippable(found)));
  }
}
