/**
 * In which mode chains reach the disk, when a lesser one is used for a while, and when the better one is tried again
 * (specification §5.1). Samples in, a wanted mode out; switching is somebody else's work, between two chains.
 *
 * | from | to | when |
 * | --- | --- | --- |
 * | Direct | Pooled | the disk is slow: three samples in a row over the bound that span half a second |
 * | Direct | Pooled | the file system takes no direct writes; for good in this process |
 * | Direct, Pooled | Blocking | the thread ended while no chain was under way, or could not be started |
 * | Pooled | Direct | five healthy samples, each a fifth of the recovery window after the one before |
 * | Blocking | Direct, Pooled | as long, healthy or not: a new thread is tried, in Pooled where the disk is slow |
 *
 * A slow disk never brings `Blocking`: there it would hold up the loop, and with it elections and reads, and be no faster.
 *
 * No jump of the clock does more than one sample: a slow disk takes three of them, and a fifth of the window counts once
 * however long it seems to have lasted. A clock that goes back lets the present fifth begin anew.
 */
import type { IoWriterFault, IoWriterMode } from '../ports/file-system.ts';
import {
  freshDeviceLatency,
  healthyShare,
  noteDeviceLatency,
  type DeviceLatency,
} from './device-latency.ts';

/** Numbers of the writer's modes, milliseconds and counts. */
export interface IoWriterLimits {
  /** Chains are sampled this often: the slowest of those that ended. */
  readonly samplePeriodMs: number;
  /** A better mode is tried after so long, in so many healthy samples that are spread over it. */
  readonly recoveryWindowMs: number;
  readonly recoverySamples: number;
  /** The longest window: it doubles each time a better mode did not last. */
  readonly recoveryWindowMsMax: number;
  /** A lesser mode that lasts so long is told as an incident, */
  readonly incidentMs: number;
  /** and so long, as one that does not pass by itself. */
  readonly degradedGraceMs: number;
}

/** The numbers (specification DUR-6, DUR-7). */
export const ioWriterLimits: IoWriterLimits = {
  samplePeriodMs: 200,
  recoveryWindowMs: 60_000,
  recoverySamples: 5,
  recoveryWindowMsMax: 15 * 60_000,
  incidentMs: 5_000,
  degradedGraceMs: 300_000,
};

/** Why the mode is what it is. @public */
export type IoWriterCause = 'Configured' | 'SlowDisk' | IoWriterFault;

/** How long a lesser mode has lasted: not at all, a moment, over 5 s, over 300 s. @public */
export type IoWriterAlarm = 'None' | 'Degraded' | 'Incident' | 'GraceOver';

/** What is known; plain data, mutated by the functions below. */
export interface IoWriterState {
  /** The best mode that can be had in this process. */
  best: IoWriterMode;
  mode: IoWriterMode;
  cause: IoWriterCause;
  /** When the mode came, monotonic. */
  sinceMs: number;
  /** Changes of the mode so far. */
  changes: number;
  readonly latencyMsMax: number;
  device: DeviceLatency;
  /** Slowest chain since the newest sample, and when that was taken. */
  worstMs: number;
  sampledMs: number;
  /** Fifths of the recovery window that were healthy, and when the present one began. */
  goodParts: number;
  partSinceMs: number;
  /** Better modes in a row that did not last, and when the newest one came. */
  relapses: number;
  recoveredMs: number;
  /** When a wanted mode could not be had, last. */
  refusedMs: number;
}

/** A mode that is wanted instead of the present one. */
export interface WantedIoWriterMode {
  readonly mode: IoWriterMode;
  readonly cause: IoWriterCause;
  /** In words. */
  readonly reason: string;
}

const rank: Readonly<Record<IoWriterMode, number>> = { Direct: 0, Pooled: 1, Blocking: 2 };

/** Begins with the mode that was found at the start; a chain over the bound (milliseconds) is slow. */
export function freshIoWriter(
  mode: IoWriterMode,
  fault: IoWriterFault | undefined,
  { latencyMsMax, nowMs }: { readonly latencyMsMax: number; readonly nowMs: number },
): IoWriterState {
  return {
    best: fault === 'ThreadLost' ? 'Direct' : mode,
    mode,
    cause: fault ?? 'Configured',
    sinceMs: nowMs,
    changes: 0,
    latencyMsMax,
    device: freshDeviceLatency(),
    worstMs: 0,
    sampledMs: nowMs,
    goodParts: 0,
    partSinceMs: nowMs,
    relapses: 0,
    recoveredMs: Number.NEGATIVE_INFINITY,
    refusedMs: Number.NEGATIVE_INFINITY,
  };
}

/** Whether a better mode was left, and may come back. */
export function isDegraded({ mode, best }: IoWriterState): boolean {
  return rank[mode] > rank[best];
}

