/**
 * Load generators. Both drive a `Target`, whose requests answer through a callback that takes a slot number: no
 * promise, closure or object is made per request, so that the client costs as little as it can on a machine it
 * shares with the servers.
 *
 * Closed loop: a fixed number of requests is outstanding; each answer sends the next one. Latency runs
 * from sending to answer. Answers that arrive together are followed by sends of one turn, which a target may write
 * as one.
 *
 * Open loop: requests are due at a fixed rate whatever the answers do, and latency runs from the moment
 * a request was *due*, so that a stall of the servers is charged to every request that it delayed.
 */
import { beginReading, type Consumption } from './process-readings.ts';
import { Histogram, type LatencySummary } from './histogram.ts';

/** What is under load. */
export interface Target {
  readonly name: string;
  /** Processes whose consumption counts as the servers'. */
  readonly serverPids: readonly number[];
  /**
   * Sends one request; `answered` must be called with `slot` and whether it succeeded, never before `send`
   * returns. Slots are small numbers, each used by one outstanding request at a time.
   */
  send(slot: number, answered: (slot: number, isOk: boolean) => void): void;
  /** Counters of the servers since they began, where they have any. */
  flushes?(): Promise<FlushCounters | undefined>;
}

/** A target that was started for the bench. */
export interface RunningTarget extends Target {
  /** Ends its processes; what it wrote may go. */
  stop(): Promise<void>;
}

/** How many syncs the leader made, and for how many entries. */
export interface FlushCounters {
  readonly flushCount: number;
  readonly entryCount: number;
}

/** What a stretch of load showed. */
export interface LoadResult {
  readonly target: string;
  readonly outstanding: number;
  readonly ratePerSecond: number | undefined;
  readonly acksPerSecond: number;
  readonly errorCount: number;
  readonly latencyMicroseconds: LatencySummary;
  readonly entriesPerFlush: number | undefined;
  readonly consumption: Consumption;
}

/** How long and how hard. */
export interface LoadOptions {
  readonly warmSeconds: number;
  readonly seconds: number;
  readonly outstanding: number;
  /** Given for an open loop; `outstanding` is then the most that may be unanswered. */
  readonly ratePerSecond?: number | undefined;
}

const drainMsMax = 10_000;
const openLoopPeriodMs = 1;

/** Runs one stretch of load, open loop where a rate is given, else closed. */
export async function runLoad(target: Target, options: LoadOptions): Promise<LoadResult> {
  const loop =
    options.ratePerSecond === undefined
      ? new ClosedLoop(target, options.outstanding)
      : new OpenLoop(target, options.outstanding, options.ratePerSecond);
  loop.start();
  await wait(options.warmSeconds * 1000);
  const flushesBefore = await target.flushes?.();
  const end = beginReading(target.serverPids);
  loop.isRecording = true;
  await wait(options.seconds * 1000);
  loop.isRecording = false;
  const consumption = end();
  const flushesAfter = await target.flushes?.();
  await loop.stop();
  return {
    target: target.name,
    outstanding: options.outstanding,
    ratePerSecond: options.ratePerSecond,
    acksPerSecond: loop.histogram.count / consumption.seconds,
    errorCount: loop.errorCount,
    latencyMicroseconds: loop.histogram.summary(),
    entriesPerFlush: ratio(flushesBefore, flushesAfter),
    consumption,
  };
}

class ClosedLoop {
  readonly histogram: Histogram = new Histogram();
  isRecording = false;
  errorCount = 0;
  readonly #target: Target;
  readonly #sentAtMs: Float64Array;
  #isStopping = false;
  #outstandingCount = 0;

  constructor(target: Target, outstanding: number) {
    this.#target = target;
    this.#sentAtMs = new Float64Array(outstanding);
  }

  start(): void {
    for (let slot = 0; slot < this.#sentAtMs.length; slot++) this.#send(slot);
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await drained(() => this.#outstandingCount === 0);
  }

  #send(slot: number): void {
    this.#outstandingCount++;
    this.#sentAtMs[slot] = performance.now();
    this.#target.send(slot, this.#answered);
  }

  readonly #answered = (slot: number, isOk: boolean): void => {
    this.#outstandingCount--;
    if (!isOk) this.errorCount++;
    else if (this.isRecording) {
      this.histogram.record((performance.now() - (this.#sentAtMs[slot] ?? 0)) * 1000);
    }
    if (this.#isStopping) return;
    // A refusal that comes back at once must not become a busy loop.
    if (isOk) this.#send(slot);
    else setTimeout(this.#retry, 10, slot);
  };

  readonly #retry = (slot: number): void => {
    if (!this.#isStopping) this.#send(slot);
  };
}

class OpenLoop {
  readonly histogram: Histogram = new Histogram();
  isRecording = false;
  errorCount = 0;
  readonly #target: Target;
  readonly #dueAtMs: Float64Array;
  readonly #freeSlots: number[];
  readonly #intervalMs: number;
  #nextDueMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(target: Target, outstandingMax: number, ratePerSecond: number) {
    this.#target = target;
    this.#dueAtMs = new Float64Array(outstandingMax);
    this.#freeSlots = Array.from({ length: outstandingMax }, (_, slot) => slot);
    this.#intervalMs = 1000 / ratePerSecond;
  }

  start(): void {
    this.#nextDueMs = performance.now();
    this.#timer = setInterval(this.#sendDue, openLoopPeriodMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await drained(() => this.#freeSlots.length === this.#dueAtMs.length);
  }

  readonly #sendDue = (): void => {
    const nowMs = performance.now();
    for (; this.#nextDueMs <= nowMs; this.#nextDueMs += this.#intervalMs) {
      // With every slot taken, what is due waits, and goes on being late.
      const slot = this.#freeSlots.pop();
      if (slot === undefined) return;
      this.#dueAtMs[slot] = this.#nextDueMs;
      this.#target.send(slot, this.#answered);
    }
  };

  readonly #answered = (slot: number, isOk: boolean): void => {
    if (!isOk) this.errorCount++;
    else if (this.isRecording) {
      this.histogram.record((performance.now() - (this.#dueAtMs[slot] ?? 0)) * 1000);
    }
    this.#freeSlots.push(slot);
    // Between two ticks of the timer an answer is a good moment to send what fell due.
    if (this.#timer !== undefined) this.#sendDue();
  };
}

function ratio(
  before: FlushCounters | undefined,
  after: FlushCounters | undefined,
): number | undefined {
  if (before === undefined || after === undefined) return undefined;
  const flushCount = after.flushCount - before.flushCount;
  return flushCount > 0 ? (after.entryCount - before.entryCount) / flushCount : undefined;
}

async function drained(isEmpty: () => boolean): Promise<void> {
  const endMs = performance.now() + drainMsMax;
  while (!isEmpty() && performance.now() < endMs) await wait(5);
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
