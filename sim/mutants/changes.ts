/** Mistakes with changes of membership and leadership that take a schedule to show: the named scenarios are there for them. */
import type { Mutant } from './mutant.ts';

const membership = 'src/raft/membership.ts';
const coreScenarios = 'test/scenarios/membership.test.ts';
const nodeScenarios = 'test/scenarios/changes.test.ts';

/** Mutants of the course of a change. */
export const changeMutants: readonly Mutant[] = [
  {
    name: 'unpromoted-does-not-vote',
    breaks: '§3.1: a learner that has not heard of its promotion refuses its vote (regression 6)',
    file: 'src/raft/election.ts',
    edits: [
      {
        find: 'const isCurrent = message.term === state.term;',
        replace: 'const isCurrent = message.term === state.term && mayCampaign(state);',
      },
    ],
    expected: 'tests',
    tests: [coreScenarios],
  },
  {
    name: 'voters-without-a-joint-phase',
    breaks: '§3.1: other voters stand alone at once, without a joint phase (regression 21)',
    file: membership,
    edits: [
      {
        find: 'if (hasSameVoters(active.members, members)) {',
        replace: 'if (hasSameVoters(active.members, members) || members.length > 0) {',
      },
    ],
    expected: 'tests',
    tests: [coreScenarios],
  },
  {
    name: 'uncommitted-configuration-not-in-force',
    breaks:
      '§3.1: behind a restart a configuration that is not committed is not in force (regression 23)',
    file: 'src/raft/state.ts',
    edits: [
      {
        find: 'configurations: [...start.configurations],',
        replace: 'configurations: start.configurations.filter((row) => row.index <= commitIndex),',
      },
    ],
    expected: 'tests',
    tests: [nodeScenarios],
  },
  {
    name: 'joint-without-new-voters-stays',
    breaks: '§3.1: a joint phase whose new voters are gone is never left (regression 25)',
    file: membership,
    edits: [
      {
        find: 'return hasMajority(active.members, (member) => !missing.includes(member))',
        replace:
          'return hasMajority(active.members, (member) => missing.length > 0 || !isSelf(state, member))',
      },
    ],
    expected: 'tests',
    tests: [coreScenarios],
  },
  {
    name: 'idle-joint-phase-stays',
    breaks: '§3.1: a joint phase in which nobody writes is not filled up (regression 25)',
    file: membership,
    edits: [
      {
        find: 'if (isIdle) appendOwn(',
        replace: 'if (isIdle && missing > state.settings.finalizeEntries) appendOwn(',
      },
    ],
    expected: 'tests',
    tests: [coreScenarios],
  },
  {
    name: 'entries-before-the-joint-count',
    breaks: '§3.1: own-term entries from before the joint entry count for its exit (regression 61)',
    file: membership,
    edits: [
      {
        find: 'state.commitIndex - Math.max(active.index, leader.termStartIndex) + 1',
        replace: 'state.commitIndex - Math.min(active.index, leader.termStartIndex) + 1',
      },
    ],
    expected: 'tests',
    tests: [coreScenarios],
  },
  {
    name: 'final-waits-for-every-member',
    breaks:
      '§3.1: a joint phase is left once each member has caught up, instead of each half (regression 70)',
    file: membership,
    edits: [
      {
        find: 'if (!hasCaughtUp(state, context, state.commitIndex)) return;',
        replace: `const least = Math.min(state.commitIndex, ...leader.progress.map((row) => row.matchIndex));
  if (!hasCaughtUp(state, context, least as LogIndex)) return;`,
      },
    ],
    expected: 'tests',
    tests: [nodeScenarios],
  },
];
