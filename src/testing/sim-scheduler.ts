/**
 * Virtual time: one queue of events, handled one after the other, the same way for the same seed on every machine.
 *
 * - Order: by time, then by insertion. A second queue holds the ends of turns: they run once nothing else is due at the
 *   same instant, which is when batches close in the real host as well.
 * - Every event belongs to a {@link LifeScope} (one life of a node) or to the world. Events of a dead life vanish; those of
 *   a paused one wait, in order, until it resumes.
 * - Times are multiples of 1/16 ms ({@link onGrid}), so that sums are exact and that things do arrive together at times.
 * - Promises: code under test may wait for simulated completions. Whoever resolves a promise calls
 *   {@link SimScheduler.requestDrain}; the loop then lets microtasks run out, through a function of the caller, because only
 *   the real host can tell when they have. Reactions nobody announced run within {@link drainEventsMax} events.
 * - The trace hash folds every handled event; equal seeds must give equal hashes.
 */
import { assert, present } from '../base/assert.ts';

/** One life of one node or client: from its start to its crash. */
export class LifeScope {
  /** Number of the node or client within the world. */
  readonly number: number;
  /** Whether callbacks may still be delivered. Invariant: never goes back to true. */
  isAlive = true;
  /** Whether the process is stopped. */
  isPaused = false;
  /** Events that came due while paused, in order. */
  readonly deferred: SimTask[] = [];

  constructor(number: number) {
    this.number = number;
  }
}

/** Something to be run at an instant. One task may be scheduled again after it ran. */
export interface SimTask {
  /** The life it belongs to; `undefined` is the world. */
  readonly owner: LifeScope | undefined;
  /** What it is, for the trace: see {@link simEventKinds}. */
  readonly eventKind: number;
  /** A number that tells it apart in the trace: a length, a position. */
  weight: number;
  /** A cancelled task is dropped when it comes due. */
  isCancelled: boolean;
  run(): void;
}

/** Kinds of events in the trace. */
export const simEventKinds = {
  world: 1,
  timer: 2,
  endOfTurn: 3,
  diskStep: 4,
  diskOperation: 5,
  connect: 6,
  deliver: 7,
  networkNotice: 8,
} as const;

/** How a stretch of virtual time is run. */
export interface RunOptions {
  /** Virtual time at which to stop; events due exactly then are handled. */
  readonly untilMs: number;
  /** Resolves when no microtask is left, for instance through `setImmediate`. */
  readonly drainMicrotasks: () => Promise<void>;
  /** Called after every event; the place of checks that hold after every step. */
  readonly afterEvent?: (owner: LifeScope | undefined, eventKind: number) => void;
  /** Asked after every event; true ends the run early. */
  readonly isDone?: () => boolean;
}

/** Events between two drains at most, so that reactions on unannounced promises are not put off for long. */
export const drainEventsMax = 64;

/** The next instant of the time grid at or after `timeMs`. */
export function onGrid(timeMs: number): number {
  return Math.ceil(timeMs * 16) / 16;
}

/** A task made of a function. */
export function simTask(owner: LifeScope | undefined, eventKind: number, run: () => void): SimTask {
  return { owner, eventKind, weight: 0, isCancelled: false, run };
}

/** The loop of a simulated world. */
export class SimScheduler {
  #times = new Float64Array(1024);
  #numbers = new Float64Array(1024);
  readonly #tasks: SimTask[] = [];
  #insertions = 0;
  #turn: SimTask[] = [];
  #turnHead = 0;
  #nowMs = 0;
  #needsDrain = false;
  #sinceDrain = 0;
  #eventCount = 0;
  #laneA = 0x811c9dc5;
  #laneB = 0x9e3779b9;
  readonly #timeView = new Float64Array(1);
  readonly #timeWords = new Uint32Array(this.#timeView.buffer);

  /** Virtual milliseconds since the world began. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events handled so far. */
  get eventCount(): number {
    return this.#eventCount;
  }

  /** Events that are due some time. */
  get pendingCount(): number {
    return this.#tasks.length + this.#turn.length - this.#turnHead;
  }

