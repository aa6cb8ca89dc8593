/**
 * Seeds that together come by every mark (`src/testing/marks/mark-names.ts`): what every check runs, by `npm run sim --
 * --corpus`. A row is there for the rare marks that it names; the others are met by most rows.
 *
 * What a seed meets changes whenever the product takes another step. A mark that is no longer reached needs another seed:
 * `npm run sim -- --seeds 1..200 --json` names, under `reachedBy`, the first seeds that come by each.
 */
import type { FaultKind } from '../src/testing/fault-plan.ts';
import { markNames, type MarkName } from '../src/testing/marks/mark-names.ts';
import type { SimRunReport } from '../src/testing/sim-run.ts';

/** One run of the corpus. */
export interface CorpusRow {
  readonly seed: number;
  /** Kinds of fault to draw from; the usual ones where none are named. */
  readonly faultKinds?: readonly FaultKind[];
  readonly reaches: readonly MarkName[];
}

/** The corpus. */
export const simCorpus: readonly CorpusRow[] = [
  { seed: 40, reaches: ['rollbackAppended'] },
  { seed: 16, reaches: ['transferAborted', 'jointEntered', 'voteLost'] },
  { seed: 178, reaches: ['exitByAnotherLeader', 'leaderLeaves'] },
  { seed: 3, reaches: ['windowFull', 'groupFsyncEntered', 'logCompacted'] },
  { seed: 20, reaches: ['sleeperWokenByCampaign', 'sleeperLostItsLeader'] },
  { seed: 2, reaches: ['secondCopyRead', 'repaired', 'segmentRetired'] },
  { seed: 49, reaches: ['lateCompletionDropped'] },
  { seed: 39, reaches: ['nameLost'] },
  { seed: 19, reaches: ['snapshotMissing'] },
  {
    seed: 4,
    faultKinds: ['memberChange', 'partition', 'crash'],
    reaches: ['replicaCreated'],
  },
  { seed: 13, faultKinds: ['slowDisk'], reaches: ['writerModeChanged'] },
  { seed: 1, faultKinds: ['diskSwap'], reaches: ['ledgerWentBack'] },
];

/** What the runs of the corpus should have come by and did not, a sentence for each. */
export function missedMarks(reports: readonly Pick<SimRunReport, 'seed' | 'marks'>[]): string[] {
  const byRow = simCorpus.flatMap(({ seed, reaches }) => {
    const marks = reports.find((report) => report.seed === seed)?.marks;
    const missed = reaches.filter((name) => marks === undefined || marks[name] === 0);
    return missed.map((name) => `seed ${seed} is there for ${name} and did not come by it`);
  });
  const byNobody = markNames.filter((name) => reports.every(({ marks }) => marks[name] === 0));
  return [...byRow, ...byNobody.map((name) => `no seed came by ${name}`)];
}
