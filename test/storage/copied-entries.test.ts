/** The few entries that keep a segment are written anew behind everything else, so that it can go (specification §5.1, DUR-5). */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { incarnation, logIndex, replicaId } from '../../src/base/ids.ts';
import { blockOffset, segmentFileName } from '../../src/codec/segment-format.ts';
import {
  appended,
  committed,
  compact,
  configurationOf,
  type EventList,
  foundWhole,
  ledgerOf,
  logOf,
  modelOf,
  momentsOf,
  opened,
  openedOn,
  readFrom,
  restarted,
  segmentsOf,
  statesOf,
} from './compaction-world.ts';
import { frames } from './model-frames.ts';
import type { StoreWorld } from './store-world.ts';
import type { FrameBatch } from '../../src/storage/log-store-types.ts';

interface Begun {
  readonly world: StoreWorld;
  readonly told: EventList;
  /** The oldest segment. */
  readonly first: number;
}

/**
 * Four closed segments and one in use. The oldest holds a hundred entries of the first partition and two of each other one;
 * those behind it hold entries of the first one, and of the second where it goes on.
 */
async function fourSegments(options: {
  readonly laggards?: number;
  readonly isEncrypted?: boolean;
  readonly goesOn?: boolean;
}): Promise<Begun> {
  const { laggards = 1, isEncrypted = false, goesOn = false } = options;
  const { world, told } = await opened({ partitions: 1 + laggards, isEncrypted });
  appended(world, 0, 100, 3_000);
  for (let at = 1; at <= laggards; at++) appended(world, at, 2);
  await committed(world);
  const [first = 0] = segmentsOf(world);
  for (let round = 0; round < 4; round++) {
    await restarted(world);
    appended(world, 0, 3);
    if (goesOn) appended(world, 1, 2);
    await committed(world);
  }
  await world.run(500);
  expect(segmentsOf(world)).toHaveLength(5);
  return { world, told, first };
}

/** Whether an event says that something went wrong. */
function complaints(told: EventList): readonly unknown[] {
  return [...told.of('warn'), ...told.of('error')];
}

