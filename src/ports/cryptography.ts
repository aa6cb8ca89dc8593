/** What the middle needs of cryptography: hashes, synchronous, of bytes that are in memory. */

/** Hashes. @public */
export interface Cryptography {
  /** SHA-256 of `bytes`: 32 bytes. */
  sha256(bytes: Uint8Array): Uint8Array;
  /** HMAC-SHA256 of `bytes` under `key`: 32 bytes. */
  hmacSha256(key: Uint8Array, bytes: Uint8Array): Uint8Array;
}
