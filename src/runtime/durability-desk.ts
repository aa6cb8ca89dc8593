/**
 * Who decides how a partition's batches go to the disk: Strict, or Group-Fsync while its predicate holds (specification §5.2).
 *
 * The mode is replicated: each change is an entry of its own with the next epoch, and takes effect on every replica when it is
 * applied. What an operator asked for is wanted from then on; the leader goes back to Strict when the predicate fails or the
 * bounds were overrun twice, and tries again after a wait that doubles. A new leader starts Strict.
 */
import { durabilityModes, type DurabilityMode } from '../base/durability-mode.ts';
import { ByteWriter } from '../base/bytes.ts';
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, NodeId, Term } from '../base/ids.ts';
import { writeSystemEntry, type DurabilityTransition } from '../codec/system-entry.ts';
import {
  GroupFsyncBackoff,
  groupFsyncLimits,
  judgeGroupFsync,
  type GroupFsyncVerdict,
} from '../policy/group-fsync.ts';
import type { Clock } from '../ports/clock.ts';
import type { IoWriterMode } from '../ports/file-system.ts';
import type { Observer } from '../ports/observer.ts';
import { activeConfiguration, votersOfBoth } from '../raft/index.ts';
import { replicaClosed } from './replica-closed.ts';
import type { Replica } from './replica.ts';

/** How a partition's batches go to the disk, and why. @public */
export interface DurabilityStatus {
  readonly mode: DurabilityMode;
  /** What an operator asked for last. */
  readonly wantedMode: DurabilityMode;
  /** Rises with each change. */
  readonly epoch: number;
  /** The entry that brought the mode; 0 when none did. */
  readonly index: LogIndex;
  /** At the leader: whether Group-Fsync may be on now, and the first clause that forbids it. */
  readonly groupFsync: GroupFsyncVerdict | undefined;
}

/** What a desk needs. */
export interface DurabilityDeskOptions {
  readonly replica: Replica;
  readonly clock: Clock;
  readonly observer: Observer;
  /** Slow syncs of this node's device that stand. */
  readonly deviceViolations: () => number;
  /** How a node's chains reach the disk, by its own word; `undefined` before it was heard. */
  readonly ioWriterModeOf: (nodeId: NodeId) => IoWriterMode | undefined;
}

interface Waiter {
  readonly mode: DurabilityMode;
  readonly deadlineAtMs: number;
  readonly resolve: (status: DurabilityStatus) => void;
  readonly reject: (error: ClustorError) => void;
}

const waitersMax = 64;

/** See the file comment. */
export class DurabilityDesk {
  readonly #options: DurabilityDeskOptions;
  #mode: DurabilityMode = 'Strict';
  #wantedMode: DurabilityMode = 'Strict';
  #epoch = 0;
  #index = 0 as LogIndex;
  /** Term of the leader that fixed the mode. */
  #confirmedTerm = 0;
  #isProposed = false;
  #overruns = 0;
  readonly #backoff = new GroupFsyncBackoff();
  #waiters: Waiter[] = [];
  #isClosed = false;

  constructor(options: DurabilityDeskOptions) {
    this.#options = options;
  }

  /** Mode, what is wanted, and what stands in the way. */
  status(): DurabilityStatus {
    return {
      mode: this.#mode,
      wantedMode: this.#wantedMode,
      epoch: this.#epoch,
      index: this.#index,
      groupFsync: this.#options.replica.isLeader ? this.#verdict() : undefined,
    };
  }

