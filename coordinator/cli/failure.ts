import {ConfigError} from '../../shared/config.js';
import {type Problem, problemOf, wasAnswered} from '../../shared/errors.js';
import {KNOWN_NAMES_ADVICE, nameNotKnown} from '../../shared/hostNames.js';
import {errorChain} from '../../shared/log.js';
import {EXIT, type ExitCode, exitCodeOf} from './exitCodes.js';
import {pad, printable, type Style} from './render/style.js';

/** An end of the command that is not its normal one: what to say, and with which code. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';
  /** `message` may have several lines; empty: everything was said. */
  constructor(
    readonly exitCode: ExitCode,
    message = '',
    readonly next?: string,
  ) {
    super(message);
  }
}

export const usageFailure = (message: string, next?: string): CommandFailure => new CommandFailure(EXIT.usage, message, next);

/** What the user is told, and how the process ends. `address` is where the coordinator was looked for. */
export function describeFailure(error: unknown, address: string | undefined, style: Style): {lines: string[]; exitCode: ExitCode} {
  if (error instanceof CommandFailure) {
    const lines = error.message === '' ? [] : headed(error.message.split('\n'), style);
    return {lines: error.next === undefined ? lines : [...lines, `  ${style.dim(error.next)}`], exitCode: error.exitCode};
  }
  if (error instanceof ConfigError) {
    const many = error.problems.length > 1;
    const lines = headed([many ? `${error.problems.length} settings are wrong` : 'a setting is wrong'], style);
    return {
      lines: [
        ...lines,
        ...fieldLines(
          error.problems.map(({where, message}) => ({path: where, message})),
          style,
        ),
      ],
      exitCode: EXIT.usage,
    };
  }
  const problem = problemOf(error);
  if (problem.kind === 'unavailable' && !wasAnswered(error)) return describeUnreachable(plainReason(problem.message), address, style);
  return {lines: [...problemLines(problem, address, style), ...causeLines(error)], exitCode: exitCodeOf(problem)};
}

/** Why what was being done failed: the message alone says what it was ("listening on 0.0.0.0:7070"). */
function causeLines(error: unknown): string[] {
  return error instanceof Error && error.cause !== undefined ? [`  ${printable(errorChain(error.cause))}`] : [];
}

/** What TLS says when the coordinator turns the client's certificate away, or the lack of one. */
const TURNED_AWAY = /alert (certificate|bad certificate|unknown ca|access denied|handshake failure)/i;
/** What TLS says when the client does not believe the coordinator's certificate. */
const NOT_TRUSTED = /self-signed certificate|unable to (verify|get) .*certificate|certificate has expired/i;
/** What TLS says when the certificate is of somebody trusted, for other names than the address. */
const NAMES_OTHERS = /altnames|ERR_TLS_CERT_ALTNAME_INVALID/i;
/** What grpc-js says when the address holds a name for which the resolver found nothing. */
const UNKNOWN_NAME = /^Name resolution failed for target (?:dns:)?(.*?)(?::\d+)?$/;

/** Nobody answered: the connection was not made, or was refused by either side's TLS. */
function describeUnreachable(reason: string, address: string | undefined, style: Style): {lines: string[]; exitCode: ExitCode} {
  const who = `the coordinator${address === undefined ? '' : ` at ${address}`}`;
  const told = (what: string, next: string, exitCode: ExitCode): {lines: string[]; exitCode: ExitCode} => ({
    lines: [...headed([`${what} (${reason})`], style), ...nextLine(next, style)],
    exitCode,
  });
  if (TURNED_AWAY.test(reason))
    return told(`${who} lets nobody in without a certificate that it knows`, 'give --tls-cert and --tls-key', EXIT.denied);
  if (NOT_TRUSTED.test(reason))
    return told(`the certificate of ${who} is not trusted`, '--tls-ca names the authority that signed it', EXIT.denied);
  if (NAMES_OTHERS.test(reason))
    return told(
      `the certificate of ${who} is for other names`,
      'reach it by a name that its certificate has, or issue one that names this address, too (subjectAltName=DNS:NAME, or IP:ADDRESS)',
      EXIT.denied,
    );
  const unknownName = UNKNOWN_NAME.exec(reason)?.[1];
  if (unknownName !== undefined)
    return {lines: [...headed([nameNotKnown(unknownName)], style), ...nextLine(KNOWN_NAMES_ADVICE, style)], exitCode: EXIT.unavailable};
  return told(`${who} does not answer`, nextWhenUnreachable(reason), EXIT.unavailable);
}

function nextWhenUnreachable(reason: string): string {
  if (reason.includes('wrong version number')) return 'it speaks no TLS: leave --tls-ca, --tls-cert and --tls-key out';
  if (reason.startsWith('Failed to connect'))
    return 'the connection was made, and closed at once: does it want TLS (--tls-ca), or another certificate (--tls-cert)?';
  return 'is it running? `tenfold up` starts one on this machine; --address or TENFOLD_ADDRESS names another';
}

function problemLines(problem: Problem, address: string | undefined, style: Style): string[] {
  switch (problem.kind) {
    case 'invalid': {
      if (problem.fields.length === 0) return headed([problem.message], style);
      const what = problem.fields.length === 1 ? 'this is wrong' : `${problem.fields.length} things are wrong`;
      return [...headed([what], style), ...fieldLines(problem.fields, style)];
    }
    case 'notFound':
      return [...headed([problem.message], style), ...nextLine(listCommandOf(problem.resource), style)];
    case 'unavailable':
    case 'exhausted':
      return [
        ...headed([printable(problem.message)], style),
        ...nextLine(`try again in ${Math.max(1, Math.ceil(problem.retryAfterMs / 1000))} s`, style),
      ];
    case 'timeout':
      return headed([`the coordinator${address === undefined ? '' : ` at ${address}`} did not answer in time`], style);
    default:
      return headed([problem.message], style);
  }
}

/** What grpc-js says about a connection, without its frames. */
function plainReason(message: string): string {
  const inner = /.*Last error: (?:Error(?: \[\w+\])?: )?(.*?)\.? *(?:Resolution note:.*)?$/.exec(message)?.[1] ?? message;
  return printable(inner.trim());
}

function listCommandOf(resource: string): string {
  const commands: Readonly<Record<string, string>> = {
    job: '`tenfold ps --all` lists all jobs',
    node: '`tenfold node ls` lists the nodes',
    dataset: '`tenfold dataset ls` lists the data sets',
    checkpoint: '`tenfold ckpt ls JOB` lists the checkpoints',
    artifact: '`tenfold artifact ls JOB` lists the files',
  };
  return commands[resource] ?? '';
}

function headed([first = '', ...rest]: readonly string[], style: Style): string[] {
  return [`${style.bad('error:')} ${first}`, ...rest.map(line => `  ${line}`)];
}

function nextLine(text: string, style: Style): string[] {
  return text === '' ? [] : [`  ${style.dim(text)}`];
}

/** One line a field, the messages below each other. */
export function fieldLines(fields: readonly {readonly path: string; readonly message: string}[], style: Style): string[] {
  const width = Math.min(44, Math.max(0, ...fields.map(({path}) => path.length)));
  return fields.map(({path, message}) => `  ${style.bold(pad(path, width))}  ${printable(message)}`);
}
