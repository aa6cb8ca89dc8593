/**
 * When the keys of a data directory are made anew by themselves (specification §8.2).
 *
 * The age of keys is a matter of the wall clock, for it outlives processes; and that clock may be wrong. So the schedule also
 * counts how long this process has known the newest keys, by the monotonic clock, and takes whichever says first that it is
 * time. A clock that jumps ahead and comes back brings no change, because keys must be due for a while before they are
 * changed; one that goes on jumping brings one change in a seventh of the period; keys that were made in the future, by a
 * clock that was ahead then, are made again once, or they would never grow old.
 */
import type { NodeId } from '../base/ids.ts';

const hourMs = 60 * 60 * 1000;
const dayMs = 24 * hourMs;

/** Age at which keys are made anew, milliseconds, unless told otherwise. */
export const rotateKeysAfterMsDefault: number = 7 * dayMs;
/** The least that may be asked for. */
export const rotateKeysAfterMsMin: number = hourMs;
/** Keys that were made further ahead than this were made by a clock that was wrong. */
const aheadMsMax = dayMs;
/** Keys are due for so long before they are changed, and up to as much again times {@link graceSpread} by node. */
const graceMs = 10 * 60 * 1000;
const graceSpread = 5;
/** Share of the period by which nodes are apart, and in which at most one change falls. */
const share = 1 / 7;

/** What is known of the newest keys. */
export interface KeyAge {
  /** Now, and when they were made, by the wall clock. */
  readonly wallMs: number;
  readonly createdMs: number;
  /** For how long this process has known them, by the monotonic clock. */
  readonly knownMs: number;
  /** Since this process last changed keys by schedule; infinite if it never did. */
  readonly sinceChangeMs: number;
}

/** What a node's schedule is. */
export interface KeySchedulePlan {
  readonly nodeId: NodeId;
  readonly rotateAfterMs: number;
}

/** Milliseconds until keys are due by what the clocks say now; 0 when they are. */
export function msUntilKeysDue(age: KeyAge, plan: KeySchedulePlan): number {
  const { rotateAfterMs, nodeId } = plan;
  const wholeMs = rotateAfterMs + rotateAfterMs * share * spreadOf(nodeId);
  const ageMs = age.wallMs - age.createdMs;
  const isFromTheFuture = ageMs < -aheadMsMax;
  const byWallMs = isFromTheFuture ? 0 : wholeMs - ageMs;
  const untilMs = Math.min(byWallMs, wholeMs - age.knownMs);
  const gapMs = rotateAfterMs * share - age.sinceChangeMs;
  return Math.max(0, untilMs, gapMs);
}

/** Milliseconds for which keys of this node must be due before they are changed. */
export function keysDueMsMin(nodeId: NodeId): number {
  return graceMs * (1 + graceSpread * spreadOf(nodeId));
}

/** A place between 0 and 1 that is far from those of the neighbouring ids (multiples of the golden ratio). */
function spreadOf(nodeId: NodeId): number {
  return (nodeId * 0.618_033_988_749_895) % 1;
}
