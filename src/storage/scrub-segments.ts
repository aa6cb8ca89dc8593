/** What a store's scrub reads: the ledger, closed segments, and the one in use up to where the ledger covers it. */
import type { PartitionId } from '../base/ids.ts';
import type { IndexRange } from '../base/index-ranges.ts';
import { blockOffset } from '../codec/segment-format.ts';
import type { ChainRunner } from './chain-runner.ts';
import type { DurabilityLedger } from './durability-ledger.ts';
import type { Journal } from './journal.ts';
import type { JournalKeys } from './journal-keys.ts';
import type { LedgerImage } from './ledger-image.ts';
import type { LogStoreOptions } from './log-store-types.ts';
import type { PartitionLog } from './partition-log.ts';
import { walFolder } from './recovery.ts';
import { Scrubber, type ScrubSegment } from './scrubber.ts';

interface Scrubbed {
  readonly image: LedgerImage;
  readonly journal: Journal;
  readonly keys: JournalKeys;
  readonly logs: ReadonlyMap<PartitionId, PartitionLog>;
  readonly ledger: DurabilityLedger;
  readonly chains: ChainRunner;
}

/** Makes the scrub of a store; it begins by itself. */
export function scrubberOf(options: LogStoreOptions, scrubbed: Scrubbed): Scrubber {
  const { fileSystem, clock, observer, directory, clusterId, nodeId, listener } = options;
  return new Scrubber({
    fileSystem,
    clock,
    observer,
    folder: walFolder(directory),
    owner: { clusterId, nodeId, keys: scrubbed.keys },
    keys: scrubbed.keys,
    leafHashes: options.leafHashes,
    segments: () => segmentsOf(scrubbed),
    ledger: () => scrubbed.ledger.extent,
    renewLedger: () => scrubbed.chains.renewLedger(),
    onDamage: (damage) => {
      listener.damageFound(damage);
      for (const { partitionId, ...range } of damage.ranges) {
        const log = scrubbed.logs.get(partitionId);
        if (log !== undefined) listener.damaged(log, range);
      }
    },
  });
}

function segmentsOf(scrubbed: Scrubbed): readonly ScrubSegment[] {
  const { keys, image } = scrubbed;
  const { segments, coverage } = image;
  return [...segments.values()].flatMap(({ segmentSeq, endOffset, trailerOffset }) => {
    // Of the segment in use only what a synced flush covers: the flush under way may not have been written yet.
    const isInUse = endOffset === undefined;
    const end = endOffset ?? (coverage.segmentSeq === segmentSeq ? scrubbed.journal.syncedEnd : 0);
    if (end <= blockOffset(0)) return [];
    const expected = (): ReadonlyMap<PartitionId, readonly IndexRange[]> =>
      expectedIn(scrubbed, segmentSeq, isInUse ? end : undefined);
    const epoch = keys.epochOf(segmentSeq);
    const isSame = (): boolean =>
      keys.epochOf(segmentSeq) === epoch &&
      segments.get(segmentSeq)?.trailerOffset === trailerOffset;
    const isDead: ScrubSegment['isDead'] = ({ partitionId, index, block }) =>
      image.isDead(segmentSeq, { partitionId, firstIndex: index, block });
    return [{ segmentSeq, endOffset: end, trailerOffset, expected, isSame, isDead }];
  });
}

/** Live entries of a segment; of the one in use those that stand before `end`, for a run never spans two flushes. */
function expectedIn(
  { logs, journal }: Scrubbed,
  segmentSeq: number,
  end: number | undefined,
): ReadonlyMap<PartitionId, readonly IndexRange[]> {
  const expected = new Map<PartitionId, readonly IndexRange[]>();
  // Closed meanwhile: the next pass asks for what it holds as a closed one.
  if (end !== undefined && journal.writer.segment.segmentSeq !== segmentSeq) return expected;
  for (const [partitionId, { index }] of logs) {
    const held = end === undefined ? index.heldIn(segmentSeq) : index.heldInOpen(end);
    if (held.length > 0) expected.set(partitionId, held);
  }
  return expected;
}
