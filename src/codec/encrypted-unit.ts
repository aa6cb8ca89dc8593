/**
 * Sealing of units with AES-256-GCM (specification §8.2).
 *
 * ```
 * key    HKDF-SHA256(data key, salt = the 16 random bytes of the segment header,
 *        info = "clustor wal segment v1" · cluster 16 · node u64 · segment_seq u64 · dek_epoch u32)
 * nonce  4 zero bytes · number of the unit u64: that of its first block
 * AAD    version u8 = 1 · cluster 16 · node u64 · segment_seq u64 · dek_epoch u32 · the unit's header 8
 * tag    16 bytes behind the ciphertext, where the CRC stands without encryption
 * ```
 * The nonce is a counter and the key belongs to one file: the numbers of a unit's blocks are spent when it is sealed, nothing sealed is
 * sealed again, and a process seals only in files that it made itself, with a salt that it drew. So no key meets a nonce
 * twice, whatever a crash or an old copy of the disk brings back. Plaintext that fails its tag never exists (KER-7).
 */
import { ByteWriter, utf8Encode, writeU64 } from '../base/bytes.ts';
import type { BlockCipher, Cryptography } from '../ports/cryptography.ts';
import { layoutBytes, writeLayout, type Layout } from './layout.ts';
import {
  claimedPlainBytes,
  unitHeaderBytes,
  writeUnitHeader,
  type SegmentHeader,
  type UnitSuite,
  type UnitToSeal,
} from './segment-format.ts';

const keyLabel = utf8Encode('clustor wal segment v1');
const sealVersion = 1;

/** Which segment it is, in the information of its key and in what is authenticated with each unit. */
const segmentNameLayout: Layout = [
  { name: 'clusterId', type: 'uuid', note: 'the cluster' },
  { name: 'nodeId', type: 'u64', note: 'the node' },
  { name: 'segmentSeq', type: 'u64', note: 'number of the segment' },
  { name: 'dekEpoch', type: 'u32', note: 'epoch of the data key' },
];

/** Information of the key derivation (HKDF) of a segment's key. */
export const segmentKeyInfoLayout: Layout = [
  { name: 'label', type: 'constant', bytes: keyLabel, note: '`clustor wal segment v1`' },
  ...segmentNameLayout,
];

/** What is authenticated with a unit besides its plaintext; the header of the unit follows it. */
export const unitAssociatedLayout: Layout = [
  { name: 'version', type: 'u8', note: 'of the sealing: 1' },
  ...segmentNameLayout,
];

/** The key of one segment. */
export function segmentKey(
  cryptography: Cryptography,
  dataKey: Uint8Array,
  header: SegmentHeader,
): Uint8Array {
  const info = new ByteWriter(64);
  writeLayout(info, segmentKeyInfoLayout, header);
  return cryptography.hkdfSha256({ key: dataKey, salt: header.salt, info: info.take() });
}

/** Seals and opens the units of one encrypted segment. */
export class EncryptedUnitSealer implements UnitSuite {
  readonly #cipher: BlockCipher;
  readonly #nonce = new Uint8Array(12);
  readonly #nonceView = new DataView(this.#nonce.buffer);
  readonly #associated: Uint8Array;
  readonly #unitHeaderAt: number;

  constructor(cipher: BlockCipher, header: SegmentHeader) {
    this.#cipher = cipher;
    const writer = new ByteWriter(64);
    writeLayout(writer, unitAssociatedLayout, { ...header, version: sealVersion });
    this.#unitHeaderAt = layoutBytes(unitAssociatedLayout);
    writer.zeros(unitHeaderBytes);
    this.#associated = writer.take();
  }

  prepare(number: number): void {
    writeU64(this.#nonceView, 4, number);
    this.#cipher.prepare(this.#nonce);
  }

  seal(target: Uint8Array, offset: number, unit: UnitToSeal): void {
    writeUnitHeader(target, offset, unit);
    this.#cipher.seal(target, this.#place(target, offset, unit));
  }

  open(bytes: Uint8Array, offset: number, number: number): number {
    const plainBytes = claimedPlainBytes(bytes, offset);
    if (plainBytes === 0) return 0;
    const place = this.#place(bytes, offset, { number, plainBytes });
    return this.#cipher.open(bytes, place) ? plainBytes : 0;
  }

  #place(
    bytes: Uint8Array,
    offset: number,
    unit: { readonly number: number; readonly plainBytes: number },
  ): Parameters<BlockCipher['open']>[1] {
    writeU64(this.#nonceView, 4, unit.number);
    this.#associated.set(bytes.subarray(offset, offset + unitHeaderBytes), this.#unitHeaderAt);
    return {
      start: offset + unitHeaderBytes,
      length: unit.plainBytes,
      nonce: this.#nonce,
      associated: this.#associated,
    };
  }
}
