/**
 * The key ring of a data directory: `wal/keys.json` (specification §8.2).
 *
 * JSON with sorted names and no white space: whose ring it is, from which segment and ledger generation on everything is
 * encrypted and signed, and one row per key epoch with its wrapped keys. `hmac` is HMAC-SHA256 over the text without it,
 * under the newest epoch's MAC key: a row that was changed or taken out is noticed by whoever has the KEK.
 *
 * Crash story: the file is replaced as a whole, and before anything is sealed under a key that it brings. A destroyed epoch
 * keeps its row, without keys, so that epochs never go back.
 */
import { hexDecode, hexEncode, utf8Decode, utf8Encode } from '../base/bytes.ts';
import { ClustorError, messageOf } from '../base/errors.ts';

/** What an epoch's keys may do. @public */
export type KeyEpochState = 'active' | 'decryptOnly' | 'destroyed';

/** One epoch. */
export interface KeyRingRow {
  readonly epoch: number;
  readonly state: KeyEpochState;
  readonly createdMs: number;
  /** The KEK that wraps its keys; empty once they are destroyed. */
  readonly kekId: string;
  readonly wrappedDataKey: Uint8Array;
  readonly wrappedMacKey: Uint8Array;
}

/** The content of a ring. */
export interface KeyRingContent {
  readonly clusterId: string;
  readonly nodeId: number;
  /** Segments from here on are encrypted. */
  readonly firstSegmentSeq: number;
  /** Ledger generations from here on are signed. */
  readonly firstLedgerGeneration: number;
  /** By rising epoch, from 1 on; the last one is active, and it alone. */
  readonly rows: readonly KeyRingRow[];
}

/** Name of the file in `wal`. */
export const keyRingFileName = 'keys.json';

const formatVersion = 1;
const states: readonly KeyEpochState[] = ['active', 'decryptOnly', 'destroyed'];

/** What the HMAC of a ring covers. */
export function keyRingMacInput(content: KeyRingContent): Uint8Array {
  return utf8Encode(JSON.stringify(fieldsOf(content)));
}

/** The file's bytes. */
export function encodeKeyRing(content: KeyRingContent, mac: Uint8Array): Uint8Array {
  return utf8Encode(`${JSON.stringify({ ...fieldsOf(content), hmac: hexEncode(mac) })}\n`);
}

/** Names in sorted order; `hmac` sorts behind them all. */
function fieldsOf(content: KeyRingContent): Readonly<Record<string, unknown>> {
  return {
    clusterId: content.clusterId,
    epochs: content.rows.map((row) => ({
      createdMs: row.createdMs.toString(),
      data: hexEncode(row.wrappedDataKey),
      epoch: row.epoch,
      kekId: row.kekId,
      mac: hexEncode(row.wrappedMacKey),
      state: row.state,
    })),
    firstLedgerGeneration: content.firstLedgerGeneration.toString(),
    firstSegmentSeq: content.firstSegmentSeq.toString(),
    format: formatVersion,
    nodeId: content.nodeId.toString(),
  };
}

/** Reads a ring; its HMAC is for the caller to check. @throws ClustorError `CLUSTOR_INTEGRITY`, `CLUSTOR_FORMAT_UNSUPPORTED`. */
export function decodeKeyRing(
  bytes: Uint8Array,
  path: string,
): { readonly content: KeyRingContent; readonly mac: Uint8Array } {
  const broken = (what: string): ClustorError =>
    new ClustorError('CLUSTOR_INTEGRITY', `${path}: ${what}`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(utf8Decode(bytes));
  } catch (error) {
    throw broken(`not readable: ${messageOf(error)}`);
  }
  if (!isRecord(parsed)) throw broken('not an object');
  const { format } = parsed;
  if (format !== formatVersion)
    throw new ClustorError(
      'CLUSTOR_FORMAT_UNSUPPORTED',
      `${path} has format ${String(format)}, this version reads ${formatVersion}`,
    );
  const { epochs } = parsed;
  if (!Array.isArray(epochs) || epochs.length === 0) throw broken('no list of key epochs');
  const rows = epochs.map((row: unknown, at) => {
    const read = rowOf(row);
    const isLast = at === epochs.length - 1;
    if (read?.epoch !== at + 1 || (read.state === 'active') !== isLast)
      throw broken(`row ${at + 1} is no key epoch, or not in its place`);
    return read;
  });
  const mac = hexDecode(String(parsed['hmac']));
  const content = {
    clusterId: String(parsed['clusterId']),
    nodeId: Number(parsed['nodeId']),
    firstSegmentSeq: Number(parsed['firstSegmentSeq']),
    firstLedgerGeneration: Number(parsed['firstLedgerGeneration']),
    rows,
  };
  const numbers = [content.nodeId, content.firstSegmentSeq, content.firstLedgerGeneration];
  if (mac === undefined || !numbers.every((value) => Number.isSafeInteger(value) && value >= 0))
    throw broken('a field makes no sense');
  return { content, mac };
}

function rowOf(row: unknown): KeyRingRow | undefined {
  if (!isRecord(row)) return undefined;
  const state = states.find((known) => known === row['state']);
  const wrappedDataKey = hexDecode(String(row['data']));
  const wrappedMacKey = hexDecode(String(row['mac']));
  const createdMs = Number(row['createdMs']);
  if (state === undefined || wrappedDataKey === undefined || wrappedMacKey === undefined)
    return undefined;
  if (!Number.isSafeInteger(createdMs)) return undefined;
  return {
    epoch: Number(row['epoch']),
    state,
    createdMs,
    kekId: String(row['kekId']),
    wrappedDataKey,
    wrappedMacKey,
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
