/** Wrong ways with damaged data: cut, believed, or forgotten too early. */
import type { Mutant } from './mutant.ts';

const scrub = 'src/policy/scrub.ts';
const desk = 'src/runtime/quarantine-desk.ts';
const scenarioTests = 'test/scenarios/integrity.test.ts';
const recoveryTests = 'test/storage/recovery.test.ts';
const repairTests = 'test/runtime/repair.test.ts';

/** Mutants of quarantine and repair. */
export const integrityMutants: readonly Mutant[] = [
  {
    name: 'missing-data-not-noticed',
    breaks:
      'SCR-3: a replica whose ledger covers more than its journal holds goes on as if nothing were',
    file: scrub,
    edits: [
      {
        find: 'return facts.isQuarantined || facts.missing.length > 0',
        replace: 'return facts.isQuarantined',
      },
    ],
    expected: 'tests',
    tests: [recoveryTests],
  },
  {
    name: 'doubt-forgotten',
    breaks: 'KER-9: a doubt that was recorded is forgotten by a restart',
    file: scrub,
    edits: [
      {
        find: "if (facts.recordedDoubt !== undefined) return { kind: 'doubt', reason: facts.recordedDoubt };",
        replace: '',
      },
    ],
    expected: 'tests',
    tests: [recoveryTests],
  },
  {
    name: 'cut-at-first-bad-record',
    breaks: 'SCR-2: the log ends at the first record that cannot be read, covered or not',
    file: 'src/storage/recovered-log.ts',
    edits: [
      {
        find: 'return Math.max(this.#lastIndex, this.coveredIndex) as LogIndex;',
        replace: 'return this.#lastIndex;',
      },
      {
        find: 'const expected = isCovered ? piece.firstIndex : this.endIndex + 1;',
        replace: 'const expected = this.#lastIndex + 1;',
      },
    ],
    expected: 'tests',
    tests: [recoveryTests, scenarioTests],
  },
  {
    name: 'votes-while-quarantined',
    breaks: 'KER-9: a replica whose entries cannot be read votes',
    file: 'src/raft/state.ts',
    edits: [
      {
        find: 'inDoubt: start.inDoubt || start.isQuarantined === true,',
        replace: 'inDoubt: start.inDoubt,',
      },
    ],
    expected: 'tests',
    tests: ['test/raft/quarantine.test.ts'],
  },
  {
    name: 'appends-while-quarantined',
    breaks: '§5.6: a log with a hole takes entries in as if it ended before it',
    file: 'src/raft/follower.ts',
    edits: [{ find: '  if (state.isQuarantined) return;\n', replace: '' }],
    expected: 'tests',
    tests: ['test/raft/quarantine.test.ts'],
  },
  {
    name: 'repair-given-without-evidence',
    breaks: '§5.6: entries are given to a log that may be another one',
    file: 'src/runtime/repair-server.ts',
    edits: [
      {
        find: 'own.termAt(index) === term,\n',
        replace: 'own.termAt(index) !== undefined && term > 0,\n',
      },
    ],
    expected: 'tests',
    tests: [repairTests],
  },
  {
    name: 'repair-taken-without-evidence',
    breaks: '§5.6: entries are taken that rest on no position of the own log',
    file: 'src/runtime/repair-check.ts',
    edits: [
      {
        find: 'index === evidenceIndex && term === evidenceTerm',
        replace: 'index > 0 || term === evidenceTerm || index === evidenceIndex',
      },
    ],
    expected: 'tests',
    tests: [repairTests],
  },
  {
    name: 'cleared-before-covered',
    breaks: '§5.6: a quarantine ends while covered entries are missing',
    file: desk,
    edits: [
      {
        find: 'if (range === undefined) this.#finish(undefined);',
        replace: 'if (range?.firstIndex !== 0) this.#finish(undefined);',
      },
      {
        find: 'if (known === undefined || known.missing.length > 0) return;',
        replace: 'if (known === undefined) return;',
      },
      {
        find: 'else this.#ask(known, range);',
        replace: 'else this.#ask(known, range ?? known.missing[0]!);',
      },
    ],
    expected: 'tests',
    tests: [scenarioTests],
  },
  {
    name: 'moved-entries-forgotten',
    breaks: '§5.5: where a repair wrote entries is not recorded',
    file: 'src/storage/data-flush.ts',
    edits: [
      {
        find: 'this.#moves.map((move) => ({ ...move, endOffset }));',
        replace: 'this.#moves.slice(0, 0).map((move) => ({ ...move, endOffset }));',
      },
    ],
    expected: 'tests',
    tests: [scenarioTests],
  },
  {
    name: 'rotten-registry-believed',
    breaks:
      'STO-1: who the replicas of a directory are is believed, though the CRC of `node.json` does not fit',
    file: 'src/storage/node-registry.ts',
    edits: [
      {
        find: 'if (checksum !== undefined && checksum !== checksumOf(contentOf(registry)))',
        replace: 'if (checksum === null)',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/node-registry.test.ts'],
  },
  {
    name: 'scrub-goes-on-while-paused',
    breaks: '§5.4: a scrub that an operator made to pause reads on',
    file: 'src/storage/scrubber.ts',
    edits: [
      {
        find: 'while (this.#pausedSinceMs !== undefined && !this.#isStopped)',
        replace: 'while (this.#pausedSinceMs === -1 && !this.#isStopped)',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/scrub.test.ts'],
  },
  {
    name: 'key-change-overtakes-truncation',
    breaks:
      '§5.5: a segment is left, and its index written, before the truncation that waits is in the ledger',
    file: 'src/storage/log-store.ts',
    edits: [
      {
        find: 'if (this.#records.length > 0) this.#flushRecords();\n    else if (isKeyChange && this.#journal.isNextReady) this.#enterNewKeys();',
        replace:
          'if (isKeyChange && this.#journal.isNextReady) this.#enterNewKeys();\n    else if (this.#records.length > 0) this.#flushRecords();',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/rotation-order.test.ts'],
  },
  {
    name: 'unanswered-handshake-lasts',
    breaks: '§2.2: a link whose handshake nobody answers is kept for ever',
    file: 'src/runtime/peer-links.ts',
    edits: [
      {
        find: 'session.begin(this.nodeId);\n      this.#askAnew(session);',
        replace: 'session.begin(this.nodeId);',
      },
    ],
    expected: 'tests',
    tests: ['test/testing/silent-links.test.ts'],
  },
  {
    name: 'no-rest-behind-small-segments',
    breaks: '§5.4: a scrub reads segments that are smaller than a slice one after the other',
    file: 'src/storage/scrubber.ts',
    edits: [{ find: '        await pace();', replace: '        void pace;' }],
    expected: 'tests',
    tests: ['test/storage/scrub.test.ts'],
  },
  {
    name: 'rotten-ledger-copy-left',
    breaks: '§5.4: a copy in the ledger that is found bad is told of and left as it is',
    file: 'src/storage/scrubber.ts',
    edits: [{ find: 'await renewLedger();', replace: 'void renewLedger;' }],
    expected: 'tests',
    tests: ['test/storage/scrub.test.ts'],
  },
  {
    name: 'rotten-snapshot-left',
    breaks:
      '§5.4: a snapshot that the scrub finds bad is told of and still counts as the newest good one',
    file: 'src/runtime/snapshot-desk.ts',
    edits: [
      {
        find: 'if (this.#good !== undefined && isSamePlace(this.#good, manifest)) this.#good = undefined;',
        replace: '',
      },
    ],
    expected: 'tests',
    tests: ['test/scenarios/lost-snapshots.test.ts'],
  },
  {
    name: 'start-believes-the-first-read',
    breaks:
      'SCR-4: a start that finds a wrong frame in right blocks takes its entry for missing at once',
    file: 'src/storage/recovery.ts',
    edits: [
      {
        find: "if (verdict !== 'tryAgain' || !lacksEntries(read.logs.values())) return read;",
        replace: 'if (verdict.length > 0 || lacksEntries([])) return read;',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/log-reads.test.ts'],
  },
  {
    name: 'repair-waits-for-the-lost',
    breaks:
      '§5.6: a member that was asked and comes back is not asked again before the wait for its answer is over',
    file: 'src/runtime/quarantine-desk.ts',
    edits: [
      {
        find: 'if (this.#asked.member.nodeId !== nodeId) return;',
        replace: 'if (nodeId > 0) return;',
      },
      {
        find: 'answerMs * 2 ** Math.min(this.#vainRounds, 16)',
        replace: 'answerMs * 2 ** Math.min(this.#attempts, 16)',
      },
    ],
    expected: 'tests',
    tests: ['test/scenarios/integrity.test.ts'],
  },
];
