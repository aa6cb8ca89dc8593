/** Where a log begins, by the ledger: with truncations before and behind, over rotations and starts, and in another life (specification §5.5). */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import {
  incarnation,
  logIndex,
  replicaId,
  term,
  type LogIndex,
  type Term,
} from '../../src/base/ids.ts';
import { JournalIndex } from '../../src/storage/journal-index.ts';
import { LedgerImage } from '../../src/storage/ledger-image.ts';
import {
  appended,
  committed,
  compact,
  configurationOf,
  foundWhole,
  ledgerOf,
  logOf,
  modelOf,
  opened,
  readFrom,
  restarted,
  segmentsOf,
} from './compaction-world.ts';
import { frames } from './model-frames.ts';
import type { StoreWorld } from './store-world.ts';

/** Replaces the entries from one on by as many in a higher term. */
async function replaced(world: StoreWorld, fromIndex: number, count: number): Promise<void> {
  const model = modelOf(world);
  world.vote(model);
  const log = logOf(world);
  log.truncateFrom(logIndex(fromIndex));
  model.entries = model.entries.slice(0, fromIndex - 1);
  const added = Array.from({ length: count }, (_, at) => ({
    index: fromIndex + at,
    term: model.hardState,
    payload: `entry ${fromIndex + at} of term ${model.hardState}`,
  }));
  model.entries.push(...added.map(({ term: own, payload }) => ({ term: own, payload })));
  log.append(frames(model.id, added), 10_000 * model.hardState);
  world.store?.flush();
  await world.run(40);
  model.durableIndex = model.entries.length;
}

/** Makes the ledger begin a new generation. */
async function rotated(world: StoreWorld): Promise<void> {
  const before = present(world.store, 'open').statistics().ledgerGeneration;
  while (present(world.store, 'open').statistics().ledgerGeneration === before) {
    world.vote(modelOf(world));
    world.store?.flush();
    await world.run(10);
  }
}

describe('a base with truncations', () => {
  /** Entries of three terms, twice replaced, in two segments. */
  async function twiceReplaced(): Promise<StoreWorld> {
    const { world } = await opened({ partitions: 1 });
    appended(world, 0, 12);
    world.store?.flush();
    await world.run(40);
    await replaced(world, 8, 6);
    await restarted(world);
    await replaced(world, 11, 5);
    modelOf(world).commitIndex = 15;
    logOf(world).commitIndex = logIndex(15);
    return world;
  }

  // Below both truncations, at either, between them, behind both, at the end.
  test.each([5, 6, 7, 8, 9, 10, 11, 12, 14, 15])(
    'at %i is the start of the right log',
    async (index) => {
      for (const doesRotate of [false, true]) {
        const world = await twiceReplaced();

        compact(world, 0, index);
        await world.run(50);
        if (doesRotate) await rotated(world);
        await readFrom(world, 0, index + 1);

        for (let start = 0; start < 2; start++) {
          world.crash('powerLoss');
          await world.open();
          expect(foundWhole(world)).toMatchObject({ baseIndex: index, lastIndex: 15 });
          await readFrom(world, 0, index + 1);
        }
      }
    },
  );

  test('lets entries be replaced behind it, also at once', async () => {
    const world = await twiceReplaced();
    compact(world, 0, 15);
    appended(world, 0, 4);
    world.store?.flush();
    await world.run(40);
    await replaced(world, 16, 2);
    await rotated(world);
    await replaced(world, 17, 3);

    for (let start = 0; start < 2; start++) {
      await restarted(world);
      expect(foundWhole(world)).toMatchObject({ baseIndex: 15, lastIndex: 19 });
      await readFrom(world, 0, 16);
    }
  });

  test('keeps one truncation of those below it', async () => {
    const world = await twiceReplaced();
    compact(world, 0, 13);
    await world.run(50);
    await rotated(world);

    const { image } = await ledgerOf(world.disk.cloneSynced());

    const { truncations, base } = image.row(modelOf(world).id);
    expect(base?.index).toBe(13);
    expect(truncations.map(({ fromIndex }) => fromIndex)).toEqual([14]);
  });
});

describe('a base within the runs of a segment', () => {
  test.each(Array.from({ length: 25 }, (_, at) => at + 1))(
    'at %i is found by a start',
    async (index) => {
      const { world } = await opened({ partitions: 1 });
      for (const count of [10, 10, 5]) {
        appended(world, 0, count);
        await committed(world);
        if (count === 10) await restarted(world);
      }
      compact(world, 0, index);
      await world.run(100);
      const segments = segmentsOf(world);

      // The first start has no index of the segment that was in use, the second one has.
      for (let start = 0; start < 3; start++) {
        world.crash('powerLoss');
        await world.open();
        expect(foundWhole(world)).toMatchObject({
          baseIndex: index,
          baseTerm: 1,
          lastIndex: 25,
          recordedCommitIndex: Math.max(index, 20),
          termRuns: index === 25 ? [] : [{ firstIndex: index + 1, term: 1 }],
        });
        await readFrom(world, 0, index + 1);
        await world.run(500);
        await readFrom(world, 0, index + 1);
        const left = segmentsOf(world).filter((segmentSeq) => segments.includes(segmentSeq));
        expect(left).toEqual(index === 25 ? [] : segments);
      }
    },
  );

  test('keeps the configuration that is in force there, and room in the books', async () => {
    const { world } = await opened({ partitions: 1 });
    const model = modelOf(world);
    appended(world, 0, 4);
    await committed(world);
    const configuration = configurationOf(model, { index: 5, term: 1 });
    const batch = frames(model.id, [{ index: 5, term: 1, payload: 'members' }]);
    logOf(world).append({ ...batch, configurations: [configuration] }, 500);
    model.entries.push({ term: 1, payload: 'members' });
    await world.run(0);
    appended(world, 0, 5);
    world.store?.flush();
    await world.run(40);
    logOf(world).commitIndex = logIndex(10);

    logOf(world).compact({ index: logIndex(8), term: term(1) });
    world.store?.flush();
    await world.run(50);
    await rotated(world);
    world.crash('powerLoss');
    await world.open();

    const { configurations } = foundWhole(world);
    expect(configurations.at(-1)).toEqual(configuration);
  });
});

