/**
 * Clients of a user's state machine: each asks for one thing at a time, through a connection or at a node itself, with
 * duplicates under one key and with short patience, and what everyone saw is kept for the judge.
 */
import { ClustorError } from '../../base/errors.ts';
import type { ClustorClient } from '../../client/client-core.ts';
import type { LogIndex, NodeId, PartitionId } from '../../base/ids.ts';
import { forkPrng, nextBelow, nextBetween, type PrngState } from '../../base/prng.ts';
import type { AppendReceipt } from '../../runtime/local-append.ts';
import type { HistoryEventType, HistoryOp } from '../history.ts';
import type { SimLoad, SimLoadParts } from '../sim-product.ts';
import type { SimTap } from '../sim-tap.ts';
import type { EntryRecord } from './entry-record.ts';
import { drawRequest } from './workload-request.ts';
import {
  workloadRandom,
  type Workload,
  type WorkloadRandom,
  type WorkloadRequest,
} from './workload.ts';

/** Draws after which a workload counts as one without changes, or without reads. */
const drawsMax = 200;

/**
 * Bytes of appends that are sent in a run at most: nothing is compacted, a partition's log takes 121 MiB of clients, and what
 * two leaders took is there twice.
 */
const appendBytesMax = 64 * 1024 * 1024;

/** An append as its client saw it. */
export interface AppendSeen {
  readonly request: Uint8Array;
  /** Where it was acknowledged; nothing while nobody knows. */
  receipt: { readonly index: LogIndex; readonly result: Uint8Array | undefined } | undefined;
  /** It surely did not happen and never will. */
  isRefused: boolean;
}

/** A read as its client saw it. */
export interface ReadSeen {
  readonly query: Uint8Array;
  readonly answer: Uint8Array;
  /** It must show everything up to here … */
  readonly from: LogIndex;
  /** … and cannot show anything behind here. */
  readonly to: LogIndex;
}

/** What a load needs beyond {@link SimLoadParts}. */
export interface ProductLoadOptions extends SimLoadParts {
  readonly workload: Workload;
  readonly record: EntryRecord;
  readonly describe: (bytes: Uint8Array | undefined) => string;
  readonly tap: SimTap | undefined;
  /** The workload made a mistake of its own; throws. */
  readonly workloadFailed: (message: string) => never;
}

interface Operation {
  readonly worker: number;
  readonly process: number;
  readonly label: string;
  readonly op: HistoryOp;
  /** Everything acknowledged when it began. */
  readonly from: LogIndex;
  isOver: boolean;
}

/** See the file comment. */
export class ProductLoad implements SimLoad {
  readonly appends: AppendSeen[] = [];
  readonly reads: ReadSeen[] = [];
  readonly #options: ProductLoadOptions;
  readonly #random: PrngState;
  readonly #workloadRandom: WorkloadRandom;
  readonly #partitionId: PartitionId;
  readonly #local = new Map<number, { readonly nodeId: NodeId; readonly abandon: () => void }>();
  #acknowledgedIndex = 0 as LogIndex;
  #appendBytes = 0;
  #processes = 0;
  #keys = 0;
  #isStopping = false;
  operations = 0;
  running = 0;
  acknowledged = 0;

