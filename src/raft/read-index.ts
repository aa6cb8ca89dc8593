/**
 * Linearizable reads without a log entry (thesis §6.4, specification §2.3).
 *
 * A read takes its index at arrival: max(commit index, own term-start index). It is ready once a heartbeat round that was
 * *sent* after its arrival is echoed, by number, by a quorum, and the index is committed and durable here. One round
 * answers every read that waited for it; while one is out, later reads gather for the next.
 */
import { dropFirst } from '../base/arrays.ts';
import type { LogIndex } from '../base/ids.ts';
import { present } from '../base/assert.ts';
import { holdsLease, noteRoundSent } from './lease.ts';
import { findProgress } from './progress.ts';
import { quorumValue } from './quorum.ts';
import { send } from './send.ts';
import {
  activeConfiguration,
  isSelf,
  walCommittedIndex,
  type RaftState,
  type StepContext,
} from './state.ts';

/** Takes a read in, beginning a round unless one is out. */
export function requestRead(state: RaftState, context: StepContext, readId: number): void {
  const leader = state.leader;
  if (leader === undefined) {
    context.effects.push({ kind: 'readFailed', readId });
    return;
  }
  const isRoundOut = leader.confirmedRound < leader.round && leader.reads.length > 0;
  leader.reads.push({
    readId,
    index: Math.max(state.commitIndex, leader.termStartIndex) as LogIndex,
    round: leader.round + 1,
  });
  if (!isRoundOut) beginRound(state, context);
}

/** Answers a read under the lease, or like any other where none holds. */
export function requestLeaseRead(state: RaftState, context: StepContext, readId: number): void {
  const { leader } = state;
  if (leader === undefined || !holdsLease(state, context.clockMs)) {
    requestRead(state, context, readId);
    return;
  }
  const index = Math.max(state.commitIndex, leader.termStartIndex) as LogIndex;
  if (index > walCommittedIndex(state)) requestRead(state, context, readId);
  else context.effects.push({ kind: 'leaseReadReady', readId, index });
}

/** Works out which rounds a quorum has echoed and releases the reads behind them. */
export function confirmRounds(state: RaftState, context: StepContext): void {
  const leader = present(state.leader, 'rounds are confirmed at a leader');
  const confirmed = quorumValue(activeConfiguration(state), (member) => {
    if (isSelf(state, member)) return state.inDoubt ? 0 : leader.round;
    const row = findProgress(leader.progress, member);
    // It may not know of its doubt yet.
    return row === undefined || row.inDoubt ? 0 : row.echoedRound;
  });
  leader.confirmedRound = Math.max(leader.confirmedRound, confirmed);
  releaseReads(state, context);
  const oldest = leader.reads[0];
  if (oldest !== undefined && oldest.round > leader.round) beginRound(state, context);
}

/** Releases reads whose round is confirmed and whose index is committed and durable here. */
export function releaseReads(state: RaftState, context: StepContext): void {
  const leader = present(state.leader, 'reads wait at a leader');
  const committed = walCommittedIndex(state);
  let released = 0;
  for (const read of leader.reads) {
    if (read.round > leader.confirmedRound || read.index > committed) break;
    context.effects.push({ kind: 'readReady', readId: read.readId, index: read.index });
    released++;
  }
  dropFirst(leader.reads, released);
}

/** After a stall nothing that was confirmed before counts: every waiting read needs a round sent from now on. */
export function reconfirmReads(state: RaftState, context: StepContext): void {
  const leader = present(state.leader, 'reads wait at a leader');
  for (const read of leader.reads) read.round = leader.round + 1;
  beginRound(state, context);
}

/** Sends a new numbered heartbeat round to every member. */
export function broadcastRound(state: RaftState, context: StepContext): void {
  const leader = present(state.leader, 'rounds are sent by a leader');
  leader.round++;
  const lease = noteRoundSent(state, leader);
  for (const progress of leader.progress) {
    send(state, context, progress.member, {
      kind: 'heartbeat',
      fromNode: state.selfNode,
      fromReplica: state.selfReplica,
      fromIncarnation: state.selfIncarnation,
      term: state.term,
      round: leader.round,
      commit: state.commitIndex,
      mayHibernate: leader.restRound !== undefined,
      lease,
    });
  }
}

function beginRound(state: RaftState, context: StepContext): void {
  broadcastRound(state, context);
  confirmRounds(state, context);
}
