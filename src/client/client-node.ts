/**
 * The client's one connection to one node: dialed, redialed with back-off, asked for descriptions.
 *
 * A node is *up* between the end of the handshake and the close of the connection. A closed connection is dialed again at
 * once (unless it did not last), then after 20 ms, doubling to 1 s; whoever waits for this very node shortens that with {@link ClientNode.hurry}.
 * A handshake or description that stays unanswered for 2 s means that nobody is at home behind an open connection: it is destroyed.
 */
import { ClustorError } from '../base/errors.ts';
import type { Incarnation, NodeId } from '../base/ids.ts';
import type { Handshake } from '../codec/handshake.ts';
import type { CancelTimer, Clock } from '../ports/clock.ts';
import type { Observer } from '../ports/observer.ts';
import type {
  CloseReason,
  Connection,
  ConnectionHandlers,
  NodeAddress,
  Transport,
} from '../ports/transport.ts';
import type { TurnScheduler } from '../runtime/turn.ts';
import {
  guardedHandlers,
  WireSession,
  type Message,
  type SessionEnd,
  type SessionOwner,
} from '../runtime/wire-session.ts';

const redialDelayMsMin = 20;
const redialDelayMsMax = 1000;
const hurriedDelayMsMax = 100;
const silenceMsMax = 2000;
const stableMsMin = 100;

/** A node's answer to the question who leads what. */
export type Description = Extract<Message, { readonly kind: 'describeResponse' }>;

/** What connections need from their client. */
export interface ClientNodeOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly turn: TurnScheduler;
  readonly handshake: Handshake;
  readonly queueBytesMax: number;
  readonly listener: ClientNodeListener;
  /** Takes what must not happen. */
  readonly fail: (error: unknown) => void;
}

/** What the client is told about connections. */
export interface ClientNodeListener {
  /** The handshake is done. */
  nodeUp(node: ClientNode): void;
  /** The connection that was up is gone; its requests have been failed. */
  nodeDown(node: ClientNode): void;
  /** Everything that was queued has been taken by the host. */
  nodeDrained(): void;
  /** An attempt to connect failed; another one follows. */
  nodeFailed(node: ClientNode, error: ClustorError): void;
}

/** See the file comment. */
export class ClientNode implements SessionOwner {
  /** The node that must be at these addresses; `undefined` for an address from the configuration. */
  readonly expectedNodeId: NodeId | undefined;
  readonly #options: ClientNodeOptions;
  readonly #addresses: NodeAddress[];
  #addressAt = 0;
  #session: WireSession | undefined;
  #nodeId: NodeId | undefined;
  #bootId: Incarnation | undefined;
  #isUp = false;
  #isClosed = false;
  #isDialing = false;
  #delayMs = redialDelayMsMin;
  #cancelRedial: CancelTimer | undefined;
  #redialAtMs = 0;
  #openDescribes = 0;
  #waitsSinceMs = 0;
  #upSinceMs = 0;

  constructor(
    addresses: readonly NodeAddress[],
    expectedNodeId: NodeId | undefined,
    options: ClientNodeOptions,
  ) {
    this.#addresses = [...addresses];
    this.expectedNodeId = expectedNodeId;
    this.#nodeId = expectedNodeId;
    this.#options = options;
  }

  /** The node behind the addresses, as far as known. */
  get nodeId(): NodeId | undefined {
    return this.#nodeId;
  }

  /** The node's start, while it is up. */
  get bootId(): Incarnation | undefined {
    return this.#isUp ? this.#bootId : undefined;
  }

  /** The session, while the node is up. */
  get session(): WireSession | undefined {
    return this.#isUp && this.#session?.isReady === true ? this.#session : undefined;
  }

  /** Where the node is tried, most preferred first. */
  get addresses(): readonly NodeAddress[] {
    return this.#addresses;
  }

  /** Whether a description was asked for and has not come. */
  get isDescribing(): boolean {
    return this.#openDescribes > 0;
  }

  /** Begins to dial. */
  open(): void {
    this.#dial();
  }

