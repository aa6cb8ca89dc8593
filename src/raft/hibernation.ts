/**
 * Hibernation of a partition that nobody uses (specification §2.5): no heartbeats, no timers.
 *
 * A leader that has had nothing to do for a while asks for it with its heartbeats. A follower that holds everything, committed
 * and durable, agrees by its echo and sleeps at once. When all have agreed in one such time the leader sleeps too. Any
 * work, any doubt and any unrest wakes: the leader with a round that wakes its followers, a follower by starting its timer and
 * asking for its leader. Nothing is served on the strength of having slept: reads need a round sent after their arrival, writes
 * a quorum, as ever.
 *
 * While a follower sleeps its owner watches the leader's node instead, and says `nodeDown` when it is gone.
 */
import type { NodeId } from '../base/ids.ts';
import type {
  Heartbeat,
  HeartbeatEcho,
  PreVoteRequest,
  Recipient,
  VoteRequest,
} from './messages.ts';
import type { Progress } from './progress.ts';
import { allMembers, isJoint, memberOf } from './quorum.ts';
import { broadcastRound } from './read-index.ts';
import { becomeFollower, mayCampaign, resetElectionDeadline } from './role.ts';
import { fromSelf, send } from './send.ts';
import { electionTimeoutMsMin } from './settings.ts';
import {
  activeConfiguration,
  isSelf,
  selfLife,
  type LeaderState,
  type RaftState,
  type StepContext,
} from './state.ts';

/** The quiet time begins anew. */
export function noteWork(state: RaftState, leader: LeaderState): void {
  leader.busyTick = state.now;
  leader.restRound = undefined;
}

/**
 * Looks whether the quiet time is over; called when a heartbeat is due. Quiet time passes while a follower's echoes are late:
 * a node that is late because thousands of its partitions are awake gets rest by letting them sleep.
 */
export function considerRest(state: RaftState, leader: LeaderState): void {
  if (!isQuiet(state, leader)) noteWork(state, leader);
  else if (!isEverybodyThere(state, leader)) leader.restRound = undefined;
  else if (state.now - leader.busyTick >= state.settings.hibernateTicks)
    leader.restRound ??= leader.round + 1;
}

/** Sleeps once everybody has agreed. */
export function restWhenAgreed(state: RaftState, leader: LeaderState): void {
  const { restRound } = leader;
  if (restRound === undefined || leader.round < restRound || !isQuiet(state, leader)) return;
  const isAgreed = leader.progress.every(
    (row) => row.restedRound >= restRound || isExcused(state, row),
  );
  if (isAgreed) state.isHibernating = true;
}

/** Whether a follower has nothing left to do for the leader that asks for rest. */
export function mayRest(state: RaftState, message: Heartbeat): boolean {
  const active = activeConfiguration(state);
  return (
    message.mayHibernate &&
    state.role === 'follower' &&
    !state.inDoubt &&
    state.durableTerm === state.term &&
    !isJoint(active) &&
    message.commit === state.log.lastIndex &&
    isAllDone(state)
  );
}

/**
 * Something is asked of this replica, or somebody misses the leader: a leader's quiet time begins anew; one that sleeps or has
 * asked for rest sends a round; a sleeping follower asks its leader for a heartbeat and starts its timer in case none comes.
 */
export function wake(state: RaftState, context: StepContext): void {
  const { leader } = state;
  const hasAskedForRest = leader?.restRound !== undefined;
  if (leader !== undefined) noteWork(state, leader);
  if (!state.isHibernating) {
    // Some may have fallen asleep already, with their answers still on the way.
    if (hasAskedForRest) broadcastRound(state, context);
    return;
  }
  state.isHibernating = false;
  if (leader !== undefined) {
    leader.electedTick = state.now;
    for (const row of leader.progress) row.heardTick = state.now;
    leader.nextHeartbeatTick = state.now + state.settings.heartbeatTicks;
    broadcastRound(state, context);
    return;
  }
  state.leaderHeardTick = state.now;
  resetElectionDeadline(state);
  if (state.leaderContact !== undefined) askForLeader(state, context, state.leaderContact);
}

/**
 * Somebody who is a member asked for votes, or for the leader: the leader is to say that it is there. Strangers disturb nobody's
 * sleep. Who sleeps passes it on to its leader, and is awake then: it does so once.
 */
