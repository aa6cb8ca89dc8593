/**
 * Runs chains one after the other: on a thread of their own, or, where there is none, with synchronous calls on the loop.
 *
 * A thread that ends while no chain is under way has left nothing unsaid, and the loop takes over. One that ends with chains
 * under way may have been told of a failed sync and not have passed it on: everything behind it fails (KER-10).
 */
import { fdatasyncSync, writeSync } from 'node:fs';
import { present } from '../base/assert.ts';
import { messageOf } from '../base/errors.ts';
import {
  commandKind,
  IoWorker,
  type ChainResult,
  type IoCommands,
  type SharedMemory,
} from './io-worker.ts';

/** `EIO`, where the system names no error. */
const inputOutputErrorNumber = -5;

/** What a lane tells. */
export interface ChainLaneListener {
  /** The thread could not be started, or ended while nothing was under way: chains run on the loop from now on. */
  degraded(message: string): void;
  /** The thread ended with chains under way: they fail, and so does everything after them. */
  died(message: string): void;
}

/** See the file comment. */
export class ChainLane {
  readonly #memory: SharedMemory;
  readonly #listener: ChainLaneListener;
  #worker: IoWorker | undefined;
  #underWay = 0;

  constructor(memory: SharedMemory, listener: ChainLaneListener) {
    this.#memory = memory;
    this.#listener = listener;
  }

  /** Whether chains hold up the loop. */
  get isOnLoop(): boolean {
    return this.#worker === undefined;
  }

  /** Starts a thread. Only while no chain is under way. */
  start(): void {
    try {
      this.#worker = new IoWorker(this.#memory, (message) => {
        this.#ended(message);
      });
    } catch (error) {
      this.#listener.degraded(messageOf(error));
    }
  }

  /** Starts a thread again, and waits for its first answer. */
  async restart(): Promise<void> {
    this.start();
    const worker = this.#worker;
    if (worker === undefined) return;
    const result = await new Promise<ChainResult>((resolve) => {
      worker.run([], resolve);
    });
    if (result !== undefined) this.#worker = undefined;
  }

  /** Runs a chain behind all earlier ones; `done` is never called from within. */
  run(commands: IoCommands, done: (result: ChainResult) => void): void {
    this.#underWay++;
    const completed = (result: ChainResult): void => {
      this.#underWay--;
      done(result);
    };
    if (this.#worker !== undefined) this.#worker.run(commands, completed);
    else setImmediate(() => completed(runHere(commands, this.#memory)));
  }

  /** Ends the thread; chains run on the loop from now on. Only while none is under way. */
  async stop(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.close();
  }

  #ended(message: string): void {
    if (this.#underWay > 0) {
      this.#listener.died(message);
      return;
    }
    this.#worker = undefined;
    this.#listener.degraded(message);
  }
}

function runHere(commands: IoCommands, memory: SharedMemory): ChainResult {
  for (let stepIndex = 0; stepIndex < commands.length; stepIndex++) {
    const command = present(commands.at(stepIndex), 'a step has its command');
    try {
      if (command.kind === commandKind.sync) fdatasyncSync(command.descriptor);
      if (command.kind !== commandKind.write) continue;
      const bytes = Buffer.from(memory.buffer, command.offset, command.length);
      for (let done = 0; done < bytes.length;) {
        const written = writeSync(
          command.descriptor,
          bytes,
          done,
          bytes.length - done,
          command.position + done,
        );
        if (written === 0) return { stepIndex, errorNumber: inputOutputErrorNumber };
        done += written;
      }
    } catch (error) {
      return {
        stepIndex,
        errorNumber:
          error instanceof Error && 'errno' in error ? Number(error.errno) : inputOutputErrorNumber,
      };
    }
  }
  return undefined;
}
