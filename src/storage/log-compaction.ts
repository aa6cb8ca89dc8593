/**
 * Segments that no log needs any more go (specification DUR-5, §8.1).
 *
 * A segment is needed while any partition has a live entry in it. What segments hold is looked at when a log begins further
 * behind than before, when a segment is left or was sealed anew, and at the start. Where few live entries are left in the
 * oldest of several segments they are written anew behind everything else, so that one laggard does not keep what all others
 * could give back.
 *
 * While a partition is in `Integrity` quarantine a segment goes only behind its salvage (`segment-salvage`), and nothing of that
 * partition is copied.
 *
 * Crash story. The record that makes entries needless (`snapshotBase`, `truncated`, or `rangeMoved` behind the sync of a copy)
 * is synced first, then `segmentRetired`, and only then does the file go: whatever a start finds, the ledger names no segment
 * that is missing and misses none that is needed. A file that the ledger no longer names is removed by the next start.
 */
import { messageOf } from '../base/errors.ts';
import type { LogIndex, PartitionId } from '../base/ids.ts';
import type { IndexRange } from '../base/index-ranges.ts';
import type { LedgerRecord } from '../codec/ledger-records.ts';
import type { Clock } from '../ports/clock.ts';
import type { Journal } from './journal.ts';
import type { PartitionLog } from './partition-log.ts';
import {
  SegmentSalvage,
  type SegmentSalvageOptions,
  type SegmentToSalvage,
} from './segment-salvage.ts';

/** What compaction needs of its store. */
export interface LogCompactionOptions extends Omit<SegmentSalvageOptions, 'pace'> {
  readonly clock: Clock;
  readonly journal: Journal;
  readonly logs: ReadonlyMap<PartitionId, PartitionLog>;
  /** Resolves when the record is durable; rejects when it never will be. */
  readonly record: (record: LedgerRecord) => Promise<void>;
  /** Starts a flush of what was handed over. */
  readonly flush: () => void;
}

/** Live entries of one log in a segment. */
interface Held {
  readonly log: PartitionLog;
  readonly range: IndexRange;
}

/** Segments that are kept at least before anything is copied: a few may well be emptied by the next snapshot. */
const segmentsBeforeCopies = 4;
/** A segment is emptied by copies when so small a share of it is live. */
const liveShareMax = 1 / 8;
const copyBytesMax = 1024 * 1024;
/** How long a segment that could not be saved is left alone. */
const keptMs = 60_000;

/** See the file comment. */
export class LogCompaction {
  readonly #options: LogCompactionOptions;
  #work: Promise<void> | undefined;
  #isAskedAgain = false;
  #isClosed = false;
  /** The copy under way, and how its waiter goes on. */
  #copying: { readonly log: PartitionLog; readonly settle: () => void } | undefined;
  /** Segments whose emptying failed in this process: their damage is somebody else's work. */
  readonly #uncopied = new Set<number>();
  /** Segments whose end was handed to the ledger. */
  readonly #retired = new Set<number>();
  readonly #salvage: SegmentSalvage;
  /** Segments that could not be saved, and when that was tried. */
  readonly #keptSinceMs = new Map<number, number>();

