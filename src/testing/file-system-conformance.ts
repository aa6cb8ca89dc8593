/**
 * What every {@link FileSystem} must do, as runnable cases: the simulated one and the real one are held to the same list.
 *
 * A case is given an empty directory and throws when the contract is broken. Cases that need a power loss run only where
 * one can be had. The cases know no test runner; a simulated subject needs virtual time to be run while a case waits.
 */
import { assert, present } from '../base/assert.ts';
import { isClustorError } from '../base/errors.ts';
import type { FileHandle, FileSystem, IoFailure, IoStep } from '../ports/file-system.ts';

/** What a case is run on. */
export interface ConformanceSubject {
  readonly fileSystem: FileSystem;
  /** Absolute path of an existing, empty, durable directory. */
  readonly directory: string;
  /** Cuts the power and gives the file system of the next life; absent where that cannot be done. */
  readonly losePower?: () => Promise<FileSystem>;
}

/** One claim. */
export interface ConformanceCase {
  readonly name: string;
  /** Whether it needs {@link ConformanceSubject.losePower}. */
  readonly needsPowerLoss: boolean;
  /** Resolves when the claim holds. @throws InvariantError when it does not. */
  readonly run: (subject: ConformanceSubject) => Promise<void>;
}

const blockBytes = 4096;

