/** Wrong changes of membership: joint majorities, the exits of a joint phase, configurations that are forgotten, transfers. */
import type { Mutant } from './mutant.ts';

const progress = 'src/raft/progress.ts';
const observerTests = 'test/raft/observers.test.ts';
const membership = 'src/raft/membership.ts';
const quorum = 'src/raft/quorum.ts';
const membershipTests = 'test/raft/membership.test.ts';
const quorumTests = 'test/raft/quorum.test.ts';

/** Mutants of membership. */
export const membershipMutants: readonly Mutant[] = [
  {
    name: 'new-half-alone-decides',
    breaks: '§3.1: in a joint phase a majority of the new voters is enough',
    file: quorum,
    edits: [
      {
        find: 'return Math.min(incoming, majorityValue(configuration.outgoingMembers, valueOf));',
        replace: 'return incoming;',
      },
    ],
    expected: 'tests',
    tests: [quorumTests],
  },
  {
    name: 'old-half-alone-decides',
    breaks: '§3.1: in a joint phase a majority of the old voters is enough',
    file: quorum,
    edits: [
      {
        find: 'return Math.min(incoming, majorityValue(configuration.outgoingMembers, valueOf));',
        replace: 'return majorityValue(configuration.outgoingMembers, valueOf);',
      },
    ],
    expected: 'tests',
    tests: [quorumTests],
  },
  {
    name: 'half-is-a-majority',
    breaks: '§1.2: half of an even number of voters passes for a majority',
    file: quorum,
    edits: [
      {
        find: 'descending[descending.length >> 1] ?? 0',
        replace: 'descending[(descending.length - 1) >> 1] ?? 0',
      },
    ],
    expected: 'tests',
    tests: [quorumTests],
  },
  {
    name: 'learner-counts',
    breaks: '§3.1: a learner is counted like a voter',
    file: quorum,
    edits: [
      {
        find: "    if (member.role !== 'voter') continue;\n    const value = valueOf(member);",
        replace: '    const value = valueOf(member);',
      },
    ],
    expected: 'tests',
    tests: [quorumTests],
  },
  {
    name: 'exit-without-own-term-commit',
    breaks:
      '§3.1: a later leader leaves a joint phase before an entry of its own term is committed',
    file: membership,
    edits: [
      {
        find: 'Math.max(active.index, leader.termStartIndex)',
        replace: 'active.index',
      },
    ],
    expected: 'tests',
    tests: [membershipTests],
  },
  {
    name: 'final-at-once',
    breaks: '§3.1: the new configuration stands alone as soon as the joint entry is committed',
    file: membership,
    edits: [
      {
        find: 'const missing = state.settings.finalizeEntries - committed;',
        replace: 'const missing = Math.min(0, committed);',
      },
    ],
    expected: 'tests',
    tests: [membershipTests],
  },
  {
    name: 'rollback-without-own-term-commit',
    breaks: '§3.1: a later leader goes back though an earlier one may have gone forward',
    file: membership,
    edits: [
      {
        find: 'if (committed <= 0 && active.term !== state.term) return;',
        replace: '',
      },
    ],
    expected: 'tests',
    tests: [membershipTests],
  },
  {
    name: 'change-before-term-start-commit',
    breaks: '§3.1: a change begins in a term of which nothing is committed (regression 21)',
    file: membership,
    edits: [
      {
        find: "if (state.commitIndex < leader.termStartIndex) return 'termStartUncommitted';",
        replace: '',
      },
    ],
    expected: 'tests',
    tests: [membershipTests],
  },
  {
    name: 'two-changes-in-flight',
    breaks: '§3.1: a change begins while the one before is not committed',
    file: membership,
    edits: [
      {
        find: "if (active.index > state.commitIndex) return 'changeUncommitted';",
        replace: '',
      },
    ],
    expected: 'tests',
    tests: [membershipTests],
  },
  {
    name: 'configuration-not-undone',
    breaks: '§3.1: a configuration stays in force though its entry was truncated',
    file: 'src/raft/follower.ts',
    edits: [
      {
        find: '(state.configurations[state.configurations.length - 1]?.index ?? 0) >= fromIndex',
        replace: 'fromIndex < 0',
      },
    ],
    expected: 'tests',
    tests: ['test/raft/follower-log.test.ts'],
  },
  {
    name: 'configuration-not-recorded',
    breaks: '§3.1: a configuration does not go into the ledger flush that covers its entry',
    file: 'src/storage/data-flush.ts',
    edits: [
      {
        find: 'for (const configuration of batch.configurations ?? []) {',
        replace: 'for (const configuration of (batch.configurations ?? []).slice(0, 0)) {',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/recovery.test.ts'],
  },
  {
    name: 'configuration-not-recovered',
    breaks: '§3.1: an entry that is kept behind coverage does not bring its configuration back',
    file: 'src/storage/recovery.ts',
    edits: [
      {
        find: 'if (configuration !== undefined) log?.configurationsFound.push(configuration);',
        replace: 'if (configuration === null) log?.configurationsFound.push(configuration);',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/recovery.test.ts'],
  },
  {
    name: 'truncated-configuration-recovered',
    breaks: '§3.1: a truncated configuration is back in force after a restart',
    file: 'src/storage/ledger-image.ts',
    edits: [
      {
        find: '(configuration) => configuration.index < fromIndex,',
        replace: '(configuration) => configuration.index < fromIndex || fromIndex > 0,',
      },
      {
        file: 'src/storage/recovered-log.ts',
        find: 'return piece === undefined ? index <= this.coveredIndex : piece.term === term;',
        replace: 'return term >= 0;',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/recovery.test.ts'],
  },
  {
    name: 'removed-leader-stays',
    breaks: '§3.1: a leader that was removed leads on behind the committed final entry',
    file: membership,
    edits: [
      {
        find: 'if (isJoint(active) || isVoter(active, selfLife(state))) return;',
        replace:
          'if (isJoint(active) || isVoter(active, selfLife(state)) || leader.isSettled) return;',
      },
    ],
    expected: 'tests',
    tests: [membershipTests],
  },
  {
    name: 'removed-leader-counts-itself',
    breaks: '§3.1: a leader outside the new voters counts itself among them',
    file: 'src/raft/leader.ts',
    edits: [
      {
        find: 'const durableAtQuorum = quorumValue(activeConfiguration(state), (member) => {',
        replace: `const inForce = activeConfiguration(state);
  const others = inForce.members.filter((member) => !isSelf(state, member));
  const { selfReplica: replicaId, selfNode: nodeId, selfIncarnation: incarnation } = state;
  const self = { replicaId, nodeId, incarnation, role: 'voter' as const, addresses: [] };
  const counted = { ...inForce, members: [...others, self] };
  const durableAtQuorum = quorumValue(counted, (member) => {`,
      },
    ],
    expected: 'tests',
    tests: [membershipTests],
  },
  {
    name: 'proposals-during-a-transfer',
    breaks: 'ELE-9: a leader goes on taking proposals while it hands over',
    file: 'src/raft/leader.ts',
    edits: [
      {
        find: "assert(state.leader?.transfer === undefined, 'no proposal is appended while handing over');",
        replace: '',
      },
      {
        file: 'src/runtime/replica.ts',
        find: 'if (this.#proposals.waitingCount === 0 || this.state.leader?.transfer !== undefined) return;',
        replace: 'if (this.#proposals.waitingCount === 0) return;',
      },
    ],
    expected: 'tests',
    tests: [membershipTests],
  },
  {
    name: 'proposals-not-held-back',
    breaks: 'ELE-9: writes reach a leader that hands over, instead of waiting for the outcome',
    file: 'src/runtime/replica.ts',
    edits: [
      {
        find: 'if (this.#proposals.waitingCount === 0 || this.state.leader?.transfer !== undefined) return;',
        replace: 'if (this.#proposals.waitingCount === 0) return;',
      },
    ],
    expected: 'tests',
    tests: ['test/runtime/transfer.test.ts'],
  },
  {
    name: 'transfer-to-a-laggard',
    breaks: 'ELE-9: the heir is asked to campaign before it has caught up',
    file: 'src/raft/transfer.ts',
    edits: [
      {
        find: 'transfer.isSent || row.inDoubt || row.matchIndex !== state.log.lastIndex',
        replace: 'transfer.isSent || row.inDoubt',
      },
    ],
    expected: 'tests',
    tests: [membershipTests],
  },
  {
    name: 'transfer-without-end',
    breaks: 'ELE-9: a transfer that comes to nothing is never given up',
    file: 'src/raft/transfer.ts',
    edits: [{ find: '!isPossible || state.now >= transfer.deadlineTick', replace: '!isPossible' }],
    expected: 'tests',
    tests: [membershipTests],
  },
  {
    name: 'transfer-meets-stickiness',
    breaks: 'ELE-9: a voter that has just heard its leader refuses the heir that the leader chose',
    file: 'src/raft/step.ts',
    edits: [
      {
        find: 'if (isSticky(state) && !message.isTransfer) {',
        replace: 'if (isSticky(state)) {',
      },
    ],
    expected: 'tests',
    tests: [membershipTests],
  },
  {
    name: 'late-order-to-campaign',
    breaks: 'ELE-9: an order to campaign counts though its term is over',
    file: 'src/raft/election.ts',
    edits: [
      {
        find: "if (message.term < state.term || state.role === 'leader' || !mayCampaign(state)) return;",
        replace: "if (message.term < 0 || state.role === 'leader' || !mayCampaign(state)) return;",
      },
    ],
    expected: 'tests',
    tests: [membershipTests],
  },
  {
    name: 'observer-without-cap',
    breaks: '§3.0: an observer is sent as much at once as a voter',
    file: progress,
    edits: [
      {
        find: "if (progress.member.role !== 'observer') return true;",
        replace: "if (progress.member.role !== 'learner') return true;",
      },
    ],
    expected: 'tests',
    tests: [observerTests],
  },
  {
    name: 'observer-probes-without-cap',
    breaks: '§3.0: what an observer is sent without an answer is not charged to its share',
    file: 'src/raft/replication.ts',
    edits: [
      {
        find: "if (progress.member.role === 'observer') progress.creditBytes -= bytes;",
        replace:
          "if (progress.member.role === 'observer' && progress.state === 'replicate')\n    progress.creditBytes -= bytes;",
      },
    ],
    expected: 'tests',
    tests: [observerTests],
  },
  {
    name: 'observer-entries-from-disk-as-estimated',
    breaks: '§3.0: entries that are read from disk for an observer cost what they were thought to',
    file: progress,
    edits: [
      {
        find: 'progress.creditBytes -= streamed.extraBytes;',
        replace: 'progress.creditBytes -= Math.min(streamed.extraBytes, 0);',
      },
    ],
    expected: 'tests',
    tests: [observerTests],
  },
  {
    name: 'observer-holds-everybody-awake',
    breaks: '§3.0: an observer that is gone keeps a partition from hibernating',
    file: 'src/raft/hibernation.ts',
    edits: [
      {
        find: "row.member.role === 'observer' &&",
        replace: "row.member.role === 'voter' &&",
      },
    ],
    expected: 'tests',
    tests: [observerTests],
  },
  {
    name: 'any-number-of-observers',
    breaks: '§3.0: a third observer is taken in',
    file: 'src/runtime/membership-desk.ts',
    edits: [{ find: 'const observersMax = 2;', replace: 'const observersMax = 3;' }],
    expected: 'tests',
    tests: ['test/runtime/observers.test.ts'],
  },
];
