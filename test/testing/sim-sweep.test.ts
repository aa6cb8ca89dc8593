/** What a sweep over seeds tells while it runs, and when it is stopped. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { describe, expect, test, vi } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { SweepProgress } from '../../sim/sweep-progress.ts';

function progressOf(isTerminal: boolean): {
  readonly progress: SweepProgress;
  readonly written: string[];
  readonly clock: { nowMs: number };
} {
  const written: string[] = [];
  const clock = { nowMs: 5_000 };
  const progress = new SweepProgress({
    total: 40,
    isTerminal,
    write: (text) => written.push(text),
    nowMs: () => clock.nowMs,
  });
  return { progress, written, clock };
}

describe('progress of a sweep', () => {
  test('without a terminal there is a line a minute at most', () => {
    const { progress, written, clock } = progressOf(false);
    for (let seed = 1; seed <= 30; seed++) {
      clock.nowMs += 5_000;
      progress.cameBack({ seed, violation: undefined });
    }
    progress.ended();

    expect(written).toEqual([
      '12/40 seeds, 0 failed, 12 a minute\n',
      '24/40 seeds, 0 failed, 12 a minute\n',
    ]);
  });

  test.each([true, false])('a failing seed is told at once, terminal: %s', (isTerminal) => {
    const { progress, written } = progressOf(isTerminal);
    progress.cameBack({ seed: 7, violation: 'two leaders' });

    expect(written[0]?.trim()).toBe('seed 7 failed: two leaders');
  });

  test('a terminal has a bar that is drawn over', () => {
    const { progress, written } = progressOf(true);
    for (let seed = 1; seed <= 20; seed++) progress.cameBack({ seed, violation: undefined });
    progress.ended();

    expect(written).toHaveLength(21);
    expect(written[19]).toBe(`\r${'█'.repeat(15)}${'░'.repeat(15)} 20/40 seeds, 0 failed `);
    expect(written[20]).toBe('\n');
  });
});

test.each(['SIGINT', 'SIGTERM'] as const)(
  'a sweep stopped with %s sums up what was run and ends with 130',
  { timeout: 60_000 },
  async (signal) => {
    const script = ['--import', 'tsx', 'sim/main.ts', '--seeds', '1..100000', '--workers', '1'];
    const sweep = spawn(process.execPath, [...script, '--faults', 'connectionReset', '--json'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const lines: string[] = [];
    createInterface({ input: sweep.stdout }).on('line', (line) => lines.push(line));
    const ended = once(sweep, 'close');
    await vi.waitFor(() => workerOf(sweep.pid), { timeout: 30_000, interval: 20 });
    sweep.kill(signal);

    expect(await ended).toEqual([130, null]);
    const summary = JSON.parse(lines.at(-1) ?? '') as { readonly seeds: number };
    expect(summary).toMatchObject({ isPartial: true, failed: 0 });
    expect(summary.seeds).toBeLessThan(100);
  },
);

test('a seed that ends its process is told as failed, and the others are run', async () => {
  const script = ['--import', 'tsx', 'sim/main.ts', '--seeds', '1..2', '--workers', '1'];
  const sweep = spawn(process.execPath, [...script, '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: string[] = [];
  createInterface({ input: sweep.stdout }).on('line', (line) => lines.push(line));
  const ended = once(sweep, 'close');

  await vi.waitFor(
    () => {
      process.kill(workerOf(sweep.pid), 'SIGKILL');
    },
    { timeout: 30_000, interval: 20 },
  );

  expect(await ended).toEqual([1, null]);
  expect(lines[0]).toMatch(/^seed 1: its process ended/);
  expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ seeds: 2, failed: 1 });
}, 60_000);

/** @throws While there is none. */
function workerOf(sweep: number | undefined): number {
  const worker = childrenOf(sweep).find((pid) => commandOf(pid).includes('--worker'));
  return present(worker, 'a process that runs seeds');
}

function childrenOf(pid: number | undefined): readonly number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

function commandOf(pid: number): readonly string[] {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
}
