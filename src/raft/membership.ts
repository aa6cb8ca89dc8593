/**
 * Changes of membership (thesis §4.3, specification §3.1).
 *
 * A configuration is in force from the moment its entry is appended; a truncated one is undone. Other voters are reached
 * through a joint phase, in which everything needs a majority of both halves. From there is exactly one exit, appended by a
 * leader that has seen an own-term entry at or behind the joint entry committed by both majorities: `final` brings the new
 * list, `rollback` the full old one. A leader of an older term that appended the other exit can then commit it no more. The
 * one exception: who appended the joint entry in its present term may go back at once, because nobody can have gone forward.
 *
 * One change is in flight at a time, and none in a term before an entry of it was committed (regression 21).
 */
import { assert, present } from '../base/assert.ts';
import type { LogIndex, NodeId } from '../base/ids.ts';
import { isSameLife, type Configuration, type Member } from '../base/membership.ts';
import type { ConfigurationPhase } from './effects.ts';
import { appendOwn } from './leader.ts';
import { findProgress } from './progress.ts';
import { hasMajority, isJoint, isVoter, votersOf } from './quorum.ts';
import { broadcastRound } from './read-index.ts';
import {
  activeConfiguration,
  isSelf,
  selfLife,
  type JointPhase,
  type LeaderState,
  type RaftState,
  type StepContext,
} from './state.ts';
import { jointPhaseOf, progressRows } from './tracking.ts';
import { beginTransfer, driveTransfer, stepDownRemoved } from './transfer.ts';

/** Why a change of membership cannot begin now. @public */
export type MembershipBlock =
  | 'notLeader'
  | 'termStartUncommitted'
  | 'jointPhase'
  | 'changeUncommitted'
  | 'transferUnderWay';

/** How far a joint phase has come. @public */
export interface JointStatus {
  /** Own-term entries at or behind the joint entry that both majorities have committed. */
  readonly committed: number;
  /** How many are needed before the new configuration may stand alone. */
  readonly needed: number;
  readonly sinceTick: number;
  readonly rollbackReason: string | undefined;
}

/** Why `changeConfiguration` would be refused, or `undefined`. @public */
export function membershipBlock(state: RaftState): MembershipBlock | undefined {
  const { leader } = state;
  if (leader === undefined) return 'notLeader';
  if (state.commitIndex < leader.termStartIndex) return 'termStartUncommitted';
  const active = activeConfiguration(state);
  if (isJoint(active)) return 'jointPhase';
  if (active.index > state.commitIndex) return 'changeUncommitted';
  return leader.transfer === undefined ? undefined : 'transferUnderWay';
}

/** How far the joint phase has come; `undefined` outside of one and away from the leader. @public */
export function jointStatus(state: RaftState): JointStatus | undefined {
  const { leader } = state;
  if (leader?.joint === undefined) return undefined;
  return {
    committed: Math.max(0, committedInJoint(state, leader)),
    needed: state.settings.finalizeEntries,
    sinceTick: leader.joint.sinceTick,
    rollbackReason: leader.joint.rollbackReason,
  };
}

/** Whether a follower lacks so little that it may become a voter (specification §3.1). @public */
export function hasCaughtUp(
  state: RaftState,
  context: Pick<StepContext, 'log'>,
  match: LogIndex,
): boolean {
  const lacking = state.log.lastIndex - match;
  return (
    lacking <= state.settings.catchUpEntries ||
    context.log.bytes((match + 1) as LogIndex, state.log.lastIndex) <= state.settings.catchUpBytes
  );
}

/** Begins a change: a joint phase where the voters differ, else at once. */
export function changeConfiguration(
  state: RaftState,
  context: StepContext,
  members: readonly Member[],
): void {
  assert(membershipBlock(state) === undefined, 'a change begins when nothing blocks it');
  assert(votersOf(members).length > 0, 'a configuration has a voter');
  const active = activeConfiguration(state);
  if (hasSameVoters(active.members, members)) {
    appendConfiguration(state, context, { phase: 'learners', members, outgoingMembers: [] });
    return;
  }
  appendConfiguration(state, context, {
    phase: 'joint',
    members,
    outgoingMembers: active.members,
  });
}

/** Notes that the old configuration is wanted back. */
export function wantRollback(state: RaftState, reason: string): void {
  const joint = state.leader?.joint;
  assert(joint !== undefined, 'only a joint phase is left for the old configuration');
  joint.rollbackReason ??= reason;
}

/** Draws the consequences of what has just happened; called after every step of a leader. */
export function maintainMembership(state: RaftState, context: StepContext): void {
  const leader = present(state.leader, 'membership is maintained by a leader');
  const active = activeConfiguration(state);
  if (!leader.isSettled && active.index <= state.commitIndex) settle(state, context, leader);
  if (state.leader === undefined) return;
  if (leader.joint !== undefined) leaveJoint(state, context, leader.joint);
  if (leader.transfer !== undefined) driveTransfer(state, context, leader.transfer);
}

