/**
 * The snapshots of one partition in its data directory (specification §7, §8).
 *
 * A snapshot is published by its manifest, which is written last: parts first, each durable when it is written, then all of
 * them read back past the page cache, then the manifest. Reading verifies: no byte is given out that is not what the manifest
 * says. With encryption the parts are sealed under a key of the attempt, and the manifest is bound to that key (see
 * `codec/snapshot-key.ts`).
 *
 * Crash story. Writing: a crash anywhere leaves a folder without manifest, which is none and is removed by
 * {@link SnapshotFolder.open}, or a whole snapshot. Removing: the manifest goes first and for good, so that a crash leaves the
 * whole snapshot or, again, a folder without manifest. Wrapping keys anew replaces the manifest as a whole. Sealing a plain
 * snapshot writes the sealed parts beside the plain ones, then replaces the manifest; whichever of the two stays, its parts
 * are there, and the others are strays that the next opening removes.
 *
 * A manifest that is damaged publishes nothing and is left where it is, until another attempt at its place or a later
 * snapshot removes it: a disk that does not answer today is no reason to remove what it holds.
 */
import { present } from '../base/assert.ts';
import { hexEncode } from '../base/bytes.ts';
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import type { ClusterId, LogIndex, NodeId, PartitionId } from '../base/ids.ts';
import {
  contentHashOf,
  decodeManifest,
  encodeManifest,
  isSamePlace,
  snapshotPartBytes,
  type SnapshotContent,
  type SnapshotManifest,
  type SnapshotPlace,
} from '../codec/snapshot-manifest.ts';
import type { Clock } from '../ports/clock.ts';
import { isEqualSecret, type Cryptography } from '../ports/cryptography.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { FileSystem } from '../ports/file-system.ts';
import { isBadSector } from './block-reads.ts';
import type { JournalKeys } from './journal-keys.ts';
import {
  chunksPath,
  manifestPath,
  partPath,
  placeOfSnapshotName,
  readManifestFile,
  readPartFile,
  removeSnapshotFiles,
  removeStrayParts,
  snapshotName,
  snapshotsPath,
} from './snapshot-files.ts';
import { SnapshotKeys, type HashedContent, type SnapshotSeal } from './snapshot-seal.ts';
import {
  AttemptSteps,
  PartWriter,
  type SnapshotToWrite,
  type WrittenParts,
} from './snapshot-writer.ts';

export type { SnapshotManifest, SnapshotPlace } from '../codec/snapshot-manifest.ts';
export type { SnapshotToWrite } from './snapshot-writer.ts';

/** Where the snapshots of a partition lie and what they need. */
export interface SnapshotFolderOptions {
  readonly fileSystem: FileSystem;
  /** The data directory. */
  readonly directory: string;
  readonly partitionId: PartitionId;
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly keys: JournalKeys;
  readonly cryptography: Cryptography;
  readonly entropy: Entropy;
  readonly clock: Clock;
}

/** One attempt at a snapshot. */
export interface SnapshotWriter {
  /** Adds to the stream; what it was given may be used again when it resolves. @throws ClustorError `CLUSTOR_DISK_HARD`, `CLUSTOR_STORAGE_FAILED`: the attempt is to be given up. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends the stream, of which the first `stateBytes` are the runtime's; verifies and publishes. A failure leaves nothing. */
  finish(lengths: { readonly stateBytes: number }): Promise<SnapshotManifest>;
  /** Gives the attempt up; nothing happens when it is over. */
  abort(): Promise<void>;
}

/** A manifest that publishes nothing. */
export interface DamagedManifest extends SnapshotPlace {
  readonly reason: string;
}

/** See the file comment. */
export class SnapshotFolder {
  readonly #options: SnapshotFolderOptions;
  readonly #folder: string;
  readonly #keys: SnapshotKeys;
  #published: readonly SnapshotManifest[] = [];
  #damaged: readonly DamagedManifest[] = [];
  #isWriting = false;
  /** Changes of the folder, one after the other. */
  #changes: Promise<unknown> = Promise.resolve();

