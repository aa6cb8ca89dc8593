/** A cluster of scripted nodes that speak the real wire format over an in-memory transport, on a clock that tests turn. */
import { ByteWriter } from '../../src/base/bytes.ts';
import { errorCodes, wireNumberOf, type ErrorCode } from '../../src/base/error-codes.ts';
import type {
  ClusterId,
  Incarnation,
  LogIndex,
  NodeId,
  PartitionId,
  Term,
} from '../../src/base/ids.ts';
import {
  createEntryMetadata,
  readEntryMetadata,
  type EntryMetadata,
} from '../../src/codec/entry-metadata.ts';
import { FrameAssembler } from '../../src/codec/frame-assembler.ts';
import { ownHandshake } from '../../src/codec/handshake.ts';
import { bodyBytesMax } from '../../src/codec/wire-catalog.ts';
import { decodeBody, encodeMessage, type WireMessage } from '../../src/codec/wire-messages.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Entropy } from '../../src/ports/entropy.ts';
import type {
  Connection,
  ConnectionHandlers,
  DialOutcome,
  DialTarget,
  NodeAddress,
  Transport,
} from '../../src/ports/transport.ts';

export const clusterId = '018c0d6c-9c11-7e9d-8000-86f5bb8c0001' as ClusterId;
export const partitionId = '018c0d6c-9c11-7e9d-8000-000000000001' as PartitionId;

export type AppendRequest = Extract<WireMessage, { readonly kind: 'appendRequest' }>;
export type ReadRequest = Extract<WireMessage, { readonly kind: 'readRequest' }>;
type AppendResult = Extract<WireMessage, { readonly kind: 'appendResponse' }>['results'][number];

/** Time that moves only when it is told to. */
export class ManualClock implements Clock {
  #nowMs = 1000;
  #turn: (() => void)[] = [];
  #timers: { readonly atMs: number; readonly callback: () => void }[] = [];

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#nowMs;
  }

  setTimer(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  endOfTurn(callback: () => void): void {
    this.#turn.push(callback);
  }

  /** Ends turns until nothing is left to do at this moment. */
  settle(): void {
    for (let round = 0; this.#turn.length > 0; round++) {
      if (round > 10_000) throw new Error('the turns do not come to an end');
      const turn = this.#turn;
      this.#turn = [];
      for (const callback of turn) callback();
    }
  }

  /** Lets time pass, timer by timer. */
  advance(durationMs: number): void {
    const endMs = this.#nowMs + durationMs;
    this.settle();
    for (;;) {
      const next = this.#timers
        .filter(({ atMs }) => atMs <= endMs)
        .sort((left, right) => left.atMs - right.atMs)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#nowMs = next.atMs;
      next.callback();
      this.settle();
    }
    this.#nowMs = endMs;
  }
}

/** Bytes that differ from call to call and not from run to run. */
export class CountingEntropy implements Entropy {
  #next = 1;

  bytes(count: number): Uint8Array {
    const value = this.#next++;
    return Uint8Array.from({ length: count }, (_, at) => (value * 31 + at * 7) & 0xff);
  }

  uint32(): number {
    return this.#next++;
  }
}

/** One end of an open connection at a node. */
export class NodeEnd {
  readonly node: ScriptedNode;
  readonly #handlers: ConnectionHandlers;
  readonly #assembler = new FrameAssembler(bodyBytesMax);
  readonly #writer = new ByteWriter();
  isOpen = true;

  constructor(node: ScriptedNode, handlers: ConnectionHandlers) {
    this.node = node;
    this.#handlers = handlers;
  }

  /** Bytes of the client. */
  receive(bytes: Uint8Array): void {
    this.#assembler.push(bytes, (body) => {
      this.node.receive(this, decodeBody(body.slice(), { forwardCompat: true }));
    });
  }

  say(message: WireMessage): void {
    if (!this.isOpen) return;
    encodeMessage(message, this.#writer);
    const bytes = this.#writer.take();
    this.node.cluster.clock.endOfTurn(() => {
      if (this.isOpen) this.#handlers.data(bytes);
    });
  }

  close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.node.cluster.clock.endOfTurn(() => {
      this.#handlers.closed({ kind: 'closed' });
    });
  }
}

