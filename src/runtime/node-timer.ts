/**
 * The one timer of a node, and its stall guard (specification §2.2).
 *
 * After the process or machine stood still, what had arrived meanwhile is processed first, once, then time passes: a voter
 * that merely slept does not campaign against a leader whose heartbeats wait in its sockets.
 */
import type { Clock } from '../ports/clock.ts';
import type { Observer } from '../ports/observer.ts';
import { tickMs } from '../raft/index.ts';

/** A gap between two runs of the timer beyond which the process or machine stood still. */
const stallMs = 100;
/** The timer runs this often at least, for deadlines of local requests and to notice stalls. */
const timerMsMax = 50;

/** What a timer drives. */
export interface NodeTimerOptions {
  readonly clock: Clock;
  readonly observer: Observer;
  /** Time until something is to be done; an idle node is woken no more than it must be. */
  readonly untilDueMs: () => number;
  readonly tick: (nowMs: number) => void;
  /** The process stood still and has read what arrived. */
  readonly stalled: () => void;
}

/** See the file comment. Lifecycle: made idle, started once, closed once. */
export class NodeTimer {
  readonly #options: NodeTimerOptions;
  #cancel: (() => void) | undefined;
  /** What had arrived during a stall is being processed before time passes. */
  #isStalled = false;
  #isClosed = false;
  #lastMs = 0;

  constructor(options: NodeTimerOptions) {
    this.#options = options;
  }

  /** Time begins to pass. */
  start(): void {
    this.#lastMs = this.#options.clock.monotonicMs();
    this.#cancel = () => undefined;
    this.arm();
  }

  /** Sets the timer anew, because something may be due earlier than before. */
  arm(): void {
    if (this.#isClosed || this.#cancel === undefined || this.#isStalled) return;
    this.#cancel();
    const dueMs = Math.min(Math.max(this.#options.untilDueMs(), tickMs), timerMsMax);
    this.#cancel = this.#options.clock.setTimer(dueMs, () => {
      this.#onTimer();
    });
  }

  /** Time passes no more. */
  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
  }

  #onTimer(): void {
    const { clock, observer, tick, stalled } = this.#options;
    const nowMs = clock.monotonicMs();
    const gapMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    if (gapMs <= stallMs) {
      tick(nowMs);
      this.arm();
      return;
    }
    observer.emit({ level: 'warn', kind: 'stalled', fields: { gapMs: Math.round(gapMs) } });
    this.#isStalled = true;
    this.#cancel = clock.setTimer(1, () => {
      this.#isStalled = false;
      stalled();
      tick(clock.monotonicMs());
      this.arm();
    });
  }
}
