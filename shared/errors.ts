import {ClientError, type ServerError, Status} from 'nice-grpc';
import {
  BadRequest,
  PreconditionFailure,
  QuotaFailure,
  ResourceInfo,
  RetryInfo,
  RichClientError,
  RichServerError,
} from 'nice-grpc-error-details';

/**
 * What can be wrong with a call, as data. It crosses the wire as a gRPC status with google.rpc details, and comes out of the client as
 * the same value: `toStatusError` on the server, `problemOf` on the client.
 */
export type Problem =
  /** What was asked is malformed. Paths are those of the YAML form or of the request's fields. */
  | {readonly kind: 'invalid'; readonly message: string; readonly fields: readonly FieldProblem[]}
  | {readonly kind: 'notFound'; readonly message: string; readonly resource: ResourceKind; readonly name: string}
  | {readonly kind: 'alreadyExists'; readonly message: string; readonly resource: ResourceKind; readonly name: string}
  /** Well-formed, but not as things stand. `type` is a stable code. */
  | {readonly kind: 'precondition'; readonly message: string; readonly type: string; readonly subject: string}
  /** Older than what is known: a stale generation, leader or fence. Repeating it cannot help. */
  | {readonly kind: 'stale'; readonly message: string}
  | {readonly kind: 'denied'; readonly message: string}
  | {readonly kind: 'exhausted'; readonly message: string; readonly retryAfterMs: number}
  /** Not now; the same call may well succeed later. */
  | {readonly kind: 'unavailable'; readonly message: string; readonly retryAfterMs: number}
  | {readonly kind: 'timeout'; readonly message: string}
  | {readonly kind: 'cancelled'; readonly message: string}
  | {readonly kind: 'internal'; readonly message: string};

export type ResourceKind = 'job' | 'node' | 'dataset' | 'checkpoint' | 'artifact' | 'shard';

/** One field that is wrong; `path` such as `train.epochs`. */
export interface FieldProblem {
  readonly path: string;
  readonly message: string;
}

/** A problem on its way up to whoever answers the call. */
export class DomainError extends Error {
  override readonly name = 'DomainError';

  constructor(
    readonly problem: Problem,
    options?: ErrorOptions,
  ) {
    super(problem.message, options);
  }
}

/** The caller's mistake, field by field. */
export function invalid(...fields: FieldProblem[]): DomainError {
  const message = fields.map(field => (field.path === '' ? field.message : `${field.path}: ${field.message}`)).join('; ');
  return new DomainError({kind: 'invalid', message, fields});
}

/** `name` is the resource name, such as `jobs/defects-s-7f3a`. */
export function notFound(resource: ResourceKind, name: string): DomainError {
  return new DomainError({kind: 'notFound', message: `there is no ${name}`, resource, name});
}

export function alreadyExists(resource: ResourceKind, name: string, message = `${name} exists already`): DomainError {
  return new DomainError({kind: 'alreadyExists', message, resource, name});
}

export function precondition(type: string, subject: string, message: string): DomainError {
  return new DomainError({kind: 'precondition', message, type, subject});
}

export function stale(message: string): DomainError {
  return new DomainError({kind: 'stale', message});
}

export function unavailable(message: string, options?: ErrorOptions & {retryAfterMs?: number}): DomainError {
  return new DomainError({kind: 'unavailable', message, retryAfterMs: options?.retryAfterMs ?? 1000}, options);
}

export function exhausted(message: string, retryAfterMs: number): DomainError {
  return new DomainError({kind: 'exhausted', message, retryAfterMs});
}

/** Whether what failed may well succeed later: the other side is away, or cannot do it now. */
export function isUnavailable(error: unknown): boolean {
  return error instanceof DomainError && error.problem.kind === 'unavailable';
}

const STATUS_OF: Readonly<Record<Problem['kind'], Status>> = {
  invalid: Status.INVALID_ARGUMENT,
  notFound: Status.NOT_FOUND,
  alreadyExists: Status.ALREADY_EXISTS,
  precondition: Status.FAILED_PRECONDITION,
  stale: Status.ABORTED,
  denied: Status.PERMISSION_DENIED,
  exhausted: Status.RESOURCE_EXHAUSTED,
  unavailable: Status.UNAVAILABLE,
  timeout: Status.DEADLINE_EXCEEDED,
  cancelled: Status.CANCELLED,
  internal: Status.INTERNAL,
};

/** The gRPC status that tells a problem, details included. */
export function toStatusError(problem: Problem): ServerError {
  return new RichServerError(STATUS_OF[problem.kind], problem.message, detailsOf(problem));
}

