/** How failures of the cluster read on a Redis connection (docs/guide/kv.md lists them). */
import { isClustorError } from 'clustor';

import { KvFormatError } from './kv-commands.ts';
import type { Reply } from './redis-protocol.ts';

/**
 * The error reply for a failed append or read.
 *
 * The first word tells a program what to do: `UNKNOWNOUTCOME` (the command may have taken effect or may still do so),
 * `COMMITTED` (it is in the log for good), else the code itself without its prefix, for a command that had and will have no effect.
 * Reads never have an effect, so their outcome is always known.
 */
export function replyOfFailure(error: unknown, kind: 'read' | 'write'): Reply & { kind: 'error' } {
  const isCoded = isClustorError(error);
  const code = isCoded ? error.code : 'CLUSTOR_INTERNAL';
  const message = error instanceof Error ? error.message : String(error);
  const outcome = outcomeOf(error, kind);
  return {
    kind: 'error',
    text: `${wordOf(code, outcome)} ${code}: ${message} (outcome: ${outcome})`,
  };
}

/** The error reply for a command that is committed but whose result did not come back. */
export const missingResult: Reply = {
  kind: 'error',
  text: 'COMMITTED the command took effect, but its result is not known (outcome: committed)',
};

function outcomeOf(error: unknown, kind: 'read' | 'write'): 'surelyNot' | 'committed' | 'unknown' {
  if (kind === 'read') return 'surelyNot';
  if (isClustorError(error)) return error.outcome;
  return error instanceof KvFormatError ? 'committed' : 'unknown';
}

function wordOf(code: string, outcome: 'surelyNot' | 'committed' | 'unknown'): string {
  switch (outcome) {
    case 'unknown':
      return 'UNKNOWNOUTCOME';
    case 'committed':
      return 'COMMITTED';
    case 'surelyNot':
      return code.replace(/^CLUSTOR_/, '').replaceAll('_', '');
  }
}
