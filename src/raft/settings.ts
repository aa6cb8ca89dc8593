/** Timing and window settings of one replica's core, in ticks, entries and bytes (specification §2.2). */
import { ClustorError } from '../base/errors.ts';

/** Milliseconds that one tick of the core stands for. @public */
export const tickMs = 10;

/** Settings of the core. @public */
export interface RaftSettings {
  /** Shortest election timeout, ticks. */
  readonly electionTimeoutTicksMin: number;
  /** Longest election timeout, ticks. */
  readonly electionTimeoutTicksMax: number;
  /** Ticks for which a leader leads at least before it hands over of its own or an operator's accord (`min_leader_term_ms`). */
  readonly minLeaderTicks: number;
  /** Ticks between heartbeat rounds. */
  readonly heartbeatTicks: number;
  /** Cap of the window that failed elections widen by ×1.5, ticks. */
  readonly electionBackoffTicksMax: number;
  /** Entries in one append message. */
  readonly appendEntriesMax: number;
  /** Bytes of entries in one append message; a single larger entry still goes alone. */
  readonly appendBytesMax: number;
  /** Entries in flight to one peer. At the maximum the leader waits for acknowledgements. */
  readonly inflightEntriesMax: number;
  /** Bytes in flight to one peer. At the maximum the leader waits for acknowledgements. */
  readonly inflightBytesMax: number;
  /** Bytes of entries that an observer is sent for each tick; beyond it waits (specification §3.0). */
  readonly observerBytesPerTick: number;
  /** Own-term commits by both majorities after which a joint phase is left for the new configuration. */
  readonly finalizeEntries: number;
  /** Ticks without a majority of the new half after which a joint phase is left for the old configuration. */
  readonly rollbackGraceTicks: number;
  /** Ticks within which a learner must catch up, and a joint phase must end. */
  readonly catchUpTicksMax: number;
  /** Ticks without work after which a partition hibernates (specification §2.5). */
  readonly hibernateTicks: number;
  /** A follower that lacks no more than so many entries, or so many bytes, has caught up. */
  readonly catchUpEntries: number;
  readonly catchUpBytes: number;
  /** For how long a round that a quorum echoed lets a leader serve reads alone, milliseconds; 0 for never (`lease.ts`). */
  readonly leaseMs: number;
  /** Room for the way of a round, milliseconds. */
  readonly leaseRttMarginMs: number;
  /** How far two clocks may drift apart within a minimum election timeout, and the bound of the clock guard, milliseconds. */
  readonly leaseClockSkewMs: number;
}

/** The defaults of specification §2.2: elections within 300 to 600 ms, heartbeats every 50 ms. @public */
export const defaultRaftSettings: RaftSettings = {
  electionTimeoutTicksMin: 30,
  electionTimeoutTicksMax: 60,
  minLeaderTicks: 75,
  heartbeatTicks: 5,
  electionBackoffTicksMax: 200,
  appendEntriesMax: 4096,
  appendBytesMax: 1024 * 1024,
  inflightEntriesMax: 16384,
  inflightBytesMax: 8 * 1024 * 1024,
  // 12.8 MiB a second: a tenth of what snapshots may use.
  observerBytesPerTick: 134_217,
  finalizeEntries: 64,
  rollbackGraceTicks: 300,
  catchUpTicksMax: 12_000,
  hibernateTicks: 300,
  catchUpEntries: 1024,
  catchUpBytes: 4 * 1024 * 1024,
  leaseMs: 0,
  leaseRttMarginMs: 50,
  leaseClockSkewMs: 10,
};

/** Refuses settings under which elections could not work. */
export function checkRaftSettings(settings: RaftSettings): void {
  for (const [name, value] of Object.entries(settings) as [string, number][]) {
    const least = name.startsWith('lease') ? 0 : 1;
    if (!Number.isSafeInteger(value) || value < least) {
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `raft setting ${name} must be a whole number of at least ${least}, got ${value}`,
      );
    }
  }
  if (settings.electionTimeoutTicksMax <= settings.electionTimeoutTicksMin) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      'electionTimeoutTicksMax must be above electionTimeoutTicksMin, or candidates collide for ever',
    );
  }
  if (settings.electionTimeoutTicksMin < 2 * settings.heartbeatTicks) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      'electionTimeoutTicksMin must be at least two heartbeats, or one lost heartbeat ends a reign',
    );
  }
  if (settings.leaseMs > 0) checkLease(settings);
}

/** What a minimum election timeout must exceed, so that a lease is over before its voters are free (specification §2.3). */
export function leaseSumMs(settings: RaftSettings): number {
  const { heartbeatTicks, leaseClockSkewMs, leaseRttMarginMs, leaseMs } = settings;
  return heartbeatTicks * tickMs + leaseClockSkewMs + leaseRttMarginMs + leaseMs;
}

/** Shortest election timeout in milliseconds, as a leader is told it: in two bytes, so a longer one counts as the longest of those. */
export function electionTimeoutMsMin(settings: RaftSettings): number {
  return Math.min(settings.electionTimeoutTicksMin * tickMs, 0xffff);
}

/** The terms of the sum in the order in which they are added up; the one that reaches the timeout is the one to blame. */
function checkLease(settings: RaftSettings): void {
  const limitMs = electionTimeoutMsMin(settings);
  const terms = [
    { name: 'heartbeatTicks', ms: settings.heartbeatTicks * tickMs },
    { name: 'leaseClockSkewMs', ms: settings.leaseClockSkewMs },
    { name: 'leaseRttMarginMs', ms: settings.leaseRttMarginMs },
    { name: 'leaseMs', ms: settings.leaseMs },
  ];
  let sumMs = 0;
  for (const { name, ms } of terms) {
    sumMs += ms;
    if (sumMs < limitMs) continue;
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `a lease is impossible: ${name} is too large with ${ms} ms; heartbeat + clock skew + rtt margin + lease must stay below the minimum election timeout of ${limitMs} ms, and ${terms.map((term) => term.ms).join(' + ')} is ${leaseSumMs(settings)}`,
    );
  }
}
