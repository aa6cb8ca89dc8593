/**
 * The journal's segments: the one in use, the next one made ready in the background, and the closed ones.
 *
 * Crash story. A file made ready ahead is no segment until the ledger says `SegmentOpened`; recovery removes it. The header
 * of a new segment is synced in the chain whose ledger flush closes the old segment and opens the new one, before the first
 * block of the new one is written. A process never appends to a segment that it did not create.
 */
import { present } from '../base/assert.ts';
import { ClustorError, messageOf } from '../base/errors.ts';
import type { ClusterId, NodeId } from '../base/ids.ts';
import {
  encodeSegmentIndex,
  segmentIndexFileName,
  type SegmentIndexRow,
} from '../codec/idx-format.ts';
import type { LedgerRecord } from '../codec/ledger-records.ts';
import { blockBytes, segmentFileName, type UnitSuite } from '../codec/segment-format.ts';
import type { Clock } from '../ports/clock.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { FileSystem, IoStep, ZeroPace } from '../ports/file-system.ts';
import type { Observer } from '../ports/observer.ts';
import type { DiskGuard } from './disk-guard.ts';
import { paceOf } from './fill-pace.ts';
import { fullDiskRetryMs, isDiskFull } from './full-disk.ts';
import type { JournalKeys } from './journal-keys.ts';
import { segmentClosedRecord, type JournalPosition } from './ledger-image.ts';
import type { ScrubStatistics } from './log-store-types.ts';
import type { PartitionLog } from './partition-log.ts';
import type { Scrubber } from './scrubber.ts';
import type { SegmentReader } from './segment-reader.ts';
import type { SegmentReserve } from './segment-reserve.ts';
import { SegmentWriter, type OpenSegment } from './segment-writer.ts';
import { TrailerWriter, type ClosedSegment, type SegmentToTrail } from './trailer-writer.ts';

/** What the journal needs. */
export interface JournalOptions {
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly observer: Observer;
  readonly folder: string;
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  /** Seal its blocks. */
  readonly keys: JournalKeys;
  readonly segmentBytes: number;
  readonly nextSegmentSeq: number;
  readonly reader: SegmentReader;
  readonly guard: DiskGuard;
  readonly reserve: SegmentReserve;
}

/** Memory in which flushes are laid out: a largest batch always fits. */
const stagingBytesMax = 6 * 1024 * 1024;
/** Enough for most flushes; a journal that gets a larger one takes the most at once, since memory is never given back. */
const stagingBytesMin = 256 * 1024;
/** The first segment of a process is no larger, bytes; each next one has twice its size, up to the configured one. */
export const firstSegmentBytesMax: number = 8 * 1024 * 1024;

