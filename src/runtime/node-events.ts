/** Events of a whole node. */
import type { ClustorError } from '../base/errors.ts';
import type { ObservedEvent } from '../ports/observer.ts';
import type { SegmentDamage } from '../storage/log-store-types.ts';

/** The node stops because of an error; `cause` is what was thrown. */
export function nodeFailedEvent({ code, message }: ClustorError, cause: unknown): ObservedEvent {
  const stack = cause instanceof Error ? cause.stack : undefined;
  return { level: 'error', kind: 'nodeFailed', fields: { code, message, stack } };
}

/** The background scrub found damage (specification §5.4). */
export function damageFoundEvent({ segmentSeq, reasons, ranges }: SegmentDamage): ObservedEvent {
  const lost = ranges.map(
    ({ partitionId, firstIndex, lastIndex }) => `${partitionId} ${firstIndex}–${lastIndex}`,
  );
  const fields = { segmentSeq, reasons: reasons.join('; '), ranges: lost.join('; ') };
  return { level: 'error', kind: 'damageFound', fields };
}
