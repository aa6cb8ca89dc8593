/**
 * Sealing of snapshots with AES-256-GCM (specification §8.2).
 *
 * ```
 * part   key    32 random bytes of the attempt, for no other attempt
 *        nonce  part number u32, big-endian · 8 zero bytes
 *        AAD    "clustor snapshot part v1" · cluster 16 · node u64 · partition 16 · term u64 · index u64 · part number u32
 *        file   ciphertext · tag 16
 * key    key    HKDF-SHA256(data key of the epoch, salt, "clustor snapshot key v1" · cluster 16 · node u64 · dek_epoch u32)
 *        nonce  12 zero bytes: the salt is drawn anew for each wrapping, so its key seals once
 *        AAD    partition 16 · term u64 · index u64 · content hash 32
 *        text   salt 16 · ciphertext 32 · tag 16
 * ```
 * A part is sealed once in an attempt, so no key meets a nonce twice. The wrapping vouches for the manifest: whoever cannot
 * wrap can neither change what it says nor put another one in its place.
 */
import { ByteWriter, utf8Encode } from '../base/bytes.ts';
import type { ClusterId, LogIndex, NodeId, PartitionId, Term } from '../base/ids.ts';
import {
  cipherKeyBytes,
  cipherNonceBytes,
  cipherTagBytes,
  type Cryptography,
} from '../ports/cryptography.ts';
import { writeLayout, type Layout } from './layout.ts';

/** A snapshot's key as its manifest has it. */
export interface WrappedSnapshotKey {
  /** Epoch of the data key that wraps it. */
  readonly dekEpoch: number;
  readonly wrappedKey: Uint8Array;
}

/** Fresh bytes for each wrapping of a key. */
export const snapshotSaltBytes = 16;
/** Bytes of a wrapped key. */
export const wrappedSnapshotKeyBytes: number = snapshotSaltBytes + cipherKeyBytes + cipherTagBytes;

const keyLabel = utf8Encode('clustor snapshot key v1');
const partLabel = utf8Encode('clustor snapshot part v1');

/** Which snapshot it is. */
export interface SnapshotName {
  readonly partitionId: PartitionId;
  readonly term: Term;
  readonly index: LogIndex;
}

const snapshotNameLayout: Layout = [
  { name: 'partitionId', type: 'uuid', note: 'the partition' },
  { name: 'term', type: 'u64', note: 'term of the entry up to which the snapshot reaches' },
  { name: 'index', type: 'u64', note: 'index of that entry' },
];

/** Information of the key derivation (HKDF) of the key that wraps a snapshot's key. */
export const snapshotKeyInfoLayout: Layout = [
  { name: 'label', type: 'constant', bytes: keyLabel, note: '`clustor snapshot key v1`' },
  { name: 'clusterId', type: 'uuid', note: 'the cluster' },
  { name: 'nodeId', type: 'u64', note: 'the node' },
  { name: 'dekEpoch', type: 'u32', note: 'epoch of the data key' },
];

/** What is authenticated with a wrapped key. */
export const wrappedKeyAssociatedLayout: Layout = [
  ...snapshotNameLayout,
  { name: 'contentHash', type: 'bytes', count: 32, note: 'SHA-256 of what the manifest says' },
];

/** What is authenticated with a part. */
export const partAssociatedLayout: Layout = [
  { name: 'label', type: 'constant', bytes: partLabel, note: '`clustor snapshot part v1`' },
  { name: 'clusterId', type: 'uuid', note: 'the cluster' },
  { name: 'nodeId', type: 'u64', note: 'the node' },
  ...snapshotNameLayout,
  { name: 'number', type: 'u32', note: 'number of the part, from 1' },
];

/** What a wrapped key is bound to. */
export function wrappedKeyAssociated(name: SnapshotName, contentHash: Uint8Array): Uint8Array {
  const writer = new ByteWriter(64);
  writeLayout(writer, wrappedKeyAssociatedLayout, { ...name, contentHash });
  return writer.take();
}

/** What wraps: the data key of an epoch, and whose it is. */
export interface SnapshotKeyWrapper {
  readonly cryptography: Cryptography;
  readonly dataKey: Uint8Array;
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly dekEpoch: number;
}

/** Wraps a snapshot's key. `salt` is fresh. */
export function wrapKey(
  wrapper: SnapshotKeyWrapper,
  key: Uint8Array,
  about: { readonly salt: Uint8Array; readonly associated: Uint8Array },
): WrappedSnapshotKey {
  const { salt, associated } = about;
  const wrappedKey = new Uint8Array(wrappedSnapshotKeyBytes);
  wrappedKey.set(salt);
  wrappedKey.set(key, snapshotSaltBytes);
  cipherOf(wrapper, salt).seal(wrappedKey, wrappedPlace(associated));
  return { dekEpoch: wrapper.dekEpoch, wrappedKey };
}

/** Unwraps a snapshot's key; `undefined` when it was not wrapped by this for that. */
export function unwrapKey(
  wrapper: SnapshotKeyWrapper,
  wrappedKey: Uint8Array,
  associated: Uint8Array,
): Uint8Array | undefined {
  if (wrappedKey.length !== wrappedSnapshotKeyBytes) return undefined;
  const bytes = wrappedKey.slice();
  const cipher = cipherOf(wrapper, bytes.slice(0, snapshotSaltBytes));
  if (!cipher.open(bytes, wrappedPlace(associated))) return undefined;
  const key = bytes.slice(snapshotSaltBytes, snapshotSaltBytes + cipherKeyBytes);
  bytes.fill(0);
  return key;
}

function wrappedPlace(associated: Uint8Array): {
  readonly start: number;
  readonly length: number;
  readonly nonce: Uint8Array;
  readonly associated: Uint8Array;
} {
  const nonce = new Uint8Array(cipherNonceBytes);
  return { start: snapshotSaltBytes, length: cipherKeyBytes, nonce, associated };
}

function cipherOf(
  wrapper: SnapshotKeyWrapper,
  salt: Uint8Array,
): ReturnType<Cryptography['blockCipher']> {
  const { cryptography, dataKey } = wrapper;
  const info = new ByteWriter(64);
  writeLayout(info, snapshotKeyInfoLayout, wrapper);
  const key = cryptography.hkdfSha256({ key: dataKey, salt, info: info.take() });
  const cipher = cryptography.blockCipher(key);
  key.fill(0);
  return cipher;
}
