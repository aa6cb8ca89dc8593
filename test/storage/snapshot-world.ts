/** The snapshots of partitions on one simulated disk, in lives that crash anywhere. */
import { present } from '../../src/base/assert.ts';
import {
  clusterId,
  incarnation,
  logIndex,
  nodeId,
  partitionId,
  replicaId,
  term,
  type PartitionId,
} from '../../src/base/ids.ts';
import type { Configuration } from '../../src/base/membership.ts';
import { createPrng, nextUint32 } from '../../src/base/prng.ts';
import { JournalKeys } from '../../src/storage/journal-keys.ts';
import {
  SnapshotFolder,
  type SnapshotManifest,
  type SnapshotToWrite,
} from '../../src/storage/snapshot-folder.ts';
import { SimClock, SimHardwareClock } from '../../src/testing/sim-clock.ts';
import { SimDisk, type KillPoint } from '../../src/testing/sim-disk.ts';
import { SimEncryption } from '../../src/testing/sim-encryption.ts';
import { SimEntropy } from '../../src/testing/sim-entropy.ts';
import { SimFileSystem, type CrashKind } from '../../src/testing/sim-file-system.ts';
import { LifeScope, SimScheduler } from '../../src/testing/sim-scheduler.ts';

export const directory = '/data';
export const cluster = clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001');
export const node = nodeId(3);
export const somePartition = partitionId('018c0d6c-9c11-7e9d-8000-00000000000a');
export const configuration: Configuration = {
  term: term(1),
  index: logIndex(0),
  members: [
    {
      replicaId: replicaId(1),
      nodeId: node,
      incarnation: incarnation('018c0d6c-9c11-7e9d-8000-0000000000aa'),
      role: 'voter',
      addresses: ['127.0.0.1:1', 'höst:2'],
    },
  ],
  outgoingMembers: [],
};

/** The stream of a snapshot: so many bytes that all differ from those of another seed. */
export function streamOf(seed: number, length: number): Uint8Array {
  const random = createPrng(seed);
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = nextUint32(random) >>> 24;
  return bytes;
}

/** What an attempt is begun with. */
export function placeOf(index: number): SnapshotToWrite {
  return { index: logIndex(index), term: term(2), knownTerm: term(2), configuration };
}

/** One snapshot to write. */
export interface Wanted {
  readonly index: number;
  readonly length: number;
  readonly stateBytes?: number;
  readonly partBytes?: number;
  readonly partition?: PartitionId;
}

/** One disk and the lives that use it. */
export class SnapshotWorld {
  readonly scheduler = new SimScheduler();
  readonly random: ReturnType<typeof createPrng>;
  readonly clock = new SimHardwareClock(this.scheduler, 1_000);
  readonly reusedNonces: string[] = [];
  readonly encryption = new SimEncryption((message) => this.reusedNonces.push(message));
  disk = new SimDisk();
  isEncrypted: boolean;
  /** Of the first segment that a new ring encrypts; above 1 there are plain files. */
  firstSegmentSeq = 1;
  #scope = new LifeScope(0);
  #lives = 0;
  #isKilled = false;
  #fileSystem: SimFileSystem | undefined;
  #keys: JournalKeys | undefined;

  constructor(seed: number, isEncrypted = false) {
    this.random = createPrng(seed);
    this.isEncrypted = isEncrypted;
  }

  get isKilled(): boolean {
    return this.#isKilled;
  }

  get fileSystem(): SimFileSystem {
    return present(this.#fileSystem, 'a life began');
  }

  get keys(): JournalKeys {
    return present(this.#keys, 'a life began');
  }

  /** Begins a life. */
  async begin(): Promise<void> {
    this.#lives++;
    this.#isKilled = false;
    this.#scope = new LifeScope(this.#lives);
    const { scheduler, disk, random } = this;
    const scope = this.#scope;
    this.#fileSystem = new SimFileSystem({
      scheduler,
      scope,
      disk,
      random,
      ioWriterMode: 'Direct',
    });
    const folder = `${directory}/wal`;
    const entropy = new SimEntropy(random);
    const encryption = this.isEncrypted ? this.encryption.of(node, entropy) : undefined;
    const place = {
      fileSystem: this.fileSystem,
      folder,
      clusterId: cluster,
      nodeId: node,
      encryption,
    };
    await this.settle(this.fileSystem.makeDirectory(folder));
    const keys = present(await this.settle(JournalKeys.open(place)), 'the keys are there');
    const first = { segmentSeq: this.firstSegmentSeq, ledgerGeneration: 1, entropy, wallMs: 0 };
    await this.settle(keys.begin(first));
    this.#keys = keys;
  }

  /** The snapshots of a partition, opened. */
  async folder(partition = somePartition): Promise<SnapshotFolder> {
    const { scheduler, clock: hardware, random, fileSystem, keys } = this;
    const folder = new SnapshotFolder({
      fileSystem,
      directory,
      partitionId: partition,
      clusterId: cluster,
      nodeId: node,
      keys,
      cryptography: this.encryption.watch,
      entropy: new SimEntropy(random),
      clock: new SimClock({ scheduler, scope: this.#scope, hardware, random }),
    });
    await this.settle(folder.open());
    return folder;
  }

  /** Writes a snapshot in chunks of no particular size. */
  async write(folder: SnapshotFolder, wanted: Wanted): Promise<SnapshotManifest | undefined> {
    const { index, length, stateBytes = Math.min(10, length), partBytes = 5_000 } = wanted;
    const place = { ...placeOf(index), partBytes };
    const writer = await this.settle(folder.begin(place));
    if (writer === undefined) return undefined;
    const stream = streamOf(index, length);
    for (let at = 0; at < length; at += 3_001) {
      await this.settle(writer.write(stream.subarray(at, at + 3_001)));
      if (this.#isKilled) return undefined;
    }
    return this.settle(writer.finish({ stateBytes }));
  }

  /** Everything a snapshot holds. */
  async read(folder: SnapshotFolder, manifest: SnapshotManifest): Promise<Uint8Array> {
    const chunks = [present(await this.settle(folder.stateBytes(manifest)), 'the state is there')];
    const iterator = folder.machineBytes(manifest)[Symbol.asyncIterator]();
    for (;;) {
      const next = present(await this.settle(iterator.next()), 'it goes on');
      if (next.done === true) break;
      chunks.push(next.value);
    }
    return new Uint8Array(Buffer.concat(chunks));
  }

  /** New keys for everything from now on. */
  async rotateKeys(): Promise<void> {
    const ring = present(this.keys.ring, 'there is a ring');
    await this.settle(ring.addEpoch(new SimEntropy(this.random), 1));
  }

  /** Stops the life when a point of the disk's work is reached. */
  killAt(point: KillPoint): void {
    this.disk.killAt(point, () => {
      this.#isKilled = true;
      this.#scope.isAlive = false;
    });
  }

  /** Ends the life. */
  crash(kind: CrashKind): void {
    this.#scope.isAlive = false;
    this.#fileSystem?.abandon(kind);
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
    await this.scheduler.run({
      untilMs: this.scheduler.nowMs + 60_000,
      drainMicrotasks: () => new Promise((resolve) => setImmediate(resolve)),
      isDone: () => this.#isKilled || outcome !== undefined,
    });
    if (outcome === undefined) return undefined;
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  }
}
