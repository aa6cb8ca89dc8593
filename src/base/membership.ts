/** Who takes part in a partition (specification §1 Identity, §3.1). */
import type { Incarnation, LogIndex, NodeId, ReplicaId, Term } from './ids.ts';

/** What a member may do: voters are counted; learners receive and are not; observers receive at a capped rate. @public */
export type MemberRole = 'voter' | 'learner' | 'observer';

/** One life of a replica: what is counted, and what a vote is given to. @public */
export interface ReplicaLife {
  readonly replicaId: ReplicaId;
  /** The life of the replica's files that may vote and be counted. */
  readonly incarnation: Incarnation;
}

/** One replica in a configuration. @public */
export interface Member extends ReplicaLife {
  readonly nodeId: NodeId;
  readonly role: MemberRole;
  /** `host:port` of the node's TLS port, most preferred first. */
  readonly addresses: readonly string[];
}

/** Whether both name the same life of the same replica. */
export function isSameLife(left: ReplicaLife, right: ReplicaLife): boolean {
  return left.replicaId === right.replicaId && left.incarnation === right.incarnation;
}

/** A configuration in force from the moment its entry is appended. @public */
export interface Configuration {
  /** Term of the entry that brought it; 0 for the one that `init` wrote. */
  readonly term: Term;
  /** Index of that entry; 0 for the one that `init` wrote. */
  readonly index: LogIndex;
  /** The members; in a joint phase the new list. */
  readonly members: readonly Member[];
  /** In a joint phase the full old list, otherwise empty. */
  readonly outgoingMembers: readonly Member[];
}