function detailsOf(problem: Problem): RichServerError['extra'] {
  switch (problem.kind) {
    case 'invalid':
      return [BadRequest.fromPartial({fieldViolations: problem.fields.map(({path, message}) => ({field: path, description: message}))})];
    case 'notFound':
    case 'alreadyExists':
      return [
        ResourceInfo.fromPartial({
          resourceType: `tenfold.v1/${problem.resource}`,
          resourceName: problem.name,
          description: problem.message,
        }),
      ];
    case 'precondition':
      return [
        PreconditionFailure.fromPartial({
          violations: [{type: problem.type, subject: problem.subject, description: problem.message}],
        }),
      ];
    case 'exhausted':
      return [QuotaFailure.fromPartial({violations: [{subject: 'caller', description: problem.message}]}), retryInfo(problem.retryAfterMs)];
    case 'unavailable':
      return [retryInfo(problem.retryAfterMs)];
    default:
      return [];
  }
}

function retryInfo(delayMs: number): RetryInfo {
  const seconds = Math.floor(delayMs / 1000);
  return RetryInfo.fromPartial({retryDelay: {seconds, nanos: Math.round((delayMs - seconds * 1000) * 1e6)}});
}

/** The problem behind whatever a gRPC client call threw; what is not a gRPC error is a problem of our own. */
export function problemOf(error: unknown): Problem {
  if (error instanceof DomainError) return error.problem;
  if (!(error instanceof ClientError)) return {kind: 'internal', message: error instanceof Error ? error.message : String(error)};
  const details = error instanceof RichClientError ? error.extra : [];
  const message = error.details;
  switch (error.code) {
    case Status.INVALID_ARGUMENT:
    case Status.OUT_OF_RANGE:
      return {kind: 'invalid', message, fields: fieldsOf(details)};
    case Status.NOT_FOUND:
      return {kind: 'notFound', message, ...resourceOf(details)};
    case Status.ALREADY_EXISTS:
      return {kind: 'alreadyExists', message, ...resourceOf(details)};
    case Status.FAILED_PRECONDITION:
      return {kind: 'precondition', message, ...violationOf(details)};
    case Status.ABORTED:
      return {kind: 'stale', message};
    case Status.PERMISSION_DENIED:
    case Status.UNAUTHENTICATED:
      return {kind: 'denied', message};
    case Status.RESOURCE_EXHAUSTED:
      return {kind: 'exhausted', message, retryAfterMs: retryAfterOf(details)};
    case Status.UNAVAILABLE:
      return {kind: 'unavailable', message, retryAfterMs: retryAfterOf(details)};
    case Status.DEADLINE_EXCEEDED:
      return {kind: 'timeout', message};
    case Status.CANCELLED:
      return {kind: 'cancelled', message};
    default:
      return {kind: 'internal', message};
  }
}

/** Whether somebody answered with this status: our own UNAVAILABLE says when to come again, and that of a broken connection does not. */
export function wasAnswered(error: unknown): boolean {
  return error instanceof RichClientError && error.extra.some(({$type}) => $type === 'google.rpc.RetryInfo');
}

type Details = RichClientError['extra'];

function fieldsOf(details: Details): FieldProblem[] {
  return details.flatMap(detail =>
    detail.$type === 'google.rpc.BadRequest'
      ? detail.fieldViolations.map(({field, description}) => ({path: field, message: description}))
      : [],
  );
}

function resourceOf(details: Details): {resource: ResourceKind; name: string} {
  for (const detail of details) {
    if (detail.$type === 'google.rpc.ResourceInfo')
      return {resource: detail.resourceType.replace('tenfold.v1/', '') as ResourceKind, name: detail.resourceName};
  }
  return {resource: 'job', name: ''};
}

function violationOf(details: Details): {type: string; subject: string} {
  for (const detail of details) {
    const violation = detail.$type === 'google.rpc.PreconditionFailure' ? detail.violations[0] : undefined;
    if (violation !== undefined) return {type: violation.type, subject: violation.subject};
  }
  return {type: '', subject: ''};
}

const DEFAULT_RETRY_MS = 1000;

function retryAfterOf(details: Details): number {
  for (const detail of details) {
    if (detail.$type === 'google.rpc.RetryInfo' && detail.retryDelay !== undefined)
      return detail.retryDelay.seconds * 1000 + detail.retryDelay.nanos / 1e6;
  }
  return DEFAULT_RETRY_MS;
}
