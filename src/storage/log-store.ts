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
import type { ClustorError } from '../base/errors.ts';
import type { LogIndex, PartitionId, Term } from '../base/ids.ts';
import type { LedgerRecord } from '../codec/ledger-records.ts';
import type { DirectoryLock, IoWriterMode } from '../ports/file-system.ts';
import { dataRecordBytesMax } from './append-parts.ts';
import { AppendQueue } from './append-queue.ts';
import { writeBootRecords } from './boot-records.ts';
import { ChainRunner } from './chain-runner.ts';
import { DataFlush } from './data-flush.ts';
import type { DiskGuard, DiskStatus } from './disk-guard.ts';
import { type DurabilityLedger, recordBytesMax } from './durability-ledger.ts';
import { isDiskFull, type PatientDisk } from './full-disk.ts';
import type { Journal } from './journal.ts';
import { JournalKeyDesk } from './key-desk.ts';
import { clientRefusal, isLogShort, takesEntries, type LogRoom } from './log-admission.ts';
import { segmentClosedRecord, type LedgerImage } from './ledger-image.ts';
import { readEntries, type WantedEntries } from './log-reads.ts';
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
import {
  PartitionLog,
  type DurabilityModeChange,
  type PartitionLogOwner,
  type PendingAppend,
} from './partition-log.ts';
import { LogCompaction } from './log-compaction.ts';
import { openParts, type StoreParts } from './open-parts.ts';
import { storeStatistics } from './store-statistics.ts';
import { recordBatch, type PendingRecord } from './record-batch.ts';
import { Pauses } from './pauses.ts';
import { recoveredPartitionLogs } from './recovered-log.ts';
import { ReplicaBirths } from './replica-births.ts';
import type { ReplicaToCreate } from './replica-files.ts';
import { ReplicaRegistry } from './replica-registry.ts';
import { scrubberOf } from './scrub-segments.ts';
import type { NodeScrub, ScrubSources } from './scrubber.ts';
import type { SegmentReader } from './segment-reader.ts';
import type { SegmentReserve } from './segment-reserve.ts';

/** See the file comment. */
export class LogStore implements PartitionLogOwner {
  /** The replicas that were found, in registry order. */
  readonly recovered: readonly RecoveredPartition[];
  readonly bootReport: BootReport;
  /** Keys of this directory: what they seal, and how they are changed. */
  readonly keyDesk: JournalKeyDesk;
  /** Reads everything back in the background. */
  readonly scrub: NodeScrub & ScrubSources;
  readonly #options: LogStoreOptions;
  readonly #limits: LogStoreLimits;
  readonly #lock: DirectoryLock;
  readonly #journal: Journal;
  readonly #ledger: DurabilityLedger;
  readonly #image: LedgerImage;
  readonly #reader: SegmentReader;
  readonly #logs = new Map<PartitionId, PartitionLog>();
  readonly #registry: ReplicaRegistry;
  readonly #births: ReplicaBirths;
  readonly #guard: DiskGuard;
  readonly #disk: PatientDisk;
  readonly #reserve: SegmentReserve;
  readonly #pauses: Pauses;
  #records: PendingRecord[] = [];
  readonly #appends: AppendQueue;
  readonly #dataFlush = new DataFlush();
  readonly #chains: ChainRunner;
  readonly #compaction: LogCompaction;
  #isClosing = false;
  /** The ledger says where the last segment ends: nothing is sealed any more. */
  #isSegmentClosed = false;
  /** Who waits until everything new is sealed under the newest keys. */
  #keyWaiters: (() => void)[] = [];
  #closed: Promise<void> | undefined;
  #reports: Promise<void> = Promise.resolve();

