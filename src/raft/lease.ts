/**
 * Leader leases: reads that wait for no round (thesis §6.4.1, specification §2.3). Off unless `leaseMs` is set.
 *
 * A leader flags its rounds. Whoever echoes one withholds its vote for its minimum election timeout from then on
 * (`vote-promise.ts`), so until that long after the round was *sent* nobody else can be elected by a quorum that shares a voter with
 * those who echoed, and what this leader has committed is all that was committed. A lease is shorter than the promise by a margin
 * for clocks that run at different speeds, and runs from the tick of sending, which is never ahead of the clock; its end is compared
 * with a clock that was read just then.
 *
 * What is kept is per follower: the newest flagged round that it echoed. The end of the lease follows from the voters of the
 * configuration in force each time it is asked for, so a change of voters cannot leave an old quorum behind. An echo in doubt, or of
 * one whose clocks disagree, counts for none.
 *
 * Guards, in this order, must hold for {@link heldRoundsNeeded} heartbeat rounds in a row before rounds are flagged; the first one
 * that fails ends the lease at once. A voter that has said nothing in this term does not stand in the way: it is not counted either.
 *
 * | guard | fails when |
 * | --- | --- |
 * | `TimeoutNowSent` | another voter was asked to campaign in this term; it may do so late, and is voted for |
 * | `ClockAlarm` | the own clocks disagree |
 * | `JointPhase` | two sets of voters are counted; until the exit is appended |
 * | `NotAVoter` | this leader was removed |
 * | `TermStartUncommitted` | no entry of the own term is committed |
 * | `ElectionTimeoutTooShort` | the sum of the lease's terms reaches the minimum election timeout of some voter |
 * | `QuorumUnheard` | no quorum of voters with agreeing clocks has said its timeout |
 * | `Idle` | the partition is about to hibernate |
 */
import { findProgress, type Progress } from './progress.ts';
import { hasQuorum, isJoint, isVoter, quorumValue, votersOf } from './quorum.ts';
import type { HeartbeatEcho } from './messages.ts';
import { leaseSumMs, tickMs } from './settings.ts';
import {
  activeConfiguration,
  isSelf,
  selfLife,
  type LeaderLease,
  type LeaderState,
  type RaftState,
} from './state.ts';

/** What stands in the way of a lease. @public */
export type LeaseBlock =
  | 'Off'
  | 'NotLeader'
  | 'TimeoutNowSent'
  | 'ClockAlarm'
  | 'JointPhase'
  | 'NotAVoter'
  | 'TermStartUncommitted'
  | 'ElectionTimeoutTooShort'
  | 'QuorumUnheard'
  | 'Idle'
  | 'Settling';

/** How a replica stands to leases. @public */
export interface LeaseStatus {
  /** `Disabled`: not wanted, or not the leader. `Revoked`: a guard fails, or has failed within the last two rounds. */
  readonly state: 'Disabled' | 'Enabled' | 'Revoked';
  /** The first guard that fails; `Settling` while all hold, but not for long enough; `None` when enabled. */
  readonly reason: LeaseBlock | 'None';
  /** For how long reads are served without a round, unless more is echoed. */
  readonly remainingMs: number;
}

/** Heartbeat rounds in a row at which the guards must have held. */
const heldRoundsNeeded = 2;

/** A new leader's: nothing is held. */
export function noLease(): LeaderLease {
  return { heldRounds: 0, isForfeited: false, sent: [] };
}

/** Whether this replica may answer a read alone at the moment that the clock shows. @public */
export function holdsLease(state: RaftState, clockMs: number): boolean {
  const { leader } = state;
  if (leader === undefined || !isFlagging(leader)) return false;
  return clockMs < leaseEndMs(state, leader);
}

/** How this replica stands to leases at the moment that the clock shows. @public */
export function leaseStatus(state: RaftState, clockMs: number): LeaseStatus {
  if (state.settings.leaseMs === 0) return { state: 'Disabled', reason: 'Off', remainingMs: 0 };
  const { leader } = state;
  if (leader === undefined) return { state: 'Disabled', reason: 'NotLeader', remainingMs: 0 };
  if (!isFlagging(leader))
    return { state: 'Revoked', reason: failingGuard(state, leader) ?? 'Settling', remainingMs: 0 };
  const remainingMs = Math.max(0, Math.floor(leaseEndMs(state, leader) - clockMs));
  return { state: 'Enabled', reason: 'None', remainingMs };
}

