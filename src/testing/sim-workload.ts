/**
 * Clients of a simulated cluster: workers that write, read, compare-and-set and count, one operation at a time each, through
 * remote clients and through the partition handles of nodes, with duplicates under one key, short patience, and what
 * everyone saw recorded for the judge.
 */
import { assert } from '../base/assert.ts';
import { ClustorError } from '../base/errors.ts';
import type { NodeId, PartitionId } from '../base/ids.ts';
import { nextBelow, nextBetween, type PrngState } from '../base/prng.ts';
import { utf8Decode, utf8Encode } from '../base/bytes.ts';
import type { ClustorClient } from '../client/client-core.ts';
import type { StateMachine } from '../ports/state-machine.ts';
import type { AppendReceipt } from '../runtime/local-append.ts';
import type { HistoryRequest, HistoryRecorder } from './history-recorder.ts';
import type { HistoryValue } from './history.ts';
import type { SimCluster } from './sim-cluster.ts';
import type { SimLoad } from './sim-product.ts';
import {
  decodeResult,
  encodeCommand,
  type RegisterCommand,
  RegisterMachine,
} from './sim-machine.ts';

/** What workers share. */
export interface SimWorkloadOptions {
  readonly cluster: SimCluster;
  readonly clients: readonly ClustorClient[];
  readonly recorder: HistoryRecorder;
  readonly random: PrngState;
  /** Called for things that must never be. */
  readonly violated: (message: string) => void;
}

const registers = 3;
const counters = 2;
/** Operations after which keys get new names, so that the judge's search stays short. */
const epochOperations = 60;
/** One in so many acknowledged changes is looked up on the disks. */
const evidenceSamples = 8;

/** One pause in so many begins a lull. */
const lullOneIn = 100;

/** See the file comment. */
export class SimWorkload implements SimLoad {
  readonly #options: SimWorkloadOptions;
  readonly #localOperations = new Map<
    number,
    { readonly nodeId: NodeId; readonly abandon: () => void }
  >();
  #started = 0;
  #values = 0;
  #keys = 0;
  #isStopping = false;
  #quietUntilMs = 0;
  #running = 0;
  /** Changes that were acknowledged. */
  acknowledged = 0;

  constructor(options: SimWorkloadOptions) {
    this.#options = options;
    options.cluster.onLifeEnded((nodeId) => {
      for (const operation of [...this.#localOperations.values()])
        if (operation.nodeId === nodeId) operation.abandon();
    });
  }

  /** Operations started. */
  get operations(): number {
    return this.#started;
  }

  /** Operations under way. */
  get running(): number {
    return this.#running;
  }

  /** Starts a worker. */
  startWorker(worker: number): void {
    this.#pause(() => {
      this.#operate(worker);
    });
  }

  /** No worker begins another operation. */
  stop(): void {
    this.#isStopping = true;
  }

  #pause(next: () => void): void {
    const { random, cluster } = this.#options;
    const { world } = cluster;
    // Now and then all workers are quiet together: partitions fall asleep, and whatever happens next happens to sleepers.
    if (nextBelow(random, lullOneIn) === 0)
      this.#quietUntilMs = world.nowMs + nextBetween(random, 200, 2_000);
    const quietMs = Math.max(0, this.#quietUntilMs - world.nowMs);
    world.after(quietMs + nextBetween(random, 5, 120), next);
  }

