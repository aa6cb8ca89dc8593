/** Wrong elections: votes, pre-votes, stickiness, check-quorum, and what may be said before the disk has it. */
import type { Mutant } from './mutant.ts';

const election = 'src/raft/election.ts';
const electionTests = 'test/raft/elections.test.ts';
const preVoteTests = 'test/raft/pre-vote.test.ts';
const stepDown = 'src/policy/step-down.ts';
const stepDownTests = 'test/policy/step-down.test.ts';
const highRttTests = 'test/raft/high-rtt.test.ts';

/** Mutants of elections. */
export const electionMutants: readonly Mutant[] = [
  {
    name: 'vote-before-durable',
    breaks: 'KER-2: a vote leaves once its term is durable, though the vote itself is not',
    file: election,
    edits: [
      {
        find: 'sendAfterVote(state, context, senderOf(message), {',
        replace: 'send(state, context, senderOf(message), {',
      },
    ],
    expected: 'tests',
    tests: [electionTests],
  },
  {
    name: 'vote-request-before-durable',
    breaks: 'KER-2: a candidate asks for votes before its own vote is durable',
    file: election,
    edits: [
      {
        find: "isTransfer ? 'the leader asked it to take over' : 'a quorum would vote for it',\n  );",
        replace: `isTransfer ? 'the leader asked it to take over' : 'a quorum would vote for it',
  );
  for (const member of votersOfBoth(activeConfiguration(state))) {
    const last = { lastIndex: state.log.lastIndex, lastTerm: lastTerm(state.log) };
    const message = { kind: 'voteRequest' as const, ...fromSelf(state), ...last, isTransfer };
    if (!isSelf(state, member)) context.effects.push({ kind: 'sendMessage', to: member, message });
  }`,
      },
    ],
    expected: 'tests',
    tests: [electionTests],
  },
  {
    name: 'own-vote-before-durable',
    breaks: 'KER-2: a candidate counts its own vote before it is durable',
    file: election,
    edits: [
      {
        find: 'state.campaign = {\n    granted: [],\n    refused: [],\n    isTransfer,',
        replace:
          'state.campaign = {\n    granted: [selfLife(state)],\n    refused: [],\n    isTransfer,',
      },
    ],
    expected: 'tests',
    tests: [electionTests],
  },
  {
    name: 'speaks-before-term-durable',
    breaks: 'KER-2: messages of a new term leave before the term is durable',
    file: 'src/raft/send.ts',
    edits: [
      {
        find: 'const isTermDurable = state.durableTerm === state.term;',
        replace: 'const isTermDurable = state.durableTerm <= state.term;',
      },
    ],
    expected: 'tests',
    tests: ['test/raft/follower-log.test.ts'],
  },
  {
    name: 'second-vote-in-a-term',
    breaks: 'KER-1: a voter votes for everybody who asks in a term (Raft §5.2)',
    file: election,
    edits: [
      {
        find: 'const isFree = state.votedFor === undefined || isSameVote(state.votedFor, candidate);',
        replace: 'const isFree = true;',
      },
    ],
    expected: 'tests',
    tests: [electionTests],
  },
  {
    name: 'vote-cleared-on-step-down',
    breaks: 'KER-1: stepping down in a term clears the vote that was cast in it',
    file: 'src/raft/role.ts',
    edits: [
      {
        find: 'changeHardState(state, context, { term: next.term, votedFor: undefined });',
        replace: `changeHardState(state, context, { term: next.term, votedFor: undefined });
  else if (wasLeader !== undefined) state.votedFor = undefined;`,
      },
    ],
    expected: 'tests',
    tests: ['test/scenarios/elections.test.ts'],
  },
  {
    name: 'log-not-compared',
    breaks: 'KER-1: a vote is given to a candidate whose log is behind (Raft §5.4.1)',
    file: election,
    edits: [{ find: 'candidate.lastTerm > ownLastTerm ||', replace: 'candidate.lastTerm >= 0 ||' }],
    expected: 'tests',
    tests: [preVoteTests],
  },
  {
    name: 'log-compared-by-length',
    breaks: 'KER-1: logs are compared by length, whatever their last terms (Raft §5.4.1)',
    file: election,
    edits: [
      {
        find: `candidate.lastTerm > ownLastTerm ||
    (candidate.lastTerm === ownLastTerm && candidate.lastIndex >= state.log.lastIndex)`,
        replace: 'candidate.lastIndex >= state.log.lastIndex && ownLastTerm >= 0',
      },
    ],
    expected: 'tests',
    tests: [preVoteTests, electionTests, 'test/raft/cluster.test.ts'],
  },
  {
    name: 'no-stickiness',
    breaks: 'ELE-4: a voter that has just heard its leader votes for others',
    file: election,
    edits: [
      {
        find: 'state.now - state.leaderHeardTick < state.settings.electionTimeoutTicksMin',
        replace: 'state.now - state.leaderHeardTick < 0',
      },
    ],
    expected: 'tests',
    tests: [preVoteTests],
  },
  {
    name: 'every-vote-request-as-of-a-transfer',
    breaks: 'ELE-4: a vote request meets no stickiness, as if the leader had asked for it',
    file: 'src/raft/step.ts',
    edits: [
      {
        find: '(isSticky(state) && !message.isTransfer)',
        replace: '(!message.isTransfer && state.now < 0)',
      },
    ],
    expected: 'tests',
    tests: [preVoteTests],
  },
  {
    name: 'no-pre-vote',
    breaks: 'ELE-1: a replica campaigns in a new term without asking first',
    file: election,
    edits: [
      {
        find: 'startPreVote(state, context, false);',
        replace: 'startElection(state, context, false);',
      },
    ],
    expected: 'tests',
    tests: [preVoteTests],
  },
  {
    name: 'no-check-quorum',
    breaks: 'ELE-2: a leader that hears nobody leads on',
    file: 'src/raft/leader.ts',
    edits: [
      {
        find: 'if (!hearsQuorum(state, leader)) {',
        replace: 'if (leader.round < 0 && !hearsQuorum(state, leader)) {',
      },
    ],
    expected: 'tests',
    tests: [preVoteTests],
  },
  {
    name: 'votes-of-earlier-terms',
    breaks: 'KER-1: a candidate counts votes that were given in an earlier term',
    file: election,
    edits: [
      {
        find: "if (state.role !== 'candidate' || message.term !== state.term) return;",
        replace: "if (state.role !== 'candidate') return;",
      },
    ],
    expected: 'tests',
    tests: [electionTests],
  },
  {
    name: 'votes-of-other-lives',
    breaks: '§1.4: a vote is counted whatever the incarnation that gave it',
    file: election,
    edits: [
      {
        find: 'return isVoter(activeConfiguration(state), voterOf(message));',
        replace: `return votersOfBoth(activeConfiguration(state)).some(
    (member) => member.replicaId === message.fromReplica,
  );`,
      },
      {
        find: 'return lives.some((known) => isSameLife(known, life));',
        replace: 'return lives.some((known) => known.replicaId === life.replicaId);',
      },
    ],
    expected: 'tests',
    tests: [electionTests],
  },
  {
    name: 'vote-in-doubt',
    breaks: 'KER-9: a replica in doubt votes',
    file: election,
    edits: [
      {
        find: "if (state.inDoubt) return;\n  assert(message.term <= state.term, 'a newer term was adopted before');",
        replace: "assert(message.term <= state.term, 'a newer term was adopted before');",
      },
      {
        file: 'src/raft/step.ts',
        find: 'if (state.inDoubt) return false;\n      if (isSticky',
        replace: 'if (isSticky',
      },
    ],
    expected: 'tests',
    tests: ['test/raft/doubt.test.ts'],
  },
  {
    name: 'far-voters-not-named',
    breaks: 'ELE-7: a voter never says that the way to a candidate is long',
    file: election,
    edits: [
      { find: 'highRtt: state.slowNodes.includes(message.fromNode)', replace: 'highRtt: false' },
    ],
    expected: 'tests',
    tests: [highRttTests],
  },
  {
    name: 'window-not-widened-for-far-voters',
    breaks: 'ELE-7: a candidate whose voters are far away campaigns with the ordinary window',
    file: election,
    edits: [
      {
        find: 'if (message.highRtt) state.wideUntilTerm = (state.term + 1) as Term;',
        replace: 'if (message.highRtt) state.wideUntilTerm = state.term;',
      },
    ],
    expected: 'tests',
    tests: [highRttTests],
  },
  {
    name: 'window-wide-for-ever',
    breaks: 'ELE-7: a window that was widened once stays wide in later terms',
    file: 'src/raft/role.ts',
    edits: [
      {
        find: 'state.term <= wideUntilTerm;',
        replace: 'wideUntilTerm > 0;',
      },
    ],
    expected: 'tests',
    tests: [highRttTests],
  },
  {
    name: 'one-late-answer-is-a-long-way',
    breaks: 'ELE-7: a single round trip over the threshold makes a link a long one',
    file: 'src/policy/link-rtt.ts',
    edits: [
      { find: 'const sampleThresholdsMax = 4;', replace: 'const sampleThresholdsMax = 4_000;' },
    ],
    expected: 'tests',
    tests: ['test/policy/link-rtt.test.ts'],
  },
  {
    name: 'hands-over-to-a-slow-disk',
    breaks: 'ELE-8: a leader with a slow disk hands over to whoever has caught up, slow or not',
    file: stepDown,
    edits: [{ find: 'heirsOf(input).filter(isFaster)', replace: 'heirsOf(input)' }],
    expected: 'tests',
    tests: [stepDownTests],
  },
  {
    name: 'hands-over-again-and-again',
    breaks: 'ELE-8: a slow disk ends reign after reign, without ten minutes in between',
    file: stepDown,
    edits: [
      {
        find: 'input.leaderAgeMs < input.leaderAgeMsMin || input.sinceStepDownMs < stepDownIntervalMs;',
        replace: 'input.leaderAgeMs < input.leaderAgeMsMin;',
      },
    ],
    expected: 'tests',
    tests: [stepDownTests],
  },
  {
    name: 'dead-follower-ends-a-reign',
    breaks: 'ELE-8: voters that are not heard count among those that lag',
    file: stepDown,
    edits: [
      {
        find: 'return active.filter(isFarBehind).length',
        replace: 'return peers.filter(isFarBehind).length',
      },
    ],
    expected: 'tests',
    tests: [stepDownTests],
  },
  {
    name: 'hiccup-makes-a-slow-disk',
    breaks: 'ELE-8: samples over the bound make a disk slow though one in between was not',
    file: 'src/policy/device-latency.ts',
    edits: [{ find: '    device.slowCount = 0;\n    return;', replace: '    return;' }],
    expected: 'tests',
    tests: ['test/policy/device-latency.test.ts'],
  },
  {
    name: 'hanging-sync-is-no-sample',
    breaks:
      'ELE-8: only chains that ended say how slow a disk is; one that hangs for ever says nothing',
    file: 'src/runtime/leadership-watch.ts',
    edits: [{ find: 'this.#sample(unfinishedMs, nowMs);', replace: 'this.#sample(0, nowMs);' }],
    expected: 'tests',
    tests: ['test/runtime/leadership-watch.test.ts'],
  },
  {
    name: 'device-latency-not-told',
    breaks: 'ELE-8: followers say nothing of their disks with their echoes',
    file: 'src/runtime/leadership-watch.ts',
    edits: [
      {
        find: 'return Math.min(Math.round(worstMs * 1_000), 0xffff_ffff);',
        replace: 'return Math.min(Math.round(worstMs * 0), 0xffff_ffff);',
      },
    ],
    expected: 'tests',
    tests: ['test/runtime/leadership-watch.test.ts'],
  },
  {
    name: 'new-leader-hands-over',
    breaks: 'ELE-8: an operator may have a leader hand over that was elected just now',
    file: 'src/runtime/membership-desk.ts',
    edits: [
      {
        find: 'if (under === undefined && waitMs > 0)',
        replace: 'if (under !== undefined && waitMs > 0)',
      },
    ],
    expected: 'tests',
    tests: ['test/runtime/leadership-watch.test.ts'],
  },
  {
    name: 'steps-down-and-campaigns-first',
    breaks: 'ELE-8: who steps down of its own accord campaigns as early as the others',
    file: 'src/raft/transfer.ts',
    edits: [
      {
        find: '  state.electionDeadlineTick += state.settings.electionTimeoutTicksMax;\n',
        replace: '',
      },
    ],
    expected: 'tests',
    tests: ['test/raft/step-down.test.ts'],
  },
  {
    name: 'lag-counted-from-the-last-word',
    breaks: 'ELE-8: a follower that had nothing to acknowledge for long lags for as long',
    file: 'src/raft/leader.ts',
    edits: [
      {
        find: 'if (row.matchIndex === state.log.lastIndex) row.caughtUpTick = state.now;',
        replace: 'if (row.matchIndex > state.log.lastIndex) row.caughtUpTick = state.now;',
      },
    ],
    expected: 'tests',
    tests: ['test/raft/step-down.test.ts'],
  },
];