export function wakeForMember(
  state: RaftState,
  context: StepContext,
  message: PreVoteRequest | VoteRequest | HeartbeatEcho,
): void {
  const sender = { replicaId: message.fromReplica, incarnation: message.fromIncarnation };
  if (memberOf(activeConfiguration(state), sender) !== undefined) wake(state, context);
}

/** The owner was asked for something that needs a leader. An election that was put off after a node's death comes now. */
export function wakeOnDemand(state: RaftState, context: StepContext): void {
  if (state.isHibernating) {
    wake(state, context);
    return;
  }
  if (state.role !== 'follower' || state.leaderContact !== undefined) return;
  if (!mayCampaign(state)) {
    if (!state.inDoubt) callMembers(state, context);
    return;
  }
  const isPutOff =
    state.failedElections === 0 &&
    state.electionDeadlineTick > state.now + state.settings.electionTimeoutTicksMax;
  if (isPutOff) resetElectionDeadline(state);
}

/**
 * The connection to a node is gone. Who slept in the trust that the node is watched stops to; `delayTicks` puts its
 * election off, so that the many partitions of a dead node do not elect all at once.
 */
export function nodeDown(
  state: RaftState,
  context: StepContext,
  input: { readonly nodeId: NodeId; readonly delayTicks: number },
): void {
  const { leader } = state;
  if (leader !== undefined) {
    if (leader.progress.some((row) => row.member.nodeId === input.nodeId)) wake(state, context);
    return;
  }
  if (!state.isHibernating || state.leaderContact?.nodeId !== input.nodeId) return;
  becomeFollower(state, context, {
    term: state.term,
    leader: undefined,
    reason: "the connection to the leader's node was lost during hibernation",
  });
  state.electionDeadlineTick += input.delayTicks;
}

/**
 * Who may not campaign, and knows no leader, wakes nobody by asking for votes: it asks every member for the leader. Requests
 * that wait ask often; once in an election timeout is passed on.
 */
function callMembers(state: RaftState, context: StepContext): void {
  const active = activeConfiguration(state);
  const isCalled = state.now - state.leaderCalledTick < state.settings.electionTimeoutTicksMin;
  if (isCalled || memberOf(active, selfLife(state)) === undefined) return;
  state.leaderCalledTick = state.now;
  for (const member of allMembers(active))
    if (!isSelf(state, member)) askForLeader(state, context, member);
}

function askForLeader(state: RaftState, context: StepContext, to: Recipient): void {
  send(state, context, to, {
    kind: 'heartbeatEcho',
    ...fromSelf(state),
    round: 0,
    inDoubt: false,
    isHibernating: false,
    needsLeader: true,
    clockAlarm: state.clockAlarm,
    electionTimeoutMsMin: electionTimeoutMsMin(state.settings),
  });
}

function isQuiet(state: RaftState, leader: LeaderState): boolean {
  const { lastIndex } = state.log;
  return (
    leader.isSettled &&
    leader.joint === undefined &&
    leader.transfer === undefined &&
    leader.reads.length === 0 &&
    !state.inDoubt &&
    isAllDone(state) &&
    leader.progress.every(
      (row) => isExcused(state, row) || (!row.inDoubt && row.matchIndex === lastIndex),
    )
  );
}

/** Whether all whose agreement is asked for were heard not long ago: nobody else begins to sleep without them. */
function isEverybodyThere(state: RaftState, leader: LeaderState): boolean {
  const heardSince = state.now - state.settings.electionTimeoutTicksMin;
  return leader.progress.every((row) => isExcused(state, row) || row.heardTick >= heardSince);
}

/** An observer that is gone keeps nobody awake; its return, a new connection, wakes its leader. */
function isExcused(state: RaftState, row: Progress): boolean {
  return (
    row.member.role === 'observer' &&
    state.now - row.heardTick >= state.settings.electionTimeoutTicksMax
  );
}

function isAllDone(state: RaftState): boolean {
  const { lastIndex } = state.log;
  return (
    state.commitIndex === lastIndex &&
    state.appliableIndex === lastIndex &&
    state.durableIndex === lastIndex &&
    state.verifiedIndex === lastIndex &&
    !state.ackOwed &&
    state.held.length === 0
  );
}
