/**
 * Random access to entries in the journal: finds the run that holds an index (in memory for the segment in use, in `.idx`
 * files for closed ones), reads blocks progressively and believes only frames that verify.
 */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, PartitionId } from '../base/ids.ts';
import {
  frameBytesAt,
  frameIndex,
  framePartitionId,
  frameTerm,
  verifyFrame,
} from '../codec/entry-frame.ts';
import {
  decodeSegmentIndex,
  segmentIndexFileName,
  type SegmentIndexRow,
} from '../codec/idx-format.ts';
import {
  blockBytes,
  blockHeaderBytes,
  blockOffset,
  readSegmentHeader,
  segmentFileName,
  type BlockSuite,
} from '../codec/segment-format.ts';
import type { FileHandle, FileSystem } from '../ports/file-system.ts';
import type { JournalKeys } from './journal-keys.ts';
import type { FrameBatch } from './log-store-types.ts';

/** Segments kept open for reading. */
const openSegmentsMax = 16;
/** `.idx` files kept in memory. */
const indexesMax = 8;
const readBlocks = 16;
const noBytes = new Uint8Array(0);

/** What to read. */
export interface EntryRange {
  readonly partitionId: PartitionId;
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly bytesMax: number;
}

/** A run within a segment. */
export interface RunPlace {
  readonly segmentSeq: number;
  /** File offset behind the last block that may be read. */
  readonly endOffset: number;
  readonly run: Omit<SegmentIndexRow, 'partitionId'>;
}

interface OpenForReading {
  readonly file: FileHandle;
  readonly suite: BlockSuite;
  /** Reads under way; a file that is left is closed behind the last one. */
  readers: number;
  isLeft: boolean;
}

/** See the file comment. */
export class SegmentReader {
  readonly #fileSystem: FileSystem;
  readonly #folder: string;
  readonly #keys: JournalKeys;
  readonly #open = new Map<number, Promise<OpenForReading>>();
  readonly #indexes = new Map<number, ReadonlyMap<PartitionId, readonly SegmentIndexRow[]>>();

  constructor(fileSystem: FileSystem, folder: string, keys: JournalKeys) {
    this.#fileSystem = fileSystem;
    this.#folder = folder;
    this.#keys = keys;
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

  /** The run of a closed segment that holds an entry. @throws ClustorError `CLUSTOR_INTEGRITY`. */
  async runInClosed(
    segment: { readonly segmentSeq: number; readonly endOffset: number },
    wanted: { readonly partitionId: PartitionId; readonly index: LogIndex },
  ): Promise<RunPlace> {
    const rows = (await this.#indexOf(segment)).get(wanted.partitionId) ?? [];
    // A later row supersedes an earlier one for the same index: the earlier entry was truncated in between.
    const run = rows.findLast(
      (row) => wanted.index >= row.firstIndex && wanted.index < row.firstIndex + row.count,
    );
    if (run === undefined)
      throw new ClustorError(
        'CLUSTOR_INTEGRITY',
        `the index of segment ${segment.segmentSeq} lacks entry ${wanted.index} of partition ${wanted.partitionId}`,
      );
    return { ...segment, run };
  }

  /** Reads entries of one run, at least one and about `bytesMax` bytes. @throws ClustorError `CLUSTOR_INTEGRITY`. */
  async readRun(place: RunPlace, range: EntryRange): Promise<FrameBatch> {
    const opened = await this.#segment(place.segmentSeq);
    opened.readers++;
    try {
      return await this.#readFrom(opened, place, range);
    } finally {
      opened.readers--;
      if (opened.isLeft && opened.readers === 0) await this.#fileSystem.close(opened.file);
    }
  }

  /** The file of a segment was replaced: reads from now on open the new one. */
  async leave(segmentSeq: number): Promise<void> {
    const opening = this.#open.get(segmentSeq);
    this.#open.delete(segmentSeq);
    if (opening !== undefined) await this.#leave(await opening);
  }

  async #readFrom(
    { file, suite }: OpenForReading,
    place: RunPlace,
    range: EntryRange,
  ): Promise<FrameBatch> {
    const lastIndex = Math.min(range.lastIndex, place.run.firstIndex + place.run.count - 1);
    const gathered = new GatheredFrames(range, place.run);
    let block = place.run.block;
    let skip = place.run.offset;
    // A flush of one entry fills a block: so many hold the wanted entries, unless they are large; then the next reads are.
    let countMax = Math.min(readBlocks, lastIndex - place.run.firstIndex + 2);
    while (!gathered.isDone(lastIndex)) {
      const count = Math.min(countMax, (place.endOffset - blockOffset(block)) / blockBytes);
      countMax = readBlocks;
      if (count <= 0) throw damaged(range, `segment ${place.segmentSeq} ends before it`);
      const bytes = await this.#fileSystem.read(file, blockOffset(block), count * blockBytes);
      for (let at = 0; at < count && !gathered.isDone(lastIndex); at++) {
        const plainBytes =
          (at + 1) * blockBytes <= bytes.length
            ? suite.open(bytes, at * blockBytes, block + at)
            : 0;
        if (plainBytes === 0)
          throw damaged(range, `block ${block + at} of segment ${place.segmentSeq} is damaged`);
        gathered.add(
          bytes.subarray(
            at * blockBytes + blockHeaderBytes + skip,
            at * blockBytes + blockHeaderBytes + plainBytes,
          ),
          lastIndex,
        );
        skip = 0;
      }
      block += count;
    }
    return gathered.batch();
  }

  /** Closes all files. */
  async close(): Promise<void> {
    const opened = [...this.#open.values()];
    this.#open.clear();
    for (const one of opened) await this.#fileSystem.close((await one).file);
  }

  #segment(segmentSeq: number): Promise<OpenForReading> {
    const known = this.#open.get(segmentSeq);
    if (known !== undefined) return known;
    const opening = this.#openSegment(segmentSeq);
    this.#open.set(segmentSeq, opening);
    opening.catch(() => this.#open.delete(segmentSeq));
    if (this.#open.size > openSegmentsMax) void this.#closeOldest(segmentSeq);
    return opening;
  }

  async #openSegment(segmentSeq: number): Promise<OpenForReading> {
    const file = await this.#fileSystem.open(`${this.#folder}/${segmentFileName(segmentSeq)}`, {
      access: 'read',
    });
    const bytes = await this.#fileSystem.read(file, 0, blockBytes);
    const header = readSegmentHeader(bytes);
    const suite = this.#keys.opener(bytes, header);
    if (suite !== undefined) return { file, suite, readers: 0, isLeft: false };
    await this.#fileSystem.close(file);
    throw new ClustorError(
      'CLUSTOR_INTEGRITY',
      `the header of segment ${segmentSeq} is not authentic`,
    );
  }

