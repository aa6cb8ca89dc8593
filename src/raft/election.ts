/**
 * Elections: pre-vote always, stickiness, the closed-and-refused hint, votes that count only once durable
 * (Raft §5.2 and §5.4.1, thesis §9.6, specification §2.2).
 */
import { assert } from '../base/assert.ts';
import type { NodeId, Term } from '../base/ids.ts';
import { isSameLife, type ReplicaLife } from '../base/membership.ts';
import { wakeForMember } from './hibernation.ts';
import { becomeLeader } from './leader.ts';
import { lastTerm } from './log-terms.ts';
import type {
  PreVoteRequest,
  PreVoteResponse,
  TimeoutNow,
  VoteRequest,
  VoteResponse,
} from './messages.ts';
import { isVoter, voteOutcome, votersOfBoth } from './quorum.ts';
import {
  announceRole,
  becomeFollower,
  changeHardState,
  mayCampaign,
  resetElectionDeadline,
  yieldsToOthers,
} from './role.ts';
import { fromSelf, isSameVote, send, sendAfterVote, senderOf } from './send.ts';
import {
  activeConfiguration,
  isSelf,
  selfLife,
  type CampaignState,
  type RaftState,
  type StepContext,
} from './state.ts';
import { isVoteWithheld, withheldUntilTick } from './vote-promise.ts';

/** Ticks by which the second, third … voter in line waits behind the first when a leader's node refuses connections. */
const hintStaggerTicks = 4;

/** Time passed for a replica that does not lead. */
export function electionTick(state: RaftState, context: StepContext): void {
  if (state.isHibernating) return;
  answerDeferred(state, context);
  if (
    state.role === 'preCandidate' &&
    state.campaign?.leaderUnreachable === true &&
    state.now >= state.campaign.nextResendTick
  ) {
    askPreVotes(state, context, state.campaign);
  }
  if (state.now < state.electionDeadlineTick) return;
  if (isVoteWithheld(state)) {
    // Its own vote is withheld as well, and so is the campaign that would need it.
    state.electionDeadlineTick = withheldUntilTick(state);
    return;
  }
  const isYielding = mayCampaign(state) && yieldsToOthers(state);
  if (isYielding) state.heldTimeouts++;
  if (isYielding || !mayCampaign(state)) {
    resetElectionDeadline(state);
    if (state.leaderContact !== undefined)
      becomeFollower(state, context, {
        term: state.term,
        leader: undefined,
        reason: 'no leader was heard for an election timeout',
      });
    return;
  }
  if (state.role !== 'follower') state.failedElections++;
  startPreVote(state, context, false);
}

/**
 * The leader's node refused connections: whoever stands first in line asks for pre-votes at once, the next ones a little
 * later, so that the votes do not split. Who has promised its vote to a lease holds still until that time is over.
 */
export function leaderNodeUnreachable(state: RaftState, context: StepContext): void {
  if (state.role === 'leader' || state.leaderContact === undefined) return;
  const lostReplica = state.leaderContact.replicaId;
  state.leaderLost = true;
  if (!mayCampaign(state) || yieldsToOthers(state)) return;
  const inLine = votersOfBoth(activeConfiguration(state)).filter(
    (member) => member.replicaId !== lostReplica,
  );
  const place = inLine.findIndex((member) => isSelf(state, member));
  const fromTick = Math.max(state.now, withheldUntilTick(state));
  if (place === 0 && fromTick === state.now) startPreVote(state, context, true);
  else
    state.electionDeadlineTick = Math.min(
      state.electionDeadlineTick,
      fromTick + place * hintStaggerTicks,
    );
}

/** The owner has measured the way to a node. */
export function noteLinkRtt(
  state: RaftState,
  link: { readonly nodeId: NodeId; readonly isHigh: boolean },
): void {
  const others = state.slowNodes.filter((nodeId) => nodeId !== link.nodeId);
  state.slowNodes = link.isHigh ? [...others, link.nodeId] : others;
}

/** Asks whether an election could be won, leaving term and vote alone. */
export function startPreVote(
  state: RaftState,
  context: StepContext,
  leaderUnreachable: boolean,
): void {
  assert(mayCampaign(state), 'only a voter that is not in doubt campaigns');
  const reason =
    leaderUnreachable || state.leaderLost
      ? "the leader's node refuses connections"
      : 'no leader was heard for an election timeout';
  state.role = 'preCandidate';
  state.isHibernating = false;
  state.leaderContact = undefined;
  state.campaign = {
    granted: [],
    refused: [],
    isTransfer: false,
    leaderUnreachable: leaderUnreachable || state.leaderLost,
    nextResendTick: 0,
  };
  resetElectionDeadline(state);
  announceRole(state, context, reason);
  askPreVotes(state, context, state.campaign);
  countPreVote(state, context, { voter: selfLife(state), granted: true });
}

