/** Snapshots, logs and installations that a crash met halfway: the replica has the old state or the new one, and goes on. */
import { describe, expect, test } from 'vitest';

import type { LogIndex, NodeId } from '../../src/base/ids.ts';
import { RegisterMachine } from '../../src/testing/sim-machine.ts';
import type { CrashKind } from '../../src/testing/sim-file-system.ts';
import { ScenarioCluster } from './scenario-cluster.ts';
import {
  allEqual,
  baseOf,
  compact,
  dieAtChange,
  snapshotsOn,
  startAlone,
  takeSnapshot,
} from './snapshot-words.ts';

const crashKinds: readonly CrashKind[] = ['powerLoss', 'processKill'];

/** A node that was away and comes back to peers whose logs begin behind what it lacks. */
interface Away {
  readonly id: NodeId;
  /** Where its log began and ended when it went. */
  readonly baseIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly snapshotIndex: LogIndex;
  /** What a machine holds that took the snapshot in. */
  readonly digest: string | undefined;
}

/** The leader goes, with `tail` entries that nobody else has; the others elect, write and let their logs begin behind that. */
async function leave(
  cluster: ScenarioCluster,
  { round, tail }: { readonly round: number; readonly tail: number },
): Promise<Away> {
  const id = await cluster.untilLeader();
  const others = cluster.others(id);
  await cluster.settle(cluster.write(id, 'acknowledged', `${round} by ${id}`));
  cluster.isolate(id);
  for (let at = 0; at < tail; at++)
    cluster.write(id, 'lost', `${round} ${at}`).catch(() => undefined);
  await cluster.advance(20);
  const { baseIndex, lastIndex } = cluster.replica(id).state.log;
  cluster.crash(id);
  const next = await cluster.untilLeader(others);
  for (let at = 0; at < 4; at++)
    await cluster.settle(cluster.write(next, `k${at}`, `${round} ${at}`));
  const snapshotIndex = await compact(cluster, others);
  return { id, baseIndex, lastIndex, snapshotIndex, digest: cluster.digest(next) };
}

function isWanting(cluster: ScenarioCluster, id: NodeId): boolean {
  return cluster.areAllUp() && cluster.replica(id).state.snapshotWanted !== undefined;
}

/** What a node has that begins alone is what it had, or the snapshot and nothing of before. */
function stateAlone(cluster: ScenarioCluster, away: Away): 'old' | 'new' {
  const { id, baseIndex, lastIndex, snapshotIndex, digest } = away;
  const { state, apply } = cluster.replica(id);
  if (state.log.baseIndex !== snapshotIndex) {
    expect(state.log).toMatchObject({ baseIndex, lastIndex });
    expect(apply.appliedIndex, 'what was not installed is not used').toBeLessThanOrEqual(lastIndex);
    return 'old';
  }
  expect(state.log.lastIndex).toBe(snapshotIndex);
  expect(apply.appliedIndex).toBe(snapshotIndex);
  expect(cluster.digest(id)).toBe(digest);
  return 'new';
}

describe('regression 35: an installation that ends anywhere leaves the old state or the new one', () => {
  describe.each([0, 12])('with %i entries that nobody else has', (tail) => {
    test.each(crashKinds)('by %s at every change of the disk', async (kind) => {
      const cluster = await ScenarioCluster.start(350 + tail);
      const found: string[] = [];
      for (let change = 1, isOver = false; !isOver; change++) {
        const away = await leave(cluster, { round: change, tail });
        const { id } = away;
        cluster.rejoin(id);
        cluster.start(id);
        await cluster.untilEvent(() => isWanting(cluster, id));
        isOver = !(await dieAtChange(cluster, id, { change, kind }));
        if (!isOver) {
          await startAlone(cluster, id);
          found.push(stateAlone(cluster, away));
          cluster.rejoin(id);
        }
        await allEqual(cluster);
        for (const node of cluster.nodeIds)
          expect(cluster.value(node, 'acknowledged')).toBe(`${change} by ${id}`);
      }

      expect(found.slice(0, 3)).toEqual(['old', 'old', 'old']);
      expect(found.slice(-3)).toEqual(['new', 'new', 'new']);
      expect(cluster.events.filter(({ event }) => event.kind === 'quarantined')).toEqual([]);
    });
  });

  test('what was fetched and not installed is not used by a start, and not fetched twice', async () => {
    const cluster = await ScenarioCluster.start(351);
    const away = await leave(cluster, { round: 1, tail: 0 });
    const { id, snapshotIndex } = away;
    cluster.rejoin(id);
    cluster.start(id);
    const isPulled = (): boolean => cluster.eventsOf(id, 'snapshotPulled').length > 0;
    expect(await cluster.untilEvent(isPulled)).toBe(true);
    cluster.crash(id);

    await startAlone(cluster, id);
    expect(snapshotsOn(cluster, id)).toEqual([snapshotIndex]);
    expect(stateAlone(cluster, away)).toBe('old');
    cluster.rejoin(id);
    await allEqual(cluster);

    expect(baseOf(cluster, id)).toBe(snapshotIndex);
    expect(cluster.eventsOf(id, 'snapshotPulled')).toHaveLength(1);
    expect(cluster.eventsOf(id, 'snapshotInstalled')).toHaveLength(1);
  });
});

