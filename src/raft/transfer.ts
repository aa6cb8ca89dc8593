/**
 * Handing leadership over on purpose (thesis §3.10): no proposals are taken, the target catches up, then it is asked to
 * campaign at once. If it does not lead within an election timeout, this leader goes on.
 */
import { assert, present } from '../base/assert.ts';
import { isSameLife, type ReplicaLife } from '../base/membership.ts';
import { findProgress } from './progress.ts';
import { isVoter } from './quorum.ts';
import { becomeFollower } from './role.ts';
import { fromSelf, send } from './send.ts';
import {
  activeConfiguration,
  isSelf,
  selfLife,
  type RaftState,
  type StepContext,
  type Transfer,
} from './state.ts';

/** Begins a transfer. A second one to the same replica joins the first. */
export function beginTransfer(
  state: RaftState,
  context: StepContext,
  order: { readonly to: ReplicaLife; readonly reason: string },
): void {
  const { to, reason } = order;
  const leader = present(state.leader, 'only a leader hands over');
  assert(!isSelf(state, to), 'leadership is handed to somebody else');
  assert(isVoter(activeConfiguration(state), to), 'leadership is handed to a voter');
  if (leader.transfer !== undefined) {
    assert(isSameLife(leader.transfer.to, to), 'one transfer at a time');
    return;
  }
  leader.transfer = {
    to: { replicaId: to.replicaId, incarnation: to.incarnation },
    reason,
    deadlineTick: state.now + state.settings.electionTimeoutTicksMax,
    isSent: false,
  };
  driveTransfer(state, context, leader.transfer);
}

/** Asks the target to campaign once it holds the whole log; gives up after an election timeout. */
export function driveTransfer(state: RaftState, context: StepContext, transfer: Transfer): void {
  const leader = present(state.leader, 'only a leader hands over');
  const row = findProgress(leader.progress, transfer.to);
  const isPossible = row !== undefined && isVoter(activeConfiguration(state), transfer.to);
  if (!isPossible || state.now >= transfer.deadlineTick) {
    leader.transfer = undefined;
    context.effects.push({ kind: 'transferAborted', to: transfer.to });
    if (!isVoter(activeConfiguration(state), selfLife(state))) stepDownRemoved(state, context);
    return;
  }
  if (transfer.isSent || row.inDoubt || row.matchIndex !== state.log.lastIndex) return;
  transfer.isSent = true;
  leader.lease.isForfeited = true;
  send(state, context, row.member, { kind: 'timeoutNow', ...fromSelf(state) });
}

/** Ticks that a leader has still to lead before it may hand over; 0 when it may. @public */
export function handOverWaitTicks(state: RaftState): number {
  const leader = present(state.leader, 'only a leader hands over');
  return Math.max(0, leader.sinceTick + state.settings.minLeaderTicks - state.now);
}

/** Ends a reign because its leader wants to. Its own next campaign comes late, so that somebody else is elected first. */
export function stepDownWanted(state: RaftState, context: StepContext, reason: string): void {
  assert(state.leader !== undefined, 'only a leader steps down');
  const { term } = state;
  becomeFollower(state, context, {
    term,
    leader: undefined,
    reason: `gave leadership up: ${reason}`,
  });
  state.givenUp = { term, reason };
  state.electionDeadlineTick += state.settings.electionTimeoutTicksMax;
}

/** Ends the reign of a leader that was removed and found nobody to hand over to in time. */
export function stepDownRemoved(state: RaftState, context: StepContext): void {
  becomeFollower(state, context, {
    term: state.term,
    leader: undefined,
    reason: 'it is no voter any more',
  });
}
