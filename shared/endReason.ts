/**
 * Why an attempt or a job ended, whose fault that is, and whether a new attempt is worth it. One table for the trainer's exit codes
 * (kept equal to test/fixtures/trainer-contract/exit-codes.json by a test), one for what only agents and the coordinator see.
 */

/** `none`: nothing went wrong. `user`, `data`: the same would happen again. `infra`: worth another try. */
export type Fault = 'none' | 'user' | 'data' | 'infra';

export interface EndReason {
  readonly code: EndCode;
  readonly fault: Fault;
  readonly message: string;
}

interface ExitCodeRow {
  readonly code: number;
  readonly name: string;
  readonly fault: Fault;
  readonly retry: boolean;
  readonly text: string;
}

const exitCodeRows = [
  {code: 0, name: 'completed', fault: 'none', retry: false, text: 'trained all epochs, or stopped early by patience'},
  {code: 2, name: 'usage', fault: 'user', retry: false, text: 'unknown command or argument'},
  {code: 10, name: 'bad_config', fault: 'user', retry: false, text: 'the config file is missing, malformed, or has values out of range'},
  {code: 11, name: 'bad_data', fault: 'data', retry: false, text: 'the data set cannot be trained on'},
  {
    code: 12,
    name: 'bad_checkpoint',
    fault: 'infra',
    retry: true,
    text: 'the checkpoint to resume from does not verify; a job goes on from an older one',
  },
  {code: 13, name: 'out_of_memory', fault: 'user', retry: false, text: 'the batch does not fit the device'},
  {code: 14, name: 'diverged', fault: 'user', retry: false, text: 'the loss became NaN or infinite'},
  {code: 20, name: 'peer_lost', fault: 'infra', retry: true, text: 'another rank went away in the middle of a collective'},
  {code: 21, name: 'rendezvous_failed', fault: 'infra', retry: true, text: 'the ranks did not meet in time'},
  {code: 22, name: 'collective_timeout', fault: 'infra', retry: true, text: 'a collective did not finish within the limit'},
  {code: 23, name: 'stopped', fault: 'none', retry: false, text: 'ended by a stop command at a step boundary'},
  {code: 24, name: 'orphaned', fault: 'infra', retry: true, text: 'the agent went away'},
  {code: 25, name: 'io_error', fault: 'infra', retry: true, text: 'a file could not be read or written (disk full, permission)'},
  {code: 26, name: 'device_error', fault: 'infra', retry: true, text: 'the GPU or its driver failed'},
  {code: 70, name: 'internal', fault: 'infra', retry: true, text: 'a bug: an exception that nobody expected'},
] as const satisfies readonly ExitCodeRow[];

/** What is seen from outside the trainer: by the agent (`killed`, `agent_stopped`, `staging_failed`) or by the coordinator (the rest). */
const observedRows = [
  {name: 'killed', fault: 'infra', retry: true, text: 'a rank was ended by a signal'},
  {name: 'agent_stopped', fault: 'none', retry: true, text: 'its agent was stopped, and ended its ranks'},
  {name: 'staging_failed', fault: 'infra', retry: true, text: 'the agent could not prepare the attempt'},
  {name: 'node_lost', fault: 'infra', retry: true, text: 'a node was silent for too long'},
  {name: 'rank_missing', fault: 'infra', retry: true, text: 'an agent came back without a rank that it had run'},
  {name: 'cancelled', fault: 'none', retry: false, text: 'cancelled by a user'},
  {name: 'dataset_failed', fault: 'data', retry: false, text: 'the data set could not be registered'},
] as const satisfies readonly Omit<ExitCodeRow, 'code'>[];

export type EndCode = (typeof exitCodeRows)[number]['name'] | (typeof observedRows)[number]['name'];

export const END_CODES: readonly EndCode[] = [...exitCodeRows, ...observedRows].map(row => row.name);
export const EXIT_CODES: readonly ExitCodeRow[] = exitCodeRows;

/** An end reason of the table; `detail` is appended to, or stands in for, the table's own text. */
export function endReason(code: EndCode, detail?: string): EndReason {
  const row = [...exitCodeRows, ...observedRows].find(candidate => candidate.name === code);
  if (row === undefined) throw new Error(`no end reason ${code}`);
  return {code, fault: row.fault, message: detail === undefined || detail === '' ? row.text : detail};
}

/** Whether a new attempt may be tried after this end. */
export function isRetriable(code: EndCode): boolean {
  return [...exitCodeRows, ...observedRows].some(row => row.name === code && row.retry);
}

/** The end reason for a trainer process that left by itself. Codes outside of the table are bugs of ours. */
export function endReasonOfExit(exitCode: number, message: string): EndReason {
  const row = exitCodeRows.find(candidate => candidate.code === exitCode);
  return row === undefined ? endReason('internal', `exit code ${exitCode}${message && `: ${message}`}`) : endReason(row.name, message);
}

/**
 * The one reason that explains an attempt, out of all its ranks' reasons. A rank that lost its peer only echoes what happened to the
 * peer, so echoes yield to causes, be it that an agent was stopped on purpose; and what a user can mend comes first.
 */
export function rootCause(reasons: readonly EndReason[]): EndReason | undefined {
  const weight = (reason: EndReason): number => {
    if (reason.fault === 'user' || reason.fault === 'data') return 0;
    if (isEcho(reason.code)) return 3;
    if (reason.code === 'agent_stopped') return 2;
    return reason.fault === 'infra' ? 1 : 4;
  };
  return [...reasons].sort((a, b) => weight(a) - weight(b))[0];
}

/** Whether such an end usually only tells that another rank ended. */
export function isEcho(code: EndCode): boolean {
  return ECHOES.has(code);
}

/** Whether such an end may be the doing of the node that it was seen on, so that another node is worth a try. */
export function isOfNode(code: EndCode): boolean {
  return NODE_TROUBLES.has(code);
}

const NODE_TROUBLES: ReadonlySet<EndCode> = new Set<EndCode>([
  'orphaned',
  'io_error',
  'device_error',
  'killed',
  'staging_failed',
  'node_lost',
  'rank_missing',
]);

const ECHOES: ReadonlySet<EndCode> = new Set<EndCode>(['peer_lost', 'rendezvous_failed', 'collective_timeout']);
