/** Changes of role and term, shared by all roles. */
import { assert } from '../base/assert.ts';
import type { LogIndex, Term } from '../base/ids.ts';
import { nextBetween } from '../base/prng.ts';
import type { Recipient } from './messages.ts';
import { isVoter } from './quorum.ts';
import { broadcastRound } from './read-index.ts';
import { dropHeld } from './send.ts';
import {
  activeConfiguration,
  forgetOldConfigurations,
  leaderNodeId,
  selfLife,
  type RaftState,
  type StepContext,
  type Vote,
} from './state.ts';

/**
 * Whether this replica may campaign: a voter in this life and not in doubt. While the configuration in force is not known to be
 * committed, who voted before it may campaign too, though its own vote does not count: its log may be the only one that
 * holds that configuration, and then nobody else can be elected (thesis §4.2.2).
 */
export function mayCampaign(state: RaftState): boolean {
  const self = selfLife(state);
  return (
    !state.inDoubt && state.configurations.some((configuration) => isVoter(configuration, self))
  );
}

/** Election timeouts that a held replica lets pass before it campaigns (KER-9). */
const heldTimeoutsMax = 2;

/** Whether this replica lets healthy ones go first still: it was not held long enough without a leader. */
export function yieldsToOthers(state: RaftState): boolean {
  return state.isHeld && state.heldTimeouts < heldTimeoutsMax;
}

/**
 * Draws the next election deadline; failed elections widen the window by ×1.5 each (specification §2.2). A candidate whose
 * voters are far away gets twice the window for a term: from that of one data centre to that of many, or from that to the
 * next (ELE-7). A follower does not: heartbeats come as often over a long way as over a short one.
 */
export function resetElectionDeadline(state: RaftState): void {
  const { electionTimeoutTicksMin, electionTimeoutTicksMax, electionBackoffTicksMax } =
    state.settings;
  const { wideUntilTerm = -1 } = state;
  const isWide = state.role !== 'follower' && state.term <= wideUntilTerm;
  const widening = Math.pow(1.5, Math.min(state.failedElections, 8)) * (isWide ? 2 : 1);
  const low = Math.min(
    Math.round(electionTimeoutTicksMin * widening),
    Math.max(electionBackoffTicksMax >> 1, electionTimeoutTicksMin),
  );
  const high = Math.min(
    Math.round(electionTimeoutTicksMax * widening),
    Math.max(electionBackoffTicksMax, electionTimeoutTicksMax),
  );
  state.electionDeadlineTick = state.now + nextBetween(state.prng, low, high);
}

/** Sets term and vote and asks for them to be made durable. */
export function changeHardState(
  state: RaftState,
  context: StepContext,
  next: { readonly term: Term; readonly votedFor: Vote | undefined },
): void {
  assert(next.term >= state.term, 'a term never falls');
  assert(next.term > state.term || state.votedFor === undefined, 'a vote is cast once in a term');
  if (next.term > state.term) {
    dropHeld(state);
    state.verifiedIndex = Math.max(state.log.baseIndex, state.commitIndex) as LogIndex;
    state.leaderCommit = state.commitIndex;
    state.ackOwed = false;
    state.snapshotWanted = undefined;
    state.leaderContact = undefined;
  }
  state.term = next.term;
  state.votedFor = next.votedFor;
  context.effects.push({ kind: 'persistHardState', term: next.term, votedFor: next.votedFor });
}

/** Becomes a follower of `leader` (or of nobody known) in `term`. Stepping down in the same term keeps the vote. */
export function becomeFollower(
  state: RaftState,
  context: StepContext,
  next: { readonly term: Term; readonly leader: Recipient | undefined; readonly reason: string },
): void {
  const wasLeader = state.leader;
  const wasHibernating = state.isHibernating;
  state.isHibernating = false;
  if (wasLeader?.restRound !== undefined) {
    // Whoever stops leading wakes its followers, in the term in which they still know it (specification §2.5).
    wasLeader.restRound = undefined;
    broadcastRound(state, context);
  }
  const isChange =
    state.role !== 'follower' ||
    next.term !== state.term ||
    next.leader?.replicaId !== state.leaderContact?.replicaId;
  const transfer = wasLeader?.transfer;
  const isHandedOver = transfer?.isSent === true;
  if (isHandedOver) state.givenUp = { term: state.term, reason: transfer.reason };
  if (next.term > state.term)
    changeHardState(state, context, { term: next.term, votedFor: undefined });
  if (wasLeader !== undefined) {
    state.verifiedIndex = Math.max(state.log.baseIndex, state.commitIndex) as LogIndex;
    for (const read of wasLeader.reads)
      context.effects.push({ kind: 'readFailed', readId: read.readId });
  }
  const wasFollower = state.role === 'follower';
  state.role = 'follower';
  state.campaign = undefined;
  state.leader = undefined;
  state.leaderContact = next.leader;
  if (next.leader !== undefined) {
    state.heldTimeouts = 0;
    state.failedElections = 0;
    state.leaderLost = false;
  }
  if (!wasFollower || wasHibernating || next.leader !== undefined) resetElectionDeadline(state);
  if (!isChange) return;
  announceRole(state, context, isHandedOver ? `handed over: ${transfer.reason}` : next.reason);
}

/** Tells the owner who is what. */
export function announceRole(state: RaftState, context: StepContext, reason: string): void {
  context.effects.push({
    kind: 'roleChanged',
    role: state.role,
    term: state.term,
    leaderNodeId: leaderNodeId(state),
    reason,
  });
}

/** Raises the indexes up to which entries are committed and may be applied; tells the owner when they rose. */
export function advanceCommit(state: RaftState, context: StepContext, candidate: LogIndex): void {
  assert(state.verifiedIndex <= state.log.lastIndex, 'nothing past the end of the log is verified');
  const commitIndex = Math.max(
    state.commitIndex,
    Math.min(candidate, state.verifiedIndex),
  ) as LogIndex;
  const appliableIndex = Math.max(
    state.appliableIndex,
    Math.min(commitIndex, state.durableIndex),
  ) as LogIndex;
  if (commitIndex === state.commitIndex && appliableIndex === state.appliableIndex) return;
  const active = activeConfiguration(state);
  const isSettling = active.index > state.commitIndex && active.index <= commitIndex;
  state.commitIndex = commitIndex;
  state.appliableIndex = appliableIndex;
  forgetOldConfigurations(state);
  context.effects.push({ kind: 'commitAdvanced', commitIndex, appliableIndex });
  if (isSettling)
    context.effects.push({
      kind: 'configurationChanged',
      configuration: active,
      isCommitted: true,
    });
}
