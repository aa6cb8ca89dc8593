/** Lets the faults of a plan happen in a world, each when its time has come. */
import { unreachable } from '../base/assert.ts';
import type { NodeId } from '../base/ids.ts';
import type { DiskPlace } from './damage-map.ts';
import { applyDiskFault, damage } from './disk-faults.ts';
import {
  emptyFaultCounts,
  type FaultAction,
  type OperatorKind,
  type FaultKind,
  type FaultTarget,
  type PlannedFault,
} from './fault-plan.ts';
import type { CrashKind } from './sim-file-system.ts';
import { mixableVersions, type SimVersion } from './sim-versions.ts';
import type { SimWorld } from './sim-world.ts';
import { armMishap } from './write-mishaps.ts';

/** What happens around faults, to the one who drives the nodes. */
export interface FaultHooks {
  /** A node that leads a partition now. */
  readonly leader: () => NodeId | undefined;
  /** A node was crashed; its life is over. */
  readonly crashed: (nodeId: NodeId) => void;
  /** An operator acts; returns whether anything could be asked for. */
  readonly operate?: (kind: OperatorKind, draw: number) => boolean;
  /** Another version of the software is installed on a node that is down; none is without it. */
  readonly install?: (nodeId: NodeId, version: SimVersion) => void;
  /** The time of a crashed node's restart has come; it is still down. */
  readonly restart: (nodeId: NodeId) => void;
  /** Asked before places on a disk (any place when undefined) are damaged or cannot be read; nothing is damaged without it. */
  readonly mayDamage?: (nodeId: NodeId, places: readonly DiskPlace[] | undefined) => boolean;
  /**
   * Asked when a copy of a node's disk is taken; the answer is asked again, perhaps several times, whether the node may go back to
   * that copy now. No disk is swapped without it.
   */
  readonly rollback?: (nodeId: NodeId) => (() => boolean) | undefined;
  /** A fault happened; one that was meant for leaders names the node that it met. */
  readonly happened?: (action: FaultAction) => void;
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

/** A copy of a disk waits so long, so often, for a moment at which it may come in. */
const swapRetryMs = 50;
const swapRetries = 100;

interface FaultContext {
  readonly hooks: FaultHooks;
  readonly happened: (action: FaultAction) => void;
}

/** Lets one fault happen now. */
function applyFault(world: SimWorld, action: FaultAction, context: FaultContext): void {
  if ('draw' in action) {
    if (context.hooks.operate?.(action.kind, action.draw) === true) context.happened(action);
    return;
  }
  switch (action.kind) {
    case 'crash':
      takeDown(world, { ...action, nodeId: targetOf(action, context) }, context);
      return;
    case 'killPoint': {
      const met = { ...action, nodeId: targetOf(action, context) };
      const disk = world.disk(met.nodeId);
      disk.killAt(
        { kind: 'chain', chain: disk.chainCount + action.chainsAhead, step: action.step },
        () => {
          takeDown(world, met, context);
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
    case 'failedSync':
    case 'failedWrite':
    case 'slowDisk':
    case 'stalledDisk':
    case 'fullDisk':
      if (applyDiskFault(world, action)) context.happened(action);
      return;
    case 'restartWithVersion':
      restartWith(world, action, context);
      return;
    case 'readError':
    case 'bitRot':
      if (damage(world, action, context.hooks)) context.happened(action);
      return;
    case 'lostWrite':
    case 'misdirectedWrite':
      armMishap(world.disk(action.nodeId), action, {
        mayDamage: (places) => context.hooks.mayDamage?.(action.nodeId, places) === true,
        happened: () => {
          context.happened(action);
        },
      });
      return;
    case 'diskSwap':
      swapLater(world, action, context);
      return;
    default:
      unreachable(action);
  }
}

function targetOf({ nodeId, isLeaderMeant }: FaultTarget, { hooks }: FaultContext): NodeId {
  return isLeaderMeant ? (hooks.leader() ?? nodeId) : nodeId;
}

/** Copies a disk, and some time later waits for a moment at which its node may go back to the copy. */
function swapLater(
  world: SimWorld,
  action: Extract<FaultAction, { kind: 'diskSwap' }>,
  context: FaultContext,
): void {
  const { nodeId, ageMs } = action;
  const mayGoBack = context.hooks.rollback?.(nodeId);
  if (mayGoBack === undefined) return;
  const copy = world.disk(nodeId).cloneSynced();
  const attempt = (left: number): void => {
    if (mayGoBack()) {
      const meanwhile = (): void => {
        world.replaceDisk(nodeId, copy);
      };
      takeDown(world, action, { ...context, meanwhile });
    } else if (left > 0) world.after(swapRetryMs, () => attempt(left - 1));
  };
  world.after(ageMs, () => attempt(swapRetries));
}

function restartWith(
  world: SimWorld,
  action: Extract<FaultAction, { kind: 'restartWithVersion' }>,
  context: FaultContext,
): void {
  const { nodeId, version, downMs, forMs } = action;
  const { install } = context.hooks;
  if (install === undefined) return;
  takeDown(world, action, { ...context, meanwhile: () => install(nodeId, version) });
  if (mixableVersions.includes(version)) return;
  world.after(downMs + forMs, () => {
    install(nodeId, 'own');
    takeDown(world, action, { ...context, happened: () => undefined });
  });
}

/** Ends the life of a machine; some time later it is started again. */
function takeDown(
  world: SimWorld,
  action: Extract<FaultAction, { kind: 'crash' | 'killPoint' | 'diskSwap' | 'restartWithVersion' }>,
  context: FaultContext & { readonly meanwhile?: () => void },
): void {
  const { nodeId, downMs } = action;
  const crashKind = crashKindOf(action);
  if (!world.crash(nodeId, crashKind)) return;
  context.meanwhile?.();
  context.happened(action);
  context.hooks.crashed(nodeId);
  world.after(downMs, () => {
    if (world.isDown(nodeId)) context.hooks.restart(nodeId);
  });
}

function crashKindOf(action: FaultAction): CrashKind {
  if (action.kind === 'crash') return action.crashKind;
  return action.kind === 'restartWithVersion' ? 'processKill' : 'powerLoss';
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
