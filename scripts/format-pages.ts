/**
 * Writes `docs/internals/wal.md` and `docs/internals/ledger.md`: the files of a data directory, byte by byte, drawn from the
 * layouts in `src/codec`, with examples taken apart from the fixtures in `test/fixtures/formats`.
 *
 *   npx tsx scripts/format-pages.ts            writes both
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { unitAssociatedLayout, segmentKeyInfoLayout } from '../src/codec/encrypted-unit.ts';
import {
  entryBodyLayout,
  entryHeaderLayout,
  entryTrailerLayout,
} from '../src/codec/entry-frame.ts';
import {
  indexHeaderLayout,
  indexRowLayout,
  indexSlotLayout,
  indexTailLayout,
} from '../src/codec/idx-format.ts';
import { fieldBytes, type Layout } from '../src/codec/layout.ts';
import {
  ledgerFileHeaderLayout,
  ledgerFlushLayout,
  readLedgerFileHeader,
} from '../src/codec/ledger-format.ts';
import { ledgerRecordHeadLayout, ledgerRecordRows } from '../src/codec/ledger-records.ts';
import { segmentHeaderLayout, unitHeaderLayout } from '../src/codec/segment-format.ts';
import { sealedBlocksMax } from '../src/storage/segment-writer.ts';
import { segmentTrailerLayout } from '../src/codec/segment-trailer.ts';
import { memberLayout } from '../src/codec/system-entry.ts';
import { replayLedgerBytes } from '../src/storage/ledger-replay.ts';
import {
  dissectIndex,
  dissectLedger,
  dissectSegment,
  pieceLines,
  sizeText,
  type Piece,
} from './format-dissection.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const fixtures = join(root, 'test', 'fixtures', 'formats', 'v2');
const rowBytes = 16;
const cellWidth = 4;

/** A segment of a fixture, and what the ledger beside it says of it. */
export function fixtureSegment(
  kind: 'plain' | 'encrypted',
  segmentSeq: number,
): { readonly bytes: Uint8Array; readonly trailerOffset: number; readonly isEncrypted: boolean } {
  const name = `segment-${segmentSeq.toString().padStart(16, '0')}.log`;
  const { bytes: ledger } = fixtureLedger(kind);
  const { image } = replayLedgerBytes(ledger, present(readLedgerFileHeader(ledger, 0)));
  const trailerOffset = image.segments.get(segmentSeq)?.trailerOffset ?? 0;
  return { bytes: fixtureFile(kind, name), trailerOffset, isEncrypted: kind === 'encrypted' };
}

/** The ledger of a fixture. */
export function fixtureLedger(kind: 'plain' | 'encrypted'): {
  readonly bytes: Uint8Array;
  readonly generation: number;
} {
  const bytes = fixtureFile(kind, 'durability.log');
  return { bytes, generation: present(readLedgerFileHeader(bytes, 0)).generation };
}

/** A file in the folder `wal` of a fixture. */
export function fixtureFile(kind: 'plain' | 'encrypted', name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(fixtures, kind, 'data', 'wal', name)));
}

function present<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('a fixture is whole');
  return value;
}

/**
 * A layout as a drawing, 16 bytes a line. A name that its cell is too narrow for is cut, a long stretch is drawn as far as
 * its first line goes, and a field whose size depends on its value has a line of its own.
 */
