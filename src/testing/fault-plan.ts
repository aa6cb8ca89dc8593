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
import type { CrashKind } from './sim-file-system.ts';
import { mixableVersions, type SimVersion } from './sim-versions.ts';

/** What a fault meets: its node, or whoever leads some partition when its time has come. */
export interface FaultTarget {
  readonly nodeId: NodeId;
  readonly isLeaderMeant: boolean;
}

/** One thing that goes wrong. Nodes stay down for `downMs`; states last `forMs`. */
export type FaultAction =
  | (FaultTarget & {
      readonly kind: 'crash';
      readonly crashKind: CrashKind;
      readonly downMs: number;
    })
  /** A crash exactly after some step of a chain that will be submitted soon. */
  | (FaultTarget & {
      readonly kind: 'killPoint';
      readonly chainsAhead: number;
      readonly step: number;
      readonly downMs: number;
    })
  | (FaultTarget & { readonly kind: 'pause'; readonly forMs: number })
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
  /** Operators' doings; what exactly follows from `draw` and from how things stand at that time. */
  | { readonly kind: OperatorKind; readonly draw: number }
  /** A node is started anew with another version of the software; one that the others do not understand goes after `forMs`. */
  | {
      readonly kind: 'restartWithVersion';
      readonly nodeId: NodeId;
      readonly version: SimVersion;
      readonly downMs: number;
      readonly forMs: number;
    }
  | { readonly kind: 'readError'; readonly nodeId: NodeId }
  /** One bit of one file at rest flips; file and place are fractions of what was written by that time. */
  | {
      readonly kind: 'bitRot';
      readonly nodeId: NodeId;
      /** Only blocks of the journal count, newer files more than older ones; else every file. */
      readonly isOfJournal: boolean;
      readonly fileFraction: number;
      readonly byteFraction: number;
    }
  /** The next write of the journal, or of the ledger, is reported done and synced, and a part of it never reaches the medium. */
  | {
      readonly kind: 'lostWrite';
      readonly nodeId: NodeId;
      readonly isOfJournal: boolean;
      /** From which of its pages on. */
      readonly pageFraction: number;
    }
  /** The same, and one of the pages lands elsewhere in the file, over another one. */
  | {
      readonly kind: 'misdirectedWrite';
      readonly nodeId: NodeId;
      readonly isOfJournal: boolean;
      readonly pageFraction: number;
      /** Which page of the file, up to its last one that was written and a little behind it. */
      readonly toFraction: number;
    }
  /** A node is stopped, and comes back on a copy of its whole disk that was taken so long before. */
  | {
      readonly kind: 'diskSwap';
      readonly nodeId: NodeId;
      readonly ageMs: number;
      readonly downMs: number;
    };

/** What operators do: change members, move leadership, change how batches go to the disk, have a disk read back, take snapshots. */
export type OperatorKind =
  | 'memberChange'
  | 'leaderTransfer'
  | 'durabilityChange'
  | 'scrub'
  | 'snapshot';

/** Kinds of fault, as reports count them. */
export type FaultKind = FaultAction['kind'];

/** A fault with its time. */
export interface PlannedFault {
  readonly atMs: number;
  readonly action: FaultAction;
}

/** Kinds that damage what stands on a disk, never so that no quorum keeps an undamaged copy (`fault-atlas.ts`). */
const damagingKinds: readonly FaultKind[] = [
  'readError',
  'bitRot',
  'lostWrite',
  'misdirectedWrite',
  'diskSwap',
];

/** Kinds that a plan draws from unless told otherwise. */
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
  'durabilityChange',
  'scrub',
  'snapshot',
  'restartWithVersion',
  ...damagingKinds,
];

/** How a plan is drawn. */
export interface FaultPlanOptions {
  readonly random: PrngState;
  readonly nodeIds: readonly NodeId[];
  /** The storm begins and ends here; states reach past the end until the world is healed. */
  readonly fromMs: number;
  readonly untilMs: number;
  /** None: nothing goes wrong. @defaultValue {@link defaultFaultKinds} */
  readonly kinds?: readonly FaultKind[];
}

/** Faults at most in one plan. */
const faultsMax = 400;

/** Draws a plan, ordered by time. Equal draws give equal plans. */
export function drawFaultPlan(options: FaultPlanOptions): PlannedFault[] {
  const { random, fromMs, untilMs, kinds: from = defaultFaultKinds } = options;
  if (from.length === 0) return [];
  const kinds = drawKinds(from, random);
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
 * One kind in every fourth run, all of them in every eighth, otherwise each with even chances; every other of those is without
 * damage, because members no longer change once there is some.
 */
function drawKinds(kinds: readonly FaultKind[], random: PrngState): FaultKind[] {
  const draw = nextBelow(random, 8);
  if (draw === 0) return [...kinds];
  if (draw <= 2) return [pick(random, kinds)];
  const isDamaging = nextBelow(random, 2) === 0;
  const chosen = kinds
    .filter((kind) => isDamaging || !damagingKinds.includes(kind))
    .filter(() => nextBelow(random, 2) === 0);
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
      return { kind, nodeId };
    case 'failedWrite':
      return { kind, nodeId, systemCode: nextBelow(random, 2) === 0 ? 'ENOSPC' : 'EIO' };
    case 'clockDrift':
      return { kind, nodeId, rate: 0.95 + nextBelow(random, 101) / 1_000 };
    case 'wallJump':
      return { kind, nodeId, deltaMs: nextBetween(random, -600_000, 600_000) };
    case 'memberChange':
    case 'leaderTransfer':
    case 'durabilityChange':
    case 'scrub':
    case 'snapshot':
      return { kind, draw: nextBelow(random, 0x1_0000_0000) };
    case 'restartWithVersion': {
      const isMixable = nextBelow(random, 4) !== 0;
      const version = isMixable ? pick(random, mixableVersions) : 'next';
      return { kind, nodeId, version, downMs, forMs };
    }
    case 'diskSwap':
      return { kind, nodeId, ageMs: nextBetween(random, 100, 6_000), downMs };
    case 'readError':
    case 'bitRot':
    case 'lostWrite':
    case 'misdirectedWrite':
      return drawDamage(kind, nodeId, random);
    case 'partition':
    case 'slowLink':
    case 'lossyLink':
    case 'connectionReset':
      return drawLinkAction(kind, nodeIds, random);
    default:
      return unreachable(kind);
  }
}

function drawDamage(
  kind: 'readError' | 'bitRot' | 'lostWrite' | 'misdirectedWrite',
  nodeId: NodeId,
  random: PrngState,
): FaultAction {
  if (kind === 'readError') return { kind, nodeId };
  const isOfJournal = nextBelow(random, 4) !== 0;
  const [first, second] = [nextFloat(random), nextFloat(random)];
  switch (kind) {
    case 'bitRot':
      return { kind, nodeId, isOfJournal, fileFraction: first, byteFraction: second };
    case 'lostWrite':
      return { kind, nodeId, isOfJournal, pageFraction: first };
    case 'misdirectedWrite':
      return { kind, nodeId, isOfJournal, pageFraction: first, toFraction: second };
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
