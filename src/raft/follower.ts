/**
 * What a replica does with the words of a leader (Raft §5.3): match, truncate, append, acknowledge what is durable.
 *
 * An acknowledgement says min(own durable, own verified). Verified rises only by appends of this term that met the own
 * log, so a stale suffix that happens to be durable is never acknowledged, and a commit index heard in a heartbeat never
 * reaches past what was verified (specification §1, regressions 12 and 62).
 */
import { assert, present } from '../base/assert.ts';
import type { LogIndex, Term } from '../base/ids.ts';
import { mayRest } from './hibernation.ts';
import { appendTerms, firstIndexOfRun, termAt, truncateTerms } from './log-terms.ts';
import type { AppendEntries, Heartbeat } from './messages.ts';
import { advanceCommit, becomeFollower, resetElectionDeadline } from './role.ts';
import { fromSelf, send, senderOf } from './send.ts';
import { electionTimeoutMsMin } from './settings.ts';
import { activeConfiguration, type RaftState, type StepContext } from './state.ts';
import { promiseVote } from './vote-promise.ts';

/** Handles an append of the current or a newer term; older ones were answered before. */
export function handleAppendEntries(
  state: RaftState,
  context: StepContext,
  message: AppendEntries,
): void {
  hearLeader(state, context, message);
  if (message.receiverInDoubt)
    enterDoubt(
      state,
      context,
      'the leader remembers acknowledgements that this log no longer holds',
    );
  // What is damaged cannot be matched, and a refusal would say where the log ends: it is the repair that goes on.
  if (state.isQuarantined) return;
  if (!isMatch(state, message)) {
    if (message.needsSnapshot) state.snapshotWanted = message.prevIndex;
    reject(state, context, message);
    return;
  }
  const lastIndex = (message.prevIndex + message.entries.count) as LogIndex;
  state.snapshotWanted = undefined;
  appendReceived(state, context, message);
  state.verifiedIndex = Math.max(state.verifiedIndex, lastIndex) as LogIndex;
  state.ackOwed = true;
  state.leaderCommit = Math.max(state.leaderCommit, message.commit) as LogIndex;
  advanceCommit(state, context, state.leaderCommit);
  if (state.durableIndex >= state.verifiedIndex) acknowledge(state, context);
}

/** Handles a heartbeat of the current or a newer term. */
export function handleHeartbeat(state: RaftState, context: StepContext, message: Heartbeat): void {
  hearLeader(state, context, message);
  state.leaderCommit = Math.max(state.leaderCommit, message.commit) as LogIndex;
  advanceCommit(state, context, state.leaderCommit);
  state.isHibernating = mayRest(state, message);
  if (message.lease) promiseVote(state, context);
  echo(state, context, message);
}

/** Tells a leader of an older term which term it is now, so that it steps down and a stuck node is freed (etcd#8501). */
export function answerOldLeader(
  state: RaftState,
  context: StepContext,
  message: AppendEntries | Heartbeat,
): void {
  if (message.kind === 'heartbeat') {
    echo(state, context, message);
  } else if (!state.isQuarantined) {
    reject(state, context, message);
  }
}

/** Handles a completion of the own storage in the role of a follower. */
export function followerDurable(state: RaftState, context: StepContext): void {
  advanceCommit(state, context, state.leaderCommit);
  if (state.ackOwed && state.role === 'follower') acknowledge(state, context);
}

/** Takes this replica out of voting and acknowledging, for good in this incarnation (KER-9). */
export function enterDoubt(state: RaftState, context: StepContext, reason: string): void {
  if (state.hasLostEvidence) return;
  state.inDoubt = true;
  state.hasLostEvidence = true;
  state.isHibernating = false;
  state.ackOwed = false;
  context.effects.push({ kind: 'persistDoubt', reason });
}

function echo(state: RaftState, context: StepContext, message: Heartbeat): void {
  send(state, context, senderOf(message), {
    kind: 'heartbeatEcho',
    fromNode: state.selfNode,
    fromReplica: state.selfReplica,
    fromIncarnation: state.selfIncarnation,
    term: state.term,
    round: message.round,
    inDoubt: state.inDoubt,
    isHibernating: state.isHibernating,
    needsLeader: false,
    clockAlarm: state.clockAlarm,
    electionTimeoutMsMin: electionTimeoutMsMin(state.settings),
  });
}

function hearLeader(
  state: RaftState,
  context: StepContext,
  message: AppendEntries | Heartbeat,
): void {
  assert(message.term >= state.term, 'words of an older term were answered before');
  assert(state.role !== 'leader' || message.term > state.term, 'a term has one leader');
  if (
    state.role !== 'follower' ||
    message.term > state.term ||
    state.leaderContact?.replicaId !== message.fromReplica
  ) {
    becomeFollower(state, context, {
      term: message.term,
      leader: senderOf(message),
      reason: 'heard the leader of the term',
    });
  }
  state.isHibernating = false;
  state.leaderHeardTick = state.now;
  state.leaderLost = false;
  state.deferredPreVote = undefined;
  state.failedElections = 0;
  resetElectionDeadline(state);
}

/** A previous index at or below the base or the commit index is a match: that prefix is the leader's as well. */
function isMatch(state: RaftState, message: AppendEntries): boolean {
  if (message.prevIndex <= state.commitIndex) return true;
  return termAt(state.log, message.prevIndex) === message.prevTerm;
}

