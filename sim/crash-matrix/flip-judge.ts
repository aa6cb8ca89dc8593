/** Opens a copy of a data directory in which one bit has flipped, reads everything, and says what became of the flip. */
import { isClustorError } from '../../src/base/errors.ts';
import type { ErrorCode } from '../../src/base/error-codes.ts';
import { incarnation, type PartitionId } from '../../src/base/ids.ts';
import { scrubIntervalMs } from '../../src/policy/scrub-pace.ts';
import type { RecoveredPartition } from '../../src/storage/log-store-types.ts';
import type { SimDisk } from '../../src/testing/sim-disk.ts';
import { StoreLife, type Promised } from './store-life.ts';

/**
 * `harmless`: everything that was promised is there, and nobody complains. `detected`: the start, a read or the background
 * scrub says so. `served`: something is given that was never written there. `lost`: an acknowledged entry or a vote is gone,
 * and nobody says so. `broken`: an answer that has no name, or none.
 */
export type FlipVerdict = 'harmless' | 'detected' | 'served' | 'lost' | 'broken';

/** What became of one flip. */
interface FlipOutcome {
  readonly verdict: FlipVerdict;
  /** Who detected it, and what was said; else what is wrong. */
  readonly how: string;
}

/** What a start may refuse with: each names what is wrong with the directory. */
const refusals: readonly ErrorCode[] = [
  'CLUSTOR_INTEGRITY',
  'CLUSTOR_FORMAT_UNSUPPORTED',
  'CLUSTOR_WRONG_DATA_DIRECTORY',
  'CLUSTOR_REPLICA_FILES_MISSING',
  'CLUSTOR_KEY_MISSING',
  'CLUSTOR_KEY_WRONG',
  'CLUSTOR_KEY_EPOCH_REPLAY',
  'CLUSTOR_KEY_EPOCH_MISMATCH',
];
/** A pass in the first ten minutes, and two further ones: all of a small journal. */
const scrubbedMs = 3 * scrubIntervalMs;

/** Judges a damaged copy. */
export async function judgeFlip(
  disk: SimDisk,
  promised: ReadonlyMap<PartitionId, Promised>,
  isEncrypted: boolean,
): Promise<FlipOutcome> {
  let damages = 0;
  const life = new StoreLife(disk, {
    seed: 1,
    promised: new Map(),
    isEncrypted,
    onDamage: () => {
      damages++;
    },
  });
  try {
    await life.open();
  } catch (error) {
    const code = refusals.find((known) => isClustorError(error, known));
    return code === undefined ? broken(error) : { verdict: 'detected', how: `start: ${code}` };
  }
  try {
    const outcomes: FlipOutcome[] = [];
    for (const [id, known] of promised) outcomes.push(await judgeReplica(life, id, known));
    const worst = (['broken', 'served', 'lost', 'detected'] as const)
      .map((verdict) => outcomes.find((outcome) => outcome.verdict === verdict))
      .find((outcome) => outcome !== undefined);
    if (worst !== undefined) return worst;
    await life.pass(scrubbedMs);
    if (life.store.statistics().scrub.passes < 3) return broken(new Error('the scrub stands'));
    if (damages > 0) return { verdict: 'detected', how: 'scrub' };
    return { verdict: 'harmless', how: '' };
  } catch (error) {
    return broken(error);
  } finally {
    life.kill();
  }
}

async function judgeReplica(
  life: StoreLife,
  id: PartitionId,
  known: Promised,
): Promise<FlipOutcome> {
  const recovered = life.store.recovered.find((row) => row.partitionId === id);
  if (recovered === undefined) return { verdict: 'lost', how: `replica of ${id}` };
  const wrong = wrongIn(recovered, known);
  const entries: number[] = [];
  let isRefused = false;
  for (let next = 1; next <= recovered.lastIndex; next++) {
    try {
      const entry = await life.readOne(id, next);
      const isWritten = (known.candidates.get(next) ?? []).some(
        (one) => one.term === entry.term && one.text === entry.text,
      );
      if (!isWritten) return { verdict: 'served', how: `entry ${next} was never written` };
      const right = known.entries[next - 1];
      if (next <= known.durableIndex && (right?.term !== entry.term || right.text !== entry.text))
        return { verdict: 'served', how: `entry ${next} is an older one` };
      entries.push(next);
    } catch (error) {
      if (!isClustorError(error, 'CLUSTOR_INTEGRITY')) return broken(error);
      isRefused = true;
    }
  }
  if (recovered.doubt !== undefined) return { verdict: 'detected', how: 'start: doubt' };
  if (recovered.quarantine !== undefined) return { verdict: 'detected', how: 'start: quarantine' };
  if (wrong !== undefined) return { verdict: 'lost', how: wrong };
  if (isRefused) return { verdict: 'detected', how: 'read' };
  return entries.length >= known.durableIndex
    ? { verdict: 'harmless', how: '' }
    : { verdict: 'lost', how: `entries behind ${entries.length}` };
}

/** What was promised and is not there, or is there and never was. */
function wrongIn(recovered: RecoveredPartition, known: Promised): string | undefined {
  const { partitionId, hardState, lastIndex, recordedCommitIndex } = recovered;
  if (hardState.term !== known.durableTerm) return `term ${known.durableTerm}`;
  const { votedFor } = hardState;
  if (votedFor?.replicaId !== 1 || votedFor.incarnation !== incarnation(partitionId))
    return `the vote of term ${hardState.term}`;
  if (recovered.replicaId !== 1 || recovered.incarnation !== incarnation(partitionId))
    return 'who the replica is';
  if (lastIndex < known.durableIndex) return `entries behind ${lastIndex}`;
  if (recordedCommitIndex > known.commitIndex) return 'a commit that never was';
  return undefined;
}

function broken(error: unknown): FlipOutcome {
  const how = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { verdict: 'broken', how };
}
