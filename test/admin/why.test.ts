import { describe, expect, test } from 'vitest';

import { explain, type WhyAnswer, type WhyKind } from '../../src/admin/why.ts';
import type { Incarnation, LogIndex, NodeId, ReplicaId, Term } from '../../src/base/ids.ts';
import type { HoldReason } from '../../src/codec/hold-record.ts';
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
import type { PartitionStatus } from '../../src/runtime/status.ts';
import { partition } from './admin-fixture.ts';

const everyKind: readonly WhyKind[] = ['notLeader', 'readBlocked', 'notReady'];

const smallEntries: LogMeasure = {
  fit: (_first, lastMax) => lastMax,
  bytes: (first, last) => last - first + 1,
};

function memberOf(id: number, role: MemberRole = 'voter'): Member {
  return {
    replicaId: id as ReplicaId,
    nodeId: id as NodeId,
    incarnation: `018c0d6c-9c11-7e9d-8000-00000000000${id}` as Incarnation,
    role,
    addresses: [`10.0.0.${id}:7400`],
  };
}

const voters = [memberOf(1), memberOf(2), memberOf(3)];

type Unsigned<Message> = Message extends PeerMessage
  ? Omit<Message, 'fromNode' | 'fromReplica' | 'fromIncarnation' | 'term'>
  : never;
type Said = Unsigned<PeerMessage>;

const nothing = 0 as LogIndex;

/** The real core of replica 1, driven by hand; its disk and machine are as fast as a test wants. */
class Core {
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

