/**
 * Reads where a sector may be gone for good (specification §5.3).
 *
 * A range that the disk refuses is read again block by block. A block that it refuses as often as damage is read comes back
 * as zeros, which are a bad block and a bad copy of anything: what that means is decided as for every other bad one. A file
 * of which nothing can be read is left to the caller as a failure: there the disk does not answer, and that says nothing of
 * what it holds.
 */
import { isClustorError } from '../base/errors.ts';
import { blockBytes } from '../codec/segment-format.ts';
import { damagedReadsMax } from '../policy/scrub.ts';
import type { FileHandle, FileSystem } from '../ports/file-system.ts';

/** What Linux says of a bad sector: through the page cache, and past it by what the device told. */
const badSectorCodes: ReadonlySet<unknown> = new Set(['EIO', 'ENODATA', 'EILSEQ']);
/** A file of this size or less can be lost whole with one erase block or page of a device that answers. */
const lostWholeBytesMax = 64 * 1024;

/** An open file and where its disk is reached. */
export interface BlockSource {
  readonly fileSystem: Pick<FileSystem, 'read' | 'size'>;
  readonly file: FileHandle;
}

/** A stretch of whole blocks. */
export interface BlockStretch {
  readonly position: number;
  readonly length: number;
}

/** What was read. */
export interface BlocksRead {
  /** Shorter only at the end of the file. */
  readonly bytes: Uint8Array;
  /** File offsets of the blocks that are zeros here because the disk refuses them. */
  readonly unreadable: readonly number[];
}

/** Whether an error tells of a place that the disk cannot give back. */
export function isBadSector(error: unknown): boolean {
  return (
    isClustorError(error, 'CLUSTOR_STORAGE_FAILED') &&
    badSectorCodes.has(error.details['systemCode'])
  );
}

/** Reads a stretch. @throws ClustorError `CLUSTOR_STORAGE_FAILED` where the disk does not answer. */
export async function readBlocks(source: BlockSource, stretch: BlockStretch): Promise<BlocksRead> {
  const { fileSystem, file } = source;
  const { position, length } = stretch;
  try {
    return { bytes: await fileSystem.read(file, position, length), unreadable: [] };
  } catch (error) {
    if (!isBadSector(error)) throw error;
    const size = await fileSystem.size(file);
    const bytes = new Uint8Array(Math.max(0, Math.min(length, size - position)));
    const unreadable: number[] = [];
    // One after the other: a disk that is in trouble is not hurried.
    for (let at = 0; at < bytes.length; at += blockBytes) {
      const block = await readBlock(source, position + at);
      if (block === undefined) unreadable.push(position + at);
      else bytes.set(block, at);
    }
    const isNothingRead = unreadable.length * blockBytes >= bytes.length;
    if (isNothingRead && size > lostWholeBytesMax && !(await answersElsewhere(source, stretch)))
      throw error;
    return { bytes, unreadable };
  }
}

async function readBlock(
  { fileSystem, file }: BlockSource,
  position: number,
): Promise<Uint8Array | undefined> {
  for (let reads = 1; reads <= damagedReadsMax; reads++) {
    try {
      return await fileSystem.read(file, position, blockBytes);
    } catch (error) {
      if (!isBadSector(error)) throw error;
    }
  }
  return undefined;
}

/** Whether the first or the last block of the file can be read, where they are not in the stretch. */
async function answersElsewhere(
  source: BlockSource,
  { position, length }: BlockStretch,
): Promise<boolean> {
  const size = await source.fileSystem.size(source.file);
  const last = size - (size % blockBytes || blockBytes);
  for (const place of [0, last]) {
    const isWithin = place >= position && place < position + length;
    if (!isWithin && (await readBlock(source, place)) !== undefined) return true;
  }
  return false;
}