  /** Runs `task` in `delayMs` (rounded up to the grid). */
  schedule(delayMs: number, task: SimTask): void {
    this.scheduleAt(onGrid(this.#nowMs + delayMs), task);
  }

  /** Runs `task` at `atMs`, an instant of the grid that is not past. */
  scheduleAt(atMs: number, task: SimTask): void {
    assert(atMs >= this.#nowMs, 'an event lies in the future');
    const position = this.#tasks.length;
    if (position === this.#times.length) this.#grow();
    this.#tasks.push(task);
    this.#siftUp({ position, time: atMs, number: this.#insertions++, task });
  }

  /** Runs `task` once nothing else is due at this instant. */
  scheduleEndOfTurn(task: SimTask): void {
    this.#turn.push(task);
  }

  /** Tells that a promise was resolved: microtasks run out before the next event. */
  requestDrain(): void {
    this.#needsDrain = true;
  }

  /** Resumes a paused life: what came due meanwhile runs now, in order. */
  releaseDeferred(scope: LifeScope): void {
    scope.isPaused = false;
    for (const task of scope.deferred.splice(0)) this.scheduleAt(this.#nowMs, task);
  }

  /** Folds a number into the trace hash. */
  fold(value: number): void {
    this.#laneA = Math.imul(this.#laneA ^ value, 0x01000193);
    this.#laneB = Math.imul((this.#laneB << 5) ^ (this.#laneB >>> 27) ^ value, 0x9e3779b1);
  }

  /** 16 hexadecimal digits over every event so far. */
  traceHash(): string {
    const high = (this.#laneA >>> 0).toString(16).padStart(8, '0');
    return high + (this.#laneB >>> 0).toString(16).padStart(8, '0');
  }

  /**
   * Handles events until `untilMs` and leaves the clock there, or at the event after which `isDone` said so.
   *
   * What an event throws ends the run and is thrown on: code under test handles its own errors, the rest are findings.
   * @returns Whether `isDone` ended it.
   */
  async run(options: RunOptions): Promise<boolean> {
    const { untilMs, drainMicrotasks, afterEvent, isDone } = options;
    await drainMicrotasks();
    for (;;) {
      const task = this.#next(untilMs);
      if (task === undefined) {
        // Reactions may schedule more within the stretch.
        if (this.#sinceDrain === 0 && !this.#needsDrain) break;
        await this.#drain(drainMicrotasks);
        continue;
      }
      if (!this.#handle(task)) continue;
      afterEvent?.(task.owner, task.eventKind);
      if (this.#needsDrain || this.#sinceDrain >= drainEventsMax)
        await this.#drain(drainMicrotasks);
      if (isDone?.() === true) return true;
    }
    this.#nowMs = Math.max(this.#nowMs, onGrid(untilMs));
    return false;
  }

  async #drain(drainMicrotasks: () => Promise<void>): Promise<void> {
    this.#needsDrain = false;
    this.#sinceDrain = 0;
    await drainMicrotasks();
  }

  /** Takes the next task due by `untilMs` and moves the clock to it. */
  #next(untilMs: number): SimTask | undefined {
    const isHeapDue = this.#tasks.length > 0 && (this.#times[0] ?? 0) <= untilMs;
    if (this.#turnHead < this.#turn.length && !(isHeapDue && this.#times[0] === this.#nowMs)) {
      const task = this.#turn[this.#turnHead++];
      if (this.#turnHead === this.#turn.length) {
        this.#turn = [];
        this.#turnHead = 0;
      }
      return task;
    }
    if (!isHeapDue) return undefined;
    this.#nowMs = this.#times[0] ?? 0;
    return this.#pop();
  }

  /** Runs a task unless its life is over or stopped. */
  #handle(task: SimTask): boolean {
    if (task.isCancelled) return false;
    const owner = task.owner;
    if (owner !== undefined) {
      if (!owner.isAlive) return false;
      if (owner.isPaused) {
        owner.deferred.push(task);
        return false;
      }
    }
    this.#eventCount++;
    this.#sinceDrain++;
    this.#timeView[0] = this.#nowMs;
    this.fold(this.#timeWords[0] ?? 0);
    this.fold(this.#timeWords[1] ?? 0);
    this.fold((owner === undefined ? 0 : owner.number << 8) ^ task.eventKind);
    this.fold(task.weight);
    task.run();
    return true;
  }

  #pop(): SimTask {
    const top = present(this.#tasks[0], 'a due event exists');
    const last = present(this.#tasks.pop(), 'the queue holds an event');
    const length = this.#tasks.length;
    if (length > 0) this.#siftDown(last, length);
    return top;
  }

  #siftUp(entry: { position: number; time: number; number: number; task: SimTask }): void {
    const { time, number, task } = entry;
    const times = this.#times;
    let position = entry.position;
    while (position > 0) {
      const parent = (position - 1) >> 1;
      // A new insertion has the highest number, so equal times stay where they are.
      if ((times[parent] ?? 0) <= time) break;
      this.#move(parent, position);
      position = parent;
    }
    times[position] = time;
    this.#numbers[position] = number;
    this.#tasks[position] = task;
  }

  #siftDown(task: SimTask, length: number): void {
    const times = this.#times;
    const time = times[length] ?? 0;
    const number = this.#numbers[length] ?? 0;
    let position = 0;
    for (;;) {
      let child = position * 2 + 1;
      if (child >= length) break;
      if (
        child + 1 < length &&
        this.#isBefore(child + 1, times[child] ?? 0, this.#numbers[child] ?? 0)
      )
        child++;
      if (!this.#isBefore(child, time, number)) break;
      this.#move(child, position);
      position = child;
    }
    times[position] = time;
    this.#numbers[position] = number;
    this.#tasks[position] = task;
  }

  #isBefore(position: number, time: number, number: number): boolean {
    const own = this.#times[position] ?? 0;
    return own < time || (own === time && (this.#numbers[position] ?? 0) < number);
  }

  #move(from: number, to: number): void {
    this.#times[to] = this.#times[from] ?? 0;
    this.#numbers[to] = this.#numbers[from] ?? 0;
    this.#tasks[to] = present(this.#tasks[from], 'a moved event exists');
  }

  #grow(): void {
    const times = new Float64Array(this.#times.length * 2);
    times.set(this.#times);
    this.#times = times;
    const numbers = new Float64Array(times.length);
    numbers.set(this.#numbers);
    this.#numbers = numbers;
  }
}
