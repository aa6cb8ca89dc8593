/**
 * How much the background scrub reads when (specification §5.4): a pass every six hours, at least 1 % of the bytes, and as
 * much as it takes to have read every byte within seven days; behind each slice it rests for so long that it takes no more
 * than 0.75 % of the node's time, reads included. The clause allows 2 % of the node's CPU and of its reads; a busy node reads little
 * beside what the scrub reads, and at 0.75 % of the time that, too, stays below.
 */

/** Between two passes, milliseconds. */
export const scrubIntervalMs: number = 6 * 60 * 60 * 1000;
/** Every byte is read again within this time, milliseconds. */
export const scrubCoverageMs: number = 7 * 24 * 60 * 60 * 1000;
/** Share of the bytes that a pass reads at the least. */
export const scrubShareMin = 0.01;
/** Share of time that the scrub may take. */
export const scrubTimeShareMax = 0.0075;

/** Something that is scrubbed as a whole. */
export interface ScrubUnit {
  /** Names it over restarts. */
  readonly name: string;
  readonly bytes: number;
  /** When it was last found whole, or first seen; milliseconds of the wall clock. */
  readonly verifiedMs: number;
}

/**
 * The units of a pass, longest unread first, equal ones in their order: the share that is due anyhow, those that would become
 * too old before the next pass, and so much of the rest that the passes until the oldest is too old are all alike. A clock that was set back makes
 * a unit as fresh as now, never fresher.
 */
export function unitsOfPass(units: readonly ScrubUnit[], nowMs: number): readonly ScrubUnit[] {
  const aged = units
    .map((unit) => ({ unit, ageMs: Math.max(0, nowMs - unit.verifiedMs) }))
    .sort((left, right) => right.ageMs - left.ageMs);
  const totalBytes = units.reduce((sum, { bytes }) => sum + bytes, 0);
  let wantedBytes = Math.ceil(totalBytes * scrubShareMin);
  let reachBytes = 0;
  for (const { unit, ageMs } of aged) {
    reachBytes += unit.bytes;
    // Passes left before this unit, and all that are older, must have been read; the next one counts as late.
    const passesLeft = Math.max(1, Math.floor((scrubCoverageMs - ageMs) / scrubIntervalMs));
    wantedBytes = Math.max(wantedBytes, Math.ceil(reachBytes / passesLeft));
  }
  const pass: ScrubUnit[] = [];
  let bytes = 0;
  for (const { unit } of aged) {
    if (bytes >= wantedBytes) break;
    pass.push(unit);
    bytes += unit.bytes;
  }
  return pass;
}

/** How long to rest after work of that length, so that no more than the allowed share of time is taken. */
export function restMsAfter(workMs: number): number {
  return Math.ceil(Math.max(0, workMs) * (1 / scrubTimeShareMax - 1));
}
