/** How long recent chains took. */

const samplesMax = 512;

/** A ring of durations. */
export class FlushTimes {
  readonly #ms = new Float64Array(samplesMax);
  #count = 0;

  /** Takes in one duration. */
  add(ms: number): void {
    this.#ms[this.#count % samplesMax] = ms;
    this.#count++;
  }

  /** Newest, median and 99th percentile of the last 512, in milliseconds. */
  summary(): {
    readonly flushMsLast: number;
    readonly flushMsP50: number;
    readonly flushMsP99: number;
  } {
    const kept = Math.min(this.#count, samplesMax);
    if (kept === 0) return { flushMsLast: 0, flushMsP50: 0, flushMsP99: 0 };
    const sorted = this.#ms.slice(0, kept).sort();
    const at = (share: number): number => sorted[Math.min(kept - 1, Math.floor(share * kept))] ?? 0;
    return {
      flushMsLast: this.#ms[(this.#count - 1) % samplesMax] ?? 0,
      flushMsP50: at(0.5),
      flushMsP99: at(0.99),
    };
  }
}
