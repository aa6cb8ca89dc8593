/**
 * A log-linear histogram of latencies: 128 buckets per power of two of 1/16 µs, so that any percentile is
 * right within 0.8 %, recording is a few machine instructions and nothing is allocated per sample.
 */

const bucketsPerOctave = 128;
const octaveCount = 32;
const unitsPerMicrosecond = 16;

/** What is reported of a histogram, all in microseconds. */
export interface LatencySummary {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  readonly mean: number;
}

/** Counts latencies in microseconds. */
export class Histogram {
  readonly #buckets = new Float64Array(bucketsPerOctave * octaveCount);
  #count = 0;
  #sum = 0;
  #max = 0;

  /** How many samples were recorded. */
  get count(): number {
    return this.#count;
  }

  /** Records one latency. */
  record(microseconds: number): void {
    const scaled = Math.min(microseconds * unitsPerMicrosecond + 1, 0xffffffff) >>> 0;
    const octave = 31 - Math.clz32(scaled);
    const step = octave >= 7 ? scaled >>> (octave - 7) : scaled << (7 - octave);
    const bucket = octave * bucketsPerOctave + (step & (bucketsPerOctave - 1));
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    this.#count++;
    this.#sum += microseconds;
    if (microseconds > this.#max) this.#max = microseconds;
  }

  /** The latency that `share` (0 to 1) of the samples do not exceed; 0 without samples. */
  percentile(share: number): number {
    const wanted = Math.ceil(this.#count * share);
    let seen = 0;
    for (let bucket = 0; bucket < this.#buckets.length; bucket++) {
      seen += this.#buckets[bucket] ?? 0;
      if (seen < wanted || seen === 0) continue;
      const octave = Math.floor(bucket / bucketsPerOctave);
      const fraction = 1 + (bucket % bucketsPerOctave) / bucketsPerOctave;
      return Math.min((2 ** octave * fraction) / unitsPerMicrosecond, this.#max);
    }
    return this.#max;
  }

  /** The usual percentiles, rounded to a tenth of a microsecond. */
  summary(): LatencySummary {
    const round = (value: number): number => Math.round(value * 10) / 10;
    return {
      p50: round(this.percentile(0.5)),
      p99: round(this.percentile(0.99)),
      p999: round(this.percentile(0.999)),
      max: round(this.#max),
      mean: round(this.#count === 0 ? 0 : this.#sum / this.#count),
    };
  }
}

/** The middle of `values`, the mean of the middle two of an even number, 0 of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const lower = sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
  return (upper + lower) / 2;
}
