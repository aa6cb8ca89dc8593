/** Time that is moved by hand. */
import type { Clock } from '../../src/ports/clock.ts';

/** Everything that follows from what has happened so far. */
export async function settled(): Promise<void> {
  for (let round = 0; round < 40; round++) await new Promise((resolve) => setImmediate(resolve));
}

/** A clock that stands until it is told to go on. */
export class HandClock implements Clock {
  #nowMs = 1_000_000;
  #timers: { readonly dueMs: number; readonly callback: () => void }[] = [];

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#nowMs;
  }

  setTimer(delayMs: number, callback: () => void): () => void {
    const timer = { dueMs: this.#nowMs + delayMs, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  endOfTurn(callback: () => void): void {
    this.setTimer(0, callback);
  }

  get timerCount(): number {
    return this.#timers.length;
  }

  async advance(durationMs: number): Promise<void> {
    const endMs = this.#nowMs + durationMs;
    await settled();
    for (;;) {
      this.#timers.sort((left, right) => left.dueMs - right.dueMs);
      const [next] = this.#timers;
      if (next === undefined || next.dueMs > endMs) break;
      this.#timers.shift();
      this.#nowMs = next.dueMs;
      next.callback();
      await settled();
    }
    this.#nowMs = endMs;
  }
}
