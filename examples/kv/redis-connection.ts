/**
 * One client's connection: requests come in as fast as the client sends them, take effect in their order, and are answered
 * in their order.
 *
 * Requests wait in a queue. The connection works on its front, one *run* at a time:
 *
 * - a run of writes goes into the log together (see `write-packer.ts`); the next run begins when this one is decided;
 * - a run of reads shares one linearizable read, asked for after the writes before it were decided. Only reads that were
 *   queued before it was asked for belong to it: a later one might have to see something newer;
 * - everything else is answered at once when its turn comes.
 *
 * So a GET behind a SET in one pipeline sees it, and a SET behind a GET does not show in it. If a write ends with an unknown
 * outcome, the commands behind it go on; the client is told and can stop.
 *
 * Bounds: {@link queuedCommandsMax} requests or {@link queuedBytesMax} bytes of them wait, then the socket is not read until some are answered.
 * {@link outputBytesMax} bytes of replies wait for a slow reader, then nothing more is carried out for it.
 */
import type { Socket } from 'node:net';
import type { Partition, StateMachine } from 'clustor';

import type { WriteResult } from './kv-commands.ts';
import type { ContentDigest } from './kv-digest.ts';
import { KvMachine, unknownCommand } from './kv-machine.ts';
import { answerBytesOf, evaluateRead, type ReadResult } from './kv-reads.ts';
import type { ByteString } from './kv-store.ts';
import { fitsArity, parseWrite, wrongArgumentCount } from './kv-writes.ts';
import { commandTable } from './redis-commands.ts';
import { missingResult, replyOfFailure } from './redis-errors.ts';
import { encodeReply, RequestParser, type ParsedRequest, type Reply } from './redis-protocol.ts';
import { answerLocally, type Session } from './redis-session.ts';
import { packBytesMax, packCommandsMax, type WritePacker } from './write-packer.ts';

/** Requests that may wait on one connection. */
export const queuedCommandsMax = 4_096;
/** Bytes of requests that may wait on one connection; one request may pass it. */
export const queuedBytesMax = 4_194_304;
/** Bytes of replies that may wait for the client to read them, and that one run of reads answers. */
export const outputBytesMax = 1_048_576;

/** What the store needs of the partition that keeps its keys. */
export type KvPartition = Pick<Partition, 'partitionId' | 'append' | 'read' | 'machine'>;

/** What a connection needs of its server. */
export interface ConnectionHost {
  readonly partition: KvPartition;
  readonly packer: WritePacker;
  readonly readDeadlineMs: number;
  /** Text of INFO. */
  describe(sections: readonly string[]): string;
  /** Called for every request that was answered. */
  countAnswered(count: number): void;
  /** Called for a failure that is a bug of the server; the connection ends. */
  reportFailure(error: unknown): void;
}

type Work = { readonly bytes: number } & (
  | { readonly kind: 'reply'; readonly reply: Reply }
  | { readonly kind: 'connection'; readonly words: readonly ByteString[] }
  | { readonly kind: 'write'; readonly encoded: Buffer; readonly isAlone: boolean }
  | { readonly kind: 'read'; readonly name: string; readonly words: readonly ByteString[] }
  | { readonly kind: 'digest' }
  | { readonly kind: 'end'; readonly reply: Reply }
);

type Write = Work & { readonly kind: 'write' };
type Read = Work & { readonly kind: 'read' };

/** A client's connection. */
export class RedisConnection {
  readonly #socket: Socket;
  readonly #host: ConnectionHost;
  readonly #session: Session;
  readonly #parser = new RequestParser();
  #queue: Work[] = [];
  /** Position of the front within the queue. */
  #front = 0;
  #queuedBytes = 0;
  /** Replies that were not handed to the socket yet. */
  #output: ByteString = '';
  #isWorking = false;
  /** The parser may hold requests for which the queue has no room yet. */
  #isHeldBack = false;
  /** No more bytes come; what the parser holds is still answered. */
  #isInputEnded = false;
  /** No more requests are taken. */
  #isInputOver = false;
  #isClosed = false;

