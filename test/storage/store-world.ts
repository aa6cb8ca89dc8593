/** A log store on a simulated disk, driven by random work, crashed anywhere, recovered, and compared with what it had promised. */
import { expect } from 'vitest';
import { createPrng, nextBelow, nextUint32, type PrngState } from '../../src/base/prng.ts';
import {
  clusterId,
  incarnation,
  logIndex,
  nodeId,
  partitionId,
  replicaId,
  term,
  type LogIndex,
  type PartitionId,
} from '../../src/base/ids.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { silentObserver } from '../../src/ports/observer.ts';
import { LogStore } from '../../src/storage/log-store.ts';
import type {
  HardState,
  LogStoreLimits,
  LogStoreListener,
  DamagedRange,
  SegmentDamage,
} from '../../src/storage/log-store-types.ts';
import { SimClock, SimHardwareClock } from '../../src/testing/sim-clock.ts';
import { SimDisk, type KillPoint } from '../../src/testing/sim-disk.ts';
import type { IoWriterMode } from '../../src/ports/file-system.ts';
import type { KeyProvider } from '../../src/ports/key-provider.ts';
import type { DirectoryPlace } from '../../src/storage/journal-walk.ts';
import type { JournalEncryption } from '../../src/storage/key-ring.ts';
import { SimEncryption } from '../../src/testing/sim-encryption.ts';
import { SimEntropy } from '../../src/testing/sim-entropy.ts';
import { SimFileSystem, type CrashKind } from '../../src/testing/sim-file-system.ts';
import { LifeScope, SimScheduler } from '../../src/testing/sim-scheduler.ts';
import { entriesOf, frames, type ModelEntry } from './model-frames.ts';

const cluster = clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001');
const node = nodeId(1);
const directory = '/data';
const noMetadata = new Uint8Array(0);

/** What the store promised for one partition, and what may be there besides. */
export class PartitionModel {
  readonly id: PartitionId;
  /** Everything handed over, in order; position 0 is index 1. */
  entries: ModelEntry[] = [];
  /** Completions up to here were reported for entries that were not truncated since. */
  durableIndex = 0;
  commitIndex = 0;
  hardState = 0;
  durableHardState = 0;
  /** Sequence from which completions count (KER-12). */
  truncationSequence = 0;
  /** For each index, everything that was ever handed over there since the last time it was durable. */
  readonly candidates = new Map<number, ModelEntry[]>();
  /** Lowest index from which a truncation may or may not have taken effect. */
  lowestTruncation = Number.MAX_SAFE_INTEGER;

  constructor(id: PartitionId) {
    this.id = id;
  }
}

/** One disk and the lives of the stores that used it. */
export class StoreWorld {
  disk = new SimDisk();
  readonly scheduler = new SimScheduler();
  readonly random: PrngState;
  readonly partitions: PartitionModel[];
  readonly limits: Partial<LogStoreLimits>;
  /** Watches every nonce of all lives. */
  readonly encryption = new SimEncryption((message) => this.reusedNonces.push(message));
  readonly reusedNonces: string[] = [];
  isEncrypted: boolean;
  readonly ioWriterMode: IoWriterMode;
  /** In place of the usual provider. */
  keyProvider: KeyProvider | undefined;
  /** Age at which keys change by themselves. */
  rotateAfterMs: number | 'never' | undefined;
  /** The clock of the machine in all lives. */
  readonly clock = new SimHardwareClock(this.scheduler, 0);
  store: LogStore | undefined;
  observer = silentObserver;
  failures = 0;
  /** Bounds of Group-Fsync that were overrun. */
  overruns = 0;
  /** What the background scrub found. */
  readonly damages: SegmentDamage[] = [];
  /** Entries of which somebody was told that they cannot be read. */
  readonly lost: DamagedRange[] = [];
  #scope = new LifeScope(0);
  #fileSystem: SimFileSystem | undefined;
  #sequence = 0;
  #lives = 0;
  #isKilled = false;

