/**
 * What clients do during chaos: workers, each with one operation at a time, on registers and counters through the public
 * client, and reads from the replicas directly. Keys live a few seconds: operations whose outcome stays unknown pile up on a
 * key, and each doubles what a checker has to think of.
 */
import { isClustorError, type PartitionId } from 'clustor';
import type { ConnectedClient } from 'clustor/client';

import {
  createPrng,
  forkPrng,
  nextBelow,
  nextFloat,
  pick,
  type PrngState,
} from '../src/base/prng.ts';
import { HistoryRecorder, type HistoryRequest } from '../src/testing/history-recorder.ts';
import type { HistoryEvent, HistoryValue } from '../src/testing/history.ts';
import type { ChaosAccount } from './chaos-product.ts';

/** What a workload runs against. */
export interface WorkloadOptions {
  readonly clients: readonly ConnectedClient[];
  readonly partitionId: PartitionId;
  /** Where the replicas answer queries themselves. */
  readonly replicaAddresses: () => readonly string[];
  readonly workers: number;
  /** The longest pause between two operations of a worker. @defaultValue 16 */
  readonly pauseMsMax?: number;
  readonly seed: number;
  readonly onEvent: (event: HistoryEvent) => void;
}

/** What was asked and answered. */
export interface WorkloadCounts {
  operations: number;
  acknowledged: number;
  refused: number;
  unknown: number;
}

const keyLifetimeMs = 4000;
const registersPerLifetime = 6;
const countersPerLifetime = 2;
const pauseMsMaxDefault = 16;

/** See the file comment. */
export class ChaosWorkload {
  readonly recorder: HistoryRecorder;
  readonly counts: WorkloadCounts = { operations: 0, acknowledged: 0, refused: 0, unknown: 0 };
  /** Ids of acknowledged operations that went through the log. */
  readonly acknowledgedIds = new Set<string>();
  /** Ids of operations that were surely not done. */
  readonly refusedIds = new Set<string>();
  /** All keys ever used. */
  readonly keys = new Set<string>();
  readonly #options: WorkloadOptions;
  readonly #startNs = process.hrtime.bigint();
  readonly #workers: Promise<void>[] = [];
  /** Values seen or written lately, for a cas that may succeed. */
  readonly #lastValues = new Map<string, string | null>();
  #isStopping = false;

  constructor(options: WorkloadOptions) {
    this.#options = options;
    this.recorder = new HistoryRecorder({ onEvent: options.onEvent });
  }

