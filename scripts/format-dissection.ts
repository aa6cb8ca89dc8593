/**
 * Takes the files of a data directory apart by the layouts in `src/codec`: every byte belongs to exactly one piece, and each
 * piece says what it is. The pages in `docs/internals` show some of it; a test demands that nothing is left over.
 */
import { ByteReader, hexEncode } from '../src/base/bytes.ts';
import {
  entryBodyLayout,
  entryHeaderLayout,
  entryLeafTrailerBytes,
  entryTrailerLayout,
  frameBytesAt,
  frameTotalBytes,
} from '../src/codec/entry-frame.ts';
import {
  indexHeaderLayout,
  indexRowLayout,
  indexSlotLayout,
  indexTailLayout,
} from '../src/codec/idx-format.ts';
import {
  fieldBytes,
  readLayout,
  storedSource,
  type Layout,
  type LayoutField,
} from '../src/codec/layout.ts';
import {
  ledgerBlockBytes,
  ledgerFileHeaderLayout,
  ledgerFlushLayout,
  ledgerHeaderBytes,
  readLedgerFlush,
} from '../src/codec/ledger-format.ts';
import { ledgerRecordHeadLayout, ledgerRecordRows } from '../src/codec/ledger-records.ts';
import {
  blockBytes,
  claimedBlocks,
  claimedPlainBytes,
  flagFirstOfFlush,
  segmentHeaderLayout,
  unitFlags,
  unitHeaderBytes,
  unitHeaderLayout,
} from '../src/codec/segment-format.ts';
import { segmentTrailerBytes, segmentTrailerLayout } from '../src/codec/segment-trailer.ts';

/** A stretch of bytes that belongs together. */
export interface Piece {
  readonly start: number;
  readonly end: number;
  /** What it is a part of. */
  readonly part: string;
  readonly name: string;
  /** Its value for people; empty where the bytes say it all. */
  readonly value: string;
}

const tagBytes = 16;
const source = storedSource('a file');

/** The fields of a layout at `start`. */
export function dissectLayout(
  bytes: Uint8Array,
  start: number,
  { layout, part }: { readonly layout: Layout; readonly part: string },
): Piece[] {
  const pieces: Piece[] = [];
  const reader = new ByteReader(bytes, start);
  for (const field of layout) {
    const from = reader.offset;
    const value = readLayout(reader, [field], source)[field.name];
    pieces.push({
      start: from,
      end: reader.offset,
      part,
      name: field.name,
      value: textOf(field, value),
    });
  }
  return pieces;
}

function textOf(field: LayoutField, value: unknown): string {
  switch (field.type) {
    case 'constant': {
      const text = String.fromCharCode(...field.bytes);
      return /^[\x20-\x7e]+$/.test(text) ? `"${text}"` : '';
    }
    case 'zeros':
    case 'bytes':
      return '';
    case 'text':
      return `"${String(value)}"`;
    case 'numbers':
    case 'texts':
    case 'rows':
      return JSON.stringify(value);
    default:
      return String(value);
  }
}

/** A segment; `trailerOffset` as the ledger has it. The units of an encrypted one stay closed. */
export function dissectSegment(
  bytes: Uint8Array,
  { trailerOffset, isEncrypted }: { readonly trailerOffset: number; readonly isEncrypted: boolean },
): Piece[] {
  const pieces = dissectLayout(bytes, 0, { layout: segmentHeaderLayout, part: 'segment header' });
  const end = trailerOffset > 0 ? trailerOffset : bytes.length;
  let stream = new FlushStream();
  for (let at = blockBytes; at < end;) {
    const part = `unit ${at / blockBytes - 1}`;
    const unitEnd = at + claimedBlocks(bytes, at) * blockBytes;
    pieces.push(...dissectLayout(bytes, at, { layout: unitHeaderLayout, part }));
    const plainStart = at + unitHeaderBytes;
    const plainEnd = plainStart + claimedPlainBytes(bytes, at);
    if (isEncrypted)
      pieces.push({ start: plainStart, end: plainEnd, part, name: 'ciphertext', value: '' });
    else {
      if ((unitFlags(bytes, at) & flagFirstOfFlush) !== 0) {
        pieces.push(...stream.pieces());
        stream = new FlushStream();
      }
      stream.add(bytes, plainStart, plainEnd);
    }
    const tagEnd = plainEnd + tagBytes;
    pieces.push({ start: plainEnd, end: tagEnd, part, name: 'tag', value: '' });
    if (tagEnd < unitEnd)
      pieces.push({ start: tagEnd, end: unitEnd, part, name: 'padding', value: '' });
    at = unitEnd;
  }
  pieces.push(...stream.pieces());
  if (trailerOffset > 0) {
    const part = 'segment trailer';
    pieces.push(...dissectLayout(bytes, trailerOffset, { layout: segmentTrailerLayout, part }));
    const start = trailerOffset + segmentTrailerBytes;
    pieces.push({ start, end: bytes.length, part, name: 'unused', value: '' });
  }
  return pieces.toSorted((left, right) => left.start - right.start);
}

