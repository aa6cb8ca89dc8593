import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { nextBelow } from '../../src/base/prng.ts';
import type { FileHandle, FileSystem, IoFailure, IoStep } from '../../src/ports/file-system.ts';
import { fileSystemConformance } from '../../src/testing/file-system-conformance.ts';
import type { SimDisk } from '../../src/testing/sim-disk.ts';
import { openInspection } from '../../src/testing/disk-inspection.ts';
import type { SimHost, SimWorld } from '../../src/testing/sim-world.ts';
import { drainMicrotasks, pass, sampleWorld, settled, threeNodes } from './sim-rounds.ts';

const node = threeNodes[0]!;
const block = 4096;

function started(seed: number): { world: SimWorld; host: SimHost; disk: SimDisk } {
  const world = sampleWorld(seed);
  return { world, host: world.start(node), disk: world.disk(node) };
}

function write(file: FileHandle, at: number, fill: number): IoStep {
  return { kind: 'write', file, position: at * block, bytes: new Uint8Array(block).fill(fill) };
}

function chain(fileSystem: FileSystem, steps: readonly IoStep[]): Promise<IoFailure | undefined> {
  return new Promise((resolve) => fileSystem.submit(steps, resolve));
}

async function journal(host: SimHost, blocks: number): Promise<FileHandle> {
  const { fileSystem } = host;
  await fileSystem.makeDirectory('/data');
  await fileSystem.createZeroed('/data/journal', blocks * block);
  await fileSystem.syncDirectory('/data');
  return fileSystem.open('/data/journal', { access: 'durableWrite' });
}

describe('the simulated file system conforms', () => {
  for (const subject of fileSystemConformance) {
    test(subject.name, async () => {
      for (let seed = 1; seed <= 20; seed++) {
        const { world, host } = started(seed);
        await settled(world.scheduler, host.fileSystem.makeDirectory('/data'));
        const losePower = (): Promise<FileSystem> => {
          world.crash(node);
          return Promise.resolve(world.start(node).fileSystem);
        };

        const run = subject.run({ fileSystem: host.fileSystem, directory: '/data', losePower });

        await settled(world.scheduler, run);
      }
    });
  }
});

test('a power loss leaves different subsets of unsynced sectors for different seeds', async () => {
  const outcomes = new Set<string>();
  for (let seed = 1; seed <= 60; seed++) {
    const { world, host } = started(seed);
    const file = await settled(world.scheduler, journal(host, 2));
    await settled(world.scheduler, chain(host.fileSystem, [write(file, 0, 1), write(file, 1, 2)]));

    world.crash(node);

    const bytes = present(world.disk(node).syncedBytes('/data/journal'), 'the file is synced');
    const sectors = Array.from({ length: 16 }, (_, sector) => bytes[sector * 512] ?? 0);
    outcomes.add(sectors.join(''));
  }

  expect(outcomes).toContain('0'.repeat(16));
  expect(outcomes).toContain('1'.repeat(8) + '2'.repeat(8));
  expect(outcomes).toContain('0'.repeat(8) + '0'.repeat(8));
  expect(outcomes.size).toBeGreaterThan(10);
});

test('a killed process keeps what it wrote, a power loss need not', async () => {
  const { world, host, disk } = started(7);
  const file = await settled(world.scheduler, journal(host, 1));
  await settled(world.scheduler, chain(host.fileSystem, [write(file, 0, 9)]));

  world.crash(node, 'processKill');
  const next = world.start(node);

  const bytes = await settled(world.scheduler, next.fileSystem.readFile('/data/journal'));
  expect(bytes?.every((byte) => byte === 9)).toBe(true);
  expect(disk.readSynced('/data/journal', 0, 4)).toEqual(new Uint8Array(4));
});

test('a file whose directory was not synced may be missing after a power loss', async () => {
  const present_ = new Set<boolean>();
  for (let seed = 1; seed <= 30; seed++) {
    const { world, host, disk } = started(seed);
    await settled(world.scheduler, host.fileSystem.makeDirectory('/data'));
    await settled(world.scheduler, host.fileSystem.createZeroed('/data/new', block));
    expect(disk.syncedBytes('/data/new')).toBeUndefined();

    world.crash(node);

    present_.add(disk.find('/data/new') !== undefined);
  }
  expect(present_).toEqual(new Set([true, false]));
});

