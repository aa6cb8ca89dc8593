/** One run of chaos: a cluster, a workload, faults, a healed end, and the verdict on all of it. */
import { createWriteStream, type WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';

import type { ConnectedClient } from 'clustor/client';

import { formatEvent } from '../src/testing/history.ts';
import { checkLinearizable } from '../src/testing/linearizability.ts';
import { registerModel } from '../src/testing/linearizability-models.ts';
import { describeVerdict } from '../src/testing/history-judge.ts';
import { ChaosCluster } from './chaos-cluster.ts';
import { ChaosMembers, type MemberSteps } from './chaos-members.ts';
import { ChaosOperator } from './chaos-operator.ts';
import { inflictFaults, type FaultCounts, type FaultKind } from './chaos-faults.ts';
import type { ChaosAccount } from './chaos-product.ts';
import { ChaosWorkload } from './chaos-workload.ts';

/** Options of {@link runChaos}. */
export interface ChaosOptions {
  readonly directory: string;
  readonly seconds: number;
  readonly kinds: readonly FaultKind[];
  readonly seed: number;
  readonly out: string | undefined;
  readonly nodeCount: number;
  readonly workers: number;
  /** The longest pause between two operations of a worker. */
  readonly pauseMsMax?: number;
  readonly note: (text: string) => void;
}

/** What a run found. */
export interface ChaosReport {
  readonly seconds: number;
  readonly seed: number;
  readonly operations: number;
  readonly acknowledged: number;
  readonly unknown: number;
  readonly faults: FaultCounts;
  /** Steps of the operator that were finished, and that were not. */
  readonly memberSteps: MemberSteps;
  readonly linearizable: boolean;
  /** Acknowledged operations that a replica does not have, or has more than once, or that were surely refused and are there. */
  readonly lost: number;
  /** What is wrong, in words; empty when nothing is. */
  readonly problems: readonly string[];
}

const clientCount = 2;
/** Nodes without replicas, for members to come. */
const spareCount = 2;
const checkMsMax = 120_000;
const healMsMax = 30_000;

/** Runs chaos. @throws Error when the cluster does not come up, at the start or at the end. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const cluster = await ChaosCluster.create({
    directory: options.directory,
    nodeCount: options.nodeCount,
    spareCount: changesMembers(options) ? spareCount : 0,
    product: new URL('./chaos-product.ts', import.meta.url).pathname,
    isLinked: true,
  });
  const abandon = (): void => {
    cluster.abandon();
  };
  process.on('exit', abandon);
  const history = options.out === undefined ? undefined : createWriteStream(options.out);
  const clients: ConnectedClient[] = [];
  try {
    await cluster.startAll();
    for (let count = 0; count < clientCount; count++) clients.push(await cluster.connect());
    return await storm(options, { cluster, clients, history });
  } finally {
    await Promise.all(clients.map((client) => client.close()));
    await cluster.close();
    process.off('exit', abandon);
    if (history !== undefined) {
      history.end();
      await finished(history);
    }
  }
}

interface Stage {
  readonly cluster: ChaosCluster;
  readonly clients: readonly ConnectedClient[];
  readonly history: WriteStream | undefined;
}

async function storm(options: ChaosOptions, stage: Stage): Promise<ChaosReport> {
  const { cluster, clients, history } = stage;
  const [client] = clients;
  if (client === undefined) throw new Error('chaos needs a client');
  await cluster.leader(client);
  const members = new ChaosMembers(cluster, {
    operator: await ChaosOperator.create(cluster),
    voters: cluster.nodeIds.slice(0, options.nodeCount),
    note: options.note,
  });
  const workload = new ChaosWorkload({
    clients,
    partitionId: cluster.partitionId,
    replicaAddresses: () => members.voters.flatMap((node) => cluster.productAddress(node) ?? []),
    workers: options.workers,
    ...(options.pauseMsMax === undefined ? {} : { pauseMsMax: options.pauseMsMax }),
    seed: options.seed,
    onEvent: (event) => history?.write(`${formatEvent(event)}\n`),
  });
  workload.start();
  let faults: FaultCounts;
  try {
    faults = await inflictFaults({
      cluster,
      kinds: options.kinds,
      seed: options.seed,
      untilMs: performance.now() + options.seconds * 1000,
      leader: () => cluster.leader(client, 0).catch(() => undefined),
      members,
      note: options.note,
    });
  } finally {
    await workload.stop();
  }
  options.note('calm: reading everything from every node');
  const accounts = new Map<number, ChaosAccount>();
  for (const node of await healedVoters(members)) {
    const address = cluster.productAddress(node);
    if (address === undefined) throw new Error(`node ${node} never came up`);
    accounts.set(node, await workload.readAll(1_000_000 + node, address));
  }
  return verdictOf(options, { workload, accounts, faults, memberSteps: members.steps });
}

function changesMembers({ kinds }: ChaosOptions): boolean {
  return kinds.includes('members');
}

/** The voters once somebody leads. @throws Error when nobody answers in time. */
async function healedVoters(members: ChaosMembers): Promise<readonly number[]> {
  const deadlineMs = performance.now() + healMsMax;
  while ((await members.list()) === undefined) {
    if (performance.now() > deadlineMs) throw new Error(`no leader ${healMsMax} ms after the calm`);
  }
  return members.voters;
}

function verdictOf(
  options: ChaosOptions,
  end: {
    readonly workload: ChaosWorkload;
    readonly accounts: ReadonlyMap<number, ChaosAccount>;
    readonly faults: FaultCounts;
    readonly memberSteps: MemberSteps;
  },
): ChaosReport {
  const { workload, accounts, faults, memberSteps } = end;
  const problems: string[] = [];
  const lostIds = new Set<string>();
  for (const [node, account] of accounts) {
    for (const { id, problem } of accountProblems(workload, account)) {
      lostIds.add(id);
      problems.push(`node ${node}: operation ${id} ${problem}`);
    }
  }
  const digests = new Set([...accounts.values()].map(({ digest }) => digest));
  if (digests.size > 1) problems.push(`the replicas differ: ${[...digests].join(', ')}`);
  const verdict = checkLinearizable(workload.recorder.events, {
    model: registerModel,
    timeMaxMs: checkMsMax,
    nowMs: () => performance.now(),
  });
  if (verdict.kind !== 'linearizable') problems.push(describeVerdict(verdict));
  const { operations, acknowledged, unknown } = workload.counts;
  return {
    seconds: options.seconds,
    seed: options.seed,
    operations,
    acknowledged,
    unknown,
    faults,
    memberSteps,
    linearizable: verdict.kind === 'linearizable',
    lost: lostIds.size,
    problems,
  };
}

/** What is wrong with a replica's account, given what clients were told. */
export function accountProblems(
  workload: ChaosWorkload,
  { ids }: ChaosAccount,
): readonly { readonly id: string; readonly problem: string }[] {
  const applied = new Set<string>();
  const problems: { readonly id: string; readonly problem: string }[] = [];
  for (const id of ids) {
    if (applied.has(id)) problems.push({ id, problem: 'took effect more than once' });
    if (workload.refusedIds.has(id)) problems.push({ id, problem: 'was refused and took effect' });
    applied.add(id);
  }
  for (const id of workload.acknowledgedIds) {
    if (!applied.has(id)) problems.push({ id, problem: 'was acknowledged and is lost' });
  }
  return problems;
}
