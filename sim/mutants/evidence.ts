/** Wrong evidence: proofs of what is not proven, trailers and scrubs that say too much. */
import type { Mutant } from './mutant.ts';

const offlineTests = 'test/storage/offline-tools.test.ts';

/** Mutants of integrity structures and of the tools that read them. */
export const evidenceMutants: readonly Mutant[] = [
  {
    name: 'proof-by-a-replica-in-doubt',
    breaks: 'KER-9: a replica in doubt counts as evidence',
    file: 'src/storage/entry-evidence.ts',
    edits: [
      {
        find: 'if (doubt !== undefined) return not(',
        replace: "if (doubt === '') return not(",
      },
    ],
    expected: 'tests',
    tests: [offlineTests],
  },
  {
    name: 'proof-without-later-configurations',
    breaks: '§3.1: a configuration counts only once it is known to be committed',
    file: 'src/policy/entry-proof.ts',
    edits: [{ find: 'if (index >= newest)', replace: 'if (index === newest)' }],
    expected: 'tests',
    tests: ['test/policy/entry-proof.test.ts'],
  },
  {
    name: 'mac-suite-not-looked-at',
    breaks: '§4.1: a trailer gets rid of its MAC by saying that it has none',
    file: 'src/codec/segment-trailer.ts',
    edits: [{ find: "if (suite !== (mac === 'none' ? 0 : 1))", replace: 'if (suite > 1)' }],
    expected: 'tests',
    tests: ['test/codec/segment-trailer.test.ts'],
  },
  {
    name: 'proof-from-a-forged-segment',
    breaks: '§5.5: a frame proves an entry, though the trailer or the MAC of its segment is wrong',
    file: 'src/storage/entry-evidence.ts',
    edits: [
      {
        find: 'if (segment?.fault !== undefined) return not(',
        replace: "if (segment?.fault === '') return not(",
      },
    ],
    expected: 'tests',
    tests: ['test/storage/trailers.test.ts'],
  },
  {
    name: 'scrub-forgets-age',
    breaks: '§5.4: a pass reads one part in 28 of the bytes, however old they are',
    file: 'src/policy/scrub-pace.ts',
    edits: [
      {
        find: 'Math.floor((scrubCoverageMs - ageMs) / scrubIntervalMs)',
        replace: 'Math.floor((scrubCoverageMs - ageMs * 0) / scrubIntervalMs)',
      },
    ],
    expected: 'tests',
    tests: ['test/policy/scrub-pace.test.ts'],
  },
];
