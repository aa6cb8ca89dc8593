/** Exit codes of every command; `docs/reference/cli.md` lists them. */
import { codedError } from './coded-error.ts';

/** The exit codes. */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  /** Surely not done; the same command may succeed later. */
  refused: 3,
  /** Nobody knows whether it was done. */
  unknown: 4,
  /** Another process uses the directory. */
  inUse: 5,
} as const;

/** The exit code for an error: what is known of its outcome comes first. */
export function exitCodeOf(error: unknown): number {
  const { code, outcome, retryable } = codedError(error);
  if (outcome === 'unknown') return exitCodes.unknown;
  if (code === 'CLUSTOR_INVALID_ARGUMENT') return exitCodes.usage;
  if (code === 'CLUSTOR_DATA_DIRECTORY_LOCKED') return exitCodes.inUse;
  return retryable && outcome === 'surelyNot' ? exitCodes.refused : exitCodes.failed;
}
