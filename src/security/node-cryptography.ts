/**
 * Deterministic cryptography by Node's own library. It is the one file below the rim that imports a module of the host: a
 * function of its arguments needs no simulated double, and a simulated cluster seals with the real thing.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hash,
  hkdfSync,
  type CipherGCM,
  type KeyObject,
} from 'node:crypto';
import { assert } from '../base/assert.ts';
import { isSameBytes } from '../base/bytes.ts';
import {
  cipherKeyBytes,
  cipherTagBytes,
  type BlockCipher,
  type CipherPlace,
  type Cryptography,
} from '../ports/cryptography.ts';
import { blake3 } from './blake3.ts';

const algorithm = 'aes-256-gcm';
const tagOptions = { authTagLength: cipherTagBytes } as const;

/** See the file comment. */
export const nodeCryptography: Cryptography = {
  sha256: (bytes) => new Uint8Array(hash('sha256', bytes, 'buffer')),
  blake3,
  hmacSha256: (key, bytes) => new Uint8Array(createHmac('sha256', key).update(bytes).digest()),
  hkdfSha256: ({ key, salt, info }) =>
    new Uint8Array(hkdfSync('sha256', key, salt, info, cipherKeyBytes)),
  blockCipher: (key) => {
    assert(key.length === cipherKeyBytes, 'a cipher has a key of 32 bytes');
    return new GcmCipher(createSecretKey(key));
  },
};

class GcmCipher implements BlockCipher {
  readonly #key: KeyObject;
  /** Made ahead, for one nonce and one use. */
  #ready: { readonly nonce: Uint8Array; readonly cipher: CipherGCM } | undefined;

  constructor(key: KeyObject) {
    this.#key = key;
  }

  prepare(nonce: Uint8Array): void {
    this.#ready = {
      nonce: nonce.slice(),
      cipher: createCipheriv(algorithm, this.#key, nonce, tagOptions),
    };
  }

  seal(target: Uint8Array, { start, length, nonce, associated }: CipherPlace): void {
    const cipher = this.#take(nonce);
    cipher.setAAD(associated);
    target.set(cipher.update(target.subarray(start, start + length)), start);
    cipher.final();
    target.set(cipher.getAuthTag(), start + length);
  }

  #take(nonce: Uint8Array): CipherGCM {
    const ready = this.#ready;
    this.#ready = undefined;
    if (ready !== undefined && isSameBytes(ready.nonce, nonce)) return ready.cipher;
    return createCipheriv(algorithm, this.#key, nonce, tagOptions);
  }

  open(target: Uint8Array, { start, length, nonce, associated }: CipherPlace): boolean {
    const decipher = createDecipheriv(algorithm, this.#key, nonce, tagOptions);
    decipher.setAAD(associated);
    decipher.setAuthTag(target.subarray(start + length, start + length + cipherTagBytes));
    const plain = decipher.update(target.subarray(start, start + length));
    try {
      decipher.final();
    } catch {
      // The one reason for which it throws is a tag that does not verify.
      plain.fill(0);
      target.fill(0, start, start + length);
      return false;
    }
    target.set(plain, start);
    plain.fill(0);
    return true;
  }
}
