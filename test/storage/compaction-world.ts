/** Logs that begin behind snapshots, in a store on a simulated disk, and every state of the disk that a crash leaves on the way. */
import { expect } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { clusterId, incarnation, logIndex, nodeId, replicaId, term } from '../../src/base/ids.ts';
import type { LogIndex, Term } from '../../src/base/ids.ts';
import type { Configuration } from '../../src/base/membership.ts';
import { nextBelow } from '../../src/base/prng.ts';
import type { ObservedEvent, Observer } from '../../src/ports/observer.ts';
import type { RecoveredPartition } from '../../src/storage/log-store-types.ts';
import { replayLedger, type LedgerReplay } from '../../src/storage/ledger-replay.ts';
import type { PartitionLog } from '../../src/storage/partition-log.ts';
import type { SimDisk } from '../../src/testing/sim-disk.ts';
import { entriesOf } from './model-frames.ts';
import { StoreWorld, type PartitionModel } from './store-world.ts';

export const limits = {
  segmentBytes: 8 * 1024 * 1024,
  logBytesMax: 256 * 1024 * 1024,
  ledgerBytes: 256 * 1024,
};

/** Members of a partition as its replica stands on this disk. */
export function configurationOf(
  model: PartitionModel,
  at: { index: number; term: number },
): Configuration {
  const member = {
    replicaId: replicaId(1),
    nodeId: nodeId(1),
    incarnation: incarnation(model.id),
    role: 'voter' as const,
    addresses: ['127.0.0.1:1'],
  };
  return { term: term(at.term), index: logIndex(at.index), members: [member], outgoingMembers: [] };
}

/** What was told, so that a test can ask for it. */
export class EventList implements Observer {
  readonly events: ObservedEvent[] = [];

  emit(event: ObservedEvent): void {
    this.events.push(event);
  }

  /** Events of a level or kind. */
  of(what: string): readonly ObservedEvent[] {
    return this.events.filter(({ level, kind }) => level === what || kind === what);
  }
}

/** A store with empty replicas in term 1. */
export async function opened(options: {
  readonly partitions: number;
  readonly isEncrypted?: boolean;
  readonly seed?: number;
}): Promise<{ readonly world: StoreWorld; readonly told: EventList }> {
  const { seed = 1 } = options;
  const world = new StoreWorld({ limits, ...options, seed });
  const told = new EventList();
  world.observer = told;
  await world.open();
  await world.createReplicas();
  for (const model of world.partitions) world.vote(model);
  world.store?.flush();
  await world.run(30);
  return { world, told };
}

/** The model of a partition, the first one first. */
export function modelOf(world: StoreWorld, at = 0): PartitionModel {
  return present(world.partitions[at], 'a partition');
}

/** The log of a partition, the first one first. */
export function logOf(world: StoreWorld, at = 0): PartitionLog {
  return present(world.store?.partition(modelOf(world, at).id), 'its log');
}

/** Hands entries over to the next flush. */
export function appended(world: StoreWorld, at: number, count: number, bytes = 100): void {
  world.append(modelOf(world, at), count, bytes);
}

/** Flushes what was handed over, and commits it. */
export async function committed(world: StoreWorld): Promise<void> {
  world.store?.flush();
  await world.run(40);
  for (const [at, model] of world.partitions.entries()) {
    expect(model.durableIndex).toBe(model.entries.length);
    model.commitIndex = model.durableIndex;
    logOf(world, at).commitIndex = logIndex(model.commitIndex);
  }
}

/** Ends the process and begins the next one: the segment in use is a closed one behind it. */
export async function restarted(world: StoreWorld): Promise<void> {
  await world.settle(present(world.store, 'open').close());
  world.crash('processKill');
  await world.open();
  for (const [at, model] of world.partitions.entries())
    logOf(world, at).commitIndex = logIndex(model.commitIndex);
}

/** The entry up to which a snapshot is there, by the model. */
export function placeOf(
  world: StoreWorld,
  at: number,
  index: number,
): { index: LogIndex; term: Term } {
  const entry = present(modelOf(world, at).entries[index - 1], 'an entry of the log');
  return { index: logIndex(index), term: term(entry.term) };
}

/** Lets a log begin behind an entry; durable when the next flush is. */
export function compact(world: StoreWorld, at: number, index: number): void {
  logOf(world, at).compact(placeOf(world, at, index));
  world.store?.flush();
}

