import { describe, expect, test } from 'vitest';

import { exploredOf, explorations, type Exploration } from '../../sim/explorer/configurations.ts';
import { search, VisitedSet, type SearchReport } from '../../sim/explorer/search.ts';

function explore(
  exploration: Exploration,
  options: { readonly statesMax?: number; readonly liesAboutSyncs?: boolean } = {},
): SearchReport {
  const { statesMax = 1_000_000, liesAboutSyncs = false } = options;
  return search({
    ...exploration,
    explored: exploredOf(exploration, { liesAboutSyncs }),
    statesMax,
    depthMax: 400,
    isOver: () => false,
  });
}

function named(name: string): Exploration {
  const exploration = explorations.find((known) => known.name === name);
  if (exploration === undefined) throw new Error(`there is no exploration "${name}"`);
  return exploration;
}

describe('the explorer', () => {
  test('sees every world of one reign of two voters, and their number does not shrink', () => {
    const base = named('two voters, an election');
    const small = { ...base, budgets: { ...base.budgets, campaign: 1, heartbeat: 0, crash: 0 } };

    const report = explore(small);

    expect(report).toMatchObject({ isComplete: true, violation: undefined });
    expect(report.marks).toEqual(['committed', 'elected']);
    expect(report.states).toBeGreaterThanOrEqual(statesOfOneReign);
  });

  test.each(explorations.map(({ name }) => name))(
    'finds nothing wrong at first sight: %s',
    (name) => {
      expect(explore(named(name), { statesMax: 4_000 }).violation).toBeUndefined();
    },
  );

  test('finds a disk that tells of syncs before they are done, and says how', () => {
    const report = explore(named('two voters, an election'), {
      statesMax: 200_000,
      liesAboutSyncs: true,
    });

    expect(report.violation?.message).toMatch(/durable/);
    expect(report.violation?.path.length).toBeGreaterThan(0);
  });
});

/** Distinct worlds of two voters with one campaign and one proposal, nothing lost. */
const statesOfOneReign = 100;

describe('a set of visited worlds', () => {
  test('holds what was put in, through its growth', () => {
    const visited = new VisitedSet(16);
    for (let value = 0; value < 10_000; value++) expect(visited.add(value >>> 4, value)).toBe(true);
    for (let value = 0; value < 10_000; value++)
      expect(visited.add(value >>> 4, value)).toBe(false);
    expect(visited.count).toBe(10_000);
  });
});
