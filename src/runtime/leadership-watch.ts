/**
 * Watches whether the leaders on a node should go on leading (specification ELE-8): the node's disk, the disks of others as
 * they report them, and how far followers lag. `policy/step-down` decides; here its numbers are gathered and its word is done.
 *
 * A disk is slow by the chains that ended and by the age of the one that has not: a sync that hangs for ever ends a reign as
 * well. Partitions that sleep are left alone: nobody waits for the disk there.
 */
import type { LogIndex, NodeId, Term } from '../base/ids.ts';
import { isSameLife } from '../base/membership.ts';
import {
  deviceLatencyMs,
  freshDeviceLatency,
  noteDeviceLatency,
  type DeviceLatency,
} from '../policy/device-latency.ts';
import {
  isFarBehind,
  isLagStructural,
  judgeStepDown,
  stepDownIntervalMs,
  type Lag,
  type StepDownPeer,
  type StepDownVerdict,
} from '../policy/step-down.ts';
import type { Clock } from '../ports/clock.ts';
import type { Observer } from '../ports/observer.ts';
import {
  activeConfiguration,
  hasCaughtUp,
  lagTicks,
  tickMs,
  votersOfBoth,
  type LeaderState,
  type Progress,
} from '../raft/index.ts';
import type { PeerLinks } from './peer-links.ts';
import type { Replica } from './replica.ts';

/** What watching needs from its node. */
export interface LeadershipWatchOptions {
  readonly clock: Clock;
  readonly observer: Observer;
  /** A durable chain that takes longer is a sign of a slow disk. */
  readonly deviceLatencyMsMax: number;
  readonly links: PeerLinks;
  /** Age of the chain under way. */
  readonly unfinishedMs: () => number;
  /** Replicas that do not sleep. */
  readonly awake: Iterable<Replica>;
}

/** What is remembered of one replica. */
interface Watched {
  /** The reign that the rest is about. */
  term: Term;
  laggingSinceMs: number | undefined;
  failedHeirs: NodeId[];
  heir: NodeId | undefined;
  /** Since when heirs that failed are remembered. */
  failedSinceMs: number;
  steppedDownMs: number;
}

/** Leaders are looked at this often. */
const lookMs = 100;
/** The age of a chain that has not ended is taken for a sample this often. */
const ageSampleMs = 200;

/** See the file comment. */
export class LeadershipWatch {
  readonly #options: LeadershipWatchOptions;
  readonly #device: DeviceLatency = freshDeviceLatency();
  readonly #watched = new WeakMap<Replica, Watched>();
  #lookedMs = 0;
  #ageSampledMs = 0;
  #evacuatedMs = Number.NEGATIVE_INFINITY;

  constructor(options: LeadershipWatchOptions) {
    this.#options = options;
  }

