/**
 * The end of an `Integrity` quarantine (specification §5.6): the log is whole again, and this replica votes and acknowledges at
 * once. Nobody need lead for it, and nothing that was once acknowledged is missing.
 */
import { assert } from '../base/assert.ts';
import type { LogIndex } from '../base/ids.ts';
import { advanceCommit, resetElectionDeadline } from './role.ts';
import { logOfRuns, type RaftState, type StepContext, type WholeLog } from './state.ts';

/** Handles `repaired`. A doubt for good that came meanwhile stays. */
export function leaveQuarantine(
  state: RaftState,
  context: StepContext,
  whole: WholeLog | undefined,
): void {
  assert(state.isQuarantined, 'only a quarantine ends with a repair');
  state.inDoubt = state.hasLostEvidence;
  state.isQuarantined = false;
  if (whole !== undefined) {
    assert(whole.lastIndex >= state.log.lastIndex, 'a repair makes no log shorter');
    assert(whole.baseIndex >= state.log.baseIndex, 'a repair brings no entries below the base');
    state.log = logOfRuns(whole);
    state.durableIndex = whole.lastIndex;
    const commitIndex = Math.min(whole.recordedCommitIndex, whole.lastIndex) as LogIndex;
    state.verifiedIndex = Math.max(state.verifiedIndex, commitIndex) as LogIndex;
    state.leaderCommit = Math.max(state.leaderCommit, commitIndex) as LogIndex;
    advanceCommit(state, context, commitIndex);
  }
  resetElectionDeadline(state);
}
