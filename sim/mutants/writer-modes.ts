/** Wrong ways from one mode of the writer to another (specification §5.1). */
import type { Mutant } from './mutant.ts';

const policy = 'src/policy/io-writer-mode.ts';
const runner = 'src/storage/chain-runner.ts';
const policyTests = 'test/policy/io-writer-mode.test.ts';
const runnerTests = 'test/storage/chain-runner.test.ts';
const platformTests = 'test/platform/writer-modes.test.ts';

/** Mutants of the writer's modes. */
export const writerModeMutants: readonly Mutant[] = [
  {
    name: 'mode-changes-under-a-chain',
    breaks:
      'DUR-6: the next chain starts before the change of the mode, and the change finds it under way',
    file: runner,
    edits: [
      {
        find: 'return this.#isIdle && !this.#isChangeDue;',
        replace: 'return this.#isIdle;',
      },
    ],
    expected: 'tests',
    tests: [runnerTests],
  },
  {
    name: 'failed-sync-in-a-change-is-passed-over',
    breaks:
      'KER-10: a sync that fails while the mode is changed is told to nobody, and chains go on',
    file: runner,
    edits: [
      {
        find: 'this.#fail(switchFailure(error));',
        replace: 'this.#busySinceMs = undefined;\n        if (error !== undefined) next();',
      },
      { find: 'rotationFailure, switchFailure }', replace: 'rotationFailure }' },
    ],
    expected: 'tests',
    tests: [runnerTests],
  },
  {
    name: 'page-cache-not-synced-before-direct-writes',
    breaks: 'DUR-6: a file is written past the page cache while that still holds bytes of it',
    file: 'src/platform/open-file.ts',
    edits: [
      {
        find: 'if (isDirect) for (const file of others) await file.channel.handle.datasync();',
        replace: '',
      },
    ],
    expected: 'tests',
    tests: [platformTests],
  },
  {
    name: 'chain-overtakes-the-change-of-mode',
    breaks:
      'DUR-6: a chain that is submitted during a change of the mode does not wait for its end',
    file: 'src/platform/node-file-system.ts',
    edits: [
      {
        find: 'if (this.#switching === undefined) this.#run(chain, files, done);',
        replace: 'if (this.#held.length === 0) this.#run(chain, files, done);',
      },
    ],
    expected: 'tests',
    tests: [platformTests],
  },
  {
    name: 'slow-disk-holds-up-the-loop',
    breaks: 'DUR-6: a slow disk brings Blocking, and the loop waits for it',
    file: policy,
    edits: [{ find: "          mode: 'Pooled',", replace: "          mode: 'Blocking'," }],
    expected: 'tests',
    tests: [policyTests],
  },
  {
    name: 'jump-of-the-clock-is-a-whole-window',
    breaks: 'DUR-7: time that nobody saw counts as a time of health',
    file: policy,
    edits: [
      {
        find: 'state.goodParts++;',
        replace: 'state.goodParts += Math.floor((nowMs - state.partSinceMs) / partMs);',
      },
    ],
    expected: 'tests',
    tests: [policyTests],
  },
];
