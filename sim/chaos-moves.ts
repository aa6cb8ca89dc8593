/**
 * Members come and go under load: three voters become five and three again, each of the first three is replaced, leadership
 * moves twenty times; every step by the command line. Told: how long no write was acknowledged around each step, whether the
 * history is linearizable and nothing acknowledged was lost.
 */
import { setTimeout as delay } from 'node:timers/promises';

import type { ConnectedClient } from 'clustor/client';

import { checkLinearizable } from '../src/testing/linearizability.ts';
import { registerModel } from '../src/testing/linearizability-models.ts';
import { describeVerdict } from '../src/testing/history-judge.ts';
import { ChaosCluster } from './chaos-cluster.ts';
import { ChaosOperator, type CommandRun } from './chaos-operator.ts';
import type { ChaosAccount } from './chaos-product.ts';
import { accountProblems } from './chaos-run.ts';
import { ChaosWorkload } from './chaos-workload.ts';

/** Options of {@link runMoves}. */
export interface MovesOptions {
  readonly directory: string;
  readonly transfers: number;
  readonly seed: number;
  readonly workers: number;
  readonly note: (text: string) => void;
}

/** Longest times without an acknowledged write around the steps of one kind. */
export interface GapReport {
  readonly steps: number;
  readonly medianMs: number;
  readonly longestMs: number;
}

/** What a run found. */
export interface MovesReport {
  readonly operations: number;
  readonly acknowledged: number;
  readonly unknown: number;
  readonly gaps: Readonly<Record<'add' | 'remove' | 'replace' | 'transfer', GapReport>>;
  readonly linearizable: boolean;
  readonly lost: number;
  readonly problems: readonly string[];
}

type StepKind = keyof MovesReport['gaps'];

const clientCount = 2;
const spareCount = 5;
const settleMs = 300;
const checkMsMax = 120_000;

/** Runs all steps. @throws Error when a step fails. */
export async function runMoves(options: MovesOptions): Promise<MovesReport> {
  const cluster = await ChaosCluster.create({
    directory: options.directory,
    nodeCount: 3,
    spareCount,
    product: new URL('./chaos-product.ts', import.meta.url).pathname,
    isLinked: false,
  });
  const abandon = (): void => {
    cluster.abandon();
  };
  process.on('exit', abandon);
  const clients: ConnectedClient[] = [];
  try {
    await cluster.startAll();
    for (let count = 0; count < clientCount; count++) clients.push(await cluster.connect());
    return await move(options, cluster, clients);
  } finally {
    await Promise.all(clients.map((client) => client.close()));
    await cluster.close();
    process.off('exit', abandon);
  }
}

async function move(
  options: MovesOptions,
  cluster: ChaosCluster,
  clients: readonly ConnectedClient[],
): Promise<MovesReport> {
  const [client] = clients;
  if (client === undefined) throw new Error('a client is needed');
  await cluster.leader(client);
  const operator = await ChaosOperator.create(cluster);
  const members = new Set([1, 2, 3]);
  const acknowledgedAtMs: number[] = [];
  const workload = new ChaosWorkload({
    clients,
    partitionId: cluster.partitionId,
    replicaAddresses: () => [...members].flatMap((node) => cluster.productAddress(node) ?? []),
    workers: options.workers,
    seed: options.seed,
    onEvent: (event) => {
      if (event.type === 'ok' && event.op !== 'read') acknowledgedAtMs.push(performance.now());
    },
  });
  workload.start();
  const gaps: Record<StepKind, number[]> = { add: [], remove: [], replace: [], transfer: [] };
  const step = async (kind: StepKind, words: readonly string[]): Promise<void> => {
    const run = await operator.must(words);
    await delay(settleMs);
    const gapMs = longestGap(acknowledgedAtMs, run);
    gaps[kind].push(gapMs);
    options.note(
      `${words.join(' ')}: ${Math.round(run.endMs - run.startMs)} ms, longest time without an acknowledged write ${Math.round(gapMs)} ms`,
    );
  };
  try {
    await delay(1_000);
    await changeMembers(cluster, members, step);
    for (let count = 0; count < options.transfers; count++) {
      const leader = await cluster.leader(client);
      const others = [...members].filter((node) => node !== leader);
      await step('transfer', [
        'transfer-leader',
        '--to',
        String(others[count % others.length] ?? leader),
      ]);
    }
    await delay(1_000);
  } finally {
    await workload.stop();
  }
  const accounts: (readonly [number, ChaosAccount])[] = [];
  for (const node of members) {
    const address = cluster.productAddress(node);
    if (address === undefined) throw new Error(`node ${node} never came up`);
    accounts.push([node, await workload.readAll(1_000_000 + node, address)]);
  }
  return verdictOf(workload, accounts, gaps);
}

