/** Copies and fingerprints of core states, for explorers and simulators. */
import { crc32c } from '../base/crc32c.ts';
import type { LeaderState, RaftState } from './state.ts';

/** A copy that shares nothing mutable with the original. @public */
export function cloneRaftState(state: RaftState): RaftState {
  return {
    ...state,
    held: [...state.held],
    log: { ...state.log, runFirst: [...state.log.runFirst], runTerm: [...state.log.runTerm] },
    configurations: [...state.configurations],
    prng: { ...state.prng },
    campaign:
      state.campaign === undefined
        ? undefined
        : {
            ...state.campaign,
            granted: [...state.campaign.granted],
            refused: [...state.campaign.refused],
          },
    leader: state.leader === undefined ? undefined : cloneLeader(state.leader),
  };
}

/**
 * Text that is equal for two states exactly when they behave alike, apart from the clock and the random source: ticks and
 * the generator are left out, so that an explorer which fires timers by choice can prune. @public
 */
export function describeRaftState(state: RaftState): string {
  const {
    now: _now,
    voteWithheldUntilMs: _withheld,
    prng: _prng,
    electionDeadlineTick: _deadline,
    leaderHeardTick: _heard,
    leaderCalledTick: _called,
    settings: _settings,
    givenUp: _reign,
    leader,
    campaign,
    ...rest
  } = state;
  const rows = leader?.progress.map(
    ({
      heardTick: _heardTick,
      leaseTick: _leaseTick,
      caughtUpTick: _caughtUpTick,
      lagMarkIndex: _markIndex,
      lagMarkTick: _markTick,
      creditTick: _creditTick,
      ...row
    }) => row,
  );
  const leading =
    leader === undefined
      ? undefined
      : {
          ...leader,
          progress: rows,
          lease: { ...leader.lease, sent: [] },
          joint: leader.joint && { ...leader.joint, sinceTick: 0 },
          transfer: leader.transfer && { ...leader.transfer, deadlineTick: 0 },
          nextHeartbeatTick: 0,
          sinceTick: 0,
          electedTick: 0,
          busyTick: 0,
        };
  const campaigning = campaign === undefined ? undefined : { ...campaign, nextResendTick: 0 };
  return JSON.stringify([rest, leading, campaigning]);
}

/** A 64-bit hash of {@link describeRaftState} as 16 hex digits. @public */
export function fingerprint(state: RaftState): string {
  const text = describeRaftState(state);
  const bytes = new Uint8Array(text.length);
  let rolling = 0x811c9dc5;
  for (let position = 0; position < text.length; position++) {
    const code = text.charCodeAt(position);
    bytes[position] = code & 0xff;
    rolling = Math.imul(rolling ^ code, 0x01000193) >>> 0;
  }
  return crc32c(bytes).toString(16).padStart(8, '0') + rolling.toString(16).padStart(8, '0');
}

function cloneLeader(leader: LeaderState): LeaderState {
  return {
    ...leader,
    progress: leader.progress.map((row) => ({ ...row, inflight: [...row.inflight] })),
    joint: leader.joint === undefined ? undefined : { ...leader.joint },
    transfer: leader.transfer === undefined ? undefined : { ...leader.transfer },
    reads: leader.reads.map((read) => ({ ...read })),
    lease: { ...leader.lease, sent: leader.lease.sent.map((rounds) => ({ ...rounds })) },
  };
}
