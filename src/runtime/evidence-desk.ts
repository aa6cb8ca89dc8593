/**
 * What the disk of a running node proves about entries (specification §5.5), for whoever cannot read its directory: synced first, then read
 * as it stands.
 *
 * Journal and snapshots are read in small slices with as much rest as work, and for one question at a time, so that the node does not
 * feel it much. Behind a caller that has gone nothing is read on.
 */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, PartitionId } from '../base/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Cryptography } from '../ports/cryptography.ts';
import {
  gatherWhileUsed,
  syncBeforeReading,
  type DirectoryEvidence,
} from '../storage/entry-evidence.ts';
import type { JournalKeys } from '../storage/journal-keys.ts';
import type { DirectoryPlace } from '../storage/journal-walk.ts';

/** Entries that one question may name; each is a row of the answer, which is a message of 4 MiB at most. */
export const evidenceIndexesMax = 10_000;
/** Questions that wait at most; more are refused. */
const waitingMax = 8;
/** The longest rest between two slices. */
const restMsMax = 100;

/** Whose disk it is. */
export interface EvidenceDeskOptions extends Pick<DirectoryPlace, 'fileSystem' | 'directory'> {
  /** Keys of the running node. */
  readonly keys: () => JournalKeys;
  readonly clock: Clock;
  readonly cryptography: Cryptography;
}

/** What is asked. */
export interface EvidenceDeskQuestion {
  readonly partitionId: PartitionId;
  readonly indexes: ReadonlySet<LogIndex>;
  /** The caller has gone. */
  readonly signal?: AbortSignal | undefined;
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
  gather(question: EvidenceDeskQuestion): Promise<DirectoryEvidence> {
    const { size } = question.indexes;
    if (size === 0 || size > evidenceIndexesMax)
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `name 1 to ${evidenceIndexesMax} entries, not ${size}`,
      );
    if (this.#waiting >= waitingMax)
      throw new ClustorError(
        'CLUSTOR_OVERLOADED',
        `${waitingMax} questions for evidence wait already; ask again later`,
      );
    this.#waiting++;
    const turn = this.#last.then(() => this.#read(question));
    this.#last = turn.catch(() => undefined).finally(() => this.#waiting--);
    return turn;
  }

  /** Ends the reading under way and takes no more; resolves when nothing is read any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#last;
  }

  async #read({ partitionId, indexes, signal }: EvidenceDeskQuestion): Promise<DirectoryEvidence> {
    const { cryptography, keys, fileSystem, directory } = this.#options;
    const isOver = (): boolean => this.#isClosed || signal?.aborted === true;
    if (isOver()) throw new ClustorError('CLUSTOR_CLOSED', 'the node stops, or the caller is gone');
    await syncBeforeReading(fileSystem, directory);
    const openKeys = keys();
    const pace = this.#pace(isOver);
    const evidence = await gatherWhileUsed(
      { fileSystem, directory, openKeys },
      { partitionId, indexes, cryptography, pace },
    );
    // A node that stops forgets its keys first; what was read without them says nothing.
    const { ring } = openKeys;
    if (ring !== undefined && ring.keysOf(ring.newestEpoch) === undefined)
      throw new ClustorError('CLUSTOR_CLOSED', 'the node stops');
    return evidence;
  }

  /** Rests for as long as it has worked since. */
  #pace(isOver: () => boolean): () => Promise<boolean> {
    const { clock } = this.#options;
    let begunMs = clock.monotonicMs();
    return async () => {
      const workedMs = clock.monotonicMs() - begunMs;
      await new Promise<void>((resolve) => {
        clock.setTimer(Math.min(restMsMax, Math.max(1, workedMs)), resolve);
      });
      begunMs = clock.monotonicMs();
      return !isOver();
    };
  }
}
