/**
 * What a leader does: its term-start entry, replication, commit by durable quorum in its own term only, heartbeat rounds,
 * check-quorum (Raft §5.3, §5.4.2, thesis §6.2).
 */
import { assert, present } from '../base/assert.ts';
import type { Incarnation, LogIndex, NodeId, ReplicaId } from '../base/ids.ts';
import type { Configuration, ReplicaLife } from '../base/membership.ts';
import type { ConfigurationPhase } from './effects.ts';
import { considerRest, noteWork, restWhenAgreed, wake, wakeForMember } from './hibernation.ts';
import { countLeaseRound, noLease, noteLeaseEcho } from './lease.ts';
import { appendTerms, termAt } from './log-terms.ts';
import type { AppendRejected, DurabilityAck, HeartbeatEcho } from './messages.ts';
import { findProgress, noteStreamed, type Progress } from './progress.ts';
import { hasMajority, isJoint, quorumValue } from './quorum.ts';
import { broadcastRound, confirmRounds, releaseReads } from './read-index.ts';
import { acknowledged, probe, rejected, replicate } from './replication.ts';
import { advanceCommit, announceRole, becomeFollower } from './role.ts';
import {
  activeConfiguration,
  isSelf,
  type LeaderState,
  type RaftState,
  type StepContext,
} from './state.ts';
import { jointPhaseOf, progressRows } from './tracking.ts';

/** Wins the election: a no-op entry of the own term is appended at once (specification §2.1). */
export function becomeLeader(state: RaftState, context: StepContext): void {
  assert(state.role === 'candidate', 'only a candidate becomes leader');
  assert(state.durableTerm === state.term, "a leader's term is durable");
  const nextIndex = (state.log.lastIndex + 1) as LogIndex;
  const progress = progressRows(state, [], nextIndex);
  state.role = 'leader';
  state.campaign = undefined;
  state.givenUp = undefined;
  state.failedElections = 0;
  state.heldTimeouts = 0;
  state.leaderContact = {
    replicaId: state.selfReplica,
    nodeId: state.selfNode,
    incarnation: state.selfIncarnation,
  };
  state.leader = {
    termStartIndex: nextIndex,
    progress,
    joint: jointPhaseOf(state, progress),
    isSettled: false,
    transfer: undefined,
    round: 0,
    confirmedRound: 0,
    reads: [],
    nextHeartbeatTick: state.now + state.settings.heartbeatTicks,
    busyTick: state.now,
    restRound: undefined,
    sinceTick: state.now,
    electedTick: state.now,
    lease: noLease(),
  };
  announceRole(state, context, 'won the election');
  appendOwn(state, context, { source: 'noOp', count: 1 });
  broadcastRound(state, context);
}

/** Appends `count` entries of the owner's. */
export function propose(state: RaftState, context: StepContext, count: number): void {
  assert(state.role === 'leader', 'only a leader appends proposals');
  assert(count > 0, 'a proposal has at least one entry');
  assert(state.leader?.transfer === undefined, 'no proposal is appended while handing over');
  appendOwn(state, context, { source: 'proposals', count });
}

/** The own log became durable up to `state.durableIndex`: the leader counts itself now, not before. */
export function leaderDurable(state: RaftState, context: StepContext): void {
  advanceByQuorum(state, context);
}

/** A follower's word on what is durable there. */
export function handleDurabilityAck(
  state: RaftState,
  context: StepContext,
  message: DurabilityAck,
): void {
  const progress = countedProgress(state, message);
  if (progress === undefined) return;
  progress.heardTick = state.now;
  if (!acknowledged(state, context, { progress, message })) return;
  advanceByQuorum(state, context);
  replicate(state, context, progress);
}

/** An append to an observer turned out larger, or shorter, than was thought. */
export function handleStreamed(
  state: RaftState,
  streamed: {
    readonly to: ReplicaLife;
    readonly lastIndex: LogIndex;
    readonly extraBytes: number;
  },
): void {
  const row = state.leader && findProgress(state.leader.progress, streamed.to);
  if (row !== undefined) noteStreamed(row, streamed);
}

/** A follower refused an append. */
export function handleAppendRejected(
  state: RaftState,
  context: StepContext,
  message: AppendRejected,
): void {
  const progress = countedProgress(state, message);
  if (progress === undefined) return;
  progress.heardTick = state.now;
  // The logs differ: no time to sleep.
  wake(state, context);
  rejected(state, context, { progress, message });
}

/** A follower echoed a round, or asks for its leader. An echo in doubt counts for no read and no check-quorum (KER-9). */
export function handleHeartbeatEcho(
  state: RaftState,
  context: StepContext,
  message: HeartbeatEcho,
): void {
  if (message.needsLeader && !message.inDoubt) wakeForMember(state, context, message);
  const progress = countedProgress(state, message);
  if (progress === undefined || message.inDoubt) return;
  const leader = present(state.leader, 'echoes are counted at a leader');
  if (message.round > leader.round) return;
  progress.heardTick = state.now;
  if (message.round <= progress.echoedRound) return;
  progress.echoedRound = message.round;
  noteLeaseEcho(leader, progress, message);
  confirmRounds(state, context);
  if (!message.isHibernating) return;
  progress.restedRound = message.round;
  restWhenAgreed(state, leader);
}