  /** What this node says of its disk: the worst of recent chains, the one under way among them. */
  get deviceLatencyUs(): number {
    const worstMs = Math.max(deviceLatencyMs(this.#device), this.#options.unfinishedMs());
    return Math.min(Math.round(worstMs * 1_000), 0xffff_ffff);
  }

  /** A durable chain ended. */
  flushed(tookMs: number): void {
    this.#sample(tookMs, this.#options.clock.monotonicMs());
  }

  /** Time passed. */
  tick(nowMs: number): void {
    if (nowMs - this.#lookedMs < lookMs) return;
    this.#lookedMs = nowMs;
    const unfinishedMs = this.#options.unfinishedMs();
    if (
      unfinishedMs > this.#options.deviceLatencyMsMax &&
      nowMs - this.#ageSampledMs >= ageSampleMs
    ) {
      this.#ageSampledMs = nowMs;
      this.#sample(unfinishedMs, nowMs);
    }
    for (const replica of this.#options.awake) this.#look(replica, nowMs);
  }

  #sample(ms: number, nowMs: number): void {
    noteDeviceLatency(this.#device, { ms, nowMs }, this.#options.deviceLatencyMsMax);
  }

  #look(replica: Replica, nowMs: number): void {
    const { state } = replica;
    const { leader } = state;
    const watched = this.#watchedOf(replica);
    if (leader === undefined) {
      // The heir that was asked has taken over, or somebody else has.
      if (watched.heir !== undefined) watched.steppedDownMs = nowMs;
      watched.heir = undefined;
      return;
    }
    if (watched.term !== state.term) {
      watched.term = state.term;
      watched.failedHeirs = [];
      watched.failedSinceMs = nowMs;
      watched.heir = undefined;
      watched.laggingSinceMs = undefined;
    }
    if (leader.transfer !== undefined) return;
    if (watched.heir !== undefined) watched.failedHeirs.push(watched.heir);
    watched.heir = undefined;
    const isSomeoneFarBehind = leader.progress.some((row) => isFarBehind(lagOf(replica, row)));
    const { isHeld, clockAlarm } = state;
    if (!this.#device.isSlow && !isSomeoneFarBehind && !clockAlarm && !isHeld) {
      watched.laggingSinceMs = undefined;
      watched.failedHeirs = [];
      return;
    }
    if (isHeld && nowMs - watched.failedSinceMs >= stepDownIntervalMs) {
      // Who was in quarantine as well may be out of it.
      watched.failedHeirs = [];
      watched.failedSinceMs = nowMs;
    }
    const peers = this.#peers(replica, leader);
    if (isLagStructural(peers)) watched.laggingSinceMs ??= nowMs;
    else watched.laggingSinceMs = undefined;
    this.#carryOut(replica, watched, this.#judge(replica, { leader, watched, peers, nowMs }));
  }

  #judge(
    { state }: Replica,
    seen: {
      readonly leader: LeaderState;
      readonly watched: Watched;
      readonly peers: readonly StepDownPeer[];
      readonly nowMs: number;
    },
  ): StepDownVerdict {
    const { leader, watched, peers, nowMs } = seen;
    const { deviceLatencyMsMax, unfinishedMs } = this.#options;
    return judgeStepDown({
      leaderAgeMs: (state.now - leader.sinceTick) * tickMs,
      leaderAgeMsMin: state.settings.minLeaderTicks * tickMs,
      device: {
        isSlow: this.#device.isSlow,
        latencyMs: deviceLatencyMs(this.#device),
        latencyMsMax: deviceLatencyMsMax,
        unfinishedMs: unfinishedMs(),
      },
      sinceStepDownMs: nowMs - watched.steppedDownMs,
      sinceEvacuationMs: nowMs - this.#evacuatedMs,
      structuralLagMs: watched.laggingSinceMs === undefined ? 0 : nowMs - watched.laggingSinceMs,
      hasClockAlarm: state.clockAlarm,
      isHeld: state.isHeld,
      peers,
      failedHeirs: watched.failedHeirs,
    });
  }

  #carryOut(replica: Replica, watched: Watched, verdict: StepDownVerdict): void {
    if (verdict.kind === 'stay') return;
    const { clause, reason } = verdict;
    const nowMs = this.#options.clock.monotonicMs();
    const isNewEvacuation =
      clause === 'SlowDevice' && nowMs - this.#evacuatedMs >= stepDownIntervalMs;
    if (isNewEvacuation) this.#evacuatedMs = nowMs;
    const toNodeId = verdict.kind === 'handOver' ? verdict.to : undefined;
    this.#options.observer.emit({
      level: 'warn',
      kind: 'leadershipGivenUp',
      fields: { partitionId: replica.partitionId, clause, reason, toNodeId },
    });
    if (verdict.kind === 'stepDown') {
      watched.steppedDownMs = nowMs;
      replica.input({ kind: 'stepDown', reason });
      return;
    }
    const heir = votersOfBoth(activeConfiguration(replica.state)).find(
      (member) => member.nodeId === verdict.to,
    );
    if (heir === undefined) return;
    watched.heir = verdict.to;
    replica.input({ kind: 'transferLeadership', to: heir, reason });
  }

  #peers(replica: Replica, leader: LeaderState): readonly StepDownPeer[] {
    const { state, tail } = replica;
    const voters = votersOfBoth(activeConfiguration(state));
    return leader.progress
      .filter((row) => voters.some((voter) => isSameLife(voter, row.member)))
      .map((row) => {
        const { nodeId } = row.member;
        return {
          nodeId,
          isActive: state.now - row.heardTick < state.settings.electionTimeoutTicksMin,
          isCaughtUp:
            row.isMatchKnown && !row.inDoubt && hasCaughtUp(state, { log: tail }, row.matchIndex),
          ...lagOf(replica, row),
          deviceLatencyMs: this.#options.links.get(nodeId)?.quality.deviceLatencyMs,
          hasClockAlarm: row.clockAlarm,
        };
      });
  }

  #watchedOf(replica: Replica): Watched {
    const known = this.#watched.get(replica);
    if (known !== undefined) return known;
    const fresh: Watched = {
      term: replica.state.term,
      laggingSinceMs: undefined,
      failedHeirs: [],
      heir: undefined,
      failedSinceMs: Number.NEGATIVE_INFINITY,
      steppedDownMs: Number.NEGATIVE_INFINITY,
    };
    this.#watched.set(replica, fresh);
    return fresh;
  }
}

function lagOf({ state, tail }: Replica, row: Progress): Lag {
  const { lastIndex } = state.log;
  return {
    lagBytes: tail.bytes((row.matchIndex + 1) as LogIndex, lastIndex),
    lagMs: lagTicks(row, lastIndex, state.now) * tickMs,
  };
}