/** Answers a pre-vote request. */
export function handlePreVoteRequest(
  state: RaftState,
  context: StepContext,
  message: PreVoteRequest,
): void {
  if (state.inDoubt) return;
  const isDue = message.term > state.term && isLogUpToDate(state, message);
  if (isDue && isVoteWithheld(state) && state.leaderHeardTick === Number.NEGATIVE_INFINITY) {
    // Nobody has been heard since the start: the candidate waits for the rest of the time and need not ask again.
    state.deferredPreVote = message;
    return;
  }
  const voteGranted = isDue && !isSticky(state);
  const own = fromSelf(state);
  send(state, context, senderOf(message), {
    kind: 'preVoteResponse',
    ...own,
    term: voteGranted ? message.term : state.term,
    voteGranted,
    highRtt: state.slowNodes.includes(message.fromNode),
  });
  wakeForMember(state, context, message);
}

/** Counts the answer to a pre-vote request; its term was compared by the caller where it is a refusal. */
export function handlePreVoteResponse(
  state: RaftState,
  context: StepContext,
  message: PreVoteResponse,
): void {
  if (state.role !== 'preCandidate') return;
  if (message.voteGranted && message.term !== state.term + 1) return;
  if (!isCountedVoter(state, message)) return;
  // Before the vote is counted: it may begin the very election whose window is to be wide.
  if (message.highRtt) state.wideUntilTerm = (state.term + 1) as Term;
  countPreVote(state, context, { voter: voterOf(message), granted: message.voteGranted });
}

/** Answers a vote request of the current term; a newer term has been adopted before. */
export function handleVoteRequest(
  state: RaftState,
  context: StepContext,
  message: VoteRequest,
): void {
  if (state.inDoubt) return;
  assert(message.term <= state.term, 'a newer term was adopted before');
  const candidate = { replicaId: message.fromReplica, incarnation: message.fromIncarnation };
  const isFree = state.votedFor === undefined || isSameVote(state.votedFor, candidate);
  const isCurrent = message.term === state.term;
  const isWithheld = isVoteWithheld(state) && !message.isTransfer;
  const voteGranted =
    isCurrent &&
    isFree &&
    !isWithheld &&
    state.role === 'follower' &&
    isLogUpToDate(state, message);
  if (!voteGranted) {
    send(state, context, senderOf(message), {
      kind: 'voteResponse',
      ...fromSelf(state),
      voteGranted: false,
    });
    return;
  }
  if (state.votedFor === undefined)
    changeHardState(state, context, { term: state.term, votedFor: candidate });
  resetElectionDeadline(state);
  sendAfterVote(state, context, senderOf(message), {
    kind: 'voteResponse',
    ...fromSelf(state),
    voteGranted: true,
  });
}

/** The leader wants this replica to take over: it campaigns at once, without asking first (thesis §3.10). */
export function handleTimeoutNow(
  state: RaftState,
  context: StepContext,
  message: TimeoutNow,
): void {
  if (message.term < state.term || state.role === 'leader' || !mayCampaign(state)) return;
  // The leader does not know that nothing is applied here; it goes on leading (specification §5.6).
  if (state.isHeld) return;
  startElection(state, context, true);
}

/**
 * Whether this replica refuses to unseat a leader that it heard within the minimum election timeout, or that may hold a lease on
 * the strength of its echo: that promise is kept whatever the hint says.
 */
export function isSticky(state: RaftState): boolean {
  if (state.role === 'leader' || state.isHibernating || isVoteWithheld(state)) return true;
  return (
    !state.leaderLost && state.now - state.leaderHeardTick < state.settings.electionTimeoutTicksMin
  );
}

/** Counts a vote; duplicates, other terms, other lives and non-voters count for nothing. */
export function handleVoteResponse(
  state: RaftState,
  context: StepContext,
  message: VoteResponse,
): void {
  if (state.role !== 'candidate' || message.term !== state.term) return;
  if (!isCountedVoter(state, message)) return;
  countVote(state, context, { voter: voterOf(message), granted: message.voteGranted });
}

