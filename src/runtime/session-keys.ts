/**
 * Idempotency keys of one session: a random client id and rising sequences, with what the client has seen confirmed.
 *
 * `ackedThrough` is the highest sequence such that it and everything below is settled; replicas forget rows up to it.
 */
import { ByteWriter } from '../base/bytes.ts';
import { ClustorError } from '../base/errors.ts';
import { writeEntryMetadata } from '../codec/entry-metadata.ts';

const clientIdBytes = 16;

/** A key given by the caller; kept over all retries and restarts of the caller. @public */
export type IdempotencyKey =
  | {
      /** 16 bytes that name the client session. */
      readonly clientId: Uint8Array;
      /** Rises by one with each request of the session. */
      readonly sequence: number;
      /** Everything up to this sequence is settled for the caller. */
      readonly ackedThrough?: number;
      /** The commit index known when the request was first tried; see `Partition.commitIndex`. */
      readonly firstSeenCommit: number;
    }
  | {
      /** Any bytes, at most 64. */
      readonly opaqueKey: Uint8Array;
      /** The commit index known when the request was first tried; see `Partition.commitIndex`. */
      readonly firstSeenCommit: number;
    };

/** See the file comment. */
export class SessionKeys {
  readonly #clientId: Uint8Array;
  readonly #writer = new ByteWriter();
  readonly #open = new Set<number>();
  #nextSequence = 1;

  constructor(clientId: Uint8Array) {
    this.#clientId = clientId;
  }

  /** Metadata of the next request and its sequence. */
  next(firstSeenCommit: number): { readonly sequence: number; readonly metadata: Uint8Array } {
    const sequence = this.#nextSequence++;
    const oldestOpen = this.#oldestOpen() ?? sequence;
    this.#open.add(sequence);
    return {
      sequence,
      metadata: keyMetadata(this.#writer, {
        clientId: this.#clientId,
        sequence,
        ackedThrough: oldestOpen - 1,
        firstSeenCommit,
      }),
    };
  }

  /** The request is settled; its row may be forgotten. */
  settled(sequence: number): void {
    this.#open.delete(sequence);
  }

  #oldestOpen(): number | undefined {
    const first = this.#open.values().next();
    return first.done === true ? undefined : first.value;
  }
}

/** Metadata bytes of a key. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT` for one that no replica could read. */
export function keyMetadata(writer: ByteWriter, key: IdempotencyKey): Uint8Array {
  checkNumber('firstSeenCommit', key.firstSeenCommit);
  writer.reset();
  if ('clientId' in key) {
    if (key.clientId.length !== clientIdBytes)
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `a client id has ${clientIdBytes} bytes, got ${key.clientId.length}`,
      );
    checkNumber('sequence', key.sequence);
    if (key.ackedThrough !== undefined) checkNumber('ackedThrough', key.ackedThrough);
    const ackedThrough =
      key.ackedThrough === undefined || key.ackedThrough < 1 ? undefined : key.ackedThrough;
    writeEntryMetadata(writer, {
      clientId: key.clientId,
      sequence: key.sequence,
      firstSeenCommit: key.firstSeenCommit,
      ...(ackedThrough === undefined ? {} : { ackedThrough }),
    });
  } else {
    writeEntryMetadata(writer, { opaqueKey: key.opaqueKey, firstSeenCommit: key.firstSeenCommit });
  }
  return writer.take();
}

function checkNumber(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 0) return;
  throw new ClustorError(
    'CLUSTOR_INVALID_ARGUMENT',
    `${name} of a key is a whole number from 0 to 2^53 - 1, got ${value}`,
  );
}
