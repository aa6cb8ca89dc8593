/**
 * One connection after TLS: handshake, frames, requests and answers, coded refusals.
 *
 * The dialer speaks first (`hello`); the acceptor answers `helloAccepted` or `goodbye` with a code. Before acceptance a
 * frame is at most 4 KiB and nothing but the handshake is understood. Anything malformed, unknown or not allowed for the
 * peer's role ends the connection with a `goodbye` that names the code; the node lives on.
 */
import { assert } from '../base/assert.ts';
import { ByteWriter } from '../base/bytes.ts';
import { errorCodeOfWireNumber, wireNumberOf, type ErrorCode } from '../base/error-codes.ts';
import { ClustorError, isClustorError } from '../base/errors.ts';
import type { Incarnation } from '../base/ids.ts';
import { FrameAssembler } from '../codec/frame-assembler.ts';
import { negotiate, type Handshake } from '../codec/handshake.ts';
import { audienceOf } from '../codec/wire-catalog.ts';
import { decodeBody, encodeMessage } from '../codec/wire-messages.ts';
import type { WireMessage } from '../codec/wire-messages.ts';
import { judgeAccess, type PrincipalRole } from '../policy/access.ts';
import type {
  CloseReason,
  Connection,
  ConnectionHandlers,
  PeerIdentity,
} from '../ports/transport.ts';
import type { TurnScheduler } from './turn.ts';

/** Largest frame before the handshake is done, bytes. */
export const handshakeBodyBytesMax = 4096;

/** A message as the catalog types it. */
export type Message = WireMessage;

/** Who listens to a session. */
export interface SessionOwner {
  /** The handshake is done. */
  ready(session: WireSession): void;
  /** A message that is no answer to an own request. Throwing a ClustorError ends the session with its code. */
  message(session: WireSession, message: Message): void;
  /** The session ended; outstanding requests have been failed. */
  closed(session: WireSession, reason: SessionEnd): void;
}

/** Why a session ended. */
export type SessionEnd =
  | CloseReason
  | { readonly kind: 'goodbye'; readonly code: ErrorCode; readonly detail: string };

/** The answer to a request, or why there is none. */
export type RequestHandler = (answer: Message | ClustorError) => boolean;

/** What a session needs. */
export interface SessionOptions {
  readonly isDialer: boolean;
  readonly handshake: Handshake;
  readonly turn: TurnScheduler;
  readonly owner: SessionOwner;
  /** Refuses frames from a peer that does not take what is sent to it, bytes. */
  readonly queueBytesMax: number;
}

/** See the file comment. Lifecycle: made for a connection, ready after the handshake, closed once. */
export class WireSession implements ConnectionHandlers {
  readonly connection: Connection;
  readonly peer: PeerIdentity;
  readonly #options: SessionOptions;
  readonly #assembler = new FrameAssembler(handshakeBodyBytesMax);
  readonly #writer = new ByteWriter();
  readonly #requests = new Map<number, RequestHandler>();
  #chunks: Uint8Array[] = [];
  #isMarked = false;
  #isReady = false;
  #isClosed = false;
  #isPaused = false;
  #forwardCompat = false;
  #nextRequestId = 1;
  #end: SessionEnd | undefined;
  /** The other side's boot, known once ready. */
  remoteBootId: Incarnation | undefined;
  /** Where the other side says it can be dialed; empty where it does not say. */
  remoteListensAt = '';
  /** Extensions that the other side offers, as bits. */
  remoteExtensions = 0;

  constructor(connection: Connection, options: SessionOptions) {
    this.connection = connection;
    this.peer = connection.peer;
    this.#options = options;
  }

  /** Whether the handshake is done and the session is open. */
  get isReady(): boolean {
    return this.#isReady && !this.#isClosed;
  }

  /** Role of the other side. */
  get role(): PrincipalRole {
    return this.peer.kind === 'node' ? 'node' : this.peer.role;
  }

