/** Errors of the system and wrong use as commands tell them. */
import { readFile } from 'node:fs/promises';

import { CommanderError } from 'commander';
import { expect, test, vi } from 'vitest';

import { ClustorError } from '../../src/base/errors.ts';
import { codedError } from '../../src/cli/coded-error.ts';
import { createOutput } from '../../src/cli/output.ts';
import { isJsonAsked, usageError } from '../../src/cli/usage-error.ts';

async function errorOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  );
}

test('an error of the system is told with a code, one of the package as it is', async () => {
  const own = new ClustorError('CLUSTOR_NO_LEADER', 'nobody leads');
  const full = Object.assign(new Error('no space left'), { code: 'ENOSPC' });

  expect(codedError(await errorOf(readFile('/dev/null/cluster.json'))).code).toBe(
    'CLUSTOR_INVALID_ARGUMENT',
  );
  expect(codedError(full).code).toBe('CLUSTOR_DISK_HARD');
  expect(codedError(new TypeError('a bug')).code).toBe('CLUSTOR_INTERNAL');
  expect(codedError('thrown').message).toBe('thrown');
  expect(codedError(own)).toBe(own);
});

test('every error as JSON has all its fields', () => {
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);

  createOutput(true).error(new TypeError('a bug'));

  const line = write.mock.calls.map(([text]) => String(text)).join('');
  write.mockRestore();
  expect(JSON.parse(line)).toEqual({
    error: {
      code: 'CLUSTOR_INTERNAL',
      message: 'a bug',
      outcome: 'unknown',
      retryable: false,
      advice: expect.any(String),
      details: {},
    },
  });
});

test('wrong use is a coded error in one line', () => {
  const typo = "error: unknown command 'statu'\n(Did you mean status?)";

  expect(usageError(new CommanderError(1, 'commander.unknownCommand', typo))).toMatchObject({
    code: 'CLUSTOR_INVALID_ARGUMENT',
    message: "unknown command 'statu' (Did you mean status?)",
  });
  expect(usageError(new CommanderError(1, 'commander.help', '(outputHelp)')).message).toContain(
    'a command is missing',
  );
});

test('JSON is asked for by the option and not by what is data', () => {
  expect(isJsonAsked(['node', 'main.js', 'up', '--bogus', '--json'])).toBe(true);
  expect(isJsonAsked(['node', 'main.js', 'append', '--', '--json'])).toBe(false);
});
