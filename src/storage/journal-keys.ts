/**
 * What seals, opens and signs the files of one data directory, chosen by their headers (specification §8.2).
 *
 * Epochs never go back. Before anything else is read, the ring is compared with the key epochs that segments and ledger
 * name: a ring that lacks the newest of them is an older one (`CLUSTOR_KEY_EPOCH_REPLAY`), one that lacks another was mixed
 * up (`CLUSTOR_KEY_EPOCH_MISMATCH`). A header whose HMAC does not verify, and one without encryption where the ring says that
 * everything is encrypted, is damage like any other: what stands behind it does not exist.
 */
import { present } from '../base/assert.ts';
import { ClustorError } from '../base/errors.ts';
import type { ClusterId, NodeId } from '../base/ids.ts';
import { EncryptedUnitSealer, segmentKey } from '../codec/encrypted-unit.ts';
import { keyRingFileName } from '../codec/key-ring-format.ts';
import {
  unwrapKey,
  wrapKey,
  type SnapshotKeyWrapper,
  type WrappedSnapshotKey,
} from '../codec/snapshot-key.ts';
import {
  ledgerHeaderBytes,
  ledgerHeaderMac,
  ledgerHeaderMacInput,
  readLedgerFileHeader,
  type LedgerFileHeader,
} from '../codec/ledger-format.ts';
import {
  blockBytes,
  readSegmentHeader,
  segmentHeaderMac,
  segmentHeaderMacInput,
  segmentSeqOfFileName,
  UnitSealer,
  writeSegmentHeader,
  type SegmentHeader,
  type UnitSuite,
} from '../codec/segment-format.ts';
import type { SegmentMac } from '../codec/segment-trailer.ts';
import { isEqualSecret } from '../ports/cryptography.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { FileHandle, FileSystem } from '../ports/file-system.ts';
import { readBlocks } from './block-reads.ts';
import { KeyRing, type EpochKeys, type JournalEncryption, type KeyRingPlace } from './key-ring.ts';

/** What a {@link JournalKeys} needs. */
export interface JournalKeysPlace {
  readonly fileSystem: FileSystem;
  /** The folder `wal`. */
  readonly folder: string;
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly encryption?: JournalEncryption | undefined;
}

const ledgerName = 'durability.log';

/** See the file comment. */
export class JournalKeys {
  readonly #place: JournalKeysPlace;
  #ring: KeyRing | undefined;
  /** Key epochs of the segments that are there; 0 without encryption. */
  readonly #epochs: Map<number, number>;

  private constructor(
    place: JournalKeysPlace,
    ring: KeyRing | undefined,
    epochs: ReadonlyMap<number, number>,
  ) {
    this.#place = place;
    this.#ring = ring;
    this.#epochs = new Map(epochs);
  }

  /** Opens the ring, if there is one, and compares it with what it must open. @throws ClustorError with what is wrong. */
  static async open(place: JournalKeysPlace): Promise<JournalKeys> {
    const { fileSystem, folder, encryption } = place;
    const evidence = await readKeyEvidence(fileSystem, folder);
    const path = `${folder}/${keyRingFileName}`;
    if (encryption === undefined) {
      const isThere = (await fileSystem.readFile(path)) !== undefined;
      if (isThere || evidence.newestEpoch > 0)
        throw new ClustorError(
          'CLUSTOR_KEY_MISSING',
          `${folder} is encrypted, and no key provider was named`,
        );
      return new JournalKeys(place, undefined, evidence.segments);
    }
    const ring = await KeyRing.load({ ...place, encryption });
    if (evidence.newestEpoch > (ring?.newestEpoch ?? 0))
      throw new ClustorError(
        'CLUSTOR_KEY_EPOCH_REPLAY',
        `${evidence.newestAt} needs key epoch ${evidence.newestEpoch}, ${path} ${ring === undefined ? 'is gone' : `knows epochs up to ${ring.newestEpoch}`}`,
      );
    for (const [name, epoch] of evidence.named) {
      if (epoch === 0 || ring?.keysOf(epoch) !== undefined) continue;
      throw new ClustorError(
        'CLUSTOR_KEY_EPOCH_MISMATCH',
        `${name} needs key epoch ${epoch}, which ${path} says is destroyed`,
      );
    }
    return new JournalKeys(place, ring, evidence.segments);
  }

  /** The ring, if this directory is encrypted. */
  get ring(): KeyRing | undefined {
    return this.#ring;
  }

