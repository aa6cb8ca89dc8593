/**
 * Reading the ledger back (specification §5.3, §5.5).
 *
 * Flush after flush, each from its first copy, or from its second when the first is bad. A flush of which both copies are
 * bad ends the replay: if a later good flush knew it as synced, evidence was lost and every replica of this directory is in
 * doubt; else it is a torn write that nobody was told of, and the ledger ends before it. What follows the end is never read
 * again: every start writes a new generation before anything is said.
 *
 * A copy that the disk does not give back is a bad one. Where it gives back neither copy of the flush at the end, that is no
 * torn write: a power failure leaves one sector in the middle of being written, and the copies are in different ones.
 */
import type { ClusterId, NodeId } from '../base/ids.ts';
import { ClustorError } from '../base/errors.ts';
import {
  ledgerBlockBytes,
  ledgerHeaderBytes,
  readLedgerFileHeader,
  readLedgerFlush,
  type LedgerFileHeader,
  type LedgerFlush,
} from '../codec/ledger-format.ts';
import type { FileSystem } from '../ports/file-system.ts';
import { readBlocks, type BlocksRead } from './block-reads.ts';
import type { JournalKeys } from './journal-keys.ts';
import { LedgerImage } from './ledger-image.ts';

/** Blocks of the largest flush whose second copy is searched for when the first is damaged. */
const flushBlocksMax = 4096;
const readBytes = 1024 * 1024;

/** A flush as the replay met it, for those who look closer. */
export interface ReplayedFlush {
  readonly flush: LedgerFlush;
  /** File offset of its first copy. */
  readonly offset: number;
  /** Which of its two copies are good. */
  readonly copies: 'both' | 'firstOnly' | 'secondOnly';
}

/** Called for each flush that counts, in order, before its records are taken in. */
export type OnReplayedFlush = (flush: ReplayedFlush) => void;

/** What was read. */
export interface LedgerReplay {
  readonly image: LedgerImage;
  readonly generation: number;
  readonly flushSeq: number;
  readonly flushesRead: number;
  readonly fromSecondCopy: number;
  /** A flush that nobody knew as synced was bad and left out. */
  readonly isTornFlushCut: boolean;
  /** Why evidence is missing, if it is. */
  readonly fault: string | undefined;
}

/** Whose ledger it must be, what tells whether its header is authentic, and who looks on; without keys the former is not looked at. */
export interface LedgerOwner {
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly keys?: JournalKeys | undefined;
  readonly onFlush?: OnReplayedFlush | undefined;
}

/** Reads the ledger file. @throws ClustorError `CLUSTOR_WRONG_DATA_DIRECTORY`, `CLUSTOR_FORMAT_UNSUPPORTED`, `CLUSTOR_INTEGRITY`. */
export async function replayLedger(
  fileSystem: FileSystem,
  path: string,
  owner: LedgerOwner,
): Promise<LedgerReplay> {
  const { bytes, unreadable } = await readLedgerBlocks(fileSystem, path);
  return replayLedgerBytes(bytes, owner, unreadable);
}

/** Replays the content of a ledger file, with zeros in the `unreadable` blocks. @throws ClustorError as {@link replayLedger}. */
export function replayLedgerBytes(
  bytes: Uint8Array,
  owner: LedgerOwner,
  unreadable: readonly number[] = [],
): LedgerReplay {
  const flushes = beginReplay(bytes, owner);
  if (flushes === undefined) {
    return {
      image: new LedgerImage(),
      generation: 0,
      flushSeq: 0,
      flushesRead: 0,
      fromSecondCopy: 0,
      isTornFlushCut: false,
      fault: 'both copies of the ledger header are damaged or not authentic',
    };
  }
  flushes.advance(bytes, owner.onFlush);
  return judged({ bytes, unreadable }, flushes);
}

/** Begins with the header; `undefined` when both its copies are damaged or not authentic. @throws ClustorError as {@link replayLedger}. */
export function beginReplay(bytes: Uint8Array, owner: LedgerOwner): FlushReplay | undefined {
  const header = headerAt(bytes, 0, owner) ?? headerAt(bytes, ledgerBlockBytes, owner);
  if (header === undefined) return undefined;
  if (header.clusterId !== owner.clusterId || header.nodeId !== owner.nodeId) {
    throw new ClustorError(
      'CLUSTOR_WRONG_DATA_DIRECTORY',
      `the ledger belongs to node ${header.nodeId} of cluster ${header.clusterId}`,
    );
  }
  return new FlushReplay(header.generation);
}

function headerAt(
  bytes: Uint8Array,
  offset: number,
  owner: LedgerOwner,
): LedgerFileHeader | undefined {
  const header = readLedgerFileHeader(bytes, offset);
  if (header === undefined || owner.keys === undefined) return header;
  // Of whom a foreign ledger is, is said below.
  if (header.clusterId !== owner.clusterId || header.nodeId !== owner.nodeId) return header;
  return owner.keys.isLedgerHeader(bytes, offset, header) ? header : undefined;
}