export function drawing(layout: Layout): string {
  const lines = [ruler()];
  let at = 0;
  let open = '';
  let border = '';
  const flush = (): void => {
    if (open === '') return;
    lines.push(`  ${hexOffset(at - (at % rowBytes || rowBytes))} |${open}`);
    lines.push(`        +${border}`);
    open = '';
    border = '';
  };
  for (const field of layout) {
    const size = fieldBytes(field);
    if (size === undefined) {
      flush();
      const text = ` ${field.name} (bytes: ${sizeText(field)}) `;
      const width = rowBytes * cellWidth - 1;
      lines.push(`     .. |${text.padEnd(width, '.')}|`, `        +${'-'.repeat(width)}+`);
      continue;
    }
    let left = size;
    let isFirst = true;
    while (left > 0) {
      const count = Math.min(left, rowBytes - (at % rowBytes));
      const width = count * cellWidth - 1;
      const name = isFirst ? field.name : `${field.name} ...`;
      open += `${name
        .slice(0, width)
        .padStart((width + Math.min(width, name.length)) >> 1)
        .padEnd(width)}|`;
      border += `${'-'.repeat(width)}+`;
      at += count;
      left -= count;
      isFirst = false;
      if (at % rowBytes === 0) flush();
      if (left > 4 * rowBytes) {
        // Nobody wants to count 250 lines of zeros.
        const hidden = left - (left % rowBytes);
        at += hidden;
        left -= hidden;
        lines.push(`        : ${field.name}, ${size.toLocaleString('en')} bytes in all`);
        if (left === 0) lines.push(`        +${'-'.repeat(rowBytes * cellWidth - 1)}+`);
      }
    }
  }
  flush();
  return `\`\`\`text\n${lines.join('\n').replaceAll(/ +$/gm, '')}\n\`\`\`\n`;
}

function ruler(): string {
  const columns = Array.from({ length: rowBytes }, (_, at) => at.toString(16).padStart(2));
  return `        ${columns.map((column) => ` ${column} `).join('')}\n        +${'---+'.repeat(rowBytes)}`;
}

function hexOffset(offset: number): string {
  return `0x${offset.toString(16).padStart(3, '0')}`;
}

/** A layout as a table: offset, bytes, type, name, meaning. */
export function table(layout: Layout): string {
  let at: number | undefined = 0;
  let text = '| at | bytes | type | field | meaning |\n| --- | --- | --- | --- | --- |\n';
  for (const field of layout) {
    const type = field.type === 'uuid' ? 'UUID' : field.type === 'zeros' ? '' : field.type;
    text += `| ${at ?? ''} | ${sizeText(field)} | ${type} | \`${field.name}\` | ${field.note} |\n`;
    const size = fieldBytes(field);
    at = at === undefined || size === undefined ? undefined : at + size;
    if (field.type === 'rows' && field.of !== memberLayout)
      for (const inner of field.of)
        text += `| | ${sizeText(inner)} | ${inner.type} | \`${field.name}[].${inner.name}\` | ${inner.note} |\n`;
  }
  return text;
}

function both(layout: Layout): string {
  return `${drawing(layout)}\n${table(layout)}`;
}

function example(bytes: Uint8Array, pieces: readonly Piece[]): string {
  return `\`\`\`text\n${pieceLines(bytes, pieces)}\n\`\`\`\n`;
}

const written = (from: string): string =>
  `<!-- Written by \`npm run docs\` from the layouts in ${from} and the fixtures in test/fixtures/formats; do not edit. -->`;

const howToRead = `All integers are little-endian; offsets are in bytes. In the drawings each cell of four columns is a byte; a name that does not fit
its cell is cut. The tables come from the sources that write and read the files, and the examples are files of the repository, taken apart: on
the left the offset in the file.
`;

