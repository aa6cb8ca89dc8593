import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';

import { defineConfig } from 'vitest/config';

const source = (path: string): string => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

/** Real processes, but no clusters: they go beside everything else. */
const alone = ['sim-picture', 'sim-report', 'user-guide'].map((name) => `test/e2e/${name}.test.ts`);
const e2e = { testTimeout: 120_000, hookTimeout: 120_000 };

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
    coverage: { provider: 'v8', include: ['src/**'], reporter: ['text-summary', 'html'] },
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**'],
          testTimeout: 30_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { ...e2e, name: 'tools', include: alone, sequence: { groupOrder: 0 } },
      },
      {
        // Real processes, real disks, ports of their own: one file at a time, after everything else.
        extends: true,
        test: {
          ...e2e,
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          exclude: alone,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
