import {mkdirSync, readFileSync, renameSync, rmSync, writeFileSync} from 'node:fs';
import * as path from 'node:path';
import {z} from 'zod';
import {isAlive} from '../clientConfig.js';

/** What runs, as `up.json` in the data folder says: for people, scripts and tests. */
export const upStatusSchema = z.object({
  pid: z.number().int(),
  address: z.string(),
  dataDir: z.string(),
  /** All nodes have come up once. */
  ready: z.boolean(),
  etcd: z.object({pid: z.number().int(), endpoint: z.string()}),
  coordinator: z.object({pid: z.number().int()}),
  agents: z.array(z.object({nodeId: z.string(), pid: z.number().int()})),
});
export type UpStatus = z.infer<typeof upStatusSchema>;

export const upStatusPath = (dataDir: string): string => path.join(dataDir, 'up.json');

/** Undefined when there is none that can be understood. */
export function readUpStatus(dataDir: string): UpStatus | undefined {
  try {
    const parsed = upStatusSchema.safeParse(JSON.parse(readFileSync(upStatusPath(dataDir), 'utf8')));
    return parsed.success ? parsed.data : undefined;
  } catch {
    // No file: nothing runs.
    return undefined;
  }
}

/** Whole or as before: readers never see a half of it. */
export function writeJson(file: string, content: unknown): void {
  mkdirSync(path.dirname(file), {recursive: true, mode: 0o700});
  const temporary = `${file}.${process.pid}.tmp`;
  writeFileSync(temporary, `${JSON.stringify(content, undefined, 2)}\n`);
  renameSync(temporary, file);
}

export function removeFile(file: string): void {
  rmSync(file, {force: true});
}

/** The processes of an earlier `up` on this folder that are still there. A pid alone may be another's by now: the command tells. */
export function leftovers(status: UpStatus): {up: number | undefined; children: number[]} {
  const pids = [status.etcd.pid, status.coordinator.pid, ...status.agents.map(({pid}) => pid)];
  const isUp = status.pid !== process.pid && isAlive(status.pid) && / up( |$)/.test(commandLineOf(status.pid));
  return {up: isUp ? status.pid : undefined, children: pids.filter(pid => isAlive(pid) && commandLineOf(pid).includes(status.dataDir))};
}

function commandLineOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}
