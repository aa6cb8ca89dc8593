/**
 * What goes wrong in a run, and when: a list drawn from a seed before the run begins.
 *
 * A plan is plain JSON. It can be printed, cut to a prefix and run again, which is how a failing run is made small. Rates
 * follow the "swarm" idea: each run draws which kinds of fault it has at all and how often, so that some runs see one kind
 * in abundance and others see everything.
 */
import { present, unreachable } from '../base/assert.ts';
import type { NodeId } from '../base/ids.ts';
import { nextBelow, nextBetween, nextFloat, pick, shuffle, type PrngState } from '../base/prng.ts';
import type { DiskPlace } from './damage-map.ts';
import { pageBytes } from './sim-disk-file.ts';
import type { SimDisk } from './sim-disk.ts';
import type { CrashKind } from './sim-file-system.ts';
import type { SimWorld } from './sim-world.ts';

/** What a fault meets: its node, or whoever leads some partition when its time has come. */
interface Target {
  readonly nodeId: NodeId;
  readonly isLeaderMeant: boolean;
}

/** One thing that goes wrong. Nodes stay down for `downMs`; states last `forMs`. */
export type FaultAction =
  | (Target & {
      readonly kind: 'crash';
      readonly crashKind: CrashKind;
      readonly downMs: number;
    })
  /** A crash exactly after some step of a chain that will be submitted soon. */
  | (Target & {
      readonly kind: 'killPoint';
      readonly chainsAhead: number;
      readonly step: number;
      readonly downMs: number;
    })
  | (Target & { readonly kind: 'pause'; readonly forMs: number })
  /** Nothing passes between the nodes of `side` and the others, or, one-way, from them to the others. */
  | {
      readonly kind: 'partition';
      readonly side: readonly NodeId[];
      readonly isOneWay: boolean;
      readonly forMs: number;
    }
  | {
      readonly kind: 'slowLink';
      readonly from: NodeId;
      readonly to: NodeId;
      readonly factor: number;
      readonly forMs: number;
    }
  | {
      readonly kind: 'lossyLink';
      readonly from: NodeId;
      readonly to: NodeId;
      readonly lossRate: number;
      readonly forMs: number;
    }
  | { readonly kind: 'connectionReset'; readonly from: NodeId; readonly to: NodeId }
  | { readonly kind: 'failedSync'; readonly nodeId: NodeId }
  | { readonly kind: 'failedWrite'; readonly nodeId: NodeId; readonly systemCode: string }
  | {
      readonly kind: 'slowDisk';
      readonly nodeId: NodeId;
      readonly factor: number;
      readonly forMs: number;
    }
  | { readonly kind: 'stalledDisk'; readonly nodeId: NodeId; readonly forMs: number }
  | { readonly kind: 'fullDisk'; readonly nodeId: NodeId; readonly forMs: number }
  | { readonly kind: 'clockDrift'; readonly nodeId: NodeId; readonly rate: number }
  | { readonly kind: 'wallJump'; readonly nodeId: NodeId; readonly deltaMs: number }
  /** Operators' doings; what exactly follows from `draw` and from how the partition stands at that time. */
  | { readonly kind: 'memberChange' | 'leaderTransfer'; readonly draw: number }
  | { readonly kind: 'readError'; readonly nodeId: NodeId }
  /** One bit of one file at rest flips; file and place are fractions of what was written by that time. */
  | {
      readonly kind: 'bitRot';
      readonly nodeId: NodeId;
      readonly fileFraction: number;
      readonly byteFraction: number;
    };

/** Kinds of fault, as reports count them. */
export type FaultKind = FaultAction['kind'];

/** A fault with its time. */
export interface PlannedFault {
  readonly atMs: number;
  readonly action: FaultAction;
}

/**
 * Kinds that a plan draws from unless told otherwise. The last two damage what stands on a disk, never so that no quorum keeps an
 * undamaged copy (`fault-atlas.ts`).
 */
export const defaultFaultKinds: readonly FaultKind[] = [
  'crash',
  'killPoint',
  'pause',
  'partition',
  'slowLink',
  'lossyLink',
  'connectionReset',
  'failedSync',
  'failedWrite',
  'slowDisk',
  'stalledDisk',
  'fullDisk',
  'clockDrift',
  'wallJump',
  'memberChange',
  'leaderTransfer',
  'readError',
  'bitRot',
];

