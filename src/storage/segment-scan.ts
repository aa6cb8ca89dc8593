/**
 * Reading a segment unit by unit, past the page cache (specification §5.3).
 *
 * Up to `coveredEnd` every block must be part of a good unit: one that is not is damage, and reading goes on at the next frame
 * start that a good unit names. Behind it the first bad unit ends the journal: what was never covered was never acknowledged.
 * A block that the disk does not give back is a bad one for those who ask for it; for the others the scan fails.
 */
import { ClustorError } from '../base/errors.ts';
import type { ClusterId, NodeId } from '../base/ids.ts';
import { frameBytesAt, verifyFrame } from '../codec/entry-frame.ts';
import {
  blockBytes,
  blockOffset,
  claimedBlocks,
  flagFirstOfFlush,
  flagLastOfFlush,
  noFirstFrame,
  readSegmentHeader,
  unitBlocks,
  unitFirstFrame,
  unitFlags,
  unitHeaderBytes,
  type UnitSuite,
  type SegmentHeader,
} from '../codec/segment-format.ts';
import type { FileHandle, FileSystem } from '../ports/file-system.ts';
import { readBlocks, type BlocksRead, type BlockSource, type BlockStretch } from './block-reads.ts';
import type { JournalKeys } from './journal-keys.ts';

/** A whole frame whose CRC is right. */
export interface ScannedFrame {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly length: number;
  /** Unit and plaintext offset at which it starts. */
  readonly block: number;
  readonly offset: number;
  /** Unit in which it ends. */
  readonly lastUnit: number;
  /** Ordinal of its flush within the segment. */
  readonly flush: number;
  /** File offset behind the unit in which it ends. */
  readonly endOffset: number;
}

/** What a scan asks of a disk. */
export type SegmentSource = Pick<FileSystem, 'listDirectory' | 'open' | 'size' | 'read' | 'close'>;

/** What to scan. */
export interface SegmentScanOptions {
  readonly fileSystem: SegmentSource;
  readonly path: string;
  readonly segmentSeq: number;
  /** Number of the block behind the header: 0 in a segment, another one in what was saved of it. Offsets are of the file then. */
  readonly firstBlock?: number;
  readonly owner: {
    readonly clusterId: ClusterId;
    readonly nodeId: NodeId;
    /** Opens its units. */
    readonly keys: JournalKeys;
  };
  /** File offset up to which the ledger covers this segment. */
  readonly coveredEnd: number;
  /** File offset at which the segment was closed; `undefined` for the one in use. */
  readonly closedEnd: number | undefined;
  readonly onFrame: (frame: ScannedFrame) => void;
  /** Called for each bad block at or before coverage. */
  readonly onDamagedBlock?: (block: number) => void;
  /** Called for bytes of good units that are no whole frame: a wrong CRC, or no frame at all. */
  readonly onBadFrame?: (frame: BadFrame) => void;
  /** What blocks are that the disk does not give back: bad ones like others, or, by default, a failure of the scan. */
  readonly badSectors?: 'damage' | 'failure';
  /** Asked between slices of work in the background; resolves with whether to go on. */
  readonly pace?: () => Promise<boolean>;
}

/** Where good units hold no good frame. */
export interface BadFrame {
  readonly block: number;
  readonly offset: number;
  readonly reason: 'its CRC is wrong' | 'it is malformed';
}

/** What a scan found. */
export interface SegmentScanResult {
  readonly header: SegmentHeader | undefined;
  /** Behind the last good unit. */
  readonly endOffset: number;
  readonly blocksRead: number;
  readonly framesRead: number;
  /** Blocks at or before coverage that are bad. */
  readonly damagedBlocks: number;
  /** Of these, blocks that the disk does not give back. */
  readonly unreadableBlocks: number;
  readonly endedAt: string;
}

const sliceBlocksMax = 256;
/** Blocks of a slice in the background: well below 5 ms of work. */
const pacedReadBlocks = 32;

