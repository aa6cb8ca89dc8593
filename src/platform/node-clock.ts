/** The operating system's clocks and the loop's timers. */
import { performance } from 'node:perf_hooks';
import type { CancelTimer, Clock } from '../ports/clock.ts';

/** The host fires a timer of a longer delay at once. */
const delayMsMax = 2 ** 31 - 1;

/** {@link Clock} of this process. Pending callbacks of `endOfTurn` run after the sockets and completions that have arrived. */
export const nodeClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer: setLongTimer,
  endOfTurn: (callback) => {
    setImmediate(callback);
  },
};

/** A timer of any length, set in pieces that the host can keep; one of `Infinity` never fires. */
function setLongTimer(delayMs: number, callback: () => void): CancelTimer {
  let timer: NodeJS.Timeout;
  const arm = (leftMs: number): void => {
    timer =
      leftMs > delayMsMax
        ? setTimeout(() => {
            arm(leftMs - delayMsMax);
          }, delayMsMax)
        : setTimeout(callback, leftMs);
  };
  arm(delayMs);
  return () => {
    clearTimeout(timer);
  };
}
