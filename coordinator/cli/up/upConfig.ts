import * as path from 'node:path';
import {type Folders, resolveSettings, type Sources, setting} from '../../../shared/config.js';
import {LOG_LEVELS, type LogLevel} from '../../../shared/logLevel.js';
import {duration, filePath, oneOf, port, wholeNumber} from '../../../shared/settings.js';

/** What `tenfold up` can be told, complete. */
export interface UpConfig {
  readonly agents: number;
  /** Everything of this one-machine cluster. */
  readonly dataDir: string;
  /** Undefined: 7070, or the next one that is free. */
  readonly port: number | undefined;
  /** CPU slots of each agent; undefined: the GPUs, or one slot each where there is none. */
  readonly cpuSlots: number | undefined;
  readonly threadsPerDevice: number | undefined;
  /** How long stopping agents wait for last checkpoints. */
  readonly drainMs: number;
  readonly logLevel: LogLevel;
}

export const upSettings = {
  agents: setting<number>({
    summary: 'how many agents; they share the GPUs, or offer one CPU slot each where there is none',
    kind: wholeNumber(0, 64),
    fallback: 1,
    placeholder: 'n',
  }),
  dataDir: setting<string | undefined>({
    summary: 'folder for everything: etcd, data sets, checkpoints, logs (default: tenfold in the XDG data folder)',
    kind: filePath(),
    fallback: undefined,
    placeholder: 'folder',
  }),
  port: setting<number | undefined>({
    summary: 'port of the coordinator (default, and for 0: 7070, or the next one that is free)',
    kind: port(),
    fallback: undefined,
    placeholder: 'n',
  }),
  cpuSlots: setting<number | undefined>({
    summary: 'offer so many CPU slots an agent, instead of GPUs',
    kind: wholeNumber(1, 256),
    fallback: undefined,
    placeholder: 'n',
  }),
  threadsPerDevice: setting<number | undefined>({
    summary: "CPU threads of each device's rank (default: an equal share of the machine's)",
    kind: wholeNumber(1, 1024),
    fallback: undefined,
    placeholder: 'n',
  }),
  drain: setting<number>({
    summary: 'how long a stop waits for last checkpoints',
    kind: duration(0, 3_600_000),
    fallback: 10_000,
    placeholder: 'duration',
  }),
  logLevel: setting<LogLevel>({summary: 'what the logs hold', kind: oneOf(...LOG_LEVELS), fallback: 'info', placeholder: 'level'}),
};

/** A complete config. Throws `ConfigError` with every problem. */
export function resolveUpConfig(sources: Sources, folders: Folders): UpConfig {
  const {dataDir, drain, port: given, ...values} = resolveSettings(upSettings, 'up', sources);
  // Agents must be told a port: 0 cannot be left to the coordinator's system.
  return {...values, port: given === 0 ? undefined : given, drainMs: drain, dataDir: dataDir ?? path.join(folders.data, 'up')};
}
