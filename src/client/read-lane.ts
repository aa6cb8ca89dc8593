/**
 * Reads of one partition: linearizable ones go to the leader, snapshot-only ones to any node that hosts a replica.
 *
 * A read has no effect that could double, so it is simply asked again until its deadline; an answer of an earlier attempt
 * is as good as one of the newest, because both were asked for after the call.
 */
import { ClustorError } from '../base/errors.ts';
import type { NodeId } from '../base/ids.ts';
import { callBack } from '../runtime/callback.ts';
import type { TurnWork } from '../runtime/turn.ts';
import type { Message, WireSession } from '../runtime/wire-session.ts';
import { anyIncarnation } from './append-lane.ts';
import type { ReadConsistency, ReadReceipt } from './client-options.ts';
import type { Route } from './leader-finder.ts';
import type { NodeDirectory } from './node-directory.ts';
import { detailOf, pauseMs, reactionTo, stallMsMax, type RequestContext } from './request-fate.ts';

/** One read on its way. */
export interface ClientRead {
  readonly query: Uint8Array;
  readonly consistency: ReadConsistency;
  readonly deadlineAtMs: number;
  readonly callback: (outcome: ReadReceipt | ClustorError) => void;
  isSettled: boolean;
  /** The attempt under way: its node and when it was sent; `undefined` while the read waits. */
  attempt: ReadAttempt | undefined;
}

interface ReadAttempt {
  readonly nodeId: NodeId;
  readonly sentAtMs: number;
}

/** See the file comment. */
export class ReadLane implements TurnWork {
  readonly #context: RequestContext;
  readonly #route: Route;
  readonly #directory: NodeDirectory;
  /** Everything that is not settled, in order of submission. */
  readonly #reads = new Set<ClientRead>();
  #queue: ClientRead[] = [];
  #isMarked = false;
  #isPaused = false;
  #nextHost = 0;

  constructor(context: RequestContext, route: Route, directory: NodeDirectory) {
    this.#context = context;
    this.#route = route;
    this.#directory = directory;
  }

  /** Whether something waits to be sent. */
  get isWaiting(): boolean {
    return this.#queue.length > 0;
  }

  /** Takes a read in that the budget admitted; its callback is called exactly once. */
  submit(read: ClientRead): void {
    this.#reads.add(read);
    this.#queue.push(read);
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
    if (this.#isPaused) return;
    const queue = this.#queue;
    this.#queue = [];
    for (const read of queue) {
      if (read.isSettled) continue;
      const target = read.consistency === 'linearizable' ? this.#leader() : this.#host();
      if (target === undefined) this.#queue.push(read);
      else this.#ask(read, target);
    }
    if (this.#queue.length > 0) this.#context.finder.seek(this.#route);
  }

  /** The caller gave up. */
  abort(read: ClientRead, cause: unknown): void {
    this.#settle(
      read,
      new ClustorError('CLUSTOR_ABORTED', 'the caller gave up waiting for the read', {
        outcome: 'surelyNot',
        cause,
      }),
    );
    this.#queue = this.#queue.filter((queued) => queued !== read);
  }

  /** Settles what is too late; returns the earliest deadline of the rest. */
  expire(nowMs: number): number {
    let earliestMs = Number.POSITIVE_INFINITY;
    for (const read of this.#reads) {
      if (nowMs < read.deadlineAtMs) earliestMs = Math.min(earliestMs, read.deadlineAtMs);
      else
        this.#settle(
          read,
          new ClustorError('CLUSTOR_DEADLINE_EXCEEDED', 'the read was not answered in time', {
            outcome: 'surelyNot',
          }),
        );
    }
    this.#queue = this.#queue.filter((read) => !read.isSettled);
    return earliestMs;
  }

