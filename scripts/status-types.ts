/**
 * Writes `src/admin/generated/node-status.ts`: what a node says of itself as plain interfaces, for those who use the client. They
 * come from the types that `buf generate` made of the admin service's messages, so they say the same under the same words, and
 * need no package of others to be read.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const generated = new URL('../src/admin/generated/', import.meta.url);
/** What the types are written to. */
export const statusTypesPath: URL = new URL('node-status.ts', generated);
const root = 'GetStatusResponse';
/** Messages that may be missing for all the wire knows, but that every node sends. */
const always: ReadonlySet<string> = new Set(['journal', 'disk']);

/** What the message is called where it stands beside the names of the client. */
function nameOf(message: string): string {
  return message === root ? 'AdminNodeStatus' : `Reported${message}`;
}

/** The comment of the definition without the generator's own line. */
function commentOf(block: string, indent: string): string {
  const words = block
    .split('\n')
    .map((line) => line.replace(/^\s*\/?\*+\/?\s?/, '').trim())
    .filter((line) => line !== '' && !line.startsWith('@generated'));
  return words.length === 0 ? '' : `${indent}/** ${words.join(' ')} */\n`;
}

/** One message: its comment, and the lines between its braces. */
interface Definition {
  readonly comment: string;
  readonly body: string;
}

const definition =
  /\/\*\*\n((?: \*.*\n)+?) \*\/\nexport type (\w+) = Message<[^>]+> & \{\n([^]*?)^\};/gm;
const fieldDefinition = / {2}\/\*\*\n((?: {3}\*.*\n)+?) {3}\*\/\n {2}(\w+)(\??): ([^;]+);/g;

/** Writes the messages that the answer to `GetStatus` consists of, each behind the first that holds it. */
class StatusTypes {
  readonly #messages: ReadonlyMap<string, Definition>;
  readonly #written = new Map<string, string>();

  constructor(input: string) {
    this.#messages = new Map(
      [...input.matchAll(definition)].map(([, comment = '', name = '', body = '']) => [
        name,
        { comment, body },
      ]),
    );
    this.#write(root);
  }

  get text(): string {
    return [...this.#written.values()].join('\n');
  }

  #write(name: string): void {
    if (this.#written.has(name)) return;
    const message = this.#messages.get(name);
    if (message === undefined) throw new Error(`admin_pb.ts has no message ${name}`);
    this.#written.set(name, '');
    const fields = [...message.body.matchAll(fieldDefinition)].map((field) => this.#field(field));
    const comment = commentOf(message.comment, '').replace(/ \*\/\n$/, ' @public */\n');
    const lead = comment === '' ? '/** @public */\n' : comment;
    const body = fields.join('\n');
    this.#written.set(name, `${lead}export interface ${nameOf(name)} {\n${body}\n}\n`);
  }

  #field([, comment = '', name = '', mark = '', type = '']: RegExpMatchArray): string {
    const item = type.replace(/( \| undefined|\[\])+$/, '');
    const isMessage = this.#messages.has(item);
    const isOptional = mark === '?' && !always.has(name);
    if (isMessage) this.#write(item);
    const plain = isMessage ? nameOf(item) : item === 'bigint' ? 'number' : item;
    const list = type.includes('[]') ? `readonly ${plain}[]` : plain;
    const end = isOptional ? `?: ${list} | undefined` : `: ${list}`;
    return `${commentOf(comment, '  ')}  readonly ${name}${end};`;
  }
}

/** The types as they should be. */
export function statusTypes(): string {
  const input = readFileSync(new URL('clustor/admin/v1/admin_pb.ts', generated), 'utf8');
  const head = '// Made by scripts/status-types.ts from admin_pb.ts (npm run generate).\n';
  return `${head}\n${new StatusTypes(input).text}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(statusTypesPath, statusTypes());