  constructor(options: SnapshotFolderOptions) {
    this.#options = options;
    this.#folder = snapshotsPath(options.directory, options.partitionId);
    this.#keys = new SnapshotKeys(options);
  }

  /** Lists what is there, without a look at the parts, and removes the rests of attempts. */
  open(): Promise<void> {
    return this.#change(async () => {
      const { fileSystem } = this.#options;
      for (const rest of await this.#list())
        await removeSnapshotFiles(fileSystem, this.#path(rest));
      for (const manifest of this.#published)
        await removeStrayParts(fileSystem, this.#path(manifest), manifest);
    });
  }

  /** Lists what is there like {@link SnapshotFolder.open}, and changes nothing; where attempts left something. */
  look(): Promise<readonly SnapshotPlace[]> {
    return this.#change(() => this.#list());
  }

  /** Whole manifests on the disk, by rising index. Whether their parts are good, {@link SnapshotFolder.verify} says. */
  get published(): readonly SnapshotManifest[] {
    return this.#published;
  }

  /** Manifests on the disk that publish nothing. */
  get damaged(): readonly DamagedManifest[] {
    return this.#damaged;
  }

  /**
   * Begins an attempt; what others left at any place goes. One at a time.
   *
   * @throws ClustorError `CLUSTOR_ALREADY_INITIALIZED` where a snapshot is published at that place (a damaged one is to be
   * removed first), `CLUSTOR_OVERLOADED` while another attempt is under way, `CLUSTOR_DISK_HARD`, `CLUSTOR_STORAGE_FAILED`.
   */
  begin(wanted: SnapshotToWrite): Promise<SnapshotWriter> {
    return this.#change(async () => {
      const name = snapshotName(wanted);
      if (this.#isWriting)
        throw new ClustorError('CLUSTOR_OVERLOADED', 'another snapshot is being written');
      if (this.#published.some((row) => isSamePlace(row, wanted)))
        throw new ClustorError('CLUSTOR_ALREADY_INITIALIZED', `snapshot ${name} is there already`);
      await this.#removeAttempts(wanted);
      await this.#options.fileSystem.makeDirectory(chunksPath(this.#path(wanted)));
      this.#isWriting = true;
      return this.#writer(wanted);
    });
  }

  /**
   * Reads a snapshot whole, past the page cache. Why it is bad, or `undefined`.
   *
   * @throws ClustorError `CLUSTOR_LOG_COMPACTED` when it was removed, `CLUSTOR_STORAGE_FAILED` when the disk does not answer.
   */
  async verify(
    manifest: SnapshotPlace,
    pace?: () => Promise<boolean>,
  ): Promise<string | undefined> {
    try {
      await this.#reading(manifest, (own) => this.#verifyWhole(own, pace));
      return undefined;
    } catch (error) {
      if (!isClustorError(error, 'CLUSTOR_INTEGRITY')) throw error;
      return error.message;
    }
  }

  /**
   * The plaintext of a part, counted from 1.
   *
   * @throws ClustorError `CLUSTOR_INTEGRITY` when it is damaged, `CLUSTOR_LOG_COMPACTED` when the snapshot was removed.
   */
  part(manifest: SnapshotPlace, number: number): Promise<Uint8Array> {
    return this.#reading(manifest, (own) => this.#readPart(own, number, this.#keys.sealOf(own)));
  }

  /** The runtime's state, verified part by part. */
  async stateBytes(manifest: SnapshotManifest): Promise<Uint8Array> {
    const state = new Uint8Array(manifest.stateBytes);
    let at = 0;
    for (let number = 1; at < state.length; number++) {
      const part = await this.part(manifest, number);
      state.set(part.subarray(0, state.length - at), at);
      at += part.length;
    }
    return state;
  }

  /** The machine's bytes, verified part by part. */
  async *machineBytes(manifest: SnapshotManifest): AsyncIterable<Uint8Array> {
    let start = 0;
    for (const [at, { bytes }] of manifest.parts.entries()) {
      const from = Math.max(0, manifest.stateBytes - start);
      start += bytes;
      if (from < bytes) yield (await this.part(manifest, at + 1)).subarray(from);
    }
  }

  /** Removes a snapshot; nothing happens when it is gone. Who reads it is told so. */
  remove(manifest: SnapshotPlace): Promise<void> {
    return this.#change(() => this.#remove(manifest));
  }

  /** Removes every snapshot below an index but one; damaged manifests as well. */
  removeBelow(index: LogIndex, keep?: SnapshotPlace): Promise<void> {
    return this.#change(async () => {
      for (const place of [...this.#published, ...this.#damaged])
        if (place.index < index && (keep === undefined || !isSamePlace(place, keep)))
          await this.#remove(place);
    });
  }

  /**
   * Wraps the keys of all snapshots under the ring's newest epoch, and seals those that are plain. A damaged one stays as it
   * is: `snapshotKeyEpochs` tells what still needs an older epoch.
   */
  rewrap(): Promise<void> {
    return this.#change(async () => {
      const newest = this.#options.keys.ring?.newestEpoch ?? 0;
      for (const manifest of this.#published) {
        if ((manifest.encryption?.dekEpoch ?? 0) >= newest) continue;
        try {
          if (manifest.encryption === undefined) await this.#sealPlain(manifest);
          else await this.#rewrap(manifest);
        } catch (error) {
          if (!isClustorError(error, 'CLUSTOR_INTEGRITY')) throw error;
        }
      }
    });
  }

