/**
 * How far a sweep over seeds is, for whoever waits: a bar on a terminal; elsewhere a line a minute at most, so that a log shows
 * that the sweep lives. A seed that fails is told the moment it comes back.
 */

/** Where progress goes. */
export interface SweepProgressParts {
  /** Seeds of the whole sweep. */
  readonly total: number;
  /** Whether lines can be drawn over. */
  readonly isTerminal: boolean;
  readonly write: (text: string) => void;
  /** Milliseconds from any fixed moment on. */
  readonly nowMs: () => number;
}

const lineEveryMs = 60_000;
const barColumns = 30;

/** See the file comment. */
export class SweepProgress {
  readonly #parts: SweepProgressParts;
  readonly #startedMs: number;
  #lineAtMs: number;
  #done = 0;
  #failed = 0;

  constructor(parts: SweepProgressParts) {
    this.#parts = parts;
    this.#startedMs = parts.nowMs();
    this.#lineAtMs = this.#startedMs;
  }

  /** A seed came back. */
  cameBack({
    seed,
    violation,
  }: {
    readonly seed: number;
    readonly violation: string | undefined;
  }): void {
    const { isTerminal, write, nowMs } = this.#parts;
    this.#done++;
    if (violation !== undefined) {
      this.#failed++;
      write(`${isTerminal ? '\n' : ''}seed ${seed} failed: ${violation}\n`);
    }
    if (isTerminal) {
      write(this.#bar());
      return;
    }
    const atMs = nowMs();
    if (atMs - this.#lineAtMs < lineEveryMs) return;
    this.#lineAtMs = atMs;
    write(this.#line(atMs));
  }

  /** No more seeds come. */
  ended(): void {
    if (this.#parts.isTerminal) this.#parts.write('\n');
  }

  #bar(): string {
    const bar = '█'.repeat(Math.round((this.#done / this.#parts.total) * barColumns));
    return `\r${bar.padEnd(barColumns, '░')} ${this.#done}/${this.#parts.total} seeds, ${this.#failed} failed `;
  }

  #line(atMs: number): string {
    const perMinute = Math.round((this.#done * 60_000) / (atMs - this.#startedMs));
    return `${this.#done}/${this.#parts.total} seeds, ${this.#failed} failed, ${perMinute} a minute\n`;
  }
}