/** The plaintexts of the units of one flush, and where their bytes stand in the file. */
class FlushStream {
  #bytes = new Uint8Array(0);
  readonly #places: number[] = [];

  add(bytes: Uint8Array, start: number, end: number): void {
    const longer = new Uint8Array(this.#bytes.length + end - start);
    longer.set(this.#bytes);
    longer.set(bytes.subarray(start, end), this.#bytes.length);
    this.#bytes = longer;
    for (let at = start; at < end; at++) this.#places.push(at);
  }

  /** The frames, cut where a unit ends. */
  pieces(): Piece[] {
    const pieces: Piece[] = [];
    const bytes = this.#bytes;
    for (let at = 0; at < bytes.length; at += frameTotalBytes(bytes, at)) {
      if (frameBytesAt(bytes, at, bytes.length) <= 0) throw new Error(`no frame at ${at}`);
      pieces.push(...dissectFrame(bytes, at));
    }
    return pieces.flatMap((piece) => this.#inFile(piece));
  }

  #inFile(piece: Piece): Piece[] {
    const cut: Piece[] = [];
    for (let from = piece.start; from < piece.end;) {
      let to = from + 1;
      while (to < piece.end && this.#places[to] === (this.#places[to - 1] ?? 0) + 1) to++;
      const start = this.#places[from] ?? 0;
      const name = from === piece.start ? piece.name : `${piece.name}, continued`;
      cut.push({ ...piece, name, start, end: start + to - from });
      from = to;
    }
    return cut;
  }
}

function dissectFrame(bytes: Uint8Array, at: number): Piece[] {
  const header = dissectLayout(bytes, at, { layout: entryHeaderLayout, part: 'frame' });
  const body = dissectLayout(bytes, header.at(-1)?.end ?? at, {
    layout: entryBodyLayout,
    part: 'frame',
  });
  const numberOf = (pieces: readonly Piece[], name: string): number =>
    Number(pieces.find((piece) => piece.name === name)?.value);
  const bodyEnd = (body[0]?.start ?? 0) + numberOf(header, 'bodyBytes');
  const metadataStart = body.at(-1)?.end ?? 0;
  const payloadStart = metadataStart + numberOf(body, 'metadataBytes');
  const layout =
    numberOf(header, 'trailerBytes') === entryLeafTrailerBytes
      ? entryTrailerLayout
      : entryTrailerLayout.slice(0, 1);
  const pieces = [
    ...header,
    ...body,
    { start: metadataStart, end: payloadStart, part: 'frame', name: 'metadata', value: '' },
    { start: payloadStart, end: bodyEnd, part: 'frame', name: 'payload', value: '' },
    ...dissectLayout(bytes, bodyEnd, { layout, part: 'frame' }),
  ];
  return pieces.filter(({ start, end }) => end > start);
}

/** An index of a segment. */
export function dissectIndex(bytes: Uint8Array): Piece[] {
  const pieces = dissectLayout(bytes, 0, { layout: indexHeaderLayout, part: 'index header' });
  const countOf = (name: string): number =>
    Number(pieces.find((piece) => piece.name === name)?.value);
  const [slots, rows] = [countOf('slotCount'), countOf('rowCount')];
  const more = (layout: Layout, part: string): void => {
    pieces.push(...dissectLayout(bytes, pieces.at(-1)?.end ?? 0, { layout, part }));
  };
  for (let slot = 0; slot < slots; slot++) more(indexSlotLayout, `slot ${slot}`);
  for (let row = 0; row < rows; row++) more(indexRowLayout, `row ${row}`);
  more(indexTailLayout, 'index tail');
  return pieces;
}

/** A ledger: two headers, each flush twice, and behind the newest one zeros or what is left of an older generation. */
export function dissectLedger(bytes: Uint8Array, generation: number): Piece[] {
  const pieces = [0, ledgerBlockBytes].flatMap((at, copy) =>
    dissectLayout(bytes, at, {
      layout: ledgerFileHeaderLayout,
      part: `ledger header, copy ${copy + 1}`,
    }),
  );
  let at = ledgerHeaderBytes;
  let copy = 1;
  for (;;) {
    const flush = readLedgerFlush(bytes, at, generation);
    if (flush === undefined) break;
    const part = `flush ${flush.flushSeq}, copy ${copy}`;
    const head = dissectLayout(bytes, at, { layout: ledgerFlushLayout, part });
    const recordStart = head.at(-1)?.end ?? at;
    const recordBytes = Number(head.find(({ name }) => name === 'recordBytes')?.value);
    const records = dissectRecords(bytes.subarray(0, recordStart + recordBytes), recordStart, part);
    const end = at + flush.blocks * ledgerBlockBytes;
    const start = recordStart + recordBytes;
    pieces.push(...head, ...records);
    if (start < end) pieces.push({ start, end, part, name: 'padding', value: '' });
    at = end;
    copy = 3 - copy;
  }
  if (at < bytes.length) {
    const name = 'zeros, or flushes of an older generation';
    pieces.push({ start: at, end: bytes.length, part: 'behind the newest flush', name, value: '' });
  }
  return pieces;
}

function dissectRecords(bytes: Uint8Array, from: number, part: string): Piece[] {
  const pieces: Piece[] = [];
  for (let at = from; at < bytes.length;) {
    const number = bytes[at];
    const found = Object.entries(ledgerRecordRows).find(([, row]) => row.number === number);
    if (found === undefined) throw new Error(`no kind of record has the number ${number ?? 0}`);
    const [kind, { fields }] = found;
    const layout = [...ledgerRecordHeadLayout, ...fields];
    const record = dissectLayout(bytes, at, { layout, part: `${part}, ${kind}` });
    pieces.push(...record);
    at = record.at(-1)?.end ?? bytes.length;
  }
  return pieces;
}

/** Pieces as lines: offset, bytes, name and value; long stretches are cut. */
export function pieceLines(bytes: Uint8Array, pieces: readonly Piece[]): string {
  const lines: string[] = [];
  let part = '';
  for (const piece of pieces) {
    if (piece.part !== part) lines.push(...(part === '' ? [] : ['']), piece.part);
    part = piece.part;
    const length = piece.end - piece.start;
    const shown = bytes.subarray(piece.start, piece.start + Math.min(length, 16));
    const hex = hexEncode(shown).replaceAll(/../g, '$& ').trimEnd();
    const more = length > 16 ? ` … ${length.toLocaleString('en')} bytes` : '';
    const offset = piece.start.toString(16).padStart(6, '0');
    lines.push(`${offset}  ${hex.padEnd(47)}  ${piece.name} ${piece.value}`.trimEnd() + more);
  }
  return lines.join('\n');
}

/** Whether pieces follow each other from 0 to `end` without gap or overlap. */
export function gapsOf(pieces: readonly Piece[], end: number): readonly string[] {
  const gaps: string[] = [];
  let at = 0;
  for (const { start, end: pieceEnd, part, name } of pieces) {
    if (start !== at) gaps.push(`${at} to ${start}, before ${name} of ${part}`);
    at = pieceEnd;
  }
  if (at !== end) gaps.push(`${at} to ${end}, at the end`);
  return gaps;
}

/** Bytes of a field for a table: a number, or what it depends on. */
export function sizeText(field: LayoutField): string {
  const bytes = fieldBytes(field);
  if (bytes !== undefined) return bytes.toLocaleString('en');
  switch (field.type) {
    case 'text':
      return '4 + its bytes';
    case 'numbers':
      return '2 + 8 each';
    default:
      return '2 + each';
  }
}
