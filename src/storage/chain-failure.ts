/** What a failed chain of writes and syncs means. */
import { ClustorError } from '../base/errors.ts';
import type { IoFailure, IoStep } from '../ports/file-system.ts';

/** The error that poisons a store (KER-10). */
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
