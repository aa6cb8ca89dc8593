/**
 * What becomes of requests: how many may be under way, what a refusal means for the next attempt, and what may be said of
 * the effect when the client gives up.
 */
import { errorCodes, type ErrorCode, type Outcome } from '../base/error-codes.ts';
import { ClustorError } from '../base/errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { Observer } from '../ports/observer.ts';
import type { TurnScheduler } from '../runtime/turn.ts';
import type { ClientLimits } from './client-options.ts';
import type { LeaderFinder } from './leader-finder.ts';

/** What the requests of all partitions share. */
export interface RequestContext {
  readonly clock: Clock;
  readonly turn: TurnScheduler;
  readonly observer: Observer;
  readonly limits: ClientLimits;
  readonly finder: LeaderFinder;
  readonly budget: RequestBudget;
  /** 16 random bytes that name this client in idempotency keys. */
  readonly clientId: Uint8Array;
}

/** Milliseconds before a refusal that is nobody's fault is tried again. */
export const pauseMs = 50;
/** Milliseconds without any answer after which a leader is doubted. */
export const stallMsMax = 300;

/** What a refusal means for the next attempt. */
export type Reaction =
  /** The node does not lead, or lost what it had: find who leads. */
  | 'findLeader'
  /** The node named the leader. */
  | 'followName'
  /** The same node may take it a little later. */
  | 'pause'
  /** The key needs the commit index in the details. */
  | 'nameIndex'
  /** The key may have been evicted before its first use. */
  | 'renewKey'
  /** Trying again would not help, or would add to an overload. */
  | 'giveUp';

/** The reaction to a code. */
export function reactionTo(code: ErrorCode): Reaction {
  switch (code) {
    case 'CLUSTOR_NOT_LEADER':
      return 'followName';
    case 'CLUSTOR_NO_LEADER':
    case 'CLUSTOR_LEADERSHIP_LOST':
    case 'CLUSTOR_ENTRY_SUPERSEDED':
    case 'CLUSTOR_READ_UNCONFIRMED':
    case 'CLUSTOR_STORAGE_FAILED':
    case 'CLUSTOR_CLOSED':
    case 'CLUSTOR_UNKNOWN_PARTITION':
    case 'CLUSTOR_NOT_A_MEMBER':
      return 'findLeader';
    case 'CLUSTOR_IDEMPOTENCY_INDEX_NEEDED':
      return 'nameIndex';
    case 'CLUSTOR_IDEMPOTENCY_HORIZON_PASSED':
      return 'renewKey';
    case 'CLUSTOR_OVERLOADED':
    case 'CLUSTOR_DISK_HARD':
      return 'giveUp';
    default:
      return errorCodes[code].retryable ? 'pause' : 'giveUp';
  }
}

/** The number that an answer carries beside its code, as {@link WireSession} hands it on. */
export function detailOf(error: ClustorError): number {
  const { detail, leaderNodeId, commitIndex } = error.details;
  for (const value of [detail, leaderNodeId, commitIndex])
    if (typeof value === 'number') return value;
  return 0;
}

/** What is known after a further attempt failed with `failure`. */
export function worseOutcome(known: Outcome, failure: Outcome): Outcome {
  if (known === 'committed' || failure === 'committed') return 'committed';
  return known === 'unknown' || failure === 'unknown' ? 'unknown' : 'surelyNot';
}

/** The error with the outcome that all attempts together leave. */
export function withOutcome(error: ClustorError, outcome: Outcome): ClustorError {
  if (error.outcome === outcome) return error;
  return new ClustorError(error.code, error.message, {
    outcome,
    details: error.details,
    cause: error.cause,
  });
}

/** Bounds of what is under way, and the earliest moment at which something may be too late. */
export class RequestBudget {
  readonly #limits: ClientLimits;
  #count = 0;
  #bytes = 0;
  #earliestDeadlineMs = Number.POSITIVE_INFINITY;

  constructor(limits: ClientLimits) {
    this.#limits = limits;
  }

  /** Requests that wait or are under way. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of them. */
  get bytes(): number {
    return this.#bytes;
  }

  /** No request's deadline is earlier. */
  get earliestDeadlineMs(): number {
    return this.#earliestDeadlineMs;
  }

  /** Takes a request in, or says which bound it would break. */
  admit(bytes: number, deadlineAtMs: number): ClustorError | undefined {
    const { requestsMax, requestBytesMax, entryBytesMax } = this.#limits;
    if (bytes > entryBytesMax)
      return new ClustorError(
        'CLUSTOR_ENTRY_TOO_LARGE',
        `${bytes} bytes exceed the maximum of ${entryBytesMax}`,
      );
    if (this.#count >= requestsMax)
      return new ClustorError(
        'CLUSTOR_OVERLOADED',
        `${requestsMax} requests of this client are under way`,
      );
    if (this.#bytes + bytes > requestBytesMax && this.#count > 0) {
      return new ClustorError(
        'CLUSTOR_OVERLOADED',
        `${requestBytesMax} bytes of requests of this client are under way`,
      );
    }
    this.#count++;
    this.#bytes += bytes;
    if (deadlineAtMs < this.#earliestDeadlineMs) this.#earliestDeadlineMs = deadlineAtMs;
    return undefined;
  }

  /** A request is settled. */
  release(bytes: number): void {
    this.#count--;
    this.#bytes -= bytes;
  }

  /** All deadlines were looked at; `earliestMs` is the first of what is left. */
  deadlinesSwept(earliestMs: number): void {
    this.#earliestDeadlineMs = earliestMs;
  }
}
