/**
 * The journal's segments: the one in use, the next one made ready in the background, and the closed ones.
 *
 * Crash story. A file made ready ahead is no segment until the ledger says `SegmentOpened`; recovery removes it. The header
 * of a new segment is synced in the chain whose ledger flush closes the old segment and opens the new one, before the first
 * block of the new one is written. A process never appends to a segment that it did not create.
 */
import { ClustorError, messageOf } from '../base/errors.ts';
import type { ClusterId, NodeId } from '../base/ids.ts';
import {
  encodeSegmentIndex,
  segmentIndexFileName,
  type SegmentIndexRow,
} from '../codec/idx-format.ts';
import type { LedgerRecord } from '../codec/ledger-format.ts';
import { blockBytes, segmentFileName, writeSegmentHeader } from '../codec/segment-format.ts';
import type { SegmentMacKey } from '../codec/segment-trailer.ts';
import type { Clock } from '../ports/clock.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { FileSystem, IoStep, ZeroPace } from '../ports/file-system.ts';
import type { Observer } from '../ports/observer.ts';
import { paceOf } from './fill-pace.ts';
import { segmentClosedRecord } from './ledger-image.ts';
import type { PartitionLog } from './partition-log.ts';
import type { SegmentReader } from './segment-reader.ts';
import { SegmentWriter, type OpenSegment } from './segment-writer.ts';
import { TrailerWriter, type ClosedSegment, type OnTrailer } from './trailer-writer.ts';

/** What the journal needs. */
export interface JournalOptions {
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly observer: Observer;
  readonly folder: string;
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly segmentBytes: number;
  readonly nextSegmentSeq: number;
  readonly reader: SegmentReader;
  /** Key of the trailers of segments that this process begins. */
  readonly macKey: SegmentMacKey | undefined;
}

/** Memory in which flushes are laid out: a largest batch always fits. */
const stagingBytes = 6 * 1024 * 1024;
/** The first segment of a process is no larger, bytes; each next one has twice its size, up to the configured one. */
const firstSegmentBytesMax = 8 * 1024 * 1024;
const retryMs = 1000;

