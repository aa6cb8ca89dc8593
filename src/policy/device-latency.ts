/**
 * How long a node's durable chain takes (write, sync, ledger, sync), and when its disk is too slow to lead (specification
 * ELE-8).
 *
 * A disk is slow behind three samples in a row over the bound that span half a second, and no longer so behind five in a row
 * below 80 % of it: a hiccup makes no disk slow, and a lucky write none healthy. A chain that does not end gives samples too, by
 * its age.
 */

/** What is known of a disk; plain data, mutated by {@link noteDeviceLatency}. */
export interface DeviceLatency {
  /** The newest samples in milliseconds, oldest first. */
  readonly recentMs: number[];
  isSlow: boolean;
  /** Samples in a row over the bound, and when the first of them was taken. */
  slowCount: number;
  slowSinceMs: number;
  /** Samples in a row below the share at which a disk is healthy. */
  healthyCount: number;
}

/** Below this share of the bound a disk is healthy. */
export const healthyShare = 0.8;

const slowSamplesMin = 3;
const slowSpanMsMin = 500;
const healthySamplesMin = 5;

/** A disk of which nothing is known. */
export function freshDeviceLatency(): DeviceLatency {
  return { recentMs: [], isSlow: false, slowCount: 0, slowSinceMs: 0, healthyCount: 0 };
}

/** Takes a sample in: a chain that ended, or the age of one that has not. */
export function noteDeviceLatency(
  device: DeviceLatency,
  sample: { readonly ms: number; readonly nowMs: number },
  latencyMsMax: number,
): void {
  const { ms, nowMs } = sample;
  device.recentMs.push(ms);
  if (device.recentMs.length > healthySamplesMin) device.recentMs.shift();
  device.healthyCount = ms < healthyShare * latencyMsMax ? device.healthyCount + 1 : 0;
  if (device.healthyCount >= healthySamplesMin) device.isSlow = false;
  if (ms <= latencyMsMax) {
    device.slowCount = 0;
    return;
  }
  if (device.slowCount === 0) device.slowSinceMs = nowMs;
  device.slowCount++;
  if (device.slowCount >= slowSamplesMin && nowMs - device.slowSinceMs >= slowSpanMsMin)
    device.isSlow = true;
}

/** The worst of the newest five samples, 0 before the first: what a node says of its disk. */
export function deviceLatencyMs(device: DeviceLatency): number {
  return Math.max(0, ...device.recentMs);
}
