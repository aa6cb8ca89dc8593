/**
 * Appends of the process that embeds the node, on whichever node it runs: proposed here when this replica leads, sent to
 * the leader otherwise, and tried again under the same key until their deadline, so that each takes effect once.
 */
import { dropFirst } from '../base/arrays.ts';
import { assert } from '../base/assert.ts';
import { errorCodes } from '../base/error-codes.ts';
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, Term } from '../base/ids.ts';
import type { Clock } from '../ports/clock.ts';
import { answeredError } from './client-requests.ts';
import type { PeerLinks } from './peer-links.ts';
import type { ProposalBounds, ProposalReceipt, ProposalSink } from './proposals.ts';
import type { Replica } from './replica.ts';
import type { TurnScheduler, TurnWork } from './turn.ts';
import type { Message } from './wire-session.ts';

/** What an append resolves with. @public */
export interface AppendReceipt {
  readonly term: Term;
  readonly index: LogIndex;
  /** What the state machine answered for the entry. */
  readonly result: Uint8Array | undefined;
}

/** One append on its way. */
export interface LocalAppend {
  readonly metadata: Uint8Array;
  readonly payload: Uint8Array;
  readonly deadlineAtMs: number;
  readonly settle: (outcome: AppendReceipt | ClustorError) => void;
  /** Something was sent whose fate is unknown; a later certain refusal no longer makes the whole surely-not. */
  isUncertain: boolean;
  /** An attempt is under way: it was proposed here or sent to the leader, and not refused so far. */
  isSent: boolean;
  isSettled: boolean;
}

/** What local appends need. */
export interface LocalAppenderOptions {
  readonly replica: Replica;
  readonly links: PeerLinks;
  readonly turn: TurnScheduler;
  readonly clock: Clock;
  /** Of what waits or is under way. Beyond: `CLUSTOR_OVERLOADED`. */
  readonly bounds: ProposalBounds;
}

const forwardBytesMax = 1024 * 1024;
const forwardEntriesMax = 1024;

/** See the file comment. */
export class LocalAppender implements ProposalSink, TurnWork {
  readonly #options: LocalAppenderOptions;
  #queue: LocalAppend[] = [];
  readonly #proposed = new Map<number, LocalAppend>();
  /** Sent to the leader and not answered. */
  readonly #forwarded = new Set<LocalAppend>();
  #pendingCount = 0;
  #pendingBytes = 0;
  #nextSlot = 1;
  #isMarked = false;
  #isClosed = false;

  constructor(options: LocalAppenderOptions) {
    this.#options = options;
  }

  /** Appends waiting or under way. */
  get pendingCount(): number {
    return this.#pendingCount;
  }

  /** Takes an append in; its `settle` is called exactly once, at once where it is refused. */
  submit(append: LocalAppend): void {
    const refusal = this.#isClosed ? closedError(append) : this.#refusal(append.payload.length);
    if (refusal !== undefined) {
      finish(append, refusal);
      return;
    }
    this.#pendingCount++;
    this.#pendingBytes += append.payload.length;
    this.#queue.push(append);
    this.#mark();
  }

