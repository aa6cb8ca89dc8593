/**
 * One journal and one ledger for all partitions of a data directory, with group commit by arrival (specification §5.1, §5.5).
 *
 * At most one chain is under way. What arrives meanwhile gathers, and the next chain takes all of it: records that need no
 * data (term and vote, truncations, doubts) first, in a ledger flush of their own; then entries: blocks written, synced,
 * ledger flush written, synced, in one hop. A completion is told only after its chain's last sync, so nothing is ever said
 * on the strength of a write.
 *
 * Crash story: see `segment-writer`, `durability-ledger` and `recovery`; a failed step poisons the store (KER-10): it writes
 * nothing more and says nothing more; the node stops, and the next start reads past the page cache what is really there.
 */
import { present } from '../base/assert.ts';
import { ClustorError, messageOf } from '../base/errors.ts';
import type { LogIndex, PartitionId, Term } from '../base/ids.ts';
import type { LedgerRecord } from '../codec/ledger-format.ts';
import type { DirectoryLock, IoStep, IoWriterMode } from '../ports/file-system.ts';
import { cutAppend, dataRecordBytesMax } from './append-parts.ts';
import { writeBootRecords } from './boot-records.ts';
import { chainFailure } from './chain-failure.ts';
import { DataFlush } from './data-flush.ts';
import { type DurabilityLedger, recordBytesMax } from './durability-ledger.ts';
import { FlushTimes } from './flush-times.ts';
import type { Journal } from './journal.ts';
import { segmentClosedRecord, type LedgerImage } from './ledger-image.ts';
import { logStoreLimits } from './log-store-limits.ts';
import type {
  BootReport,
  FrameBatch,
  HardState,
  LogStoreLimits,
  LogStoreOptions,
  LogStoreStatistics,
  RecoveredPartition,
} from './log-store-types.ts';
import { PartitionLog, type PartitionLogOwner, type PendingAppend } from './partition-log.ts';
import { openParts, type StoreParts } from './open-parts.ts';
import { newbornPartition, type ReplicaToCreate } from './replica-files.ts';
import { ReplicaRegistry } from './replica-registry.ts';
import { scrubberOf } from './scrub-segments.ts';
import type { Scrubber } from './scrubber.ts';
import type { RunPlace, SegmentReader } from './segment-reader.ts';

/** A record that waits for a ledger flush. */
interface PendingRecord {
  readonly log: PartitionLog | undefined;
  readonly hardState: HardState | undefined;
  readonly record: LedgerRecord;
  readonly done: (() => void) | undefined;
}

/** See the file comment. */
export class LogStore implements PartitionLogOwner {
  /** The replicas that were found, in registry order. */
  readonly recovered: readonly RecoveredPartition[];
  readonly bootReport: BootReport;
  readonly #options: LogStoreOptions;
  readonly #limits: LogStoreLimits;
  readonly #lock: DirectoryLock;
  readonly #journal: Journal;
  readonly #ledger: DurabilityLedger;
  readonly #image: LedgerImage;
  readonly #reader: SegmentReader;
  readonly #logs = new Map<PartitionId, PartitionLog>();
  readonly #times = new FlushTimes();
  readonly #registry: ReplicaRegistry;
  readonly #scrubber: Scrubber;
  #records: PendingRecord[] = [];
  #appends: PendingAppend[] = [];
  readonly #dataFlush = new DataFlush();
  #isBusy = false;
  #failure: ClustorError | undefined;
  #isClosing = false;
  #closed: Promise<void> | undefined;
  #idleWaiters: (() => void)[] = [];
  /** Whoever waits for records to become durable, to be told that they will not. */
  readonly #failureWaiters = new Set<(error: ClustorError) => void>();
  #reports: Promise<void> = Promise.resolve();
  #dataFlushes = 0;
  #flushes = 0;
  #journalBytesWritten = 0;