  constructor(options: {
    readonly seed: number;
    readonly partitions: number;
    readonly limits?: Partial<LogStoreLimits>;
    readonly isEncrypted?: boolean;
    readonly ioWriterMode?: IoWriterMode;
  }) {
    this.isEncrypted = options.isEncrypted ?? false;
    this.ioWriterMode = options.ioWriterMode ?? 'Direct';
    this.random = createPrng(options.seed);
    this.limits = options.limits ?? {};
    this.partitions = Array.from(
      { length: options.partitions },
      (_, at) =>
        new PartitionModel(
          partitionId(`018c0d6c-9c11-7e9d-8000-${(at + 1).toString(16).padStart(12, '0')}`),
        ),
    );
  }

  /** Whether a kill point was reached. */
  get isKilled(): boolean {
    return this.#isKilled;
  }

  /** Runs virtual time until a promise settles or the life ends. */
  async settle<T>(promise: Promise<T>): Promise<T | undefined> {
    let outcome: { readonly value: T } | { readonly error: unknown } | undefined;
    promise.then(
      (value) => {
        outcome = { value };
      },
      (error: unknown) => {
        outcome = { error };
      },
    );
    await this.run(60_000, () => outcome !== undefined);
    if (outcome === undefined) return undefined;
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  }

  /** Lets virtual time pass. */
  async run(forMs: number, isDone: () => boolean = () => false): Promise<void> {
    await this.scheduler.run({
      untilMs: this.scheduler.nowMs + forMs,
      drainMicrotasks: () => new Promise((resolve) => setImmediate(resolve)),
      isDone: () => this.#isKilled || isDone(),
    });
  }

  /** Opens the store in a new life; creates the replicas at the first time. */
  async open(): Promise<void> {
    this.#lives++;
    this.#isKilled = false;
    this.#scope = new LifeScope(this.#lives);
    const parts = { scheduler: this.scheduler, scope: this.#scope };
    const fileSystem = new SimFileSystem({
      ...parts,
      disk: this.disk,
      random: this.random,
      ioWriterMode: this.ioWriterMode,
    });
    this.#fileSystem = fileSystem;
    const entropy = new SimEntropy(this.random);
    const store = await this.settle(
      LogStore.open({
        directory,
        clusterId: cluster,
        nodeId: node,
        fileSystem,
        clock: new SimClock({ ...parts, hardware: this.clock, random: this.random }),
        entropy,
        encryption: this.isEncrypted ? this.#encryptionOf(entropy) : undefined,
        observer: this.observer,
        limits: this.limits,
        leafHashes: nodeCryptography,
        listener: this.#listener(),
      }),
    );
    this.store = store;
  }

  #encryptionOf(entropy: SimEntropy): JournalEncryption {
    const usual = this.encryption.of(node, entropy);
    const { keyProvider = usual.keyProvider, rotateAfterMs } = this;
    return { ...usual, keyProvider, rotateAfterMs };
  }

  /** The data directory, for tools that look at it when its store has ended. */
  place(fileSystem: SimFileSystem = this.reader()): DirectoryPlace {
    const entropy = new SimEntropy(this.random);
    const encryption = this.isEncrypted ? this.#encryptionOf(entropy) : undefined;
    return { fileSystem, directory, encryption };
  }

