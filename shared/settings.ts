import * as path from 'node:path';
import {z} from 'zod';

/** Kinds of settings. Each takes a text (flag, environment) or a YAML value, and says in one phrase what it expects. */

function kind<T>(expected: string, parse: (text: string) => T | undefined): z.ZodType<T> {
  return z.unknown().transform((input, context) => {
    const isScalar = typeof input === 'string' || typeof input === 'number' || typeof input === 'boolean';
    const value = isScalar ? parse(String(input).trim()) : undefined;
    if (value !== undefined) return value;
    context.issues.push({code: 'custom', message: `must be ${expected}`, input});
    return z.NEVER;
  });
}

export const text = (expected = 'a text'): z.ZodType<string> => kind(expected, value => (value === '' ? undefined : value));

export function wholeNumber(min: number, max: number): z.ZodType<number> {
  return kind(`a whole number from ${min} to ${max}`, value => {
    const number = Number(value);
    return /^[0-9]+$/.test(value) && number >= min && number <= max ? number : undefined;
  });
}

/** 0 lets the system choose a free one. */
export const port = (): z.ZodType<number> => wholeNumber(0, 65_535);

const UNIT_MS: Readonly<Record<string, number>> = {ms: 1, s: 1000, m: 60_000, h: 3_600_000};

/** In milliseconds. */
export function duration(minMs: number, maxMs: number): z.ZodType<number> {
  return kind(`a duration from ${shownDuration(minMs)} to ${shownDuration(maxMs)}, such as 500ms, 30s, 5m or 12h`, value => {
    const match = /^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)$/.exec(value);
    if (match === null) return undefined;
    const ms = Number(match[1]) * UNIT_MS[match[2]!]!;
    return ms >= minMs && ms <= maxMs ? ms : undefined;
  });
}

/** As it is written in settings: `30s`, `1500ms`. */
export function shownDuration(ms: number): string {
  const unit = (['h', 'm', 's'] as const).find(name => ms >= UNIT_MS[name]! && ms % UNIT_MS[name]! === 0) ?? 'ms';
  return `${ms / UNIT_MS[unit]!}${unit}`;
}

export function oneOf<const T extends string>(...choices: readonly T[]): z.ZodType<T> {
  return kind(`one of ${choices.join(', ')}`, value => choices.find(choice => choice === value));
}

const YES_OR_NO = new Map([
  ['true', true],
  ['1', true],
  ['yes', true],
  ['false', false],
  ['0', false],
  ['no', false],
]);

export const yesOrNo = (): z.ZodType<boolean> => kind('true or false', value => YES_OR_NO.get(value.toLowerCase()));

/** Absolute; `~` is the home folder. */
export function filePath(home = process.env.HOME ?? '/'): z.ZodType<string> {
  return kind('a path', value => {
    if (value === '' || value.includes('\0')) return undefined;
    return path.resolve(value === '~' || value.startsWith('~/') ? home + value.slice(1) : value);
  });
}

/** `host:port`; an IPv6 host stands in brackets. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

export function hostPort(): z.ZodType<HostPort> {
  return kind('host:port, such as 127.0.0.1:7070 or [::1]:7070', parseHostPort);
}

export function parseHostPort(value: string): HostPort | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/]+)):([0-9]{1,5})$/.exec(value);
  if (match === null || Number(match[3]) > 65_535) return undefined;
  return {host: match[1] ?? match[2]!, port: Number(match[3])};
}

export function showHostPort({host, port}: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Several, separated by commas; in YAML a list too. */
export function listOf<T>(item: z.ZodType<T>): z.ZodType<T[]> {
  return z.preprocess(
    input => (typeof input === 'string' ? input.split(',').map(part => part.trim()) : input),
    z.array(item, 'must be a list').min(1, 'must not be empty'),
  ) as unknown as z.ZodType<T[]>;
}
