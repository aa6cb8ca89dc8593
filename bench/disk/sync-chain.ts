/**
 * One durable step as the store takes it, in each way Node offers: write the journal, sync it, then write the
 * ledger (one flush in two copies, side by side in one write), sync that. The second pair never starts
 * before the first is on disk. What differs is who waits for the disk:
 *
 * - `pool`: four requests to libuv's threads, each answered through the event loop;
 * - `poolSync`: writes into the page cache on the loop, only the two syncs in the pool;
 * - `poolDirect`: two O_DIRECT|O_DSYNC writes in the pool, each its own sync;
 * - `worker…`: one request to a thread of our own, which makes all calls synchronously and answers once.
 *   Buffered or direct; answering by a message port or by a word in shared memory (`Atomics.waitAsync`);
 * - `worker…None`: the same hop with no disk behind it, the price of the thread alone;
 * - `blocking…`: all calls on the loop itself. The floor, and a loop that stands still meanwhile.
 */
import { closeSync, fdatasync, fdatasyncSync, write, writeSync } from 'node:fs';
import { alignedSharedMemory, openForWriting, type WriteMode } from './preallocated-file.ts';
import { ledgerWriteBytesMin, WorkerChain, type WorkerAnswer } from './worker-chain.ts';

/** The two files and how much goes into each per step. */
export interface SyncFiles {
  readonly journalPath: string;
  readonly journalBytes: number;
  readonly journalWriteBytes: number;
  readonly ledgerPath: string;
  readonly ledgerBytes: number;
}

/** Takes one step after another; `done` is called when both files are durable, perhaps before `run` returns. */
export interface SyncChain {
  run(done: () => void): void;
  close(): Promise<void>;
}

/** The ways to sync, in the order of the report. */
export const syncMethods = [
  'pool',
  'poolSync',
  'poolDirect',
  'workerBufferedPort',
  'workerBufferedWaitAsync',
  'workerDirectPort',
  'workerDirectWaitAsync',
  'workerNonePort',
  'workerNoneWaitAsync',
  'blockingBuffered',
  'blockingDirect',
] as const;

/** One way to sync. */
export type SyncMethod = (typeof syncMethods)[number];

/** Opens the files for one method. */
export async function openSyncChain(method: SyncMethod, files: SyncFiles): Promise<SyncChain> {
  switch (method) {
    case 'pool':
      return new LoopChain(files, 'buffered', runPool);
    case 'poolSync':
      return new LoopChain(files, 'buffered', runPoolSync);
    case 'poolDirect':
      return new LoopChain(files, 'direct', runPoolDirect);
    case 'blockingBuffered':
      return new LoopChain(files, 'buffered', runBlocking);
    case 'blockingDirect':
      return new LoopChain(files, 'direct', runBlocking);
    case 'workerBufferedPort':
      return openWorker(files, 'buffered', 'port');
    case 'workerBufferedWaitAsync':
      return openWorker(files, 'buffered', 'waitAsync');
    case 'workerDirectPort':
      return openWorker(files, 'direct', 'port');
    case 'workerDirectWaitAsync':
      return openWorker(files, 'direct', 'waitAsync');
    case 'workerNonePort':
      return openWorker(files, 'none', 'port');
    case 'workerNoneWaitAsync':
      return openWorker(files, 'none', 'waitAsync');
  }
}

/** What the methods that need no thread of their own work on. */
interface LoopStep {
  readonly mode: WriteMode;
  readonly journal: number;
  readonly ledger: number;
  readonly journalData: Buffer;
  readonly ledgerData: Buffer;
  readonly journalAt: number;
  readonly ledgerAt: number;
  readonly done: () => void;
}

class LoopChain implements SyncChain {
  readonly #files: SyncFiles;
  readonly #mode: WriteMode;
  readonly #method: (step: LoopStep) => void;
  readonly #journal: number;
  readonly #ledger: number;
  readonly #journalData: Buffer;
  readonly #ledgerData: Buffer;
  #stepCount = 0;

