import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
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

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'clustor-disk-'));
  fileSystem = await openNodeFileSystem();
});

afterEach(async () => {
  vi.restoreAllMocks();
  await fileSystem.shutDown();
  await rm(directory, { recursive: true, force: true });
});

async function reopened(mode: IoWriterMode): Promise<void> {
  await fileSystem.shutDown();
  fileSystem = await openNodeFileSystem({ mode });
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

/** A handle whose writes fail: opened without the right to write. */
async function unwritable(): Promise<FileHandle> {
  await fileSystem.createZeroed(join(directory, 'unwritable'), block);
  return fileSystem.open(join(directory, 'unwritable'), { access: 'read' });
}

const modes: readonly IoWriterMode[] = ['Direct', 'Pooled', 'Blocking'];

describe.each(modes)('the disk conforms in mode %s', (mode) => {
  for (const subject of fileSystemConformance) {
    if (subject.needsPowerLoss) continue;
    test(subject.name, async () => {
      await reopened(mode);

      await subject.run({ fileSystem, directory });
    });
  }
});

describe.each(modes)('chains in mode %s', (mode) => {
  beforeEach(() => reopened(mode));

  test('a failed step ends its chain, is named, and leaves the chains around it alone', async () => {
    const file = await zeroed('file', 8);
    const refused = await unwritable();

    const results = await Promise.all([
      chain([write(file, 0, 1), { kind: 'sync', file }]),
      chain([write(file, 1, 2), write(file, 2, 3), write(refused, 0, 9), write(file, 3, 4)]),
      chain([write(file, 4, 5), { kind: 'sync', file }]),
    ]);

    expect(results).toEqual([undefined, { stepIndex: 2, systemCode: 'EBADF' }, undefined]);
    const onDisk = await readFile(join(directory, 'file'));
    expect([0, 1, 2, 3, 4].map((at) => onDisk[at * block])).toEqual([1, 2, 3, 0, 5]);
  });

  test('a chain without steps completes in its turn', async () => {
    const file = await zeroed('file', 1);
    const order: string[] = [];
    await Promise.all([
      chain([write(file, 0, 1)]).then(() => order.push('before')),
      chain([]).then((failure) => order.push(failure === undefined ? 'empty' : 'failed')),
      chain([write(file, 0, 2)]).then(() => order.push('after')),
    ]);

    expect(order).toEqual(['before', 'empty', 'after']);
    expect((await readFile(join(directory, 'file')))[0]).toBe(2);
  });

  test('any number of chains may wait, and they complete in order', async () => {
    const file = await zeroed('file', 1);
    const chainCount = 3000;
    const order: number[] = [];
    const failures = await Promise.all(
      Array.from({ length: chainCount }, async (_, at) => {
        const failure = await chain([
          { kind: 'sync', file },
          { kind: 'sync', file },
        ]);
        order.push(at);
        return failure;
      }),
    );

    expect(failures.filter((failure) => failure !== undefined)).toEqual([]);
    expect(order).toEqual(Array.from({ length: chainCount }, (_, at) => at));
  }, 60_000);

  test('a file is closed although chains on others never pause', async () => {
    const busy = await zeroed('busy', 1);
    const step = write(busy, 0, 1);
    const other = await zeroed('other', 1);
    let isGoingOn = true;
    const goOn = (): void => {
      if (isGoingOn) fileSystem.submit([step], goOn);
    };
    goOn();

    await fileSystem.close(other);
    isGoingOn = false;

    expect(() => fileSystem.submit([{ kind: 'sync', file: other }], () => {})).toThrow('not open');
  });

  test('from the call of close on, a file takes no more chains', async () => {
    const file = await zeroed('file', 1);
    const earlier = chain([write(file, 0, 1), { kind: 'sync', file }]);
    const closing = fileSystem.close(file);

    expect(() => fileSystem.submit([{ kind: 'sync', file }], () => {})).toThrow('not open');
    expect(await earlier).toBeUndefined();
    await closing;
  });

  test('a closed handle never means a file that was opened later', async () => {
    const first = await zeroed('first', 1);
    await fileSystem.close(first);
    await zeroed('second', 1);

    expect(() => fileSystem.submit([{ kind: 'sync', file: first }], () => {})).toThrow('not open');
  });
});

describe('direct files', () => {
  test('that the file system refuses become buffered ones, and the mode says so before the first chain', async () => {
    const refusal = Object.assign(new Error('EINVAL: invalid argument'), { code: 'EINVAL' });
    const events: ObservedEvent[] = [];
    await fileSystem.shutDown();
    fileSystem = await openNodeFileSystem({ observer: { emit: (event) => events.push(event) } });
    expect(fileSystem.ioWriterMode).toBe('Direct');
    const probe = await open(process.execPath, 'r');
    vi.spyOn(Object.getPrototypeOf(probe) as typeof probe, 'read').mockRejectedValueOnce(refusal);
    await probe.close();

    const file = await zeroed('file', 2);

    expect(fileSystem.ioWriterMode).toBe('Pooled');
    expect(events.map(({ kind, fields }) => [kind, fields['mode']])).toEqual([
      ['ioWriterDegraded', 'Pooled'],
    ]);
    expect(await chain([write(file, 1, 7), { kind: 'sync', file }])).toBeUndefined();
    expect((await fileSystem.read(file, block, block))[0]).toBe(7);
  });

  test('read back what was written while others are being opened', async () => {
    const blocks = 64;
    const file = await zeroed('file', blocks);
    await chain(Array.from({ length: blocks }, (_, at) => write(file, at, at + 1)));
    await fileSystem.createZeroed(join(directory, 'other'), block);

    const reads = Array.from({ length: 40 }, () => fileSystem.read(file, 0, blocks * block));
    const opens = Array.from({ length: 40 }, () =>
      fileSystem.open(join(directory, 'other'), { access: 'durableWrite' }),
    );

    await Promise.all(opens);
    for (const bytes of await Promise.all(reads)) {
      for (let at = 0; at < blocks; at++) expect(bytes[at * block]).toBe(at + 1);
    }
  });

  test('larger than one piece of the read memory are read whole', async () => {
    const blocks = 600;
    const file = await zeroed('file', blocks);
    await chain([write(file, 0, 1), write(file, 255, 2), write(file, 256, 3), write(file, 599, 4)]);

    const bytes = await fileSystem.read(file, 0, (blocks + 8) * block);

    expect(bytes.length).toBe(blocks * block);
    expect([0, 255, 256, 599, 1].map((at) => bytes[at * block])).toEqual([1, 2, 3, 4, 0]);
  });

  test('are opened although their first block cannot be read, and whoever reads it is told', async () => {
    await fileSystem.close(await zeroed('file', 2));
    const probe = await open(process.execPath, 'r');
    const prototype = Object.getPrototypeOf(probe) as typeof probe;
    const { read } = prototype;
    await probe.close();
    const refusal = Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
    vi.spyOn(prototype, 'read').mockImplementation(function (
      this: typeof probe,
      ...given: unknown[]
    ) {
      if (given[3] === 0) return Promise.reject(refusal);
      return (read as (...all: unknown[]) => never).apply(this, given);
    });

    const file = await fileSystem.open(join(directory, 'file'), { access: 'durableWrite' });

    const details = { systemCode: 'EIO' };
    await expect(fileSystem.read(file, 0, block)).rejects.toMatchObject({ details });
    expect(await fileSystem.read(file, block, block)).toHaveLength(block);
    vi.restoreAllMocks();
    await fileSystem.close(file);
  });

  test('take bytes from memory that was allocated while the thread slept', async () => {
    const file = await zeroed('file', 64);
    for (let at = 0; at < 64; at++) {
      fileSystem.allocateStaging(1024 * 1024 + at);
      expect(await chain([write(file, at, at + 1)])).toBeUndefined();
    }

    const onDisk = await readFile(join(directory, 'file'));
    for (let at = 0; at < 64; at++) expect(onDisk[at * block]).toBe(at + 1);
  });
});

test('a directory is made at a relative path of one letter too', async () => {
  const module = fileURLToPath(new URL('../../src/platform/node-file-system.ts', import.meta.url));
  const tsx = import.meta.resolve('tsx');
  const source = `
    import { openNodeFileSystem } from ${JSON.stringify(module)};
    const fileSystem = await openNodeFileSystem();
    await fileSystem.makeDirectory('d');
    await fileSystem.shutDown();
  `;
  const child = spawn(process.execPath, ['--import', tsx, '--input-type=module', '-e', source], {
    cwd: directory,
    stdio: 'inherit',
    timeout: 10_000,
  });

  expect(await once(child, 'exit')).toEqual([0, null]);
  expect(await fileSystem.listDirectory(directory)).toEqual(['d']);
});

test('when the thread dies, chains under way and later ones fail with EWORKER, it is told, and files can be closed', async () => {
  const events: ObservedEvent[] = [];
  await fileSystem.shutDown();
  fileSystem = await openNodeFileSystem({ observer: { emit: (event) => events.push(event) } });
  const file = await zeroed('file', 1);
  const step = write(file, 0, 1);
  const threads = new Set<Worker>();
  vi.spyOn(Worker.prototype, 'unref').mockImplementation(() => undefined);
  vi.spyOn(Worker.prototype, 'ref').mockImplementation(function (this: Worker) {
    threads.add(this);
  });

  const chains = Array.from({ length: 2000 }, () => chain([step, { kind: 'sync', file }]));
  for (const thread of threads) void thread.terminate();
  const underWay = await Promise.all(chains);
  const later = await chain([{ kind: 'sync', file }]);

  expect(underWay.at(-1)).toEqual({ stepIndex: 0, systemCode: 'EWORKER' });
  expect(later).toEqual({ stepIndex: 0, systemCode: 'EWORKER' });
  expect(events.filter(({ kind }) => kind === 'ioWriterDied')).toHaveLength(1);
  await fileSystem.close(file);
});

test('a process with a chain under way stays until it completed, an idle one ends by itself', async () => {
  const module = fileURLToPath(new URL('../../src/platform/node-file-system.ts', import.meta.url));
  const source = `
    import { openNodeFileSystem } from ${JSON.stringify(module)};
    const fileSystem = await openNodeFileSystem();
    const path = ${JSON.stringify(join(directory, 'file'))};
    await fileSystem.createZeroed(path, 4096);
    const file = await fileSystem.open(path, { access: 'durableWrite' });
    const bytes = fileSystem.allocateStaging(4096);
    fileSystem.submit([{ kind: 'write', file, position: 0, bytes }], () => process.stdout.write('completed'));
  `;
  const child = spawn(
    process.execPath,
    ['--import', import.meta.resolve('tsx'), '--input-type=module', '-e', source],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 10_000,
    },
  );
  let output = '';
  child.stdout.on('data', (text: Buffer) => (output += text.toString()));

  expect(await once(child, 'close')).toEqual([0, null]);
  expect(output).toBe('completed');
});

test('what the operating system refuses is a typed error with its code', async () => {
  await expect(fileSystem.remove(directory)).rejects.toMatchObject({
    code: 'CLUSTOR_STORAGE_FAILED',
  });
  await expect(
    fileSystem.open(join(directory, 'absent'), { access: 'read' }),
  ).rejects.toMatchObject({
    code: 'CLUSTOR_STORAGE_FAILED',
    details: { systemCode: 'ENOENT' },
  });
  await expect(
    fileSystem.link(join(directory, 'absent'), join(directory, 'name')),
  ).rejects.toMatchObject({ code: 'CLUSTOR_STORAGE_FAILED' });
});