/** A heartbeat round is due: counts those at which every guard held. */
export function countLeaseRound(state: RaftState, leader: LeaderState): void {
  const { lease } = leader;
  if (state.settings.leaseMs === 0) return;
  lease.heldRounds =
    failingGuard(state, leader) === undefined
      ? Math.min(heldRoundsNeeded, lease.heldRounds + 1)
      : 0;
}

/** Something happened at the leader: a guard that fails ends the lease at once. */
export function reviewLease(state: RaftState, leader: LeaderState): void {
  if (leader.lease.heldRounds > 0 && failingGuard(state, leader) !== undefined)
    leader.lease.heldRounds = 0;
}

/** The round `leader.round` is about to be sent. Returns whether it is to be flagged, and remembers when it was. */
export function noteRoundSent(state: RaftState, leader: LeaderState): boolean {
  if (!isFlagging(leader)) return false;
  const { sent } = leader.lease;
  const newest = sent.at(-1);
  if (newest?.tick === state.now && newest.lastRound === leader.round - 1) {
    newest.lastRound = leader.round;
    return true;
  }
  const overTick = state.now - Math.ceil(state.settings.leaseMs / tickMs);
  while (sent[0] !== undefined && sent[0].tick < overTick) sent.shift();
  sent.push({ tick: state.now, firstRound: leader.round, lastRound: leader.round });
  return true;
}

/** A follower echoed a newer round than before, and was not in doubt. */
export function noteLeaseEcho(
  leader: LeaderState,
  progress: Progress,
  message: HeartbeatEcho,
): void {
  progress.electionTimeoutMsMin = message.electionTimeoutMsMin;
  progress.clockAlarm = message.clockAlarm;
  const rounds = leader.lease.sent.find(
    ({ firstRound, lastRound }) => firstRound <= message.round && message.round <= lastRound,
  );
  if (rounds !== undefined) progress.leaseTick = rounds.tick;
}

function isFlagging(leader: LeaderState): boolean {
  return leader.lease.heldRounds >= heldRoundsNeeded;
}

function leaseEndMs(state: RaftState, leader: LeaderState): number {
  const fromTick = quorumValue(activeConfiguration(state), (member) => {
    if (isSelf(state, member)) return state.now;
    const row = findProgress(leader.progress, member);
    return row === undefined || row.inDoubt || row.clockAlarm ? -1 : row.leaseTick;
  });
  if (fromTick < 0) return Number.NEGATIVE_INFINITY;
  return fromTick * tickMs + state.settings.leaseMs;
}

function failingGuard(state: RaftState, leader: LeaderState): LeaseBlock | undefined {
  const active = activeConfiguration(state);
  if (leader.lease.isForfeited) return 'TimeoutNowSent';
  if (state.clockAlarm) return 'ClockAlarm';
  if (isJoint(active)) return 'JointPhase';
  if (!isVoter(active, selfLife(state))) return 'NotAVoter';
  if (state.commitIndex < leader.termStartIndex) return 'TermStartUncommitted';
  const timeoutOf = (member: Parameters<typeof findProgress>[1]): number =>
    findProgress(leader.progress, member)?.electionTimeoutMsMin ?? 0;
  const sumMs = leaseSumMs(state.settings);
  const isTooShort = votersOf(active.members).some((member) => {
    const timeoutMs = timeoutOf(member);
    return timeoutMs > 0 && timeoutMs <= sumMs;
  });
  if (isTooShort) return 'ElectionTimeoutTooShort';
  const isCounted = hasQuorum(active, (member) => {
    if (isSelf(state, member)) return true;
    const row = findProgress(leader.progress, member);
    return row !== undefined && !row.inDoubt && !row.clockAlarm && row.electionTimeoutMsMin > 0;
  });
  if (!isCounted) return 'QuorumUnheard';
  return leader.restRound === undefined ? undefined : 'Idle';
}