/** See the file comment. */
export class Journal {
  readonly #options: JournalOptions;
  readonly #staging: Uint8Array;
  readonly #headerStaging: Uint8Array;
  readonly #trailers: TrailerWriter;
  readonly #closed = new Map<number, number>();
  /** The segment that was left and whose closing record is not synced yet. */
  #left: ClosedSegment | undefined;
  #closedBytes = 0;
  /** File offset in the segment in use behind everything that a completed flush synced. */
  syncedEnd = 0;
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
    this.#staging = options.fileSystem.allocateStaging(stagingBytes);
    this.#headerStaging = options.fileSystem.allocateStaging(blockBytes);
    this.#trailers = new TrailerWriter(options);
  }

  /** The segment in use. */
  get writer(): SegmentWriter {
    if (this.#writer === undefined)
      throw new ClustorError('CLUSTOR_STORAGE_FAILED', 'no segment is open');
    return this.#writer;
  }

  /** Bytes of all segments that are in use. */
  get bytes(): number {
    return this.#closedBytes + (this.#writer?.endOffset ?? 0);
  }

  /** Where a closed segment ends. */
  closedEnd(segmentSeq: number): number {
    return this.#closed.get(segmentSeq) ?? 0;
  }

  /** Takes in a segment of an earlier process; its `.idx` is written if it has none, its trailer if it needs one. */
  async adopt(
    segment: ClosedSegment & {
      readonly rowsToWrite: readonly SegmentIndexRow[] | undefined;
      readonly needsTrailer: boolean;
    },
  ): Promise<void> {
    this.#closed.set(segment.segmentSeq, segment.endOffset);
    this.#closedBytes += segment.endOffset;
    if (segment.rowsToWrite !== undefined)
      await this.#writeIndex(segment.segmentSeq, segment.endOffset, segment.rowsToWrite);
    if (segment.needsTrailer) this.#trailers.add(segment);
  }

  /** Begins to give closed segments their trailers; everything adopted is closed in the ledger by now. */
  beginTrailers(onTrailer: OnTrailer): void {
    this.#trailers.begin(onTrailer);
  }

  /** Nothing more is written by this process (KER-10). */
  stopTrailers(): void {
    void this.#trailers.stop();
  }

  /** Creates the first segment of this process, header synced; returns the record that opens it. */
  async begin(): Promise<LedgerRecord> {
    await this.#prepare(Math.min(this.#options.segmentBytes, firstSegmentBytesMax));
    const next = this.#next;
    if (next === undefined)
      throw new ClustorError('CLUSTOR_STORAGE_FAILED', 'no segment could be created');
    await new Promise<void>((resolve, reject) => {
      this.#options.fileSystem.submit(this.#headerSteps(next), (failure) => {
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
    return this.#enter(next);
  }

  /** Whether the next segment can be entered now. */
  get isNextReady(): boolean {
    return this.#next !== undefined;
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
        this.#options.observer.emit({
          level: 'error',
          kind: 'segmentNotPrepared',
          fields: { message: messageOf(error), retryMs },
        });
        this.#cancelRetry = this.#options.clock.setTimer(retryMs, () => {
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
    this.#left = { segmentSeq, endOffset };
    const steps = this.#headerSteps(next);
    return { steps, records: [segmentClosedRecord(segmentSeq, endOffset), this.#enter(next)] };
  }

  /** The flush that closed the segment left last is synced: it gets its trailer once its file is cut. */
  switched(): void {
    const left = this.#left;
    this.#left = undefined;
    if (left === undefined) return;
    this.#background = this.#background.then(() => {
      this.#trailers.add(left);
    });
  }

  /** Finishes what runs in the background and closes the files. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelRetry?.();
    await this.#preparing;
    await this.#background;
    await this.#trailers.stop();
    if (this.#writer !== undefined) await this.#options.fileSystem.close(this.#writer.segment.file);
    if (this.#next !== undefined) await this.#options.fileSystem.close(this.#next.file);
    this.#writer = undefined;
    this.#next = undefined;
  }

  #enter(next: OpenSegment): LedgerRecord {
    this.#writer = new SegmentWriter(next, this.#staging);
    this.syncedEnd = 0;
    this.#next = undefined;
    this.#isNextAwaited = false;
    return {
      kind: 'segmentOpened',
      segmentSeq: next.segmentSeq,
      reservedBlocks: next.sizeBytes / blockBytes - 1,
    };
  }

  #headerSteps(next: OpenSegment): readonly IoStep[] {
    const { clusterId, nodeId, clock } = this.#options;
    writeSegmentHeader(this.#headerStaging, {
      clusterId,
      nodeId,
      segmentSeq: next.segmentSeq,
      dekEpoch: 0,
      integrityMacEpoch: this.#options.macKey?.epoch ?? 0,
      salt: next.salt,
      createdMs: clock.wallMs(),
    });
    return [
      { kind: 'write', file: next.file, position: 0, bytes: this.#headerStaging },
      { kind: 'sync', file: next.file },
    ];
  }

  async #prepare(sizeBytes: number, pace?: ZeroPace): Promise<void> {
    const { fileSystem, folder, entropy } = this.#options;
    const segmentSeq = this.#nextSegmentSeq;
    const path = `${folder}/${segmentFileName(segmentSeq)}`;
    await fileSystem.createZeroed(path, sizeBytes, pace);
    await fileSystem.syncDirectory(folder);
    const file = await fileSystem.open(path, { access: 'durableWrite' });
    this.#nextSegmentSeq = segmentSeq + 1;
    this.#next = { segmentSeq, path, file, sizeBytes, salt: entropy.bytes(16) };
  }

  /** Cuts a left segment to its end, closes it and writes its index: nothing depends on it, recovery can do without. */
  #retire(segment: OpenSegment, endOffset: number, rows: readonly SegmentIndexRow[]): void {
    const { fileSystem, observer } = this.#options;
    this.#background = this.#background.then(async () => {
      try {
        await fileSystem.truncate(segment.file, endOffset);
        await fileSystem.close(segment.file);
        await this.#writeIndex(segment.segmentSeq, endOffset, rows);
      } catch (error) {
        observer.emit({
          level: 'warn',
          kind: 'segmentNotTidied',
          fields: { segmentSeq: segment.segmentSeq, message: messageOf(error) },
        });
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
