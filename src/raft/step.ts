/** The one entry to the core: (state, input) → effects. */
import { assert, unreachable } from '../base/assert.ts';
import type { NodeId } from '../base/ids.ts';
import { handleSnapshotInput } from './compaction.ts';
import { leaveQuarantine } from './quarantine.ts';
import {
  candidateVoteDurable,
  electionTick,
  handlePreVoteRequest,
  handlePreVoteResponse,
  handleTimeoutNow,
  handleVoteRequest,
  handleVoteResponse,
  isSticky,
  leaderNodeUnreachable,
  noteLinkRtt,
} from './election.ts';
import {
  answerOldLeader,
  followerDurable,
  handleAppendEntries,
  handleHeartbeat,
} from './follower.ts';
import { nodeDown, wake, wakeForMember, wakeOnDemand } from './hibernation.ts';
import type { Input } from './inputs.ts';
import { reviewLease } from './lease.ts';
import {
  handleAppendRejected,
  handleDurabilityAck,
  handleHeartbeatEcho,
  handleStreamed,
  leaderDurable,
  leaderTick,
  propose,
} from './leader.ts';
import { termAt } from './log-terms.ts';
import { changeConfiguration, maintainMembership, wantRollback } from './membership.ts';
import type { PeerMessage } from './messages.ts';
import { advanceCommit, becomeFollower, resetElectionDeadline } from './role.ts';
import { peerConnected } from './replication.ts';
import { reconfirmReads, requestLeaseRead, requestRead } from './read-index.ts';
import { dropHeld, releaseHeld } from './send.ts';
import { withheldUntilTick } from './vote-promise.ts';
import { tickMs } from './settings.ts';
import { beginTransfer, stepDownWanted } from './transfer.ts';
import type { RaftState, StepContext } from './state.ts';

/** Mutates `state` by one input and appends what must be done to `context.effects`. @public */
export function step(state: RaftState, input: Input, context: StepContext): void {
  assert(context.now >= state.now, 'ticks never go back');
  assert(context.clockMs >= context.now * tickMs, 'the clock is not behind the ticks');
  state.now = context.now;
  handle(state, input, context);
  if (state.leader !== undefined) maintainMembership(state, context);
  if (state.leader !== undefined) reviewLease(state, state.leader);
}

function handle(state: RaftState, input: Input, context: StepContext): void {
  switch (input.kind) {
    case 'message':
      receive(state, context, input.message);
      return;
    case 'tick':
      if (state.role === 'leader') leaderTick(state, context);
      else electionTick(state, context);
      return;
    case 'stalled':
      if (state.role === 'leader' && !state.isHibernating) reconfirmReads(state, context);
      return;
    case 'hardStateDurable':
      hardStateDurable(state, context, input);
      return;
    case 'durable':
      durable(state, context, input);
      return;
    case 'propose':
      wake(state, context);
      propose(state, context, input.count);
      return;
    case 'changeConfiguration':
    case 'rollBack':
    case 'transferLeadership':
    case 'stepDown':
      operate(state, input, context);
      return;
    case 'readIndex':
      wake(state, context);
      requestRead(state, context, input.readId);
      return;
    case 'leaseRead':
      wake(state, context);
      requestLeaseRead(state, context, input.readId);
      return;
    case 'clockAlarm':
      state.clockAlarm = input.isRaised;
      return;
    case 'leaderCommit':
      leaderCommit(state, context, input);
      return;
    case 'peerConnected':
    case 'nodeUnreachable':
    case 'nodeDown':
    case 'linkRtt':
      connection(state, input, context);
      return;
    case 'streamed':
      handleStreamed(state, input);
      return;
    case 'wake':
      wakeOnDemand(state, context);
      return;
    case 'doubt':
    case 'quarantine':
    case 'repaired':
    case 'hold':
      quarantine(state, input, context);
      return;
    case 'compacted':
    case 'snapshotInstalled':
    case 'termSeen':
      handleSnapshotInput(state, input, context);
      return;
    default:
      unreachable(input);
  }
}

