/** Wrong hibernation: who sleeps too early, and who is not woken. */
import type { Mutant } from './mutant.ts';

const hibernation = 'src/raft/hibernation.ts';
const tests = ['test/raft/hibernation.test.ts'];

/** Mutants of hibernation. */
export const hibernationMutants: readonly Mutant[] = [
  {
    name: 'sleeps-without-agreement',
    breaks: 'HIB-1: a leader sleeps as soon as one follower has agreed',
    file: hibernation,
    edits: [
      {
        find: 'const isAgreed = leader.progress.every(',
        replace: 'const isAgreed = leader.progress.some(',
      },
    ],
    expected: 'tests',
    tests,
  },
  {
    name: 'late-echoes-end-the-quiet',
    breaks:
      'HIB-1: the quiet time begins anew with each late echo, and thousands of partitions keep each other awake',
    file: hibernation,
    edits: [
      {
        find: 'leader.restRound = undefined;\n  else if',
        replace: 'noteWork(state, leader);\n  else if',
      },
      {
        find: 'heardSince = state.now - state.settings.electionTimeoutTicksMin',
        replace: 'heardSince = state.now - 2 * state.settings.heartbeatTicks',
      },
    ],
    expected: 'tests',
    tests,
  },
  {
    name: 'recovery-is-silence',
    breaks: '§2.5: elections behind a long recovery begin all at once, at the first tick',
    file: 'src/raft/step.ts',
    edits: [
      { find: '  state.now = now;\n  resetElectionDeadline', replace: '  resetElectionDeadline' },
    ],
    expected: 'tests',
    tests: ['test/scenarios/slow-start.test.ts'],
  },
  {
    name: 'rests-with-entries-missing',
    breaks: 'HIB-1: a follower agrees to sleep though its leader has committed more than it holds',
    file: hibernation,
    edits: [{ find: '    message.commit === state.log.lastIndex &&\n', replace: '' }],
    expected: 'tests',
    tests,
  },
  {
    name: 'sleeper-not-told-of-a-dead-node',
    breaks: "HIB-2: a follower sleeps on when the connection to its leader's node is lost",
    file: hibernation,
    edits: [
      {
        find: 'state.leaderContact?.nodeId !== input.nodeId',
        replace: 'state.leaderContact?.nodeId === input.nodeId',
      },
    ],
    expected: 'tests',
    tests,
  },
  {
    name: 'sleeper-votes',
    breaks: 'HIB-3: a hibernating follower grants pre-votes against its leader',
    file: 'src/raft/election.ts',
    edits: [
      {
        find: "state.role === 'leader' || state.isHibernating",
        replace: "state.role === 'leader'",
      },
    ],
    expected: 'tests',
    tests,
  },
  {
    name: 'steps-down-asleep',
    breaks: 'HIB-5: a leader that slept stops leading without waking its followers',
    file: 'src/raft/role.ts',
    edits: [
      {
        find: 'wasLeader.restRound = undefined;\n    broadcastRound(state, context);',
        replace: 'wasLeader.restRound = undefined;',
      },
    ],
    expected: 'tests',
    tests,
  },
  {
    name: 'rest-not-called-off',
    breaks: 'HIB-5: a leader that asked for rest leaves without waking those who rest already',
    file: 'src/raft/hibernation.ts',
    edits: [{ find: 'if (hasAskedForRest) broadcastRound(state, context);', replace: '' }],
    expected: 'tests',
    tests,
  },
];
