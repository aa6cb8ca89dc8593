/** What a pipeline that applies entries is made of and whom it tells. */
import type { ClustorError } from '../base/errors.ts';
import type { LogIndex, PartitionId, Term } from '../base/ids.ts';
import type { DurabilityTransition } from '../codec/system-entry.ts';
import type { Clock } from '../ports/clock.ts';
import type { StateMachine } from '../ports/state-machine.ts';
import type { TailBatch } from './entry-tail.ts';
import type { IdempotencyBounds, IdempotencyRow } from './idempotency-table.ts';
import type { NodeLimits } from './limits.ts';

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
