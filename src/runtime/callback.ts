/** Callbacks of the product, in the node and in the client. */
import { messageOf } from '../base/errors.ts';
import type { Observer } from '../ports/observer.ts';

/** Hands an outcome to the caller's code, whose failures are its own. */
export function callBack<T>(observer: Observer, callback: (outcome: T) => void, outcome: T): void {
  try {
    callback(outcome);
  } catch (error) {
    observer.emit({
      level: 'error',
      kind: 'callbackFailed',
      fields: { message: messageOf(error) },
    });
  }
}
