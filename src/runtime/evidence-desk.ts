/**
 * What the disk of a running node proves about entries (specification §5.5), for whoever cannot read its directory: synced first, then read
 * as it stands.
 *
 * The whole journal is read. It is read in small slices with as much rest as work, and for one question at a time, so that the node
 * does not feel it much.
 */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, PartitionId } from '../base/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Cryptography } from '../ports/cryptography.ts';
import {
  gatherEvidence,
  syncBeforeReading,
  type DirectoryEvidence,
} from '../storage/entry-evidence.ts';
import type { DirectoryPlace } from '../storage/journal-walk.ts';

/** Entries that one question may name; each is a row of the answer. */
export const evidenceIndexesMax = 100_000;
/** Questions that wait at most; more are refused. */
const waitingMax = 8;

/** Whose disk it is. */
export interface EvidenceDeskOptions extends DirectoryPlace {
  readonly clock: Clock;
  readonly cryptography: Cryptography;
}

/** See the file comment. */
export class EvidenceDesk {
  readonly #options: EvidenceDeskOptions;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #isClosed = false;

  constructor(options: EvidenceDeskOptions) {
    this.#options = options;
  }

  /**
   * Reads what the disk says.
   * @throws ClustorError `CLUSTOR_INVALID_ARGUMENT` for too many entries, `CLUSTOR_OVERLOADED`, `CLUSTOR_CLOSED`, and as the reading.
   */
  gather(partitionId: PartitionId, indexes: ReadonlySet<LogIndex>): Promise<DirectoryEvidence> {
    if (indexes.size === 0 || indexes.size > evidenceIndexesMax)
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `name 1 to ${evidenceIndexesMax} entries, not ${indexes.size}`,
      );
    if (this.#waiting >= waitingMax)
      throw new ClustorError(
        'CLUSTOR_OVERLOADED',
        `${waitingMax} questions for evidence wait already; ask again later`,
      );
    this.#waiting++;
    const turn = this.#last.then(() => this.#read(partitionId, indexes));
    this.#last = turn.catch(() => undefined).finally(() => this.#waiting--);
    return turn;
  }

  /** Ends the reading under way and takes no more; resolves when nothing is read any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#last;
  }

  async #read(
    partitionId: PartitionId,
    indexes: ReadonlySet<LogIndex>,
  ): Promise<DirectoryEvidence> {
    this.#demandOpen();
    const { cryptography, clock, ...place } = this.#options;
    await syncBeforeReading(place.fileSystem, place.directory);
    const pace = this.#pace(clock);
    const evidence = await gatherEvidence(place, { partitionId, indexes, cryptography, pace });
    this.#demandOpen();
    return evidence;
  }

  #demandOpen(): void {
    if (this.#isClosed) throw new ClustorError('CLUSTOR_CLOSED', 'the node stops');
  }

  /** Rests for as long as it has worked since. */
  #pace(clock: Clock): () => Promise<boolean> {
    let begunMs = clock.monotonicMs();
    return async () => {
      const restMs = Math.max(1, clock.monotonicMs() - begunMs);
      await new Promise<void>((resolve) => {
        clock.setTimer(restMs, resolve);
      });
      begunMs = clock.monotonicMs();
      return !this.#isClosed;
    };
  }
}
