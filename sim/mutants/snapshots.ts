/** Wrong ways with snapshots and with what they make needless, as disks see them: segments, copies, installations, folders. */
import type { Mutant } from './mutant.ts';

const compactionTests = 'test/storage/log-compaction.test.ts';
const salvageTests = 'test/storage/salvage.test.ts';
const copyTests = 'test/storage/copied-entries.test.ts';
const baseTests = 'test/storage/log-bases.test.ts';
const installationTests = 'test/storage/installed-logs.test.ts';

/** Mutants of storage behind snapshots, and of snapshots themselves. */
export const snapshotMutants: readonly Mutant[] = [
  {
    name: 'segment-gone-before-its-record',
    breaks: 'DUR-5: the file of a segment goes while the ledger still names it',
    file: 'src/storage/log-compaction.ts',
    edits: [{ find: '    await recorded;\n', replace: '    void recorded;\n' }],
    expected: 'tests',
    tests: [compactionTests],
  },
  {
    name: 'segments-gone-without-salvage',
    breaks:
      'DUR-5: segments go while entries of some partition are missing, and nothing of them is saved',
    file: 'src/storage/log-compaction.ts',
    edits: [
      {
        find: "if (unsaved.length > 0 && !(await this.#salvage.save(segment, unsaved))) return 'kept';",
        replace: '',
      },
    ],
    expected: 'tests',
    tests: [salvageTests],
  },
  {
    name: 'salvage-without-whole-entries',
    breaks: 'DUR-5: of the entries that a partition lacks only damaged blocks are saved',
    file: 'src/storage/segment-salvage.ts',
    edits: [
      {
        find: 'wanted.get(lacking.log)?.push({ first: frame.block, last: lastOfFrame });',
        replace: 'wanted.get(lacking.log)?.push();',
      },
    ],
    expected: 'tests',
    tests: [salvageTests],
  },
  {
    name: 'gone-segment-told-as-damage',
    breaks: '§5.6: a read that a compaction overtakes puts its partition in quarantine',
    file: 'src/storage/log-reads.ts',
    edits: [
      {
        find: 'if (log.index.locate(wanted.firstIndex) === undefined)',
        replace: 'if (wanted.firstIndex === 0)',
      },
    ],
    expected: 'tests',
    tests: [compactionTests],
  },
  {
    name: 'copy-read-before-it-is-written',
    breaks: 'DUR-5: a copied entry is read in its new place before it is durable there',
    file: 'src/storage/data-flush.ts',
    edits: [
      {
        find: "if (cause === 'repair') moved();\n      else this.#repaired.push(moved);",
        replace: 'moved();',
      },
    ],
    expected: 'tests',
    tests: [copyTests],
  },
  {
    name: 'uncommitted-entries-copied',
    breaks: 'DUR-5: entries that a leader may still replace are copied',
    file: 'src/storage/log-compaction.ts',
    edits: [{ find: 'return isCommitted && bytes', replace: 'return held.length > 0 && bytes' }],
    expected: 'tests',
    tests: [copyTests],
  },
  {
    name: 'base-not-raised-over-truncations',
    breaks: '§5.5: a base forgets the truncations below it, and dead entries above it come back',
    file: 'src/storage/ledger-image.ts',
    edits: [{ find: '        { ...raised, fromIndex: above },\n', replace: '' }],
    expected: 'tests',
    tests: [baseTests],
  },
  {
    name: 'base-outlives-its-life',
    breaks: '§5.5: the log of a new life begins where that of the old one did',
    file: 'src/storage/ledger-image.ts',
    edits: [
      {
        find: 'if (row.base !== undefined && fromIndex <= row.base.index) row.base = undefined;',
        replace: '',
      },
    ],
    expected: 'tests',
    tests: [baseTests],
  },
  {
    name: 'installed-without-a-truncation',
    breaks: 'SNA-9: entries of the log that a snapshot took the place of come back behind it',
    file: 'src/storage/partition-log.ts',
    edits: [
      {
        find: 'this.#owner.truncateAll(this);',
        replace: 'this.#owner.truncate(this, (this.#lastIndex + 1) as LogIndex);',
      },
    ],
    expected: 'tests',
    tests: [installationTests],
  },
  {
    name: 'configuration-lost-at-installation',
    breaks: 'SNA-9: the configuration of an installed snapshot is not in the ledger',
    file: 'src/storage/partition-log.ts',
    edits: [
      {
        find: 'keepsTail ? settled : nothing',
        replace: 'configuration.members.length > 0 ? settled : nothing',
      },
      {
        find: "if (!keepsTail)\n      this.#owner.enqueueRecord({ kind: 'configuration'",
        replace:
          "if (configuration.members.length === 0)\n      this.#owner.enqueueRecord({ kind: 'configuration'",
      },
    ],
    expected: 'tests',
    tests: [installationTests],
  },
  {
    name: 'manifest-removed-last',
    breaks: 'SNA-5: a crash leaves a snapshot with a manifest and without parts',
    file: 'src/storage/snapshot-files.ts',
    edits: [
      {
        find: '  if (names.includes(manifestFileName)) {',
        replace: "  if (names.includes('no such name')) {",
      },
      {
        find: 'if (name !== chunksName && name !== manifestFileName)',
        replace: 'if (name !== chunksName)',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/snapshot-crashes.test.ts'],
  },
  {
    name: 'published-without-a-look',
    breaks: 'SNA-5: a snapshot is published that was not read back',
    file: 'src/storage/snapshot-folder.ts',
    edits: [
      {
        find: '        await this.#verifyParts(content, seal);\n        manifest =',
        replace: '        manifest =',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/snapshot-folder.test.ts'],
  },
  {
    name: 'pulled-part-not-checked',
    breaks: 'SNA-7: a part of a snapshot is written that is not what the manifest says',
    file: 'src/runtime/snapshot-check.ts',
    edits: [{ find: '|| hexEncode(sha256(content)) !== said.digest', replace: '' }],
    expected: 'tests',
    tests: ['test/runtime/snapshot-asker.test.ts'],
  },
  {
    name: 'compacted-beyond-its-snapshot',
    breaks: 'CMP-1: a log begins behind entries that no snapshot of its replica holds',
    file: 'src/runtime/snapshot-desk.ts',
    edits: [
      { find: '      this.#good.index,\n      compactionFloor', replace: '      compactionFloor' },
    ],
    expected: 'tests',
    tests: ['test/scenarios/compacted-logs.test.ts'],
  },
];
