/**
 * Writes `src/codec/generated/wire-code.ts`: for each row of the wire catalog one function that writes its messages and one that
 * reads them, field by field. An interpreter of the table costs several times as much, on every hop of every write.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import {
  bodyBytesMax,
  wireCatalog,
  type FieldRow,
  type MessageRow,
} from '../src/codec/wire-catalog.ts';

/** What the code is written to. */
export const wireCodePath: URL = new URL('../src/codec/generated/wire-code.ts', import.meta.url);

/** Longest text where a row names no maximum. */
const textBytesMax = 1024;

/** Types that are numbers or texts of another name, by the type in TypeScript. */
const brands: Readonly<Record<string, string>> = {
  term: 'Term',
  logIndex: 'LogIndex',
  nodeId: 'NodeId',
  replicaId: 'ReplicaId',
  partitionId: 'PartitionId',
  incarnation: 'Incarnation',
  clusterId: 'ClusterId',
};

const requestHead: readonly FieldRow[] = [
  { name: 'requestId', type: 'u64' },
  { name: 'deadlineMs', type: 'u32' },
  { name: 'routingEpoch', type: 'u32' },
];
const partitionHead: readonly FieldRow[] = [
  { name: 'partitionId', type: 'partitionId' },
  { name: 'toIncarnation', type: 'incarnation' },
];

function headOf(row: MessageRow): readonly FieldRow[] {
  return [
    ...(row.class === 'oneWay' ? [] : requestHead),
    ...(row.scope === 'partition' ? partitionHead : []),
  ];
}

function capital(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

/** The statement that writes a field; `path` names what its arrays are elements of. */
function writing(field: FieldRow, value: string, path: string): string {
  switch (field.type) {
    case 'u8':
    case 'flags8':
      return `writer.u8(${value});`;
    case 'u16':
    case 'u32':
    case 'u64':
    case 'bool':
    case 'text':
      return `writer.${field.type}(${value});`;
    case 'term':
    case 'logIndex':
    case 'nodeId':
    case 'replicaId':
      return `writer.u64(${value});`;
    case 'partitionId':
    case 'incarnation':
    case 'clusterId':
      return `writer.uuid(${value});`;
    case 'bytes':
      return `writer.lengthPrefixed(${value});`;
    case 'rest':
      return `writer.raw(${value});`;
    case 'enum':
      return `writeEnum(writer, ${path}Values, ${value});`;
    default:
      return `write${capital(path)}(writer, ${value});`;
  }
}

/** The expression that reads a field. */
function reading(field: FieldRow, path: string): string {
  const branded = (call: string): string => {
    const brand = brands[field.type];
    return brand === undefined ? call : `${call} as ${brand}`;
  };
  switch (field.type) {
    case 'u8':
    case 'flags8':
      return 'reader.u8()';
    case 'u16':
    case 'u32':
    case 'u64':
    case 'bool':
    case 'rest':
      return `reader.${field.type}()`;
    case 'term':
    case 'logIndex':
    case 'nodeId':
    case 'replicaId':
      return branded('reader.u64()');
    case 'partitionId':
    case 'incarnation':
    case 'clusterId':
      return branded('reader.uuid()');
    case 'bytes':
      return `reader.lengthPrefixed(${field.max ?? bodyBytesMax})`;
    case 'text':
      return `reader.text(${field.max ?? textBytesMax})`;
    case 'enum':
      return `readEnum(reader, ${path}Values, '${field.name}')`;
    default:
      return `read${capital(path)}(reader)`;
  }
}

/** Tables of enums and functions of arrays that fields need, those of inner fields first. */
function needs(fields: readonly FieldRow[], path: string, type: string): string {
  return fields
    .map((field) => {
      const own = `${path}${capital(field.name)}`;
      if (field.type === 'enum')
        return `const ${own}Values = [${field.values.map((value) => `'${value}'`).join(', ')}] as const;\n`;
      if (field.type !== 'array') return '';
      const inner = `${type}['${field.name}'][number]`;
      return `${needs(field.of, own, inner)}
function write${capital(own)}(writer: ByteWriter, elements: ${type}['${field.name}']): void {
  writeCount(writer, elements.length, ${field.max});
  for (const element of elements) {
${field.of.map((one) => `    ${writing(one, `element.${one.name}`, `${own}${capital(one.name)}`)}`).join('\n')}
  }
}

function read${capital(own)}(reader: ByteReader): ${type}['${field.name}'] {
  const count = readCount(reader, ${field.max}, '${field.name}');
  const elements: ${inner}[] = [];
  for (let position = 0; position < count; position++)
    elements.push({
${field.of.map((one) => `      ${one.name}: ${reading(one, `${own}${capital(one.name)}`)},`).join('\n')}
    });
  return elements;
}
`;
    })
    .join('');
}

function codeOf(row: MessageRow): string {
  const type = `Of<'${row.kind}'>`;
  const head = headOf(row);
  const path = (field: FieldRow): string => `${row.kind}${capital(field.name)}`;
  const isEmpty = head.length + row.fields.length === 0;
  return `${needs(row.fields, row.kind, type)}
function write${capital(row.kind)}(${isEmpty ? '' : `writer: ByteWriter, message: ${type}`}): void {
${[...head, ...row.fields].map((field) => `  ${writing(field, `message.${field.name}`, path(field))}`).join('\n')}
}

function read${capital(row.kind)}(reader: ByteReader, hasTlvBlock: boolean): ${type} {
${head.map((field) => `  const ${field.name} = ${reading(field, path(field))};\n`).join('')}  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: '${row.kind}',
${head.map(({ name }) => `    ${name},\n`).join('')}${row.fields.map((field) => `    ${field.name}: ${reading(field, path(field))},\n`).join('')}  };
}
`;
}

/** The whole text of the file. */
export function wireCode(): string {
  const rows: readonly MessageRow[] = wireCatalog;
  const plain = rows.filter(({ layout }) => layout === undefined);
  const code = plain.map(codeOf).join('');
  const used = [...new Set(Object.values(brands))].filter((brand) =>
    new RegExp(`\\b${brand}\\b`).test(code),
  );
  return `// Written by \`npm run generate\` from the wire catalog; do not edit.
import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import type { ${used.sort().join(', ')} } from '../../base/ids.ts';
import {
  readCount,
  readEnum,
  skipTlvBlock,
  writeCount,
  writeEnum,
} from '../wire-fields.ts';
import type { WireMessage } from '../wire-messages.ts';

type Of<Kind extends WireMessage['kind']> = Extract<WireMessage, { readonly kind: Kind }>;

/** Writes and reads what is behind the first four bytes of a body. */
export interface MessageCode {
  write(writer: ByteWriter, message: WireMessage): void;
  read(reader: ByteReader, hasTlvBlock: boolean): WireMessage;
}
${code}
/** All messages whose layout is that of their row. */
export const wireCode: Readonly<
  Record<${plain.map(({ kind }) => `'${kind}'`).join(' | ')}, MessageCode>
> = {
${plain.map(({ kind }) => `  ${kind}: { write: write${capital(kind)}, read: read${capital(kind)} },`).join('\n')}
};
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(wireCodePath, wireCode());
