/**
 * A node's clock over virtual time: its rate may drift, its wall time may be wrong and may jump.
 *
 * {@link SimHardwareClock} survives crashes (the machine stays), {@link SimClock} is what one life sees of it. Each life
 * counts its monotonic time from another origin, so that nothing of it can be carried over by mistake.
 */
import { assert } from '../base/assert.ts';
import { nextBelow, nextUint32, type PrngState } from '../base/prng.ts';
import type { CancelTimer, Clock } from '../ports/clock.ts';
import {
  onGrid,
  simEventKinds,
  simTask,
  type LifeScope,
  type SimScheduler,
  type SimTask,
} from './sim-scheduler.ts';

/** Wall time at which every world begins, in milliseconds since 1970. */
const wallStartMs = 1_760_000_000_000;

/** Largest deviation of a clock's rate from true time. */
export const clockRateDeviationMax = 0.05;

/** The oscillator and the wall clock of one machine. */
export class SimHardwareClock {
  readonly #scheduler: SimScheduler;
  #rate = 1;
  #baseTrueMs = 0;
  #baseLocalMs = 0;
  #wallOffsetMs: number;

  constructor(scheduler: SimScheduler, wallSkewMs: number) {
    this.#scheduler = scheduler;
    this.#wallOffsetMs = wallStartMs + wallSkewMs;
    this.#baseTrueMs = scheduler.nowMs;
    this.#baseLocalMs = scheduler.nowMs;
  }

  /** Local milliseconds per true millisecond. */
  get rate(): number {
    return this.#rate;
  }

  /** Milliseconds this machine counted; never goes back. */
  localMs(): number {
    return this.#baseLocalMs + (this.#scheduler.nowMs - this.#baseTrueMs) * this.#rate;
  }

  /** Whole milliseconds since 1970 as this machine believes. */
  wallMs(): number {
    return Math.floor(this.#wallOffsetMs + this.localMs());
  }

  /** From now on the machine counts `rate` milliseconds per true one, within ±{@link clockRateDeviationMax} of 1. */
  setRate(rate: number): void {
    assert(Math.abs(rate - 1) <= clockRateDeviationMax + 1e-9, 'a clock drifts within its bound');
    this.#baseLocalMs = this.localMs();
    this.#baseTrueMs = this.#scheduler.nowMs;
    this.#rate = rate;
  }

  /** Moves the wall clock forward or back; monotonic time goes on. */
  jumpWall(deltaMs: number): void {
    this.#wallOffsetMs += deltaMs;
  }
}

/** What a {@link SimClock} is made of. */
export interface SimClockParts {
  readonly scheduler: SimScheduler;
  readonly scope: LifeScope;
  readonly hardware: SimHardwareClock;
  readonly random: PrngState;
}

/** The clock of one life. */
export class SimClock implements Clock {
  readonly #scheduler: SimScheduler;
  readonly #scope: LifeScope;
  readonly #hardware: SimHardwareClock;
  readonly #random: PrngState;
  readonly #originMs: number;

  constructor(parts: SimClockParts) {
    this.#scheduler = parts.scheduler;
    this.#scope = parts.scope;
    this.#hardware = parts.hardware;
    this.#random = parts.random;
    this.#originMs = nextBelow(parts.random, 1_000_000) - parts.hardware.localMs();
  }

  monotonicMs(): number {
    return this.#originMs + this.#hardware.localMs();
  }

  wallMs(): number {
    return this.#hardware.wallMs();
  }

  setTimer(delayMs: number, callback: () => void): CancelTimer {
    const dueLocalMs = this.#hardware.localMs() + Math.max(0, delayMs);
    const task: SimTask = simTask(this.#scope, simEventKinds.timer, () => {
      // The clock may have slowed down since: a timer never fires early.
      const missingMs = dueLocalMs - this.#hardware.localMs();
      if (missingMs > 1e-6) this.#scheduler.schedule(missingMs / this.#hardware.rate, task);
      else callback();
    });
    // Timers fire up to a millisecond late, as they do in the real host.
    const latenessMs = (nextUint32(this.#random) >>> 28) / 16;
    const trueDelayMs = Math.max(0, delayMs) / this.#hardware.rate;
    this.#scheduler.scheduleAt(onGrid(this.#scheduler.nowMs + trueDelayMs + latenessMs), task);
    return () => {
      task.isCancelled = true;
    };
  }

  endOfTurn(callback: () => void): void {
    this.#scheduler.scheduleEndOfTurn(simTask(this.#scope, simEventKinds.endOfTurn, callback));
  }
}
