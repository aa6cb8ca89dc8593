/**
 * Answers to "why not": the first clause that fails, in the order in which the code itself checks them (specification §12).
 *
 * An answer looks at the core's own state and not at a summary of it, so that it cannot contradict what the replica does:
 *
 * | asked | clauses, in order |
 * | --- | --- |
 * | `quarantined` | Integrity, InDoubt, ApplyFault, Administrative |
 * | `notLeader` | Integrity, InDoubt, NotAVoter, GaveUpLeadership, AnotherLeads, QuorumUnreachable, ElectionUnderWay |
 * | `readBlocked` at a leader | ApplyFault, Administrative, Integrity, InDoubt, SnapshotMissing, QuorumUnconfirmed, TermStartUncommitted, IndexInequality, ApplyBehind |
 * | `readBlocked` elsewhere | ApplyFault, Administrative, Integrity, InDoubt, SnapshotMissing, QuorumUnreachable, NoLeader, LeaderUnreachable, IndexInequality, ApplyBehind |
 * | `writeBlocked` at a leader | ApplyFault, Administrative, Integrity, InDoubt, SnapshotMissing, those of `diskBlocked` that are hard, PartitionLogHard, TransferUnderWay, QuorumUnconfirmed, TermStartUncommitted, NotDurableAtAQuorum |
 * | `writeBlocked` elsewhere | ApplyFault, Administrative, Integrity, InDoubt, SnapshotMissing, QuorumUnreachable, NoLeader, LeaderUnreachable |
 * | `notReady` | like `readBlocked`, without LeaderUnreachable |
 * | `membershipBlocked` at a leader | TermStartUncommitted, JointMajorityMissing, JointPhase, ChangeUncommitted, TransferUnderWay |
 * | `membershipBlocked` elsewhere | JointMajorityMissing, QuorumUnreachable, AnotherLeads, ElectionUnderWay |
 * | `diskBlocked` | DiskRefused, DiskHard, LogHard, DiskSoft, LogSoft |
 * | `snapshotBlocked` | NoCryptography, SnapshotMissing, SnapshotWanted, Integrity, InDoubt, ApplyFault, Administrative, AttemptFailed, MemberBehind, SnapshotLeased |
 *
 * Facts always name `lease` and `leaseReason`: whether reads are served without a round, and the first guard that says no
 * (`raft/lease.ts`).
 *
 * `Leads` answers `notLeader` at a leader; `None` says that nothing stands in the way.
 */
import { unreachable } from '../base/assert.ts';
import { isSameLife, type Member } from '../base/membership.ts';
import {
  activeConfiguration,
  hasMajority,
  hasQuorum,
  isJoint,
  isVoter,
  selfLife,
  tickMs,
  votersOf,
  votersOfBoth,
  type LeaderState,
  type RaftState,
} from '../raft/index.ts';
import { none, whereabouts, type Clause, type WhyInput } from './why-clause.ts';
import { diskBlocked } from './why-disk.ts';
import { held, inDoubt } from './why-quarantine.ts';
import { snapshotBlocked, snapshotMissing } from './why-snapshots.ts';

/** What can be asked. @public */
export type WhyKind =
  | 'notLeader'
  | 'readBlocked'
  | 'writeBlocked'
  | 'notReady'
  | 'membershipBlocked'
  | 'diskBlocked'
  | 'quarantined'
  | 'snapshotBlocked';

/** An answer. @public */
export interface WhyAnswer {
  /** Stable name of the first clause that fails; `Leads` or `None` when nothing does. */
  readonly clause: string;
  readonly explanation: string;
  /** What to do next. */
  readonly advice: string;
  /** For how long, in milliseconds: since the last word of those who are missing, otherwise since the role last changed. */
  readonly sinceMs: number;
  readonly facts: Readonly<Record<string, string>>;
}

/** Rounds that may go unanswered before a leader is said to be alone. */
const silentHeartbeatsMax = 3;

/** Explains one replica. */
export function explain(kind: WhyKind, input: WhyInput): WhyAnswer {
  const { partition, state, linksUp, disk } = input;
  const { sinceMs = partition.roleSinceMs, ...clause } = clauseOf(kind, input);
  return {
    ...clause,
    sinceMs,
    facts: {
      role: partition.role,
      roleReason: partition.roleReason,
      term: partition.term.toString(),
      leaderNodeId: partition.leaderNodeId?.toString() ?? 'none',
      ...(state.leader === undefined
        ? {}
        : { termStartIndex: state.leader.termStartIndex.toString() }),
      commitIndex: partition.commitIndex.toString(),
      walCommittedIndex: partition.walCommittedIndex.toString(),
      appliedIndex: partition.appliedIndex.toString(),
      durableIndex: partition.durableIndex.toString(),
      baseIndex: partition.baseIndex.toString(),
      lease: partition.lease.state,
      leaseReason: partition.lease.reason,
      linksUp: linksUp.join(','),
      diskPressure: disk.pressure,
      diskFreeBytes: disk.freeBytes.toString(),
      logBytes: disk.logBytes.toString(),
    },
  };
}

