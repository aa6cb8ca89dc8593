/** Changing between Direct, Pooled and Blocking on a real disk, with chains, reads and closings under way (specification §5.1). */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { mkdtemp, open, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { openNodeFileSystem, type NodeFileSystem } from '../../src/platform/node-file-system.ts';
import type { FileHandle, IoFailure, IoStep, IoWriterMode } from '../../src/ports/file-system.ts';
import type { ObservedEvent } from '../../src/ports/observer.ts';
import { fileSystemConformance } from '../../src/testing/file-system-conformance.ts';

const block = 4096;
let directory: string;
let fileSystem: NodeFileSystem;
let events: ObservedEvent[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'clustor-modes-'));
  events = [];
  fileSystem = await opened('Direct');
});

afterEach(async () => {
  vi.restoreAllMocks();
  await fileSystem.shutDown();
  await rm(directory, { recursive: true, force: true });
});

function opened(mode: IoWriterMode): Promise<NodeFileSystem> {
  return openNodeFileSystem({ mode, observer: { emit: (event) => events.push(event) } });
}

async function zeroed(name: string, blocks: number): Promise<FileHandle> {
  const path = join(directory, name);
  await fileSystem.createZeroed(path, blocks * block);
  return fileSystem.open(path, { access: 'durableWrite' });
}

function write(file: FileHandle, at: number, fill: number): IoStep {
  const bytes = fileSystem.allocateStaging(block);
  bytes.fill(fill);
  return { kind: 'write', file, position: at * block, bytes };
}

function chain(steps: readonly IoStep[]): Promise<IoFailure | undefined> {
  return new Promise((resolve) => fileSystem.submit(steps, resolve));
}

/** Whether each descriptor of this process on a file of the test is a direct one. */
async function directnessOf(name: string): Promise<boolean[]> {
  const found: boolean[] = [];
  for (let descriptor = 0; descriptor < 256; descriptor++) {
    const target = await readlink(`/proc/self/fd/${descriptor}`).catch(() => '');
    if (target !== join(directory, name)) continue;
    const info = await readFile(`/proc/self/fdinfo/${descriptor}`, 'utf8');
    const flags = Number.parseInt(/flags:\s+(\d+)/.exec(info)?.[1] ?? '0', 8);
    found.push((flags & constants.O_DIRECT) !== 0);
  }
  return found;
}

/** The prototype of handles of `node:fs/promises`, to watch what is called on them. */
async function handlePrototype(): Promise<Awaited<ReturnType<typeof open>>> {
  const handle = await open(process.execPath, 'r');
  await handle.close();
  return Object.getPrototypeOf(handle) as typeof handle;
}

/** Ends the thread of the file system while nothing is under way. */
async function loseThread(): Promise<void> {
  const threads = new Set<Worker>();
  const ref = vi.spyOn(Worker.prototype, 'ref').mockImplementation(function (this: Worker) {
    threads.add(this);
  });
  await chain([]);
  ref.mockRestore();
  for (const thread of threads) await thread.terminate();
  await vi.waitFor(() => expect(fileSystem.ioWriterMode).toBe('Blocking'));
}

const modes: readonly IoWriterMode[] = ['Direct', 'Pooled', 'Blocking'];
const changes = modes.flatMap((from) => modes.map((to) => ({ from, to })));

describe.each(changes)('from $from to $to', ({ from, to }) => {
  beforeEach(async () => {
    if (from !== 'Direct') await fileSystem.switchIoWriterMode(from);
  });

  test('the disk goes on conforming', async () => {
    expect(await fileSystem.switchIoWriterMode(to)).toBe(to);
    expect(fileSystem.ioWriterFault).toBeUndefined();

    for (const [at, subject] of fileSystemConformance.entries()) {
      if (subject.needsPowerLoss) continue;
      const path = join(directory, `${at}`);
      await fileSystem.makeDirectory(path);
      await subject.run({ fileSystem, directory: path });
    }
  });

  test('open files are changed with their names, and chains keep their order across it', async () => {
    const file = await zeroed('old', 64);
    await fileSystem.rename(join(directory, 'old'), join(directory, 'file'));
    const order: number[] = [];
    const run = (number: number): Promise<void> =>
      chain([
        write(file, number, number + 1),
        write(file, 40, number + 1),
        { kind: 'sync', file },
      ]).then((failure) => {
        expect(failure).toBeUndefined();
        order.push(number);
      });

    const before = Array.from({ length: 8 }, (_, at) => run(at));
    const changed = fileSystem.switchIoWriterMode(to).then(() => order.push(100));
    const after = Array.from({ length: 8 }, (_, at) => run(8 + at));
    await Promise.all([...before, changed, ...after]);

    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 100, 8, 9, 10, 11, 12, 13, 14, 15]);
    const isDirect = to === 'Direct' || (to === 'Blocking' && from !== 'Pooled');
    expect(await directnessOf('file')).toEqual([isDirect]);
    const bytes = await fileSystem.read(file, 0, 64 * block);
    const onDisk = await readFile(join(directory, 'file'));
    for (let at = 0; at < 16; at++) {
      expect(bytes[at * block], `block ${at}`).toBe(at + 1);
      expect(onDisk[at * block], `block ${at}`).toBe(at + 1);
    }
    expect(bytes[40 * block]).toBe(16);
  });
});

