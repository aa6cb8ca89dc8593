/** Which members a leader sends to, and what it notes when a joint phase begins or is found. */
import { present } from '../base/assert.ts';
import type { LogIndex } from '../base/ids.ts';
import { isSameLife, type Member } from '../base/membership.ts';
import { createProgress, findProgress, type Progress } from './progress.ts';
import { allMembers, isJoint, mergeMembers, votersOf } from './quorum.ts';
import { activeConfiguration, isSelf, type JointPhase, type RaftState } from './state.ts';

/**
 * Members that are to hear of the log: those of the configuration in force, and those of the one before until the newer one is
 * committed. So a removed replica usually learns that it was removed.
 */
export function trackedMembers(state: RaftState): readonly Member[] {
  const active = activeConfiguration(state);
  const previous = state.configurations[state.configurations.length - 2];
  const members =
    previous === undefined || active.index <= state.commitIndex
      ? allMembers(active)
      : mergeMembers(allMembers(active), allMembers(previous));
  return members.filter((member) => !isSelf(state, member));
}

/** Rows for {@link trackedMembers}: those known go on, new ones begin to be probed at `nextIndex`. */
export function progressRows(
  state: RaftState,
  known: readonly Progress[],
  nextIndex: LogIndex,
): Progress[] {
  return trackedMembers(state).map((member) => {
    const row = findProgress(known, member);
    if (row === undefined) return createProgress(member, nextIndex, state.now);
    row.member = member;
    return row;
  });
}

/** What a leader notes of the joint phase that is in force, if one is. */
export function jointPhaseOf(state: RaftState, rows: readonly Progress[]): JointPhase | undefined {
  const active = activeConfiguration(state);
  if (!isJoint(active)) return undefined;
  const isSilent = (member: Member): boolean => {
    if (isSelf(state, member)) return false;
    const row = present(
      rows.find((candidate) => isSameLife(candidate.member, member)),
      'every other member has a row',
    );
    return state.now - row.heardTick >= state.settings.electionTimeoutTicksMax;
  };
  return {
    sinceTick: state.now,
    downAtStart: votersOf(active.members).filter(isSilent),
    rollbackReason: undefined,
  };
}