  // Reading.

  /** Finds what is published and what is damaged; the places without a manifest. */
  async #list(): Promise<readonly SnapshotPlace[]> {
    const published: SnapshotManifest[] = [];
    const damaged: DamagedManifest[] = [];
    const rests: SnapshotPlace[] = [];
    for (const name of await this.#options.fileSystem.listDirectory(this.#folder)) {
      const place = placeOfSnapshotName(name);
      if (place === undefined) continue;
      const found = await this.#readPublished(place);
      if (found === undefined) rests.push(place);
      else if (typeof found === 'string') damaged.push({ ...place, reason: found });
      else published.push(found);
    }
    this.#published = published.sort((left, right) => left.index - right.index);
    this.#damaged = damaged;
    return rests;
  }

  /** The manifest in a folder; why it publishes nothing; `undefined` when there is none. */
  async #readPublished(place: SnapshotPlace): Promise<SnapshotManifest | string | undefined> {
    const { fileSystem, cryptography, partitionId } = this.#options;
    const path = manifestPath(this.#path(place));
    try {
      const bytes = await fileSystem.readFile(path);
      if (bytes === undefined) return undefined;
      const manifest = decodeManifest(bytes, {
        path,
        sha256: (content) => cryptography.sha256(content),
      });
      const isOwn = manifest.partitionId === partitionId && isSamePlace(manifest, place);
      return isOwn ? manifest : `${path} belongs to another snapshot`;
    } catch (error) {
      const isDamage =
        isBadSector(error) ||
        isClustorError(error, 'CLUSTOR_INTEGRITY') ||
        isClustorError(error, 'CLUSTOR_FORMAT_UNSUPPORTED');
      if (!isDamage) throw error;
      return messageOf(error);
    }
  }

  /** What fails while a snapshot is sealed or wrapped anew is tried again; when it was removed, that is said. */
  async #reading<Result>(
    place: SnapshotPlace,
    read: (manifest: SnapshotManifest) => Promise<Result>,
  ): Promise<Result> {
    for (;;) {
      const own = this.#find(place);
      if (own === undefined)
        throw new ClustorError(
          'CLUSTOR_LOG_COMPACTED',
          `snapshot ${snapshotName(place)} of partition ${this.#options.partitionId} is not there`,
        );
      try {
        return await read(own);
      } catch (error) {
        if (this.#find(place) === own) throw error;
      }
    }
  }

  #find(place: SnapshotPlace): SnapshotManifest | undefined {
    return this.#published.find((row) => isSamePlace(row, place));
  }

  async #verifyWhole(
    manifest: SnapshotManifest,
    pace: (() => Promise<boolean>) | undefined,
  ): Promise<void> {
    await this.#verifyManifest(manifest);
    await this.#verifyParts(manifest, this.#keys.sealOf(manifest), pace);
  }

  async #verifyManifest(manifest: SnapshotManifest): Promise<void> {
    const snapshot = this.#path(manifest);
    const bytes = encodeManifest(manifest);
    const found = await readManifestFile(this.#options.fileSystem, snapshot, bytes.length);
    if (!isEqualSecret(found, bytes))
      throw integrityError(`${manifestPath(snapshot)} is not what it was`);
  }

  async #verifyParts(
    content: SnapshotContent,
    seal: SnapshotSeal | undefined,
    pace?: () => Promise<boolean>,
  ): Promise<void> {
    // One after the other: whoever is served by this disk comes first, and one part at a time is held.
    for (let number = 1; number <= content.parts.length; number++) {
      if (pace !== undefined && !(await pace()))
        throw new ClustorError('CLUSTOR_CLOSED', 'the reading was ended before it was done');
      await this.#readPart(content, number, seal);
    }
  }

  async #readPart(
    content: SnapshotContent,
    number: number,
    seal: SnapshotSeal | undefined,
  ): Promise<Uint8Array> {
    const { fileSystem, cryptography } = this.#options;
    const part = content.parts[number - 1];
    const name = `part ${number} of snapshot ${snapshotName(content)}`;
    if (part === undefined) throw integrityError(`there is no ${name}`);
    const path = partPath(this.#path(content), number, seal !== undefined);
    const bytes = await readPartFile(fileSystem, path);
    const plain = seal === undefined ? bytes : seal.open(number, bytes);
    if (plain === undefined) throw integrityError(`${name} is damaged: its tag does not verify`);
    if (plain.length !== part.bytes)
      throw integrityError(`${name} is damaged: ${plain.length} bytes, not ${part.bytes}`);
    if (hexEncode(cryptography.sha256(plain)) !== part.digest)
      throw integrityError(`${name} is damaged: its digest differs`);
    return plain;
  }

  // Keys.

  async #rewrap(manifest: SnapshotManifest): Promise<void> {
    const key = this.#keys.unwrap(manifest);
    try {
      await this.#replaceManifest(this.#keys.wrap(manifest, key));
    } finally {
      key.fill(0);
    }
  }

  async #sealPlain(manifest: SnapshotManifest): Promise<void> {
    const { fileSystem, keys } = this.#options;
    if (keys.isPlainRefused) return;
    const key = present(this.#keys.draw(), 'there is a ring');
    try {
      const seal = this.#keys.seal(manifest, key);
      for (let number = 1; number <= manifest.parts.length; number++) {
        const plain = await this.#readPart(manifest, number, undefined);
        const path = partPath(this.#path(manifest), number, true);
        await fileSystem.replaceFile(path, seal.seal(number, plain));
      }
      await this.#verifyParts(manifest, seal);
      const sealed = this.#keys.wrap(manifest, key);
      await this.#replaceManifest(sealed);
      await removeStrayParts(fileSystem, this.#path(manifest), sealed);
    } finally {
      key.fill(0);
    }
  }

  async #replaceManifest(manifest: SnapshotManifest): Promise<void> {
    await this.#writeManifest(manifest);
    this.#published = this.#published.map((row) => (isSamePlace(row, manifest) ? manifest : row));
  }

  async #writeManifest(manifest: SnapshotManifest): Promise<void> {
    const path = manifestPath(this.#path(manifest));
    await this.#options.fileSystem.replaceFile(path, encodeManifest(manifest));
  }

  // Writing and removing.

  #writer(wanted: SnapshotToWrite): SnapshotWriter {
    const { fileSystem, cryptography } = this.#options;
    const { partBytes = snapshotPartBytes } = wanted;
    const snapshot = this.#path(wanted);
    const key = this.#keys.draw();
    const seal = key === undefined ? undefined : this.#keys.seal(wanted, key);
    let manifest: SnapshotManifest | undefined;
    const steps = new AttemptSteps({
      parts: new PartWriter({ fileSystem, cryptography, snapshot, seal, partBytes }),
      publish: async (written, stateBytes) => {
        const content = this.#contentOf(wanted, written, stateBytes);
        await this.#verifyParts(content, seal);
        manifest = await this.#publish(content, key);
      },
      discard: () => this.#change(() => removeSnapshotFiles(fileSystem, snapshot)),
      ended: () => {
        key?.fill(0);
        this.#isWriting = false;
      },
    });
    return {
      write: (bytes) => steps.write(bytes),
      finish: async ({ stateBytes }) => {
        await steps.finish(stateBytes);
        return present(manifest, 'a finished attempt has its manifest');
      },
      abort: () => steps.abort(),
    };
  }

  #contentOf(wanted: SnapshotToWrite, written: WrittenParts, stateBytes: number): HashedContent {
    const { cryptography, partitionId, clock } = this.#options;
    const { index, term, configuration, knownTerm, createdMs = clock.wallMs() } = wanted;
    if (stateBytes > written.bytes)
      throw integrityError(`${stateBytes} bytes of state, ${written.bytes} were written`);
    const content: SnapshotContent = {
      partitionId,
      index,
      term,
      configuration,
      knownTerm,
      createdMs: Math.floor(createdMs),
      stateBytes,
      machineBytes: written.bytes - stateBytes,
      parts: written.parts,
    };
    return {
      ...content,
      contentHash: contentHashOf(content, (bytes) => cryptography.sha256(bytes)),
    };
  }

  #publish(content: HashedContent, key: Uint8Array | undefined): Promise<SnapshotManifest> {
    return this.#change(async () => {
      const plain = { ...content, encryption: undefined };
      const manifest = key === undefined ? plain : this.#keys.wrap(content, key);
      await this.#writeManifest(manifest);
      await this.#verifyManifest(manifest);
      this.#published = [...this.#published, manifest].sort(
        (left, right) => left.index - right.index,
      );
      return manifest;
    });
  }

  async #remove(place: SnapshotPlace): Promise<void> {
    const isElsewhere = (row: SnapshotPlace): boolean => !isSamePlace(row, place);
    if (this.#published.every(isElsewhere) && this.#damaged.every(isElsewhere)) return;
    // From here on nobody begins to read it; what cannot be removed goes before the next attempt.
    this.#published = this.#published.filter(isElsewhere);
    this.#damaged = this.#damaged.filter(isElsewhere);
    await removeSnapshotFiles(this.#options.fileSystem, this.#path(place));
  }

  /** Removes what is not published, but damaged manifests at other places. */
  async #removeAttempts(wanted: SnapshotPlace): Promise<void> {
    const { fileSystem } = this.#options;
    this.#damaged = this.#damaged.filter((row) => !isSamePlace(row, wanted));
    for (const name of await fileSystem.listDirectory(this.#folder)) {
      const place = placeOfSnapshotName(name);
      if (place === undefined) continue;
      const isKept = [...this.#published, ...this.#damaged].some((row) => isSamePlace(row, place));
      if (!isKept) await removeSnapshotFiles(fileSystem, this.#path(place));
    }
  }

  #path(place: SnapshotPlace): string {
    return `${this.#folder}/${snapshotName(place)}`;
  }

  #change<Result>(run: () => Promise<Result>): Promise<Result> {
    const changed = this.#changes.then(run);
    this.#changes = changed.catch(() => undefined);
    return changed;
  }
}

function integrityError(what: string): ClustorError {
  return new ClustorError('CLUSTOR_INTEGRITY', what);
}
