/** One life of a real log store on a simulated disk, in virtual time of its own, and what it promised. */
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
import type { Configuration } from '../../src/base/membership.ts';
import { createPrng, type PrngState } from '../../src/base/prng.ts';
import {
  EntryFrameWriter,
  entryFrameOverheadBytes,
  frameIndex,
  framePayloadEnd,
  framePayloadStart,
  frameTerm,
  frameTotalBytes,
} from '../../src/codec/entry-frame.ts';
import { silentObserver } from '../../src/ports/observer.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import type { JournalEncryption } from '../../src/storage/key-ring.ts';
import { LogStore } from '../../src/storage/log-store.ts';
import type { FrameBatch, LogStoreLimits } from '../../src/storage/log-store-types.ts';
import type { PartitionLog } from '../../src/storage/partition-log.ts';
import { SnapshotFolder } from '../../src/storage/snapshot-folder.ts';
import { SimClock, SimHardwareClock } from '../../src/testing/sim-clock.ts';
import type { SimDisk } from '../../src/testing/sim-disk.ts';
import { SimEncryption } from '../../src/testing/sim-encryption.ts';
import { SimEntropy } from '../../src/testing/sim-entropy.ts';
import { SimFileSystem } from '../../src/testing/sim-file-system.ts';
import { LifeScope, SimScheduler } from '../../src/testing/sim-scheduler.ts';

const cluster = clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001');
const node = nodeId(1);
const noMetadata = new Uint8Array(0);
/** Longer than any step takes; an operation that does not end by then never does. */
const settleMsMax = 60_000;

/** Small files, so that a short story changes segments and ledger generations. */
export const storyLimits: Partial<LogStoreLimits> = {
  segmentBytes: 8 * 1024 * 1024,
  ledgerBytes: 256 * 1024,
  logBytesMax: 256 * 1024 * 1024,
};

/** The partitions of the story. */
export const storyPartitions: readonly PartitionId[] = [
  partitionId('018c0d6c-9c11-7e9d-8000-000000000001'),
  partitionId('018c0d6c-9c11-7e9d-8000-000000000002'),
];

/** What an entry is known by. */
export interface StoryEntry {
  readonly term: number;
  readonly text: string;
}

/** What a store has promised of one partition, and what else may be found there; plain data. */
export interface Promised {
  /** Everything handed over, in order; position 0 is index 1. */
  entries: StoryEntry[];
  /** Reported durable up to here, and not truncated since. */
  durableIndex: number;
  commitIndex: number;
  /** Newest term handed over. */
  term: number;
  durableTerm: number;
  /** By index: everything that was ever handed over there. */
  candidates: Map<number, StoryEntry[]>;
  /** From here on a truncation is under way that may have taken effect or not. */
  truncatingFrom: number;
  /** Completions of older appends say nothing any more (KER-12). */
  sequenceMin: number;
  /** The log begins at most behind this entry, and surely behind the other one. */
  base: number;
  durableBase: number;
  /** Snapshots that were published, and whose removal has not begun, by index. */
  snapshots: number[];
  /** What holds instead while a snapshot is being put in the place of the log, and that may have taken effect or not. */
  before: Promised | undefined;
}

/** Nothing promised yet. */
export function nothingPromised(): Promised {
  return {
    entries: [],
    durableIndex: 0,
    commitIndex: 0,
    term: 0,
    durableTerm: 0,
    candidates: new Map(),
    truncatingFrom: Number.MAX_SAFE_INTEGER,
    sequenceMin: 0,
    base: 0,
    durableBase: 0,
    snapshots: [],
    before: undefined,
  };
}

/** A copy that later work does not change. */
export function copyOfPromised(promised: Promised): Promised {
  return {
    ...promised,
    entries: [...promised.entries],
    snapshots: [...promised.snapshots],
    before: promised.before === undefined ? undefined : copyOfPromised(promised.before),
    candidates: new Map([...promised.candidates].map(([index, known]) => [index, [...known]])),
  };
}

