/**
 * Random access to entries in the journal: finds the run that holds an index (in memory for the segment in use, in `.idx`
 * files for closed ones), reads units progressively and believes only frames that verify.
 */
import { ClustorError, isClustorError } from '../base/errors.ts';
import type { ClusterId, NodeId, PartitionId } from '../base/ids.ts';
import type { IndexRange } from '../base/index-ranges.ts';
import type { SegmentIndexRow } from '../codec/idx-format.ts';
import {
  blockBytes,
  blockOffset,
  claimedBlocks,
  readSegmentHeader,
  segmentFileName,
  unitBlocks,
  unitBlocksMax,
  unitFirstFrame,
  unitHeaderBytes,
  type UnitSuite,
} from '../codec/segment-format.ts';
import type { FileHandle, FileSystem } from '../ports/file-system.ts';
import { readBlocks } from './block-reads.ts';
import { DamagedEntries, GatheredFrames, type EntryRange } from './gathered-frames.ts';
import type { JournalKeys } from './journal-keys.ts';
import type { FrameBatch } from './log-store-types.ts';
import { RunRows, rowOf } from './run-rows.ts';
import { readSegmentIndex } from './segment-index-file.ts';
import { scanSegment } from './segment-scan.ts';
import { sealedBlocksMax } from './segment-writer.ts';

/** Segments kept open for reading. */
const openSegmentsMax = 16;
/** `.idx` files kept in memory. */
const indexesMax = 8;
/** Blocks of a read: the largest unit is one. */
const blocksPerRead = unitBlocksMax;

/** A run within a segment. */
export interface RunPlace {
  readonly segmentSeq: number;
  /** File offset behind the last block that may be read. */
  readonly endOffset: number;
  readonly run: Omit<SegmentIndexRow, 'partitionId'>;
}

/** Whose segments they are, and what opens them. */
export interface SegmentOwner {
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly keys: JournalKeys;
  /** Whether a truncation made the frame dead that begins in the block. */
  readonly isDead: (segmentSeq: number, row: SegmentIndexRow) => boolean;
}

/** A segment that is written no more. */
export interface ClosedSegment {
  readonly segmentSeq: number;
  readonly endOffset: number;
}

interface OpenForReading {
  readonly file: FileHandle;
  readonly suite: UnitSuite;
  /** Reads under way; a file that is left is closed behind the last one. */
  readers: number;
  isLeft: boolean;
}

/** See the file comment. */
export class SegmentReader {
  readonly #fileSystem: FileSystem;
  readonly #folder: string;
  readonly #owner: SegmentOwner;
  /** What opens the blocks of segments of this process, as many as the journal has. */
  readonly #suites = new Map<number, UnitSuite>();
  readonly #open = new Map<number, Promise<OpenForReading>>();
  readonly #indexes = new Map<number, ReadonlyMap<PartitionId, readonly SegmentIndexRow[]>>();

  constructor(fileSystem: FileSystem, folder: string, owner: SegmentOwner) {
    this.#fileSystem = fileSystem;
    this.#folder = folder;
    this.#owner = owner;
  }

  /** Takes in a segment that this process writes: what its header says is known, whatever becomes of the header on disk. */
  addSegment(segmentSeq: number, suite: UnitSuite): void {
    this.#suites.set(segmentSeq, suite);
  }

  /** The file of a segment is about to be replaced by one that is sealed anew: from now on its header says what opens it. */
  replacing(segmentSeq: number): void {
    this.#suites.delete(segmentSeq);
  }

  /** The file of a segment was replaced: reads from now on open the new one. */
  async leave(segmentSeq: number): Promise<void> {
    const opening = this.#open.get(segmentSeq);
    this.#open.delete(segmentSeq);
    if (opening !== undefined) await this.#leave(opening);
  }

  /** A segment is read no more: its file goes. */
  async forget(segmentSeq: number): Promise<void> {
    this.#suites.delete(segmentSeq);
    this.#indexes.delete(segmentSeq);
    await this.leave(segmentSeq);
  }

  /** Takes in the rows of a segment that was just closed. */
  addIndex(segmentSeq: number, rows: readonly SegmentIndexRow[]): void {
    const byPartition = new Map<PartitionId, SegmentIndexRow[]>();
    for (const row of rows) {
      const own = byPartition.get(row.partitionId);
      if (own === undefined) byPartition.set(row.partitionId, [row]);
      else own.push(row);
    }
    this.#indexes.set(segmentSeq, byPartition);
    this.#evictIndexes();
  }