function clauseOf(kind: WhyKind, input: WhyInput): Clause {
  switch (kind) {
    case 'notLeader':
      return notLeader(input);
    case 'readBlocked':
      return useless(input) ?? readBlocked(input) ?? none;
    case 'writeBlocked':
      return useless(input) ?? writeBlocked(input) ?? none;
    case 'notReady':
      return useless(input) ?? notReady(input) ?? none;
    case 'membershipBlocked':
      return membershipBlocked(input) ?? none;
    case 'diskBlocked':
      return diskBlocked(input);
    case 'quarantined':
      return inDoubt(input) ?? held(input) ?? none;
    case 'snapshotBlocked':
      return snapshotBlocked(input);
    default:
      return unreachable(kind);
  }
}

/** Whatever the others do, this replica serves nobody. */
function useless(input: WhyInput): Clause | undefined {
  return held(input) ?? inDoubt(input) ?? snapshotMissing(input);
}

function notLeader(input: WhyInput): Clause {
  const { partition, state } = input;
  if (state.role === 'leader') {
    return {
      clause: 'Leads',
      explanation: `this replica leads in term ${state.term}: ${partition.roleReason}`,
      advice: 'Nothing to do.',
    };
  }
  return (
    inDoubt(input) ??
    notAVoter(input) ??
    gaveUpLeadership(input) ??
    anotherLeads(input) ??
    quorumUnreachable(input) ??
    electing(input)
  );
}

function membershipBlocked(input: WhyInput): Clause | undefined {
  const { state } = input;
  const { leader } = state;
  if (leader === undefined)
    return (
      jointMajorityMissing(input) ??
      quorumUnreachable(input) ??
      anotherLeads(input) ??
      electing(input)
    );
  return (
    termStartUncommitted(input, leader) ??
    jointMajorityMissing(input) ??
    changeInFlight(input) ??
    transferUnderWay(input)
  );
}

/** In a joint phase both halves must be there; which one is not, and whom to bring back. */
function jointMajorityMissing({ state, linksUp, partition }: WhyInput): Clause | undefined {
  const configuration = activeConfiguration(state);
  if (!isJoint(configuration)) return undefined;
  const isReached = (member: Member): boolean =>
    member.nodeId === state.selfNode || linksUp.includes(member.nodeId);
  const halves = [
    { name: 'new', members: configuration.members },
    { name: 'old', members: configuration.outgoingMembers },
  ];
  const lost = halves.filter(({ members }) => !hasMajority(members, isReached));
  if (lost.length === 0) return undefined;
  const texts = lost.map(({ name, members }) => {
    const voters = votersOf(members);
    const missing = voters.filter((member) => !isReached(member));
    return `the ${name} voters lack a majority: ${voters.length - missing.length} of ${voters.length} are reached, missing ${missing.map(whereabouts).join(', ')}`;
  });
  const canGoBack = state.leader !== undefined && configuration.term === state.term;
  return {
    clause: 'JointMajorityMissing',
    explanation: `a change of voters is under way, begun by entry ${configuration.index}; ${texts.join('; ')}`,
    advice: canGoBack
      ? 'This leader goes back to the old voters within seconds; `clustor members rollback` does so at once.'
      : 'Start enough of the missing nodes for a majority of both lists; the change then ends by itself.',
    ...(partition.joint === undefined || state.leader === undefined
      ? {}
      : { sinceMs: partition.joint.sinceMs }),
  };
}

function changeInFlight({ state, partition }: WhyInput): Clause | undefined {
  const { joint } = partition;
  const { index } = activeConfiguration(state);
  if (joint !== undefined) {
    return {
      clause: 'JointPhase',
      explanation: `a change of voters is under way, begun by entry ${index}: ${joint.committed} of ${joint.needed} entries are committed by both lists${joint.rollbackReason === undefined ? '' : `; it goes back: ${joint.rollbackReason}`}`,
      advice: 'Wait; the phase ends by itself within seconds.',
      sinceMs: joint.sinceMs,
    };
  }
  if (index <= state.commitIndex) return undefined;
  return {
    clause: 'ChangeUncommitted',
    explanation: `the last change, entry ${index}, is not committed yet; commit index ${state.commitIndex}`,
    advice: 'Wait until a quorum has it on disk; if it lasts, look at the voters.',
  };
}

