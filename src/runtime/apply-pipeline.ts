/**
 * Applies committed entries in order, exactly once per index as the machine sees it (specification §6).
 *
 * Entries come as frames, from the tail in memory or, after a start or a long stop, from the log. System entries never
 * reach the machine; an unknown one stops applying (it is never skipped). Duplicates of keyed requests are dropped here,
 * on every replica alike, and answered with the first one's result. A machine that throws, or is fatal three times within
 * 60 s, stops this replica's applying (`ApplyFault`); voting and acknowledging go on. After a throw nobody knows what the
 * machine holds, so this process never applies again; after fatal outcomes an operator may let it try once more.
 */
import { dropFirst, empty } from '../base/arrays.ts';
import { assert, unreachable } from '../base/assert.ts';
import { crc32c } from '../base/crc32c.ts';
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import type { LogIndex, Term } from '../base/ids.ts';
import {
  frameBytesAt,
  frameIndex,
  frameIsSystem,
  frameMetadataEnd,
  frameMetadataStart,
  framePayloadEnd,
  framePayloadStart,
  frameTerm,
} from '../codec/entry-frame.ts';
import { createEntryMetadata, readEntryMetadata } from '../codec/entry-metadata.ts';
import { readSystemEntry } from '../codec/system-entry.ts';
import { countFatal, type QuarantineReason } from '../policy/quarantine.ts';
import type { ApplyOutcome } from '../ports/state-machine.ts';
import { DamagedEntries } from '../storage/gathered-frames.ts';
import {
  answerOfRow,
  applyRetryMs,
  isAnswer,
  keyError,
  resultBytesMax,
  resultError,
  unknownSystemError,
} from './apply-answers.ts';
import { ApplyBatch } from './apply-batch.ts';
import { idempotencyBounds, IdempotencyTable, type IdempotencyRow } from './idempotency-table.ts';
import {
  begun,
  restoreMachine,
  type CapturedState,
  type RestorableState,
} from './snapshot-capture.ts';
import {
  readSnapshotState,
  snapshotStatePieces,
  withTransition,
  type AppliedTransition,
} from './snapshot-state.ts';
import type { ApplyOptions } from './apply-types.ts';
import type { TailBatch } from './entry-tail.ts';

/** Of most pipelines, always. */
const nobody: readonly QuarantineReason[] = [];

/** See the file comment. */
export class ApplyPipeline {
  #table: IdempotencyTable;
  readonly #options: ApplyOptions;
  readonly #batch: ApplyBatch;
  readonly #rows: (IdempotencyRow | undefined)[] = [];
  readonly #metadata = createEntryMetadata();
  #appliedIndex: LogIndex;
  #targetIndex: LogIndex;
  #isRunning = false;
  #isClosed = false;
  /** Reasons for which somebody holds it. */
  #holds: readonly QuarantineReason[] = nobody;
  #timeMs = 0;
  #fatalsMs: readonly number[] = [];
  #fault: ClustorError | undefined;
  #isMachineKnown = true;
  #isRestoring = false;
  /** Who waits until nothing is being applied. */
  #atBorder: (() => void)[] = [];
  /** The newest changes of the durability mode, at most two: of any cause, and of an operator's. */
  #transitions: readonly AppliedTransition[] = [];

  constructor(options: ApplyOptions) {
    this.#options = options;
    this.#appliedIndex = options.appliedIndex;
    this.#targetIndex = options.appliedIndex;
    this.#batch = new ApplyBatch(options.partitionId, options.limits.applyEntriesMax);
    this.#table = new IdempotencyTable(options.idempotency ?? idempotencyBounds);
  }

  /** Which keyed requests have taken effect. */
  get table(): IdempotencyTable {
    return this.#table;
  }

  /** Whether the machine waits for a snapshot, or is taking one in: what it holds now is of no use. */
  get isRestoring(): boolean {
    return this.#isRestoring;
  }

  /** Newest index that has been dealt with. */
  get appliedIndex(): LogIndex {
    return this.#appliedIndex;
  }

  /** Why applying stopped, if it did. */
  get fault(): ClustorError | undefined {
    return this.#fault;
  }

