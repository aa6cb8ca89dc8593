/** What is answered for an entry whose answer is not simply the machine's. */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex } from '../base/ids.ts';
import type { IdempotencyRow } from './idempotency-table.ts';

/** Milliseconds before an entry is tried again: the machine asked for it, or was fatal, or the disk, which is not hurried, refused. */
export const applyRetryMs = { machine: 20, fatal: 1_000, disk: 1_000 } as const;

/** Bytes that the answer to one entry may have: so many pass every connection. */
export const resultBytesMax: number = 1024 * 1024;

/** What a machine written in plain JavaScript answers may be anything. */
export function isAnswer(result: unknown): boolean {
  return result === undefined || result instanceof Uint8Array;
}

/** The answer to a request that took effect before. */
export function answerOfRow(
  row: IdempotencyRow,
): { readonly row: IdempotencyRow } | { readonly error: ClustorError } {
  return row.isResultTooLarge ? { error: resultError(row.index) } : { row };
}

/** The machine's answer is larger than what passes a connection. */
export function resultError(index: LogIndex): ClustorError {
  return new ClustorError(
    'CLUSTOR_RESULT_TOO_LARGE',
    `the state machine's answer to entry ${index} has more than ${resultBytesMax} bytes`,
  );
}

/** Why a keyed entry has no effect. */
export function keyError(kind: 'reuse' | 'horizonPassed', index: LogIndex): ClustorError {
  if (kind === 'reuse')
    return new ClustorError(
      'CLUSTOR_IDEMPOTENCY_KEY_REUSE',
      `the key of entry ${index} was used for other bytes before`,
    );
  return new ClustorError(
    'CLUSTOR_IDEMPOTENCY_HORIZON_PASSED',
    `the key of entry ${index} is older than what this partition remembers`,
  );
}

/** Such an entry is never skipped: this version stops before it. */
export function unknownSystemError(index: LogIndex, id: number): ClustorError {
  return new ClustorError(
    'CLUSTOR_APPLY_FAULT',
    `entry ${index} is of a system kind (${id}) that this version does not know`,
  );
}
