/** `clustor up` where something is wrong: it says so and ends, or lives on; it never hangs and leaves nothing behind. */
import { spawn } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { eventually, isAlive, scratchDirectory, UpProcess } from './support/up-process.ts';

const program = resolve(import.meta.dirname, '..', '..', 'dist', 'cli', 'main.js');

/** A product whose start does this; written beside the cluster's folder. */
function productThat(folder: string, start: string, top = ''): string {
  const path = join(folder, 'product.mjs');
  const machine =
    '{ apply: (batch) => ({ kind: "ack", results: [] }), query: () => new Uint8Array(), async *snapshot() {}, async restore() {} }';
  writeFileSync(
    path,
    `import { rmSync } from 'node:fs';
${top}
export const product = {
  name: 'p',
  createStateMachine: () => (${machine}),
  async start() { ${start}; return { addresses: {}, close: async () => {} }; },
};
`,
  );
  return path;
}

/** Process ids of nodes that the folder names. */
function pidsIn(directory: string): readonly number[] {
  const text = readFileSync(join(directory, 'processes.json'), 'utf8');
  const { nodes } = JSON.parse(text) as { readonly nodes: readonly { readonly pid: number }[] };
  return nodes.map(({ pid }) => pid);
}

test('what fails while a leader is awaited ends up and its nodes, and the folder is free', async () => {
  const folder = scratchDirectory('up');
  const directory = join(folder, 'cluster');
  const certificate = JSON.stringify(join(directory, 'client', 'certificate.pem'));
  const product = productThat(folder, `rmSync(${certificate})`);

  const up = UpProcess.start(directory, ['--nodes', '1', '--product', product]);
  const end = await up.exited;

  expect(end).toEqual({ code: 2, signal: null });
  expect(up.errorText).toContain('certificate.pem');
  expect(pidsIn(directory).filter(isAlive)).toEqual([]);
});

test('a product that prints what looks like JSON is let be', async () => {
  const folder = scratchDirectory('up');
  const product = productThat(folder, 'console.log("{ hello: 1 }"); console.log("{")');

  const up = UpProcess.start(join(folder, 'cluster'), ['--nodes', '1', '--product', product]);

  expect(await up.ready()).toHaveLength(1);
});

test('a node that cannot start ends up, which says why', async () => {
  const folder = scratchDirectory('up');
  const product = productThat(folder, 'throw new Error("no such database")');

  const up = UpProcess.start(join(folder, 'cluster'), ['--nodes', '1', '--product', product]);

  expect(await up.exited).toEqual({ code: 2, signal: null });
  expect(up.errorText).toContain('CLUSTOR_INVALID_ARGUMENT');
  expect(up.errorText).toContain('no such database');
});

test('up --no-restart ends once no node is left, and says how the last one ended', async () => {
  const folder = scratchDirectory('up');
  const product = productThat(folder, 'setTimeout(() => { throw new Error("boom"); }, 1)');

  const up = UpProcess.start(join(folder, 'cluster'), [
    ...['--nodes', '1', '--product', product, '--no-restart'],
  ]);

  expect(await up.exited).toEqual({ code: 3, signal: null });
  expect(up.errorText).toContain('boom');
});

test('a node whose folder is gone is told with a code, and up stops as ever', async () => {
  const directory = scratchDirectory('up');
  const up = UpProcess.start(directory, ['--nodes', '1']);
  const [node] = await up.ready();

  rmSync(join(directory, 'node-1'), { recursive: true });
  process.kill(node?.pid ?? 0, 'SIGKILL');
  await up.until('it is told', () => up.of('nodeNotStarted').length > 0);

  expect(up.of('nodeNotStarted')).toMatchObject([
    { nodeId: 1, code: 'CLUSTOR_REPLICA_FILES_MISSING' },
  ]);
  expect(await up.stop()).toEqual({ code: 0, signal: null });
});

test('up outlives the reader of its output', async () => {
  const directory = scratchDirectory('up');
  const up = spawn(
    process.execPath,
    [program, 'up', '--dir', directory, '--nodes', '1', '--ports', 'auto', '--json'],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const exited = new Promise((done) => up.once('exit', (code, signal) => done({ code, signal })));
  onTestFinished(async () => {
    up.kill('SIGINT');
    await exited;
  });
  await new Promise((done) => up.stdout.once('data', done));
  const [first = 0] = pidsIn(directory);

  up.stdout.destroy();
  up.stderr.destroy();
  process.kill(first, 'SIGKILL');
  await eventually('the node is back', () => {
    const [again] = pidsIn(directory);
    return again !== undefined && again !== first && isAlive(again);
  });

  up.kill('SIGINT');
  expect(await exited).toEqual({ code: 0, signal: null });
});

test('a command whose reader goes away ends without a word', async () => {
  const doctor = spawn(process.execPath, [program, 'doctor', scratchDirectory('reader')], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let errorText = '';
  doctor.stderr.setEncoding('utf8').on('data', (text: string) => {
    errorText += text;
  });
  const exited = new Promise((done) => doctor.once('close', (code) => done(code)));

  doctor.stdout.destroy();

  expect(await exited).toBe(0);
  expect(errorText).toBe('');
});
