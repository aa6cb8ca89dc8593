/** Answers to "why not": the first clause that fails, in the order in which the code itself checks them (semantics §12). */
import type { PartitionStatus } from '../runtime/status.ts';

/** What can be asked. @public */
export type WhyKind = 'notLeader' | 'readBlocked' | 'notReady';

/** An answer. @public */
export interface WhyAnswer {
  /** Stable name of the first clause that fails; `None` when nothing stands in the way. */
  readonly clause: string;
  readonly explanation: string;
  /** What to do next. */
  readonly advice: string;
  /** For how long the replica has been in its present role, in milliseconds. */
  readonly sinceMs: number;
  readonly facts: Readonly<Record<string, string>>;
}

/** What the answers rest on. */
export interface WhyInput {
  readonly partition: PartitionStatus;
  readonly linksUp: readonly number[];
  readonly nodeId: number;
}

interface Clause {
  readonly clause: string;
  readonly explanation: string;
  readonly advice: string;
}

const none: Clause = { clause: 'None', explanation: 'nothing stands in the way', advice: 'Nothing to do.' };

/** Explains one replica. */
export function explain(kind: WhyKind, input: WhyInput): WhyAnswer {
  const clause = clauseOf(kind, input);
  const { partition, linksUp } = input;
  return {
    ...clause,
    sinceMs: partition.roleSinceMs,
    facts: {
      role: partition.role,
      roleReason: partition.roleReason,
      term: partition.term.toString(),
      leaderNodeId: partition.leaderNodeId?.toString() ?? 'none',
      commitIndex: partition.commitIndex.toString(),
      walCommittedIndex: partition.walCommittedIndex.toString(),
      appliedIndex: partition.appliedIndex.toString(),
      durableIndex: partition.durableIndex.toString(),
      linksUp: linksUp.join(','),
    },
  };
}

function clauseOf(kind: WhyKind, input: WhyInput): Clause {
  switch (kind) {
    case 'notLeader':
      return notLeader(input) ?? none;
    case 'readBlocked':
      return faulty(input) ?? readBlocked(input) ?? none;
    case 'notReady':
      return faulty(input) ?? notReady(input) ?? none;
  }
}

/** What keeps a replica from everything. */
function faulty({ partition }: WhyInput): Clause | undefined {
  if (partition.applyFault !== undefined) {
    return { clause: 'ApplyFault', explanation: `the state machine stopped applying: ${partition.applyFault}`, advice: 'Mend the state machine and restart the node; voting and acknowledging go on meanwhile.' };
  }
  if (partition.inDoubt) {
    return { clause: 'InDoubt', explanation: 'this replica cannot prove what it once acknowledged, so it neither votes nor acknowledges (KER-9)', advice: 'Keep its files, look at its boot_record.json, and bring it back as a new incarnation.' };
  }
  return undefined;
}

function notLeader(input: WhyInput): Clause | undefined {
  const { partition } = input;
  if (partition.role === 'leader') return undefined;
  const fault = faulty(input);
  if (fault?.clause === 'InDoubt') return fault;
  const own = partition.members.find((member) => member.replicaId === partition.replicaId);
  if (own?.role !== 'voter') return { clause: 'NotAVoter', explanation: `this replica is ${own === undefined ? 'no member of the configuration' : `a ${own.role}`}`, advice: 'Only voters lead; change the membership to make it one.' };
  if (partition.leaderNodeId !== undefined) {
    return { clause: 'AnotherLeads', explanation: `node ${partition.leaderNodeId} leads in term ${partition.term}`, advice: 'Send writes there; clients and followers do so by themselves.' };
  }
  return noQuorum(input) ?? { clause: 'ElectionUnderWay', explanation: `no leader is known; this replica is ${partition.role}: ${partition.roleReason}`, advice: 'Wait for the election; if it lasts, look at the other nodes.' };
}

/** Too few links for any election. */
function noQuorum({ partition, linksUp, nodeId }: WhyInput): Clause | undefined {
  const voters = partition.members.filter((member) => member.role === 'voter');
  const reachable = voters.filter((member) => member.nodeId === nodeId || linksUp.includes(member.nodeId));
  if (reachable.length > voters.length / 2) return undefined;
  const missing = voters.filter((member) => !reachable.includes(member)).map((member) => `${member.nodeId} at ${member.addresses[0] ?? 'no address'}`);
  return { clause: 'QuorumUnreachable', explanation: `this node reaches ${reachable.length} of ${voters.length} voters; missing: ${missing.join(', ')}`, advice: 'Start the missing nodes or mend the network to them.' };
}

function readBlocked(input: WhyInput): Clause | undefined {
  const { partition } = input;
  if (partition.role !== 'leader') {
    if (partition.leaderNodeId === undefined) return noQuorum(input) ?? { clause: 'NoLeader', explanation: 'no leader is known that could confirm a read index', advice: 'Wait for an election; if it lasts, look at the other nodes.' };
    return applyBehind(partition);
  }
  if (partition.walCommittedIndex < partition.commitIndex) {
    return { clause: 'IndexInequality', explanation: `entry ${partition.commitIndex} is committed, this leader's own disk has up to ${partition.walCommittedIndex}`, advice: 'The disk is behind; look at its sync latency in `clustor status`.' };
  }
  const own = partition.members.filter((member) => member.role === 'voter' && member.matchIndex !== undefined && member.matchIndex > 0);
  if (own.length <= partition.members.filter((member) => member.role === 'voter').length / 2) {
    return { clause: 'QuorumUnconfirmed', explanation: 'no quorum has acknowledged anything to this leader yet', advice: 'Reads wait until a quorum confirms its leadership; look at the other nodes.' };
  }
  return applyBehind(partition);
}

function notReady(input: WhyInput): Clause | undefined {
  const { partition } = input;
  if (partition.role !== 'leader' && partition.leaderNodeId === undefined) return readBlocked(input);
  return applyBehind(partition);
}

function applyBehind(partition: PartitionStatus): Clause | undefined {
  if (partition.appliedIndex >= partition.commitIndex) return undefined;
  return { clause: 'ApplyBehind', explanation: `applied up to ${partition.appliedIndex} of ${partition.commitIndex} committed entries`, advice: 'The state machine is catching up; wait, or make apply cheaper.' };
}
