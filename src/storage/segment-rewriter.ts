/**
 * Sealing a closed segment anew under the newest keys (specification §8.2).
 *
 * The new file has the same number, the same units at the same places with the same plaintext, and a salt of its own: offsets
 * in `.idx` files and in the ledger stay true, and no nonce is used twice, because the key is another one.
 *
 * Crash story. The ledger's `segmentRewriting` record, with the reservation of block numbers, is synced before the first block.
 * The new file is written beside the old one, synced, read back past the page cache and only then renamed over it, once the
 * ledger names no trailer of the segment any more; the
 * directory is synced before the old keys count as unneeded. So a crash leaves the old file or the new one, whole; a start
 * removes what else is left, gives up its reservation, and begins the segment again.
 */
import { ClustorError } from '../base/errors.ts';
import {
  blockBytes,
  blockOffset,
  claimedBlocks,
  readSegmentHeader,
  segmentFileName,
  unitBlocks,
  unitFirstFrame,
  unitFlags,
  type UnitSuite,
} from '../codec/segment-format.ts';
import type { Clock } from '../ports/clock.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { FileHandle, FileSystem, IoStep } from '../ports/file-system.ts';
import type { JournalKeys } from './journal-keys.ts';

/** Ends the name of a file that is to replace a segment. */
export const rewriteSuffix = '.rewrite';
/** Blocks of one write; the chains of entries go in between. */
export const rewriteChunkBlocks = 64;
/** Left to others after each write, milliseconds. */
const pauseMs = 20;

/** What rewriting needs. */
export interface RewriteParts {
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly entropy: Entropy;
  /** The folder `wal`. */
  readonly folder: string;
  readonly keys: JournalKeys;
  /** Staging of {@link rewriteChunkBlocks} blocks. */
  readonly staging: Uint8Array;
  /** Whether the segment is still wanted and the process goes on. */
  readonly goesOn: () => boolean;
  /** Makes the reservation durable. */
  readonly reserve: (dekEpoch: number, blocks: number) => Promise<void>;
  /** Makes it durable that the segment has no trailer: the new file has none yet. */
  readonly retractTrailer: () => Promise<void>;
  /** The new file is whole and takes the segment's place next. */
  readonly replacing: () => void;
  readonly progress: (blocksDone: number) => void;
}

interface Copy {
  readonly parts: RewriteParts;
  readonly file: FileHandle;
  readonly blocks: number;
}

/** Rewrites one segment; when it throws, nothing has changed but that it may be without its trailer. @throws ClustorError `CLUSTOR_INTEGRITY`, `CLUSTOR_CLOSED`, `CLUSTOR_STORAGE_FAILED`. */
export async function rewriteSegment(
  parts: RewriteParts,
  segment: { readonly segmentSeq: number; readonly endOffset: number },
): Promise<void> {
  const { fileSystem, folder, keys } = parts;
  const { segmentSeq, endOffset } = segment;
  const path = `${folder}/${segmentFileName(segmentSeq)}`;
  const blocks = (endOffset - blockOffset(0)) / blockBytes;
  const epoch = keys.ring?.newestEpoch ?? 0;
  await parts.reserve(epoch, blocks);
  assertGoesOn(parts);
  const source = await fileSystem.open(path, { access: 'durableWrite' });
  try {
    const target = `${path}${rewriteSuffix}`;
    await fileSystem.remove(target);
    try {
      await fillNew({ parts, target, endOffset }, { source, segmentSeq, epoch });
      assertGoesOn(parts);
      await parts.retractTrailer();
      assertGoesOn(parts);
      parts.replacing();
      await fileSystem.rename(target, path);
    } catch (error) {
      // The room that it took may be what entries wait for; what cannot be removed now is removed by the next attempt.
      await fileSystem.remove(target).catch(() => undefined);
      throw error;
    }
    await fileSystem.syncDirectory(folder);
  } finally {
    await fileSystem.close(source);
  }
  keys.sealedUnder(segmentSeq, epoch);
}

interface Source {
  readonly source: FileHandle;
  readonly segmentSeq: number;
  readonly epoch: number;
}

async function fillNew(
  to: { readonly parts: RewriteParts; readonly target: string; readonly endOffset: number },
  from: Source,
): Promise<void> {
  const { parts, target, endOffset } = to;
  const { fileSystem } = parts;
  await fileSystem.createZeroed(target, endOffset, () => (parts.goesOn() ? pauseMs : 'stop'));
  const file = await fileSystem.open(target, { access: 'durableWrite' });
  try {
    const blocks = (endOffset - blockOffset(0)) / blockBytes;
    await fill({ parts, file, blocks }, from);
  } finally {
    await fileSystem.close(file);
  }
}