describe('the few entries that keep the oldest segment', () => {
  test.each([false, true])('are copied, and it goes (encrypted: %s)', async (isEncrypted) => {
    const { world, told, first } = await fourSegments({ isEncrypted, laggards: 3 });

    compact(world, 0, 100);
    await world.run(300);

    expect(segmentsOf(world)).not.toContain(first);
    for (const at of [1, 2, 3]) await readFrom(world, at, 1);
    await readFrom(world, 0, 101);
    expect(complaints(told)).toEqual([]);
    for (let start = 0; start < 2; start++) {
      await restarted(world);
      for (const at of [0, 1, 2, 3]) foundWhole(world, at);
      for (const at of [1, 2, 3]) await readFrom(world, at, 1);
    }
    expect(world.reusedNonces).toEqual([]);
  });

  test('stay where they are as long as few segments are there', async () => {
    const { world } = await opened({ partitions: 2 });
    appended(world, 0, 100, 3_000);
    appended(world, 1, 2);
    await committed(world);
    const [first] = segmentsOf(world);
    await restarted(world);

    compact(world, 0, 100);
    await world.run(300);

    expect(segmentsOf(world)).toContain(first);
  });

  test('stay where they are while they are not committed', async () => {
    const { world, told, first } = await fourSegments({});
    logOf(world, 1).commitIndex = logIndex(1);

    compact(world, 0, 100);
    await world.run(300);

    expect(segmentsOf(world)).toContain(first);
    expect(complaints(told)).toEqual([]);
  });

  test('can be read at every moment', async () => {
    const { world, told, first } = await fourSegments({ laggards: 2, goesOn: true });

    compact(world, 0, 100);
    const reads: Promise<FrameBatch>[] = [];
    let under = 0;
    let eventsBehind = 0;
    await world.run(300, () => {
      // Some are under way all the time.
      for (const index of under < 6 ? [1, 2].map(logIndex) : []) {
        under++;
        const read = logOf(world, 1 + (reads.length % 4 < 2 ? 0 : 1)).read(index, logIndex(2), 1);
        reads.push(read.finally(() => under--));
      }
      if (told.of('segmentRetired').length === 0) return false;
      return ++eventsBehind > 20;
    });

    expect(segmentsOf(world)).not.toContain(first);
    expect(reads.length).toBeGreaterThan(20);
    const batches = await world.settle(Promise.all(reads));
    const indexes = batches?.map(({ firstIndex }) => firstIndex);
    expect(indexes).toEqual(reads.map((_, at) => 1 + (at % 2)));
    await readFrom(world, 1, 1);
    expect(complaints(told)).toEqual([]);
  });

  test('are never read where they are being written', async () => {
    const { world, first } = await fourSegments({});

    compact(world, 0, 100);
    const { index } = logOf(world, 1);
    const places: string[] = [];
    await world.run(300, () => {
      const place = index.locate(logIndex(1));
      const kind = place?.kind === 'closed' ? `segment ${place.range.segmentSeq}` : place?.kind;
      const { segmentSeq, endOffset } = present(world.store, 'open').statistics();
      const end = world.disk.findSynced(`/data/wal/${segmentFileName(segmentSeq)}`);
      const isWritten = (end?.syncedPageNumbers() ?? []).includes(endOffset / 4096 - 1);
      if (places.at(-1) !== kind) places.push(`${kind}`);
      expect(kind === 'open' ? isWritten : true).toBe(true);
      return false;
    });

    expect(places).toEqual([`segment ${first}`, 'open']);
  });

  test.each([
    { isEncrypted: false, goesOn: false },
    { isEncrypted: false, goesOn: true },
    { isEncrypted: true, goesOn: true },
  ])('are there wherever the power goes out (%o)', async (kind) => {
    const { world, told, first } = await fourSegments(kind);

    compact(world, 0, 100);
    const moments = await momentsOf(world, 300, () => told.of('segmentRetired').length > 0);

    const copied = new Set<string>();
    for (const moment of moments)
      for (const state of statesOf(world, moment)) {
        const { moved } = (await ledgerOf(state.fork())).image.row(modelOf(world, 1).id);
        const after = await openedOn(world, state);
        foundWhole(after);
        expect(foundWhole(after, 1).lastIndex).toBe(modelOf(world, 1).entries.length);
        copied.add(`${moved.length > 0} ${segmentsOf(after).includes(first)}`);
        await readFrom(after, 1, 1);
      }
    // Not copied; in both places; in the new one alone.
    expect([...copied].sort()).toEqual(['false true', 'true false', 'true true']);
  });

  test('are there behind a rotation of the ledger, and a second copy', async () => {
    const { world, first } = await fourSegments({});
    compact(world, 0, 100);
    await world.run(300);
    expect(segmentsOf(world)).not.toContain(first);
    const generation = present(world.store, 'open').statistics().ledgerGeneration;
    for (let round = 0; round < 60; round++) {
      world.vote(modelOf(world));
      world.store?.flush();
      await world.run(10);
    }
    expect(present(world.store, 'open').statistics().ledgerGeneration).toBeGreaterThan(generation);
    await readFrom(world, 1, 1);

    // The segment of the copies is the oldest one some day.
    appended(world, 0, 100, 3_000);
    await committed(world);
    for (let round = 0; round < 4; round++) {
      await restarted(world);
      appended(world, 0, 3);
      await committed(world);
    }
    compact(world, 0, 212);
    await world.run(500);

    const { moved } = (await ledgerOf(world.disk.cloneSynced())).image.row(modelOf(world, 1).id);
    expect(moved).toMatchObject([{ firstIndex: 1, lastIndex: 2, cause: 'copy' }]);
    expect(segmentsOf(world)).toContain(moved[0]?.toSegment);
    await readFrom(world, 1, 1);
    await restarted(world);
    foundWhole(world, 1);
    await readFrom(world, 1, 1);
  });

  test('that cannot be read are told of once, and keep their segment', async () => {
    const { world, told, first } = await fourSegments({});
    const path = `/data/wal/${segmentFileName(first)}`;
    const file = present(world.disk.find(path), 'the segment');
    // Theirs are the last frames in it; behind them stands the trailer.
    const end = Math.floor(file.sizeBytes / 4096 - 1) * 4096;
    world.disk.flipBit(path, end - 4096 + 60, 1);
    world.disk.flipBit(path, blockOffset(0) + 1, 1);

    compact(world, 0, 100);
    await world.run(5_000);
    compact(world, 0, 101);
    await world.run(5_000);

    expect(world.lost.map(({ partitionId }) => partitionId)).toEqual([modelOf(world, 1).id]);
    expect(told.of('segmentsNotRetired')).toHaveLength(1);
    expect(segmentsOf(world)).toContain(first);
  });

  test('are not copied while a partition is in quarantine', async () => {
    const { world, first } = await fourSegments({ laggards: 2 });
    const ranges = [{ firstIndex: logIndex(2), lastIndex: logIndex(2) }];
    const row = { isActive: true, sinceMs: 1, begunMs: [1], ranges };
    logOf(world, 2).persistQuarantine(row, () => undefined);
    const before = present(world.store, 'open').statistics().dataFlushes;

    compact(world, 0, 100);
    await world.run(300);

    expect(segmentsOf(world)).toContain(first);
    expect(present(world.store, 'open').statistics().dataFlushes).toBe(before);
  });
});

