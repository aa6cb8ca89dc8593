/** What other systems did with keys and nonces; it must not happen here. */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import type { NodeId } from '../../src/base/ids.ts';
import { nextBelow } from '../../src/base/prng.ts';
import type { SimDisk } from '../../src/testing/sim-disk.ts';
import { SimEncryption } from '../../src/testing/sim-encryption.ts';
import type { CrashKind } from '../../src/testing/sim-file-system.ts';
import { StoreWorld } from '../storage/store-world.ts';
import { ScenarioCluster } from './scenario-cluster.ts';
import { allEqual, compact, dieAtChange, snapshotsPath, startAlone } from './snapshot-words.ts';

const kinds: readonly CrashKind[] = ['powerLoss', 'processKill'];

async function write(world: StoreWorld, count: number): Promise<void> {
  for (const model of world.partitions) world.append(model, count, 3000);
  world.store?.flush();
  await world.run(100);
}

async function begin(seed: number): Promise<StoreWorld> {
  const world = new StoreWorld({
    seed,
    partitions: 2,
    limits: {
      segmentBytes: 8 * 1024 * 1024,
      logBytesMax: 256 * 1024 * 1024,
      ledgerBytes: 256 * 1024,
    },
    isEncrypted: true,
  });
  await world.open();
  await world.createReplicas();
  world.crash('processKill');
  await world.open();
  for (const model of world.partitions) world.vote(model);
  world.store?.flush();
  await world.run(50);
  await write(world, 3);
  return world;
}

describe('regression 36: a key and a nonce meet twice', () => {
  test.each(Array.from({ length: 12 }, (_, at) => at + 1))(
    'neither over crashes, truncations, rotations nor old copies of the disk, seed %i',
    async (seed) => {
      const world = await begin(seed + 100);
      let copy = world.disk.cloneSynced();
      for (let life = 0; life < 8; life++) {
        for (let step = 0; step < 12; step++) {
          const model = present(world.partitions[nextBelow(world.random, 2)], 'a partition');
          const draw = nextBelow(world.random, 12);
          if (draw === 0) world.vote(model);
          else if (draw === 1) world.truncate(model);
          else if (draw === 2) void world.store?.keyDesk.rotate().catch(() => undefined);
          else world.append(model, 1 + nextBelow(world.random, 6), 3000);
          world.store?.flush();
          await world.run(nextBelow(world.random, 60));
        }
        world.crash(kinds[nextBelow(world.random, 2)] ?? 'powerLoss');
        if (life === 3) {
          // The machine comes back with the disk of a while ago: what it promised since is gone, and no nonce may come twice.
          world.disk = copy;
          await world.open();
          await world.accept();
          for (const model of world.partitions) world.vote(model);
          await write(world, 5);
          continue;
        }
        if (life === 1) copy = world.disk.cloneSynced();
        await world.open();
        await world.verify();
      }

      expect(world.reusedNonces).toEqual([]);
      expect(world.encryption.watch.sealed).toBeGreaterThan(20);
    },
  );
});

describe('regression 36: a key and a nonce meet twice where snapshots are taken, fetched, restored and sealed anew', () => {
  const secret = 'a secret that no disk may show';

  async function beginCluster(seed: number): Promise<{
    cluster: ScenarioCluster;
    encryption: SimEncryption;
    reused: readonly string[];
  }> {
    const reused: string[] = [];
    const encryption = new SimEncryption((message) => reused.push(message));
    return { cluster: await ScenarioCluster.start(seed, 3, { encryption }), encryption, reused };
  }

  /** A node goes, the others write, compact, change their keys meanwhile, and it comes back. */
  async function comeAndGo(
    cluster: ScenarioCluster,
    { round, kind }: { readonly round: number; readonly kind: CrashKind },
  ): Promise<NodeId> {
    const away = await cluster.untilLeader();
    cluster.crash(away, kind);
    const others = cluster.others(away);
    const leader = await cluster.untilLeader(others);
    for (let at = 0; at < 3; at++)
      await cluster.settle(cluster.write(leader, `k${at}`, `${secret} ${round}`));
    const rotated = cluster.node(leader).keys.rotate();
    await compact(cluster, others);
    await cluster.settle(rotated);
    cluster.start(away);
    return away;
  }

  test.each(kinds)('neither over ends by %s at changes of the disk', async (kind) => {
    const { cluster, encryption, reused } = await beginCluster(360);
    for (let round = 1; round <= 8; round++) {
      const away = await comeAndGo(cluster, { round, kind });
      const isWanting = (): boolean =>
        cluster.areAllUp() && cluster.replica(away).state.snapshotWanted !== undefined;
      expect(await cluster.untilEvent(isWanting)).toBe(true);
      const rotated = cluster.node(away).keys.rotate();
      rotated.catch(() => undefined);
      if (await dieAtChange(cluster, away, { change: 2 * round, kind })) cluster.start(away);
      await allEqual(cluster);
    }

    for (const id of cluster.nodeIds) cluster.crash(id, kind);
    for (const id of cluster.nodeIds) await startAlone(cluster, id);
    for (const id of cluster.nodeIds) expect(cluster.value(id, 'k2')).toBe(`${secret} 8`);
    expect(reused).toEqual([]);
    expect(encryption.watch.sealed).toBeGreaterThan(100);
  });

  test('each key of a snapshot is wrapped under the newest epoch, and no part shows what it holds', async () => {
    const { cluster, reused } = await beginCluster(361);
    await comeAndGo(cluster, { round: 1, kind: 'powerLoss' });
    await allEqual(cluster);
    for (const id of cluster.nodeIds) await cluster.settle(cluster.node(id).keys.rotate());
    await cluster.advance(1_000);

    for (const id of cluster.nodeIds) {
      const { disk, files } = snapshotFiles(cluster, id);
      expect(files.length).toBeGreaterThan(1);
      const texts = files.map((path) => utf8DecodeLossy(present(disk.syncedBytes(path), path)));
      const manifests = texts.filter((_, at) => files[at]?.endsWith('manifest.json') === true);
      const epoch = cluster.node(id).journalKeys.ring?.newestEpoch;
      expect(manifests.length).toBeGreaterThan(0);
      for (const manifest of manifests)
        expect(JSON.parse(manifest)).toMatchObject({ encryption: { dekEpoch: epoch } });
      for (const text of texts) expect(text).not.toContain(secret);
      cluster.crash(id);
      cluster.start(id);
      await allEqual(cluster);
    }
    expect(reused).toEqual([]);
  });
});

function snapshotFiles(
  cluster: ScenarioCluster,
  id: NodeId,
): { readonly disk: SimDisk; readonly files: readonly string[] } {
  const disk = cluster.world.disk(id);
  return { disk, files: disk.paths().filter((path) => path.startsWith(`${snapshotsPath}/`)) };
}

function utf8DecodeLossy(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