  #operate(worker: number): void {
    if (this.#isStopping) return;
    this.#started++;
    const { random, cluster, recorder } = this.#options;
    const plan = cluster.plans[nextBelow(random, cluster.plans.length)];
    if (plan === undefined) return;
    const request = this.#request(plan.partitionId);
    recorder.invoke(worker, request, this.#nowNs());
    this.#running++;
    const finish = once((end: (worker: number) => void) => {
      this.#running--;
      this.#localOperations.delete(worker);
      end(worker);
      this.#pause(() => {
        this.#operate(worker);
      });
    });
    const operation = { worker, request, partitionId: plan.partitionId, finish };
    if (request.op === 'read') this.#read(operation);
    else this.#change(operation);
  }

  #request(partitionId: PartitionId): HistoryRequest {
    const { random } = this.#options;
    const epoch = Math.floor(this.#started / epochOperations);
    const prefix = `${partitionId.slice(-4)}.${epoch}`;
    if (nextBelow(random, 4) === 0) {
      const key = `${prefix}.c${nextBelow(random, counters)}`;
      return nextBelow(random, 4) === 0
        ? { op: 'read', key, value: null }
        : { op: 'incr', key, value: 1 + nextBelow(random, 5) };
    }
    const key = `${prefix}.r${nextBelow(random, registers)}`;
    const value = String(++this.#values);
    switch (nextBelow(random, 5)) {
      case 0:
      case 1:
        return { op: 'read', key, value: null };
      case 2:
        return {
          op: 'cas',
          key,
          value: [
            nextBelow(random, 3) === 0
              ? null
              : String(Math.max(1, this.#values - 1 - nextBelow(random, 12))),
            value,
          ],
        };
      default:
        return { op: 'write', key, value };
    }
  }

  #change(operation: Operation): void {
    const { random, cluster } = this.#options;
    const bytes = encodeCommand(commandOf(operation.request));
    const local = nextBelow(random, 3) === 0 ? this.#someHost(operation.partitionId) : undefined;
    const deadlineMs = nextBelow(random, 6) === 0 ? nextBetween(random, 20, 200) : 4_000;
    const isDoubled = nextBelow(random, 8) === 0;
    const collect = new Answers(
      isDoubled ? 2 : 1,
      (outcome) => {
        this.#changed(operation, outcome);
      },
      this.#options.violated,
    );
    if (local !== undefined && !isDoubled) {
      const node = cluster.node(local);
      this.#localOperations.set(operation.worker, {
        nodeId: local,
        abandon: () => {
          collect.abandon();
        },
      });
      node?.partition(operation.partitionId).appendWith(bytes, { deadlineMs }, collect.answered);
      return;
    }
    const key = isDoubled ? utf8Encode(`key-${++this.#keys}`) : undefined;
    const firstSeenCommit = Math.min(
      ...this.#options.clients.map((client) => client.commitIndex(operation.partitionId)),
    );
    for (let attempt = 0; attempt < (isDoubled ? 2 : 1); attempt++) {
      const client = this.#someClient();
      client?.appendWith(operation.partitionId, bytes, collect.answered, {
        deadlineMs,
        ...(key === undefined ? {} : { idempotencyKey: key, firstSeenCommit }),
      });
    }
  }

  #changed(operation: Operation, outcome: AppendReceipt | ClustorError | undefined): void {
    const { recorder, cluster, random } = this.#options;
    const nowNs = this.#nowNs();
    operation.finish((worker) => {
      if (
        outcome === undefined ||
        (outcome instanceof ClustorError && outcome.outcome !== 'surelyNot')
      ) {
        recorder.info(worker, nowNs);
        return;
      }
      if (outcome instanceof ClustorError) {
        recorder.fail(worker, nowNs);
        return;
      }
      this.acknowledged++;
      if (nextBelow(random, evidenceSamples) === 0)
        cluster.checkEvidence(operation.partitionId, outcome.index);
      const { isDone, value } = decodeResult(outcome.result);
      if (isDone)
        recorder.ok(
          worker,
          operation.request.op === 'incr' ? Number(value) : operation.request.value,
          nowNs,
        );
      else recorder.fail(worker, nowNs);
    });
  }

  #read(operation: Operation): void {
    const { random, cluster } = this.#options;
    const { request, partitionId } = operation;
    const ok = (value: HistoryValue): void => {
      operation.finish((worker) => {
        this.#options.recorder.ok(worker, value, this.#nowNs());
      });
    };
    const failed = (): void => {
      operation.finish((worker) => {
        this.#options.recorder.fail(worker, this.#nowNs());
      });
    };
    const local = nextBelow(random, 2) === 0 ? this.#someHost(partitionId) : undefined;
    const deadlineMs = nextBelow(random, 6) === 0 ? nextBetween(random, 20, 200) : 4_000;
    if (local !== undefined) {
      this.#localOperations.set(operation.worker, { nodeId: local, abandon: failed });
      const partition = cluster.node(local)?.partition(partitionId);
      partition
        ?.read((machine) => readRegister(machine, request.key), { deadlineMs })
        .then(ok, failed);
      return;
    }
    this.#someClient()
      ?.read(partitionId, utf8Encode(request.key), { deadlineMs })
      .then(({ result }) => {
        ok(JSON.parse(utf8Decode(result)) as HistoryValue);
      }, failed);
  }

  #someClient(): ClustorClient | undefined {
    const { clients, random } = this.#options;
    return clients[nextBelow(random, clients.length)];
  }

  /** A node that is up and holds a replica of the partition. */
  #someHost(partitionId: PartitionId): NodeId | undefined {
    const { cluster, random } = this.#options;
    const up = cluster.world.nodeIds.filter((nodeId) =>
      cluster.node(nodeId)?.partitions.some((partition) => partition.partitionId === partitionId),
    );
    return up[nextBelow(random, Math.max(1, up.length))];
  }

  #nowNs(): number {
    return Math.round(this.#options.cluster.world.nowMs * 1_000_000);
  }
}

