/** A partition as the embedding product sees it, on whichever node. */
import { ByteWriter } from '../base/bytes.ts';
import type { DurabilityMode } from '../base/durability-mode.ts';
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, NodeId, PartitionId } from '../base/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Observer } from '../ports/observer.ts';
import type { StateMachine } from '../ports/state-machine.ts';
import type { QuarantineReason } from '../policy/quarantine.ts';
import { callBack } from './callback.ts';
import type { DurabilityDesk, DurabilityStatus } from './durability-desk.ts';
import type { HoldDesk } from './hold-desk.ts';
import type { SnapshotDesk, SnapshotInfo } from './snapshot-desk.ts';
import type { AppendReceipt, LocalAppend, LocalAppender } from './local-append.ts';
import type { LocalReader } from './local-read.ts';
import type {
  MembershipDesk,
  MembershipOutcome,
  MemberToAdd,
  VoterChange,
  VoterPlan,
} from './membership-desk.ts';
import type { QuarantineDesk, QuarantineStatus } from './quarantine-desk.ts';
import type { Replica } from './replica.ts';
import { keyMetadata, SessionKeys, type IdempotencyKey } from './session-keys.ts';
import { partitionStatus, type PartitionStatus } from './status.ts';
import { subscribeToEntries, type CommittedEntry, type EntryFeed } from './subscription.ts';

/** Options of {@link Partition.append}. @public */
export interface AppendOptions {
  /** Makes retries of the caller itself (after its own crash, say) take effect once. Without it the node uses a key of its own. */
  readonly idempotencyKey?: IdempotencyKey;
  /** Gives up waiting; the outcome is then unknown. */
  readonly signal?: AbortSignal;
  /** Milliseconds after which to give up. @defaultValue 10,000 */
  readonly deadlineMs?: number;
}

/** Options of reads. @public */
export interface ReadOptions {
  /** Gives up waiting. */
  readonly signal?: AbortSignal;
  /** Milliseconds after which to give up. @defaultValue 10,000 */
  readonly deadlineMs?: number;
}

/** Options of changes of membership and leadership. @public */
export interface ChangeOptions {
  /** Milliseconds after which to stop waiting; the change itself goes on. @defaultValue 150,000 */
  readonly deadlineMs?: number;
}

/** What a partition handle is made of. */
export interface PartitionParts {
  readonly replica: Replica;
  readonly appender: LocalAppender;
  readonly reader: LocalReader;
  readonly membership: MembershipDesk;
  readonly durability: DurabilityDesk;
  readonly quarantine: QuarantineDesk;
  readonly holds: HoldDesk;
  readonly snapshots: SnapshotDesk | undefined;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly clientId: Uint8Array;
  readonly feed: EntryFeed;
}

const deadlineMsDefault = 10_000;
/** Longer than a joint phase may last. */
const changeDeadlineMsDefault = 150_000;

/**
 * One replicated log and its state machine.
 *
 * When the promise of {@link Partition.append} resolves, the entry is on stable storage (data and ledger record) of a
 * quorum, and applied here or at the leader (specification §2.4).
 * @public
 */
export class Partition {
  readonly partitionId: PartitionId;
  readonly #parts: PartitionParts;
  readonly #keys: SessionKeys;
  readonly #writer = new ByteWriter();

  /** @internal */
  constructor(parts: PartitionParts) {
    this.#parts = parts;
    this.partitionId = parts.replica.partitionId;
    this.#keys = new SessionKeys(parts.clientId);
  }

  /** The local state machine. Reading it directly is a stale read; {@link Partition.read} is the linearizable one. */
  get machine(): StateMachine {
    return this.#parts.replica.machine;
  }

  /** Newest commit index known here, for {@link IdempotencyKey}s. */
  get commitIndex(): LogIndex {
    return this.#parts.replica.state.commitIndex;
  }

  /** Newest index applied here. */
  get appliedIndex(): LogIndex {
    return this.#parts.replica.apply.appliedIndex;
  }

