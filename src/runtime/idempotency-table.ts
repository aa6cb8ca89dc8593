/**
 * Which keyed requests have taken effect, and with which result (specification §2.4): replicated state, changed only by
 * applying entries, so every replica decides alike.
 *
 * A row is evicted by log position: by count, by bytes, or because its client confirmed it (`ackedThrough`). The
 * *horizon* is the highest log position of an unconfirmed row that was evicted: an unknown key whose client first tried
 * before the horizon may be one of the evicted, so it is refused without effect (`IdempotencyHorizonPassed`, outcome
 * unknown), never applied a second time.
 *
 * What is evicted when follows from the log alone, and not from how its entries were put into batches: results are known at the
 * end of a batch, so their bytes count only {@link resultLagEntries} later, when every replica knows them.
 *
 * A table that was written into a snapshot and read back decides as the one that was written, for ever: its rows come in the
 * order of the log, which says what is evicted next and which results count already, and sessions with what they confirmed.
 */
import type { ByteReader } from '../base/bytes.ts';
import type { LogIndex, Term } from '../base/ids.ts';
import {
  badTable,
  readRowCounts,
  readWrittenClients,
  readWrittenRow,
  ResultCopies,
  rowsInStep,
  type TableImage,
} from './idempotency-image.ts';

/** Bounds of the table of a partition; the same on every node, or replicas would decide differently. */
export interface IdempotencyBounds {
  readonly rowsMax: number;
  readonly bytesMax: number;
}

/** The bounds (specification ACK-10). */
export const idempotencyBounds: IdempotencyBounds = {
  rowsMax: 1_000_000,
  bytesMax: 128 * 1024 * 1024,
};

/** So many entries behind its own a result counts; no batch is longer. */
export const resultLagEntries = 2048;

/** One request that took effect. */
export interface IdempotencyRow {
  readonly client: ClientRows | undefined;
  readonly sequence: number;
  readonly key: string;
  readonly term: Term;
  readonly index: LogIndex;
  /** Distinguishes a retry from another request under the same key. */
  readonly digest: number;
  result: Uint8Array | undefined;
  /** It had a result that is too large to be kept or answered. */
  isResultTooLarge: boolean;
  /** The bytes of its result count. */
  isCounted: boolean;
  isLive: boolean;
}

/** Rows of one client session. */
export interface ClientRows {
  readonly key: string;
  readonly rows: Map<number, IdempotencyRow>;
  /** Sequences up to here are confirmed; their rows are gone. */
  ackedThrough: number;
}

/** A key as an entry carries it. */
export interface RequestKey {
  readonly clientKey: string | undefined;
  readonly sequence: number;
  readonly opaqueKey: string | undefined;
  /** −1 when absent. */
  readonly ackedThrough: number;
  /** −1 when absent. */
  readonly firstSeenCommit: number;
}

/** What the table says of a keyed entry that is about to be applied. */
export type KeyVerdict =
  | { readonly kind: 'new' }
  | { readonly kind: 'duplicate'; readonly row: IdempotencyRow }
  | { readonly kind: 'reuse' }
  | { readonly kind: 'horizonPassed' };

const rowOverheadBytes = 96;
/** So many dead rows stay in memory, however few live. */
const deadRowsMax = 1024;
const fresh: KeyVerdict = { kind: 'new' };
const reuse: KeyVerdict = { kind: 'reuse' };
const horizonPassed: KeyVerdict = { kind: 'horizonPassed' };

/** See the file comment. */
export class IdempotencyTable {
  readonly #bounds: IdempotencyBounds;
  readonly #clients = new Map<string, ClientRows>();
  readonly #opaque = new Map<string, IdempotencyRow>();
  /** All rows by log position; dead ones are skipped, and forgotten when they are the greater part. */
  #order: IdempotencyRow[] = [];
  #orderStart = 0;
  /** The first row whose result does not count yet. */
  #uncountedStart = 0;
  #rows = 0;
  #bytes = 0;
  #horizon = 0 as LogIndex;

