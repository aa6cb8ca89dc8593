import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';

import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const source = (path: string): string => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

/** It measures how long a cluster takes to go on: after everything else. */
const alone = ['test/e2e/failover.test.ts'];
/** Of a test of whole clusters; what takes this long is never alive. */
const timeouts = { testTimeout: 240_000, hookTimeout: 240_000 };

/**
 * Tests of whole clusters wait for processes and disks half of their time, the others compute. Spread over the run, one of the first
 * kind mostly has some of the second beside it, and no core is idle. None begins in the last seventh of the run, and the long
 * ones of the others, those of the simulator, come first.
 */
class Interleaved extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isIn = (folder: string, { moduleId }: TestSpecification): boolean =>
      moduleId.includes(`/test/${folder}/`);
    const clusters = sorted.filter((file) => isIn('e2e', file));
    const simulated = sorted.filter((file) => isIn('testing', file));
    const rest = sorted.filter((file) => !isIn('e2e', file) && !isIn('testing', file));
    const others = [...simulated, ...rest];
    const step = (others.length * 6) / 7 / clusters.length;
    return clusters
      .flatMap((file, at) => [
        file,
        ...others.slice(Math.ceil(at * step), Math.ceil((at + 1) * step)),
      ])
      .concat(others.slice(Math.ceil(clusters.length * step)));
  }
}

export default defineConfig({
  resolve: {
    // The product by its own name means the sources, so that tests of the examples need no build.
    alias: [
      { find: /^clustor$/, replacement: source('index.ts') },
      { find: /^clustor\/client$/, replacement: source('client/index.ts') },
      { find: /^clustor\/raft$/, replacement: source('raft/index.ts') },
      { find: /^clustor\/testing$/, replacement: source('testing/index.ts') },
    ],
  },
  test: {
    pool: 'threads',
    // Vitest leaves one core to itself, which on two cores is half of them.
    maxWorkers: availableParallelism(),
    sequence: { sequencer: Interleaved },
    coverage: { provider: 'v8', include: ['src/**'], reporter: ['text-summary', 'html'] },
    projects: [
      {
        extends: true,
        test: {
          ...timeouts,
          name: 'tests',
          include: ['test/**/*.test.ts'],
          exclude: alone,
          // The files of a worker share their modules, and what V8 made of them. None keeps anything in a module.
          isolate: false,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          ...timeouts,
          name: 'alone',
          include: alone,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
