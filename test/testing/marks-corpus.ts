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
  { seed: 6, reaches: ['jointEntered', 'leaderLeaves', 'replicaCreated', 'lateCompletionDropped'] },
  { seed: 14, reaches: ['sleeperWokenByCampaign', 'secondCopyRead'] },
  { seed: 24, reaches: ['nameLost', 'sleeperLostItsLeader'] },
  { seed: 25, reaches: ['rollbackAppended', 'exitByAnotherLeader', 'replicaCreated'] },
  { seed: 31, reaches: ['voteLost', 'transferAborted'] },
  { seed: 55, reaches: ['ledgerWentBack', 'replicaCreated'] },
  { seed: 10, faultKinds: ['slowDisk', 'stalledDisk'], reaches: ['writerModeChanged'] },
];
