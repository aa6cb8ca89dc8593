/** The corpus that every check runs: what it says when a seed no longer comes by what it is there for. */
import { expect, test } from 'vitest';

import { missedMarks, simCorpus } from '../../sim/corpus.ts';
import { emptyMarks, markNames, type MarkName } from '../../src/testing/marks/mark-names.ts';

/** Reports of the whole corpus, each of which came by every mark but some. */
function reports(
  lacking: (seed: number, name: MarkName) => boolean,
): Parameters<typeof missedMarks>[0] {
  return simCorpus.map(({ seed }) => {
    const marks = emptyMarks();
    for (const name of markNames) marks[name] = lacking(seed, name) ? 0 : 1;
    return { seed, marks };
  });
}

test('nothing is missed by runs that come by every mark', () => {
  expect(missedMarks(reports(() => false))).toEqual([]);
});

test('a row is told that misses a mark it is there for, though others come by it', () => {
  const [row] = simCorpus;
  const name = row?.reaches[0];
  const missed = missedMarks(reports((seed, mark) => seed === row?.seed && mark === name));

  expect(missed).toEqual([`seed ${row?.seed} is there for ${name} and did not come by it`]);
});

test('a mark is told that no run comes by, and so is every row of a seed that did not come back', () => {
  const named = new Set(simCorpus.flatMap(({ reaches }) => reaches));
  const unnamed = markNames.find((name) => !named.has(name));

  expect(missedMarks(reports((_, mark) => mark === unnamed))).toEqual([
    `no seed came by ${unnamed}`,
  ]);
  expect(missedMarks(reports(() => false).slice(1))).toHaveLength(
    simCorpus[0]?.reaches.length ?? 0,
  );
});

test('a seed stands in one row', () => {
  expect(new Set(simCorpus.map(({ seed }) => seed)).size).toBe(simCorpus.length);
});
