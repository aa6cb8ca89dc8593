import { describe, expect, test } from 'vitest';

import { logIndex, nodeId, partitionId } from '../../src/base/ids.ts';
import type { Configuration } from '../../src/base/membership.ts';
import { createPrng, nextBelow } from '../../src/base/prng.ts';
import { hasQuorum } from '../../src/raft/index.ts';
import { FaultAtlas, wholeLog, type LogRange } from '../../src/testing/fault-atlas.ts';
import { configurationOf, member } from '../raft/core-driver.ts';

const one = partitionId('018c0d6c-9c11-7e9d-8000-000000000001');
const two = partitionId('018c0d6c-9c11-7e9d-8000-000000000002');

function votersOf(...numbers: readonly number[]): Configuration {
  return configurationOf(numbers.map((number) => member(number)));
}

function atlasOf(
  configurations: readonly Configuration[],
  doubtTakes: 'entries' | 'replica' = 'entries',
): FaultAtlas {
  return new FaultAtlas({ configurations: () => configurations, doubtTakes });
}

function entries(from: number, to: number, of = one): LogRange {
  return { partitionId: of, firstIndex: logIndex(from), lastIndex: logIndex(to) };
}

describe('an atlas', () => {
  test('gives away fewer copies of an entry than a quorum can do without', () => {
    const atlas = atlasOf([votersOf(1, 2, 3)]);

    expect(atlas.claim(nodeId(1), [entries(5, 9)])).toBe(true);
    expect(atlas.claim(nodeId(2), [entries(9, 20)])).toBe(false);

    expect(atlas.isDamaged(nodeId(2), one)).toBe(false);
    expect(atlas.claim(nodeId(2), [entries(10, 20)])).toBe(true);
    expect(atlas.claim(nodeId(1), [entries(6, 7)]), 'it is damaged there already').toBe(true);
  });

  test('notes all ranges of a claim or none', () => {
    const atlas = atlasOf([votersOf(1, 2, 3)]);
    atlas.claim(nodeId(1), [entries(5, 5)]);

    expect(atlas.claim(nodeId(2), [entries(1, 1, two), entries(5, 5)])).toBe(false);

    expect(atlas.isNodeDamaged(nodeId(2))).toBe(false);
    expect(atlas.claim(nodeId(3), [entries(1, 1, two)])).toBe(true);
  });

  test('counts what several claims inside of a range add up to, entry by entry', () => {
    const atlas = atlasOf([votersOf(1, 2, 3, 4, 5)]);
    atlas.claim(nodeId(1), [entries(1, 10)]);
    atlas.claim(nodeId(2), [entries(20, 30)]);
    expect(atlas.mayDamage(nodeId(3), [entries(1, 40)])).toBe(true);

    atlas.claim(nodeId(4), [entries(8, 12)]);

    expect(atlas.mayDamage(nodeId(3), [entries(1, 40)])).toBe(false);
    expect(atlas.mayDamage(nodeId(3), [entries(11, 40)])).toBe(true);
  });

  test('asks both halves of a joint configuration, and every configuration that may come', () => {
    const joint = configurationOf(
      [member(1), member(4), member(5)],
      [member(1), member(2), member(3)],
    );
    const atlas = atlasOf([joint, votersOf(1, 4, 5)]);
    expect(atlas.claim(nodeId(2), [wholeLog(one)])).toBe(true);

    expect(atlas.mayDamage(nodeId(3), [wholeLog(one)]), 'the second of the old half').toBe(false);
    expect(atlas.mayDamage(nodeId(1), [wholeLog(one)]), 'it is in both').toBe(false);
    expect(atlas.claim(nodeId(4), [wholeLog(one)])).toBe(true);
    expect(atlas.mayDamage(nodeId(5), [wholeLog(one)])).toBe(false);
  });

  test.each([[[1]], [[1, 2]]])('leaves voters %j alone: they can do without nobody', (numbers) => {
    const atlas = atlasOf([votersOf(...numbers)]);

    expect(atlas.claim(nodeId(1), [entries(3, 3)])).toBe(false);
    expect(atlas.isEmpty).toBe(true);
  });

  test('takes a learner for nobody who is counted', () => {
    const atlas = atlasOf([configurationOf([member(1), member(2, 'learner')])]);

    expect(atlas.claim(nodeId(2), [wholeLog(one)])).toBe(true);
  });

  test('gives away whole replicas where one in doubt says nothing any more', () => {
    const atlas = atlasOf([votersOf(1, 2, 3)], 'replica');
    atlas.claim(nodeId(1), [entries(5, 5)]);

    expect(atlas.mayDamage(nodeId(2), [entries(100, 100)])).toBe(false);
    expect(atlas.mayDamage(nodeId(1), [entries(100, 100)])).toBe(true);
    expect(atlas.mayDamage(nodeId(2), [entries(100, 100, two)])).toBe(true);
  });

  test('never gives away a quorum of anything, whatever is asked for', () => {
    for (let seed = 1; seed <= 50; seed++) {
      const random = createPrng(seed);
      const configurations = [votersOf(1, 2, 3, 4, 5), votersOf(3, 4, 5)];
      const atlas = atlasOf(configurations);
      const lost = new Map<number, Set<number>>();
      for (let ask = 0; ask < 60; ask++) {
        const node = 1 + nextBelow(random, 5);
        const from = 1 + nextBelow(random, 12);
        const to = from + nextBelow(random, 5);
        if (!atlas.claim(nodeId(node), [entries(from, to)])) continue;
        for (let index = from; index <= to; index++)
          lost.set(index, (lost.get(index) ?? new Set()).add(node));
      }

      expect(lost.size).toBeGreaterThan(0);
      for (const [index, nodes] of lost)
        for (const configuration of configurations)
          expect(
            hasQuorum(configuration, (row) => !nodes.has(row.nodeId)),
            `seed ${seed}, entry ${index}`,
          ).toBe(true);
    }
  });
});
