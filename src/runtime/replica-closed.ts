/** What is said by a replica that is closed, or was replaced. */
import type { Outcome } from '../base/error-codes.ts';
import { ClustorError } from '../base/errors.ts';

/** `CLUSTOR_CLOSED`, with what is known of the caller's request. */
export function replicaClosed(outcome: Outcome): ClustorError {
  return new ClustorError('CLUSTOR_CLOSED', 'this replica is closed', { outcome });
}
