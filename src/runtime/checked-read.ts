/** Entries read back from the log, held against what the core knows of it: nothing else leaves this replica or is applied. */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex } from '../base/ids.ts';
import { frameIndex, frameTerm, frameTotalBytes } from '../codec/entry-frame.ts';
import { termAt, type RaftState } from '../raft/index.ts';
import type { FrameBatch } from '../storage/log-store-types.ts';
import type { PartitionLog } from '../storage/partition-log.ts';

/**
 * Reads at least one entry. Damage is found, and told, by the log itself; an entry that is whole and of another term than the
 * log's is one that should be dead, and is refused.
 * @throws ClustorError `CLUSTOR_INTEGRITY`, `CLUSTOR_LOG_COMPACTED`.
 */
export async function readChecked(
  { log, state }: { readonly log: PartitionLog; readonly state: RaftState },
  range: {
    readonly firstIndex: LogIndex;
    readonly lastIndex: LogIndex;
    readonly bytesMax: number;
  },
): Promise<FrameBatch> {
  const batch = await log.read(range.firstIndex, range.lastIndex, range.bytesMax);
  const { bytes } = batch;
  for (let offset = 0; offset < bytes.length; offset += frameTotalBytes(bytes, offset)) {
    const index = frameIndex(bytes, offset);
    const known = termAt(state.log, index);
    const found = frameTerm(bytes, offset);
    if (known === undefined || known === found) continue;
    throw new ClustorError(
      'CLUSTOR_INTEGRITY',
      `entry ${index} was read in term ${found}; the log has one of term ${known}`,
    );
  }
  return batch;
}
