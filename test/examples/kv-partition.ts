/** A partition in memory for tests of the key-value store: one replica, entries applied in order after a turn of the loop. */
import { setImmediate } from 'node:timers/promises';

import {
  logIndex,
  partitionId,
  term,
  type ApplyContext,
  type EntryBatch,
  type Partition,
  type PartitionId,
  type StateMachine,
} from 'clustor';

import type { KvPartition } from '../../examples/kv/redis-connection.ts';

/** A batch of the given payloads, inside one buffer with bytes of others around them. */
export function batchOf(payloads: readonly Uint8Array[], firstIndex = 1): EntryBatch {
  const gap = 3;
  const starts: number[] = [];
  let length = gap;
  for (const payload of payloads) {
    starts.push(length);
    length += payload.length + gap;
  }
  const bytes = new Uint8Array(length).fill(0xee);
  payloads.forEach((payload, position) => bytes.set(payload, starts[position] ?? 0));
  const startOf = (position: number): number => starts[position] ?? 0;
  const endOf = (position: number): number => startOf(position) + (payloads[position]?.length ?? 0);
  return {
    length: payloads.length,
    index: (position) => logIndex(firstIndex + position),
    term: () => term(1),
    payload: (position) => bytes.subarray(startOf(position), endOf(position)),
    bytes: () => bytes,
    payloadStart: startOf,
    payloadEnd: endOf,
  };
}

/** Surroundings of `apply` in which nothing ever differs. */
export const applyContext: ApplyContext = {
  partitionId: partitionId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001'),
  timeMs: () => 1_700_000_000_000,
  random: () => 4,
};

/** Applies entries to a machine and answers their results. */
export function applyEntries(
  machine: StateMachine,
  entries: readonly Uint8Array[],
): readonly (Uint8Array | undefined)[] {
  const outcome = machine.apply(batchOf(entries), applyContext);
  if (outcome instanceof Promise || outcome.kind !== 'ack') throw new Error('not acknowledged');
  return outcome.results ?? [];
}

/** One replica without a log. Tests look at what was asked of it and make it fail. */
export class MemoryPartition implements KvPartition {
  readonly partitionId: PartitionId = applyContext.partitionId;
  readonly machine: StateMachine;
  /** The next appends and reads reject with this. */
  failure: Error | undefined;
  /** Runs before every append takes effect. */
  beforeAppend: () => Promise<unknown> = () => setImmediate();
  readonly entries: Uint8Array[] = [];
  readCount = 0;

  constructor(machine: StateMachine) {
    this.machine = machine;
  }

  async append(bytes: Uint8Array): ReturnType<Partition['append']> {
    await this.beforeAppend();
    if (this.failure !== undefined) throw this.failure;
    this.entries.push(bytes);
    const index = this.entries.length;
    const outcome = await this.machine.apply(batchOf([bytes], index), applyContext);
    return { term: term(1), index: logIndex(index), result: outcome.results?.[0] };
  }

  async read<T>(read: (machine: StateMachine) => T): Promise<T> {
    this.readCount++;
    await setImmediate();
    if (this.failure !== undefined) throw this.failure;
    return read(this.machine);
  }
}
