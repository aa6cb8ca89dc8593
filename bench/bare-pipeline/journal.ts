/**
 * The journal of one process of the bare pipeline: everything that arrived while the last batch was made durable
 * goes into the next, as whole 4 KiB blocks, through the same thread and the same two direct writes as
 * in `disk/worker-chain.ts`: journal first, then a ledger flush in two copies.
 *
 * Two halves of shared memory take turns: one fills while the other is being written.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { blockBytes, preallocate } from '../disk/preallocated-file.ts';
import { ledgerWriteBytesMin, WorkerChain } from '../disk/worker-chain.ts';

/** How long a batch may get; a client of the bench keeps far less outstanding. */
export const batchBytesMax: number = 4 << 20;

const journalBytes = 128 << 20;
const ledgerBytes = 16 << 20;

/** Appends batches and says what is durable. */
export class BareJournal {
  readonly #chain: WorkerChain;
  readonly #onDurable: (index: number) => void;
  #half = 0;
  #filledBytes = 0;
  #lastIndex = 0;
  #isWriting = false;
  flushCount = 0;
  entryCount = 0;

  private constructor(chain: WorkerChain, onDurable: (index: number) => void) {
    this.#chain = chain;
    this.#onDurable = onDurable;
  }

  /** Makes both files in a fresh folder. `onDurable` is told the last index after each sync. */
  static async open(directory: string, onDurable: (index: number) => void): Promise<BareJournal> {
    mkdirSync(directory, { recursive: true });
    const lane = { journalPath: join(directory, 'journal'), ledgerPath: join(directory, 'ledger') };
    preallocate(lane.journalPath, journalBytes);
    preallocate(lane.ledgerPath, ledgerBytes);
    const chain = await WorkerChain.open({
      lanes: [lane],
      mode: 'direct',
      answer: 'port',
      journalBytes,
      ledgerBytes,
      batchBytesMax,
    });
    return new BareJournal(chain, onDurable);
  }

  /** Adds entries, `bytes[start, end)`, the last of which has `lastIndex`. */
  append(bytes: Buffer, start: number, end: number, lastIndex: number): void {
    if (this.#filledBytes + end - start > batchBytesMax) throw new RangeError('the batch is full');
    bytes.copy(this.#chain.data, this.#half * batchBytesMax + this.#filledBytes, start, end);
    this.#filledBytes += end - start;
    this.entryCount += lastIndex - this.#lastIndex;
    this.#lastIndex = lastIndex;
  }

  /** Begins to write what was added, unless the last batch is still on its way. */
  kick(): void {
    if (this.#isWriting || this.#filledBytes === 0) return;
    this.#isWriting = true;
    const lastIndex = this.#lastIndex;
    const offset = this.#half * batchBytesMax;
    const batchBytes = Math.ceil(this.#filledBytes / blockBytes) * blockBytes;
    this.#chain.data.fill(0, offset + this.#filledBytes, offset + batchBytes);
    this.#half = 1 - this.#half;
    this.#filledBytes = 0;
    this.flushCount++;
    const written = (): void => {
      this.#isWriting = false;
      this.#onDurable(lastIndex);
      this.kick();
    };
    this.#chain.run(
      { lane: 0, offset, journalBytes: batchBytes, ledgerBytes: ledgerWriteBytesMin },
      written,
    );
  }
}