/** See the file comment. */
export class Journal {
  readonly #options: JournalOptions;
  #staging: Uint8Array;
  readonly #headerStaging: Uint8Array;
  /** Gives closed segments their trailers, once it is begun. */
  readonly trailers: TrailerWriter;
  readonly #closed = new Map<number, number>();
  /** The segment that was left and whose closing record is not synced yet. */
  #left: SegmentToTrail | undefined;
  #closedBytes = 0;
  /** File offset in the segment in use behind everything that a completed flush synced. */
  #syncedEnd = 0;
  #bytesWritten = 0;
  /** Reads the journal back, once the store has one. */
  scrubber: Scrubber | undefined;
  #writer: SegmentWriter | undefined;
  #next: OpenSegment | undefined;
  #nextSegmentSeq: number;
  #preparing: Promise<void> | undefined;
  #isNextAwaited = false;
  #background: Promise<void> = Promise.resolve();
  #cancelRetry: (() => void) | undefined;
  #isClosed = false;

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#nextSegmentSeq = options.nextSegmentSeq;
    this.#staging = options.fileSystem.allocateStaging(stagingBytesMin);
    this.#headerStaging = options.fileSystem.allocateStaging(blockBytes);
    this.trailers = new TrailerWriter(options);
  }

  /** The segment in use. */
  get writer(): SegmentWriter {
    if (this.#writer === undefined)
      throw new ClustorError('CLUSTOR_STORAGE_FAILED', 'no segment is open');
    return this.#writer;
  }

  /** Nothing is being written: the next flush can be made shorter. */
  readonly prepareSeal = (): void => {
    this.#writer?.prepare();
  };

  /** Behind every block that was sealed so far. */
  get end(): JournalPosition {
    const { segment, endOffset } = this.writer;
    return { segmentSeq: segment.segmentSeq, endOffset };
  }

  /** Bytes of all segments that are in use. */
  get bytes(): number {
    return this.#closedBytes + (this.#writer?.endOffset ?? 0);
  }

  /** File offset in the segment in use behind everything that a completed flush synced. */
  get syncedEnd(): number {
    return this.#syncedEnd;
  }

  /** Bytes of flushes that are synced. */
  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  /** What the scrub has done. */
  get scrubStatistics(): ScrubStatistics {
    return present(this.scrubber, 'an open store scrubs').statistics();
  }

  /** A flush of entries is synced, up to that offset of the segment in use. */
  synced(endOffset: number, bytes: number): void {
    this.#syncedEnd = endOffset;
    this.#bytesWritten += bytes;
  }

  /** Where a closed segment ends. */
  closedEnd(segmentSeq: number): number {
    return this.#closed.get(segmentSeq) ?? 0;
  }

  /** Bytes that can be sealed before a further segment has to be made. */
  get roomBytes(): number {
    const { segment, endOffset } = this.writer;
    return segment.sizeBytes - endOffset + (this.#next?.sizeBytes ?? 0);
  }

  /** Closed segments, the oldest first. */
  get closedSegments(): readonly ClosedSegment[] {
    return [...this.#closed]
      .map(([segmentSeq, endOffset]) => ({ segmentSeq, endOffset }))
      .sort((left, right) => left.segmentSeq - right.segmentSeq);
  }

  /** The segment whose closing record is not synced yet, if there is one. */
  get leavingSegmentSeq(): number | undefined {
    return this.#left?.segmentSeq;
  }

  /** Resolves when segments that were left so far are cut and have their index. */
  async tidied(): Promise<void> {
    await this.#background;
  }

  /** Removes the files of a closed segment that the ledger knows no more. */
  async retire(segmentSeq: number): Promise<void> {
    const { fileSystem, folder, reader } = this.#options;
    this.#closedBytes -= this.closedEnd(segmentSeq);
    this.#closed.delete(segmentSeq);
    await reader.forget(segmentSeq);
    await fileSystem.remove(`${folder}/${segmentFileName(segmentSeq)}`);
    await fileSystem.remove(`${folder}/${segmentIndexFileName(segmentSeq)}`);
    await fileSystem.syncDirectory(folder);
  }

  /** Takes in a segment of an earlier process; one that this has not tidied is cut to its end and gets its `.idx`. */
  async adopt(
    segment: ClosedSegment & {
      readonly rowsToWrite: readonly SegmentIndexRow[] | undefined;
      /** Whether nothing is missing: otherwise its bytes are kept as they are. */
      readonly isWhole: boolean;
      /** Where the ledger says that its trailer stands; 0 when it has none. */
      readonly trailerOffset: number;
    },
  ): Promise<void> {
    this.#closed.set(segment.segmentSeq, segment.endOffset);
    this.#closedBytes += segment.endOffset;
    if (segment.isWhole && segment.trailerOffset === 0) this.trailers.add(segment);
    if (segment.rowsToWrite === undefined) return;
    try {
      // Behind the end of a segment with a trailer stands the trailer.
      if (segment.isWhole && segment.trailerOffset === 0) await this.#cut(segment);
      await this.#writeIndex(segment.segmentSeq, segment.endOffset, segment.rowsToWrite);
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      this.#options.reader.addIndex(segment.segmentSeq, segment.rowsToWrite);
      this.#notTidied(segment.segmentSeq, error);
    }
  }

  /** Creates the first segment of this process, header synced; returns the record that opens it. */
  async begin(): Promise<LedgerRecord> {
    await this.#prepare(Math.min(this.#options.segmentBytes, firstSegmentBytesMax));
    const next = this.#next;
    if (next === undefined)
      throw new ClustorError('CLUSTOR_STORAGE_FAILED', 'no segment could be created');
    const { steps, suite } = this.#header(next);
    await new Promise<void>((resolve, reject) => {
      this.#options.fileSystem.submit(steps, (failure) => {
        if (failure === undefined) resolve();
        else
          reject(
            new ClustorError(
              'CLUSTOR_STORAGE_FAILED',
              `writing the header of ${next.path} failed: ${failure.systemCode}`,
            ),
          );
      });
    });
    return this.#enter(next, suite);
  }

  /** Whether the next segment can be entered now. */
  get isNextReady(): boolean {
    return this.#next !== undefined;
  }

  /** Bytes of the smallest segment that can be entered next; 0 when one is ready. */
  get missingSegmentBytes(): number {
    return this.#next === undefined
      ? Math.min(this.#options.segmentBytes, firstSegmentBytesMax)
      : 0;
  }

  /**
   * Makes the next segment ready in the background, at once if something waits for it; `ready` is called once it is. Goes on
   * trying where the disk refuses.
   */
  prepareAhead(ready: () => void, isAwaited = false): void {
    this.#isNextAwaited ||= isAwaited;
    if (this.#preparing !== undefined || this.#next !== undefined || this.#isClosed) return;
    const usedShare = (): number | 'stop' =>
      this.#isClosed ? 'stop' : this.#isNextAwaited ? 1 : this.writer.usedShare;
    // Small at first, so that a start is quick and what is filled ahead is in proportion to what is written.
    const sizeBytes = Math.min(this.#options.segmentBytes, 2 * this.writer.segment.sizeBytes);
    this.#preparing = this.#prepare(sizeBytes, paceOf(sizeBytes, usedShare)).then(
      () => {
        this.#preparing = undefined;
        ready();
      },
      (error: unknown) => {
        if (this.#isClosed) return;
        // A full disk is told by its guard, once.
        if (!isDiskFull(error))
          this.#options.observer.emit({
            level: 'error',
            kind: 'segmentNotPrepared',
            fields: { message: messageOf(error), retryMs: fullDiskRetryMs },
          });
        this.#cancelRetry = this.#options.clock.setTimer(fullDiskRetryMs, () => {
          this.#preparing = undefined;
          this.prepareAhead(ready);
        });
      },
    );
  }

  /** Leaves the segment in use for the next one: the steps to run before the ledger flush that carries `records`. */
  switchSegment(logs: Iterable<PartitionLog>): {
    readonly steps: readonly IoStep[];
    readonly records: readonly LedgerRecord[];
  } {
    const next = this.#next;
    const old = this.writer;
    if (next === undefined)
      throw new ClustorError('CLUSTOR_STORAGE_FAILED', 'the next segment is not ready');
    const { segmentSeq } = old.segment;
    const endOffset = old.endOffset;
    const rows: SegmentIndexRow[] = [];
    for (const log of logs) {
      log.index.closeSegment(segmentSeq, (run) => {
        rows.push({ partitionId: log.partitionId, ...run });
      });
    }
    this.#options.reader.addIndex(segmentSeq, rows);
    this.#closed.set(segmentSeq, endOffset);
    this.#closedBytes += endOffset;
    this.#retire(old.segment, endOffset, rows);
    this.#left = { segmentSeq, endOffset, fields: old.trailerFields() };
    const { steps, suite } = this.#header(next);
    const opened = this.#enter(next, suite);
    return { steps, records: [segmentClosedRecord(segmentSeq, endOffset), opened] };
  }

  /** The flush that closed the segment left last is synced: it gets its trailer once its file is cut. */
  switched(): void {
    const left = this.#left;
    this.#left = undefined;
    if (left === undefined) return;
    this.#background = this.#background.then(() => {
      this.trailers.add(left);
    });
  }

  /** Finishes what runs in the background and closes the files. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelRetry?.();
    await this.#preparing;
    await this.#background;
    await this.trailers.stop();
    await this.scrubber?.stop();
    if (this.#writer !== undefined) await this.#options.fileSystem.close(this.#writer.segment.file);
    if (this.#next !== undefined) await this.#options.fileSystem.close(this.#next.file);
    this.#writer = undefined;
    this.#next = undefined;
  }

  /** The memory for flushes as large as can be; no flush is under way. */
  #largestStaging(): Uint8Array {
    if (this.#staging.length < stagingBytesMax)
      this.#staging = this.#options.fileSystem.allocateStaging(stagingBytesMax);
    return this.#staging;
  }

  #enter(next: OpenSegment, suite: UnitSuite): LedgerRecord {
    const memory = {
      staging: this.#staging,
      stagingBytesMax,
      largestStaging: () => this.#largestStaging(),
    };
    this.#writer = new SegmentWriter(next, memory, suite);
    this.#options.reader.addSegment(next.segmentSeq, suite);
    this.#syncedEnd = 0;
    this.#next = undefined;
    this.#isNextAwaited = false;
    return {
      kind: 'segmentOpened',
      segmentSeq: next.segmentSeq,
      reservedBlocks: next.sizeBytes / blockBytes - 1,
    };
  }

  /** The header is made when the segment is entered: keys may have changed since its file was made ready. */
  #header(next: OpenSegment): { readonly steps: readonly IoStep[]; readonly suite: UnitSuite } {
    const { clock, keys } = this.#options;
    const { segmentSeq, salt, file } = next;
    const suite = keys.create(this.#headerStaging, { segmentSeq, salt, createdMs: clock.wallMs() });
    keys.sealedUnder(segmentSeq, keys.ring?.newestEpoch ?? 0);
    const steps: readonly IoStep[] = [
      { kind: 'write', file, position: 0, bytes: this.#headerStaging },
      { kind: 'sync', file },
    ];
    return { steps, suite };
  }

  async #prepare(sizeBytes: number, pace?: ZeroPace): Promise<void> {
    const { fileSystem, folder, entropy } = this.#options;
    const segmentSeq = this.#nextSegmentSeq;
    const path = `${folder}/${segmentFileName(segmentSeq)}`;
    const madeBytes = await this.#makeFile(path, sizeBytes, pace);
    await fileSystem.syncDirectory(folder);
    const file = await fileSystem.open(path, { access: 'durableWrite' });
    this.#nextSegmentSeq = segmentSeq + 1;
    this.#next = { segmentSeq, path, file, sizeBytes: madeBytes, salt: entropy.bytes(16) };
  }

  /**
   * Makes the file of a segment: of the wanted size, else of the smallest; where the disk has no room for that and somebody
   * waits, from the reserve. @throws ClustorError `CLUSTOR_DISK_HARD`.
   */
  async #makeFile(path: string, wantedBytes: number, pace?: ZeroPace): Promise<number> {
    const { fileSystem, guard, reserve } = this.#options;
    for (const sizeBytes of new Set([wantedBytes, Math.min(wantedBytes, firstSegmentBytesMax)])) {
      if (!(await guard.hasRoomFor(sizeBytes))) continue;
      try {
        await fileSystem.createZeroed(path, sizeBytes, pace);
        return sizeBytes;
      } catch (error) {
        if (!isDiskFull(error)) throw error;
      }
    }
    guard.refused('segment', `no room for a segment of ${wantedBytes} bytes`);
    const isNeededNow = this.#isNextAwaited || this.#writer === undefined;
    const taken = isNeededNow ? await reserve.take(path) : undefined;
    if (taken !== undefined) return taken;
    throw new ClustorError('CLUSTOR_DISK_HARD', `there is no room for ${path}`);
  }

  /** What a crash left behind the end of a segment is given back; nothing depends on it. */
  async #cut({ segmentSeq, endOffset }: { segmentSeq: number; endOffset: number }): Promise<void> {
    const { fileSystem, folder } = this.#options;
    const file = await fileSystem.open(`${folder}/${segmentFileName(segmentSeq)}`, {
      access: 'durableWrite',
    });
    try {
      if ((await fileSystem.size(file)) > endOffset) await fileSystem.truncate(file, endOffset);
    } finally {
      await fileSystem.close(file);
    }
  }

  #notTidied(segmentSeq: number, error: unknown): void {
    this.#options.observer.emit({
      level: 'warn',
      kind: 'segmentNotTidied',
      fields: { segmentSeq, message: messageOf(error) },
    });
  }

  /** Cuts a left segment to its end, closes it and writes its index: nothing depends on it, recovery can do without. */
  #retire(segment: OpenSegment, endOffset: number, rows: readonly SegmentIndexRow[]): void {
    const { fileSystem } = this.#options;
    this.#background = this.#background.then(async () => {
      try {
        await fileSystem.truncate(segment.file, endOffset);
        await fileSystem.close(segment.file);
        await this.#writeIndex(segment.segmentSeq, endOffset, rows);
      } catch (error) {
        this.#notTidied(segment.segmentSeq, error);
      }
    });
  }

  async #writeIndex(
    segmentSeq: number,
    endOffset: number,
    rows: readonly SegmentIndexRow[],
  ): Promise<void> {
    const { fileSystem, folder } = this.#options;
    await fileSystem.replaceFile(
      `${folder}/${segmentIndexFileName(segmentSeq)}`,
      encodeSegmentIndex({ segmentSeq, endOffset, rows }),
    );
  }
}
