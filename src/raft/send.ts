/**
 * Persist before speaking (KER-2), in one place: every message of a term waits here until that term is durable, and a
 * granted vote until the vote is.
 */
import type { Incarnation, NodeId, ReplicaId, Term } from '../base/ids.ts';
import type { OutgoingMessage, Recipient } from './messages.ts';
import type { HeldMessage, RaftState, StepContext, Vote } from './state.ts';

/** Held messages at most; beyond it the oldest goes, which is a lost message like any other. */
const heldMessagesMax = 256;

/**
 * The sender's fields of an outgoing message, in the current term. Messages of every write and every tick name them one by
 * one: a literal with something spread into it is made property by property, outside of compiled code.
 */
export function fromSelf(state: RaftState): {
  readonly fromNode: NodeId;
  readonly fromReplica: ReplicaId;
  readonly fromIncarnation: Incarnation;
  readonly term: Term;
} {
  return {
    fromNode: state.selfNode,
    fromReplica: state.selfReplica,
    fromIncarnation: state.selfIncarnation,
    term: state.term,
  };
}

/** The sender of a received message, as the recipient of its answer. */
export function senderOf(message: {
  readonly fromNode: NodeId;
  readonly fromReplica: ReplicaId;
  readonly fromIncarnation: Incarnation;
}): Recipient {
  return {
    replicaId: message.fromReplica,
    nodeId: message.fromNode,
    incarnation: message.fromIncarnation,
  };
}

/** Sends once the current term is durable. */
export function send(
  state: RaftState,
  context: StepContext,
  to: Recipient,
  message: OutgoingMessage,
): void {
  dispatch(state, context, { to, message, needsVote: false });
}

/** Sends once the current term and vote are durable. */
export function sendAfterVote(
  state: RaftState,
  context: StepContext,
  to: Recipient,
  message: OutgoingMessage,
): void {
  dispatch(state, context, { to, message, needsVote: true });
}

/** Whether `vote` is the same vote as `other`. */
export function isSameVote(vote: Vote | undefined, other: Vote | undefined): boolean {
  return vote?.replicaId === other?.replicaId && vote?.incarnation === other?.incarnation;
}

/** Sends what waited for the HardState that has just become durable. */
export function releaseHeld(state: RaftState, context: StepContext): void {
  if (state.held.length === 0) return;
  const waiting = state.held;
  state.held = [];
  for (const held of waiting) dispatch(state, context, held);
}

/** Forgets what waited: the term that it was said in is over. */
export function dropHeld(state: RaftState): void {
  state.held = [];
}

function dispatch(state: RaftState, context: StepContext, held: HeldMessage): void {
  const isTermDurable = state.durableTerm === state.term;
  const isVoteDurable = isTermDurable && isSameVote(state.durableVote, state.votedFor);
  if (isTermDurable && (isVoteDurable || !held.needsVote)) {
    context.effects.push({ kind: 'sendMessage', to: held.to, message: held.message });
    return;
  }
  if (state.held.length >= heldMessagesMax) state.held.shift();
  state.held.push(held);
}
