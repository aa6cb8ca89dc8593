/**
 * Linearizable reads of the embedding process: confirmed here when this replica leads, by asking the leader otherwise.
 * Reads of one turn share one question. Tried again until their deadline: a read has no effect that could double.
 */
import { errorCodes } from '../base/error-codes.ts';
import { ClustorError } from '../base/errors.ts';
import type { LogIndex } from '../base/ids.ts';
import type { PeerLinks } from './peer-links.ts';
import type { Replica } from './replica.ts';
import type { TurnScheduler, TurnWork } from './turn.ts';
import type { Message } from './wire-session.ts';

/** An index that was confirmed, and how: under a lease the answer asks again whether it still holds. */
export interface ReadGrant {
  readonly index: LogIndex;
  readonly byLease: boolean;
}

interface LocalRead {
  readonly deadlineAtMs: number;
  readonly needsRound: boolean;
  readonly resolve: (grant: ReadGrant) => void;
  readonly reject: (error: ClustorError) => void;
  readonly what: string;
  isSettled: boolean;
}

/** What local reads need. */
export interface LocalReaderOptions {
  readonly replica: Replica;
  readonly links: PeerLinks;
  readonly turn: TurnScheduler;
  readonly readsMax: number;
}

/** See the file comment. */
export class LocalReader implements TurnWork {
  readonly #options: LocalReaderOptions;
  #queue: LocalRead[] = [];
  /** Everything that is not settled yet, for deadlines. */
  readonly #pending = new Set<LocalRead>();
  #isMarked = false;
  #isClosed = false;

  constructor(options: LocalReaderOptions) {
    this.#options = options;
  }

