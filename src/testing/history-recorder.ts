/** Records a client history while a workload runs; the form is described in `history.ts`. */
import { assert, present } from '../base/assert.ts';
import {
  formatEvent,
  type HistoryEvent,
  type HistoryEventType,
  type HistoryInput,
  type HistoryValue,
} from './history.ts';

/** What a client asks for, and of which key. @public */
export interface HistoryRequest extends HistoryInput {
  readonly key: string;
}

/** Options of {@link HistoryRecorder}. @public */
export interface HistoryRecorderOptions {
  /** Gets every event as it is recorded, for example to write it to a file. */
  readonly onEvent?: (event: HistoryEvent) => void;
  /** Bound of the events kept in memory; recording past it is a bug of the workload. @defaultValue 2_000_000 */
  readonly eventsMax?: number;
}

interface Running {
  readonly process: number;
  readonly request: HistoryRequest;
}

/**
 * Keeps the history of numbered clients.
 *
 * A client is the caller's own number for a thread of control. The recorder gives it a process number, and a new one after
 * each unknown outcome, so that the operation left behind stays open without blocking the client. All times are
 * nanoseconds on one monotonic clock and are passed in; they must not run backwards.
 *
 * @public
 */
export class HistoryRecorder {
  readonly #onEvent: ((event: HistoryEvent) => void) | undefined;
  readonly #eventsMax: number;
  readonly #events: HistoryEvent[] = [];
  readonly #processes = new Map<number, number>();
  readonly #running = new Map<number, Running>();
  #processNext = 0;
  #timeLastNs = 0;

  constructor(options: HistoryRecorderOptions = {}) {
    this.#onEvent = options.onEvent;
    this.#eventsMax = options.eventsMax ?? 2_000_000;
  }

  /** Everything recorded so far, in order. */
  get events(): readonly HistoryEvent[] {
    return this.#events;
  }

  /** Whether the client has an operation in flight. */
  isRunning(client: number): boolean {
    return this.#running.has(client);
  }

  /** Records that a client sends a request. Call it before the request can have any effect. */
  invoke(client: number, request: HistoryRequest, timeNs: number): void {
    assert(!this.#running.has(client), 'a client has one operation at a time');
    const process = this.#processes.get(client) ?? this.#newProcess(client);
    this.#running.set(client, { process, request });
    this.#record('invoke', { process, request }, { value: request.value, timeNs });
  }

  /** Records that the request happened and what it gave. */
  ok(client: number, value: HistoryValue, timeNs: number): void {
    this.#record('ok', this.#end(client), { value, timeNs });
  }

  /** Records that the request surely did not happen and never will. */
  fail(client: number, timeNs: number): void {
    const running = this.#end(client);
    this.#record('fail', running, { value: running.request.value, timeNs });
  }

  /** Records that nobody knows whether the request happened or still will; the client goes on as another process. */
  info(client: number, timeNs: number): void {
    const running = this.#end(client);
    this.#processes.delete(client);
    this.#record('info', running, { value: running.request.value, timeNs });
  }

  /** Ends every operation still in flight as unknown. */
  finish(timeNs: number): void {
    for (const client of [...this.#running.keys()]) this.info(client, timeNs);
  }

  /** The history as JSON lines. */
  format(): string {
    return this.#events.map((event) => `${formatEvent(event)}\n`).join('');
  }

  #newProcess(client: number): number {
    const process = this.#processNext;
    this.#processNext += 1;
    this.#processes.set(client, process);
    return process;
  }

  #end(client: number): Running {
    const running = present(this.#running.get(client), 'an end belongs to a running operation');
    this.#running.delete(client);
    return running;
  }

  #record(
    type: HistoryEventType,
    running: Running,
    detail: { readonly value: HistoryValue; readonly timeNs: number },
  ): void {
    assert(Number.isSafeInteger(detail.timeNs), 'a time is a whole number of nanoseconds');
    assert(detail.timeNs >= this.#timeLastNs, 'the time of a history does not run backwards');
    assert(this.#events.length < this.#eventsMax, 'a history stays within its bound');
    const { op, key } = running.request;
    const event: HistoryEvent = {
      process: running.process,
      type,
      op,
      key,
      value: detail.value,
      time: detail.timeNs,
    };
    this.#timeLastNs = detail.timeNs;
    this.#events.push(event);
    this.#onEvent?.(event);
  }
}
