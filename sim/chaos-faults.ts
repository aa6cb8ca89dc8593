/** Draws faults from a seed and inflicts them on a cluster of real processes, round after round, with calm in between. */
import { setTimeout as delay } from 'node:timers/promises';

import {
  createPrng,
  nextBelow,
  nextBetween,
  nextFloat,
  pick,
  shuffle,
  type PrngState,
} from '../src/base/prng.ts';
import type { ChaosCluster } from './chaos-cluster.ts';
import { bothWays, type Direction } from './chaos-links.ts';
import type { ChaosMembers } from './chaos-members.ts';

/** What can be done to a cluster. */
export const faultKinds = ['kill', 'pause', 'cut', 'slow', 'members', 'transfer'] as const;
/** One of them. */
export type FaultKind = (typeof faultKinds)[number];

/** How often each fault was inflicted. */
export type FaultCounts = Record<FaultKind, number>;

/** Options of {@link inflictFaults}. */
export interface FaultOptions {
  readonly cluster: ChaosCluster;
  readonly kinds: readonly FaultKind[];
  readonly seed: number;
  readonly untilMs: number;
  /** The present leader, if one is known. */
  readonly leader: () => Promise<number | undefined>;
  /** The operator who changes members and leaders; needed for those kinds. */
  readonly members: ChaosMembers | undefined;
  readonly note: (text: string) => void;
}

interface Storm extends FaultOptions {
  readonly prng: PrngState;
  readonly counts: FaultCounts;
}

const calmMsMin = 500;
const calmMsMax = 2500;

/** Runs until `untilMs` (of `performance.now()`), then ends every fault; all processes run when it resolves. */
export async function inflictFaults(options: FaultOptions): Promise<FaultCounts> {
  const storm: Storm = {
    ...options,
    prng: createPrng(options.seed),
    counts: { kill: 0, pause: 0, cut: 0, slow: 0, members: 0, transfer: 0 },
  };
  while (performance.now() < storm.untilMs && storm.kinds.length > 0) {
    await delay(nextBetween(storm.prng, calmMsMin, calmMsMax));
    const count = nextFloat(storm.prng) < 0.3 ? 2 : 1;
    const faults = Array.from({ length: count }, () => inflict(storm));
    await Promise.all(faults);
  }
  await options.cluster.startAll();
  await options.members?.settled();
  return storm.counts;
}

async function inflict(storm: Storm): Promise<void> {
  if (performance.now() >= storm.untilMs) return;
  const kind = pick(storm.prng, storm.kinds);
  storm.counts[kind]++;
  switch (kind) {
    case 'kill':
      return kill(storm);
    case 'pause':
      return pause(storm);
    case 'cut':
      return cut(storm);
    case 'slow':
      return slow(storm);
    case 'members':
      storm.members?.change(storm.prng);
      return;
    case 'transfer':
      storm.members?.transfer(storm.prng);
      return;
  }
}

/** Mostly one node, the leader more often than others; now and then two, or all at once. */
async function kill(storm: Storm): Promise<void> {
  const { cluster, prng, note } = storm;
  const draw = nextFloat(prng);
  const nodes = shuffle(prng, [...cluster.nodeIds]);
  const victims = draw < 0.2 ? nodes : draw < 0.35 ? nodes.slice(0, 2) : [await someNode(storm)];
  note(`kill -9 ${victims.join(', ')}`);
  await Promise.all(victims.map((node) => cluster.kill(node)));
  await delay(nextBelow(prng, 2000));
  // One that is killed again by an overlapping fault while it starts is started by that one.
  await Promise.allSettled(victims.map((node) => cluster.start(node).ready));
}

async function pause(storm: Storm): Promise<void> {
  const { cluster, prng, note } = storm;
  const node = await someNode(storm);
  const ms = nextBetween(prng, 100, 4000);
  note(`pause ${node} for ${ms} ms`);
  cluster.pause(node);
  await delay(ms);
  cluster.resume(node);
}

/** Isolates a node, cuts one pair, or cuts one direction only. */
async function cut(storm: Storm): Promise<void> {
  const { cluster, prng, note } = storm;
  const { links } = cluster;
  if (links === undefined) return;
  const node = await someNode(storm);
  const others = shuffle(
    prng,
    cluster.nodeIds.filter((other) => other !== node),
  );
  const draw = nextFloat(prng);
  let directions: readonly Direction[] = others.flatMap((other) => bothWays(node, other));
  if (draw < 0.25) directions = bothWays(node, others[0] ?? node);
  else if (draw < 0.4) directions = others.map((other) => ({ from: other, to: node }));
  else if (draw < 0.55) directions = others.map((other) => ({ from: node, to: other }));
  const ms = nextBetween(prng, 200, 5000);
  const isReset = nextFloat(prng) < 0.4;
  const names = directions.map(({ from, to }) => `${from}→${to}`).join(' ');
  note(`cut ${names} for ${ms} ms${isReset ? ' with resets' : ''}`);
  links.cut(directions, isReset);
  await delay(ms);
  links.heal(directions);
}

/** A node is far away: every message to and from it takes longer, or only those of one direction. */
async function slow(storm: Storm): Promise<void> {
  const { cluster, prng, note } = storm;
  const { links } = cluster;
  if (links === undefined) return;
  const node = await someNode(storm);
  const draw = nextFloat(prng);
  const directions = cluster.nodeIds
    .filter((other) => other !== node)
    .flatMap((other) => bothWays(node, other))
    .filter(({ from }) => draw > 0.4 || (draw > 0.2 ? from === node : from !== node));
  const delayMs = nextBetween(prng, 5, nextFloat(prng) < 0.5 ? 60 : 600);
  const ms = nextBetween(prng, 500, 6000);
  note(`node ${node} is ${delayMs} ms away for ${ms} ms`);
  links.delay(directions, delayMs);
  await delay(ms);
  links.delay(directions, 0);
}

async function someNode({ cluster, prng, leader }: Storm): Promise<number> {
  const wantsLeader = nextFloat(prng) < 0.5;
  const any = pick(prng, cluster.nodeIds);
  return wantsLeader ? ((await leader()) ?? any) : any;
}
