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

/** See the file comment. */
export class ReadBarriers {
  readonly #readsMax: number;
  readonly #groups = new Map<number, ReadWaiter[]>();
  #gathering: ReadWaiter[] = [];
  #grouped = 0;
  #nextReadId = 1;
  #waiters: { readonly index: LogIndex; readonly waiter: AppliedWaiter }[] = [];
  #appliedIndex = 0 as LogIndex;

  constructor(options: { readonly readsMax: number }) {
    this.#readsMax = options.readsMax;
  }

  /** Reads that wait for confirmation. */
  get waitingCount(): number {
    return this.#gathering.length + this.#grouped;
  }

  /** Takes a read in, or says that too many wait. */
  gather(waiter: ReadWaiter): ClustorError | undefined {
    if (this.waitingCount >= this.#readsMax)
      return new ClustorError(
        'CLUSTOR_OVERLOADED',
        `${this.#readsMax} reads of this partition wait`,
      );
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

  /** Calls the waiter once `index` is applied, at once if it is. */
  whenApplied(index: LogIndex, waiter: AppliedWaiter): void {
    if (index <= this.#appliedIndex) waiter.applied(this.#appliedIndex);
    else this.#waiters.push({ index, waiter });
  }

  /** Everything up to `index` is applied. */
  applied(index: LogIndex): void {
    this.#appliedIndex = index;
    if (this.#waiters.length === 0) return;
    const waiting = this.#waiters;
    this.#waiters = [];
    for (const row of waiting) {
      if (row.index <= index) row.waiter.applied(index);
      else this.#waiters.push(row);
    }
  }

  /** Applying stopped. */
  failApplied(error: ClustorError): void {
    const waiting = this.#waiters;
    this.#waiters = [];
    for (const { waiter } of waiting) waiter.failed(error);
  }

  /** Fails everything. */
  failAll(error: ClustorError): void {
    this.failGathered(error);
    for (const readId of [...this.#groups.keys()])
      for (const waiter of this.#takeGroup(readId)) waiter.failed(error);
    this.failApplied(error);
  }

  #takeGroup(readId: number): ReadWaiter[] {
    const group = this.#groups.get(readId) ?? [];
    this.#groups.delete(readId);
    this.#grouped -= group.length;
    return group;
  }
}
