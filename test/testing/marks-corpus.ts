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
  { seed: 40, reaches: ['rollbackAppended', 'transferAborted', 'jointEntered'] },
  { seed: 178, reaches: ['exitByAnotherLeader', 'leaderLeaves'] },
  { seed: 3, reaches: ['windowFull', 'sleeperLostItsLeader', 'groupFsyncEntered', 'logCompacted'] },
  { seed: 11, reaches: ['sleeperWokenByCampaign'] },
  { seed: 2, reaches: ['secondCopyRead', 'repaired'] },
  { seed: 15, reaches: ['lateCompletionDropped'] },
  { seed: 39, reaches: ['nameLost'] },
  { seed: 78, reaches: ['voteLost'] },
  {
    seed: 4,
    faultKinds: ['memberChange', 'partition', 'crash'],
    reaches: ['replicaCreated'],
  },
  { seed: 13, faultKinds: ['slowDisk'], reaches: ['writerModeChanged'] },
  { seed: 1, faultKinds: ['diskSwap'], reaches: ['ledgerWentBack'] },
  {
    seed: 127,
    faultKinds: ['bitRot', 'snapshot', 'crash'],
    reaches: ['snapshotInstalled', 'snapshotMissing', 'segmentRetired'],
  },
];
