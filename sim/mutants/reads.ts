/** Wrong reads, and wrong applying: what is served too early, and what takes effect twice or not at all. */
import type { Mutant } from './mutant.ts';

const readIndex = 'src/raft/read-index.ts';
const readTests = 'test/raft/reads.test.ts';
const requestTests = 'test/scenarios/requests.test.ts';

/** Mutants of reads and applying. */
export const readMutants: readonly Mutant[] = [
  {
    name: 'read-without-a-round',
    breaks: 'RDX-1: a leader serves reads without asking whether it still leads',
    file: readIndex,
    edits: [
      {
        find: 'read.round > leader.confirmedRound || read.index > committed',
        replace: 'read.index > committed',
      },
      {
        find: 'if (!isRoundOut) beginRound(state, context);',
        replace: 'if (!isRoundOut) beginRound(state, context);\n  releaseReads(state, context);',
      },
    ],
    expected: 'tests',
    tests: [readTests],
  },
  {
    name: 'read-below-the-term-start',
    breaks: 'RDX-2: a new leader serves a read before an entry of its own term is committed',
    file: readIndex,
    edits: [
      {
        find: 'index: Math.max(state.commitIndex, leader.termStartIndex) as LogIndex',
        replace: 'index: state.commitIndex',
      },
    ],
    expected: 'tests',
    tests: [readTests],
  },
  {
    name: 'echo-of-an-earlier-round',
    breaks: 'RDX-1: a round that was sent before the read arrived confirms it',
    file: readIndex,
    edits: [{ find: 'round: leader.round + 1,\n  });', replace: 'round: leader.round,\n  });' }],
    expected: 'tests',
    tests: [readTests],
  },
  {
    name: 'echo-in-doubt',
    breaks: 'KER-9: the echo of a replica in doubt confirms reads and leadership',
    file: 'src/raft/leader.ts',
    edits: [
      {
        find: 'if (progress === undefined || message.inDoubt) return;',
        replace: 'if (progress === undefined) return;',
      },
    ],
    expected: 'tests',
    tests: ['test/raft/doubt.test.ts'],
  },
  {
    name: 'no-confirmation-after-a-stall',
    breaks: 'ELE-6: a leader that stood still serves on the strength of what was said before',
    file: 'src/raft/step.ts',
    edits: [
      {
        find: "if (state.role === 'leader' && !state.isHibernating) reconfirmReads(state, context);",
        replace: "if (state.role !== 'leader') reconfirmReads(state, context);",
      },
    ],
    expected: 'tests',
    tests: [readTests],
  },
  {
    name: 'read-before-applied',
    breaks: 'RDX-2: a read is served once its index is known, applied here or not',
    file: 'src/runtime/read-barriers.ts',
    edits: [
      {
        find: 'if (index <= this.#appliedIndex) {',
        replace: 'if (index >= 0) {',
      },
      {
        file: 'src/runtime/local-read.ts',
        find: 'if (this.#options.replica.apply.appliedIndex >= index) return index;',
        replace: 'if (index >= 0) return index;',
      },
    ],
    expected: 'tests',
    tests: ['test/scenarios/reads.test.ts'],
  },
  {
    name: 'duplicate-applied',
    breaks: 'ACK-10: a request that took effect takes effect again under the same key',
    file: 'src/runtime/idempotency-table.ts',
    edits: [
      {
        find: "if (row !== undefined) return row.digest === digest ? { kind: 'duplicate', row } : reuse;",
        replace: 'if (row !== undefined && row.digest !== digest) return reuse;',
      },
    ],
    expected: 'tests',
    tests: [requestTests],
  },
  {
    name: 'horizon-ignored',
    breaks: 'ACK-11: a retry whose key was evicted takes effect a second time',
    file: 'src/runtime/idempotency-table.ts',
    edits: [
      {
        find: 'return key.firstSeenCommit < this.#horizon ? horizonPassed : fresh;',
        replace: 'return fresh;',
      },
    ],
    expected: 'tests',
    tests: [requestTests],
  },
  {
    name: 'unknown-entry-skipped',
    breaks: '§3.1: a system entry that this version does not know is skipped',
    file: 'src/runtime/apply-pipeline.ts',
    edits: [
      {
        find: "if (system.kind === 'unknown') throw",
        replace: "if (system.kind === 'unknown' && system.id < 0) throw",
      },
    ],
    expected: 'tests',
    tests: ['test/runtime/apply-pipeline.test.ts'],
  },
  {
    name: 'machine-skips-an-entry',
    breaks: 'APP-2: an entry that the machine could not take yet is left out',
    file: 'src/runtime/apply-pipeline.ts',
    edits: [
      {
        find: "const appliedCount = outcome.kind === 'ack' ? this.#batch.length : outcome.appliedCount;",
        replace:
          "const appliedCount = outcome.kind === 'ack' ? this.#batch.length : Math.min(this.#batch.length, outcome.appliedCount + 1);",
      },
    ],
    expected: 'tests',
    tests: ['test/runtime/apply-pipeline.test.ts'],
  },
  {
    name: 'echo-of-a-doubted-peer',
    breaks: 'KER-9: a peer whose ledger went back confirms reads until it knows of its doubt',
    file: 'src/raft/read-index.ts',
    edits: [{ find: 'row === undefined || row.inDoubt ? 0', replace: 'row === undefined ? 0' }],
    expected: 'tests',
    tests: ['test/raft/doubt.test.ts'],
  },
  {
    name: 'results-count-at-once',
    breaks: 'ACK-10: what the table of keys evicts depends on where batches end',
    file: 'src/runtime/idempotency-table.ts',
    edits: [
      {
        find: 'row.isResultTooLarge = isTooLarge;',
        replace: `row.isResultTooLarge = isTooLarge;
    row.isCounted = true;
    this.#bytes += result?.length ?? 0;
    this.#enforce();`,
      },
      {
        find: 'if (!row.isLive) continue;',
        replace: 'if (!row.isLive || row.isCounted) continue;',
      },
    ],
    expected: 'tests',
    tests: ['test/runtime/idempotency-table.test.ts'],
  },
  {
    name: 'metadata-not-looked-at',
    breaks: '§2.4: an entry whose metadata nobody can read is appended, and stops every replica',
    file: 'src/runtime/replica.ts',
    edits: [
      {
        find: ' ?? metadataRefusal(proposal, this.state.commitIndex)',
        replace: '',
      },
    ],
    expected: 'tests',
    tests: ['test/runtime/entry-admission.test.ts'],
  },
];
