/**
 * What the log still takes in (specification §8): clients are refused before the room for the system is touched, so that
 * elections, truncation and the removal of members go on where nobody can write any more.
 */
import { frameBytesAt, frameIsSystem } from '../codec/entry-frame.ts';
import { logLimitBytes } from '../policy/disk-pressure.ts';
import type { DiskGuard } from './disk-guard.ts';
import type { Journal } from './journal.ts';
import type { LogStoreLimits } from './log-store-types.ts';

/** What an admission looks at. */
export interface LogRoom {
  readonly log: { readonly frameBytes: number };
  readonly limits: LogStoreLimits;
  readonly journal: Pick<Journal, 'bytes' | 'roomBytes'>;
  readonly guard: Pick<DiskGuard, 'isHard' | 'isSoft' | 'shortage'>;
}

/** Share of a partition's bound that clients may fill. */
const clientShare = 0.95;
/** Left to entries of the system in the segments at hand once the disk gives no more, bytes. */
const systemRoomBytes = 1024 * 1024;

/** Bytes of the node's journal from which on it refuses entries of clients. */
export function clientLogBytesMax({
  logBytesMax,
  segmentBytes,
}: Pick<LogStoreLimits, 'logBytesMax' | 'segmentBytes'>): number {
  return Math.floor(Math.min(logLimitBytes('hard', logBytesMax), logBytesMax - 2 * segmentBytes));
}

/** Why a client's entry of this size is refused, if so. */
export function clientRefusal(room: LogRoom, bytes: number): string | undefined {
  const { log, limits, journal, guard } = room;
  const { partitionLogBytesMax } = limits;
  if (guard.isHard && guard.shortage !== 'log')
    return "the disk of this node has no room left for entries of clients; 'clustor why diskBlocked' says more";
  if (guard.isHard || journal.bytes + bytes > clientLogBytesMax(limits))
    return 'the log of this node has reached its bound (log_bytes_max)';
  if (log.frameBytes + bytes > partitionLogBytesMax * clientShare)
    return 'the log of this partition has reached its bound (partitionLogBytesMax)';
  return undefined;
}

/** Whether so little room is left that a snapshot, and fewer entries, would help (specification §8.1: the soft bound). */
export function isLogShort({ log, limits, journal, guard }: LogRoom): boolean {
  return (
    guard.isSoft ||
    log.frameBytes > logLimitBytes('soft', limits.partitionLogBytesMax * clientShare) ||
    journal.bytes > logLimitBytes('soft', clientLogBytesMax(limits))
  );
}

/**
 * Whether a leader's entries are taken: within the bounds, and on a disk without room only as long as the segments at hand
 * keep some for the system. What is not taken is not acknowledged, and the leader sends it again.
 */
export function takesEntries(room: LogRoom, entries: Uint8Array): boolean {
  const { log, limits, journal, guard } = room;
  const { logBytesMax, partitionLogBytesMax } = limits;
  if (log.frameBytes + entries.length > partitionLogBytesMax) return false;
  if (journal.bytes + entries.length > logBytesMax) return false;
  if (guard.shortage !== 'refused') return true;
  return journal.roomBytes > entries.length + systemRoomBytes || areAllSystem(entries);
}

/** Whether only the system speaks. Frames are verified later; what is none is not the system's. */
function areAllSystem(entries: Uint8Array): boolean {
  for (let at = 0; at < entries.length;) {
    const length = frameBytesAt(entries, at, entries.length);
    if (length <= 0 || !frameIsSystem(entries, at)) return false;
    at += length;
  }
  return true;
}