/**
 * The configuration in force is committed: whoever is not in it is told once more and forgotten. A leader that is no voter
 * any more hands over, so that writes hardly wait, and steps down in any case.
 */
function settle(state: RaftState, context: StepContext, leader: LeaderState): void {
  leader.isSettled = true;
  const rows = progressRows(state, leader.progress, (state.log.lastIndex + 1) as LogIndex);
  if (rows.length !== leader.progress.length) broadcastRound(state, context);
  leader.progress = rows;
  const active = activeConfiguration(state);
  if (isJoint(active) || isVoter(active, selfLife(state))) return;
  const heirs = leader.progress.filter((row) => row.member.role === 'voter' && !row.inDoubt);
  const heir = heirs.sort((left, right) => right.matchIndex - left.matchIndex)[0];
  if (heir === undefined) stepDownRemoved(state, context);
  else if (leader.transfer === undefined)
    beginTransfer(state, context, { to: heir.member, reason: 'it is no voter any more' });
}

function leaveJoint(state: RaftState, context: StepContext, joint: JointPhase): void {
  const leader = present(state.leader, 'a joint phase is left by a leader');
  const active = activeConfiguration(state);
  joint.rollbackReason ??= reasonToGoBack(state, active, joint);
  const committed = committedInJoint(state, leader);
  if (joint.rollbackReason !== undefined) {
    if (committed <= 0 && active.term !== state.term) return;
    appendConfiguration(state, context, {
      phase: 'rollback',
      members: active.outgoingMembers,
      outgoingMembers: [],
      reason: joint.rollbackReason,
      failingNodes: missingVoters(state, active, joint).map((member) => member.nodeId),
    });
    return;
  }
  if (committed <= 0) return;
  const missing = state.settings.finalizeEntries - committed;
  if (missing > 0) {
    const isIdle = state.commitIndex === state.log.lastIndex;
    if (isIdle) appendOwn(state, context, { source: 'noOp', count: missing });
    return;
  }
  if (!hasCaughtUp(state, context, state.commitIndex)) return;
  appendConfiguration(state, context, {
    phase: 'final',
    members: active.members,
    outgoingMembers: [],
  });
}

/** Own-term entries at or behind the joint entry that are committed, and thereby by both majorities. */
function committedInJoint(state: RaftState, leader: LeaderState): number {
  const active = activeConfiguration(state);
  return state.commitIndex - Math.max(active.index, leader.termStartIndex) + 1;
}

function reasonToGoBack(
  state: RaftState,
  active: Configuration,
  joint: JointPhase,
): string | undefined {
  if (state.now - joint.sinceTick >= state.settings.catchUpTicksMax)
    return 'the joint phase lasted longer than the time to catch up';
  const missing = missingVoters(state, active, joint);
  return hasMajority(active.members, (member) => !missing.includes(member))
    ? undefined
    : 'the new voters were without a majority for longer than the grace period';
}

/** New voters that fell silent behind the start of the change. */
function missingVoters(
  state: RaftState,
  active: Configuration,
  joint: JointPhase,
): readonly Member[] {
  const rows = present(state.leader, 'a leader has its rows').progress;
  return votersOf(active.members).filter((member) => {
    if (isSelf(state, member) || joint.downAtStart.some((down) => isSameLife(down, member)))
      return false;
    const row = findProgress(rows, member);
    const silentTicks = row === undefined ? Number.POSITIVE_INFINITY : state.now - row.heardTick;
    return row?.inDoubt === true || silentTicks >= state.settings.rollbackGraceTicks;
  });
}

function appendConfiguration(
  state: RaftState,
  context: StepContext,
  change: {
    readonly phase: ConfigurationPhase;
    readonly members: readonly Member[];
    readonly outgoingMembers: readonly Member[];
    readonly reason?: string;
    readonly failingNodes?: readonly NodeId[];
  },
): void {
  const leader = present(state.leader, 'a leader changes the configuration');
  const index = (state.log.lastIndex + 1) as LogIndex;
  const { phase, members, outgoingMembers, reason = '', failingNodes = [] } = change;
  const configuration: Configuration = { term: state.term, index, members, outgoingMembers };
  state.configurations.push(configuration);
  leader.progress = progressRows(state, leader.progress, index);
  leader.joint = jointPhaseOf(state, leader.progress);
  leader.isSettled = false;
  appendOwn(state, context, {
    source: 'configuration',
    phase,
    configuration,
    reason,
    failingNodes,
  });
  context.effects.push({ kind: 'configurationChanged', configuration, isCommitted: false });
}

function hasSameVoters(left: readonly Member[], right: readonly Member[]): boolean {
  const leftVoters = votersOf(left);
  const rightVoters = votersOf(right);
  return (
    leftVoters.length === rightVoters.length &&
    leftVoters.every((voter) => rightVoters.some((other) => isSameLife(voter, other)))
  );
}
