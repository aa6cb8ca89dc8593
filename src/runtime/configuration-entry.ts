/** The log entry that brings a configuration (facts: system entries 0x01 and 0x02). */
import type { SystemEntry } from '../codec/system-entry.ts';
import type { Effect } from '../raft/index.ts';

/** Until a control plane routes requests, every partition is at this epoch. */
const routingEpoch = 1;
const noPlacementDigest: Uint8Array = new Uint8Array(32);

/** What an effect of the core becomes in the log. */
export function systemEntryOf(
  effect: Extract<Effect, { readonly source: 'configuration' }>,
): Exclude<SystemEntry, { readonly kind: 'unknown' }> {
  const { phase, configuration, reason, failingNodes } = effect;
  const { members, outgoingMembers } = configuration;
  if (phase === 'rollback') {
    return {
      kind: 'membershipRollback',
      reason,
      failingNodes,
      overrideRef: '',
      oldMembers: members,
    };
  }
  return {
    kind: 'membershipChange',
    phase,
    oldMembers: phase === 'joint' ? outgoingMembers : members,
    newMembers: members,
    routingEpoch,
    placementDigest: noPlacementDigest,
  };
}
