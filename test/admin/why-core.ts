/** The real core of a replica, driven by hand, and what is answered about it. */
import { expect } from 'vitest';

import { explain, type WhyAnswer, type WhyKind } from '../../src/admin/why.ts';
import type { Incarnation, LogIndex, NodeId, ReplicaId, Term } from '../../src/base/ids.ts';
import type { Member, MemberRole } from '../../src/base/membership.ts';
import {
  createRaftState,
  defaultRaftSettings,
  leaderNodeId,
  leaseStatus,
  start,
  step,
  tickMs,
  walCommittedIndex,
  type Effect,
  type Input,
  type LogMeasure,
  type PeerMessage,
  type RaftState,
} from '../../src/raft/index.ts';
import type { DiskStatus } from '../../src/storage/disk-guard.ts';
import type { QuarantineStatus } from '../../src/runtime/quarantine-desk.ts';
import type { SnapshotStatus } from '../../src/runtime/snapshot-desk.ts';
import type { PartitionStatus } from '../../src/runtime/status.ts';
import { partition } from './admin-fixture.ts';

const smallEntries: LogMeasure = {
  fit: (_first, lastMax) => lastMax,
  bytes: (first, last) => last - first + 1,
};

/** A member on the node of its number. */
export function memberOf(id: number, role: MemberRole = 'voter'): Member {
  return {
    replicaId: id as ReplicaId,
    nodeId: id as NodeId,
    incarnation: `018c0d6c-9c11-7e9d-8000-00000000000${id}` as Incarnation,
    role,
    addresses: [`10.0.0.${id}:7400`],
  };
}

/** Of the configuration, unless a test says otherwise. */
export const voters = [memberOf(1), memberOf(2), memberOf(3)];

type Unsigned<Message> = Message extends PeerMessage
  ? Omit<Message, 'fromNode' | 'fromReplica' | 'fromIncarnation' | 'term'>
  : never;
type Said = Unsigned<PeerMessage>;

/** The index before the first entry. */
export const nothing = 0 as LogIndex;

/** The real core of replica 1, driven by hand; its disk and machine are as fast as a test wants. */
export class Core {
  readonly state: RaftState;
  now = 0;
  linksUp: readonly number[] = [2, 3];
  disk: DiskStatus = {
    pressure: 'none',
    shortage: 'none',
    sinceMs: 42,
    totalBytes: 2 ** 40,
    freeBytes: 2 ** 39,
    logBytes: 2 ** 20,
    logBytesMax: 2 ** 34,
    reserveSegments: 2,
    refusedWrites: 0,
  };
  appliedIndex: number | undefined;
  quarantines: readonly QuarantineStatus[] = [];
  logRefusal: string | undefined;
  snapshots: SnapshotStatus | undefined;

  constructor(options: { readonly members?: readonly Member[]; readonly inDoubt?: boolean } = {}) {
    const { members = voters, inDoubt = false } = options;
    this.state = createRaftState({
      selfNode: 1 as NodeId,
      selfReplica: 1 as ReplicaId,
      selfIncarnation: memberOf(1).incarnation,
      settings: defaultRaftSettings,
      term: 0 as Term,
      votedFor: undefined,
      baseIndex: 0 as LogIndex,
      baseTerm: 0 as Term,
      termRuns: [],
      lastIndex: 0 as LogIndex,
      recordedCommitIndex: 0 as LogIndex,
      configurations: [{ term: 0 as Term, index: 0 as LogIndex, members, outgoingMembers: [] }],
      ledgerSeq: 1,
      inDoubt,
      now: 0,
      seed: 1,
    });
    start(this.state);
  }

  input(input: Input): readonly Effect[] {
    const effects: Effect[] = [];
    step(this.state, input, {
      now: this.now,
      clockMs: this.now * tickMs,
      log: smallEntries,
      effects,
    });
    return effects;
  }

  /** Replica `id` says something, in this replica's term unless it names another. */
  from(id: number, said: Said, term: number = this.state.term): void {
    const { nodeId, replicaId, incarnation } = memberOf(id);
    const sender = { fromNode: nodeId, fromReplica: replicaId, fromIncarnation: incarnation };
    this.input({ kind: 'message', message: { ...sender, ...said, term: term as Term } });
  }

  pass(ticks: number): void {
    for (let tick = 0; tick < ticks; tick++) {
      this.now++;
      this.input({ kind: 'tick' });
    }
  }

  /** Wins the election with the vote of replica 2; its first entry is on no disk yet. */
  lead(): void {
    while (this.state.role === 'follower') this.pass(1);
    this.from(
      2,
      { kind: 'preVoteResponse', highRtt: false, voteGranted: true },
      this.state.term + 1,
    );
    const { term, votedFor } = this.state;
    this.input({ kind: 'hardStateDurable', term, votedFor });
    this.from(2, { kind: 'voteResponse', voteGranted: true });
    expect(this.state.role).toBe('leader');
  }

  ownDiskDone(): void {
    const { appendSequence, log, term } = this.state;
    this.input({ kind: 'durable', appendSequence, index: log.lastIndex, term, ledgerSeq: 2 });
  }

  acknowledgedBy(id: number, lastFsyncedIndex = this.state.log.lastIndex): void {
    this.from(id, {
      kind: 'durabilityAck',
      lastFsyncedIndex,
      ledgerSeq: 2,
    });
  }

  echoedBy(id: number): void {
    this.from(id, {
      kind: 'heartbeatEcho',
      round: this.state.leader?.round ?? 0,
      inDoubt: false,
      isHibernating: false,
      needsLeader: false,
      clockAlarm: false,
      electionTimeoutMsMin: 300,
    });
  }

  why(kind: WhyKind): WhyAnswer {
    const { state } = this;
    const row: PartitionStatus = {
      partitionId: partition,
      replicaId: state.selfReplica,
      incarnation: state.selfIncarnation,
      role: state.role,
      roleSinceMs: 7,
      roleReason: 'the test said so',
      term: state.term,
      leaderNodeId: leaderNodeId(state),
      leaderAddress: undefined,
      lastIndex: state.log.lastIndex,
      durableIndex: state.durableIndex,
      verifiedIndex: state.verifiedIndex,
      commitIndex: state.commitIndex,
      walCommittedIndex: walCommittedIndex(state),
      appliedIndex: (this.appliedIndex ?? walCommittedIndex(state)) as LogIndex,
      baseIndex: state.log.baseIndex,
      inDoubt: state.inDoubt,
      quarantines: this.quarantines,
      applyFault: undefined,
      logRefusal: this.logRefusal,
      proposalsWaiting: 0,
      proposalsAppended: 0,
      readsWaiting: 0,
      localAppendsPending: 0,
      idempotencyRows: 0,
      tailBytes: 0,
      members: [],
      joint: undefined,
      transferToNodeId: undefined,
      configurationIndex: 0 as LogIndex,
      configurationCommitted: true,
      isMember: true,
      isHibernating: false,
      leaves: { wanted: 'none', used: 'none', failedClause: 'None', nodeId: undefined },
      durability: {
        mode: 'Strict',
        wantedMode: 'Strict',
        epoch: 0,
        index: 0 as LogIndex,
        groupFsync: undefined,
      },
      lease: leaseStatus(state, this.now * tickMs),
      snapshots: this.snapshots,
    };
    const linksUp = this.linksUp as readonly NodeId[];
    return explain(kind, { partition: row, state, linksUp, disk: this.disk });
  }

  /** What is answered to each of these. */
  clauses(kinds: readonly WhyKind[]): readonly string[] {
    return kinds.map((kind) => this.why(kind).clause);
  }
}
