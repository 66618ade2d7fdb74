import winston from 'winston';
import {LOG_LEVELS, type LogLevel} from './logLevel.js';

/** What can be attached to a line. Ids by their usual names (`job`, `node`, `attempt`); `error` is shown with its causes. */
export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  /** A log that adds `fields` to each of its lines. */
  child(fields: LogFields): Log;
}

export interface LogConfig {
  readonly level: LogLevel;
  /** `text` for terminals, `json` (one object a line) for collectors. */
  readonly format: 'text' | 'json';
  /** What speaks: `coordinator`, `agent`. */
  readonly component: string;
  /** Instead of stderr. */
  readonly stream?: NodeJS.WritableStream;
}

/**
 * A log on stderr: stdout is for data alone. Lines that cannot be written, on a full disk say, are lost: nobody's to hear, the error would end
 * the process, and an agent's ranks with it.
 */
export function createLog(config: LogConfig): Log {
  const out = config.stream ?? process.stderr;
  if (!out.listeners('error').includes(goOn)) out.on('error', goOn);
  const {combine, timestamp, json, printf} = winston.format;
  const rendering = config.format === 'json' ? json() : printf(info => textLine(info));
  const transport = config.stream
    ? new winston.transports.Stream({stream: config.stream})
    : new winston.transports.Console({stderrLevels: [...LOG_LEVELS], forceConsole: false});
  const logger = winston.createLogger({
    levels: Object.fromEntries(LOG_LEVELS.map((level, rank) => [level, rank])),
    level: config.level,
    format: combine(timestamp(), winston.format(info => withErrorChain(info))(), rendering),
    transports: [transport],
  });
  return logOf(logger, {component: config.component});
}

const goOn = (): void => {};

/** Says nothing: for tests. */
export const silentLog: Log = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  child: () => silentLog,
};

function logOf(logger: winston.Logger, bound: LogFields): Log {
  const at =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      // Winston would append a field named `message` to the message.
      logger.log({...bound, ...fields, level, message});
    };
  return {
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
    child: fields => logOf(logger, {...bound, ...fields}),
  };
}

/** Where it came from is of use only for what nobody expected: lines of level `error`. */
function withErrorChain(info: winston.Logform.TransformableInfo): winston.Logform.TransformableInfo {
  const {error} = info;
  if (error === undefined) return info;
  const root = error instanceof Error ? rootOf(error) : undefined;
  const stack = info.level === 'error' && root?.stack !== undefined ? {stack: root.stack} : {};
  return Object.assign(info, {error: errorChain(error)}, stack);
}

function rootOf(error: Error): Error {
  let root = error;
  for (let depth = 0; depth < LONGEST_CHAIN && root.cause instanceof Error; depth++) root = root.cause;
  return root;
}

/** Longer ones go round. */
const LONGEST_CHAIN = 8;

/** An error and what caused it, in one line: `listing jobs: deadline exceeded`. */
export function errorChain(error: unknown): string {
  const messages: string[] = [];
  for (
    let cause: unknown = error;
    cause !== undefined && messages.length < LONGEST_CHAIN;
    cause = cause instanceof Error ? cause.cause : undefined
  )
    messages.push(cause instanceof Error ? cause.message || cause.name : String(cause));
  return messages.join(': ');
}

function textLine(info: winston.Logform.TransformableInfo): string {
  const {timestamp, level, message, component, stack, ...fields} = info;
  const pairs = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${shown(value)}`);
  const line = [timestamp, level.toUpperCase().padEnd(5), `[${component}]`, message, ...pairs].join(' ');
  return stack === undefined ? line : `${line}\n${stack}`;
}

function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /[\s"=]/.test(text) ? JSON.stringify(text) : text;
}
