/**
 * `npm run mutants -- [--only name,name] [--checks kind,kind] [--seeds N] [--json] [--write] [--list]`: breaks the product on purpose, one rule at
 * a time (`sim/mutants/`), and demands that the checks notice. For each mutant the checks run cheapest first until one fails:
 * its test files, the random schedules of the core, simulated clusters. Ends with 1 when a mutant survives.
 *
 * A mutant counts as caught only by a test that failed or a violation that was reported. So that nothing else passes for
 * that, a mutant must type-check, and every kind of check first has to pass in a copy without a mutant.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { refuseArguments, toolArguments, wholeNumber } from '../scripts/tool-arguments.ts';
import { messageOf } from '../src/base/errors.ts';
import { mutants, mutatedTexts, plantMutant } from './mutants.ts';
import {
  runSimulator,
  runTests,
  schedulesFile,
  stopChecks,
  type CheckAnswer,
} from './mutants/checks.ts';
import type { CheckKind, Mutant } from './mutants/mutant.ts';
import { headText, mutantsPage, pageText, rowText, type MutantRow } from './mutants/report.ts';
import { MutantTypeCheck } from './mutants/type-check.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const everyKind: readonly CheckKind[] = ['tests', 'schedules', 'simulator'];
const workersMax = 2;

const usage = `npm run mutants -- [--only name,name] [--checks kind,kind] [--seeds N] [--json] [--write]
npm run mutants -- --list

  --only   only these mutants
  --checks only these kinds of checks, of tests, schedules and simulator
  --seeds  seeds of the simulator at most, 60 unless a mutant says otherwise
  --write  writes ${mutantsPage}; with all mutants and checks only
  --json   one line of JSON at the end of standard output, the rows on standard error`;

const values = toolArguments(usage, {
  only: { type: 'string' },
  checks: { type: 'string' },
  list: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  seeds: { type: 'string', default: '60' },
  write: { type: 'boolean', default: false },
});

const seedsUsual = wholeNumber('seeds', values.seeds, usage);
const chosen = chosenMutants(values.only);
const checkKinds = chosenKinds(values.checks);
if (values.write && (values.only ?? values.checks) !== undefined)
  refuseArguments(
    '--write takes all mutants and checks, so it goes without --only and --checks',
    usage,
  );
const nameWidth = Math.max(...chosen.map(({ name }) => name.length));
const folders = new Set<string>();
const baselines = new Map<CheckKind, Promise<void>>();
const typeCheck = new MutantTypeCheck(root);

if (values.list) {
  for (const { name, breaks } of chosen)
    process.stdout.write(`${name.padEnd(nameWidth)}  ${breaks}\n`);
} else {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      stopChecks();
      removeFolders();
      process.exit(130);
    });
  }
  try {
    finish(await runAll());
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`);
    process.exitCode = 1;
  } finally {
    stopChecks();
    removeFolders();
  }
}

function chosenMutants(only: string | undefined): readonly Mutant[] {
  if (only === undefined) return mutants;
  return only.split(',').map((name) => {
    const mutant = mutants.find((known) => known.name === name);
    return (
      mutant ?? refuseArguments(`there is no mutant "${name}"; --list names those there are`, usage)
    );
  });
}

function chosenKinds(checks: string | undefined): readonly CheckKind[] {
  const named = checks?.split(',') ?? everyKind;
  const unknown = named.find((name) => !everyKind.some((kind) => kind === name));
  if (unknown !== undefined)
    refuseArguments(`--checks takes ${everyKind.join(', ')}, got "${unknown}"`, usage);
  return everyKind.filter((kind) => named.includes(kind));
}

async function runAll(): Promise<readonly MutantRow[]> {
  show(headText(nameWidth));
  const rows: MutantRow[] = [];
  const waiting = [...chosen];
  const running = new Set<string>();
  const work = async (): Promise<void> => {
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      running.add(mutant.name);
      progress(rows.length, running);
      const row = await runMutant(mutant);
      running.delete(mutant.name);
      rows.push(row);
      show(rowText(row, nameWidth));
      progress(rows.length, running);
    }
  };
  const workers = Math.min(workersMax, availableParallelism(), chosen.length);
  await Promise.all(Array.from({ length: workers }, work));
  progress(rows.length, running);
  return chosen.flatMap(({ name }) => rows.filter((row) => row.name === name));
}

async function runMutant(mutant: Mutant): Promise<MutantRow> {
  const { name, breaks, expected } = mutant;
  const fate = { name, breaks, expected, testFile: null, seeds: null };
  const problem = typeCheck.problemOf(mutatedTexts(root, mutant));
  if (problem !== undefined)
    return { ...fate, caughtBy: null, ms: 0, by: `it does not type-check: ${problem}` };
  const folder = plant(mutant);
  let by = 'every check passed';
  for (const kind of checkKinds) {
    if (kind === 'tests' && mutant.tests.length === 0) continue;
    await baseline(kind);
    const startedMs = performance.now();
    const answer = await runCheck(kind, folder, mutant);
    const ms = Math.round(performance.now() - startedMs);
    if (answer.kind === 'broken') by = `${kind} could not be run: ${answer.reason}`;
    if (answer.kind !== 'failed') continue;
    uproot(folder);
    const { file = null, seeds = null } = answer;
    return { ...fate, caughtBy: kind, by: answer.by, testFile: file, seeds, ms };
  }
  uproot(folder);
  return { ...fate, caughtBy: null, by, ms: 0 };
}

function runCheck(
  kind: CheckKind,
  folder: string,
  needs: Pick<Mutant, 'tests' | 'seedsMax'>,
): Promise<CheckAnswer> {
  if (kind === 'tests') return runTests(folder, needs.tests);
  if (kind === 'schedules') return runTests(folder, [schedulesFile]);
  return runSimulator(folder, needs.seedsMax ?? seedsUsual);
}

/** Runs a kind of check once without a mutant, with everything that any mutant needs of it. */
function baseline(kind: CheckKind): Promise<void> {
  let known = baselines.get(kind);
  if (known === undefined) {
    known = runBaseline(kind);
    baselines.set(kind, known);
  }
  return known;
}