  /** A disk to read by, for tools that look at a directory whose store has ended. */
  reader(): SimFileSystem {
    this.#lives++;
    this.#isKilled = false;
    const scope = new LifeScope(this.#lives);
    const { scheduler, disk, random, ioWriterMode } = this;
    return new SimFileSystem({ scheduler, scope, disk, random, ioWriterMode });
  }

  /** Creates the replicas of all partitions. */
  async createReplicas(): Promise<void> {
    for (const model of this.partitions) {
      const own = incarnation(model.id);
      const member = {
        replicaId: replicaId(1),
        nodeId: node,
        incarnation: own,
        role: 'voter' as const,
        addresses: ['127.0.0.1:1'],
      };
      const created = this.#store().createReplica({
        partitionId: model.id,
        replicaId: replicaId(1),
        incarnation: own,
        configuration: {
          term: term(0),
          index: logIndex(0),
          members: [member],
          outgoingMembers: [],
        },
      });
      await this.settle(created);
    }
  }

  /** Ends the life: at once, as a power failure or as a kill. */
  crash(kind: CrashKind): void {
    this.#scope.isAlive = false;
    this.#fileSystem?.abandon(kind);
    this.store = undefined;
  }

  /** Stops the life when a point of the disk's work is reached. */
  killAt(point: KillPoint): void {
    this.disk.killAt(point, () => {
      this.#isKilled = true;
      this.#scope.isAlive = false;
    });
  }

  /** Appends random entries to a partition. */
  append(model: PartitionModel, count: number, bytesMax: number): void {
    const log = this.#log(model);
    const entries = Array.from({ length: count }, (_, at) => ({
      index: model.entries.length + 1 + at,
      term: model.hardState,
      payload: `${nextUint32(this.random)}`.padEnd(nextBelow(this.random, bytesMax), '.'),
    }));
    for (const { index, term: entryTerm, payload } of entries) {
      const entry = { term: entryTerm, payload };
      model.entries.push(entry);
      const known = model.candidates.get(index);
      if (known === undefined) model.candidates.set(index, [entry]);
      else known.push(entry);
    }
    log.append(frames(model.id, entries), ++this.#sequence);
  }

  /** Raises the term. */
  vote(model: PartitionModel): void {
    model.hardState++;
    this.#log(model).persistHardState({
      term: term(model.hardState),
      votedFor: { replicaId: replicaId(1), incarnation: incarnation(model.id) },
    });
  }

  /** Replaces entries from an index that was not committed, in a higher term. */
  truncate(model: PartitionModel): void {
    const room = model.entries.length - model.commitIndex;
    if (room < 1) return;
    const fromIndex = model.commitIndex + 1 + nextBelow(this.random, room);
    this.vote(model);
    this.#log(model).truncateFrom(logIndex(fromIndex));
    model.entries = model.entries.slice(0, fromIndex - 1);
    model.durableIndex = Math.min(model.durableIndex, fromIndex - 1);
    model.lowestTruncation = Math.min(model.lowestTruncation, fromIndex);
    model.truncationSequence = this.#sequence + 1;
    this.append(model, 1 + nextBelow(this.random, 3), 200);
  }

  /** Commits part of what is durable. */
  commit(model: PartitionModel): void {
    const room = model.durableIndex - model.commitIndex;
    if (room < 1) return;
    model.commitIndex += 1 + nextBelow(this.random, room);
    this.#log(model).commitIndex = logIndex(model.commitIndex);
  }

  /** Compares what recovery found with what was promised, and takes it as the new truth. */
  async verify(): Promise<void> {
    for (const model of this.partitions) {
      const recovered = this.#store().recovered.find((row) => row.partitionId === model.id);
      expect(recovered, 'the partition is there').toBeDefined();
      if (recovered === undefined) return;
      expect(recovered.doubt, 'no doubt without damage').toBeUndefined();
      expect(recovered.hardState.term).toBeGreaterThanOrEqual(model.durableHardState);
      expect(recovered.hardState.term).toBeLessThanOrEqual(model.hardState);
      expect(recovered.lastIndex, 'everything reported durable is there').toBeGreaterThanOrEqual(
        model.durableIndex,
      );
      expect(recovered.recordedCommitIndex).toBeLessThanOrEqual(model.commitIndex);
      const entries = await this.readAll(model, recovered.lastIndex);
      this.#compare(model, entries);
      this.#accept(model, recovered.hardState.term, entries);
      const runs = recovered.termRuns;
      entries.forEach((entry, position) => {
        const run = [...runs].reverse().find((candidate) => candidate.firstIndex <= position + 1);
        expect(run?.term).toBe(entry.term);
      });
    }
  }

  /** Takes what was recovered as the truth, whatever was promised: the disk of long ago is back. */
  async accept(): Promise<void> {
    for (const model of this.partitions) {
      const recovered = this.#store().recovered.find((row) => row.partitionId === model.id);
      if (recovered === undefined) continue;
      const entries = await this.readAll(model, recovered.lastIndex);
      model.commitIndex = recovered.recordedCommitIndex;
      this.#accept(model, recovered.hardState.term, entries);
    }
  }

  #accept(
    model: PartitionModel,
    hardState: number,
    entries: readonly (ModelEntry & { readonly index: number })[],
  ): void {
    model.entries = entries.map(({ term: entryTerm, payload }) => ({ term: entryTerm, payload }));
    model.hardState = hardState;
    model.durableHardState = hardState;
    model.durableIndex = entries.length;
    model.lowestTruncation = Number.MAX_SAFE_INTEGER;
    model.candidates.clear();
    entries.forEach((entry, position) =>
      model.candidates.set(position + 1, [{ term: entry.term, payload: entry.payload }]),
    );
  }

  /** Reads a whole log back through random access. */
  async readAll(
    model: PartitionModel,
    lastIndex: number,
  ): Promise<(ModelEntry & { readonly index: number })[]> {
    const entries: (ModelEntry & { readonly index: number })[] = [];
    while (entries.length < lastIndex) {
      const batch = await this.settle(
        this.#log(model).read(
          logIndex(entries.length + 1),
          lastIndex as LogIndex,
          1 + nextBelow(this.random, 20_000),
        ),
      );
      expect(batch?.firstIndex).toBe(entries.length + 1);
      entries.push(...entriesOf(batch?.bytes ?? noMetadata));
      expect(batch?.lastIndex).toBe(entries.length);
    }
    return entries;
  }

  /** Entries reported durable are the model's; behind them only what was handed over, in an order that was possible. */
  #compare(
    model: PartitionModel,
    entries: readonly (ModelEntry & { readonly index: number })[],
  ): void {
    const sure = Math.min(model.durableIndex, model.lowestTruncation - 1);
    entries.forEach((entry, position) => {
      expect(entry.index).toBe(position + 1);
      if (entry.index <= Math.max(sure, Math.min(model.durableIndex, entries.length))) {
        const expected = model.entries[position];
        expect({ term: entry.term, payload: entry.payload }, `entry ${entry.index}`).toEqual(
          expected,
        );
        return;
      }
      const possible = model.candidates.get(entry.index) ?? [];
      expect(possible).toContainEqual({ term: entry.term, payload: entry.payload });
    });
  }

  #listener(): LogStoreListener {
    const scope = this.#scope;
    const guard = (run: () => void): void => {
      if (scope.isAlive) run();
    };
    return {
      hardStateDurable: (log, hardState: HardState) => {
        guard(() => {
          const model = this.#model(log.partitionId);
          model.durableHardState = Math.max(model.durableHardState, hardState.term);
        });
      },
      appendDurable: (log, completion) => {
        guard(() => {
          const model = this.#model(log.partitionId);
          if (completion.appendSequence < model.truncationSequence) return;
          model.durableIndex = Math.max(model.durableIndex, completion.lastIndex);
        });
      },
      damaged: ({ partitionId }, range) => {
        this.lost.push({ partitionId, ...range });
      },
      flushEnded: () => undefined,
      groupFsyncOverrun: () => {
        this.overruns++;
      },
      damageFound: (damage) => {
        this.damages.push(damage);
      },
      failed: () => {
        this.failures++;
      },
    };
  }

  #model(id: PartitionId): PartitionModel {
    const model = this.partitions.find((candidate) => candidate.id === id);
    if (model === undefined) throw new Error(`no partition ${id}`);
    return model;
  }

  #store(): LogStore {
    if (this.store === undefined) throw new Error('the store is not open');
    return this.store;
  }

  #log(model: PartitionModel): NonNullable<ReturnType<LogStore['partition']>> {
    const log = this.#store().partition(model.id);
    if (log === undefined) throw new Error(`no log of ${model.id}`);
    return log;
  }
}
