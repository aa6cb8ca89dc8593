/**
 * Messages out of streams of bytes. What an end sends is cut into frames and decoded as it is sent; each message waits, with
 * the position of its last byte in the stream, until the other end got that far, or until it is known that it never will.
 */
import { present } from '../../base/assert.ts';
import { FrameAssembler } from '../../codec/frame-assembler.ts';
import { bodyBytesMax } from '../../codec/wire-catalog.ts';
import { decodeBody, type WireMessage } from '../../codec/wire-messages.ts';
import { kindPosition, pushValues } from './message-fields.ts';
import type { MessageColumns, MessageFate } from './run-picture.ts';

/** Messages that are kept; what is sent later is only counted. A run of half a minute has a tenth of it. */
export const messagesKeptMax = 500_000;

interface Waiting {
  readonly message: number;
  /** Position in the stream right behind the message. */
  readonly endByte: number;
}

interface Stream {
  readonly fromMachine: number;
  readonly toMachine: number;
  readonly assembler: FrameAssembler;
  /** Bytes of whole frames sent. */
  framedBytes: number;
  /** Bytes that are no longer under way, wherever they ended. */
  consumedBytes: number;
  waiting: Waiting[];
  /** Nothing framed can be read any more. */
  isUnreadable: boolean;
  /** When the sending end was closed: what still waits at the end of the run was lost then. */
  closedTicks: number | undefined;
}

/** See the file comment. Times are ticks. */
export class MessageRecorder {
  readonly #partitionNumber: (partitionId: string) => number;
  readonly #streams = new Map<number, Stream>();
  readonly #at: number[] = [];
  readonly #end: number[] = [];
  readonly #fate: MessageFate[] = [];
  readonly #from: number[] = [];
  readonly #to: number[] = [];
  readonly #kind: number[] = [];
  readonly #bytes: number[] = [];
  readonly #values: number[] = [];
  #leftOut = 0;

  constructor(partitionNumber: (partitionId: string) => number) {
    this.#partitionNumber = partitionNumber;
  }

  /** Messages past the bound. */
  get leftOut(): number {
    return this.#leftOut;
  }

  /** Messages kept. */
  get count(): number {
    return this.#at.length;
  }

  /** Begins a stream. */
  open(stream: number, fromMachine: number, toMachine: number): void {
    this.#streams.set(stream, {
      fromMachine,
      toMachine,
      assembler: new FrameAssembler(bodyBytesMax),
      framedBytes: 0,
      consumedBytes: 0,
      waiting: [],
      isUnreadable: false,
      closedTicks: undefined,
    });
  }

  /** An end took bytes to send. */
  sent(stream: number, bytes: Uint8Array, atTicks: number): void {
    const row = this.#stream(stream);
    if (row.isUnreadable) return;
    try {
      // The connection hands views of these bytes to the receiver, who owns them: what spans sends is copied.
      row.assembler.push(bytes.slice(), (body) => {
        row.framedBytes += 4 + body.length;
        this.#keep(row, body, atTicks);
      });
    } catch {
      row.isUnreadable = true;
    }
  }

  /** The next bytes were handed over (0), or arrived where nobody takes them (1). */
  consumed(
    stream: number,
    { byteCount, fate }: { readonly byteCount: number; readonly fate: 0 | 1 },
    atTicks: number,
  ): void {
    const row = this.#stream(stream);
    row.consumedBytes += byteCount;
    let done = 0;
    for (const { message, endByte } of row.waiting) {
      if (endByte > row.consumedBytes) break;
      this.#settle(message, fate, atTicks);
      done++;
    }
    if (done > 0) row.waiting.splice(0, done);
  }

  /** All but the next bytes of a stream are lost. */
  truncated(stream: number, keptByteCount: number, atTicks: number): void {
    const row = this.#stream(stream);
    const keptEnd = row.consumedBytes + keptByteCount;
    row.waiting = row.waiting.filter(({ message, endByte }) => {
      if (endByte <= keptEnd) return true;
      this.#settle(message, 1, atTicks);
      return false;
    });
  }

  /** The end that sends on a stream is closed; it takes nothing more either. */
  closed(stream: number, atTicks: number): void {
    this.#stream(stream).closedTicks ??= atTicks;
    const towards = this.#streams.get(stream ^ 1);
    if (towards === undefined) return;
    for (const { message } of towards.waiting) this.#settle(message, 1, atTicks);
    towards.waiting = [];
  }

  /** Everything, once the run is over. */
  finish(endTicks: number, laneOf: (machine: number) => number): MessageColumns {
    for (const { waiting, closedTicks } of this.#streams.values())
      for (const { message } of waiting)
        this.#settle(message, closedTicks === undefined ? 2 : 1, closedTicks ?? endTicks);
    this.#streams.clear();
    return {
      at: differencesOf(this.#at),
      took: this.#end.map((end, message) => end - (this.#at[message] ?? end)),
      fate: this.#fate,
      from: this.#from.map(laneOf),
      to: this.#to.map(laneOf),
      kind: this.#kind,
      bytes: this.#bytes,
      values: this.#values,
    };
  }

  #keep(stream: Stream, body: Uint8Array, atTicks: number): void {
    if (this.#at.length >= messagesKeptMax) {
      this.#leftOut++;
      return;
    }
    const message = decoded(body);
    stream.waiting.push({ message: this.#at.length, endByte: stream.framedBytes });
    this.#at.push(atTicks);
    this.#end.push(atTicks);
    this.#fate.push(2);
    this.#from.push(stream.fromMachine);
    this.#to.push(stream.toMachine);
    this.#kind.push(kindPosition(message));
    this.#bytes.push(4 + body.length);
    if (message !== undefined) pushValues(message, this.#values, this.#partitionNumber);
  }

  #settle(message: number, fate: MessageFate, atTicks: number): void {
    this.#fate[message] = fate;
    this.#end[message] = Math.max(atTicks, this.#at[message] ?? 0);
  }

  #stream(stream: number): Stream {
    return present(this.#streams.get(stream), 'a stream was connected before');
  }
}

/** A column of times as a picture has it: each as the difference from the one before. */
export function differencesOf(times: readonly number[]): number[] {
  return times.map((time, position) => time - (times[position - 1] ?? 0));
}

function decoded(body: Uint8Array): WireMessage | undefined {
  try {
    return decodeBody(body, { forwardCompat: true });
  } catch {
    return undefined;
  }
}
