/**
 * The state of one replica's core: plain data, mutated in place by {@link step}, cheap to clone and to fingerprint.
 */
import { assert, present } from '../base/assert.ts';
import type { Incarnation, LogIndex, NodeId, ReplicaId, Term } from '../base/ids.ts';
import type { Configuration, ReplicaLife } from '../base/membership.ts';
import { createPrng, type PrngState } from '../base/prng.ts';
import type { Effect } from './effects.ts';
import { appendTerms, emptyLogTerms, type LogTerms } from './log-terms.ts';
import type { OutgoingMessage, PreVoteRequest, Recipient } from './messages.ts';
import type { Progress } from './progress.ts';
import { checkRaftSettings, electionTimeoutMsMin, tickMs, type RaftSettings } from './settings.ts';

/** What a replica is doing in its term. @public */
export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader';

/** A vote names the candidate and the life of its files. @public */
export type Vote = ReplicaLife;

/** A message that waits for the own HardState to become durable (KER-2). */
export interface HeldMessage {
  readonly to: Recipient;
  readonly message: OutgoingMessage;
  /** Waits for the vote too, not only for the term. */
  readonly needsVote: boolean;
}

/** A linearizable read that waits for its round (specification §2.3). */
export interface PendingRead {
  readonly readId: number;
  readonly index: LogIndex;
  /** The heartbeat round, sent after the read arrived, that must be echoed by a quorum. */
  round: number;
}

/** What the leader of a joint phase remembers of it (specification §3.1). */
export interface JointPhase {
  /** Tick since which this leader sees the phase. */
  readonly sinceTick: number;
  /** Voters of the new half that were silent when the change began; their silence is no reason to go back. */
  readonly downAtStart: readonly ReplicaLife[];
  /** Why the old configuration is wanted back, once it is. */
  rollbackReason: string | undefined;
}

/** A leadership transfer under way (thesis §3.10). */
export interface Transfer {
  readonly to: ReplicaLife;
  readonly reason: string;
  readonly deadlineTick: number;
  isSent: boolean;
}

/** Rounds flagged `lease` that were sent in one tick. */
export interface LeaseRounds {
  /** The tick, which is not behind the time of sending: a lease counts from here. */
  readonly tick: number;
  readonly firstRound: number;
  lastRound: number;
}

/** A leader's claim to serve reads alone (`lease.ts`). */
export interface LeaderLease {
  /** Heartbeat rounds in a row at which every guard held, counted up to those needed. */
  heldRounds: number;
  /** A TimeoutNow left: whoever gets it, however late, is voted for in spite of a lease. True for the rest of the term. */
  isForfeited: boolean;
  /** Flagged rounds whose lease may still run, in order. */
  sent: LeaseRounds[];
}

/** A reign that its leader ended of its own accord. */
export interface GivenUp {
  /** The term in which it led. */
  readonly term: Term;
  readonly reason: string;
}

/** What only a leader has. */
export interface LeaderState {
  /** Index of the own term's first entry; nothing commits by counting below it (Raft §5.4.2). */
  termStartIndex: LogIndex;
  /** One row per other member, in configuration order; those just removed stay until their removal is committed. */
  progress: Progress[];
  /** Set exactly while the configuration in force is a joint one. */
  joint: JointPhase | undefined;
  /** The configuration in force is committed and its consequences were drawn. */
  isSettled: boolean;
  transfer: Transfer | undefined;
  /** Number of the newest round sent. */
  round: number;
  /** Newest round that a quorum echoed. */
  confirmedRound: number;
  /** Reads in order of arrival; bounded by the owner. */
  reads: PendingRead[];
  nextHeartbeatTick: number;
  /** Tick of the newest work; heartbeats are none. */
  busyTick: number;
  /** First round in which hibernation was asked for; unset by any work. */
  restRound: number | undefined;
  /** Tick of its election. */
  readonly sinceTick: number;
  /** Tick since which check-quorum counts; a new leader gets a full period. */
  electedTick: number;
  readonly lease: LeaderLease;
}

/** What only a candidate of either kind has. */
export interface CampaignState {
  granted: ReplicaLife[];
  refused: ReplicaLife[];
  /** The leader itself asked for it: voters do not cling to that leader. */
  isTransfer: boolean;
  /** Began because the leader's node refused connections; asks again every heartbeat. */
  leaderUnreachable: boolean;
  nextResendTick: number;
}

