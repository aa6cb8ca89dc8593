/**
 * What was saved of segments for a partition in quarantine, read back (specification DUR-5): which blocks, how many of them are
 * good, and which whole entries of the partition are in them. Blocks that follow each other stand in files of a megabyte at
 * most; they are read as one, so that an entry over two files is found.
 */
import { present } from '../base/assert.ts';
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, PartitionId } from '../base/ids.ts';
import { withRange, type IndexRange } from '../base/index-ranges.ts';
import { frameIndex, framePartitionId, frameTerm } from '../codec/entry-frame.ts';
import { blockBytes } from '../codec/segment-format.ts';
import type { FileHandle } from '../ports/file-system.ts';
import { dumped, type DumpedEntry } from './dump-entries.ts';
import { withOpened, type DirectoryPlace, type OpenedDirectory } from './journal-walk.ts';
import { salvageFolder, savedPlaceOf } from './segment-salvage.ts';
import { scanSegment, type ScannedFrame, type SegmentSource } from './segment-scan.ts';

/** Blocks of one segment that follow each other. */
export interface SavedStretch {
  readonly segmentSeq: number;
  readonly firstBlock: number;
  readonly lastBlock: number;
  readonly damagedBlocks: number;
  /** Why none of it can be read, `undefined` where it can. */
  readonly fault: string | undefined;
  /** Whole entries of the partition. */
  readonly entries: readonly IndexRange[];
  /** Those of them that the partition lacks by its ledger. */
  readonly lacked: readonly IndexRange[];
}

/** Whose salvage, and who is told of its entries. */
export interface SalvageRequest {
  readonly partitionId: PartitionId;
  /** `isLacked`: the partition has no other copy of it in this directory. */
  readonly onEntry?: (entry: DumpedEntry, isLacked: boolean) => void;
}

interface SavedFile {
  readonly name: string;
  readonly segmentSeq: number;
  readonly firstBlock: number;
  readonly bytes: Uint8Array;
}

/** Reads all of it, oldest segment first. @throws ClustorError `CLUSTOR_UNKNOWN_PARTITION`, and as {@link withOpened} does. */
export function listSalvage(
  place: DirectoryPlace,
  request: SalvageRequest,
): Promise<readonly SavedStretch[]> {
  return withOpened(place, async (opened) => {
    const { partitionId } = request;
    const stretches: SavedStretch[] = [];
    for (const files of await stretchesOf(opened, partitionId))
      stretches.push(await read(opened, files, request));
    // What was saved for a replica that was given up is shown; a partition that nobody knows is a mistake.
    const isKnown = opened.registry.replicas.some((row) => row.partitionId === partitionId);
    if (stretches.length === 0 && !isKnown)
      throw new ClustorError(
        'CLUSTOR_UNKNOWN_PARTITION',
        `${opened.directory} hosts no replica of partition ${partitionId}`,
      );
    return stretches;
  });
}

/** Files whose blocks follow each other stand together. */
async function stretchesOf(
  { fileSystem, directory }: OpenedDirectory,
  partitionId: PartitionId,
): Promise<readonly (readonly SavedFile[])[]> {
  const folder = salvageFolder(directory, partitionId);
  const stretches: SavedFile[][] = [];
  // Names sort as their numbers do.
  for (const name of await fileSystem.listDirectory(folder)) {
    const saved = savedPlaceOf(name);
    const bytes = saved === undefined ? undefined : await fileSystem.readFile(`${folder}/${name}`);
    if (saved === undefined || bytes === undefined) continue;
    const file = { name, ...saved, bytes };
    const stretch = stretches.at(-1);
    const before = stretch?.at(-1);
    const isNext = before?.segmentSeq === file.segmentSeq && behind(before) === file.firstBlock;
    if (isNext) stretch?.push(file);
    else stretches.push([file]);
  }
  return stretches;
}

function blocksIn({ bytes }: SavedFile): number {
  return Math.max(0, Math.floor(bytes.length / blockBytes) - 1);
}

/** Number of the block behind those of a file. */
function behind(file: SavedFile): number {
  return file.firstBlock + blocksIn(file);
}

async function read(
  { registry, keys, replay }: OpenedDirectory,
  files: readonly SavedFile[],
  { partitionId, onEntry }: SalvageRequest,
): Promise<SavedStretch> {
  const { name, segmentSeq, firstBlock } = present(files[0], 'a stretch has a file');
  const image = imageOf(files);
  const quarantine = replay.image.partitions.get(partitionId)?.quarantine;
  const missing = quarantine?.isActive === true ? quarantine.ranges : [];
  const isMissing = (index: LogIndex): boolean =>
    missing.some((range) => range.firstIndex <= index && range.lastIndex >= index);
  let entries: readonly IndexRange[] = [];
  let lacked: readonly IndexRange[] = [];
  const takeEntry = (frame: ScannedFrame): void => {
    const { bytes, start } = frame;
    if (framePartitionId(bytes, start) !== partitionId) return;
    const index = frameIndex(bytes, start);
    const alone = { firstIndex: index, lastIndex: index };
    entries = withRange(entries, alone);
    if (isMissing(index)) lacked = withRange(lacked, alone);
    const walked = { frame, segmentSeq, index, term: frameTerm(bytes, start) };
    onEntry?.(dumped(walked, true), isMissing(index));
  };
  const { header, damagedBlocks, endedAt } = await scanSegment({
    fileSystem: sourceOf(name, image),
    path: `/${name}`,
    segmentSeq,
    firstBlock,
    owner: { clusterId: registry.clusterId, nodeId: registry.nodeId, keys },
    coveredEnd: image.length,
    closedEnd: image.length,
    onFrame: takeEntry,
  });
  return {
    segmentSeq,
    firstBlock,
    lastBlock: firstBlock + image.length / blockBytes - 2,
    damagedBlocks,
    fault: header === undefined ? endedAt : undefined,
    entries,
    lacked,
  };
}

/** One header and all blocks. */
function imageOf(files: readonly SavedFile[]): Uint8Array {
  const blocks = files.reduce((sum, file) => sum + blocksIn(file), 0);
  const image = new Uint8Array((blocks + 1) * blockBytes);
  image.set(files[0]?.bytes.subarray(0, blockBytes) ?? []);
  let at = blockBytes;
  for (const file of files) {
    const content = file.bytes.subarray(blockBytes, (blocksIn(file) + 1) * blockBytes);
    image.set(content, at);
    at += content.length;
  }
  return image;
}

/** A scan reads from memory as from a disk, and opens blocks where they stand: in a copy. */
function sourceOf(name: string, image: Uint8Array): SegmentSource {
  return {
    listDirectory: () => Promise.resolve([name]),
    open: () => Promise.resolve(0 as FileHandle),
    size: () => Promise.resolve(image.length),
    read: (_file, position, length) => Promise.resolve(image.slice(position, position + length)),
    close: () => Promise.resolve(),
  };
}