  /** The leader changed, or time passed: what waits is tried again, what is too late is told so. */
  retry(nowMs: number): void {
    for (const append of this.#proposed.values()) this.#expire(append, nowMs);
    for (const append of this.#forwarded) this.#expire(append, nowMs);
    if (this.#queue.length === 0) return;
    const queue = this.#queue;
    this.#queue = [];
    const left = queue.filter((append) => {
      const isOver = this.#expire(append, nowMs);
      if (isOver) this.#release(append);
      return !isOver;
    });
    // What callbacks of expired ones appended meanwhile comes behind.
    this.#queue = [...left, ...this.#queue];
    if (this.#queue.length > 0) this.#mark();
  }

  endTurn(): void {
    this.#isMarked = false;
    if (this.#isClosed || this.#queue.length === 0) return;
    if (this.#options.replica.isLeader) this.#propose();
    else if (this.#options.replica.isCutOff) this.#failQueued(this.#options.replica.notLeader());
    else this.#forward();
  }

  proposalCommitted(slot: number, receipt: ProposalReceipt): void {
    const append = this.#take(slot);
    if (append === undefined) return;
    this.#release(append);
    finish(append, { term: receipt.term, index: receipt.index, result: receipt.result });
  }

  proposalFailed(slot: number, error: ClustorError): void {
    const append = this.#take(slot);
    if (append !== undefined) this.#failed(append, error);
  }

  /** Fails what is left. */
  close(): void {
    this.#isClosed = true;
    const left = [...this.#queue, ...this.#proposed.values(), ...this.#forwarded];
    this.#queue = [];
    this.#proposed.clear();
    this.#forwarded.clear();
    this.#pendingCount = 0;
    this.#pendingBytes = 0;
    for (const append of left) finish(append, closedError(append));
  }

  #refusal(payloadBytes: number): ClustorError | undefined {
    const { proposalsMax, proposalBytesMax } = this.#options.bounds;
    if (this.#pendingCount >= proposalsMax)
      return new ClustorError(
        'CLUSTOR_OVERLOADED',
        `${proposalsMax} appends of this partition wait on this node or are under way`,
      );
    if (this.#pendingBytes + payloadBytes > proposalBytesMax && this.#pendingBytes > 0)
      return new ClustorError(
        'CLUSTOR_OVERLOADED',
        `${proposalBytesMax} bytes of appends of this partition wait on this node or are under way`,
      );
    return undefined;
  }

  #propose(): void {
    const queue = this.#queue;
    this.#queue = [];
    for (const append of queue) {
      if (append.isSettled) {
        this.#release(append);
        continue;
      }
      const slot = this.#nextSlot++;
      this.#proposed.set(slot, append);
      append.isSent = true;
      const refusal = this.#options.replica.offer({
        metadata: append.metadata,
        payload: append.payload,
        sink: this,
        slot,
      });
      if (refusal !== undefined) this.proposalFailed(slot, refusal);
    }
  }

  #failQueued(error: ClustorError): void {
    const queue = this.#queue;
    this.#queue = [];
    for (const append of queue) {
      this.#release(append);
      const { code, message } = error;
      finish(
        append,
        append.isUncertain ? new ClustorError(code, message, { outcome: 'unknown' }) : error,
      );
    }
  }

  #forward(): void {
    const { replica, links } = this.#options;
    replica.wake();
    const leader = replica.leaderNodeId;
    const session = leader === undefined ? undefined : links.get(leader)?.session;
    const leaderIncarnation = replica.state.leaderContact?.incarnation;
    if (session === undefined || leaderIncarnation === undefined) return;
    while (this.#queue.length > 0) {
      const batch = this.#takeForwardBatch();
      if (batch.length === 0) continue;
      const entries = batch.map(({ metadata, payload }) => ({ metadata, payload }));
      for (const append of batch) {
        append.isSent = true;
        this.#forwarded.add(append);
      }
      const missing = new Set(batch.keys());
      session.request(
        (requestId) => ({
          kind: 'appendRequest',
          requestId,
          deadlineMs: 0,
          routingEpoch: 1,
          partitionId: replica.partitionId,
          toIncarnation: leaderIncarnation,
          entries,
        }),
        (answer) => this.#answered(batch, missing, answer),
      );
    }
  }

  #takeForwardBatch(): LocalAppend[] {
    const batch: LocalAppend[] = [];
    let bytes = 0;
    let taken = 0;
    for (const append of this.#queue) {
      if (
        batch.length >= forwardEntriesMax ||
        (batch.length > 0 && bytes + append.payload.length > forwardBytesMax)
      )
        break;
      taken++;
      if (append.isSettled) {
        this.#release(append);
        continue;
      }
      bytes += append.payload.length;
      batch.push(append);
    }
    dropFirst(this.#queue, taken);
    return batch;
  }

  /** Takes an answer to a forwarded batch; returns whether more are to come. */
  #answered(
    batch: readonly LocalAppend[],
    missing: Set<number>,
    answer: Message | ClustorError,
  ): boolean {
    if (answer instanceof ClustorError || answer.kind !== 'appendResponse') {
      const error =
        answer instanceof ClustorError
          ? answer
          : new ClustorError('CLUSTOR_INTERNAL', `an append was answered by ${answer.kind}`);
      for (const position of missing) this.#settleForwarded(batch[position], error);
      missing.clear();
      return false;
    }
    for (const result of answer.results) {
      if (!missing.delete(result.position)) continue;
      const { term, index } = result;
      if (result.errorCode === 0)
        this.#settleForwarded(batch[result.position], {
          term,
          index,
          result: result.result.length === 0 ? undefined : result.result,
        });
      else this.#settleForwarded(batch[result.position], answeredError(result));
    }
    return missing.size > 0;
  }

  #settleForwarded(append: LocalAppend | undefined, outcome: AppendReceipt | ClustorError): void {
    assert(append !== undefined, 'answers speak of entries of their request');
    // Closed meanwhile: it was told so.
    if (!this.#forwarded.delete(append)) return;
    if (outcome instanceof ClustorError) {
      this.#failed(append, outcome);
      return;
    }
    this.#release(append);
    finish(append, outcome);
  }

  #failed(append: LocalAppend, error: ClustorError): void {
    if (append.isSettled) {
      this.#release(append);
      return;
    }
    append.isSent = false;
    if (error.outcome !== 'surelyNot') append.isUncertain = true;
    const isFinal =
      !errorCodes[error.code].retryable ||
      this.#isClosed ||
      error.code === 'CLUSTOR_OVERLOADED' ||
      error.code === 'CLUSTOR_DISK_HARD';
    if (isFinal) {
      this.#release(append);
      finish(
        append,
        append.isUncertain && error.outcome === 'surelyNot' ? unknownOutcome(error) : error,
      );
    } else {
      this.#queue.push(append);
      if (error.code === 'CLUSTOR_LEADERSHIP_LOST' || error.code === 'CLUSTOR_ENTRY_SUPERSEDED')
        this.#mark();
    }
  }