/** One replica's core. @public */
export interface RaftState {
  readonly selfNode: NodeId;
  readonly selfReplica: ReplicaId;
  readonly selfIncarnation: Incarnation;
  readonly settings: RaftSettings;
  role: Role;
  term: Term;
  votedFor: Vote | undefined;
  /** The HardState known to be on stable storage. */
  durableTerm: Term;
  durableVote: Vote | undefined;
  held: HeldMessage[];
  log: LogTerms;
  /** The newest committed configuration and the one behind it, if any; the last one is in force. Truncation pops. */
  configurations: Configuration[];
  /** Sequence of the newest append handed to storage. */
  appendSequence: number;
  /** Completions of appends older than this say nothing (KER-12). */
  truncationSequence: number;
  /** Data and ledger record on stable storage up to here. */
  durableIndex: LogIndex;
  /** Known to equal the leader's log (or committed) up to here. */
  verifiedIndex: LogIndex;
  commitIndex: LogIndex;
  /** Newest commit index that this term's leader told. */
  leaderCommit: LogIndex;
  appliableIndex: LogIndex;
  ledgerSeq: number;
  /** A matching append has not been acknowledged yet. */
  ackOwed: boolean;
  /**
   * The leader no longer has what this log lacks: a snapshot up to this index or beyond is needed. Until an append matches, a
   * snapshot is installed or another term begins.
   */
  snapshotWanted: LogIndex | undefined;
  /** The leader of the term as far as it was heard; itself at a leader. */
  leaderContact: Recipient | undefined;
  leaderHeardTick: number;
  /** When a replica that may not campaign asked every member for the leader. */
  leaderCalledTick: number;
  /** The leader's node refused connections after it was last heard: stickiness is lifted. */
  leaderLost: boolean;
  electionDeadlineTick: number;
  /**
   * Until then, by the own clock, no vote or pre-vote is given and no campaign begun: a leader may hold a lease on the strength
   * of an echo of this replica, or of an earlier process of it, which knew what this one has forgotten.
   */
  voteWithheldUntilMs: number;
  /** A pre-vote that would have been granted but for that; answered when the time is over. */
  deferredPreVote: PreVoteRequest | undefined;
  /** Wall clock and monotonic clock of this node disagree. */
  clockAlarm: boolean;
  /** No heartbeats are sent and no timers run until something wakes it (specification §2.5). */
  isHibernating: boolean;
  failedElections: number;
  /** Nodes to which a word and its answer take long (specification ELE-7). */
  slowNodes: readonly NodeId[];
  /** Up to this term the own windows as a candidate are wide: a voter said that the way to it is long. */
  wideUntilTerm: Term | undefined;
  /** The last reign, if this replica ended it of its own accord; for explanations. */
  givenUp: GivenUp | undefined;
  /** It neither campaigns, votes nor acknowledges, for one of the next two reasons. */
  inDoubt: boolean;
  /** It may have forgotten what it once said: never undone in this incarnation. */
  hasLostEvidence: boolean;
  /**
   * `Integrity` quarantine (specification §5.6): entries cannot be read, and it ends once they are repaired. The log may end
   * before its damage here; nothing is appended meanwhile.
   */
  isQuarantined: boolean;
  /** `ApplyFault` or `Administrative` quarantine (specification §5.6): everything goes on, but healthy ones campaign first. */
  isHeld: boolean;
  /** Election timeouts that a held replica has let pass since it last heard a leader. */
  heldTimeouts: number;
  now: number;
  prng: PrngState;
  campaign: CampaignState | undefined;
  leader: LeaderState | undefined;
}

/** Sizes of entries, looked up in the log's tail in memory. Pure reads. */
export interface LogMeasure {
  /** The last index such that `firstIndex …` it is at most `bytesMax`; at least `firstIndex`. At most `lastIndexMax`. */
  fit(firstIndex: LogIndex, lastIndexMax: LogIndex, bytesMax: number): LogIndex;
  /** Bytes of the entries, an estimate where they are no longer in memory. */
  bytes(firstIndex: LogIndex, lastIndex: LogIndex): number;
}

/** What a step may look at and write to besides the state. */
export interface StepContext {
  /** The tick that it is now; never goes back. Time passes between turns, so after a stall it may be long past. */
  readonly now: number;
  /** Milliseconds since tick 0 that the clock shows at this very moment. Promises that others rely on are counted from here. */
  readonly clockMs: number;
  readonly log: LogMeasure;
  /** Receives the effects, in order. */
  readonly effects: Effect[];
}

/** A log as storage holds it. @public */
export interface WholeLog {
  readonly baseIndex: LogIndex;
  readonly baseTerm: Term;
  /** Runs of the recovered log above the base. */
  readonly termRuns: readonly { readonly firstIndex: LogIndex; readonly term: Term }[];
  readonly lastIndex: LogIndex;
  /** Newest commit index recorded within coverage; nothing beyond it is known to be committed (specification §1). */
  readonly recordedCommitIndex: LogIndex;
}

