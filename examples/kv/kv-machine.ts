/**
 * The replicated state machine: a map from keys to values, changed by the entries of `kv-commands.ts`.
 *
 * A snapshot is the magic `CLKV`, a version byte (1), the number of pairs (u64, little endian), then key and value of every
 * pair, each a LEB128 length and its bytes, ordered by bucket and key; equal contents give equal bytes. It may be cut into
 * chunks anywhere. A restore checks magic, version, count and the end, and changes nothing unless all of them fit.
 */
import type { ApplyContext, ApplyOutcome, EntryBatch, StateMachine } from 'clustor';

import {
  bufferOver,
  decodeEntry,
  encodeResults,
  entryFormat,
  FieldReader,
  KvFormatError,
  lengthOfNumber,
  writeField,
  type WriteResult,
} from './kv-commands.ts';
import { digestOfCapture, digestOfPairs, pairsOfCapture, type ContentDigest } from './kv-digest.ts';
import { evaluateRead, readArities, type ReadResult } from './kv-reads.ts';
import { KvStore, type ByteString, type KvCapture, type KvPair } from './kv-store.ts';
import { describeResult, splitWords } from './kv-text.ts';
import {
  applyWrite,
  fitsArity,
  parseWrite,
  writeArities,
  wrongArgumentCount,
} from './kv-writes.ts';

const snapshotMagic = 'CLKV';
const snapshotVersion = 1;
const headerBytes = 13;
const chunkBytes = 65_536;
/** First character that can begin a command line; smaller ones are formats. */
const textFrom = 0x20;

/** A key-value store whose every change comes through the log. */
export class KvMachine implements StateMachine {
  #store = new KvStore();

  /** The pairs as of the last applied entry. Whoever reads must not write. */
  get store(): KvStore {
    return this.#store;
  }

  apply(batch: EntryBatch, _context: ApplyContext): ApplyOutcome {
    const results: Uint8Array[] = [];
    for (let position = 0; position < batch.length; position++) {
      const bytes = bufferOver(batch.bytes(position));
      results.push(
        this.#applyEntry(bytes, batch.payloadStart(position), batch.payloadEnd(position)),
      );
    }
    return { kind: 'ack', results };
  }

