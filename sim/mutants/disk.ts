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
        find: 'if (guard.isHard || journal.bytes + bytes > nodeMax)',
        replace: 'if (journal.bytes + bytes > nodeMax)',
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
];
