/**
 * Majorities, of one voter set or of both halves of a joint configuration (specification §3.1).
 *
 * Every rule that needs agreement (votes, commit, evidence, read rounds) goes through these three functions, so a joint
 * phase cannot be forgotten in one place. What is asked is a member in one life: a replica that came back with other files
 * is another one (specification §1 Identity).
 */
import {
  isSameLife,
  type Configuration,
  type Member,
  type ReplicaLife,
} from '../base/membership.ts';

/** Votes of a set of voters on a question. */
export type VoteOutcome = 'won' | 'lost' | 'pending';

/** Whether both majorities are asked. */
export function isJoint(configuration: Configuration): boolean {
  return configuration.outgoingMembers.length > 0;
}

/** Whether the replica votes in either half, in this life. */
export function isVoter(configuration: Configuration, life: ReplicaLife): boolean {
  return holdsVoter(configuration.members, life) || holdsVoter(configuration.outgoingMembers, life);
}

/** The member of either half, the newer list first. */
export function memberOf(configuration: Configuration, life: ReplicaLife): Member | undefined {
  return (
    configuration.members.find((member) => isSameLife(member, life)) ??
    configuration.outgoingMembers.find((member) => isSameLife(member, life))
  );
}

/** Every member of both halves once, in list order, the newer entry winning. */
export function allMembers(configuration: Configuration): readonly Member[] {
  if (!isJoint(configuration)) return configuration.members;
  return mergeMembers(configuration.members, configuration.outgoingMembers);
}

/** The members of `first`, then those of `second` that are not among them. */
export function mergeMembers(
  first: readonly Member[],
  second: readonly Member[],
): readonly Member[] {
  return [
    ...first,
    ...second.filter((member) => !first.some((known) => isSameLife(known, member))),
  ];
}

/** Those that are counted. */
export function votersOf(members: readonly Member[]): readonly Member[] {
  return members.filter((member) => member.role === 'voter');
}

/** The voters of both halves, each once; a replica may vote in the old one alone. */
export function votersOfBoth(configuration: Configuration): readonly Member[] {
  return mergeMembers(votersOf(configuration.members), votersOf(configuration.outgoingMembers));
}

/** The highest value that a majority of each half has reached; 0 for an empty half. */
export function quorumValue(
  configuration: Configuration,
  valueOf: (member: Member) => number,
): number {
  const incoming = majorityValue(configuration.members, valueOf);
  if (!isJoint(configuration)) return incoming;
  return Math.min(incoming, majorityValue(configuration.outgoingMembers, valueOf));
}

/** Whether a majority of each half satisfies `holds`. */
export function hasQuorum(
  configuration: Configuration,
  holds: (member: Member) => boolean,
): boolean {
  return quorumValue(configuration, (member) => (holds(member) ? 1 : 0)) === 1;
}

/** Whether a majority of the voters of one list satisfies `holds`. */
export function hasMajority(
  members: readonly Member[],
  holds: (member: Member) => boolean,
): boolean {
  return majorityValue(members, (member) => (holds(member) ? 1 : 0)) === 1;
}

/** Whether votes cast so far decide the question; `voteOf` answers `undefined` for a vote not yet seen. */
export function voteOutcome(
  configuration: Configuration,
  voteOf: (member: Member) => boolean | undefined,
): VoteOutcome {
  if (hasQuorum(configuration, (member) => voteOf(member) === true)) return 'won';
  return hasQuorum(configuration, (member) => voteOf(member) !== false) ? 'pending' : 'lost';
}

function holdsVoter(members: readonly Member[], life: ReplicaLife): boolean {
  return members.some((member) => member.role === 'voter' && isSameLife(member, life));
}

/** Asked after every message and tick: a few values are sorted in place, without a comparing function. */
function majorityValue(members: readonly Member[], valueOf: (member: Member) => number): number {
  const descending: number[] = [];
  for (const member of members) {
    if (member.role !== 'voter') continue;
    const value = valueOf(member);
    let at = descending.length;
    for (; at > 0; at--) {
      const before = descending[at - 1] ?? 0;
      if (before >= value) break;
      descending[at] = before;
    }
    descending[at] = value;
  }
  return descending[descending.length >> 1] ?? 0;
}