  private constructor(options: LogStoreOptions, parts: StoreParts) {
    this.#options = options;
    this.#limits = parts.limits;
    this.#lock = parts.lock;
    this.#journal = parts.journal;
    this.#ledger = parts.ledger;
    this.#image = parts.recovery.image;
    this.#reader = parts.reader;
    this.#appends = new AppendQueue(options.clock, (log) =>
      options.listener.groupFsyncOverrun?.(log),
    );
    this.#guard = parts.guard;
    this.#disk = parts.disk;
    this.#reserve = parts.reserve;
    this.#chains = new ChainRunner({
      ...parts,
      ...options,
      flushEnded: options.listener.flushEnded.bind(options.listener),
      next: this.flush.bind(this),
      idle: parts.journal.prepareSeal,
      failed: this.#failed.bind(this),
    });
    this.#guard.logBytes = () => this.#journal.bytes;
    this.#guard.roomAgain = this.#makeReady.bind(this);
    this.#pauses = new Pauses(options.clock);
    this.#registry = new ReplicaRegistry(options, parts.recovery.registry);
    this.#births = new ReplicaBirths({
      registry: this.#registry,
      durabilityModeEpoch: (partitionId) => this.#image.row(partitionId).durabilityModeEpoch,
      record: (record, done) => {
        this.#pushRecord(record, done === undefined ? {} : { done });
      },
      settled: (start) => this.#chains.settled(start),
      adopt: (start) => this.#logs.set(start.partitionId, new PartitionLog(this, start)),
    });
    this.recovered = parts.recovery.partitions;
    this.bootReport = parts.bootReport;
    this.keyDesk = new JournalKeyDesk(options, {
      keys: parts.keys,
      image: this.#image,
      hasRoomFor: (bytes) => this.#guard.hasRoomFor(bytes),
      missingSegmentBytes: () => this.#journal.missingSegmentBytes,
      record: this.#recorded,
      enterNewKeys: () => this.#chains.settled((done) => this.#keyWaiters.push(done)),
      trailers: this.#journal.trailers,
      segmentInUse: () => this.#journal.writer.segment.segmentSeq,
      replacing: this.#reader.replacing.bind(this.#reader),
      leaveFile: (seq) => this.#reader.leave(seq).then(() => this.#compaction.review()),
    });
    for (const log of recoveredPartitionLogs(this, parts.recovery))
      this.#logs.set(log.partitionId, log);
    const logs = this.#logs;
    this.#compaction = new LogCompaction({
      ...parts,
      ...options,
      image: this.#image,
      logs,
      record: this.#recorded,
      flush: this.flush.bind(this),
    });
    const scrubbed = { ...parts, image: this.#image, logs, chains: this.#chains };
    this.scrub = this.#journal.scrubber = scrubberOf(options, scrubbed);
    this.#journal.trailers.begin((record) => {
      if (this.#isClosing) return;
      this.#pushRecord(record);
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
      store.#makeReady();
      store.keyDesk.begin();
      store.#compaction.review();
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
    this.#guard.assertRoom('a further replica');
    return this.#births.create(replicas, { term: 0 as Term, votedFor: undefined });
  }

  /**
   * Puts a new life in the place of one that nobody counts any more, and is ended by `retire` once there is room: that one is
   * in doubt for good, its entries are dead, its term is kept. Until the registry names the new life, it comes back, in doubt.
   */
  async replaceReplica(replica: ReplicaToCreate, retire: () => void): Promise<RecoveredPartition> {
    await this.#guard.assertRoomNow('a further replica');
    retire();
    const old = present(this.#logs.get(replica.partitionId), 'only a hosted replica is replaced');
    old.isRetired = true;
    this.#compaction.dropCopies(old);
    return this.#births.replace(old, replica, () => {
      this.#appends.drop(old);
      return this.#journal.end;
    });
  }

  /** Starts a chain unless one is under way or nothing waits. */
  flush(): void {
    if (!this.#chains.isReady || this.#chains.renewsLedger()) return;
    const isKeyChange = this.#keyWaiters.length > 0 && !this.#isClosing;
    if (isKeyChange && !this.#journal.isNextReady) this.#prepareSegment(true);
    // Records first: the index of the segment that is left must not be ahead of the ledger (a truncation may wait).
    if (this.#records.length > 0) this.#flushRecords();
    else if (isKeyChange && this.#journal.isNextReady) this.#enterNewKeys();
    else if (this.#appends.waiting.length > 0 && !this.#isSegmentClosed) {
      const { isWriterDegraded } = this.#chains;
      const state = { isWriterDegraded, isClosing: this.#isClosing };
      if (!this.#appends.isHeld(state, this.flush.bind(this))) this.#flushData();
    } else if (this.#isClosing) this.#closeSegment();
  }

  /** Slow syncs that stand; they forbid Group-Fsync (specification §5.2). */
  get deviceViolations(): number {
    return this.#chains.deviceViolations;
  }

  /** Age of the chain that is under way; 0 when none is. */
  get unfinishedMs(): number {
    return this.#chains.unfinishedMs;
  }

  /** The newest flush of the ledger that is synced. */
  get ledgerSequence(): number {
    return this.#ledger.syncedFlushSeq;
  }

  /** Counters for status and metrics. */
  statistics(): LogStoreStatistics {
    return storeStatistics({
      journal: this.#journal,
      ledger: this.#ledger,
      image: this.#image,
      keys: this.keyDesk.keys,
      chains: this.#chains,
      dataFlush: this.#dataFlush,
      fileSystem: this.#options.fileSystem,
      retiredSegments: this.#compaction.retiredSegments,
    });
  }

  /** How full the disk is; somebody looks, so the disk is asked again soon. */
  diskStatus(): DiskStatus {
    this.#guard.touch();
    return this.#guard.status(this.#reserve.count);
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
    const { partitionId } = log;
    const { durabilityModeEpoch } = this.#image.row(partitionId);
    const record = { kind: 'hardState', partitionId, ...hardState, durabilityModeEpoch } as const;
    this.#pushRecord(record, { log, hardState });
  }

  enqueueDoubt(log: PartitionLog, reason: string, done: () => void): void {
    const { partitionId, incarnation } = log;
    this.#pushRecord({ kind: 'doubt', partitionId, incarnation, reason }, { done });
  }

  enqueueDurabilityMode(log: PartitionLog, change: DurabilityModeChange): void {
    // What is replayed after a start stands in the ledger already.
    if (change.epoch <= this.#image.row(log.partitionId).durabilityModeEpoch) return;
    this.#pushRecord({ kind: 'durabilityTransition', partitionId: log.partitionId, ...change });
  }

  enqueueRecord(record: LedgerRecord, done: () => void): void {
    this.#pushRecord(record, { done });
  }

  truncate(log: PartitionLog, fromIndex: LogIndex): void {
    this.#appends.cut(log, fromIndex);
    if (log.index.lastIndex < fromIndex) return;
    log.index.truncateFrom(fromIndex);
    const { segmentSeq, endOffset: offset } = this.#journal.end;
    const { partitionId } = log;
    this.#pushRecord({ kind: 'truncated', partitionId, fromIndex, segmentSeq, offset });
  }

  truncateAll(log: PartitionLog): void {
    this.#compaction.dropCopies(log);
    this.#appends.drop(log);
    const fromIndex = (log.baseIndex + 1) as LogIndex;
    log.index.truncateFrom(fromIndex);
    const { segmentSeq, endOffset: offset } = this.#journal.end;
    const { partitionId } = log;
    this.#pushRecord({ kind: 'truncated', partitionId, fromIndex, segmentSeq, offset });
  }

  baseMoved(): void {
    this.#compaction.review();
  }

  refusal(log: PartitionLog, bytes: number): string | undefined {
    return clientRefusal(this.#room(log), bytes);
  }

  isShort(log: PartitionLog): boolean {
    return isLogShort(this.#room(log));
  }

  takes(log: PartitionLog, entries: Uint8Array): boolean {
    return takesEntries(this.#room(log), entries);
  }

  read(log: PartitionLog, wanted: WantedEntries): Promise<FrameBatch> {
    const { listener } = this.#options;
    const parts = {
      journal: this.#journal,
      reader: this.#reader,
      pause: (ms: number) => this.#pauses.wait(ms),
      damaged: listener.damaged.bind(listener),
    };
    return readEntries(parts, log, wanted);
  }

  ackFields(): { readonly segmentSeq: number; readonly ioWriterMode: IoWriterMode } {
    return {
      segmentSeq: this.#journal.writer.segment.segmentSeq,
      ioWriterMode: this.#options.fileSystem.ioWriterMode,
    };
  }

  /** Resolves when the record is durable. */
  readonly #recorded = (record: LedgerRecord): Promise<void> =>
    this.#chains.settled((done) => {
      this.#pushRecord(record, { done });
    });

  #pushRecord(record: LedgerRecord, extra: Omit<PendingRecord, 'record'> = {}): void {
    // Whoever works on a segment in the background may be done with it when it is gone.
    if (this.#compaction.makesVain(record)) extra.done?.();
    else this.#records.push({ record, ...extra });
  }

  #flushRecords(): void {
    const pending = this.#records;
    const { records, newest } = recordBatch(pending);
    if (this.#mustRotate(recordBytesMax(records))) return;
    this.#records = [];
    this.#chains.submit(this.#ledger.flush(records, this.#image.coverage), () => {
      for (const row of pending) row.done?.();
      for (const [log, hardState] of newest)
        this.#options.listener.hardStateDurable(log, hardState);
    });
  }

  #flushData(): void {
    const { writer } = this.#journal;
    const [first] = this.#appends.waiting;
    if (!writer.fits(present(first, 'a data flush has an append').batch.bytes.length)) {
      this.#switchSegment();
      return;
    }
    if (this.#mustRotate(dataRecordBytesMax(this.#appends.waiting, this.#logs.size))) return;
    writer.begin();
    const sealed = this.#appends.seal(writer, this.#dataFlush, this.#limits.flushBytesMax);
    const { position, bytes } = writer.end();
    const { file, segmentSeq } = writer.segment;
    const { endOffset } = writer;
    const records = this.#dataFlush.records(sealed, { endOffset, bytes: bytes.length });
    const ledgerSteps = this.#ledger.flush(records, { segmentSeq, endOffset });
    this.#chains.submit(
      [{ kind: 'write', file, position, bytes }, { kind: 'sync', file }, ...ledgerSteps],
      () => {
        this.#journal.synced(endOffset, bytes.length);
        this.#dataFlush.complete(this.#options.listener, this.#ledger.syncedFlushSeq);
      },
    );
    if (writer.usedShare > 0.25) this.#prepareSegment();
  }

  #switchSegment(): void {
    if (!this.#journal.isNextReady) {
      // A closing store does not wait for a disk that has no room: what was not sealed was never acknowledged.
      if (this.#isClosing) this.#chains.end();
      else this.#prepareSegment(true);
    } else if (!this.#mustRotate(1024)) this.#enterNextSegment(() => undefined);
  }

  #enterNextSegment(entered: () => void): void {
    const { steps, records } = this.#journal.switchSegment(this.#logs.values());
    this.#chains.submit([...steps, ...this.#ledger.flush(records, this.#image.coverage)], () => {
      this.#journal.switched();
      this.#compaction.review();
      entered();
    });
  }

  /** A new segment, then a new ledger generation: the keys of before are needed for reading only. */
  #enterNewKeys(): void {
    if (this.#mustRotate(1024)) return;
    const waiters = this.#keyWaiters;
    this.#keyWaiters = [];
    this.#enterNextSegment(() => {
      this.#chains.rotateLedger(() => {
        for (const done of waiters) done();
      });
    });
  }

  /** The last flush of a store that closes: the next start need not guess how many blocks were sealed. */
  #closeSegment(): void {
    if (this.#isSegmentClosed) {
      this.#chains.end();
      return;
    }
    if (this.#mustRotate(1024)) return;
    this.#isSegmentClosed = true;
    const { segment, endOffset } = this.#journal.writer;
    const closed = segmentClosedRecord(segment.segmentSeq, endOffset);
    this.#chains.submit(this.#ledger.flush([closed], this.#image.coverage), () => undefined);
  }

  #prepareSegment(isAwaited = false): void {
    this.#journal.prepareAhead(this.flush.bind(this), isAwaited);
  }

  /** Begins a new ledger generation when this one cannot take the records; the flush is tried again afterwards. */
  #mustRotate(recordBytes: number): boolean {
    if (!this.#ledger.needsRotation(recordBytes)) {
      this.#ledger.prepareAhead();
      return false;
    }
    this.#chains.rotateLedger(() => undefined, recordBytes);
    return true;
  }

  #failed(error: ClustorError): void {
    void this.#journal.trailers.stop();
    // Who closes gives up what waits for room: nothing was told of it, and nobody has failed.
    if (!this.#isClosing || !isDiskFull(error)) this.#options.listener.failed(error);
  }

  #room(log: PartitionLog): LogRoom {
    return { log, limits: this.#limits, journal: this.#journal, guard: this.#guard };
  }

  /** Makes ready what there is room for: the reserve, and the next generation of the ledger. */
  #makeReady(): void {
    this.#reserve.fill();
    this.#ledger.roomAgain();
  }

  async #close(): Promise<void> {
    this.#isClosing = true;
    this.#compaction.beginClose();
    this.#pauses.close();
    this.#chains.beginClose();
    this.#disk.close();
    await this.keyDesk.close();
    await this.#reserve.close();
    await this.#chains.lastChain();
    await this.keyDesk.changed();
    await this.#registry.changed();
    await this.#journal.trailers.stop();
    await this.#compaction.close();
    await this.#reports;
    await this.#guard.close();
    await this.#reader.close();
    await this.#journal.close();
    await this.#ledger.close();
    this.keyDesk.keys.close();
    await this.#lock.release();
  }
}