describe('entries that are being copied', () => {
  const steps = Array.from({ length: 32 }, (_, at) => at / 8);

  test.each(steps)('are given up for a snapshot, %d ms later', async (afterMs) => {
    const { world, told, first } = await fourSegments({});
    const model = modelOf(world, 1);
    compact(world, 0, 100);
    await world.run(afterMs);

    let isInstalled = false;
    while (model.entries.length < 9) model.entries.push({ term: 1, payload: 'in the snapshot' });
    const place = { index: 9, term: 1 };
    logOf(world, 1).install(
      {
        index: logIndex(9),
        term: present(logOf(world, 1).hardState, 'a term').term,
        configuration: configurationOf(model, place),
        keepsTail: false,
      },
      () => (isInstalled = true),
    );
    appended(world, 1, 2);
    world.store?.flush();
    await world.run(300);

    expect(isInstalled).toBe(true);
    expect(segmentsOf(world)).not.toContain(first);
    await readFrom(world, 1, 10);
    expect(complaints(told)).toEqual([]);
    await restarted(world);
    expect(foundWhole(world, 1)).toMatchObject({ baseIndex: 9, lastIndex: 11 });
    await readFrom(world, 1, 10);
  });

  test.each(steps)('begin no other life of their replica, %d ms later', async (afterMs) => {
    const { world, told, first } = await fourSegments({});
    const model = modelOf(world, 1);
    compact(world, 0, 100);
    await world.run(afterMs);

    const life = incarnation('018f0000-0000-7000-8000-0000000000ff');
    const replica = {
      partitionId: model.id,
      replicaId: replicaId(1),
      incarnation: life,
      configuration: configurationOf(model, { index: 0, term: 0 }),
    };
    await world.settle(present(world.store, 'open').replaceReplica(replica, () => undefined));
    logOf(world, 1).append(frames(model.id, [{ index: 1, term: 1, payload: 'another one' }]), 900);
    world.store?.flush();
    await world.run(300);

    expect(complaints(told)).toEqual([]);
    model.entries = [{ term: 1, payload: 'another one' }];
    await readFrom(world, 1, 1);
    await restarted(world);
    expect(foundWhole(world, 1)).toMatchObject({ incarnation: life, baseIndex: 0, lastIndex: 1 });
    await readFrom(world, 1, 1);
    // Nothing is left of the old one.
    compact(world, 0, 101);
    await world.run(300);
    expect(segmentsOf(world)).not.toContain(first);
  });

  test.each(steps)('are written or not when the store closes, %d ms later', async (afterMs) => {
    const { world, told } = await fourSegments({ laggards: 2 });
    compact(world, 0, 100);
    await world.run(afterMs);

    const before = world.scheduler.nowMs;
    await world.settle(present(world.store, 'open').close());
    expect(world.scheduler.nowMs - before).toBeLessThan(1_000);
    world.crash('processKill');
    await world.open();

    for (const at of [1, 2]) {
      foundWhole(world, at);
      await readFrom(world, at, 1);
    }
    expect(complaints(told)).toEqual([]);
  });

  test.each(steps.slice(0, 20))(
    'hold up nobody when they are given up, %d ms later',
    async (ms) => {
      for (const thenMs of [0, 0.25, 0.75]) {
        const { world } = await fourSegments({ laggards: 2 });
        compact(world, 0, 100);
        await world.run(ms);
        for (const at of [1, 2]) {
          const configuration = configurationOf(modelOf(world, at), { index: 9, term: 1 });
          const { term } = logOf(world, at).hardState;
          const snapshot = { index: logIndex(9), term, configuration, keepsTail: false };
          logOf(world, at).install(snapshot, () => undefined);
          world.store?.flush();
          await world.run(thenMs);
        }

        const before = world.scheduler.nowMs;
        await world.settle(present(world.store, 'open').close());

        expect(world.scheduler.nowMs - before).toBeLessThan(1_000);
      }
    },
  );
});
