/** The exit code of a command that failed follows what is known of its effect. */
import { expect, test } from 'vitest';

import type { ErrorCode, Outcome } from '../../src/base/error-codes.ts';
import { ClustorError } from '../../src/base/errors.ts';
import { exitCodeOf } from '../../src/cli/exit-codes.ts';

test.each([
  ['CLUSTOR_INVALID_ARGUMENT', undefined, 2],
  ['CLUSTOR_DATA_DIRECTORY_LOCKED', undefined, 5],
  ['CLUSTOR_NO_LEADER', undefined, 3],
  ['CLUSTOR_NO_LEADER', 'unknown', 4],
  ['CLUSTOR_INVALID_ARGUMENT', 'unknown', 4],
  ['CLUSTOR_DEADLINE_EXCEEDED', 'surelyNot', 3],
  ['CLUSTOR_DEADLINE_EXCEEDED', undefined, 4],
  ['CLUSTOR_APPLY_RETRYABLE', undefined, 1],
  ['CLUSTOR_PERMISSION_DENIED', undefined, 1],
] satisfies readonly (readonly [ErrorCode, Outcome | undefined, number])[])(
  '%s with the outcome %s',
  (code, outcome, exitCode) => {
    const error = new ClustorError(code, 'why', outcome === undefined ? {} : { outcome });

    expect(exitCodeOf(error)).toBe(exitCode);
  },
);
