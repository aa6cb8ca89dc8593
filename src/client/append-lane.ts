/**
 * Appends of one partition.
 *
 * What is submitted during a turn of the loop leaves at its end in as few frames as the bounds allow, without waiting for
 * earlier answers. An append keeps its metadata, and with it its key and the commit index known at its first attempt, over
 * all attempts, so that it takes effect once however often it is sent (specification §2.4). Appends that come back are sent
 * again before younger ones; on the normal path nothing comes back and the log has the order of submission.
 *
 * A batch whose leader fell silent is *abandoned* once another leader is known: its appends are sent again there. A success
 * that still comes from the silent one is the truth and is taken; its refusals no longer count.
 */
import { dropFirst } from '../base/arrays.ts';
import { ByteWriter } from '../base/bytes.ts';
import type { Outcome } from '../base/error-codes.ts';
import { ClustorError } from '../base/errors.ts';
import type { Incarnation, NodeId } from '../base/ids.ts';
import { callBack } from '../runtime/callback.ts';
import { answeredError } from '../runtime/client-requests.ts';
import type { AppendReceipt } from '../runtime/local-append.ts';
import { keyMetadata, SessionKeys } from '../runtime/session-keys.ts';
import type { TurnWork } from '../runtime/turn.ts';
import type { Message, WireSession } from '../runtime/wire-session.ts';
import type { Route } from './leader-finder.ts';
import {
  detailOf,
  pauseMs,
  reactionTo,
  stallMsMax,
  withOutcome,
  worseOutcome,
  type RequestContext,
} from './request-fate.ts';

/** Receives the outcome of an append, once. @public */
export type AppendCallback = (outcome: AppendReceipt | ClustorError) => void;

/** One append on its way; the only object that exists per request besides its metadata. */
export interface ClientAppend {
  /** Sent as it is; emptied when settled, so that an unanswered frame does not hold it. */
  payload: Uint8Array;
  /** Empty before the first attempt. */
  metadata: Uint8Array;
  readonly callback: AppendCallback;
  readonly deadlineAtMs: number;
  readonly opaqueKey: Uint8Array | undefined;
  readonly firstSeenCommit: number | undefined;
  /** Position in the order of submission. */
  order: number;
  /** Sequence of the client's own key; 0 while it has none. */
  sequence: number;
  isInFlight: boolean;
  isSettled: boolean;
  /** What the attempts that failed leave to be said. */
  known: Outcome;
}

/** Entries of one frame on their way. */
interface Batch {
  readonly nodeId: NodeId;
  readonly sentAtMs: number;
  /** By position in the frame; answered ones are taken out. */
  readonly appends: (ClientAppend | undefined)[];
  missingCount: number;
  isAbandoned: boolean;
}

type AppendResult = Extract<Message, { readonly kind: 'appendResponse' }>['results'][number];

/** Clients do not know incarnations; replicas take requests of clients under this one. */
export const anyIncarnation: Incarnation = '00000000-0000-0000-0000-000000000000' as Incarnation;

const entryOverheadBytes = 8;
const noBytes = new Uint8Array(0);

/** See the file comment. */
export class AppendLane implements TurnWork {
  readonly #context: RequestContext;
  readonly #route: Route;
  readonly #keys: SessionKeys;
  readonly #writer = new ByteWriter();
  readonly #batches = new Set<Batch>();
  #queue: ClientAppend[] = [];
  #isSorted = true;
  #nextOrder = 1;
  #isMarked = false;
  #isPaused = false;
  #lastAnswerMs = 0;

  constructor(context: RequestContext, route: Route) {
    this.#context = context;
    this.#route = route;
    this.#keys = new SessionKeys(context.clientId);
  }

  /** Whether something waits to be sent. */
  get isWaiting(): boolean {
    return this.#queue.length > 0;
  }

  /** Takes an append in that the budget admitted; its callback is called exactly once. */
  submit(append: ClientAppend): void {
    append.order = this.#nextOrder++;
    this.#queue.push(append);
    this.mark();
  }