  constructor(socket: Socket, host: ConnectionHost, id: number) {
    this.#socket = socket;
    this.#host = host;
    this.#session = { id, protocolVersion: 2, name: '' };
    socket.setNoDelay(true);
    socket.on('data', (chunk) => {
      if (this.#isInputOver) return;
      this.#parser.push(chunk);
      this.#takeRequests();
      this.#work();
    });
    socket.on('end', () => {
      this.#isInputEnded = true;
      this.#work();
    });
    // 'close' follows, and that is all there is to do about it.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#isClosed = true;
      this.#queue = [];
      this.#front = 0;
    });
  }

  /** Takes no more requests, answers those that wait, then closes. */
  finish(): void {
    this.#isInputOver = true;
    this.#work();
  }

  /** Closes at once. */
  destroy(): void {
    this.#socket.destroy();
  }

  /** Moves requests from the parser to the queue, and reads the socket only while there is room. */
  #takeRequests(): void {
    while (!this.#isFull()) {
      const request = this.#parser.next();
      if (request === undefined) {
        this.#isHeldBack = false;
        if (this.#socket.isPaused() && !this.#isClosed) this.#socket.resume();
        return;
      }
      const work = workOf(request);
      this.#queue.push(work);
      this.#queuedBytes += work.bytes;
      if (work.kind === 'end') {
        this.#isInputOver = true;
        return;
      }
    }
    this.#isHeldBack = true;
    this.#socket.pause();
  }

  #isFull(): boolean {
    return (
      this.#queue.length - this.#front >= queuedCommandsMax || this.#queuedBytes >= queuedBytesMax
    );
  }

  #work(): void {
    if (this.#isWorking || this.#isClosed) return;
    this.#isWorking = true;
    this.#workOff().then(
      () => {
        this.#isWorking = false;
        if (this.#isClosed) return;
        // Two chunks may come in one go, the second one when the work on the first was as good as over.
        if (this.#front < this.#queue.length) this.#work();
        else if (this.#isInputOver || this.#isInputEnded) this.#socket.destroySoon();
      },
      (error: unknown) => {
        this.#isWorking = false;
        this.#host.reportFailure(error);
        this.#socket.destroy();
      },
    );
  }

  async #workOff(): Promise<void> {
    for (
      let front = this.#queue[this.#front];
      front !== undefined;
      front = this.#queue[this.#front]
    ) {
      switch (front.kind) {
        case 'reply':
          this.#answer([front.reply]);
          break;
        case 'connection':
          this.#answer([this.#answerLocally(front.words)]);
          break;
        case 'write':
          await this.#write(this.#runOfWrites());
          break;
        case 'read':
          await this.#read(this.#runOfReads());
          break;
        case 'digest':
          await this.#digest();
          break;
        case 'end':
          this.#answer([front.reply]);
          this.#queue.length = this.#front;
          break;
      }
      if (this.#output.length >= outputBytesMax) this.#flush();
      if (this.#socket.writableLength >= outputBytesMax) await this.#drained();
      if (!this.#isInputOver && this.#isHeldBack) this.#takeRequests();
    }
    this.#flush();
  }

  /** A node without a replica has nothing to describe; that is an answer, not the end of the connection. */
  #answerLocally(words: Parameters<typeof answerLocally>[1]): Reply {
    try {
      return answerLocally(this.#session, words, (sections) => this.#host.describe(sections));
    } catch (error) {
      return replyOfFailure(error, 'read');
    }
  }

  #runOfWrites(): readonly Write[] {
    const run: Write[] = [];
    let bytes = 0;
    for (let at = this.#front; at < this.#queue.length; at++) {
      const work = this.#queue[at];
      if (work?.kind !== 'write' || run.length >= packCommandsMax) break;
      bytes += work.encoded.length;
      if (run.length > 0 && (work.isAlone || bytes > packBytesMax)) break;
      run.push(work);
      if (work.isAlone) break;
    }
    return run;
  }

  async #write(run: readonly Write[]): Promise<void> {
    this.#flush();
    const commands = run.map((work) => work.encoded);
    const isAlone = run.some((work) => work.isAlone);
    const bytes = commands.reduce((sum, command) => sum + command.length, 0);
    let results: readonly WriteResult[];
    try {
      const weightBytes = isAlone ? Math.max(bytes, packBytesMax) : bytes;
      results = await this.#host.packer.submit({ commands, weightBytes });
    } catch (error) {
      const reply = replyOfFailure(error, 'write');
      this.#answer(run.map(() => reply));
      return;
    }
    this.#answer(run.map((_, position) => results[position] ?? missingResult));
  }

  #runOfReads(): readonly Read[] {
    const run: Read[] = [];
    for (let at = this.#front; at < this.#queue.length; at++) {
      const work = this.#queue[at];
      if (work?.kind !== 'read') break;
      run.push(work);
    }
    return run;
  }

  /** Answers the run, or as much of it as {@link outputBytesMax} allows: the rest is the front of the queue again. */
  async #read(run: readonly Read[]): Promise<void> {
    this.#flush();
    let results: readonly ReadResult[];
    try {
      results = await this.#host.partition.read((machine) => evaluateRun(machine, run), {
        deadlineMs: this.#host.readDeadlineMs,
      });
    } catch (error) {
      const reply = replyOfFailure(error, 'read');
      this.#answer(run.map(() => reply));
      return;
    }
    this.#answer(results);
  }

  async #digest(): Promise<void> {
    this.#flush();
    let digest: ContentDigest;
    try {
      const { readDeadlineMs: deadlineMs, partition } = this.#host;
      const computed = await partition.read(
        // In an object, so that the digest itself is not awaited within the read.
        (machine) => ({ digest: kvMachineOf(machine).contentDigest() }),
        { deadlineMs },
      );
      digest = await computed.digest;
    } catch (error) {
      this.#answer([replyOfFailure(error, 'read')]);
      return;
    }
    this.#answer([
      {
        kind: 'array',
        items: [
          { kind: 'integer', digits: digest.count.toString() },
          { kind: 'bulk', bytes: digest.hex },
        ],
      },
    ]);
  }

  /** Answers the requests at the front of the queue and removes them. */
  #answer(replies: readonly Reply[]): void {
    if (this.#isClosed) return;
    for (const reply of replies) {
      this.#output += encodeReply(reply, this.#session.protocolVersion);
      this.#queuedBytes -= this.#queue[this.#front++]?.bytes ?? 0;
    }
    this.#host.countAnswered(replies.length);
    if (this.#front === this.#queue.length || this.#front >= queuedCommandsMax) {
      this.#queue = this.#queue.slice(this.#front);
      this.#front = 0;
    }
  }

  #flush(): void {
    if (this.#output === '' || this.#isClosed) return;
    this.#socket.write(this.#output, 'latin1');
    this.#output = '';
  }

  async #drained(): Promise<void> {
    if (this.#isClosed) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#socket.off('drain', done).off('close', done);
        resolve();
      };
      this.#socket.on('drain', done).on('close', done);
    });
  }
}

