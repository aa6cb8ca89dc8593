/** Wrong ways with logs that begin behind a snapshot, as the core sees them. */
import type { Mutant } from './mutant.ts';

const coreFile = 'src/raft/compaction.ts';
const compactionTests = 'test/raft/compaction.test.ts';
const installationTests = 'test/raft/installation.test.ts';

/** Mutants of compaction and of snapshots that take the place of a log. */
export const compactionMutants: readonly Mutant[] = [
  {
    name: 'compacted-under-a-follower',
    breaks: '§8.1: entries go that a follower within the guard still needs',
    file: coreFile,
    edits: [{ find: 'if (isProtected(state, row))', replace: 'if (row.inDoubt)' }],
    expected: 'tests',
    tests: [compactionTests],
  },
  {
    name: 'compacted-in-quarantine',
    breaks: '§8.1: entries go at a replica that is in doubt or in quarantine',
    file: coreFile,
    edits: [
      {
        find: 'if (state.inDoubt || state.isHeld) return baseIndex;',
        replace: "if (state.inDoubt && state.role === 'leader') return baseIndex;",
      },
    ],
    expected: 'tests',
    tests: [compactionTests],
  },
  {
    name: 'compacted-past-what-is-applied',
    breaks: '§8.1: a log begins behind entries that no snapshot can stand for',
    file: coreFile,
    edits: [
      {
        find: "assert(baseIndex <= state.appliableIndex, 'only entries that may be applied are compacted');",
        replace: '',
      },
    ],
    expected: 'tests',
    tests: [compactionTests],
  },
  {
    name: 'doubt-told-with-an-entry-that-is-gone',
    breaks:
      'KER-9: a leader cannot tell a follower of its doubt once the entries at its match are gone',
    file: 'src/raft/replication.ts',
    edits: [
      {
        find: 'Math.max(progress.matchIndex, state.log.baseIndex) as LogIndex;\n  emitEmptyAppend',
        replace: 'progress.matchIndex;\n  emitEmptyAppend',
      },
    ],
    expected: 'tests',
    tests: [compactionTests],
  },
  {
    name: 'counted-below-the-base',
    breaks:
      '§8.1: a leader stops where a quorum of new voters has not come to the start of its log',
    file: 'src/raft/leader.ts',
    edits: [{ find: 'durableAtQuorum < state.log.baseIndex ||', replace: '' }],
    expected: 'tests',
    tests: [compactionTests],
  },
  {
    name: 'snapshot-wanted-after-any-refusal',
    breaks: '§7: a follower fetches a snapshot that its leader has not told it to',
    file: 'src/raft/follower.ts',
    edits: [{ find: 'if (message.needsSnapshot)', replace: 'if (message.prevIndex > 0)' }],
    expected: 'tests',
    tests: [compactionTests],
  },
  {
    name: 'snapshot-drops-acknowledged-entries',
    breaks: '§7: durable entries behind the very entry that a snapshot ends with go as well',
    file: coreFile,
    edits: [
      {
        find: 'const isKept = place.index <= state.durableIndex && termAt(log, place.index) === place.term;',
        replace: 'const isKept = termAt(log, place.index) === place.term && place.index < 0;',
      },
    ],
    expected: 'tests',
    tests: [installationTests],
  },
  {
    name: 'snapshot-before-another-history',
    breaks: '§7: entries behind another one than the snapshot ends with are kept',
    file: coreFile,
    edits: [
      {
        find: 'const isKept = place.index <= state.durableIndex && termAt(log, place.index) === place.term;',
        replace: 'const isKept = place.index <= state.durableIndex;',
      },
    ],
    expected: 'tests',
    tests: [installationTests],
  },
  {
    name: 'completions-outlive-an-installation',
    breaks: 'KER-12: a completion speaks for entries that a snapshot took the place of',
    file: coreFile,
    edits: [
      {
        find: 'if (!isKept || log.lastIndex < before.lastIndex)',
        replace: 'if (isKept && log.lastIndex < before.lastIndex)',
      },
    ],
    expected: 'tests',
    tests: [installationTests],
  },
  {
    name: 'snapshot-against-what-is-committed',
    breaks: '§7: a snapshot that conflicts with committed entries takes their place',
    file: coreFile,
    edits: [
      {
        find: "known !== place.term && place.index <= vouchedIndex ? 'conflict'",
        replace: "known !== place.term && place.index < -vouchedIndex ? 'conflict'",
      },
    ],
    expected: 'tests',
    tests: [installationTests],
  },
  {
    name: 'snapshot-of-an-unseen-term',
    breaks: 'KER-2: a log ends in a term that its replica has not made durable',
    file: coreFile,
    edits: [
      {
        find: "if (place.term > state.term) return 'termUnseen';",
        replace: '',
      },
    ],
    expected: 'tests',
    tests: [installationTests],
  },
];