/** One node; what it does with requests is up to the test. */
export class ScriptedNode {
  readonly cluster: ScriptedCluster;
  readonly nodeId: NodeId;
  readonly address: NodeAddress;
  readonly appendRequests: AppendRequest[] = [];
  readonly readRequests: ReadRequest[] = [];
  readonly ends = new Set<NodeEnd>();
  /** What it says of the partition. */
  leaderNodeId = 0;
  term = 1;
  commit = 0;
  isHost = true;
  isReachable = true;
  isSilent = false;
  describeCount = 0;
  dialCount = 0;
  onAppend: (request: AppendRequest, end: NodeEnd) => void = (request, end) => {
    this.commitAll(request, end);
  };

  onRead: (request: ReadRequest, end: NodeEnd) => void = (request, end) => {
    const { requestId, consistency, query } = request;
    end.say({
      kind: 'readResponse',
      requestId,
      deadlineMs: 0,
      routingEpoch: 1,
      partitionId,
      toIncarnation: request.toIncarnation,
      appliedIndex: this.commit as LogIndex,
      consistency,
      result: query,
    });
  };

  constructor(cluster: ScriptedCluster, nodeId: number) {
    this.cluster = cluster;
    this.nodeId = nodeId as NodeId;
    this.address = { host: '10.0.0.1', port: 7400 + nodeId };
  }

  /** All payloads in order of arrival, as numbers. */
  get payloads(): readonly number[] {
    return this.appendRequests.flatMap(({ entries }) =>
      entries.map(({ payload }) => payload[0] ?? -1),
    );
  }

  /** Metadata of all entries in order of arrival. */
  get keys(): readonly EntryMetadata[] {
    return this.appendRequests.flatMap(({ entries }) =>
      entries.map(({ metadata }) => {
        const into = createEntryMetadata();
        readEntryMetadata(metadata, { start: 0, end: metadata.length }, into);
        return into;
      }),
    );
  }

  receive(end: NodeEnd, message: WireMessage): void {
    if (message.kind === 'hello') {
      const own = ownHandshake({
        clusterId: this.cluster.clusterIdOfNodes,
        nodeId: this.nodeId,
        bootId: `018c0d6c-9c11-7e9d-8000-00000000000${this.nodeId}` as Incarnation,
      });
      end.say({ kind: 'helloAccepted', ...own, targetNodeId: 0 as NodeId });
    } else if (message.kind === 'describeRequest') this.#describe(end, message.requestId);
    else if (message.kind === 'appendRequest') {
      this.appendRequests.push(message);
      if (!this.isSilent) this.onAppend(message, end);
    } else if (message.kind === 'readRequest') {
      this.readRequests.push(message);
      if (!this.isSilent) this.onRead(message, end);
    }
  }

  commitAll(request: AppendRequest, end: NodeEnd): void {
    const results = request.entries.map((entry, position): AppendResult => {
      this.commit++;
      return {
        position,
        errorCode: 0,
        outcome: 'committed',
        term: this.term as Term,
        index: this.commit as LogIndex,
        detail: 0,
        result: entry.payload,
      };
    });
    this.answer(request, end, results);
  }

  /** Refuses every entry by itself. */
  refuseEach(request: AppendRequest, end: NodeEnd, code: ErrorCode, detail = 0): void {
    const refusal = {
      errorCode: wireNumberOf(code),
      outcome: errorCodes[code].outcome,
      term: 0 as Term,
      index: 0 as LogIndex,
      detail,
      result: new Uint8Array(0),
    };
    this.answer(
      request,
      end,
      request.entries.map((_, position): AppendResult => ({ position, ...refusal })),
    );
  }

