/**
 * The plainest way to two synced writes in Node: each written through the page cache by a synchronous call of the loop, then
 * `fdatasync` in libuv's pool; two hops where {@link WorkerChain} has one.
 */
import { fdatasync, writeSync } from 'node:fs';

import { alignedSharedMemory, openForWriting } from '../disk/preallocated-file.ts';
import type { WorkerLane, WorkerRequest } from '../disk/worker-chain.ts';

/** What the files and batches of a chain may hold. */
export interface PoolChainSizes {
  readonly journalBytes: number;
  readonly ledgerBytes: number;
  readonly batchBytesMax: number;
}

/** See the file comment; takes the same requests as a `WorkerChain` of one lane, one at a time. */
export class PoolChain {
  /** Two halves of `batchBytesMax` each, to be filled before `run` names an offset in them. */
  readonly data: Buffer;
  readonly #sizes: PoolChainSizes;
  readonly #journal: number;
  readonly #ledger: number;
  readonly #ledgerData: Buffer;
  #journalAt = 0;
  #ledgerAt = 0;

  constructor(lane: WorkerLane, sizes: PoolChainSizes) {
    this.data = Buffer.from(alignedSharedMemory(2 * sizes.batchBytesMax));
    this.#sizes = sizes;
    this.#journal = openForWriting(lane.journalPath, 'buffered');
    this.#ledger = openForWriting(lane.ledgerPath, 'buffered');
    this.#ledgerData = Buffer.alloc(sizes.ledgerBytes >> 8, 0x5a);
  }

  /** Makes one batch durable, then its ledger flush. */
  run(request: WorkerRequest, done: () => void): void {
    const { offset, journalBytes, ledgerBytes } = request;
    if (this.#journalAt + journalBytes > this.#sizes.journalBytes) this.#journalAt = 0;
    if (this.#ledgerAt + ledgerBytes > this.#sizes.ledgerBytes) this.#ledgerAt = 0;
    writeSync(this.#journal, this.data, offset, journalBytes, this.#journalAt);
    this.#journalAt += journalBytes;
    fdatasync(this.#journal, (error) => {
      if (error) throw error;
      writeSync(this.#ledger, this.#ledgerData, 0, ledgerBytes, this.#ledgerAt);
      this.#ledgerAt += ledgerBytes;
      fdatasync(this.#ledger, (ledgerError) => {
        if (ledgerError) throw ledgerError;
        done();
      });
    });
  }
}
