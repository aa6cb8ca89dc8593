/** The operating system's clocks and the loop's timers. */
import { performance } from 'node:perf_hooks';
import type { Clock } from '../ports/clock.ts';

/** {@link Clock} of this process. Pending callbacks of `endOfTurn` run after the sockets and completions that have arrived. */
export const nodeClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return () => {
      clearTimeout(timer);
    };
  },
  endOfTurn: (callback) => {
    setImmediate(callback);
  },
};
