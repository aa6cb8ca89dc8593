/**
 * Reads on their way (specification §2.3): gathered during a turn, confirmed as one by the core, released when their index is
 * applied here.
 */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex } from '../base/ids.ts';

/** One waiting read. */
export interface ReadWaiter {
  /** A lease held no longer when the read was to be answered: now it waits for a round. */
  readonly needsRound: boolean;
  /** The read index is known and confirmed, by a round or by a lease that holds at this moment; not yet necessarily applied. */
  confirmed(index: LogIndex, byLease: boolean): void;
  failed(error: ClustorError): void;
}

/** Waits until an index is applied. */
export interface AppliedWaiter {
  applied(index: LogIndex): void;
  failed(error: ClustorError): void;
}

/** What barriers need. */
export interface ReadBarriersOptions {
  readonly readsMax: number;
  /** Why nothing more is applied here, unless somebody ends that; whoever would wait for an entry is told at once. */
  readonly whyStopped: () => ClustorError | undefined;
}

interface Unapplied {
  readonly index: LogIndex;
  readonly waiter: AppliedWaiter;
  readonly isRead: boolean;
}

const nothing = (): void => undefined;

/** See the file comment. */
export class ReadBarriers {
  readonly #options: ReadBarriersOptions;
  readonly #groups = new Map<number, ReadWaiter[]>();
  #gathering: ReadWaiter[] = [];
  #grouped = 0;
  #nextReadId = 1;
  #unapplied = new Set<Unapplied>();
  /** Those of them that are reads. */
  #unappliedReads = 0;
  #appliedIndex = 0 as LogIndex;
  #closed: ClustorError | undefined;

  constructor(options: ReadBarriersOptions) {
    this.#options = options;
  }

  /** Reads that wait for confirmation. */
  get unconfirmedCount(): number {
    return this.#gathering.length + this.#grouped;
  }

  /** Reads that wait: for confirmation, or for their entry to be applied. */
  get waitingCount(): number {
    return this.unconfirmedCount + this.#unappliedReads;
  }

  /** Takes a read in, or says that too many wait. */
  gather(waiter: ReadWaiter): ClustorError | undefined {
    const { readsMax } = this.#options;
    if (this.waitingCount >= readsMax)
      return new ClustorError('CLUSTOR_OVERLOADED', `${readsMax} reads of this partition wait`);
    this.#gathering.push(waiter);
    return undefined;
  }

  /** Closes the group of this turn; its number goes to the core. A group waits for a round as soon as one of it does. */
  closeGroup(): { readonly readId: number; readonly needsRound: boolean } | undefined {
    if (this.#gathering.length === 0) return undefined;
    const readId = this.#nextReadId++;
    const needsRound = this.#gathering.some((waiter) => waiter.needsRound);
    this.#groups.set(readId, this.#gathering);
    this.#grouped += this.#gathering.length;
    this.#gathering = [];
    return { readId, needsRound };
  }

  /** The core confirmed a group. */
  confirmed(readId: number, index: LogIndex, byLease: boolean): void {
    for (const waiter of this.#takeGroup(readId)) waiter.confirmed(index, byLease);
  }

  /** The core could not confirm a group. */
  unconfirmed(readId: number): void {
    const error = new ClustorError(
      'CLUSTOR_READ_UNCONFIRMED',
      'this node stopped leading before it could confirm the read',
    );
    for (const waiter of this.#takeGroup(readId)) waiter.failed(error);
  }

  /** Fails reads that were gathered and not yet handed to the core. */
  failGathered(error: ClustorError): void {
    const gathering = this.#gathering;
    this.#gathering = [];
    for (const waiter of gathering) waiter.failed(error);
  }

  /**
   * Calls the waiter of a read once `index` is applied, at once if it is or never will be.
   * @returns What the waiter calls when it gives up.
   */
  whenApplied(index: LogIndex, waiter: AppliedWaiter): () => void {
    return this.#await(index, waiter, true);
  }

  /** Like {@link ReadBarriers.whenApplied}, for a subscription: one that is idle waits for ever, and does not count as a read. */
  whenFollowed(index: LogIndex, waiter: AppliedWaiter): () => void {
    return this.#await(index, waiter, false);
  }

  /** Everything up to `index` is applied. */
  applied(index: LogIndex): void {
    this.#appliedIndex = index;
    if (this.#unapplied.size === 0) return;
    for (const row of this.#unapplied) {
      if (row.index > index) continue;
      this.#forget(row);
      row.waiter.applied(index);
    }
  }

  /** Applying stopped. */
  failApplied(error: ClustorError): void {
    const waiting = this.#unapplied;
    this.#unapplied = new Set();
    this.#unappliedReads = 0;
    for (const { waiter } of waiting) waiter.failed(error);
  }

  /** Fails everything, and whoever comes to wait for an entry. */
  close(error: ClustorError): void {
    this.#closed = error;
    this.failGathered(error);
    for (const readId of [...this.#groups.keys()])
      for (const waiter of this.#takeGroup(readId)) waiter.failed(error);
    this.failApplied(error);
  }

  #await(index: LogIndex, waiter: AppliedWaiter, isRead: boolean): () => void {
    if (index <= this.#appliedIndex) {
      waiter.applied(this.#appliedIndex);
      return nothing;
    }
    const reason = this.#closed ?? this.#options.whyStopped();
    if (reason !== undefined) {
      waiter.failed(reason);
      return nothing;
    }
    const row: Unapplied = { index, waiter, isRead };
    this.#unapplied.add(row);
    if (isRead) this.#unappliedReads++;
    return () => {
      this.#forget(row);
    };
  }

  #forget(row: Unapplied): void {
    if (this.#unapplied.delete(row) && row.isRead) this.#unappliedReads--;
  }

  #takeGroup(readId: number): ReadWaiter[] {
    const group = this.#groups.get(readId) ?? [];
    this.#groups.delete(readId);
    this.#grouped -= group.length;
    return group;
  }
}
