/**
 * In which mode the chains of a store reach the disk: what they took is noted here, `policy/io-writer-mode` judges, and the
 * change is made while no chain is under way (specification §5.1).
 *
 * Crash story: none of its own. The file system syncs what it holds before it writes in the other way, a flush says in the
 * ledger in which mode it was laid out, and nothing is submitted between that and its chain.
 */
import {
  freshIoWriter,
  ioWriterAlarm,
  ioWriterChanged,
  ioWriterRefused,
  isDegraded,
  noteChain,
  wantedIoWriterMode,
  type IoWriterAlarm,
  type IoWriterCause,
  type IoWriterState,
  type WantedIoWriterMode,
} from '../policy/io-writer-mode.ts';
import { LatencyWindows, type LatencyWindow } from '../policy/latency-windows.ts';
import type { Clock } from '../ports/clock.ts';
import type { FileSystem, IoWriterFault, IoWriterMode } from '../ports/file-system.ts';
import type { Observer } from '../ports/observer.ts';

/** What a desk needs. */
export interface IoWriterDeskOptions {
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly observer: Observer;
  /** A durable chain that takes longer, milliseconds, is a sign of a slow disk. */
  readonly deviceLatencyMsMax: number;
}

/** How the writer of a node stands. @public */
export interface IoWriterStatus {
  readonly mode: IoWriterMode;
  /** The best mode that this process can be in. */
  readonly bestMode: IoWriterMode;
  readonly cause: IoWriterCause;
  /** When the mode came, milliseconds since 1970. */
  readonly sinceMs: number;
  /** Changes since the start. */
  readonly changes: number;
  readonly alarm: IoWriterAlarm;
  /** What durable chains took, the shortest window first. */
  readonly latency: readonly LatencyWindow[];
}

const reasonOf: Readonly<Record<IoWriterFault, string>> = {
  DirectRefused: 'the file system takes no direct writes',
  ThreadLost: 'the thread that runs chains could not be started, or has ended',
};

/** See the file comment. */
export class IoWriterDesk {
  readonly #options: IoWriterDeskOptions;
  readonly #latency = new LatencyWindows();
  readonly #state: IoWriterState;
  #sinceWallMs: number;
  #alarm: IoWriterAlarm = 'None';
  #wanted: WantedIoWriterMode | undefined;
  #isChanging = false;

  constructor(options: IoWriterDeskOptions) {
    const { fileSystem, clock, deviceLatencyMsMax } = options;
    this.#options = options;
    this.#sinceWallMs = Math.floor(clock.wallMs());
    this.#state = freshIoWriter(fileSystem.ioWriterMode, fileSystem.ioWriterFault, {
      latencyMsMax: deviceLatencyMsMax,
      nowMs: clock.monotonicMs(),
    });
  }

  /** Whether a better mode was left, and may come back. */
  get isDegraded(): boolean {
    return isDegraded(this.#state);
  }

  /** Whether {@link IoWriterDesk.change} has something to do. */
  get wantsChange(): boolean {
    return this.#wanted !== undefined;
  }

  /** A chain ended well; one that waited for room says nothing of the device. */
  chainEnded(tookMs: number, hasWaited: boolean): void {
    const nowMs = this.#options.clock.monotonicMs();
    this.#latency.add(tookMs, nowMs);
    this.#notice(nowMs);
    if (hasWaited || !noteChain(this.#state, tookMs, nowMs)) return;
    this.#tellAlarm(nowMs);
    this.#wanted = wantedIoWriterMode(this.#state, nowMs);
  }

  /** Makes the wanted change; no chain of the store is under way until it settles. @throws ClustorError `CLUSTOR_STORAGE_FAILED`. */
  async change(): Promise<void> {
    const wanted = this.#wanted;
    this.#wanted = undefined;
    if (wanted === undefined) return;
    const { fileSystem, clock, observer } = this.#options;
    this.#isChanging = true;
    const mode = await fileSystem.switchIoWriterMode(wanted.mode);
    this.#isChanging = false;
    const nowMs = clock.monotonicMs();
    if (mode === wanted.mode) {
      this.#changed(wanted, nowMs);
      return;
    }
    observer.emit({
      level: 'warn',
      kind: 'ioWriterModeRefused',
      fields: { wanted: wanted.mode, mode, reason: wanted.reason },
    });
    this.#notice(nowMs);
    ioWriterRefused(this.#state, nowMs);
  }

  /** How the writer stands now. */
  status(): IoWriterStatus {
    const nowMs = this.#options.clock.monotonicMs();
    this.#notice(nowMs);
    const { mode, best, cause, changes } = this.#state;
    return {
      mode,
      bestMode: best,
      cause,
      sinceMs: this.#sinceWallMs,
      changes,
      alarm: ioWriterAlarm(this.#state, nowMs),
      latency: this.#latency.summary(nowMs),
    };
  }

  /** Whether the file system left the mode: it takes no direct writes, or has no thread. */
  #notice(nowMs: number): void {
    const { ioWriterMode: mode, ioWriterFault } = this.#options.fileSystem;
    if (mode === this.#state.mode || this.#isChanging) return;
    const cause: IoWriterCause = ioWriterFault ?? 'Configured';
    const reason = ioWriterFault === undefined ? 'somebody asked for it' : reasonOf[ioWriterFault];
    this.#changed({ mode, cause, reason }, nowMs);
  }

  #changed({ mode, cause, reason }: WantedIoWriterMode, nowMs: number): void {
    const from = this.#state.mode;
    ioWriterChanged(this.#state, { mode, cause }, nowMs);
    this.#sinceWallMs = Math.floor(this.#options.clock.wallMs());
    this.#alarm = ioWriterAlarm(this.#state, nowMs);
    this.#options.observer.emit({
      level: this.isDegraded ? 'warn' : 'info',
      kind: 'ioWriterModeChanged',
      fields: { from, to: mode, cause, reason },
    });
  }

  /** Once for each step that the alarm rises. */
  #tellAlarm(nowMs: number): void {
    const alarm = ioWriterAlarm(this.#state, nowMs);
    if (alarm === this.#alarm) return;
    this.#alarm = alarm;
    if (alarm !== 'Incident' && alarm !== 'GraceOver') return;
    const { mode, cause, sinceMs } = this.#state;
    this.#options.observer.emit({
      level: 'error',
      kind: 'ioWriterStillDegraded',
      fields: { mode, cause, alarm, forMs: Math.round(nowMs - sinceMs) },
    });
  }
}
