import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';

import { defineConfig } from 'vitest/config';

const source = (path: string): string => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

/** It measures how long a cluster takes to go on: after everything else. */
const alone = ['test/e2e/failover.test.ts'];
const e2e = { testTimeout: 240_000, hookTimeout: 240_000 };

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
          // The files of a worker share their modules, and what V8 made of them. None keeps anything in a module.
          isolate: false,
          sequence: { groupOrder: 0 },
        },
      },
      {
        // Real processes, real disks, ports of their own.
        extends: true,
        test: {
          ...e2e,
          name: 'processes',
          include: ['test/e2e/**/*.test.ts'],
          exclude: alone,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          ...e2e,
          name: 'alone',
          include: alone,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