/** The whole text of `docs/internals/wal.md`. */
export function walPage(): string {
  const plain = fixtureSegment('plain', 2);
  const plainPieces = dissectSegment(plain.bytes, plain);
  const sealed = fixtureSegment('encrypted', 2);
  const sealedPieces = dissectSegment(sealed.bytes, sealed);
  const index = fixtureFile('plain', 'segment-0000000000000002.idx');
  const partOf = (pieces: readonly Piece[], start: number, end: number): Piece[] =>
    pieces.filter((piece) => piece.start >= start && piece.start < end);
  return `# The journal, byte by byte

${written('src/codec')}

\`wal/segment-<16 digits>.log\`: entries of all partitions of a data directory, in the order in which they were written. What of it counts is
said by the [ledger](ledger.md), never by the journal itself.

${howToRead}
## A segment

\`\`\`text
  +------------------+-----------+-----------+-- ... --+-----------+------------------+
  | header           | block 0   | block 1   |         | block n   | trailer          |
  | 4,096 bytes      | 4,096     | 4,096     |         | 4,096     | 4,096 bytes      |
  +------------------+-----------+-----------+-- ... --+-----------+------------------+
  never changed      each written once,                            once it is closed;
                     zeros where none was written yet              the file ends here
\`\`\`

Block *i* fills the bytes from 4,096·(*i*+1) on. Blocks are sealed in *units* of 1 to 16 that follow each other; a unit has the number of its first
block. A process never appends to a segment that it did not make itself. After a crash, blocks behind
the coverage of the ledger may be missing, torn or out of order: the first bad unit ends the journal. A bad one before it is damage
(specification §5.3); how long it was is not known then, so that the next one is looked for at each block.

## Segment header

${both(segmentHeaderLayout)}
## A unit

\`\`\`text
  +-------------+--------------------------------+-----------+-------------------------+
  | header      | plaintext, or its ciphertext   | tag       | zeros                   |
  | 8 bytes     | plainBytes                     | 16 bytes  | to the end of a block   |
  +-------------+--------------------------------+-----------+-------------------------+
  4,096 bytes, or 2 to 16 times as many: no more than the plaintext needs
\`\`\`

Format 1, which is read as well, has units of one block only. Units of ${sealedBlocksMax} blocks at most are written now; what is read may have up to 16.

${both(unitHeaderLayout)}
The tag without encryption: CRC-32C (4 bytes) over the salt of the segment, the number of the unit (u64), its header and its plaintext; then
12 zeros. With encryption: the tag of AES-256-GCM. Its nonce is 4 zeros and the number of the unit (u64). Its key is the HKDF-SHA256 of the
data key with the salt of the segment and this information:

${table(segmentKeyInfoLayout)}
What is authenticated with the plaintext: this, and the 8 bytes of the unit's header behind it.

${table(unitAssociatedLayout)}
So a unit of another place, another file or another node opens nowhere else.

## Frames

A flush begins with a fresh unit, marked as its first, and ends with one marked as its last. The plaintexts of its units, one behind the
other, are a row of whole frames, each one entry:

\`\`\`text
  unit 0                        unit 4                        unit 8
  +---------------------------+ +---------------------------+ +-----------------+
  | frame | frame | frame ... | | ... the same frame | frame ... | ... its end   |
  +---------------------------+ +---------------------------+ +-----------------+
    firstFrame = 0                firstFrame = where the        firstFrame = 0xFFFF:
                                  second frame starts           none starts here
\`\`\`

A frame is header, body and trailer. It is the same on the wire, on every disk and in memory.

Header:

${both(entryHeaderLayout)}
Body, in front of \`metadata\` (metadataBytes) and \`payload\` (what is left of bodyBytes):

${both(entryBodyLayout)}
Trailer, with a leaf (36 bytes) or without (4 bytes):

${both(entryTrailerLayout)}
## Segment trailer

The last block of a closed segment; \`segmentClosed\` in the ledger names its offset. Behind its ${segmentTrailerLayout.length} fields stand zeros, which are looked at too.

${both(segmentTrailerLayout)}
*Lanes*: a stream is cut into words of 4 bytes, the last one padded with zeros; word *i* belongs to lane *i* mod 4; each lane has a CRC-32C.

## Index

\`wal/segment-<16 digits>.idx\` beside a closed segment: where the entries of each partition stand. It helps and decides nothing: one that is lost
or damaged is written anew from the segment, and a row is believed only when the frame agrees.

\`\`\`text
  +-----------+----------------------+---------------------+---------+
  | header    | slotCount partitions | rowCount rows       | crc     |
  | 40 bytes  | 16 bytes each        | 32 bytes each       | 4 bytes |
  +-----------+----------------------+---------------------+---------+
\`\`\`

Header:

${both(indexHeaderLayout)}
A slot:

${table(indexSlotLayout)}
A row: frames of one partition and term that follow each other.

${both(indexRowLayout)}
Tail:

${table(indexTailLayout)}
## Example without encryption

\`test/fixtures/formats/v2/plain\`, segment 2, its header and its first two units:

${example(plain.bytes, partOf(plainPieces, 0, 3 * 4096))}
Its trailer:

${example(plain.bytes, partOf(plainPieces, plain.trailerOffset, plain.bytes.length))}
Its index, without its last rows:

${example(
  index,
  dissectIndex(index).filter(({ part }) => !/^row [3-9]|^row \d\d/.test(part)),
)}
## Example with encryption

\`test/fixtures/formats/v2/encrypted\`, the same segment of the same story: its header and its first unit.

${example(sealed.bytes, partOf(sealedPieces, 0, 2 * 4096))}
\`clustor wal inspect\`, \`wal verify\` and \`wal dump\` read all of this ([command line](../reference/cli.md)).
`;
}

