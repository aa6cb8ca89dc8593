import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';

import { runSimReport } from '../../src/cli/sim-report-command.ts';
import type { Output } from '../../src/cli/output.ts';
import { runSimulation } from '../../src/testing/sim-run.ts';

const folder = mkdtempSync(join(tmpdir(), 'clustor-report-'));

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Result {
  readonly violation: string | null;
  readonly messages: number;
  readonly traceHash: string;
}

async function report(path: string): Promise<Result> {
  const results: object[] = [];
  const output: Output = {
    isJson: true,
    result: (value) => results.push(value),
    note: () => undefined,
    progress: () => undefined,
    error: () => undefined,
  };
  expect(await runSimReport({ seed: 8, faultsMax: 5, output: path }, output)).toBe(0);
  return results[0] as Result;
}

test('the picture of a run stands alone, is equal each time, and does not change the run', async () => {
  const paths = [join(folder, 'first.html'), join(folder, 'second.html')];
  const [first, second] = [await report(paths[0] ?? ''), await report(paths[1] ?? '')];
  const bare = await runSimulation({
    seed: 8,
    faultsMax: 5,
    drainMicrotasks: () => new Promise((resolve) => setImmediate(resolve)),
  });
  const [page, again] = paths.map((path) => readFileSync(path, 'utf8'));

  expect(first).toMatchObject({ violation: null, traceHash: bare.traceHash });
  expect(first.messages).toBeGreaterThan(1_000);
  expect(second.traceHash).toBe(first.traceHash);
  expect(page).toBe(again);
  expect(page).toContain('<canvas');
  expect(page).not.toMatch(/(src|href)="https?:/);
});