  /** A confirmed read index. */
  readIndex(
    deadlineAtMs: number,
    signal: AbortSignal | undefined,
    needsRound = false,
  ): Promise<ReadGrant> {
    return this.#begin(
      { deadlineAtMs, signal, needsRound, what: 'no leader confirmed the read in time' },
      (read) => {
        this.#queue.push(read);
        this.#mark();
      },
    );
  }

  /** Resolves once `index` is applied here. */
  async waitApplied(
    index: LogIndex,
    deadlineAtMs: number,
    signal: AbortSignal | undefined,
  ): Promise<LogIndex> {
    if (this.#options.replica.apply.appliedIndex >= index) return index;
    const what = `entry ${index} was not applied here in time`;
    let giveUp: (() => void) | undefined;
    try {
      const applied = await this.#begin(
        { deadlineAtMs, signal, needsRound: false, what },
        (read) => {
          giveUp = this.#options.replica.reads.whenApplied(index, {
            applied: (appliedIndex) => {
              this.#settle(read, { index: appliedIndex, byLease: false });
            },
            failed: (error) => {
              this.#settle(read, error);
            },
          });
        },
      );
      return applied.index;
    } finally {
      giveUp?.();
    }
  }

  /** The leader changed, or time passed. */
  retry(nowMs: number): void {
    for (const read of this.#pending) {
      if (nowMs >= read.deadlineAtMs)
        this.#settle(
          read,
          new ClustorError('CLUSTOR_DEADLINE_EXCEEDED', read.what, { outcome: 'surelyNot' }),
        );
    }
    if (this.#queue.length > 0) this.#mark();
  }

  endTurn(): void {
    this.#isMarked = false;
    const reads = this.#queue.filter((read) => !read.isSettled);
    this.#queue = [];
    if (reads.length === 0 || this.#isClosed) return;
    if (this.#options.replica.isLeader) this.#ask(reads);
    else if (this.#options.replica.isCutOff)
      for (const read of reads) this.#settle(read, this.#options.replica.notLeader());
    else this.#forward(reads);
  }

  /** Fails what is left. */
  close(): void {
    this.#isClosed = true;
    for (const read of this.#pending)
      this.#settle(
        read,
        new ClustorError('CLUSTOR_CLOSED', 'the node closed', { outcome: 'surelyNot' }),
      );
    this.#queue = [];
  }

  #begin(
    request: {
      readonly deadlineAtMs: number;
      readonly signal: AbortSignal | undefined;
      readonly needsRound: boolean;
      readonly what: string;
    },
    start: (read: LocalRead) => void,
  ): Promise<ReadGrant> {
    const { signal } = request;
    if (this.#isClosed)
      return Promise.reject(
        new ClustorError('CLUSTOR_CLOSED', 'the node is closed', { outcome: 'surelyNot' }),
      );
    if (signal?.aborted === true) return Promise.reject(aborted(signal));
    const refusal = this.#options.replica.gate.refusal('mayRead');
    if (refusal !== undefined) return Promise.reject(refusal);
    if (this.#pending.size >= this.#options.readsMax)
      return Promise.reject(
        new ClustorError(
          'CLUSTOR_OVERLOADED',
          `${this.#options.readsMax} reads of this partition wait`,
        ),
      );
    return new Promise<ReadGrant>((resolve, reject) => {
      const onAbort = (): void => {
        this.#settle(read, aborted(signal));
      };
      const read: LocalRead = {
        deadlineAtMs: request.deadlineAtMs,
        needsRound: request.needsRound,
        what: request.what,
        isSettled: false,
        resolve: (grant) => {
          signal?.removeEventListener('abort', onAbort);
          resolve(grant);
        },
        reject: (error) => {
          signal?.removeEventListener('abort', onAbort);
          reject(error);
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#pending.add(read);
      start(read);
    });
  }

  #ask(reads: readonly LocalRead[]): void {
    const refusal = this.#options.replica.requestRead({
      needsRound: reads.some((read) => read.needsRound),
      confirmed: (index, byLease) => {
        for (const read of reads) this.#settle(read, { index, byLease });
      },
      failed: (error) => {
        this.#again(reads, error);
      },
    });
    if (refusal !== undefined) this.#again(reads, refusal);
  }

  #forward(reads: readonly LocalRead[]): void {
    const { replica, links } = this.#options;
    replica.wake();
    const leader = replica.state.leaderContact;
    const session = leader === undefined ? undefined : links.get(leader.nodeId)?.session;
    if (leader === undefined || session === undefined) {
      this.#queue.push(...reads);
      return;
    }
    session.request(
      (requestId) => ({
        kind: 'readIndexRequest',
        requestId,
        deadlineMs: 0,
        routingEpoch: 1,
        partitionId: replica.partitionId,
        toIncarnation: leader.incarnation,
      }),
      (answer) => {
        this.#answered(reads, answer);
        return false;
      },
    );
  }

  #answered(reads: readonly LocalRead[], answer: Message | ClustorError): void {
    if (answer instanceof ClustorError || answer.kind !== 'readIndexResponse') {
      this.#again(
        reads,
        answer instanceof ClustorError
          ? answer
          : new ClustorError('CLUSTOR_INTERNAL', `a read index was answered by ${answer.kind}`),
      );
      return;
    }
    this.#options.replica.input({ kind: 'leaderCommit', term: answer.term, commit: answer.index });
    for (const read of reads) this.#settle(read, { index: answer.index, byLease: false });
  }

  /** Queues reads for the next change of leader or tick; what cannot get better fails now. */
  #again(reads: readonly LocalRead[], error: ClustorError): void {
    if (!errorCodes[error.code].retryable || this.#isClosed) {
      for (const read of reads) this.#settle(read, error);
    } else {
      this.#queue.push(...reads.filter((read) => !read.isSettled));
    }
  }

  #settle(read: LocalRead, outcome: ReadGrant | ClustorError): void {
    if (read.isSettled) return;
    read.isSettled = true;
    this.#pending.delete(read);
    if (outcome instanceof ClustorError) read.reject(outcome);
    else read.resolve(outcome);
  }

  #mark(): void {
    if (this.#isMarked || this.#isClosed) return;
    this.#isMarked = true;
    this.#options.turn.markRequest(this);
  }
}

function aborted(signal: AbortSignal | undefined): ClustorError {
  return new ClustorError('CLUSTOR_ABORTED', 'the caller gave up waiting for the read', {
    outcome: 'surelyNot',
    cause: signal?.reason,
  });
}
