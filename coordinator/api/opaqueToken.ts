import {createHash} from 'node:crypto';
import {z} from 'zod';
import {invalid} from '../../shared/errors.js';
import {MAX_MESSAGE_BYTES} from '../../shared/grpc.js';

/**
 * Tokens that clients carry but do not read: a small value with a checksum over what it is for, so that one that was changed, cut, or
 * taken from another call is refused rather than misunderstood. They hold nothing secret, and survive restarts and changes of leader.
 */
export class OpaqueToken<T> {
  /** `field` is the request's field, as errors name it. `purpose` is part of the checksum. */
  constructor(
    private readonly field: string,
    private readonly purpose: string,
    private readonly schema: z.ZodType<T>,
  ) {}

  encode(value: T, subject: string): string {
    const body = JSON.stringify(value);
    return Buffer.from(`${this.checksum(body, subject)}${body}`).toString('base64url');
  }

  /** Undefined for an empty token. Throws INVALID_ARGUMENT for one that was not made by `encode` for the same subject. */
  decode(token: string, subject: string): T | undefined {
    if (token === '') return undefined;
    const decoded = Buffer.from(token, 'base64url').toString();
    const body = decoded.slice(CHECKSUM_LENGTH);
    const isOurs = token.length <= 1024 && decoded.slice(0, CHECKSUM_LENGTH) === this.checksum(body, subject);
    const parsed = isOurs ? this.schema.safeParse(JSON.parse(body)) : undefined;
    if (parsed?.success !== true)
      throw invalid({path: this.field, message: 'is not one that this call gave out; leave it empty to begin anew'});
    return parsed.data;
  }

  private checksum(body: string, subject: string): string {
    return createHash('sha256').update(`${this.purpose}\n${subject}\n${body}`).digest('base64url').slice(0, CHECKSUM_LENGTH);
  }
}

const CHECKSUM_LENGTH = 12;

const pageSchema = z.object({after: z.string()});

/** A page of `items`, which are in the order of `keyOf`, after the one that the token names; no more than a message holds. */
export function pageOf<T>(
  items: readonly T[],
  request: {readonly pageSize: number; readonly pageToken: string},
  paging: {
    readonly purpose: string;
    readonly subject: string;
    readonly isAfter: (item: T, key: string) => boolean;
    readonly keyOf: (item: T) => string;
    /** About how large an item is in the answer. */
    readonly bytesOf: (item: T) => number;
  },
): {page: readonly T[]; nextPageToken: string} {
  if (request.pageSize < 0) throw invalid({path: 'page_size', message: 'must not be negative'});
  const token = new OpaqueToken('page_token', paging.purpose, pageSchema);
  const after = token.decode(request.pageToken, paging.subject)?.after;
  const size = Math.min(request.pageSize || DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE);
  const rest = after === undefined ? items : items.filter(item => paging.isAfter(item, after));
  const page = fitting(rest.slice(0, size), paging.bytesOf);
  const last = page.at(-1);
  const nextPageToken = rest.length > page.length && last !== undefined ? token.encode({after: paging.keyOf(last)}, paging.subject) : '';
  return {page, nextPageToken};
}

const DEFAULT_PAGE_SIZE = 100;
const MAX_PAGE_SIZE = 1000;
/** Far from what a message may have: sizes are estimates. */
const MAX_PAGE_BYTES = MAX_MESSAGE_BYTES / 4;

/** The first items, at least one, that are not too large together. */
function fitting<T>(items: readonly T[], bytesOf: (item: T) => number): readonly T[] {
  let bytes = 0;
  const end = items.findIndex((item, i) => {
    bytes += bytesOf(item);
    return i > 0 && bytes > MAX_PAGE_BYTES;
  });
  return end === -1 ? items : items.slice(0, end);
}
