/**
 * The key ring of a data directory in memory: data and MAC keys by epoch, unwrapped once at the start (specification §8.2).
 *
 * Crash story: every change replaces `wal/keys.json` as a whole, and counts only once that is durable. So a key exists before
 * anything is sealed under it, and a ring that lost its newest change has lost nothing but a key that was never used.
 */
import { present } from '../base/assert.ts';
import { ClustorError } from '../base/errors.ts';
import type { ClusterId, NodeId } from '../base/ids.ts';
import {
  decodeKeyRing,
  encodeKeyRing,
  keyRingFileName,
  keyRingMacInput,
  type KeyRingContent,
  type KeyRingRow,
} from '../codec/key-ring-format.ts';
import { cipherKeyBytes, isEqualSecret, type Cryptography } from '../ports/cryptography.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { FileSystem } from '../ports/file-system.ts';
import type { KeyContext, KeyProvider } from '../ports/key-provider.ts';

/** What encrypts a data directory. @public */
export interface JournalEncryption {
  readonly cryptography: Cryptography;
  readonly keyProvider: KeyProvider;
  /** Age at which keys are made anew by themselves, milliseconds, at least an hour; `never` leaves it to operators. @defaultValue 7 days */
  readonly rotateAfterMs?: number | 'never' | undefined;
}

/** Where a ring lies and what it needs. */
export interface KeyRingPlace {
  readonly fileSystem: FileSystem;
  /** The folder `wal`. */
  readonly folder: string;
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly encryption: JournalEncryption;
}

/** The keys of one epoch. */
export interface EpochKeys {
  readonly epoch: number;
  readonly dataKey: Uint8Array;
  readonly macKey: Uint8Array;
}

/** See the file comment. */
export class KeyRing {
  readonly #place: KeyRingPlace;
  #content: KeyRingContent;
  readonly #keys: Map<number, EpochKeys>;

  private constructor(
    place: KeyRingPlace,
    content: KeyRingContent,
    keys: ReadonlyMap<number, EpochKeys>,
  ) {
    this.#place = place;
    this.#content = content;
    this.#keys = new Map(keys);
  }

