/**
 * Holds a flush for a moment while every partition that has something in it is in Group-Fsync mode (specification §5.2).
 *
 * A flush is shared by all partitions, so one in Strict mode that has something ready ends the holding for all. A held batch goes when it
 * is old or large enough, or when too much is not durable yet. What is held was said to nobody: a crash loses nothing that
 * counted.
 */
import { groupFsyncLimits } from '../policy/group-fsync.ts';
import type { Clock } from '../ports/clock.ts';
import type { PartitionLog, PendingAppend } from './partition-log.ts';

/** A timer that fires later than this many times the longest holding is an overrun. */
const lateFactor = 4;

/** See the file comment. */
export class GroupHold {
  readonly #clock: Clock;
  /** A bound of Group-Fsync was overrun by a partition's batch. */
  readonly #overrun: (log: PartitionLog) => void;
  #sinceMs: number | undefined;
  #cancel: (() => void) | undefined;
  /** The writer is in a lesser mode than it could be in: less is held, and for less long. */
  isWriterDegraded = false;

  constructor(clock: Clock, overrun: (log: PartitionLog) => void) {
    this.#clock = clock;
    this.#overrun = overrun;
  }

  /** Whether what waits is to wait on; then `flush` is called when it is not any more. */
  holds(waiting: readonly PendingAppend[], flush: () => void): boolean {
    const bytes = this.#groupBytes(waiting);
    if (bytes > groupFsyncLimits.inflightPartitionBytesMax) this.#countOverruns(waiting, bytes);
    // Nearly always: nothing is held, and nothing is allocated to find that out.
    if (bytes === 0 || waiting.some(endsHolding)) {
      if (this.#sinceMs !== undefined) this.release();
      return false;
    }
    const nowMs = this.#clock.monotonicMs();
    this.#sinceMs ??= nowMs;
    if (this.#mayWait(waiting, { bytes, heldMs: nowMs - this.#sinceMs })) {
      const leftMs = this.#msMax - (nowMs - this.#sinceMs);
      this.#cancel ??= this.#clock.setTimer(leftMs, () => {
        this.#cancel = undefined;
        flush();
      });
      return true;
    }
    this.release();
    return false;
  }

  /** Nothing is held any more. */
  release(): void {
    this.#sinceMs = undefined;
    this.#cancel?.();
    this.#cancel = undefined;
  }

  get #msMax(): number {
    return this.isWriterDegraded
      ? groupFsyncLimits.degradedBatchMsMax
      : groupFsyncLimits.batchMsMax;
  }

  /** Bytes of the partitions in Group-Fsync mode; 0 where there is none. */
  #groupBytes(waiting: readonly PendingAppend[]): number {
    let bytes = 0;
    for (const { log, batch } of waiting)
      if (log.durabilityMode === 'GroupFsync') bytes += batch.bytes.length;
    return bytes;
  }

  /** Nothing is under way while this is asked, so what waits is all that is not durable yet; whether it goes at once or not. */
  #countOverruns(waiting: readonly PendingAppend[], bytes: number): void {
    const { inflightPartitionBytesMax, inflightNodeBytesMax } = groupFsyncLimits;
    const bytesOf = new Map<PartitionLog, number>();
    for (const { log, batch } of waiting)
      if (log.durabilityMode === 'GroupFsync')
        bytesOf.set(log, (bytesOf.get(log) ?? 0) + batch.bytes.length);
    for (const [log, own] of bytesOf)
      if (own > inflightPartitionBytesMax || bytes > inflightNodeBytesMax) this.#overrun(log);
  }

  #mayWait(
    waiting: readonly PendingAppend[],
    { bytes, heldMs }: { readonly bytes: number; readonly heldMs: number },
  ): boolean {
    const { batchMsMax, batchBytesMax, degradedBatchBytesMax } = groupFsyncLimits;
    const [first] = waiting;
    if (first === undefined) return false;
    if (heldMs >= this.#msMax) {
      if (heldMs > batchMsMax * lateFactor) this.#overrun(first.log);
      return false;
    }
    return bytes < (this.isWriterDegraded ? degradedBatchBytesMax : batchBytesMax);
  }
}

/** One in Strict mode waits for nobody, and no batch crosses a change of the mode. */
function endsHolding({ log, isFence }: PendingAppend): boolean {
  return log.durabilityMode === 'Strict' || isFence === true;
}