function transferUnderWay({ partition }: WhyInput): Clause | undefined {
  if (partition.transferToNodeId === undefined) return undefined;
  return {
    clause: 'TransferUnderWay',
    explanation: `leadership is being handed to node ${partition.transferToNodeId}`,
    advice: 'Wait; it ends within an election timeout.',
  };
}

function electing({ partition, state }: WhyInput): Clause {
  return {
    clause: 'ElectionUnderWay',
    explanation: `no leader is known; this replica is ${state.role}: ${partition.roleReason}`,
    advice: 'Wait for the election; if it lasts, look at the other nodes.',
    ...leaderSilence(state),
  };
}

function readBlocked(input: WhyInput): Clause | undefined {
  const { state } = input;
  if (state.leader !== undefined) return leaderReads(input, state.leader);
  return leaderless(input) ?? leaderUnreachable(input) ?? behind(input);
}

function writeBlocked(input: WhyInput): Clause | undefined {
  const { leader } = input.state;
  if (leader === undefined) return leaderless(input) ?? leaderUnreachable(input);
  return (
    (input.disk.pressure === 'hard' ? diskBlocked(input) : undefined) ??
    logFull(input) ??
    transferUnderWay(input) ??
    quorumUnconfirmed(input, leader) ??
    termStartUncommitted(input, leader) ??
    notDurable(input, leader)
  );
}

/** The log of this partition alone is at its bound. */
function logFull({ partition }: WhyInput): Clause | undefined {
  const { logRefusal } = partition;
  if (logRefusal === undefined) return undefined;
  return {
    clause: 'PartitionLogHard',
    explanation: `${logRefusal}; entries of clients are refused, and other partitions go on`,
    advice:
      'Raise storage.partitionLogBytesMax in the configuration and restart the node, if logBytesMax and the disk have the room.',
  };
}

/** Entries wait for the disks of a quorum: whose word is missing. */
function notDurable({ state }: WhyInput, leader: LeaderState): Clause | undefined {
  const { lastIndex } = state.log;
  if (state.commitIndex >= lastIndex) return undefined;
  const behind = votersOfBoth(activeConfiguration(state)).filter((voter) => {
    if (isSameLife(voter, selfLife(state))) return state.durableIndex < lastIndex;
    const row = leader.progress.find(({ member }) => isSameLife(member, voter));
    return row === undefined || row.inDoubt || row.matchIndex < lastIndex;
  });
  const nodes = behind.map(({ nodeId }) => nodeId).join(', ');
  return {
    clause: 'NotDurableAtAQuorum',
    explanation: `entries up to ${lastIndex} are appended, a quorum has made them durable up to ${state.commitIndex}; those of nodes ${nodes} are not on their disks yet`,
    advice:
      'It is a matter of milliseconds unless it stays: then look at the disks of the nodes named (`clustor status`).',
  };
}

function notReady(input: WhyInput): Clause | undefined {
  const { state } = input;
  if (state.leader !== undefined) return leaderReads(input, state.leader);
  return leaderless(input) ?? behind(input);
}

function leaderReads(input: WhyInput, leader: LeaderState): Clause | undefined {
  return quorumUnconfirmed(input, leader) ?? termStartUncommitted(input, leader) ?? behind(input);
}

function notAVoter({ state }: WhyInput): Clause | undefined {
  const configuration = activeConfiguration(state);
  if (isVoter(configuration, selfLife(state))) return undefined;
  const own = configuration.members.find((member) => member.replicaId === state.selfReplica);
  return {
    clause: 'NotAVoter',
    explanation: `this replica is ${own === undefined ? 'no member of the configuration' : `its ${own.role}`}`,
    advice: 'Only voters lead; change the membership to make it one.',
  };
}

/** It led last, and let go of its own accord (ELE-8); with the election after the next this is no reason any more. */
function gaveUpLeadership({ state }: WhyInput): Clause | undefined {
  const { givenUp, leaderContact } = state;
  if (givenUp === undefined || state.term > givenUp.term + 1) return undefined;
  const next =
    leaderContact === undefined
      ? 'no other leader is known yet'
      : `node ${leaderContact.nodeId} leads in term ${state.term}`;
  return {
    clause: 'GaveUpLeadership',
    explanation: `this replica led in term ${givenUp.term} and gave leadership up: ${givenUp.reason}; ${next}`,
    advice: 'Mend what the reason names; `clustor transfer-leader` brings leadership back.',
  };
}

function anotherLeads({ state }: WhyInput): Clause | undefined {
  if (state.leaderContact === undefined) return undefined;
  return {
    clause: 'AnotherLeads',
    explanation: `node ${state.leaderContact.nodeId} leads in term ${state.term}`,
    advice: 'Send writes there; clients and followers do so by themselves.',
  };
}