/** Scans a segment. A missing or headless file counts as damage of everything covered. */
export async function scanSegment(options: SegmentScanOptions): Promise<SegmentScanResult> {
  const { fileSystem, path, segmentSeq } = options;
  const nothing = (endedAt: string): SegmentScanResult => {
    const damagedBlocks = Math.max(0, (options.coveredEnd - blockOffset(0)) / blockBytes);
    return {
      header: undefined,
      endOffset: blockOffset(0),
      blocksRead: 0,
      framesRead: 0,
      damagedBlocks,
      unreadableBlocks: 0,
      endedAt,
    };
  };
  const file = await openIfThere(fileSystem, path);
  if (file === undefined) return nothing('the file is missing');
  try {
    const { bytes, unreadable } = await read(options, file, { position: 0, length: blockBytes });
    if (unreadable.length > 0) return nothing('the header cannot be read');
    const header = headerOf(bytes, options);
    if (header === undefined) return nothing('the header is damaged');
    if (header.segmentSeq !== segmentSeq)
      return nothing(`the header names segment ${header.segmentSeq}`);
    const suite = options.owner.keys.opener(bytes, header);
    if (suite === undefined) return nothing('the header is not authentic');
    return await scanBlocks(options, file, { header, suite });
  } finally {
    await fileSystem.close(file);
  }
}

/** Reads a stretch as the scan wants it where the disk refuses. */
async function read(
  { fileSystem, badSectors }: SegmentScanOptions,
  file: BlockSource['file'],
  stretch: BlockStretch,
): Promise<BlocksRead> {
  if (badSectors === 'damage') return readBlocks({ fileSystem, file }, stretch);
  return {
    bytes: await fileSystem.read(file, stretch.position, stretch.length),
    unreadable: [],
  };
}

async function openIfThere(
  fileSystem: SegmentSource,
  path: string,
): Promise<FileHandle | undefined> {
  const slash = path.lastIndexOf('/');
  const names = await fileSystem.listDirectory(path.slice(0, slash));
  return names.includes(path.slice(slash + 1))
    ? fileSystem.open(path, { access: 'durableWrite' })
    : undefined;
}

function headerOf(bytes: Uint8Array, options: SegmentScanOptions): SegmentHeader | undefined {
  let header: SegmentHeader;
  try {
    header = readSegmentHeader(bytes);
  } catch (error) {
    if (error instanceof ClustorError && error.code === 'CLUSTOR_INTEGRITY') return undefined;
    throw error;
  }
  if (header.clusterId !== options.owner.clusterId || header.nodeId !== options.owner.nodeId) {
    throw new ClustorError(
      'CLUSTOR_WRONG_DATA_DIRECTORY',
      `${options.path} belongs to node ${header.nodeId} of cluster ${header.clusterId}`,
    );
  }
  return header;
}

async function scanBlocks(
  options: SegmentScanOptions,
  file: FileHandle,
  { header, suite }: { readonly header: SegmentHeader; readonly suite: UnitSuite },
): Promise<SegmentScanResult> {
  const { fileSystem, coveredEnd, closedEnd, pace, firstBlock = 0 } = options;
  const sliceBlocks = pace === undefined ? sliceBlocksMax : pacedReadBlocks;
  const size = await fileSystem.size(file);
  // A file may have been cut within a block.
  const limit = Math.min(closedEnd ?? size, size - (size % blockBytes));
  const frames = new FrameStream(options.onFrame, options.onBadFrame);
  // The first of some saved blocks may go on with a frame that began before them.
  if (firstBlock > 0) frames.lost();
  let damagedBlocks = Math.max(
    0,
    (Math.min(coveredEnd, closedEnd ?? coveredEnd) - limit) / blockBytes,
  );
  let endOffset = blockOffset(0);
  let blocksRead = 0;
  let unreadableBlocks = 0;
  const ended = (endedAt: string): SegmentScanResult => ({
    header,
    endOffset,
    blocksRead,
    framesRead: frames.count,
    damagedBlocks,
    unreadableBlocks,
    endedAt,
  });
  for (let block = 0; blockOffset(block + 1) <= limit;) {
    if (block > 0 && pace !== undefined && !(await pace())) return ended('stopped');
    const count = Math.min(sliceBlocks, (limit - blockOffset(block)) / blockBytes);
    const { bytes, unreadable } = await read(options, file, {
      position: blockOffset(block),
      length: count * blockBytes,
    });
    const isLastSlice = blockOffset(block + count) === limit;
    let at = 0;
    while (at < count) {
      const offset = at * blockBytes;
      // A unit that goes on behind the slice begins the next one.
      if (!isLastSlice && at > 0 && at + claimedBlocks(bytes, offset) > count) break;
      const number = firstBlock + block + at;
      const plainBytes =
        offset + blockBytes <= bytes.length ? suite.open(bytes, offset, number) : 0;
      if (plainBytes > 0) {
        const unit = { number, blocks: unitBlocks(plainBytes), plainBytes };
        frames.add(bytes, offset, unit);
        blocksRead += unit.blocks;
        at += unit.blocks;
        endOffset = blockOffset(block + at);
        continue;
      }
      blocksRead++;
      at++;
      const behind = blockOffset(block + at);
      const isUnreadable = unreadable.includes(behind - blockBytes);
      if (behind > coveredEnd)
        return ended(`block ${number} ${isUnreadable ? 'cannot be read' : 'is unwritten or torn'}`);
      damagedBlocks++;
      if (isUnreadable) unreadableBlocks++;
      options.onDamagedBlock?.(number);
      frames.lost();
    }
    block += at;
  }
  return ended('the end of the segment');
}

