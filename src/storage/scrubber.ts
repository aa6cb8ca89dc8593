/**
 * Reads the journal back in the background, so that damage is found while other replicas still have the data (specification
 * §5.4). When it read what is kept in `wal/scrub.json`, so that starts do not make it begin from the front each time; the
 * file is written after each pass, and one that is lost or damaged only makes segments count as never read.
 */
import { utf8Decode, utf8Encode } from '../base/bytes.ts';
import { messageOf } from '../base/errors.ts';
import { restMsAfter, scrubIntervalMs, unitsOfPass, type ScrubUnit } from '../policy/scrub-pace.ts';
import { judgeDamage, repairDelayMs } from '../policy/scrub.ts';
import type { CancelTimer, Clock } from '../ports/clock.ts';
import type { FileSystem } from '../ports/file-system.ts';
import type { Observer } from '../ports/observer.ts';
import type { ScrubStatistics, SegmentDamage } from './log-store-types.ts';
import { checkSegment, type SegmentToCheck } from './scrub-check.ts';

/** A segment as the store knows it now. */
export type ScrubSegment = Pick<
  SegmentToCheck,
  'segmentSeq' | 'endOffset' | 'trailerOffset' | 'expected' | 'isSame' | 'isDead'
>;

/** What the scrub needs. */
export interface ScrubberOptions extends Omit<SegmentToCheck, keyof ScrubSegment | 'pace'> {
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly observer: Observer;
  /** Everything covered, oldest first. */
  readonly segments: () => readonly ScrubSegment[];
  readonly onDamage: (damage: SegmentDamage) => void;
}

const stateFileName = 'scrub.json';
/** The first pass waits for a start to be over. */
const firstPassMs = 10 * 60 * 1000;

/** See the file comment. */
export class Scrubber {
  readonly #options: ScrubberOptions;
  /** When each segment was last read; those that are gone are forgotten after each pass. */
  #verified = new Map<number, number>();
  readonly #damaged = new Set<number>();
  #passes = 0;
  #bytesRead = 0;
  #lastPassMs = 0;
  #isStopped = false;
  #cancel: CancelTimer | undefined;
  #wake: (() => void) | undefined;
  #work: Promise<void> | undefined;

  constructor(options: ScrubberOptions) {
    this.#options = options;
    this.#schedule(firstPassMs);
  }

  /** What it has done so far. */
  statistics(): ScrubStatistics {
    const nowMs = this.#options.clock.wallMs();
    const ages = this.#units(nowMs).map(({ verifiedMs }) => Math.max(0, nowMs - verifiedMs));
    return {
      passes: this.#passes,
      bytesRead: this.#bytesRead,
      lastPassMs: this.#lastPassMs,
      coverageAgeMs: ages.reduce((oldest, age) => Math.max(oldest, age), 0),
      damagedSegments: this.#damaged.size,
    };
  }

  /** Ends after the slice under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancel?.();
    this.#wake?.();
    await this.#work;
  }

  #schedule(delayMs: number): void {
    this.#cancel = this.#options.clock.setTimer(delayMs, () => {
      this.#work = this.#pass()
        .catch((error: unknown) => {
          const fields = { message: messageOf(error) };
          this.#options.observer.emit({ level: 'warn', kind: 'scrubFailed', fields });
        })
        .then(() => {
          this.#work = undefined;
          if (!this.#isStopped) this.#schedule(scrubIntervalMs);
        });
    });
  }

  #units(nowMs: number): readonly ScrubUnit[] {
    return this.#options.segments().map(({ segmentSeq, endOffset }) => {
      const verifiedMs = this.#verified.get(segmentSeq) ?? nowMs;
      return { segmentSeq, bytes: endOffset, verifiedMs };
    });
  }

  async #pass(): Promise<void> {
    const { clock } = this.#options;
    if (this.#passes === 0) await this.#load();
    const nowMs = clock.wallMs();
    // What was never read counts from when it was first seen.
    const present = new Map(this.#units(nowMs).map((unit) => [unit.segmentSeq, unit.verifiedMs]));
    this.#verified = present;
    for (const { segmentSeq } of unitsOfPass(this.#units(nowMs), nowMs)) {
      const segment = this.#options.segments().find((row) => row.segmentSeq === segmentSeq);
      if (segment === undefined) continue;
      const damage = await this.#check(segment);
      if (this.#isStopped) return;
      if (damage === 'unreadable') continue;
      this.#bytesRead += segment.endOffset;
      present.set(segmentSeq, clock.wallMs());
      if (damage === undefined) this.#damaged.delete(segmentSeq);
      else {
        this.#damaged.add(segmentSeq);
        this.#options.onDamage(damage);
      }
    }
    this.#passes++;
    this.#lastPassMs = clock.wallMs();
    await this.#save();
  }

  /** Damage must be there as often as it is read (SCR-4); a segment that the disk refuses is left to the next pass. */
  async #check(segment: ScrubSegment): Promise<SegmentDamage | 'unreadable' | undefined> {
    const { clock, observer } = this.#options;
    const { segmentSeq } = segment;
    for (let reads = 1; ; reads++) {
      let damage: SegmentDamage | undefined;
      try {
        // One read after the other by its nature.
        damage = await checkSegment({ ...this.#options, ...segment, pace: this.#pace() });
      } catch (error) {
        const fields = { segmentSeq, message: messageOf(error) };
        observer.emit({ level: 'warn', kind: 'scrubFailed', fields });
        return 'unreadable';
      }
      const verdict = judgeDamage({ isCovered: true, isTagRight: true, reads });
      if (damage === undefined || this.#isStopped || verdict !== 'tryAgain') return damage;
      await new Promise<void>((resolve) => {
        const cancel = clock.setTimer(repairDelayMs(reads - 1), resolve);
        this.#wake = (): void => {
          cancel();
          resolve();
        };
      });
    }
  }

  /** Rests between slices in proportion to what the slice took, its reads included. */
  #pace(): () => Promise<boolean> {
    const { clock } = this.#options;
    let startedMs = clock.monotonicMs();
    return async () => {
      const restMs = restMsAfter(clock.monotonicMs() - startedMs);
      if (!this.#isStopped && restMs > 0)
        await new Promise<void>((resolve) => {
          const cancel = clock.setTimer(restMs, resolve);
          this.#wake = (): void => {
            cancel();
            resolve();
          };
        });
      startedMs = clock.monotonicMs();
      return !this.#isStopped;
    };
  }

  async #load(): Promise<void> {
    const { fileSystem, folder } = this.#options;
    const bytes = await fileSystem.readFile(`${folder}/${stateFileName}`);
    if (bytes === undefined) return;
    try {
      const rows: unknown = JSON.parse(utf8Decode(bytes));
      for (const [segmentSeq, verifiedMs] of Object.entries(rows ?? {}))
        if (typeof verifiedMs === 'number') this.#verified.set(Number(segmentSeq), verifiedMs);
    } catch {
      // Torn or not ours: every segment counts as first seen now.
      this.#verified.clear();
    }
  }

  #save(): Promise<void> {
    const { fileSystem, folder } = this.#options;
    const rows = JSON.stringify(Object.fromEntries(this.#verified));
    return fileSystem.replaceFile(`${folder}/${stateFileName}`, utf8Encode(`${rows}\n`));
  }
}