  /** Whether so much is queued that new bulk is better dropped. */
  get isCongested(): boolean {
    return this.connection.queuedBytes > this.#options.queueBytesMax;
  }

  /** Sends the own hello; for dialers. */
  begin(targetNodeId: number): void {
    assert(this.#options.isDialer, 'the dialer speaks first');
    this.#write(helloMessage('hello', this.#options.handshake, targetNodeId));
    this.endTurn();
  }

  /** Queues a message; it leaves at the end of the turn. `trailing` chunks follow the payload without a copy. */
  send(message: Message, trailing?: readonly Uint8Array[]): void {
    if (!this.isReady) return;
    this.#write(message);
    if (trailing !== undefined && trailing.length > 0) {
      this.#chunks.push(this.#writer.takeShortLived());
      for (const chunk of trailing) this.#chunks.push(chunk);
    }
    this.#mark();
  }

  /** Sends a request built for the given id; `handler` gets each answer and returns whether more are to come. */
  request(build: (requestId: number) => Message, handler: RequestHandler): void {
    if (!this.isReady) {
      handler(new ClustorError('CLUSTOR_NO_LEADER', 'the connection is not up'));
      return;
    }
    const requestId = this.#nextRequestId++;
    this.#requests.set(requestId, handler);
    this.send(build(requestId));
  }

  /** Hands queued frames to the connection, and stops reading from a peer that does not read. */
  endTurn(): void {
    this.#isMarked = false;
    if (this.#isClosed) return;
    if (this.#writer.length > 0) this.#chunks.push(this.#writer.takeShortLived());
    if (this.#chunks.length === 0) return;
    const chunks = this.#chunks;
    this.#chunks = [];
    this.connection.send(chunks);
    if (!this.#isPaused && this.isCongested && this.peer.kind === 'client') {
      this.#isPaused = true;
      this.connection.pause(true);
    }
  }

  /** Ends the session with a coded refusal. */
  goodbye(code: ErrorCode, message: string): void {
    if (this.#isClosed || this.#end !== undefined) return;
    this.#end = { kind: 'goodbye', code, detail: message };
    this.#write({ kind: 'goodbye', errorCode: wireNumberOf(code), message: message.slice(0, 512) });
    this.endTurn();
    this.connection.end();
  }

  /** Ends the session at once. */
  destroy(): void {
    this.connection.destroy();
  }

  data(chunk: Uint8Array): void {
    if (this.#isClosed || this.#end !== undefined) return;
    // Nodes batch what they say; waiting for the end of the turn would gather nothing more.
    const endsTurn = this.peer.kind === 'node';
    if (endsTurn) this.#options.turn.begin();
    try {
      this.#assembler.push(chunk, this.#received);
    } catch (error) {
      if (!isClustorError(error)) throw error;
      this.goodbye(error.code, error.message);
    }
    if (endsTurn) this.#options.turn.runNow();
  }

  drained(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.connection.pause(false);
  }

  closed(reason: CloseReason): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const error = new ClustorError(
      'CLUSTOR_LEADERSHIP_LOST',
      'the connection closed before the answer came',
    );
    const handlers = [...this.#requests.values()];
    this.#requests.clear();
    for (const handler of handlers) handler(error);
    this.#options.owner.closed(this, this.#end ?? reason);
  }

  readonly #received = (body: Uint8Array): void => {
    if (this.#end === undefined) this.#receive(body);
  };

  #receive(body: Uint8Array): void {
    const message = decodeBody(body, { forwardCompat: this.#forwardCompat });
    if (message.kind === 'goodbye') {
      this.#end = {
        kind: 'goodbye',
        code: errorCodeOfWireNumber(message.errorCode),
        detail: message.message,
      };
      this.connection.end();
      return;
    }
    if (!this.#isReady) {
      this.#shakeHands(message);
      return;
    }
    if ('requestId' in message && this.#answer(message)) return;
    this.#authorize(message);
    this.#options.owner.message(this, message);
  }

  /** Hands an answer to its request. Returns false for messages that are no answers. */
  #answer(message: Extract<Message, { readonly requestId: number }>): boolean {
    const isAnswer = message.kind.endsWith('Response');
    if (!isAnswer) return false;
    const handler = this.#requests.get(message.requestId);
    if (handler === undefined) return true;
    const isMoreToCome =
      message.kind === 'errorResponse'
        ? handler(
            new ClustorError(errorCodeOfWireNumber(message.errorCode), message.message, {
              outcome: message.outcome,
              details: { detail: message.detail },
            }),
          )
        : handler(message);
    if (!isMoreToCome) this.#requests.delete(message.requestId);
    return true;
  }

  #authorize(message: Message): void {
    const audience = audienceOf(message.kind);
    if (audience === 'any') return;
    const verdict = judgeAccess(this.role, 'peerMessage');
    if (verdict.kind === 'denied')
      throw new ClustorError('CLUSTOR_PERMISSION_DENIED', `${message.kind}: ${verdict.reason}`);
  }

  #shakeHands(message: Message): void {
    const { handshake, isDialer, owner } = this.#options;
    if (message.kind !== (isDialer ? 'helloAccepted' : 'hello')) {
      throw new ClustorError(
        'CLUSTOR_WIRE_UNKNOWN_MESSAGE',
        `${message.kind} before the handshake`,
      );
    }
    const outcome = negotiate(handshake, message);
    if (outcome.kind === 'refused') throw new ClustorError(outcome.code, outcome.message);
    this.#checkIdentity(message);
    this.#assembler.limit(outcome.bodyBytesMax);
    this.#forwardCompat = outcome.forwardCompat;
    this.remoteBootId = message.bootId;
    this.remoteListensAt = message.address;
    this.remoteExtensions = message.extensions;
    if (!isDialer) this.#write(helloMessage('helloAccepted', handshake, message.nodeId));
    this.#isReady = true;
    this.#mark();
    owner.ready(this);
  }

  /** The claimed identity must be the one of the certificate (specification §11). */
  #checkIdentity(hello: Extract<Message, { readonly kind: 'hello' | 'helloAccepted' }>): void {
    const { handshake, isDialer } = this.#options;
    if (hello.clusterId !== handshake.clusterId) {
      throw new ClustorError(
        'CLUSTOR_WRONG_CLUSTER',
        `the peer belongs to cluster ${hello.clusterId}, this one is ${handshake.clusterId}`,
      );
    }
    const certified = this.peer.kind === 'node' ? this.peer.nodeId : 0;
    if (hello.nodeId !== certified) {
      throw new ClustorError(
        'CLUSTOR_WRONG_NODE',
        `the peer claims to be node ${hello.nodeId}, its certificate says ${certified}`,
      );
    }
    if (!isDialer && hello.targetNodeId !== 0 && hello.targetNodeId !== handshake.nodeId) {
      throw new ClustorError(
        'CLUSTOR_WRONG_NODE',
        `the peer wants node ${hello.targetNodeId}, this is node ${handshake.nodeId}`,
      );
    }
  }

  #write(message: Message): void {
    encodeMessage(message, this.#writer);
  }

  #mark(): void {
    if (this.#isMarked) return;
    this.#isMarked = true;
    this.#options.turn.markSocket(this);
  }
}

/** Handlers of a session that hand anything unexpected to `fail` instead of the host. */
export function guardedHandlers(
  session: WireSession,
  fail: (error: unknown) => void,
): ConnectionHandlers {
  const guarded = (run: () => void): void => {
    try {
      run();
    } catch (error) {
      fail(error);
    }
  };
  return {
    data: (chunk) => {
      guarded(() => {
        session.data(chunk);
      });
    },
    closed: (reason) => {
      guarded(() => {
        session.closed(reason);
      });
    },
    drained: () => {
      session.drained();
    },
  };
}

function helloMessage(
  kind: 'hello' | 'helloAccepted',
  own: Handshake,
  targetNodeId: number,
): Message {
  return { kind, ...own, targetNodeId } as Message;
}
