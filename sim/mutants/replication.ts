/** Wrong replication and commit: who is counted, for what, and how far a follower believes its leader. */
import type { Mutant } from './mutant.ts';

const leader = 'src/raft/leader.ts';
const follower = 'src/raft/follower.ts';
const commitTests = 'test/raft/commit.test.ts';
const followerTests = 'test/raft/follower-log.test.ts';
const scenarioTests = 'test/scenarios/replication.test.ts';
const behaviourTests = 'test/scenarios/behaviour-replication.test.ts';

/** Mutants of replication. */
export const replicationMutants: readonly Mutant[] = [
  {
    name: 'leaves-nobody-knows',
    breaks:
      'ENT-5: a leader gives entries leaves by BLAKE3, though a member has not said that it knows them',
    file: 'src/runtime/leaf-gate.ts',
    edits: [{ find: 'if (unaware === undefined) return', replace: 'if (unaware !== null) return' }],
    expected: 'tests',
    tests: ['test/scenarios/versions.test.ts'],
  },
  {
    name: 'leaf-by-one-hash',
    breaks: 'ENT-5: every leaf is taken for one by SHA-256',
    file: 'src/codec/entry-frame.ts',
    edits: [
      {
        find: "(u16At(bytes, offset + 2) & flagBlake3) === 0 ? 'sha256'",
        replace: "offset >= 0 ? 'sha256'",
      },
    ],
    expected: 'tests',
    tests: ['test/codec/entry-frame.test.ts'],
  },
  {
    name: 'count-self-before-durable',
    breaks: 'KER-2: a leader counts its own entries as soon as they are appended',
    file: leader,
    edits: [
      {
        find: 'state.inDoubt ? 0 : state.durableIndex',
        replace: 'state.inDoubt ? 0 : state.log.lastIndex',
      },
    ],
    expected: 'tests',
    tests: [commitTests],
  },
  {
    name: 'skip-own-term-rule',
    breaks: 'KER-1: a leader commits entries of earlier terms by counting (Raft, figure 8)',
    file: leader,
    edits: [
      { find: 'durableAtQuorum >= leader.termStartIndex', replace: 'durableAtQuorum > 0' },
      // The core's own assertion of the rule would stop the replica first.
      { find: '!isOwnTerm ||', replace: 'true ||' },
    ],
    expected: 'tests',
    tests: [commitTests],
  },
  {
    name: 'commit-beyond-verified',
    breaks: '§1.2: a follower commits what its leader says, verified or not',
    file: 'src/raft/role.ts',
    edits: [
      {
        find: 'Math.min(candidate, state.verifiedIndex)',
        replace: 'Math.min(candidate, state.log.lastIndex)',
      },
    ],
    expected: 'tests',
    tests: [followerTests],
  },
  {
    name: 'apply-before-own-sync',
    breaks: '§1.2: a replica applies what is committed before it is durable here',
    file: 'src/raft/role.ts',
    edits: [
      {
        find: 'Math.min(commitIndex, state.durableIndex),',
        replace: 'Math.max(commitIndex, state.commitIndex),',
      },
    ],
    expected: 'tests',
    tests: [commitTests],
  },
  {
    name: 'ack-beyond-verified',
    breaks: 'ACK-5: a follower acknowledges a durable suffix that this term has not verified',
    file: follower,
    edits: [
      {
        find: 'Math.min(state.durableIndex, state.verifiedIndex) as LogIndex',
        replace: 'state.durableIndex',
      },
    ],
    expected: 'tests',
    tests: [followerTests],
  },
  {
    name: 'ack-before-own-sync',
    breaks: 'KER-2: a follower acknowledges entries that are on their way to its disk',
    file: follower,
    edits: [
      {
        find: 'Math.min(state.durableIndex, state.verifiedIndex) as LogIndex',
        replace: 'state.verifiedIndex',
      },
      {
        find: 'if (state.durableIndex >= state.verifiedIndex) acknowledge(state, context);',
        replace: 'acknowledge(state, context);',
      },
    ],
    expected: 'tests',
    tests: [followerTests],
  },
  {
    name: 'old-append-truncates',
    breaks: 'KER-1: an old or short append drops the matching entries behind its end',
    file: follower,
    edits: [
      {
        find: 'if (firstNew === undefined) return;',
        replace: `if (firstNew === undefined) {
    const isCut = lastIndex < state.log.lastIndex && lastIndex >= state.commitIndex;
    if (isCut) state.verifiedIndex = Math.min(state.verifiedIndex, lastIndex) as LogIndex;
    if (isCut) truncate(state, context, (lastIndex + 1) as LogIndex);
    return;
  }`,
      },
    ],
    expected: 'tests',
    tests: [followerTests],
  },
  {
    name: 'appends-without-log-matching',
    breaks: 'KER-1: a follower appends behind a previous entry of another term (Raft §5.3)',
    file: follower,
    edits: [
      {
        find: 'return termAt(state.log, message.prevIndex) === message.prevTerm;',
        replace: 'return termAt(state.log, message.prevIndex) !== undefined;',
      },
    ],
    expected: 'tests',
    tests: [followerTests],
  },
  {
    name: 'next-index-as-match',
    breaks: "ACK-2: a probe's next index is taken for what the follower has durable",
    file: 'src/raft/progress.ts',
    edits: [
      {
        find: 'matchIndex: 0 as LogIndex,',
        replace: 'matchIndex: (nextIndex - 1) as LogIndex,',
      },
    ],
    expected: 'tests',
    tests: [commitTests],
  },
  {
    name: 'acks-of-earlier-terms',
    breaks: 'ACK-2: acknowledgements of an earlier reign are counted',
    file: leader,
    edits: [
      {
        find: 'if (state.leader === undefined || message.term !== state.term) return undefined;',
        replace: 'if (state.leader === undefined) return undefined;',
      },
    ],
    expected: 'tests',
    tests: [scenarioTests],
  },
  {
    name: 'acks-of-other-lives',
    breaks: 'ACK-2: acknowledgements are counted whatever the incarnation that gave them',
    file: leader,
    edits: [
      {
        find: `return findProgress(state.leader.progress, {
    replicaId: message.fromReplica,
    incarnation: message.fromIncarnation,
  });`,
        replace:
          'return state.leader.progress.find((row) => row.member.replicaId === message.fromReplica);',
      },
    ],
    expected: 'tests',
    tests: [commitTests],
  },
  {
    name: 'match-falls',
    breaks: 'ACK-6: a late acknowledgement takes the match index back',
    file: 'src/raft/replication.ts',
    edits: [
      {
        find: ` ||
    message.lastFsyncedIndex < progress.matchIndex
  )`,
        replace: '\n  )',
      },
    ],
    expected: 'tests',
    tests: [commitTests],
  },
  {
    name: 'late-completion-believed',
    breaks: 'KER-12: a completion that is older than the last truncation makes entries durable',
    file: 'src/raft/step.ts',
    edits: [
      {
        find: 'if (input.appendSequence < state.truncationSequence) return;',
        replace: '',
      },
      {
        find: `assert(
    termAt(state.log, input.index) === input.term,
    'a completion speaks for the very entry that it wrote',
  );`,
        replace: '',
      },
      {
        find: "assert(input.index <= state.log.lastIndex, 'a completion speaks of entries of the log');",
        replace: 'if (input.index > state.log.lastIndex) return;',
      },
    ],
    expected: 'tests',
    tests: [followerTests],
  },
  {
    name: 'whole-log-committed-after-restart',
    breaks: '§1.3: a restarting replica takes its whole log for committed',
    file: 'src/raft/state.ts',
    edits: [
      {
        find: 'Math.min(start.recordedCommitIndex, start.lastIndex),',
        replace: 'start.lastIndex,',
      },
    ],
    expected: 'tests',
    tests: [followerTests],
  },
  {
    name: 'lost-ledger-not-noticed',
    breaks: 'KER-9: a leader goes on counting a peer whose ledger went back in a new boot',
    file: 'src/raft/replication.ts',
    edits: [
      {
        find: 'if (isBootFresh) doubtPeer(state, context, progress);',
        replace: 'if (isBootFresh) progress.ledgerSeq = message.ledgerSeq;',
      },
    ],
    expected: 'tests',
    tests: ['test/raft/doubt.test.ts'],
  },
  {
    name: 'refusal-ends-the-wait-for-a-snapshot',
    breaks: '§2.4: a refusal, late or expected, makes a leader ask its owner for another snapshot',
    file: 'src/raft/replication.ts',
    edits: [
      {
        find: `  // No append of earlier entries can help it: the snapshot that it waits for decides.
  if (progress.state === 'snapshot') return;`,
        replace: '',
      },
    ],
    expected: 'tests',
    tests: [behaviourTests],
  },
  {
    name: 'nobody-asks-for-a-snapshot-that-came',
    breaks: '§2.4: a follower whose word of an installed snapshot was lost is never asked again',
    file: 'src/raft/replication.ts',
    edits: [
      {
        find: 'emitEmptyAppend(state, context, progress, state.log.baseIndex);',
        replace: '',
      },
    ],
    expected: 'tests',
    tests: [behaviourTests],
  },
];
