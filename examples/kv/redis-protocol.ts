/**
 * The Redis wire protocol (RESP 2 and 3) as a server needs it: requests in, replies out.
 *
 * A request is an array of bulk strings, `*2\r\n$3\r\nGET\r\n$1\r\na\r\n`, or a line of words (an *inline command*). The
 * parser takes bytes cut anywhere and keeps what is not yet whole. It is bounded: words, bytes of a word, bytes of a
 * request, and bytes of a line each have a maximum, and whoever passes one gets a protocol error, after which the connection
 * ends, because where the next request begins is no longer known.
 *
 * Words and replies are byte strings (see `kv-store.ts`): written to a socket as `latin1` they are the bytes themselves.
 */
import type { ByteString } from './kv-store.ts';
import { valueBytesMax } from './kv-commands.ts';
import { splitWords } from './kv-text.ts';

/** Version of the protocol that a connection speaks; 2 until HELLO asks for 3. */
export type ProtocolVersion = 2 | 3;

/** What the parser found next. */
export type ParsedRequest =
  | { readonly kind: 'request'; readonly words: readonly ByteString[]; readonly bytes: number }
  | { readonly kind: 'protocolError'; readonly text: string };

/** A reply. Maps become flat arrays and nil a null bulk string in version 2. */
export type Reply =
  | { readonly kind: 'ok' }
  | { readonly kind: 'nil' }
  | { readonly kind: 'status'; readonly text: string }
  | { readonly kind: 'error'; readonly text: string }
  | { readonly kind: 'integer'; readonly digits: string }
  | { readonly kind: 'bulk'; readonly bytes: ByteString }
  | { readonly kind: 'array'; readonly items: readonly Reply[] }
  | { readonly kind: 'set'; readonly items: readonly Reply[] }
  | { readonly kind: 'map'; readonly entries: readonly (readonly [Reply, Reply])[] };

/** Maxima of a request. */
export interface RequestLimits {
  readonly wordsMax: number;
  readonly wordBytesMax: number;
  readonly requestBytesMax: number;
  readonly lineBytesMax: number;
}

/** The limits of the server. */
export const requestLimits: RequestLimits = {
  wordsMax: 1_048_576,
  wordBytesMax: valueBytesMax,
  requestBytesMax: 8_388_608,
  lineBytesMax: 65_536,
};

const carriageReturn = 13;
const lineFeed = 10;
const asterisk = 42;
const dollar = 36;
const empty = Buffer.alloc(0);

/** The digits of a header line may be this many. */
const headerBytesMax = 32;

/** What a header line holds: its number, or that it is not all there, or that it is no number. */
type Header = number | 'incomplete' | 'invalid';

/** Cuts a stream of bytes into requests. */
export class RequestParser {
  readonly #limits: RequestLimits;
  /** What was pushed: a chunk itself, or the filled part of {@link RequestParser.#store}. */
  #buffer: Buffer = empty;
  #at = 0;
  /** Room for a request that comes in pieces; grows twofold, so that small pieces cost no more than large ones. */
  #store: Buffer = empty;
  /** Words of the request that is being read, and how many are still to come. */
  #words: ByteString[] = [];
  #wordsLeft = 0;
  /** Length of the word that comes next, once its header was read. */
  #wordLength = -1;
  #requestBytes = 0;
  #failed = false;

  constructor(limits: RequestLimits = requestLimits) {
    this.#limits = limits;
  }

  /** Bytes that were pushed and not yet cut into requests. */
  get pendingBytes(): number {
    return this.#buffer.length - this.#at;
  }

