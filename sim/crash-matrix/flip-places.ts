/**
 * Where in a data directory a bit may flip, and what the table of specification §5.3 says of it there.
 *
 * `detected` is a place whose bytes are believed when they are read: a flip there must be told by the start, by a read or by
 * the background scrub. `harmless` is one that nobody believes (padding, what stands behind the coverage, a file that only
 * helps) or of which a second copy serves. `either` is a place of which both are right, each for some bits of a byte: a
 * letter of a hexadecimal number in a text may change its case.
 */
import {
  blockBytes,
  blockOffset,
  claimedBlocks,
  claimedPlainBytes,
  unitHeaderBytes,
} from '../../src/codec/segment-format.ts';
import { segmentTrailerBytes } from '../../src/codec/segment-trailer.ts';
import type { SimDisk } from '../../src/testing/sim-disk.ts';

/** What must become of a flip. */
export type FlipRule = 'detected' | 'harmless' | 'either';

/** Flips of one kind of place of one file. */
interface FlipPlaces {
  readonly path: string;
  /** What stands there, for the table of counts. */
  readonly what: string;
  readonly rule: FlipRule;
  readonly offsets: readonly number[];
}

const tagBytes = 16;
const plainTagBytes = 4;
/** Behind the fields of a segment's header: their CRC. */
const headerCrcEnd = 80;
const headerMacEnd = 112;

/** A segment of the directory. */
export interface FlippedSegment {
  readonly path: string;
  readonly coveredEnd: number;
  /** 0 when it has none. */
  readonly trailerOffset: number;
}

/**
 * All places of a directory, file by file: every byte of every page that was ever written and of the page behind it, and a
 * byte of each further page of zeros.
 */
export function flipPlaces(
  disk: SimDisk,
  segments: readonly FlippedSegment[],
  isEncrypted: boolean,
): FlipPlaces[] {
  const places = new Map<string, { readonly place: FlipPlaces; readonly offsets: number[] }>();
  for (const path of disk.paths()) {
    const file = disk.find(path);
    if (file === undefined || isNotContent(path)) continue;
    const written = new Set(file.syncedPageNumbers());
    const bytes = file.read(0, file.sizeBytes, 'cache');
    const segment = segments.find((one) => one.path === path);
    for (let start = 0; start < bytes.length; start += blockBytes) {
      const page = start / blockBytes;
      const isNear = written.has(page) || written.has(page - 1);
      const end = isNear ? Math.min(bytes.length, start + blockBytes) : start + 1;
      for (let offset = start; offset < end; offset++) {
        const { what, rule } =
          segment === undefined
            ? ruleOfFile(path)
            : ruleOfSegment(bytes, offset, { ...segment, isEncrypted });
        const key = `${path} ${what} ${rule}`;
        const known = places.get(key);
        if (known !== undefined) known.offsets.push(offset);
        else {
          const offsets = [offset];
          places.set(key, { place: { path, what, rule, offsets }, offsets });
        }
      }
    }
  }
  return [...places.values()].map(({ place }) => place);
}

/** Files made ready ahead hold nothing. */
function isNotContent(path: string): boolean {
  return /\/reserve-\d+$/.test(path) || path.endsWith('.spare') || path.endsWith('.next');
}

function ruleOfFile(path: string): { readonly what: string; readonly rule: FlipRule } {
  if (path.endsWith('durability.log'))
    return { what: 'ledger, each flush twice', rule: 'harmless' };
  if (path.endsWith('.idx')) return { what: 'index, rebuilt', rule: 'harmless' };
  if (path.endsWith('keys.json')) return { what: 'key ring', rule: 'either' };
  if (path.endsWith('node.json')) return { what: 'registry', rule: 'either' };
  // Its being there is what counts.
  if (path.endsWith('metadata.json')) return { what: 'metadata of a replica', rule: 'harmless' };
  return { what: 'report for people', rule: 'harmless' };
}

function ruleOfSegment(
  bytes: Uint8Array,
  offset: number,
  segment: FlippedSegment & { readonly isEncrypted: boolean },
): { readonly what: string; readonly rule: FlipRule } {
  const { coveredEnd, trailerOffset, isEncrypted } = segment;
  const at = offset % blockBytes;
  if (offset < blockBytes) {
    if (at < (isEncrypted ? headerMacEnd : headerCrcEnd))
      return { what: 'segment header', rule: 'detected' };
    return { what: 'behind the segment header', rule: 'harmless' };
  }
  if (trailerOffset > 0 && offset >= trailerOffset) {
    // All of its block is looked at, the zeros too.
    const what = at < segmentTrailerBytes ? 'segment trailer' : 'behind the segment trailer';
    return { what, rule: 'detected' };
  }
  if (offset >= coveredEnd) return { what: 'behind the coverage', rule: 'harmless' };
  const start = unitStart(bytes, offset);
  const inUnit = offset - start;
  const plainEnd = unitHeaderBytes + claimedPlainBytes(bytes, start);
  if (inUnit < unitHeaderBytes) return { what: 'unit header', rule: 'detected' };
  if (inUnit < plainEnd) return { what: 'frames', rule: 'detected' };
  if (inUnit < plainEnd + (isEncrypted ? tagBytes : plainTagBytes))
    return { what: 'unit tag', rule: 'detected' };
  return { what: 'padding of a unit', rule: 'harmless' };
}

/** Where the unit starts that a byte of an undamaged segment is in. */
function unitStart(bytes: Uint8Array, offset: number): number {
  let start = blockOffset(0);
  for (;;) {
    const behind = start + claimedBlocks(bytes, start) * blockBytes;
    if (behind > offset) return start;
    start = behind;
  }
}
