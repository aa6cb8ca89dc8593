/** When a replica takes a snapshot by itself (specification §7): by the size of its log, by age, and when a log gets near its bound. */
import type { LogIndex } from '../base/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { NodeLimits } from './limits.ts';
import type { Replica } from './replica.ts';

/** What a pace looks at. */
export interface SnapshotPaceOptions {
  readonly replica: Replica;
  readonly limits: NodeLimits;
  readonly clock: Clock;
}

/** Between two attempts, milliseconds: a failed one has taken its time, and one after the other is load for nothing. */
const attemptMsMin = 10_000;
/** Age alone is a reason only where so much was appended since, bytes. */
const agedBytesMin = 64 * 1024;
/** Near a bound: share of the newest snapshot's size that must have been appended since. */
const shortShareMin = 1 / 4;
/** Snapshots by age are put off by up to this share, partitions apart from each other. */
const staggerShare = 0.25;

/** See the file comment. */
export class SnapshotPace {
  readonly #options: SnapshotPaceOptions;
  readonly #intervalMs: number;
  /** What the log had taken in when the newest snapshot was taken. */
  #bytesBefore: number;
  #sinceMs: number;
  #snapshotBytes = 0;
  #triedMs = Number.NEGATIVE_INFINITY;

  constructor(options: SnapshotPaceOptions) {
    this.#options = options;
    const { replica, limits, clock } = options;
    this.#bytesBefore = replica.log.appendedBytes - replica.log.frameBytes;
    this.#sinceMs = clock.monotonicMs();
    const share = Number.parseInt(replica.partitionId.slice(-4), 16) / 0x10000;
    this.#intervalMs = limits.snapshotIntervalMs * (1 + staggerShare * share);
  }

  /** What the log took in since the newest snapshot, bytes. */
  get logBytes(): number {
    return Math.max(0, Math.round(this.#options.replica.log.appendedBytes - this.#bytesBefore));
  }

  /** Whether one is to be taken now. */
  isDue(): boolean {
    const { replica, limits, clock } = this.#options;
    const bytes = this.logBytes;
    if (bytes <= 0 || !this.mayTry()) return false;
    if (bytes >= limits.snapshotLogBytes) return true;
    // Near a bound a snapshot pays once what it frees is in proportion to what it costs.
    const isWorthIt = bytes >= Math.max(agedBytesMin, this.#snapshotBytes * shortShareMin);
    if (isWorthIt && replica.log.isShort()) return true;
    const ageMs = clock.monotonicMs() - this.#sinceMs;
    return bytes >= agedBytesMin && ageMs >= this.#intervalMs;
  }

  /** Whether the last attempt is long enough ago. */
  mayTry(): boolean {
    return this.#options.clock.monotonicMs() - this.#triedMs >= attemptMsMin;
  }

  /** An attempt begins. */
  tried(): void {
    this.#triedMs = this.#options.clock.monotonicMs();
  }

  /** A snapshot was taken at an entry. */
  taken(snapshot: { readonly index: LogIndex; readonly bytes: number }): void {
    this.#sinceMs = this.#options.clock.monotonicMs();
    this.#snapshotBytes = snapshot.bytes;
    this.restored(snapshot.index);
  }

  /** The log goes on from a snapshot at an entry. */
  restored(index: LogIndex): void {
    const { log } = this.#options.replica;
    const entries = log.lastIndex - log.baseIndex;
    const behind = entries > 0 ? (log.lastIndex - index) / entries : 0;
    this.#bytesBefore = log.appendedBytes - log.frameBytes * Math.max(0, Math.min(1, behind));
  }
}
