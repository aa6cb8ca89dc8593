/**
 * Gives closed segments their trailers (specification §4.1): in the background, one at a time, oldest first.
 *
 * Of a segment that this process wrote the fields are known: they were tallied when it was laid out, so the trailer says what
 * was meant to be written, whatever the disk made of it. One of an earlier process, or one that was sealed anew, is read back
 * for it, past the page cache. Crash story: the file is cut to the segment's end, the trailer's block is written and synced, then a ledger flush
 * names it. A crash before that leaves a segment without a named trailer, and the next start makes it again, from the same
 * frames to the same bytes. A segment with damage gets no trailer: it is reported instead. Where a
 * segment's file is to be replaced, the ledger stops naming the trailer first; the new file gets one of its own.
 */
import { isClustorError, messageOf } from '../base/errors.ts';
import type { LedgerRecord } from '../codec/ledger-records.ts';
import type { ClusterId, NodeId } from '../base/ids.ts';
import {
  blockBytes,
  readSegmentHeader,
  segmentFileName,
  type SegmentHeader,
} from '../codec/segment-format.ts';
import {
  TrailerTally,
  writeSegmentTrailer,
  type SegmentTrailerFields,
} from '../codec/segment-trailer.ts';
import type { Clock } from '../ports/clock.ts';
import type { FileHandle, FileSystem } from '../ports/file-system.ts';
import type { Observer } from '../ports/observer.ts';
import type { JournalKeys } from './journal-keys.ts';
import { segmentClosedRecord } from './ledger-image.ts';
import { scanSegment } from './segment-scan.ts';

/** What the writer needs. */
export interface TrailerWriterOptions {
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly folder: string;
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  /** Open its blocks and sign its trailers. */
  readonly keys: JournalKeys;
}

/** A segment that the ledger has closed. */
export interface ClosedSegment {
  readonly segmentSeq: number;
  readonly endOffset: number;
}

/** A segment that is to have a trailer. */
export interface SegmentToTrail extends ClosedSegment {
  /** What it says, where that is known without reading the segment. */
  readonly fields?: SegmentTrailerFields | undefined;
}

/** Told when a trailer is on stable storage, with the record that names it. */
export type OnTrailer = (record: LedgerRecord) => void;

/**
 * Between two slices of 128 KiB: the disk and the loop belong to others. On a busy node or a slow disk a slice takes longer, from its
 * read to its last frame, and the pause is as many times that; the longest one still gives 1.2 MiB a second.
 */
const pauseMsMin = 20;
const pauseMsMax = 100;
const pausesPerSlice = 20;

interface Trailed {
  readonly header: SegmentHeader;
  readonly fields: SegmentTrailerFields;
}

/** See the file comment. */
export class TrailerWriter {
  readonly #options: TrailerWriterOptions;
  readonly #staging: Uint8Array;
  /** No more than there are segments, which `log_bytes_max` bounds. */
  readonly #waiting: SegmentToTrail[] = [];
  #onTrailer: OnTrailer | undefined;
  #work: Promise<void> | undefined;
  #atWork: number | undefined;
  #wake: (() => void) | undefined;
  #sliceFromMs = 0;
  #isStopped = false;
  /** Nobody wants the trailer at work any more. */
  #isGivenUp = false;

  constructor(options: TrailerWriterOptions) {
    this.#options = options;
    this.#staging = options.fileSystem.allocateStaging(blockBytes);
  }

  /** Begins with what waits; from now on `onTrailer` is told. */
  begin(onTrailer: OnTrailer): void {
    this.#onTrailer = onTrailer;
    this.#next();
  }

  /** Takes in a segment whose `SegmentClosed` is synced. */
  add(segment: SegmentToTrail): void {
    this.#waiting.push(segment);
    this.#next();
  }

  /**
   * Leaves a segment alone whose file is about to be replaced, until it is added again; resolves once it is not at work, and
   * its trailer, if it got one just now, was told.
   */
  async leaveAlone(segmentSeq: number): Promise<void> {
    const at = this.#waiting.findIndex((segment) => segment.segmentSeq === segmentSeq);
    if (at >= 0) this.#waiting.splice(at, 1);
    while (this.#atWork === segmentSeq) {
      this.#isGivenUp = true;
      this.#wake?.();
      await this.#work;
    }
  }

