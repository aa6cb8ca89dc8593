/**
 * Running one check in one copy of the sources. A check catches something only when it ran and said so: a test that failed, or
 * a violation that the simulator reported. Files that cannot be loaded, names that do not exist and processes that end early
 * or never end are another answer, because they say nothing about the rule that was broken.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { SimRunReport } from '../../src/testing/sim-run.ts';

/** What a check said. */
export type CheckAnswer =
  | { readonly kind: 'passed' }
  | {
      readonly kind: 'failed';
      /** The test or the violation. */
      readonly by: string;
      /** File of the test, where it was one. */
      readonly file: string | undefined;
      /** Seeds that were run, where there are seeds. */
      readonly seeds: number | undefined;
    }
  | { readonly kind: 'broken'; readonly reason: string };

/** The random schedules of the core. */
export const schedulesFile = 'test/raft/random-schedules.test.ts';

/** A check that takes longer says nothing, ms. */
const checkMsMax = 240_000;
/** Errors of a program that is none, which no check may take for a finding. */
const brokenErrors = /^(?:SyntaxError|ReferenceError)\b/;

const underWay = new Set<ChildProcess>();

interface TestReport {
  readonly testResults: readonly {
    readonly name: string;
    readonly message?: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly failureMessages?: readonly string[];
    }[];
  }[];
}

/** Ends every check that is under way. */
export function stopChecks(): void {
  for (const child of underWay) child.kill('SIGKILL');
}

/** Runs test files until one test fails. */
export async function runTests(folder: string, files: readonly string[]): Promise<CheckAnswer> {
  const reportPath = join(folder, 'mutant-tests.json');
  const child = start(folder, [
    join(folder, 'node_modules', 'vitest', 'vitest.mjs'),
    ...['run', '--project', 'tests', '--bail', '1', '--maxWorkers', '1', '--cache=false'],
    ...['--configLoader', 'runner', '--reporter', 'json', '--outputFile', reportPath],
    ...files,
  ]);
  child.stdout?.resume();
  const ended = await endOf(child);
  if (!existsSync(reportPath)) return { kind: 'broken', reason: ended };
  return testAnswer(JSON.parse(readFileSync(reportPath, 'utf8')) as TestReport, files);
}

/** Runs simulated clusters until one of them is in violation. */
export async function runSimulator(folder: string, seedsMax: number): Promise<CheckAnswer> {
  const worker = ['--worker', `1..${seedsMax}..1`];
  const child = start(folder, ['--import', 'tsx', join(folder, 'sim', 'main.ts'), ...worker]);
  const ending = endOf(child);
  let seeds = 0;
  if (child.stdout !== null) {
    for await (const line of createInterface({ input: child.stdout })) {
      const { violation } = JSON.parse(line) as SimRunReport;
      seeds++;
      if (violation === undefined) continue;
      child.kill('SIGKILL');
      await ending;
      return failure(violation, { file: undefined, seeds });
    }
  }
  const ended = await ending;
  return seeds === seedsMax ? { kind: 'passed' } : { kind: 'broken', reason: ended };
}

function testAnswer({ testResults }: TestReport, files: readonly string[]): CheckAnswer {
  for (const { name, assertionResults } of testResults) {
    const failed = assertionResults.find(({ status }) => status === 'failed');
    if (failed === undefined) continue;
    const [reason = ''] = failed.failureMessages ?? [];
    if (brokenErrors.test(reason)) return { kind: 'broken', reason };
    const seed = /\bRAFT_SEED=(\d+)/.exec(reason)?.[1];
    return {
      kind: 'failed',
      by: failed.fullName,
      file: files.find((file) => name.endsWith(file)),
      seeds: seed === undefined ? undefined : Number(seed),
    };
  }
  const missing = files.find((file) => {
    const result = testResults.find(({ name }) => name.endsWith(file));
    return result === undefined || result.assertionResults.length === 0;
  });
  return missing === undefined
    ? { kind: 'passed' }
    : { kind: 'broken', reason: `${missing} is not there or does not load` };
}

function failure(
  violation: string,
  place: { readonly file: string | undefined; readonly seeds: number },
): CheckAnswer {
  const text = violation.replace(/^at [\d.]+ ms: /, '').split('\n')[0] ?? '';
  if (brokenErrors.test(text)) return { kind: 'broken', reason: text };
  return { kind: 'failed', by: text, ...place };
}

function start(folder: string, args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, args, {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' },
  });
  underWay.add(child);
  return child;
}

/** Waits for the end of a process and says how it ended, with the last of what it complained of. */
async function endOf(child: ChildProcess): Promise<string> {
  let complaint = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-2000);
  });
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill('SIGKILL');
  }, checkMsMax);
  const code = await new Promise<number | null>((resolve) => {
    child.once('exit', resolve);
  });
  clearTimeout(timer);
  underWay.delete(child);
  if (isLate) return `it did not end within ${checkMsMax / 1000} s`;
  return `it ended with ${code ?? 'a signal'}: ${complaint.trim().split('\n').at(-1) ?? ''}`;
}
