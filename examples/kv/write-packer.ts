/**
 * Packs the writes of many connections into few log entries.
 *
 * Every entry costs a frame, a place in a batch and a promise, whatever it holds; many small commands in one entry cost one
 * of each. Connections hand in *runs*: commands that are to take effect together and in order. All runs that come in during
 * one turn of the loop share entries up to {@link packCommandsMax} commands or {@link packBytesMax} bytes. A run is never split, and a run
 * that fills an entry by itself gets one to itself.
 *
 * Order: the packer promises none between runs that are under way at the same time. A connection therefore hands in its next
 * run when the one before is decided; this is what keeps its commands in order even when an append is retried elsewhere.
 */
import type { Partition } from 'clustor';
import { setImmediate } from 'node:timers';

import { decodeResults, encodeEntry, type WriteResult } from './kv-commands.ts';

/** Most commands in one entry. */
export const packCommandsMax = 1_024;
/** Most bytes of commands in one entry, unless one run alone has more. */
export const packBytesMax = 131_072;

/** Commands of one connection in order. */
export interface WriteRun {
  readonly commands: readonly Uint8Array[];
  /** Bytes of the commands; {@link packBytesMax} for a run that is to have an entry of its own, such as one with large results. */
  readonly weightBytes: number;
}

interface PendingRun extends WriteRun {
  readonly resolve: (results: readonly WriteResult[]) => void;
  readonly reject: (reason: unknown) => void;
}

/** Gathers runs and appends them. */
export class WritePacker {
  readonly #partition: Pick<Partition, 'append'>;
  readonly #deadlineMs: number;
  #pending: PendingRun[] = [];
  #isFlushPlanned = false;

  constructor(partition: Pick<Partition, 'append'>, deadlineMs: number) {
    this.#partition = partition;
    this.#deadlineMs = deadlineMs;
  }

  /** Appends a run; resolves with one result per command once it is committed and applied. */
  submit(run: WriteRun): Promise<readonly WriteResult[]> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ ...run, resolve, reject });
      if (this.#isFlushPlanned) return;
      this.#isFlushPlanned = true;
      // Behind all reads of this turn: every connection that had bytes has handed in its run by then.
      setImmediate(() => {
        this.#flush();
      });
    });
  }

  #flush(): void {
    this.#isFlushPlanned = false;
    const pending = this.#pending;
    this.#pending = [];
    let pack: PendingRun[] = [];
    let commandCount = 0;
    let bytes = 0;
    for (const run of pending) {
      const isFull =
        commandCount + run.commands.length > packCommandsMax ||
        bytes + run.weightBytes > packBytesMax;
      if (isFull && pack.length > 0) {
        void this.#append(pack);
        pack = [];
        commandCount = 0;
        bytes = 0;
      }
      pack.push(run);
      commandCount += run.commands.length;
      bytes += run.weightBytes;
    }
    if (pack.length > 0) void this.#append(pack);
  }

  /** Never rejects: whatever happens goes to the runs. */
  async #append(pack: readonly PendingRun[]): Promise<void> {
    try {
      const entry = encodeEntry(pack.flatMap((run) => run.commands));
      const { result } = await this.#partition.append(entry, { deadlineMs: this.#deadlineMs });
      const results = decodeResults(result ?? new Uint8Array(0));
      let at = 0;
      for (const run of pack) {
        run.resolve(results.slice(at, at + run.commands.length));
        at += run.commands.length;
      }
    } catch (error) {
      for (const run of pack) run.reject(error);
    }
  }
}