  async #closeOldest(except: number): Promise<void> {
    for (const [segmentSeq, opened] of this.#open) {
      if (segmentSeq === except) continue;
      this.#open.delete(segmentSeq);
      await this.#leave(await opened);
      return;
    }
  }

  async #leave(opened: OpenForReading): Promise<void> {
    opened.isLeft = true;
    if (opened.readers === 0) await this.#fileSystem.close(opened.file);
  }

  async #indexOf(segment: {
    readonly segmentSeq: number;
    readonly endOffset: number;
  }): Promise<ReadonlyMap<PartitionId, readonly SegmentIndexRow[]>> {
    const known = this.#indexes.get(segment.segmentSeq);
    if (known !== undefined) {
      this.#indexes.delete(segment.segmentSeq);
      this.#indexes.set(segment.segmentSeq, known);
      return known;
    }
    const bytes = await this.#fileSystem.readFile(
      `${this.#folder}/${segmentIndexFileName(segment.segmentSeq)}`,
    );
    const index = bytes === undefined ? undefined : decodeSegmentIndex(bytes, segment);
    if (index === undefined)
      throw new ClustorError(
        'CLUSTOR_INTEGRITY',
        `the index of segment ${segment.segmentSeq} is missing or damaged; it is rebuilt at the next start`,
      );
    this.addIndex(segment.segmentSeq, index.rows);
    return (
      this.#indexes.get(segment.segmentSeq) ?? new Map<PartitionId, readonly SegmentIndexRow[]>()
    );
  }

  #evictIndexes(): void {
    for (const segmentSeq of this.#indexes.keys()) {
      if (this.#indexes.size <= indexesMax) return;
      this.#indexes.delete(segmentSeq);
    }
  }
}

/** Collects the wanted frames out of a plaintext stream. */
class GatheredFrames {
  readonly #range: EntryRange;
  readonly #run: Omit<SegmentIndexRow, 'partitionId'>;
  /** Grows with what is read: most reads are of a few entries. */
  #bytes: Uint8Array = noBytes;
  #length = 0;
  /** Start of the first wanted frame. */
  #from = 0;
  /** Start of the first frame not looked at. */
  #at = 0;
  #nextIndex: number;
  #firstTaken = 0;

  constructor(range: EntryRange, run: Omit<SegmentIndexRow, 'partitionId'>) {
    this.#range = range;
    this.#run = run;
    this.#nextIndex = run.firstIndex;
  }

  isDone(lastIndex: number): boolean {
    return (
      this.#nextIndex > lastIndex ||
      (this.#firstTaken > 0 && this.#at - this.#from >= this.#range.bytesMax)
    );
  }

  add(plain: Uint8Array, lastIndex: number): void {
    const needed = this.#length + plain.length;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(plain, this.#length);
    this.#length = needed;
    while (!this.isDone(lastIndex)) {
      const size = frameBytesAt(this.#bytes, this.#at, this.#length);
      if (size === 0) return;
      this.#check(size);
      if (this.#nextIndex >= this.#range.firstIndex && this.#firstTaken === 0) {
        this.#firstTaken = this.#nextIndex;
        this.#from = this.#at;
      }
      this.#at += size;
      this.#nextIndex++;
    }
  }

  batch(): FrameBatch {
    return {
      firstIndex: this.#firstTaken as LogIndex,
      lastIndex: (this.#nextIndex - 1) as LogIndex,
      lastTerm: this.#run.term,
      bytes: this.#bytes.slice(this.#from, this.#at),
    };
  }

  #check(size: number): void {
    const isRight =
      size > 0 &&
      frameIndex(this.#bytes, this.#at) === this.#nextIndex &&
      frameTerm(this.#bytes, this.#at) === this.#run.term &&
      framePartitionId(this.#bytes, this.#at) === this.#range.partitionId &&
      verifyFrame(this.#bytes, this.#at);
    if (!isRight)
      throw damaged(this.#range, `the frame of entry ${this.#nextIndex} does not verify`);
  }
}

function damaged(range: EntryRange, detail: string): ClustorError {
  return new ClustorError(
    'CLUSTOR_INTEGRITY',
    `entry ${range.firstIndex} of partition ${range.partitionId} cannot be read: ${detail}`,
  );
}
