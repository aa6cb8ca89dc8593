/**
 * The network of a simulated world: who listens where, the links between machines, and the streams over them.
 *
 * Identities are known instead of proven: a transport says who it is, and the checks of the real host (same cluster, a node,
 * the node that was expected) are made on that. A machine keeps its number and address over its lives.
 */
import { assert } from '../base/assert.ts';
import { nextBelow, type PrngState } from '../base/prng.ts';
import type {
  AcceptHandler,
  CloseReason,
  DialOutcome,
  DialTarget,
  NodeAddress,
  PeerIdentity,
  Transport,
} from '../ports/transport.ts';
import {
  drawLatencyMs,
  SimConnection,
  type ConnectionContext,
  type SimLink,
} from './sim-connection.ts';
import {
  simEventKinds,
  simTask,
  type LifeScope,
  type SimScheduler,
  type SimTask,
} from './sim-scheduler.ts';
import type { NetworkTap } from './sim-tap.ts';

/** How long a dial waits for an answer. */
const dialTimeoutMs = 2_000;

/** What a {@link SimTransport} is made of. */
export interface SimTransportParts {
  readonly network: SimNetwork;
  readonly scheduler: SimScheduler;
  readonly scope: LifeScope;
  readonly identity: PeerIdentity;
  /** Where this machine is reached, or comes from. */
  readonly address: NodeAddress;
}

interface DialAttempt {
  readonly from: SimTransport;
  readonly target: DialTarget;
  /** Hands the stream over; false when the dialer no longer waits. */
  readonly connect: (connection: SimConnection) => boolean;
  /** Fails the attempt unless it is settled. */
  readonly fail: (reason: CloseReason) => void;
}

/** All links and streams. */
export class SimNetwork {
  readonly #scheduler: SimScheduler;
  readonly #random: PrngState;
  readonly #numbers = new Map<string, number>();
  readonly #listeners = new Map<string, SimTransport>();
  readonly #links = new Map<number, SimLink>();
  readonly #connections = new Set<SimConnection>();
  readonly #context: ConnectionContext;
  #connectionCount = 0;