/**
 * Goes through the flushes of one generation, as far as they are good. It can go on over the same bytes with more behind
 * them: what it took in is the same as at once, while nothing before {@link FlushReplay.offset} changes.
 */
export class FlushReplay {
  readonly image: LedgerImage = new LedgerImage();
  readonly generation: number;
  #offset = ledgerHeaderBytes;
  #flushSeq = 0;
  #firstFlushSeq = 0;
  #flushesRead = 0;
  #fromSecondCopy = 0;
  #fault: string | undefined;

  constructor(generation: number) {
    this.generation = generation;
  }

  /** End of what was taken in. */
  get offset(): number {
    return this.#offset;
  }

  /** The flush that the generation begins with; 0 before it was taken in. */
  get firstFlushSeq(): number {
    return this.#firstFlushSeq;
  }

  /** The newest flush that was taken in. */
  get flushSeq(): number {
    return this.#flushSeq;
  }

  /** Flushes taken in. */
  get flushesRead(): number {
    return this.#flushesRead;
  }

  /** Of these, flushes of which the first copy was bad. */
  get fromSecondCopy(): number {
    return this.#fromSecondCopy;
  }

  /** A good flush that makes no sense; nothing behind it is taken in. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** Takes in the good flushes from {@link FlushReplay.offset} on. */
  advance(bytes: Uint8Array, onFlush?: OnReplayedFlush): void {
    while (this.#fault === undefined) {
      const found = flushAt(bytes, this.#offset, {
        generation: this.generation,
        flushSeq: this.#flushesRead === 0 ? undefined : this.#flushSeq + 1,
      });
      if (found === undefined) return;
      onFlush?.({
        flush: found.flush,
        offset: this.#offset,
        copies: copiesOf(bytes, this.#offset, found),
      });
      this.#take(found.flush, found.isSecondCopy);
    }
  }

  #take(flush: LedgerFlush, isSecondCopy: boolean): void {
    try {
      for (const record of flush.records) this.image.apply(record);
    } catch (error) {
      if (!(error instanceof ClustorError)) throw error;
      this.#fault = `ledger flush ${flush.flushSeq}: ${error.message}`;
      return;
    }
    this.image.cover({ segmentSeq: flush.segmentSeq, endOffset: flush.endOffset });
    if (this.#flushesRead === 0) this.#firstFlushSeq = flush.flushSeq;
    this.#flushSeq = flush.flushSeq;
    this.#flushesRead++;
    if (isSecondCopy) this.#fromSecondCopy++;
    this.#offset += flush.blocks * 2 * ledgerBlockBytes;
  }
}

/** What the end of the good flushes means. */
function judged({ bytes, unreadable }: BlocksRead, flushes: FlushReplay): LedgerReplay {
  const { image, generation, offset, flushSeq, flushesRead, fromSecondCopy } = flushes;
  let { fault } = flushes;
  const later =
    fault === undefined ? laterFlush(bytes, offset, { generation, flushSeq }) : undefined;
  if (later !== undefined)
    fault = `ledger flush ${flushSeq + 1} is unreadable, and flush ${later.flushSeq} knew flush ${later.syncedFlushSeq} as synced`;
  if (fault === undefined && flushesRead === 0) fault = 'the ledger has a header and no flush';
  // Flushes of a generation rise from its first one: where a lower one is left, that was another.
  if (fault === undefined && hasFlushBefore(bytes, generation, flushes.firstFlushSeq))
    fault = `the first flush of the ledger is unreadable, and flush ${flushes.firstFlushSeq} stands in its place`;
  if (fault === undefined && hidesFlush({ bytes, unreadable }, { offset, generation }))
    fault = `neither copy of ledger flush ${flushSeq + 1} can be read, and it may have been synced`;
  const isTornFlushCut = fault === undefined && isTornAt(bytes, offset, generation);
  return { image, generation, flushSeq, flushesRead, fromSecondCopy, isTornFlushCut, fault };
}

/** Whether something stands there that is neither zeros nor a flush of an older generation, whose file was used again. */
function isTornAt(bytes: Uint8Array, offset: number, generation: number): boolean {
  const block = bytes.subarray(offset, Math.min(bytes.length, offset + ledgerBlockBytes));
  if (block.every((value) => value === 0)) return false;
  const stale = readLedgerFlush(bytes, offset) ?? readLedgerFileHeader(bytes, offset);
  return stale === undefined || stale.generation >= generation;
}

