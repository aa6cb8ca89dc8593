/**
 * When a partition may hold its batches for a moment so that more entries share one pair of syncs (Group-Fsync), and what
 * ends that (specification §5.2). Numbers in, verdict out.
 *
 * Holding never touches the ack contract: an entry counts when its syncs have ended, in every mode. What is weighed here is
 * latency against the number of syncs, and whether the disks are fit for it.
 */

/** Bounds of Group-Fsync (specification §5.2). */
export interface GroupFsyncLimits {
  /** A held batch goes to the disk when it has so many bytes, */
  readonly batchBytesMax: number;
  /** or when it was held for so long, milliseconds. */
  readonly batchMsMax: number;
  /** The same two while the writer is in a lesser mode than it could be in (specification §5.1). */
  readonly degradedBatchBytesMax: number;
  readonly degradedBatchMsMax: number;
  /** Bytes of one partition that are not durable yet; more of them are an overrun. */
  readonly inflightPartitionBytesMax: number;
  /** The same of all partitions of a node. */
  readonly inflightNodeBytesMax: number;
  /** Overruns after which the leader goes back to Strict. */
  readonly overrunsMax: number;
  /** First wait before Group-Fsync is tried again, milliseconds; doubled each time. */
  readonly backoffMs: number;
  /** The longest wait. */
  readonly backoffMsMax: number;
  /** A chain of syncs slower than this is a violation of the device, milliseconds. */
  readonly deviceMsMax: number;
  /** So many violations forbid Group-Fsync; five chains in a row below 80 % of the bound clear them. */
  readonly deviceViolationsMax: number;
}

/** The bounds. */
export const groupFsyncLimits: GroupFsyncLimits = {
  batchBytesMax: 64 * 1024,
  batchMsMax: 5,
  degradedBatchBytesMax: 32 * 1024,
  degradedBatchMsMax: 2,
  inflightPartitionBytesMax: 4 * 1024 * 1024,
  inflightNodeBytesMax: 64 * 1024 * 1024,
  overrunsMax: 2,
  backoffMs: 60_000,
  backoffMsMax: 15 * 60_000,
  deviceMsMax: 20,
  deviceViolationsMax: 3,
};

/** What the predicate looks at. */
export interface GroupFsyncInput {
  readonly nowMs: number;
  /** Group-Fsync is not tried again before. */
  readonly backoffUntilMs: number;
  readonly voters: number;
  /** Voters, the leader among them, whose syncs block their loop. */
  readonly blockingVoters: number;
  /** Violations of the leader's own device. */
  readonly deviceViolations: number;
  /** Why this replica may not be trusted with a held batch: it is in doubt, or does not apply. */
  readonly quarantine: string | undefined;
}

/** The first clause that fails. @public */
export type GroupFsyncClause =
  | 'BackoffRunning'
  | 'BlockingVoter'
  | 'DeviceViolations'
  | 'GroupFsyncQuarantine';

/** Whether Group-Fsync may be on. @public */
export type GroupFsyncVerdict =
  | { readonly kind: 'allowed' }
  | { readonly kind: 'refused'; readonly clause: GroupFsyncClause; readonly reason: string };

const allowed: GroupFsyncVerdict = { kind: 'allowed' };

/**
 * The predicate of Group-Fsync, clause by clause in the order of the specification: backoff elapsed, no voter Blocking, fewer
 * than three device violations, no quarantine. A quorum of Blocking voters is no reason: then all of them wait for the same.
 */
export function judgeGroupFsync(input: GroupFsyncInput): GroupFsyncVerdict {
  const { nowMs, backoffUntilMs, voters, blockingVoters, deviceViolations, quarantine } = input;
  if (nowMs < backoffUntilMs)
    return refused(
      'BackoffRunning',
      `Group-Fsync ran over its bounds and is tried again in ${Math.ceil((backoffUntilMs - nowMs) / 1000)} s`,
    );
  if (blockingVoters > 0 && blockingVoters < Math.floor(voters / 2) + 1)
    return refused('BlockingVoter', `${blockingVoters} of ${voters} voters sync on their loop`);
  if (deviceViolations >= groupFsyncLimits.deviceViolationsMax)
    return refused(
      'DeviceViolations',
      `${deviceViolations} syncs of this node took longer than ${groupFsyncLimits.deviceMsMax} ms`,
    );
  if (quarantine !== undefined) return refused('GroupFsyncQuarantine', quarantine);
  return allowed;
}

/**
 * When Group-Fsync may be tried again after it had to be ended: each wait is twice the one before, up to the longest. Where it
 * has held for as long as the longest wait, what was before is over, and the waits begin anew.
 */
export class GroupFsyncBackoff {
  #failures = 0;
  #untilMs = 0;
  #enabledMs: number | undefined;

  /** Not before. */
  get untilMs(): number {
    return this.#untilMs;
  }

  /** It is in force. */
  enabled(nowMs: number): void {
    this.#enabledMs = nowMs;
  }

  /** It had to be ended. */
  failed(nowMs: number): void {
    const { backoffMs, backoffMsMax } = groupFsyncLimits;
    const heldMs = this.#enabledMs === undefined ? 0 : nowMs - this.#enabledMs;
    if (heldMs >= backoffMsMax) this.#failures = 0;
    this.#untilMs = nowMs + Math.min(backoffMs * 2 ** Math.min(this.#failures, 16), backoffMsMax);
    this.#failures++;
    this.#enabledMs = undefined;
  }
}

/** Counts slow syncs of a device. */
export class DeviceViolations {
  #violations = 0;
  #goodInARow = 0;

  /** Violations that stand. */
  get count(): number {
    return this.#violations;
  }

  /** Takes in how long a sync took. */
  add(ms: number): void {
    const { deviceMsMax } = groupFsyncLimits;
    if (ms > deviceMsMax) this.#violations++;
    this.#goodInARow = ms < deviceMsMax * 0.8 ? this.#goodInARow + 1 : 0;
    if (this.#goodInARow >= 5) this.#violations = 0;
  }
}

function refused(clause: GroupFsyncClause, reason: string): GroupFsyncVerdict {
  return { kind: 'refused', clause, reason };
}
