/** The one error type of the package; programs tell errors apart by `code`, never by message. */
import { errorCodes, type ErrorCode, type Outcome } from './error-codes.ts';

/** Facts that go with an error, ready for JSON. @public */
export type ErrorDetails = Readonly<Record<string, string | number | boolean>>;

/** Options of {@link ClustorError}. @public */
export interface ClustorErrorOptions {
  /** The error that led to this one. */
  readonly cause?: unknown;
  /** Facts for programs: the leader's node id, the commit index, a maximum. */
  readonly details?: ErrorDetails;
  /** Overrides the table's outcome where the place knows better. */
  readonly outcome?: Outcome;
}

/** An expected failure: typed, coded, with what is known about the request's effect. @public */
export class ClustorError extends Error {
  override readonly name: string = 'ClustorError';
  /** Stable code, a row of the error table. */
  readonly code: ErrorCode;
  /** What is known about the effect of the request that failed. */
  readonly outcome: Outcome;
  /** Facts for programs. */
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, options: ClustorErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.outcome = options.outcome ?? errorCodes[code].outcome;
    this.details = options.details ?? {};
  }

  /** Whether the same request may succeed later or elsewhere. */
  get retryable(): boolean {
    return errorCodes[this.code].retryable;
  }

  /** What to do next. */
  get advice(): string {
    return errorCodes[this.code].advice;
  }
}

/** Whether `error` is a {@link ClustorError}, of the given code if one is named. @public */
export function isClustorError(error: unknown, code?: ErrorCode): error is ClustorError {
  return error instanceof ClustorError && (code === undefined || error.code === code);
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