  /** Answers a command line such as `GET a` with the text of its answer. */
  query(request: Uint8Array): Uint8Array {
    const line = bufferOver(request).toString('latin1');
    return Buffer.from(this.#answerLine(line), 'latin1');
  }

  snapshot(): AsyncIterable<Uint8Array> {
    return snapshotChunks(this.#store.capture());
  }

  /** @throws {@link KvFormatError} if the chunks are not a whole snapshot; the state is then as before. */
  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const reader = new SnapshotReader();
    for await (const chunk of chunks) reader.push(chunk);
    this.#store = reader.finish();
  }

  /** Count and digest of the present content; entries applied while it is computed do not show in it. */
  contentDigest(): Promise<ContentDigest> {
    return digestOfCapture(this.#store.capture());
  }

  #applyEntry(bytes: Buffer, start: number, end: number): Uint8Array {
    const first = start < end ? (bytes[start] ?? 0) : entryFormat;
    if (first >= textFrom) {
      const text = describeResult(this.#applyLine(bytes.toString('latin1', start, end)));
      return Buffer.from(text, 'latin1');
    }
    try {
      // Everything is decoded before anything is changed: a damaged entry has no effect at all.
      const commands = decodeEntry(bytes, start, end);
      return encodeResults(commands.map((command) => applyWrite(this.#store, command)));
    } catch (error) {
      if (!(error instanceof KvFormatError)) throw error;
      return encodeResults([{ kind: 'error', text: `ERR malformed entry: ${error.message}` }]);
    }
  }

  #applyLine(line: ByteString): WriteResult {
    const words = splitWords(line);
    if (words === undefined) return { kind: 'error', text: 'ERR unbalanced quotes in request' };
    const name = (words[0] ?? '').toLowerCase();
    const arity = writeArities.get(name);
    if (arity === undefined) return { kind: 'error', text: unknownCommand(words) };
    if (!fitsArity(arity, words.length)) return { kind: 'error', text: wrongArgumentCount(name) };
    const request = parseWrite(name, words);
    return request.kind === 'error' ? request : applyWrite(this.#store, request.command);
  }

  #answerLine(line: ByteString): ByteString {
    const words = splitWords(line);
    if (words === undefined) return 'ERR unbalanced quotes in request';
    const name = (words[0] ?? '').toLowerCase();
    if (name === 'clustor.digest' && words.length === 1) {
      const { count, hex } = digestOfPairs(pairsOfCapture(this.#store.capture()));
      return `${count}\n${hex}`;
    }
    const arity = readArities.get(name);
    if (arity === undefined) {
      return writeArities.has(name)
        ? `ERR '${name}' writes: append it instead of reading it`
        : unknownCommand(words);
    }
    if (!fitsArity(arity, words.length)) return wrongArgumentCount(name);
    const result: ReadResult = evaluateRead(this.#store, name, words);
    return describeResult(result);
  }
}

/** Text of the error for a command that does not exist, as Redis words it. */
export function unknownCommand(words: readonly ByteString[]): string {
  const [name = '', ...rest] = words;
  const shown = rest
    .slice(0, 20)
    .map((word) => `'${word.slice(0, 128)}' `)
    .join('');
  const text = `ERR unknown command '${name.slice(0, 128)}', with args beginning with: ${shown}`;
  return text.replaceAll(/[\r\n]/g, ' ');
}

async function* snapshotChunks(capture: KvCapture): AsyncGenerator<Uint8Array> {
  try {
    const header = Buffer.alloc(headerBytes);
    header.write(snapshotMagic, 0, 'latin1');
    header[4] = snapshotVersion;
    header.writeBigUInt64LE(BigInt(capture.count), 5);
    let parts: Buffer[] = [header];
    let length = header.length;
    for (let pairs = capture.nextPairs(); pairs !== undefined; pairs = capture.nextPairs()) {
      for (const pair of pairs) {
        const bytes = encodePair(pair);
        parts.push(bytes);
        length += bytes.length;
        if (length < chunkBytes) continue;
        yield Buffer.concat(parts, length);
        parts = [];
        length = 0;
      }
    }
    if (length > 0) yield Buffer.concat(parts, length);
  } finally {
    capture.close();
  }
}

function encodePair([key, value]: KvPair): Buffer {
  const length =
    lengthOfNumber(key.length) + key.length + lengthOfNumber(value.length) + value.length;
  const bytes = Buffer.allocUnsafe(length);
  writeField(bytes, writeField(bytes, 0, key), value);
  return bytes;
}

/** Builds a store from chunks that may be cut anywhere. */
class SnapshotReader {
  readonly #store = new KvStore();
  #parts: Uint8Array[] = [];
  #partsBytes = 0;
  /** Below this many bytes there is no use in trying again. */
  #neededBytes = headerBytes;
  #countExpected = -1;

  push(chunk: Uint8Array): void {
    this.#parts.push(chunk);
    this.#partsBytes += chunk.length;
    if (this.#partsBytes < this.#neededBytes) return;
    const bytes = Buffer.concat(this.#parts, this.#partsBytes);
    const consumed = this.#readFrom(bytes);
    const rest = Buffer.from(bytes.subarray(consumed));
    this.#parts = rest.length === 0 ? [] : [rest];
    this.#partsBytes = rest.length;
  }

  finish(): KvStore {
    if (this.#countExpected < 0) throw new KvFormatError('the snapshot has no header');
    if (this.#partsBytes > 0) throw new KvFormatError('the snapshot ends within a pair');
    if (this.#store.count !== this.#countExpected) {
      throw new KvFormatError(
        `the snapshot holds ${this.#store.count} pairs instead of ${this.#countExpected}`,
      );
    }
    return this.#store;
  }

  /** Takes in every whole pair; answers how many bytes these were. */
  #readFrom(bytes: Buffer): number {
    let at = 0;
    if (this.#countExpected < 0) {
      this.#countExpected = readHeader(bytes);
      at = headerBytes;
    }
    for (;;) {
      const valueAt = this.#fieldEnd(bytes, at, at);
      const end = valueAt === undefined ? undefined : this.#fieldEnd(bytes, valueAt, at);
      if (end === undefined) return at;
      const reader = new FieldReader(bytes, at, end);
      this.#store.set(reader.field(), reader.field());
      at = end;
    }
  }

  /** End of the field at `start`, or `undefined` if it is not all there; then sets how many bytes from `pairStart` it takes. */
  #fieldEnd(bytes: Buffer, start: number, pairStart: number): number | undefined {
    let terminator = start;
    while (terminator < bytes.length && (bytes[terminator] ?? 0) >= 0x80) terminator++;
    if (terminator >= bytes.length) {
      this.#neededBytes = bytes.length - pairStart + 1;
      return undefined;
    }
    const reader = new FieldReader(bytes, start, terminator + 1);
    const length = reader.number();
    const end = reader.position + length;
    if (end <= bytes.length) return end;
    this.#neededBytes = end - pairStart;
    return undefined;
  }
}

function readHeader(bytes: Buffer): number {
  if (bytes.toString('latin1', 0, 4) !== snapshotMagic) {
    throw new KvFormatError('not a snapshot of this state machine');
  }
  if (bytes[4] !== snapshotVersion) {
    throw new KvFormatError(`unknown snapshot version ${bytes[4] ?? 0}`);
  }
  return Number(bytes.readBigUInt64LE(5));
}