/** A connection to another node came about, is gone or was measured. */
function connection(
  state: RaftState,
  input: Extract<Input, { kind: 'peerConnected' | 'nodeUnreachable' | 'nodeDown' | 'linkRtt' }>,
  context: StepContext,
): void {
  if (input.kind === 'peerConnected') nodeConnected(state, context, input);
  else if (input.kind === 'nodeDown') nodeDown(state, context, input);
  else if (input.kind === 'linkRtt') noteLinkRtt(state, input);
  else if (state.leaderContact?.nodeId === input.nodeId) leaderNodeUnreachable(state, context);
}

/** What an operator, or the node for one, wants of a leader. */
function operate(
  state: RaftState,
  input: Extract<
    Input,
    { kind: 'changeConfiguration' | 'rollBack' | 'transferLeadership' | 'stepDown' }
  >,
  context: StepContext,
): void {
  if (input.kind === 'rollBack') {
    wantRollback(state, input.reason);
    return;
  }
  wake(state, context);
  if (input.kind === 'changeConfiguration') changeConfiguration(state, context, input.members);
  else if (input.kind === 'transferLeadership') beginTransfer(state, context, input);
  else stepDownWanted(state, context, input.reason);
}

/** What this replica cannot prove, read or apply, and that it can again. */
function quarantine(
  state: RaftState,
  input: Extract<Input, { kind: 'doubt' | 'quarantine' | 'repaired' | 'hold' }>,
  context: StepContext,
): void {
  if (input.kind === 'hold') {
    state.isHeld = input.isHeld;
    state.heldTimeouts = 0;
  } else if (input.kind === 'repaired') {
    leaveQuarantine(state, context, input.log);
  } else if (input.kind === 'quarantine') {
    doubt(state, context, 'entries of this replica cannot be read');
    state.isQuarantined = true;
  } else {
    doubt(state, context, 'this replica is in doubt');
    state.hasLostEvidence = true;
  }
}

/**
 * Begins the first election period at tick `now`, put off by `delayTicks`; called once after {@link createRaftState}. Time that
 * passed since then, while files were read, is nobody's silence.
 * @public
 */
export function start(state: RaftState, delayTicks = 0, now: number = state.now): void {
  assert(now >= state.now, 'time does not go back');
  state.now = now;
  resetElectionDeadline(state);
  state.electionDeadlineTick += delayTicks;
}

function receive(state: RaftState, context: StepContext, message: PeerMessage): void {
  if (message.kind === 'preVoteRequest') {
    handlePreVoteRequest(state, context, message);
    return;
  }
  if (message.term > state.term && !adoptTerm(state, context, message)) return;
  switch (message.kind) {
    case 'preVoteResponse':
      handlePreVoteResponse(state, context, message);
      return;
    case 'voteRequest':
      handleVoteRequest(state, context, message);
      return;
    case 'voteResponse':
      handleVoteResponse(state, context, message);
      return;
    case 'appendEntries':
    case 'heartbeat':
      if (message.term < state.term) answerOldLeader(state, context, message);
      else if (message.kind === 'heartbeat') handleHeartbeat(state, context, message);
      else handleAppendEntries(state, context, message);
      return;
    case 'appendRejected':
      handleAppendRejected(state, context, message);
      return;
    case 'durabilityAck':
      handleDurabilityAck(state, context, message);
      return;
    case 'heartbeatEcho':
      handleHeartbeatEcho(state, context, message);
      return;
    case 'timeoutNow':
      handleTimeoutNow(state, context, message);
      return;
    default:
      unreachable(message);
  }
}

/**
 * Adopts a newer term, except where the message must not unseat anybody: a granted pre-vote carries the term that was
 * asked for, a vote request meets a sticky voter. Returns whether the message is to be handled.
 */
