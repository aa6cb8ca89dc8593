/** Snapshots that cannot be read, or that say what is not so: another one is used, the log, or a peer; nobody makes anything up. */
import { describe, expect, test } from 'vitest';

import type { ClustorError } from '../../src/base/errors.ts';
import type { LogIndex, NodeId } from '../../src/base/ids.ts';
import type { CrashKind } from '../../src/testing/sim-file-system.ts';
import { ScenarioCluster } from './scenario-cluster.ts';
import {
  allEqual,
  baseOf,
  compact,
  dieAtChange,
  forgeSnapshot,
  snapshotsOn,
  spoilSnapshot,
  startAlone,
  takeSnapshot,
} from './snapshot-words.ts';

const missing = { kind: 'rejected', error: { code: 'CLUSTOR_SNAPSHOT_MISSING' } };
const damages = ['part', 'manifest'] as const;
const crashKinds: readonly CrashKind[] = ['powerLoss', 'processKill'];

async function write(cluster: ScenarioCluster, at: NodeId, value: string): Promise<void> {
  for (let number = 0; number < 3; number++)
    await cluster.settle(cluster.write(at, `k${number}`, value));
}

/** Why a leader takes no entry now, if it does not. */
function offerTo(cluster: ScenarioCluster, id: NodeId): ClustorError | undefined {
  const sink = { proposalCommitted: () => undefined, proposalFailed: () => undefined };
  const payload = new Uint8Array(1);
  return cluster.replica(id).offer({ metadata: new Uint8Array(0), payload, sink, slot: 0 });
}

/** A leader with two snapshots, whose log begins before both because a follower that it heard a moment ago lacks entries. */
async function withTwo(seed: number): Promise<{
  cluster: ScenarioCluster;
  leader: NodeId;
  older: LogIndex;
  newer: LogIndex;
}> {
  const cluster = await ScenarioCluster.start(seed);
  const leader = await cluster.untilLeader();
  const [lagging] = cluster.others(leader) as [NodeId];
  await write(cluster, leader, 'first');
  cluster.crash(lagging);
  await write(cluster, leader, 'second');
  const older = await takeSnapshot(cluster, leader);
  await write(cluster, leader, 'third');
  const newer = await takeSnapshot(cluster, leader);
  await write(cluster, leader, 'fourth');
  expect(snapshotsOn(cluster, leader)).toEqual([older, newer]);
  return { cluster, leader, older, newer };
}

describe('the newest snapshot of a replica cannot be read', () => {
  test.each(damages)(
    'an older one is used while the log goes on from it: a bad %s',
    async (what) => {
      const { cluster, leader, older, newer } = await withTwo(391);
      cluster.crash(leader);
      spoilSnapshot(cluster, leader, { index: newer, what });

      await startAlone(cluster, leader);

      expect(cluster.replica(leader).apply.appliedIndex).toBeGreaterThanOrEqual(older);
      expect(cluster.value(leader, 'k2')).not.toBe('first');
      cluster.rejoin(leader);
      for (const id of cluster.nodeIds) if (cluster.world.isDown(id)) cluster.start(id);
      await allEqual(cluster);
      expect(cluster.value(leader, 'k2')).toBe('fourth');
      expect(cluster.eventsOf(leader, 'snapshotMissing')).toEqual([]);
      expect(cluster.eventsOf(leader, 'quarantined')).toEqual([]);
    },
  );

  test('the log is, where it has everything and no snapshot is good', async () => {
    const { cluster, leader, older, newer } = await withTwo(392);
    expect(baseOf(cluster, leader)).toBe(0);
    cluster.crash(leader);
    for (const index of [older, newer]) spoilSnapshot(cluster, leader, { index });

    await startAlone(cluster, leader);

    cluster.rejoin(leader);
    for (const id of cluster.nodeIds) if (cluster.world.isDown(id)) cluster.start(id);
    await allEqual(cluster);
    expect(cluster.value(leader, 'k2')).toBe('fourth');
    expect(cluster.eventsOf(leader, 'snapshotUnreadable')).toHaveLength(2);
    expect(cluster.eventsOf(leader, 'snapshotMissing')).toEqual([]);
  });

  test('another peer gives what the first one cannot', async () => {
    const cluster = await ScenarioCluster.start(393);
    const leader = await cluster.untilLeader();
    const [away, third] = cluster.others(leader) as [NodeId, NodeId];
    await write(cluster, leader, 'first');
    cluster.crash(away);
    cluster.crash(leader);
    cluster.start(leader);
    const next = await cluster.untilLeader([leader, third]);
    await write(cluster, next, 'second');
    const index = await compact(cluster, [leader, third]);
    spoilSnapshot(cluster, next, { index });

    cluster.start(away);
    await allEqual(cluster);

    const [pulled] = cluster.eventsOf(away, 'snapshotPulled');
    expect(pulled?.event.fields).toMatchObject({ nodeId: next === leader ? third : leader });
    expect(cluster.eventsOf(next, 'snapshotUnreadable')).toHaveLength(1);
  });
});

