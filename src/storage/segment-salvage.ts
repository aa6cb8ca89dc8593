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
 * A block opens with its number and its header, so each file can be read by itself. A block that the disk does not give back is
 * zeros in it.
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
   * Saves what a segment may hold of these logs; synced when it resolves. @throws ClustorError where it cannot be read or
   * written, or the work is to end: then the segment must stay.
   */
  async save(segment: SegmentToSalvage, logs: readonly PartitionLog[]): Promise<void> {
    const wanted = await this.#find(segment, logs);
    for (const log of logs) {
      const ranges = joined(wanted.get(log) ?? []);
      if (ranges.length > 0) await this.#write(segment, log.partitionId, ranges);
    }
  }

  /** Removes what was saved of a log that is in no quarantine any more. */
  async drop({ partitionId, quarantine }: PartitionLog): Promise<void> {
    const { fileSystem, image } = this.#options;
    const wasQuarantined = image.partitions.get(partitionId)?.quarantine !== undefined;
    if (quarantine?.isActive === true || !wasQuarantined || this.#cleared.has(partitionId)) return;
    const folder = this.#folderOf(partitionId);
    const names = await fileSystem.listDirectory(folder);
    for (const name of names) await fileSystem.remove(`${folder}/${name}`);
    if (names.length > 0) {
      await fileSystem.removeDirectory(folder);
      await fileSystem.syncDirectory(folder.slice(0, folder.lastIndexOf('/')));
    }
    this.#cleared.add(partitionId);
  }

  #folderOf(partitionId: PartitionId): string {
    return salvageFolder(this.#options.directory, partitionId);
  }

  /** Blocks of entries that a log lacks, and every stretch between two good frames in which something is damaged. */
  async #find(
    { segmentSeq, endOffset }: SegmentToSalvage,
    logs: readonly PartitionLog[],
  ): Promise<ReadonlyMap<PartitionLog, readonly BlockRange[]>> {
    const { fileSystem, directory, clusterId, nodeId, keys } = this.#options;
    const damaged: BlockRange[] = [];
    const lacked = new Map<PartitionLog, BlockRange[]>(logs.map((log) => [log, []]));
    const lastBlock = blockBehind(endOffset) - 1;
    let goodUntil = 0;
    let isDamaged = false;
    const note = (): void => {
      isDamaged = true;
    };
    const goOn = (block: number): void => {
      if (isDamaged) damaged.push({ first: goodUntil, last: block });
      isDamaged = false;
    };
    const { header, endedAt } = await scanSegment({
      fileSystem,
      path: `${walFolder(directory)}/${segmentFileName(segmentSeq)}`,
      segmentSeq,
      owner: { clusterId, nodeId, keys },
      coveredEnd: endOffset,
      closedEnd: endOffset,
      badSectors: 'damage',
      pace: this.#options.pace,
      onFrame: (frame) => {
        goOn(frame.block);
        goodUntil = blockBehind(frame.endOffset) - 1;
        const log = logs.find((one) => this.#isLacked(one, segmentSeq, frame));
        if (log !== undefined) lacked.get(log)?.push({ first: frame.block, last: goodUntil });
      },
      onDamagedBlock: note,
      onBadFrame: note,
    });
    if (endedAt === 'stopped')
      throw new ClustorError('CLUSTOR_CLOSED', 'the store is being closed');
    // Nothing of a segment opens whose header is bad.
    if (header === undefined) note();
    goOn(lastBlock);
    return new Map(logs.map((log) => [log, [...damaged, ...(lacked.get(log) ?? [])]]));
  }

  /** Whether a whole frame is one of those that its log says it cannot read. */
  #isLacked(log: PartitionLog, segmentSeq: number, { bytes, start, block }: ScannedFrame): boolean {
    const partitionId = framePartitionId(bytes, start);
    if (partitionId !== log.partitionId) return false;
    const index = frameIndex(bytes, start);
    const isIn = ({ firstIndex, lastIndex }: IndexRange): boolean =>
      firstIndex <= index && lastIndex >= index;
    if (log.quarantine?.ranges.some(isIn) !== true) return false;
    return !this.#options.image.isDead(segmentSeq, { partitionId, firstIndex: index, block });
  }

  async #write(
    { segmentSeq }: SegmentToSalvage,
    partitionId: PartitionId,
    ranges: readonly BlockRange[],
  ): Promise<void> {
    const { fileSystem, directory, observer } = this.#options;
    const path = `${walFolder(directory)}/${segmentFileName(segmentSeq)}`;
    const names = await fileSystem.listDirectory(walFolder(directory));
    // A file that is gone holds nothing.
    if (!names.includes(segmentFileName(segmentSeq))) return;
    const folder = this.#folderOf(partitionId);
    await fileSystem.makeDirectory(folder);
    this.#cleared.delete(partitionId);
    const file = await fileSystem.open(path, { access: 'durableWrite' });
    try {
      for (const { first, last } of ranges)
        for (let at = first; at <= last; at += fileBlocksMax) {
          const name = `${folder}/${salvageFileName(segmentSeq, at)}`;
          const blocks = { first: at, last: Math.min(last, at + fileBlocksMax - 1) };
          await fileSystem.replaceFile(name, await this.#copyOf(file, blocks));
        }
    } finally {
      await fileSystem.close(file);
    }
    const blocks = ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0);
    const fields = { partitionId, segmentSeq, blocks, folder };
    observer.emit({ level: 'warn', kind: 'segmentSalvaged', fields });
  }

  /** The header and a stretch of blocks. */
  async #copyOf(file: FileHandle, { first, last }: BlockRange): Promise<Uint8Array> {
    const source = { fileSystem: this.#options.fileSystem, file };
    const header = await readBlocks(source, { position: 0, length: blockBytes });
    const length = (last - first + 1) * blockBytes;
    const { bytes } = await readBlocks(source, { position: blockOffset(first), length });
    const copy = new Uint8Array(blockBytes + bytes.length);
    copy.set(header.bytes);
    copy.set(bytes, blockBytes);
    return copy;
  }
}

/** Key epochs of what was saved of encrypted segments, by path: without those keys it is worth nothing. */
export async function salvageKeyEpochs(
  fileSystem: FileSystem,
  directory: string,
): Promise<ReadonlyMap<string, number>> {
  const epochs = new Map<string, number>();
  for (const partition of await fileSystem.listDirectory(`${directory}/partitions`)) {
    const folder = salvageFolder(directory, partition);
    for (const name of await fileSystem.listDirectory(folder)) {
      const path = `${folder}/${name}`;
      const file = await fileSystem.open(path, { access: 'read' });
      try {
        const { isEncrypted, dekEpoch } = readSegmentHeader(
          await fileSystem.read(file, 0, blockBytes),
        );
        if (isEncrypted) epochs.set(path, dekEpoch);
      } catch (error) {
        // Nothing of a segment opens whose header is bad.
        if (!isClustorError(error, 'CLUSTOR_INTEGRITY')) throw error;
      } finally {
        await fileSystem.close(file);
      }
    }
  }
  return epochs;
}

function salvageFolder(directory: string, partition: string): string {
  return `${directory}/partitions/${partition}/salvage`;
}

function salvageFileName(segmentSeq: number, block: number): string {
  const name = segmentFileName(segmentSeq).replace(/\.log$/, '');
  return `${name}-block-${block.toString().padStart(10, '0')}.salvage`;
}

/** Number of the block that begins at a file offset behind whole blocks. */
function blockBehind(endOffset: number): number {
  return (endOffset - blockOffset(0)) / blockBytes;
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