  /**
   * Appends an entry, wherever the leader is. Retried under one key until the deadline, so it takes effect at most once.
   * Entries that are under way at the same time may be ordered anew by a change of leader; await one before sending what
   * must come after it.
   *
   * @throws ClustorError with `outcome` `surelyNot`, `committed` or `unknown`.
   */
  append(bytes: Uint8Array, options: AppendOptions = {}): Promise<AppendReceipt> {
    return new Promise<AppendReceipt>((resolve, reject) => {
      this.appendWith(bytes, options, (outcome) => {
        if (outcome instanceof ClustorError) reject(outcome);
        else resolve(outcome);
      });
    });
  }

  /**
   * Like {@link Partition.append}, without a promise. `settled` is called once; what it throws is told to the observer
   * (`callbackFailed`) and changes nothing here.
   */
  appendWith(
    bytes: Uint8Array,
    options: AppendOptions,
    settled: (outcome: AppendReceipt | ClustorError) => void,
  ): void {
    const { replica, observer } = this.#parts;
    const refusal = replica.entryRefusal(bytes.length);
    if (refusal !== undefined) {
      callBack(observer, settled, refusal);
      return;
    }
    const key = this.#key(options.idempotencyKey);
    const { signal } = options;
    const onAbort = (): void => {
      if (append.isSettled) return;
      append.isSettled = true;
      append.settle(
        new ClustorError('CLUSTOR_ABORTED', 'the caller gave up waiting for the append', {
          cause: signal?.reason,
        }),
      );
    };
    const append: LocalAppend = {
      metadata: key.metadata,
      payload: bytes,
      deadlineAtMs: this.#parts.clock.monotonicMs() + (options.deadlineMs ?? deadlineMsDefault),
      isUncertain: false,
      isSent: false,
      isSettled: false,
      settle: (outcome) => {
        if (key.sequence !== undefined) this.#keys.settled(key.sequence);
        signal?.removeEventListener('abort', onAbort);
        callBack(observer, settled, outcome);
      },
    };
    if (signal?.aborted === true) {
      append.isSettled = true;
      append.settle(
        new ClustorError('CLUSTOR_ABORTED', 'the signal was aborted before the append', {
          outcome: 'surelyNot',
        }),
      );
      return;
    }
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#parts.appender.submit(append);
  }

  /**
   * Runs `read` on the local machine in a state that contains everything acknowledged before this call, on any node: the
   * leader vouches for an index, this replica applies up to it (specification §2.3).
   */
  async read<T>(read: (machine: StateMachine) => T, options: ReadOptions = {}): Promise<T> {
    const { reader, replica } = this.#parts;
    const { signal } = options;
    const deadlineAtMs = this.#deadlineAtMs(options);
    const granted = await reader.readIndex(deadlineAtMs, signal);
    await reader.waitApplied(granted.index, deadlineAtMs, signal);
    if (granted.byLease && !replica.holdsLease()) {
      // The process may have stood still, or apply taken its time: the lease must hold now (specification §2.3).
      const { index } = await reader.readIndex(deadlineAtMs, signal, true);
      await reader.waitApplied(index, deadlineAtMs, signal);
    }
    const forbidden = replica.gate.refusal('mayRead');
    if (forbidden !== undefined) throw forbidden;
    return read(this.machine);
  }

  /** An index that contains everything acknowledged before this call; confirmed by the leader. */
  async readIndex(options: ReadOptions = {}): Promise<LogIndex> {
    const granted = await this.#parts.reader.readIndex(this.#deadlineAtMs(options), options.signal);
    return granted.index;
  }

  /** Resolves once `index` is applied here. */
  waitApplied(index: LogIndex, options: ReadOptions = {}): Promise<LogIndex> {
    return this.#parts.reader.waitApplied(index, this.#deadlineAtMs(options), options.signal);
  }

