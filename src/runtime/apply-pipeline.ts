/**
 * Applies committed entries in order, exactly once per index as the machine sees it (specification §6).
 *
 * Entries come as frames, from the tail in memory or, after a start or a long stop, from the log. System entries never
 * reach the machine; an unknown one stops applying (it is never skipped). Duplicates of keyed requests are dropped here,
 * on every replica alike, and answered with the first one's result. A machine that throws, or is fatal three times within
 * 60 s, stops this replica's applying (`ApplyFault`); voting and acknowledging go on. After a throw nobody knows what the
 * machine holds, so this process never applies again; after fatal outcomes an operator may let it try once more.
 */
import { assert, unreachable } from '../base/assert.ts';
import { crc32c } from '../base/crc32c.ts';
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import type { LogIndex, PartitionId, Term } from '../base/ids.ts';
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
import { readSystemEntry, type DurabilityTransition } from '../codec/system-entry.ts';
import { countFatal, type QuarantineReason } from '../policy/quarantine.ts';
import type { Clock } from '../ports/clock.ts';
import type { ApplyOutcome, StateMachine } from '../ports/state-machine.ts';
import { DamagedEntries } from '../storage/gathered-frames.ts';
import { ApplyBatch } from './apply-batch.ts';
import {
  idempotencyBounds,
  IdempotencyTable,
  type IdempotencyBounds,
  type IdempotencyRow,
} from './idempotency-table.ts';
import type { NodeLimits } from './limits.ts';
import type { TailBatch } from './entry-tail.ts';

/** Where applied entries are reported. */
export interface ApplyListener {
  /** An entry took effect; called in order, also for system entries (no result). */
  applied(index: LogIndex, term: Term, result: Uint8Array | undefined): void;
  /** An entry is committed but had no (new) effect: a duplicate, or refused by its key. */
  answered(
    index: LogIndex,
    answer: { readonly row: IdempotencyRow } | { readonly error: ClustorError },
  ): void;
  /** A committed entry changes the durability mode; called before it is told as applied. */
  durabilityChanged(
    transition: DurabilityTransition,
    place: { readonly term: Term; readonly index: LogIndex },
  ): void;
  /** All entries up to here are dealt with. */
  advanced(appliedIndex: LogIndex): void;
  /** Applying stopped; `isOfMachine` where the machine failed, and not what it was given. */
  faulted(error: ClustorError, isOfMachine: boolean): void;
}

/** Where frames come from when they are not in memory. */
export interface FrameSource {
  /** Frames from memory, or `undefined`. */
  slice(firstIndex: LogIndex, lastIndex: LogIndex): Uint8Array[] | undefined;
  /** Frames from the log, at least one entry. */
  read(firstIndex: LogIndex, lastIndex: LogIndex): Promise<TailBatch>;
}

/** What a pipeline needs. */
export interface ApplyOptions {
  readonly partitionId: PartitionId;
  readonly machine: StateMachine;
  readonly limits: NodeLimits;
  /** Bounds of the table of keys, for tests. @defaultValue {@link idempotencyBounds} */
  readonly idempotency?: IdempotencyBounds;
  readonly clock: Clock;
  readonly source: FrameSource;
  readonly listener: ApplyListener;
  /** Everything up to here is in the machine already. */
  readonly appliedIndex: LogIndex;
}

/** Of most pipelines, always. */
const nobody: readonly QuarantineReason[] = [];
const retryDelayMs = 20;
const fatalRetryDelayMs = 1_000;
/** A disk that is in trouble is not hurried. */
const diskRetryDelayMs = 1_000;

/** See the file comment. */
export class ApplyPipeline {
  readonly table: IdempotencyTable;
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

  constructor(options: ApplyOptions) {
    this.#options = options;
    this.#appliedIndex = options.appliedIndex;
    this.#targetIndex = options.appliedIndex;
    this.#batch = new ApplyBatch(options.partitionId, options.limits.applyEntriesMax);
    this.table = new IdempotencyTable(options.idempotency ?? idempotencyBounds);
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
    return this.#fault !== undefined || this.#holds.length > 0;
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
    while (this.#mayGoOn()) {
      const pending = this.#runOnce();
      if (pending === undefined) continue;
      pending.then(
        () => {
          this.#run();
        },
        (error: unknown) => {
          this.#stop(error);
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
        return this.#retryAfter(diskRetryDelayMs);
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
      const verdict = this.table.judge(metadata, digest);
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
      row = this.table.record(metadata, { term, index, digest });
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
    if (system.kind === 'unknown') {
      throw new ClustorError(
        'CLUSTOR_APPLY_FAULT',
        `entry ${entry.index} is of a system kind (${system.id}) that this version does not know`,
      );
    }
    this.#appliedIndex = entry.index;
    if (system.kind === 'durabilityTransition')
      this.#options.listener.durabilityChanged(system, entry);
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
        return this.#retryAfter(retryDelayMs);
      case 'fatal':
        return this.#countFatal(outcome.message) ? this.#retryAfter(fatalRetryDelayMs) : undefined;
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
      if (row !== undefined) this.table.complete(row, result, isTooLarge);
      const index = this.#batch.index(position);
      if (isTooLarge) listener.answered(index, { error: resultError(index) });
      else listener.applied(index, this.#batch.term(position), result);
    }
    if (appliedCount > 0) {
      this.#appliedIndex = this.#batch.index(appliedCount - 1);
      listener.advanced(this.#appliedIndex);
    }
    this.#rows.splice(0, appliedCount);
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

/** Bytes that the answer to one entry may have: so many pass every connection. */
export const resultBytesMax: number = 1024 * 1024;

/** What a machine written in plain JavaScript answers may be anything. */
function isAnswer(result: unknown): boolean {
  return result === undefined || result instanceof Uint8Array;
}

function answerOfRow(
  row: IdempotencyRow,
): { readonly row: IdempotencyRow } | { readonly error: ClustorError } {
  return row.isResultTooLarge ? { error: resultError(row.index) } : { row };
}

function resultError(index: LogIndex): ClustorError {
  return new ClustorError(
    'CLUSTOR_RESULT_TOO_LARGE',
    `the state machine's answer to entry ${index} has more than ${resultBytesMax} bytes`,
  );
}

function keyError(kind: 'reuse' | 'horizonPassed', index: LogIndex): ClustorError {
  if (kind === 'reuse')
    return new ClustorError(
      'CLUSTOR_IDEMPOTENCY_KEY_REUSE',
      `the key of entry ${index} was used for other bytes before`,
    );
  return new ClustorError(
    'CLUSTOR_IDEMPOTENCY_HORIZON_PASSED',
    `the key of entry ${index} is older than what this partition remembers`,
  );
}
