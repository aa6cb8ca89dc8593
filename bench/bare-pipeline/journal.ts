/**
 * The journal of one process of the bare pipeline: everything that arrived while the last batch was made durable
 * goes into the next, as whole 4 KiB blocks: journal first, then a ledger flush in two copies. `thread` does it as the
 * product does, by the direct writes of `disk/worker-chain.ts`; `pool` in the plainest way, `pool-chain.ts`. Blocks are
 * sealed with AES-256-GCM where that is asked for.
 *
 * Two halves of shared memory take turns: one fills while the other is being written.
 */
import { createCipheriv, createSecretKey, randomBytes, type KeyObject } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { blockBytes, preallocate } from '../disk/preallocated-file.ts';
import { ledgerWriteBytesMin, WorkerChain } from '../disk/worker-chain.ts';
import { PoolChain } from './pool-chain.ts';

/** How a journal makes its batches durable. */
export interface BareJournalOptions {
  readonly directory: string;
  readonly syncs: 'thread' | 'pool';
  readonly isSealed: boolean;
}

/** How long a batch may get; a client of the bench keeps far less outstanding. */
export const batchBytesMax: number = 4 << 20;

const journalBytes = 128 << 20;
const ledgerBytes = 16 << 20;

/** Appends batches and says what is durable. */
export class BareJournal {
  readonly #chain: WorkerChain | PoolChain;
  readonly #key: KeyObject | undefined;
  readonly #nonce = Buffer.alloc(12);
  #sealedBlocks = 0;
  readonly #onDurable: (index: number) => void;
  #half = 0;
  #filledBytes = 0;
  #lastIndex = 0;
  #isWriting = false;
  flushCount = 0;
  entryCount = 0;

  private constructor(
    chain: WorkerChain | PoolChain,
    isSealed: boolean,
    onDurable: (index: number) => void,
  ) {
    this.#chain = chain;
    this.#key = isSealed ? createSecretKey(randomBytes(32)) : undefined;
    this.#onDurable = onDurable;
  }

  /** Makes both files in a fresh folder. `onDurable` is told the last index after each sync. */
  static async open(
    options: BareJournalOptions,
    onDurable: (index: number) => void,
  ): Promise<BareJournal> {
    const { directory, syncs, isSealed } = options;
    mkdirSync(directory, { recursive: true });
    const lane = { journalPath: join(directory, 'journal'), ledgerPath: join(directory, 'ledger') };
    preallocate(lane.journalPath, journalBytes);
    preallocate(lane.ledgerPath, ledgerBytes);
    const sizes = { journalBytes, ledgerBytes, batchBytesMax };
    const chain =
      syncs === 'pool'
        ? new PoolChain(lane, sizes)
        : await WorkerChain.open({ lanes: [lane], mode: 'direct', answer: 'port', ...sizes });
    return new BareJournal(chain, isSealed, onDurable);
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
    if (this.#key !== undefined) this.#seal(this.#key, offset, offset + batchBytes);
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

  #seal(key: KeyObject, start: number, end: number): void {
    for (let at = start; at < end; at += blockBytes) {
      this.#nonce.writeUInt32LE(++this.#sealedBlocks);
      const cipher = createCipheriv('aes-256-gcm', key, this.#nonce);
      cipher.update(this.#chain.data.subarray(at, at + blockBytes)).copy(this.#chain.data, at);
      cipher.final();
      cipher.getAuthTag();
    }
  }
}
