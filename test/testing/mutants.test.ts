/** The runner of mutants: what counts as caught, and what does not. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, test } from 'vitest';

import { runTests } from '../../sim/mutants/checks.ts';
import { MutantTypeCheck } from '../../sim/mutants/type-check.ts';
import { mutatedTexts } from '../../sim/mutants.ts';
import { root, textOf } from '../tidy/repository.ts';

const slow = { timeout: 60_000 };
const folders: string[] = [];

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A folder like a copy of the repository, with one test file. */
function folderWith(body: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'clustor-mutants-'));
  folders.push(folder);
  mkdirSync(join(folder, 'test'));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(
    join(folder, 'vitest.config.ts'),
    "export default { test: { projects: [{ test: { name: 'tests', include: ['test/*.test.ts'] } }] } };",
  );
  writeFileSync(
    join(folder, 'test/one.test.ts'),
    `import { expect, test } from 'vitest';\n${body}\n`,
  );
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

const answerTo = (body: string): ReturnType<typeof runTests> =>
  runTests(folderWith(body), ['test/one.test.ts']);

describe('a mutant is caught', () => {
  test('by a test that fails, which is named', slow, async () => {
    const answer = await answerTo("test('one is two', () => expect(1).toBe(2));");

    expect(answer).toMatchObject({ kind: 'failed', by: 'one is two', file: 'test/one.test.ts' });
  });

  test('not by tests that pass', slow, async () => {
    expect(await answerTo("test('one is one', () => expect(1).toBe(1));")).toEqual({
      kind: 'passed',
    });
  });

  test.each([
    { what: 'a file that does not load', body: "throw new Error('no');" },
    { what: 'a file that does not parse', body: 'const = 1;' },
    { what: 'a file without a test', body: 'void [expect, test];' },
    { what: 'a name that is not there', body: "test('one', () => nowhere());" },
  ])('not by $what', slow, async ({ body }) => {
    expect((await answerTo(body)).kind).toBe('broken');
  });

  test('not by tests that are not there', slow, async () => {
    const folder = folderWith("test('one is one', () => expect(1).toBe(1));");

    expect((await runTests(folder, ['test/one.test.ts', 'test/two.test.ts'])).kind).toBe('broken');
  });
});

describe('a mutant is a program', () => {
  const file = 'src/raft/quorum.ts';
  const mutantOf = (find: string, replace: string): Parameters<typeof mutatedTexts>[1] => ({
    name: 'a-test',
    breaks: 'nothing',
    file,
    edits: [{ find, replace }],
    expected: 'tests',
    tests: [],
  });

  test('that type-checks, though names and statements may be left over', slow, () => {
    const check = new MutantTypeCheck(root);
    const find = 'return configuration.outgoingMembers.length > 0;';
    const problemOf = (replace: string): string | undefined =>
      check.problemOf(mutatedTexts(root, mutantOf(find, replace)));

    expect(problemOf(find)).toBeUndefined();
    expect(problemOf(`return false;\n  ${find}`)).toBeUndefined();
    expect(problemOf('return configuration.outgoing.length > 0;')).toContain('outgoing');
    expect(problemOf('return configuration.outgoingMembers.length > ;')).toBeDefined();
  });

  test('whose edits find their text exactly once', () => {
    expect(textOf(file).split('members').length).toBeGreaterThan(2);
    expect(() => mutatedTexts(root, mutantOf('members', 'others'))).toThrow('stands');
    expect(() => mutatedTexts(root, mutantOf('no such text', 'others'))).toThrow('stands 0 times');
  });
});

describe('npm run mutants', () => {
  const run = (...args: readonly string[]): ReturnType<typeof spawnSync> =>
    spawnSync(process.execPath, ['--import', 'tsx', join(root, 'sim/run-mutants.ts'), ...args], {
      cwd: root,
      encoding: 'utf8',
    });

  test.each([
    { args: ['--only', 'nobody'], says: 'there is no mutant "nobody"' },
    { args: ['--nonsense'], says: '--nonsense' },
  ])('refuses $args with 2 and says why', slow, ({ args, says }) => {
    const { status, stderr } = run(...args);

    expect(status).toBe(2);
    expect(stderr).toContain(says);
  });
});
