/**
 * What works behind a client: connections, routes, lanes of each partition, deadlines.
 *
 * Time: requests leave at the end of the turn in which they were made. One timer looks at deadlines and at leaders that
 * fell silent while anything is under way; there is no timer per request.
 */
import { ClustorError, messageOf } from '../base/errors.ts';
import {
  uuidFromBytes,
  type ClusterId,
  type Incarnation,
  type NodeId,
  type PartitionId,
} from '../base/ids.ts';
import { ownHandshake } from '../codec/handshake.ts';
import type { CancelTimer, Clock } from '../ports/clock.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { Observer } from '../ports/observer.ts';
import type { NodeAddress, Transport } from '../ports/transport.ts';
import { TurnScheduler } from '../runtime/turn.ts';
import { AppendLane } from './append-lane.ts';
import type { ClientNode, ClientNodeListener } from './client-node.ts';
import { clientLimits, type ClientLimits } from './client-options.ts';
import { LeaderFinder, type Route, type RouteListener } from './leader-finder.ts';
import { NodeDirectory } from './node-directory.ts';
import { ReadLane } from './read-lane.ts';
import { RequestBudget, type RequestContext } from './request-fate.ts';

/** What a client is made of. */
export interface ClientParts {
  /** For this client alone, which closes it. */
  readonly transport: Transport;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly observer: Observer;
  readonly clusterId: ClusterId;
  /** Some nodes of the cluster; the others are learned from them. */
  readonly addresses: readonly NodeAddress[];
  readonly limits?: Partial<ClientLimits>;
}

/** Requests of one partition. */
export interface Lanes {
  readonly route: Route;
  readonly appends: AppendLane;
  readonly reads: ReadLane;
}

const sweepIntervalMs = 20;

/** See the file comment. */
export class ClientEngine implements ClientNodeListener, RouteListener {
  readonly directory: NodeDirectory;
  readonly finder: LeaderFinder;
  readonly context: RequestContext;
  readonly #parts: ClientParts;
  readonly #lanes = new Map<PartitionId, Lanes>();
  readonly #attemptErrors = new Map<ClientNode, ClustorError>();
  #opened: ((error: ClustorError | undefined) => void) | undefined;
  #cancelOpen: CancelTimer | undefined;
  #cancelSweep: CancelTimer | undefined;
  #isClosed = false;
  #closing: Promise<void> | undefined;

  constructor(parts: ClientParts) {
    this.#parts = parts;
    const { transport, clock, observer, entropy, clusterId } = parts;
    const limits = clientLimits(parts.limits);
    const fail = (error: unknown): void => {
      this.#fail(error);
    };
    const turn = new TurnScheduler(clock, fail);
    const bootId = uuidFromBytes(entropy.bytes(16), 0) as Incarnation;
    const handshake = ownHandshake({ clusterId, nodeId: 0 as NodeId, bootId });
    const queueBytesMax = limits.connectionQueueBytesMax;
    this.directory = new NodeDirectory({
      transport,
      clock,
      observer,
      turn,
      handshake,
      queueBytesMax,
      listener: this,
      fail,
    });
    this.finder = new LeaderFinder({ clock, directory: this.directory, listener: this });
    this.context = {
      clock,
      turn,
      observer,
      limits,
      finder: this.finder,
      budget: new RequestBudget(limits),
      clientId: entropy.bytes(16),
    };
  }

  /** The error that refuses requests once the client is closed. */
  closedRefusal(): ClustorError | undefined {
    return this.#isClosed
      ? new ClustorError('CLUSTOR_CLOSED', 'the client is closed', { outcome: 'surelyNot' })
      : undefined;
  }

  /** Requests of a partition. */
  lanesOf(partitionId: PartitionId): Lanes {
    let lanes = this.#lanes.get(partitionId);
    if (lanes === undefined) {
      const route = this.finder.route(partitionId);
      lanes = {
        route,
        appends: new AppendLane(this.context, route),
        reads: new ReadLane(this.context, route, this.directory),
      };
      this.#lanes.set(partitionId, lanes);
    }
    return lanes;
  }

