/** Commands that read data directories look before they lock: what is none is refused, and stays as it was. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';

import { exitCodeOf } from '../../src/cli/exit-codes.ts';
import { runWalInspect } from '../../src/cli/inspect-command.ts';
import {
  runLedgerShow,
  runWalDump,
  runWalSalvage,
  runWalVerify,
} from '../../src/cli/journal-commands.ts';
import type { Output } from '../../src/cli/output.ts';
import { runProve } from '../../src/cli/prove-command.ts';

const silence: Output = {
  isJson: true,
  result: () => undefined,
  note: () => undefined,
  progress: () => undefined,
  error: () => undefined,
};

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'clustor-offline-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
});

async function failureOf(work: Promise<unknown>): Promise<{ code: unknown; exitCode: number }> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return { code: (error as { code?: unknown } | undefined)?.code, exitCode: exitCodeOf(error) };
}

describe.each([
  ['wal inspect', (path: string) => runWalInspect(path, {}, silence)],
  ['wal verify', (path: string) => runWalVerify(path, {}, silence)],
  ['wal dump', (path: string) => runWalDump(path, { from: 1 }, silence)],
  ['wal salvage', (path: string) => runWalSalvage(path, {}, silence)],
  ['ledger show', (path: string) => runLedgerShow(path, {}, silence)],
  ['prove', (path: string) => runProve([path], { index: 1 }, silence)],
])('clustor %s', (_name, run) => {
  test('creates no directory that is missing', async () => {
    const path = join(folder, 'missing');

    expect(await failureOf(run(path))).toEqual({ code: 'CLUSTOR_NOT_INITIALIZED', exitCode: 1 });
    expect(existsSync(path)).toBe(false);
  });

  test('leaves nothing in a directory that is no data directory', async () => {
    const path = join(folder, 'empty');
    mkdirSync(path);

    expect(await failureOf(run(path))).toEqual({ code: 'CLUSTOR_NOT_INITIALIZED', exitCode: 1 });
    expect(readdirSync(path)).toEqual([]);
  });

  test('calls a file wrong use', async () => {
    const path = join(folder, 'file');
    writeFileSync(path, '');

    expect(await failureOf(run(path))).toEqual({ code: 'CLUSTOR_INVALID_ARGUMENT', exitCode: 2 });
    expect(await failureOf(run(join(path, 'data')))).toMatchObject({ exitCode: 2 });
  });
});

test.each([
  ['a range that ends before it begins', { from: 5, to: 3 }, '--to 3 comes before --from 5'],
  ['a file of indexes that is missing', { indexesFrom: '/nowhere/indexes' }, '/nowhere/indexes'],
  ['directories and addresses', { index: 1, addresses: '127.0.0.1:1' }, 'not both'],
])('prove refuses %s', async (_name, options, text) => {
  await expect(runProve([folder], options, silence)).rejects.toMatchObject({
    code: 'CLUSTOR_INVALID_ARGUMENT',
    message: expect.stringContaining(text),
  });
});

test('prove without directories takes no keys, and says what there is where no cluster is', async () => {
  await expect(runProve([], { index: 1, kekFile: 'kek.json' }, silence)).rejects.toMatchObject({
    code: 'CLUSTOR_INVALID_ARGUMENT',
    message: expect.stringContaining('running nodes have their own'),
  });
  await expect(runProve([], { index: 1, dir: folder }, silence)).rejects.toMatchObject({
    code: 'CLUSTOR_NOT_INITIALIZED',
  });
});
