/**
 * How long a cluster under load is without a leader when `kill -9` takes it: from the kill until the client acknowledges a write
 * that was sent after it; and whether everything acknowledged is still there at the end.
 */
import { setTimeout as delay } from 'node:timers/promises';

import type { ConnectedClient } from 'clustor/client';

import { ChaosCluster } from './chaos-cluster.ts';
import type { ChaosAccount } from './chaos-product.ts';
import { askReplica } from './chaos-workload.ts';

/** Options of {@link runFailover}. */
export interface FailoverOptions {
  readonly directory: string;
  readonly kills: number;
  readonly nodeCount: number;
  readonly workers: number;
  readonly note: (text: string) => void;
}

/** What a run found. */
export interface FailoverReport {
  readonly kills: number;
  readonly acknowledged: number;
  readonly medianMs: number;
  readonly worstMs: number;
  /** Acknowledged writes that a replica lacks at the end. */
  readonly lost: number;
  /** Whether all replicas, the killed ones among them, have applied the same. */
  readonly equal: boolean;
  /** Milliseconds of each kill, in order. */
  readonly eachMs: readonly number[];
}

const restartAfterMs = 1000;
const settleMs = 500;
const outageMsMax = 15_000;
const deadlineMs = 10_000;

/** Kills the leader so many times. */
export async function runFailover(options: FailoverOptions): Promise<FailoverReport> {
  const cluster = await ChaosCluster.create({
    directory: options.directory,
    nodeCount: options.nodeCount,
    product: new URL('./chaos-product.ts', import.meta.url).pathname,
    isLinked: false,
  });
  const abandon = (): void => {
    cluster.abandon();
  };
  process.on('exit', abandon);
  try {
    await cluster.startAll();
    const client = await cluster.connect();
    try {
      return await measure(options, cluster, client);
    } finally {
      await client.close();
    }
  } finally {
    await cluster.close();
    process.off('exit', abandon);
  }
}

async function measure(
  options: FailoverOptions,
  cluster: ChaosCluster,
  client: ConnectedClient,
): Promise<FailoverReport> {
  await cluster.leader(client);
  const load = new SteadyLoad(cluster, client);
  load.start(options.workers);
  const eachMs: number[] = [];
  try {
    for (let kill = 1; kill <= options.kills; kill++) {
      await delay(settleMs);
      const leader = await cluster.leader(client);
      const killedMs = performance.now();
      const gone = cluster.kill(leader);
      const acknowledgedMs = await load.acknowledgedAfter(killedMs, outageMsMax);
      await gone;
      eachMs.push(Math.round(acknowledgedMs - killedMs));
      options.note(
        `kill ${kill}: node ${leader}, ${eachMs.at(-1) ?? 0} ms until the next acknowledged write`,
      );
      await delay(restartAfterMs);
      await cluster.start(leader).ready;
      await caughtUp(cluster, leader);
    }
  } finally {
    await load.stop();
  }
  const accounts: ChaosAccount[] = [];
  for (const node of cluster.nodeIds) accounts.push(await accountOf(cluster, node));
  const lost = accounts.map(({ ids }) => load.missingFrom(ids));
  const sorted = eachMs.toSorted((left, right) => left - right);
  return {
    kills: options.kills,
    acknowledged: load.acknowledged,
    medianMs: sorted[Math.floor((sorted.length - 1) / 2)] ?? 0,
    worstMs: sorted.at(-1) ?? 0,
    lost: Math.max(0, ...lost),
    equal: new Set(accounts.map(({ digest }) => digest)).size === 1,
    eachMs,
  };
}

/** Resolves once a node answers a linearizable read itself: it has applied everything acknowledged before. */
async function caughtUp(cluster: ChaosCluster, node: number): Promise<void> {
  const address = cluster.productAddress(node);
  if (address === undefined) throw new Error(`node ${node} names no address`);
  await askReplica(address, ['read', 'none'], deadlineMs);
}

async function accountOf(cluster: ChaosCluster, node: number): Promise<ChaosAccount> {
  const address = cluster.productAddress(node);
  if (address === undefined) throw new Error(`node ${node} names no address`);
  return (await askReplica(address, ['account'], deadlineMs)) as ChaosAccount;
}

/** Writers that write one thing after the other and remember what was acknowledged. */
class SteadyLoad {
  readonly #cluster: ChaosCluster;
  readonly #client: ConnectedClient;
  readonly #acknowledgedIds = new Set<string>();
  readonly #writers: Promise<void>[] = [];
  #waiting: { readonly sinceMs: number; readonly done: (atMs: number) => void } | undefined;
  #isStopping = false;

  constructor(cluster: ChaosCluster, client: ConnectedClient) {
    this.#cluster = cluster;
    this.#client = client;
  }

  get acknowledged(): number {
    return this.#acknowledgedIds.size;
  }

  start(writers: number): void {
    for (let writer = 1; writer <= writers; writer++) this.#writers.push(this.#write(writer));
  }

  /** When the first write that began after `sinceMs` was acknowledged. */
  acknowledgedAfter(sinceMs: number, waitMsMax: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`no write was acknowledged within ${waitMsMax} ms`));
      }, waitMsMax);
      this.#waiting = {
        sinceMs,
        done: (atMs) => {
          clearTimeout(timer);
          resolve(atMs);
        },
      };
    });
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#writers);
  }

  missingFrom(ids: readonly string[]): number {
    const applied = new Set(ids);
    return [...this.#acknowledgedIds].filter((id) => !applied.has(id)).length;
  }

  async #write(writer: number): Promise<void> {
    const { partitionId } = this.#cluster;
    for (let count = 1; !this.#isStopping; count++) {
      const id = `${writer}.${count}`;
      const entry = Buffer.from(JSON.stringify([id, 'write', `k${writer}`, id]));
      const startMs = performance.now();
      try {
        await this.#client.append(partitionId, entry, { deadlineMs });
      } catch {
        // Nothing was acknowledged; the time until something is runs on.
        await delay(1);
        continue;
      }
      this.#acknowledgedIds.add(id);
      const waiting = this.#waiting;
      if (waiting !== undefined && startMs >= waiting.sinceMs) {
        this.#waiting = undefined;
        waiting.done(performance.now());
      }
      await delay(2);
    }
  }
}
