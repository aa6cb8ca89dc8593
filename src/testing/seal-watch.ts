/**
 * Real cryptography that remembers every key and nonce that anything was sealed with: one pair twice, in a whole history of
 * crashes, truncations and old disks, would give plaintext away (specification §8.2). And where a tag does not verify it looks for what
 * was decrypted: such text must not exist (KER-7).
 */
import type { Cryptography } from '../ports/cryptography.ts';

const fingerprintLabel = Uint8Array.of(0x77, 0x61, 0x74, 0x63, 0x68);

/** Where the watch keeps what it saw, and whom it tells. */
export class SealWatch implements Cryptography {
  readonly #cryptography: Cryptography;
  readonly #violated: (message: string) => void;
  readonly #nonces = new Map<string, Set<string>>();
  /** Seals seen. */
  sealed = 0;

  constructor(cryptography: Cryptography, violated: (message: string) => void) {
    this.#cryptography = cryptography;
    this.#violated = violated;
  }

  sha256(bytes: Uint8Array): Uint8Array {
    return this.#cryptography.sha256(bytes);
  }

  blake3(bytes: Uint8Array): Uint8Array {
    return this.#cryptography.blake3(bytes);
  }

  hmacSha256(key: Uint8Array, bytes: Uint8Array): Uint8Array {
    return this.#cryptography.hmacSha256(key, bytes);
  }

  hkdfSha256(derivation: Parameters<Cryptography['hkdfSha256']>[0]): Uint8Array {
    return this.#cryptography.hkdfSha256(derivation);
  }

  blockCipher(key: Uint8Array): ReturnType<Cryptography['blockCipher']> {
    const cipher = this.#cryptography.blockCipher(key);
    const name = this.#cryptography.hmacSha256(key, fingerprintLabel).join(',');
    const nonces = this.#nonces.get(name) ?? new Set<string>();
    this.#nonces.set(name, nonces);
    return {
      prepare: (nonce) => {
        cipher.prepare(nonce);
      },
      open: (target, place) => {
        if (cipher.open(target, place)) return true;
        const { start, length } = place;
        if (target.subarray(start, start + length).some((byte) => byte !== 0))
          this.#violated('text was decrypted and left, though its tag is wrong (KER-7)');
        return false;
      },
      seal: (target, place) => {
        const nonce = place.nonce.join(',');
        if (nonces.has(nonce)) this.#violated(`nonce ${nonce} was used twice under one key`);
        nonces.add(nonce);
        this.sealed++;
        cipher.seal(target, place);
      },
    };
  }
}
