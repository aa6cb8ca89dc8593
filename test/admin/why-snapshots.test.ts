/** What keeps a snapshot from being taken, a machine from its state, and a log from beginning later. */
import { expect, test } from 'vitest';

import type { LogIndex, NodeId, Term } from '../../src/base/ids.ts';
import type { SnapshotStatus } from '../../src/runtime/snapshot-desk.ts';
import { Core, nothing } from './why-core.ts';

const calm: SnapshotStatus = {
  snapshots: [{ index: 4 as LogIndex, term: 1, createdMs: 7, bytes: 100 }],
  isMissing: false,
  isTaking: false,
  takingBytes: 0,
  lastFailure: '',
  goodIndex: 4 as LogIndex,
  leasedIndex: undefined,
  logBytes: 2048,
  logBytesMax: 4096,
  installation: {
    isPulling: false,
    fromNodeId: undefined,
    partsDone: 0,
    parts: 0,
    attempts: 0,
    lastFailure: '',
  },
};
const pulling = {
  isPulling: true,
  fromNodeId: 3 as NodeId,
  partsDone: 2,
  parts: 9,
  attempts: 1,
  lastFailure: 'node 2: it is busy',
};

function coreWith(snapshots: Partial<SnapshotStatus> = {}): Core {
  const core = new Core();
  core.snapshots = { ...calm, ...snapshots };
  return core;
}

/** A leader with entries 1 to 5 on its own disk and on that of replica 2; replica 3 has what it acknowledged. */
function leader(snapshots: Partial<SnapshotStatus> = {}): Core {
  const core = coreWith(snapshots);
  core.lead();
  core.input({ kind: 'propose', count: 4 });
  core.ownDiskDone();
  core.acknowledgedBy(2);
  core.acknowledgedBy(3, nothing);
  return core;
}

test('nothing stands in the way where snapshots are taken as they fall due', () => {
  const { clause, explanation } = coreWith().why('snapshotBlocked');

  expect(clause).toBe('None');
  expect(explanation).toBe(
    'nothing stands in the way: the log begins behind entry 0, the newest snapshot ends with entry 4; 2.00 KiB were appended since, and another one comes with 4.00 KiB, or by its age',
  );
  expect(coreWith({ snapshots: [] }).why('snapshotBlocked').explanation).toContain(
    'no snapshot was taken yet',
  );
  expect(coreWith({ isTaking: true, lastFailure: 'x' }).why('snapshotBlocked')).toMatchObject({
    clause: 'None',
    explanation: 'a snapshot is being taken, 0 B are written',
  });
});

test('a node without cryptography takes none', () => {
  expect(new Core().why('snapshotBlocked').clause).toBe('NoCryptography');
});

test('a machine that waits for its snapshot says whom it asks, and serves nobody', () => {
  const core = coreWith({ isMissing: true, installation: pulling });

  const answer = core.why('snapshotBlocked');

  expect(answer.clause).toBe('SnapshotMissing');
  expect(answer.explanation).toContain(
    'node 3 is being asked, 2 of 9 parts are here, 1 rounds were in vain: node 2: it is busy',
  );
  expect(answer.advice).toContain('start the nodes that are down');
  for (const kind of ['readBlocked', 'writeBlocked', 'notReady'] as const)
    expect(core.why(kind).clause).toBe('SnapshotMissing');
  expect(leader({ isMissing: true }).why('snapshotBlocked').advice).toContain(
    'start another voter',
  );
});

test('a follower whose leader lacks what it needs wants a snapshot', () => {
  const core = coreWith();
  core.from(
    2,
    {
      kind: 'appendEntries',
      prevIndex: 40 as LogIndex,
      prevTerm: 1 as Term,
      commit: nothing,
      receiverInDoubt: false,
      needsSnapshot: true,
      entries: { count: 0, termRuns: [], configurations: [] },
    },
    1,
  );

  expect(core.why('snapshotBlocked')).toMatchObject({
    clause: 'SnapshotWanted',
    explanation: expect.stringContaining('a snapshot up to entry 40 is needed') as string,
  });
});

test('quarantine and doubt come before what failed', () => {
  const doubted = new Core({ inDoubt: true });
  doubted.snapshots = { ...calm, lastFailure: 'no' };
  expect(doubted.why('snapshotBlocked').clause).toBe('InDoubt');

  const held = coreWith({ lastFailure: 'no' });
  held.quarantines = [
    {
      reason: 'ApplyFault',
      sinceMs: 1,
      index: nothing,
      detail: 'it threw',
      ticket: '',
      awaitsOperator: true,
    },
  ];
  expect(held.why('snapshotBlocked').clause).toBe('ApplyFault');
});

test('an attempt that failed is named with its reason', () => {
  const answer = coreWith({ lastFailure: 'the disk is full' }).why('snapshotBlocked');

  expect(answer.clause).toBe('AttemptFailed');
  expect(answer.explanation).toContain('the disk is full');
});

test('a leader names the member for which it keeps entries', () => {
  const core = leader();

  expect(core.why('snapshotBlocked')).toMatchObject({
    clause: 'MemberBehind',
    explanation:
      'the log begins behind entry 0 although a snapshot reaches to 4: the replica on node 3 at 10.0.0.3:7400 has entries up to 0, and what it lacks is kept for it',
  });

  core.acknowledgedBy(3);
  expect(core.why('snapshotBlocked').clause).toBe('None');
});

test('a snapshot that somebody fetches keeps the entries behind it', () => {
  const fetched = coreWith({ leasedIndex: 2 as LogIndex });

  expect(fetched.why('snapshotBlocked')).toMatchObject({
    clause: 'SnapshotLeased',
    explanation: expect.stringContaining('fetches the one up to 2') as string,
  });
  const newest = coreWith({ leasedIndex: 4 as LogIndex });
  expect(newest.why('snapshotBlocked').clause).toBe('None');
});
