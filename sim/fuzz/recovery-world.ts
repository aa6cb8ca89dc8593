/**
 * A small data directory on a simulated disk, written by several lives of a store, with everything that was ever handed over
 * at each index; and what a start makes of a copy of it.
 */
import { createPrng, nextBelow, type PrngState } from '../../src/base/prng.ts';
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
import { JournalKeys } from '../../src/storage/journal-keys.ts';
import type { JournalEncryption } from '../../src/storage/key-ring.ts';
import { LogStore } from '../../src/storage/log-store.ts';
import type { FrameBatch } from '../../src/storage/log-store-types.ts';
import type { PartitionLog } from '../../src/storage/partition-log.ts';
import { SimClock, SimHardwareClock } from '../../src/testing/sim-clock.ts';
import { SimDisk } from '../../src/testing/sim-disk.ts';
import { SimEncryption } from '../../src/testing/sim-encryption.ts';
import { SimEntropy } from '../../src/testing/sim-entropy.ts';
import { SimFileSystem } from '../../src/testing/sim-file-system.ts';
import { LifeScope, SimScheduler } from '../../src/testing/sim-scheduler.ts';
import { BrokenRule, demand } from './target.ts';

/** Whose directory it is. */
export const recoveryOwner = {
  clusterId: clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001'),
  nodeId: nodeId(1),
};
const directory = '/data';
const limits = {
  segmentBytes: 8 * 1024 * 1024,
  logBytesMax: 256 * 1024 * 1024,
  ledgerBytes: 256 * 1024,
};
/** A start that takes longer, in virtual time, never ends. */
const openMsMax = 60_000;
const lives = 3;
const roundsPerLife = 4;
const noMetadata = new Uint8Array(0);

/** What was written of one partition. */
export interface WrittenLog {
  readonly id: PartitionId;
  /** By index: everything that was ever handed over there, as {@link entryText}. */
  readonly written: Map<number, Set<string>>;
  lastIndex: number;
  /** Reported durable. */
  durableIndex: number;
  commitIndex: number;
  term: number;
}

/** A directory at rest. */
export interface WrittenDirectory {
  readonly disk: SimDisk;
  readonly logs: readonly WrittenLog[];
  /** Open it, as long as nothing was done to it. */
  readonly keys: JournalKeys;
  readonly isEncrypted: boolean;
}

/** One life of a store on a disk. */
export class StoreLife {
  readonly #scheduler = new SimScheduler();
  readonly #scope = new LifeScope(1);
  readonly #fileSystem: SimFileSystem;
  readonly #options: Parameters<typeof LogStore.open>[0];