function workOf(request: ParsedRequest): Work {
  if (request.kind === 'protocolError') {
    return { kind: 'end', bytes: 0, reply: { kind: 'error', text: request.text } };
  }
  const { words, bytes } = request;
  const name = (words[0] ?? '').toLowerCase();
  const row = commandTable.get(name);
  if (row === undefined) return unknownWork(name, words, bytes);
  if (!fitsArity(row.arity, words.length)) {
    return { kind: 'reply', bytes, reply: { kind: 'error', text: wrongArgumentCount(name) } };
  }
  switch (row.kind) {
    case 'write':
      return writeWork(name, words, bytes);
    case 'read':
      return { kind: 'read', bytes, name, words };
    case 'digest':
      return { kind: 'digest', bytes };
    case 'connection':
      return name === 'quit'
        ? { kind: 'end', bytes, reply: { kind: 'ok' } }
        : { kind: 'connection', bytes, words };
  }
}

function writeWork(name: string, words: readonly ByteString[], bytes: number): Work {
  const request = parseWrite(name, words);
  if (request.kind === 'error') return { kind: 'reply', bytes, reply: request };
  const { command, encoded } = request;
  // The old values of many commands could make a result larger than any entry.
  const isAlone = command.kind === 'set' && command.answersOld;
  return { kind: 'write', bytes, encoded, isAlone };
}

/** A browser that was talked into sending a form here begins with these words; nothing it sends is carried out. */
const httpWords: ReadonlySet<string> = new Set(['post', 'host:']);

function unknownWork(name: string, words: readonly ByteString[], bytes: number): Work {
  if (httpWords.has(name)) {
    const text = 'ERR Protocol error: this is not an HTTP server';
    return { kind: 'end', bytes, reply: { kind: 'error', text } };
  }
  return { kind: 'reply', bytes, reply: { kind: 'error', text: unknownCommand(words) } };
}

function evaluateRun(machine: StateMachine, run: readonly Read[]): readonly ReadResult[] {
  const { store } = kvMachineOf(machine);
  const results: ReadResult[] = [];
  let bytes = 0;
  for (const { name, words } of run) {
    const result = evaluateRead(store, name, words);
    results.push(result);
    bytes += answerBytesOf(result);
    if (bytes >= outputBytesMax) break;
  }
  return results;
}

/** The machine of the product, which is what a partition of the product hosts. */
export function kvMachineOf(machine: StateMachine): KvMachine {
  if (!(machine instanceof KvMachine)) throw new TypeError('the partition hosts another product');
  return machine;
}
