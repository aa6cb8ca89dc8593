/** Reads past the page cache: through one piece of aligned memory, one after the other. */
import type { SharedMemory } from './io-worker.ts';
import { readInto } from './node-file-io.ts';
import type { Channel } from './open-file.ts';

/** See the file comment. */
export class DirectReads {
  readonly #memory: SharedMemory;
  readonly #staging: Uint8Array;
  #reading: Promise<unknown> = Promise.resolve();

  /** `staging` lies in `memory`, at a multiple of 4,096. */
  constructor(memory: SharedMemory, staging: Uint8Array) {
    this.#memory = memory;
    this.#staging = staging;
  }

  /** Reads up to `length` bytes; shorter only at the end of the file. */
  read(
    channel: Channel,
    place: { readonly path: string; readonly position: number },
    length: number,
  ): Promise<Uint8Array> {
    const result = this.#reading.then(() => this.#read(channel, place, length));
    this.#reading = result.catch(() => undefined);
    return result;
  }

  async #read(
    channel: Channel,
    { path, position }: { readonly path: string; readonly position: number },
    length: number,
  ): Promise<Uint8Array> {
    const whole = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      // The memory may have grown since the last piece.
      const part = Buffer.from(
        this.#memory.buffer,
        this.#staging.byteOffset,
        Math.min(this.#staging.length, length - filled),
      );
      const read = await readInto(channel, part, { path, position: position + filled });
      whole.set(read, filled);
      filled += read.length;
      if (read.length < part.length) break;
    }
    return whole.subarray(0, filled);
  }
}
