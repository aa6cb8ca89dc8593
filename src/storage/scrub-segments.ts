/** What a store's scrub reads: closed segments, and the one in use up to where the ledger covers it. */
import type { PartitionId } from '../base/ids.ts';
import { blockOffset } from '../codec/segment-format.ts';
import type { Journal } from './journal.ts';
import type { IndexRange } from './journal-walk.ts';
import type { LedgerImage } from './ledger-image.ts';
import type { LogStoreOptions } from './log-store-types.ts';
import type { PartitionLog } from './partition-log.ts';
import { walFolder } from './recovery.ts';
import { Scrubber, type ScrubSegment } from './scrubber.ts';

interface Scrubbed {
  readonly image: LedgerImage;
  readonly journal: Journal;
  readonly logs: ReadonlyMap<PartitionId, PartitionLog>;
}

/** Makes the scrub of a store; it begins by itself. */
export function scrubberOf(options: LogStoreOptions, scrubbed: Scrubbed): Scrubber {
  const { fileSystem, clock, observer, directory, clusterId, nodeId, listener } = options;
  return new Scrubber({
    fileSystem,
    clock,
    observer,
    folder: walFolder(directory),
    owner: { clusterId, nodeId },
    macKey: options.macKey,
    leafHash: options.leafHash,
    segments: () => segmentsOf(scrubbed),
    onDamage: (damage) => {
      listener.damageFound(damage);
    },
  });
}

function segmentsOf(scrubbed: Scrubbed): readonly ScrubSegment[] {
  const { segments, coverage } = scrubbed.image;
  return [...segments.values()].flatMap(({ segmentSeq, endOffset, trailerOffset }) => {
    // Of the segment in use only what a synced flush covers: the flush under way may not have been written yet.
    const isInUse = endOffset === undefined;
    const end = endOffset ?? (coverage.segmentSeq === segmentSeq ? scrubbed.journal.syncedEnd : 0);
    if (end <= blockOffset(0)) return [];
    const expected = (): ReadonlyMap<PartitionId, IndexRange> =>
      expectedIn(scrubbed, segmentSeq, isInUse ? end : undefined);
    return [{ segmentSeq, endOffset: end, trailerOffset, expected }];
  });
}

/** Live entries of a segment; of the one in use those that stand before `end`, for a run never spans two flushes. */
function expectedIn(
  { logs }: Scrubbed,
  segmentSeq: number,
  end: number | undefined,
): ReadonlyMap<PartitionId, IndexRange> {
  const expected = new Map<PartitionId, IndexRange>();
  for (const [partitionId, { index }] of logs) {
    const held = end === undefined ? index.heldIn(segmentSeq) : index.heldInOpen(end);
    if (held !== undefined) expected.set(partitionId, held);
  }
  return expected;
}
