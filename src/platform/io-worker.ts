/**
 * The thread that performs chains of writes and syncs with synchronous calls: one hop there and one back for a whole chain
 * (docs/adr/0004 has the measurements).
 *
 * The loop puts commands into a ring in shared memory and wakes the thread, which sleeps in `Atomics.wait`; a thread that
 * finds the next command already there does not go to sleep. The first command of a chain is there before the others are made: what
 * the second write holds is laid out while the first is under way. Results go into a second ring, one per chain, followed by an
 * empty message that makes the loop look. Bytes to be written lie in one growing shared memory of WebAssembly, because that
 * starts on a page boundary, as O_DIRECT needs it. Chains that find a ring full wait on the loop's side and go in, in their
 * order, as earlier ones complete.
 *
 * The thread's code is a string of plain JavaScript: a file would have to be found both in the sources and in the built
 * package, and a thread does not inherit the loader that runs TypeScript sources.
 */
import { Worker } from 'node:worker_threads';

import { assert, present } from '../base/assert.ts';

/** Which step of a chain failed, with the operating system's error number; `undefined` when all succeeded. */
export type ChainResult = { readonly stepIndex: number; readonly errorNumber: number } | undefined;

/** What a command does. */
export const commandKind = { write: 0, sync: 1, none: 2 } as const;

/** A command: one step of a chain. */
export interface IoCommand {
  readonly kind: number;
  readonly descriptor: number;
  /** Where its bytes begin in the shared memory. */
  readonly offset: number;
  readonly length: number;
  readonly position: number;
}

/** The commands of a chain; each is made when it is asked for, in order. */
export type IoCommands = Pick<readonly IoCommand[], 'length' | 'at'>;

/** A chain with the one who waits for it. */
interface QueuedChain {
  readonly commands: IoCommands;
  readonly done: (result: ChainResult) => void;
}

/** A WebAssembly memory, as far as it is needed here. */
export interface SharedMemory {
  readonly buffer: SharedArrayBuffer;
  grow(pages: number): number;
}

/** What stands in the ring for a chain without steps: its result must come in its turn as well. */
const nothing: IoCommands = [
  { kind: commandKind.none, descriptor: 0, offset: 0, length: 0, position: 0 },
];
/** Fails: it ends a chain of which a step could not be made. */
const impossible: IoCommand = {
  kind: commandKind.sync,
  descriptor: -1,
  offset: 0,
  length: 0,
  position: 0,
};
/** Commands that fit into the ring; a node has one or two chains under way. */
const ringCommands = 4096;
const wordsPerCommand = 6;
/** Results that fit into theirs. */
const ringResults = 1024;
/** Error number of everything that a dead thread leaves behind. */
export const workerDiedErrorNumber: number = Number.MIN_SAFE_INTEGER;

const threadSource = `
'use strict';
const { fdatasyncSync, writeSync } = require('node:fs');
const { parentPort, workerData } = require('node:worker_threads');
const { memory, ringCommands, wordsPerCommand, ringResults } = workerData;
const counters = new Int32Array(workerData.counters);
const commands = new Float64Array(workerData.commands);
const results = new Int32Array(workerData.results);
let bytes = Buffer.from(memory.buffer);
function run(at) {
  const kind = commands[at];
  const descriptor = commands[at + 1];
  if (kind === 1) fdatasyncSync(descriptor);
  if (kind !== 0) return;
  let offset = commands[at + 2];
  let length = commands[at + 3];
  let position = commands[at + 4];
  if (offset + length > bytes.length) {
    // A memory that grew while this thread was being started may still show its old length here; growing by nothing looks again.
    memory.grow(0);
    bytes = Buffer.from(memory.buffer);
  }
  while (length > 0) {
    const written = writeSync(descriptor, bytes, offset, length, position);
    if (written <= 0) throw Object.assign(new Error('nothing was written'), { errno: -5 });
    offset += written;
    length -= written;
    position += written;
  }
}
let done = 0;
let chain = 0;
let step = 0;
let failedStep = -1;
let errorNumber = 0;
for (;;) {
  Atomics.wait(counters, 0, done);
  while (done !== Atomics.load(counters, 0)) {
    const at = ((done >>> 0) % ringCommands) * wordsPerCommand;
    if (failedStep < 0) {
      try {
        run(at);
      } catch (error) {
        failedStep = step;
        errorNumber = typeof error.errno === 'number' ? error.errno : -5;
      }
    }
    done = (done + 1) | 0;
    step++;
    if (commands[at + 5] === 0) continue;
    const result = ((chain >>> 0) % ringResults) * 2;
    results[result] = failedStep;
    results[result + 1] = errorNumber;
    chain = (chain + 1) | 0;
    step = 0;
    failedStep = -1;
    errorNumber = 0;
    Atomics.store(counters, 1, chain);
    parentPort.postMessage(0);
  }
}
`;

