/** Time, timers and turns, as the pure middle sees them. */

/** Stops a timer; harmless when it has fired. @public */
export type CancelTimer = () => void;

/** Time and turns. @public */
export interface Clock {
  /** Milliseconds on a clock that never goes back and goes on while the machine sleeps if the host allows it; origin unspecified. */
  monotonicMs(): number;
  /** Milliseconds since 1970; may jump. */
  wallMs(): number;
  /** Calls `callback` once, `delayMs` or more later. */
  setTimer(delayMs: number, callback: () => void): CancelTimer;
  /**
   * Calls `callback` once everything that has already arrived (sockets, completions) was handled: the end of this turn
   * of the loop. Batches close here.
   */
  endOfTurn(callback: () => void): void;
}
