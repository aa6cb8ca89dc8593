/** Lists of members: what a change of voters makes of one, and whether two are the same. */
import type { Incarnation, NodeId } from '../base/ids.ts';
import { isSameLife, type Member } from '../base/membership.ts';
import { votersOf } from '../raft/index.ts';

const noIncarnation = '00000000-0000-0000-0000-000000000000' as Incarnation;

/** The members behind a change; promoted nodes that are no members stand at the end. */
export function membersAfter(
  before: readonly Member[],
  change: { readonly promote: readonly NodeId[]; readonly remove: readonly NodeId[] },
): readonly Member[] {
  const after = before
    .filter((member) => !change.remove.includes(member.nodeId))
    .map((member): Member =>
      change.promote.includes(member.nodeId) && member.role !== 'voter'
        ? { ...member, role: 'voter' }
        : member,
    );
  const unknown = change.promote.filter(
    (nodeId) => !before.some((member) => member.nodeId === nodeId),
  );
  return [...after, ...unknown.map(hypotheticalVoter)];
}

/** What leads from one list to the other; `none` when they are the same. */
export function phaseOf(
  before: readonly Member[],
  after: readonly Member[],
): 'none' | 'learners' | 'joint' {
  const voters = votersOf(after);
  const hasSameVoters =
    voters.length === votersOf(before).length && voters.every((voter) => before.includes(voter));
  if (!hasSameVoters) return 'joint';
  return after.length === before.length ? 'none' : 'learners';
}

/** Whether both have the same lives in the same roles, in any order. */
export function isSameList(left: readonly Member[], right: readonly Member[]): boolean {
  return (
    left.length === right.length &&
    left.every((member) =>
      right.some((other) => isSameLife(member, other) && member.role === other.role),
    )
  );
}

function hypotheticalVoter(nodeId: NodeId): Member {
  return {
    replicaId: nodeId as number as Member['replicaId'],
    nodeId,
    incarnation: noIncarnation,
    role: 'voter',
    addresses: [],
  };
}