  /** Reads the ring and unwraps its keys; `undefined` when there is none. @throws ClustorError of the provider, `CLUSTOR_INTEGRITY`. */
  static async load(place: KeyRingPlace): Promise<KeyRing | undefined> {
    const path = `${place.folder}/${keyRingFileName}`;
    const bytes = await place.fileSystem.readFile(path);
    if (bytes === undefined) return undefined;
    const { content, mac } = decodeKeyRing(bytes, path);
    if (content.clusterId !== place.clusterId || content.nodeId !== place.nodeId)
      throw new ClustorError(
        'CLUSTOR_WRONG_DATA_DIRECTORY',
        `${path} belongs to node ${content.nodeId} of cluster ${content.clusterId}`,
      );
    const keys = new Map<number, EpochKeys>();
    for (const row of content.rows)
      if (row.state !== 'destroyed') keys.set(row.epoch, await unwrapped(place, row));
    const ring = new KeyRing(place, content, keys);
    if (!isEqualSecret(ring.#mac(content), mac))
      throw new ClustorError('CLUSTOR_INTEGRITY', `${path} was changed: its HMAC does not verify`);
    return ring;
  }

  /** Makes the first ring of a directory. */
  static async create(
    place: KeyRingPlace,
    first: {
      readonly segmentSeq: number;
      readonly ledgerGeneration: number;
      readonly entropy: Entropy;
      readonly wallMs: number;
    },
  ): Promise<KeyRing> {
    const content: KeyRingContent = {
      clusterId: place.clusterId,
      nodeId: place.nodeId,
      firstSegmentSeq: first.segmentSeq,
      firstLedgerGeneration: first.ledgerGeneration,
      rows: [],
    };
    const ring = new KeyRing(place, content, new Map());
    await ring.addEpoch(first.entropy, first.wallMs);
    return ring;
  }

  get content(): KeyRingContent {
    return this.#content;
  }

  get newestEpoch(): number {
    return this.#content.rows.length;
  }

  /** The keys that new segments are sealed with. */
  get active(): EpochKeys {
    return present(this.#keys.get(this.newestEpoch), 'the newest epoch has its keys');
  }

  /** The keys of an epoch that is not destroyed. */
  keysOf(epoch: number): EpochKeys | undefined {
    return this.#keys.get(epoch);
  }

  /** Begins an epoch: durable when it resolves. All keys are wrapped anew, so that an old KEK may go. */
  async addEpoch(entropy: Entropy, wallMs: number): Promise<void> {
    const keys: EpochKeys = {
      epoch: this.newestEpoch + 1,
      dataKey: entropy.bytes(cipherKeyBytes),
      macKey: entropy.bytes(cipherKeyBytes),
    };
    const rows: KeyRingRow[] = [];
    for (const row of this.#content.rows) {
      const known = this.#keys.get(row.epoch);
      rows.push(
        known === undefined ? row : await this.#wrapped(known, { ...row, state: 'decryptOnly' }),
      );
    }
    rows.push(await this.#wrapped(keys, { state: 'active', createdMs: wallMs }));
    this.#keys.set(keys.epoch, keys);
    try {
      await this.#replace({ ...this.#content, rows });
    } catch (error) {
      this.#keys.delete(keys.epoch);
      throw error;
    }
  }

  /** Forgets the keys of every epoch before `epoch`; nothing needs them any more, and no segment is without encryption. */
  async destroyBefore(epoch: number): Promise<readonly number[]> {
    const gone = this.#content.rows.filter(
      (row) => row.epoch < epoch && row.state !== 'destroyed' && row.epoch < this.newestEpoch,
    );
    const nothing = new Uint8Array(0);
    const rows = this.#content.rows.map((row): KeyRingRow =>
      gone.includes(row)
        ? {
            ...row,
            state: 'destroyed',
            kekId: '',
            wrappedDataKey: nothing,
            wrappedMacKey: nothing,
          }
        : row,
    );
    await this.#replace({ ...this.#content, firstSegmentSeq: 0, firstLedgerGeneration: 0, rows });
    for (const row of gone) this.#forget(row.epoch);
    return gone.map((row) => row.epoch);
  }

  /** Zeroes the keys in memory. */
  close(): void {
    for (const epoch of [...this.#keys.keys()]) this.#forget(epoch);
  }

  #forget(epoch: number): void {
    const keys = this.#keys.get(epoch);
    keys?.dataKey.fill(0);
    keys?.macKey.fill(0);
    this.#keys.delete(epoch);
  }

  async #wrapped(
    keys: EpochKeys,
    row: Pick<KeyRingRow, 'state' | 'createdMs'>,
  ): Promise<KeyRingRow> {
    const { keyProvider } = this.#place.encryption;
    const { epoch } = keys;
    const data = await keyProvider.wrap(keys.dataKey, contextOf(this.#place, 'journalData', epoch));
    const mac = await keyProvider.wrap(keys.macKey, contextOf(this.#place, 'journalMac', epoch));
    return {
      epoch,
      state: row.state,
      createdMs: row.createdMs,
      kekId: data.kekId,
      wrappedDataKey: data.bytes,
      wrappedMacKey: mac.bytes,
    };
  }

  async #replace(content: KeyRingContent): Promise<void> {
    const { fileSystem, folder } = this.#place;
    const mac = this.#mac(content);
    await fileSystem.replaceFile(`${folder}/${keyRingFileName}`, encodeKeyRing(content, mac));
    this.#content = content;
  }

  #mac(content: KeyRingContent): Uint8Array {
    const { macKey } = present(
      this.#keys.get(content.rows.length),
      'the newest epoch has its keys',
    );
    return this.#place.encryption.cryptography.hmacSha256(macKey, keyRingMacInput(content));
  }
}

function contextOf(
  { clusterId, nodeId }: KeyRingPlace,
  purpose: KeyContext['purpose'],
  epoch: number,
): KeyContext {
  return { clusterId, nodeId, purpose, epoch };
}

async function unwrapped(place: KeyRingPlace, row: KeyRingRow): Promise<EpochKeys> {
  const { keyProvider } = place.encryption;
  const { epoch, kekId } = row;
  const [dataKey, macKey] = [
    await keyProvider.unwrap(
      { kekId, bytes: row.wrappedDataKey },
      contextOf(place, 'journalData', epoch),
    ),
    await keyProvider.unwrap(
      { kekId, bytes: row.wrappedMacKey },
      contextOf(place, 'journalMac', epoch),
    ),
  ];
  if (dataKey.length !== cipherKeyBytes || macKey.length !== cipherKeyBytes)
    throw new ClustorError(
      'CLUSTOR_KEY_WRONG',
      `${keyProvider.name} unwrapped something that is no key of epoch ${epoch}`,
    );
  return { epoch, dataKey, macKey };
}