describe('a new life', () => {
  test.each([false, true])(
    'begins without the base of the one before (rotated: %s)',
    async (doesRotate) => {
      const { world } = await opened({ partitions: 1 });
      const model = modelOf(world);
      appended(world, 0, 10);
      await committed(world);
      compact(world, 0, 10);
      await world.run(50);
      const life = incarnation('018f0000-0000-7000-8000-0000000000ff');
      const replica = {
        partitionId: model.id,
        replicaId: replicaId(1),
        incarnation: life,
        configuration: configurationOf(model, { index: 0, term: 0 }),
      };

      await world.settle(present(world.store, 'open').replaceReplica(replica, () => undefined));
      logOf(world).append(frames(model.id, [{ index: 1, term: 1, payload: 'the first' }]), 900);
      model.entries = [{ term: 1, payload: 'the first' }];
      model.commitIndex = 0;
      world.store?.flush();
      await world.run(50);
      if (doesRotate) await rotated(world);

      await readFrom(world, 0, 1);
      for (let start = 0; start < 2; start++) {
        await restarted(world);
        expect(foundWhole(world)).toMatchObject({ incarnation: life, baseIndex: 0, lastIndex: 1 });
        await readFrom(world, 0, 1);
      }
    },
  );
});

describe('the ledger', () => {
  const id = '018c0d6c-9c11-7e9d-8000-000000000001' as ReturnType<typeof modelOf>['id'];
  const base = (index: number) =>
    ({ kind: 'snapshotBase', partitionId: id, index: logIndex(index), term: term(1) }) as const;

  test('whose bases fall contradicts itself', () => {
    const image = new LedgerImage();
    image.apply(base(5));
    image.apply(base(5));

    expect(() => image.apply(base(4))).toThrow(
      expect.objectContaining({ code: 'CLUSTOR_INTEGRITY' }),
    );
  });

  test('knows as durable and as committed what is below a base', () => {
    const image = new LedgerImage();
    image.apply(base(5));

    expect(image.row(id).durability).toEqual({ term: 1, index: 5, commitIndex: 5 });
    image.apply({
      kind: 'durability',
      partitionId: id,
      term: term(2),
      index: logIndex(9),
      commitIndex: logIndex(6),
    });
    image.apply(base(8));
    expect(image.row(id).durability).toEqual({ term: 2, index: 9, commitIndex: 8 });
  });
});

describe('where entries are', () => {
  const run = (firstIndex: number, count: number) => ({
    firstIndex: firstIndex as LogIndex,
    count,
    term: 1 as Term,
    block: 0,
    offset: 0,
  });

  test('a segment of which only rows below the base are left holds nothing', () => {
    const index = new JournalIndex();
    index.push(run(1, 10));
    index.dropThrough(logIndex(5));
    index.truncateFrom(logIndex(6));

    const rows: number[] = [];
    index.closeSegment(1, ({ firstIndex }) => rows.push(firstIndex));

    expect(rows).toEqual([1]);
    expect(index.heldIn(1)).toEqual([]);
    index.push(run(6, 2));
    expect(index.locate(logIndex(6))?.kind).toBe('open');
    expect(index.locate(logIndex(5))).toBeUndefined();
  });

  test('such a segment goes, and nobody looks at it for ever', async () => {
    const { world } = await opened({ partitions: 2, isEncrypted: true });
    const keys = present(world.store, 'open').keyDesk;
    appended(world, 0, 10);
    world.store?.flush();
    await world.run(40);
    const [first] = segmentsOf(world);
    logOf(world).commitIndex = logIndex(5);
    compact(world, 0, 5);
    await world.run(40);
    logOf(world).truncateFrom(logIndex(6));
    world.store?.flush();
    await world.run(40);
    for (let round = 0; round < 4; round++) {
      appended(world, 1, 1);
      world.store?.flush();
      await world.settle(keys.rotate());
      await world.run(3_000);
    }

    appended(world, 1, 1);
    world.store?.flush();
    await world.run(40);

    expect(world.scheduler.nowMs).toBeGreaterThan(12_000);
    expect(segmentsOf(world)).toContain(first);
    modelOf(world, 1).commitIndex = 4;
    logOf(world, 1).commitIndex = logIndex(4);
    compact(world, 1, 4);
    await world.run(1_000);
    expect(segmentsOf(world)).not.toContain(first);
  });
});