/** Numbers of the segments that hold something, or are in use: the one made ready ahead is none of them. */
export function segmentsOf(world: StoreWorld): number[] {
  const inUse = present(world.store, 'open').statistics().segmentSeq;
  return segmentFilesOf(world.disk).filter((segmentSeq) => segmentSeq <= inUse);
}

/** Numbers of all segment files. */
export function segmentFilesOf(disk: SimDisk): number[] {
  return disk
    .list('/data/wal')
    .flatMap((name) => /^segment-(\d+)\.log$/.exec(name)?.[1] ?? [])
    .map(Number);
}

/** Forks of the disk, one behind each change of it, while time passes. */
export async function momentsOf(
  world: StoreWorld,
  forMs: number,
  isDone: () => boolean = () => false,
): Promise<SimDisk[]> {
  const { disk, scheduler } = world;
  const moments = [disk.fork()];
  let seen = disk.effectCount;
  await scheduler.run({
    untilMs: scheduler.nowMs + forMs,
    drainMicrotasks: () => new Promise((resolve) => setImmediate(resolve)),
    isDone,
    afterEvent: () => {
      if (disk.effectCount === seen) return;
      seen = disk.effectCount;
      moments.push(disk.fork());
    },
  });
  return moments;
}

/** What a crash at a moment may leave: every subset of the unsynced parts where they are few, else none, all and some. */
export function statesOf(world: StoreWorld, moment: SimDisk, subsetPartsMax = 4): SimDisk[] {
  const count = moment.unsyncedParts().length;
  const all = Array.from({ length: count }, (_, at) => at);
  const some = (): Set<number> => new Set(all.filter(() => nextBelow(world.random, 2) === 0));
  const kept =
    count <= subsetPartsMax
      ? Array.from(
          { length: 1 << count },
          (_, bits) => new Set(all.filter((at) => ((bits >> at) & 1) === 1)),
        )
      : [new Set<number>(), new Set(all), some(), some(), some(), some()];
  const lost = kept.map((set) => {
    const disk = moment.fork();
    disk.losePowerKeeping(set);
    return disk;
  });
  // A killed process leaves everything.
  return [moment.fork(), ...lost];
}

/** A new process on a disk, with what is known of the partitions. */
export async function openedOn(world: StoreWorld, disk: SimDisk): Promise<StoreWorld> {
  // The key that wraps all others is the same in every world.
  const { isEncrypted } = world;
  const other = new StoreWorld({
    seed: 7,
    partitions: world.partitions.length,
    limits,
    isEncrypted,
  });
  other.disk = disk;
  for (const [at, model] of world.partitions.entries())
    Object.assign(modelOf(other, at), model, { candidates: new Map(model.candidates) });
  await other.open();
  return other;
}

/** A partition of a store that was just opened, whole: nothing of it is in doubt or cannot be read. */
export function foundWhole(world: StoreWorld, at = 0): RecoveredPartition {
  const { id } = modelOf(world, at);
  const found = present(
    world.store?.recovered.find(({ partitionId }) => partitionId === id),
    'the partition is there',
  );
  expect(found.doubt).toBeUndefined();
  expect(found.quarantine).toBeUndefined();
  return found;
}

/** Reads the entries of a log from one on, and compares them with what was written. */
export async function readFrom(world: StoreWorld, at: number, firstIndex: number): Promise<void> {
  const { entries } = modelOf(world, at);
  const log = logOf(world, at);
  for (let next = firstIndex; next <= log.lastIndex;) {
    const batch = present(
      await world.settle(log.read(logIndex(next), log.lastIndex, 64 * 1024)),
      'entries',
    );
    for (const { index, term: own, payload } of entriesOf(batch.bytes)) {
      expect(index).toBe(next);
      expect({ term: own, payload }, `entry ${index}`).toEqual(entries[index - 1]);
      next++;
    }
  }
  expect(world.lost).toEqual([]);
}

/** What a ledger says, of a disk whose store has ended. */
export async function ledgerOf(disk: SimDisk): Promise<LedgerReplay> {
  const world = new StoreWorld({ seed: 1, partitions: 0, limits });
  world.disk = disk;
  const owner = {
    clusterId: clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001'),
    nodeId: nodeId(1),
  };
  const replay = await world.settle(
    replayLedger(world.reader(), '/data/wal/durability.log', owner),
  );
  return present(replay, 'the ledger is read');
}
