/**
 * KEKs that this process holds itself, from a file or an environment variable: a key is wrapped with AES-256-GCM under the
 * first of them, and unwrapped under the one that it names.
 *
 * ```
 * wrapped  nonce 12, random · ciphertext · tag 16; associated data = the context as text
 * ```
 */
import { utf8Encode } from '../base/bytes.ts';
import { ClustorError } from '../base/errors.ts';
import {
  cipherKeyBytes,
  cipherNonceBytes,
  cipherTagBytes,
  type Cryptography,
} from '../ports/cryptography.ts';
import type { Entropy } from '../ports/entropy.ts';
import {
  keyContextText,
  type KeyContext,
  type KeyProvider,
  type WrappedKey,
} from '../ports/key-provider.ts';

/** What a {@link LocalKeyProvider} is made of. */
export interface LocalKeyProviderParts {
  /** Where the KEKs are from, for people. */
  readonly name: string;
  /** By id; the first one wraps. */
  readonly keks: ReadonlyMap<string, Uint8Array>;
  readonly cryptography: Cryptography;
  readonly entropy: Entropy;
}

/** See the file comment. */
export class LocalKeyProvider implements KeyProvider {
  readonly name: string;
  readonly #parts: LocalKeyProviderParts;
  readonly #newestId: string;

  /** @throws ClustorError `CLUSTOR_INVALID_ARGUMENT` for a KEK that is none. */
  constructor(parts: LocalKeyProviderParts) {
    const [newestId] = parts.keks.keys();
    if (newestId === undefined)
      throw new ClustorError('CLUSTOR_INVALID_ARGUMENT', `${parts.name} holds no key`);
    for (const [id, kek] of parts.keks) {
      if (kek.length !== cipherKeyBytes)
        throw new ClustorError(
          'CLUSTOR_INVALID_ARGUMENT',
          `key "${id}" of ${parts.name} must have ${cipherKeyBytes} bytes, it has ${kek.length}`,
        );
    }
    this.name = parts.name;
    this.#parts = parts;
    this.#newestId = newestId;
  }

  wrap(plain: Uint8Array, context: KeyContext): Promise<WrappedKey> {
    const { cryptography, entropy } = this.#parts;
    const nonce = entropy.bytes(cipherNonceBytes);
    const bytes = new Uint8Array(cipherNonceBytes + plain.length + cipherTagBytes);
    bytes.set(nonce);
    bytes.set(plain, cipherNonceBytes);
    cryptography.blockCipher(this.#kek(this.#newestId)).seal(bytes, {
      start: cipherNonceBytes,
      length: plain.length,
      nonce,
      associated: utf8Encode(keyContextText(context)),
    });
    return Promise.resolve({ kekId: this.#newestId, bytes });
  }

  unwrap({ kekId, bytes }: WrappedKey, context: KeyContext): Promise<Uint8Array> {
    const length = bytes.length - cipherNonceBytes - cipherTagBytes;
    const text = bytes.slice();
    return Promise.resolve().then(() => {
      const isOpen =
        length > 0 &&
        this.#parts.cryptography.blockCipher(this.#kek(kekId)).open(text, {
          start: cipherNonceBytes,
          length,
          nonce: bytes.subarray(0, cipherNonceBytes),
          associated: utf8Encode(keyContextText(context)),
        });
      if (!isOpen)
        throw new ClustorError(
          'CLUSTOR_KEY_WRONG',
          `key "${kekId}" of ${this.name} does not unwrap the ${context.purpose} key of epoch ${context.epoch} of node ${context.nodeId}`,
        );
      return text.slice(cipherNonceBytes, cipherNonceBytes + length);
    });
  }

  #kek(id: string): Uint8Array {
    const kek = this.#parts.keks.get(id);
    if (kek === undefined)
      throw new ClustorError(
        'CLUSTOR_KEY_MISSING',
        `${this.name} lacks key "${id}"; it holds ${[...this.#parts.keks.keys()].join(', ')}`,
      );
    return kek;
  }
}