  constructor(options: LogCompactionOptions) {
    this.#options = options;
    this.#salvage = new SegmentSalvage({
      ...options,
      pace: () => Promise.resolve(!this.#isClosed),
    });
  }

  /** Segments that this process gave back. */
  get retiredSegments(): number {
    return this.#retired.size;
  }

  /** Whether a record speaks of a segment that is gone by the time it would be written. */
  makesVain(record: LedgerRecord): boolean {
    const isOfSegment =
      record.kind === 'segmentClosed' ||
      record.kind === 'segmentRewriting' ||
      record.kind === 'nonceAbandon';
    return isOfSegment && this.#retired.has(record.segmentSeq);
  }

  /** Looks for needless segments, in the background. */
  review(): void {
    if (this.#isClosed) return;
    if (this.#work !== undefined) {
      this.#isAskedAgain = true;
      return;
    }
    this.#work = this.#reviewAll()
      .catch((error: unknown) => {
        if (this.#isClosed) return;
        const fields = { message: messageOf(error) };
        this.#options.observer.emit({ level: 'warn', kind: 'segmentsNotRetired', fields });
      })
      .finally(() => {
        this.#work = undefined;
        if (!this.#isAskedAgain) return;
        this.#isAskedAgain = false;
        this.review();
      });
  }

  /** Entries of this log that wait to be copied are dropped: it begins elsewhere, or ended. */
  dropCopies(log: PartitionLog): void {
    if (this.#copying?.log === log) this.#copying.settle();
  }

  /** Nothing begins any more. */
  beginClose(): void {
    this.#isClosed = true;
    this.#copying?.settle();
  }

  /** Resolves when nothing is under way. */
  async close(): Promise<void> {
    await this.#work;
  }

  async #reviewAll(): Promise<void> {
    await this.#dropSalvage();
    for (;;) {
      // One after the other: each costs a flush of the ledger, and entries go in between.
      for (const segment of this.#needless()) {
        if (this.#isClosed) return;
        if (this.#mayTry(segment)) await this.#retireIfSaved(segment);
      }
      const held = this.#isClosed ? undefined : this.#fewLeft();
      if (held === undefined) return;
      if (!(await this.#copy(held))) return;
    }
  }

  async #dropSalvage(): Promise<void> {
    const { observer, logs } = this.#options;
    for (const log of logs.values()) {
      if (this.#isClosed) return;
      try {
        await this.#salvage.drop(log);
      } catch (error) {
        const fields = { partitionId: log.partitionId, message: messageOf(error) };
        observer.emit({ level: 'warn', kind: 'salvageNotRemoved', fields });
      }
    }
  }

  #mayTry({ segmentSeq }: SegmentToSalvage): boolean {
    const keptSinceMs = this.#keptSinceMs.get(segmentSeq);
    if (keptSinceMs === undefined) return true;
    return this.#options.clock.monotonicMs() - keptSinceMs >= keptMs || !this.#isAnyDamaged;
  }

  get #isAnyDamaged(): boolean {
    return [...this.#options.logs.values()].some(isDamaged);
  }

  /** A segment that cannot be saved is kept, and tried again when something calls for it a minute later; the others go. */
  async #retireIfSaved(segment: SegmentToSalvage): Promise<void> {
    const { clock, observer } = this.#options;
    const { segmentSeq } = segment;
    let message = 'what it may hold of a partition in quarantine stays in it';
    try {
      const state = await this.#saved(segment);
      if (state === 'saved') await this.#retire(segmentSeq);
      if (state !== 'kept') return;
    } catch (error) {
      if (this.#isClosed || this.#retired.has(segmentSeq)) throw error;
      message = messageOf(error);
    }
    if (this.#isClosed) return;
    if (!this.#keptSinceMs.has(segmentSeq))
      observer.emit({ level: 'warn', kind: 'segmentsNotRetired', fields: { segmentSeq, message } });
    this.#keptSinceMs.set(segmentSeq, clock.monotonicMs());
  }

  /**
   * Saves what it may hold of damaged logs, also of those that turn out to be damaged meanwhile. `saved`: it may go, now;
   * `atWork`: somebody seals it anew, and asks for another review behind that.
   */
  async #saved(segment: SegmentToSalvage): Promise<'saved' | 'kept' | 'atWork'> {
    const { journal, logs } = this.#options;
    const { segmentSeq } = segment;
    const saved = new Set<PartitionLog>();
    for (;;) {
      const unsaved = [...logs.values()].filter((log) => isDamaged(log) && !saved.has(log));
      if (unsaved.length > 0 && !(await this.#salvage.save(segment, unsaved))) return 'kept';
      for (const log of unsaved) saved.add(log);
      // What is written of it in the background comes first: its index, and perhaps its trailer.
      await journal.tidied();
      await journal.trailers.leaveAlone(segmentSeq);
      if (this.#isClosed || !this.#needless().some((one) => one.segmentSeq === segmentSeq))
        return 'atWork';
      if ([...logs.values()].every((log) => !isDamaged(log) || saved.has(log))) return 'saved';
    }
  }

  get #candidates(): Journal['closedSegments'] {
    const { journal, image } = this.#options;
    return journal.closedSegments.filter(({ segmentSeq }) => {
      const row = image.segments.get(segmentSeq);
      const isSettled = row?.endOffset !== undefined && row.rewriting === undefined;
      return isSettled && segmentSeq !== journal.leavingSegmentSeq;
    });
  }

  #heldIn(segmentSeq: number): readonly Held[] {
    return [...this.#options.logs.values()].flatMap((log) =>
      log.index.heldIn(segmentSeq).map((range) => ({ log, range })),
    );
  }

  #needless(): readonly SegmentToSalvage[] {
    const held = new Set<number>();
    for (const { index } of this.#options.logs.values())
      index.eachHeldSegment((segmentSeq) => held.add(segmentSeq));
    return this.#candidates.filter(({ segmentSeq }) => !held.has(segmentSeq));
  }

  /** What the oldest segment holds, where that is little. */
  #fewLeft(): { readonly segmentSeq: number; readonly held: readonly Held[] } | undefined {
    const candidates = this.#candidates;
    // One that is kept although nobody needs it has nothing to copy.
    const needless = new Set(this.#needless().map(({ segmentSeq }) => segmentSeq));
    const oldest = candidates.find(({ segmentSeq }) => !needless.has(segmentSeq));
    if (oldest === undefined || candidates.length < segmentsBeforeCopies) return undefined;
    const { segmentSeq, endOffset } = oldest;
    if (this.#uncopied.has(segmentSeq)) return undefined;
    const held = this.#heldIn(segmentSeq);
    const bytes = held.reduce((sum, row) => sum + bytesOf(row), 0);
    const isCommitted = held.every(
      ({ log, range }) => !isDamaged(log) && range.lastIndex <= log.commitIndex,
    );
    return isCommitted && bytes <= endOffset * liveShareMax ? { segmentSeq, held } : undefined;
  }

  /** Copies the entries of one segment; whether all of them are durable in their new place. */
  async #copy(few: {
    readonly segmentSeq: number;
    readonly held: readonly Held[];
  }): Promise<boolean> {
    try {
      for (const { log, range } of few.held) {
        let next = range.firstIndex;
        while (next <= range.lastIndex) {
          const last = await this.#copyOnce(log, { ...range, firstIndex: next });
          if (last === undefined) return false;
          next = (last + 1) as LogIndex;
        }
      }
      return true;
    } catch (error) {
      // Whoever reads entries has told their damage already.
      this.#uncopied.add(few.segmentSeq);
      throw error;
    }
  }

  /** Copies some entries from the start of a range; the last of them, or `undefined` where they are wanted no more. */
  async #copyOnce(log: PartitionLog, range: IndexRange): Promise<LogIndex | undefined> {
    const isWanted = (): boolean =>
      !this.#isClosed && !isDamaged(log) && !log.isRetired && log.baseIndex < range.firstIndex;
    if (!isWanted()) return undefined;
    const batch = await log.read(range.firstIndex, range.lastIndex, copyBytesMax);
    if (!isWanted() || !log.takes(batch.bytes)) return undefined;
    const isCopied = await new Promise<boolean>((resolve) => {
      const copying = {
        log,
        settle: () => {
          resolve(false);
        },
      };
      this.#copying = copying;
      log.copyForward(batch, () => {
        // One that was dropped while it was being written says nothing of the one behind it.
        if (this.#copying === copying) this.#copying = undefined;
        resolve(true);
      });
      this.#options.flush();
    });
    return isCopied ? batch.lastIndex : undefined;
  }

  async #retire(segmentSeq: number): Promise<void> {
    const { journal, keys, observer, record } = this.#options;
    const recorded = record({ kind: 'segmentRetired', segmentSeq });
    this.#retired.add(segmentSeq);
    await recorded;
    keys.forget(segmentSeq);
    await journal.retire(segmentSeq);
    observer.emit({ level: 'info', kind: 'segmentRetired', fields: { segmentSeq } });
  }
}

/** Whether entries of a log may be missing that stand in no index. */
function isDamaged({ quarantine }: PartitionLog): boolean {
  return quarantine?.isActive === true;
}

/** About how much of its log the entries of a range take. */
function bytesOf({ log, range }: Held): number {
  const entries = Math.max(1, log.lastIndex - log.baseIndex);
  return (log.frameBytes * (range.lastIndex - range.firstIndex + 1)) / entries;
}