describe('a log begins behind a snapshot, and none can be read', () => {
  test.each(damages)(
    'nothing is read, over restarts too, until a peer gives one: a bad %s',
    async (what) => {
      const cluster = await ScenarioCluster.start(394);
      const leader = await cluster.untilLeader();
      const [lost] = cluster.others(leader) as [NodeId];
      await write(cluster, leader, 'first');
      const index = await compact(cluster, [lost]);
      await write(cluster, leader, 'second');
      await allEqual(cluster);
      cluster.crash(lost);
      spoilSnapshot(cluster, lost, { index, what });

      for (let life = 1; life <= 2; life++) {
        await startAlone(cluster, lost, 'missing');
        expect(cluster.replica(lost).state.log.baseIndex).toBe(index);
        expect(await cluster.ending(cluster.read(lost, 'k0', 1_000))).toMatchObject(missing);
        expect(cluster.value(lost, 'k0'), 'nothing of it is made up').toBeNull();
        await cluster.advance(2_000);
        if (life === 1) cluster.crash(lost);
      }
      cluster.rejoin(lost);
      await cluster.settle(cluster.write(leader, 'k0', 'third'));
      await allEqual(cluster);

      expect(await cluster.settle(cluster.read(lost, 'k0'))).toBe('third');
      expect(cluster.value(lost, 'k2')).toBe('second');
      expect(cluster.eventsOf(lost, 'snapshotFound')).toHaveLength(1);
      expect(cluster.eventsOf(lost, 'quarantined')).toEqual([]);
      // What it pulled is there for the next process.
      cluster.crash(lost);
      await startAlone(cluster, lost);
      expect(cluster.value(lost, 'k2')).toBe('second');
    },
  );

  test('who lacks it votes and acknowledges, and lets others lead', async () => {
    const cluster = await ScenarioCluster.start(395);
    const leader = await cluster.untilLeader();
    const [lost, third] = cluster.others(leader) as [NodeId, NodeId];
    await write(cluster, leader, 'first');
    const index = await compact(cluster, [lost]);
    await allEqual(cluster);
    for (const id of [leader, lost]) cluster.crash(id);
    spoilSnapshot(cluster, lost, { index });
    // There is no room for what it pulls, but for entries.
    cluster.world.disk(lost).isFull = true;
    await startAlone(cluster, lost, 'missing');
    cluster.rejoin(lost);

    await write(cluster, third, 'second');
    const isFetching = (): boolean => cluster.eventsOf(lost, 'snapshotNotInstalled').length > 0;
    await cluster.until('it has no room for what it fetches', isFetching, 60_000);

    expect(cluster.leader()).toBe(third);
    expect(cluster.replica(lost).gate.lacksSnapshot).toBe(true);
    cluster.world.disk(lost).isFull = false;
    await cluster.until('it has all', () => cluster.value(lost, 'k2') === 'second', 60_000);
  });

  test('of the only replica: it leads and refuses all, and goes on when the disk gives it back', async () => {
    const cluster = await ScenarioCluster.start(396, 1);
    const [only] = cluster.nodeIds as [NodeId];
    await write(cluster, only, 'first');
    const index = await compact(cluster, [only]);
    await write(cluster, only, 'second');
    cluster.crash(only);
    spoilSnapshot(cluster, only, { index });
    cluster.start(only);
    await cluster.until('it misses it', () => cluster.eventsOf(only, 'snapshotMissing').length > 0);
    await cluster.until('it leads', () => cluster.leader() === only);
    await cluster.advance(1_000);

    expect(offerTo(cluster, only)).toMatchObject({
      code: 'CLUSTOR_SNAPSHOT_MISSING',
      outcome: 'surelyNot',
    });
    const waiting = cluster.write(only, 'k0', 'lost', { deadlineMs: 2_000 });
    expect(await cluster.ending(waiting)).toMatchObject({ error: { outcome: 'surelyNot' } });
    expect(await cluster.ending(cluster.read(only, 'k0', 1_000))).toMatchObject(missing);
    cluster.crash(only);
    spoilSnapshot(cluster, only, { index });
    cluster.start(only);
    await cluster.untilLeader();

    expect(await cluster.settle(cluster.read(only, 'k0'))).toBe('second');
    await cluster.settle(cluster.write(only, 'k0', 'third'));
    expect(cluster.value(only, 'k0')).toBe('third');
  });
});

