/** Hashes of `node:crypto`; the one-shot form where this version of Node has it, which is twice as fast for short input. */
import * as crypto from 'node:crypto';
import type { Cryptography } from '../ports/cryptography.ts';

type OneShot = (algorithm: string, bytes: Uint8Array, encoding: 'buffer') => Uint8Array;

const oneShot: OneShot | undefined = 'hash' in crypto ? crypto.hash : undefined;

/** Makes the hashes of this process. */
export function nodeCryptography(): Cryptography {
  return {
    sha256:
      oneShot === undefined
        ? (bytes) => crypto.createHash('sha256').update(bytes).digest()
        : (bytes) => oneShot('sha256', bytes, 'buffer'),
    hmacSha256: (key, bytes) => crypto.createHmac('sha256', key).update(bytes).digest(),
  };
}
