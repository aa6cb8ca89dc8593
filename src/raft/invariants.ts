/**
 * What must hold of a core at every step: basic checks of one state, delta checks between two. Run after every step by
 * tests, the simulator and explorers; a violation throws, naming the rule.
 */
import { assert } from '../base/assert.ts';
import type { LogIndex } from '../base/ids.ts';
import { lastTerm, termAt } from './log-terms.ts';
import { isJoint, isVoter } from './quorum.ts';
import { isSameVote } from './send.ts';
import { activeConfiguration, selfLife, walCommittedIndex, type RaftState } from './state.ts';

/** Checks one state. @public */
export function checkRaftState(state: RaftState): void {
  checkLog(state);
  assert(state.durableTerm <= state.term, 'the durable term is not ahead of the term');
  assert(state.durableIndex <= state.log.lastIndex, 'only entries of the log are durable');
  assert(state.verifiedIndex <= state.log.lastIndex, 'only entries of the log are verified');
  assert(
    state.commitIndex <= state.verifiedIndex,
    'only verified entries are committed (specification §1)',
  );
  assert(state.appliableIndex <= state.commitIndex, 'only committed entries are applied');
  assert(
    state.appliableIndex <= Math.max(state.durableIndex, state.log.baseIndex),
    'only durable entries are applied',
  );
  assert(state.log.baseIndex <= state.appliableIndex, 'a snapshot stands for applied entries only');
  assert(state.log.baseIndex <= state.durableIndex, 'what a snapshot stands for is durable');
  assert(
    state.snapshotWanted === undefined || state.role !== 'leader',
    'a leader waits for no snapshot',
  );
  assert(lastTerm(state.log) <= state.term, 'no entry is from a future term');
  assert(
    (state.leader !== undefined) === (state.role === 'leader'),
    'leader state exists exactly at a leader',
  );
  assert(
    state.campaign === undefined || state.role === 'preCandidate' || state.role === 'candidate',
    'only candidates count votes',
  );
  assert(
    !state.inDoubt || state.role === 'follower',
    'a replica in doubt neither campaigns nor leads (KER-9)',
  );
  assert(
    state.inDoubt === (state.hasLostEvidence || state.isQuarantined),
    'who lost evidence or entries is in doubt, and nobody else (KER-9)',
  );
  const self = selfLife(state);
  assert(
    state.role === 'follower' ||
      state.role === 'leader' ||
      state.configurations.some((configuration) => isVoter(configuration, self)),
    'only who votes, or voted before a change that is not committed, campaigns',
  );
  checkConfigurations(state);
  if (state.isHibernating) checkHibernation(state);
  if (state.role === 'leader') checkLeader(state);
}

/** Checks what one step did to a state of one process. @public */
export function checkRaftTransition(before: RaftState, after: RaftState): void {
  assert(after.term >= before.term, 'a term never falls (KER-8)');
  assert(after.commitIndex >= before.commitIndex, 'the commit index never falls (KER-8)');
  assert(after.appliableIndex >= before.appliableIndex, 'the appliable index never falls (KER-8)');
  assert(after.durableTerm >= before.durableTerm, 'the durable term never falls');
  assert(after.log.baseIndex >= before.log.baseIndex, 'the base of the log never falls');
  assert(after.ledgerSeq >= before.ledgerSeq, 'the ledger number never falls');
  assert(
    !before.hasLostEvidence || after.hasLostEvidence,
    'doubt is never shaken off by an incarnation (KER-9)',
  );
  if (after.term === before.term && before.votedFor !== undefined) {
    assert(isSameVote(before.votedFor, after.votedFor), 'a vote is kept for its term (Raft §5.2)');
  }
  // An installation may drop entries that were never acknowledged, since they were not durable.
  const vouchedIndex =
    after.log.baseIndex > before.log.baseIndex
      ? (Math.min(before.verifiedIndex, before.durableIndex) as LogIndex)
      : before.verifiedIndex;
  for (const index of [before.commitIndex, vouchedIndex]) {
    if (index < after.log.baseIndex || (index === vouchedIndex && after.term !== before.term))
      continue;
    assert(
      termAt(before.log, index) === termAt(after.log, index),
      'committed and verified entries are never replaced',
    );
  }
  if (before.role === 'leader' && after.role === 'leader' && before.term === after.term) {
    assert(after.log.lastIndex >= before.log.lastIndex, 'a leader only appends to its log');
  }
  assert(
    walCommittedIndex(after) >= walCommittedIndex(before) ||
      after.durableIndex < before.durableIndex,
    'the durable commit index falls only with a truncation',
  );
}

