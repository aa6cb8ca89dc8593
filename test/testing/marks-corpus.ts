/**
 * Seeds that together come by every mark (`src/testing/marks/mark-names.ts`). A row is there for the rare ones that it
 * names; the others are met by most rows.
 *
 * What a seed meets changes whenever the product takes another step. A mark that is no longer reached needs another seed:
 * `npm run sim -- --seeds 1..200 --json` names, under `reachedBy`, the first seeds that come by each.
 */
import type { FaultKind } from '../../src/testing/fault-plan.ts';
import type { MarkName } from '../../src/testing/marks/mark-names.ts';

/** One run of the corpus. */
export interface CorpusRow {
  readonly seed: number;
  /** Kinds of fault to draw from; the usual ones where none are named. */
  readonly faultKinds?: readonly FaultKind[];
  readonly reaches: readonly MarkName[];
}

/** The corpus. */
export const marksCorpus: readonly CorpusRow[] = [
  { seed: 6, reaches: ['transferAborted', 'jointEntered', 'leaderLeaves', 'replicaCreated'] },
  { seed: 13, reaches: ['secondCopyRead', 'windowFull', 'replicaCreated'] },
  { seed: 14, reaches: ['sleeperWokenByCampaign', 'sleeperLostItsLeader', 'transferAborted'] },
  { seed: 19, reaches: ['voteLost', 'lateCompletionDropped'] },
  {
    seed: 22,
    faultKinds: ['memberChange', 'partition', 'crash'],
    reaches: ['rollbackAppended', 'exitByAnotherLeader'],
  },
  { seed: 10, faultKinds: ['slowDisk', 'stalledDisk'], reaches: ['writerModeChanged'] },
];