describe('the background scrub finds a snapshot that cannot be read', () => {
  async function scrubbed(
    cluster: ScenarioCluster,
    id: NodeId,
    ready: () => boolean,
  ): Promise<void> {
    await cluster.settle(cluster.node(id).scrub.start());
    await cluster.until('it is seen to', ready, 60_000);
    const { damagedSnapshots } = await cluster.settle(cluster.node(id).scrub.status());
    // What is damaged is gone.
    expect(damagedSnapshots).toBe(0);
    expect(cluster.eventsOf(id, 'snapshotUnreadable').length).toBeGreaterThan(0);
  }

  test('of the only replica, whose log begins behind it: the machine writes another one in time', async () => {
    const cluster = await ScenarioCluster.start(398, 1);
    const [only] = cluster.nodeIds as [NodeId];
    await write(cluster, only, 'first');
    const index = await compact(cluster, [only]);
    await write(cluster, only, 'second');
    spoilSnapshot(cluster, only, { index });

    await scrubbed(cluster, only, () => snapshotsOn(cluster, only).every((place) => place > index));
    expect(snapshotsOn(cluster, only)).toHaveLength(1);
    cluster.crash(only);
    cluster.start(only);
    await cluster.untilLeader();

    expect(await cluster.settle(cluster.read(only, 'k0'))).toBe('second');
    expect(cluster.eventsOf(only, 'snapshotMissing')).toEqual([]);
  });

  test('of the state as it is: it is written again at its place', async () => {
    const cluster = await ScenarioCluster.start(399, 1);
    const [only] = cluster.nodeIds as [NodeId];
    await write(cluster, only, 'first');
    const index = await compact(cluster, [only]);
    spoilSnapshot(cluster, only, { index });

    const taken = (): number => cluster.eventsOf(only, 'snapshotTaken').length;
    await scrubbed(cluster, only, () => taken() === 2);
    await cluster.advance(5_000);
    expect(snapshotsOn(cluster, only)).toEqual([index]);
    cluster.crash(only);
    cluster.start(only);
    await cluster.untilLeader();

    expect(await cluster.settle(cluster.read(only, 'k0'))).toBe('first');
  });

  test('the newest, while an older one is good: another one takes its place', async () => {
    const { cluster, leader, newer } = await withTwo(401);
    spoilSnapshot(cluster, leader, { index: newer });

    const isReplaced = (): boolean =>
      cluster.eventsOf(leader, 'snapshotTaken').length === 3 &&
      !snapshotsOn(cluster, leader).includes(newer);
    await scrubbed(cluster, leader, isReplaced);

    const { appliedIndex } = cluster.replica(leader).apply;
    expect(snapshotsOn(cluster, leader).at(-1)).toBe(appliedIndex);
    expect(cluster.replica(leader).state.log.baseIndex).not.toBe(newer);
  });

  test('while a newer one is good: it goes, and nothing else happens', async () => {
    const { cluster, leader, older, newer } = await withTwo(400);
    spoilSnapshot(cluster, leader, { index: older });

    await scrubbed(cluster, leader, () => snapshotsOn(cluster, leader).length === 1);

    expect(snapshotsOn(cluster, leader)).toEqual([newer]);
    expect(cluster.eventsOf(leader, 'snapshotTaken')).toHaveLength(2);
  });
});