/** The whole text of `docs/internals/ledger.md`. */
export function ledgerPage(): string {
  const { bytes, generation } = fixtureLedger('plain');
  const pieces = dissectLedger(bytes, generation);
  const flushes = [...new Set(pieces.map(({ part }) => /^flush \d+/.exec(part)?.[0]))].filter(
    (name) => name !== undefined,
  );
  const copyOf = (flush: string | undefined): Piece[] =>
    pieces.filter(({ part }) => part.startsWith(`${flush ?? ''}, copy 1`));
  const kinds = Object.entries(ledgerRecordRows).toSorted(
    ([, left], [, right]) => left.number - right.number,
  );
  return `# The ledger, byte by byte

${written('src/codec')}

\`wal/durability.log\`: what was promised. Votes, what of the [journal](wal.md) is synced, what of it is dead, who is in a partition. One for all
partitions of a data directory.

${howToRead}
## The file

\`\`\`text
  +-----------+-----------+------------+------------+------------+------------+-- ...
  | header    | the same  | flush 1    | the same   | flush 2    | the same   |
  | 4,096     | 4,096     | n blocks   | n blocks   | m blocks   | m blocks   |
  +-----------+-----------+------------+------------+------------+------------+-- ...
              second copy              second copy               second copy
\`\`\`

Everything is written twice, in different blocks, under one sync: it is bad only where both copies are. A flush begins with a fresh block of
4,096 bytes, and only after the one before is synced; a synced block is never written again. So a bad flush is either a torn write that nobody
was told of, and the ledger ends there, or a later flush knew it as synced, and evidence is lost (specification §5.5).

A ledger that is full is replaced by a new *generation*: a file with the newest of everything that is still needed, renamed over the old one.
The old file is kept as \`durability.log.spare\` and used again, so flushes of an older generation may stand behind the newest one.

## File header

${both(ledgerFileHeaderLayout)}
## Flush

\`\`\`text
  +-----------+--------+--------+-- ... --+--------+--------------------------+
  | header    | record | record |         | record | zeros                    |
  | 56 bytes  |        |        |         |        | to the end of its blocks |
  +-----------+--------+--------+-- ... --+--------+--------------------------+
\`\`\`

${both(ledgerFlushLayout)}
## Records

In front of each:

${both(ledgerRecordHeadLayout)}
${kinds
  .map(
    ([kind, { number, note, fields }]) =>
      `### ${number} ${kind}\n\n${note[0]?.toUpperCase() ?? ''}${note.slice(1)}.\n\n${both(fields)}`,
  )
  .join('\n')}
### A member

In the lists of \`configuration\`, behind the u16 that counts them:

${both(memberLayout)}
## Example

\`test/fixtures/formats/v2/plain\`, generation ${generation}: the header, the flush that began the generation, the first one behind it, and the newest, each in its first
copy.

${example(
  bytes,
  pieces.filter(({ part }) => part === 'ledger header, copy 1'),
)}
${[flushes[0], flushes[2], flushes.at(-1)].map((flush) => example(bytes, copyOf(flush))).join('\n')}
\`clustor ledger show\` lists a whole one ([command line](../reference/cli.md)).
`;
}

function main(): void {
  const folder = join(root, 'docs', 'internals');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'wal.md'), walPage());
  writeFileSync(join(folder, 'ledger.md'), ledgerPage());
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
