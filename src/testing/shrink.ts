/** Makes a failing run small: the fewest faults of its plan with which it still fails. */

/** Runs that are spent on one search. */
const runsMax = 60;

/**
 * Positions of faults none of which can be left out, in order; found by leaving out ever smaller parts of the plan.
 *
 * A run with other faults is another run: the search gives up a part whose absence makes the failure go away, whatever the
 * reason. It ends after a bounded number of runs with the best that it has.
 */
export async function fewestFaults(
  planned: number,
  fails: (kept: readonly number[]) => Promise<boolean>,
): Promise<readonly number[]> {
  let kept: readonly number[] = Array.from({ length: planned }, (_, at) => at);
  let runs = 0;
  for (let part = kept.length; part >= 1; part = part === 1 ? 0 : (part + 1) >> 1) {
    for (let from = 0; from < kept.length;) {
      if (runs++ >= runsMax) return kept;
      const fewer = [...kept.slice(0, from), ...kept.slice(from + part)];
      if (await fails(fewer)) kept = fewer;
      else from += part;
    }
  }
  return kept;
}
