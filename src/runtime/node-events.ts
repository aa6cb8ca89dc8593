/** Events of a whole node. */
import type { ClustorError } from '../base/errors.ts';
import type { ObservedEvent } from '../ports/observer.ts';

/** The node stops because of an error; `cause` is what was thrown. */
export function nodeFailedEvent({ code, message }: ClustorError, cause: unknown): ObservedEvent {
  const stack = cause instanceof Error ? cause.stack : undefined;
  return { level: 'error', kind: 'nodeFailed', fields: { code, message, stack } };
}
