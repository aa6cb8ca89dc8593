/**
 * The ledger read back in the background: both headers and both copies of every flush that is synced (specification §5.4).
 *
 * A copy that is bad costs nothing while the other one is good, and even a flush of which both are bad costs nothing while
 * the process lives: everything that is still needed stands in memory, and a new generation is written from it. After the
 * next power failure it would be a vote or a record that is gone.
 */
import { ClustorError } from '../base/errors.ts';
import {
  ledgerBlockBytes,
  ledgerHeaderBytes,
  readLedgerFileHeader,
  readLedgerFlush,
  type LedgerFlush,
} from '../codec/ledger-format.ts';
import type { FileSystem } from '../ports/file-system.ts';
import { readBlocks } from './block-reads.ts';
import type { JournalKeys } from './journal-keys.ts';

/** What of the ledger is synced now. */
export interface LedgerExtent {
  readonly generation: number;
  /** Behind the newest synced flush. */
  readonly endOffset: number;
}

/** A ledger to be read. */
export interface LedgerToCheck {
  readonly fileSystem: FileSystem;
  readonly path: string;
  readonly keys: JournalKeys;
  readonly extent: () => LedgerExtent;
  /** Asked between slices; resolves with whether to go on. */
  readonly pace: () => Promise<boolean>;
}

/** Reasons kept. */
const reasonsMax = 16;
const sliceBytes = 128 * 1024;
/** Flushes looked at in a slice. */
const sliceFlushes = 32;

/** Checks a ledger: what is bad in it. Nothing when a new generation began meanwhile, or it was stopped. */
export async function checkLedger(ledger: LedgerToCheck): Promise<readonly string[]> {
  const { generation, endOffset } = ledger.extent();
  const bytes = await readSlowly(ledger, endOffset);
  if (bytes === undefined) return [];
  const reasons: string[] = [];
  const generations = [0, ledgerBlockBytes].map((offset) => generationOf(ledger, bytes, offset));
  // A new generation has the name before it is the one in use: what was read is another file than the one that was meant.
  if (generations.some((found) => found !== undefined && found > generation)) return [];
  for (const [at, found] of generations.entries())
    if (found !== generation) reasons.push(`copy ${at + 1} of its header is bad`);
  let at = ledgerHeaderBytes;
  for (let count = 1; at < bytes.length; count++) {
    const found = flushOf(bytes, at, generation);
    if (found.badCopy !== undefined && reasons.length < reasonsMax)
      reasons.push(`at ${at}: ${found.badCopy}`);
    at = found.endOffset;
    if (count % sliceFlushes === 0 && !(await ledger.pace())) return [];
  }
  // The file was given another name while it was read: what was found may be of two files.
  return ledger.extent().generation === generation ? reasons : [];
}

async function readSlowly(
  { fileSystem, path, pace }: LedgerToCheck,
  endOffset: number,
): Promise<Uint8Array | undefined> {
  const file = await fileSystem.open(path, { access: 'durableWrite' });
  try {
    const bytes = new Uint8Array(endOffset);
    for (let offset = 0; offset < endOffset; offset += sliceBytes) {
      if (offset > 0 && !(await pace())) return undefined;
      const length = Math.min(sliceBytes, endOffset - offset);
      // What the disk does not give back is a bad copy.
      const read = await readBlocks({ fileSystem, file }, { position: offset, length });
      bytes.set(read.bytes, offset);
    }
    return bytes;
  } finally {
    await fileSystem.close(file);
  }
}

/** The generation that a copy of the header names; `undefined` where that copy is bad. */
function generationOf(
  { keys }: LedgerToCheck,
  bytes: Uint8Array,
  offset: number,
): number | undefined {
  const header = goodOr(() => readLedgerFileHeader(bytes, offset));
  const isGood = header !== undefined && keys.isLedgerHeader(bytes, offset, header);
  return isGood ? header.generation : undefined;
}

/** The flush at an offset, where the next one begins, and which of its copies is bad. */
function flushOf(
  bytes: Uint8Array,
  at: number,
  generation: number,
): { readonly endOffset: number; readonly badCopy: string | undefined } {
  const goodAt = (offset: number): LedgerFlush | undefined => {
    const flush = goodOr(() => readLedgerFlush(bytes, offset, generation));
    return flush?.generation === generation ? flush : undefined;
  };
  const first = goodAt(at);
  if (first !== undefined) {
    const copyBytes = first.blocks * ledgerBlockBytes;
    const isSame = goodAt(at + copyBytes)?.flushSeq === first.flushSeq;
    const badCopy = isSame ? undefined : `the second copy of flush ${first.flushSeq} is bad`;
    return { endOffset: at + 2 * copyBytes, badCopy };
  }
  for (let next = at + ledgerBlockBytes; next < bytes.length; next += ledgerBlockBytes) {
    const flush = goodAt(next);
    if (flush === undefined) continue;
    const copyBytes = flush.blocks * ledgerBlockBytes;
    if (next - at === copyBytes && goodAt(next + copyBytes)?.flushSeq !== flush.flushSeq)
      return {
        endOffset: next + copyBytes,
        badCopy: `the first copy of flush ${flush.flushSeq} is bad`,
      };
    return {
      endOffset: next,
      badCopy: `both copies of the flush before ${flush.flushSeq} are bad`,
    };
  }
  return { endOffset: bytes.length, badCopy: 'both copies of the newest flush are bad' };
}

/** What fits its CRC and makes no sense is as bad as what does not fit it. */
function goodOr<Value>(read: () => Value | undefined): Value | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof ClustorError) return undefined;
    throw error;
  }
}