/** How a plan is drawn. */
export interface FaultPlanOptions {
  readonly random: PrngState;
  readonly nodeIds: readonly NodeId[];
  /** The storm begins and ends here; states reach past the end until the world is healed. */
  readonly fromMs: number;
  readonly untilMs: number;
  /** @defaultValue {@link defaultFaultKinds} */
  readonly kinds?: readonly FaultKind[];
}

/** What happens around faults, to the one who drives the nodes. */
export interface FaultHooks {
  /** A node that leads a partition now. */
  readonly leader: () => NodeId | undefined;
  /** A node was crashed; its life is over. */
  readonly crashed: (nodeId: NodeId) => void;
  /** An operator acts; returns whether anything could be asked for. */
  readonly operate?: (kind: 'memberChange' | 'leaderTransfer', draw: number) => boolean;
  /** The time of a crashed node's restart has come; it is still down. */
  readonly restart: (nodeId: NodeId) => void;
  /** Asked before a place on a disk (any place when undefined) is damaged or cannot be read; nothing is damaged without it. */
  readonly mayDamage?: (nodeId: NodeId, place: DiskPlace | undefined) => boolean;
  /** A fault happened; one that was meant for leaders names the node that it met. */
  readonly happened?: (action: FaultAction) => void;
}

/** Faults at most in one plan. */
const faultsMax = 400;

/** Draws a plan, ordered by time. Equal draws give equal plans. */
export function drawFaultPlan(options: FaultPlanOptions): PlannedFault[] {
  const { random, fromMs, untilMs } = options;
  const kinds = drawKinds(options.kinds ?? defaultFaultKinds, random);
  // In every third run it is leaders that go down: reigns are short, and logs fork.
  const drawing = { nodeIds: options.nodeIds, isLeaderMeant: nextBelow(random, 3) === 0 };
  const plan: PlannedFault[] = [];
  for (const kind of kinds) {
    // From one in a second or less to one in ten seconds, each doubling as likely.
    const meanGapMs = 700 * (1 << nextBelow(random, 4)) * (1 + nextFloat(random));
    let atMs = fromMs + nextFloat(random) * meanGapMs;
    while (atMs < untilMs && plan.length < faultsMax) {
      plan.push({ atMs: Math.floor(atMs), action: drawAction(kind, drawing, random) });
      atMs += meanGapMs * (0.2 + nextFloat(random) * 1.6);
    }
  }
  return plan.sort((left, right) => left.atMs - right.atMs);
}

/** Counts of faults by kind, all kinds at 0. */
export function emptyFaultCounts(): Record<FaultKind, number> {
  const counts: Partial<Record<FaultKind, number>> = {};
  for (const kind of defaultFaultKinds) counts[kind] = 0;
  return counts as Record<FaultKind, number>;
}

/**
 * Puts a plan's faults on a world's calendar.
 *
 * @returns Counts of the faults that really happened (a crash of a node that is down does not), filled as the run goes on.
 */
export function installFaultPlan(
  world: SimWorld,
  plan: readonly PlannedFault[],
  hooks: FaultHooks,
): Record<FaultKind, number> {
  const counts = emptyFaultCounts();
  for (const { atMs, action } of plan) {
    world.after(Math.max(0, atMs - world.nowMs), () => {
      const happened = (met: FaultAction): void => {
        counts[met.kind] += 1;
        hooks.happened?.(met);
      };
      applyFault(world, action, { hooks, happened });
    });
  }
  return counts;
}

interface FaultContext {
  readonly hooks: FaultHooks;
  readonly happened: (action: FaultAction) => void;
}

/** Lets one fault happen now. */
function applyFault(world: SimWorld, action: FaultAction, context: FaultContext): void {
  switch (action.kind) {
    case 'crash':
      crash(world, { ...action, nodeId: targetOf(action, context) }, context);
      return;
    case 'killPoint': {
      const met = { ...action, nodeId: targetOf(action, context) };
      const disk = world.disk(met.nodeId);
      disk.killAt(
        { kind: 'chain', chain: disk.chainCount + action.chainsAhead, step: action.step },
        () => {
          crash(world, met, context);
        },
      );
      return;
    }
    case 'pause': {
      const met = { ...action, nodeId: targetOf(action, context) };
      if (world.pause(met.nodeId, met.forMs)) context.happened(met);
      return;
    }
    case 'wallJump':
      world.hardwareClock(action.nodeId).jumpWall(action.deltaMs);
      context.happened(action);
      return;
    case 'clockDrift':
      world.hardwareClock(action.nodeId).setRate(action.rate);
      context.happened(action);
      return;
    case 'partition':
    case 'slowLink':
    case 'lossyLink':
    case 'connectionReset':
      if (applyLinkFault(world, action)) context.happened(action);
      return;
    case 'memberChange':
    case 'leaderTransfer':
      if (context.hooks.operate?.(action.kind, action.draw) === true) context.happened(action);
      return;
    case 'failedSync':
    case 'failedWrite':
    case 'slowDisk':
    case 'stalledDisk':
    case 'fullDisk':
      if (applyDiskFault(world, action)) context.happened(action);
      return;
    case 'readError':
    case 'bitRot':
      if (damage(world, action, context.hooks)) context.happened(action);
      return;
    default:
      unreachable(action);
  }
}

