/** Changes the keys of a data directory by themselves when they are old enough (specification §8.2); `policy/key-rotation` says when. */
import { messageOf } from '../base/errors.ts';
import { keysDueMsMin, msUntilKeysDue, type KeySchedulePlan } from '../policy/key-rotation.ts';
import type { CancelTimer, Clock } from '../ports/clock.ts';
import type { Observer } from '../ports/observer.ts';
import type { KeyRing } from './key-ring.ts';

/** What a schedule needs. */
export interface KeyScheduleOptions {
  readonly plan: KeySchedulePlan;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly ring: () => KeyRing | undefined;
  /** Changes the keys. */
  readonly rotate: () => Promise<unknown>;
}

/** The clocks are looked at this often, so that a jump is seen to be over. */
const lookMs = 2 * 60 * 1000;
/** A change that failed is tried again after so long: the key service may be away, the disk full. */
const retryMs = 10 * 60 * 1000;

/** See the file comment. */
export class KeySchedule {
  readonly #options: KeyScheduleOptions;
  #epoch = 0;
  #knownSinceMs = 0;
  #dueSinceMs: number | undefined;
  #changedMs = Number.NEGATIVE_INFINITY;
  #lastFailure = '';
  #cancel: CancelTimer | undefined;
  #isClosed = false;

  constructor(options: KeyScheduleOptions) {
    this.#options = options;
    this.#later(lookMs);
  }

  /** Why the last change failed; empty when it did not. */
  get lastFailure(): string {
    return this.#lastFailure;
  }

  /** Milliseconds until the next change, as far as the clocks let one say. */
  nextInMs(): number {
    const untilDueMs = this.#untilDueMs();
    const { clock, plan } = this.#options;
    const dueMs = this.#dueSinceMs === undefined ? 0 : clock.monotonicMs() - this.#dueSinceMs;
    return Math.max(0, untilDueMs + keysDueMsMin(plan.nodeId) - dueMs);
  }

  /** Nothing is changed any more. */
  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
  }

  #later(delayMs: number): void {
    this.#cancel = this.#options.clock.setTimer(delayMs, () => {
      void this.#look().then((nextMs) => {
        if (!this.#isClosed) this.#later(nextMs);
      });
    });
  }

  /** Changes the keys if it is time; returns when to look again. */
  async #look(): Promise<number> {
    const { clock, plan, observer, rotate } = this.#options;
    if (this.#untilDueMs() > 0) {
      this.#dueSinceMs = undefined;
      return lookMs;
    }
    const nowMs = clock.monotonicMs();
    this.#dueSinceMs ??= nowMs;
    if (nowMs - this.#dueSinceMs < keysDueMsMin(plan.nodeId)) return lookMs;
    try {
      await rotate();
    } catch (error) {
      this.#lastFailure = messageOf(error);
      const fields = { message: this.#lastFailure };
      if (!this.#isClosed) observer.emit({ level: 'warn', kind: 'keysNotRotated', fields });
      return retryMs;
    }
    this.#lastFailure = '';
    this.#dueSinceMs = undefined;
    this.#changedMs = nowMs;
    return lookMs;
  }

  #untilDueMs(): number {
    const { clock, plan, ring } = this.#options;
    const newest = ring()?.content.rows.at(-1);
    if (newest === undefined) return plan.rotateAfterMs;
    const nowMs = clock.monotonicMs();
    if (newest.epoch !== this.#epoch) {
      this.#epoch = newest.epoch;
      this.#knownSinceMs = nowMs;
    }
    return msUntilKeysDue(
      {
        wallMs: clock.wallMs(),
        createdMs: newest.createdMs,
        knownMs: nowMs - this.#knownSinceMs,
        sinceChangeMs: nowMs - this.#changedMs,
      },
      plan,
    );
  }
}
