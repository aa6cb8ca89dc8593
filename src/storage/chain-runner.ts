/**
 * The chains of a store, one at a time, and between them the rotations of its ledger and the changes of the writer's mode. A failed one is the last (KER-10):
 * whoever waits for something to become durable is told then, or when the store closes, that it never will.
 */
import type { ClustorError } from '../base/errors.ts';
import { DeviceViolations } from '../policy/group-fsync.ts';
import type { Clock } from '../ports/clock.ts';
import type { IoStep } from '../ports/file-system.ts';
import { chainFailure, closedError, rotationFailure, switchFailure } from './chain-failure.ts';
import type { DiskGuard } from './disk-guard.ts';
import type { DurabilityLedger } from './durability-ledger.ts';
import { DurableWaiters } from './durable-waiters.ts';
import { FlushTimes } from './flush-times.ts';
import type { PatientDisk } from './full-disk.ts';
import { IoWriterDesk, type IoWriterDeskOptions, type IoWriterStatus } from './io-writer-desk.ts';
import { defaultDeviceLatencyMsMax } from './log-store-limits.ts';

/** What a runner needs. */
export interface ChainRunnerOptions extends Omit<IoWriterDeskOptions, 'deviceLatencyMsMax'> {
  readonly deviceLatencyMsMax?: number;
  readonly clock: Clock;
  readonly disk: PatientDisk;
  readonly guard: DiskGuard;
  readonly ledger: DurabilityLedger;
  /** A chain ended, and what it made durable has been told. */
  readonly flushEnded: (tookMs: number) => void;
  /** The next chain may start. */
  readonly next: () => void;
  /** A chain has ended, and no next one has started. */
  readonly idle: () => void;
  /** No chain starts any more. */
  readonly failed: (error: ClustorError) => void;
}

/** See the file comment. */
export class ChainRunner {
  readonly #options: ChainRunnerOptions;
  readonly #times = new FlushTimes();
  readonly #device = new DeviceViolations();
  readonly #writer: IoWriterDesk;
  readonly #waiters = new DurableWaiters();
  /** When the chain under way began. */
  #busySinceMs: number | undefined;
  #failure: ClustorError | undefined;
  #isClosing = false;
  /** Who closes the store and waits for its last chain. */
  #lastEnded: (() => void) | undefined;
  /** The last chain ended: files are being closed. */
  #isEnded = false;
  /** Who waits for a new generation of the ledger. */
  #renewals: (() => void)[] = [];
  #flushes = 0;

  constructor(options: ChainRunnerOptions) {
    this.#options = options;
    const { deviceLatencyMsMax = defaultDeviceLatencyMsMax } = options;
    this.#writer = new IoWriterDesk({ ...options, deviceLatencyMsMax });
  }

  /** Whether a chain may start now. */
  get isReady(): boolean {
    return this.#isIdle && !this.#isChangeDue;
  }

  /** Chains that ended well. */
  get flushes(): number {
    return this.#flushes;
  }

  /** Slow syncs that stand. */
  get deviceViolations(): number {
    return this.#device.count;
  }

  /** Age of the chain that is under way; 0 when none is. */
  get unfinishedMs(): number {
    const nowMs = this.#options.clock.monotonicMs();
    return nowMs - (this.#busySinceMs ?? nowMs);
  }

  /** Whether the writer is in a lesser mode than it could be in. */
  get isWriterDegraded(): boolean {
    return this.#writer.isDegraded;
  }

  /** How long chains took, and in which mode. */
  summary(): ReturnType<FlushTimes['summary']> & { readonly ioWriter: IoWriterStatus } {
    return { ...this.#times.summary(), ioWriter: this.#writer.status() };
  }

  /** Runs a chain that ends with a ledger flush. */
  submit(steps: readonly IoStep[], complete: () => void): void {
    const { clock, disk, guard, ledger, flushEnded } = this.#options;
    this.#busySinceMs = clock.monotonicMs();
    const waitsBefore = disk.waits;
    disk.submit(steps, (failure) => {
      if (failure !== undefined) {
        this.#fail(chainFailure(steps, failure));
        return;
      }
      const tookMs = this.unfinishedMs;
      this.#times.add(tookMs);
      this.#device.add(tookMs);
      this.#writer.chainEnded(tookMs, disk.waits !== waitsBefore);
      ledger.synced();
      this.#flushes++;
      this.#busySinceMs = undefined;
      guard.touch();
      complete();
      flushEnded(tookMs);
      this.#goOn();
    });
  }

  /** Begins a new ledger generation that has room for a flush of so many bytes of records. */
  rotateLedger(rotated: () => void, recordBytes = 0): void {
    const { clock, ledger } = this.#options;
    this.#busySinceMs = clock.monotonicMs();
    ledger.rotate(recordBytes).then(
      () => {
        this.#busySinceMs = undefined;
        rotated();
        this.#goOn();
      },
      (error: unknown) => {
        this.#fail(rotationFailure(error));
      },
    );
  }

  /** Begins a new ledger generation as soon as no chain is under way; rejects when that will never be. */
  renewLedger(): Promise<void> {
    return this.settled((done) => {
      this.#renewals.push(done);
    });
  }

  /** Begins the generation that was asked for, if one was and a chain may start; whether it did. */
  renewsLedger(): boolean {
    if (this.#renewals.length === 0) return false;
    const waiters = this.#renewals;
    this.#renewals = [];
    this.rotateLedger(() => {
      for (const done of waiters) done();
    });
    return true;
  }

  /** Starts something that calls back once it is durable; rejects when that will never be. */
  settled(start: (done: () => void) => void): Promise<void> {
    const ended = this.#failure ?? (this.#isClosing ? closedError() : undefined);
    const settled = this.#waiters.settled(start, ended);
    this.#options.next();
    return settled;
  }

  /** Whoever comes from now on waits for nothing. */
  beginClose(): void {
    this.#isClosing = true;
  }

  /** Starts what waits in a store that closes; resolves behind the last chain. */
  lastChain(): Promise<void> {
    return new Promise((resolve) => {
      this.#lastEnded = resolve;
      if (this.#failure === undefined) this.#options.next();
      else this.end();
    });
  }

  /**
   * Nothing is left to run: if the last chain is waited for, it was that one. No other starts any more, whatever comes to
   * an end in the background, and whoever still waits is told.
   */
  end(): void {
    if (this.#lastEnded === undefined) return;
    this.#isEnded = true;
    this.#waiters.fail(closedError());
    this.#lastEnded();
  }

  get #isIdle(): boolean {
    return this.#busySinceMs === undefined && this.#failure === undefined && !this.#isEnded;
  }

  /** The writer's mode is to be changed before the next chain; a store that closes keeps the one it has. */
  get #isChangeDue(): boolean {
    return this.#writer.wantsChange && !this.#isClosing;
  }

  /** A chain or a rotation ended: first the mode is changed, if that is wanted, then the next one may start. */
  #goOn(): void {
    const { clock, next, idle } = this.#options;
    if (!this.#isIdle || !this.#isChangeDue) {
      next();
      if (this.isReady) idle();
      return;
    }
    this.#busySinceMs = clock.monotonicMs();
    this.#writer.change().then(
      () => {
        this.#busySinceMs = undefined;
        next();
      },
      (error: unknown) => {
        this.#fail(switchFailure(error));
      },
    );
  }

  #fail(error: ClustorError): void {
    this.#busySinceMs = undefined;
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#waiters.fail(error);
    this.#options.failed(error);
    this.end();
  }
}
