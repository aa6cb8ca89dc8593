/** The commands of the server: what each is, for dispatching and for `COMMAND` and `COMMAND DOCS`. */
import { readArities } from './kv-reads.ts';
import { writeArities } from './kv-writes.ts';
import type { Reply } from './redis-protocol.ts';

/** A command of the server. */
export interface CommandRow {
  /** In lower case. */
  readonly name: string;
  /** Number of words with the name; negative: at least so many. */
  readonly arity: number;
  /** Who carries it out: the log, a read of the state, the digest of the state, or the connection by itself. */
  readonly kind: 'write' | 'read' | 'digest' | 'connection';
  /** Position of the first and last key among the words (last: -1 is the last word), and the step between keys; zeros without keys. */
  readonly keys: readonly [first: number, last: number, step: number];
  readonly group: string;
  readonly summary: string;
}

type Keys = CommandRow['keys'];
const noKeys: Keys = [0, 0, 0];
const oneKey: Keys = [1, 1, 1];
const allKeys: Keys = [1, -1, 1];

const summaries: readonly (readonly [name: string, keys: Keys, group: string, summary: string])[] =
  [
    [
      'set',
      oneKey,
      'string',
      'Sets the value of a key; NX only if absent, XX only if present, GET answers the old value.',
    ],
    ['del', allKeys, 'generic', 'Removes keys and answers how many existed.'],
    ['incr', oneKey, 'string', 'Adds one to a counter, which begins at 0.'],
    ['incrby', oneKey, 'string', 'Adds a number to a counter, which begins at 0.'],
    ['decr', oneKey, 'string', 'Takes one from a counter, which begins at 0.'],
    ['decrby', oneKey, 'string', 'Takes a number from a counter, which begins at 0.'],
    ['append', oneKey, 'string', 'Adds bytes to the end of a value and answers its length.'],
    ['mset', [1, -1, 2], 'string', 'Sets several keys in one step.'],
    ['get', oneKey, 'string', 'Answers the value of a key.'],
    ['exists', allKeys, 'generic', 'Answers how many of the keys exist.'],
    ['mget', allKeys, 'string', 'Answers the values of several keys, all of one moment.'],
    ['strlen', oneKey, 'string', 'Answers the length of a value in bytes.'],
    ['type', oneKey, 'generic', 'Answers string, or none for a key that does not exist.'],
    ['dbsize', noKeys, 'server', 'Answers the number of keys.'],
    ['keys', noKeys, 'generic', 'Answers all keys that match a pattern.'],
    ['scan', noKeys, 'generic', 'Walks over the keys step by step.'],
    [
      'clustor.digest',
      noKeys,
      'server',
      'Answers the number of keys and a digest of all keys and values.',
    ],
    ['ping', noKeys, 'connection', 'Answers PONG, or its argument.'],
    ['echo', noKeys, 'connection', 'Answers its argument.'],
    ['hello', noKeys, 'connection', 'Chooses version 2 or 3 of the protocol.'],
    ['select', noKeys, 'connection', 'Chooses the database; there is only 0.'],
    ['quit', noKeys, 'connection', 'Closes the connection.'],
    ['client', noKeys, 'connection', 'Names and describes the connection.'],
    ['command', noKeys, 'server', 'Describes the commands.'],
    ['config', noKeys, 'server', 'Answers settings.'],
    ['info', noKeys, 'server', 'Describes the node and its replica.'],
  ];

const connectionArities: ReadonlyMap<string, number> = new Map([
  ['ping', -1],
  ['echo', 2],
  ['hello', -1],
  ['select', 2],
  ['quit', -1],
  ['client', -2],
  ['command', -1],
  ['config', -2],
  ['info', -1],
]);

/** Every command by its name in lower case. */
export const commandTable: ReadonlyMap<string, CommandRow> = new Map(
  summaries.map(([name, keys, group, summary]) => [
    name,
    { name, keys, group, summary, ...placeOf(name) },
  ]),
);

function placeOf(name: string): Pick<CommandRow, 'arity' | 'kind'> {
  const write = writeArities.get(name);
  if (write !== undefined) return { arity: write, kind: 'write' };
  const read = readArities.get(name);
  if (read !== undefined) return { arity: read, kind: 'read' };
  const connection = connectionArities.get(name);
  if (connection !== undefined) return { arity: connection, kind: 'connection' };
  return { arity: 1, kind: 'digest' };
}

/** Answers `COMMAND` and its subcommands COUNT, LIST, INFO and DOCS. */
export function answerCommand(words: readonly string[]): Reply {
  const names = words.slice(2).map((word) => word.toLowerCase());
  switch (words[1]?.toLowerCase()) {
    case undefined:
      return { kind: 'array', items: [...commandTable.values()].map(describeCommand) };
    case 'count':
      return integer(commandTable.size);
    case 'list':
      return { kind: 'array', items: [...commandTable.keys()].map(bulk) };
    case 'info':
      return { kind: 'array', items: rowsOrAll(names).map(describeCommand) };
    case 'docs':
      return { kind: 'map', entries: rowsOrAll(names).flatMap(documentCommand) };
    default:
      return {
        kind: 'error',
        text: `ERR unknown subcommand '${words[1] ?? ''}'. Try COMMAND DOCS.`,
      };
  }
}

function rowsOrAll(names: readonly string[]): readonly (CommandRow | undefined)[] {
  return names.length === 0
    ? [...commandTable.values()]
    : names.map((name) => commandTable.get(name));
}

/** The ten fields that clients expect: name, arity, flags, keys, categories, tips, key specifications, subcommands. */
function describeCommand(row: CommandRow | undefined): Reply {
  if (row === undefined) return { kind: 'nil' };
  const nothing: Reply = { kind: 'array', items: [] };
  const [first, last, step] = row.keys;
  return {
    kind: 'array',
    items: [
      bulk(row.name),
      integer(row.arity),
      { kind: 'set', items: flagsOf(row).map((text) => ({ kind: 'status', text })) },
      integer(first),
      integer(last),
      integer(step),
      nothing,
      nothing,
      nothing,
      nothing,
    ],
  };
}

function documentCommand(row: CommandRow | undefined): readonly (readonly [Reply, Reply])[] {
  if (row === undefined) return [];
  const facts: readonly (readonly [Reply, Reply])[] = [
    [bulk('summary'), bulk(row.summary)],
    [bulk('since'), bulk('0.1.0')],
    [bulk('group'), bulk(row.group)],
  ];
  return [[bulk(row.name), { kind: 'map', entries: facts }]];
}

function flagsOf(row: CommandRow): readonly string[] {
  switch (row.kind) {
    case 'write':
      return ['write'];
    case 'read':
    case 'digest':
      return ['readonly'];
    case 'connection':
      return ['fast'];
  }
}

function bulk(bytes: string): Reply {
  return { kind: 'bulk', bytes };
}

function integer(value: number): Reply {
  return { kind: 'integer', digits: value.toString() };
}
