/** Bounds of one node, each with what happens when it is reached. */
import { ClustorError } from '../base/errors.ts';
import { entryBodyBytesMax } from '../codec/entry-frame.ts';
import { defaultDeviceLatencyMsMax } from '../storage/log-store-limits.ts';
import { resultLagEntries } from './idempotency-table.ts';

/** Limits of a node. @public */
export interface NodeLimits {
  /** Bytes of one appended entry (Latency profile), at most 4 MiB less 8 KiB. Beyond: `CLUSTOR_ENTRY_TOO_LARGE`. */
  readonly entryBytesMax: number;
  /** Entries that one partition takes per turn of the loop; the rest waits for the next turn, so that partitions take turns. */
  readonly batchEntriesMax: number;
  /** Bytes that one partition takes per turn. */
  readonly batchBytesMax: number;
  /** Proposals of one partition that wait or are in flight. Beyond: `CLUSTOR_OVERLOADED`. */
  readonly proposalsMax: number;
  /** Bytes of proposals of one partition that wait or are in flight. Beyond: `CLUSTOR_OVERLOADED`. */
  readonly proposalBytesMax: number;
  /** Reads of one partition that wait. Beyond: `CLUSTOR_OVERLOADED`. */
  readonly readsMax: number;
  /** Entries of one call of `apply`, at most 2,048. */
  readonly applyEntriesMax: number;
  /** Bytes of the newest entries that one partition keeps in memory; older ones are read from the log. */
  readonly tailBytesMax: number;
  /** Bytes queued on one connection beyond which its sender is not read any more, and appends to a peer are dropped. */
  readonly connectionQueueBytesMax: number;
  /** Average round trip to a node in milliseconds beyond which elections get wider windows (ELE-7). @defaultValue 150; 350 across regions */
  readonly highRttMs: number;
  /**
   * Milliseconds of one durable chain (two writes, two syncs) beyond which a disk is too slow to lead, if others are faster
   * (`durability.max_device_latency_ms`, ELE-8), or for direct writes (DUR-4).
   */
  readonly deviceLatencyMsMax: number;
  /** Bytes of a partition's log behind its newest snapshot from which on another one is taken (specification §7). */
  readonly snapshotLogBytes: number;
  /** Age of a partition's newest snapshot at which another one is taken, if it is used at all, milliseconds. */
  readonly snapshotIntervalMs: number;
}

/** The defaults. @public */
export const defaultNodeLimits: NodeLimits = {
  entryBytesMax: 1024 * 1024,
  batchEntriesMax: 1024,
  batchBytesMax: 1024 * 1024,
  proposalsMax: 65_536,
  proposalBytesMax: 64 * 1024 * 1024,
  readsMax: 65_536,
  applyEntriesMax: 512,
  tailBytesMax: 16 * 1024 * 1024,
  connectionQueueBytesMax: 32 * 1024 * 1024,
  highRttMs: 150,
  deviceLatencyMsMax: defaultDeviceLatencyMsMax,
  snapshotLogBytes: 512 * 1024 * 1024,
  snapshotIntervalMs: 15 * 60 * 1000,
};

/** What is larger cannot be done, whatever a node is told. */
const greatest: Partial<NodeLimits> = {
  // Beside the entry a frame on the wire has its metadata and heads.
  entryBytesMax: entryBodyBytesMax - 4096,
  applyEntriesMax: resultLagEntries,
};

/** Completes and checks limits. */
export function nodeLimits(given: Partial<NodeLimits> = {}): NodeLimits {
  const limits = { ...defaultNodeLimits, ...given };
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `limit ${name} must be a whole number of at least 1, got ${value}`,
      );
    }
    const valueMax = greatest[name as keyof NodeLimits];
    if (valueMax !== undefined && value > valueMax)
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `limit ${name} is at most ${valueMax}, got ${value}`,
      );
  }
  return limits;
}