/** See the file comment. */
export class IoWorker {
  readonly #worker: Worker;
  readonly #counters = new Int32Array(new SharedArrayBuffer(8));
  readonly #commands = new Float64Array(new SharedArrayBuffer(ringCommands * wordsPerCommand * 8));
  readonly #results = new Int32Array(new SharedArrayBuffer(ringResults * 2 * 4));
  /** Chains in the ring. */
  readonly #underWay: QueuedChain[] = [];
  #commandsUnderWay = 0;
  /** Chains that the ring has no room for. */
  readonly #waiting: QueuedChain[] = [];
  #requested = 0;
  #answered = 0;
  #isDead = false;

  /** Starts the thread. `onDeath` is told why it ended by itself. */
  constructor(memory: SharedMemory, onDeath: (message: string) => void) {
    this.#worker = new Worker(threadSource, {
      eval: true,
      name: 'clustor-io',
      // The thread takes nothing from how this process was started: loaders and inspectors are not for it.
      execArgv: [],
      workerData: {
        memory,
        ringCommands,
        wordsPerCommand,
        ringResults,
        counters: this.#counters.buffer,
        commands: this.#commands.buffer,
        results: this.#results.buffer,
      },
    });
    this.#worker.on('message', () => {
      this.#drain();
    });
    const died = (message: string): void => {
      if (this.#isDead) return;
      onDeath(message);
      this.#died();
    };
    this.#worker.on('error', (error) => died(error.message));
    this.#worker.on('exit', (exitCode) => died(`exit code ${exitCode}`));
    this.#worker.unref();
  }

  /** Runs a chain behind all earlier ones; `done` is never called from within. */
  run(chain: IoCommands, done: (result: ChainResult) => void): void {
    if (this.#isDead) {
      setImmediate(done, { stepIndex: 0, errorNumber: workerDiedErrorNumber });
      return;
    }
    const queued: QueuedChain = { commands: chain.length === 0 ? nothing : chain, done };
    assert(chain.length <= ringCommands, 'a chain is shorter than the ring');
    if (this.#underWay.length === 0) this.#worker.ref();
    if (this.#waiting.length === 0 && this.#hasRoomFor(queued)) this.#put(queued);
    else this.#waiting.push(queued);
  }

  /** Ends the thread; chains under way fail. */
  async close(): Promise<void> {
    this.#died();
    await this.#worker.terminate();
  }

  #hasRoomFor(chain: QueuedChain): boolean {
    return (
      this.#commandsUnderWay + chain.commands.length <= ringCommands &&
      this.#underWay.length < ringResults
    );
  }

  #put(chain: QueuedChain): void {
    const { commands } = chain;
    this.#underWay.push(chain);
    this.#commandsUnderWay += commands.length;
    for (let step = 0; step < commands.length; step++) {
      const isLast = step === commands.length - 1;
      let command: IoCommand;
      try {
        command = present(commands.at(step), 'a step has its command');
      } catch (error) {
        // What was begun must not pass for done, nor go on with the steps of the next chain.
        this.#publish(impossible, true);
        this.#wake();
        throw error;
      }
      this.#publish(command, isLast);
      // The thread begins with the first step while the others are made.
      if (step === 0 || isLast) this.#wake();
    }
  }

  #publish(command: IoCommand, isLast: boolean): void {
    const at = ((this.#requested >>> 0) % ringCommands) * wordsPerCommand;
    this.#commands[at] = command.kind;
    this.#commands[at + 1] = command.descriptor;
    this.#commands[at + 2] = command.offset;
    this.#commands[at + 3] = command.length;
    this.#commands[at + 4] = command.position;
    this.#commands[at + 5] = isLast ? 1 : 0;
    this.#requested = (this.#requested + 1) | 0;
  }

  #wake(): void {
    Atomics.store(this.#counters, 0, this.#requested);
    Atomics.notify(this.#counters, 0);
  }

  #drain(): void {
    const answered = Atomics.load(this.#counters, 1);
    while (this.#answered !== answered && !this.#isDead) {
      const at = ((this.#answered >>> 0) % ringResults) * 2;
      const stepIndex = this.#results[at] ?? -1;
      const errorNumber = this.#results[at + 1] ?? 0;
      this.#answered = (this.#answered + 1) | 0;
      const chain = this.#underWay.shift();
      this.#commandsUnderWay -= chain?.commands.length ?? 0;
      this.#admitWaiting();
      if (this.#underWay.length === 0) this.#worker.unref();
      chain?.done(stepIndex < 0 ? undefined : { stepIndex, errorNumber });
    }
  }

  #admitWaiting(): void {
    for (
      let first = this.#waiting[0];
      first !== undefined && this.#hasRoomFor(first);
      first = this.#waiting[0]
    ) {
      this.#waiting.shift();
      this.#put(first);
    }
  }

  #died(): void {
    if (this.#isDead) return;
    this.#drain();
    this.#isDead = true;
    const left = [...this.#underWay.splice(0), ...this.#waiting.splice(0)];
    for (const { done } of left) done({ stepIndex: 0, errorNumber: workerDiedErrorNumber });
  }
}