  /** Makes the first ring, if encryption is wanted and there is none yet. */
  async begin(first: {
    readonly segmentSeq: number;
    readonly ledgerGeneration: number;
    readonly entropy: Entropy;
    readonly wallMs: number;
  }): Promise<void> {
    const { encryption } = this.#place;
    if (encryption === undefined || this.#ring !== undefined) return;
    const place: KeyRingPlace = { ...this.#place, encryption };
    this.#ring = await KeyRing.create(place, first);
  }

  /** Epoch under which a segment that is there is sealed, 0 without encryption; `undefined` for one without a good header. */
  epochOf(segmentSeq: number): number | undefined {
    return this.#epochs.get(segmentSeq);
  }

  /** What opens the blocks behind a header; `undefined` when the header is not authentic. */
  opener(bytes: Uint8Array, header: SegmentHeader): UnitSuite | undefined {
    const first = this.#ring?.content.firstSegmentSeq ?? Number.POSITIVE_INFINITY;
    if (!header.isEncrypted)
      return header.segmentSeq < first ? new UnitSealer(header.salt) : undefined;
    const keys = this.#ring?.keysOf(header.dekEpoch);
    const macKeys = this.#ring?.keysOf(header.integrityMacEpoch);
    if (keys === undefined || macKeys === undefined) return undefined;
    const expected = this.#hmac(macKeys, segmentHeaderMacInput(bytes));
    return isEqualSecret(expected, segmentHeaderMac(bytes))
      ? this.#sealer(keys, header)
      : undefined;
  }

  /** Writes the header of a new file of a segment into a zeroed block and returns what seals its blocks. */
  create(
    target: Uint8Array,
    file: { readonly segmentSeq: number; readonly salt: Uint8Array; readonly createdMs: number },
  ): UnitSuite {
    const { clusterId, nodeId } = this.#place;
    const keys = this.#ring?.active;
    const epoch = keys?.epoch ?? 0;
    const header: SegmentHeader = {
      clusterId,
      nodeId,
      ...file,
      isEncrypted: keys !== undefined,
      dekEpoch: epoch,
      integrityMacEpoch: epoch,
    };
    writeSegmentHeader(target, header);
    if (keys === undefined) return new UnitSealer(header.salt);
    segmentHeaderMac(target).set(this.#hmac(keys, segmentHeaderMacInput(target)));
    return this.#sealer(keys, header);
  }

  /** The file of a segment is sealed under this epoch from now on. */
  sealedUnder(segmentSeq: number, epoch: number): void {
    this.#epochs.set(segmentSeq, epoch);
  }

  /** A segment is there no more. */
  forget(segmentSeq: number): void {
    this.#epochs.delete(segmentSeq);
  }

  /** Epoch and signature for a new ledger generation's header. */
  ledgerSignature(): {
    readonly macEpoch: number;
    readonly sign: ((bytes: Uint8Array) => Uint8Array) | undefined;
  } {
    const keys = this.#ring?.active;
    return keys === undefined
      ? { macEpoch: 0, sign: undefined }
      : { macEpoch: keys.epoch, sign: (bytes) => this.#hmac(keys, bytes) };
  }

  /** Whether the copy of the ledger's header at `offset` is authentic. */
  isLedgerHeader(bytes: Uint8Array, offset: number, header: LedgerFileHeader): boolean {
    const first = this.#ring?.content.firstLedgerGeneration ?? Number.POSITIVE_INFINITY;
    if (header.macEpoch === 0) return header.generation < first;
    const keys = this.#ring?.keysOf(header.macEpoch);
    if (keys === undefined) return false;
    const expected = this.#hmac(keys, ledgerHeaderMacInput(bytes, offset));
    return isEqualSecret(expected, ledgerHeaderMac(bytes, offset));
  }

  /** What makes the MAC of a segment's trailer under an epoch; `none` without encryption, `undefined` when its key is not there. */
  trailerMac({ integrityMacEpoch }: SegmentHeader): SegmentMac | 'none' | undefined {
    if (integrityMacEpoch === 0) return 'none';
    const keys = this.#ring?.keysOf(integrityMacEpoch);
    return keys === undefined ? undefined : (bytes) => this.#hmac(keys, bytes);
  }

  /** Whether a snapshot without encryption cannot be one of this directory: everything in it is encrypted. */
  get isPlainRefused(): boolean {
    return this.#ring !== undefined && this.#ring.content.firstSegmentSeq <= 1;
  }

  /** Wraps a snapshot's key under the newest epoch; `undefined` without encryption. `salt` is fresh. */
  wrapSnapshotKey(
    key: Uint8Array,
    about: { readonly salt: Uint8Array; readonly associated: Uint8Array },
  ): WrappedSnapshotKey | undefined {
    const keys = this.#ring?.active;
    return keys === undefined ? undefined : wrapKey(this.#wrapper(keys), key, about);
  }

  /** Unwraps a snapshot's key; `undefined` when the key of its epoch is not there, or it was wrapped for something else. */
  unwrapSnapshotKey(
    { dekEpoch, wrappedKey }: WrappedSnapshotKey,
    associated: Uint8Array,
  ): Uint8Array | undefined {
    const keys = this.#ring?.keysOf(dekEpoch);
    return keys === undefined ? undefined : unwrapKey(this.#wrapper(keys), wrappedKey, associated);
  }

  /** Forgets the keys. */
  close(): void {
    this.#ring?.close();
  }

  #sealer(keys: EpochKeys, header: SegmentHeader): UnitSuite {
    const { cryptography } = present(this.#place.encryption, 'a ring comes with its cryptography');
    const key = segmentKey(cryptography, keys.dataKey, header);
    const sealer = new EncryptedUnitSealer(cryptography.blockCipher(key), header);
    key.fill(0);
    return sealer;
  }

  #wrapper({ dataKey, epoch }: EpochKeys): SnapshotKeyWrapper {
    const { clusterId, nodeId, encryption } = this.#place;
    const { cryptography } = present(encryption, 'a ring comes with its cryptography');
    return { cryptography, dataKey, clusterId, nodeId, dekEpoch: epoch };
  }

  #hmac(keys: EpochKeys, bytes: Uint8Array): Uint8Array {
    const { cryptography } = present(this.#place.encryption, 'a ring comes with its cryptography');
    return cryptography.hmacSha256(keys.macKey, bytes);
  }
}

/** The key epochs that the files of a journal name. */
export interface KeyEvidence {
  /** By segment. */
  readonly segments: ReadonlyMap<number, number>;
  /** By file name, the ledger among them. */
  readonly named: ReadonlyMap<string, number>;
  readonly newestEpoch: number;
  readonly newestAt: string;
}

/** Reads the headers of all segments and of the ledger; headers that cannot be read name nothing. */
export async function readKeyEvidence(
  fileSystem: FileSystem,
  folder: string,
): Promise<KeyEvidence> {
  const segments = new Map<number, number>();
  const named = new Map<string, number>();
  for (const name of await fileSystem.listDirectory(folder)) {
    const segmentSeq = segmentSeqOfFileName(name);
    if (segmentSeq === undefined && name !== ledgerName) continue;
    const path = `${folder}/${name}`;
    const length = segmentSeq === undefined ? ledgerHeaderBytes : blockBytes;
    const bytes = await readStart(fileSystem, path, length);
    // It went since: nothing needs it.
    if (bytes === undefined) continue;
    const epoch =
      segmentSeq === undefined ? ledgerEpochOf(bytes) : segmentEpochOf(bytes, segmentSeq);
    if (epoch === undefined) continue;
    named.set(name, epoch);
    if (segmentSeq !== undefined) segments.set(segmentSeq, epoch);
  }
  let newestEpoch = 0;
  let newestAt = '';
  for (const [name, epoch] of named) {
    if (epoch <= newestEpoch) continue;
    newestEpoch = epoch;
    newestAt = name;
  }
  return { segments, named, newestEpoch, newestAt };
}

async function readStart(
  fileSystem: FileSystem,
  path: string,
  length: number,
): Promise<Uint8Array | undefined> {
  const file = await openIfThere(fileSystem, path);
  if (file === undefined) return undefined;
  try {
    return (await readBlocks({ fileSystem, file }, { position: 0, length })).bytes;
  } finally {
    await fileSystem.close(file);
  }
}

async function openIfThere(fileSystem: FileSystem, path: string): Promise<FileHandle | undefined> {
  try {
    return await fileSystem.open(path, { access: 'durableWrite' });
  } catch (error) {
    const isGone = error instanceof ClustorError && error.details['systemCode'] === 'ENOENT';
    if (isGone) return undefined;
    throw error;
  }
}

function ledgerEpochOf(bytes: Uint8Array): number | undefined {
  const header = readLedgerFileHeader(bytes, 0) ?? readLedgerFileHeader(bytes, blockBytes);
  return header?.macEpoch;
}

function segmentEpochOf(bytes: Uint8Array, segmentSeq: number): number | undefined {
  try {
    const header = readSegmentHeader(bytes);
    return header.segmentSeq === segmentSeq ? header.dekEpoch : undefined;
  } catch (error) {
    if (error instanceof ClustorError && error.code === 'CLUSTOR_INTEGRITY') return undefined;
    throw error;
  }
}
