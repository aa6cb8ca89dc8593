/**
 * What the replicas of one partition applied, and what they answered: each entry once, as whoever applied it first saw it.
 *
 * Everybody else is compared with that at once. Afterwards the entries are applied again, one by one, to fresh machines.
 */
import type { LogIndex, PartitionId, Term } from '../../base/ids.ts';
import type { StateMachine } from '../../ports/state-machine.ts';
import { ApplyBatch } from '../../runtime/apply-batch.ts';

/** An entry as it was applied first. */
export interface RecordedEntry {
  readonly index: LogIndex;
  readonly term: Term;
  readonly payload: Uint8Array;
  readonly timeMs: number;
  readonly result: Uint8Array | undefined;
  /** Who applied it first, and with how many others in one batch. */
  readonly by: string;
  readonly batchLength: number;
}

/** A snapshot that was taken while the machine went on. */
export interface RecordedSnapshot {
  /** The last entry that is in it. */
  readonly index: LogIndex;
  readonly chunks: readonly Uint8Array[];
  readonly by: string;
}

/** A machine that asks for more retries of one entry, with nothing around it that could fail, will never have enough. */
const attemptsMax = 100;

/** See the file comment. */
export class EntryRecord {
  readonly partitionId: PartitionId;
  readonly snapshots: RecordedSnapshot[] = [];
  /** Lives, by name, that began from a snapshot or had one installed. */
  readonly restored: Set<string> = new Set<string>();
  readonly #entries = new Map<LogIndex, RecordedEntry>();
  #lastIndex = 0 as LogIndex;

  constructor(partitionId: PartitionId) {
    this.partitionId = partitionId;
  }

  /** The newest entry that any replica applied. */
  get lastIndex(): LogIndex {
    return this.#lastIndex;
  }

  get(index: LogIndex): RecordedEntry | undefined {
    return this.#entries.get(index);
  }

  /** Keeps an entry that nobody had applied yet. */
  add(entry: RecordedEntry): void {
    this.#entries.set(entry.index, entry);
    if (entry.index > this.#lastIndex) this.#lastIndex = entry.index;
  }

  /** Entries in order of the log, from the first after `after`. */
  entries(after: LogIndex = 0 as LogIndex): RecordedEntry[] {
    return [...this.#entries.values()]
      .filter(({ index }) => index > after)
      .sort((left, right) => left.index - right.index);
  }
}

/** Applies one entry alone. */
export async function applyAlone(
  machine: StateMachine,
  entry: RecordedEntry,
  partitionId: PartitionId,
): Promise<Uint8Array | undefined> {
  const batch = new ApplyBatch(partitionId, 1);
  const bytes = entry.payload.slice();
  batch.add({ ...entry, bytes, start: 0, end: bytes.length });
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const outcome = await machine.apply(batch, batch);
    if (outcome.kind === 'fatal') throw new Error(outcome.message);
    if (outcome.kind === 'ack' || outcome.appliedCount === 1) return outcome.results?.[0]?.slice();
  }
  throw new Error(`apply asked for ${attemptsMax} retries of entry ${entry.index}`);
}
