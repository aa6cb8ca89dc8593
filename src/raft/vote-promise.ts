/**
 * A replica's promise not to vote, which lets a leader serve reads alone (specification §2.3).
 *
 * Whoever echoes a round flagged `lease` promises to give no vote and no pre-vote, nor to campaign, for its minimum election
 * timeout. A process that has just started may have promised before, and keeps what it cannot remember. A transfer is excepted: the
 * leader that asks for it has given its lease up.
 *
 * The promise begins at the time that the clock shows and ends when the core's ticks, which are never ahead of the clock, say so:
 * both errors make it longer.
 */
import { electionTimeoutMsMin, tickMs } from './settings.ts';
import type { RaftState, StepContext } from './state.ts';

/** Promises from now on. */
export function promiseVote(state: RaftState, context: StepContext): void {
  state.voteWithheldUntilMs = Math.max(
    state.voteWithheldUntilMs,
    context.clockMs + electionTimeoutMsMin(state.settings),
  );
}

/** Whether a promise, remembered or not, still holds. */
export function isVoteWithheld(state: RaftState): boolean {
  return state.now * tickMs < state.voteWithheldUntilMs;
}

/** The first tick at which it holds no more. */
export function withheldUntilTick(state: RaftState): number {
  return Math.ceil(state.voteWithheldUntilMs / tickMs);
}