  /** Starts the workers. */
  start(): void {
    const prng = createPrng(this.#options.seed);
    for (let worker = 1; worker <= this.#options.workers; worker++) {
      this.#workers.push(this.#work(worker, forkPrng(prng, `worker ${worker}`)));
    }
  }

  /** Lets every worker finish its operation. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#workers);
  }

  /** Records a read of every key as one replica answers it; answers that replica's account. */
  async readAll(reader: number, address: string): Promise<ChaosAccount> {
    const startNs = this.#nowNs();
    const account = (await askReplica(address, ['account'], 15_000)) as ChaosAccount;
    const values = new Map(account.values);
    for (const key of this.keys) {
      this.recorder.invoke(
        reader,
        { op: 'read', key, value: null },
        Math.max(startNs, this.#lastNs),
      );
      this.recorder.ok(reader, values.get(key) ?? null, this.#nowNs());
    }
    return account;
  }

  get #lastNs(): number {
    return this.recorder.events.at(-1)?.time ?? 0;
  }

  async #work(worker: number, prng: PrngState): Promise<void> {
    const client = this.#options.clients[worker % this.#options.clients.length];
    if (client === undefined) return;
    for (let count = 1; !this.#isStopping; count++) {
      const id = `${worker}.${count}`;
      const request = this.#draw(id, prng);
      const deadlineMs = 500 + nextBelow(prng, 4500);
      const isFromReplica = request.op === 'read' && nextFloat(prng) < 0.5;
      const replicas = this.#options.replicaAddresses();
      const replica = isFromReplica && replicas.length > 0 ? pick(prng, replicas) : undefined;
      this.keys.add(request.key);
      this.counts.operations++;
      this.recorder.invoke(worker, request, this.#nowNs());
      try {
        const answer =
          replica === undefined
            ? await this.#ask(client, { id, request, deadlineMs })
            : ((await askReplica(replica, ['read', request.key], deadlineMs)) as HistoryValue);
        this.#answered(worker, { id, request, answer });
      } catch (error) {
        this.#failed(worker, { id, request, error });
      }
      await pauseMs(nextBelow(prng, this.#options.pauseMsMax ?? pauseMsMaxDefault));
    }
  }

  #draw(id: string, prng: PrngState): HistoryRequest {
    const lifetime = Math.floor(this.#nowNs() / 1e6 / keyLifetimeMs);
    const choice = nextFloat(prng);
    const counter = `c${lifetime}.${nextBelow(prng, countersPerLifetime)}`;
    const register = `r${lifetime}.${nextBelow(prng, registersPerLifetime)}`;
    if (choice < 0.12) return { op: 'incr', key: counter, value: 1 + nextBelow(prng, 9) };
    if (choice < 0.2) return { op: 'read', key: counter, value: null };
    if (choice < 0.5) return { op: 'read', key: register, value: null };
    if (choice < 0.75) return { op: 'write', key: register, value: id };
    return { op: 'cas', key: register, value: [this.#lastValues.get(register) ?? null, id] };
  }

  async #ask(
    client: ConnectedClient,
    work: { readonly id: string; readonly request: HistoryRequest; readonly deadlineMs: number },
  ): Promise<HistoryValue> {
    const { id, request, deadlineMs } = work;
    const { op, key, value } = request;
    const { partitionId } = this.#options;
    if (op === 'read') {
      const query = Buffer.from(JSON.stringify(['read', key]));
      const { result } = await client.read(partitionId, query, { deadlineMs });
      return parse(result) as HistoryValue;
    }
    const words = Array.isArray(value) ? (value as readonly HistoryValue[]) : [value];
    const entry = Buffer.from(JSON.stringify([id, op, key, ...words]));
    const { result } = await client.append(partitionId, entry, { deadlineMs });
    return parse(result ?? Buffer.from('null')) as HistoryValue;
  }

  #answered(
    worker: number,
    done: { readonly id: string; readonly request: HistoryRequest; readonly answer: HistoryValue },
  ): void {
    const { id, request, answer } = done;
    const { op, key, value } = request;
    this.counts.acknowledged++;
    if (op !== 'read') this.acknowledgedIds.add(id);
    if (op === 'cas' && answer === false) {
      // It went through the log and changed nothing.
      this.recorder.fail(worker, this.#nowNs());
      return;
    }
    this.recorder.ok(worker, op === 'read' || op === 'incr' ? answer : value, this.#nowNs());
    if (key.startsWith('c')) return;
    this.#lastValues.set(key, op === 'read' ? (answer as string | null) : id);
  }

  #failed(
    worker: number,
    done: { readonly id: string; readonly request: HistoryRequest; readonly error: unknown },
  ): void {
    const { id, request, error } = done;
    // A read without an answer changed nothing; a write is refused only if the error says so.
    const isRefused = request.op === 'read' || outcomeOf(error) === 'surelyNot';
    if (isRefused) {
      this.counts.refused++;
      if (request.op !== 'read') this.refusedIds.add(id);
      this.recorder.fail(worker, this.#nowNs());
      return;
    }
    this.counts.unknown++;
    this.recorder.info(worker, this.#nowNs());
  }

  #nowNs(): number {
    return Number(process.hrtime.bigint() - this.#startNs);
  }
}

/** Asks one replica for a linearizable read. @throws Error when it does not answer in time. */
export async function askReplica(
  address: string,
  query: readonly string[],
  deadlineMs: number,
): Promise<unknown> {
  const response = await fetch(`http://${address}/`, {
    method: 'POST',
    body: JSON.stringify(query),
    signal: AbortSignal.timeout(deadlineMs),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return JSON.parse(text);
}

function outcomeOf(error: unknown): string {
  if (!isClustorError(error)) throw error;
  return error.outcome;
}

function parse(bytes: Uint8Array): unknown {
  return JSON.parse(Buffer.from(bytes).toString());
}

function pauseMs(ms: number): Promise<void> {
  return new Promise((resume) => {
    setTimeout(resume, ms);
  });
}