function adoptTerm(
  state: RaftState,
  context: StepContext,
  message: Exclude<PeerMessage, { kind: 'preVoteRequest' }>,
): boolean {
  switch (message.kind) {
    case 'preVoteResponse':
      if (!message.voteGranted)
        becomeFollower(state, context, {
          term: message.term,
          leader: undefined,
          reason: 'another replica is in a newer term',
        });
      return message.voteGranted;
    case 'voteRequest':
      if (state.inDoubt) return false;
      if (isSticky(state) && !message.isTransfer) {
        wakeForMember(state, context, message);
        return false;
      }
      becomeFollower(state, context, {
        term: message.term,
        leader: undefined,
        reason: 'a candidate is in a newer term',
      });
      return true;
    case 'appendEntries':
    case 'heartbeat':
      return true;
    default:
      becomeFollower(state, context, {
        term: message.term,
        leader: undefined,
        reason: 'another replica is in a newer term',
      });
      return true;
  }
}

function hardStateDurable(
  state: RaftState,
  context: StepContext,
  input: Extract<Input, { kind: 'hardStateDurable' }>,
): void {
  assert(input.term >= state.durableTerm, 'hard states become durable in order');
  state.durableTerm = input.term;
  state.durableVote = input.votedFor;
  if (input.term !== state.term) return;
  releaseHeld(state, context);
  if (state.role === 'candidate') candidateVoteDurable(state, context);
}

function durable(
  state: RaftState,
  context: StepContext,
  input: Extract<Input, { kind: 'durable' }>,
): void {
  state.ledgerSeq = Math.max(state.ledgerSeq, input.ledgerSeq);
  if (input.appendSequence < state.truncationSequence) return;
  // A snapshot stands for it; it was taken as durable with that.
  if (input.index < state.log.baseIndex) return;
  assert(input.index <= state.log.lastIndex, 'a completion speaks of entries of the log');
  assert(
    termAt(state.log, input.index) === input.term,
    'a completion speaks for the very entry that it wrote',
  );
  if (input.index <= state.durableIndex) return;
  state.durableIndex = input.index;
  if (state.role === 'leader') leaderDurable(state, context);
  else followerDurable(state, context);
}

function leaderCommit(
  state: RaftState,
  context: StepContext,
  input: Extract<Input, { kind: 'leaderCommit' }>,
): void {
  if (input.term !== state.term || state.role !== 'follower') return;
  if (input.commit <= state.leaderCommit) return;
  state.leaderCommit = input.commit;
  advanceCommit(state, context, input.commit);
}

function nodeConnected(
  state: RaftState,
  context: StepContext,
  input: { readonly nodeId: NodeId; readonly newBoot: boolean },
): void {
  if (state.leader === undefined) {
    if (input.newBoot && state.leaderContact?.nodeId === input.nodeId) wake(state, context);
    return;
  }
  for (const progress of state.leader.progress) {
    if (progress.member.nodeId !== input.nodeId) continue;
    wake(state, context);
    peerConnected(state, context, { progress, newBoot: input.newBoot });
  }
}

function doubt(state: RaftState, context: StepContext, reason: string): void {
  wake(state, context);
  state.inDoubt = true;
  state.ackOwed = false;
  dropHeld(state);
  if (state.role !== 'follower')
    becomeFollower(state, context, {
      term: state.term,
      leader: undefined,
      reason,
    });
}

/** The earliest tick at which a `tick` input can matter; the owner need not step before. @public */
export function nextTickDue(state: RaftState): number {
  if (state.isHibernating) return Number.POSITIVE_INFINITY;
  if (state.leader !== undefined) return state.leader.nextHeartbeatTick;
  const resend =
    state.role === 'preCandidate' && state.campaign?.leaderUnreachable === true
      ? state.campaign.nextResendTick
      : Number.POSITIVE_INFINITY;
  const deferred =
    state.deferredPreVote === undefined ? Number.POSITIVE_INFINITY : withheldUntilTick(state);
  return Math.min(resend, deferred, state.electionDeadlineTick);
}