function drainMicrotasks(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** See the file comment. */
export class StoreLife {
  readonly disk: SimDisk;
  readonly promised: Map<PartitionId, Promised>;
  /** The snapshots of each partition. */
  readonly folders = new Map<PartitionId, SnapshotFolder>();
  readonly #scheduler = new SimScheduler();
  readonly #scope = new LifeScope(1);
  readonly #random: PrngState;
  readonly #afterEvent: () => void;
  readonly #isEncrypted: boolean;
  readonly #onDamage: () => void;
  #store: LogStore | undefined;
  #fileSystem: SimFileSystem | undefined;
  #sequence = 0;

  constructor(
    disk: SimDisk,
    options: {
      readonly seed: number;
      readonly promised: Map<PartitionId, Promised>;
      readonly isEncrypted: boolean;
      /** Called after every event. */
      readonly afterEvent?: () => void;
      /** Called for damage that is met while the store is open; without it there must be none. */
      readonly onDamage?: () => void;
    },
  ) {
    this.disk = disk;
    this.promised = options.promised;
    this.#random = createPrng(options.seed);
    this.#isEncrypted = options.isEncrypted;
    this.#afterEvent = options.afterEvent ?? (() => undefined);
    this.#onDamage =
      options.onDamage ??
      (() => {
        throw new Error('nothing is damaged in this story');
      });
  }

  /** The store. */
  get store(): LogStore {
    if (this.#store === undefined) throw new Error('the store is not open');
    return this.#store;
  }

  /** Opens it. */
  async open(): Promise<void> {
    // Appends of this life are numbered from the beginning; of those before none comes to an end any more.
    for (const promised of this.promised.values()) promised.sequenceMin = 0;
    const parts = { scheduler: this.#scheduler, scope: this.#scope };
    const random = this.#random;
    const entropy = new SimEntropy(random);
    const fileSystem = new SimFileSystem({
      ...parts,
      disk: this.disk,
      random,
      ioWriterMode: 'Direct',
    });
    this.#fileSystem = fileSystem;
    const hardware = new SimHardwareClock(this.#scheduler, 0);
    const clock = new SimClock({ ...parts, hardware, random });
    const encryption = this.#isEncrypted ? encryptionOf(entropy) : undefined;
    const owner = { directory: '/data', clusterId: cluster, nodeId: node };
    const store = await this.settle(
      LogStore.open({
        ...owner,
        fileSystem,
        clock,
        entropy,
        encryption,
        observer: silentObserver,
        limits: storyLimits,
        listener: {
          hardStateDurable: (log, hardState) => {
            const promised = this.of(log.partitionId);
            promised.durableTerm = Math.max(promised.durableTerm, hardState.term);
          },
          appendDurable: (log, completion) => {
            const promised = this.of(log.partitionId);
            if (completion.appendSequence < promised.sequenceMin) return;
            promised.durableIndex = Math.max(promised.durableIndex, completion.lastIndex);
            promised.truncatingFrom = Number.MAX_SAFE_INTEGER;
          },
          damaged: this.#onDamage,
          damageFound: this.#onDamage,
          flushEnded: () => undefined,
          failed: (error) => {
            throw error;
          },
        },
      }),
    );
    this.#store = store;
    const { keyDesk } = store;
    const cryptography = encryption?.cryptography ?? nodeCryptography;
    for (const partitionId of storyPartitions) {
      const { keys } = keyDesk;
      const common = { ...owner, fileSystem, clock, entropy, cryptography, keys, partitionId };
      const folder = new SnapshotFolder(common);
      await this.settle(folder.open());
      this.folders.set(partitionId, folder);
    }
    keyDesk.rewrapSnapshots = async () => {
      for (const folder of this.folders.values()) await folder.rewrap();
    };
  }

  /** Runs virtual time until a promise settles. */
  async settle<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const note = (): void => {
      isSettled = true;
    };
    promise.then(note, note);
    await this.pass(settleMsMax, () => isSettled);
    if (!isSettled) throw new Error('an operation did not end');
    return promise;
  }

  /** Lets time pass. */
  async pass(forMs: number, isDone: () => boolean = () => false): Promise<void> {
    await this.#scheduler.run({
      untilMs: this.#scheduler.nowMs + forMs,
      drainMicrotasks,
      isDone,
      afterEvent: this.#afterEvent,
    });
  }

  /** Creates the replicas. */
  async createReplicas(): Promise<void> {
    for (const id of storyPartitions) {
      await this.settle(
        this.store.createReplica({
          partitionId: id,
          replicaId: replicaId(1),
          incarnation: incarnation(id),
          configuration: configurationOf(id),
        }),
      );
      this.promised.set(id, nothingPromised());
    }
  }

  /** What was promised of a partition. */
  of(id: PartitionId): Promised {
    const promised = this.promised.get(id);
    if (promised === undefined) throw new Error(`no partition ${id}`);
    return promised;
  }

  /** The log of a partition. */
  log(id: PartitionId): PartitionLog {
    const log = this.store.partition(id);
    if (log === undefined) throw new Error(`no log of ${id}`);
    return log;
  }

  /** Raises the term. */
  vote(id: PartitionId): void {
    const promised = this.of(id);
    promised.term++;
    this.log(id).persistHardState({
      term: term(promised.term),
      votedFor: { replicaId: replicaId(1), incarnation: incarnation(id) },
    });
  }

  /** Hands entries over. */
  append(id: PartitionId, count: number, bytes: number): void {
    const promised = this.of(id);
    const added = Array.from({ length: count }, (_, at) => {
      const index = promised.entries.length + 1 + at;
      return { term: promised.term, text: `${promised.term}/${index} `.padEnd(bytes, '.') };
    });
    const firstIndex = promised.entries.length + 1;
    for (const [at, entry] of added.entries()) {
      const known = promised.candidates.get(firstIndex + at);
      if (known === undefined) promised.candidates.set(firstIndex + at, [entry]);
      else known.push(entry);
    }
    promised.entries.push(...added);
    this.log(id).append(framesOf(id, firstIndex, added), ++this.#sequence);
  }

  /** Replaces the newest uncommitted entries in a higher term. */
  replace(id: PartitionId, count: number): void {
    const promised = this.of(id);
    const from = Math.max(promised.commitIndex + 1, promised.entries.length + 1 - count);
    this.vote(id);
    this.log(id).truncateFrom(logIndex(from));
    promised.entries = promised.entries.slice(0, from - 1);
    promised.durableIndex = Math.min(promised.durableIndex, from - 1);
    promised.truncatingFrom = Math.min(promised.truncatingFrom, from);
    promised.sequenceMin = this.#sequence + 1;
    this.append(id, 2, 80);
  }

  /** Commits everything durable. */
  commit(id: PartitionId): void {
    const promised = this.of(id);
    promised.commitIndex = promised.durableIndex;
    this.log(id).commitIndex = logIndex(promised.commitIndex);
  }

  /** Takes in how far behind the ledger surely says that logs begin. */
  noteBases(): void {
    for (const [id, promised] of this.promised) {
      const { durableBaseIndex = 0 } = this.#store?.partition(id) ?? {};
      promised.durableBase = Math.max(promised.durableBase, durableBaseIndex);
    }
  }

  /** Hands over that a log begins behind a committed entry. */
  compact(id: PartitionId, index: number): void {
    const promised = this.of(id);
    const base = { index: logIndex(index), term: term(promised.entries[index - 1]?.term ?? 0) };
    promised.base = index;
    this.log(id).compact(base);
  }

  /** Puts a snapshot that is there in the place of a log, or of its beginning; resolves when that is durable. */
  async install(id: PartitionId, index: number, keepsTail: boolean): Promise<void> {
    const promised = this.of(id);
    const ownTerm = keepsTail ? (promised.entries[index - 1]?.term ?? 0) : promised.term;
    const place = { index: logIndex(index), term: term(ownTerm) };
    promised.before = { ...copyOfPromised(promised), before: undefined };
    promised.base = promised.durableBase = index;
    promised.commitIndex = Math.max(promised.commitIndex, index);
    if (!keepsTail) {
      const replaced = { term: ownTerm, text: 'in the snapshot' };
      promised.entries = Array.from({ length: index }, () => replaced);
      promised.durableIndex = index;
      promised.sequenceMin = this.#sequence + 1;
    }
    const configuration = { ...configurationOf(id), term: term(1), index: logIndex(1) };
    const installed = new Promise<void>((resolve) => {
      this.log(id).install({ ...place, configuration, keepsTail }, resolve);
    });
    this.store.flush();
    await this.settle(installed);
    promised.before = undefined;
  }

  /** Reads one entry. @throws ClustorError as the store does. */
  async readOne(id: PartitionId, index: number): Promise<StoryEntry> {
    const wanted = logIndex(index);
    const { bytes, firstIndex } = await this.settle(this.log(id).read(wanted, wanted, 64 * 1024));
    if (firstIndex !== index || frameIndex(bytes, 0) !== index)
      throw new Error(`entry ${frameIndex(bytes, 0)} was read as ${index}`);
    const text = bytes.subarray(framePayloadStart(bytes, 0), framePayloadEnd(bytes, 0));
    return { term: frameTerm(bytes, 0), text: new TextDecoder().decode(text) };
  }

  /** Ends the life as a killed process does. */
  kill(): void {
    this.#scope.isAlive = false;
    this.#fileSystem?.abandon('processKill');
  }

  /** Reads a log back through random access, from where it begins. */
  async readAll(id: PartitionId, baseIndex: number, lastIndex: number): Promise<StoryEntry[]> {
    const entries: StoryEntry[] = [];
    for (let next = baseIndex + 1; next <= lastIndex;) {
      const { bytes } = await this.settle(
        this.log(id).read(logIndex(next), lastIndex as LogIndex, 64 * 1024),
      );
      for (let at = 0; at < bytes.length; at += frameTotalBytes(bytes, at), next++) {
        if (frameIndex(bytes, at) !== next)
          throw new Error(`entry ${frameIndex(bytes, at)} was read as ${next}`);
        const text = bytes.subarray(framePayloadStart(bytes, at), framePayloadEnd(bytes, at));
        entries.push({ term: frameTerm(bytes, at), text: new TextDecoder().decode(text) });
      }
    }
    return entries;
  }
}

/** Members of a partition of the story, from its beginning on. */
export function configurationOf(id: PartitionId): Configuration {
  const member = {
    replicaId: replicaId(1),
    nodeId: node,
    incarnation: incarnation(id),
    role: 'voter' as const,
    addresses: ['127.0.0.1:1'],
  };
  return { term: term(0), index: logIndex(0), members: [member], outgoingMembers: [] };
}

/** Each state is a world of its own: nonces of one say nothing in another, and within one the store's tests watch them. */
function encryptionOf(entropy: SimEntropy): JournalEncryption {
  return new SimEncryption((message) => {
    throw new Error(message);
  }).of(node, entropy);
}

function framesOf(id: PartitionId, firstIndex: number, entries: readonly StoryEntry[]): FrameBatch {
  const writer = new EntryFrameWriter(id);
  const payloads = entries.map((entry) => new TextEncoder().encode(entry.text));
  const bytes = new Uint8Array(
    payloads.reduce((sum, payload) => sum + payload.length + entryFrameOverheadBytes, 0),
  );
  const view = new DataView(bytes.buffer);
  let offset = 0;
  let lastTerm = 0;
  for (const [at, payload] of payloads.entries()) {
    lastTerm = entries[at]?.term ?? 0;
    offset = writer.write(bytes, view, offset, {
      term: term(lastTerm),
      index: logIndex(firstIndex + at),
      isSystem: false,
      metadata: noMetadata,
      payload,
    });
  }
  return {
    firstIndex: logIndex(firstIndex),
    lastIndex: logIndex(firstIndex + entries.length - 1),
    lastTerm: term(lastTerm),
    bytes,
  };
}
