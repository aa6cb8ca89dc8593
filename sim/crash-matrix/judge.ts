/** Recovers one state of a disk and compares what is there with what was promised. */
import type { PartitionId } from '../../src/base/ids.ts';
import type { RecoveredPartition } from '../../src/storage/log-store-types.ts';
import type { SnapshotManifest } from '../../src/storage/snapshot-folder.ts';
import type { SimDisk } from '../../src/testing/sim-disk.ts';
import { goodSnapshots } from './snapshots.ts';
import { StoreLife, type Promised, type StoryEntry } from './store-life.ts';

/** What is wrong with a state, if anything is. */
export interface Finding {
  readonly kind: 'lostAck' | 'needlessQuarantine' | 'wrong';
  readonly message: string;
}

/** Opens a store on the disk and looks. The store must also go on from there. */
export async function judgeState(
  disk: SimDisk,
  promised: ReadonlyMap<PartitionId, Promised>,
  isEncrypted: boolean,
): Promise<Finding | undefined> {
  const life = new StoreLife(disk, { seed: 1, promised: new Map(), isEncrypted });
  try {
    await life.open();
    for (const [id, known] of promised) {
      const found = await judgePartition(life, id, known);
      if (found !== undefined) return found;
    }
    return undefined;
  } catch (error) {
    return {
      kind: 'wrong',
      message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    };
  }
}

async function judgePartition(
  life: StoreLife,
  id: PartitionId,
  known: Promised,
): Promise<Finding | undefined> {
  const recovered = life.store.recovered.find((row) => row.partitionId === id);
  if (recovered === undefined) return lost(`partition ${id} is gone`);
  const { before } = known;
  // A snapshot that is being put in the place of the log has taken its place or not.
  const isBefore = before !== undefined && recovered.baseIndex < known.base;
  const valid = isBefore ? before : known;
  return (
    judgeReplica(recovered, valid) ??
    (await judgeSnapshots(life, recovered, known)) ??
    (await judgeEntries(life, recovered, valid))
  );
}

function judgeReplica(recovered: RecoveredPartition, known: Promised): Finding | undefined {
  const { partitionId: id, doubt, quarantine, hardState, baseIndex, lastIndex } = recovered;
  const needless = (message: string): Finding => ({ kind: 'needlessQuarantine', message });
  if (doubt !== undefined) return needless(`${id}: ${doubt}`);
  if (quarantine !== undefined)
    return needless(`${id}: ${quarantine.missing.length} ranges cannot be read`);
  if (hardState.term < known.durableTerm)
    return lost(`${id}: term ${known.durableTerm} was durable, ${hardState.term} is there`);
  if (lastIndex < known.durableIndex)
    return lost(`${id}: entry ${known.durableIndex} was durable, the log ends at ${lastIndex}`);
  if (recovered.recordedCommitIndex > known.commitIndex)
    return wrong(`${id}: more is committed than ever was`);
  if (baseIndex < known.durableBase || baseIndex > known.base)
    return wrong(`${id}: the log begins behind ${baseIndex}, not behind ${known.base}`);
  return undefined;
}

/** Entries below the base count as held where a good snapshot stands at or above it that the log goes on from. */
async function judgeSnapshots(
  life: StoreLife,
  recovered: RecoveredPartition,
  known: Promised,
): Promise<Finding | undefined> {
  const { partitionId: id, baseIndex, lastIndex } = recovered;
  const good = await goodSnapshots(life, id);
  if (typeof good === 'string') return wrong(`${id}: ${good}`);
  const missing = known.snapshots.find((index) => !good.some((row) => row.index === index));
  if (missing !== undefined) return lost(`${id}: the snapshot at ${missing} was published`);
  const holds = ({ index }: SnapshotManifest): boolean => index >= baseIndex && index <= lastIndex;
  if (baseIndex > 0 && !good.some(holds))
    return lost(`${id}: no snapshot holds the entries up to ${baseIndex}`);
  return undefined;
}

async function judgeEntries(
  life: StoreLife,
  { partitionId, baseIndex, lastIndex }: RecoveredPartition,
  known: Promised,
): Promise<Finding | undefined> {
  const entries = await life.readAll(partitionId, baseIndex, lastIndex);
  return entries
    .map((entry, at) => judgeEntry(entry, baseIndex + 1 + at, known))
    .find((finding) => finding !== undefined);
}

function judgeEntry(entry: StoryEntry, index: number, known: Promised): Finding | undefined {
  const isSame = (other: StoryEntry | undefined): boolean =>
    other?.term === entry.term && other.text === entry.text;
  if (index <= Math.min(known.durableIndex, known.truncatingFrom - 1)) {
    return isSame(known.entries[index - 1])
      ? undefined
      : lost(`entry ${index} was durable and is another one now`);
  }
  return (known.candidates.get(index) ?? []).some(isSame)
    ? undefined
    : wrong(`entry ${index} was never handed over`);
}

function wrong(message: string): Finding {
  return { kind: 'wrong', message };
}

function lost(message: string): Finding {
  return { kind: 'lostAck', message };
}