async function fill(copy: Copy, from: Source): Promise<void> {
  const { parts, file } = copy;
  const { fileSystem, keys, entropy, staging } = parts;
  const { source, segmentSeq } = from;
  const bytes = await fileSystem.read(source, 0, blockBytes);
  const header = readSegmentHeader(bytes);
  const opener = keys.opener(bytes, header);
  if (opener === undefined || header.segmentSeq !== segmentSeq)
    throw new ClustorError('CLUSTOR_INTEGRITY', `the header of segment ${segmentSeq} is damaged`);
  // Keys that came since the reservation are for the next time.
  if (keys.ring?.newestEpoch !== from.epoch) throw stopped();
  const salt = entropy.bytes(16);
  const sealer = keys.create(staging, { segmentSeq, salt, createdMs: header.createdMs });
  await run(fileSystem, [
    { kind: 'write', file, position: 0, bytes: staging.subarray(0, blockBytes) },
  ]);
  await eachChunk(copy, source, async (chunk, first) => {
    staging.set(chunk);
    chunk.fill(0);
    const place = { first, isLast: isLastChunk(copy, chunk, first) };
    const count = eachUnit(staging.subarray(0, chunk.length), place, (offset, number) =>
      sealAnew({ opener, sealer, staging }, offset, number),
    );
    await run(fileSystem, [
      {
        kind: 'write',
        file,
        position: blockOffset(first),
        bytes: staging.subarray(0, count * blockBytes),
      },
    ]);
    parts.progress(first + count);
    await new Promise<void>((resolve) => parts.clock.setTimer(pauseMs, resolve));
    return count;
  });
  await run(fileSystem, [{ kind: 'sync', file }]);
  await eachChunk(copy, file, (chunk, first) => {
    const place = { first, isLast: isLastChunk(copy, chunk, first) };
    return Promise.resolve(
      eachUnit(chunk, place, (offset, number) => sealer.open(chunk, offset, number)),
    );
  });
}

function isLastChunk({ blocks }: Copy, chunk: Uint8Array, first: number): boolean {
  return first + chunk.length / blockBytes === blocks;
}

/** Visits the units that stand in a chunk whole; returns how many blocks they have. `open` tells the plaintext's length of a good one. */
function eachUnit(
  bytes: Uint8Array,
  { first, isLast }: { readonly first: number; readonly isLast: boolean },
  open: (offset: number, number: number) => number,
): number {
  const count = bytes.length / blockBytes;
  let at = 0;
  while (at < count) {
    const offset = at * blockBytes;
    if (!isLast && at > 0 && at + claimedBlocks(bytes, offset) > count) break;
    const plainBytes = open(offset, first + at);
    if (plainBytes === 0) throw damaged(first + at);
    at += unitBlocks(plainBytes);
  }
  return at;
}

function sealAnew(
  suites: {
    readonly opener: UnitSuite;
    readonly sealer: UnitSuite;
    readonly staging: Uint8Array;
  },
  offset: number,
  number: number,
): number {
  const { opener, sealer, staging } = suites;
  const plainBytes = opener.open(staging, offset, number);
  if (plainBytes === 0) return 0;
  const firstFrame = unitFirstFrame(staging, offset);
  const flags = unitFlags(staging, offset);
  sealer.seal(staging, offset, { number, plainBytes, firstFrame, flags });
  return plainBytes;
}

/** Reads the segment piece by piece; `take` says how many blocks of a piece it is done with. */
async function eachChunk(
  { parts, blocks }: Copy,
  file: FileHandle,
  take: (chunk: Uint8Array, first: number) => Promise<number>,
): Promise<void> {
  for (let first = 0; first < blocks;) {
    assertGoesOn(parts);
    const length = Math.min(rewriteChunkBlocks, blocks - first) * blockBytes;
    const chunk = await parts.fileSystem.read(file, blockOffset(first), length);
    if (chunk.length !== length) throw damaged(first);
    first += await take(chunk, first);
  }
}

function assertGoesOn(parts: RewriteParts): void {
  if (!parts.goesOn()) throw stopped();
}

function stopped(): ClustorError {
  return new ClustorError('CLUSTOR_CLOSED', 'rewriting was stopped');
}

function damaged(block: number): ClustorError {
  return new ClustorError('CLUSTOR_INTEGRITY', `block ${block} cannot be read`);
}

/** Runs a chain of its own; that it fails says nothing of the journal, whose files it does not touch. */
function run(fileSystem: FileSystem, steps: readonly IoStep[]): Promise<void> {
  return new Promise((resolve, reject) => {
    fileSystem.submit(steps, (failure) => {
      if (failure === undefined) resolve();
      else
        reject(new ClustorError('CLUSTOR_STORAGE_FAILED', `a write failed: ${failure.systemCode}`));
    });
  });
}