  constructor(options: ProductLoadOptions) {
    this.#options = options;
    this.#random = options.random;
    this.#workloadRandom = workloadRandom(forkPrng(options.random, 'requests'));
    this.#partitionId = options.record.partitionId;
    options.cluster.onLifeEnded((nodeId) => {
      for (const local of [...this.#local.values()]) if (local.nodeId === nodeId) local.abandon();
    });
  }

  startWorker(worker: number): void {
    this.#pause(worker);
  }

  stop(): void {
    this.#isStopping = true;
  }

  /** One change and one read that must be answered; rejects when they are not. */
  async mustWork(client: ClustorClient, remainingMs: () => number): Promise<void> {
    const requests = Array.from({ length: drawsMax }, () => this.#draw(0));
    const append = requests.find((request) => 'append' in request);
    const query = requests.find((request) => 'query' in request);
    if (append !== undefined && 'append' in append) {
      const seen: AppendSeen = { request: append.append, receipt: undefined, isRefused: false };
      this.appends.push(seen);
      this.#acknowledge(
        seen,
        await client.append(this.#partitionId, append.append, { deadlineMs: remainingMs() }),
      );
    }
    if (query === undefined || !('query' in query)) return;
    const from = this.#acknowledgedIndex;
    const { result } = await client.read(this.#partitionId, query.query, {
      deadlineMs: remainingMs(),
    });
    const { lastIndex } = this.#options.record;
    this.reads.push({ query: query.query, answer: result, from, to: lastIndex });
  }

  #draw(client: number): WorkloadRequest {
    const { workload, workloadFailed } = this.#options;
    const turn = { operation: this.operations, client, random: this.#workloadRandom };
    const request = drawRequest(workload, turn);
    return typeof request === 'string' ? workloadFailed(request) : request;
  }

  #pause(worker: number): void {
    this.#options.cluster.world.after(nextBetween(this.#random, 5, 120), () => {
      this.#operate(worker);
    });
  }

  #operate(worker: number): void {
    if (this.#isStopping) return;
    const { describe } = this.#options;
    this.operations++;
    const request = this.#draw(worker);
    const isAppend = 'append' in request;
    if (isAppend && this.#appendBytes + request.append.length > appendBytesMax) {
      this.#pause(worker);
      return;
    }
    this.running++;
    const bytes = (isAppend ? request.append : request.query).slice();
    const operation: Operation = {
      worker,
      process: this.#processes++,
      label: describe(bytes),
      op: isAppend ? 'write' : 'read',
      from: this.#acknowledgedIndex,
      isOver: false,
    };
    this.#tell(operation, 'invoke', isAppend ? operation.label : null);
    if (isAppend) this.#append(operation, bytes);
    else this.#read(operation, bytes);
  }

  #append(operation: Operation, request: Uint8Array): void {
    const seen: AppendSeen = { request, receipt: undefined, isRefused: false };
    this.appends.push(seen);
    const random = this.#random;
    const deadlineMs = nextBelow(random, 6) === 0 ? nextBetween(random, 20, 200) : 4_000;
    const local = nextBelow(random, 3) === 0 ? this.#someHost() : undefined;
    const copies = local === undefined && nextBelow(random, 8) === 0 ? 2 : 1;
    this.#appendBytes += request.length * copies;
    let missing = copies;
    let refusals = 0;
    const answered = (outcome: AppendReceipt | ClustorError): void => {
      missing--;
      if (outcome instanceof ClustorError) {
        if (outcome.outcome === 'surelyNot') refusals++;
      } else {
        this.#acknowledge(seen, outcome);
      }
      if (missing > 0 && seen.receipt === undefined) return;
      seen.isRefused = refusals === copies;
      const type = seen.receipt !== undefined ? 'ok' : seen.isRefused ? 'fail' : 'info';
      this.#finish(operation, type, operation.label);
    };
    const { cluster } = this.#options;
    if (local !== undefined) {
      this.#local.set(operation.worker, {
        nodeId: local,
        abandon: () => {
          this.#finish(operation, 'info', operation.label);
        },
      });
      cluster
        .node(local)
        ?.partition(this.#partitionId)
        .appendWith(request, { deadlineMs }, answered);
      return;
    }
    this.#appendRemotely(request, { copies, deadlineMs, answered });
  }

  #appendRemotely(
    request: Uint8Array,
    how: {
      readonly copies: number;
      readonly deadlineMs: number;
      readonly answered: (outcome: AppendReceipt | ClustorError) => void;
    },
  ): void {
    const { clients } = this.#options;
    const { copies, deadlineMs, answered } = how;
    const firstSeenCommit = Math.min(
      ...clients.map((client) => client.commitIndex(this.#partitionId)),
    );
    const key = copies === 1 ? undefined : Uint8Array.of(1, ++this.#keys >> 8, this.#keys & 0xff);
    for (let copy = 0; copy < copies; copy++) {
      const client = clients[nextBelow(this.#random, clients.length)];
      client?.appendWith(this.#partitionId, request, answered, {
        deadlineMs,
        ...(key === undefined ? {} : { idempotencyKey: key, firstSeenCommit }),
      });
    }
  }

  #acknowledge(seen: AppendSeen, { index, result }: AppendReceipt): void {
    const before = seen.receipt;
    if (before !== undefined && before.index !== index)
      this.#options.violated(
        `one key was answered with index ${before.index} and with index ${index}`,
      );
    if (before !== undefined) return;
    seen.receipt = { index, result: result?.slice() };
    this.acknowledged++;
    if (index > this.#acknowledgedIndex) this.#acknowledgedIndex = index;
  }

  #read(operation: Operation, query: Uint8Array): void {
    const random = this.#random;
    const deadlineMs = nextBelow(random, 6) === 0 ? nextBetween(random, 20, 200) : 4_000;
    const { record, cluster, clients, describe } = this.#options;
    const ok = (answer: Uint8Array): void => {
      const { isOver } = operation;
      this.#finish(operation, 'ok', describe(answer));
      if (isOver) return;
      this.reads.push({
        query,
        answer: answer.slice(),
        from: operation.from,
        to: record.lastIndex,
      });
    };
    const failed = (): void => {
      this.#finish(operation, 'fail', null);
    };
    const local = nextBelow(random, 2) === 0 ? this.#someHost() : undefined;
    if (local !== undefined) {
      this.#local.set(operation.worker, { nodeId: local, abandon: failed });
      const partition = cluster.node(local)?.partition(this.#partitionId);
      partition?.read((machine) => machine.query(query).slice(), { deadlineMs }).then(ok, failed);
      return;
    }
    clients[nextBelow(random, clients.length)]
      ?.read(this.#partitionId, query, { deadlineMs })
      .then(({ result }) => {
        ok(result);
      }, failed);
  }

  #finish(operation: Operation, type: HistoryEventType, value: string | null): void {
    if (operation.isOver) return;
    operation.isOver = true;
    this.running--;
    this.#local.delete(operation.worker);
    this.#tell(operation, type, value);
    this.#pause(operation.worker);
  }

  /** A node that is up and holds a replica. */
  #someHost(): NodeId | undefined {
    const { cluster } = this.#options;
    const up = cluster.world.nodeIds.filter((nodeId) =>
      cluster.node(nodeId)?.partitions.some(({ partitionId }) => partitionId === this.#partitionId),
    );
    return up[nextBelow(this.#random, Math.max(1, up.length))];
  }

  #tell({ process, op, label }: Operation, type: HistoryEventType, value: string | null): void {
    const time = Math.round(this.#options.cluster.world.nowMs * 1_000_000);
    this.#options.tap?.operation({ process, type, op, key: label, value, time });
  }
}