  constructor(bounds: IdempotencyBounds) {
    this.#bounds = bounds;
  }

  /** Rows held. */
  get size(): number {
    return this.#rows;
  }

  /** Rows in memory, with the dead ones: at most twice as many as are held, or {@link deadRowsMax} more. */
  get rowsInMemory(): number {
    return this.#order.length;
  }

  /** Log position below which an unknown key is not believed to be new. */
  get horizon(): LogIndex {
    return this.#horizon;
  }

  /** Judges a keyed entry, changing nothing. */
  judge(key: RequestKey, digest: number): KeyVerdict {
    const row = this.#find(key);
    if (row !== undefined) return row.digest === digest ? { kind: 'duplicate', row } : reuse;
    if (key.clientKey !== undefined) {
      const client = this.#clients.get(key.clientKey);
      if (client !== undefined && key.sequence <= client.ackedThrough) return horizonPassed;
    }
    return key.firstSeenCommit < this.#horizon ? horizonPassed : fresh;
  }

  /** Notes that a keyed entry takes effect at `index`; its result follows in {@link IdempotencyTable.complete}. */
  record(
    key: RequestKey,
    entry: { readonly term: Term; readonly index: LogIndex; readonly digest: number },
  ): IdempotencyRow {
    this.#countResults(entry.index);
    const client = key.clientKey === undefined ? undefined : this.#clientOf(key.clientKey);
    const row: IdempotencyRow = {
      client,
      sequence: key.sequence,
      key: key.opaqueKey ?? '',
      term: entry.term,
      index: entry.index,
      digest: entry.digest,
      result: undefined,
      isResultTooLarge: false,
      isCounted: false,
      isLive: true,
    };
    if (client === undefined) this.#opaque.set(row.key, row);
    else client.rows.set(row.sequence, row);
    this.#order.push(row);
    this.#rows++;
    this.#bytes += rowOverheadBytes + row.key.length;
    if (client !== undefined && key.ackedThrough > client.ackedThrough)
      this.#confirm(client, Math.min(key.ackedThrough, key.sequence - 1));
    this.#enforce();
    return row;
  }

  /** Stores the result of a recorded entry; `undefined` for none, and for one that is too large. */
  complete(row: IdempotencyRow, result: Uint8Array | undefined, isTooLarge: boolean): void {
    if (!row.isLive) return;
    row.result = result;
    row.isResultTooLarge = isTooLarge;
  }