function checkLog(state: RaftState): void {
  const { log } = state;
  assert(log.runFirst.length === log.runTerm.length, 'every run has a term');
  assert(log.lastIndex >= log.baseIndex, 'the log does not end before its base');
  assert(log.runFirst.length > 0 || log.lastIndex === log.baseIndex, 'entries have terms');
  let previousFirst = log.baseIndex as number;
  let previousTerm = 0;
  for (const [run, first] of log.runFirst.entries()) {
    const term = log.runTerm[run] ?? 0;
    assert(
      run === 0 ? first === log.baseIndex + 1 : first > previousFirst,
      'runs rise without a gap',
    );
    assert(term > previousTerm, 'terms of runs rise');
    previousFirst = first;
    previousTerm = term;
  }
  assert(previousFirst <= log.lastIndex, 'the last run has an entry');
}

/** Nobody sleeps on something undone, or without a leader (specification §2.5). */
function checkHibernation(state: RaftState): void {
  const { leader, log } = state;
  assert(
    state.role === 'leader' || (state.role === 'follower' && state.leaderContact !== undefined),
    'only a leader and who knows one hibernate',
  );
  assert(!state.inDoubt, 'a replica in doubt does not hibernate');
  assert(!isJoint(activeConfiguration(state)), 'no joint phase hibernates');
  for (const index of [state.commitIndex, state.durableIndex, state.appliableIndex])
    assert(index === log.lastIndex, 'who hibernates has its whole log durable and committed');
  assert(state.held.length === 0 && !state.ackOwed, 'who hibernates owes no word');
  if (leader === undefined) return;
  assert(leader.reads.length === 0, 'no read waits for a leader that hibernates');
  assert(leader.transfer === undefined, 'no leadership is handed over in hibernation');
  const { restRound } = leader;
  assert(restRound !== undefined, 'a leader hibernates when it asked for it');
  for (const row of leader.progress) {
    if (row.member.role === 'observer') continue;
    assert(row.matchIndex === log.lastIndex, 'a leader hibernates when all hold everything');
    assert(row.restedRound >= restRound, 'a leader hibernates when all have agreed');
  }
  assert(leader.lease.heldRounds === 0, 'a lease is given up before sleep (specification §2.5)');
}

function checkConfigurations(state: RaftState): void {
  let previous = -1;
  for (const [position, { index, term }] of state.configurations.entries()) {
    assert(index > previous, 'configurations rise');
    assert(
      position === 0 || index > state.commitIndex,
      'only the oldest configuration that is kept is committed',
    );
    assert(
      index <= state.log.baseIndex ||
        termAt(state.log, index) === term ||
        (state.isQuarantined && index > state.log.lastIndex),
      'a configuration above the base stands in the log',
    );
    previous = index;
  }
}

function checkLeader(state: RaftState): void {
  const { leader } = state;
  assert(leader !== undefined, 'a leader has its rows');
  assert(state.durableTerm === state.term, "a leader's term is durable (KER-2)");
  assert(isSameVote(state.votedFor, selfLife(state)), 'a leader voted for itself');
  assert(state.verifiedIndex === state.log.lastIndex, 'a leader verifies its whole log');
  assert(
    leader.termStartIndex < state.log.baseIndex ||
      termAt(state.log, leader.termStartIndex) === state.term,
    'the term-start entry is of the own term',
  );
  assert(
    (leader.joint !== undefined) === isJoint(activeConfiguration(state)),
    'a leader knows whether it is in a joint phase',
  );
  assert(leader.confirmedRound <= leader.round, 'only rounds that were sent are confirmed');
  const isLeased = leader.lease.heldRounds > 0;
  assert(!isLeased || leader.joint === undefined, 'nobody holds a lease in a joint phase');
  assert(
    !isLeased || !leader.lease.isForfeited,
    'who asked another to campaign holds no lease any more',
  );
  assert(!isLeased || !state.clockAlarm, 'nobody holds a lease whose clocks disagree');
  for (const row of leader.progress) {
    assert(row.matchIndex <= state.log.lastIndex, 'no follower matches past the end of the log');
    assert(row.nextIndex <= state.log.lastIndex + 1, 'nothing past the end of the log is sent');
    assert(
      row.state !== 'replicate' || row.nextIndex > row.matchIndex,
      'what matches is not sent again',
    );
    assert(row.echoedRound <= leader.round, 'only rounds that were sent are echoed');
    assert(
      row.inflight.length === 0 || row.state === 'replicate',
      'appends are in flight only while pipelining',
    );
  }
}
