/** 64-bit hashes of parts of a world, as two 32-bit halves; hashes of a multiset add up. */
import type { LeaderState, RaftState } from '../../src/raft/index.ts';

/** Two halves of a hash. */
export interface Hash {
  readonly high: number;
  readonly low: number;
}

/**
 * Text that is equal for two replicas exactly when they behave alike in a world without time: clocks, deadlines and the random
 * source are left out, and so is how often campaigns failed, which only moves deadlines. Configurations are told by the entries
 * that brought them.
 */
export function describeForHash(core: RaftState, disk: object, queue: object): string {
  const {
    now: _now,
    prng: _prng,
    settings: _settings,
    electionDeadlineTick: _deadline,
    leaderHeardTick: _heard,
    leaderCalledTick: _called,
    failedElections: _failed,
    givenUp: _reign,
    configurations,
    leaderContact,
    held,
    leader,
    campaign,
    ...rest
  } = core;
  const changes = configurations.map(({ term, index }) => `${term}.${index}`);
  return JSON.stringify([
    rest,
    changes,
    leaderContact?.replicaId,
    held,
    leader && describeLeader(leader),
    campaign && { ...campaign, nextResendTick: 0 },
    disk,
    queue,
  ]);
}

function describeLeader(leader: LeaderState): object {
  const rows = leader.progress.map(
    ({
      member,
      heardTick: _heardTick,
      caughtUpTick: _caughtUpTick,
      lagMarkIndex: _markIndex,
      lagMarkTick: _markTick,
      creditTick: _creditTick,
      ...row
    }) => [member.replicaId, row],
  );
  return {
    ...leader,
    progress: rows,
    joint: leader.joint?.rollbackReason ?? leader.joint !== undefined,
    transfer: leader.transfer && [leader.transfer.to.replicaId, leader.transfer.isSent],
    nextHeartbeatTick: 0,
    sinceTick: 0,
    electedTick: 0,
  };
}

/** Hash of a text. */
export function hashText(text: string): Hash {
  let high = 0x811c9dc5;
  let low = 0x9e3779b9;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    high = Math.imul(high ^ code, 0x01000193);
    low = Math.imul(low ^ (code + (high >>> 13)), 0x85ebca6b);
  }
  return { high: mix(high), low: mix(low ^ high) };
}

/** Spreads the bits of a 32-bit number. */
export function mix(value: number): number {
  let mixed = value;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