  constructor(files: SyncFiles, mode: WriteMode, method: (step: LoopStep) => void) {
    this.#files = files;
    this.#mode = mode;
    this.#method = method;
    this.#journal = openForWriting(files.journalPath, mode);
    this.#ledger = openForWriting(files.ledgerPath, mode);
    const memory = alignedSharedMemory(files.journalWriteBytes + ledgerWriteBytesMin);
    this.#journalData = Buffer.from(memory, 0, files.journalWriteBytes).fill(0xa5);
    this.#ledgerData = Buffer.from(memory, files.journalWriteBytes, ledgerWriteBytesMin).fill(0x5a);
  }

  run(done: () => void): void {
    const { journalBytes, journalWriteBytes, ledgerBytes } = this.#files;
    const step = this.#stepCount++;
    this.#method({
      mode: this.#mode,
      journal: this.#journal,
      ledger: this.#ledger,
      journalData: this.#journalData,
      ledgerData: this.#ledgerData,
      journalAt: (step * journalWriteBytes) % journalBytes,
      ledgerAt: (step * ledgerWriteBytesMin) % ledgerBytes,
      done,
    });
  }

  async close(): Promise<void> {
    closeSync(this.#journal);
    closeSync(this.#ledger);
    return Promise.resolve();
  }
}

async function openWorker(
  files: SyncFiles,
  mode: WriteMode | 'none',
  answer: WorkerAnswer,
): Promise<SyncChain> {
  const worker = await WorkerChain.open({
    lanes: [{ journalPath: files.journalPath, ledgerPath: files.ledgerPath }],
    mode,
    answer,
    journalBytes: files.journalBytes,
    ledgerBytes: files.ledgerBytes,
    batchBytesMax: files.journalWriteBytes,
  });
  const request = {
    lane: 0,
    offset: 0,
    journalBytes: files.journalWriteBytes,
    ledgerBytes: ledgerWriteBytesMin,
  };
  return {
    run(done) {
      worker.run(request, done);
    },
    close: () => worker.close(),
  };
}

function runPool(step: LoopStep): void {
  write(step.journal, step.journalData, 0, step.journalData.length, step.journalAt, (error) => {
    rethrow(error);
    fdatasync(step.journal, (error) => {
      rethrow(error);
      write(step.ledger, step.ledgerData, 0, step.ledgerData.length, step.ledgerAt, (error) => {
        rethrow(error);
        fdatasync(step.ledger, (error) => {
          rethrow(error);
          step.done();
        });
      });
    });
  });
}

function runPoolSync(step: LoopStep): void {
  writeSync(step.journal, step.journalData, 0, step.journalData.length, step.journalAt);
  fdatasync(step.journal, (error) => {
    rethrow(error);
    writeSync(step.ledger, step.ledgerData, 0, step.ledgerData.length, step.ledgerAt);
    fdatasync(step.ledger, (error) => {
      rethrow(error);
      step.done();
    });
  });
}

function runPoolDirect(step: LoopStep): void {
  write(step.journal, step.journalData, 0, step.journalData.length, step.journalAt, (error) => {
    rethrow(error);
    write(step.ledger, step.ledgerData, 0, step.ledgerData.length, step.ledgerAt, (error) => {
      rethrow(error);
      step.done();
    });
  });
}

function runBlocking(step: LoopStep): void {
  writeSync(step.journal, step.journalData, 0, step.journalData.length, step.journalAt);
  if (step.mode === 'buffered') fdatasyncSync(step.journal);
  writeSync(step.ledger, step.ledgerData, 0, step.ledgerData.length, step.ledgerAt);
  if (step.mode === 'buffered') fdatasyncSync(step.ledger);
  step.done();
}

function rethrow(error: Error | null): void {
  if (error !== null) throw error;
}
