/**
 * Reads the journal, the ledger and snapshots back in the background, so that damage is found while other replicas, or the
 * memory of this process, still have the data (specification §5.4). When it read what, and whether an operator made it pause, is kept
 * in `wal/scrub.json`, so that starts do not make it begin from the front each time; the file is written after each pass.
 */
import { messageOf } from '../base/errors.ts';
import { segmentFileName } from '../codec/segment-format.ts';
import { restMsAfter, scrubIntervalMs, unitsOfPass, type ScrubUnit } from '../policy/scrub-pace.ts';
import { judgeDamage, repairDelayMs } from '../policy/scrub.ts';
import type { CancelTimer, Clock } from '../ports/clock.ts';
import type { FileSystem } from '../ports/file-system.ts';
import type { Observer } from '../ports/observer.ts';
import { closedError } from './chain-failure.ts';
import { ledgerFileName } from './durability-ledger.ts';
import type { ScrubStatistics, SegmentDamage } from './log-store-types.ts';
import { checkSegment, type SegmentToCheck } from './scrub-check.ts';
import { checkLedger, type LedgerExtent } from './scrub-ledger.ts';
import { readScrubState, writeScrubState } from './scrub-state.ts';

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
  /** What of the ledger is synced. */
  readonly ledger: () => LedgerExtent;
  /** Begins a new generation of the ledger, written from memory; resolves once it is in use. */
  readonly renewLedger: () => Promise<void>;
}

/** Something beside journal and ledger that is read back as a whole. */
export interface ScrubbedFile {
  /** Names it over restarts, and no number. */
  readonly name: string;
  readonly bytes: number;
  /** Reads it, at that pace, unless the pace ends it. Why it is bad, or `undefined`; it may be gone by then. */
  readonly check: (pace: () => Promise<boolean>) => Promise<string | undefined>;
  /** It was bad as often as it was read. */
  readonly damaged: (reason: string) => void;
}

/** Where the scrub hears of what else there is. */
export interface ScrubSources {
  /** From now on what `files` names is read as well, until the answer is called. */
  add(files: () => readonly ScrubbedFile[]): () => void;
}

/** The scrub of a node's data directory, to be looked at and paused. @public */
export interface NodeScrub {
  /** How it stands. */
  status(): Promise<ScrubStatus>;
  /**
   * Begins a pass over everything now, at the usual pace; behind the one under way, if there is one, and behind a pause. A restart
   * forgets it.
   */
  start(): Promise<ScrubStatus>;
  /** Nothing more is read, through restarts too, until it is resumed. Durable when it resolves. */
  pause(): Promise<ScrubStatus>;
  /** It goes on where it was. */
  resume(): Promise<ScrubStatus>;
}

/** How a scrub stands. @public */
export interface ScrubStatus extends ScrubStatistics {
  /** Since when it pauses, milliseconds since 1970; `undefined` when it does not. */
  readonly pausedSinceMs: number | undefined;
}

/** The ledger among the units of a pass; segments are numbered from 1. */
const ledgerUnit = '0';
/** The first pass waits for a start to be over. */
const firstPassMs = 10 * 60 * 1000;

