/** What the cores of a simulated run are set to. */
import { nextBelow, nextBetween, type PrngState } from '../base/prng.ts';
import { defaultRaftSettings, tickMs, type RaftSettings } from '../raft/index.ts';
import type { NodeLimits } from '../runtime/limits.ts';
import type { LogStoreLimits } from '../storage/log-store-types.ts';
import { clockRateDeviationMax } from './sim-clock.ts';

/** Files so small that a run fills several. */
export const simStorage: Partial<LogStoreLimits> = {
  segmentBytes: 8 * 1024 * 1024,
  ledgerBytes: 256 * 1024,
  logBytesMax: 256 * 1024 * 1024,
};

/**
 * Windows of one to a few entries, where messages of one reign are split most, in every other run; quiet times so short that
 * partitions hibernate between operations, in every other run too; leases in every other run; else the defaults. Observers get
 * so little that it matters.
 */
export function drawSettings(random: PrngState): Partial<RaftSettings> {
  const windows =
    nextBelow(random, 2) === 0
      ? {}
      : {
          appendEntriesMax: nextBetween(random, 1, 4),
          inflightEntriesMax: nextBetween(random, 1, 64),
        };
  const rest = nextBelow(random, 2) === 0 ? {} : { hibernateTicks: nextBetween(random, 1, 30) };
  const lease = nextBelow(random, 2) === 0 ? {} : longestLease;
  return { ...windows, ...rest, ...lease, observerBytesPerTick: nextBetween(random, 300, 3_000) };
}

/** Logs so short that snapshots are taken all the time, in every other run. */
export function drawLimits(random: PrngState): Partial<NodeLimits> {
  return nextBelow(random, 2) === 0 ? {} : { snapshotLogBytes: nextBetween(random, 1_000, 60_000) };
}

/**
 * The longest lease that is legal. Its skew is what two simulated clocks can drift apart within a minimum election timeout, one as
 * fast and one as slow as they get: so drift stays within what the settings promise, in every run.
 */
const longestLease: Partial<RaftSettings> = leaseUnder(defaultRaftSettings);

function leaseUnder(settings: RaftSettings): Partial<RaftSettings> {
  const timeoutMs = settings.electionTimeoutTicksMin * tickMs;
  const leaseClockSkewMs = Math.ceil(2 * clockRateDeviationMax * timeoutMs);
  const leaseRttMarginMs = 1;
  const leaseMs =
    timeoutMs - settings.heartbeatTicks * tickMs - leaseClockSkewMs - leaseRttMarginMs - 1;
  return { leaseMs, leaseRttMarginMs, leaseClockSkewMs };
}
