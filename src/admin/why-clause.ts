/** What answers to "why not" are made of. */
import type { NodeId } from '../base/ids.ts';
import type { Member } from '../base/membership.ts';
import type { RaftState } from '../raft/index.ts';
import type { PartitionStatus } from '../runtime/status.ts';
import type { DiskStatus } from '../storage/disk-guard.ts';

/** What the answers rest on, all of one moment. */
export interface WhyInput {
  readonly partition: PartitionStatus;
  /** The replica's core; only looked at. */
  readonly state: RaftState;
  /** Nodes that this one can send to. */
  readonly linksUp: readonly NodeId[];
  /** How full the node's disk is. */
  readonly disk: DiskStatus;
}

/** What stands in the way. */
export interface Clause {
  readonly clause: string;
  readonly explanation: string;
  readonly advice: string;
  /** Set where something better than the age of the role is known. */
  readonly sinceMs?: number;
}

/** Nothing stands in the way. */
export const none: Clause = {
  clause: 'None',
  explanation: 'nothing stands in the way',
  advice: 'Nothing to do.',
};

/** A member for people: its node, and where that is. */
export function whereabouts(member: Member): string {
  return `${member.nodeId} at ${member.addresses[0] ?? 'no address'}`;
}
