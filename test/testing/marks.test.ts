/** Marks: what runs come by, and that counting it changes nothing. */
import { expect, test } from 'vitest';

import { emptyMarks, markNames } from '../../src/testing/marks/mark-names.ts';
import { runSimulation, type SimRunReport } from '../../src/testing/sim-run.ts';
import { marksCorpus } from './marks-corpus.ts';
import { drainMicrotasks } from './sim-rounds.ts';

const corpusMsMax = 300_000;

test(
  'the corpus comes by every mark, each row by those it is there for',
  { timeout: corpusMsMax },
  async () => {
    const reached = emptyMarks();
    const missed: string[] = [];
    const violations: string[] = [];
    for (const { reaches, ...run } of marksCorpus) {
      const report: SimRunReport = await runSimulation({ ...run, drainMicrotasks });
      if (report.violation !== undefined) violations.push(`seed ${run.seed}: ${report.violation}`);
      for (const name of markNames) reached[name] += report.marks[name];
      for (const name of reaches)
        if (report.marks[name] === 0) missed.push(`${name} by seed ${run.seed}`);
    }

    expect(violations).toEqual([]);
    expect(
      markNames.filter((name) => reached[name] === 0),
      'marks that nobody comes by',
    ).toEqual([]);
    expect(missed, 'see the corpus for how to find another seed').toEqual([]);
  },
);
