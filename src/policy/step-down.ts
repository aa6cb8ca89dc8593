/**
 * Whether a leader gives leadership up of its own accord (specification ELE-8).
 *
 * | clause | when | and only if |
 * | --- | --- | --- |
 * | ClockAlarm | the own clock is in alarm | a caught-up voter has no alarm |
 * | Quarantined | nothing is applied or read here (§5.6) | a caught-up voter did not refuse in this reign, or ten minutes ago |
 * | SlowDevice | the own disk is slow | a caught-up voter says that its disk is faster, and healthy; once in ten minutes |
 * | StructuralLag | a majority of the voters that are heard lags by far, and has for 15 s | once in ten minutes |
 *
 * Leadership is handed to the best heir. Where that came to nothing, or nobody has caught up, the leader merely steps down, and
 * only if the others can elect somebody without it: where its own disk does not answer at all, or where the laggards are a quorum.
 * A leader that is younger than `min_leader_term_ms` stays, but for an alarm of its clock or a quarantine.
 */
import type { NodeId } from '../base/ids.ts';
import { healthyShare } from './device-latency.ts';

/** How far a follower is behind. */
export interface Lag {
  readonly lagBytes: number;
  /** For how long it has not had what the log then held. */
  readonly lagMs: number;
}

/** Another voter, as its leader knows it. */
export interface StepDownPeer extends Lag {
  readonly nodeId: NodeId;
  /** Heard within an election timeout. */
  readonly isActive: boolean;
  /** Lacks so little that it can take over at once. */
  readonly isCaughtUp: boolean;
  /** What its node says of its disk; `undefined` before it said anything. */
  readonly deviceLatencyMs: number | undefined;
  readonly hasClockAlarm: boolean;
}

/** Everything the verdict rests on. */
export interface StepDownInput {
  readonly leaderAgeMs: number;
  /** A younger leader gives nothing up. */
  readonly leaderAgeMsMin: number;
  readonly device: {
    readonly isSlow: boolean;
    readonly latencyMs: number;
    readonly latencyMsMax: number;
    /** Age of the chain under way; 0 when none is. */
    readonly unfinishedMs: number;
  };
  /** Since this replica last gave leadership up by one of the clauses; infinite if it never did. */
  readonly sinceStepDownMs: number;
  /** Since this node last began to give leadership up because of its disk; infinite if it never did. */
  readonly sinceEvacuationMs: number;
  /** For how long a majority of the voters that are heard has lagged by far. */
  readonly structuralLagMs: number;
  readonly hasClockAlarm: boolean;
  /** Nothing is applied or read here. */
  readonly isHeld: boolean;
  /** The other voters. */
  readonly peers: readonly StepDownPeer[];
  /** Heirs that did not take over in this reign. */
  readonly failedHeirs: readonly NodeId[];
}

/** Why leadership is given up. */
export type StepDownClause = 'ClockAlarm' | 'Quarantined' | 'SlowDevice' | 'StructuralLag';

/** What a leader is to do. */
export type StepDownVerdict =
  | { readonly kind: 'stay' }
  | {
      readonly kind: 'handOver';
      readonly to: NodeId;
      readonly clause: StepDownClause;
      readonly reason: string;
    }
  | { readonly kind: 'stepDown'; readonly clause: StepDownClause; readonly reason: string };

/** A lag beyond either is structural: no waiting mends it soon. */
const structuralLagBytes = 256 * 1024 * 1024;
const structuralLagMs = 30_000;
/** A majority must have lagged so for this long. */
const structuralLagMsMin = 15_000;
/** A replica gives leadership up by a clause at most this often, but for an alarm of its clock. */
export const stepDownIntervalMs = 600_000;
/** A node with a slow disk hands over all that it leads within this time, then nothing for the interval. */
const evacuationMs = 30_000;
/** A chain that has taken so long does not answer. */
const hangingMsMin = 1_000;

/** Judges. */
export function judgeStepDown(input: StepDownInput): StepDownVerdict {
  const urgent = clockAlarm(input) ?? quarantined(input);
  if (urgent !== undefined) return urgent;
  const isTooSoon =
    input.leaderAgeMs < input.leaderAgeMsMin || input.sinceStepDownMs < stepDownIntervalMs;
  if (isTooSoon) return { kind: 'stay' };
  return slowDevice(input) ?? structuralLag(input) ?? { kind: 'stay' };
}