  /** Doubts a leader that does not answer: asks the others, and asks another one once it is known. */
  doubt(nowMs: number): void {
    for (const read of this.#reads) {
      const { attempt } = read;
      if (attempt === undefined || nowMs - attempt.sentAtMs < stallMsMax) continue;
      if (attempt.nodeId === this.#route.leaderNodeId) this.#context.finder.probe(nowMs);
      else this.#again(read);
    }
  }

  /** Fails everything. */
  failAll(
    code: 'CLUSTOR_CLOSED' | 'CLUSTOR_UNKNOWN_PARTITION' | 'CLUSTOR_INTERNAL',
    message: string,
  ): void {
    this.#queue = [];
    for (const read of this.#reads)
      this.#settle(read, new ClustorError(code, message, { outcome: 'surelyNot' }));
  }

  #leader(): Target | undefined {
    const session = this.#context.finder.leaderSession(this.#route);
    const { leaderNodeId } = this.#route;
    return session === undefined || leaderNodeId === undefined || session.isCongested
      ? undefined
      : { nodeId: leaderNodeId, session };
  }

  /** Hosts take turns. */
  #host(): Target | undefined {
    const hosts = [...this.#route.hosts];
    for (let tried = 0; tried < hosts.length; tried++) {
      const nodeId = hosts[this.#nextHost++ % hosts.length];
      const session = nodeId === undefined ? undefined : this.#directory.get(nodeId)?.session;
      if (nodeId !== undefined && session !== undefined && !session.isCongested)
        return { nodeId, session };
    }
    return undefined;
  }

  #ask(read: ClientRead, target: Target): void {
    const nowMs = this.#context.clock.monotonicMs();
    const attempt: ReadAttempt = { nodeId: target.nodeId, sentAtMs: nowMs };
    read.attempt = attempt;
    const { partitionId } = this.#route;
    const deadlineMs = Math.min(0xffff_ffff, Math.max(1, Math.ceil(read.deadlineAtMs - nowMs)));
    const { consistency, query } = read;
    target.session.request(
      (requestId) => ({
        kind: 'readRequest',
        requestId,
        deadlineMs,
        routingEpoch: 1,
        partitionId,
        toIncarnation: anyIncarnation,
        consistency,
        query,
      }),
      (answer) => {
        this.#answered(read, attempt, answer);
        return false;
      },
    );
  }

  #answered(read: ClientRead, attempt: ReadAttempt, answer: Message | ClustorError): void {
    if (!(answer instanceof ClustorError) && answer.kind === 'readResponse') {
      this.#context.finder.confirmed(this.#route, answer.appliedIndex);
      this.#settle(read, { appliedIndex: answer.appliedIndex, result: answer.result });
      return;
    }
    if (read.isSettled || read.attempt !== attempt) return;
    const error =
      answer instanceof ClustorError
        ? answer
        : new ClustorError('CLUSTOR_INTERNAL', `a read was answered by ${answer.kind}`);
    const { finder } = this.#context;
    switch (reactionTo(error.code)) {
      case 'followName':
        finder.redirected(this.#route, attempt.nodeId, detailOf(error) as NodeId);
        break;
      case 'findLeader':
        if (read.consistency === 'linearizable') finder.deposed(this.#route, attempt.nodeId);
        else this.#pause();
        break;
      case 'pause':
      case 'nameIndex':
        this.#pause();
        break;
      case 'renewKey':
      case 'giveUp':
        this.#settle(read, error);
        return;
    }
    this.#again(read);
  }

  #again(read: ClientRead): void {
    read.attempt = undefined;
    this.#queue.push(read);
    this.mark();
  }

  #pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#context.clock.setTimer(pauseMs, () => {
      this.#isPaused = false;
      this.mark();
    });
  }

  #settle(read: ClientRead, outcome: ReadReceipt | ClustorError): void {
    if (read.isSettled) return;
    read.isSettled = true;
    this.#reads.delete(read);
    this.#context.budget.release(read.query.length);
    callBack(this.#context.observer, read.callback, outcome);
  }
}

interface Target {
  readonly nodeId: NodeId;
  readonly session: WireSession;
}
