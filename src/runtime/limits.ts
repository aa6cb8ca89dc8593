/** Bounds of one node, each with what happens when it is reached. */
import { ClustorError } from '../base/errors.ts';
import { defaultDeviceLatencyMsMax } from '../storage/log-store-limits.ts';

/** Limits of a node. @public */
export interface NodeLimits {
  /** Bytes of one appended entry (Latency profile). Beyond: `CLUSTOR_ENTRY_TOO_LARGE`. */
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
  /** Entries of one call of `apply`. */
  readonly applyEntriesMax: number;
  /** Bytes of the newest entries that one partition keeps in memory; older ones are read from the log. */
  readonly tailBytesMax: number;
  /** Bytes queued on one connection beyond which its sender is not read any more, and appends to a peer are dropped. */
  readonly connectionQueueBytesMax: number;
  /** Rows of one partition's idempotency table; the oldest by log position go. */
  readonly idempotencyRowsMax: number;
  /** Bytes of one partition's idempotency table; the oldest rows by log position go. */
  readonly idempotencyBytesMax: number;
  /** Average round trip to a node in milliseconds beyond which elections get wider windows (ELE-7). @defaultValue 150; 350 across regions */
  readonly highRttMs: number;
  /**
   * Milliseconds of one durable chain (two writes, two syncs) beyond which a disk is too slow to lead, if others are faster
   * (`durability.max_device_latency_ms`, ELE-8), or for direct writes (DUR-4).
   */
  readonly deviceLatencyMsMax: number;
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
  idempotencyRowsMax: 1_000_000,
  idempotencyBytesMax: 128 * 1024 * 1024,
  highRttMs: 150,
  deviceLatencyMsMax: defaultDeviceLatencyMsMax,
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
  }
  return limits;
}
