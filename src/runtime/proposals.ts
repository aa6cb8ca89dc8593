/**
 * Proposals on their way: waiting for their batch, then in the log until applied.
 *
 * A proposal is answered exactly once. Waiting ones that can no longer be appended surely did not happen; ones in the log
 * of a leader that stepped down are unknown (specification §2.4 Outcomes).
 */
import { empty } from '../base/arrays.ts';
import { assert, present } from '../base/assert.ts';
import { ClustorError } from '../base/errors.ts';
import { Fifo } from '../base/fifo.ts';
import type { LogIndex, Term } from '../base/ids.ts';

/** What became of an entry. */
export interface ProposalReceipt {
  readonly term: Term;
  readonly index: LogIndex;
  readonly result: Uint8Array | undefined;
}

/** Receives the fate of one proposal; `slot` is the sink's own number for it. */
export interface ProposalSink {
  proposalCommitted(slot: number, receipt: ProposalReceipt): void;
  proposalFailed(slot: number, error: ClustorError): void;
}

/** One entry to append. */
export interface Proposal {
  readonly metadata: Uint8Array;
  readonly payload: Uint8Array;
  /** An entry of the system's own: it makes a batch by itself and never reaches the machine. */
  readonly isSystem?: true;
  readonly sink: ProposalSink;
  readonly slot: number;
}

/** Bytes and counts that bound a queue of proposals. */
export interface ProposalBounds {
  readonly proposalsMax: number;
  readonly proposalBytesMax: number;
}

/** See the file comment. */
export class ProposalQueue {
  readonly #bounds: ProposalBounds;
  readonly #waiting = new Fifo<Proposal>();
  readonly #appended = new Fifo<Proposal>();
  #bytes = 0;
  /** Where the appended ones stand in the log: runs without a gap; entries of the system's own lie between them. */
  readonly #runs: { firstIndex: number; count: number }[] = [];

  constructor(bounds: ProposalBounds) {
    this.#bounds = bounds;
  }

  /** Proposals that wait for a batch. */
  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Proposals in the log and not yet answered. */
  get appendedCount(): number {
    return this.#appended.length;
  }

  /** Takes a proposal in, or says which bound it would break. */
  offer(proposal: Proposal): ClustorError | undefined {
    if (this.#waiting.length + this.#appended.length >= this.#bounds.proposalsMax) {
      return new ClustorError(
        'CLUSTOR_OVERLOADED',
        `${this.#bounds.proposalsMax} proposals of this partition are under way`,
      );
    }
    if (this.#bytes + proposal.payload.length > this.#bounds.proposalBytesMax && this.#bytes > 0) {
      return new ClustorError(
        'CLUSTOR_OVERLOADED',
        `${this.#bounds.proposalBytesMax} bytes of proposals of this partition are under way`,
      );
    }
    this.#bytes += proposal.payload.length;
    this.#waiting.push(proposal);
    return undefined;
  }

  /** Moves proposals of the next batch from waiting into `batch`; at least one if any waits. */
  takeBatch(
    batch: Proposal[],
    bounds: { readonly entriesMax: number; readonly bytesMax: number },
  ): void {
    let bytes = 0;
    while (batch.length < bounds.entriesMax) {
      const next = this.#waiting.peek();
      if (next === undefined) return;
      const isTooMuch = bytes + next.payload.length > bounds.bytesMax || next.isSystem === true;
      if (batch.length > 0 && isTooMuch) return;
      bytes += next.payload.length;
      batch.push(present(this.#waiting.shift(), 'a proposal that was seen is there'));
      if (next.isSystem === true) return;
    }
  }

  /** Notes that a batch stands in the log from `firstIndex` on. */
  appended(batch: readonly Proposal[], firstIndex: LogIndex): void {
    const newest = this.#runs.at(-1);
    const end = newest === undefined ? 0 : newest.firstIndex + newest.count;
    assert(end <= firstIndex, 'batches of proposals rise in the log');
    if (newest !== undefined && end === firstIndex) newest.count += batch.length;
    else this.#runs.push({ firstIndex, count: batch.length });
    for (const proposal of batch) this.#appended.push(proposal);
  }

  /** The proposal at `index`, taken out, if this replica proposed it. */
  takeApplied(index: LogIndex): Proposal | undefined {
    const run = this.#runs[0];
    if (run?.firstIndex !== index) return undefined;
    run.firstIndex++;
    run.count--;
    if (run.count === 0) this.#runs.shift();
    const proposal = this.#appended.shift();
    if (proposal !== undefined) this.#bytes -= proposal.payload.length;
    return proposal;
  }

  /** Answers everything: the replica leads no more. */
  failAll(reason: { readonly waiting: ClustorError; readonly appended: ClustorError }): void {
    for (
      let proposal = this.#appended.shift();
      proposal !== undefined;
      proposal = this.#appended.shift()
    ) {
      proposal.sink.proposalFailed(proposal.slot, reason.appended);
    }
    for (
      let proposal = this.#waiting.shift();
      proposal !== undefined;
      proposal = this.#waiting.shift()
    ) {
      proposal.sink.proposalFailed(proposal.slot, reason.waiting);
    }
    empty(this.#runs);
    this.#bytes = 0;
  }
}
