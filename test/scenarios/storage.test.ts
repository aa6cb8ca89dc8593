/** Accidents with disks that other systems had; none of them may happen here. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, onTestFinished, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { clusterId, nodeId } from '../../src/base/ids.ts';
import { nodeClock } from '../../src/platform/node-clock.ts';
import { nodeEntropy } from '../../src/platform/node-entropy.ts';
import { openNodeFileSystem } from '../../src/platform/node-file-system.ts';
import type { IoWriterMode } from '../../src/ports/file-system.ts';
import { silentObserver } from '../../src/ports/observer.ts';
import { LogStore } from '../../src/storage/log-store.ts';
import type { CrashKind } from '../../src/testing/sim-file-system.ts';
import { StoreWorld, type PartitionModel } from '../storage/store-world.ts';

const kinds: readonly CrashKind[] = ['powerLoss', 'processKill'];

/** A data chain: write blocks, sync, write ledger, sync ledger. A point counts the steps that were completed. */
const points = [
  { completed: 1, name: 'written' },
  { completed: 2, name: 'synced' },
  { completed: 3, name: 'recorded' },
  { completed: 4, name: 'recorded and synced' },
];

/** A store with one partition of three durable entries in term 1. */
async function settledStore(
  seed: number,
  ioWriterMode: IoWriterMode = 'Direct',
): Promise<{ world: StoreWorld; model: PartitionModel }> {
  const limits = {
    segmentBytes: 8 * 1024 * 1024,
    logBytesMax: 256 * 1024 * 1024,
    ledgerBytes: 256 * 1024,
  };
  const world = new StoreWorld({ seed, partitions: 1, limits, ioWriterMode });
  await world.open();
  await world.createReplicas();
  world.crash('processKill');
  await world.open();
  const model = present(world.partitions[0], 'one partition');
  world.vote(model);
  world.append(model, 3, 500);
  world.store?.flush();
  await world.run(50);
  expect(model).toMatchObject({ durableIndex: 3, durableHardState: 1 });
  return { world, model };
}

/** What the store found when it was opened. */
function recoveredOf(world: StoreWorld): {
  readonly term: number;
  readonly lastIndex: number;
  readonly newestTerm: number;
} {
  const recovered = present(world.store?.recovered[0], 'the partition was recovered');
  return {
    term: Number(recovered.hardState.term),
    lastIndex: Number(recovered.lastIndex),
    newestTerm: Number(recovered.termRuns.at(-1)?.term ?? 0),
  };
}

/** Begins to write, and stops at a point of the chain; of the next one unless told. */
async function stopAt(world: StoreWorld, completed: number, chainsAhead = 0): Promise<void> {
  const chain = world.disk.chainCount + chainsAhead;
  world.killAt({ kind: 'chain', chain, step: completed });
  world.store?.flush();
  await world.run(50);
  expect(world.isKilled).toBe(true);
}

const everyCrash = points.flatMap((point) => kinds.map((kind) => ({ ...point, kind })));

describe('regression 1: a term is recovered with its vote, or neither is', () => {
  test.each(everyCrash)('crash ($kind) when the vote was $name', async ({ completed, kind }) => {
    const { world, model } = await settledStore(1);
    world.vote(model);

    // A vote alone is a chain of two steps: write the ledger, sync the ledger.
    await stopAt(world, Math.min(completed, 2));
    world.crash(kind);
    await world.open();

    const { hardState } = present(world.store?.recovered[0], 'the partition was recovered');
    expect([1, 2]).toContain(Number(hardState.term));
    expect(hardState.votedFor).toMatchObject({ replicaId: 1 });
    if (completed >= 2) expect(Number(hardState.term)).toBe(2);
  });
});

// The term has a chain of its own, in front of the one of the entries.
describe('regression 19: no crash leaves entries of a term that is not durable', () => {
  const stops = [
    { what: 'the term was written', chain: 0, completed: 1 },
    { what: 'the term was synced', chain: 0, completed: 2 },
    ...points.map(({ completed, name }) => ({
      what: `the entries were ${name}`,
      chain: 1,
      completed,
    })),
  ];

  test.each(stops.flatMap((stop) => kinds.map((kind) => ({ ...stop, kind }))))(
    'crash ($kind) when $what',
    async ({ chain, completed, kind }) => {
      const { world, model } = await settledStore(19);
      world.vote(model);
      world.append(model, 4, 500);

      await stopAt(world, completed, chain);
      world.crash(kind);
      await world.open();

      const recovered = recoveredOf(world);
      expect(recovered.newestTerm).toBeLessThanOrEqual(recovered.term);
      expect(recovered.lastIndex === 7).toBe(recovered.newestTerm === 2);
    },
  );
});