test('reads, closings and truncations under way end well while the mode goes back and forth', async () => {
  const blocks = 600;
  const file = await zeroed('file', blocks);
  await chain(Array.from({ length: 16 }, (_, at) => write(file, at * 37, at + 1)));
  const problems: unknown[] = [];
  let isGoingOn = true;
  const reading = (async () => {
    while (isGoingOn) {
      const bytes = await fileSystem.read(file, 0, blocks * block);
      for (let at = 0; at < 16; at++)
        if (bytes[at * 37 * block] !== at + 1) problems.push(`block ${at * 37}`);
    }
  })();
  const opening = (async () => {
    for (let at = 0; isGoingOn; at++) {
      const other = await zeroed(`other-${at % 4}`, 2);
      await fileSystem.truncate(other, block);
      const failure = await chain([write(other, 0, at % 200), { kind: 'sync', file: other }]);
      if (failure !== undefined) problems.push(failure);
      await fileSystem.close(other);
      const content = await readFile(join(directory, `other-${at % 4}`));
      if (content.length !== block || content[0] !== at % 200) problems.push(`other ${at}`);
    }
  })();

  for (let round = 0; round < 40; round++)
    await fileSystem.switchIoWriterMode(modes[(round * 2 + 1) % 3]!);
  isGoingOn = false;
  await Promise.all([reading, opening]);

  expect(problems).toEqual([]);
});

test('what lies in the page cache is synced before a file is written past it, file by file', async () => {
  await fileSystem.switchIoWriterMode('Pooled');
  const file = await zeroed('file', 2);
  const other = await zeroed('other', 2);
  await chain([write(file, 0, 1), write(other, 0, 2)]);
  const calls: string[] = [];
  const prototype = await handlePrototype();
  const { datasync, read } = prototype;
  vi.spyOn(prototype, 'datasync').mockImplementation(function (this: typeof prototype) {
    calls.push('sync');
    return datasync.call(this);
  });
  vi.spyOn(prototype, 'read').mockImplementation(function (
    this: typeof prototype,
    ...given: unknown[]
  ) {
    calls.push('direct');
    return (read as (...all: unknown[]) => never).apply(this, given);
  });

  expect(await fileSystem.switchIoWriterMode('Direct')).toBe('Direct');

  expect(calls).toEqual(['sync', 'sync', 'direct', 'direct']);
});

test('where that sync fails nothing is written any more, not even what waited (KER-10)', async () => {
  await fileSystem.switchIoWriterMode('Pooled');
  const file = await zeroed('file', 2);
  await chain([write(file, 0, 1)]);
  const refusal = Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
  vi.spyOn(await handlePrototype(), 'datasync').mockRejectedValueOnce(refusal);

  const changing = fileSystem.switchIoWriterMode('Direct');
  const waiting = chain([write(file, 0, 9), { kind: 'sync', file }]);

  await expect(changing).rejects.toMatchObject({ code: 'CLUSTOR_STORAGE_FAILED' });
  expect(await waiting).toEqual({ stepIndex: 0, systemCode: 'EIO' });
  expect(await chain([{ kind: 'sync', file }])).toEqual({ stepIndex: 0, systemCode: 'EIO' });
  expect((await readFile(join(directory, 'file')))[0]).toBe(1);
  await fileSystem.close(file);
});