describe('regression 35: a snapshot newer than where the log begins', () => {
  test('is what a start begins with, and only what is behind it is applied again', async () => {
    const applied = new Map<NodeId, number[]>();
    const cluster = await ScenarioCluster.start(352, 3, {
      createStateMachine: ({ host, onApplied }) => {
        const indexes: number[] = [];
        applied.set(host.nodeId, indexes);
        return new RegisterMachine((index, entry) => {
          indexes.push(index);
          onApplied(index, entry);
        });
      },
    });
    const leader = await cluster.untilLeader();
    const [lagging, other] = cluster.others(leader) as [NodeId, NodeId];
    await cluster.settle(cluster.write(leader, 'key', 'before'));
    await allEqual(cluster);
    // The leader keeps what the one lacks that it heard a moment ago.
    cluster.crash(lagging);
    for (let at = 0; at < 5; at++) await cluster.settle(cluster.write(leader, `k${at}`, 'before'));
    const snapshotIndex = await takeSnapshot(cluster, leader);
    for (let at = 0; at < 3; at++) await cluster.settle(cluster.write(leader, `k${at}`, 'behind'));
    await cluster.advance(500);
    const { baseIndex, lastIndex } = cluster.replica(leader).state.log;
    expect(baseIndex, 'the log is not cut').toBeLessThan(snapshotIndex - 4);
    const digest = cluster.digest(leader);

    cluster.crash(leader);
    cluster.crash(other);
    cluster.start(leader);
    const hasBegun = (): boolean =>
      cluster.eventsOf(leader, 'roleChanged').length > 0 && cluster.value(leader, 'k4') !== null;
    await cluster.until('it has begun', hasBegun);
    expect(cluster.replica(leader).apply.appliedIndex).toBeGreaterThanOrEqual(snapshotIndex);
    expect(baseOf(cluster, leader)).toBe(baseIndex);
    cluster.start(other);
    cluster.start(lagging);
    await allEqual(cluster);

    const again = applied.get(leader) ?? [];
    expect(again[0]).toBe(snapshotIndex + 1);
    expect(again.filter((index) => index <= lastIndex)).toHaveLength(lastIndex - snapshotIndex);
    expect(cluster.digest(leader)).toBe(digest);
  });

  test.each(crashKinds)(
    'is whole or not there when its taker ends by %s at any change of the disk, and so is the log',
    async (kind) => {
      const cluster = await ScenarioCluster.start(353);
      const found = new Set<string>();
      for (let change = 1, isOver = false; !isOver; change++) {
        const leader = await cluster.untilLeader();
        const [taker] = cluster.others(leader) as [NodeId];
        for (let at = 0; at < 3; at++)
          await cluster.settle(cluster.write(leader, `k${at}`, `${change}`));
        await allEqual(cluster);
        const { baseIndex, lastIndex } = cluster.replica(taker).state.log;
        const digest = cluster.digest(taker);
        cluster
          .partition(taker)
          .takeSnapshot()
          .catch(() => undefined);
        isOver = !(await dieAtChange(cluster, taker, { change, kind }));
        if (isOver) break;

        await startAlone(cluster, taker);
        const { state, apply } = cluster.replica(taker);
        const isTaken = snapshotsOn(cluster, taker).includes(lastIndex);
        expect(state.log.lastIndex).toBe(lastIndex);
        expect([baseIndex, ...(isTaken ? [lastIndex] : [])]).toContain(state.log.baseIndex);
        if (isTaken) expect(apply.appliedIndex).toBe(lastIndex);
        if (isTaken) expect(cluster.digest(taker)).toBe(digest);
        found.add(
          `${isTaken ? 'snapshot' : 'none'}, ${state.log.baseIndex === lastIndex ? 'cut' : 'not cut'}`,
        );
        cluster.rejoin(taker);
      }
      await allEqual(cluster);

      expect(found).toEqual(new Set(['none, not cut', 'snapshot, not cut', 'snapshot, cut']));
      expect(cluster.events.filter(({ event }) => event.kind === 'quarantined')).toEqual([]);
    },
  );
});