describe('regression 31: after one failed sync no later one is believed', () => {
  const modes: readonly IoWriterMode[] = ['Direct', 'Pooled'];
  const nextLives: readonly CrashKind[][] = [['powerLoss'], ['processKill', 'powerLoss']];
  const cases = modes.flatMap((mode) => nextLives.map((crashes) => ({ mode, crashes })));

  test.each(cases)('$mode, then $crashes: what counted stays', async ({ mode, crashes }) => {
    for (let seed = 1; seed <= 24; seed++) {
      const { world, model } = await settledStore(seed, mode);
      world.disk.failNext('sync', 'EIO');
      world.append(model, 6, 6_000);
      world.store?.flush();
      await world.run(50);
      expect(world.failures).toBe(1);

      // The disk calls the next syncs good, though it has let go of what the failed one was for.
      world.append(model, 2, 500);
      world.store?.flush();
      await world.run(5_000);
      expect(model.durableIndex).toBe(3);

      let counted = 0;
      for (const kind of crashes) {
        world.crash(kind);
        await world.open();
        expect(recoveredOf(world).lastIndex, `seed ${seed}`).toBeGreaterThanOrEqual(counted);
        counted = recoveredOf(world).lastIndex;
        await world.verify();
      }
    }
  });
});

describe('regression 53: a vote that was reported durable is there after any crash', () => {
  test.each(kinds)('%s right behind the report', async (kind) => {
    const { world, model } = await settledStore(53);
    world.vote(model);
    world.store?.flush();
    await world.run(50);
    expect(model.durableHardState).toBe(2);

    world.crash(kind);
    await world.open();

    expect(recoveredOf(world).term).toBe(2);
  });
});

// Which unsynced sectors a power loss takes is drawn from the seed, so each point is tried with several.
describe('regression 55: what was read back after a kill is on the disk before it counts', () => {
  test.each(points)('entries that were only $name', async ({ completed }) => {
    for (let seed = 1; seed <= 16; seed++) {
      const { world, model } = await settledStore(seed);
      world.append(model, 12, 6_000);
      await stopAt(world, completed);
      world.crash('processKill');
      await world.open();
      const counted = recoveredOf(world).lastIndex;
      await world.verify();

      world.crash('powerLoss');
      await world.open();

      expect(recoveredOf(world).lastIndex, `seed ${seed}`).toBeGreaterThanOrEqual(counted);
      await world.verify();
    }
  });

  test('a kill alone takes nothing that was written', async () => {
    const { world, model } = await settledStore(55);
    world.append(model, 12, 6_000);
    await stopAt(world, 3);

    world.crash('processKill');
    await world.open();

    expect(recoveredOf(world).lastIndex).toBe(15);
  });
});

describe('regression 56: a replica whose ledger is gone is not begun afresh', () => {
  test.each(['nothing', 'everything but the ledger'])('%s of the journal is left', async (left) => {
    const { world } = await settledStore(56);
    world.crash('processKill');
    for (const path of world.disk.paths()) {
      const isLedger = path.includes('/durability.log');
      if (path.startsWith('/data/wal/') && (isLedger || left === 'nothing'))
        world.disk.unlink(path);
    }

    await expect(world.open()).rejects.toMatchObject({ code: 'CLUSTOR_REPLICA_FILES_MISSING' });
  });
});

describe('regression 57: a second process on one data directory is refused', () => {
  const source = (path: string): string =>
    JSON.stringify(fileURLToPath(new URL(`../../src/${path}`, import.meta.url)));

  /** A process that has opened the store of `directory` and goes on living. */
  async function firstProcess(directory: string): Promise<number> {
    const child = spawn(
      process.execPath,
      [
        '--import',
        'tsx',
        '--input-type=module',
        '-e',
        `import { openNodeFileSystem } from ${source('platform/node-file-system.ts')};
         import { silentObserver } from ${source('ports/observer.ts')};
         const fileSystem = await openNodeFileSystem({ observer: silentObserver });
         await fileSystem.lockDirectory(${JSON.stringify(directory)});
         process.stdout.write('open');
         setInterval(() => {}, 1000);`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    onTestFinished(async () => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    });
    await once(child.stdout, 'data');
    return present(child.pid, 'a process that runs has a pid');
  }

  test('with the pid of the first one', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'clustor-scenario-'));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    const data = join(directory, 'data');
    const pid = await firstProcess(data);
    const fileSystem = await openNodeFileSystem({ observer: silentObserver });
    onTestFinished(() => fileSystem.shutDown());

    const opening = LogStore.open({
      directory: data,
      clusterId: clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001'),
      nodeId: nodeId(1),
      fileSystem,
      clock: nodeClock,
      entropy: nodeEntropy,
      observer: silentObserver,
      listener: {
        hardStateDurable: () => undefined,
        appendDurable: () => undefined,
        damaged: () => undefined,
        flushEnded: () => undefined,
        damageFound: () => undefined,
        failed: () => undefined,
      },
    });

    await expect(opening).rejects.toMatchObject({
      code: 'CLUSTOR_DATA_DIRECTORY_LOCKED',
      details: { pid },
    });
  });
});