  constructor(scheduler: SimScheduler, random: PrngState, tap?: NetworkTap) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#context = {
      scheduler,
      random,
      forget: (connection) => void this.#connections.delete(connection),
      tap,
    };
  }

  /** Open ends of streams. */
  get connectionEndCount(): number {
    return this.#connections.size;
  }

  /** Gives a machine its address. */
  addMachine(number: number, address: NodeAddress): void {
    this.#numbers.set(keyOf(address), number);
  }

  /** The way from one machine to another. */
  link(from: number, to: number): SimLink {
    const key = from * 0x1_0000 + to;
    let link = this.#links.get(key);
    if (link === undefined) {
      const baseLatencyMs = (3 + nextBelow(this.#random, 10)) / 16;
      link = { from, to, baseLatencyMs, isCut: false, latencyFactor: 1, lossRate: 0 };
      this.#links.set(key, link);
    }
    return link;
  }

  /** Lets nothing pass from one machine to another; the way back is not touched. */
  cut(from: number, to: number): void {
    this.link(from, to).isCut = true;
  }

  /** Ends a cut; what stood still is retransmitted. */
  mend(from: number, to: number): void {
    const link = this.link(from, to);
    if (!link.isCut) return;
    link.isCut = false;
    for (const connection of this.#connections) {
      if (connection.link === link) connection.proceed(nextBelow(this.#random, 200));
    }
  }

  /** Ends every fault of every link. */
  heal(): void {
    for (const link of this.#links.values()) {
      link.latencyFactor = 1;
      link.lossRate = 0;
      this.mend(link.from, link.to);
    }
  }

  /** Breaks the streams between two machines, wherever their bytes are; how many there were. */
  breakConnections(left: number, right: number): number {
    let count = 0;
    for (const connection of [...this.#connections]) {
      const { from, to } = connection.link;
      const isBetween = (from === left && to === right) || (from === right && to === left);
      if (!isBetween) continue;
      connection.breakOff(nextBelow(this.#random, 8) / 2);
      count++;
    }
    return count / 2;
  }

  /**
   * A life is over: its streams lose what was still under way in part.
   *
   * @param isSilent - The machine is gone, nobody tells the other ends: they notice after a while.
   */
  abandon(scope: LifeScope, isSilent: boolean): void {
    for (const [key, transport] of this.#listeners)
      if (transport.scope === scope) this.#listeners.delete(key);
    const noticeMs =
      isSilent && nextBelow(this.#random, 2) === 0 ? 200 + nextBelow(this.#random, 2_800) : 0;
    for (const connection of [...this.#connections]) {
      if (connection.scope !== scope) continue;
      this.#connections.delete(connection);
      connection.abandon(noticeMs);
    }
  }

  /** Begins to accept at the transport's address. */
  listen(transport: SimTransport): void {
    const key = keyOf(transport.address);
    assert(!this.#listeners.has(key), 'an address has one listener');
    this.#listeners.set(key, transport);
  }

  /** Stops accepting; destroys what the transport has open. */
  close(transport: SimTransport): void {
    const key = keyOf(transport.address);
    if (this.#listeners.get(key) === transport) this.#listeners.delete(key);
    for (const connection of [...this.#connections])
      if (connection.scope === transport.scope) connection.destroy();
  }

  /** Sends a dial on its way. */
  dial(attempt: DialAttempt): void {
    const key = keyOf(attempt.target.address);
    const number = this.#numbers.get(key);
    if (number === undefined) {
      this.#answer(attempt, 1, { kind: 'refused' });
      return;
    }
    const there = this.link(attempt.from.scope.number, number);
    const back = this.link(number, attempt.from.scope.number);
    const knock = simTask(undefined, simEventKinds.connect, () => {
      if (there.isCut || back.isCut) return;
      const listener = this.#listeners.get(key);
      if (listener === undefined) {
        this.#answer(attempt, drawLatencyMs(back, this.#random), { kind: 'refused' });
        return;
      }
      // The listener's process must run to answer; if it dies first, the dial times out.
      this.#scheduler.schedule(
        0,
        simTask(listener.scope, simEventKinds.connect, () => this.#meet(attempt, listener, back)),
      );
    });
    knock.weight = number;
    // Connecting and authenticating take two round trips.
    this.#scheduler.schedule(
      drawLatencyMs(there, this.#random) * 2 + drawLatencyMs(back, this.#random),
      knock,
    );
  }

  /** The listener's side of a dial that arrived. */
  #meet(attempt: DialAttempt, listener: SimTransport, back: SimLink): void {
    if (!attempt.from.scope.isAlive) return;
    const accept = listener.acceptHandler;
    const refusal =
      accept === undefined ? ({ kind: 'refused' } as const) : refusalOf(attempt, listener.identity);
    if (accept === undefined || refusal !== undefined) {
      this.#answer(attempt, drawLatencyMs(back, this.#random), refusal ?? { kind: 'refused' });
      return;
    }
    const { from } = attempt;
    const number = this.#connectionCount++;
    const dialed = new SimConnection({
      context: this.#context,
      number: number * 2,
      scope: from.scope,
      peerScope: listener.scope,
      peer: listener.identity,
      remoteAddress: keyOf(listener.address),
      link: this.link(from.scope.number, listener.scope.number),
    });
    const accepted = new SimConnection({
      context: this.#context,
      number: number * 2 + 1,
      scope: listener.scope,
      peerScope: from.scope,
      peer: from.identity,
      remoteAddress: `${from.address.host}:${40_000 + (number % 20_000)}`,
      link: back,
    });
    dialed.join(accepted);
    this.#context.tap?.connected(
      {
        stream: number * 2,
        dialer: { machine: from.scope.number, identity: from.identity },
        listener: { machine: listener.scope.number, identity: listener.identity },
      },
      this.#scheduler.nowMs,
    );
    this.#connections.add(dialed);
    this.#connections.add(accepted);
    // First in the flight, so that no byte arrives before the dialer knows its connection.
    accepted.announce(() => {
      if (dialed.isClosed) return;
      if (!attempt.connect(dialed)) dialed.destroy();
    });
    accepted.start(accept(accepted));
  }

  #answer(attempt: DialAttempt, delayMs: number, reason: CloseReason): void {
    const task = simTask(attempt.from.scope, simEventKinds.connect, () => attempt.fail(reason));
    this.#scheduler.schedule(delayMs, task);
  }
}

/** The network as one life sees it. */
export class SimTransport implements Transport {
  readonly scope: LifeScope;
  readonly identity: PeerIdentity;
  readonly address: NodeAddress;
  readonly #network: SimNetwork;
  readonly #scheduler: SimScheduler;
  readonly #attempts = new Set<DialAttempt>();
  #accept: AcceptHandler | undefined;
  #isClosed = false;

  constructor(parts: SimTransportParts) {
    this.#network = parts.network;
    this.#scheduler = parts.scheduler;
    this.scope = parts.scope;
    this.identity = parts.identity;
    this.address = parts.address;
  }

  /** Who takes accepted connections, while listening. */
  get acceptHandler(): AcceptHandler | undefined {
    return this.#accept;
  }

  listen(accept: AcceptHandler): Promise<NodeAddress> {
    assert(this.#accept === undefined, 'a transport listens once');
    assert(this.identity.kind === 'node', 'only nodes listen');
    return this.#later(() => {
      if (this.#isClosed) return this.address;
      this.#accept = accept;
      this.#network.listen(this);
      return this.address;
    });
  }

  dial(target: DialTarget, done: (outcome: DialOutcome) => void): void {
    if (!this.scope.isAlive) return;
    if (this.#isClosed) {
      const fail = (): void => done({ kind: 'failed', reason: { kind: 'closed' } });
      this.#scheduler.scheduleEndOfTurn(simTask(this.scope, simEventKinds.endOfTurn, fail));
      return;
    }
    const timeout: SimTask = simTask(this.scope, simEventKinds.timer, () => {
      attempt.fail({ kind: 'failed', detail: `no connection within ${dialTimeoutMs} ms` });
    });
    const settle = (): boolean => {
      timeout.isCancelled = true;
      return this.#attempts.delete(attempt);
    };
    const attempt: DialAttempt = {
      from: this,
      target,
      connect: (connection) => {
        if (!settle()) return false;
        const handlers = target.handlers(connection);
        done({ kind: 'connected', connection });
        connection.start(handlers);
        return true;
      },
      fail: (reason) => {
        if (settle()) done({ kind: 'failed', reason });
      },
    };
    this.#attempts.add(attempt);
    this.#scheduler.schedule(dialTimeoutMs, timeout);
    this.#network.dial(attempt);
  }

  close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#accept = undefined;
      this.#network.close(this);
      const attempts = [...this.#attempts];
      const fail = (): void => {
        for (const attempt of attempts) attempt.fail({ kind: 'closed' });
      };
      this.#scheduler.scheduleEndOfTurn(simTask(this.scope, simEventKinds.endOfTurn, fail));
    }
    return this.#later(() => undefined);
  }

  #later<Result>(act: () => Result): Promise<Result> {
    return new Promise((resolve) => {
      const task = simTask(this.scope, simEventKinds.networkNotice, () => {
        resolve(act());
        this.#scheduler.requestDrain();
      });
      this.#scheduler.schedule(1 / 16, task);
    });
  }
}

/** Why the two ends of a dial would not have each other. */
function refusalOf(attempt: DialAttempt, listener: PeerIdentity): CloseReason | undefined {
  if (attempt.from.identity.clusterId !== listener.clusterId) {
    return { kind: 'unauthenticated', detail: 'the peer belongs to another cluster' };
  }
  const { expected } = attempt.target;
  if (listener.kind !== 'node') return { kind: 'unauthenticated', detail: 'the peer is no node' };
  if (expected !== undefined && listener.nodeId !== expected) {
    return {
      kind: 'unauthenticated',
      detail: `the peer is node ${listener.nodeId}, not ${expected}`,
    };
  }
  return undefined;
}

function keyOf(address: NodeAddress): string {
  return `${address.host}:${address.port}`;
}
