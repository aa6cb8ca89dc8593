/** The trailer of a closed segment against what was read of the segment (specification SCR-5). */
import { segmentFileName, type SegmentHeader } from '../codec/segment-format.ts';
import { segmentTrailerFault, type SegmentTrailerFields } from '../codec/segment-trailer.ts';
import { isBadSector } from './block-reads.ts';
import type { OpenedDirectory } from './journal-walk.ts';
import { readTrailer } from './trailer-writer.ts';

/** A closed segment whose trailer the ledger names. */
export interface TrailedSegment {
  readonly segmentSeq: number;
  readonly trailerOffset: number;
  readonly header: SegmentHeader;
  /** What the trailer must say, by the frames that were read. */
  readonly fields: SegmentTrailerFields;
}

/** How its trailer stands. */
export interface TrailerVerdict {
  /** `none` where the segment is not encrypted; `unchecked` where the key of its epoch is not at hand, or the disk does not give it back. */
  readonly mac: 'checked' | 'none' | 'unchecked';
  /** Why it is not that of the segment. */
  readonly fault: string | undefined;
}

/** Reads and checks it, past the page cache. */
export async function checkTrailer(
  { fileSystem, folder, keys }: Pick<OpenedDirectory, 'fileSystem' | 'folder' | 'keys'>,
  { segmentSeq, trailerOffset, header, fields }: TrailedSegment,
): Promise<TrailerVerdict> {
  const check = keys.trailerMac(header) ?? 'unchecked';
  const path = `${folder}/${segmentFileName(segmentSeq)}`;
  let bytes: Uint8Array;
  try {
    bytes = await readTrailer(fileSystem, path, trailerOffset);
  } catch (error) {
    if (isBadSector(error)) return { mac: 'unchecked', fault: 'its trailer cannot be read' };
    throw error;
  }
  return {
    mac: typeof check === 'string' ? check : 'checked',
    fault: segmentTrailerFault(bytes, fields, check),
  };
}