test('a file that cannot be opened past the page cache leaves all of them as they are', async () => {
  await fileSystem.switchIoWriterMode('Pooled');
  const file = await zeroed('file', 2);
  await zeroed('other', 2);
  const refusal = Object.assign(new Error('EINVAL: invalid argument'), { code: 'EINVAL' });
  vi.spyOn(await handlePrototype(), 'read')
    .mockResolvedValueOnce({ bytesRead: 0, buffer: Buffer.alloc(0) })
    .mockRejectedValueOnce(refusal);

  expect(await fileSystem.switchIoWriterMode('Direct')).toBe('Pooled');
  vi.restoreAllMocks();

  expect([...(await directnessOf('file')), ...(await directnessOf('other'))]).toEqual([
    false,
    false,
  ]);
  expect(await chain([write(file, 0, 3), { kind: 'sync', file }])).toBeUndefined();
  expect((await fileSystem.read(file, 0, block))[0]).toBe(3);
});

describe('a thread that ends while nothing is under way', () => {
  test('is replaced by the loop, which goes on with the same files, and that is told once', async () => {
    const file = await zeroed('file', 4);
    await chain([write(file, 0, 1), { kind: 'sync', file }]);

    await loseThread();

    expect(fileSystem.ioWriterFault).toBe('ThreadLost');
    expect(await chain([write(file, 1, 2), { kind: 'sync', file }])).toBeUndefined();
    expect(
      [...(await fileSystem.read(file, 0, 2 * block))].filter((byte) => byte !== 0).length,
    ).toBe(2 * block);
    expect(events.map(({ kind, fields }) => [kind, fields['mode']])).toEqual([
      ['ioWriterDegraded', 'Blocking'],
    ]);
  });

  test('comes back when a better mode is asked for', async () => {
    const file = await zeroed('file', 4);
    await loseThread();

    expect(await fileSystem.switchIoWriterMode('Direct')).toBe('Direct');

    expect(fileSystem.ioWriterFault).toBeUndefined();
    expect(await chain([write(file, 1, 2), { kind: 'sync', file }])).toBeUndefined();
    expect((await readFile(join(directory, 'file')))[block]).toBe(2);
  });
});

test('in Blocking a chain holds up the loop, in the other modes it does not', async () => {
  const file = await zeroed('file', 1);
  const steps = Array.from({ length: 200 }, (): IoStep[] => [
    write(file, 0, 1),
    { kind: 'sync', file },
  ]).flat();
  const turnsDuring = async (mode: IoWriterMode): Promise<number> => {
    await fileSystem.switchIoWriterMode(mode);
    let turns = 0;
    let isDone = false;
    const count = (): void => {
      turns++;
      if (!isDone) setImmediate(count);
    };
    setImmediate(count);
    await chain(steps);
    isDone = true;
    return turns;
  };

  expect(await turnsDuring('Direct')).toBeGreaterThan(20);
  expect(await turnsDuring('Pooled')).toBeGreaterThan(20);
  expect(await turnsDuring('Blocking')).toBeLessThan(5);
});

/** A store whose writer's mode goes round, killed after so many acknowledgements: what it recovered, and said to be durable, with the modes. */
async function killedLife(
  partition: string,
  acknowledgements: number,
): Promise<{ recovered: number; durable: number; modes: ReadonlySet<string> }> {
  const program = fileURLToPath(new URL('./store-writer.ts', import.meta.url));
  const child = spawn(
    process.execPath,
    ['--import', import.meta.resolve('tsx'), program, join(directory, 'data'), partition],
    { stdio: ['ignore', 'pipe', 'inherit'], timeout: 60_000 },
  );
  let output = '';
  child.stdout.on('data', (text: Buffer) => {
    output += text.toString();
    if (output.split('\n').length > acknowledgements) child.kill('SIGKILL');
  });
  expect(await once(child, 'close')).toEqual([null, 'SIGKILL']);
  // The last line may be half a one.
  const rows = output
    .split('\n')
    .slice(0, -1)
    .map((line) => line.split(' '));
  const numberOf = (row: readonly string[] | undefined): number => Number(row?.[1]);
  return {
    recovered: numberOf(rows[0]),
    durable: numberOf(rows.at(-1)),
    modes: new Set(rows.slice(1).map(([mode = '']) => mode)),
  };
}

test('a process that is killed while the mode of its store goes round has everything that it said to be durable', async () => {
  const partition = '018c0d6c-9c11-7e9d-8000-000000000001';
  const modesSeen = new Set<string>();
  let promised = 0;
  for (let life = 0; life < 3; life++) {
    const { recovered, durable, modes: seen } = await killedLife(partition, 40 + 17 * life);
    expect(recovered, `life ${life}`).toBeGreaterThanOrEqual(promised);
    expect(durable).toBeGreaterThan(recovered);
    promised = durable;
    for (const mode of seen) modesSeen.add(mode);
  }

  expect([...modesSeen].toSorted()).toEqual(['Blocking', 'Direct', 'Pooled']);
}, 120_000);