  /** The run of a closed segment that holds an entry, the first of those wanted. @throws {@link DamagedEntries}. */
  async runInClosed(
    segment: ClosedSegment,
    wanted: IndexRange & { readonly partitionId: PartitionId },
  ): Promise<RunPlace> {
    const range = { firstIndex: wanted.firstIndex, lastIndex: wanted.lastIndex };
    const index = await this.#indexOf(segment).catch((error: unknown) => {
      // The disk may have it at the next try.
      throw isReadFailure(error)
        ? new DamagedEntries(error.message, { range, isTagRight: true })
        : error;
    });
    const rows = index.get(wanted.partitionId) ?? [];
    // A later row supersedes an earlier one for the same index: the earlier entry was truncated in between.
    const run = rows.findLast(
      ({ firstIndex, count }) =>
        wanted.firstIndex >= firstIndex && wanted.firstIndex < firstIndex + count,
    );
    if (run === undefined)
      throw new DamagedEntries(
        `segment ${segment.segmentSeq} lacks entry ${wanted.firstIndex} of partition ${wanted.partitionId}`,
        { range, isTagRight: false },
      );
    return { ...segment, run };
  }

  /** Reads entries of one run, at least one and about `bytesMax` bytes. @throws {@link DamagedEntries}. */
  async readRun(place: RunPlace, range: EntryRange): Promise<FrameBatch> {
    const opened = await this.#opened(place.segmentSeq);
    if (opened instanceof ClustorError)
      throw new GatheredFrames(range, place.run).damaged(opened.message, isReadFailure(opened));
    try {
      return await this.#readFrom(opened, place, range);
    } finally {
      opened.readers--;
      if (opened.isLeft && opened.readers === 0) await this.#fileSystem.close(opened.file);
    }
  }

  async #readFrom(
    { file, suite }: OpenForReading,
    place: RunPlace,
    range: EntryRange,
  ): Promise<FrameBatch> {
    const lastIndex = Math.min(range.lastIndex, place.run.firstIndex + place.run.count - 1);
    const gathered = new GatheredFrames(range, place.run);
    // A flush of one entry fills a block: so many hold the wanted entries, unless they are large; then the next reads are.
    const usual = Math.max(sealedBlocksMax, lastIndex - place.run.firstIndex + 2);
    let countMax = Math.min(blocksPerRead, usual);
    let block = place.run.block;
    let skip = place.run.offset;
    while (!gathered.isDone(lastIndex)) {
      const left = (place.endOffset - blockOffset(block)) / blockBytes;
      const count = Math.min(countMax, left);
      countMax = blocksPerRead;
      if (count <= 0) throw gathered.ended(`segment ${place.segmentSeq} ends before it`);
      const stretch = { position: blockOffset(block), length: count * blockBytes };
      const { bytes, unreadable } = await readBlocks(
        { fileSystem: this.#fileSystem, file },
        stretch,
      ).catch((error: unknown) => {
        throw isReadFailure(error) ? gathered.damaged(error.message, true) : error;
      });
      let at = 0;
      while (at < count && !gathered.isDone(lastIndex)) {
        const offset = at * blockBytes;
        const claimed = claimedBlocks(bytes, offset);
        // A unit that goes on behind what was read begins the next read, which has room for the largest one.
        if (at + claimed > count && count < left) break;
        const plainBytes =
          offset + blockBytes <= bytes.length ? suite.open(bytes, offset, block + at) : 0;
        if (plainBytes === 0) {
          const detail = `block ${block + at} of segment ${place.segmentSeq} is damaged`;
          const isRefused = unreadable.some(
            (position) =>
              position >= blockOffset(block + at) && position < blockOffset(block + at + claimed),
          );
          gathered.lose(detail, isRefused);
          at++;
        } else {
          if (gathered.isLost) skip = unitFirstFrame(bytes, offset);
          const plainStart = offset + unitHeaderBytes;
          if (skip < plainBytes)
            gathered.add(bytes.subarray(plainStart + skip, plainStart + plainBytes), lastIndex);
          at += unitBlocks(plainBytes);
        }
        skip = 0;
      }
      block += at;
    }
    return gathered.batch();
  }

  /** Closes all files. */
  async close(): Promise<void> {
    const openings = [...this.#open.values()];
    this.#open.clear();
    for (const opening of openings) await this.#leave(opening);
  }

  /** The segment's file, held open for one reader, or why that is not possible: without its salt no block can be told from another. */
  async #opened(segmentSeq: number): Promise<OpenForReading | ClustorError> {
    try {
      for (;;) {
        const opened = await this.#segment(segmentSeq);
        // It may have been left, and closed, while this waited: then another file is the segment's.
        if (opened.isLeft) continue;
        opened.readers++;
        return opened;
      }
    } catch (error) {
      if (isClustorError(error, 'CLUSTOR_INTEGRITY') || isReadFailure(error)) return error;
      throw error;
    }
  }

  #segment(segmentSeq: number): Promise<OpenForReading> {
    const known = this.#open.get(segmentSeq);
    if (known !== undefined) return known;
    const opening = this.#openSegment(segmentSeq);
    this.#open.set(segmentSeq, opening);
    opening.catch(() => {
      if (this.#open.get(segmentSeq) === opening) this.#open.delete(segmentSeq);
    });
    if (this.#open.size > openSegmentsMax) this.#leaveOldest(segmentSeq);
    return opening;
  }

  async #openSegment(segmentSeq: number): Promise<OpenForReading> {
    const file = await this.#fileSystem.open(`${this.#folder}/${segmentFileName(segmentSeq)}`, {
      access: 'read',
    });
    try {
      // Looked up behind the opening: the file is not one that has taken the place of the segment since.
      const suite = this.#suites.get(segmentSeq) ?? (await this.#suiteOf(segmentSeq, file));
      return { file, suite, readers: 0, isLeft: false };
    } catch (error) {
      await this.#fileSystem.close(file);
      throw error;
    }
  }

  async #suiteOf(segmentSeq: number, file: FileHandle): Promise<UnitSuite> {
    const bytes = await this.#fileSystem.read(file, 0, blockBytes);
    const suite = this.#owner.keys.opener(bytes, readSegmentHeader(bytes));
    if (suite !== undefined) return suite;
    throw new ClustorError(
      'CLUSTOR_INTEGRITY',
      `the header of segment ${segmentSeq} is not authentic`,
    );
  }

  /** Closes the file that was opened first. A file that does not let itself be closed is of no more use, and does no harm. */
  #leaveOldest(except: number): void {
    for (const [segmentSeq, opening] of this.#open) {
      if (segmentSeq === except) continue;
      this.#open.delete(segmentSeq);
      this.#leave(opening).catch(() => undefined);
      return;
    }
  }

  /** Closes a file behind its last reader. One that could not be opened has told that to whoever wanted it. */
  async #leave(opening: Promise<OpenForReading>): Promise<void> {
    const opened = await opening.catch(() => undefined);
    if (opened === undefined) return;
    opened.isLeft = true;
    if (opened.readers === 0) await this.#fileSystem.close(opened.file);
  }

  async #indexOf(
    segment: ClosedSegment,
  ): Promise<ReadonlyMap<PartitionId, readonly SegmentIndexRow[]>> {
    const known = this.#indexes.get(segment.segmentSeq);
    if (known !== undefined) {
      this.#indexes.delete(segment.segmentSeq);
      this.#indexes.set(segment.segmentSeq, known);
      return known;
    }
    const index = await readSegmentIndex(this.#fileSystem, this.#folder, segment);
    this.addIndex(segment.segmentSeq, index?.rows ?? (await this.#rowsByScan(segment)));
    return (
      this.#indexes.get(segment.segmentSeq) ?? new Map<PartitionId, readonly SegmentIndexRow[]>()
    );
  }

  async #rowsByScan({ segmentSeq, endOffset }: ClosedSegment): Promise<readonly SegmentIndexRow[]> {
    const rows = new RunRows();
    await scanSegment({
      fileSystem: this.#fileSystem,
      path: `${this.#folder}/${segmentFileName(segmentSeq)}`,
      segmentSeq,
      owner: this.#owner,
      coveredEnd: endOffset,
      closedEnd: endOffset,
      badSectors: 'damage',
      onDamagedBlock: () => rows.interrupt(),
      onBadFrame: () => rows.interrupt(),
      onFrame: (frame) => {
        const row = rowOf(frame);
        if (this.#owner.isDead(segmentSeq, row)) rows.interrupt();
        else rows.add(row, frame.flush);
      },
    });
    return rows.rows;
  }

  #evictIndexes(): void {
    for (const segmentSeq of this.#indexes.keys()) {
      if (this.#indexes.size <= indexesMax) return;
      this.#indexes.delete(segmentSeq);
    }
  }
}

/** Whether the disk did not give what was asked for, as with a bad sector. */
function isReadFailure(error: unknown): error is ClustorError {
  return isClustorError(error, 'CLUSTOR_STORAGE_FAILED');
}