/** Time passed for a leader. */
export function leaderTick(state: RaftState, context: StepContext): void {
  if (state.isHibernating) return;
  const leader = present(state.leader, 'a leader has its rows');
  if (!hearsQuorum(state, leader)) {
    becomeFollower(state, context, {
      term: state.term,
      leader: undefined,
      reason: 'heard no quorum for an election timeout',
    });
    return;
  }
  if (state.now < leader.nextHeartbeatTick) return;
  leader.nextHeartbeatTick = state.now + state.settings.heartbeatTicks;
  considerRest(state, leader);
  countLeaseRound(state, leader);
  broadcastRound(state, context);
  for (const progress of leader.progress) {
    // A probe may have been lost, or passed over by a replica in quarantine.
    const isOpen = !progress.isMatchKnown || progress.state === 'probe';
    if (isOpen || progress.matchIndex < state.log.lastIndex) probe(state, context, progress);
  }
  confirmRounds(state, context);
  restWhenAgreed(state, leader);
}

/** What a leader appends of its own accord or for its owner. */
export type OwnEntries =
  | { readonly source: 'noOp' | 'proposals'; readonly count: number }
  | {
      readonly source: 'configuration';
      readonly phase: ConfigurationPhase;
      readonly configuration: Configuration;
      readonly reason: string;
      readonly failingNodes: readonly NodeId[];
    };

/** Appends entries to the own log and begins to send them. */
export function appendOwn(state: RaftState, context: StepContext, entries: OwnEntries): void {
  noteWork(state, present(state.leader, 'a leader appends'));
  const count = entries.source === 'configuration' ? 1 : entries.count;
  const { progress: rows } = present(state.leader, 'a leader has its rows');
  for (const row of rows) if (row.matchIndex === state.log.lastIndex) row.caughtUpTick = state.now;
  const firstIndex = (state.log.lastIndex + 1) as LogIndex;
  const lastIndex = (state.log.lastIndex + count) as LogIndex;
  appendTerms(state.log, lastIndex, state.term);
  state.verifiedIndex = lastIndex;
  state.appendSequence++;
  const { appendSequence, term } = state;
  if (entries.source === 'configuration') {
    const place = { appendSequence, firstIndex, lastIndex, term };
    context.effects.push({ kind: 'appendToLog', ...entries, ...place });
  } else {
    const { source } = entries;
    context.effects.push({
      kind: 'appendToLog',
      source,
      appendSequence,
      firstIndex,
      lastIndex,
      term,
    });
  }
  for (const progress of rows) replicate(state, context, progress);
}

/** Commits by counting, and only entries of the own term (Raft §5.4.2; regressions 11, 17 and 18). */
function advanceByQuorum(state: RaftState, context: StepContext): void {
  const leader = present(state.leader, 'a leader counts');
  const durableAtQuorum = quorumValue(activeConfiguration(state), (member) => {
    if (isSelf(state, member)) return state.inDoubt ? 0 : state.durableIndex;
    const progress = findProgress(leader.progress, member);
    return progress === undefined || progress.inDoubt ? 0 : progress.matchIndex;
  }) as LogIndex;
  const isOwnTerm = durableAtQuorum >= leader.termStartIndex;
  assert(
    !isOwnTerm ||
      durableAtQuorum < state.log.baseIndex ||
      termAt(state.log, durableAtQuorum) === state.term,
    'entries from the term start on are of the own term',
  );
  advanceCommit(state, context, isOwnTerm ? durableAtQuorum : state.commitIndex);
  releaseReads(state, context);
}

/** Answers of other lives than the configured one count for nothing (specification §1 Identity). */
function countedProgress(
  state: RaftState,
  message: {
    readonly fromReplica: ReplicaId;
    readonly fromIncarnation: Incarnation;
    readonly term: number;
  },
): Progress | undefined {
  if (state.leader === undefined || message.term !== state.term) return undefined;
  return findProgress(state.leader.progress, {
    replicaId: message.fromReplica,
    incarnation: message.fromIncarnation,
  });
}

function hearsQuorum(state: RaftState, leader: LeaderState): boolean {
  const period = state.settings.electionTimeoutTicksMax;
  if (state.now - leader.electedTick < period) return true;
  const active = activeConfiguration(state);
  // In a joint phase the old half alone decides: a new half that died must not take the leader with it that can go back.
  return hasMajority(isJoint(active) ? active.outgoingMembers : active.members, (member) => {
    if (isSelf(state, member)) return true;
    const progress = findProgress(leader.progress, member);
    return progress !== undefined && !progress.inDoubt && state.now - progress.heardTick < period;
  });
}
