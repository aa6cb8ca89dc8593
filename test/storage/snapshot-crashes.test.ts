/** A crash anywhere while snapshots are written, removed or sealed anew leaves whole ones and nothing else (specification §7). */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex } from '../../src/base/ids.ts';
import { nextBelow } from '../../src/base/prng.ts';
import type { SnapshotFolder } from '../../src/storage/snapshot-folder.ts';
import { directory, placeOf, somePartition, SnapshotWorld, streamOf } from './snapshot-world.ts';

const snapshots = `${directory}/partitions/${somePartition}/snapshot`;

/** Names of whole snapshots after a crash; everything else is gone. */
async function wholeAfter(world: SnapshotWorld): Promise<number[]> {
  const folder = await world.folder();
  for (const manifest of folder.published) {
    expect(await world.settle(folder.verify(manifest))).toBeUndefined();
    expect(await world.read(folder, manifest)).toEqual(streamOf(manifest.index, 6_000));
  }
  expect(folder.damaged).toEqual([]);
  const names = folder.published.map(({ index }) => `2-${index}`).sort();
  expect(world.disk.list(snapshots)).toEqual(names);
  for (const name of names)
    expect(world.disk.list(`${snapshots}/${name}/chunks`).length, 'no part is left over').toBe(3);
  return folder.published.map(({ index }) => index);
}

interface Step {
  readonly name: string;
  /** What is there before it, and behind it. */
  readonly before: readonly number[];
  readonly after: readonly number[];
  readonly run: (world: SnapshotWorld, folder: SnapshotFolder) => Promise<unknown>;
}

const wanted = { length: 6_000, partBytes: 2_500 };
const steps: readonly Step[] = [
  {
    name: 'writing',
    before: [3],
    after: [3, 8],
    run: (world, folder) => world.write(folder, { ...wanted, index: 8 }),
  },
  {
    name: 'removing',
    before: [3, 8],
    after: [8],
    run: (world, folder) => world.settle(folder.removeBelow(logIndex(8))),
  },
  {
    name: 'removing and writing again',
    before: [3],
    after: [3],
    run: async (world, folder) => {
      await world.settle(folder.removeBelow(logIndex(8)));
      if (!world.isKilled) await world.write(folder, { ...wanted, index: 3 });
    },
  },
  {
    name: 'giving up',
    before: [3],
    after: [3],
    run: async (world, folder) => {
      const place = { ...placeOf(8), partBytes: 2_500 };
      const writer = await world.settle(folder.begin(place));
      if (writer === undefined) return;
      await world.settle(writer.write(streamOf(8, 6_000)));
      if (!world.isKilled) await world.settle(writer.abort());
    },
  },
  {
    name: 'wrapping or sealing anew',
    before: [3, 8],
    after: [3, 8],
    run: (world, folder) => world.settle(folder.rewrap()),
  },
];

/** Which of what a power loss may take or leave is left: each set, or some of them. */
function keptSets(world: SnapshotWorld, count: number): ReadonlySet<number>[] {
  const all = Array.from({ length: count }, (_, at) => at);
  if (count <= 3)
    return Array.from(
      { length: 1 << count },
      (_, bits) => new Set(all.filter((at) => ((bits >> at) & 1) === 1)),
    );
  const some = Array.from(
    { length: 6 },
    () => new Set(all.filter(() => nextBelow(world.random, 2) === 0)),
  );
  return [new Set(), new Set(all), ...some];
}

describe.each(['plain', 'encrypted', 'plain before'] as const)('a crash anywhere (%s)', (kind) => {
  /** A disk with these snapshots, and keys newer than theirs where there are any. */
  async function prepared(before: readonly number[]): Promise<SnapshotWorld> {
    const world = new SnapshotWorld(1, kind === 'encrypted');
    await world.begin();
    const folder = await world.folder();
    for (const index of before)
      present(await world.write(folder, { ...wanted, index }), 'it is written');
    if (kind === 'plain before') {
      world.isEncrypted = true;
      world.firstSegmentSeq = 2;
      await world.begin();
    } else if (kind === 'encrypted') {
      await world.rotateKeys();
    }
    return world;
  }

  // What was sealed after it was written plain differs in nothing else.
  const own = kind === 'plain before' ? steps.filter(({ name }) => name.startsWith('wrap')) : steps;
  test.each(own)('while $name leaves whole snapshots alone', async (step) => {
    const { name, before, after, run } = step;
    const world = await prepared(before);
    const base = world.disk;
    const allowed = [before, after, ...(name === 'removing and writing again' ? [[]] : [])];
    let effectCount = -1;
    let isOver = false;
    let crashes = 0;
    for (let at = 0; !isOver; at++) {
      world.disk = base.fork();
      await world.begin();
      const folder = await world.folder();
      world.killAt({ kind: 'operation', operation: world.disk.operationCount + at });
      await run(world, folder);
      isOver = !world.isKilled;
      const { disk } = world;
      // Reading leaves the disk as the crash before found it.
      if (!isOver && disk.effectCount === effectCount) continue;
      effectCount = disk.effectCount;

      for (const kept of keptSets(world, disk.unsyncedParts().length)) {
        world.disk = disk.fork();
        world.disk.losePowerKeeping(kept);
        await world.begin();
        expect(isOver ? [after] : allowed, `operation ${at}`).toContainEqual(
          await wholeAfter(world),
        );
        crashes++;
      }
      // A killed process leaves all of it, and the next one goes on.
      world.disk = disk.fork();
      await world.begin();
      await world.write(await world.folder(), { ...wanted, index: 20 });
      expect(await wholeAfter(world)).toContain(20);
    }
    expect(world.reusedNonces).toEqual([]);
    expect(crashes).toBeGreaterThan(kind === 'plain' && name.startsWith('wrapping') ? 0 : 2);
  });

  test('in the middle of an operation leaves whole snapshots alone', async () => {
    for (let seed = 0; seed < 12; seed++) {
      const world = new SnapshotWorld(seed, kind === 'encrypted');
      await world.begin();
      const first = await world.folder();
      await world.write(first, { ...wanted, index: 3 });
      const writing = world.write(first, { ...wanted, index: 8 });
      void writing.catch(() => undefined);
      await world.settle(new Promise((resolve) => setTimeout(resolve, seed % 4)));
      world.crash(seed % 2 === 0 ? 'powerLoss' : 'processKill');
      await world.begin();

      expect([[3], [3, 8]]).toContainEqual(await wholeAfter(world));
    }
  });
});
