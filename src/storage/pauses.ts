/** Waits that end with whoever owns them: after `close()` no timer is left, and nobody goes on. */
import { ClustorError } from '../base/errors.ts';
import type { Clock } from '../ports/clock.ts';

/** See the file comment. */
export class Pauses {
  readonly #clock: Clock;
  readonly #cancels = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves after `ms` milliseconds. @throws ClustorError `CLUSTOR_CLOSED`. */
  wait(ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancelTimer = this.#clock.setTimer(ms, () => {
        this.#cancels.delete(cancel);
        resolve();
      });
      const cancel = (): void => {
        cancelTimer();
        reject(new ClustorError('CLUSTOR_CLOSED', 'the store was closed during a wait'));
      };
      this.#cancels.add(cancel);
    });
  }

  /** Ends every wait. */
  close(): void {
    for (const cancel of this.#cancels) cancel();
    this.#cancels.clear();
  }
}
