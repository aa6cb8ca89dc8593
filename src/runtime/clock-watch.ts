/** Looks at the node's two clocks once a second and says when they begin or cease to disagree (specification §2.3). */
import { clockSampleMs, judgeClock, trustedClock, type ClockGuard } from '../policy/clock-guard.ts';
import type { Clock } from '../ports/clock.ts';
import type { Observer } from '../ports/observer.ts';

/** What the watch needs. */
export interface ClockWatchOptions {
  readonly clock: Clock;
  readonly observer: Observer;
  /** How far the advances of both clocks may differ between two samples, milliseconds. */
  readonly boundMs: number;
  /** The alarm was raised or cleared. */
  readonly changed: (isRaised: boolean) => void;
}

/** See the file comment. It has no timer of its own: the node's drives it. */
export class ClockWatch {
  readonly #options: ClockWatchOptions;
  #guard: ClockGuard = trustedClock;
  #monotonicMs: number;
  #wallMs: number;

  constructor(options: ClockWatchOptions) {
    this.#options = options;
    this.#monotonicMs = options.clock.monotonicMs();
    this.#wallMs = options.clock.wallMs();
  }

  /** Whether the clocks disagree. */
  get isAlarmed(): boolean {
    return this.#guard.isAlarmed;
  }

  /** Time passed; a sample is taken when one is due. */
  look(): void {
    const { clock, observer, boundMs, changed } = this.#options;
    const monotonicMs = clock.monotonicMs();
    if (monotonicMs - this.#monotonicMs < clockSampleMs) return;
    const wallMs = clock.wallMs();
    const sample = {
      monotonicMs: monotonicMs - this.#monotonicMs,
      wallMs: wallMs - this.#wallMs,
    };
    this.#monotonicMs = monotonicMs;
    this.#wallMs = wallMs;
    const before = this.#guard;
    this.#guard = judgeClock(before, sample, boundMs);
    if (this.#guard.isAlarmed === before.isAlarmed) return;
    observer.emit({
      level: this.#guard.isAlarmed ? 'error' : 'info',
      kind: this.#guard.isAlarmed ? 'clockAlarm' : 'clockAlarmCleared',
      fields: {
        differenceMs: Math.round(sample.wallMs - sample.monotonicMs),
        boundMs,
      },
    });
    changed(this.#guard.isAlarmed);
  }
}
