/**
 * How long a word takes to another node and back, and when that is too long for ordinary elections (specification ELE-7).
 *
 * The average is exponential, so that one late answer (a collection of garbage, an echo that waited for a disk) decides
 * nothing: a sample counts at most four times the threshold, and three averages in a row must lie above it.
 */

/** What is known of one link; plain data, mutated by {@link noteRoundTrip}. */
export interface LinkRtt {
  /** Milliseconds; `undefined` before the first sample. */
  averageMs: number | undefined;
  /** Samples in a row after which the average lay above the threshold. */
  confirmations: number;
}

/** Weight of a new sample. */
const sampleWeight = 1 / 8;
/** A sample counts at most so many thresholds: one alone lifts no average above it. */
const sampleThresholdsMax = 4;
/** Averages in a row above the threshold. */
const confirmationsMin = 3;

/** A link of which nothing is known. */
export function freshLinkRtt(): LinkRtt {
  return { averageMs: undefined, confirmations: 0 };
}

/** Takes one round trip in. */
export function noteRoundTrip(rtt: LinkRtt, sampleMs: number, thresholdMs: number): void {
  const countedMs = Math.min(sampleMs, sampleThresholdsMax * thresholdMs);
  const { averageMs = 0 } = rtt;
  rtt.averageMs = averageMs + (countedMs - averageMs) * sampleWeight;
  rtt.confirmations =
    rtt.averageMs > thresholdMs ? Math.min(rtt.confirmations + 1, confirmationsMin) : 0;
}

/** Whether the way is long, and has been for long enough to be believed. */
export function isHighRtt(rtt: LinkRtt): boolean {
  return rtt.confirmations >= confirmationsMin;
}
