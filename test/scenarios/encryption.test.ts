/** What other systems did with keys and nonces; it must not happen here. */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import type { NodeId } from '../../src/base/ids.ts';
import { createPrng, nextBelow } from '../../src/base/prng.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { verifyDirectory } from '../../src/storage/verify-directory.ts';
import { openInspection } from '../../src/testing/disk-inspection.ts';
import type { SimDisk } from '../../src/testing/sim-disk.ts';
import { SimEntropy } from '../../src/testing/sim-entropy.ts';
import { SimEncryption } from '../../src/testing/sim-encryption.ts';
import type { CrashKind } from '../../src/testing/sim-file-system.ts';
import { StoreWorld } from '../storage/store-world.ts';
import { drainMicrotasks } from '../testing/sim-rounds.ts';
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

describe('keys are destroyed only when nothing that a power failure could bring back needs them', () => {
  const secret = 'a-secret-that-a-snapshot-holds';

  test('so a snapshot whose removal was not durable keeps its own', async () => {
    const encryption = new SimEncryption(() => undefined);
    const cluster = await ScenarioCluster.start(362, 3, { encryption });
    const leader = await cluster.untilLeader();
    const [id] = cluster.others(leader) as [NodeId];
    const disk = cluster.world.disk(id);
    const events = (kind: string): number => cluster.eventsOf(id, kind).length;
    await cluster.settle(cluster.write(leader, 'k', secret));
    await compact(cluster, cluster.nodeIds);
    const [first] = disk.list(snapshotsPath);
    disk.failNextAt(`${snapshotsPath}/${first}`, 'sync', 'EIO');
    for (const times of ['again', 'and again']) {
      await cluster.settle(cluster.write(leader, 'k', `${secret} ${times}`));
      await compact(cluster, cluster.nodeIds);
    }
    await cluster.until('a removal has failed', () => events('snapshotNotRemoved') > 0);

    await cluster.settle(cluster.node(id).keys.rotate());
    await cluster.until('old keys are destroyed', () => events('keysDestroyed') > 0);

    // A power failure at this instant leaves nothing for which there are no keys.
    const { fileSystem, scheduler } = openInspection(disk);
    const own = encryption.of(id, new SimEntropy(createPrng(1)));
    const verifying = verifyDirectory(
      { directory: '/data', fileSystem, encryption: own },
      nodeCryptography,
    );
    await scheduler.run({ untilMs: 10_000, drainMicrotasks });
    const { findings, snapshots } = await verifying;
    expect(findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
    expect(snapshots).toBeGreaterThan(0);
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
