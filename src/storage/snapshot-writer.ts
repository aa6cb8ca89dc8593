/**
 * Writes one snapshot: gathers a stream to parts, writes each durably, and the manifest last, when every part was read back
 * from the medium and is what was meant (specification §7).
 *
 * Crash story: see `snapshot-folder.ts`. A writer that failed or was given up leaves nothing; what it could not remove is
 * removed before the next one begins.
 */
import { assert } from '../base/assert.ts';
import { hexEncode } from '../base/bytes.ts';
import { ClustorError } from '../base/errors.ts';
import type { Term } from '../base/ids.ts';
import type { Configuration } from '../base/membership.ts';
import {
  snapshotPartBytes,
  snapshotPartsMax,
  type SnapshotPart,
  type SnapshotPlace,
} from '../codec/snapshot-manifest.ts';
import type { Cryptography } from '../ports/cryptography.ts';
import type { FileSystem } from '../ports/file-system.ts';
import { asDiskHard } from './full-disk.ts';
import { partPath } from './snapshot-files.ts';
import type { SnapshotSeal } from './snapshot-seal.ts';

/** A snapshot that is to be written. */
export interface SnapshotToWrite extends SnapshotPlace {
  /** In force at the place. */
  readonly configuration: Configuration;
  /** A term in which its entries were known to be committed. */
  readonly knownTerm: Term;
  /** When it was made, by the wall clock of the node that made it. @defaultValue now */
  readonly createdMs?: number | undefined;
  /** Bytes of each part but the last, at most 1 MiB; one that is pulled is cut as its source cut it. @defaultValue 1 MiB */
  readonly partBytes?: number | undefined;
}

/** What a stream was cut into. */
export interface WrittenParts {
  readonly parts: readonly SnapshotPart[];
  readonly bytes: number;
}

/** What a {@link PartWriter} needs. */
export interface PartWriterOptions {
  readonly fileSystem: FileSystem;
  readonly cryptography: Cryptography;
  /** Folder of the snapshot; that of its parts is there. */
  readonly snapshot: string;
  readonly seal: SnapshotSeal | undefined;
  readonly partBytes: number;
}

/** Cuts a stream into parts and writes each durably. */
export class PartWriter {
  readonly #options: PartWriterOptions;
  readonly #gathered: Uint8Array;
  #gatheredBytes = 0;
  #bytes = 0;
  readonly #parts: SnapshotPart[] = [];

  constructor(options: PartWriterOptions) {
    const { partBytes } = options;
    assert(partBytes >= 1, 'a part has a byte');
    assert(partBytes <= snapshotPartBytes, 'a part is small enough to be held in memory');
    this.#options = options;
    this.#gathered = new Uint8Array(partBytes);
  }

  /** Adds to the stream; what it was given may be used again when it resolves. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length;) {
      const room = this.#gathered.length - this.#gatheredBytes;
      const some = bytes.subarray(from, from + room);
      this.#gathered.set(some, this.#gatheredBytes);
      this.#gatheredBytes += some.length;
      from += some.length;
      // The next part takes the place of this one.
      if (this.#gatheredBytes === this.#gathered.length) await this.#writePart();
    }
  }

  /** Ends the stream. */
  async end(): Promise<WrittenParts> {
    if (this.#gatheredBytes > 0) await this.#writePart();
    return { parts: this.#parts, bytes: this.#bytes };
  }

  async #writePart(): Promise<void> {
    const { fileSystem, cryptography, snapshot, seal } = this.#options;
    const number = this.#parts.length + 1;
    if (number > snapshotPartsMax)
      throw new ClustorError(
        'CLUSTOR_OVERLOADED',
        `a snapshot has at most ${snapshotPartsMax} parts`,
      );
    const plain = this.#gathered.subarray(0, this.#gatheredBytes);
    this.#parts.push({ bytes: plain.length, digest: hexEncode(cryptography.sha256(plain)) });
    this.#bytes += plain.length;
    this.#gatheredBytes = 0;
    const path = partPath(snapshot, number, seal !== undefined);
    await fileSystem.replaceFile(path, seal === undefined ? plain : seal.seal(number, plain));
  }
}

/** What ends an attempt. */
export interface SnapshotAttempt {
  readonly parts: PartWriter;
  /** Verifies what was written and publishes it under its manifest. */
  readonly publish: (written: WrittenParts, stateBytes: number) => Promise<void>;
  /** Removes what was written. */
  readonly discard: () => Promise<void>;
  /** The attempt is over, well or not. */
  readonly ended: () => void;
}

/** Runs the steps of an attempt one after the other; after one that failed nothing is written any more. */
export class AttemptSteps {
  readonly #attempt: SnapshotAttempt;
  #last: Promise<unknown> = Promise.resolve();
  #state: 'open' | 'failed' | 'over' = 'open';
  #failure: unknown;

  constructor(attempt: SnapshotAttempt) {
    this.#attempt = attempt;
  }

  /** Adds to the stream. */
  write(bytes: Uint8Array): Promise<void> {
    return this.#step(() => this.#attempt.parts.write(bytes));
  }

  /** Ends the stream and publishes. A failure leaves nothing. */
  async finish(stateBytes: number): Promise<void> {
    try {
      await this.#step(async () => {
        const written = await this.#attempt.parts.end();
        await this.#attempt.publish(written, stateBytes);
        this.#end();
      });
    } catch (error) {
      // What made it fail is told, not what keeps its remains from being removed.
      await this.abort().catch(() => undefined);
      throw error;
    }
  }

  /** Gives the attempt up; nothing happens when it is over. @throws ClustorError when its files cannot be removed now. */
  abort(): Promise<void> {
    return this.#queue(async () => {
      if (this.#state === 'over') return;
      try {
        await this.#attempt.discard();
      } finally {
        this.#end();
      }
    });
  }

  #end(): void {
    this.#state = 'over';
    this.#attempt.ended();
  }

  #step(run: () => Promise<void>): Promise<void> {
    return this.#queue(async () => {
      if (this.#state === 'failed') throw this.#failure;
      if (this.#state === 'over')
        throw new ClustorError('CLUSTOR_CLOSED', 'the attempt at this snapshot is over');
      try {
        await run();
      } catch (error) {
        this.#failure = asDiskHard(error);
        this.#state = 'failed';
        throw this.#failure;
      }
    });
  }

  #queue(run: () => Promise<void>): Promise<void> {
    const done = this.#last.then(run);
    this.#last = done.catch(() => undefined);
    return done;
  }
}
