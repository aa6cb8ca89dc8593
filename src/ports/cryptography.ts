/**
 * Deterministic cryptography: what comes out follows from what goes in, so the simulator runs the same implementation as a
 * real node. Chance (salts, keys) comes from the entropy port.
 *
 * Contract for implementers:
 * - AES-256-GCM with 12-byte nonces and whole 16-byte tags (NIST SP 800-38D), SHA-256, BLAKE3, and HKDF (RFC 5869) and HMAC with it.
 * - {@link BlockCipher.open} leaves plaintext only behind a tag that verified; otherwise it leaves zeros (KER-7).
 */

/** Where a block's text stands and what belongs to it; the tag stands right behind the text. @public */
export interface CipherPlace {
  /** Offset of the text. */
  readonly start: number;
  /** Bytes of the text, without the tag. */
  readonly length: number;
  /** 12 bytes; never twice under one key for sealing. */
  readonly nonce: Uint8Array;
  /** Authenticated, not encrypted. */
  readonly associated: Uint8Array;
}

/** Bytes of a tag. @public */
export const cipherTagBytes = 16;
/** Bytes of a nonce. @public */
export const cipherNonceBytes = 12;
/** Bytes of a key. @public */
export const cipherKeyBytes = 32;

/** AES-256-GCM under one key. @public */
export interface BlockCipher {
  /** The nonce of the next {@link BlockCipher.seal}, probably: what can be made ahead is. Another one is right as well. */
  prepare(nonce: Uint8Array): void;
  /** Encrypts the text in place and writes the tag behind it. */
  seal(target: Uint8Array, place: CipherPlace): void;
  /** Decrypts the text in place; returns whether the tag verified, and leaves zeros in place of the text when it did not. */
  open(target: Uint8Array, place: CipherPlace): boolean;
}

/** What a key is derived from. @public */
export interface KeyDerivation {
  readonly key: Uint8Array;
  readonly salt: Uint8Array;
  readonly info: Uint8Array;
}

/** See the file comment. @public */
export interface Cryptography {
  /** SHA-256: 32 bytes. */
  sha256(bytes: Uint8Array): Uint8Array;
  /** BLAKE3: 32 bytes. */
  blake3(bytes: Uint8Array): Uint8Array;
  /** HMAC-SHA256: 32 bytes. */
  hmacSha256(key: Uint8Array, bytes: Uint8Array): Uint8Array;
  /** HKDF-SHA256: 32 bytes. */
  hkdfSha256(derivation: KeyDerivation): Uint8Array;
  /** A cipher under a key of 32 bytes; it keeps a copy of its own. */
  blockCipher(key: Uint8Array): BlockCipher;
}

/** Whether two values are equal, in a time that does not depend on where they differ. */
export function isEqualSecret(left: Uint8Array, right: Uint8Array): boolean {
  let difference = left.length ^ right.length;
  for (let at = 0; at < left.length; at++) difference |= (left[at] ?? 0) ^ (right[at] ?? 0);
  return difference === 0;
}