  /**
   * Committed entries from an index on, then as they come. The next entry is read when it is asked for, so a slow consumer
   * holds nothing up.
   *
   * This is the log as it is, and not what became of it: an entry that had no effect, because its key had taken effect before
   * or was refused, is yielded like any other. A request whose answer was lost may so be seen twice, though it took effect
   * once (specification §2.4); a consumer that must not count it twice puts a number of its own into its entries.
   * @throws ClustorError `CLUSTOR_LOG_COMPACTED` when the log no longer begins early enough; `CLUSTOR_CLOSED`,
   * `CLUSTOR_APPLY_FAULT` or `CLUSTOR_QUARANTINED` when this replica applies no more.
   */
  subscribe(options: {
    readonly from: LogIndex;
    readonly signal?: AbortSignal;
  }): AsyncGenerator<CommittedEntry, void, undefined> {
    return subscribeToEntries(this.#parts.feed, options.from, options.signal);
  }

  /**
   * Creates a replica on a node and takes it in as a learner or observer. Only at the leader; done at once when the node
   * holds a member already.
   * @throws ClustorError `CLUSTOR_NOT_LEADER`, `CLUSTOR_MEMBERSHIP_BLOCKED`, `CLUSTOR_NODE_UNREACHABLE`.
   */
  addMember(member: MemberToAdd, options: ChangeOptions = {}): Promise<MembershipOutcome> {
    return this.#parts.membership.addMember(member, options.deadlineMs ?? changeDeadlineMsDefault);
  }

  /** What {@link Partition.changeVoters} would do, and whether it may begin. Changes nothing. */
  planVoters(change: VoterChange): VoterPlan {
    return this.#parts.membership.planVoters(change);
  }

  /**
   * Changes the voters in one step: any number of promotions and removals, through a joint phase (specification §3.1).
   * Resolves when the partition has left that phase; `isRolledBack` says which way. Only at the leader.
   * @throws ClustorError `CLUSTOR_NOT_LEADER`, `CLUSTOR_MEMBERSHIP_BLOCKED`, `CLUSTOR_LEARNER_BEHIND`, `CLUSTOR_SURVIVABILITY`.
   */
  changeVoters(change: VoterChange, options: ChangeOptions = {}): Promise<MembershipOutcome> {
    return this.#parts.membership.changeVoters(
      change,
      options.deadlineMs ?? changeDeadlineMsDefault,
    );
  }

  /** Leaves a joint phase for the old configuration as soon as that is safe. Only at the leader. */
  rollBackMembership(reason: string, options: ChangeOptions = {}): Promise<MembershipOutcome> {
    return this.#parts.membership.rollBack(reason, options.deadlineMs ?? changeDeadlineMsDefault);
  }