test('an unsynced rename leaves the file under exactly one of its names', async () => {
  const names = new Set<string>();
  for (let seed = 1; seed <= 60; seed++) {
    const { world, host, disk } = started(seed);
    await settled(world.scheduler, journal(host, 1));
    await settled(world.scheduler, host.fileSystem.rename('/data/journal', '/data/second'));
    await settled(world.scheduler, host.fileSystem.rename('/data/second', '/data/third'));

    world.crash(node);

    names.add(disk.list('/data').join(' '));
  }
  expect([...names].sort()).toEqual(['journal', 'second', 'third']);
});

test('after a failed sync later syncs succeed without the lost pages', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const world = sampleWorld(seed, { ioWriterMode: 'Blocking' });
    const { fileSystem } = world.start(node);
    const disk = world.disk(node);
    const file = await settled(world.scheduler, journal(world.host(node)!, 64));
    const steps = Array.from({ length: 64 }, (_, at) => write(file, at, 5));
    disk.failNext('sync', 'EIO');

    const failure = await settled(
      world.scheduler,
      chain(fileSystem, [...steps, { kind: 'sync', file }]),
    );
    const again = await settled(world.scheduler, chain(fileSystem, [{ kind: 'sync', file }]));

    expect(failure).toEqual({ stepIndex: 64, systemCode: 'EIO' });
    expect(again).toBeUndefined();
    const seen = await settled(world.scheduler, fileSystem.read(file, 0, 64 * block));
    expect(seen.every((byte) => byte === 5)).toBe(true);
    expect(disk.syncedBytes('/data/journal')?.every((byte) => byte === 5)).toBe(false);
  }
});

test('a failed write stops its chain and not the next one', async () => {
  const { world, host, disk } = started(3);
  const file = await settled(world.scheduler, journal(host, 4));
  disk.failNext('write', 'ENOSPC');

  const first = chain(host.fileSystem, [
    write(file, 0, 1),
    write(file, 1, 1),
    { kind: 'sync', file },
  ]);
  const second = chain(host.fileSystem, [write(file, 2, 2), { kind: 'sync', file }]);

  expect(await settled(world.scheduler, first)).toEqual({ stepIndex: 0, systemCode: 'ENOSPC' });
  expect(await settled(world.scheduler, second)).toBeUndefined();
  const bytes = disk.syncedBytes('/data/journal');
  expect([bytes?.[0], bytes?.[block], bytes?.[2 * block]]).toEqual([0, 0, 2]);
});

test('a kill point stops the node between two steps', async () => {
  for (let step = 1; step <= 4; step++) {
    for (let seed = 1; seed <= 10; seed++) {
      const { world, host, disk } = started(seed);
      const file = await settled(world.scheduler, journal(host, 2));
      let isTold = false;
      disk.killAt({ kind: 'chain', chain: disk.chainCount, step }, () =>
        world.crash(node, 'processKill'),
      );

      host.fileSystem.submit(
        [write(file, 0, 1), { kind: 'sync', file }, write(file, 1, 2), { kind: 'sync', file }],
        () => {
          isTold = true;
        },
      );
      await pass(world, 100);

      expect(isTold).toBe(false);
      expect(host.isAlive).toBe(false);
      const synced = disk.syncedBytes('/data/journal');
      expect([synced?.[0], synced?.[block]]).toEqual([step >= 2 ? 1 : 0, step >= 4 ? 2 : 0]);
      const seen = disk.find('/data/journal')?.read(0, 2 * block, 'cache');
      expect([seen?.[0], seen?.[block]]).toEqual([1, step >= 3 ? 2 : 0]);
    }
  }
});

test('a stalled disk completes nothing until it is healed', async () => {
  const { world, host, disk } = started(4);
  const file = await settled(world.scheduler, journal(host, 2));
  let isDone = false;
  disk.stall();

  host.fileSystem.submit([write(file, 0, 1), { kind: 'sync', file }], () => {
    isDone = true;
  });
  const read = host.fileSystem.readFile('/data/journal');
  await pass(world, 10_000);
  expect(isDone).toBe(false);

  disk.heal();
  await settled(world.scheduler, read);
  await pass(world, 50);
  expect(isDone).toBe(true);
});

