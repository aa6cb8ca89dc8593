/**
 * One replica: inputs in, one step of the core each, effects carried out in order.
 *
 * Everything here is synchronous; what takes time (storage, sockets, cold reads, an asynchronous state machine) answers
 * later as another input. A broken invariant stops the whole node: a replica that cannot trust itself must not speak.
 */
import { assert, present, unreachable } from '../base/assert.ts';
import { ClustorError } from '../base/errors.ts';
import type { Incarnation, LogIndex, NodeId, PartitionId, ReplicaId } from '../base/ids.ts';
import type { Configuration } from '../base/membership.ts';
import {
  activeConfiguration,
  createRaftState,
  holdsLease,
  leaderNodeId,
  leaseStatus,
  memberOf,
  nextTickDue,
  selfLife,
  start,
  step,
  termAt,
  type Effect,
  type Input,
  type LeaseStatus,
  type PeerMessage,
  type RaftState,
  type WholeLog,
} from '../raft/index.ts';
import type { StateMachine } from '../ports/state-machine.ts';
import type { AppendCompletion, HardState } from '../storage/log-store-types.ts';
import type { PartitionLog } from '../storage/partition-log.ts';
import { AppendSender } from './append-sender.ts';
import type { ApplyPipeline } from './apply-pipeline.ts';
import { readChecked } from './checked-read.ts';
import { metadataRefusal, sizeRefusal } from './entry-admission.ts';
import { EntryTail } from './entry-tail.ts';
import { LeafGate } from './leaf-gate.ts';
import { FrameBuilder } from './frame-builder.ts';
import { FrozenInputs } from './frozen-inputs.ts';
import { heldUntilOperator } from './hold-desk.ts';
import { notLeaderError } from './not-leader.ts';
import { sendWords } from './peer-words.ts';
import { failPending, failUnapplied } from './proposal-answers.ts';
import { ProposalQueue, type Proposal } from './proposals.ts';
import { QuarantineGate } from './quarantine-gate.ts';
import { ReadBarriers, type ReadWaiter } from './read-barriers.ts';
import type { ReceivedFrames } from './received-frames.ts';
import { replicaApply } from './replica-apply.ts';
import { replicaClosed } from './replica-closed.ts';
import {
  configurationFields,
  doubtedFields,
  roleFields,
  type EventFields,
} from './replica-events.ts';
import { raftStart, type ReplicaInput, type ReplicaParts } from './replica-options.ts';
import type { TurnWork } from './turn.ts';

/** See the file comment. */
export class Replica implements TurnWork {
  readonly partitionId: PartitionId;
  readonly replicaId: ReplicaId;
  readonly incarnation: Incarnation;
  readonly machine: StateMachine;
  readonly state: RaftState;
  readonly tail: EntryTail;
  readonly log: PartitionLog;
  readonly apply: ApplyPipeline;
  readonly reads: ReadBarriers;
  /** What a quarantine forbids here. */
  readonly gate: QuarantineGate;
  readonly #options: ReplicaParts;
  /** Which leaves entries that are framed here get. */
  readonly leaves: LeafGate;
  readonly #proposals: ProposalQueue;
  readonly #frames: FrameBuilder;
  readonly #sender: AppendSender;
  #effects: Effect[] = [];
  readonly #frozen = new FrozenInputs();
  #isMarked = false;
  #isApplyMarked = false;
  #isStepping = false;
  #batch: Proposal[] = [];
  #received: ReceivedFrames | undefined;
  #isClosed = false;
  /** Steps of the core so far: while it stays, the state does. */
  stepCount = 0;
  #roleSinceMs: number;
  /** What is said is held back until a doubt of this replica is on the disk (KER-9). */
  isMuted = false;
  /** Why the role is what it is, for explanations. */
  roleReason = 'the process has just started';