/** What a replica knows when its process starts. @public */
export interface RaftStart extends WholeLog {
  readonly selfNode: NodeId;
  readonly selfReplica: ReplicaId;
  readonly selfIncarnation: Incarnation;
  readonly settings: RaftSettings;
  readonly term: Term;
  readonly votedFor: Vote | undefined;
  readonly configurations: readonly Configuration[];
  readonly ledgerSeq: number;
  readonly inDoubt: boolean;
  /** In doubt only because entries cannot be read; the recovered log ends before the first of them. @defaultValue false */
  readonly isQuarantined?: boolean;
  /** Applies and reads nothing, and lets others campaign first. @defaultValue false */
  readonly isHeld?: boolean;
  readonly now: number;
  readonly seed: number;
}

/** Makes the core of a replica that has just recovered; it begins as a follower. @public */
export function createRaftState(start: RaftStart): RaftState {
  checkRaftSettings(start.settings);
  assert(start.configurations.length > 0, 'a replica exists only with a configuration');
  const log = logOfRuns(start);
  const commitIndex = Math.max(
    start.baseIndex,
    Math.min(start.recordedCommitIndex, start.lastIndex),
  ) as LogIndex;
  const state: RaftState = {
    selfNode: start.selfNode,
    selfReplica: start.selfReplica,
    selfIncarnation: start.selfIncarnation,
    settings: start.settings,
    role: 'follower',
    term: start.term,
    votedFor: start.votedFor,
    durableTerm: start.term,
    durableVote: start.votedFor,
    held: [],
    log,
    configurations: [...start.configurations],
    appendSequence: 0,
    truncationSequence: 0,
    durableIndex: start.lastIndex,
    verifiedIndex: commitIndex,
    commitIndex,
    leaderCommit: commitIndex,
    appliableIndex: commitIndex,
    ledgerSeq: start.ledgerSeq,
    ackOwed: false,
    snapshotWanted: undefined,
    leaderContact: undefined,
    leaderHeardTick: Number.NEGATIVE_INFINITY,
    leaderCalledTick: Number.NEGATIVE_INFINITY,
    leaderLost: false,
    electionDeadlineTick: 0,
    voteWithheldUntilMs: start.now * tickMs + electionTimeoutMsMin(start.settings),
    deferredPreVote: undefined,
    clockAlarm: false,
    isHibernating: false,
    failedElections: 0,
    slowNodes: [],
    wideUntilTerm: undefined,
    givenUp: undefined,
    inDoubt: start.inDoubt || start.isQuarantined === true,
    hasLostEvidence: start.inDoubt,
    isQuarantined: start.isQuarantined === true,
    isHeld: start.isHeld === true,
    heldTimeouts: 0,
    now: start.now,
    prng: createPrng(start.seed),
    campaign: undefined,
    leader: undefined,
  };
  forgetOldConfigurations(state);
  return state;
}

/** A log whose terms are known as runs. */
export function logOfRuns(whole: WholeLog): LogTerms {
  const log = emptyLogTerms(whole.baseIndex, whole.baseTerm);
  whole.termRuns.forEach((run, position) => {
    const next = whole.termRuns[position + 1];
    appendTerms(
      log,
      next === undefined ? whole.lastIndex : ((next.firstIndex - 1) as LogIndex),
      run.term,
    );
  });
  assert(log.lastIndex === whole.lastIndex, 'the recovered term runs cover the recovered log');
  return log;
}

/** What lies before a committed configuration will never be in force again. */
export function forgetOldConfigurations(state: RaftState): void {
  for (
    let next = state.configurations[1];
    next !== undefined && next.index <= state.commitIndex;
    next = state.configurations[1]
  ) {
    state.configurations.shift();
  }
}

/** The configuration in force: the newest appended one. @public */
export function activeConfiguration(state: RaftState): Configuration {
  return present(
    state.configurations[state.configurations.length - 1],
    'a replica always has a configuration',
  );
}

/** Whether `life` is this replica itself. */
export function isSelf(state: RaftState, life: ReplicaLife): boolean {
  return life.replicaId === state.selfReplica && life.incarnation === state.selfIncarnation;
}

/** This replica, as members and votes name it. */
export function selfLife(state: RaftState): ReplicaLife {
  return { replicaId: state.selfReplica, incarnation: state.selfIncarnation };
}

/** The node that leads as far as this replica knows. @public */
export function leaderNodeId(state: RaftState): NodeId | undefined {
  return state.leaderContact?.nodeId;
}

/** min(raft commit index, own durable index): what the own disk can prove as well. @public */
export function walCommittedIndex(state: RaftState): LogIndex {
  return Math.min(state.commitIndex, state.durableIndex) as LogIndex;
}