/** A unit that is good. */
interface GoodUnit {
  readonly number: number;
  readonly blocks: number;
  readonly plainBytes: number;
}

/** Puts frames together from the plaintexts of units. */
class FrameStream {
  readonly #onFrame: (frame: ScannedFrame) => void;
  readonly #onBadFrame: ((frame: BadFrame) => void) | undefined;
  /** The beginning of a frame that goes on in the next unit. */
  #carry = new Uint8Array(4 * 1024);
  #carried = 0;
  #carryBlock = 0;
  #carryOffset = 0;
  #isLost = false;
  #flush = 0;
  count = 0;

  constructor(
    onFrame: (frame: ScannedFrame) => void,
    onBadFrame: ((frame: BadFrame) => void) | undefined,
  ) {
    this.#onFrame = onFrame;
    this.#onBadFrame = onBadFrame;
  }

  /** A block could not be read: wait for the next frame start. */
  lost(): void {
    this.#isLost = true;
    this.#carried = 0;
  }

  add(bytes: Uint8Array, unitStart: number, unit: GoodUnit): void {
    const flags = unitFlags(bytes, unitStart);
    let from = 0;
    if ((flags & flagFirstOfFlush) !== 0) {
      this.#endFlush();
      this.#isLost = false;
      this.#flush++;
    } else if (this.#isLost) {
      const firstFrame = unitFirstFrame(bytes, unitStart);
      if (firstFrame === noFirstFrame || firstFrame >= unit.plainBytes) return;
      from = firstFrame;
      this.#isLost = false;
    }
    const plain = bytes.subarray(
      unitStart + unitHeaderBytes + from,
      unitStart + unitHeaderBytes + unit.plainBytes,
    );
    this.#take(plain, unit, from);
    if ((flags & flagLastOfFlush) !== 0) this.#endFlush();
  }

  /** No frame goes on in another flush: one that would has a wrong length. */
  #endFlush(): void {
    if (this.#carried > 0)
      this.#onBadFrame?.({
        block: this.#carryBlock,
        offset: this.#carryOffset,
        reason: 'it is malformed',
      });
    this.#carried = 0;
  }

  #take(plain: Uint8Array, unit: GoodUnit, from: number): void {
    const endOffset = blockOffset(unit.number + unit.blocks);
    const carried = this.#carried;
    const stream = carried === 0 ? plain : this.#joined(plain);
    this.#carried = 0;
    let at = 0;
    while (at < stream.length) {
      const length = frameBytesAt(stream, at, stream.length);
      const block = at >= carried ? unit.number : this.#carryBlock;
      const offset = at >= carried ? from + at - carried : this.#carryOffset;
      if (length < 0) {
        this.#onBadFrame?.({ block, offset, reason: 'it is malformed' });
        this.lost();
        return;
      }
      if (length === 0) {
        this.#keep(stream.subarray(at), { block, offset });
        return;
      }
      if (verifyFrame(stream, at)) {
        this.count++;
        this.#onFrame({
          bytes: stream,
          start: at,
          length,
          block,
          offset,
          lastUnit: unit.number,
          flush: this.#flush,
          endOffset,
        });
      } else this.#onBadFrame?.({ block, offset, reason: 'its CRC is wrong' });
      at += length;
    }
  }

  #joined(plain: Uint8Array): Uint8Array {
    const total = this.#carried + plain.length;
    this.#reserve(total);
    this.#carry.set(plain, this.#carried);
    return this.#carry.subarray(0, total);
  }

  #keep(rest: Uint8Array, place: { readonly block: number; readonly offset: number }): void {
    this.#reserve(rest.length);
    this.#carry.set(rest, 0);
    this.#carried = rest.length;
    this.#carryBlock = place.block;
    this.#carryOffset = place.offset;
  }

  #reserve(length: number): void {
    if (length <= this.#carry.length) return;
    const larger = new Uint8Array(Math.max(length, this.#carry.length * 2));
    larger.set(this.#carry.subarray(0, this.#carried));
    this.#carry = larger;
  }
}
