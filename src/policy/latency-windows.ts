/**
 * How long a device's durable chains took, over the last ten seconds, the last minute and the last ten minutes.
 *
 * Durations are counted in buckets, an eighth of a power of two wide, and the counts in slots of ten seconds: taking one in
 * costs the same however many there are. A percentile is the upper edge of its bucket: at most 9 % too high, never too low.
 */

/** What the chains of a window took, milliseconds. @public */
export interface LatencyWindow {
  /** Length of the window; its oldest ten seconds count whole. */
  readonly windowMs: number;
  readonly chains: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

interface Slot {
  /** Its place in time: whole slots since the clock's zero. */
  number: number;
  chains: number;
  maxMs: number;
  readonly buckets: Uint32Array;
}

/** The windows, milliseconds. */
export const latencyWindowsMs: readonly number[] = [10_000, 60_000, 600_000];

const slotMs = 10_000;
const slotsMax = 61;
const bucketsPerDoubling = 8;
/** Upper edge of the first bucket. */
const firstEdgeMs = 1 / 64;
/** The last bucket ends at some nine minutes and takes everything beyond. */
const bucketCount = 200;

/** See the file comment. */
export class LatencyWindows {
  /** By number modulo the count; made as they are needed, so an idle node has few. */
  readonly #slots: (Slot | undefined)[] = Array.from({ length: slotsMax }, () => undefined);

  /** Takes a duration in. */
  add(ms: number, nowMs: number): void {
    const slot = this.#slotAt(Math.floor(nowMs / slotMs));
    const at = bucketOf(ms);
    slot.chains++;
    slot.maxMs = Math.max(slot.maxMs, ms);
    slot.buckets[at] = (slot.buckets[at] ?? 0) + 1;
  }

  /** What each window holds, the shortest first. */
  summary(nowMs: number): readonly LatencyWindow[] {
    return latencyWindowsMs.map((windowMs) => this.#window(windowMs, Math.floor(nowMs / slotMs)));
  }

  #window(windowMs: number, newest: number): LatencyWindow {
    const oldest = newest - windowMs / slotMs;
    const within = this.#slots.filter(
      (slot): slot is Slot => slot !== undefined && slot.number >= oldest && slot.number <= newest,
    );
    let chains = 0;
    let maxMs = 0;
    const buckets = new Float64Array(bucketCount);
    for (const slot of within) {
      chains += slot.chains;
      maxMs = Math.max(maxMs, slot.maxMs);
      for (let at = 0; at < bucketCount; at++)
        buckets[at] = (buckets[at] ?? 0) + (slot.buckets[at] ?? 0);
    }
    const percentile = (share: number): number => {
      let left = Math.ceil(share * chains);
      if (left === 0) return 0;
      for (let at = 0; at < bucketCount; at++) {
        left -= buckets[at] ?? 0;
        if (left <= 0) return Math.min(maxMs, edgeOf(at));
      }
      return maxMs;
    };
    return { windowMs, chains, p50Ms: percentile(0.5), p99Ms: percentile(0.99), maxMs };
  }

  #slotAt(number: number): Slot {
    const at = ((number % slotsMax) + slotsMax) % slotsMax;
    const known = this.#slots[at];
    if (known === undefined) {
      const fresh = { number, chains: 0, maxMs: 0, buckets: new Uint32Array(bucketCount) };
      this.#slots[at] = fresh;
      return fresh;
    }
    if (known.number !== number) {
      known.number = number;
      known.chains = 0;
      known.maxMs = 0;
      known.buckets.fill(0);
    }
    return known;
  }
}

function bucketOf(ms: number): number {
  if (ms <= firstEdgeMs) return 0;
  const at = Math.ceil(Math.log2(ms / firstEdgeMs) * bucketsPerDoubling);
  return Math.min(at, bucketCount - 1);
}

/** Upper edge of a bucket; the last has none. */
function edgeOf(at: number): number {
  if (at === bucketCount - 1) return Number.POSITIVE_INFINITY;
  return firstEdgeMs * 2 ** (at / bucketsPerDoubling);
}
