/**
 * What a segment that goes may still hold of a partition in `Integrity` quarantine (specification DUR-5, §5.1).
 *
 * No log has a live entry in such a segment, so nothing can be read from it in the ordinary way. But damage may lie over entries
 * that the partition lacks, and where every replica lacks the same ones, its raw blocks are the last that there is of them. They
 * move to the partition's own folder before the segment goes, and stay until its quarantine is over: then it holds everything
 * again, and they are worth nothing.
 *
 * ```
 * partitions/<partition id>/salvage/segment-<seq>-block-<number>.salvage
 * file   the header of the segment, 4,096 bytes · the segment's blocks from that number on, as they were
 * ```
 * A unit opens with its number and the segment's header, so each file can be read by itself; files that follow each other are
 * read as one, since a unit may go on in the next.
 *
 * A segment stays as it is, until the quarantine is over, where saving would lose something or give nothing back: its header
 * is bad, the disk does not give back a block of it, or as many blocks would be saved as it has.
 *
 * Crash story. Files and folder are synced before `segmentRetired` is; a start that finds both writes the same files again.
 */
import { ClustorError, isClustorError } from '../base/errors.ts';
import type { IndexRange } from '../base/index-ranges.ts';
import type { ClusterId, NodeId, PartitionId } from '../base/ids.ts';
import { frameIndex, framePartitionId } from '../codec/entry-frame.ts';
import {
  blockBytes,
  blockOffset,
  readSegmentHeader,
  segmentFileName,
  segmentSeqOfFileName,
  type SegmentHeader,
} from '../codec/segment-format.ts';
import type { FileHandle, FileSystem } from '../ports/file-system.ts';
import type { Observer } from '../ports/observer.ts';
import { readBlocks } from './block-reads.ts';
import type { JournalKeys } from './journal-keys.ts';
import type { LedgerImage } from './ledger-image.ts';
import type { PartitionLog } from './partition-log.ts';
import { walFolder } from './recovery.ts';
import { scanSegment, type ScannedFrame } from './segment-scan.ts';

/** What it works on. */
export interface SegmentSalvageOptions {
  readonly fileSystem: FileSystem;
  readonly observer: Observer;
  readonly directory: string;
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly keys: JournalKeys;
  readonly image: LedgerImage;
  /** Asked between slices of reading; resolves with whether to go on. */
  readonly pace: () => Promise<boolean>;
}

/** A closed segment that is about to go. */
export interface SegmentToSalvage {
  readonly segmentSeq: number;
  readonly endOffset: number;
}

interface BlockRange {
  readonly first: number;
  readonly last: number;
}

/** Blocks of one file: its content stands in memory. */
const fileBlocksMax = 256;
/** Good blocks between two that are kept come along when they are so few. */
const gapBlocksMax = 8;

/** See the file comment. */
export class SegmentSalvage {
  readonly #options: SegmentSalvageOptions;
  /** Partitions whose folder is known to be gone. */
  readonly #cleared = new Set<PartitionId>();

  constructor(options: SegmentSalvageOptions) {
    this.#options = options;
  }