/** Whether a majority of the voters that are heard, the leader among them, lags by far: one dead follower is no reason. */
export function isLagStructural(peers: readonly StepDownPeer[]): boolean {
  const active = peers.filter((peer) => peer.isActive);
  return active.filter(isFarBehind).length >= majorityOf(active.length + 1);
}

function clockAlarm(input: StepDownInput): StepDownVerdict | undefined {
  if (!input.hasClockAlarm) return undefined;
  const heir = heirsOf(input).find((peer) => !peer.hasClockAlarm);
  if (heir === undefined) return undefined;
  return {
    kind: 'handOver',
    to: heir.nodeId,
    clause: 'ClockAlarm',
    reason: `the clock of this node is in alarm, that of node ${heir.nodeId} is not`,
  };
}

/** Who is asked and refuses is in quarantine as well, and nothing was lost: no client is served here anyway. */
function quarantined(input: StepDownInput): StepDownVerdict | undefined {
  const [heir] = heirsOf(input);
  if (!input.isHeld || heir === undefined) return undefined;
  return {
    kind: 'handOver',
    to: heir.nodeId,
    clause: 'Quarantined',
    reason: 'this replica is in quarantine and neither applies nor reads',
  };
}

function slowDevice(input: StepDownInput): StepDownVerdict | undefined {
  const { device, sinceEvacuationMs, peers } = input;
  const isTurn = sinceEvacuationMs < evacuationMs || sinceEvacuationMs >= stepDownIntervalMs;
  if (!device.isSlow || !isTurn) return undefined;
  const own = `the disk of this node takes ${rounded(device.latencyMs)} ms for a durable write, more than ${device.latencyMsMax}`;
  const isFaster = ({ deviceLatencyMs }: StepDownPeer): boolean =>
    deviceLatencyMs !== undefined &&
    deviceLatencyMs < healthyShare * device.latencyMsMax &&
    deviceLatencyMs < device.latencyMs;
  const [heir] = heirsOf(input).filter(isFaster);
  if (heir !== undefined) {
    return {
      kind: 'handOver',
      to: heir.nodeId,
      clause: 'SlowDevice',
      reason: `${own}, that of node ${heir.nodeId} ${rounded(heir.deviceLatencyMs ?? 0)} ms`,
    };
  }
  const healthy = peers.filter((peer) => peer.isActive && isFaster(peer)).length;
  const isUseful =
    input.failedHeirs.length > 0 &&
    device.unfinishedMs >= hangingMsMin &&
    healthy >= majorityOf(peers.length + 1);
  if (!isUseful) return undefined;
  return { kind: 'stepDown', clause: 'SlowDevice', reason: `${own}, and nobody took over` };
}

function structuralLag(input: StepDownInput): StepDownVerdict | undefined {
  const { peers } = input;
  if (input.structuralLagMs < structuralLagMsMin || !isLagStructural(peers)) return undefined;
  const lagging = peers.filter((peer) => peer.isActive && isFarBehind(peer));
  const reason = `${lagging.length} of ${peers.length + 1} voters have lagged behind it by far for ${rounded(input.structuralLagMs)} ms`;
  const [heir] = heirsOf(input);
  if (heir !== undefined)
    return { kind: 'handOver', to: heir.nodeId, clause: 'StructuralLag', reason };
  return lagging.length >= majorityOf(peers.length + 1)
    ? { kind: 'stepDown', clause: 'StructuralLag', reason }
    : undefined;
}

/** Who could take over, the fastest disk first. */
function heirsOf({ peers, failedHeirs }: StepDownInput): readonly StepDownPeer[] {
  const latency = (peer: StepDownPeer): number => peer.deviceLatencyMs ?? Number.MAX_VALUE;
  return peers
    .filter((peer) => peer.isActive && peer.isCaughtUp && !failedHeirs.includes(peer.nodeId))
    .sort((left, right) => latency(left) - latency(right));
}

/** Whether no waiting mends the lag soon. */
export function isFarBehind({ lagBytes, lagMs }: Lag): boolean {
  return lagBytes > structuralLagBytes || lagMs > structuralLagMs;
}

function majorityOf(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

function rounded(ms: number): number {
  return Math.round(ms);
}