interface Operation {
  readonly worker: number;
  readonly request: HistoryRequest;
  readonly partitionId: PartitionId;
  readonly finish: (end: (worker: number) => void) => void;
}

/** Answers to one request that may have been sent twice under one key: they must agree (specification §2.4). */
class Answers {
  readonly answered: (outcome: AppendReceipt | ClustorError) => void;
  readonly #settle: (outcome: AppendReceipt | ClustorError | undefined) => void;
  #missing: number;
  #receipt: AppendReceipt | undefined;
  #error: ClustorError | undefined;
  #isSettled = false;

  constructor(
    expected: number,
    settle: (outcome: AppendReceipt | ClustorError | undefined) => void,
    violated: (message: string) => void,
  ) {
    this.#missing = expected;
    this.#settle = settle;
    this.answered = (outcome) => {
      this.#missing--;
      if (outcome instanceof ClustorError) {
        if (this.#error === undefined || outcome.outcome !== 'surelyNot') this.#error = outcome;
      } else if (this.#receipt === undefined) {
        this.#receipt = { ...outcome, result: outcome.result?.slice() };
      } else if (!isSameReceipt(this.#receipt, outcome)) {
        violated(
          `one key was answered with index ${this.#receipt.index} and with index ${outcome.index}`,
        );
      }
      // An answer settles the operation only when both attempts are over: the other may take effect until then.
      if (this.#receipt !== undefined || this.#missing === 0)
        this.#end(this.#receipt ?? this.#error);
    };
  }

  /** Nothing more will come. */
  abandon(): void {
    this.#end(this.#receipt);
  }

  #end(outcome: AppendReceipt | ClustorError | undefined): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#settle(outcome);
  }
}

function isSameReceipt(left: AppendReceipt, right: AppendReceipt): boolean {
  return (
    left.index === right.index &&
    left.term === right.term &&
    utf8Decode(left.result ?? new Uint8Array(0)) === utf8Decode(right.result ?? new Uint8Array(0))
  );
}

function commandOf(request: HistoryRequest): RegisterCommand {
  const { op, key, value } = request;
  if (op === 'incr') return { op, key, amount: Number(value) };
  if (op === 'cas') {
    const [expected, replacement] = value as readonly [string | null, string];
    return { op, key, expected, value: replacement };
  }
  return { op: 'write', key, value: String(value) };
}

/** Machines of simulated clusters are register machines. */
function readRegister(machine: StateMachine, key: string): string | null {
  assert(machine instanceof RegisterMachine, 'a simulated cluster hosts register machines');
  return machine.read(key);
}

function once<Argument>(run: (argument: Argument) => void): (argument: Argument) => void {
  let isDone = false;
  return (argument) => {
    if (isDone) return;
    isDone = true;
    run(argument);
  };
}