  /** Learns further addresses. */
  addAddresses(addresses: readonly NodeAddress[]): void {
    for (const address of addresses) {
      if (!this.#addresses.some((known) => isSameAddress(known, address)))
        this.#addresses.push(address);
    }
  }

  /** Somebody waits for this node: brings the next attempt forward. */
  hurry(): void {
    this.#delayMs = Math.min(this.#delayMs, hurriedDelayMsMax);
    if (this.#cancelRedial === undefined) return;
    if (this.#redialAtMs - this.#options.clock.monotonicMs() <= hurriedDelayMsMax) return;
    this.#redialLater();
  }

  /** Asks the node what it knows; `done` is called once. */
  describe(done: (answer: Description | ClustorError) => void): void {
    const session = this.session;
    if (session === undefined) {
      done(new ClustorError('CLUSTOR_NO_LEADER', 'the connection is not up'));
      return;
    }
    if (this.#openDescribes === 0) this.#waitsSinceMs = this.#options.clock.monotonicMs();
    this.#openDescribes++;
    session.request(describeRequest, (answer) => {
      this.#openDescribes--;
      if (answer instanceof ClustorError || answer.kind === 'describeResponse') done(answer);
      else
        done(
          new ClustorError('CLUSTOR_INTERNAL', `a describe request was answered by ${answer.kind}`),
        );
      return false;
    });
  }

  /** Destroys a connection whose other end answers neither handshake nor description for too long. */
  endSilence(nowMs: number): void {
    const isWaiting = this.#session !== undefined && (!this.#isUp || this.#openDescribes > 0);
    if (!isWaiting || nowMs - this.#waitsSinceMs < silenceMsMax) return;
    this.#waitsSinceMs = nowMs;
    this.#options.observer.emit({
      level: 'warn',
      kind: 'nodeSilent',
      fields: { nodeId: this.#nodeId },
    });
    this.#session?.destroy();
  }

  /** Closes for good. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelRedial?.();
    this.#cancelRedial = undefined;
    this.#session?.destroy();
  }

  ready(session: WireSession): void {
    const { peer } = session;
    if (peer.kind !== 'node')
      throw new ClustorError('CLUSTOR_WRONG_NODE', 'the other end is not a node of the cluster');
    this.#nodeId = peer.nodeId;
    this.#bootId = session.remoteBootId;
    this.#isUp = true;
    this.#upSinceMs = this.#options.clock.monotonicMs();
    this.#delayMs = redialDelayMsMin;
    this.#options.observer.emit({
      level: 'info',
      kind: 'nodeUp',
      fields: { nodeId: peer.nodeId, address: session.connection.remoteAddress },
    });
    this.#options.listener.nodeUp(this);
  }

  message(session: WireSession, message: Message): void {
    session.goodbye('CLUSTOR_WIRE_UNKNOWN_MESSAGE', `${message.kind} is not said to clients`);
  }

  closed(session: WireSession, reason: SessionEnd): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    const wasUp = this.#isUp;
    this.#isUp = false;
    const { clock, observer, listener } = this.#options;
    observer.emit({
      level: 'info',
      kind: 'nodeDown',
      fields: {
        nodeId: this.#nodeId,
        reason: reason.kind,
        detail: 'detail' in reason ? reason.detail : undefined,
      },
    });
    if (wasUp) listener.nodeDown(this);
    else if (!this.#isClosed) listener.nodeFailed(this, errorOfEnd(reason));
    if (this.#isClosed) return;
    const wasStable =
      wasUp && reason.kind !== 'goodbye' && clock.monotonicMs() - this.#upSinceMs >= stableMsMin;
    if (wasStable) this.#dial();
    else this.#redialLater();
  }

  #dial(): void {
    this.#cancelRedial = undefined;
    const address = this.#addresses[this.#addressAt % Math.max(1, this.#addresses.length)];
    if (address === undefined || this.#isClosed || this.#isDialing || this.#session !== undefined)
      return;
    this.#isDialing = true;
    const handlers = (connection: Connection): ConnectionHandlers => this.#adopt(connection);
    this.#options.transport.dial(
      { address, expected: this.expectedNodeId, handlers },
      (outcome) => {
        this.#isDialing = false;
        if (this.#isClosed || outcome.kind === 'connected') return;
        this.#addressAt++;
        this.#options.listener.nodeFailed(this, errorOfEnd(outcome.reason));
        this.#redialLater();
      },
    );
  }

  #adopt(connection: Connection): ConnectionHandlers {
    const { handshake, turn, queueBytesMax, fail, listener } = this.#options;
    const session = new WireSession(connection, {
      isDialer: true,
      handshake,
      turn,
      owner: this,
      queueBytesMax,
    });
    this.#session = session;
    this.#waitsSinceMs = this.#options.clock.monotonicMs();
    if (this.#isClosed) session.destroy();
    else session.begin(this.expectedNodeId ?? 0);
    const handlers = guardedHandlers(session, fail);
    const drained = (): void => {
      session.drained();
      listener.nodeDrained();
    };
    return { data: handlers.data, closed: handlers.closed, drained };
  }

  #redialLater(): void {
    if (this.#isClosed) return;
    this.#cancelRedial?.();
    const delayMs = this.#delayMs;
    this.#delayMs = Math.min(redialDelayMsMax, delayMs * 2);
    this.#redialAtMs = this.#options.clock.monotonicMs() + delayMs;
    this.#cancelRedial = this.#options.clock.setTimer(delayMs, () => {
      this.#dial();
    });
  }
}

/** Whether two addresses are written alike. */
export function isSameAddress(left: NodeAddress, right: NodeAddress): boolean {
  return left.host === right.host && left.port === right.port;
}

function describeRequest(requestId: number): Message {
  return { kind: 'describeRequest', requestId, deadlineMs: 0, routingEpoch: 1 };
}

function errorOfEnd(reason: SessionEnd | CloseReason): ClustorError {
  switch (reason.kind) {
    case 'goodbye':
      return new ClustorError(reason.code, reason.detail, { outcome: 'surelyNot' });
    case 'unauthenticated':
      return new ClustorError('CLUSTOR_UNAUTHENTICATED', reason.detail);
    case 'refused':
      return new ClustorError('CLUSTOR_NO_LEADER', 'the connection was refused');
    case 'failed':
      return new ClustorError('CLUSTOR_NO_LEADER', `the connection failed: ${reason.detail}`);
    case 'closed':
      return new ClustorError(
        'CLUSTOR_NO_LEADER',
        'the connection closed before the handshake was done',
      );
    default:
      return reason satisfies never;
  }
}