async function changeMembers(
  cluster: ChaosCluster,
  members: Set<number>,
  step: (kind: StepKind, words: readonly string[]) => Promise<void>,
): Promise<void> {
  const addressWords = (node: number): readonly string[] => [
    '--address',
    cluster.peerAddresses.get(node) ?? '',
  ];
  for (const node of [4, 5]) {
    await step('add', ['members', 'add', '--node', String(node), ...addressWords(node)]);
    members.add(node);
  }
  for (const node of [5, 4]) {
    members.delete(node);
    await step('remove', ['members', 'remove', '--node', String(node)]);
  }
  for (const [old, next] of [
    [1, 6],
    [2, 7],
    [3, 8],
  ] as const) {
    members.delete(old);
    const words = ['members', 'replace', '--node', String(old), '--with', String(next)];
    await step('replace', [...words, ...addressWords(next)]);
    members.add(next);
  }
}

/** The longest time between two acknowledgements that touches a step. */
function longestGap(acknowledgedAtMs: readonly number[], run: CommandRun): number {
  let longest = 0;
  for (let at = 1; at < acknowledgedAtMs.length; at++) {
    const from = acknowledgedAtMs[at - 1] ?? 0;
    const to = acknowledgedAtMs[at] ?? 0;
    if (to >= run.startMs && from <= run.endMs + settleMs / 2)
      longest = Math.max(longest, to - from);
  }
  return longest;
}

function verdictOf(
  workload: ChaosWorkload,
  accounts: readonly (readonly [number, ChaosAccount])[],
  gaps: Readonly<Record<StepKind, readonly number[]>>,
): MovesReport {
  const problems: string[] = [];
  const lostIds = new Set<string>();
  for (const [node, account] of accounts) {
    for (const { id, problem } of accountProblems(workload, account)) {
      lostIds.add(id);
      problems.push(`node ${node}: operation ${id} ${problem}`);
    }
  }
  const digests = new Set(accounts.map(([, { digest }]) => digest));
  if (digests.size > 1) problems.push(`the replicas differ: ${[...digests].join(', ')}`);
  const verdict = checkLinearizable(workload.recorder.events, {
    model: registerModel,
    timeMaxMs: checkMsMax,
    nowMs: () => performance.now(),
  });
  if (verdict.kind !== 'linearizable') problems.push(describeVerdict(verdict));
  const { operations, acknowledged, unknown } = workload.counts;
  return {
    operations,
    acknowledged,
    unknown,
    gaps: {
      add: gapReport(gaps.add),
      remove: gapReport(gaps.remove),
      replace: gapReport(gaps.replace),
      transfer: gapReport(gaps.transfer),
    },
    linearizable: verdict.kind === 'linearizable',
    lost: lostIds.size,
    problems,
  };
}

function gapReport(gapsMs: readonly number[]): GapReport {
  const sorted = gapsMs.toSorted((left, right) => left - right);
  return {
    steps: sorted.length,
    medianMs: Math.round(sorted[Math.floor((sorted.length - 1) / 2)] ?? 0),
    longestMs: Math.round(sorted.at(-1) ?? 0),
  };
}
