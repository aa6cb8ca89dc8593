/** Segments that no log needs go, with the power going out at every change of the disk (specification §8.1, DUR-5). */
import { afterEach, describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex } from '../../src/base/ids.ts';
import { segmentFileName } from '../../src/codec/segment-format.ts';
import { SimFileSystem } from '../../src/testing/sim-file-system.ts';
import {
  appended,
  committed,
  compact,
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
import type { StoreWorld } from './store-world.ts';

/** Two closed segments of ten entries each, and one in use with five more. */
async function threeSegments(
  isEncrypted = false,
  seed = 1,
): Promise<Awaited<ReturnType<typeof opened>>> {
  const begun = await opened({ partitions: 1, isEncrypted, seed });
  const { world } = begun;
  for (const count of [10, 10, 5]) {
    appended(world, 0, count);
    await committed(world);
    if (count === 10) await restarted(world);
  }
  // Trailers are written.
  await world.run(500);
  return begun;
}

/** What comes first where nothing makes it wait is drawn anew with each of them. */
const seeds = [1, 2, 3, 4, 5, 6];

function retired(world: StoreWorld): number {
  return present(world.store, 'open').statistics().segmentsRetired;
}

describe('a segment that holds no live entry any more', () => {
  test('goes, with its index, once the log begins behind it', async () => {
    const { world, told } = await threeSegments();
    const [first] = segmentsOf(world);

    compact(world, 0, 10);
    await world.run(100);

    expect(retired(world)).toBe(1);
    expect(segmentsOf(world)).not.toContain(first);
    expect(world.disk.list('/data/wal').filter((name) => name.endsWith('.idx'))).toHaveLength(1);
    expect(told.of('segmentRetired').map(({ fields }) => fields)).toEqual([{ segmentSeq: first }]);
    await readFrom(world, 0, 11);
    await expect(world.settle(logOf(world).read(logIndex(10), logIndex(12), 100))).rejects.toThrow(
      expect.objectContaining({ code: 'CLUSTOR_LOG_COMPACTED' }),
    );
  });

  test('stays while the last of its entries is above the base', async () => {
    const { world } = await threeSegments();
    const before = segmentsOf(world);

    compact(world, 0, 9);
    await world.run(100);

    expect(segmentsOf(world)).toEqual(before);
    await readFrom(world, 0, 10);
  });

  test('takes no room: neither of the node nor of the partition', async () => {
    const { world } = await threeSegments();
    const before = present(world.store, 'open').statistics().journalBytes;
    const { frameBytes } = logOf(world);

    compact(world, 0, 20);
    await world.run(100);

    expect(retired(world)).toBe(2);
    expect(present(world.store, 'open').statistics().journalBytes).toBeLessThan(before / 2);
    expect(logOf(world).frameBytes).toBeCloseTo((frameBytes * 5) / 25);
  });

  test.each(seeds)(
    'goes behind its record, which comes behind the base (seed %i)',
    async (seed) => {
      const { world } = await threeSegments(false, seed);
      const [first = 0] = segmentsOf(world);

      compact(world, 0, 10);
      const moments = await momentsOf(world, 100);

      const stages: string[] = [];
      for (const moment of moments) {
        const surely = moment.cloneSynced();
        // Its name may come back with a power failure, and its record must have come before.
        const isThere = moment.find(`/data/wal/${segmentFileName(first)}`) !== undefined;
        const { image } = await ledgerOf(surely);
        const base = image.row(modelOf(world).id).base?.index ?? 0;
        const stage = `base ${base}, ${image.segments.has(first) ? 'known' : 'unknown'}, ${isThere ? 'there' : 'gone'}`;
        if (stages.at(-1) !== stage) stages.push(stage);
      }
      expect(stages).toEqual([
        'base 0, known, there',
        'base 10, known, there',
        'base 10, unknown, there',
        'base 10, unknown, gone',
      ]);
    },
  );

  test.each(seeds)('leaves a whole log wherever the power goes out (seed %i)', async (seed) => {
    const { world, told } = await threeSegments(seed % 2 === 0, seed);

    compact(world, 0, 20);
    appended(world, 0, 2);
    const moments = await momentsOf(world, 60, () => told.of('segmentRetired').length === 2);

    expect(told.of('segmentRetired')).toHaveLength(2);
    const bases = new Set<number>();
    for (const moment of moments)
      for (const state of statesOf(world, moment)) {
        const after = await openedOn(world, state);
        const { baseIndex, lastIndex } = foundWhole(after);
        bases.add(baseIndex);
        expect(lastIndex).toBeGreaterThanOrEqual(25);
        await readFrom(after, 0, baseIndex + 1);
      }
    expect([...bases].sort((left, right) => left - right)).toEqual([0, 20]);
  });

  test('goes at the next start, whatever the crash left of it', async () => {
    const { world, told } = await threeSegments();
    const [first = 0, second = 0] = segmentsOf(world);

    compact(world, 0, 20);
    const moments = await momentsOf(world, 60, () => told.of('segmentRetired').length === 2);

    for (const moment of moments) {
      const after = await openedOn(world, moment.fork());
      await after.run(200);
      const { baseIndex } = foundWhole(after);
      const left = segmentsOf(after).filter((segmentSeq) => segmentSeq <= second);
      expect(left).toEqual(baseIndex === 20 ? [] : [first, second]);
      // And the start behind that one finds nothing to do.
      await restarted(after);
      expect(foundWhole(after).baseIndex).toBe(baseIndex);
      await readFrom(after, 0, baseIndex + 1);
    }
  });

  test('is a stray when its record is durable, whether its file is there or gone', async () => {
    const { world } = await threeSegments();
    const [first = 0] = segmentsOf(world);
    const path = `/data/wal/${segmentFileName(first)}`;

    compact(world, 0, 10);
    const moments = await momentsOf(world, 100);

    const seen = new Set<boolean>();
    for (const moment of moments) {
      const surely = moment.cloneSynced();
      if ((await ledgerOf(surely)).image.segments.has(first)) continue;
      seen.add(surely.find(path) !== undefined);
      const after = await openedOn(world, surely);
      expect(foundWhole(after).baseIndex).toBe(10);
      expect(after.disk.find(path)).toBeUndefined();
      await readFrom(after, 0, 11);
    }
    expect(seen).toEqual(new Set([true, false]));
  });

  test('stays as long as another partition has an entry in it', async () => {
    const { world } = await opened({ partitions: 2 });
    appended(world, 0, 10);
    appended(world, 1, 10);
    await committed(world);
    const [first] = segmentsOf(world);
    await restarted(world);

    compact(world, 0, 10);
    await world.run(100);
    expect(segmentsOf(world)).toContain(first);
    await readFrom(world, 1, 1);
    compact(world, 1, 10);
    await world.run(100);

    expect(segmentsOf(world)).not.toContain(first);
  });

  test('goes when the segment in use is left, if that was all it held', async () => {
    const { world, told } = await opened({ partitions: 1, isEncrypted: true });
    // So large that its trailer, and to seal it anew, take a while.
    appended(world, 0, 3, 1_200_000);
    await committed(world);
    appended(world, 0, 10);
    await committed(world);
    const [first] = segmentsOf(world);
    compact(world, 0, 13);
    await world.run(100);
    expect(segmentsOf(world)).toContain(first);

    await world.settle(present(world.store, 'open').keyDesk.rotate());
    await world.run(15_000);

    expect(segmentsOf(world)).not.toContain(first);
    expect([...told.of('warn'), ...told.of('error')]).toEqual([]);
    appended(world, 0, 3);
    await committed(world);
    await readFrom(world, 0, 14);
  });
});

describe('a segment that somebody works on', () => {
  const prototype = SimFileSystem.prototype;
  const { readFile } = prototype;
  afterEach(() => {
    prototype.readFile = readFile;
  });

  /** Whether all is well some time later, in the next process as well. */
  async function isWell(world: StoreWorld, firstIndex: number): Promise<void> {
    await world.run(20_000);
    await readFrom(world, 0, firstIndex);
    expect({ failures: world.failures, damages: world.damages }).toEqual({
      failures: 0,
      damages: [],
    });
    expect(world.disk.list('/data/wal').filter((name) => name.endsWith('.rewrite'))).toEqual([]);
    expect(world.reusedNonces).toEqual([]);
    await restarted(world);
    foundWhole(world);
    await readFrom(world, 0, firstIndex);
  }

  const delays = Array.from({ length: 24 }, (_, at) => at);

  test.each(delays)('to seal it anew goes all the same, %i steps later', async (step) => {
    const { world, told } = await threeSegments(true);
    const before = segmentsOf(world);

    const rotated = present(world.store, 'open').keyDesk.rotate();
    await world.run(step < 12 ? step / 3 : (step - 11) * 9);
    compact(world, 0, 20);
    await world.settle(rotated);
    await world.run(5_000);

    expect(
      segmentsOf(world).filter((segmentSeq) => before.slice(0, 2).includes(segmentSeq)),
    ).toEqual([]);
    expect([...told.of('warn'), ...told.of('error')]).toEqual([]);
    await isWell(world, 21);
  });

  test.each(delays)('to give it its trailer goes behind that, %i steps later', async (step) => {
    const { world, told } = await opened({ partitions: 1 });
    // Large enough that its trailer takes a while.
    for (let round = 0; round < 4; round++) {
      appended(world, 0, 1);
      logOf(world);
      await committed(world);
    }
    appended(world, 0, 3, 400_000);
    await committed(world);
    const last = modelOf(world).entries.length;
    const [first] = segmentsOf(world);
    await restarted(world);
    appended(world, 0, 1);
    await committed(world);

    await world.run(step * 6);
    compact(world, 0, last);
    await world.run(2_000);

    expect(segmentsOf(world)).not.toContain(first);
    expect([...told.of('warn'), ...told.of('error')]).toEqual([]);
    await isWell(world, last + 1);
  });

  test.each(delays)('to read it back is no damage, %i steps later', async (step) => {
    const { world, told } = await threeSegments(step % 2 === 0);

    await world.settle(present(world.store, 'open').scrub.start());
    await world.run(step / 8);
    compact(world, 0, 20);
    await world.run(1_000);

    expect(retired(world)).toBe(2);
    expect([...told.of('warn'), ...told.of('error')]).toEqual([]);
    await isWell(world, 21);
  });

  test.each(delays)('to read entries is no damage either, %i steps later', async (step) => {
    const { world } = await threeSegments();

    compact(world, 0, 20);
    await world.run(step / 16);
    const read = logOf(world).read(logIndex(5), logIndex(20), 1 << 20);
    const outcome = await world.settle(
      read.then(
        ({ firstIndex }) => `entries from ${firstIndex}`,
        (error: unknown) => (error as { code: string }).code,
      ),
    );

    expect(outcome).toMatch(/^entries from 5$|^CLUSTOR_LOG_COMPACTED$/);
    expect(world.lost).toEqual([]);
    await isWell(world, 21);
  });

  test('to find an entry in it is no damage, however long that takes', async () => {
    const { world } = await threeSegments();
    await restarted(world);
    let goOn: () => void = () => undefined;
    prototype.readFile = async function (path) {
      if (path.endsWith('.idx'))
        await new Promise<void>((resolve) => {
          goOn = resolve;
        });
      return readFile.call(this, path);
    };

    const read = logOf(world).read(logIndex(5), logIndex(20), 1 << 20);
    compact(world, 0, 20);
    await world.run(500);
    expect(retired(world)).toBeGreaterThan(1);
    goOn();

    await expect(world.settle(read)).rejects.toMatchObject({ code: 'CLUSTOR_LOG_COMPACTED' });
    expect(world.lost).toEqual([]);
  });
});
