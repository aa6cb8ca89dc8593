/** Seals and opens the parts of snapshots, and keeps their keys; layout in `codec/snapshot-key.ts`. */
import { present } from '../base/assert.ts';
import { ByteWriter, hexDecode } from '../base/bytes.ts';
import { ClustorError } from '../base/errors.ts';
import type { ClusterId, NodeId, PartitionId } from '../base/ids.ts';
import { writeLayout } from '../codec/layout.ts';
import {
  partAssociatedLayout,
  snapshotSaltBytes,
  wrappedKeyAssociated,
  type SnapshotName,
} from '../codec/snapshot-key.ts';
import type { SnapshotContent, SnapshotManifest } from '../codec/snapshot-manifest.ts';
import {
  cipherKeyBytes,
  cipherNonceBytes,
  cipherTagBytes,
  type BlockCipher,
  type CipherPlace,
  type Cryptography,
} from '../ports/cryptography.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { JournalKeys } from './journal-keys.ts';

/** Bytes that a sealed part has more than its plaintext. */
export const partSealBytes: number = cipherTagBytes;

/** Which snapshot it is, of whose files. */
export interface SealedSnapshotName extends SnapshotName {
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
}

/** Seals and opens the parts of one snapshot. */
export class SnapshotSeal {
  readonly #cipher: BlockCipher;
  readonly #name: SealedSnapshotName;

  /** The cipher keeps a copy of the key. */
  constructor(cryptography: Cryptography, key: Uint8Array, name: SealedSnapshotName) {
    this.#cipher = cryptography.blockCipher(key);
    this.#name = name;
  }

  /** The bytes of the file of a part. Each number once. */
  seal(number: number, plain: Uint8Array): Uint8Array {
    const sealed = new Uint8Array(plain.length + partSealBytes);
    sealed.set(plain);
    this.#cipher.seal(sealed, this.#place(number, plain.length));
    return sealed;
  }

  /** Opens the bytes of the file of a part in place; `undefined` when its tag does not verify. */
  open(number: number, sealed: Uint8Array): Uint8Array | undefined {
    const length = sealed.length - partSealBytes;
    if (length < 0 || !this.#cipher.open(sealed, this.#place(number, length))) return undefined;
    return sealed.subarray(0, length);
  }

  #place(number: number, length: number): CipherPlace {
    const nonce = new Uint8Array(cipherNonceBytes);
    new DataView(nonce.buffer).setUint32(0, number);
    const writer = new ByteWriter(96);
    writeLayout(writer, partAssociatedLayout, { ...this.#name, number });
    return { start: 0, length, nonce, associated: writer.take() };
  }
}

/** What a manifest says before its key is wrapped. */
export type HashedContent = SnapshotContent & Pick<SnapshotManifest, 'contentHash'>;

/** What a {@link SnapshotKeys} needs. */
export interface SnapshotKeysOptions {
  readonly partitionId: PartitionId;
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly keys: JournalKeys;
  readonly cryptography: Cryptography;
  readonly entropy: Entropy;
}

/** The keys of a partition's snapshots, wrapped under the key ring of the data directory. */
export class SnapshotKeys {
  readonly #options: SnapshotKeysOptions;

  constructor(options: SnapshotKeysOptions) {
    this.#options = options;
  }

  /** A key for one attempt; `undefined` without encryption. Whoever has it zeroes it. */
  draw(): Uint8Array | undefined {
    const { keys, entropy } = this.#options;
    return keys.ring === undefined ? undefined : entropy.bytes(cipherKeyBytes);
  }

  /** What seals and opens under a key. */
  seal({ index, term }: Pick<SnapshotName, 'index' | 'term'>, key: Uint8Array): SnapshotSeal {
    const { cryptography, partitionId, clusterId, nodeId } = this.#options;
    return new SnapshotSeal(cryptography, key, { clusterId, nodeId, partitionId, index, term });
  }

  /** What opens the parts of a snapshot; `undefined` for a plain one. @throws ClustorError `CLUSTOR_INTEGRITY` as {@link SnapshotKeys.unwrap}, and for a plain one among files that are all encrypted. */
  sealOf(manifest: SnapshotManifest): SnapshotSeal | undefined {
    if (manifest.encryption !== undefined) {
      const key = this.unwrap(manifest);
      const seal = this.seal(manifest, key);
      key.fill(0);
      return seal;
    }
    if (!this.#options.keys.isPlainRefused) return undefined;
    throw new ClustorError(
      'CLUSTOR_INTEGRITY',
      `snapshot ${manifest.term}-${manifest.index} is not encrypted, and everything else is`,
    );
  }

  /** The key of a sealed snapshot. Whoever has it zeroes it. @throws ClustorError `CLUSTOR_INTEGRITY` when the key of its epoch is not there, or wrapped something else. */
  unwrap(manifest: SnapshotManifest): Uint8Array {
    const encryption = present(manifest.encryption, 'a sealed snapshot has its key');
    const key = this.#options.keys.unwrapSnapshotKey(encryption, associatedOf(manifest));
    if (key !== undefined) return key;
    throw new ClustorError(
      'CLUSTOR_INTEGRITY',
      `the key of snapshot ${manifest.term}-${manifest.index} cannot be unwrapped with key epoch ${encryption.dekEpoch}`,
    );
  }

  /** A manifest with its key wrapped under the newest epoch. */
  wrap(content: HashedContent, key: Uint8Array): SnapshotManifest {
    const { keys, entropy } = this.#options;
    const salt = entropy.bytes(snapshotSaltBytes);
    const associated = associatedOf(content);
    const encryption = present(keys.wrapSnapshotKey(key, { salt, associated }), 'a ring is there');
    return { ...content, encryption };
  }
}

function associatedOf(content: HashedContent): Uint8Array {
  const hash = present(hexDecode(content.contentHash), 'a content hash is hexadecimal');
  return wrappedKeyAssociated(content, hash);
}
