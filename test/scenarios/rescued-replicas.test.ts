/** A replica whose damaged entries nobody has any more: a snapshot takes the place of its log. */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { partitionId, type NodeId } from '../../src/base/ids.ts';
import { FaultAtlas, wholeLog } from '../../src/testing/fault-atlas.ts';
import type { CrashKind } from '../../src/testing/sim-file-system.ts';
import { ScenarioCluster } from './scenario-cluster.ts';
import {
  allEqual,
  compact,
  dieAtChange,
  onlyPartition,
  snapshotsPath,
  startAlone,
} from './snapshot-words.ts';

const crashKinds: readonly CrashKind[] = ['powerLoss', 'processKill'];

async function write(cluster: ScenarioCluster, at: NodeId, value: string): Promise<void> {
  for (let number = 0; number < 3; number++)
    await cluster.settle(cluster.write(at, `k${number}`, value));
}

/** A follower comes back on what its disk was some entries before: it is in doubt for good. */
async function putInDoubt(cluster: ScenarioCluster, id: NodeId): Promise<void> {
  const leader = await cluster.untilLeader(cluster.others(id));
  const copy = cluster.world.disk(id).cloneSynced();
  await write(cluster, leader, 'to be forgotten');
  await cluster.advance(100);
  cluster.crash(id);
  cluster.world.replaceDisk(id, copy);
  cluster.start(id);
  await cluster.until('it is in doubt', () => cluster.eventsOf(id, 'replicaInDoubt').length > 0);
}

describe('damaged entries that nobody has as entries any more', () => {
  async function damaged(cluster: ScenarioCluster, round: number): Promise<NodeId> {
    const leader = await cluster.untilLeader();
    const [id] = cluster.others(leader) as [NodeId];
    await write(cluster, leader, `first ${round}`);
    await allEqual(cluster);
    // With a log from its beginning, or with one that begins behind a snapshot of its own.
    if (round % 2 === 0) await compact(cluster, [id]);
    await write(cluster, leader, `behind ${round}`);
    await allEqual(cluster);
    const { lastIndex } = cluster.replica(id).state.log;
    cluster.crash(id);
    expect(cluster.rot(id, lastIndex - 1)).toBeGreaterThan(0);
    // Who is elected anew keeps nothing for who is away.
    cluster.crash(leader);
    cluster.start(leader);
    await write(cluster, await cluster.untilLeader(cluster.others(id)), `second ${round}`);
    await compact(cluster, cluster.others(id));
    return id;
  }

  test('a snapshot ends the quarantine, and the replica takes part again', async () => {
    const cluster = await ScenarioCluster.start(399);
    const id = await damaged(cluster, 1);

    cluster.start(id);
    await cluster.until('it is whole', () => cluster.eventsOf(id, 'quarantineCleared').length > 0);
    await allEqual(cluster);

    expect(cluster.eventsOf(id, 'snapshotInstalled')).toHaveLength(1);
    expect(cluster.replica(id).state).toMatchObject({ inDoubt: false, isQuarantined: false });
    // It is needed for a quorum from now on.
    const leader = await cluster.untilLeader();
    cluster.crash(
      present(
        cluster.others(leader).find((other) => other !== id),
        'a third',
      ),
    );
    await write(cluster, leader, 'third');
    cluster.crash(id);
    await startAlone(cluster, id);
    expect(cluster.quarantine(id)).toBeUndefined();
  });

  test('a peer in doubt, which can give nothing, is not waited for', async () => {
    const atlas = new FaultAtlas({ configurations: () => [], doubtTakes: 'entries' });
    const cluster = await ScenarioCluster.start(401, 5, { atlas });
    const id = await damaged(cluster, 1);
    const leader = await cluster.untilLeader(cluster.others(id));
    const inDoubt = present(
      cluster.others(leader).find((other) => other !== id),
      'a follower',
    );
    atlas.claim(inDoubt, [wholeLog(partitionId(onlyPartition))]);
    await putInDoubt(cluster, inDoubt);

    cluster.start(id);
    const isWhole = (): boolean => cluster.eventsOf(id, 'quarantineCleared').length > 0;
    await cluster.until('it is whole', isWhole, 10_000);

    expect(cluster.replica(inDoubt).state.hasLostEvidence).toBe(true);
  });

  test.each(crashKinds)(
    'when its machine ends by %s at any change of its disk as well',
    async (kind) => {
      const found: string[] = [];
      // Each in a cluster of its own: the third quarantine within a day waits for an operator.
      for (let change = 1, isOver = false; !isOver; change++) {
        const cluster = await ScenarioCluster.start(400);
        const id = await damaged(cluster, change);
        const disk = cluster.world.disk(id);
        const before = disk.list(snapshotsPath).length;
        cluster.start(id);
        const isRescued = (): boolean => disk.list(snapshotsPath).length > before;
        expect(await cluster.untilEvent(isRescued, 20_000)).toBe(true);
        isOver = !(await dieAtChange(cluster, id, { change, kind }));
        if (!isOver) {
          await startAlone(cluster, id);
          found.push(cluster.quarantine(id) === undefined ? 'whole' : 'damaged');
          cluster.rejoin(id);
        }
        await allEqual(cluster);
        await cluster.until('it is whole', () => cluster.quarantine(id) === undefined);
        expect(cluster.value(id, 'k2')).toBe(`second ${change}`);
      }
      expect(found[0]).toBe('damaged');
      expect(found.at(-1)).toBe('whole');
    },
  );
});