/** See the file comment. */
export class Scrubber implements NodeScrub, ScrubSources {
  readonly #options: ScrubberOptions;
  /** When each unit was last read; those that are gone are forgotten after each pass. */
  #verified = new Map<string, number>();
  readonly #sources = new Set<() => readonly ScrubbedFile[]>();
  /** Units with damage when they were last read. */
  readonly #damaged = new Set<string>();
  #ledgerRenewals = 0;
  #pausedSinceMs: number | undefined;
  #resumed: (() => void) | undefined;
  #loaded: Promise<void> | undefined;
  #saving: Promise<void> = Promise.resolve();
  #passes = 0;
  #bytesRead = 0;
  #busyMs = 0;
  #passBytesLeft = 0;
  /** The next pass reads everything. */
  #wantsAll = false;
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
    const { segments } = this.#options;
    const isDamaged = (name: string): boolean => this.#damaged.has(name);
    const ages = this.#units(nowMs).map(({ verifiedMs }) => Math.max(0, nowMs - verifiedMs));
    return {
      passes: this.#passes,
      bytesRead: this.#bytesRead,
      busyMs: this.#busyMs,
      passBytesLeft: this.#passBytesLeft,
      lastPassMs: this.#lastPassMs,
      coverageAgeMs: ages.reduce((oldest, age) => Math.max(oldest, age), 0),
      damagedSegments: segments().filter(({ segmentSeq }) => isDamaged(`${segmentSeq}`)).length,
      ledgerRenewals: this.#ledgerRenewals,
      damagedSnapshots: this.#files().filter(({ name }) => isDamaged(name)).length,
    };
  }

  add(files: () => readonly ScrubbedFile[]): () => void {
    this.#sources.add(files);
    return () => {
      this.#sources.delete(files);
    };
  }

  async status(): Promise<ScrubStatus> {
    await this.#load();
    return { ...this.statistics(), pausedSinceMs: this.#pausedSinceMs };
  }

  async start(): Promise<ScrubStatus> {
    await this.#load();
    if (this.#isStopped) throw closedError();
    this.#wantsAll = true;
    if (this.#work === undefined) {
      this.#cancel?.();
      this.#begin();
    }
    return this.status();
  }

  async pause(): Promise<ScrubStatus> {
    await this.#load();
    return this.#setPaused(this.#pausedSinceMs ?? this.#options.clock.wallMs());
  }

  async resume(): Promise<ScrubStatus> {
    await this.#load();
    const status = await this.#setPaused(undefined);
    this.#resumed?.();
    return status;
  }

  async #setPaused(sinceMs: number | undefined): Promise<ScrubStatus> {
    if (this.#isStopped) throw closedError();
    const before = this.#pausedSinceMs;
    if (before !== sinceMs) {
      this.#pausedSinceMs = sinceMs;
      try {
        await this.#save();
      } catch (error) {
        // What a restart would not know is not said; who asks again has it written.
        this.#pausedSinceMs = before;
        if (before === undefined) this.#resumed?.();
        throw error;
      }
      const kind = sinceMs === undefined ? 'scrubResumed' : 'scrubPaused';
      this.#options.observer.emit({ level: 'info', kind, fields: {} });
    }
    return this.status();
  }

  /** Waits while it pauses. */
  async #whilePaused(): Promise<void> {
    while (this.#pausedSinceMs !== undefined && !this.#isStopped)
      await new Promise<void>((resolve) => {
        this.#resumed = resolve;
      });
  }

  /** Ends after the slice under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancel?.();
    this.#wake?.();
    this.#resumed?.();
    await this.#work;
    await this.#saving;
  }

  #schedule(delayMs: number): void {
    this.#cancel = this.#options.clock.setTimer(delayMs, () => {
      this.#begin();
    });
  }

  #begin(): void {
    let isFailed = false;
    this.#work = this.#pass()
      .catch((error: unknown) => {
        isFailed = true;
        const fields = { message: messageOf(error) };
        this.#options.observer.emit({ level: 'warn', kind: 'scrubFailed', fields });
      })
      .then(() => {
        this.#work = undefined;
        this.#passBytesLeft = 0;
        if (this.#isStopped) return;
        if (this.#wantsAll && !isFailed) this.#begin();
        else this.#schedule(scrubIntervalMs);
      });
  }

  #units(nowMs: number): readonly ScrubUnit[] {
    const { segments, ledger } = this.#options;
    const units = [
      { name: ledgerUnit, bytes: ledger().endOffset },
      ...segments().map(({ segmentSeq, endOffset }) => ({
        name: `${segmentSeq}`,
        bytes: endOffset,
      })),
      ...this.#files(),
    ];
    return units.map(({ name, bytes }) => {
      const verifiedMs = this.#verified.get(name) ?? nowMs;
      return { name, bytes, verifiedMs };
    });
  }

  #files(): readonly ScrubbedFile[] {
    return [...this.#sources].flatMap((files) => files());
  }

  /** What was never read counts from when it was first seen; what is gone is forgotten. */
  #noteUnits(): Map<string, number> {
    const units = this.#units(this.#options.clock.wallMs());
    this.#verified = new Map(units.map((unit) => [unit.name, unit.verifiedMs]));
    for (const name of this.#damaged) if (!this.#verified.has(name)) this.#damaged.delete(name);
    return this.#verified;
  }

  async #pass(): Promise<void> {
    const { clock } = this.#options;
    await this.#load();
    await this.#whilePaused();
    if (this.#isStopped) return;
    const present = this.#noteUnits();
    const nowMs = clock.wallMs();
    const known = this.#units(nowMs);
    const units = this.#wantsAll ? known : unitsOfPass(known, nowMs);
    this.#wantsAll = false;
    const files = new Map(
      [...this.#sources].flatMap((source) =>
        source().map((file) => [file.name, { source, file }] as const),
      ),
    );
    let bytesLeft = units.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const { name, bytes } of units) {
      this.#passBytesLeft = bytesLeft;
      bytesLeft -= bytes;
      const found = files.get(name);
      let isRead: boolean;
      if (found !== undefined) isRead = await this.#checkFile(found.file, found.source);
      else if (name === ledgerUnit) isRead = await this.#checkLedger();
      else isRead = await this.#checkSegment(name);
      if (this.#isStopped) return;
      if (isRead) present.set(name, clock.wallMs());
    }
    this.#passes++;
    this.#lastPassMs = clock.wallMs();
    await this.#save();
  }

  /** Whether a segment was read; what is bad in it is told. One that is gone is passed over. */
  async #checkSegment(name: string): Promise<boolean> {
    const segment = this.#options.segments().find(({ segmentSeq }) => `${segmentSeq}` === name);
    if (segment === undefined) return false;
    const damage = await this.#thrice(segmentFileName(segment.segmentSeq), (pace) =>
      checkSegment({ ...this.#options, ...segment, pace }),
    );
    if (damage === 'unreadable' || this.#isStopped) return false;
    this.#bytesRead += segment.endOffset;
    if (damage === undefined) this.#damaged.delete(name);
    else {
      this.#damaged.add(name);
      this.#options.onDamage(damage);
    }
    return true;
  }

  async #checkFile(file: ScrubbedFile, source: () => readonly ScrubbedFile[]): Promise<boolean> {
    const isThere = (): boolean =>
      this.#sources.has(source) && source().some(({ name }) => name === file.name);
    if (!isThere()) return false;
    const damage = await this.#thrice(file.name, async (pace) => {
      const reason = await file.check(pace);
      return reason === undefined ? undefined : { reason };
    });
    if (damage === 'unreadable' || this.#isStopped) return false;
    // Whoever owned it may have given it up meanwhile; what it says of it then means nothing.
    if (!isThere()) return false;
    this.#bytesRead += file.bytes;
    if (damage === undefined) this.#damaged.delete(file.name);
    else {
      this.#damaged.add(file.name);
      file.damaged(damage.reason);
    }
    return true;
  }

  /** Whether the ledger was read; where a copy of something in it is bad, it is written anew. */
  async #checkLedger(): Promise<boolean> {
    const { fileSystem, folder, keys, ledger: extent, observer, renewLedger } = this.#options;
    const path = `${folder}/${ledgerFileName}`;
    const { endOffset } = extent();
    const pace = this.#pace();
    try {
      const reasons = await checkLedger({ fileSystem, path, keys, extent, pace });
      if (!(await pace())) return false;
      if (reasons.length > 0) {
        observer.emit({
          level: 'error',
          kind: 'ledgerDamaged',
          fields: { reasons: reasons.join('; ') },
        });
        await renewLedger();
        this.#ledgerRenewals++;
      }
      this.#bytesRead += endOffset;
      return true;
    } catch (error) {
      const fields = { file: ledgerFileName, message: messageOf(error) };
      observer.emit({ level: 'warn', kind: 'scrubFailed', fields });
      return false;
    }
  }

  /** Damage must be there as often as it is read (SCR-4); one whose disk does not answer is left to the next pass. */
  async #thrice<Damage extends object>(
    name: string,
    check: (pace: () => Promise<boolean>) => Promise<Damage | undefined>,
  ): Promise<Damage | 'unreadable' | undefined> {
    const { clock, observer } = this.#options;
    for (let reads = 1; ; reads++) {
      let damage: Damage | undefined;
      const pace = this.#pace();
      try {
        // One read after the other by its nature.
        damage = await check(pace);
        await pace();
      } catch (error) {
        if (this.#isStopped) return undefined;
        const fields = { file: name, message: messageOf(error) };
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

  /** Called behind each slice: rests in proportion to what that took, its reads included; resolves with whether to go on. */
  #pace(): () => Promise<boolean> {
    const { clock } = this.#options;
    let startedMs = clock.monotonicMs();
    return async () => {
      const workMs = clock.monotonicMs() - startedMs;
      this.#busyMs += workMs;
      const restMs = restMsAfter(workMs);
      if (!this.#isStopped && restMs > 0)
        await new Promise<void>((resolve) => {
          const cancel = clock.setTimer(restMs, resolve);
          this.#wake = (): void => {
            cancel();
            resolve();
          };
        });
      await this.#whilePaused();
      startedMs = clock.monotonicMs();
      return !this.#isStopped;
    };
  }

  #load(): Promise<void> {
    const { fileSystem, folder } = this.#options;
    this.#loaded ??= readScrubState(fileSystem, folder).then(
      ({ verifiedMs, pausedSinceMs }) => {
        this.#verified = new Map(verifiedMs);
        this.#pausedSinceMs = pausedSinceMs;
        this.#noteUnits();
      },
      (error: unknown) => {
        // The disk may have it at the next try.
        this.#loaded = undefined;
        throw error;
      },
    );
    return this.#loaded;
  }

  /** One after the other: a pass may end while an operator makes it pause. */
  #save(): Promise<void> {
    const { fileSystem, folder } = this.#options;
    const write = (): Promise<void> =>
      writeScrubState(fileSystem, folder, {
        verifiedMs: this.#verified,
        pausedSinceMs: this.#pausedSinceMs,
      });
    const saved = this.#saving.then(write);
    this.#saving = saved.catch(() => undefined);
    return saved;
  }
}
