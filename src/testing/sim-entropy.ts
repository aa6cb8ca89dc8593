/** Seeded randomness in place of the operating system's. */
import { nextUint32, type PrngState } from '../base/prng.ts';
import type { Entropy } from '../ports/entropy.ts';

/** An {@link Entropy} whose every draw follows from a generator. */
export class SimEntropy implements Entropy {
  readonly #random: PrngState;

  constructor(random: PrngState) {
    this.#random = random;
  }

  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let at = 0; at < count; at += 4) {
      const word = nextUint32(this.#random);
      for (let lane = 0; lane < 4 && at + lane < count; lane++)
        bytes[at + lane] = word >>> (lane * 8);
    }
    return bytes;
  }

  uint32(): number {
    return nextUint32(this.#random);
  }
}
