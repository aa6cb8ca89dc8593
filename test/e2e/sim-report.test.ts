/** `clustor sim report` and `sim run`, as it is installed. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { expect, test } from 'vitest';

import { scratchDirectory } from './support/up-process.ts';

const root = resolve(import.meta.dirname, '..', '..');
const program = join(root, 'dist', 'cli', 'main.js');

function simReport(directory: string, ...options: string[]): ReturnType<typeof spawnSync> {
  return sim(directory, 'report', ...options);
}

function sim(directory: string, ...options: string[]): ReturnType<typeof spawnSync> {
  return spawnSync(process.execPath, [program, 'sim', ...options], {
    cwd: directory,
    encoding: 'utf8',
    timeout: 100_000,
    // As in continuous integration, where nobody looks at a terminal: plain text.
    env: { ...process.env, CI: 'true', FORCE_COLOR: undefined },
  });
}

test('sim report writes the page and says in one JSON line what it holds', () => {
  const directory = scratchDirectory('report');

  const { status, stdout, stderr } = simReport(directory, '--seed', '3', '-o', 'a.html', '--json');

  expect(stderr).toBe('');
  expect(status).toBe(0);
  const result = JSON.parse(String(stdout)) as Record<string, unknown>;
  const page = readFileSync(join(directory, 'a.html'), 'utf8');
  expect(result).toEqual({
    seed: 3,
    output: expect.stringMatching(/a\.html$/) as string,
    violation: null,
    messages: expect.any(Number) as number,
    traceHash: expect.stringMatching(/^[0-9a-f]{16}$/) as string,
  });
  expect(page).toContain(String(result['traceHash']));
  expect(page).toContain('function readRun()');
  expect(page).toContain('--preCandidate:');
});

test('without --output the file has the name of the seed, and a prefix of the plan can be run', () => {
  const directory = scratchDirectory('report');

  const { status, stdout } = simReport(directory, '--seed', '3', '--faults-max', '0');

  expect(status).toBe(0);
  expect(stdout).toContain('every invariant held');
  expect(readFileSync(join(directory, 'run-3.html'), 'utf8')).toContain('"faults":[]');
});

test.each([
  { options: [], says: "required option '--seed <number>' not specified" },
  { options: ['--seed', '0'], says: 'a whole number above 0 is needed' },
  { options: ['--seed', 'x'], says: 'a whole number is needed' },
  { options: ['--seed', '1', '--faults-max', '-1'], says: 'a whole number is needed' },
  { options: ['--seed', '1', '--wrong'], says: "unknown option '--wrong'" },
  { options: ['--seed', '1', '-o', 'no/such/a.html'], says: 'CLUSTOR_INVALID_ARGUMENT' },
])('$options is refused with 2 before anything runs', ({ options, says }) => {
  const directory = scratchDirectory('report');

  const { status, stdout, stderr } = simReport(directory, ...options);

  expect(status).toBe(2);
  expect(stdout).toBe('');
  expect(stderr).toContain(says);
  if (!says.startsWith('CLUSTOR')) expect(stderr).toContain('Usage: clustor sim report');
  expect(existsSync(join(directory, 'run-1.html'))).toBe(false);
});

test.each([
  { options: ['run'], says: "required option '--module <file>' not specified" },
  { options: ['run', '--module', './none.mjs'], says: 'the module ./none.mjs cannot be loaded' },
  { options: ['run', '--module', 'none.mjs'], says: 'a file of yours begins with ./' },
  { options: ['run', '--module', './empty.mjs'], says: 'must export the function' },
  { options: ['run', '--module', './empty.mjs', '--seeds', '0'], says: 'above 0 is needed' },
  { options: ['report', '--seed', '1', '--module', './empty.mjs'], says: 'must export' },
  { options: ['report', '--seed', '1', '--faults-kept', '1,,2'], says: 'a whole number is needed' },
])('sim $options is refused with 2', ({ options, says }) => {
  const directory = scratchDirectory('sim-module');
  writeFileSync(join(directory, 'empty.mjs'), 'export const workload = {};');

  const { status, stdout, stderr } = sim(directory, ...options);

  expect(stderr).toContain(says);
  expect(status).toBe(2);
  expect(stdout).toBe('');
});

test('a module that keeps a timer does not hold sim run open', () => {
  const directory = scratchDirectory('sim-module');
  writeFileSync(
    join(directory, 'timer.mjs'),
    `setInterval(() => undefined, 1_000);
     export const createStateMachine = () => ({
       total: 0,
       apply(batch) { this.total += batch.length; return { kind: 'ack' }; },
       query() { return Uint8Array.of(this.total & 255); },
       async *snapshot() { yield Uint8Array.of(this.total & 255); },
       async restore(chunks) { for await (const chunk of chunks) this.total = chunk[0]; },
     });
     export const workload = { next: ({ random }) => random.chance(0.5) ? { append: new Uint8Array(1) } : { query: new Uint8Array() } };`,
  );

  const { status, stdout } = sim(directory, 'run', '--module', './timer.mjs', '--seeds', '1');

  expect(stdout).toContain('nothing found in 1 seeds');
  expect(status).toBe(0);
});

test('sim run says in one JSON line what it found, and exits with 1', () => {
  const directory = scratchDirectory('sim-module');
  writeFileSync(
    join(directory, 'counts.mjs'),
    `let total = 0;
     export const createStateMachine = () => ({
       apply: (batch) => ({ kind: 'ack', results: Array.from({ length: batch.length }, () => Uint8Array.of(++total & 255)) }),
       query: () => Uint8Array.of(total & 255),
       async *snapshot() { yield Uint8Array.of(total & 255); },
       async restore(chunks) { for await (const chunk of chunks) total = chunk[0]; },
     });
     export const workload = { next: ({ random }) => random.chance(0.5) ? { append: new Uint8Array(1) } : { query: new Uint8Array() } };`,
  );

  const { status, stdout } = sim(directory, 'run', '--module', './counts.mjs', '--json');

  expect(status).toBe(1);
  expect(JSON.parse(String(stdout))).toMatchObject({
    runs: 1,
    failure: { kind: 'differentResults', seed: 1, faultsNeeded: [] },
  });
});

test('the package that is published has the scripts of the page', () => {
  const { stdout } = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
  });
  const [pack] = JSON.parse(stdout) as [{ readonly files: readonly { readonly path: string }[] }];
  const paths = pack.files.map(({ path }) => path);

  for (const name of ['data.js', 'view.js', 'paint.js', 'hover.js', 'controls.js', 'page.css'])
    expect(paths).toContain(`dist/testing/report/viewer/${name}`);
});