  /** Entries up to `index` may be applied. Runs at once, synchronously as far as machine and memory allow. */
  advanceTo(index: LogIndex): void {
    if (index > this.#targetIndex) this.#targetIndex = index;
    if (!this.#isRunning) this.#run();
  }

  /** Whether nothing is applied, by a fault or because somebody holds it. */
  get isStopped(): boolean {
    return this.#fault !== undefined || this.#holds.length > 0 || this.#isRestoring;
  }

  /** Whether the machine holds what its applied entries made of it: it never threw in this process. */
  get isMachineKnown(): boolean {
    return this.#isMachineKnown;
  }

  /** Nothing more is applied until {@link ApplyPipeline.release} with the same reason (specification §5.6). */
  hold(reason: QuarantineReason): void {
    if (!this.#holds.includes(reason)) this.#holds = [...this.#holds, reason];
  }

  /** Goes on where {@link ApplyPipeline.hold} stopped it, unless something else holds it. */
  release(reason: QuarantineReason): void {
    this.#holds = this.#holds.filter((other) => other !== reason);
    if (!this.#isRunning) this.#run();
  }

  /** Nothing more is applied until {@link ApplyPipeline.restore}, or until it turns out that there is no snapshot to begin with. */
  setRestoring(isRestoring: boolean): void {
    this.#isRestoring = isRestoring;
    if (!this.#isRunning) this.#run();
  }

  /**
   * Everything that a snapshot of the machine needs, as of the newest applied entry: at once, or behind the batch that is being
   * applied; `undefined` where that is not settled. The machine's part begins to be read in the same moment.
   */
  capture(): Promise<CapturedState | undefined> {
    return new Promise((resolve, reject) => {
      const take = (): void => {
        try {
          resolve(this.#captured());
        } catch (error) {
          reject(error instanceof Error ? error : new Error(messageOf(error)));
        }
      };
      if (this.#isRunning) this.#atBorder.push(take);
      else take();
    });
  }

  #captured(): CapturedState | undefined {
    if (this.#isClosed || this.isStopped || this.#batch.length > 0) return undefined;
    const state = snapshotStatePieces({
      timeMs: this.#timeMs,
      table: this.#table,
      transitions: this.#transitions,
    });
    const machine = begun(this.#options.machine.snapshot());
    return { index: this.#appliedIndex, state, machine };
  }

  /**
   * Puts a snapshot in the place of everything that was applied; {@link ApplyPipeline.setRestoring} came before.
   * Rejects with what the snapshot's bytes could not be read for; that the machine refuses them is a fault.
   */
  async restore(snapshot: RestorableState): Promise<void> {
    assert(this.#isRestoring, 'a snapshot is taken in while nothing is applied');
    if (this.#isRunning)
      await new Promise<void>((resolve) => {
        this.#atBorder.push(resolve);
      });
    if (this.#isClosed) return;
    const { idempotency = idempotencyBounds, listener, machine } = this.#options;
    const found = await readSnapshotState(snapshot.state, idempotency, this.#pause);
    const { timeMs, table, transitions } = found;
    this.#batch.clear();
    empty(this.#rows);
    this.#isMachineKnown = false;
    const refused = await restoreMachine(machine, snapshot.machine);
    if (this.#isClosed) return;
    if (refused !== undefined) {
      this.#threw(refused.thrown);
      return;
    }
    this.#isMachineKnown = true;
    this.#table = table;
    this.#timeMs = timeMs;
    this.#transitions = transitions;
    this.#appliedIndex = snapshot.index;
    for (const { transition, term, index } of transitions)
      listener.durabilityChanged(transition, { term, index });
    this.#isRestoring = false;
    listener.advanced(snapshot.index);
    this.#run();
  }

  readonly #pause = (): Promise<void> =>
    new Promise((resolve) => {
      this.#options.clock.setTimer(0, resolve);
    });

  /** Forgets fatal outcomes, so that the machine is asked once more; the owner has checked that it can be. */
  forgive(): void {
    assert(this.#isMachineKnown, 'a machine that threw is never asked again');
    this.#fault = undefined;
    this.#fatalsMs = [];
  }

  /** Gives back what memory it can while nothing is being applied. */
  rest(): void {
    if (!this.#isRunning && this.#batch.length === 0) this.#batch.rest();
  }

  /** Nothing is applied any more. */
  close(): void {
    this.#isClosed = true;
  }

  #run(): void {
    this.#isRunning = true;
    for (;;) {
      for (const waiter of this.#atBorder.splice(0)) waiter();
      if (!this.#mayGoOn()) break;
      const pending = this.#runOnce();
      if (pending === undefined) continue;
      pending.then(
        () => {
          this.#run();
        },
        (error: unknown) => {
          this.#stop(error);
          this.#run();
        },
      );
      return;
    }
    this.#isRunning = false;
  }

  #runOnce(): Promise<void> | undefined {
    try {
      // What was taken in and not applied when it stopped comes first.
      if (this.#batch.length > 0) return this.#flush();
      const views = this.#options.source.slice(
        (this.#appliedIndex + 1) as LogIndex,
        this.#lastOfRun(),
      );
      return views === undefined ? this.#readCold() : this.#applyViews(views);
    } catch (error) {
      this.#stop(error);
      return undefined;
    }
  }

  #mayGoOn(): boolean {
    return !this.#isClosed && !this.isStopped && this.#appliedIndex < this.#targetIndex;
  }

  #lastOfRun(): LogIndex {
    return Math.min(
      this.#targetIndex,
      this.#appliedIndex + this.#options.limits.applyEntriesMax,
    ) as LogIndex;
  }

  async #readCold(): Promise<void> {
    let batch: TailBatch;
    try {
      batch = await this.#options.source.read(
        (this.#appliedIndex + 1) as LogIndex,
        this.#lastOfRun(),
      );
    } catch (error) {
      // What the disk refused says nothing of what it holds, or of the machine.
      if (isClustorError(error, 'CLUSTOR_STORAGE_FAILED'))
        return this.#retryAfter(applyRetryMs.disk);
      // No fault of the machine: the entries come back with the repair.
      if (!(error instanceof DamagedEntries)) throw error;
      this.hold('Integrity');
      return;
    }
    if (this.#isClosed || this.isStopped) return;
    await this.#applyViews([batch.bytes]);
  }

  /** Applies whole frames; a promise only where the machine returned one. */
  #applyViews(views: readonly Uint8Array[], viewAt = 0, offsetAt = 0): Promise<void> | undefined {
    let offset = offsetAt;
    for (let view = viewAt; view < views.length; view++) {
      const bytes = views[view] ?? new Uint8Array(0);
      while (offset < bytes.length) {
        // A machine, or who hears of an entry, may close the node or have applying stopped.
        if (this.#isClosed || this.isStopped) return undefined;
        const size = frameBytesAt(bytes, offset, bytes.length);
        assert(size > 0, 'the log holds whole frames');
        if (!this.#collect(bytes, offset)) {
          const pending = this.#flush();
          const from = offset;
          if (pending !== undefined) return pending.then(() => this.#applyViews(views, view, from));
          continue;
        }
        offset += size;
      }
      offset = 0;
    }
    return this.#flush();
  }

  /** Puts an entry into the batch. Returns false when the batch must be applied first. */
  #collect(bytes: Uint8Array, offset: number): boolean {
    const index = frameIndex(bytes, offset);
    const term = frameTerm(bytes, offset);
    if (frameIsSystem(bytes, offset)) return this.#collectSystem(bytes, { offset, index, term });
    if (this.#batch.isFull) return false;
    const start = framePayloadStart(bytes, offset);
    const end = framePayloadEnd(bytes, offset);
    const metadata = this.#metadata;
    readEntryMetadata(
      bytes,
      { start: frameMetadataStart(bytes, offset), end: frameMetadataEnd(bytes, offset) },
      metadata,
    );
    let row: IdempotencyRow | undefined;
    if (metadata.clientKey !== undefined || metadata.opaqueKey !== undefined) {
      const digest = crc32c(bytes, start, end);
      const verdict = this.#table.judge(metadata, digest);
      if (verdict.kind !== 'new') {
        if (this.#batch.length > 0) return false;
        this.#answer(
          index,
          verdict.kind === 'duplicate'
            ? answerOfRow(verdict.row)
            : { error: keyError(verdict.kind, index) },
        );
        return true;
      }
      row = this.#table.record(metadata, { term, index, digest });
    }
    this.#timeMs = Math.max(this.#timeMs, metadata.ingestMs);
    this.#rows[this.#batch.length] = row;
    this.#batch.add({ bytes, start, end, index, term, timeMs: this.#timeMs });
    return true;
  }

  #collectSystem(
    bytes: Uint8Array,
    entry: { readonly offset: number; readonly index: LogIndex; readonly term: Term },
  ): boolean {
    if (this.#batch.length > 0) return false;
    const system = readSystemEntry(
      bytes,
      framePayloadStart(bytes, entry.offset),
      framePayloadEnd(bytes, entry.offset),
    );
    if (system.kind === 'unknown') throw unknownSystemError(entry.index, system.id);
    this.#appliedIndex = entry.index;
    if (system.kind === 'durabilityTransition') {
      const { term, index } = entry;
      this.#transitions = withTransition(this.#transitions, { transition: system, term, index });
      this.#options.listener.durabilityChanged(system, entry);
    }
    this.#options.listener.applied(entry.index, entry.term, undefined);
    this.#options.listener.advanced(entry.index);
    return true;
  }

  #answer(
    index: LogIndex,
    answer: { readonly row: IdempotencyRow } | { readonly error: ClustorError },
  ): void {
    this.#appliedIndex = index;
    this.#options.listener.answered(index, answer);
    this.#options.listener.advanced(index);
  }

  #flush(): Promise<void> | undefined {
    if (this.#batch.length === 0) return undefined;
    let outcome: ApplyOutcome | Promise<ApplyOutcome>;
    try {
      outcome = this.#options.machine.apply(this.#batch, this.#batch);
    } catch (error) {
      this.#threw(error);
      return undefined;
    }
    if (!(outcome instanceof Promise)) return this.#settle(outcome);
    return outcome.then(
      (settled) => this.#settle(settled),
      (error: unknown) => {
        this.#threw(error);
      },
    );
  }

  #settle(outcome: ApplyOutcome): Promise<void> | undefined {
    if (outcome.results?.every(isAnswer) === false) {
      this.#threw(new Error("the state machine's answers are not all bytes"));
      return undefined;
    }
    const appliedCount = outcome.kind === 'ack' ? this.#batch.length : outcome.appliedCount;
    this.#report(appliedCount, outcome.results);
    if (this.#isClosed) return undefined;
    switch (outcome.kind) {
      case 'ack':
        this.#batch.clear();
        return undefined;
      case 'retryable':
        return this.#retryAfter(applyRetryMs.machine);
      case 'fatal':
        return this.#countFatal(outcome.message) ? this.#retryAfter(applyRetryMs.fatal) : undefined;
      default:
        return unreachable(outcome);
    }
  }

  #report(appliedCount: number, results: readonly (Uint8Array | undefined)[] | undefined): void {
    const { listener } = this.#options;
    for (let position = 0; position < appliedCount; position++) {
      const row = this.#rows[position];
      const given = results?.[position];
      const isTooLarge = given !== undefined && given.length > resultBytesMax;
      const result = isTooLarge ? undefined : given;
      if (row !== undefined) this.#table.complete(row, result, isTooLarge);
      const index = this.#batch.index(position);
      if (isTooLarge) listener.answered(index, { error: resultError(index) });
      else listener.applied(index, this.#batch.term(position), result);
    }
    if (appliedCount > 0) {
      this.#appliedIndex = this.#batch.index(appliedCount - 1);
      listener.advanced(this.#appliedIndex);
    }
    dropFirst(this.#rows, appliedCount);
    if (appliedCount < this.#batch.length) this.#batch.advance(appliedCount);
    else this.#batch.clear();
  }

  async #retryAfter(delayMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#options.clock.setTimer(delayMs, resolve);
    });
    if (this.#isClosed || this.isStopped) return;
    await this.#flush();
  }

  /** Counts a fatal outcome; false when it was the last one allowed. */
  #countFatal(message: string): boolean {
    const { countedMs, isFault } = countFatal(this.#fatalsMs, this.#options.clock.monotonicMs());
    this.#fatalsMs = countedMs;
    if (isFault) this.#stop(new Error(message), true);
    return !isFault;
  }

  /** What the machine holds is not known any more. */
  #threw(error: unknown): void {
    this.#isMachineKnown = false;
    this.#stop(error, true);
  }

  #stop(error: unknown, isOfMachine = false): void {
    if (this.#fault !== undefined || this.#isClosed) return;
    const index = this.#appliedIndex + 1;
    this.#fault = new ClustorError(
      'CLUSTOR_APPLY_FAULT',
      `the state machine failed at or behind entry ${index}: ${messageOf(error)}`,
      { cause: error, details: { index } },
    );
    this.#options.listener.faulted(this.#fault, isOfMachine);
  }
}