/** The whole list. */
export const fileSystemConformance: readonly ConformanceCase[] = [
  claim('what does not exist reads as nothing', async ({ fileSystem, directory }) => {
    assert(
      (await fileSystem.readFile(`${directory}/absent`)) === undefined,
      'a missing file has no content',
    );
    assert(
      (await fileSystem.listDirectory(`${directory}/absent`)).length === 0,
      'a missing directory is empty',
    );
    await fileSystem.remove(`${directory}/absent`);
    await rejects(fileSystem.open(`${directory}/absent`, { access: 'read' }));
    await rejects(fileSystem.open(`${directory}/absent`, { access: 'durableWrite' }));
    await rejects(fileSystem.syncFile(`${directory}/absent`));
  }),
  claim(
    'names are listed by code unit, directories among them',
    async ({ fileSystem, directory }) => {
      await fileSystem.makeDirectory(`${directory}/a/b/c`);
      await fileSystem.makeDirectory(`${directory}/a/b/c`);
      for (const name of ['b', 'Z', 'a10', 'a9'])
        await fileSystem.replaceFile(`${directory}/a/${name}x`, filled(1, 3));

      const names = await fileSystem.listDirectory(`${directory}/a`);

      assert(names.join(' ') === 'Zx a10x a9x b bx', 'names are sorted by code unit');
    },
  ),
  claim(
    'a replaced file has exactly the new bytes and leaves nothing beside it',
    async ({ fileSystem, directory }) => {
      const path = `${directory}/small`;
      await fileSystem.replaceFile(path, filled(1, 5000));
      await fileSystem.replaceFile(path, filled(2, 7));

      assertSame(await fileSystem.readFile(path), filled(2, 7));
      assert((await fileSystem.listDirectory(directory)).length === 1, 'no temporary file stays');
    },
  ),
  claim(
    'a zeroed file has its size and nothing but zeros, also where a file was',
    async ({ fileSystem, directory }) => {
      const path = `${directory}/zeroed`;
      await fileSystem.createZeroed(path, 4 * blockBytes);
      const file = await fileSystem.open(path, { access: 'durableWrite' });
      await run(fileSystem, [
        write(fileSystem, file, { block: 1, fill: 9 }),
        { kind: 'sync', file },
      ]);
      await fileSystem.close(file);

      await fileSystem.createZeroed(path, 2 * blockBytes);

      assertSame(await fileSystem.readFile(path), new Uint8Array(2 * blockBytes));
    },
  ),
  claim('the room at a directory is told', async ({ fileSystem, directory }) => {
    const { totalBytes, freeBytes } = await fileSystem.space(directory);

    assert(totalBytes > 0, 'a disk has a size');
    assert(freeBytes >= 0 && freeBytes <= totalBytes, 'what is free is part of it');
  }),
  claim('a chain writes in order, and reads see it', async ({ fileSystem, directory }) => {
    const file = await zeroed(fileSystem, `${directory}/chain`, 8);
    await run(fileSystem, [
      write(fileSystem, file, { block: 2, fill: 1 }),
      write(fileSystem, file, { block: 2, fill: 2 }),
      write(fileSystem, file, { block: 5, fill: 3 }),
      { kind: 'sync', file },
    ]);

    const bytes = await fileSystem.read(file, blockBytes, 6 * blockBytes);

    const expected = new Uint8Array(6 * blockBytes);
    expected.fill(2, blockBytes, 2 * blockBytes);
    expected.fill(3, 4 * blockBytes, 5 * blockBytes);
    assertSame(bytes, expected);
    await fileSystem.close(file);
  }),
  claim(
    'completions come in the order of the chains, never within submit',
    async ({ fileSystem, directory }) => {
      const file = await zeroed(fileSystem, `${directory}/order`, 40);
      const order: number[] = [];
      let isSubmitting = true;
      let wasEarly = false;
      const chains = Array.from({ length: 20 }, (_, chain) => {
        const steps: IoStep[] = Array.from({ length: chain % 3 }, (_step, at) =>
          write(fileSystem, file, { block: chain + at, fill: chain + 1 }),
        );
        return new Promise<void>((resolve) => {
          fileSystem.submit([...steps, { kind: 'sync', file }], (failure) => {
            assert(failure === undefined, 'a healthy chain succeeds');
            wasEarly ||= isSubmitting;
            order.push(chain);
            resolve();
          });
        });
      });
      isSubmitting = false;
      await Promise.all(chains);

      assert(!wasEarly, 'no completion comes within submit');
      assert(
        order.every((chain, position) => chain === position),
        'completions keep the order of the chains',
      );
      await fileSystem.close(file);
    },
  ),
  claim(
    'bytes that are laid out when they are asked for are asked for in order, and are written',
    async ({ fileSystem, directory }) => {
      const file = await zeroed(fileSystem, `${directory}/later`, 3);
      const asked = new Set<number>();
      const later = (block: number): IoStep => {
        const step = write(fileSystem, file, { block, fill: 0 });
        if (step.kind !== 'write') return step;
        return {
          kind: 'write',
          file,
          position: step.position,
          get bytes(): Uint8Array {
            if (!asked.has(block)) step.bytes.fill(asked.size + 1);
            asked.add(block);
            return step.bytes;
          },
        };
      };

      await run(fileSystem, [later(1), later(0), later(2), { kind: 'sync', file }]);

      const expected = new Uint8Array(3 * blockBytes);
      [2, 1, 3].forEach((fill, block) => {
        expected.fill(fill, block * blockBytes, (block + 1) * blockBytes);
      });
      assertSame(await fileSystem.read(file, 0, 3 * blockBytes), expected);
      await fileSystem.close(file);
    },
  ),
  claim('closing waits for the chains before it', async ({ fileSystem, directory }) => {
    const file = await zeroed(fileSystem, `${directory}/close`, 2);
    let isDone = false;
    fileSystem.submit(
      [write(fileSystem, file, { block: 0, fill: 7 }), { kind: 'sync', file }],
      () => {
        isDone = true;
      },
    );

    await fileSystem.close(file);

    assert(isDone, 'the chain completed before the file was closed');
  }),
  claim('a write past the end extends the file', async ({ fileSystem, directory }) => {
    const file = await zeroed(fileSystem, `${directory}/extend`, 1);

    await run(fileSystem, [write(fileSystem, file, { block: 3, fill: 4 }), { kind: 'sync', file }]);

    assert((await fileSystem.size(file)) === 4 * blockBytes, 'the size covers the write');
    assertSame(
      await fileSystem.read(file, blockBytes, 2 * blockBytes),
      new Uint8Array(2 * blockBytes),
    );
    await fileSystem.close(file);
  }),
  claim(
    'a truncated file ends there, and extends with zeros',
    async ({ fileSystem, directory }) => {
      const file = await zeroed(fileSystem, `${directory}/cut`, 4);
      await run(fileSystem, [
        write(fileSystem, file, { block: 0, fill: 5 }),
        write(fileSystem, file, { block: 3, fill: 5 }),
        { kind: 'sync', file },
      ]);

      await fileSystem.truncate(file, 2 * blockBytes);
      assert((await fileSystem.size(file)) === 2 * blockBytes, 'the file is shorter');
      assert(
        (await fileSystem.read(file, blockBytes, 4 * blockBytes)).length === blockBytes,
        'a read stops at the end of the file',
      );
      await fileSystem.truncate(file, 4 * blockBytes);
      await run(fileSystem, [{ kind: 'sync', file }]);

      assertSame(await fileSystem.read(file, 0, blockBytes), filled(5, blockBytes));
      assertSame(
        await fileSystem.read(file, blockBytes, 3 * blockBytes),
        new Uint8Array(3 * blockBytes),
      );
      assert(
        (await fileSystem.read(file, 4 * blockBytes, blockBytes)).length === 0,
        'behind the end there is nothing',
      );
      await fileSystem.close(file);
    },
  ),
  claim('an open file keeps its content under a new name', async ({ fileSystem, directory }) => {
    const file = await zeroed(fileSystem, `${directory}/old`, 1);
    await fileSystem.replaceFile(`${directory}/new`, filled(1, 1));

    await fileSystem.rename(`${directory}/old`, `${directory}/new`);
    await run(fileSystem, [write(fileSystem, file, { block: 0, fill: 8 }), { kind: 'sync', file }]);
    await fileSystem.close(file);

    assertSame(await fileSystem.readFile(`${directory}/new`), filled(8, blockBytes));
    assert((await fileSystem.readFile(`${directory}/old`)) === undefined, 'the old name is gone');
    await fileSystem.remove(`${directory}/new`);
    assert((await fileSystem.listDirectory(directory)).length === 0, 'a removed file is gone');
    await rejects(fileSystem.rename(`${directory}/old`, `${directory}/other`));
  }),
  claim(
    'an empty directory is removed, one with something in it is not',
    async ({ fileSystem, directory }) => {
      await fileSystem.makeDirectory(`${directory}/outer/inner`);
      await fileSystem.replaceFile(`${directory}/outer/inner/file`, filled(1, 3));
      await rejects(fileSystem.removeDirectory(`${directory}/outer/inner`));
      await rejects(fileSystem.removeDirectory(`${directory}/outer`));
      await rejects(fileSystem.removeDirectory(`${directory}/outer/inner/file`));

      await fileSystem.remove(`${directory}/outer/inner/file`);
      await fileSystem.removeDirectory(`${directory}/outer/inner`);
      await fileSystem.removeDirectory(`${directory}/outer/inner`);
      await fileSystem.removeDirectory(`${directory}/outer`);

      assert((await fileSystem.listDirectory(directory)).length === 0, 'nothing is left');
      await rejects(fileSystem.replaceFile(`${directory}/outer/file`, filled(1, 3)));
      await fileSystem.makeDirectory(`${directory}/outer/inner`);
      assert(
        (await fileSystem.listDirectory(`${directory}/outer/inner`)).length === 0,
        'one of the same name begins empty',
      );
    },
  ),
  claim(
    'staging memory is zeroed, exactly as large as asked, and shared with nobody',
    async ({ fileSystem }) => {
      const first = fileSystem.allocateStaging(3 * blockBytes);
      const second = fileSystem.allocateStaging(blockBytes);
      assertSame(first, new Uint8Array(3 * blockBytes));
      first.fill(1);
      assertSame(second, new Uint8Array(blockBytes));
      second.fill(2);
      assertSame(first, filled(1, 3 * blockBytes));
    },
  ),
  claim(
    'a directory has one holder of its lock, and is made if missing',
    async ({ fileSystem, directory }) => {
      const path = `${directory}/data`;
      const lock = await fileSystem.lockDirectory(path);
      const error = await rejects(fileSystem.lockDirectory(path));
      assert(isClustorError(error, 'CLUSTOR_DATA_DIRECTORY_LOCKED'), 'the second is told why');

      await lock.release();
      await (await fileSystem.lockDirectory(path)).release();
    },
  ),
  powerLossClaim(
    'synced writes, names and replaced files survive a power loss',
    async ({ fileSystem, directory, losePower }) => {
      const file = await zeroed(fileSystem, `${directory}/synced`, 4);
      await fileSystem.syncDirectory(directory);
      await run(fileSystem, [
        write(fileSystem, file, { block: 1, fill: 6 }),
        { kind: 'sync', file },
      ]);
      await fileSystem.replaceFile(`${directory}/small`, filled(3, 100));

      const next = await losePower();

      const expected = new Uint8Array(4 * blockBytes);
      expected.fill(6, blockBytes, 2 * blockBytes);
      assertSame(await next.readFile(`${directory}/synced`), expected);
      assertSame(await next.readFile(`${directory}/small`), filled(3, 100));
    },
  ),
  powerLossClaim(
    'a removed directory stays gone when its parent was synced, and else is gone or whole',
    async ({ fileSystem, directory, losePower }) => {
      for (const name of ['gone', 'doubtful']) {
        await fileSystem.makeDirectory(`${directory}/${name}`);
        await fileSystem.replaceFile(`${directory}/${name}/file`, filled(4, 10));
        await fileSystem.remove(`${directory}/${name}/file`);
        await fileSystem.removeDirectory(`${directory}/${name}`);
        if (name === 'gone') await fileSystem.syncDirectory(directory);
      }

      const next = await losePower();

      const names = await next.listDirectory(directory);
      assert(!names.includes('gone'), 'what was synced holds');
      const left = await next.readFile(`${directory}/doubtful/file`);
      if (left !== undefined) assertSame(left, filled(4, 10));
    },
  ),
  powerLossClaim(
    'an unsynced write leaves each byte old or new',
    async ({ fileSystem, directory, losePower }) => {
      const file = await zeroed(fileSystem, `${directory}/torn`, 4);
      await fileSystem.syncDirectory(directory);
      await run(fileSystem, [
        write(fileSystem, file, { block: 1, fill: 1 }),
        { kind: 'sync', file },
      ]);
      await run(fileSystem, [
        write(fileSystem, file, { block: 1, fill: 2 }),
        write(fileSystem, file, { block: 2, fill: 2 }),
      ]);

      const next = await losePower();

      const bytes = present(await next.readFile(`${directory}/torn`), 'the file is there');
      assert(
        bytes.subarray(0, blockBytes).every((byte) => byte === 0),
        'what was not written stays',
      );
      assert(
        bytes.subarray(blockBytes, 2 * blockBytes).every((byte) => byte === 1 || byte === 2),
        'each byte is old or new',
      );
      assert(
        bytes.subarray(2 * blockBytes).every((byte) => byte === 0 || byte === 2),
        'each byte is old or new',
      );
    },
  ),
  powerLossClaim(
    'a lock does not outlive its holder',
    async ({ fileSystem, directory, losePower }) => {
      await fileSystem.lockDirectory(directory);
      const next = await losePower();
      await (await next.lockDirectory(directory)).release();
    },
  ),
];

