import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { partitionId } from '../../src/base/ids.ts';
import { blockBytes } from '../../src/codec/segment-format.ts';
import { rangesAt, type DiskPlace } from '../../src/testing/damage-map.ts';
import { wholeLog } from '../../src/testing/fault-atlas.ts';
import { installFaultPlan, type FaultHooks } from '../../src/testing/fault-install.ts';
import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

const partition = partitionId('018c0d6c-9c11-7e9d-8000-000000000001');

function equal(left: Uint8Array | undefined, right: Uint8Array | undefined): boolean {
  return Buffer.compare(left ?? Buffer.alloc(0), right ?? Buffer.alloc(0)) === 0;
}

/** A node with some entries of several sizes on its disk. */
async function written(seed: number): Promise<{
  readonly scenario: ScenarioCluster;
  readonly segment: string;
  readonly lastIndex: number;
}> {
  const scenario = await ScenarioCluster.start(seed);
  const leader = await scenario.untilLeader();
  for (let at = 0; at < 12; at++)
    await scenario.settle(scenario.write(leader, 'key', 'x'.repeat(at * 900)));
  await scenario.advance(200);
  const disk = scenario.world.disk(scenario.nodeIds[0]!);
  const segments = disk
    .paths()
    .filter((path) => path.includes('/segment-') && path.endsWith('.log'))
    .filter((path) => disk.syncedPageNumbers(path).length > 1);
  const lastIndex = scenario.replica(scenario.nodeIds[0]!).state.durableIndex;
  return { scenario, segment: present(segments.at(-1), 'a written segment'), lastIndex };
}

describe('what a place on a disk holds', () => {
  test('in a block of a segment: the entries that stand in it, also those that go on in the next', async () => {
    const { scenario, segment, lastIndex } = await written(1);
    const disk = scenario.world.disk(scenario.nodeIds[0]!);
    const indexes = new Set<number>();
    let shared = 0;
    for (const page of disk.syncedPageNumbers(segment).slice(1)) {
      const place = { path: segment, position: page * blockBytes + 100 };
      for (const { firstIndex, lastIndex: last } of rangesAt(disk, place, [partition])) {
        expect(last, 'one entry each').toBe(firstIndex);
        if (indexes.has(firstIndex)) shared++;
        indexes.add(firstIndex);
      }
    }

    expect([...indexes].toSorted((left, right) => left - right)).toEqual(
      Array.from({ length: lastIndex }, (_, at) => at + 1),
    );
    expect(shared, 'long entries span blocks').toBeGreaterThan(3);
  });

  test('where nothing was written yet: nothing', async () => {
    const { scenario, segment } = await written(2);
    const disk = scenario.world.disk(scenario.nodeIds[0]!);
    const behind = present(disk.syncedPageNumbers(segment).at(-1), 'a page') + 5;

    expect(rangesAt(disk, { path: segment, position: behind * blockBytes }, [partition])).toEqual(
      [],
    );
  });

  test('in a header, a ledger, or a block that cannot be read: everything', async () => {
    const { scenario, segment } = await written(3);
    const disk = scenario.world.disk(scenario.nodeIds[0]!);
    const block = present(disk.syncedPageNumbers(segment)[1], 'a written block') * blockBytes;
    const everything = [wholeLog(partition)];
    expect(rangesAt(disk, { path: segment, position: block }, [partition])).not.toEqual(everything);

    disk.flipBit(segment, block + 20, 3);

    const ledger = '/data/wal/durability.log';
    expect(rangesAt(disk, { path: segment, position: block }, [partition])).toEqual(everything);
    expect(rangesAt(disk, { path: segment, position: 7 }, [partition])).toEqual(everything);
    expect(rangesAt(disk, { path: ledger, position: 4_096 }, [partition])).toEqual(everything);
  });
});

test.each([
  { what: 'by nobody', mayDamage: undefined, isDamaged: false },
  { what: 'and refused', mayDamage: () => false, isDamaged: false },
  { what: 'and allowed', mayDamage: () => true, isDamaged: true },
])('a bit rots where the books were asked $what: $isDamaged', async ({ mayDamage, isDamaged }) => {
  const { scenario } = await written(4);
  const { world } = scenario;
  const id = scenario.nodeIds[0]!;
  const place = { isOfJournal: false, fileFraction: 0.5, byteFraction: 0.5 };
  const hooks: FaultHooks = {
    leader: () => undefined,
    crashed: () => undefined,
    restart: () => undefined,
    ...(mayDamage === undefined ? {} : { mayDamage }),
  };
  const bytesOf = (): (Uint8Array | undefined)[] =>
    world
      .disk(id)
      .paths()
      .map((path) => world.disk(id).syncedBytes(path));
  const before = bytesOf();

  const counts = installFaultPlan(
    world,
    [{ atMs: world.nowMs, action: { kind: 'bitRot', nodeId: id, ...place } }],
    hooks,
  );
  await world.run({ untilMs: world.nowMs, drainMicrotasks: () => Promise.resolve() });

  expect(counts.bitRot).toBe(isDamaged ? 1 : 0);
  const changed = bytesOf().filter((bytes, at) => !equal(bytes, before[at]));
  expect(changed).toHaveLength(isDamaged ? 1 : 0);
});

test('rot that is aimed at the journal hits a block of it that holds entries, wherever it is drawn', async () => {
  const { scenario } = await written(5);
  const { world } = scenario;
  const id = scenario.nodeIds[0]!;
  const places: DiskPlace[] = [];
  const hooks: FaultHooks = {
    leader: () => undefined,
    crashed: () => undefined,
    restart: () => undefined,
    mayDamage: (_, asked) => {
      places.push(...(asked ?? []));
      return false;
    },
  };
  const fractions = [0, 0.3, 0.6, 0.999];
  const plan = fractions.flatMap((fileFraction) =>
    fractions.map((byteFraction) => ({
      atMs: world.nowMs,
      action: {
        kind: 'bitRot',
        nodeId: id,
        isOfJournal: true,
        fileFraction,
        byteFraction,
      } as const,
    })),
  );

  installFaultPlan(world, plan, hooks);
  await world.run({ untilMs: world.nowMs, drainMicrotasks: () => Promise.resolve() });

  expect(places).toHaveLength(plan.length);
  for (const place of places) {
    const ranges = rangesAt(world.disk(id), place, [partition]);
    expect(ranges.length, place.path).toBeGreaterThan(0);
    expect(ranges).not.toEqual([wholeLog(partition)]);
  }
});
