/** The transcript on the first screen of the README, run as it stands there. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

import { afterAll, beforeAll, expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..', '..');

interface Exchange {
  readonly command: string;
  readonly output: string;
}

/** Commands and outputs of the first console block. */
function transcript(): readonly Exchange[] {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const block = /```console\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
  return block
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const [command = '', ...output] = part.trimEnd().split('\n');
      return { command, output: output.join('\n') };
    });
}

const exchanges = transcript();
const directory = mkdtempSync(join(tmpdir(), 'clustor-readme-'));
let product: ChildProcess | undefined;

/** Runs `npm start` in a process group of its own and waits for its ready line. */
async function start(): Promise<void> {
  const child = spawn('npm', ['start', '--silent', '--', '--dir', directory, '--json'], {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  product = child;
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.includes('"event":"ready"')) continue;
    child.stdout.resume();
    return;
  }
  throw new Error('npm start ended before it was ready');
}

beforeAll(start);

afterAll(async () => {
  const child = product;
  if (child?.pid !== undefined && child.exitCode === null) {
    const exited = new Promise((done) => child.once('exit', done));
    process.kill(-child.pid, 'SIGINT');
    await exited;
  }
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
});

test('the transcript of the README begins with the start of the product', () => {
  expect(exchanges[0]?.command).toBe('npm ci && npm start');
  expect(exchanges.length).toBeGreaterThan(2);
});

test.each(exchanges.slice(1))('$command', ({ command, output }) => {
  const [program = '', ...parameters] = command.split(' ');

  // Without a terminal redis-cli leaves out what a reader would see; --no-raw brings it back.
  const answer = execFileSync(program, ['--no-raw', ...parameters], { encoding: 'utf8' });

  expect(answer.trimEnd()).toBe(output);
});