async function runBaseline(kind: CheckKind): Promise<void> {
  const tests = [...new Set(chosen.flatMap((mutant) => mutant.tests))];
  const seedsMax = Math.max(...chosen.map((mutant) => mutant.seedsMax ?? seedsUsual));
  const folder = plant(undefined);
  const answer = await runCheck(kind, folder, { tests, seedsMax });
  uproot(folder);
  if (answer.kind === 'passed') return;
  const found = answer.kind === 'failed' ? answer.by : answer.reason;
  throw new Error(`${kind} do not pass without a mutant, so they prove nothing: ${found}`);
}

function plant(mutant: Mutant | undefined): string {
  const folder = plantMutant(root, mutant);
  folders.add(folder);
  return folder;
}

function uproot(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  folders.delete(folder);
}

function removeFolders(): void {
  for (const folder of folders) uproot(folder);
}

function show(text: string): void {
  if (process.stderr.isTTY) process.stderr.write('\r\u001B[K');
  (values.json ? process.stderr : process.stdout).write(`${text}\n`);
}

function progress(done: number, running: ReadonlySet<string>): void {
  if (!process.stderr.isTTY) return;
  const bar = '█'.repeat(Math.round((done / chosen.length) * 30)).padEnd(30, '░');
  process.stderr.write(
    done === chosen.length
      ? '\r\u001B[K'
      : `\r\u001B[K${bar} ${done}/${chosen.length} mutants  ${[...running].join(', ')}`,
  );
}

function finish(rows: readonly MutantRow[]): void {
  const survived = rows.filter(({ caughtBy }) => caughtBy === null).length;
  const seconds = Math.round(process.uptime());
  show(
    `${rows.length} mutants in ${seconds} s: ${rows.length - survived} caught, ${survived} survived`,
  );
  if (values.write) writeFileSync(join(root, mutantsPage), pageText(mutants, rows));
  if (values.json)
    process.stdout.write(`${JSON.stringify({ mutants: rows.length, survived, seconds, rows })}\n`);
  process.exitCode = survived === 0 ? 0 : 1;
}
