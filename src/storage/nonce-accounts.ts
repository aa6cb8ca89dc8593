/**
 * Block numbers of encrypted segments: reserved when a segment is opened or its rewriting begins, spent when a unit of them is sealed,
 * abandoned when the process ended before it said how many it spent (specification §8.2). A number is never used twice in any
 * case; the accounts show that, and how much of the reservations restarts leave behind.
 */
import type { NonceAbandonReason } from '../codec/ledger-records.ts';
import { blockBytes, blockOffset } from '../codec/segment-format.ts';
import type { LedgerRecord } from '../codec/ledger-records.ts';
import type { JournalKeys } from './journal-keys.ts';
import type { LedgerImage, SegmentRow } from './ledger-image.ts';

/** The accounts of the encrypted segments that are there. */
export interface NonceAccounts {
  readonly nonceBlocksReserved: number;
  readonly nonceBlocksSpent: number;
  readonly nonceBlocksAbandoned: number;
}

/** Adds up the accounts; `inUse` is the segment being written. */
export function nonceAccounts(
  image: LedgerImage,
  keys: JournalKeys,
  inUse: { readonly segmentSeq: number; readonly endOffset: number },
): NonceAccounts {
  const sums = { nonceBlocksReserved: 0, nonceBlocksSpent: 0, nonceBlocksAbandoned: 0 };
  for (const row of image.segments.values()) {
    if ((keys.epochOf(row.segmentSeq) ?? 0) === 0) continue;
    const end = row.segmentSeq === inUse.segmentSeq ? inUse.endOffset : row.endOffset;
    sums.nonceBlocksReserved += row.reservedBlocks + (row.rewriting?.reservedBlocks ?? 0);
    sums.nonceBlocksSpent += blocksBefore(end ?? blockOffset(0));
    for (const { reason, reservedBlocks, blocksSpent } of row.abandoned) {
      sums.nonceBlocksAbandoned += reservedBlocks - blocksSpent;
      if (reason === 'rewriteInterrupted') sums.nonceBlocksReserved += reservedBlocks;
    }
  }
  return sums;
}

/**
 * What a start gives up: the rest of every segment that was not closed, and rewritings that did not end. How much an
 * interrupted rewriting spent is not known, so all of it counts as unspent reservation.
 */
export function abandonedAtStart(
  image: LedgerImage,
  keys: JournalKeys,
  ends: ReadonlyMap<number, number>,
): readonly LedgerRecord[] {
  const records: LedgerRecord[] = [];
  for (const row of image.segments.values()) {
    const epoch = keys.epochOf(row.segmentSeq) ?? 0;
    const end = ends.get(row.segmentSeq);
    if (epoch > 0 && row.endOffset === undefined && end !== undefined)
      records.push(abandon(row, 'uncleanEnd', { reserved: row.reservedBlocks, end }));
    if (row.rewriting === undefined) continue;
    const { dekEpoch, reservedBlocks } = row.rewriting;
    if (epoch !== dekEpoch)
      records.push(
        abandon(row, 'rewriteInterrupted', { reserved: reservedBlocks, end: blockOffset(0) }),
      );
  }
  return records;
}

function abandon(
  { segmentSeq }: SegmentRow,
  reason: NonceAbandonReason,
  { reserved, end }: { readonly reserved: number; readonly end: number },
): LedgerRecord {
  return {
    kind: 'nonceAbandon',
    segmentSeq,
    reason,
    reservedBlocks: reserved,
    blocksSpent: blocksBefore(end),
  };
}

function blocksBefore(endOffset: number): number {
  return (endOffset - blockOffset(0)) / blockBytes;
}