  private constructor(options: LogStoreOptions, parts: StoreParts) {
    this.#options = options;
    this.#limits = parts.limits;
    this.#lock = parts.lock;
    this.#journal = parts.journal;
    this.#ledger = parts.ledger;
    this.#image = parts.recovery.image;
    this.#reader = parts.reader;
    this.#registry = new ReplicaRegistry(options, parts.recovery.registry);
    this.recovered = parts.recovery.partitions;
    this.bootReport = parts.bootReport;
    for (const { replica, ranges, frameBytes } of parts.recovery.logs) {
      const found = present(
        this.recovered.find((row) => row.partitionId === replica.partitionId),
        'a recovered log has its partition',
      );
      const log = new PartitionLog(this, {
        ...found,
        commitIndex: found.recordedCommitIndex,
        frameBytes,
      });
      for (const range of ranges) log.index.addClosed(range);
      this.#logs.set(replica.partitionId, log);
    }
    const { image } = parts.recovery;
    this.#scrubber = scrubberOf(options, { image, journal: this.#journal, logs: this.#logs });
    this.#journal.beginTrailers(({ segmentSeq, endOffset }) => {
      this.#pushRecord(segmentClosedRecord(segmentSeq, endOffset, endOffset));
      this.flush();
    });
  }

  /** Locks, recovers, begins a new segment and a new ledger generation; everything read is synced when it resolves (KER-11, KER-13). */
  static async open(options: LogStoreOptions): Promise<LogStore> {
    const limits = logStoreLimits(options.limits);
    await options.fileSystem.makeDirectory(options.directory);
    const lock = await options.fileSystem.lockDirectory(options.directory);
    try {
      const store = new LogStore(options, await openParts(options, limits, lock));
      store.#reports = writeBootRecords(options, store);
      return store;
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  /** The log of a hosted partition. */
  partition(partitionId: PartitionId): PartitionLog | undefined {
    return this.#logs.get(partitionId);
  }

  /**
   * Creates a replica: ledger flush, its files, then its row in the registry (specification §1).
   * @throws ClustorError `CLUSTOR_ALREADY_INITIALIZED`.
   */
  async createReplica(replica: ReplicaToCreate): Promise<RecoveredPartition> {
    const [created] = await this.createReplicas([replica]);
    return present(created, 'a created replica');
  }

  /** Creates replicas, all or none: one write of the registry names them. @throws ClustorError `CLUSTOR_ALREADY_INITIALIZED`. */
  async createReplicas(
    replicas: readonly ReplicaToCreate[],
  ): Promise<readonly RecoveredPartition[]> {
    this.#registry.assertNew(replicas);
    return this.#create(replicas, { term: 0 as Term, votedFor: undefined });
  }

  /**
   * Puts a replica's new life in the place of one that nobody counts any more: the old life is in doubt for good, its entries
   * are dead, its term is kept. Until the registry names the new life, the old one comes back, in doubt.
   */
  async replaceReplica(replica: ReplicaToCreate): Promise<RecoveredPartition> {
    const { partitionId, incarnation } = replica;
    const old = present(this.#logs.get(partitionId), 'only a hosted replica is replaced');
    this.#appends = this.#appends.filter((append) => append.log !== old);
    const { segment, endOffset } = this.#journal.writer;
    this.#pushRecord({
      kind: 'doubt',
      partitionId,
      incarnation: old.incarnation,
      reason: `replaced by incarnation ${incarnation}`,
    });
    this.#pushRecord({
      kind: 'truncated',
      partitionId,
      fromIndex: 1 as LogIndex,
      segmentSeq: segment.segmentSeq,
      offset: endOffset,
    });
    const [created] = await this.#create([replica], old.hardState);
    return present(created, 'a replaced replica');
  }

  async #create(
    replicas: readonly ReplicaToCreate[],
    hardState: HardState,
  ): Promise<readonly RecoveredPartition[]> {
    await this.#registry.add(replicas, (together) => this.#recordReplicas(together, hardState));
    return replicas.map((replica) => {
      const created = newbornPartition(replica, hardState);
      const start = { ...created, commitIndex: created.recordedCommitIndex, frameBytes: 0 };
      this.#logs.set(replica.partitionId, new PartitionLog(this, start));
      return created;
    });
  }

  /** Resolves when the first records of the replicas are durable. */
  #recordReplicas(replicas: readonly ReplicaToCreate[], hardState: HardState): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      this.#failureWaiters.add(reject);
      const done = (): void => {
        this.#failureWaiters.delete(reject);
        resolve();
      };
      for (const [at, { partitionId, configuration }] of replicas.entries()) {
        const { durabilityModeEpoch } = this.#image.row(partitionId);
        this.#pushRecord({ kind: 'hardState', partitionId, ...hardState, durabilityModeEpoch });
        // Records become durable in order: the last one speaks for all.
        const isLast = at === replicas.length - 1;
        this.#pushRecord(
          { kind: 'configuration', partitionId, configuration },
          isLast ? { done } : {},
        );
      }
      this.flush();
    });
  }

  /** Starts a chain unless one is under way or nothing waits. */
  flush(): void {
    if (this.#isBusy || this.#failure !== undefined) return;
    if (this.#records.length > 0) this.#flushRecords();
    else if (this.#appends.length > 0) this.#flushData();
    else if (this.#isClosing) this.#wakeIdle();
  }

  /** Counters for status and metrics. */
  statistics(): LogStoreStatistics {
    const { writer } = this.#journal;
    return {
      flushes: this.#flushes,
      dataFlushes: this.#dataFlushes,
      entries: this.#dataFlush.entries,
      entryBytes: this.#dataFlush.entryBytes,
      journalBytesWritten: this.#journalBytesWritten,
      journalBytes: this.#journal.bytes,
      segmentSeq: writer.segment.segmentSeq,
      endOffset: writer.endOffset,
      ledgerSequence: this.#ledger.syncedFlushSeq,
      ledgerGeneration: this.#ledger.generation,
      ioWriterMode: this.#options.fileSystem.ioWriterMode,
      ...this.#times.summary(),
      scrub: this.#scrubber.statistics(),
    };
  }

  /** Flushes what waits, closes the files, gives the lock back. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  enqueueAppend(append: PendingAppend): void {
    this.#appends.push(append);
  }

  enqueueHardState(log: PartitionLog, hardState: HardState): void {
    const durabilityModeEpoch = this.#image.row(log.partitionId).durabilityModeEpoch;
    this.#pushRecord(
      { kind: 'hardState', partitionId: log.partitionId, ...hardState, durabilityModeEpoch },
      { log, hardState },
    );
  }

  enqueueDoubt(log: PartitionLog, reason: string): void {
    this.#pushRecord({
      kind: 'doubt',
      partitionId: log.partitionId,
      incarnation: log.incarnation,
      reason,
    });
  }

  truncate(log: PartitionLog, fromIndex: LogIndex): void {
    this.#appends = this.#appends.flatMap((append) =>
      append.log === log ? cutAppend(append, fromIndex) : [append],
    );
    if (log.index.lastIndex < fromIndex) return;
    log.index.truncateFrom(fromIndex);
    const { segment, endOffset } = this.#journal.writer;
    this.#pushRecord({
      kind: 'truncated',
      partitionId: log.partitionId,
      fromIndex,
      segmentSeq: segment.segmentSeq,
      offset: endOffset,
    });
  }

  admits(log: PartitionLog, bytes: number, isSystem: boolean): boolean {
    const { logBytesMax, partitionLogBytesMax, segmentBytes } = this.#limits;
    const share = isSystem ? 1 : 0.95;
    const nodeMax = isSystem
      ? logBytesMax
      : Math.min(logBytesMax * share, logBytesMax - 2 * segmentBytes);
    return (
      log.frameBytes + bytes <= partitionLogBytesMax * share &&
      this.#journal.bytes + bytes <= nodeMax
    );
  }

  async read(
    log: PartitionLog,
    range: {
      readonly firstIndex: LogIndex;
      readonly lastIndex: LogIndex;
      readonly bytesMax: number;
    },
  ): Promise<FrameBatch> {
    const wanted = { partitionId: log.partitionId, ...range };
    const place = log.index.locate(range.firstIndex);
    if (place === undefined)
      throw new ClustorError(
        'CLUSTOR_LOG_COMPACTED',
        `entry ${range.firstIndex} of partition ${log.partitionId} is not in the journal`,
      );
    let run: RunPlace;
    let { lastIndex } = range;
    if (place.kind === 'open') {
      const { segment, endOffset } = this.#journal.writer;
      run = { segmentSeq: segment.segmentSeq, endOffset, run: place.run };
    } else {
      const { segmentSeq } = place.range;
      lastIndex = Math.min(lastIndex, place.range.lastIndex) as LogIndex;
      run = await this.#reader.runInClosed(
        { segmentSeq, endOffset: this.#journal.closedEnd(segmentSeq) },
        { partitionId: log.partitionId, index: range.firstIndex },
      );
    }
    return this.#reader.readRun(run, { ...wanted, lastIndex });
  }

  ackFields(): { readonly segmentSeq: number; readonly ioWriterMode: IoWriterMode } {
    return {
      segmentSeq: this.#journal.writer.segment.segmentSeq,
      ioWriterMode: this.#options.fileSystem.ioWriterMode,
    };
  }

  #pushRecord(
    record: LedgerRecord,
    extra: {
      readonly log?: PartitionLog;
      readonly hardState?: HardState;
      readonly done?: () => void;
    } = {},
  ): void {
    this.#records.push({ record, log: extra.log, hardState: extra.hardState, done: extra.done });
  }

  #flushRecords(): void {
    const pending = this.#records;
    const newest = new Map<PartitionLog, HardState>();
    for (const { log, hardState } of pending)
      if (log !== undefined && hardState !== undefined) newest.set(log, hardState);
    const isCurrent = (row: PendingRecord): boolean =>
      row.log === undefined || row.hardState === undefined || newest.get(row.log) === row.hardState;
    const records = pending.filter(isCurrent).map((row) => row.record);
    if (this.#mustRotate(recordBytesMax(records))) return;
    this.#records = [];
    this.#submit(this.#ledger.flush(records, this.#image.coverage), () => {
      for (const row of pending) row.done?.();
      for (const [log, hardState] of newest)
        this.#options.listener.hardStateDurable(log, hardState);
    });
  }

  #flushData(): void {
    const { writer } = this.#journal;
    if (!writer.fits(present(this.#appends[0], 'a data flush has an append').batch.bytes.length)) {
      this.#switchSegment();
      return;
    }
    if (this.#mustRotate(dataRecordBytesMax(this.#appends, this.#logs.size))) return;
    writer.begin();
    let taken = 0;
    for (const append of this.#appends) {
      if (
        taken > 0 &&
        (writer.flushBytes >= this.#limits.flushBytesMax || !writer.fits(append.batch.bytes.length))
      )
        break;
      this.#dataFlush.seal(writer, append);
      taken++;
    }
    const sealed = this.#appends.splice(0, taken);
    const { position, bytes } = writer.end();
    const { file, segmentSeq } = writer.segment;
    const { endOffset } = writer;
    const coverage = { segmentSeq, endOffset };
    const ledgerSteps = this.#ledger.flush(this.#dataFlush.records(sealed), coverage);
    this.#dataFlushes++;
    this.#journalBytesWritten += bytes.length;
    this.#submit(
      [{ kind: 'write', file, position, bytes }, { kind: 'sync', file }, ...ledgerSteps],
      () => {
        this.#journal.syncedEnd = endOffset;
        this.#dataFlush.complete(this.#options.listener, this.#ledger.syncedFlushSeq);
      },
    );
    if (writer.usedShare > 0.25) this.#prepareSegment();
  }

  #switchSegment(): void {
    if (!this.#journal.isNextReady) {
      // A closing store does not wait for a disk that has no room: what was not sealed was never acknowledged.
      if (this.#isClosing) this.#wakeIdle();
      else this.#prepareSegment(true);
      return;
    }
    if (this.#mustRotate(1024)) return;
    const { steps, records } = this.#journal.switchSegment(this.#logs.values());
    this.#submit([...steps, ...this.#ledger.flush(records, this.#image.coverage)], () => {
      this.#journal.switched();
    });
  }

  #prepareSegment(isAwaited = false): void {
    this.#journal.prepareAhead(() => {
      this.flush();
    }, isAwaited);
  }

  /** Begins a new ledger generation when this one cannot take the records; the flush is tried again afterwards. */
  #mustRotate(recordBytesMax: number): boolean {
    if (!this.#ledger.needsRotation(recordBytesMax)) {
      this.#ledger.prepareAhead();
      return false;
    }
    this.#isBusy = true;
    this.#ledger.rotate().then(
      () => {
        this.#isBusy = false;
        this.flush();
      },
      (error: unknown) => {
        this.#fail(
          new ClustorError(
            'CLUSTOR_STORAGE_FAILED',
            `rotating the ledger failed: ${messageOf(error)}`,
            { cause: error },
          ),
        );
      },
    );
    return true;
  }

  #submit(steps: readonly IoStep[], complete: () => void): void {
    const { clock, fileSystem, listener } = this.#options;
    this.#isBusy = true;
    const startedMs = clock.monotonicMs();
    fileSystem.submit(steps, (failure) => {
      if (failure !== undefined) {
        this.#fail(chainFailure(steps, failure));
        return;
      }
      this.#times.add(clock.monotonicMs() - startedMs);
      this.#ledger.synced();
      this.#flushes++;
      this.#isBusy = false;
      complete();
      listener.flushEnded();
      this.flush();
    });
  }

  #fail(error: ClustorError): void {
    this.#isBusy = false;
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#journal.stopTrailers();
    for (const reject of this.#failureWaiters) reject(error);
    this.#options.listener.failed(error);
    this.#wakeIdle();
  }

  #wakeIdle(): void {
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const wake of waiters) wake();
  }

  async #close(): Promise<void> {
    this.#isClosing = true;
    if (this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#idleWaiters.push(resolve);
        this.flush();
      });
    }
    await this.#reports;
    await this.#scrubber.stop();
    await this.#reader.close();
    await this.#journal.close();
    await this.#ledger.close();
    await this.#lock.release();
  }
}