  /**
   * Saves what a segment may hold of these logs; synced when it resolves with true. False: the segment must stay. @throws
   * ClustorError where something cannot be read or written, or the work is to end: then it stays as well.
   */
  async save(segment: SegmentToSalvage, logs: readonly PartitionLog[]): Promise<boolean> {
    const lacking = logs.filter((log) => this.#lackedOf(log).length > 0);
    if (lacking.length === 0) return true;
    const wanted = await this.#find(segment, lacking);
    if (wanted === undefined) return false;
    const rows = [...wanted].map(([log, ranges]) => ({ log, ranges: joined(ranges) }));
    const blocks = rows.reduce((sum, { ranges }) => sum + countOf(ranges), 0);
    if (blocks >= blockBehind(segment.endOffset)) return false;
    for (const { log, ranges } of rows)
      if (ranges.length > 0 && !(await this.#write(segment, log, ranges))) return false;
    return true;
  }

  /** Removes what was saved of a log whose quarantine is over. That of a replica which was replaced stays: nobody said that it is worth nothing. */
  async drop({ partitionId, incarnation, quarantine }: PartitionLog): Promise<void> {
    const { fileSystem, image, observer } = this.#options;
    const row = image.partitions.get(partitionId)?.quarantine;
    const isOver =
      row?.isActive === false && row.incarnation === incarnation && quarantine?.isActive !== true;
    if (!isOver || this.#cleared.has(partitionId)) return;
    const folder = this.#folderOf(partitionId);
    const names = await fileSystem.listDirectory(folder);
    for (const name of names) await fileSystem.remove(`${folder}/${name}`);
    if (names.length > 0) {
      await fileSystem.removeDirectory(folder);
      await fileSystem.syncDirectory(folder.slice(0, folder.lastIndexOf('/')));
      observer.emit({ level: 'info', kind: 'salvageRemoved', fields: { partitionId } });
    }
    this.#cleared.add(partitionId);
  }

  /** Entries that the log lacks by the ledger, or by a record that is on its way there. */
  #lackedOf({ partitionId, quarantine }: PartitionLog): readonly IndexRange[] {
    if (quarantine?.isActive !== true) return [];
    const row = this.#options.image.partitions.get(partitionId)?.quarantine;
    return [...(row?.isActive === true ? row.ranges : []), ...quarantine.ranges];
  }

  #folderOf(partitionId: PartitionId): string {
    return salvageFolder(this.#options.directory, partitionId);
  }

  /** Blocks of entries that a log lacks, and every stretch between two good frames in which something is damaged. */
  async #find(
    { segmentSeq, endOffset }: SegmentToSalvage,
    logs: readonly PartitionLog[],
  ): Promise<ReadonlyMap<PartitionLog, readonly BlockRange[]> | undefined> {
    const { fileSystem, directory, clusterId, nodeId, keys } = this.#options;
    const damaged: BlockRange[] = [];
    const byId = new Map(
      logs.map((log) => [log.partitionId, { log, ranges: this.#lackedOf(log) }]),
    );
    const wanted = new Map<PartitionLog, BlockRange[]>(logs.map((log) => [log, []]));
    const lastBlock = blockBehind(endOffset) - 1;
    let goodUntil = 0;
    let isDamaged = false;
    const note = (): void => {
      isDamaged = true;
    };
    const goOn = (lastBlock: number): void => {
      if (isDamaged) damaged.push({ first: goodUntil, last: lastBlock });
      isDamaged = false;
    };
    const result = await scanSegment({
      fileSystem,
      path: `${walFolder(directory)}/${segmentFileName(segmentSeq)}`,
      segmentSeq,
      owner: { clusterId, nodeId, keys },
      coveredEnd: endOffset,
      closedEnd: endOffset,
      badSectors: 'damage',
      pace: this.#options.pace,
      onFrame: (frame) => {
        const lastOfFrame = blockBehind(frame.endOffset) - 1;
        goOn(lastOfFrame);
        goodUntil = frame.lastUnit;
        const lacking = byId.get(framePartitionId(frame.bytes, frame.start));
        if (lacking !== undefined && this.#isLacked(lacking, segmentSeq, frame))
          wanted.get(lacking.log)?.push({ first: frame.block, last: lastOfFrame });
      },
      onDamagedBlock: note,
      onBadFrame: note,
    });
    if (result.endedAt === 'stopped')
      throw new ClustorError('CLUSTOR_CLOSED', 'the store is being closed');
    // What the disk does not give back today may be there tomorrow, and nothing opens without its header.
    if (result.header === undefined || result.unreadableBlocks > 0) return undefined;
    if (result.endOffset < endOffset && result.damagedBlocks > 0) note();
    goOn(lastBlock);
    return new Map([...wanted].map(([log, ranges]) => [log, [...damaged, ...ranges]]));
  }

  /** Whether a whole frame is one of those that its log says it cannot read. */
  #isLacked(
    { log, ranges }: { readonly log: PartitionLog; readonly ranges: readonly IndexRange[] },
    segmentSeq: number,
    { bytes, start, block }: ScannedFrame,
  ): boolean {
    const { partitionId } = log;
    const index = frameIndex(bytes, start);
    if (!ranges.some(({ firstIndex, lastIndex }) => firstIndex <= index && lastIndex >= index))
      return false;
    return !this.#options.image.isDead(segmentSeq, { partitionId, firstIndex: index, block });
  }

  /** False where a block could not be read this time. */
  async #write(
    { segmentSeq }: SegmentToSalvage,
    { partitionId }: PartitionLog,
    ranges: readonly BlockRange[],
  ): Promise<boolean> {
    const { fileSystem, directory, observer, pace } = this.#options;
    const path = `${walFolder(directory)}/${segmentFileName(segmentSeq)}`;
    const folder = this.#folderOf(partitionId);
    await fileSystem.makeDirectory(folder);
    this.#cleared.delete(partitionId);
    const file = await fileSystem.open(path, { access: 'durableWrite' });
    try {
      for (const { first, last } of ranges)
        for (let at = first; at <= last; at += fileBlocksMax) {
          if (!(await pace()))
            throw new ClustorError('CLUSTOR_CLOSED', 'the store is being closed');
          const blocks = { first: at, last: Math.min(last, at + fileBlocksMax - 1) };
          const copy = await this.#copyOf(file, blocks);
          if (copy === undefined) return false;
          await fileSystem.replaceFile(`${folder}/${salvageFileName(segmentSeq, at)}`, copy);
        }
    } finally {
      await fileSystem.close(file);
    }
    const fields = { partitionId, segmentSeq, blocks: countOf(ranges), folder };
    observer.emit({ level: 'warn', kind: 'segmentSalvaged', fields });
    return true;
  }

  /** The header and a stretch of blocks; `undefined` where the disk does not give all of it back. */
  async #copyOf(file: FileHandle, { first, last }: BlockRange): Promise<Uint8Array | undefined> {
    const source = { fileSystem: this.#options.fileSystem, file };
    const header = await readBlocks(source, { position: 0, length: blockBytes });
    const length = (last - first + 1) * blockBytes;
    const { bytes, unreadable } = await readBlocks(source, {
      position: blockOffset(first),
      length,
    });
    if (header.unreadable.length + unreadable.length > 0) return undefined;
    const copy = new Uint8Array(blockBytes + bytes.length);
    copy.set(header.bytes);
    copy.set(bytes, blockBytes);
    return copy;
  }
}

/** Key epochs of what was saved of encrypted segments: without those keys it is worth nothing. */
export async function salvageKeyEpochs(
  fileSystem: FileSystem,
  directory: string,
): Promise<ReadonlySet<number>> {
  const epochs = new Set<number>();
  for (const partition of await fileSystem.listDirectory(`${directory}/partitions`)) {
    const folder = salvageFolder(directory, partition);
    for (const name of await fileSystem.listDirectory(folder)) {
      const header = await headerOf(fileSystem, `${folder}/${name}`);
      if (header?.isEncrypted === true) epochs.add(header.dekEpoch);
    }
  }
  return epochs;
}

/** The header in a file that was saved; `undefined` when the file is gone meanwhile. @throws ClustorError where it cannot be read. */
async function headerOf(fileSystem: FileSystem, path: string): Promise<SegmentHeader | undefined> {
  let file: FileHandle;
  try {
    file = await fileSystem.open(path, { access: 'read' });
  } catch (error) {
    if (isClustorError(error) && error.details['systemCode'] === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return readSegmentHeader(await fileSystem.read(file, 0, blockBytes));
  } finally {
    await fileSystem.close(file);
  }
}

/** Where a partition's salvage is. */
export function salvageFolder(directory: string, partition: string): string {
  return `${directory}/partitions/${partition}/salvage`;
}

function salvageFileName(segmentSeq: number, block: number): string {
  const name = segmentFileName(segmentSeq).replace(/\.log$/, '');
  return `${name}-block-${block.toString().padStart(10, '0')}.salvage`;
}

/** Which segment a file was saved of, and from which block on; `undefined` for another file. */
export function savedPlaceOf(
  name: string,
): { readonly segmentSeq: number; readonly firstBlock: number } | undefined {
  const [, segment = '', block = ''] = /^(segment-\d+)-block-(\d{10})\.salvage$/.exec(name) ?? [];
  const segmentSeq = segmentSeqOfFileName(`${segment}.log`);
  return segmentSeq === undefined ? undefined : { segmentSeq, firstBlock: Number(block) };
}

/** Number of the block that begins at a file offset behind whole blocks. */
function blockBehind(endOffset: number): number {
  return (endOffset - blockOffset(0)) / blockBytes;
}

function countOf(ranges: readonly BlockRange[]): number {
  return ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0);
}

/** The same blocks, in order, those near each other as one stretch. */
function joined(ranges: readonly BlockRange[]): readonly BlockRange[] {
  const result: { first: number; last: number }[] = [];
  for (const { first, last } of ranges.toSorted((left, right) => left.first - right.first)) {
    const newest = result.at(-1);
    if (newest !== undefined && first <= newest.last + 1 + gapBlocksMax)
      newest.last = Math.max(newest.last, last);
    else result.push({ first, last });
  }
  return result;
}