/** The own HardState became durable: a candidate's vote counts now, and only now do its requests leave (KER-2). */
export function candidateVoteDurable(state: RaftState, context: StepContext): void {
  if (state.role !== 'candidate' || state.durableTerm !== state.term) return;
  assert(isSameVote(state.durableVote, selfLife(state)), 'a candidate voted for itself');
  const request = {
    kind: 'voteRequest' as const,
    ...fromSelf(state),
    lastIndex: state.log.lastIndex,
    lastTerm: lastTerm(state.log),
    isTransfer: state.campaign?.isTransfer ?? false,
  };
  for (const member of votersOfBoth(activeConfiguration(state))) {
    if (!isSelf(state, member)) send(state, context, member, request);
  }
  countVote(state, context, { voter: selfLife(state), granted: true });
}

/** The time for which votes were withheld after the start is over: whoever asked meanwhile is answered. */
function answerDeferred(state: RaftState, context: StepContext): void {
  const deferred = state.deferredPreVote;
  if (deferred === undefined || isVoteWithheld(state)) return;
  state.deferredPreVote = undefined;
  handlePreVoteRequest(state, context, deferred);
}

function askPreVotes(state: RaftState, context: StepContext, campaign: CampaignState): void {
  campaign.nextResendTick = state.now + state.settings.heartbeatTicks;
  const request = {
    kind: 'preVoteRequest' as const,
    ...fromSelf(state),
    term: (state.term + 1) as Term,
    lastIndex: state.log.lastIndex,
    lastTerm: lastTerm(state.log),
    leaderUnreachable: campaign.leaderUnreachable,
  };
  campaign.refused = [];
  for (const member of votersOfBoth(activeConfiguration(state))) {
    if (isSelf(state, member) || holds(campaign.granted, member)) continue;
    send(state, context, member, request);
  }
}

function countPreVote(state: RaftState, context: StepContext, vote: CastVote): void {
  if (castVote(state, vote) === 'won') startElection(state, context, false);
}

function countVote(state: RaftState, context: StepContext, vote: CastVote): void {
  const outcome = castVote(state, vote);
  if (outcome === 'won') becomeLeader(state, context);
  else if (outcome === 'lost') {
    state.failedElections++;
    becomeFollower(state, context, {
      term: state.term,
      leader: undefined,
      reason: 'a quorum refused its vote',
    });
  }
}

function castVote(state: RaftState, vote: CastVote): 'won' | 'lost' | 'pending' {
  const campaign = state.campaign;
  assert(campaign !== undefined, 'votes are counted in a campaign');
  if (!holds(campaign.granted, vote.voter) && !holds(campaign.refused, vote.voter)) {
    (vote.granted ? campaign.granted : campaign.refused).push(vote.voter);
  }
  return voteOutcome(activeConfiguration(state), (member) => {
    if (holds(campaign.granted, member)) return true;
    return holds(campaign.refused, member) ? false : undefined;
  });
}

function startElection(state: RaftState, context: StepContext, isTransfer: boolean): void {
  const leaderUnreachable = state.campaign?.leaderUnreachable ?? false;
  changeHardState(state, context, {
    term: (state.term + 1) as Term,
    votedFor: selfLife(state),
  });
  state.role = 'candidate';
  state.isHibernating = false;
  state.campaign = {
    granted: [],
    refused: [],
    isTransfer,
    leaderUnreachable,
    nextResendTick: 0,
  };
  resetElectionDeadline(state);
  announceRole(
    state,
    context,
    isTransfer ? 'the leader asked it to take over' : 'a quorum would vote for it',
  );
}

function isLogUpToDate(
  state: RaftState,
  candidate: { readonly lastIndex: number; readonly lastTerm: number },
): boolean {
  const ownLastTerm = lastTerm(state.log);
  return (
    candidate.lastTerm > ownLastTerm ||
    (candidate.lastTerm === ownLastTerm && candidate.lastIndex >= state.log.lastIndex)
  );
}

interface CastVote {
  readonly voter: ReplicaLife;
  readonly granted: boolean;
}

function isCountedVoter(state: RaftState, message: PreVoteResponse | VoteResponse): boolean {
  return isVoter(activeConfiguration(state), voterOf(message));
}

function voterOf(message: PreVoteResponse | VoteResponse): ReplicaLife {
  return { replicaId: message.fromReplica, incarnation: message.fromIncarnation };
}

function holds(lives: readonly ReplicaLife[], life: ReplicaLife): boolean {
  return lives.some((known) => isSameLife(known, life));
}
