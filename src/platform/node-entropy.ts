/** The operating system's randomness. */
import { randomBytes } from 'node:crypto';
import type { Entropy } from '../ports/entropy.ts';

/** {@link Entropy} of this process. */
export const nodeEntropy: Entropy = {
  bytes: (count) => new Uint8Array(randomBytes(count)),
  uint32: () => randomBytes(4).readUInt32LE(0),
};
