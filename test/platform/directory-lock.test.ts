import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { lockDirectory } from '../../src/platform/directory-lock.ts';

const lockModule = JSON.stringify(
  fileURLToPath(new URL('../../src/platform/directory-lock.ts', import.meta.url)),
);
let directory: string;
let children: ChildProcess[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'clustor-lock-'));
  children = [];
});

afterEach(async () => {
  for (const child of children)
    if (child.exitCode === null && child.signalCode === null) await killed(child);
  await rm(directory, { recursive: true, force: true });
});

/** A process that runs `source` with `lockDirectory` and `directory` in scope. */
function start(source: string): ChildProcess {
  const prelude = `
    import { lockDirectory } from ${lockModule};
    import { readdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
    import { setTimeout as pause } from 'node:timers/promises';
    const directory = ${JSON.stringify(directory)};
  `;
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '-e', prelude + source],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  children.push(child);
  return child;
}

/** A process that has taken the lock and goes on living. */
async function holder(): Promise<ChildProcess> {
  const child = start(
    `await lockDirectory(directory); process.stdout.write('held'); setInterval(() => {}, 1000);`,
  );
  await once(child.stdout!, 'data');
  return child;
}

async function killed(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

async function writeLock(changes: Record<string, unknown>): Promise<void> {
  const lock = await lockDirectory(directory);
  const own = JSON.parse(await readFile(join(directory, 'lock'), 'utf8')) as Record<
    string,
    unknown
  >;
  await lock.release();
  await writeFile(
    join(directory, 'lock'),
    JSON.stringify({ ...own, nonce: 'of-another', ...changes }),
  );
}

describe('a living holder', () => {
  test('keeps others out; the error names its pid and the directory', async () => {
    const child = await holder();

    await expect(lockDirectory(directory)).rejects.toMatchObject({
      code: 'CLUSTOR_DATA_DIRECTORY_LOCKED',
      message: expect.stringContaining(directory),
      details: { pid: child.pid },
    });
  });

  test('is refused a second lock of its own', async () => {
    const lock = await lockDirectory(directory);

    await expect(lockDirectory(directory)).rejects.toMatchObject({
      code: 'CLUSTOR_DATA_DIRECTORY_LOCKED',
      details: { pid: process.pid },
    });

    await lock.release();
  });

  test('leaves nothing behind when it releases', async () => {
    await (await lockDirectory(directory)).release();

    expect(await readdir(directory)).toEqual([]);
  });

  test('releases only its own lock, however often', async () => {
    const first = await lockDirectory(directory);
    await first.release();
    const second = await lockDirectory(directory);

    await first.release();

    expect(await readdir(directory)).toEqual(['lock']);
    await second.release();
  });
});

describe('a dead holder', () => {
  test('loses its lock, and no trace of it stays', async () => {
    await killed(await holder());

    const lock = await lockDirectory(directory);

    expect(await readdir(directory)).toEqual(['lock']);
    expect(JSON.parse(await readFile(join(directory, 'lock'), 'utf8'))).toMatchObject({
      pid: process.pid,
    });
    await lock.release();
  });

  test.each([
    ['whose pid went to another process', { startTime: '1' }],
    ['of an earlier boot of the machine', { bootId: '00000000-0000-0000-0000-000000000000' }],
    ['that has no pid', { pid: 0 }],
  ])('%s is recognised', async (_, changes) => {
    await writeLock(changes);

    await (await lockDirectory(directory)).release();
  });

  test.each(['', '{"pid":', 'null', '[]', '{"pid":"x"}'])(
    'that left a damaged lock (%j) is recognised',
    async (text) => {
      await writeFile(join(directory, 'lock'), text);

      await (await lockDirectory(directory)).release();

      expect(await readdir(directory)).toEqual([]);
    },
  );

  test('has one successor, however many processes try at once, and however many of them die on the way', async () => {
    // Each process takes the lock again and again. Whoever has it makes a directory that must not exist yet; some die with it.
    const source = `
      const mark = directory + '/holder';
      // A killed process that its parent has not collected yet is dead.
      const isAlive = (pid) => {
        try {
          return !/\\) [ZX] /.test(readFileSync('/proc/' + pid + '/stat', 'utf8'));
        } catch {
          return false;
        }
      };
      process.stdin.once('data', async () => {
        for (let round = 0; round < 40; round++) {
          let lock;
          try {
            lock = await lockDirectory(directory + '/data');
          } catch (error) {
            if (error.code !== 'CLUSTOR_DATA_DIRECTORY_LOCKED') throw error;
            await pause(1);
            continue;
          }
          const name = process.pid + '.' + round;
          writeFileSync(mark + '.' + name, '');
          for (const other of readdirSync(directory)) {
            if (!other.startsWith('holder.') || other === 'holder.' + name) continue;
            const pid = Number(other.split('.')[1]);
            if (isAlive(pid) && readdirSync(directory).includes(other)) { process.stdout.write('TWO HOLDERS ' + name + ' ' + other); process.exit(1); }
          }
          await pause(2);
          if (round % 8 === 7) process.kill(process.pid, 'SIGKILL');
          unlinkSync(mark + '.' + name);
          await lock.release();
        }
        process.stdout.write('ok');
        process.exit(0);
      });
      process.stdout.write('ready');
    `;
    const output: string[] = [];
    for (let at = 0; at < 6; at++) {
      const child = start(source);
      await once(child.stdout!, 'data');
      child.stdout!.on('data', (text: Buffer) => output.push(text.toString()));
    }
    const exits = children.map((child) => once(child, 'exit'));
    for (const child of children) child.stdin!.write('go');
    await Promise.all(exits);

    expect(output.join('')).not.toContain('TWO HOLDERS');
    await (await lockDirectory(join(directory, 'data'))).release();
    expect(
      (await readdir(join(directory, 'data'))).filter((name) => !/^lock\.\d+\./.test(name)),
    ).toEqual([]);
  }, 60_000);
});
