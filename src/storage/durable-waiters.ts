/** Whoever waits for something to become durable, and is to be told when it never will. */
import type { ClustorError } from '../base/errors.ts';

/** See the file comment. */
export class DurableWaiters {
  readonly #rejects = new Set<(error: ClustorError) => void>();

  /** Starts something that calls back once it is durable; `ended` says why nothing becomes durable any more. */
  settled(start: (done: () => void) => void, ended: ClustorError | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      if (ended !== undefined) {
        reject(ended);
        return;
      }
      this.#rejects.add(reject);
      start(() => {
        this.#rejects.delete(reject);
        resolve();
      });
    });
  }

  /** Nothing becomes durable any more. */
  fail(error: ClustorError): void {
    for (const reject of this.#rejects) reject(error);
    this.#rejects.clear();
  }
}
