/**
 * One end of a simulated byte stream, and the flight of its bytes to the other end.
 *
 * Bytes keep their order and lose their boundaries: a send may arrive in pieces, neighbours may arrive as one chunk. What
 * is sent first goes into flight; beyond a window it queues at the sender until the receiver takes what flies. Notices
 * (opened, ended, reset) fly in the same order, so bytes sent before a close arrive before it.
 *
 * While a link is cut its flights stand still. Of streams that stand still half are reset soon at both ends, each in its own
 * time, as by something on the way; the others as late as a system's own TCP does it.
 * {@link SimConnection.breakOff} loses the tail of a flight at an arbitrary byte, in the middle of a frame if it so happens.
 */
import { assert, present } from '../base/assert.ts';
import { nextBelow, nextUint32, type PrngState } from '../base/prng.ts';
import type {
  CloseReason,
  Connection,
  ConnectionHandlers,
  PeerIdentity,
} from '../ports/transport.ts';
import {
  onGrid,
  simEventKinds,
  simTask,
  type LifeScope,
  type SimScheduler,
  type SimTask,
} from './sim-scheduler.ts';
import type { NetworkTap } from './sim-tap.ts';

/** What Linux does before it gives a stream up, about. */
const patienceMs = 900_000;

/** The way from one machine to another; the way back is another link. */
export interface SimLink {
  readonly from: number;
  readonly to: number;
  /** Latency of an ordinary send. */
  readonly baseLatencyMs: number;
  /** Whether nothing passes. */
  isCut: boolean;
  /** Latencies are multiplied by it; 1 is healthy. */
  latencyFactor: number;
  /** Probability that a send needs a retransmission. */
  lossRate: number;
}

/** What connections share. */
export interface ConnectionContext {
  readonly scheduler: SimScheduler;
  readonly random: PrngState;
  /** Called when an end is closed for good. */
  readonly forget: (connection: SimConnection) => void;
  /** Whoever watches, if anybody does. */
  readonly tap: NetworkTap | undefined;
}

/** What an end is made of. */
export interface SimConnectionParts {
  readonly context: ConnectionContext;
  readonly number: number;
  readonly scope: LifeScope;
  /** The life at the other end. */
  readonly peerScope: LifeScope;
  readonly peer: PeerIdentity;
  readonly remoteAddress: string;
  /** The way to the other end. */
  readonly link: SimLink;
}

type FlightItem =
  | { readonly kind: 'bytes'; readonly arrivalMs: number; readonly bytes: Uint8Array }
  | { readonly kind: 'opened'; readonly arrivalMs: number; readonly open: () => void }
  | { readonly kind: 'closed'; readonly arrivalMs: number; readonly reason: CloseReason };

/** Bytes in flight before a sender queues. */
const windowBytes = 262_144;

/** How long the other end may take to close after an end. */
const lingerMs = 5_000;

const bytesPerMs = 131_072;

/** A send that takes longer has failed, see the reset of streams that stand still. */
const latencyMsMax = 3_000;

/** Draws how long a send takes: mostly little, at times a lot. */
export function drawLatencyMs(link: SimLink, random: PrngState): number {
  const word = nextUint32(random);
  let latencyMs = link.baseLatencyMs * (1 + (word & 0xff) / 256);
  if (((word >>> 8) & 0x7f) === 0) latencyMs *= 2 + ((word >>> 15) & 0x1f);
  latencyMs *= link.latencyFactor;
  // What is lost is sent again after a while; a stream that gets nothing through for longer is reset by its ends.
  if (link.lossRate > 0 && (word >>> 16) / 0x1_0000 < link.lossRate) latencyMs += 200;
  return Math.min(latencyMs, latencyMsMax);
}

/** One end of a stream. */
export class SimConnection implements Connection {
  readonly peer: PeerIdentity;
  readonly remoteAddress: string;
  readonly scope: LifeScope;
  readonly link: SimLink;
  readonly #context: ConnectionContext;
  readonly #number: number;
  readonly #deliverTask: SimTask;
  #other: SimConnection | undefined;
  #handlers: ConnectionHandlers | undefined;
  #flight: FlightItem[] = [];
  #flightHead = 0;
  #flightBytes = 0;
  #lastArrivalMs = 0;
  #isDeliveryDue = false;
  #isResetArmed = false;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #isReadingPaused = false;
  #isEnding = false;
  #isBroken = false;
  /** Reset by this end: what still flies no longer waits for a paused reader. */
  #isAborted = false;
  #isClosed = false;
  #isNotified = false;

