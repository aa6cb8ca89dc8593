/** Stores on a simulated disk with snapshots in files, whose logs begin behind them. */
import { expect } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { clusterId, logIndex, nodeId, term } from '../../src/base/ids.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import type { PartitionLog } from '../../src/storage/partition-log.ts';
import { SnapshotFolder, type SnapshotManifest } from '../../src/storage/snapshot-folder.ts';
import { SimEntropy } from '../../src/testing/sim-entropy.ts';
import { configurationOf, limits, modelOf } from './compaction-world.ts';
import { frames } from './model-frames.ts';
import { StoreWorld, type PartitionModel } from './store-world.ts';

/** The log of a partition in a store that is open. */
export function logOf(world: StoreWorld, model: PartitionModel): PartitionLog {
  return present(world.store?.partition(model.id), 'a log');
}

/** A store of so many partitions; the first one has entries 1 to `entries`, all committed. */
export async function begin(
  options: {
    readonly entries?: number;
    readonly partitions?: number;
    readonly isEncrypted?: boolean;
  } = {},
): Promise<StoreWorld> {
  const { entries = 10, partitions = 1, isEncrypted = false } = options;
  const world = new StoreWorld({ seed: 11, partitions, limits, isEncrypted });
  await world.open();
  await world.createReplicas();
  for (const model of world.partitions) world.vote(model);
  await append(world, modelOf(world), entries);
  return world;
}

/** Appends entries, each in a flush of its own, and commits them. */
export async function append(
  world: StoreWorld,
  model: PartitionModel,
  count: number,
  bytes = 300,
): Promise<void> {
  const log = logOf(world, model);
  for (let at = 0; at < count; at++) {
    const index = log.lastIndex + 1;
    const payload = `${index}`.padEnd(bytes, '.');
    const entry = { index, term: log.hardState.term, payload };
    log.append(frames(model.id, [entry]), 1_000_000 + index);
    world.store?.flush();
    await world.run(20);
  }
  log.commitIndex = log.lastIndex;
}

/** Writes a snapshot of a few parts into the data directory. */
export async function takeSnapshot(
  world: StoreWorld,
  model: PartitionModel,
  place: { readonly index: number; readonly term?: number },
): Promise<SnapshotManifest> {
  const folder = new SnapshotFolder({
    fileSystem: world.reader(),
    directory: '/data',
    partitionId: model.id,
    clusterId: clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001'),
    nodeId: nodeId(1),
    keys: present(world.store, 'an open store').keyDesk.keys,
    cryptography: nodeCryptography,
    entropy: new SimEntropy(world.random),
    clock: {
      monotonicMs: () => 0,
      wallMs: () => 77,
      setTimer: () => () => undefined,
      endOfTurn: () => undefined,
    },
  });
  await world.settle(folder.open());
  const ofTerm = term(place.term ?? 1);
  const writer = await world.settle(
    folder.begin({
      index: logIndex(place.index),
      term: ofTerm,
      knownTerm: ofTerm,
      configuration: configurationOf(model, { index: 0, term: 0 }),
      partBytes: 4_000,
    }),
  );
  await world.settle(present(writer, 'a writer').write(new Uint8Array(10_000).fill(place.index)));
  return present(await world.settle(present(writer, 'it').finish({ stateBytes: 9 })), 'a snapshot');
}

/** Lets the log of a partition begin behind an entry. */
export async function compact(
  world: StoreWorld,
  model: PartitionModel,
  index: number,
): Promise<void> {
  const log = logOf(world, model);
  log.compact({ index: logIndex(index), term: log.hardState.term });
  world.store?.flush();
  await world.run(2_000);
  expect(log.durableBaseIndex).toBe(index);
}
