/** Wrong ways with a disk that has no room, or is not safe. */
import type { Mutant } from './mutant.ts';

const fullDiskTests = 'test/storage/full-disk.test.ts';
const hygieneTests = 'test/policy/disk-hygiene.test.ts';

/** Mutants of what surrounds the log. */
export const diskMutants: readonly Mutant[] = [
  {
    name: 'clients-fill-the-disk',
    breaks: '§8: entries of clients are taken in on a disk that has no room for them',
    file: 'src/storage/log-admission.ts',
    edits: [
      { find: "if (guard.isHard && guard.shortage !== 'log')", replace: 'if (bytes < 0)' },
      {
        find: 'if (guard.isHard || journal.bytes + bytes > clientLogBytesMax(limits))',
        replace: 'if (journal.bytes + bytes > clientLogBytesMax(limits))',
      },
    ],
    expected: 'tests',
    tests: [fullDiskTests],
  },
  {
    name: 'reserve-for-everybody',
    breaks: '§8: a follower gives what is kept for the system to entries of clients',
    file: 'src/storage/log-admission.ts',
    edits: [{ find: "if (guard.shortage !== 'refused') return true;", replace: 'return true;' }],
    expected: 'tests',
    tests: [fullDiskTests],
  },
  {
    name: 'sync-without-room-repeated',
    breaks: 'KER-10: a sync that failed for want of room is repeated as if nothing had happened',
    file: 'src/storage/full-disk.ts',
    edits: [{ find: "steps[stepIndex]?.kind === 'write' && isFullCode", replace: 'isFullCode' }],
    expected: 'tests',
    tests: [fullDiskTests],
  },
  {
    name: 'chain-from-behind-its-failed-step',
    breaks: 'KER-4: a chain that found no room goes on behind the step that failed',
    file: 'src/storage/full-disk.ts',
    edits: [{ find: '() => run(stepIndex),', replace: '() => run(stepIndex + 1),' }],
    expected: 'tests',
    tests: [fullDiskTests],
  },
  {
    name: 'spare-that-is-the-ledger',
    breaks: 'LED-5: a start writes its new generation into the file of the ledger in use',
    file: 'src/storage/durability-ledger.ts',
    edits: [
      {
        find: 'header.generation < this.#generation',
        replace: 'header.generation <= this.#generation',
      },
    ],
    expected: 'tests',
    tests: [fullDiskTests],
  },
  {
    name: 'expired-override-counts',
    breaks: '§14: a decision to use an unsafe disk counts for ever',
    file: 'src/policy/disk-hygiene.ts',
    edits: [{ find: "kind: wallMs < expiresAtMs ? 'valid' : 'expired'", replace: "kind: 'valid'" }],
    expected: 'tests',
    tests: [hygieneTests],
  },
  {
    name: 'padding-not-charged',
    breaks:
      'STO-2: a partition of small entries fills the node before it reaches its own bound (regression 69)',
    file: 'src/storage/data-flush.ts',
    edits: [
      {
        find: 'const factor = flushBytes / frameBytes - 1;',
        replace: 'const factor = (flushBytes / frameBytes) * 0;',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/full-disk.test.ts'],
  },
  {
    name: 'partition-without-a-bound',
    breaks:
      'STO-2: one partition takes all of the log, and the others of its node are refused (regression 69)',
    file: 'src/storage/log-admission.ts',
    edits: [
      {
        find: 'log.frameBytes + bytes > partitionLogBytesMax * clientShare',
        replace: 'log.frameBytes + bytes < 0 * partitionLogBytesMax * clientShare',
      },
    ],
    expected: 'tests',
    tests: ['test/scenarios/stuck-partition.test.ts'],
  },
  {
    name: 'named-before-it-is-written',
    breaks:
      'STO-2: a replica whose registration found no room can never be made again (regression 44)',
    file: 'src/storage/replica-registry.ts',
    edits: [
      {
        find: 'const registry = withReplicas(this.#registry, replicas);',
        replace: 'const registry = (this.#registry = withReplicas(this.#registry, replicas));',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/small-files.test.ts'],
  },
  {
    name: 'keys-kept-that-were-not-written',
    breaks: '§8.2: keys seal that the ring on the disk does not hold (regression 44)',
    file: 'src/storage/key-ring.ts',
    edits: [
      {
        find: 'await fileSystem.replaceFile(`${folder}/${keyRingFileName}`, encodeKeyRing(content, mac));\n    this.#content = content;',
        replace:
          'this.#content = content;\n    await fileSystem.replaceFile(`${folder}/${keyRingFileName}`, encodeKeyRing(content, mac));',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/small-files.test.ts'],
  },
];