  /**
   * Asks for a mode; resolves when it is in force here. Only at the leader.
   * @throws ClustorError `CLUSTOR_NOT_LEADER`; `CLUSTOR_MODE_CONFLICT` when the predicate of Group-Fsync fails, or when
   * `expectedEpoch` is not the present one.
   */
  set(
    mode: DurabilityMode,
    options: { readonly expectedEpoch: number | undefined; readonly deadlineMs: number },
  ): Promise<DurabilityStatus> {
    const { replica, clock } = this.#options;
    const refusal = this.#refusal(mode, options.expectedEpoch);
    if (refusal !== undefined) return Promise.reject(refusal);
    if (this.#mode === mode && this.#wantedMode === mode) return Promise.resolve(this.status());
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        mode,
        deadlineAtMs: clock.monotonicMs() + options.deadlineMs,
        resolve,
        reject,
      };
      this.#waiters.push(waiter);
      // The same change is on its way already: a second entry would come too late and change nothing.
      if (this.#isProposed) return;
      const failed = this.#propose(mode, 'operator');
      if (failed !== undefined) this.#settle(waiter, failed);
      else replica.wake();
    });
  }

  /** A committed entry changed the mode; the same on every replica. A late one of an earlier epoch changes nothing. */
  applied(
    transition: DurabilityTransition,
    place: { readonly term: Term; readonly index: LogIndex },
  ): void {
    this.#isProposed = false;
    if (transition.epoch <= this.#epoch) return;
    this.#mode = transition.toMode;
    this.#epoch = transition.epoch;
    this.#index = place.index;
    if (transition.cause === 'operator') this.#wantedMode = transition.toMode;
    const { replica, observer, clock } = this.#options;
    if (this.#mode === 'GroupFsync') this.#backoff.enabled(clock.monotonicMs());
    const { index, term } = place;
    observer.emit({
      level: transition.cause === 'predicate' ? 'warn' : 'info',
      kind: 'durabilityChanged',
      fields: {
        partitionId: replica.partitionId,
        replicaId: replica.replicaId,
        mode: this.#mode,
        epoch: this.#epoch,
        cause: transition.cause,
      },
    });
    replica.log.changeDurabilityMode({ mode: this.#mode, epoch: this.#epoch, index });
    this.#confirmedTerm = term;
    for (const waiter of this.#waiters)
      if (waiter.mode === this.#mode) this.#settle(waiter, this.status());
  }

  /** A bound of Group-Fsync was overrun here. */
  overrun(): void {
    this.#overruns++;
    this.review();
  }

  /** Role or time changed: a leader puts the mode right. */
  review(): void {
    const isStrict = this.#mode === 'Strict' && this.#wantedMode === 'Strict';
    if (isStrict && this.#waiters.length === 0) return;
    const { replica, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    for (const waiter of this.#waiters) this.#expire(waiter, nowMs);
    if (!replica.isLeader || this.#isClosed) {
      this.#isProposed = false;
      this.#overruns = 0;
      return;
    }
    if (isStrict) return;
    // Before the own term's first entry is applied an older change may still be on its way.
    const { leader, term } = replica.state;
    if (leader === undefined || replica.apply.appliedIndex < leader.termStartIndex) return;
    if (this.#isProposed) return;
    this.#correct(nowMs, term);
  }

  /** Answers who waits. */
  close(): void {
    this.#isClosed = true;
    const error = new ClustorError('CLUSTOR_CLOSED', 'the node closed');
    for (const waiter of this.#waiters) this.#settle(waiter, error);
  }

  #correct(nowMs: number, term: number): void {
    const isOverrun = this.#overruns >= groupFsyncLimits.overrunsMax;
    if (this.#mode === 'GroupFsync') {
      if (this.#confirmedTerm !== term) {
        this.#propose('Strict', 'newLeader');
      } else if (isOverrun || this.#verdict().kind === 'refused') {
        this.#overruns = 0;
        this.#backoff.failed(nowMs);
        this.#propose('Strict', 'predicate');
      }
    } else if (this.#verdict().kind === 'allowed') {
      this.#propose('GroupFsync', 'reenabled');
    }
  }

  #refusal(mode: DurabilityMode, expectedEpoch: number | undefined): ClustorError | undefined {
    const { replica } = this.#options;
    if (this.#isClosed) return replicaClosed('surelyNot');
    if (!durabilityModes.includes(mode))
      return new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `the durability mode is ${durabilityModes.join(' or ')}, got "${mode}"`,
      );
    if (!replica.isLeader) return replica.askedInVain();
    if (this.#waiters.length >= waitersMax)
      return new ClustorError(
        'CLUSTOR_OVERLOADED',
        `${waitersMax} changes of the durability mode wait`,
      );
    if (expectedEpoch !== undefined && expectedEpoch !== this.#epoch)
      return conflict(
        `the durability mode is at epoch ${this.#epoch}, the caller expected ${expectedEpoch}`,
        { observedEpoch: this.#epoch, expectedEpoch },
      );
    if (this.#isProposed && !this.#waiters.some((waiter) => waiter.mode === mode))
      return conflict(`another change of the mode is under way at epoch ${this.#epoch}`, {
        observedEpoch: this.#epoch,
      });
    const verdict = this.#verdict();
    if (mode === 'GroupFsync' && verdict.kind === 'refused')
      return conflict(`${verdict.clause}: ${verdict.reason}`, {
        clause: verdict.clause,
        observedEpoch: this.#epoch,
      });
    return undefined;
  }

  #propose(toMode: DurabilityMode, cause: DurabilityTransition['cause']): ClustorError | undefined {
    const { replica } = this.#options;
    const writer = new ByteWriter();
    writeSystemEntry(writer, {
      kind: 'durabilityTransition',
      fromMode: this.#mode,
      toMode,
      effectiveIndex: (replica.state.log.lastIndex + 2) as LogIndex,
      epoch: this.#epoch + 1,
      cause,
    });
    const refusal = replica.offer({
      metadata: new Uint8Array(0),
      payload: writer.take(),
      isSystem: true,
      slot: 0,
      sink: {
        proposalCommitted: () => undefined,
        proposalFailed: (_slot, error) => {
          this.#isProposed = false;
          for (const waiter of this.#waiters) this.#settle(waiter, error);
        },
      },
    });
    if (refusal === undefined) this.#isProposed = true;
    return refusal;
  }

  #verdict(): GroupFsyncVerdict {
    const { replica, clock, deviceViolations, ioWriterModeOf } = this.#options;
    const voters = votersOfBoth(activeConfiguration(replica.state));
    const blocking = voters.filter(({ nodeId }) => ioWriterModeOf(nodeId) === 'Blocking');
    const { gravest } = replica.gate;
    return judgeGroupFsync({
      nowMs: clock.monotonicMs(),
      backoffUntilMs: this.#backoff.untilMs,
      voters: voters.length,
      blockingVoters: blocking.length,
      deviceViolations: deviceViolations(),
      quarantine: replica.state.inDoubt
        ? 'this replica is in doubt'
        : gravest && `this replica is in ${gravest} quarantine`,
    });
  }

  #expire(waiter: Waiter, nowMs: number): void {
    if (nowMs < waiter.deadlineAtMs) return;
    this.#settle(
      waiter,
      new ClustorError(
        'CLUSTOR_DEADLINE_EXCEEDED',
        `the change to ${waiter.mode} was not committed in time`,
      ),
    );
  }

  #settle(waiter: Waiter, outcome: DurabilityStatus | ClustorError): void {
    this.#waiters = this.#waiters.filter((row) => row !== waiter);
    if (outcome instanceof ClustorError) waiter.reject(outcome);
    else waiter.resolve(outcome);
  }
}

function conflict(
  message: string,
  details: Readonly<Record<string, string | number>>,
): ClustorError {
  return new ClustorError('CLUSTOR_MODE_CONFLICT', message, { details });
}