/** Whether a flush may begin at `offset` of which the disk gives back neither copy. */
function hidesFlush(
  { bytes, unreadable }: BlocksRead,
  { offset, generation }: { readonly offset: number; readonly generation: number },
): boolean {
  const mayBegin = (at: number): boolean =>
    unreadable.includes(at) || isTornAt(bytes, at, generation);
  const isHurt = (from: number, to: number): boolean =>
    unreadable.some((at) => at >= from && at < to);
  if (unreadable.length < 2 || !mayBegin(offset)) return false;
  for (let blocks = 1; blocks <= flushBlocksMax; blocks++) {
    const second = offset + blocks * ledgerBlockBytes;
    const end = second + blocks * ledgerBlockBytes;
    if (end > bytes.length) return false;
    if (isHurt(offset, second) && isHurt(second, end) && mayBegin(second)) return true;
  }
  return false;
}

interface Wanted {
  readonly generation: number;
  readonly flushSeq: number | undefined;
}

function flushAt(
  bytes: Uint8Array,
  offset: number,
  wanted: Wanted,
): { readonly flush: LedgerFlush; readonly isSecondCopy: boolean } | undefined {
  const first = readLedgerFlush(bytes, offset, wanted.generation);
  if (first !== undefined && isWanted(first, wanted)) {
    const found = { flush: first, isSecondCopy: false };
    // Which flush a generation begins with is not known beforehand; a stray copy of a later one is no beginning.
    if (wanted.flushSeq !== undefined || copiesOf(bytes, offset, found) === 'both') return found;
    const second = secondCopyAt(bytes, offset, wanted);
    if (second === undefined || second.flushSeq >= first.flushSeq) return found;
    return { flush: second, isSecondCopy: true };
  }
  const second = secondCopyAt(bytes, offset, wanted);
  return second === undefined ? undefined : { flush: second, isSecondCopy: true };
}

function isWanted(flush: LedgerFlush, { generation, flushSeq }: Wanted): boolean {
  return flush.generation === generation && (flushSeq === undefined || flush.flushSeq === flushSeq);
}

/** The nearest flush behind `offset` that would be the second copy of one that begins there. */
function secondCopyAt(
  bytes: Uint8Array,
  offset: number,
  { generation, flushSeq }: Wanted,
): LedgerFlush | undefined {
  for (let blocks = 1; blocks <= flushBlocksMax; blocks++) {
    const at = offset + blocks * ledgerBlockBytes;
    if (at >= bytes.length) return undefined;
    const second = readLedgerFlush(bytes, at, generation);
    if (second?.blocks === blocks && isWanted(second, { generation, flushSeq })) return second;
  }
  return undefined;
}

function copiesOf(
  bytes: Uint8Array,
  offset: number,
  { flush, isSecondCopy }: { readonly flush: LedgerFlush; readonly isSecondCopy: boolean },
): ReplayedFlush['copies'] {
  if (isSecondCopy) return 'secondOnly';
  const at = offset + flush.blocks * ledgerBlockBytes;
  const second = readLedgerFlush(bytes, at, flush.generation);
  const isSame = second?.flushSeq === flush.flushSeq && second.generation === flush.generation;
  return isSame ? 'both' : 'firstOnly';
}

function hasFlushBefore(bytes: Uint8Array, generation: number, flushSeq: number): boolean {
  for (let offset = ledgerHeaderBytes; offset < bytes.length; offset += ledgerBlockBytes) {
    const flush = readLedgerFlush(bytes, offset, generation);
    if (flush?.generation === generation && flush.flushSeq < flushSeq) return true;
  }
  return false;
}

/** A good flush behind the end of the replay that knew of a synced one there. */
function laterFlush(
  bytes: Uint8Array,
  from: number,
  end: { readonly generation: number; readonly flushSeq: number },
): LedgerFlush | undefined {
  for (let offset = from; offset < bytes.length; offset += ledgerBlockBytes) {
    const flush = readLedgerFlush(bytes, offset, end.generation);
    if (
      flush?.generation === end.generation &&
      flush.flushSeq > end.flushSeq &&
      flush.syncedFlushSeq > end.flushSeq
    )
      return flush;
  }
  return undefined;
}

/** The whole content of a ledger file, read past the page cache; zeros where the disk does not give it back. */
export async function readLedgerFile(fileSystem: FileSystem, path: string): Promise<Uint8Array> {
  return (await readLedgerBlocks(fileSystem, path)).bytes;
}

async function readLedgerBlocks(fileSystem: FileSystem, path: string): Promise<BlocksRead> {
  const file = await fileSystem.open(path, { access: 'durableWrite' });
  try {
    const size = await fileSystem.size(file);
    const whole = new Uint8Array(size);
    const unreadable: number[] = [];
    for (let offset = 0; offset < size; offset += readBytes) {
      // A file may have been cut anywhere; reads are of whole blocks all the same.
      const blocks = Math.ceil((size - offset) / ledgerBlockBytes);
      const length = Math.min(readBytes, blocks * ledgerBlockBytes);
      const read = await readBlocks({ fileSystem, file }, { position: offset, length });
      whole.set(read.bytes.subarray(0, size - offset), offset);
      unreadable.push(...read.unreadable);
    }
    return { bytes: whole, unreadable };
  } finally {
    await fileSystem.close(file);
  }
}
