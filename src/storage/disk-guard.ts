/**
 * Watches how full the disk of a data directory is.
 *
 * It looks when something was written, at most once a second, and each second while writes are refused; a node that nobody
 * writes to asks the system nothing. A write that found no room makes the pressure `hard` at once, whatever the system says
 * of free room: quotas and reserved blocks do not show there.
 */
import { ClustorError } from '../base/errors.ts';
import { messageOf } from '../base/errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { DiskSpace, FileSystem } from '../ports/file-system.ts';
import type { Observer } from '../ports/observer.ts';
import {
  judgeDisk,
  roomLimitBytes,
  type DiskPressure,
  type DiskShortage,
  type DiskVerdict,
} from '../policy/disk-pressure.ts';

/** What is known of a node's disk. @public */
export interface DiskStatus {
  readonly pressure: DiskPressure;
  readonly shortage: DiskShortage;
  /** For how long the pressure has been what it is. */
  readonly sinceMs: number;
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly logBytes: number;
  readonly logBytesMax: number;
  /** Spare segments that lie ready for entries of the system. */
  readonly reserveSegments: number;
  /** Writes that found no room since the start. */
  readonly refusedWrites: number;
}

/** What a guard needs. */
export interface DiskGuardOptions {
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly directory: string;
  readonly logBytesMax: number;
}

const probeMsMin = 1000;
const softProbeMs = 5000;
/** A refusal counts for this long, then free room is believed again. */
const refusalMs = 2000;
/** Left to small files when a large one is made, bytes. */
const keptBytes = 1024 * 1024;

/** See the file comment. */
export class DiskGuard {
  readonly #options: DiskGuardOptions;
  #space: DiskSpace = { totalBytes: 0, freeBytes: Number.MAX_SAFE_INTEGER };
  #verdict: DiskVerdict = { pressure: 'none', shortage: 'none' };
  #sinceMs: number;
  #probedMs = Number.NEGATIVE_INFINITY;
  #refusedMs = Number.NEGATIVE_INFINITY;
  #refusedWrites = 0;
  #cancelProbe: (() => void) | undefined;
  #probing: Promise<void> | undefined;
  #isClosed = false;
  /** Bytes of the journal; set by whoever knows. */
  logBytes: () => number = () => 0;
  /** Called when writes are not refused any more. */
  roomAgain: () => void = () => undefined;

  constructor(options: DiskGuardOptions) {
    this.#options = options;
    this.#sinceMs = options.clock.monotonicMs();
  }

  /** Whether room is getting short, or worse. */
  get isSoft(): boolean {
    return this.#verdict.pressure !== 'none';
  }

  /** Whether entries of clients are refused. */
  get isHard(): boolean {
    return this.#verdict.pressure === 'hard';
  }

  /** Refuses what is not to begin without room. @throws ClustorError `CLUSTOR_DISK_HARD`. */
  assertRoom(what: string): void {
    if (this.isHard)
      throw new ClustorError('CLUSTOR_DISK_HARD', `this node has no room for ${what}`);
  }

  /** The same for what ends something else first: asks the disk before it believes that there is room. */
  async assertRoomNow(what: string): Promise<void> {
    await this.probe();
    this.assertRoom(what);
  }

  /** What is short. */
  get shortage(): DiskShortage {
    return this.#verdict.shortage;
  }

  /** Everything known, for status and explanations. */
  status(reserveSegments: number): DiskStatus {
    const { clock, logBytesMax } = this.#options;
    return {
      ...this.#verdict,
      sinceMs: Math.round(clock.monotonicMs() - this.#sinceMs),
      ...this.#space,
      logBytes: this.logBytes(),
      logBytesMax,
      reserveSegments,
      refusedWrites: this.#refusedWrites,
    };
  }

  /** Something was written, or somebody looks: the disk is asked, unless that was done just now. */
  touch(): void {
    if (this.#options.clock.monotonicMs() - this.#probedMs >= probeMsMin) void this.probe();
  }

  /** A write found no room. */
  refused(site: string, message: string): void {
    this.#refusedMs = this.#options.clock.monotonicMs();
    this.#refusedWrites++;
    if (this.#verdict.shortage !== 'refused')
      this.#options.observer.emit({
        level: 'error',
        kind: 'diskRefused',
        fields: { site, message },
      });
    this.#judge();
    this.#arm();
  }

  /** Whether a file of `bytes` fits and leaves something to small ones; asks the disk. */
  async hasRoomFor(bytes: number): Promise<boolean> {
    await this.probe();
    return this.#space.freeBytes >= bytes + keptBytes;
  }

  /** Asks the disk now. */
  probe(): Promise<void> {
    this.#probing ??= this.#probe().finally(() => {
      this.#probing = undefined;
    });
    return this.#probing;
  }

  /** Asks nothing more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelProbe?.();
    await this.#probing;
  }

  async #probe(): Promise<void> {
    const { fileSystem, directory, clock, observer } = this.#options;
    this.#probedMs = clock.monotonicMs();
    try {
      this.#space = await fileSystem.space(directory);
    } catch (error) {
      observer.emit({
        level: 'warn',
        kind: 'diskNotProbed',
        fields: { message: messageOf(error) },
      });
    }
    if (this.#isClosed) return;
    this.#judge();
    this.#arm();
  }

  #judge(): void {
    const { clock, observer, logBytesMax } = this.#options;
    const nowMs = clock.monotonicMs();
    const { totalBytes, freeBytes } = this.#space;
    const logBytes = this.logBytes();
    const verdict = judgeDisk(this.#verdict.pressure, {
      totalBytes,
      freeBytes,
      logBytes,
      logBytesMax,
      isRefused: nowMs - this.#refusedMs < refusalMs,
    });
    const before = this.#verdict;
    this.#verdict = verdict;
    if (verdict.pressure === before.pressure) return;
    this.#sinceMs = nowMs;
    observer.emit({
      level: { none: 'info', soft: 'warn', hard: 'error' }[verdict.pressure] as 'info',
      kind: 'diskPressure',
      fields: {
        ...verdict,
        freeBytes,
        totalBytes,
        logBytes,
        logBytesMax,
        hardBelowBytes: Math.round(roomLimitBytes('hard', { totalBytes, logBytesMax })),
      },
    });
    if (before.pressure === 'hard') this.roomAgain();
  }

  /** Under pressure the disk is asked again without anybody writing. */
  #arm(): void {
    this.#cancelProbe?.();
    this.#cancelProbe = undefined;
    const { pressure } = this.#verdict;
    if (this.#isClosed || pressure === 'none') return;
    this.#cancelProbe = this.#options.clock.setTimer(
      pressure === 'hard' ? probeMsMin : softProbeMs,
      () => {
        this.#cancelProbe = undefined;
        void this.probe();
      },
    );
  }
}
