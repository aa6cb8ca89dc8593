/**
 * The bytes of a table of idempotency keys in a snapshot (specification §2.4, §7).
 *
 * ```
 * horizon  u64
 * clients  u32 × {key, confirmed + 1 u64}
 * rows     u32, of them counted u32, then each by log position
 *          {bits u8, [client u32], key, sequence u64, term u64, index u64, digest u32, [result]}
 * ```
 * Keys and results are u32 length and so many bytes. A table may hold a million rows, which take seconds: what is written is
 * fixed at once ({@link TableImage}) and made into bytes by and by, while the table goes on; and it is read in steps.
 */
import { assert } from '../base/assert.ts';
import { ByteWriter, type ByteReader } from '../base/bytes.ts';
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, Term } from '../base/ids.ts';
import type { ClientRows, IdempotencyRow } from './idempotency-table.ts';

/** What is written of a table: nothing that happens to it later changes that. */
export interface TableImage {
  readonly horizon: LogIndex;
  readonly clients: readonly ClientRows[];
  /** Of each client, as it was. */
  readonly ackedThrough: readonly number[];
  /** By log position. */
  readonly rows: readonly IdempotencyRow[];
  /** Of each row; one that is dropped later has none any more. */
  readonly results: readonly (Uint8Array | undefined)[];
  /** So many of the first rows count with their results. */
  readonly countedRows: number;
}

/** Rows that are read in one step, and clients. */
export const rowsInStep = 2048;

/** A piece of bytes is given out when it is so long. */
const pieceBytes = 64 * 1024;
/** Bytes of a key at most; entries have room for less. */
const keyBytesMax = 1024;
/** Bytes of a kept result at most. */
const resultBytesMax = 64 * 1024 * 1024;
/** Bytes of a client and of a row at least. */
const clientBytesMin = 12;
const rowBytesMin = 33;
const rowBits = { client: 1, result: 2, tooLarge: 4 } as const;
const rowBitsAll = 7;

/** The bytes of a table, piece by piece. */
export function* tablePieces(image: TableImage): Generator<Uint8Array, void, undefined> {
  const { horizon, clients, ackedThrough, rows, results, countedRows } = image;
  const writer = new ByteWriter(2 * pieceBytes);
  writer.u64(horizon);
  writer.u32(clients.length);
  const numbers = new Map<ClientRows, number>();
  for (const [number, client] of clients.entries()) {
    numbers.set(client, number);
    writeKey(writer, client.key);
    writer.u64((ackedThrough[number] ?? -1) + 1);
    if (writer.length >= pieceBytes) yield writer.take();
  }
  writer.u32(rows.length);
  writer.u32(countedRows);
  for (const [at, row] of rows.entries()) {
    const client = row.client === undefined ? undefined : numbers.get(row.client);
    writeRow(writer, row, { client, result: results[at] });
    if (writer.length >= pieceBytes) yield writer.take();
  }
  yield writer.take();
}

function writeRow(
  writer: ByteWriter,
  { key, sequence, term, index, digest, isResultTooLarge }: IdempotencyRow,
  own: { readonly client: number | undefined; readonly result: Uint8Array | undefined },
): void {
  const { client, result } = own;
  writer.u8(
    (client === undefined ? 0 : rowBits.client) |
      (result === undefined ? 0 : rowBits.result) |
      (isResultTooLarge ? rowBits.tooLarge : 0),
  );
  if (client !== undefined) writer.u32(client);
  writeKey(writer, key);
  writer.u64(sequence);
  writer.u64(term);
  writer.u64(index);
  writer.u32(digest);
  if (result !== undefined) writer.lengthPrefixed(result);
}

/** A key has one character for each of its bytes. */
function writeKey(writer: ByteWriter, key: string): void {
  assert(key.length <= keyBytesMax, 'a key is short');
  writer.u32(key.length);
  let seen = 0;
  for (let at = 0; at < key.length; at++) {
    const byte = key.charCodeAt(at);
    seen |= byte;
    writer.u8(byte);
  }
  assert(seen <= 0xff, 'the text of a key is made of bytes');
}

/** Reads the clients. @throws ClustorError `CLUSTOR_WIRE_*`. */
export function* readWrittenClients(
  reader: ByteReader,
): Generator<Pick<ClientRows, 'key' | 'ackedThrough'>, void, undefined> {
  const count = countOf(reader, clientBytesMin);
  for (let at = 0; at < count; at++) {
    const key = readKey(reader);
    yield { key, ackedThrough: reader.u64() - 1 };
  }
}

/** Reads how many rows follow. @throws ClustorError `CLUSTOR_WIRE_*`. */
export function readRowCounts(reader: ByteReader): {
  readonly rowCount: number;
  readonly countedRows: number;
} {
  const rowCount = countOf(reader, rowBytesMin);
  const countedRows = reader.u32();
  if (countedRows > rowCount) throw badTable('more results count than there are');
  return { rowCount, countedRows };
}

/** Reads a row. @throws ClustorError `CLUSTOR_WIRE_*`. */
export function readWrittenRow(
  reader: ByteReader,
  about: {
    readonly clients: readonly ClientRows[];
    readonly results: ResultCopies;
    readonly isCounted: boolean;
  },
): IdempotencyRow {
  const bits = reader.u8();
  if (bits > rowBitsAll) throw badTable('a row has unknown bits');
  const hasClient = (bits & rowBits.client) !== 0;
  const client = hasClient ? about.clients[reader.u32()] : undefined;
  if (hasClient && client === undefined) throw badTable('a row belongs to no client');
  const key = readKey(reader);
  return {
    client,
    key,
    sequence: reader.u64(),
    term: reader.u64() as Term,
    index: reader.u64() as LogIndex,
    digest: reader.u32(),
    result:
      (bits & rowBits.result) === 0
        ? undefined
        : about.results.copyOf(reader.lengthPrefixed(resultBytesMax)),
    isResultTooLarge: (bits & rowBits.tooLarge) !== 0,
    isCounted: about.isCounted,
    isLive: true,
  };
}

/** Copies of results, many of them in one piece of memory: a million pieces would cost more than what is in them. */
export class ResultCopies {
  #piece = new Uint8Array(0);
  #used = 0;

  /** A copy of its own. */
  copyOf(result: Uint8Array): Uint8Array {
    if (result.length > pieceBytes / 8) return result.slice();
    if (this.#used + result.length > this.#piece.length) {
      this.#piece = new Uint8Array(pieceBytes);
      this.#used = 0;
    }
    const copy = this.#piece.subarray(this.#used, this.#used + result.length);
    copy.set(result);
    this.#used += result.length;
    return copy;
  }
}

function readKey(reader: ByteReader): string {
  const length = reader.u32();
  if (length > keyBytesMax) throw badTable(`a key of ${length} bytes`);
  return reader.byteText(length);
}

/** A count of things of so many bytes each at least, all of which must still be there. */
function countOf(reader: ByteReader, bytesMin: number): number {
  const count = reader.u32();
  if (count * bytesMin > reader.remaining) throw badTable(`${count} rows are not there`);
  return count;
}

/** The error for bytes that are no table. */
export function badTable(what: string): ClustorError {
  return new ClustorError('CLUSTOR_WIRE_BAD_VALUE', `the table of keys: ${what}`);
}