  constructor(options: ReplicaParts) {
    const { recovered, log, limits } = options;
    this.#options = options;
    this.partitionId = recovered.partitionId;
    this.replicaId = recovered.replicaId;
    this.incarnation = recovered.incarnation;
    this.machine = options.machine;
    this.log = log;
    this.#roleSinceMs = options.clock.monotonicMs();
    this.tail = new EntryTail(limits.tailBytesMax);
    this.state = createRaftState(raftStart(options));
    this.#proposals = new ProposalQueue(limits);
    this.leaves = new LeafGate({ ...options, wanted: options.leaves, state: this.state });
    this.#frames = new FrameBuilder(recovered.partitionId, this.leaves);
    this.#sender = new AppendSender({
      partitionId: recovered.partitionId,
      tail: this.tail,
      log,
      links: options.links,
      state: this.state,
      streamed: (to, lastIndex, extraBytes) => {
        this.#step({ kind: 'streamed', to, lastIndex, extraBytes });
      },
    });
    this.reads = new ReadBarriers({
      readsMax: limits.readsMax,
      whyStopped: () => heldUntilOperator(this.gate),
    });
    this.apply = replicaApply(options, {
      source: {
        slice: (firstIndex, lastIndex) => this.tail.slice(firstIndex, lastIndex),
        read: this.readLog,
      },
      proposals: this.#proposals,
      reads: this.reads,
    });
    this.gate = new QuarantineGate(recovered.partitionId, this.apply);
  }

  /** Entries that are no longer in memory, at least one. */
  readonly readLog = (firstIndex: LogIndex, lastIndex: LogIndex): ReturnType<typeof readChecked> =>
    readChecked(this, { firstIndex, lastIndex, bytesMax: this.#options.limits.batchBytesMax });

  /** Replays what is known to be committed; called once. The first election may be put off, unless somebody asks before. */
  begin(delayTicks = 0): void {
    start(this.state, delayTicks, this.#options.ticks.now);
    this.apply.advanceTo(this.state.appliableIndex);
  }

  /** Whether neither heartbeats are sent nor timers run here, because nobody uses the partition (specification §2.5). */
  get isHibernating(): boolean {
    return this.state.isHibernating;
  }

  /** Whether this replica leads. */
  get isLeader(): boolean {
    return this.state.role === 'leader';
  }

  /** Whether this life of the replica is in the configuration in force. */
  get isMember(): boolean {
    return memberOf(activeConfiguration(this.state), selfLife(this.state)) !== undefined;
  }

  /** Whether no leader will ever speak to this life of the replica again, as far as is known here. */
  get isCutOff(): boolean {
    return this.leaderNodeId === undefined && !this.isMember;
  }

  /** The node that leads, as far as is known here. */
  get leaderNodeId(): NodeId | undefined {
    return leaderNodeId(this.state);
  }

  /** Proposals under way. */
  get proposalCounts(): { readonly waiting: number; readonly appended: number } {
    return { waiting: this.#proposals.waitingCount, appended: this.#proposals.appendedCount };
  }

  /** Milliseconds since the last change of role. */
  roleAgeMs(): number {
    return this.#options.clock.monotonicMs() - this.#roleSinceMs;
  }

  /** Takes an entry in, to be appended at the end of the turn; returns why not. Only at a leader. */
  offer(proposal: Proposal): ClustorError | undefined {
    if (this.#isClosed) return replicaClosed('surelyNot');
    if (!this.isLeader) return this.askedInVain();
    const forbidden = this.gate.refusal('mayPropose');
    if (forbidden !== undefined) return forbidden;
    const bytes = proposal.payload.length;
    const unfit = this.entryRefusal(bytes) ?? metadataRefusal(proposal, this.state.commitIndex);
    if (unfit !== undefined) return unfit;
    const full = this.log.refusal(bytes);
    if (full !== undefined) return new ClustorError('CLUSTOR_DISK_HARD', full);
    const refusal = this.#proposals.offer(proposal);
    if (refusal === undefined) this.#mark();
    return refusal;
  }

  /** Why an entry of this size can never be appended, if so. */
  entryRefusal(payloadBytes: number): ClustorError | undefined {
    return sizeRefusal(payloadBytes, this.#options.limits.entryBytesMax);
  }

  /** How it stands to leases at this moment (specification §2.3). */
  get lease(): LeaseStatus {
    return leaseStatus(this.state, this.#options.ticks.clockMs());
  }

  /** Whether this leader may answer a read alone at this very moment, by the clock and not by the node's ticks. */
  holdsLease(): boolean {
    return holdsLease(this.state, this.#options.ticks.clockMs());
  }

  /** Asks the core for a read index; only at a leader. */
  requestRead(waiter: ReadWaiter): ClustorError | undefined {
    if (this.#isClosed) return replicaClosed('surelyNot');
    if (!this.isLeader) return this.askedInVain();
    const refusal = this.reads.gather(waiter);
    if (refusal === undefined) this.#mark();
    return refusal;
  }

  /** Somebody asked this node for something that only a leader does. */
  askedInVain(): ClustorError {
    this.wake();
    return this.notLeader();
  }

  /** Nothing is applied any more: whoever waits for that is told why. */
  failUnapplied(error: ClustorError): void {
    failUnapplied({ proposals: this.#proposals, reads: this.reads }, error);
  }

  /** The error that sends a caller to the leader, or to another node. */
  notLeader(): ClustorError {
    return notLeaderError(this);
  }

  /** Ends the turn: one batch of proposals, one group of reads. The rest waits for the next turn, so that partitions take turns. */
  endTurn(): void {
    this.#isMarked = false;
    if (this.#isClosed || !this.isLeader) return;
    const group = this.reads.closeGroup();
    if (group !== undefined)
      this.#step({ kind: group.needsRound ? 'readIndex' : 'leaseRead', readId: group.readId });
    // While leadership is handed over proposals wait; they go on if it fails, and are sent to the next leader if it does not.
    if (this.#proposals.waitingCount === 0 || this.state.leader?.transfer !== undefined) return;
    if (!this.isLeader) return;
    const { batchEntriesMax, batchBytesMax } = this.#options.limits;
    this.#batch = [];
    this.#proposals.takeBatch(this.#batch, {
      entriesMax: batchEntriesMax,
      bytesMax: batchBytesMax,
    });
    this.#step({ kind: 'propose', count: this.#batch.length });
    this.#batch = [];
    if (this.#proposals.waitingCount > 0) this.#mark();
  }

  /** A message of a peer; `received` holds the verified frames of an append. */
  receive(message: PeerMessage, received?: ReceivedFrames): void {
    this.#received = received;
    this.#step({ kind: 'message', message });
    this.#received = undefined;
  }

  /** The tick at which time next matters here. */
  get nextTickDue(): number {
    return this.#frozen.isFrozen ? this.#options.ticks.now + 1 : nextTickDue(this.state);
  }

  /** Time passed. */
  tick(): void {
    if (this.#options.ticks.now >= nextTickDue(this.state)) this.#step({ kind: 'tick' });
  }

  /** Somebody asked this node for something that needs a leader: hibernation ends (specification §2.5). */
  wake(): void {
    if (this.isHibernating || this.leaderNodeId === undefined) this.#step({ kind: 'wake' });
  }

  /** An input that needs no more than the core. */
  input(input: ReplicaInput): void {
    this.#step(input);
  }

  /** Storage finished a hard state. */
  hardStateDurable(hardState: HardState): void {
    this.#step({ kind: 'hardStateDurable', term: hardState.term, votedFor: hardState.votedFor });
  }

  /** Storage finished an append. */
  appendDurable(completion: AppendCompletion): void {
    this.#step({
      kind: 'durable',
      appendSequence: completion.appendSequence,
      index: completion.lastIndex,
      term: completion.lastTerm,
      ledgerSeq: completion.ledgerSequence,
    });
  }

  /** The log begins behind this entry from now on: a snapshot on this node holds what was before, and nobody lacks it. */
  compact(index: LogIndex): void {
    const term = present(termAt(this.state.log, index), 'only entries of the log go');
    this.#step({ kind: 'compacted', baseIndex: index });
    this.log.compact({ index, term });
  }

  /** Puts a snapshot in the place of the log, or of its beginning; resolves when that is durable and the core goes on from it. */
  replaceLog(by: {
    readonly log: WholeLog;
    readonly configuration: Configuration;
    readonly keepsTail: boolean;
  }): Promise<void> {
    const { log, configuration, keepsTail } = by;
    this.#frozen.freeze();
    return new Promise((resolve) => {
      const place = { index: log.baseIndex, term: log.baseTerm, configuration, keepsTail };
      this.log.install(place, () => {
        if (!keepsTail) this.tail.drop();
        const waiting = this.#frozen.thaw();
        this.#step({ kind: 'snapshotInstalled', log, configuration });
        for (const input of waiting) this.#step(input);
        resolve();
      });
      this.#options.turn.schedule();
    });
  }

  /** Fails what waits; nothing is stepped any more. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const surely = replicaClosed('surelyNot');
    this.#proposals.failAll({
      waiting: surely,
      appended: new ClustorError('CLUSTOR_CLOSED', 'the node closed before the outcome was known'),
    });
    this.reads.close(surely);
    this.apply.close();
  }

  #step(input: Input): void {
    if (this.#isClosed || !this.#frozen.passes(input)) return;
    assert(!this.#isStepping, 'a step does not begin within another');
    this.#isStepping = true;
    this.stepCount++;
    const wasHibernating = this.state.isHibernating;
    step(this.state, input, {
      now: this.#options.ticks.now,
      clockMs: this.#options.ticks.clockMs(),
      log: this.tail,
      effects: this.#effects,
    });
    this.#isStepping = false;
    if (this.state.isHibernating !== wasHibernating) this.#hibernationChanged();
    if (this.#effects.length > 0) this.#runEffects();
    if (this.state.snapshotWanted !== undefined) this.#options.snapshotWanted();
    this.#options.turn.schedule();
  }

  #runEffects(): void {
    const effects = this.#effects;
    this.#effects = [];
    let isCommitAdvanced = false;
    for (const effect of effects) {
      if (effect.kind === 'commitAdvanced') {
        this.log.commitIndex = effect.commitIndex;
        isCommitAdvanced = true;
      } else {
        this.#run(effect);
      }
    }
    if (!isCommitAdvanced || this.#isApplyMarked) return;
    this.#isApplyMarked = true;
    this.#options.turn.markApply(this.#applyCommitted);
  }

  /** Applies what is committed by now; at the end of the turn, when the disk has its work already. */
  readonly #applyCommitted = (): void => {
    this.#isApplyMarked = false;
    if (this.#isClosed) return;
    this.apply.advanceTo(this.state.appliableIndex);
    this.tail.trim(this.#unneededUpTo());
  };

  /** Entries that need not be in memory: while nothing is applied, what is durable is read back later. */
  #unneededUpTo(): LogIndex {
    const { appliedIndex, isStopped } = this.apply;
    const { durableIndex } = this.state;
    return isStopped ? durableIndex : (Math.min(appliedIndex, durableIndex) as LogIndex);
  }

  #run(effect: Exclude<Effect, { kind: 'commitAdvanced' }>): void {
    switch (effect.kind) {
      case 'persistHardState':
        this.log.persistHardState({ term: effect.term, votedFor: effect.votedFor });
        return;
      case 'truncateLog':
        this.tail.truncateFrom(effect.fromIndex);
        this.log.truncateFrom(effect.fromIndex);
        return;
      case 'appendToLog':
        this.#append(effect);
        return;
      case 'sendAppend':
        if (!this.isMuted) this.#sender.send(effect);
        return;
      case 'sendMessage':
        if (!this.isMuted) sendWords(effect, this.#options.links, this.log);
        return;
      case 'roleChanged':
        this.#roleChanged(effect);
        return;
      case 'readReady':
        this.reads.confirmed(effect.readId, effect.index, false);
        return;
      case 'leaseReadReady':
        this.reads.confirmed(effect.readId, effect.index, true);
        return;
      case 'readFailed':
        this.reads.unconfirmed(effect.readId);
        return;
      case 'snapshotNeeded':
        this.#emit('warn', 'snapshotNeeded', { toReplica: effect.to.replicaId });
        return;
      case 'configurationChanged':
        this.#emit('info', 'configurationChanged', configurationFields(effect));
        this.#options.listener.configurationChanged(this);
        return;
      case 'transferAborted':
        this.#emit('warn', 'transferAborted', { toReplica: effect.to.replicaId });
        this.#mark();
        this.#options.listener.configurationChanged(this);
        return;
      case 'persistDoubt':
        this.isMuted = true;
        this.log.persistDoubt(effect.reason, () => {
          this.isMuted = false;
        });
        this.#emit('error', 'replicaInDoubt', { reason: effect.reason });
        return;
      case 'peerInDoubt':
        this.#emit('error', 'peerInDoubt', doubtedFields(effect));
        return;
      default:
        unreachable(effect);
    }
  }

  #append(effect: Extract<Effect, { kind: 'appendToLog' }>): void {
    if (effect.source === 'proposals') {
      assert(
        this.#batch.length === effect.lastIndex - effect.firstIndex + 1,
        'the batch fills the indexes that the core gave it',
      );
      this.#proposals.appended(this.#batch, effect.firstIndex);
    }
    const appended = this.#frames.batchOf(effect, {
      proposals: this.#batch,
      received: this.#received,
      ingestMs: this.#options.clock.wallMs(),
    });
    this.tail.push(appended);
    this.log.append(appended, effect.appendSequence);
  }

  #roleChanged(effect: Extract<Effect, { kind: 'roleChanged' }>): void {
    this.#roleSinceMs = this.#options.clock.monotonicMs();
    this.roleReason = effect.reason;
    this.#emit('info', 'roleChanged', roleFields(effect));
    if (effect.role !== 'leader')
      failPending({ proposals: this.#proposals, reads: this.reads }, this.notLeader.bind(this));
    this.#options.listener.roleChanged(this);
  }

  /** Everything is durable everywhere and applied here: whoever needs an entry reads the log. */
  #hibernationChanged(): void {
    this.#options.listener.hibernationChanged(this);
    if (!this.isHibernating) return;
    this.tail.rest(this.#unneededUpTo());
    this.apply.rest();
  }

  #mark(): void {
    if (this.#isMarked) return;
    this.#isMarked = true;
    this.#options.turn.markReplica(this);
  }

  #emit(level: 'info' | 'warn' | 'error', kind: string, fields: EventFields): void {
    this.#options.observer.emit({
      level,
      kind,
      fields: { partitionId: this.partitionId, replicaId: this.replicaId, ...fields },
    });
  }
}
