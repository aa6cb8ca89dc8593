/**
 * A thread that makes writes durable with synchronous calls, so that journal write, journal sync, ledger
 * write and ledger sync cost one hop there and one back instead of one for each.
 *
 * The caller puts a request into a ring in shared memory and wakes the thread, which sleeps in `Atomics.wait`. A
 * thread that finds the next request already there does not go to sleep. It answers by advancing a counter and
 * then either posting to its message port or waking the caller's `Atomics.waitAsync`; several answers may
 * be seen at once. Each lane is one journal and one ledger file; the thread keeps their positions and wraps
 * around at the end of the preallocated files.
 *
 * Layout of the control words (Int32): requested, answered, then for each slot {lane, offset, journal
 * bytes, ledger bytes}.
 */
import { Worker } from 'node:worker_threads';
import { alignedSharedMemory, blockBytes, type WriteMode } from './preallocated-file.ts';

/** How the thread tells the loop that a request is durable. */
export type WorkerAnswer = 'port' | 'waitAsync';

/** Two files that belong together. */
export interface WorkerLane {
  readonly journalPath: string;
  readonly ledgerPath: string;
}

/** What the thread is started with. */
export interface WorkerChainOptions {
  readonly lanes: readonly WorkerLane[];
  /** `none` writes nothing: the hop alone. */
  readonly mode: WriteMode | 'none';
  readonly answer: WorkerAnswer;
  readonly journalBytes: number;
  readonly ledgerBytes: number;
  /** The largest single journal write. */
  readonly batchBytesMax: number;
}

/** What crosses over to the thread, besides the options. */
export interface WorkerChainStart {
  readonly options: WorkerChainOptions;
  readonly control: SharedArrayBuffer;
  readonly memory: SharedArrayBuffer;
}

/** One durable step: so many bytes into the journal of a lane, then so many into its ledger. */
export interface WorkerRequest {
  readonly lane: number;
  /** Where the bytes for the journal begin in {@link WorkerChain.data}. */
  readonly offset: number;
  /** Whole blocks. */
  readonly journalBytes: number;
  /** Whole blocks, both copies of the flush together, at most {@link ledgerWriteBytesMax}. */
  readonly ledgerBytes: number;
}

/** A ledger flush of one record: one block, written twice. */
export const ledgerWriteBytesMin: number = 2 * blockBytes;
/** The largest ledger flush. */
export const ledgerWriteBytesMax: number = 64 * blockBytes;

/** How many requests fit into the ring. */
export const ringSlotCount = 1024;
/** Where the control words lie. */
export const controlWord = { requested: 0, answered: 1, slots: 2 } as const;
/** Words per slot: lane, offset of the data, bytes for the journal, bytes for the ledger. */
export const slotWordCount = 4;

interface AsyncWaiting {
  waitAsync(
    words: Int32Array,
    index: number,
    value: number,
  ): { readonly async: boolean; readonly value: Promise<string> | string };
}

/** The caller's side of the thread. */
export class WorkerChain {
  readonly #worker: Worker;
  readonly #control: Int32Array;
  readonly #answer: WorkerAnswer;
  readonly #callbacks: (() => void)[] = [];
  #callbackHead = 0;
  #requested = 0;
  #answered = 0;
  #isWaiting = false;
  /** Two halves of `batchBytesMax` each, to be filled before `run` names an offset in them. */
  readonly data: Buffer;

  private constructor(worker: Worker, options: WorkerChainOptions, start: WorkerChainStart) {
    this.#worker = worker;
    this.#control = new Int32Array(start.control);
    this.#answer = options.answer;
    this.data = Buffer.from(start.memory);
    worker.on('message', () => {
      this.#drain();
    });
    worker.on('error', (error) => {
      throw error;
    });
  }

  /** Starts the thread and waits until it has opened its files. */
  static async open(options: WorkerChainOptions): Promise<WorkerChain> {
    const words = controlWord.slots + ringSlotCount * slotWordCount;
    const start: WorkerChainStart = {
      options,
      control: new SharedArrayBuffer(words * Int32Array.BYTES_PER_ELEMENT),
      memory: alignedSharedMemory(2 * options.batchBytesMax),
    };
    // A thread does not inherit the loader of TypeScript sources, so its first line brings one.
    const source = new URL('./worker-chain-thread.ts', import.meta.url).href;
    const worker = new Worker(
      `import('tsx/esm/api').then(({ tsImport }) => tsImport(${JSON.stringify(source)}, ${JSON.stringify(import.meta.url)}));`,
      { eval: true, workerData: start },
    );
    await new Promise<void>((resolve, reject) => {
      worker.once('message', () => {
        resolve();
      });
      worker.once('error', reject);
    });
    return new WorkerChain(worker, options, start);
  }

  /** Asks for one step; `done` is called once both files are durable. */
  run(request: WorkerRequest, done: () => void): void {
    if (this.#requested - this.#answered >= ringSlotCount) throw new RangeError('the ring is full');
    const slot = controlWord.slots + (this.#requested % ringSlotCount) * slotWordCount;
    this.#control[slot] = request.lane;
    this.#control[slot + 1] = request.offset;
    this.#control[slot + 2] = request.journalBytes;
    this.#control[slot + 3] = request.ledgerBytes;
    this.#callbacks.push(done);
    Atomics.store(this.#control, controlWord.requested, ++this.#requested);
    Atomics.notify(this.#control, controlWord.requested);
    if (this.#answer === 'waitAsync') this.#await();
  }

  /** Ends the thread. */
  async close(): Promise<void> {
    this.#worker.removeAllListeners('error');
    await this.#worker.terminate();
  }

  #await(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    const atomics = Atomics as unknown as AsyncWaiting;
    const wait = atomics.waitAsync(this.#control, controlWord.answered, this.#answered);
    const resume = (): void => {
      this.#isWaiting = false;
      this.#drain();
      if (this.#answered < this.#requested) this.#await();
    };
    if (typeof wait.value === 'string') queueMicrotask(resume);
    else void wait.value.then(resume);
  }

  #drain(): void {
    const answered = Atomics.load(this.#control, controlWord.answered);
    while (this.#answered < answered) {
      this.#answered++;
      const callback = this.#callbacks[this.#callbackHead++];
      if (this.#callbackHead > 4096) {
        this.#callbacks.splice(0, this.#callbackHead);
        this.#callbackHead = 0;
      }
      callback?.();
    }
  }
}
