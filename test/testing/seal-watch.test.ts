/** What the simulator watches of all that is sealed and opened (specification §8.2, KER-7). */
import { describe, expect, test } from 'vitest';

import type { BlockCipher, CipherPlace, Cryptography } from '../../src/ports/cryptography.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { SealWatch } from '../../src/testing/seal-watch.ts';

const key = new Uint8Array(32).fill(7);
const place: CipherPlace = {
  start: 0,
  length: 100,
  nonce: new Uint8Array(12),
  associated: Uint8Array.of(1),
};

function watched(cryptography: Cryptography): {
  readonly cipher: BlockCipher;
  readonly violations: string[];
} {
  const violations: string[] = [];
  const watch = new SealWatch(cryptography, (message) => violations.push(message));
  return { cipher: watch.blockCipher(key), violations };
}

/** Sealed text with a flipped bit in its tag. */
function spoiled(cipher: BlockCipher): Uint8Array {
  const block = new Uint8Array(116).fill(0x41, 0, 100);
  cipher.seal(block, place);
  block[110] = (block[110] ?? 0) ^ 1;
  return block;
}

describe('the watch', () => {
  test('says nothing of what opens, and of what does not and leaves nothing', () => {
    const { cipher, violations } = watched(nodeCryptography);
    const block = new Uint8Array(116).fill(0x41, 0, 100);
    cipher.seal(block, place);
    expect(cipher.open(block, place)).toBe(true);
    expect(block.subarray(0, 100)).toEqual(new Uint8Array(100).fill(0x41));

    const other = watched(nodeCryptography);
    expect(other.cipher.open(spoiled(other.cipher), place)).toBe(false);

    expect([...violations, ...other.violations]).toEqual([]);
  });

  test('tells of a nonce that comes twice', () => {
    const { cipher, violations } = watched(nodeCryptography);
    cipher.seal(new Uint8Array(116), place);
    cipher.seal(new Uint8Array(116), place);
    expect(violations).toEqual([expect.stringContaining('used twice')]);
  });

  test('tells of text that was decrypted and left though its tag is wrong', () => {
    const leaky: Cryptography = {
      ...nodeCryptography,
      blockCipher: (bytes) => {
        const cipher = nodeCryptography.blockCipher(bytes);
        return {
          prepare: (nonce) => {
            cipher.prepare(nonce);
          },
          seal: (target, at) => {
            cipher.seal(target, at);
          },
          open: (target, at) => {
            const isOpen = cipher.open(target, at);
            if (!isOpen) target.fill(0x41, at.start, at.start + at.length);
            return isOpen;
          },
        };
      },
    };
    const { cipher, violations } = watched(leaky);
    expect(cipher.open(spoiled(cipher), place)).toBe(false);
    expect(violations).toEqual([expect.stringContaining('KER-7')]);
  });
});
