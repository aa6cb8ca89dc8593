/**
 * Majorities, of one voter set or of both halves of a joint configuration (specification §3.1).
 *
 * Every rule that needs agreement (votes, commit, evidence, read rounds, check-quorum) goes through these three
 * functions, so a joint phase cannot be forgotten in one place.
 */
import type { ReplicaId } from '../base/ids.ts';
import type { Configuration, Member } from '../base/membership.ts';

/** Votes of a set of voters on a question. */
export type VoteOutcome = 'won' | 'lost' | 'pending';

/** Whether the replica votes in either half. */
export function isVoter(configuration: Configuration, replica: ReplicaId): boolean {
  return (
    holdsVoter(configuration.members, replica) || holdsVoter(configuration.outgoingMembers, replica)
  );
}

/** The member of either half, the newer list first. */
export function memberOf(configuration: Configuration, replica: ReplicaId): Member | undefined {
  return (
    configuration.members.find((member) => member.replicaId === replica) ??
    configuration.outgoingMembers.find((member) => member.replicaId === replica)
  );
}

/** Every member of both halves once, in list order, the newer entry winning. */
export function allMembers(configuration: Configuration): readonly Member[] {
  if (configuration.outgoingMembers.length === 0) return configuration.members;
  const known = new Set(configuration.members.map((member) => member.replicaId));
  return [
    ...configuration.members,
    ...configuration.outgoingMembers.filter((member) => !known.has(member.replicaId)),
  ];
}

/** The highest value that a majority of each half has reached; 0 for an empty half. */
export function quorumValue(
  configuration: Configuration,
  valueOf: (replica: ReplicaId) => number,
): number {
  const incoming = majorityValue(configuration.members, valueOf);
  if (configuration.outgoingMembers.length === 0) return incoming;
  return Math.min(incoming, majorityValue(configuration.outgoingMembers, valueOf));
}

/** Whether a majority of each half satisfies `holds`. */
export function hasQuorum(
  configuration: Configuration,
  holds: (replica: ReplicaId) => boolean,
): boolean {
  return quorumValue(configuration, (replica) => (holds(replica) ? 1 : 0)) === 1;
}

/** Whether votes cast so far decide the question; `voteOf` answers `undefined` for a vote not yet seen. */
export function voteOutcome(
  configuration: Configuration,
  voteOf: (replica: ReplicaId) => boolean | undefined,
): VoteOutcome {
  if (hasQuorum(configuration, (replica) => voteOf(replica) === true)) return 'won';
  return hasQuorum(configuration, (replica) => voteOf(replica) !== false) ? 'pending' : 'lost';
}

function holdsVoter(members: readonly Member[], replica: ReplicaId): boolean {
  return members.some((member) => member.role === 'voter' && member.replicaId === replica);
}

function majorityValue(
  members: readonly Member[],
  valueOf: (replica: ReplicaId) => number,
): number {
  const values: number[] = [];
  for (const member of members) if (member.role === 'voter') values.push(valueOf(member.replicaId));
  values.sort((left, right) => right - left);
  return values[values.length >> 1] ?? 0;
}