/** No leader is known, for want of links or of time. */
function leaderless(input: WhyInput): Clause | undefined {
  const { state } = input;
  if (state.leaderContact !== undefined) return undefined;
  return (
    quorumUnreachable(input) ?? {
      clause: 'NoLeader',
      explanation: 'no leader is known that could confirm a read index',
      advice: 'Wait for an election; if it lasts, look at the other nodes.',
      ...leaderSilence(state),
    }
  );
}

/** Too few links for any election. */
function quorumUnreachable({ state, linksUp }: WhyInput): Clause | undefined {
  const configuration = activeConfiguration(state);
  const isReached = (member: Member): boolean =>
    member.nodeId === state.selfNode || linksUp.includes(member.nodeId);
  if (hasQuorum(configuration, isReached)) return undefined;
  const voters = votersOfBoth(configuration);
  const reached = voters.filter(isReached);
  const missing = voters.filter((member) => !isReached(member)).map(whereabouts);
  return {
    clause: 'QuorumUnreachable',
    explanation: `this node reaches ${reached.length} of ${voters.length} voters; missing: ${missing.join(', ')}`,
    advice: 'Start the missing nodes or mend the network to them.',
    ...leaderSilence(state),
  };
}

/** A follower's reads ask the leader over the own link to it. */
function leaderUnreachable({ state, linksUp }: WhyInput): Clause | undefined {
  const leader = state.leaderContact?.nodeId;
  if (leader === undefined || linksUp.includes(leader)) return undefined;
  return {
    clause: 'LeaderUnreachable',
    explanation: `node ${leader} leads, but this node has no connection to it over which to ask for a read index`,
    advice: 'Mend the network to the leader, or read at another node.',
  };
}

/** Who leads must hear a quorum all the time; reads wait for it, and soon it will step down (specification §2.2). */
function quorumUnconfirmed({ state }: WhyInput, leader: LeaderState): Clause | undefined {
  // Asleep nobody is heard, and that is as it should be: a request wakes them all (specification §2.5).
  if (state.isHibernating) return undefined;
  const patience = silentHeartbeatsMax * state.settings.heartbeatTicks;
  const heardTickOf = (member: Member): number => {
    if (isSameLife(member, selfLife(state))) return state.now;
    const row = leader.progress.find((progress) => isSameLife(progress.member, member));
    return row === undefined || row.inDoubt ? Number.NEGATIVE_INFINITY : row.heardTick;
  };
  const isHeard = (member: Member): boolean => state.now - heardTickOf(member) <= patience;
  const configuration = activeConfiguration(state);
  if (hasQuorum(configuration, isHeard)) return undefined;
  const silent = votersOfBoth(configuration).filter((member) => !isHeard(member));
  const newest = Math.max(...silent.map(heardTickOf));
  return {
    clause: 'QuorumUnconfirmed',
    explanation: `this leader hears no quorum; silent or in doubt: ${silent.map(whereabouts).join(', ')}`,
    advice: 'Look at the silent nodes; this leader steps down if they stay silent.',
    ...(Number.isFinite(newest) ? { sinceMs: (state.now - newest) * tickMs } : {}),
  };
}

/** What earlier terms left is not known to be committed before an entry of the own term is (Raft §5.4.2, specification §2.1). */
function termStartUncommitted({ state }: WhyInput, leader: LeaderState): Clause | undefined {
  if (state.commitIndex >= leader.termStartIndex) return undefined;
  return {
    clause: 'TermStartUncommitted',
    explanation: `the first entry of term ${state.term}, index ${leader.termStartIndex}, is not committed; commit index ${state.commitIndex}`,
    advice: 'Wait until a quorum has it on disk; if it lasts, look at the disks of the voters.',
  };
}

/** The own disk, then the state machine, has not come as far as the log. */
function behind({ partition }: WhyInput): Clause | undefined {
  const { appliedIndex, commitIndex, walCommittedIndex } = partition;
  if (walCommittedIndex < commitIndex) {
    return {
      clause: 'IndexInequality',
      explanation: `entry ${commitIndex} is committed, this node's own disk has up to ${walCommittedIndex}`,
      advice: 'The disk is behind; look at its sync latency in `clustor status`.',
    };
  }
  if (appliedIndex >= commitIndex) return undefined;
  return {
    clause: 'ApplyBehind',
    explanation: `applied up to ${appliedIndex} of ${commitIndex} committed entries`,
    advice: 'The state machine is catching up; wait, or make apply cheaper.',
  };
}

/** Since when the leader has not been heard, if it ever was. */
function leaderSilence(state: RaftState): { readonly sinceMs?: number } {
  const silentTicks = state.now - state.leaderHeardTick;
  return Number.isFinite(silentTicks) ? { sinceMs: silentTicks * tickMs } : {};
}