  /** Ends the work after the slice under way; what has no trailer gets it at the next start. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#wake?.();
    await this.#work;
  }

  #next(): void {
    if (this.#work !== undefined || this.#onTrailer === undefined || this.#isStopped) return;
    const segment = this.#waiting.shift();
    if (segment === undefined) return;
    this.#atWork = segment.segmentSeq;
    this.#isGivenUp = false;
    this.#work = this.#write(segment)
      .catch((error: unknown) => {
        this.#options.observer.emit({
          level: 'warn',
          kind: 'segmentTrailerNotWritten',
          fields: { segmentSeq: segment.segmentSeq, message: messageOf(error) },
        });
      })
      .then(() => {
        this.#work = undefined;
        this.#atWork = undefined;
        this.#next();
      });
  }

  async #write(segment: SegmentToTrail): Promise<void> {
    const { fileSystem, folder, keys } = this.#options;
    const { segmentSeq, endOffset } = segment;
    const path = `${folder}/${segmentFileName(segmentSeq)}`;
    const trailed = (await this.#known(segment, path)) ?? (await this.#readBack(segment, path));
    if (trailed === undefined || this.#isStopped || this.#isGivenUp) return;
    const { header, fields } = trailed;
    // The epoch is that of the segment's own header: without its key it stays without a trailer.
    const mac = keys.trailerMac(header);
    if (mac === undefined) return;
    writeSegmentTrailer(this.#staging, fields, mac === 'none' ? undefined : mac);
    const file = await fileSystem.open(path, { access: 'durableWrite' });
    try {
      await fileSystem.truncate(file, endOffset);
      await this.#writeSynced(file, endOffset);
    } finally {
      await fileSystem.close(file);
    }
    if (!this.#isStopped) this.#onTrailer?.(segmentClosedRecord(segmentSeq, endOffset, endOffset));
  }

  /** A segment of this process; one whose header is not right any more is read back, which says so. */
  async #known(segment: SegmentToTrail, path: string): Promise<Trailed | undefined> {
    const { fileSystem, keys } = this.#options;
    const { fields } = segment;
    if (fields === undefined) return undefined;
    const file = await fileSystem.open(path, { access: 'durableWrite' });
    try {
      const bytes = await fileSystem.read(file, 0, blockBytes);
      const header = readSegmentHeader(bytes);
      return keys.opener(bytes, header) === undefined ? undefined : { header, fields };
    } catch (error) {
      if (isClustorError(error, 'CLUSTOR_INTEGRITY')) return undefined;
      throw error;
    } finally {
      await fileSystem.close(file);
    }
  }

  async #readBack(segment: ClosedSegment, path: string): Promise<Trailed | undefined> {
    const { fileSystem, observer, clusterId, nodeId, keys } = this.#options;
    const { segmentSeq, endOffset } = segment;
    this.#sliceFromMs = this.#options.clock.monotonicMs();
    const tally = new TrailerTally();
    let badFrames = 0;
    const { header, damagedBlocks, endedAt } = await scanSegment({
      fileSystem,
      path,
      segmentSeq,
      owner: { clusterId, nodeId, keys },
      coveredEnd: endOffset,
      closedEnd: endOffset,
      onFrame: (frame) => {
        tally.add(frame.bytes, frame.start);
      },
      onBadFrame: () => {
        badFrames++;
      },
      pace: () => this.#pause(),
    });
    if (this.#isStopped || endedAt === 'stopped') return undefined;
    if (header === undefined || damagedBlocks > 0 || badFrames > 0) {
      const fields = { segmentSeq, damagedBlocks, badFrames };
      observer.emit({ level: 'error', kind: 'segmentDamaged', fields });
      return undefined;
    }
    return { header, fields: tally.finish(segmentSeq) };
  }

  #writeSynced(file: FileHandle, position: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#options.fileSystem.submit(
        [
          { kind: 'write', file, position, bytes: this.#staging },
          { kind: 'sync', file },
        ],
        (failure) => {
          if (failure === undefined) resolve();
          else reject(new Error(failure.systemCode));
        },
      );
    });
  }

  #pause(): Promise<boolean> {
    if (this.#isStopped || this.#isGivenUp) return Promise.resolve(false);
    const { clock } = this.#options;
    const sliceMs = clock.monotonicMs() - this.#sliceFromMs;
    const pauseMs = Math.min(pauseMsMax, Math.max(pauseMsMin, sliceMs * pausesPerSlice));
    return new Promise((resolve) => {
      const cancel = clock.setTimer(pauseMs, () => {
        this.#wake = undefined;
        this.#sliceFromMs = clock.monotonicMs();
        resolve(true);
      });
      this.#wake = (): void => {
        cancel();
        resolve(false);
      };
    });
  }
}

/** The block in which a trailer should stand, read past the page cache; shorter where the file ends before it. */
export async function readTrailer(
  fileSystem: FileSystem,
  path: string,
  trailerOffset: number,
): Promise<Uint8Array> {
  const file = await fileSystem.open(path, { access: 'durableWrite' });
  try {
    return await fileSystem.read(file, trailerOffset, blockBytes);
  } finally {
    await fileSystem.close(file);
  }
}