function reject(state: RaftState, context: StepContext, message: AppendEntries): void {
  const conflictTerm =
    message.prevIndex > state.log.baseIndex ? termAt(state.log, message.prevIndex) : undefined;
  send(state, context, senderOf(message), {
    kind: 'appendRejected',
    ...fromSelf(state),
    rejectedPrevIndex: message.prevIndex,
    lastIndex: state.log.lastIndex,
    conflictTerm: conflictTerm ?? (0 as Term),
    conflictFirstIndex:
      conflictTerm === undefined
        ? ((state.log.lastIndex + 1) as LogIndex)
        : firstIndexOfRun(state.log, message.prevIndex),
    ledgerSeq: state.ledgerSeq,
  });
}

/** Appends what is new; entries that are there already, also from late or doubled messages, are left alone (CCF#5676). */
function appendReceived(state: RaftState, context: StepContext, message: AppendEntries): void {
  const lastIndex = (message.prevIndex + message.entries.count) as LogIndex;
  const firstNew = firstNewIndex(state, message, lastIndex);
  if (firstNew === undefined) return;
  if (firstNew <= state.log.lastIndex) truncate(state, context, firstNew);
  assert(firstNew === state.log.lastIndex + 1, 'entries are appended without a gap');
  const term = present(
    termOfReceived(message, lastIndex),
    'an append with entries names their terms',
  );
  state.appendSequence++;
  extendLog(state, message, firstNew, lastIndex);
  for (const configuration of message.entries.configurations) {
    if (configuration.index >= firstNew) state.configurations.push(configuration);
  }
  context.effects.push({
    kind: 'appendToLog',
    source: 'received',
    appendSequence: state.appendSequence,
    firstIndex: firstNew,
    lastIndex,
    term,
  });
  const active = activeConfiguration(state);
  if (active.index >= firstNew)
    context.effects.push({
      kind: 'configurationChanged',
      configuration: active,
      isCommitted: false,
    });
}

function firstNewIndex(
  state: RaftState,
  message: AppendEntries,
  lastIndex: LogIndex,
): LogIndex | undefined {
  const runs = message.entries.termRuns;
  for (let pair = 0; pair < runs.length; pair += 2) {
    const runLast = (pair + 2 < runs.length ? (runs[pair + 2] ?? 0) - 1 : lastIndex) as LogIndex;
    const runTerm = runs[pair + 1] as Term;
    const from = Math.max(runs[pair] ?? 0, state.commitIndex + 1, state.log.baseIndex + 1);
    for (let index = from; index <= runLast; index++) {
      if (index > state.log.lastIndex) return index as LogIndex;
      if (termAt(state.log, index as LogIndex) !== runTerm) return index as LogIndex;
    }
  }
  return undefined;
}

function extendLog(
  state: RaftState,
  message: AppendEntries,
  firstNew: LogIndex,
  lastIndex: LogIndex,
): void {
  const runs = message.entries.termRuns;
  for (let pair = 0; pair < runs.length; pair += 2) {
    const runLast = (pair + 2 < runs.length ? (runs[pair + 2] ?? 0) - 1 : lastIndex) as LogIndex;
    if (runLast >= firstNew) appendTerms(state.log, runLast, runs[pair + 1] as Term);
  }
}

function termOfReceived(message: AppendEntries, index: LogIndex): Term | undefined {
  const runs = message.entries.termRuns;
  for (let pair = runs.length - 2; pair >= 0; pair -= 2) {
    if ((runs[pair] ?? 0) <= index) return runs[pair + 1] as Term;
  }
  return undefined;
}

function truncate(state: RaftState, context: StepContext, fromIndex: LogIndex): void {
  assert(fromIndex > state.commitIndex, 'a committed entry is never truncated');
  assert(
    fromIndex > state.verifiedIndex,
    "an entry of this term's leader is never truncated in its term",
  );
  truncateTerms(state.log, fromIndex);
  state.durableIndex = Math.min(state.durableIndex, fromIndex - 1) as LogIndex;
  state.truncationSequence = state.appendSequence + 1;
  let isUndone = false;
  while (
    state.configurations.length > 1 &&
    (state.configurations[state.configurations.length - 1]?.index ?? 0) >= fromIndex
  ) {
    state.configurations.pop();
    isUndone = true;
  }
  context.effects.push({ kind: 'truncateLog', fromIndex });
  if (!isUndone) return;
  const configuration = activeConfiguration(state);
  context.effects.push({
    kind: 'configurationChanged',
    configuration,
    isCommitted: configuration.index <= state.commitIndex,
  });
}

function acknowledge(state: RaftState, context: StepContext): void {
  assert(state.role === 'follower', 'only a follower acknowledges');
  if (state.inDoubt || state.leaderContact === undefined) return;
  const lastFsyncedIndex = Math.min(state.durableIndex, state.verifiedIndex) as LogIndex;
  if (state.durableIndex >= state.verifiedIndex) state.ackOwed = false;
  send(state, context, state.leaderContact, {
    kind: 'durabilityAck',
    fromNode: state.selfNode,
    fromReplica: state.selfReplica,
    fromIncarnation: state.selfIncarnation,
    term: state.term,
    lastFsyncedIndex,
    ledgerSeq: state.ledgerSeq,
  });
}