  answer(request: AppendRequest, end: NodeEnd, results: readonly AppendResult[]): void {
    const { requestId, toIncarnation } = request;
    end.say({
      kind: 'appendResponse',
      requestId,
      deadlineMs: 0,
      routingEpoch: 1,
      partitionId: request.partitionId,
      toIncarnation,
      results,
    });
  }

  /** Refuses a whole request. */
  refuse(request: AppendRequest | ReadRequest, end: NodeEnd, code: ErrorCode, detail = 0): void {
    end.say({
      kind: 'errorResponse',
      requestId: request.requestId,
      deadlineMs: 0,
      routingEpoch: 1,
      errorCode: wireNumberOf(code),
      outcome: 'surelyNot',
      detail,
      message: 'scripted',
    });
  }

  /** Drops all connections. */
  disconnect(): void {
    for (const end of this.ends) end.close();
    this.ends.clear();
  }

  #describe(end: NodeEnd, requestId: number): void {
    this.describeCount++;
    if (this.isSilent) return;
    const { nodes } = this.cluster;
    const members = nodes.map((node) => ({
      nodeId: node.nodeId,
      address: `${node.address.host}:${node.address.port}`,
    }));
    const claim = {
      partitionId,
      leaderNodeId: this.leaderNodeId as NodeId,
      leaderAddress: '',
      term: this.term as Term,
      commit: this.commit as LogIndex,
      isLeader: this.leaderNodeId === this.nodeId,
      members,
    };
    const bootId = '018c0d6c-9c11-7e9d-8000-0000000000b0' as Incarnation;
    end.say({
      kind: 'describeResponse',
      requestId,
      deadlineMs: 0,
      routingEpoch: 1,
      nodeId: this.nodeId,
      bootId,
      partitions: this.isHost ? [claim] : [],
    });
  }
}

/** Three nodes and the client's network to them. */
export class ScriptedCluster implements Transport {
  readonly clock = new ManualClock();
  readonly nodes: readonly ScriptedNode[];
  clusterIdOfNodes = clusterId;
  isClosed = false;

  constructor(nodeCount = 3) {
    this.nodes = Array.from({ length: nodeCount }, (_, at) => new ScriptedNode(this, at + 1));
  }

  node(nodeId: number): ScriptedNode {
    const node = this.nodes[nodeId - 1];
    if (node === undefined) throw new Error(`there is no node ${nodeId}`);
    return node;
  }

  /** Says who leads, on every node. */
  elect(nodeId: number, term: number): void {
    for (const node of this.nodes) {
      node.leaderNodeId = nodeId;
      node.term = term;
    }
  }

  listen(): Promise<NodeAddress> {
    return Promise.reject(new Error('a client does not listen'));
  }

  dial(target: DialTarget, done: (outcome: DialOutcome) => void): void {
    const node = this.nodes.find(
      ({ address }) => address.host === target.address.host && address.port === target.address.port,
    );
    if (node !== undefined) node.dialCount++;
    this.clock.endOfTurn(() => {
      if (node?.isReachable === true)
        done({ kind: 'connected', connection: connect(node, target) });
      else done({ kind: 'failed', reason: { kind: 'refused' } });
    });
  }

  close(): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }
}

function connect(node: ScriptedNode, target: DialTarget): Connection {
  const { clock } = node.cluster;
  const ends: NodeEnd[] = [];
  const connection: Connection = {
    peer: {
      kind: 'node',
      clusterId,
      nodeId: node.nodeId,
      spiffeId: `spiffe://${clusterId}/node/${node.nodeId}`,
    },
    remoteAddress: `${node.address.host}:${node.address.port}`,
    queuedBytes: 0,
    send: (chunks) => {
      for (const chunk of chunks) {
        clock.endOfTurn(() => {
          for (const end of ends) if (end.isOpen) end.receive(chunk);
        });
      }
    },
    pause: () => undefined,
    end: () => {
      ends[0]?.close();
    },
    destroy: () => {
      ends[0]?.close();
    },
  };
  const end = new NodeEnd(node, target.handlers(connection));
  ends.push(end);
  node.ends.add(end);
  return connection;
}