test('a caller that changes submitted bytes is caught', async () => {
  const { world, host } = started(5);
  const file = await settled(world.scheduler, journal(host, 2));
  const step = write(file, 0, 1) as IoStep & { kind: 'write' };

  host.fileSystem.submit([step], () => {});
  step.bytes.fill(99, 100, 200);

  await expect(pass(world, 50)).rejects.toThrow('stay untouched');
});

test('a disk of 64 MiB costs nothing until it is written', async () => {
  const { world, host, disk } = started(6);
  await settled(world.scheduler, host.fileSystem.makeDirectory('/data'));

  await settled(world.scheduler, host.fileSystem.createZeroed('/data/large', 64 * 1024 * 1024));

  expect(disk.find('/data/large')?.sizeBytes).toBe(64 * 1024 * 1024);
  expect(disk.find('/data/large')?.syncedPageNumbers()).toEqual([]);
});

test('an inspection sees just what a power loss cannot take', async () => {
  const { world, host, disk } = started(8);
  const file = await settled(world.scheduler, journal(host, 3));
  await settled(
    world.scheduler,
    chain(host.fileSystem, [write(file, 0, 1), { kind: 'sync', file }, write(file, 1, 2)]),
  );

  const { fileSystem, scheduler } = openInspection(disk);

  const bytes = await settled(scheduler, fileSystem.readFile('/data/journal'));
  expect([bytes?.[0], bytes?.[block]]).toEqual([1, 0]);
  expect(disk.syncedPageNumbers('/data/journal')).toEqual([0]);
  expect(disk.fork().find('/data/journal')?.read(block, 1, 'cache')).toEqual(Uint8Array.of(2));
});

test('promises of a dead life never settle', async () => {
  const { world, host } = started(9);
  let isSettled = false;
  const read = host.fileSystem.readFile('/data/none');
  read.then(
    () => (isSettled = true),
    () => (isSettled = true),
  );

  world.crash(node);
  await pass(world, 1_000);
  await drainMicrotasks();

  expect(isSettled).toBe(false);
});

test('a dead life may still name its files, and is not answered', async () => {
  const { world, host, disk } = started(10);
  const { fileSystem } = host;
  const handle = await settled(world.scheduler, journal(host, 2));
  const before = disk.find('/data/journal')?.sizeBytes;
  world.crash(node, 'processKill');

  let answers = 0;
  const asked = [
    fileSystem.size(handle),
    fileSystem.read(handle, 0, block),
    fileSystem.truncate(handle, 0),
    fileSystem.close(handle),
  ];
  for (const promise of asked) void promise.finally(() => answers++);
  await pass(world, 1_000);
  await drainMicrotasks();

  expect(answers).toBe(0);
  expect(disk.find('/data/journal')?.sizeBytes).toBe(before);
});

test('whatever the moment of a power loss, a block holds its synced value or a later one', async () => {
  let survivors = 0;
  for (let seed = 1; seed <= 150; seed++) {
    const { world, host, disk } = started(seed);
    const { random } = world;
    const file = await settled(world.scheduler, journal(host, 8));
    const allowed = Array.from({ length: 8 }, () => [0]);
    const untilMs = world.nowMs + nextBelow(random, 20);
    let value = 1;
    for (let count = 0; count < 12; count++) {
      const writes = Array.from({ length: 1 + nextBelow(random, 3) }, () => ({
        at: nextBelow(random, 8),
        fill: value++,
      }));
      const isSynced = nextBelow(random, 2) === 0;
      for (const { at, fill } of writes) allowed[at]!.push(fill);
      const steps = writes.map(({ at, fill }) => write(file, at, fill));
      // A completed sync covers every write of the chains before it and of its own.
      const floor = allowed.map((values) => values.at(-1)!);
      host.fileSystem.submit(isSynced ? [...steps, { kind: 'sync', file }] : steps, () => {
        if (!isSynced) return;
        allowed.forEach((values, at) => values.splice(0, values.indexOf(floor[at]!)));
      });
    }

    await world.run({ untilMs, drainMicrotasks });
    world.crash(node);

    const bytes = present(disk.syncedBytes('/data/journal'), `the journal is there, seed ${seed}`);
    bytes.forEach((byte, position) => {
      if (allowed[Math.floor(position / block)]!.includes(byte)) return;
      throw new Error(`seed ${seed}: byte ${position} is ${byte}`);
    });
    if (bytes.some((byte) => byte !== 0)) survivors++;
  }
  expect(survivors).toBeGreaterThan(50);
});
