/** `clustor wal inspect`: the journal and ledger of a stopped node. */
import { inspectDataDirectory, type Inspection } from '../storage/inspect.ts';
import { colours } from './colours.ts';
import { exitCodes } from './exit-codes.ts';
import type { KeyOptions } from './key-options.ts';
import { withOfflineDirectory } from './offline-directory.ts';
import { tableText, type Output } from './output.ts';

/** Prints what a data directory holds; the exit code tells whether something covered is damaged. */
export async function runWalInspect(
  directory: string,
  options: KeyOptions,
  output: Output,
): Promise<number> {
  return withOfflineDirectory({ directory, options, mustBeFree: true }, async (opened) => {
    const { fileSystem, directory: path, encryption } = opened;
    const inspection = await inspectDataDirectory(fileSystem, path, encryption);
    output.result(inspection, inspectionText(inspection));
    const isDamaged =
      inspection.ledger.fault !== undefined ||
      inspection.segments.some((segment) => segment.damagedBlocks > 0);
    return isDamaged ? exitCodes.failed : exitCodes.done;
  });
}

function inspectionText({ clusterId, nodeId, ledger, segments }: Inspection): string {
  const { generation, flushSeq, flushes, fromSecondCopy, isTornFlushCut, fault, coverage } = ledger;
  const lines = [
    `node ${nodeId} of cluster ${clusterId}`,
    `ledger generation ${generation}: ${flushes} flushes up to number ${flushSeq}, ${fromSecondCopy} read from their second copy${isTornFlushCut ? ', a torn one behind them' : ''}`,
    `covered up to segment ${coverage.segmentSeq} offset ${coverage.endOffset}`,
    ...(fault === undefined ? [] : [colours.red(`fault: ${fault}`)]),
    tableText(
      [
        'partition',
        'term',
        'voted for',
        'begins behind',
        'durable',
        'commit',
        'snapshots',
        'truncations',
        'doubts',
      ],
      ledger.partitions.map((row) => [
        row.partitionId,
        row.term ?? '–',
        row.votedFor ?? '–',
        row.base?.index ?? 0,
        row.durableIndex ?? '–',
        row.commitIndex ?? '–',
        row.snapshots.join(' '),
        row.truncations,
        row.doubts.join('; '),
      ]),
    ),
    tableText(
      [
        'segment',
        'key epoch',
        'state',
        'covered to',
        'good to',
        'blocks',
        'damaged',
        'frames',
        'ended at',
      ],
      segments.map((row) => [
        row.segmentSeq,
        row.keyEpoch ?? '–',
        row.state,
        row.coveredEnd,
        row.endOffset,
        row.blocks,
        row.damagedBlocks > 0 ? colours.red(String(row.damagedBlocks)) : 0,
        row.partitions.reduce((sum, run) => sum + run.frames, 0),
        row.endedAt,
      ]),
    ),
  ];
  return lines.join('\n');
}