  constructor(
    disk: SimDisk,
    random: PrngState,
    { logs, isEncrypted }: { readonly logs: readonly WrittenLog[]; readonly isEncrypted: boolean },
  ) {
    const parts = { scheduler: this.#scheduler, scope: this.#scope, random };
    this.#fileSystem = new SimFileSystem({ ...parts, disk, ioWriterMode: 'Direct' });
    this.#options = {
      directory,
      ...recoveryOwner,
      fileSystem: this.#fileSystem,
      clock: new SimClock({ ...parts, hardware: new SimHardwareClock(this.#scheduler, 0) }),
      entropy: new SimEntropy(random),
      encryption: isEncrypted ? encryptionOf(random) : undefined,
      observer: silentObserver,
      limits,
      listener: {
        hardStateDurable: () => undefined,
        appendDurable: (log, { lastIndex }) => {
          const own = logs.find(({ id }) => id === log.partitionId);
          if (own !== undefined) own.durableIndex = lastIndex;
        },
        // A read of them is refused; what it is refused with is looked at there.
        damaged: () => undefined,
        damageFound: () => undefined,
        flushEnded: () => undefined,
        failed: (error) => {
          throw new BrokenRule(`a sound disk fails: ${error.message}`);
        },
      },
    };
  }

  /** Opens the store. @throws ClustorError as the store does; BrokenRule when it never answers. */
  open(): Promise<LogStore> {
    return this.settle(LogStore.open(this.#options));
  }

  /** Opens the keys of the directory. */
  keys(): Promise<JournalKeys> {
    const { encryption } = this.#options;
    const folder = `${directory}/wal`;
    const fileSystem = this.#fileSystem;
    return this.settle(JournalKeys.open({ fileSystem, folder, ...recoveryOwner, encryption }));
  }

  /** Runs virtual time until a promise settles. */
  async settle<Result>(promise: Promise<Result>): Promise<Result> {
    let isSettled = false;
    const mark = (): void => {
      isSettled = true;
    };
    promise.then(mark, mark);
    await this.run(openMsMax, () => isSettled);
    demand(isSettled, 'what is asked of a store is answered in time');
    return promise;
  }

  /** Lets virtual time pass. */
  async run(forMs: number, isDone: () => boolean = () => false): Promise<void> {
    await this.#scheduler.run({
      untilMs: this.#scheduler.nowMs + forMs,
      drainMicrotasks: () => new Promise((resolve) => setImmediate(resolve)),
      isDone,
    });
  }

  /** Ends the life as a killed process does. */
  kill(): void {
    this.#scope.isAlive = false;
    this.#fileSystem.abandon('processKill');
  }
}

/** The same KEK each time; a nonce that comes twice in a life, and text behind a wrong tag, are broken rules. */
function encryptionOf(random: PrngState): JournalEncryption {
  const encryption = new SimEncryption((message) => {
    throw new BrokenRule(message);
  });
  return encryption.of(recoveryOwner.nodeId, new SimEntropy(random));
}

/** Writes a directory; equal seeds give equal ones. An encrypted one changes its keys under way. */
export async function writeDirectory(
  seed: number,
  isEncrypted: boolean,
): Promise<WrittenDirectory> {
  const random = createPrng(seed);
  const disk = new SimDisk();
  const logs = [1, 2].map((at): WrittenLog => ({
    id: partitionId(`018c0d6c-9c11-7e9d-8000-00000000000${at}`),
    written: new Map(),
    lastIndex: 0,
    durableIndex: 0,
    commitIndex: 0,
    term: 0,
  }));
  let sequence = 0;
  for (let life = 0; life < lives; life++) {
    const running = new StoreLife(disk, random, { logs, isEncrypted });
    const store = await running.open();
    if (life === 0) for (const { id } of logs) await running.settle(createReplica(store, id));
    for (let round = 0; round < roundsPerLife; round++) {
      for (const log of logs) {
        const place = store.partition(log.id);
        demand(place !== undefined, 'a partition that was created is there');
        writeSome(random, { log, place, sequence: ++sequence });
      }
      store.flush();
      await running.run(100);
      for (const log of logs)
        demand(log.durableIndex === log.lastIndex, 'what was flushed is reported durable');
    }
    if (isEncrypted && life === 1) await running.settle(store.keyDesk.rotate());
    running.kill();
  }
  const looking = new StoreLife(disk.fork(), createPrng(seed), { logs: [], isEncrypted });
  return { disk, logs, isEncrypted, keys: await looking.keys() };
}

/** An entry as a text: term and payload. */
export function entryText(entryTerm: number, payload: Uint8Array): string {
  return `${entryTerm}:${Buffer.from(payload).toString('latin1')}`;
}

/** The entries of frames. */
export function entriesOf(
  bytes: Uint8Array,
): readonly { readonly index: number; readonly text: string }[] {
  const entries: { readonly index: number; readonly text: string }[] = [];
  for (let at = 0; at < bytes.length; at += frameTotalBytes(bytes, at)) {
    const payload = bytes.subarray(framePayloadStart(bytes, at), framePayloadEnd(bytes, at));
    entries.push({ index: frameIndex(bytes, at), text: entryText(frameTerm(bytes, at), payload) });
  }
  return entries;
}

function createReplica(store: LogStore, id: PartitionId): Promise<unknown> {
  const own = incarnation(id);
  const member = {
    replicaId: replicaId(1),
    nodeId: recoveryOwner.nodeId,
    incarnation: own,
    role: 'voter' as const,
    addresses: ['127.0.0.1:1'],
  };
  const configuration = {
    term: term(0),
    index: logIndex(0),
    members: [member],
    outgoingMembers: [],
  };
  return store.createReplica({
    partitionId: id,
    replicaId: replicaId(1),
    incarnation: own,
    configuration,
  });
}

/** A new term now and then, sometimes with the end of the log replaced, and a few entries. */
function writeSome(
  random: PrngState,
  {
    log,
    place,
    sequence,
  }: { readonly log: WrittenLog; readonly place: PartitionLog; readonly sequence: number },
): void {
  if (log.term === 0 || nextBelow(random, 2) === 0) {
    log.term++;
    const vote = { replicaId: replicaId(1), incarnation: incarnation(log.id) };
    place.persistHardState({ term: term(log.term), votedFor: vote });
    const fromIndex = log.commitIndex + 1 + nextBelow(random, 3);
    if (fromIndex <= log.lastIndex) {
      place.truncateFrom(logIndex(fromIndex));
      log.lastIndex = fromIndex - 1;
    }
  }
  place.append(framesOf(random, log, 1 + nextBelow(random, 4)), sequence);
  log.commitIndex = Math.max(log.commitIndex, Math.min(log.durableIndex, log.lastIndex) - 2);
  place.commitIndex = logIndex(log.commitIndex);
}

function framesOf(random: PrngState, log: WrittenLog, count: number): FrameBatch {
  const writer = new EntryFrameWriter(log.id);
  const payloads = Array.from({ length: count }, () => {
    const isLong = nextBelow(random, 3) === 0;
    const payload = new Uint8Array(1 + nextBelow(random, isLong ? 9000 : 200));
    return payload.fill(nextBelow(random, 256));
  });
  const size = payloads.reduce((sum, { length }) => sum + length + entryFrameOverheadBytes, 0);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  const firstIndex = logIndex(log.lastIndex + 1);
  let offset = 0;
  for (const payload of payloads) {
    const index = ++log.lastIndex as LogIndex;
    const entry = { term: term(log.term), index, isSystem: false, metadata: noMetadata, payload };
    offset = writer.write(bytes, view, offset, entry);
    const known = log.written.get(index) ?? new Set<string>();
    log.written.set(index, known.add(entryText(log.term, payload)));
  }
  return { firstIndex, lastIndex: logIndex(log.lastIndex), lastTerm: term(log.term), bytes };
}