  acknowledgedBy(id: number): void {
    this.from(id, {
      kind: 'durabilityAck',
      lastFsyncedIndex: this.state.log.lastIndex,
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
      durability: {
        mode: 'Strict',
        wantedMode: 'Strict',
        epoch: 0,
        index: 0 as LogIndex,
        groupFsync: undefined,
      },
      lease: leaseStatus(state, this.now * tickMs),
    };
    const linksUp = this.linksUp as readonly NodeId[];
    return explain(kind, { partition: row, state, linksUp, disk: this.disk });
  }

  clauses(): readonly string[] {
    return everyKind.map((kind) => this.why(kind).clause);
  }
}

describe('a replica that knows no leader', () => {
  test('waits for an election while it reaches a quorum', () => {
    const core = new Core();
    core.pass(100);

    expect(core.clauses()).toEqual(['ElectionUnderWay', 'NoLeader', 'NoLeader']);
    expect(core.why('notLeader').explanation).toContain('preCandidate: the test said so');
    expect(core.why('notLeader').sinceMs).toBe(7);
  });

  test('names the voters that it does not reach', () => {
    const core = new Core();
    core.linksUp = [];

    expect(core.clauses()).toEqual(Array(3).fill('QuorumUnreachable'));
    expect(core.why('notReady').explanation).toBe(
      'this node reaches 1 of 3 voters; missing: 2 at 10.0.0.2:7400, 3 at 10.0.0.3:7400',
    );
  });

  test('tells since when the leader is silent', () => {
    const core = new Core();
    core.now = 10;
    core.from(
      2,
      { kind: 'heartbeat', mayHibernate: false, lease: false, round: 1, commit: nothing },
      1,
    );
    while (core.state.role === 'follower') core.pass(1);

    expect(core.why('readBlocked').clause).toBe('NoLeader');
    expect(core.why('readBlocked').sinceMs).toBe((core.now - 10) * tickMs);
  });
});

describe('a follower', () => {
  function follower(): Core {
    const core = new Core();
    core.from(
      2,
      { kind: 'heartbeat', mayHibernate: false, lease: false, round: 1, commit: nothing },
      1,
    );
    return core;
  }

  test('does not lead because another does, and is ready', () => {
    const core = follower();

    expect(core.clauses()).toEqual(['AnotherLeads', 'None', 'None']);
    expect(core.why('notLeader').explanation).toBe('node 2 leads in term 1');
    expect(core.why('notLeader').facts).toMatchObject({ leaderNodeId: '2', term: '1' });
  });

  test('serves no linearizable reads without a link to the leader', () => {
    const core = follower();
    core.linksUp = [3];

    expect(core.clauses()).toEqual(['AnotherLeads', 'LeaderUnreachable', 'None']);
  });

  test('that is a learner would not lead anyway', () => {
    const core = new Core({ members: [memberOf(1, 'learner'), memberOf(2), memberOf(3)] });
    core.from(
      2,
      { kind: 'heartbeat', mayHibernate: false, lease: false, round: 1, commit: nothing },
      1,
    );

    expect(core.why('notLeader').clause).toBe('NotAVoter');
    expect(core.why('notLeader').explanation).toContain('learner');
  });

  test('in doubt says so before anything else', () => {
    const core = new Core({ inDoubt: true });

    expect(core.clauses()).toEqual(['InDoubt', 'InDoubt', 'InDoubt']);
    expect(core.why('quarantined').clause).toBe('InDoubt');
    expect(new Core().why('quarantined').clause).toBe('None');
  });

  test.each([
    { reason: 'ApplyFault', awaitsOperator: false, says: 'restart the node' },
    { reason: 'ApplyFault', awaitsOperator: true, says: 'clustor quarantine clear --ticket' },
    { reason: 'Administrative', awaitsOperator: true, says: 'clustor quarantine clear --ticket' },
  ] as const)(
    'held by $reason says since when, and what to do',
    ({ reason, awaitsOperator, says }) => {
      const core = new Core();
      core.quarantines = [held(reason, { awaitsOperator })];

      const answer = core.why('quarantined');

      expect(answer).toMatchObject({ clause: reason, sinceMs: 7_000 });
      expect(answer.explanation).toContain('no more');
      expect(answer.advice).toContain(says);
      expect(core.why('writeBlocked').clause).toBe(reason);
    },
  );
});

function held(reason: HoldReason, seen: { readonly awaitsOperator: boolean }): QuarantineStatus {
  return { reason, sinceMs: 7_000, index: 2 as LogIndex, detail: 'no more', ticket: 'T', ...seen };
}

describe('a leader', () => {
  test('serves no reads before an entry of its own term is committed', () => {
    const core = new Core();
    core.lead();

    expect(core.clauses()).toEqual(['Leads', 'TermStartUncommitted', 'TermStartUncommitted']);
    expect(core.why('readBlocked').explanation).toContain('first entry of term 1, index 1');

    core.ownDiskDone();
    core.acknowledgedBy(2);
    expect(core.clauses()).toEqual(['Leads', 'None', 'None']);
  });

  test('serves no reads of what its own disk does not have', () => {
    const core = new Core();
    core.lead();
    core.acknowledgedBy(2);
    core.acknowledgedBy(3);

    expect(core.state.commitIndex).toBe(1);
    expect(core.clauses()).toEqual(['Leads', 'IndexInequality', 'IndexInequality']);
  });

  test('serves no reads while the machine lags, or after it stopped', () => {
    const core = new Core();
    core.lead();
    core.ownDiskDone();
    core.acknowledgedBy(2);
    core.appliedIndex = 0;
    expect(core.clauses()).toEqual(['Leads', 'ApplyBehind', 'ApplyBehind']);

    core.quarantines = [held('ApplyFault', { awaitsOperator: false })];
    expect(core.clauses()).toEqual(['Leads', 'ApplyFault', 'ApplyFault']);
  });

  test('takes no writes where the log of its partition is full', () => {
    const core = new Core();
    core.lead();
    core.ownDiskDone();
    core.acknowledgedBy(2);
    expect(core.why('writeBlocked').clause).toBe('None');

    core.logRefusal = 'the log of this partition has reached its bound';
    expect(core.why('writeBlocked').clause).toBe('PartitionLogHard');
  });

  test('serves reads though it sleeps and hears nobody', () => {
    const core = new Core();
    core.lead();
    core.ownDiskDone();
    core.acknowledgedBy(2);
    core.pass(10);
    core.echoedBy(3);
    core.state.isHibernating = true;

    core.pass(500);

    expect(core.clauses()).toEqual(['Leads', 'None', 'None']);
  });

  test('serves no reads once its quorum is silent, and says who is and for how long', () => {
    const core = new Core();
    core.lead();
    core.ownDiskDone();
    core.acknowledgedBy(2);
    core.pass(10);
    core.echoedBy(3);
    expect(core.clauses()).toEqual(['Leads', 'None', 'None']);

    core.pass(20);
    expect(core.clauses()).toEqual(['Leads', 'QuorumUnconfirmed', 'QuorumUnconfirmed']);
    expect(core.why('readBlocked').sinceMs).toBe(20 * tickMs);
    expect(core.why('readBlocked').explanation).toContain('2 at 10.0.0.2:7400, 3 at 10.0.0.3:7400');

    core.echoedBy(3);
    expect(core.clauses()).toEqual(['Leads', 'None', 'None']);
  });
});

test('in a joint phase both halves must be reached', () => {
  const core = new Core();
  core.state.configurations = [
    {
      term: 0 as Term,
      index: 0 as LogIndex,
      members: voters,
      outgoingMembers: [memberOf(1), memberOf(4), memberOf(5)],
    },
  ];
  core.pass(1);
  expect(core.why('notLeader').clause).toBe('QuorumUnreachable');
  expect(core.why('notLeader').explanation).toContain('3 of 5 voters; missing: 4 at');

  core.linksUp = [2, 4];
  expect(core.why('notLeader').clause).toBe('ElectionUnderWay');
});

describe('a disk', () => {
  test.each([
    ['none', 'none', 'None'],
    ['soft', 'fileSystem', 'DiskSoft'],
    ['soft', 'log', 'LogSoft'],
    ['hard', 'fileSystem', 'DiskHard'],
    ['hard', 'log', 'LogHard'],
    ['hard', 'refused', 'DiskRefused'],
  ] as const)(
    'under %s pressure for want of %s is explained by %s',
    (pressure, shortage, clause) => {
      const core = new Core();
      core.disk = { ...core.disk, pressure, shortage };

      const { clause: named, sinceMs, explanation } = core.why('diskBlocked');

      expect(named).toBe(clause);
      expect(sinceMs).toBe(pressure === 'none' ? 7 : 42);
      expect(explanation).toMatch(/of 1\.00 TiB|of 16\.0 GiB/);
    },
  );
});
