/**
 * Every check of the project, in order: what `npm test`, `npm run check` and the continuous integration run.
 *
 * Cheap static checks run two at a time with their output held back until they end; the tests and the simulation follow
 * one by one, because both want the machine for themselves. The last line is always `N passed, N failed`: every step
 * counts as one, and the test step as many as it ran tests.
 *
 *   npx tsx scripts/check.ts                 everything
 *   npx tsx scripts/check.ts lint knip       only the named steps
 *   npx tsx scripts/check.ts --list          the names
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Step {
  readonly name: string;
  /** One sentence: what is wrong when it fails. */
  readonly claim: string;
  readonly command: readonly [string, ...string[]];
  /** Steps of one phase run two at a time; phases run one after the other. */
  readonly phase: 'prepare' | 'static' | 'dynamic';
}

interface Outcome {
  readonly passed: number;
  readonly failed: number;
}

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const cache = join(root, 'node_modules', '.cache');
const testReport = join(cache, 'test-report.json');
const summaryFile = join(cache, 'check-summary.txt');

/** TypeScript 7; `tsc` on the path may be the older one, which some tools need for its programming interface. */
const compiler = join('node_modules', 'typescript-7', 'bin', 'tsc');

const steps: readonly Step[] = [
  {
    name: 'tools',
    claim: 'what the tests need beyond npm is installed',
    command: ['sh', 'scripts/install-test-tools'],
    phase: 'prepare',
  },
  {
    name: 'build',
    claim: 'sources and examples compile',
    command: ['tsx', 'scripts/build.ts'],
    phase: 'prepare',
  },
  {
    name: 'lint',
    claim: 'the lint rules hold',
    command: ['oxlint', '.'],
    phase: 'static',
  },
  {
    name: 'types',
    claim: 'tests, tools and benches have no type errors',
    command: ['node', compiler, '-p', 'tsconfig.json', '--noEmit'],
    phase: 'static',
  },
  {
    name: 'pure',
    claim: 'base, codec, raft and policy compile without Node and DOM types',
    command: ['node', compiler, '-p', 'tsconfig.pure.json', '--noEmit'],
    phase: 'static',
  },
  {
    name: 'browser',
    claim: 'the scripts of run reports have no type errors',
    command: ['node', compiler, '-p', 'tsconfig.browser.json'],
    phase: 'static',
  },
  {
    name: 'format',
    claim: 'the formatter has nothing to change (`npm run fix`)',
    command: ['oxfmt', '--check', '.'],
    phase: 'static',
  },
  {
    name: 'unused',
    claim: 'no unused file, export or dependency',
    command: ['knip', '--no-progress'],
    phase: 'static',
  },
  {
    name: 'package',
    claim: 'the package is publishable as it says',
    command: ['publint', '--strict'],
    phase: 'static',
  },
  {
    name: 'entry-points',
    claim: 'every entry point resolves with its types',
    command: ['attw', '--pack', '.', '--profile', 'esm-only', '--no-emoji', '--format', 'ascii'],
    phase: 'static',
  },
  {
    name: 'api',
    claim: 'the public interface is the recorded one (`npm run api:update`)',
    command: ['tsx', 'scripts/api-report.ts'],
    phase: 'static',
  },
  {
    name: 'test',
    claim: 'all tests pass',
    command: [
      'vitest',
      'run',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${testReport}`,
    ],
    phase: 'dynamic',
  },
  {
    name: 'sim',
    claim: 'simulated clusters keep every invariant, and come by every mark',
    command: ['tsx', 'sim/main.ts', '--corpus', '--json'],
    phase: 'dynamic',
  },
];

/** Runs one step; its output is shown when it ends, or as it comes when it has the machine for itself. */
async function run(step: Step, live: boolean): Promise<boolean> {
  const [program, ...parameters] = step.command;
  const startedMs = Date.now();
  let output = '';
  const status = await new Promise<number>((resolveStatus) => {
    const child = spawn(program, parameters, {
      cwd: root,
      stdio: ['ignore', live ? 'inherit' : 'pipe', live ? 'inherit' : 'pipe'],
      env: {
        ...process.env,
        PATH: `${join(root, 'node_modules', '.bin')}:${process.env['PATH'] ?? ''}`,
      },
    });
    child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.on('error', (error) => {
      output += error.message;
      resolveStatus(127);
    });
    child.on('close', (code) => {
      resolveStatus(code ?? 1);
    });
  });
  const seconds = ((Date.now() - startedMs) / 1000).toFixed(1);
  const passed = status === 0;
  if (!passed && output.trim() !== '') console.log(output.trimEnd());
  console.log(
    `${passed ? 'ok  ' : 'FAIL'} ${step.name} (${seconds} s)${passed ? '' : `: not so: ${step.claim}`}`,
  );
  return passed;
}

/** Counts the tests of the report that the test step wrote. */
function testCounts(): Outcome {
  if (!existsSync(testReport)) return { passed: 0, failed: 0 };
  const report = JSON.parse(readFileSync(testReport, 'utf8')) as {
    numPassedTests: number;
    numFailedTests: number;
  };
  return { passed: report.numPassedTests, failed: report.numFailedTests };
}

function outcomeOf(step: Step, passed: boolean): Outcome {
  const own = { passed: passed ? 1 : 0, failed: passed ? 0 : 1 };
  if (step.name !== 'test') return own;
  const tests = testCounts();
  return { passed: own.passed + tests.passed, failed: own.failed + tests.failed };
}

/** Runs the steps of a phase, `width` at a time, in their order. */
async function runPhase(phase: readonly Step[], width: number): Promise<readonly Outcome[]> {
  const queue = [...phase];
  const outcomes: Outcome[] = [];
  const lane = async (): Promise<void> => {
    for (let step = queue.shift(); step !== undefined; step = queue.shift()) {
      outcomes.push(outcomeOf(step, await run(step, width === 1)));
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
  return outcomes;
}

async function runAll(chosen: readonly Step[]): Promise<Outcome> {
  const outcomes: Outcome[] = [];
  for (const phase of ['prepare', 'static', 'dynamic'] as const) {
    const inPhase = chosen.filter((step) => step.phase === phase);
    outcomes.push(...(await runPhase(inPhase, phase === 'static' ? 2 : 1)));
    // Nothing below is worth its time when the product does not compile.
    if (phase === 'prepare' && outcomes.some((outcome) => outcome.failed > 0)) break;
  }
  return {
    passed: outcomes.reduce((sum, outcome) => sum + outcome.passed, 0),
    failed: outcomes.reduce((sum, outcome) => sum + outcome.failed, 0),
  };
}

async function main(): Promise<void> {
  const names = process.argv.slice(2);
  if (names.includes('--list')) {
    for (const step of steps) console.log(`${step.name.padEnd(14)}${step.claim}`);
    return;
  }
  const unknown = names.filter((name) => !steps.some((step) => step.name === name));
  if (unknown.length > 0) throw new Error(`no such step: ${unknown.join(', ')}; --list names them`);

  mkdirSync(cache, { recursive: true });
  rmSync(testReport, { force: true });
  rmSync(summaryFile, { force: true });
  const total = await runAll(
    steps.filter((step) => names.length === 0 || names.includes(step.name)),
  );
  const summary = `${total.passed} passed, ${total.failed} failed`;
  writeFileSync(summaryFile, `${summary}\n`);
  console.log(`\n${summary}`);
  process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
}

await main();
