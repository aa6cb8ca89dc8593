/** The entries of a received append: verified once, before the core hears of them, then sliced for storage and tail. */
import { assert } from '../base/assert.ts';
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, PartitionId, Term } from '../base/ids.ts';
import type { Configuration } from '../base/membership.ts';
import { checkFrames, frameIndex } from '../codec/entry-frame.ts';
import { configurationOfFrame, isFenceFrame } from '../codec/system-entry.ts';
import type { ReceivedEntries } from '../raft/index.ts';
import { offsetOf } from './entry-tail.ts';

/** See the file comment. */
export class ReceivedFrames {
  readonly entries: ReceivedEntries;
  readonly #firstIndex: LogIndex;
  readonly #bytes: Uint8Array;
  readonly #fences: readonly LogIndex[];

  private constructor(
    firstIndex: LogIndex,
    bytes: Uint8Array,
    found: { readonly entries: ReceivedEntries; readonly fences: readonly LogIndex[] },
  ) {
    this.#firstIndex = firstIndex;
    this.#bytes = bytes;
    this.entries = found.entries;
    this.#fences = found.fences;
  }

  /**
   * Verifies the frames behind `prevIndex`: partition, contiguous indexes, terms that do not fall, CRCs.
   * @throws ClustorError `CLUSTOR_WIRE_FRAME_CORRUPT`.
   */
  static verify(append: {
    readonly partitionId: PartitionId;
    readonly prevIndex: LogIndex;
    readonly prevTerm: Term;
    readonly entryCount: number;
    readonly entries: Uint8Array;
  }): ReceivedFrames {
    const firstIndex = (append.prevIndex + 1) as LogIndex;
    const check = checkFrames(append.entries, {
      partitionId: append.partitionId,
      firstIndex,
      count: append.entryCount,
      prevTerm: append.prevTerm,
    });
    if (check.kind === 'bad')
      throw new ClustorError(
        'CLUSTOR_WIRE_FRAME_CORRUPT',
        `an append behind entry ${append.prevIndex}: ${check.reason}`,
      );
    const { entries } = append;
    return new ReceivedFrames(firstIndex, entries, {
      entries: {
        count: append.entryCount,
        termRuns: check.termRuns,
        configurations: check.systemOffsets.flatMap(
          (offset) => configurationOfFrame(entries, offset) ?? [],
        ),
      },
      fences: check.systemOffsets
        .filter((offset) => isFenceFrame(entries, offset))
        .map((offset) => frameIndex(entries, offset)),
    });
  }

  /** Configurations of entries from `index` on. */
  configurationsFrom(index: LogIndex): readonly Configuration[] {
    const { configurations } = this.entries;
    if (configurations.length === 0) return configurations;
    return configurations.filter((configuration) => configuration.index >= index);
  }

  /** Entries from `index` on that change the durability mode. */
  fencesFrom(index: LogIndex): readonly LogIndex[] {
    return this.#fences.filter((fence) => fence >= index);
  }

  /** The frames from `index` on. */
  from(index: LogIndex): Uint8Array {
    assert(index >= this.#firstIndex, 'only received entries are asked for');
    const lastIndex = (this.#firstIndex + this.entries.count - 1) as LogIndex;
    const start = offsetOf({ firstIndex: this.#firstIndex, lastIndex, bytes: this.#bytes }, index);
    return start === 0 ? this.#bytes : this.#bytes.subarray(start);
  }
}
