/** Identifiers, branded so that one cannot stand for another. All are made of [a-z0-9.-] and safe in paths and keys. */

declare const brand: unique symbol;
type Branded<T, B extends string> = T & {readonly [brand]: B};

export type JobId = Branded<string, 'JobId'>;
export type NodeId = Branded<string, 'NodeId'>;
export type DatasetId = Branded<string, 'DatasetId'>;
/** Unique within its node: a GPU's UUID, or `cpu-0`. */
export type DeviceId = Branded<string, 'DeviceId'>;
/** An etcd revision: of the leader key for a leader, of the plan's key for an attempt. Only grows. */
export type Generation = Branded<number, 'Generation'>;
/** Milliseconds since the Unix epoch. */
export type Instant = Branded<number, 'Instant'>;

export const jobId = (text: string): JobId => text as JobId;
export const nodeId = (text: string): NodeId => text as NodeId;
export const datasetId = (text: string): DatasetId => text as DatasetId;
export const deviceId = (text: string): DeviceId => text as DeviceId;
export const generation = (revision: number): Generation => revision as Generation;
export const instant = (ms: number): Instant => ms as Instant;

const ID_PATTERN = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;

/** Whether `text` can be an id that a user chooses: 1 to 63 of a-z, 0-9, '.' and '-', the ends being letters or digits. */
export function isValidId(text: string): boolean {
  return ID_PATTERN.test(text) && !text.includes('..');
}

/** The id in a resource name such as `jobs/{id}`; undefined when `name` is not of that collection. A bare id is taken as it is. */
export function idFromResourceName(collection: 'jobs' | 'nodes' | 'datasets', name: string): string | undefined {
  const id = name.startsWith(`${collection}/`) ? name.slice(collection.length + 1) : name;
  return isValidId(id) ? id : undefined;
}