  /** Makes sure that what waits is looked at when the turn ends. */
  mark(): void {
    if (this.#isMarked || this.#queue.length === 0) return;
    this.#isMarked = true;
    this.#context.turn.markRequest(this);
  }

  endTurn(): void {
    this.#isMarked = false;
    if (this.#queue.length === 0 || this.#isPaused) return;
    const { finder, limits } = this.#context;
    const session = finder.leaderSession(this.#route);
    if (session === undefined) {
      finder.seek(this.#route);
      return;
    }
    if (!this.#isSorted) this.#sort();
    let at = 0;
    let sentBytes = 0;
    while (at < this.#queue.length && sentBytes < limits.turnBytesMax && !session.isCongested) {
      const start = at;
      at = this.#sendBatch(session, start);
      for (let position = start; position < at; position++)
        sentBytes += this.#queue[position]?.payload.length ?? 0;
    }
    if (at === this.#queue.length) this.#queue = [];
    else dropFirst(this.#queue, at);
    if (!session.isCongested) this.mark();
  }

  /** The caller gave up. */
  abort(append: ClientAppend, cause: unknown): void {
    if (append.isSettled) return;
    this.#settle(
      append,
      new ClustorError('CLUSTOR_ABORTED', 'the caller gave up waiting for the append', {
        outcome: outcomeNow(append),
        cause,
      }),
    );
    if (!append.isInFlight) this.#queue = this.#queue.filter((queued) => queued !== append);
  }

  /** Settles what is too late; returns the earliest deadline of the rest. */
  expire(nowMs: number): number {
    let earliestMs = Number.POSITIVE_INFINITY;
    const judge = (append: ClientAppend): void => {
      if (append.isSettled) return;
      if (nowMs >= append.deadlineAtMs) this.#settle(append, this.#deadlineError(append));
      else earliestMs = Math.min(earliestMs, append.deadlineAtMs);
    };
    for (const batch of this.#batches)
      for (const append of batch.appends) if (append !== undefined) judge(append);
    for (const append of this.#queue) judge(append);
    this.#queue = this.#queue.filter((append) => !append.isSettled);
    return earliestMs;
  }

  /** Doubts a leader that does not answer: asks the others, and leaves it once another one is known. */
  doubt(nowMs: number): void {
    for (const batch of this.#batches) {
      if (batch.isAbandoned || nowMs - Math.max(batch.sentAtMs, this.#lastAnswerMs) < stallMsMax)
        continue;
      if (batch.nodeId === this.#route.leaderNodeId) this.#context.finder.probe(nowMs);
      else this.#abandon(batch);
    }
  }

  /** Fails everything. */
  failAll(
    code: 'CLUSTOR_CLOSED' | 'CLUSTOR_UNKNOWN_PARTITION' | 'CLUSTOR_INTERNAL',
    message: string,
  ): void {
    const left = [...this.#batches].flatMap((batch) => batch.appends).concat(this.#queue);
    this.#queue = [];
    this.#batches.clear();
    for (const append of left) {
      if (append?.isSettled === false)
        this.#settle(append, new ClustorError(code, message, { outcome: outcomeNow(append) }));
    }
  }

  #sort(): void {
    this.#queue.sort((left, right) => left.order - right.order);
    this.#isSorted = true;
  }

  /** Sends entries of the queue from `start` on in one frame; returns the position behind them. */
  #sendBatch(session: WireSession, start: number): number {
    const { batchEntriesMax, batchBytesMax } = this.#context.limits;
    const appends: ClientAppend[] = [];
    let bytes = 0;
    let at = start;
    for (; at < this.#queue.length && appends.length < batchEntriesMax; at++) {
      const append = this.#queue[at];
      if (append === undefined || append.isSettled) continue;
      if (append.metadata.length === 0) this.#nameAppend(append);
      bytes += append.payload.length + append.metadata.length + entryOverheadBytes;
      if (bytes > batchBytesMax && appends.length > 0) break;
      append.isInFlight = true;
      appends.push(append);
    }
    if (appends.length > 0) this.#request(session, appends);
    return at;
  }

  #request(session: WireSession, appends: ClientAppend[]): void {
    const { partitionId, leaderNodeId } = this.#route;
    if (leaderNodeId === undefined) return;
    const batch: Batch = {
      nodeId: leaderNodeId,
      sentAtMs: this.#context.clock.monotonicMs(),
      appends,
      missingCount: appends.length,
      isAbandoned: false,
    };
    this.#batches.add(batch);
    session.request(
      (requestId) => ({
        kind: 'appendRequest',
        requestId,
        deadlineMs: 0,
        routingEpoch: 1,
        partitionId,
        toIncarnation: anyIncarnation,
        entries: appends,
      }),
      (answer) => this.#answered(batch, answer),
    );
  }

  /** Gives an append its key for all attempts. */
  #nameAppend(append: ClientAppend): void {
    const { commitIndex } = this.#route;
    if (append.opaqueKey !== undefined) {
      const firstSeenCommit = append.firstSeenCommit ?? commitIndex;
      append.metadata = keyMetadata(this.#writer, { opaqueKey: append.opaqueKey, firstSeenCommit });
      return;
    }
    // A key that is new here needs no older index: one that the caller kept would pass the horizon again and again.
    const key = this.#keys.next(commitIndex);
    append.sequence = key.sequence;
    append.metadata = key.metadata;
  }

  /** Takes an answer to a batch; returns whether more are to come. */
  #answered(batch: Batch, answer: Message | ClustorError): boolean {
    this.#lastAnswerMs = this.#context.clock.monotonicMs();
    if (answer instanceof ClustorError || answer.kind !== 'appendResponse') {
      this.#batches.delete(batch);
      const error =
        answer instanceof ClustorError
          ? answer
          : new ClustorError('CLUSTOR_INTERNAL', `an append was answered by ${answer.kind}`);
      for (const append of batch.appends)
        if (append !== undefined) this.#refused(batch, append, error);
      return false;
    }
    for (const result of answer.results) this.#take(batch, result);
    if (batch.missingCount > 0) return true;
    this.#batches.delete(batch);
    return false;
  }

  #take(batch: Batch, result: AppendResult): void {
    if (result.position >= batch.appends.length)
      throw new ClustorError(
        'CLUSTOR_WIRE_BAD_VALUE',
        'an answer speaks of an entry that was not in its request',
      );
    const append = batch.appends[result.position];
    if (append === undefined) return;
    batch.appends[result.position] = undefined;
    batch.missingCount--;
    const { errorCode, term, index } = result;
    if (errorCode !== 0) {
      this.#refused(batch, append, answeredError(result));
      return;
    }
    this.#context.finder.confirmed(this.#route, index);
    this.#settle(append, {
      term,
      index,
      result: result.result.length === 0 ? undefined : result.result,
    });
  }

  #refused(batch: Batch, append: ClientAppend, error: ClustorError): void {
    if (append.isSettled || batch.isAbandoned) return;
    append.isInFlight = false;
    switch (reactionTo(error.code)) {
      case 'followName':
        this.#context.finder.redirected(this.#route, batch.nodeId, detailOf(error) as NodeId);
        break;
      case 'findLeader':
        this.#context.finder.deposed(this.#route, batch.nodeId);
        break;
      case 'nameIndex':
        this.#rename(append, detailOf(error));
        break;
      case 'renewKey':
        // Where every attempt under an own key surely left no trace, the client only knew too old a commit index.
        if (append.known !== 'surelyNot' || append.opaqueKey !== undefined) {
          this.#giveUp(append, error);
          return;
        }
        this.#forgetKey(append);
        this.#context.finder.deposed(this.#route, batch.nodeId);
        this.#requeue(append, 'surelyNot');
        return;
      case 'pause':
        this.#pause();
        break;
      case 'giveUp':
        this.#giveUp(append, error);
        return;
    }
    this.#requeue(append, error.outcome);
  }

  #requeue(append: ClientAppend, outcome: Outcome): void {
    append.known = worseOutcome(append.known, outcome);
    append.isInFlight = false;
    this.#queue.push(append);
    this.#isSorted = false;
    this.mark();
  }

  #giveUp(append: ClientAppend, error: ClustorError): void {
    this.#settle(append, withOutcome(error, worseOutcome(append.known, error.outcome)));
  }

  /** The same key with the commit index that was asked for. */
  #rename(append: ClientAppend, firstSeenCommit: number): void {
    const key =
      append.opaqueKey === undefined
        ? { clientId: this.#context.clientId, sequence: append.sequence }
        : { opaqueKey: append.opaqueKey };
    append.metadata = keyMetadata(this.#writer, { ...key, firstSeenCommit });
  }

  #forgetKey(append: ClientAppend): void {
    this.#keys.settled(append.sequence);
    append.sequence = 0;
    append.metadata = noBytes;
  }

  #pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#context.clock.setTimer(pauseMs, () => {
      this.#isPaused = false;
      this.mark();
    });
  }

  #abandon(batch: Batch): void {
    for (const append of batch.appends)
      if (append?.isSettled === false) this.#requeue(append, 'unknown');
    batch.isAbandoned = true;
  }

  #settle(append: ClientAppend, outcome: AppendReceipt | ClustorError): void {
    if (append.isSettled) return;
    append.isSettled = true;
    this.#context.budget.release(append.payload.length);
    append.payload = noBytes;
    if (append.sequence > 0) this.#keys.settled(append.sequence);
    callBack(this.#context.observer, append.callback, outcome);
  }

  #deadlineError(append: ClientAppend): ClustorError {
    const { leaderNodeId } = this.#route;
    const cause =
      leaderNodeId === undefined
        ? 'no leader is known'
        : `node ${leaderNodeId} leads and has not answered`;
    return new ClustorError(
      'CLUSTOR_DEADLINE_EXCEEDED',
      `the append was not acknowledged in time: ${cause}`,
      { outcome: outcomeNow(append) },
    );
  }
}

/** What may be said of an append's effect if nothing more is heard. */
function outcomeNow(append: ClientAppend): Outcome {
  return append.isInFlight ? worseOutcome(append.known, 'unknown') : append.known;
}
