/**
 * Writes `docs/reference/wire.md` and `docs/reference/wire_catalog.json` from the wire catalog.
 *
 *   npx tsx scripts/wire-reference.ts            writes both
 *   npx tsx scripts/wire-reference.ts --check    exits with 1 when one of them is not what would be written
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { clusterId, incarnation, nodeId } from '../src/base/ids.ts';
import { ownHandshake, wireExtensions } from '../src/codec/handshake.ts';
import {
  bodyBytesMax,
  wireCatalog,
  type FieldRow,
  type MessageRow,
  type PlainFieldType,
} from '../src/codec/wire-catalog.ts';

const folder = join(resolve(dirname(fileURLToPath(import.meta.url)), '..'), 'docs', 'reference');
const rows: readonly MessageRow[] = wireCatalog;
const nil = '00000000-0000-0000-0000-000000000000';
const { catalogMajor, catalogMinor } = ownHandshake({
  clusterId: clusterId(nil),
  nodeId: nodeId(0),
  bootId: incarnation(nil),
});

const plainTypes: Readonly<Record<PlainFieldType, string>> = {
  u8: '1 byte',
  u16: '2 bytes',
  u32: '4 bytes',
  u64: '8 bytes, at most 2^53 − 1',
  bool: '1 byte, 0 or 1',
  term: 'u64: an election term',
  logIndex: 'u64: a position in the log',
  nodeId: 'u64: a node; 0 where there is none',
  replicaId: 'u64: a replica',
  partitionId: '16 bytes: a partition',
  incarnation: '16 bytes: one life of a replica, or one boot of a node',
  clusterId: '16 bytes: a cluster',
  bytes: 'u32 length and that many bytes',
  text: 'u32 length and that many bytes of UTF-8',
  rest: 'every byte up to the end of the body',
};

const introduction = `# Wire catalog

<!-- Written by \`npm run docs\` from src/codec/wire-catalog.ts; do not edit. -->

What nodes and clients say to each other over TLS with the protocol \`clustor/1\`, catalog version ${catalogMajor}.${catalogMinor}. The same table as data:
[wire_catalog.json](wire_catalog.json).

## Frames

A frame is \`body_len u32\` and a body of that many bytes, at most ${bodyBytesMax.toLocaleString('en')}. Integers are little-endian. A body is, in this order:

| bytes | what | when |
| --- | --- | --- |
| 4 | message id u8, flags u8, reserved u16 = 0 | always |
| 16 | request id u64, deadline in milliseconds u32 (0 for none), routing epoch u32 | requests and answers |
| 32 | partition id 16, incarnation of the receiving replica 16 | messages of a partition |
| 2 + n | u16 length and a block of fields {tag u8, length u8, value}; unknown tags are skipped | flag bit 0 is set |
| | the fields of the message in order | always |

The first message of each side is \`hello\` and \`helloAccepted\`. Two sides understand each other when their major versions are equal and each
can parse the minor version of the other. The smaller frame maximum counts. Extensions are bits, on when both offer them: ${Object.entries(
  wireExtensions,
)
  .map(([name, bit]) => `\`${name}\` ${bit}`)
  .join(', ')}.
Bytes behind the last field are refused, unless \`forwardCompat\` was agreed.

A pre-vote response has a layout that is older than the rest: its payload is the term u64, the vote as a bool, and then nothing, a 0, or a 1 and
the bool \`highRtt\`. Its sender stands in the block, tag 16: replica id u64 and incarnation 16. Senders always write all eleven bytes.

Malformed bodies end the connection with one of the [wire errors](errors.md#wire).

## Types

| type | on the wire |
| --- | --- |
`;

/** The whole text of `docs/reference/wire.md`. */
export function wireReference(): string {
  let text = introduction;
  for (const [name, meaning] of Object.entries(plainTypes))
    text += `| \`${name}\` | ${meaning} |\n`;
  text +=
    '| flags8 | 1 byte of bits, the lowest first; bits that a reader does not know mean nothing |\n';
  text +=
    '| enum | 1 byte: the position of the value in its list, from 0; 0xF0 to 0xFF are experimental and refused |\n';
  text += '| array | u16 count and the elements, each its fields in order |\n';
  text +=
    '\n## Messages\n\n| id | message | class | scope | sent by | body at most |\n| --- | --- | --- | --- | --- | --- |\n';
  for (const row of rows) {
    const sender = row.audience === 'node' ? 'nodes of the cluster' : 'any certified peer';
    const link = `[\`${row.kind}\`](#${row.kind.toLowerCase()})`;
    text += `| ${idOf(row)} | ${link} | ${classes[row.class]} | ${row.scope} | ${sender} | ${row.bodyBytesMax.toLocaleString('en')} |\n`;
  }
  for (const row of rows) text += messageSection(row);
  return text;
}

