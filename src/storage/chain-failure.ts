/** How a store that cannot go on says so. */
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import type { IoFailure, IoStep } from '../ports/file-system.ts';
import { isDiskFull } from './full-disk.ts';

/** The error of a store whose chain failed (KER-10). */
export function chainFailure(steps: readonly IoStep[], failure: IoFailure): ClustorError {
  const kind = steps[failure.stepIndex]?.kind ?? 'step';
  return new ClustorError(
    'CLUSTOR_STORAGE_FAILED',
    `a ${kind} of the journal or ledger failed with ${failure.systemCode}; nothing more is written or acknowledged by this process`,
    {
      details: { systemCode: failure.systemCode },
    },
  );
}

/** The error of a store whose ledger could not begin a new generation. */
export function rotationFailure(cause: unknown): ClustorError {
  return new ClustorError(
    'CLUSTOR_STORAGE_FAILED',
    `rotating the ledger failed: ${messageOf(cause)}`,
    {
      cause,
      details: {
        ...(isDiskFull(cause) ? { systemCode: 'ENOSPC' } : {}),
        ...(isClustorError(cause) ? cause.details : {}),
      },
    },
  );
}

/** The error of a store whose files could not be synced before they were written in another way (KER-10). */
export function switchFailure(cause: unknown): ClustorError {
  return new ClustorError(
    'CLUSTOR_STORAGE_FAILED',
    `changing the mode of the writer failed: ${messageOf(cause)}; nothing more is written or acknowledged by this process`,
    { cause, details: isClustorError(cause) ? cause.details : {} },
  );
}

/** The error of what a closing store does not do any more. */
export function closedError(): ClustorError {
  return new ClustorError('CLUSTOR_CLOSED', 'the node is being closed', { outcome: 'surelyNot' });
}
