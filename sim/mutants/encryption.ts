/** Wrong encryption: nonces that come twice, text behind a bad tag, keys that are too old or gone too early. */
import type { Mutant } from './mutant.ts';

const tests = ['test/storage/encryption.test.ts'];

/** Mutants of encryption. */
export const encryptionMutants: readonly Mutant[] = [
  {
    name: 'salt-not-drawn-anew',
    breaks: '§8.2: every segment of a number has the same salt, so that an old disk repeats nonces',
    file: 'src/storage/journal.ts',
    edits: [{ find: 'salt: entropy.bytes(16)', replace: 'salt: entropy.bytes(16).fill(0)' }],
    expected: 'tests',
    tests: ['test/scenarios/encryption.test.ts'],
  },
  {
    name: 'nonce-without-block-number',
    breaks: '§8.2: all units of a segment are sealed with one nonce',
    file: 'src/codec/encrypted-unit.ts',
    edits: [
      {
        find: 'writeU64(this.#nonceView, 4, unit.number);',
        replace: 'writeU64(this.#nonceView, 4, unit.number & 1);',
      },
    ],
    expected: 'tests',
    tests,
  },
  {
    name: 'text-behind-a-bad-tag',
    breaks: 'KER-7: text is decrypted in place before its tag verified, and left there',
    file: 'src/security/node-cryptography.ts',
    edits: [
      {
        find: '    try {\n      decipher.final();',
        replace: '    target.set(plain, start);\n    try {\n      decipher.final();',
      },
      { find: '      target.fill(0, start, start + length);\n', replace: '' },
    ],
    expected: 'tests',
    tests: ['test/codec/encrypted-unit.test.ts'],
  },
  {
    name: 'unit-header-not-authenticated',
    breaks: "§8.2: a unit's header is no part of what its tag covers",
    file: 'src/codec/encrypted-unit.ts',
    edits: [
      {
        find: 'this.#associated.set(bytes.subarray(offset, offset + unitHeaderBytes), this.#unitHeaderAt);',
        replace: 'this.#associated.fill(0, this.#unitHeaderAt);',
      },
    ],
    expected: 'tests',
    tests: ['test/codec/encrypted-unit.test.ts'],
  },
  {
    name: 'unit-cut-by-a-slice',
    breaks: '§8.2: a unit that goes on behind the slice of a scan is taken for a bad one',
    file: 'src/storage/segment-scan.ts',
    edits: [
      {
        find: 'if (!isLastSlice && at > 0 && at + claimedBlocks(bytes, offset) > count) break;',
        replace: '',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/segment-units.test.ts'],
  },
  {
    name: 'unit-cut-by-a-read',
    breaks: '§8.2: a unit that goes on behind what was read for an entry is taken for a bad one',
    file: 'src/storage/segment-reader.ts',
    edits: [{ find: 'if (at + claimed > count && count < left) break;', replace: '' }],
    expected: 'tests',
    tests: ['test/storage/segment-units.test.ts'],
  },
  {
    name: 'unit-cut-by-a-chunk',
    breaks: '§8.2: a segment with a unit that goes on behind a chunk is never sealed anew',
    file: 'src/storage/segment-rewriter.ts',
    edits: [
      {
        find: 'if (!isLast && at > 0 && at + claimedBlocks(bytes, offset) > count) break;',
        replace: '',
      },
    ],
    expected: 'tests',
    tests,
  },
  {
    name: 'salvage-within-a-unit',
    breaks: 'DUR-5: what is saved begins within a unit, which nothing opens',
    file: 'src/storage/segment-salvage.ts',
    edits: [{ find: 'goodUntil = frame.lastUnit;', replace: 'goodUntil = lastOfFrame;' }],
    expected: 'tests',
    tests: ['test/storage/salvage.test.ts'],
  },
  {
    name: 'segment-header-not-authenticated',
    breaks: '§8.2: the HMAC of a segment header is not looked at',
    file: 'src/storage/journal-keys.ts',
    edits: [
      {
        find: 'isEqualSecret(expected, segmentHeaderMac(bytes))',
        replace: 'isEqualSecret(expected, expected)',
      },
    ],
    expected: 'tests',
    tests,
  },
  {
    name: 'old-key-ring-taken',
    breaks: '§8.2: a key ring that is older than the data beside it is taken',
    file: 'src/storage/journal-keys.ts',
    edits: [
      {
        find: 'if (evidence.newestEpoch > (ring?.newestEpoch ?? 0))',
        replace: 'if (evidence.newestEpoch < 0)',
      },
    ],
    expected: 'tests',
    tests,
  },
  {
    name: 'plain-segment-taken',
    breaks:
      '§8.2: a segment without encryption is taken where the ring says that all are encrypted',
    file: 'src/storage/journal-keys.ts',
    edits: [
      {
        find: 'return header.segmentSeq < first ? new UnitSealer(header.salt) : undefined;',
        replace:
          'return header.segmentSeq < first + 1000 ? new UnitSealer(header.salt) : undefined;',
      },
    ],
    expected: 'tests',
    tests,
  },
  {
    name: 'keys-destroyed-too-early',
    breaks: '§8.2: keys are destroyed while segments still need them',
    file: 'src/storage/key-desk.ts',
    edits: [
      {
        find: 'const lowest = Math.min(...evidence.named.values(), ...snapshots.values(), ...salvaged);',
        replace: 'const lowest = evidence.newestEpoch;',
      },
      {
        find: 'if (!(await this.#rewriteReadable())) return;',
        replace:
          'await this.#destroyUnneeded();\n      if (!(await this.#rewriteReadable())) return;',
      },
    ],
    expected: 'tests',
    tests,
  },
  {
    name: 'rewritten-segment-not-synced',
    breaks:
      '§8.2: a segment that was sealed anew takes the place of the old one before it is synced',
    file: 'src/storage/segment-rewriter.ts',
    edits: [{ find: "  await run(fileSystem, [{ kind: 'sync', file }]);\n", replace: '' }],
    expected: 'tests',
    tests,
  },
  {
    name: 'keys-used-before-they-are-durable',
    breaks: '§8.2: a segment is sealed under keys that the ring on the disk does not have yet',
    file: 'src/storage/key-ring.ts',
    edits: [
      {
        find: 'await fileSystem.replaceFile(`${folder}/${keyRingFileName}`, encodeKeyRing(content, mac));',
        replace:
          'void fileSystem.replaceFile(`${folder}/${keyRingFileName}`, encodeKeyRing(content, mac));',
      },
    ],
    expected: 'tests',
    tests: ['test/storage/small-files.test.ts'],
  },
  {
    name: 'keys-by-wall-clock-alone',
    breaks: '§8.2: where the wall clock stands, keys are never changed',
    file: 'src/policy/key-rotation.ts',
    edits: [{ find: 'Math.min(byWallMs, wholeMs - age.knownMs)', replace: 'byWallMs' }],
    expected: 'tests',
    tests: ['test/policy/key-rotation.test.ts'],
  },
  {
    name: 'keys-of-the-future-kept',
    breaks: '§8.2: keys that a clock made that was ahead never grow old',
    file: 'src/policy/key-rotation.ts',
    edits: [{ find: 'isFromTheFuture ? 0 :', replace: 'isFromTheFuture && ageMs > 0 ? 0 :' }],
    expected: 'tests',
    tests: ['test/policy/key-rotation.test.ts'],
  },
  {
    name: 'keys-changed-at-once',
    breaks: '§8.2: a clock that jumps ahead for a moment changes the keys',
    file: 'src/storage/key-schedule.ts',
    edits: [
      { find: 'this.#dueSinceMs = undefined;\n      return lookMs;', replace: 'return lookMs;' },
    ],
    expected: 'tests',
    tests: ['test/storage/key-schedule.test.ts'],
  },
  {
    name: 'keys-changed-with-every-jump',
    breaks: '§8.2: every jump of the wall clock changes the keys',
    file: 'src/storage/key-schedule.ts',
    edits: [{ find: 'this.#changedMs = nowMs;', replace: '' }],
    expected: 'tests',
    tests: ['test/storage/key-schedule.test.ts'],
  },
  {
    name: 'removed-snapshot-comes-back-without-keys',
    breaks:
      '§8.2: keys are destroyed though a power failure could bring a removed snapshot back that needs them',
    file: 'src/storage/key-desk.ts',
    edits: [{ find: 'await syncSnapshotNames(fileSystem, directory);', replace: '' }],
    expected: 'tests',
    tests: ['test/scenarios/encryption.test.ts'],
  },
];
