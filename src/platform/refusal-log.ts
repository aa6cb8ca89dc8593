/**
 * Reports refused connections without letting whoever is refused fill the log.
 *
 * The first ten of a second are events of their own; the rest of that second is counted and becomes one event when the
 * second is over.
 */
import type { ErrorCode } from '../base/error-codes.ts';
import type { CancelTimer, Clock } from '../ports/clock.ts';
import type { Observer } from '../ports/observer.ts';

/** Why a connection was refused. */
export interface Refusal {
  readonly code: ErrorCode;
  /** For people. */
  readonly reason: string;
  /** Address and port of the other end. */
  readonly remoteAddress: string;
}

const windowMs = 1_000;
const eventsPerWindow = 10;

/** Emits `connectionRefused`, and `connectionsRefused` with a count for what did not fit. */
export class RefusalLog {
  readonly #clock: Clock;
  readonly #observer: Observer;
  #emitted = 0;
  #suppressed = 0;
  #closed = false;
  #cancelWindow: CancelTimer | undefined;

  constructor(clock: Clock, observer: Observer) {
    this.#clock = clock;
    this.#observer = observer;
  }

  /** Reports one refusal; after the close, nothing. */
  add(refusal: Refusal): void {
    if (this.#closed) return;
    this.#cancelWindow ??= this.#clock.setTimer(windowMs, () => this.#endWindow());
    if (this.#emitted === eventsPerWindow) {
      this.#suppressed++;
      return;
    }
    this.#emitted++;
    const { code, reason, remoteAddress } = refusal;
    this.#observer.emit({
      level: 'warn',
      kind: 'connectionRefused',
      fields: { code, reason, remoteAddress },
    });
  }

  /** Reports what is still only counted, and stops the timer. */
  close(): void {
    this.#closed = true;
    this.#cancelWindow?.();
    this.#endWindow();
  }

  #endWindow(): void {
    const count = this.#suppressed;
    this.#cancelWindow = undefined;
    this.#emitted = 0;
    this.#suppressed = 0;
    if (count === 0) return;
    this.#observer.emit({ level: 'warn', kind: 'connectionsRefused', fields: { count } });
  }
}
