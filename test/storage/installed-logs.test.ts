/** A snapshot takes the place of a log, or of its beginning: the old one is there or the new one, wherever the power goes out (specification §7). */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex, term } from '../../src/base/ids.ts';
import type { SimDisk } from '../../src/testing/sim-disk.ts';
import {
  appended,
  committed,
  compact,
  configurationOf,
  type EventList,
  foundWhole,
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
import { frames, type ModelEntry } from './model-frames.ts';
import type { StoreWorld } from './store-world.ts';

/** Entries 1 to 10, of which five are committed, in a closed segment and in the one in use. */
async function tenEntries(isEncrypted = false): Promise<{
  readonly world: StoreWorld;
  readonly told: EventList;
}> {
  const begun = await opened({ partitions: 1, isEncrypted });
  const { world } = begun;
  appended(world, 0, 5);
  await committed(world);
  await restarted(world);
  appended(world, 0, 5);
  world.store?.flush();
  await world.run(40);
  // A newer leader is known.
  world.vote(modelOf(world));
  world.store?.flush();
  await world.run(40);
  return begun;
}

/** Puts a snapshot in the place of the log; the entries that were there, by the model, until it is durable. */
function install(
  world: StoreWorld,
  index: number,
  options: { readonly keepsTail: boolean; readonly term?: number },
): { isDone: boolean; readonly before: readonly ModelEntry[] } {
  const { keepsTail } = options;
  const model = modelOf(world);
  const before = [...model.entries];
  const ownTerm = options.term ?? (keepsTail ? 1 : 2);
  const place = { index: logIndex(index), term: term(ownTerm) };
  const outcome = { isDone: false, before };
  const configuration = configurationOf(model, { index: Math.min(3, index), term: ownTerm });
  logOf(world).install({ ...place, configuration, keepsTail }, () => {
    outcome.isDone = true;
  });
  if (!keepsTail) {
    model.entries = Array.from({ length: index }, () => ({ term: 2, payload: 'in the snapshot' }));
    model.durableIndex = index;
    // What comes to its end from before says nothing any more.
    model.truncationSequence = Number.MAX_SAFE_INTEGER;
  }
  model.commitIndex = Math.max(model.commitIndex, index);
  return outcome;
}

/** What a start finds in a state of the disk: which base, which end, entries in between as they were written. */
async function foundIn(
  world: StoreWorld,
  state: SimDisk,
  before: readonly ModelEntry[],
): Promise<{ readonly baseIndex: number; readonly lastIndex: number }> {
  const after = await openedOn(world, state);
  const found = foundWhole(after);
  const { baseIndex, lastIndex } = found;
  if (baseIndex === 0) modelOf(after).entries = [...before];
  await readFrom(after, 0, baseIndex + 1);
  if (baseIndex > 0) {
    expect(found.configurations.at(-1)?.index).toBe(3);
    expect(found.recordedCommitIndex).toBeGreaterThanOrEqual(baseIndex);
  }
  return { baseIndex, lastIndex };
}

async function outcomesOf(
  world: StoreWorld,
  moments: readonly SimDisk[],
  before: readonly ModelEntry[],
): Promise<string[]> {
  const outcomes = new Set<string>();
  for (const moment of moments)
    for (const state of statesOf(world, moment)) {
      const { baseIndex, lastIndex } = await foundIn(world, state, before);
      outcomes.add(`${baseIndex}–${lastIndex}`);
    }
  return [...outcomes].sort();
}

describe('a log whose place a snapshot takes', () => {
  test.each([false, true])(
    'is the old one or the new one wherever the power goes out (encrypted: %s)',
    async (isEncrypted) => {
      const { world, told } = await tenEntries(isEncrypted);

      const installation = install(world, 20, { keepsTail: false });
      world.store?.flush();
      const moments = await momentsOf(world, 200, () => told.of('segmentRetired').length > 0);

      expect(installation.isDone).toBe(true);
      expect(await outcomesOf(world, moments, installation.before)).toEqual(['0–10', '20–20']);
    },
  );

  test.each([4, 7, 10])('is gone behind a snapshot that ends within it, at %i', async (index) => {
    const { world } = await tenEntries();
    if (index < 5) logOf(world).commitIndex = logIndex(index - 1);

    const installation = install(world, index, { keepsTail: false });
    world.store?.flush();
    const moments = await momentsOf(world, 100);

    const outcomes = await outcomesOf(world, moments, installation.before);
    expect(outcomes).toEqual([`0–10`, `${index}–${index}`]);
    appended(world, 0, 3);
    world.store?.flush();
    await world.run(40);
    // The dead entries of the same indexes do not come back.
    for (let start = 0; start < 2; start++) {
      await restarted(world);
      expect(foundWhole(world)).toMatchObject({ baseIndex: index, lastIndex: index + 3 });
      await readFrom(world, 0, index + 1);
    }
  });

  test('goes on behind it, wherever the power goes out', async () => {
    const { world } = await tenEntries();
    const installation = install(world, 20, { keepsTail: false });
    modelOf(world).truncationSequence = 0;
    appended(world, 0, 2);
    world.store?.flush();
    const moments = await momentsOf(world, 20);
    appended(world, 0, 2);
    world.store?.flush();
    moments.push(...(await momentsOf(world, 20)));

    const outcomes = await outcomesOf(world, moments, installation.before);

    expect(outcomes).toEqual(expect.arrayContaining(['0–10', '20–20', '20–22', '20–24']));
    expect(outcomes.filter((outcome) => !/^0–10$|^20–2[0-4]$/.test(outcome))).toEqual([]);
  });

  test('loses what waited to be written, and what was being written', async () => {
    for (let step = 0; step < 16; step++) {
      const { world } = await tenEntries();
      appended(world, 0, 4);
      if (step > 0) world.store?.flush();
      await world.run(step / 8);
      appended(world, 0, 2);

      const installation = install(world, 14, { keepsTail: false });
      world.store?.flush();
      await world.run(100);

      expect(installation.isDone).toBe(true);
      expect(logOf(world).lastIndex).toBe(14);
      modelOf(world).truncationSequence = 0;
      appended(world, 0, 2);
      world.store?.flush();
      await world.run(50);
      await readFrom(world, 0, 15);
      await restarted(world);
      expect(foundWhole(world)).toMatchObject({ baseIndex: 14, lastIndex: 16 });
      await readFrom(world, 0, 15);
    }
  });

  test('gives its segments back', async () => {
    const { world } = await tenEntries();
    const [first] = segmentsOf(world);
    install(world, 20, { keepsTail: false });
    world.store?.flush();
    await world.run(100);

    expect(segmentsOf(world)).not.toContain(first);
    expect(logOf(world).frameBytes).toBe(0);
    await restarted(world);
    await world.run(100);
    expect(segmentsOf(world)).toHaveLength(1);
  });

  test('keeps none of the configurations that its entries made', async () => {
    const { world } = await tenEntries();
    const model = modelOf(world);
    const replaced = configurationOf(model, { index: 11, term: 1 });
    const batch = frames(model.id, [{ index: 11, term: 1, payload: 'members' }]);
    logOf(world).append({ ...batch, configurations: [replaced] }, 500);
    world.store?.flush();
    await world.run(50);
    install(world, 20, { keepsTail: false });
    world.store?.flush();
    await world.run(50);
    world.crash('powerLoss');
    await world.open();

    expect(foundWhole(world).configurations).toEqual([
      configurationOf(model, { index: 0, term: 0 }),
      configurationOf(model, { index: 3, term: 2 }),
    ]);
  });

  test('is not replaced by what reaches less far', async () => {
    const { world } = await tenEntries();
    install(world, 8, { keepsTail: false });

    expect(() => install(world, 8, { keepsTail: false })).toThrow(/reaches further/);
    expect(() => install(world, 6, { keepsTail: false })).toThrow(/reaches further/);
  });

  test('may be replaced again, and compacted', async () => {
    const { world } = await tenEntries();
    for (const index of [20, 30]) {
      install(world, index, { keepsTail: false });
      modelOf(world).truncationSequence = 0;
      appended(world, 0, 3);
      world.store?.flush();
      await world.run(50);
    }
    modelOf(world).commitIndex = 33;
    logOf(world).commitIndex = logIndex(33);
    compact(world, 0, 32);
    await world.run(50);

    for (let start = 0; start < 2; start++) {
      await restarted(world);
      expect(foundWhole(world)).toMatchObject({ baseIndex: 32, lastIndex: 33 });
      await readFrom(world, 0, 33);
    }
  });

  test('may be one in quarantine, of which nothing is missing then', async () => {
    const { world } = await tenEntries();
    const ranges = [{ firstIndex: logIndex(7), lastIndex: logIndex(9) }];
    const row = { isActive: true, sinceMs: 1, begunMs: [1], ranges };
    logOf(world).persistQuarantine(row, () => undefined);
    world.store?.flush();
    await world.run(50);

    install(world, 10, { keepsTail: false, term: 1 });
    world.store?.flush();
    await world.run(50);
    world.crash('powerLoss');
    await world.open();

    const found = present(world.store?.recovered[0], 'its log');
    expect(found).toMatchObject({ baseIndex: 10, lastIndex: 10, doubt: undefined });
    // It is over when the replica says so.
    expect(found.quarantine).toMatchObject({ missing: [], endIndex: 10 });
    logOf(world).persistQuarantine({ ...row, isActive: false, ranges: [] }, () => undefined);
    world.store?.flush();
    await world.run(50);
    await restarted(world);
    expect(foundWhole(world).baseIndex).toBe(10);
  });
});

describe('a log that has the very entry that a snapshot ends with', () => {
  test.each([
    { index: 3, isEncrypted: false },
    { index: 5, isEncrypted: true },
    { index: 8, isEncrypted: false },
    { index: 10, isEncrypted: false },
  ])('keeps what is behind it ($index)', async ({ index, isEncrypted }) => {
    const { world } = await tenEntries(isEncrypted);

    const installation = install(world, index, { keepsTail: true });
    world.store?.flush();
    const moments = await momentsOf(world, 60);

    expect(installation.isDone).toBe(true);
    await readFrom(world, 0, index + 1);
    const outcomes = new Set<string>();
    for (const moment of moments)
      for (const state of statesOf(world, moment)) {
        const after = await openedOn(world, state);
        const { baseIndex, lastIndex } = foundWhole(after);
        outcomes.add(`${baseIndex}–${lastIndex}`);
        await readFrom(after, 0, baseIndex + 1);
      }
    expect([...outcomes].sort()).toEqual(['0–10', `${index}–10`]);
  });

  test('keeps what waits to be written, and what is being written', async () => {
    for (let step = 0; step < 16; step++) {
      const { world } = await tenEntries();
      appended(world, 0, 4);
      if (step > 0) world.store?.flush();
      await world.run(step / 8);
      appended(world, 0, 2);

      install(world, 8, { keepsTail: true });
      world.store?.flush();
      await world.run(100);

      expect(modelOf(world).durableIndex).toBe(16);
      await readFrom(world, 0, 9);
      await restarted(world);
      expect(foundWhole(world)).toMatchObject({ baseIndex: 8, lastIndex: 16 });
      await readFrom(world, 0, 9);
    }
  });

  test('may be without its machine: the same snapshot again changes nothing', async () => {
    const { world } = await tenEntries();
    compact(world, 0, 5);
    await world.run(50);

    const again = install(world, 5, { keepsTail: true });
    world.store?.flush();
    await world.run(50);

    expect(again.isDone).toBe(true);
    await restarted(world);
    expect(foundWhole(world)).toMatchObject({ baseIndex: 5, lastIndex: 10 });
    await readFrom(world, 0, 6);
  });

  test('takes further truncations behind it', async () => {
    const { world } = await tenEntries();
    install(world, 6, { keepsTail: true });
    world.store?.flush();
    await world.run(50);

    const model = modelOf(world);
    world.vote(model);
    logOf(world).truncateFrom(logIndex(8));
    model.entries = model.entries.slice(0, 7);
    appended(world, 0, 2);
    world.store?.flush();
    await world.run(50);

    for (let start = 0; start < 2; start++) {
      world.crash('powerLoss');
      await world.open();
      expect(foundWhole(world)).toMatchObject({ baseIndex: 6, lastIndex: 9 });
      await readFrom(world, 0, 7);
    }
  });
});

describe('partitions at once', () => {
  test('each has its old log or its new one, and all the others are whole', async () => {
    const { world } = await opened({ partitions: 3 });
    for (const at of [0, 1, 2]) appended(world, at, 6);
    await committed(world);
    world.vote(modelOf(world));
    world.store?.flush();
    await world.run(40);

    const { before } = install(world, 12, { keepsTail: false });
    compact(world, 1, 4);
    appended(world, 2, 2);
    world.store?.flush();
    const moments = await momentsOf(world, 40);

    for (const moment of moments)
      for (const state of statesOf(world, moment, 3)) {
        const after = await openedOn(world, state);
        const { baseIndex } = foundWhole(after);
        if (baseIndex === 0) modelOf(after).entries = [...before];
        await readFrom(after, 0, baseIndex + 1);
        await readFrom(after, 1, foundWhole(after, 1).baseIndex + 1);
        expect(foundWhole(after, 2).lastIndex).toBeGreaterThanOrEqual(6);
        await readFrom(after, 2, 1);
      }
  });
});