  /** Takes in bytes as they came from the socket. The parser keeps a reference to them. */
  push(chunk: Buffer): void {
    const rest = this.#buffer.length - this.#at;
    if (rest === 0) {
      this.#buffer = chunk;
      this.#store = empty;
      this.#at = 0;
      return;
    }
    let filled = this.#buffer.length;
    if (filled + chunk.length > this.#store.length) {
      const larger = Buffer.allocUnsafe(2 * (rest + chunk.length));
      this.#buffer.copy(larger, 0, this.#at);
      this.#store = larger;
      this.#at = 0;
      filled = rest;
    }
    chunk.copy(this.#store, filled);
    this.#buffer = this.#store.subarray(0, filled + chunk.length);
  }

  /** The next whole request, or `undefined` until more bytes come. After a protocol error there is no next one. */
  next(): ParsedRequest | undefined {
    while (!this.#failed) {
      if (this.#wordsLeft > 0) return this.#readWords();
      if (this.#at >= this.#buffer.length) return undefined;
      if (this.#buffer[this.#at] !== asterisk) {
        const inline = this.#readInline();
        if (inline !== 'blank') return inline;
        continue;
      }
      const started = this.#startArray();
      if (started !== 'started') return started;
    }
    return undefined;
  }

  #startArray(): ParsedRequest | 'started' | undefined {
    const start = this.#at;
    const count = this.#readHeader();
    if (count === 'incomplete') return undefined;
    if (count === 'invalid' || count > this.#limits.wordsMax) {
      return this.#fail('invalid multibulk length');
    }
    this.#words = [];
    this.#wordsLeft = Math.max(count, 0);
    this.#requestBytes = this.#at - start;
    return 'started';
  }

  #readWords(): ParsedRequest | undefined {
    while (this.#wordsLeft > 0) {
      if (this.#wordLength < 0) {
        const problem = this.#readWordHeader();
        if (problem === 'incomplete') return undefined;
        if (problem !== undefined) return problem;
      }
      const end = this.#at + this.#wordLength;
      if (end + 2 > this.#buffer.length) return undefined;
      if (this.#buffer[end] !== carriageReturn || this.#buffer[end + 1] !== lineFeed) {
        return this.#fail('expected CRLF behind a bulk string');
      }
      this.#words.push(this.#buffer.toString('latin1', this.#at, end));
      this.#at = end + 2;
      this.#wordLength = -1;
      this.#wordsLeft--;
    }
    const words = this.#words;
    this.#words = [];
    return { kind: 'request', words, bytes: this.#requestBytes };
  }

  #readWordHeader(): ParsedRequest | 'incomplete' | undefined {
    const first = this.#buffer[this.#at];
    if (first === undefined) return 'incomplete';
    if (first !== dollar) {
      const shown = first >= 32 && first < 127 ? String.fromCharCode(first) : '?';
      return this.#fail(`expected '$', got '${shown}'`);
    }
    const start = this.#at;
    const length = this.#readHeader();
    if (length === 'incomplete') return 'incomplete';
    if (length === 'invalid' || length < 0 || length > this.#limits.wordBytesMax) {
      return this.#fail('invalid bulk length');
    }
    this.#requestBytes += this.#at - start + length + 2;
    if (this.#requestBytes > this.#limits.requestBytesMax) return this.#fail('request too large');
    this.#wordLength = length;
    return undefined;
  }

  /** Reads the number of the header line at the present position, past its type character, and moves behind it. */
  #readHeader(): Header {
    const buffer = this.#buffer;
    let at = this.#at + 1;
    const isNegative = buffer[at] === 45;
    if (isNegative) at++;
    const digitsAt = at;
    let value = 0;
    while (at < buffer.length && buffer[at] !== carriageReturn) {
      const digit = (buffer[at] ?? 0) - 48;
      if (digit < 0 || digit > 9 || at - this.#at > headerBytesMax) return 'invalid';
      value = value * 10 + digit;
      at++;
    }
    if (at + 1 >= buffer.length) return 'incomplete';
    if (at === digitsAt || buffer[at + 1] !== lineFeed) return 'invalid';
    this.#at = at + 2;
    return isNegative ? -value : value;
  }

  #readInline(): ParsedRequest | 'blank' | undefined {
    const end = this.#buffer.indexOf(lineFeed, this.#at);
    const length = (end < 0 ? this.#buffer.length : end) - this.#at;
    if (length > this.#limits.lineBytesMax) return this.#fail('too big inline request');
    if (end < 0) return undefined;
    const line = this.#buffer.toString('latin1', this.#at, end);
    const words = splitWords(line);
    if (words === undefined) return this.#fail('unbalanced quotes in request');
    this.#at = end + 1;
    return words.length === 0 ? 'blank' : { kind: 'request', words, bytes: length + 1 };
  }

  #fail(reason: string): ParsedRequest {
    this.#failed = true;
    this.#buffer = empty;
    this.#at = 0;
    this.#words = [];
    return { kind: 'protocolError', text: `ERR Protocol error: ${reason}` };
  }
}

/** The bytes of a reply. */
export function encodeReply(reply: Reply, version: ProtocolVersion): ByteString {
  switch (reply.kind) {
    case 'ok':
      return '+OK\r\n';
    case 'nil':
      return version === 3 ? '_\r\n' : '$-1\r\n';
    case 'status':
      return `+${reply.text}\r\n`;
    case 'error':
      return `-${singleLine(reply.text)}\r\n`;
    case 'integer':
      return `:${reply.digits}\r\n`;
    case 'bulk':
      return `$${reply.bytes.length}\r\n${reply.bytes}\r\n`;
    case 'array':
      return encodeItems('*', reply.items, version);
    case 'set':
      return encodeItems(version === 3 ? '~' : '*', reply.items, version);
    case 'map': {
      const items = reply.entries.flat();
      if (version === 2) return encodeItems('*', items, version);
      return `%${reply.entries.length}\r\n${joined(items, version)}`;
    }
  }
}

/** A request as a client writes it. */
export function encodeRequest(words: readonly ByteString[]): ByteString {
  let text = `*${words.length}\r\n`;
  for (const word of words) text += `$${word.length}\r\n${word}\r\n`;
  return text;
}

function encodeItems(mark: string, items: readonly Reply[], version: ProtocolVersion): ByteString {
  return `${mark}${items.length}\r\n${joined(items, version)}`;
}

function joined(items: readonly Reply[], version: ProtocolVersion): ByteString {
  let text = '';
  for (const item of items) text += encodeReply(item, version);
  return text;
}

/** An error reply is one line, and one byte per character, whatever the message held. */
function singleLine(text: string): string {
  return text.replaceAll(/[\r\n]/g, ' ').replaceAll(/[^ -ÿ]/g, '?');
}