function targetOf({ nodeId, isLeaderMeant }: Target, { hooks }: FaultContext): NodeId {
  return isLeaderMeant ? (hooks.leader() ?? nodeId) : nodeId;
}

function crash(
  world: SimWorld,
  action: Extract<FaultAction, { kind: 'crash' | 'killPoint' }>,
  context: FaultContext,
): void {
  const { nodeId, downMs } = action;
  const crashKind = action.kind === 'crash' ? action.crashKind : 'powerLoss';
  if (!world.crash(nodeId, crashKind)) return;
  context.happened(action);
  context.hooks.crashed(nodeId);
  world.after(downMs, () => {
    if (world.isDown(nodeId)) context.hooks.restart(nodeId);
  });
}

function applyLinkFault(
  world: SimWorld,
  action: Extract<
    FaultAction,
    { kind: 'partition' | 'slowLink' | 'lossyLink' | 'connectionReset' }
  >,
): boolean {
  const { network } = world;
  if (action.kind === 'partition') {
    partition(world, action);
    return true;
  }
  const from = world.machineNumber(action.from);
  const to = world.machineNumber(action.to);
  if (action.kind === 'connectionReset') return network.breakConnections(from, to) > 0;
  const link = network.link(from, to);
  if (action.kind === 'slowLink') {
    link.latencyFactor = action.factor;
    world.after(action.forMs, () => void (link.latencyFactor = 1));
  } else {
    link.lossRate = action.lossRate;
    world.after(action.forMs, () => void (link.lossRate = 0));
  }
  return true;
}

function partition(world: SimWorld, action: Extract<FaultAction, { kind: 'partition' }>): void {
  const pairs: (readonly [number, number])[] = [];
  for (const inside of action.side) {
    for (const outside of world.nodeIds) {
      if (action.side.includes(outside)) continue;
      const pair = [world.machineNumber(inside), world.machineNumber(outside)] as const;
      pairs.push(pair);
      if (!action.isOneWay) pairs.push([pair[1], pair[0]]);
    }
  }
  for (const [from, to] of pairs) world.network.cut(from, to);
  world.after(action.forMs, () => {
    for (const [from, to] of pairs) world.network.mend(from, to);
  });
}

function applyDiskFault(
  world: SimWorld,
  action: Extract<
    FaultAction,
    {
      kind: 'failedSync' | 'failedWrite' | 'slowDisk' | 'stalledDisk' | 'fullDisk';
    }
  >,
): boolean {
  const disk = world.disk(action.nodeId);
  switch (action.kind) {
    case 'failedSync':
      disk.failNext('sync', 'EIO');
      return true;
    case 'failedWrite':
      disk.failNext('write', action.systemCode);
      return true;
    case 'slowDisk':
      disk.latencyFactor = action.factor;
      world.after(action.forMs, () => void (disk.latencyFactor = 1));
      return true;
    case 'stalledDisk':
      disk.stall();
      world.after(action.forMs, () => disk.resume());
      return true;
    case 'fullDisk':
      disk.isFull = true;
      world.after(action.forMs, () => void (disk.isFull = false));
      return true;
    default:
      return unreachable(action);
  }
}

/** Harms what stands on a disk, where whoever keeps the books allows it; whether it did. */
function damage(
  world: SimWorld,
  action: Extract<FaultAction, { kind: 'readError' | 'bitRot' }>,
  { mayDamage }: FaultHooks,
): boolean {
  const { nodeId } = action;
  const disk = world.disk(nodeId);
  if (action.kind === 'readError') {
    if (mayDamage?.(nodeId, undefined) !== true) return false;
    disk.failNext('read', 'EIO');
    return true;
  }
  const place = rottenPlace(disk, action);
  if (place === undefined || mayDamage?.(nodeId, place) !== true) return false;
  return disk.flipBit(place.path, place.position, place.position & 7);
}