  /**
   * Hands leadership to the voter on a node; resolves with the node that is then known to lead. Only at the leader.
   * @throws ClustorError `CLUSTOR_TRANSFER_ABORTED` when the leader goes on.
   */
  transferLeadership(to: NodeId, options: ChangeOptions = {}): Promise<NodeId> {
    return this.#parts.membership.transferLeadership(
      to,
      options.deadlineMs ?? changeDeadlineMsDefault,
    );
  }

  /** How this partition's batches go to the disk, and what stands in the way of Group-Fsync (specification §5.2). */
  durability(): DurabilityStatus {
    return this.#parts.durability.status();
  }

  /**
   * Changes how batches go to the disk; resolves when the change is in force here. Only at the leader.
   * @throws ClustorError `CLUSTOR_NOT_LEADER`, or `CLUSTOR_MODE_CONFLICT` when Group-Fsync may not be on now, or when
   * `expectedEpoch` is given and is not the present epoch.
   */
  setDurability(
    mode: DurabilityMode,
    options: ChangeOptions & { readonly expectedEpoch?: number } = {},
  ): Promise<DurabilityStatus> {
    return this.#parts.durability.set(mode, {
      expectedEpoch: options.expectedEpoch,
      deadlineMs: options.deadlineMs ?? deadlineMsDefault,
    });
  }

  /**
   * Puts this replica into `Administrative` quarantine (specification §5.6): it applies nothing more, refuses reads and new
   * entries, and lets others lead; it votes and acknowledges on. Resolves when that is durable; it outlives restarts.
   * `ticket` and `reason` say who wanted it and why, at most 256 characters each.
   * @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`, `CLUSTOR_CLOSED`.
   */
  setQuarantine(ticket: string, reason: string): Promise<void> {
    return this.#parts.holds.set(ticket, reason);
  }

  /**
   * Ends a quarantine of this replica that waits for an operator: `ApplyFault` once the machine is mended, `Administrative`,
   * or an `Integrity` one where everything is repaired and it was the third within a day. `ticket` says who looked at it;
   * `reason` which one is meant where there are several. Resolves when the end is on its way to the disk or there.
   * @throws ClustorError `CLUSTOR_QUARANTINED` while entries are missing, or where the node must be restarted first;
   * `CLUSTOR_INVALID_ARGUMENT` where there is none, or several.
   */
  async clearQuarantine(ticket: string, reason?: QuarantineReason): Promise<void> {
    if (ticket === '')
      throw new ClustorError('CLUSTOR_INVALID_ARGUMENT', 'name the ticket of this decision');
    const { quarantine, holds } = this.#parts;
    const inForce = this.#quarantines().map((row) => row.reason);
    if (reason === undefined && inForce.length > 1)
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `name which quarantine is to end: ${inForce.join(', ')}`,
      );
    const [ended = 'Integrity'] = reason === undefined ? inForce : [reason];
    if (ended === 'Integrity') quarantine.clear(ticket);
    else await holds.clear(ended, ticket);
  }

  /**
   * Takes a snapshot of this replica's machine, so that the log may begin behind it; resolves when it is whole, read back and
   * durable on this node. The one that is there where nothing was applied since. With `deadlineMs` it stops waiting behind so
   * many milliseconds, and the snapshot is taken all the same.
   * @throws ClustorError `CLUSTOR_SNAPSHOT_UNAVAILABLE` while the machine's state is not whole, `CLUSTOR_DISK_HARD`,
   * `CLUSTOR_STORAGE_FAILED`, `CLUSTOR_CLOSED`, `CLUSTOR_DEADLINE_EXCEEDED`.
   */
  async takeSnapshot({ deadlineMs }: { readonly deadlineMs?: number } = {}): Promise<SnapshotInfo> {
    const { snapshots, clock } = this.#parts;
    if (snapshots === undefined)
      throw new ClustorError(
        'CLUSTOR_SNAPSHOT_UNAVAILABLE',
        'this node was opened without cryptography, which snapshots are hashed with',
      );
    const taken = snapshots.take();
    if (deadlineMs === undefined) return taken;
    let cancel = (): void => undefined;
    const late = new Promise<never>((_, reject) => {
      cancel = clock.setTimer(deadlineMs, () => {
        reject(
          new ClustorError(
            'CLUSTOR_DEADLINE_EXCEEDED',
            `the snapshot of partition ${this.partitionId} is still being written after ${deadlineMs} ms`,
            { outcome: 'unknown' },
          ),
        );
      });
    });
    return Promise.race([taken, late]).finally(() => {
      cancel();
    });
  }

  /** Role, indexes, members and what is under way. */
  status(): PartitionStatus {
    const { replica, appender, durability, snapshots } = this.#parts;
    return partitionStatus(replica, {
      localAppendsPending: appender.pendingCount,
      durability: durability.status(),
      quarantines: this.#quarantines(),
      snapshots: snapshots?.status,
    });
  }

  /** Those in force, the gravest first. */
  #quarantines(): readonly QuarantineStatus[] {
    const { quarantine, holds } = this.#parts;
    const { status } = quarantine;
    return status === undefined ? holds.statuses : [status, ...holds.statuses];
  }

  #deadlineAtMs(options: ReadOptions): number {
    return this.#parts.clock.monotonicMs() + (options.deadlineMs ?? deadlineMsDefault);
  }

  #key(given: IdempotencyKey | undefined): {
    readonly sequence: number | undefined;
    readonly metadata: Uint8Array;
  } {
    if (given === undefined) return this.#keys.next(this.commitIndex);
    return { sequence: undefined, metadata: keyMetadata(this.#writer, given) };
  }
}
