/**
 * The product's own state, replicated by applying the same entries in the same order on every replica (specification §6).
 *
 * Rules for implementers: the outcome of `apply` depends on nothing but earlier entries, this batch and `context`. No
 * clock, no randomness, no I/O whose answer could differ between replicas. `clustor/testing` finds violations.
 */
import type { LogIndex, PartitionId, Term } from '../base/ids.ts';

/** Committed entries in log order, handed over without an object per entry. Valid until `apply` returns or resolves. @public */
export interface EntryBatch {
  /** Number of entries, at least 1. */
  readonly length: number;
  /** Log index of the entry at `position` (0-based). Indexes rise but need not be contiguous: system entries and duplicates are left out. */
  index(position: number): LogIndex;
  /** Term of the entry. */
  term(position: number): Term;
  /** The appended bytes: a view, to be copied if kept. */
  payload(position: number): Uint8Array;
  /** The buffer that holds the payloads; with the two offsets it lets a machine decode without creating views. */
  bytes(position: number): Uint8Array;
  /** First byte of the payload within {@link EntryBatch.bytes}. */
  payloadStart(position: number): number;
  /** Behind the last byte of the payload within {@link EntryBatch.bytes}. */
  payloadEnd(position: number): number;
}

/** Deterministic surroundings of `apply`. @public */
export interface ApplyContext {
  readonly partitionId: PartitionId;
  /** Time of the entry at `position` in milliseconds since 1970: never goes back along the log, equal on every replica. */
  timeMs(position: number): number;
  /** A random u32 for the entry at `position`: equal on every replica; each call with the next `draw` gives another one. */
  random(position: number, draw: number): number;
}

/** Why an entry could not be applied just now. @public */
export type RetryableReason =
  | 'TransientIo'
  | 'CodecMismatch'
  | 'QuotaExceeded'
  | 'Backpressure'
  | 'AckTimeout';

/** What became of a batch. `appliedCount` entries from its start took effect, the next one did not. @public */
export type ApplyOutcome =
  | { readonly kind: 'ack'; readonly results?: readonly (Uint8Array | undefined)[] }
  | {
      readonly kind: 'retryable';
      readonly reason: RetryableReason;
      readonly appliedCount: number;
      readonly results?: readonly (Uint8Array | undefined)[];
    }
  | {
      readonly kind: 'fatal';
      readonly message: string;
      readonly appliedCount: number;
      readonly results?: readonly (Uint8Array | undefined)[];
    };

/** A replicated state machine. @public */
export interface StateMachine {
  /**
   * Applies a batch. `results[position]` is what `append` resolves with for that entry.
   * A thrown error means that the machine's state can no longer be trusted: the replica stops applying.
   */
  apply(batch: EntryBatch, context: ApplyContext): ApplyOutcome | Promise<ApplyOutcome>;
  /** Answers a read of a remote client from the current state; must not change anything. */
  query(request: Uint8Array): Uint8Array;
  /**
   * Writes the whole state of now as chunks of any length; machines in the same state need not write the same bytes.
   *
   * Called between two batches, and its first chunk is asked for at once, so a generator that looks at the state before its first
   * `yield`, without an `await` before that, sees the state of now. Entries are applied while the others are read: what is not
   * copied by then must be kept as it was. A chunk must not change before the next one is asked for. The reading may end early
   * (`return` is called). What it throws costs this snapshot and nothing else.
   */
  snapshot(): AsyncIterable<Uint8Array>;
  /**
   * Replaces the whole state, whatever it was, by what {@link StateMachine.snapshot} wrote: maybe on another node, and by an
   * earlier version of the product. The bytes are the same, the chunks are not: they end anywhere, in the middle of a number
   * or of a character too. Nothing is applied or asked meanwhile.
   *
   * What it throws means that the machine refuses the state: the replica stops applying (`ApplyFault`). What `chunks` throws is to
   * be passed on: then the disk failed, and another attempt follows, on the same machine.
   */
  restore(chunks: AsyncIterable<Uint8Array>): Promise<void>;
}