/** A byte of a page that holds something, of any file. */
function rottenPlace(
  disk: SimDisk,
  { fileFraction, byteFraction }: Extract<FaultAction, { kind: 'bitRot' }>,
): DiskPlace | undefined {
  const paths = disk.paths().filter((name) => disk.syncedPageNumbers(name).length > 0);
  const path = paths[Math.floor(fileFraction * paths.length)];
  if (path === undefined) return undefined;
  const pages = disk.syncedPageNumbers(path);
  const at = byteFraction * pages.length;
  const page = present(pages[Math.floor(at)], 'the fraction lies below 1');
  const inPage = Math.floor((at % 1) * pageBytes);
  const sizeBytes = disk.syncedBytes(path)?.length ?? 0;
  return { path, position: Math.min(sizeBytes - 1, page * pageBytes + inPage) };
}

/** One kind in every fourth run, all of them in every eighth, otherwise each with even chances. */
function drawKinds(kinds: readonly FaultKind[], random: PrngState): FaultKind[] {
  const draw = nextBelow(random, 8);
  if (draw === 0) return [...kinds];
  if (draw <= 2) return [pick(random, kinds)];
  const chosen = kinds.filter(() => nextBelow(random, 2) === 0);
  return chosen.length > 0 ? chosen : [pick(random, kinds)];
}

function drawAction(
  kind: FaultKind,
  drawing: { readonly nodeIds: readonly NodeId[]; readonly isLeaderMeant: boolean },
  random: PrngState,
): FaultAction {
  const { nodeIds, isLeaderMeant } = drawing;
  const nodeId = pick(random, nodeIds);
  const downMs = nextBetween(random, 10, isLeaderMeant ? 700 : 2_500);
  const forMs = nextBetween(random, 50, 3_000);
  switch (kind) {
    case 'crash':
      return {
        kind,
        nodeId,
        isLeaderMeant,
        crashKind: nextBelow(random, 3) === 0 ? 'processKill' : 'powerLoss',
        downMs,
      };
    case 'killPoint':
      return {
        kind,
        nodeId,
        isLeaderMeant,
        chainsAhead: nextBelow(random, 4),
        step: nextBetween(random, 1, 4),
        downMs,
      };
    case 'pause':
      return { kind, nodeId, isLeaderMeant, forMs };
    case 'stalledDisk':
    case 'fullDisk':
      return { kind, nodeId, forMs };
    case 'slowDisk':
      return { kind, nodeId, factor: nextBetween(random, 10, 100), forMs };
    case 'failedSync':
    case 'readError':
      return { kind, nodeId };
    case 'failedWrite':
      return { kind, nodeId, systemCode: nextBelow(random, 2) === 0 ? 'ENOSPC' : 'EIO' };
    case 'clockDrift':
      return { kind, nodeId, rate: 0.95 + nextBelow(random, 101) / 1_000 };
    case 'wallJump':
      return { kind, nodeId, deltaMs: nextBetween(random, -600_000, 600_000) };
    case 'memberChange':
    case 'leaderTransfer':
      return { kind, draw: nextBelow(random, 0x1_0000_0000) };
    case 'bitRot':
      return {
        kind,
        nodeId,
        fileFraction: nextFloat(random),
        byteFraction: nextFloat(random),
      };
    case 'partition':
    case 'slowLink':
    case 'lossyLink':
    case 'connectionReset':
      return drawLinkAction(kind, nodeIds, random);
    default:
      return unreachable(kind);
  }
}

function drawLinkAction(
  kind: 'partition' | 'slowLink' | 'lossyLink' | 'connectionReset',
  nodeIds: readonly NodeId[],
  random: PrngState,
): FaultAction {
  const order = shuffle(random, [...nodeIds]);
  const from = present(order[0], 'a world has nodes');
  const to = present(order[1] ?? order[0], 'a world has nodes');
  const forMs = nextBetween(random, 100, 4_000);
  switch (kind) {
    case 'partition': {
      const side = order.slice(0, nextBetween(random, 1, Math.max(1, order.length - 1)));
      return { kind, side, isOneWay: nextBelow(random, 3) === 0, forMs };
    }
    case 'slowLink':
      return { kind, from, to, factor: nextBetween(random, 5, 200), forMs };
    case 'lossyLink':
      return { kind, from, to, lossRate: nextBetween(random, 1, 30) / 100, forMs };
    case 'connectionReset':
      return { kind, from, to };
    default:
      return unreachable(kind);
  }
}
