/**
 * Flags of messages by name. The bits of each `flags8` field are named in the wire catalog, lowest first; whoever sets or looks up a
 * flag names it, so that table, docs and code cannot disagree. A message has one such field at most, in itself or in its elements.
 */
import { assert, present } from '../base/assert.ts';
import { wireCatalog, type FieldRow, type MessageKind, type MessageRow } from './wire-catalog.ts';

type RowOf<Kind> = Extract<(typeof wireCatalog)[number], { readonly kind: Kind }>;
type Flat<Field> = Field extends { readonly of: readonly (infer Inner)[] } ? Inner : Field;
type BitsOf<Field> = Field extends { readonly bits: readonly (infer Bit)[] } ? Bit : never;

/** Names of the flags of a message. */
export type FlagOf<Kind extends MessageKind> = BitsOf<Flat<RowOf<Kind>['fields'][number]>> & string;

const bitsByKind: ReadonlyMap<string, readonly string[]> = new Map(
  (wireCatalog as readonly MessageRow[]).map((row) => [row.kind, bitsOf(row.fields)]),
);

/** The byte of a message's flags. */
export function packFlags<Kind extends MessageKind>(
  kind: Kind,
  values: Readonly<Record<FlagOf<Kind>, boolean>>,
): number {
  const names = present(bitsByKind.get(kind), 'a message of the catalog') as FlagOf<Kind>[];
  let flags = 0;
  for (const [bit, name] of names.entries()) if (values[name]) flags |= 1 << bit;
  return flags;
}

/** Whether a flag is set in the byte of a message. */
export function hasFlag<Kind extends MessageKind>(
  kind: Kind,
  flags: number,
  name: FlagOf<Kind>,
): boolean {
  const bit = present(bitsByKind.get(kind), 'a message of the catalog').indexOf(name);
  assert(bit >= 0, 'a flag of this message');
  return (flags & (1 << bit)) !== 0;
}

function bitsOf(fields: readonly FieldRow[]): readonly string[] {
  return fields.flatMap((field) => {
    if (field.type === 'flags8') return field.bits;
    return field.type === 'array' ? bitsOf(field.of) : [];
  });
}