describe('a snapshot that contradicts what a replica knows to be committed', () => {
  test('is refused, and one of another member that does not is taken', async () => {
    const cluster = await ScenarioCluster.start(397);
    const honest = await cluster.untilLeader();
    const [lost, forging] = cluster.others(honest) as [NodeId, NodeId];
    await write(cluster, honest, 'first');
    const own = await compact(cluster, [lost]);
    await write(cluster, honest, 'second');
    await allEqual(cluster);
    const index = await takeSnapshot(cluster, honest);
    expect(await takeSnapshot(cluster, forging)).toBe(index);
    // Behind this the one that will lack its snapshot knows, also after a restart, that all before is committed.
    await write(cluster, honest, 'third');
    await cluster.advance(500);
    cluster.crash(forging);
    forgeSnapshot(cluster, forging, index);
    cluster.start(forging);
    await allEqual(cluster);
    cluster.link(lost, honest, false);
    cluster.link(honest, lost, false);
    cluster.crash(lost);
    spoilSnapshot(cluster, lost, { index: own });

    cluster.start(lost);
    await cluster.until('it refuses', () => cluster.eventsOf(lost, 'snapshotRefused').length > 0);

    expect(cluster.eventsOf(lost, 'snapshotRefused')[0]?.event.fields).toMatchObject({
      index,
      detail: expect.stringContaining('contradicts'),
    });
    expect(cluster.value(lost, 'k0')).toBeNull();
    cluster.rejoin(lost);
    await allEqual(cluster);
    const from = cluster
      .eventsOf(lost, 'snapshotPulled')
      .map(({ event }) => event.fields['nodeId']);
    expect([from.at(0), from.at(-1)]).toEqual([forging, honest]);
    expect(cluster.eventsOf(lost, 'snapshotInstalled')).toHaveLength(1);
    expect(cluster.value(lost, 'k2')).toBe('third');
  });
});

describe('the one that takes the place of an unreadable snapshot', () => {
  test.each(crashKinds)(
    'costs no entry behind it, when the machine ends by %s at any change of its disk meanwhile',
    async (kind) => {
      const cluster = await ScenarioCluster.start(398);
      const found: string[] = [];
      for (let change = 1, isOver = false; !isOver; change++) {
        const leader = await cluster.untilLeader();
        const [lost] = cluster.others(leader) as [NodeId];
        await write(cluster, leader, `first ${change}`);
        const own = await compact(cluster, [lost]);
        await write(cluster, leader, `second ${change}`);
        await takeSnapshot(cluster, leader);
        await write(cluster, leader, `third ${change}`);
        await allEqual(cluster);
        const { lastIndex } = cluster.replica(lost).state.log;
        cluster.crash(lost);
        spoilSnapshot(cluster, lost, { index: own });
        cluster.start(lost);
        const isMissing = (): boolean =>
          cluster.areAllUp() && cluster.replica(lost).gate.lacksSnapshot;
        expect(await cluster.untilEvent(isMissing)).toBe(true);
        isOver = !(await dieAtChange(cluster, lost, { change, kind }));
        if (!isOver) {
          await startAlone(cluster, lost, 'either');
          const { state, gate } = cluster.replica(lost);
          found.push(gate.lacksSnapshot ? 'missing' : 'found');
          expect(state.log.lastIndex).toBeGreaterThanOrEqual(lastIndex);
          expect(cluster.value(lost, 'k2') === null).toBe(gate.lacksSnapshot);
          cluster.rejoin(lost);
        }
        await allEqual(cluster);
        expect(cluster.value(lost, 'k2')).toBe(`third ${change}`);
      }

      expect(found[0]).toBe('missing');
      expect(found).toContain('found');
      expect(cluster.events.filter(({ event }) => event.kind === 'quarantined')).toEqual([]);
    },
  );
});
