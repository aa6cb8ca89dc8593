/** Recovers one state of a disk and compares what is there with what was promised. */
import type { PartitionId } from '../../src/base/ids.ts';
import type { SimDisk } from '../../src/testing/sim-disk.ts';
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
  if (recovered.doubt !== undefined)
    return { kind: 'needlessQuarantine', message: `${id}: ${recovered.doubt}` };
  if (recovered.hardState.term < known.durableTerm)
    return lost(
      `${id}: term ${known.durableTerm} was durable, ${recovered.hardState.term} is there`,
    );
  if (recovered.lastIndex < known.durableIndex)
    return lost(
      `${id}: entry ${known.durableIndex} was durable, the log ends at ${recovered.lastIndex}`,
    );
  if (recovered.recordedCommitIndex > known.commitIndex)
    return { kind: 'wrong', message: `${id}: more is committed than ever was` };
  const entries = await life.readAll(id, recovered.lastIndex);
  return entries
    .map((entry, at) => judgeEntry(entry, at + 1, known))
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
    : { kind: 'wrong', message: `entry ${index} was never handed over` };
}

function lost(message: string): Finding {
  return { kind: 'lostAck', message };
}