function claim(name: string, run: ConformanceCase['run']): ConformanceCase {
  return { name, needsPowerLoss: false, run };
}

function powerLossClaim(
  name: string,
  run: (subject: Required<ConformanceSubject>) => Promise<void>,
): ConformanceCase {
  return {
    name,
    needsPowerLoss: true,
    run: (subject) =>
      run({ ...subject, losePower: present(subject.losePower, 'this claim needs a power loss') }),
  };
}

async function zeroed(
  fileSystem: FileSystem,
  path: string,
  blockCount: number,
): Promise<FileHandle> {
  await fileSystem.createZeroed(path, blockCount * blockBytes);
  return fileSystem.open(path, { access: 'durableWrite' });
}

/** A step that fills one block. */
function write(
  fileSystem: FileSystem,
  file: FileHandle,
  what: { readonly block: number; readonly fill: number },
): IoStep {
  const bytes = fileSystem.allocateStaging(blockBytes);
  bytes.fill(what.fill);
  return { kind: 'write', file, position: what.block * blockBytes, bytes };
}

async function run(fileSystem: FileSystem, chain: readonly IoStep[]): Promise<void> {
  const failure = await new Promise<IoFailure | undefined>((resolve) =>
    fileSystem.submit(chain, resolve),
  );
  assert(failure === undefined, 'a healthy chain succeeds');
}

async function rejects(promise: Promise<unknown>): Promise<unknown> {
  let error: unknown;
  try {
    await promise;
  } catch (thrown) {
    error = thrown;
  }
  assert(error !== undefined, 'what cannot be done is refused');
  return error;
}

function filled(fill: number, length: number): Uint8Array {
  return new Uint8Array(length).fill(fill);
}

function assertSame(actual: Uint8Array | undefined, expected: Uint8Array): void {
  assert(actual?.length === expected.length, 'the content has its length');
  assert(
    actual.every((byte, position) => byte === expected[position]),
    'the content is what was written',
  );
}
