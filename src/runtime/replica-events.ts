/** What a replica logs of effects that have much to say. */
import type { Effect } from '../raft/index.ts';

/** Fields of an event. */
export type EventFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Another configuration is in force, or the one in force was committed. */
export function configurationFields(
  effect: Extract<Effect, { kind: 'configurationChanged' }>,
): EventFields {
  const { configuration, isCommitted } = effect;
  return {
    index: configuration.index,
    isJoint: configuration.outgoingMembers.length > 0,
    isCommitted,
    members: configuration.members.map((member) => `${member.nodeId} ${member.role}`).join(', '),
  };
}

/** A peer lost what it had acknowledged. */
export function doubtedFields({
  member,
  matchIndex,
}: Extract<Effect, { kind: 'peerInDoubt' }>): EventFields {
  return { replicaId: member.replicaId, nodeId: member.nodeId, matchIndex };
}

/** A change of role. */
export function roleFields(effect: Extract<Effect, { kind: 'roleChanged' }>): EventFields {
  const { role, term, leaderNodeId, reason } = effect;
  return { role, term, leaderNodeId, reason };
}
