import { describe, expect, test } from 'vitest';

import type { WhyKind } from '../../src/admin/why.ts';
import type { LogIndex, Term } from '../../src/base/ids.ts';
import type { HoldReason } from '../../src/codec/hold-record.ts';
import { tickMs } from '../../src/raft/index.ts';
import type { QuarantineStatus } from '../../src/runtime/quarantine-desk.ts';
import { Core, memberOf, nothing, voters } from './why-core.ts';

const everyKind: readonly WhyKind[] = ['notLeader', 'readBlocked', 'notReady'];

describe('a replica that knows no leader', () => {
  test('waits for an election while it reaches a quorum', () => {
    const core = new Core();
    core.pass(100);

    expect(core.clauses(everyKind)).toEqual(['ElectionUnderWay', 'NoLeader', 'NoLeader']);
    expect(core.why('notLeader').explanation).toContain('preCandidate: the test said so');
    expect(core.why('notLeader').sinceMs).toBe(7);
  });

  test('names the voters that it does not reach', () => {
    const core = new Core();
    core.linksUp = [];

    expect(core.clauses(everyKind)).toEqual(Array(3).fill('QuorumUnreachable'));
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

    expect(core.clauses(everyKind)).toEqual(['AnotherLeads', 'None', 'None']);
    expect(core.why('notLeader').explanation).toBe('node 2 leads in term 1');
    expect(core.why('notLeader').facts).toMatchObject({ leaderNodeId: '2', term: '1' });
  });

  test('serves no linearizable reads without a link to the leader', () => {
    const core = follower();
    core.linksUp = [3];

    expect(core.clauses(everyKind)).toEqual(['AnotherLeads', 'LeaderUnreachable', 'None']);
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

    expect(core.clauses(everyKind)).toEqual(['InDoubt', 'InDoubt', 'InDoubt']);
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

    expect(core.clauses(everyKind)).toEqual([
      'Leads',
      'TermStartUncommitted',
      'TermStartUncommitted',
    ]);
    expect(core.why('readBlocked').explanation).toContain('first entry of term 1, index 1');

    core.ownDiskDone();
    core.acknowledgedBy(2);
    expect(core.clauses(everyKind)).toEqual(['Leads', 'None', 'None']);
  });

  test('serves no reads of what its own disk does not have', () => {
    const core = new Core();
    core.lead();
    core.acknowledgedBy(2);
    core.acknowledgedBy(3);

    expect(core.state.commitIndex).toBe(1);
    expect(core.clauses(everyKind)).toEqual(['Leads', 'IndexInequality', 'IndexInequality']);
  });

  test('serves no reads while the machine lags, or after it stopped', () => {
    const core = new Core();
    core.lead();
    core.ownDiskDone();
    core.acknowledgedBy(2);
    core.appliedIndex = 0;
    expect(core.clauses(everyKind)).toEqual(['Leads', 'ApplyBehind', 'ApplyBehind']);

    core.quarantines = [held('ApplyFault', { awaitsOperator: false })];
    expect(core.clauses(everyKind)).toEqual(['Leads', 'ApplyFault', 'ApplyFault']);
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

    expect(core.clauses(everyKind)).toEqual(['Leads', 'None', 'None']);
  });

  test('serves no reads once its quorum is silent, and says who is and for how long', () => {
    const core = new Core();
    core.lead();
    core.ownDiskDone();
    core.acknowledgedBy(2);
    core.pass(10);
    core.echoedBy(3);
    expect(core.clauses(everyKind)).toEqual(['Leads', 'None', 'None']);

    core.pass(20);
    expect(core.clauses(everyKind)).toEqual(['Leads', 'QuorumUnconfirmed', 'QuorumUnconfirmed']);
    expect(core.why('readBlocked').sinceMs).toBe(20 * tickMs);
    expect(core.why('readBlocked').explanation).toContain('2 at 10.0.0.2:7400, 3 at 10.0.0.3:7400');

    core.echoedBy(3);
    expect(core.clauses(everyKind)).toEqual(['Leads', 'None', 'None']);
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