/** A chain ended well. Whether that completed a sample, so that it is time to ask {@link wantedIoWriterMode}. */
export function noteChain(state: IoWriterState, tookMs: number, nowMs: number): boolean {
  state.worstMs = Math.max(state.worstMs, tookMs);
  const sinceMs = nowMs - state.sampledMs;
  // Behind a clock that went back a sample is due at once, or none would be for as long as it went back.
  if (sinceMs >= 0 && sinceMs < ioWriterLimits.samplePeriodMs) return false;
  const sample = { ms: state.worstMs, nowMs };
  if (sinceMs < 0) state.device = freshDeviceLatency();
  state.sampledMs = nowMs;
  state.worstMs = 0;
  noteDeviceLatency(state.device, sample, state.latencyMsMax);
  noteRecovery(state, sample);
  return true;
}

/** The mode to go over to between two chains; `undefined` while the present one is right. */
export function wantedIoWriterMode(
  state: IoWriterState,
  nowMs: number,
): WantedIoWriterMode | undefined {
  const { mode, best, device, latencyMsMax } = state;
  const sinceRefusedMs = nowMs - state.refusedMs;
  if (sinceRefusedMs >= 0 && sinceRefusedMs < windowMsOf(state)) return undefined;
  const isOver = state.goodParts >= ioWriterLimits.recoverySamples;
  if (mode === 'Direct')
    return device.isSlow
      ? {
          mode: 'Pooled',
          cause: 'SlowDisk',
          reason: `direct writes took over ${latencyMsMax} ms, three samples in a row`,
        }
      : undefined;
  if (!isDegraded(state) || !isOver) return undefined;
  const isToBePooled = device.isSlow && best === 'Direct';
  return {
    mode: isToBePooled ? 'Pooled' : best,
    cause: isToBePooled ? 'SlowDisk' : 'Configured',
    reason: `${mode} for ${Math.round(windowMsOf(state) / 1000)} s: the better mode is tried again`,
  };
}

/** The mode was changed, by whomever; a file system that takes no direct writes will not take them later. */
export function ioWriterChanged(
  state: IoWriterState,
  { mode, cause }: { readonly mode: IoWriterMode; readonly cause: IoWriterCause },
  nowMs: number,
): void {
  if (cause === 'DirectRefused' && state.best === 'Direct') state.best = 'Pooled';
  if (rank[mode] > rank[state.mode]) {
    const hasLasted = nowMs - state.recoveredMs >= ioWriterLimits.degradedGraceMs;
    state.relapses = hasLasted ? 0 : state.relapses + 1;
  } else {
    state.recoveredMs = nowMs;
    // What was slow in the other mode says nothing of this one.
    state.device = freshDeviceLatency();
  }
  state.mode = mode;
  state.cause = cause;
  state.sinceMs = nowMs;
  state.changes++;
  beginWindow(state, nowMs);
}

/** The wanted mode could not be had: it is tried again after a further window. */
export function ioWriterRefused(state: IoWriterState, nowMs: number): void {
  state.refusedMs = nowMs;
  beginWindow(state, nowMs);
}

/** How bad it is that the mode is a lesser one. */
export function ioWriterAlarm(state: IoWriterState, nowMs: number): IoWriterAlarm {
  if (!isDegraded(state)) return 'None';
  const forMs = nowMs - state.sinceMs;
  if (forMs >= ioWriterLimits.degradedGraceMs) return 'GraceOver';
  return forMs >= ioWriterLimits.incidentMs ? 'Incident' : 'Degraded';
}

/** How long a better mode is waited for, milliseconds. */
function windowMsOf({ relapses }: IoWriterState): number {
  const { recoveryWindowMs, recoveryWindowMsMax } = ioWriterLimits;
  return Math.min(recoveryWindowMs * 2 ** Math.min(relapses, 16), recoveryWindowMsMax);
}

function beginWindow(state: IoWriterState, nowMs: number): void {
  state.goodParts = 0;
  state.partSinceMs = nowMs;
}

function noteRecovery(
  state: IoWriterState,
  { ms, nowMs }: { readonly ms: number; readonly nowMs: number },
): void {
  if (!isDegraded(state)) return;
  const isHealthy = ms < healthyShare * state.latencyMsMax || state.cause === 'ThreadLost';
  if (!isHealthy) {
    beginWindow(state, nowMs);
    return;
  }
  const partMs = windowMsOf(state) / ioWriterLimits.recoverySamples;
  if (nowMs < state.partSinceMs) state.partSinceMs = nowMs;
  if (nowMs - state.partSinceMs < partMs) return;
  state.goodParts++;
  state.partSinceMs = nowMs;
}