/** The whole text of `docs/reference/wire_catalog.json`. */
export function wireCatalogJson(): string {
  const catalog = {
    catalogVersion: { major: catalogMajor, minor: catalogMinor },
    bodyBytesMax,
    extensions: wireExtensions,
    messages: rows,
  };
  const spread = JSON.stringify(catalog, undefined, 2);
  const lists = spread.replaceAll(
    /\[\s+("[^"\]]*"(?:,\s+"[^"\]]*")*)\s+\]/g,
    (_, items: string) => `[${items.replaceAll(/\s+/g, ' ')}]`,
  );
  return `${lists.replaceAll(/\[\s+\]/g, '[]')}\n`;
}

const classes: Readonly<Record<MessageRow['class'], string>> = {
  oneWay: 'one way',
  request: 'request',
  response: 'answer',
};

function idOf(row: MessageRow): string {
  return `0x${row.id.toString(16).padStart(2, '0').toUpperCase()}`;
}

function messageSection(row: MessageRow): string {
  const title = `\n### ${row.kind}\n\n${idOf(row)}, ${classes[row.class]}, of a ${row.scope}.`;
  if (row.fields.length === 0) return `${title} No fields.\n`;
  const note = row.layout === 'preVote' ? ' Laid out as told under [Frames](#frames).' : '';
  return `${title}${note}\n\n| field | type |\n| --- | --- |\n${fieldRows(row.fields, '')}`;
}

function fieldRows(fields: readonly FieldRow[], prefix: string): string {
  return fields.map((field) => fieldRow(field, prefix)).join('');
}

function fieldRow(field: FieldRow, prefix: string): string {
  const name = `${prefix}${field.name}`;
  switch (field.type) {
    case 'enum':
      return `| \`${name}\` | enum: ${field.values.map((value) => `\`${value}\``).join(', ')} |\n`;
    case 'flags8':
      return `| \`${name}\` | flags8: ${field.bits.map((bit, at) => `bit ${at} \`${bit}\``).join(', ')} |\n`;
    case 'array':
      return `| \`${name}[]\` | array of at most ${field.max.toLocaleString('en')} |\n${fieldRows(field.of, `${name}[].`)}`;
    default: {
      const limit =
        field.max === undefined ? '' : `, at most ${field.max.toLocaleString('en')} bytes`;
      return `| \`${name}\` | \`${field.type}\`${limit} |\n`;
    }
  }
}

function main(): void {
  const pages = [
    { path: join(folder, 'wire.md'), text: wireReference() },
    { path: join(folder, 'wire_catalog.json'), text: wireCatalogJson() },
  ];
  if (!process.argv.includes('--check')) {
    for (const { path, text } of pages) writeFileSync(path, text);
    return;
  }
  for (const { path, text } of pages) {
    if (readFileSync(path, 'utf8') === text) continue;
    process.stderr.write(`${path} is not what the catalog says; run npm run docs\n`);
    process.exitCode = 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