  /** Makes sure that deadlines are looked at while something is under way. */
  sweepLater(): void {
    if (this.#cancelSweep !== undefined || this.#isClosed) return;
    this.#cancelSweep = this.context.clock.setTimer(sweepIntervalMs, () => {
      this.#cancelSweep = undefined;
      this.#sweep();
    });
  }

  /** Settles what is under way with `CLUSTOR_CLOSED` and closes everything. Idempotent. */
  close(): Promise<void> {
    this.#close('CLUSTOR_CLOSED', 'the client was closed');
    this.#closing ??= this.#parts.transport.close();
    return this.#closing;
  }

  /** Begins to connect; `opened` is called once. */
  begin(opened: (error: ClustorError | undefined) => void): void {
    this.#opened = opened;
    this.#cancelOpen = this.context.clock.setTimer(this.context.limits.openDeadlineMs, () => {
      this.#finishOpening(this.#openingError('no node answered in time'));
    });
    this.directory.open(this.#parts.addresses);
  }

  nodeUp(node: ClientNode): void {
    this.finder.nodeUp(node);
  }

  nodeDown(node: ClientNode): void {
    if (node.nodeId !== undefined) this.finder.nodeDown(node.nodeId);
  }

  nodeDrained(): void {
    for (const { appends, reads } of this.#lanes.values()) {
      appends.mark();
      reads.mark();
    }
  }

  nodeFailed(node: ClientNode, error: ClustorError): void {
    const { nodeId } = node;
    this.#parts.observer.emit({
      level: 'debug',
      kind: 'connectFailed',
      fields: { nodeId, code: error.code, message: error.message },
    });
    if (this.#opened === undefined) return;
    this.#attemptErrors.set(node, error);
    const nodes = [...this.directory.all()];
    const isHopeless = nodes.every((known) => this.#attemptErrors.get(known)?.retryable === false);
    if (isHopeless) this.#finishOpening(this.#openingError('every node refused'));
  }

  described(): void {
    this.#finishOpening(undefined);
    this.nodeDrained();
  }

  routed(route: Route): void {
    const lanes = this.#lanes.get(route.partitionId);
    lanes?.appends.mark();
    lanes?.reads.mark();
  }

  isWanted(route: Route): boolean {
    const lanes = this.#lanes.get(route.partitionId);
    return lanes !== undefined && (lanes.appends.isWaiting || lanes.reads.isWaiting);
  }

  unknownPartition(route: Route): void {
    const lanes = this.#lanes.get(route.partitionId);
    this.#lanes.delete(route.partitionId);
    this.finder.forget(route);
    const message = `no node of the cluster hosts partition ${route.partitionId}`;
    lanes?.appends.failAll('CLUSTOR_UNKNOWN_PARTITION', message);
    lanes?.reads.failAll('CLUSTOR_UNKNOWN_PARTITION', message);
  }

  #sweep(): void {
    const { clock, budget } = this.context;
    const nowMs = clock.monotonicMs();
    for (const { appends, reads } of this.#lanes.values()) {
      appends.doubt(nowMs);
      reads.doubt(nowMs);
    }
    if (nowMs >= budget.earliestDeadlineMs) this.#expire(nowMs);
    if (budget.count > 0) this.sweepLater();
  }

  /** Requests made by callbacks meanwhile lower the earliest deadline again by themselves. */
  #expire(nowMs: number): void {
    const { budget } = this.context;
    budget.deadlinesSwept(Number.POSITIVE_INFINITY);
    let earliestMs = Number.POSITIVE_INFINITY;
    for (const { appends, reads } of this.#lanes.values())
      earliestMs = Math.min(earliestMs, appends.expire(nowMs), reads.expire(nowMs));
    budget.deadlinesSwept(Math.min(earliestMs, budget.earliestDeadlineMs));
  }

  #finishOpening(error: ClustorError | undefined): void {
    const opened = this.#opened;
    if (opened === undefined) return;
    this.#opened = undefined;
    this.#cancelOpen?.();
    this.#attemptErrors.clear();
    opened(error);
  }

  /** The refusal of the last attempts; one that needs a change of the caller's side goes first. */
  #openingError(what: string): ClustorError {
    const errors = [...this.#attemptErrors.values()];
    const cause = errors.find((error) => !error.retryable) ?? errors.at(-1);
    const addresses = this.#parts.addresses.map(({ host, port }) => `${host}:${port}`).join(', ');
    const code = cause?.code ?? 'CLUSTOR_DEADLINE_EXCEEDED';
    const reason = cause === undefined ? '' : `: ${cause.message}`;
    return new ClustorError(code, `${what} at ${addresses}${reason}`, {
      outcome: 'surelyNot',
      cause,
    });
  }

  /** A broken invariant: nothing of this client can be trusted any more. */
  #fail(error: unknown): void {
    this.#parts.observer.emit({
      level: 'error',
      kind: 'clientFailed',
      fields: { message: messageOf(error) },
    });
    this.#close('CLUSTOR_INTERNAL', `the client failed: ${messageOf(error)}`);
  }

  #close(code: 'CLUSTOR_CLOSED' | 'CLUSTOR_INTERNAL', message: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelOpen?.();
    this.#cancelSweep?.();
    this.finder.close();
    for (const { appends, reads } of this.#lanes.values()) {
      appends.failAll(code, message);
      reads.failAll(code, message);
    }
    this.#lanes.clear();
    this.#finishOpening(new ClustorError(code, message, { outcome: 'surelyNot' }));
    this.directory.close();
    this.context.turn.close();
  }
}