  /** The table as it is now, to be written; every recorded row has its result by now. */
  image(): TableImage {
    const clients = [...this.#clients.values()];
    const rows = this.#order.filter((row) => row.isLive);
    const counted = rows.findIndex((row) => !row.isCounted);
    return {
      horizon: this.#horizon,
      clients,
      ackedThrough: clients.map((client) => client.ackedThrough),
      rows,
      results: rows.map((row) => row.result),
      countedRows: counted < 0 ? rows.length : counted,
    };
  }

  /** Reads a table that was written, some rows in a step. @throws ClustorError `CLUSTOR_WIRE_*` for bytes that are none. */
  static *reading(
    reader: ByteReader,
    bounds: IdempotencyBounds,
  ): Generator<undefined, IdempotencyTable, undefined> {
    const table = new IdempotencyTable(bounds);
    table.#horizon = reader.u64() as LogIndex;
    const clients: ClientRows[] = [];
    for (const written of readWrittenClients(reader)) {
      if (table.#clients.has(written.key)) throw badTable('a session stands there twice');
      const client = table.#clientOf(written.key);
      client.ackedThrough = written.ackedThrough;
      clients.push(client);
      if (clients.length % rowsInStep === 0) yield;
    }
    const { rowCount, countedRows } = readRowCounts(reader);
    const results = new ResultCopies();
    let lastIndex = -1;
    for (let at = 0; at < rowCount; at++) {
      const row = readWrittenRow(reader, { clients, results, isCounted: at < countedRows });
      if (row.index <= lastIndex) throw badTable('its rows are not in the order of the log');
      lastIndex = row.index;
      table.#takeIn(row);
      if (at % rowsInStep === rowsInStep - 1) yield;
    }
    table.#uncountedStart = countedRows;
    return table;
  }

  #takeIn(row: IdempotencyRow): void {
    const { client, sequence, key } = row;
    if (client === undefined ? this.#opaque.has(key) : client.rows.has(sequence))
      throw badTable('a request stands there twice');
    if (client === undefined) this.#opaque.set(key, row);
    else client.rows.set(sequence, row);
    this.#order.push(row);
    this.#rows++;
    this.#bytes += rowOverheadBytes + key.length;
    if (row.isCounted) this.#bytes += row.result?.length ?? 0;
  }

  /** Results of entries so far behind `index` that they are known wherever `index` is judged. */
  #countResults(index: LogIndex): void {
    for (;;) {
      const row = this.#order[this.#uncountedStart];
      if (row === undefined || row.index + resultLagEntries >= index) return;
      this.#uncountedStart++;
      if (!row.isLive) continue;
      row.isCounted = true;
      this.#bytes += row.result?.length ?? 0;
    }
  }

  #find(key: RequestKey): IdempotencyRow | undefined {
    if (key.clientKey !== undefined)
      return this.#clients.get(key.clientKey)?.rows.get(key.sequence);
    return key.opaqueKey === undefined ? undefined : this.#opaque.get(key.opaqueKey);
  }

  #clientOf(clientKey: string): ClientRows {
    let client = this.#clients.get(clientKey);
    if (client === undefined) {
      client = { key: clientKey, rows: new Map(), ackedThrough: -1 };
      this.#clients.set(clientKey, client);
    }
    return client;
  }

  /**
   * Confirmed rows go without raising the horizon: their client never asks again, and if it does it is told so. The newest
   * row always stays, so a client is forgotten only by eviction, which raises the horizon past everything it ever asked.
   */
  #confirm(client: ClientRows, ackedThrough: number): void {
    client.ackedThrough = ackedThrough;
    for (const row of client.rows.values()) {
      if (row.sequence > ackedThrough) break;
      this.#drop(row);
    }
  }

  #enforce(): void {
    while (this.#rows > this.#bounds.rowsMax || this.#bytes > this.#bounds.bytesMax) {
      const row = this.#oldest();
      if (row === undefined) return;
      this.#horizon = Math.max(this.#horizon, row.index) as LogIndex;
      this.#drop(row);
      if (row.client?.rows.size === 0) this.#clients.delete(row.client.key);
    }
    this.#forgetDead();
  }

  #drop(row: IdempotencyRow): void {
    row.isLive = false;
    this.#rows--;
    this.#bytes -= rowOverheadBytes + row.key.length;
    if (row.isCounted) this.#bytes -= row.result?.length ?? 0;
    row.result = undefined;
    if (row.client === undefined) this.#opaque.delete(row.key);
    else row.client.rows.delete(row.sequence);
  }

  /** The oldest live row. */
  #oldest(): IdempotencyRow | undefined {
    while (this.#order[this.#orderStart]?.isLive === false) this.#orderStart++;
    return this.#order[this.#orderStart];
  }

  /**
   * One live row in front, of a session that nobody ends, may have any number of dead ones behind it. They are taken out when
   * they are more than those that live, so each costs its part of one pass. Nothing is decided by a dead row.
   */
  #forgetDead(): void {
    const dead = this.#order.length - this.#rows;
    if (dead <= deadRowsMax || dead <= this.#rows) return;
    this.#order = this.#order.filter((row) => row.isLive);
    this.#orderStart = 0;
    // Results count in the order of the log.
    const uncounted = this.#order.findIndex((row) => !row.isCounted);
    this.#uncountedStart = uncounted < 0 ? this.#order.length : uncounted;
  }
}
