/** Encryption as a user meets it: `up` encrypts, `keys` changes the keys, `wal inspect` needs them. */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { expect, test } from 'vitest';

import { commandPath } from '../../sim/chaos-cluster.ts';
import type { Inspection } from '../../src/storage/inspect.ts';
import type { KeyStatus } from '../../src/storage/key-desk.ts';
import { eventually, scratchDirectory, UpProcess } from './support/up-process.ts';

interface Answer {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

async function clustor(...words: readonly string[]): Promise<Answer> {
  const run = promisify(execFile);
  try {
    const { stdout, stderr } = await run(process.execPath, [commandPath, ...words, '--json']);
    return { code: 0, output: stdout, errors: stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as {
      readonly code: number;
      readonly stdout: string;
      readonly stderr: string;
    };
    return { code, output: stdout, errors: stderr };
  }
}

async function keysOf(directory: string): Promise<readonly (KeyStatus & { nodeId: number })[]> {
  const { output } = await clustor('keys', 'status', '--dir', directory);
  return output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as KeyStatus & { nodeId: number });
}

test('up encrypts; keys are rotated on every node; a journal is looked at with its key only', async () => {
  const directory = scratchDirectory('keys');
  const up = UpProcess.start(directory);
  await up.ready();
  expect((await clustor('append', 'a secret of mine', '--dir', directory)).code).toBe(0);

  expect((await clustor('keys', 'rotate', '--dir', directory)).code).toBe(0);
  expect((await clustor('append', 'a secret of mine', '--dir', directory)).code).toBe(0);
  await eventually('the first keys are destroyed everywhere', async () => {
    const nodes = await keysOf(directory);
    return nodes.length === 3 && nodes.every(({ epochs }) => epochs[0]?.state === 'destroyed');
  });
  await up.stop();

  const [folder, other] = [join(directory, 'node-1'), join(directory, 'node-2')];
  const data = join(folder, 'data');
  const opened = await clustor('wal', 'inspect', data, '--kek-file', join(folder, 'kek.json'));
  expect(opened.code).toBe(0);
  const { segments, ledger } = JSON.parse(opened.output) as Inspection;
  expect(ledger.fault).toBeUndefined();
  expect(new Set(segments.map(({ keyEpoch }) => keyEpoch))).toEqual(new Set([2]));
  for (const { segmentSeq } of segments) {
    const name = `segment-${segmentSeq.toString().padStart(16, '0')}.log`;
    expect((await readFile(join(data, 'wal', name))).includes('a secret of mine')).toBe(false);
  }
  expect((await clustor('wal', 'inspect', data)).errors).toContain('CLUSTOR_KEY_MISSING');
  expect(
    (await clustor('wal', 'inspect', data, '--kek-file', join(other, 'kek.json'))).errors,
  ).toContain('CLUSTOR_KEY_MISSING');

  // A key of the right name that is another one.
  const kek = JSON.parse(await readFile(join(folder, 'kek.json'), 'utf8')) as {
    readonly keys: readonly { readonly id: string }[];
  };
  const forged = join(directory, 'forged.json');
  const keys = kek.keys.map(({ id }) => ({ id, key: '00'.repeat(32) }));
  await writeFile(forged, JSON.stringify({ format: 1, keys }), { mode: 0o600 });
  expect((await clustor('wal', 'inspect', data, '--kek-file', forged)).errors).toContain(
    'CLUSTOR_KEY_WRONG',
  );
});

test('up --unencrypted keeps data in the clear, and has no keys to rotate', async () => {
  const directory = scratchDirectory('keys');
  await UpProcess.start(directory, ['--nodes', '1', '--unencrypted']).ready();

  expect(await keysOf(directory)).toMatchObject([{ nodeId: 1, isEncrypted: false }]);
  expect((await clustor('keys', 'rotate', '--dir', directory)).errors).toContain(
    'CLUSTOR_NOT_ENCRYPTED',
  );
});