  #expire(append: LocalAppend, nowMs: number): boolean {
    if (append.isSettled) return true;
    if (nowMs < append.deadlineAtMs) return false;
    finish(append, deadlineError(append, this.#options.replica));
    return true;
  }

  /** It waits no more and is not under way. */
  #release(append: LocalAppend): void {
    this.#pendingCount--;
    this.#pendingBytes -= append.payload.length;
  }

  #take(slot: number): LocalAppend | undefined {
    const append = this.#proposed.get(slot);
    this.#proposed.delete(slot);
    return append;
  }

  #mark(): void {
    if (this.#isMarked) return;
    this.#isMarked = true;
    this.#options.turn.markRequest(this);
  }
}

function finish(append: LocalAppend, outcome: AppendReceipt | ClustorError): void {
  if (append.isSettled) return;
  append.isSettled = true;
  append.settle(outcome);
}

function closedError(append: LocalAppend): ClustorError {
  return new ClustorError('CLUSTOR_CLOSED', 'the node closed', { outcome: outcomeSoFar(append) });
}

/** What is known while no answer has come. */
function outcomeSoFar(append: LocalAppend): 'unknown' | 'surelyNot' {
  return append.isSent || append.isUncertain ? 'unknown' : 'surelyNot';
}

function unknownOutcome(error: ClustorError): ClustorError {
  return new ClustorError(error.code, error.message, {
    outcome: 'unknown',
    details: error.details,
  });
}

function deadlineError(append: LocalAppend, replica: Replica): ClustorError {
  const cause =
    replica.leaderNodeId === undefined
      ? 'no leader is known'
      : `node ${replica.leaderNodeId} leads and has not answered`;
  const outcome = outcomeSoFar(append);
  return new ClustorError(
    'CLUSTOR_DEADLINE_EXCEEDED',
    `the append was not acknowledged in time: ${cause}`,
    { outcome },
  );
}