  constructor(parts: SimConnectionParts) {
    this.peer = parts.peer;
    this.remoteAddress = parts.remoteAddress;
    this.scope = parts.scope;
    this.link = parts.link;
    this.#context = parts.context;
    this.#number = parts.number;
    this.#deliverTask = simTask(parts.peerScope, simEventKinds.deliver, () => this.#deliver());
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Whether this end is closed, told or not. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Whether bytes or notices are on their way to the other end. */
  get isInFlight(): boolean {
    return this.#flightHead < this.#flight.length;
  }

  /** Joins two ends. */
  join(other: SimConnection): void {
    this.#other = other;
    other.#other = this;
  }

  /** Names the listener of this end. */
  start(handlers: ConnectionHandlers): void {
    assert(this.#handlers === undefined, 'a connection is handed over once');
    this.#handlers = handlers;
  }

  /** Lets the other end know, in order with the bytes, that this end took the connection. */
  announce(open: () => void): void {
    this.#fly({ kind: 'opened', arrivalMs: this.#nextArrivalMs(0), open });
  }

  send(chunks: readonly Uint8Array[]): void {
    if (this.#isClosed || this.#isEnding || this.#isBroken || !this.scope.isAlive) return;
    const bytes = joined(chunks);
    if (bytes.length === 0) return;
    this.#context.tap?.sent(this.#number, bytes, this.#context.scheduler.nowMs);
    const isWindowFull = this.#flightBytes > 0 && this.#flightBytes + bytes.length > windowBytes;
    if (this.#queuedBytes > 0 || isWindowFull) {
      this.#queue.push(bytes);
      this.#queuedBytes += bytes.length;
      return;
    }
    this.#flyBytes(bytes);
  }

  pause(paused: boolean): void {
    if (this.#isEnding) return;
    this.#isReadingPaused = paused;
    if (!paused) this.#other?.proceed(0);
  }

  end(): void {
    if (this.#isEnding || this.#isClosed || !this.scope.isAlive) return;
    this.#isEnding = true;
    this.#isReadingPaused = false;
    this.#other?.proceed(0);
    if (this.#queuedBytes === 0) this.#flyClose({ kind: 'closed' });
    this.#finishIn(lingerMs, { kind: 'closed' });
  }

  destroy(): void {
    if (this.#isClosed || !this.scope.isAlive) return;
    this.#close();
    const isReset = nextBelow(this.#context.random, 2) === 0;
    this.#isAborted = isReset;
    this.#flyClose(isReset ? { kind: 'failed', detail: 'ECONNRESET' } : { kind: 'closed' });
    this.#finishIn(0, { kind: 'closed' });
  }

  /** The life of this end is over: the tail of its flight is lost, the other end learns of it after `delayMs`. */
  abandon(delayMs: number): void {
    this.#close();
    this.#isAborted = true;
    this.#truncateFlight();
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, this.#context.scheduler.nowMs + delayMs);
    this.#flyClose({ kind: 'failed', detail: 'ECONNRESET' });
  }

  /** The stream breaks: the tail of the flight is lost, and this end and (called there as well) the other learn of it. */
  breakOff(delayMs: number): void {
    this.#truncateFlight();
    this.#isBroken = true;
    this.#dropQueue();
    this.#finishIn(delayMs, { kind: 'failed', detail: 'ECONNRESET' });
  }

  /** Goes on delivering what flies, after a pause of the reader or a cut of the link. */
  proceed(delayMs: number): void {
    if (this.#isDeliveryDue || !this.isInFlight) return;
    const head = present(this.#flight[this.#flightHead], 'something flies');
    const { nowMs } = this.#context.scheduler;
    this.#isDeliveryDue = true;
    this.#deliverTask.weight = (this.#number << 16) ^ weightOf(head);
    this.#context.scheduler.scheduleAt(
      onGrid(Math.max(head.arrivalMs, nowMs + delayMs)),
      this.#deliverTask,
    );
  }

  #deliver(): void {
    this.#isDeliveryDue = false;
    const other = present(this.#other, 'a flight has a destination');
    const { nowMs } = this.#context.scheduler;
    while (this.isInFlight) {
      const item = present(this.#flight[this.#flightHead], 'something flies');
      if (this.link.isCut) {
        this.#armReset();
        return;
      }
      if (item.arrivalMs > nowMs) break;
      const mustWait = item.kind === 'bytes' && other.#isReadingPaused && !other.#isClosed;
      if (mustWait && !this.#isAborted) return;
      this.#shift();
      if (mustWait) {
        this.#context.tap?.dropped(this.#number, item.bytes.length, nowMs);
        continue;
      }
      if (!this.#land(item, other)) return;
    }
    this.#pump();
    this.proceed(0);
  }

  /** Hands an item over; false when nothing can follow it. */
  #land(item: FlightItem, other: SimConnection): boolean {
    switch (item.kind) {
      case 'bytes':
        this.#handOver(this.#mergedWithNext(item.bytes), other);
        return true;
      case 'opened':
        item.open();
        return true;
      case 'closed':
        if (!other.#isClosed) {
          other.#close();
          // What an ended stream still had to say may arrive, then its end does.
          other.#flyClose({ kind: 'closed' });
          other.#notify(item.reason);
        }
        return false;
    }
  }

  /** Neighbours that arrived by now become one chunk at times. */
  #mergedWithNext(bytes: Uint8Array): Uint8Array {
    const next = this.#flight[this.#flightHead];
    if (next?.kind !== 'bytes' || next.arrivalMs > this.#context.scheduler.nowMs) return bytes;
    if (nextBelow(this.#context.random, 2) === 0) return bytes;
    this.#shift();
    return joined([bytes, next.bytes]);
  }

  #handOver(bytes: Uint8Array, other: SimConnection): void {
    const { tap, scheduler } = this.#context;
    if (other.#isClosed || other.#isEnding) {
      tap?.dropped(this.#number, bytes.length, scheduler.nowMs);
      return;
    }
    tap?.delivered(this.#number, bytes.length, scheduler.nowMs);
    present(other.#handlers, 'bytes arrive after the connection was handed over').data(bytes);
  }

  #shift(): void {
    const item = present(this.#flight[this.#flightHead++], 'something flies');
    if (item.kind === 'bytes') this.#flightBytes -= item.bytes.length;
    if (this.#flightHead === this.#flight.length) {
      this.#flight = [];
      this.#flightHead = 0;
    }
  }

  /** Moves queued bytes into the window that has become free. */
  #pump(): void {
    if (this.#queuedBytes === 0 || this.#isClosed) return;
    let moved = 0;
    for (const bytes of this.#queue) {
      if (this.#flightBytes > 0 && this.#flightBytes + bytes.length > windowBytes) break;
      this.#flyBytes(bytes);
      this.#queuedBytes -= bytes.length;
      moved++;
    }
    this.#queue.splice(0, moved);
    if (this.#queuedBytes > 0) return;
    if (this.#isEnding) {
      this.#flyClose({ kind: 'closed' });
      return;
    }
    const task = simTask(this.scope, simEventKinds.networkNotice, () => {
      if (!this.#isClosed && !this.#isEnding && this.#queuedBytes === 0) this.#handlers?.drained();
    });
    this.#context.scheduler.schedule(0, task);
  }

  #flyBytes(bytes: Uint8Array): void {
    const { random } = this.#context;
    this.#flightBytes += bytes.length;
    let start = 0;
    const word = nextUint32(random);
    if ((word & 7) === 0 && bytes.length > 1) {
      for (let cut = (word >>> 3) & 3; cut >= 0 && start < bytes.length - 1; cut--) {
        const end = start + 1 + nextBelow(random, bytes.length - start - 1);
        this.#fly({
          kind: 'bytes',
          arrivalMs: this.#nextArrivalMs(end - start),
          bytes: bytes.subarray(start, end),
        });
        start = end;
      }
    }
    const rest = start === 0 ? bytes : bytes.subarray(start);
    this.#fly({ kind: 'bytes', arrivalMs: this.#nextArrivalMs(rest.length), bytes: rest });
  }

  #flyClose(reason: CloseReason): void {
    this.#fly({ kind: 'closed', arrivalMs: this.#nextArrivalMs(0), reason });
  }

  #fly(item: FlightItem): void {
    this.#flight.push(item);
    this.proceed(0);
  }

  #nextArrivalMs(length: number): number {
    const latencyMs = drawLatencyMs(this.link, this.#context.random) + length / bytesPerMs;
    const arrivalMs = onGrid(this.#context.scheduler.nowMs + latencyMs);
    this.#lastArrivalMs = Math.max(arrivalMs, onGrid(this.#lastArrivalMs));
    return this.#lastArrivalMs;
  }

  /** Loses everything behind some byte of the flight. */
  #truncateFlight(): void {
    const items = this.#flight.slice(this.#flightHead);
    const keptCount = nextBelow(this.#context.random, items.length + 1);
    const torn = items[keptCount];
    const kept = items.slice(0, keptCount);
    if (torn?.kind === 'bytes') {
      const length = nextBelow(this.#context.random, torn.bytes.length);
      if (length > 0) kept.push({ ...torn, bytes: torn.bytes.subarray(0, length) });
    }
    this.#flight = kept;
    this.#flightHead = 0;
    this.#flightBytes = kept.reduce(
      (sum, item) => sum + (item.kind === 'bytes' ? item.bytes.length : 0),
      0,
    );
    const { tap, scheduler } = this.#context;
    tap?.truncated(this.#number, this.#flightBytes, scheduler.nowMs);
  }

  /** A flight that stands still: in a while the stream is reset, unless it moves again. */
  #armReset(): void {
    if (this.#isResetArmed) return;
    this.#isResetArmed = true;
    const { scheduler, random } = this.#context;
    const otherDelayMs = nextBelow(random, 2_000);
    const task = simTask(undefined, simEventKinds.networkNotice, () => {
      this.#isResetArmed = false;
      if (!this.isInFlight) return;
      if (!this.link.isCut) {
        // Mended meanwhile; the end of a dead machine is not among those that are told so.
        this.proceed(0);
        return;
      }
      this.#finishIn(0, { kind: 'failed', detail: 'ETIMEDOUT' });
      const other = present(this.#other, 'a flight has a destination');
      other.#finishIn(otherDelayMs, { kind: 'failed', detail: 'ETIMEDOUT' });
    });
    const isPatient = nextBelow(random, 2) === 0;
    scheduler.schedule(isPatient ? patienceMs : 500 + nextBelow(random, 2_500), task);
  }

  #finishIn(delayMs: number, reason: CloseReason): void {
    const task = simTask(this.scope, simEventKinds.networkNotice, () => {
      this.#close();
      this.#notify(reason);
    });
    task.weight = this.#number;
    this.#context.scheduler.schedule(delayMs, task);
  }

  #close(): void {
    if (!this.#isClosed) this.#context.tap?.closed(this.#number, this.#context.scheduler.nowMs);
    this.#isClosed = true;
    this.#dropQueue();
  }

  #dropQueue(): void {
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  /** Tells the owner of this end, once, if it was ever handed over. */
  #notify(reason: CloseReason): void {
    if (this.#isNotified) return;
    this.#isNotified = true;
    this.#context.forget(this);
    this.#handlers?.closed(reason);
  }
}

function weightOf(item: FlightItem): number {
  if (item.kind !== 'bytes') return 1;
  const { bytes } = item;
  const last = bytes.length - 1;
  // Frames end with their checksum: the last bytes stand for the content.
  return (
    bytes.length ^
    ((bytes[last] ?? 0) << 24) ^
    ((bytes[last - 1] ?? 0) << 16) ^
    ((bytes[last - 2] ?? 0) << 8)
  );
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const [only] = chunks;
  // Who sends does not change the bytes any more; a sender that does is found out by whoever reads them.
  if (chunks.length === 1 && only !== undefined) return only;
  let length = 0;
  for (const chunk of chunks) length += chunk.length;
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}
