/** Whatever a crash leaves while a log comes to begin later, offline tools find everything that was promised (DUR-5, §7). */
import { expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex } from '../../src/base/ids.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { dumpEntries } from '../../src/storage/dump-entries.ts';
import {
  gatherEvidence,
  syncBeforeReading,
  type DirectoryEvidence,
} from '../../src/storage/entry-evidence.ts';
import { verifyDirectory } from '../../src/storage/verify-directory.ts';
import type { SimDisk } from '../../src/testing/sim-disk.ts';
import {
  appended,
  committed,
  compact,
  configurationOf,
  limits,
  logOf,
  modelOf,
  momentsOf,
  opened,
  placeOf,
  restarted,
  segmentsOf,
  statesOf,
} from './compaction-world.ts';
import { takeSnapshot } from './snapshotted-world.ts';
import { StoreWorld, type PartitionModel } from './store-world.ts';

/** Five segments; the oldest holds a hundred entries of the first partition and two of the second one, which goes on in others. */
async function fiveSegments(isEncrypted: boolean): Promise<StoreWorld> {
  const { world } = await opened({ partitions: 2, isEncrypted });
  appended(world, 0, 100, 3_000);
  appended(world, 1, 2);
  await committed(world);
  for (let round = 0; round < 4; round++) {
    await restarted(world);
    appended(world, 0, 3);
    if (round % 2 === 0) appended(world, 1, 1);
    await committed(world);
  }
  await world.run(500);
  return world;
}

/** A directory that a crash left, to be looked at. */
function worldOn(world: StoreWorld, disk: SimDisk): StoreWorld {
  const { isEncrypted } = world;
  const other = new StoreWorld({ seed: 7, partitions: 0, limits, isEncrypted });
  other.disk = disk;
  return other;
}

async function evidenceOf(
  world: StoreWorld,
  model: PartitionModel,
  lastIndex: number,
): Promise<DirectoryEvidence> {
  const fileSystem = world.reader();
  await world.settle(syncBeforeReading(fileSystem, '/data'));
  const question = {
    partitionId: model.id,
    indexes: new Set(Array.from({ length: lastIndex }, (_, at) => logIndex(at + 1))),
    cryptography: nodeCryptography,
  };
  const gathered = gatherEvidence(world.place(fileSystem), question);
  return present(await world.settle(gathered), 'the directory was read');
}

async function dumped(world: StoreWorld, model: PartitionModel): Promise<readonly number[]> {
  const indexes = new Set<number>();
  await world.settle(
    dumpEntries(world.place(), {
      partitionId: model.id,
      firstIndex: logIndex(1),
      lastIndex: logIndex(Number.MAX_SAFE_INTEGER),
      onEntry: ({ index, isCovered }) => {
        if (isCovered) indexes.add(index);
      },
    }),
  );
  return [...indexes].sort((left, right) => left - right);
}

/** Everything up to the log's beginning is in a snapshot, everything behind it is held; where that is. */
async function expectWhole(
  world: StoreWorld,
  model: PartitionModel,
  lastIndex: number,
): Promise<number> {
  const { findings, baseIndex } = await evidenceOf(world, model, Math.max(lastIndex, 1));
  const said = [...findings.values()].map(({ index, kind }) => `${index} ${kind}`);
  const isGone = (index: number): boolean => index <= baseIndex;
  expect(said).toEqual(
    Array.from({ length: findings.size }, (_, at) => at + 1).map(
      (index) => `${index} ${isGone(index) ? 'inSnapshot' : 'held'}`,
    ),
  );
  const expected = Array.from({ length: lastIndex }, (_, at) => at + 1);
  expect(await dumped(world, model)).toEqual(expected.filter((index) => !isGone(index)));
  return baseIndex;
}

async function expectSound(world: StoreWorld): Promise<void> {
  const verified = await world.settle(verifyDirectory(world.place(), nodeCryptography));
  expect(verified?.findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
}

test.each([false, true])(
  'while the oldest segment is emptied by copies and given back (encrypted: %s)',
  async (isEncrypted) => {
    const world = await fiveSegments(isEncrypted);
    const [busy, quiet] = [modelOf(world, 0), modelOf(world, 1)];
    const [first] = segmentsOf(world);
    await takeSnapshot(world, busy, { index: 100, term: placeOf(world, 0, 100).term });
    compact(world, 0, 100);

    const moments = await momentsOf(world, 300);

    expect(segmentsOf(world)).not.toContain(first);
    const bases = new Set<number>();
    for (const moment of moments)
      for (const disk of statesOf(world, moment, 2)) {
        const left = worldOn(world, disk);
        await expectSound(left);
        bases.add(await expectWhole(left, busy, busy.entries.length));
        expect(await expectWhole(left, quiet, quiet.entries.length)).toBe(0);
      }
    expect([...bases]).toEqual([0, 100]);
  },
);

test.each([false, true])(
  'while a snapshot takes the place of the log (encrypted: %s)',
  async (isEncrypted) => {
    const world = await fiveSegments(isEncrypted);
    const [busy, quiet] = [modelOf(world, 0), modelOf(world, 1)];
    const { term } = placeOf(world, 0, 100);
    await takeSnapshot(world, busy, { index: 300, term });
    const configuration = configurationOf(busy, { index: 250, term });
    const replacement = { index: logIndex(300), term, configuration, keepsTail: false };
    logOf(world, 0).install(replacement, () => undefined);
    world.store?.flush();

    const moments = await momentsOf(world, 300);

    const bases = new Set<number>();
    for (const moment of moments)
      for (const disk of statesOf(world, moment, 2)) {
        const left = worldOn(world, disk);
        await expectSound(left);
        const { baseIndex } = await evidenceOf(left, busy, 1);
        await expectWhole(left, busy, baseIndex === 0 ? busy.entries.length : baseIndex);
        bases.add(baseIndex);
        expect(await expectWhole(left, quiet, quiet.entries.length)).toBe(0);
      }
    expect([...bases]).toEqual([0, 300]);
  },
);
