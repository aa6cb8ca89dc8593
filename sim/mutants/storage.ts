/** Wrong storage: syncs that are left out, records that are missing, damage that is believed. */
import type { Mutant } from './mutant.ts';

const logStore = 'src/storage/log-store.ts';
const ledger = 'src/storage/durability-ledger.ts';
const crashTests = 'test/storage/crashes.test.ts';
const scenarioTests = 'test/scenarios/storage.test.ts';

/** Mutants of storage. */
export const storageMutants: readonly Mutant[] = [
  {
    name: 'ack-before-ledger-sync',
    breaks:
      'KER-4: the completion of a flush of entries is told before its ledger record is synced',
    file: logStore,
    edits: [{ find: '...ledgerSteps]', replace: '...ledgerSteps.slice(0, 1)]' }],
    expected: 'tests',
    tests: [crashTests],
  },
  {
    name: 'data-not-synced',
    breaks: 'KER-4: entries are written and covered by the ledger, and not synced',
    file: logStore,
    edits: [
      {
        find: "[{ kind: 'write', file, position, bytes }, { kind: 'sync', file }, ...ledgerSteps]",
        replace: "[{ kind: 'write', file, position, bytes }, ...ledgerSteps]",
      },
    ],
    expected: 'tests',
    tests: [crashTests],
  },
  {
    name: 'term-and-vote-not-synced',
    breaks: 'KER-2: records without data are told before their ledger flush is synced',
    file: logStore,
    edits: [
      {
        find: 'this.#chains.submit(this.#ledger.flush(records, this.#image.coverage), () => {',
        replace:
          'this.#chains.submit(this.#ledger.flush(records, this.#image.coverage).slice(0, 1), () => {',
      },
    ],
    expected: 'tests',
    tests: [scenarioTests],
  },
  {
    name: 'failed-sync-tried-again',
    breaks: 'KER-10: a failed fdatasync is repeated, and its success is believed',
    file: 'src/storage/chain-runner.ts',
    edits: [
      {
        find: `if (failure !== undefined) {
        this.#fail(chainFailure(steps, failure));`,
        replace: `if (failure !== undefined && steps[failure.stepIndex]?.kind === 'sync') {
        this.submit(steps.slice(failure.stepIndex), complete);
        return;
      }
      if (failure !== undefined) {
        this.#fail(chainFailure(steps, failure));`,
      },
    ],
    expected: 'tests',
    tests: ['test/storage/log-store.test.ts'],
  },
  {
    name: 'truncation-not-recorded',
    breaks: 'LED-2: replacing bytes are written without a Truncated record before them',
    file: logStore,
    edits: [
      {
        find: 'if (log.index.lastIndex < fromIndex) return;\n    log.index.truncateFrom(fromIndex);\n',
        replace:
          'if (log.index.lastIndex < fromIndex) return;\n    log.index.truncateFrom(fromIndex);\n    if (fromIndex > 0) return;\n',
      },
    ],
    expected: 'tests',
    tests: [crashTests],
  },
  {
    name: 'retry-of-truncated-frames',
    breaks: 'LED-3: frames that wait for the disk are written though they were truncated meanwhile',
    file: 'src/storage/append-queue.ts',
    edits: [
      {
        find: 'append.log === log ? cutAppend(append, fromIndex) : [append]',
        replace:
          'append.log === log ? cutAppend(append, Number.MAX_SAFE_INTEGER as LogIndex) : [append]',
      },
    ],
    expected: 'tests',
    tests: [crashTests],
  },
  {
    name: 'one-copy-of-a-flush',
    breaks: 'LED-5: the second copy of a ledger flush is not written',
    file: ledger,
    edits: [
      {
        find: '      return bytes;\n    });\n    return [write',
        replace: '      return bytes.subarray(0, bytes.length / 2);\n    });\n    return [write',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/recovery.test.ts'],
  },
  {
    name: 'second-copy-not-read',
    breaks: 'LED-5: a flush whose first copy is damaged counts as lost',
    file: 'src/storage/ledger-replay.ts',
    edits: [
      {
        find: 'if (second?.blocks === blocks && isWanted(second, { generation, flushSeq })) return second;',
        replace:
          'if (second?.blocks === -1 && isWanted(second, { generation, flushSeq })) return second;',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/recovery.test.ts'],
  },
  {
    name: 'lost-evidence-not-noticed',
    breaks: 'LED-6: the ledger ends at a bad flush that a later one knew as synced',
    file: 'src/storage/ledger-replay.ts',
    edits: [
      {
        find: 'flush.syncedFlushSeq > end.flushSeq\n',
        replace: 'flush.syncedFlushSeq > end.flushSeq + 1_000_000\n',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/recovery.test.ts'],
  },
  {
    name: 'torn-flush-believed',
    breaks: 'LED-6: a ledger flush is believed without looking at its check sum',
    file: 'src/codec/ledger-format.ts',
    edits: [
      {
        find: 'if (crc32c(bytes, crcStart + 4, offset + total, crcBefore) !== view.getUint32(crcOffset, true))\n    return undefined;',
        replace: '',
      },
    ],
    expected: 'tests',
    tests: ['test/codec/ledger-format.test.ts'],
  },
  {
    name: 'torn-block-believed',
    breaks:
      'SCR-1: frames behind coverage are kept without looking at the check sum of their block',
    file: 'src/codec/segment-format.ts',
    edits: [
      {
        find: 'return this.#tag(bytes, offset, { number, plainBytes }) === stored ? plainBytes : 0;',
        replace:
          'return stored > 0 || this.#tag(bytes, offset, { number, plainBytes }) === stored ? plainBytes : 0;',
      },
    ],
    expected: 'tests',
    tests: ['test/codec/segment-format.test.ts'],
  },
  {
    name: 'no-sync-before-speaking',
    breaks: 'KER-11: a start speaks on the strength of what it read back, synced or not',
    file: 'src/storage/recovery.ts',
    edits: [
      {
        find: 'await makeDurable(place, names, segments);',
        replace: 'void makeDurable;',
      },
    ],
    expected: 'tests',
    tests: [scenarioTests],
  },
  {
    name: 'stray-flush-begins-a-generation',
    breaks:
      '§5.5: a misdirected copy of a later flush is taken for the first one of its generation',
    file: 'src/storage/ledger-replay.ts',
    edits: [
      {
        find: "if (wanted.flushSeq !== undefined || copiesOf(bytes, offset, found) === 'both') return found;",
        replace: 'if (first.blocks > 0) return found;',
      },
    ],
    expected: 'tests',
    tests: ['test/scenarios/damaged-store.test.ts'],
  },
  {
    name: 'lost-term-forgiven',
    breaks: 'KER-9: a ledger that lacks a term of which the log has entries passes for whole',
    file: 'src/policy/scrub.ts',
    edits: [
      {
        find: 'if (facts.newestEntryTerm > facts.hardStateTerm)',
        replace: 'if (facts.newestEntryTerm > facts.hardStateTerm + 1000)',
      },
    ],
    expected: 'tests',
    tests: ['test/scenarios/damaged-store.test.ts'],
  },
  {
    name: 'kept-tail-only-synced',
    breaks: 'KER-11: what is kept behind coverage is synced and not written again',
    file: 'src/storage/renew-tail.ts',
    edits: [{ find: 'if (longest === 0) return;', replace: 'if (longest >= 0) return;' }],
    expected: 'tests',
    tests: [scenarioTests],
  },
  {
    name: 'lost-registry-begins-afresh',
    breaks: 'STO-1: a directory whose registry is gone passes for one without replicas',
    file: 'src/storage/recovery.ts',
    edits: [
      {
        find: 'if (found === undefined) refuseForgottenReplicas(place, replay);',
        replace: 'void refuseForgottenReplicas;',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/recovery.test.ts'],
  },
  {
    name: 'nonsense-passes-for-a-torn-write',
    breaks:
      'LED-6: a ledger flush that fits its check sum and cannot be read is cut like a torn one',
    file: 'src/codec/ledger-format.ts',
    edits: [
      {
        find: "return readStored('a ledger flush', () => readFlush(reader, blocks));",
        replace:
          'try {\n    return readFlush(reader, blocks);\n  } catch {\n    return undefined;\n  }',
      },
    ],
    expected: 'tests',
    tests: ['test/codec/ledger-format.test.ts'],
  },
  {
    name: 'lock-not-taken',
    breaks: 'KER-13: a data directory is opened without its lock',
    file: logStore,
    edits: [
      {
        find: 'const lock = await options.fileSystem.lockDirectory(options.directory);',
        replace: 'const lock = { release: () => Promise.resolve() };',
      },
    ],
    expected: 'tests',
    tests: [scenarioTests],
  },
  {
    name: 'strict-batch-held',
    breaks: 'GRP-1: a flush is held although a partition in Strict mode has entries in it',
    file: 'src/storage/group-hold.ts',
    edits: [
      {
        find: "return log.durabilityMode === 'Strict' || isFence === true;",
        replace: "return log.durabilityMode === 'GroupFsync' && isFence === true;",
      },
    ],
    expected: 'tests',
    tests: ['test/storage/group-hold.test.ts'],
  },
  {
    name: 'batch-crosses-a-fence',
    breaks: 'GRP-4: entries from both sides of a change of mode share a batch',
    file: 'src/storage/append-parts.ts',
    edits: [{ find: 'if (fences.length === 0) return [append];', replace: 'return [append];' }],
    expected: 'tests',
    tests: ['test/storage/fences.test.ts'],
  },
  {
    name: 'late-mode-change-believed',
    breaks: 'GRP-4: a change of an epoch that has passed is put in force',
    file: 'src/runtime/durability-desk.ts',
    edits: [{ find: 'if (transition.epoch <= this.#epoch) return;', replace: '' }],
    expected: 'tests',
    tests: ['test/runtime/group-fsync.test.ts'],
  },
  {
    name: 'dead-frames-behind-a-lost-index',
    breaks: 'LED-2: a segment whose index is lost gives back entries that were truncated',
    file: 'src/storage/segment-reader.ts',
    edits: [
      {
        find: 'if (this.#owner.isDead(segmentSeq, row)) rows.interrupt();\n        else rows.add',
        replace: 'rows.add',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/lost-index.test.ts'],
  },
  {
    name: 'moved-runs-not-cut',
    breaks: 'LED-2: a repaired range that was truncated later is read whole',
    file: 'src/storage/journal-index.ts',
    edits: [
      { find: '.map(withoutDead(fromIndex))', replace: '' },
      { find: 'count: range.lastIndex - firstIndex + 1', replace: 'count: range.run.count' },
      { find: 'const { firstIndex } = range.run;', replace: '' },
    ],
    expected: 'tests',
    tests: ['test/storage/moved-entries.test.ts'],
  },
  {
    name: 'cold-reads-not-compared',
    breaks: 'KER-1: what is read back from the log is sent and applied whatever its term',
    file: 'src/runtime/checked-read.ts',
    edits: [
      {
        find: 'if (known === undefined || known === found) continue;',
        replace: 'if (known !== 0) continue;',
      },
    ],
    expected: 'tests',
    tests: ['test/runtime/checked-read.test.ts'],
  },
];
