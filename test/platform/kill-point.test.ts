import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { killPointFileSystem } from '../../src/platform/kill-point-file-system.ts';
import { openNodeFileSystem, type NodeFileSystem } from '../../src/platform/node-file-system.ts';
import type { FileHandle, FileSystem, IoStep } from '../../src/ports/file-system.ts';

const block = 4096;
let directory: string;
let disk: NodeFileSystem;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'clustor-kill-'));
  disk = await openNodeFileSystem();
});

afterEach(async () => {
  await disk.shutDown();
  await rm(directory, { recursive: true, force: true });
});

function steps(fileSystem: FileSystem, file: FileHandle, firstBlock: number): IoStep[] {
  return [0, 1, 2].map((at) => {
    const bytes = fileSystem.allocateStaging(block);
    bytes.fill(firstBlock + at + 1);
    return { kind: 'write', file, position: (firstBlock + at) * block, bytes };
  });
}

/** Submits three chains of three blocks at once; tells what completed before the kill and what lay on the disk then. */
async function killedAt(step: number): Promise<{ completed: number[]; onDisk: number[] }> {
  const path = join(directory, 'file');
  await disk.createZeroed(path, 9 * block);
  const completed: number[] = [];
  let kills = 0;
  const killed = new Promise<void>((resolve) => {
    const fileSystem = killPointFileSystem(disk, {
      chain: 2,
      step,
      kill: () => {
        kills++;
        resolve();
      },
    });
    void fileSystem.open(path, { access: 'durableWrite' }).then((file) => {
      for (let chain = 0; chain < 3; chain++)
        fileSystem.submit(steps(fileSystem, file, chain * 3), () => completed.push(chain + 1));
    });
  });
  await killed;
  const content = await readFile(path);
  await pause(20);
  expect(kills).toBe(1);
  return { completed, onDisk: Array.from({ length: 9 }, (_, at) => content[at * block] ?? -1) };
}

test('before the first step: the chain before it is whole, nothing of the chosen one is there', async () => {
  expect(await killedAt(0)).toEqual({ completed: [1], onDisk: [1, 2, 3, 0, 0, 0, 0, 0, 0] });
});

test('between two steps: the steps before the point are there, the chain never completes, later ones are swallowed', async () => {
  expect(await killedAt(2)).toEqual({ completed: [1], onDisk: [1, 2, 3, 4, 5, 0, 0, 0, 0] });
});

test('behind the last step: all is there and still nobody was told', async () => {
  expect(await killedAt(3)).toEqual({ completed: [1], onDisk: [1, 2, 3, 4, 5, 6, 0, 0, 0] });
});

test('a real process dies by SIGKILL at its point, with the chains before it on the disk', async () => {
  const path = join(directory, 'file');
  await disk.createZeroed(path, 6 * block);
  const module = (name: string): string =>
    JSON.stringify(fileURLToPath(new URL(`../../src/platform/${name}.ts`, import.meta.url)));
  const source = `
    import { killPointFileSystem } from ${module('kill-point-file-system')};
    import { openNodeFileSystem } from ${module('node-file-system')};
    const disk = await openNodeFileSystem();
    const fileSystem = killPointFileSystem(disk, { chain: 2, step: 1, kill: () => process.kill(process.pid, 'SIGKILL') });
    const file = await fileSystem.open(${JSON.stringify(path)}, { access: 'durableWrite' });
    for (let at = 0; at < 6; at += 2) {
      const bytes = fileSystem.allocateStaging(${2 * block});
      bytes.fill(at + 1, 0, ${block}).fill(at + 2, ${block});
      fileSystem.submit([0, 1].map((step) => ({
        kind: 'write', file, position: (at + step) * ${block}, bytes: bytes.subarray(step * ${block}, (step + 1) * ${block}),
      })), () => console.log('completed', at));
    }
  `;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const output: string[] = [];
  child.stdout.on('data', (text: Buffer) => output.push(text.toString()));

  const [, signal] = (await once(child, 'close')) as [number | null, string | null];

  expect(signal).toBe('SIGKILL');
  expect(output.join('')).not.toContain('completed 2');
  const content = await readFile(path);
  expect(Array.from({ length: 6 }, (_, at) => content[at * block])).toEqual([1, 2, 3, 0, 0, 0]);
});
