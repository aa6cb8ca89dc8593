/**
 * `npm run sim -- --seeds 1..500 [--json] [--workers N] [--mutant name] [--faults kind,kind]`: simulated clusters of the real product under faults, every
 * invariant after every step, a linearizability check at the end. Equal seeds give equal runs, told by the trace hash.
 * `npm run sim -- --seed 42` replays one; a seed that fails shows its timeline and the shortest prefix of its faults
 * that fails. `--mutant` runs a wrong variant (`sim/mutants.ts`) until a seed catches it. `--corpus` runs the seeds of
 * `sim/corpus.ts` and fails, too, where they do not come by every mark.
 * A sweep that is stopped (SIGINT, SIGTERM) sums up what was run, as `isPartial`, and ends with 130.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { refuseArguments, toolArguments, wholeNumber } from '../scripts/tool-arguments.ts';
import { crc32c } from '../src/base/crc32c.ts';
import { defaultFaultKinds, type FaultKind } from '../src/testing/fault-plan.ts';
import { markNames, type MarkName } from '../src/testing/marks/mark-names.ts';
import { runSimulation, type SimRunReport } from '../src/testing/sim-run.ts';
import { missedMarks, simCorpus, type CorpusRow } from './corpus.ts';
import { mutants, plantMutant } from './mutants.ts';
import { SweepProgress } from './sweep-progress.ts';

const script = fileURLToPath(import.meta.url);
const root = resolve(dirname(script), '..');
const timelineShownMax = 60;
/** Most objects of a run die young: in a larger space they are gone before anybody copies them. */
const youngSpaceMegabytes = 32;
/** What a process ends with that was stopped from outside. */
const stoppedExitCode = 130;

/** What is said of a seed whose process ended before it did: an error that nobody caught, as it would end a node. */
const fatalViolation = 'its process ended; run it alone with --seed for the error';

const usage = `npm run sim -- --seeds 1..500 [--json] [--workers N] [--mutant name] [--faults kind,kind]
npm run sim -- --seed 42 [--faults kind,kind]
npm run sim -- --corpus [--json] [--workers N]`;

/** What a worker is told to run: `<seed> <kinds of fault>`, without kinds for those of the command line. */
type SeedLine = string;

/** A process that runs seeds. */
type Worker = ChildProcessByStdio<Writable, Readable, null>;

const values = toolArguments(usage, {
  seeds: { type: 'string' },
  seed: { type: 'string' },
  json: { type: 'boolean', default: false },
  workers: { type: 'string' },
  mutant: { type: 'string' },
  faults: { type: 'string' },
  corpus: { type: 'boolean', default: false },
  /** Of a worker process: `<from>..<to>..<step>`, or `-` for seeds that come in line by line. */
  worker: { type: 'string' },
});

const chosenFaults = faultsOf(values.faults);

if (values.worker === '-') await workAsTold();
else if (values.worker !== undefined) await work(values.worker);
else if (values.seed !== undefined) await replay(wholeNumber('seed', values.seed, usage));
else if (values.corpus) await sweepCorpus();
else await sweep(seedsOf(values.seeds ?? '1..100'));

/** Kinds of fault to draw from; nothing chosen leaves the usual ones. */
function faultsOf(list: string | undefined): { readonly faultKinds?: readonly FaultKind[] } {
  if (list === undefined) return {};
  const known = defaultFaultKinds;
  const faultKinds = list.split(',').map((name) => {
    const kind = known.find((candidate) => candidate === name);
    return (
      kind ?? refuseArguments(`there is no fault "${name}"; there is ${known.join(', ')}`, usage)
    );
  });
  return { faultKinds };
}

function drainMicrotasks(): Promise<void> {
  return new Promise((resolveDrain) => setImmediate(resolveDrain));
}

/** Runs every so-manieth seed of a range and prints a line for each. */
async function work(range: string): Promise<void> {
  const [from = 1, to = 1, step = 1] = range.split('..').map(Number);
  for (let seed = from; seed <= to; seed += step) {
    await reportSeed(seed);
  }
}

/** Runs the seeds that the parent process names, one after the other, and prints a line for each. */
async function workAsTold(): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const [seed, faults] = line.split(' ');
    await reportSeed(Number(seed), faults === undefined ? chosenFaults : faultsOf(faults));
  }
}

async function reportSeed(seed: number, faults = chosenFaults): Promise<void> {
  const report = await runSimulation({ seed, drainMicrotasks, ...faults });
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

async function sweepCorpus(): Promise<void> {
  for (const name of ['seeds', 'mutant', 'faults'] as const)
    if (values[name] !== undefined)
      refuseArguments(`--corpus has its own seeds and faults; --${name} has no place there`, usage);
  await sweep(simCorpus.map(lineOf), missedMarks);
}

/** Runs seeds; `missed` says what their reports lack besides violations. */
async function sweep(
  lines: readonly SeedLine[],
  missed: (reports: readonly SimRunReport[]) => readonly string[] = () => [],
): Promise<void> {
  const mutant = mutants.find((known) => known.name === values.mutant);
  if (values.mutant !== undefined && mutant === undefined)
    refuseArguments(
      `there is no mutant "${values.mutant}"; there is ${mutants.map((known) => known.name).join(', ')}`,
      usage,
    );
  const folder = mutant === undefined ? root : plantMutant(root, mutant);
  const workers = wholeNumber('workers', values.workers ?? `${availableParallelism()}`, usage);
  const reports: SimRunReport[] = [];
  /** Seeds that ended their process. */
  const fatalSeeds: number[] = [];
  const total = lines.length;
  const seeds = lines.values();
  const startedMs = performance.now();
  const progress = new SweepProgress({
    total,
    isTerminal: process.stderr.isTTY,
    write: (text) => process.stderr.write(text),
    nowMs: () => performance.now(),
  });
  const children = new Set<Worker>();
  let isStopped = false;
  let isOver = false;
  const end = (): void => {
    isOver = true;
    for (const child of children) child.kill();
  };
  /** One seed that catches it is what a mutant is run for. */
  const failed = (): void => {
    if (mutant !== undefined) end();
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => {
      isStopped = true;
      end();
    });
  /** Runs seeds in one process until there are no more. Returns those that it was given and did not bring back. */
  const runWorker = async (first: readonly SeedLine[]): Promise<readonly SeedLine[]> => {
    const child = startWorker(folder);
    children.add(child);
    const given: SeedLine[] = [];
    const waiting = [...first];
    const give = (): void => {
      const seed = waiting.shift() ?? seeds.next().value;
      if (seed === undefined) child.stdin.end();
      else {
        given.push(seed);
        child.stdin.write(`${seed}\n`);
      }
    };
    // Who is done gets the next seed: one that takes long holds nobody up. One more waits, so that no worker does.
    for (let ahead = 0; ahead < 2; ahead++) give();
    for await (const line of createInterface({ input: child.stdout })) {
      given.shift();
      give();
      const report = JSON.parse(line) as SimRunReport;
      reports.push(report);
      progress.cameBack(report);
      if (report.violation !== undefined) failed();
    }
    children.delete(child);
    return [...given, ...waiting];
  };
  /** Starts the next process where a seed ended one: a node's process would have ended too. */
  const runSeeds = async (): Promise<void> => {
    let waiting: readonly SeedLine[] = [];
    while (!isOver) {
      // Who runs next waits for how this process ends.
      const [fatal, ...others] = await runWorker(waiting);
      if (fatal === undefined || isOver) return;
      const seed = Number(fatal.split(' ', 1)[0]);
      fatalSeeds.push(seed);
      progress.cameBack({ seed, violation: fatalViolation });
      failed();
      waiting = others;
    }
  };
  await Promise.all(Array.from({ length: Math.min(workers, total) }, runSeeds));
  progress.ended();
  if (mutant !== undefined) rmSync(folder, { recursive: true, force: true });
  const seconds = (performance.now() - startedMs) / 1000;
  const lacks = isStopped ? [] : missed(reports);
  finish(reports, { seconds, mutant: mutant?.name, isPartial: isStopped, fatalSeeds, lacks });
}

function seedsOf(range: string): readonly SeedLine[] {
  const [from = Number.NaN, to = Number.NaN] = range.split('..').map(Number);
  if (!(Number.isSafeInteger(from) && from >= 1 && Number.isSafeInteger(to) && to >= from))
    refuseArguments(`--seeds takes a range such as 1..500, got "${range}"`, usage);
  return Array.from({ length: to - from + 1 }, (_, at) => `${from + at}`);
}

function lineOf({ seed, faultKinds }: CorpusRow): SeedLine {
  return faultKinds === undefined ? `${seed}` : `${seed} ${faultKinds.join(',')}`;
}

/** A process that runs the seeds it is given, and ends with its input. */
function startWorker(folder: string): Worker {
  const flags = [...process.execArgv, `--max-semi-space-size=${youngSpaceMegabytes}`];
  const child = spawn(
    process.execPath,
    [
      ...[...flags, join(folder, 'sim', 'main.ts'), '--worker', '-'],
      ...(values.faults === undefined ? [] : ['--faults', values.faults]),
    ],
    { stdio: ['pipe', 'pipe', 'inherit'], cwd: folder },
  );
  // A worker that died is known by the seeds that it did not bring back.
  child.stdin.on('error', () => undefined);
  return child;
}

function finish(
  reports: SimRunReport[],
  run: {
    readonly seconds: number;
    readonly mutant: string | undefined;
    readonly isPartial: boolean;
    readonly fatalSeeds: readonly number[];
    readonly lacks: readonly string[];
  },
): void {
  reports.sort((left, right) => left.seed - right.seed);
  const failed = [
    ...reports,
    ...run.fatalSeeds.map((seed) => ({ seed, violation: fatalViolation })),
  ].filter(({ violation }) => violation !== undefined);
  for (const { seed, violation } of failed)
    process.stdout.write(`seed ${seed}: ${violation ?? ''}\n`);
  for (const lack of run.lacks) process.stdout.write(`${lack}; sim/corpus.ts says what to do\n`);
  const faults = sumByName(reports.map((report) => report.faults));
  const marks = sumByName(reports.map((report) => report.marks));
  const verdicts = sumByName(reports.map((report) => report.verdicts));
  const summary = {
    seeds: reports.length + run.fatalSeeds.length,
    ...(run.isPartial ? { isPartial: true } : {}),
    failed: failed.length,
    ...(run.lacks.length > 0 ? { lacks: run.lacks } : {}),
    operations: sumOf(reports, (report) => report.operations),
    faults,
    marks,
    reachedBy: seedsReaching(reports),
    verdicts,
    medians: {
      operations: medianOf(reports, (report) => report.operations),
      acks: medianOf(reports, (report) => report.acknowledged),
      leaderChanges: medianOf(reports, (report) => report.leaderChanges),
      crashes: medianOf(reports, (report) => report.crashes),
      simulatedSeconds: Math.round(medianOf(reports, (report) => report.simulatedMs) / 1000),
    },
    fewestOperations:
      reports.length === 0 ? 0 : Math.min(...reports.map((report) => report.operations)),
    leadersGivenUp: sumOf(reports, (report) => report.leadersGivenUp),
    evidenceChecks: sumOf(reports, (report) => report.evidenceChecks),
    journalChecks: sumOf(reports, (report) => report.journalChecks),
    seconds: Math.round(run.seconds),
    seedsPerMinute: Math.round((reports.length * 60) / run.seconds),
    ...(run.mutant === undefined
      ? {}
      : { mutant: run.mutant, caughtAfterSeeds: failed.length === 0 ? null : reports.length }),
    traceHash: foldHashes(reports),
  };
  if (!values.json) {
    const { medians } = summary;
    process.stdout.write(
      `${reports.length} seeds in ${summary.seconds} s, ${summary.seedsPerMinute} a minute: ${failed.length} failed; ${summary.operations} operations, at least ${summary.fewestOperations} a seed\n`,
    );
    process.stdout.write(
      `medians a seed: ${medians.operations} operations, ${medians.acks} acks, ${medians.leaderChanges} leader changes, ${medians.crashes} crashes, ${medians.simulatedSeconds} simulated s\n`,
    );
  }
  process.stdout.write(`${JSON.stringify(summary)}\n`);
  // A mutant that nobody notices is the failure.
  const isGood =
    run.mutant === undefined ? failed.length + run.lacks.length === 0 : failed.length > 0;
  process.exitCode = run.isPartial ? stoppedExitCode : isGood ? 0 : 1;
}

/** Runs one seed; when it fails, shows the end of its timeline and the shortest prefix of its faults that fails. */
async function replay(seed: number): Promise<void> {
  const timeline: string[] = [];
  const report = await runSimulation({
    seed,
    drainMicrotasks,
    ...chosenFaults,
    onEvent: ({ atMs, nodeId, event }) => {
      if (event.level === 'debug') return;
      timeline.push(
        `${atMs.toFixed(3).padStart(12)} ms  ${nodeId === undefined ? 'client' : `node ${nodeId}`}  ${event.kind} ${JSON.stringify(event.fields)}`,
      );
    },
  });
  if (report.violation !== undefined) {
    for (const line of timeline.slice(-timelineShownMax)) process.stdout.write(`${line}\n`);
    process.stdout.write(`violation ${report.violation}\n`);
    process.stdout.write(
      `shortest prefix of its ${report.plannedFaults} faults that fails: ${await shortestPrefix(seed, report.plannedFaults)}\n`,
    );
  }
  process.stdout.write(`${JSON.stringify(report)}\n`);
  process.exitCode = report.violation === undefined ? 0 : 1;
}

/** The fewest first faults of the plan with which the seed still fails, by halving. */
async function shortestPrefix(seed: number, planned: number): Promise<number> {
  let low = 0;
  let high = planned;
  while (low < high) {
    const middle = (low + high) >> 1;
    const shorter = { seed, drainMicrotasks, faultsMax: middle, ...chosenFaults };
    const { violation } = await runSimulation(shorter);
    if (violation === undefined) low = middle + 1;
    else high = middle;
  }
  return high;
}

function foldHashes(reports: readonly SimRunReport[]): string {
  let high = 0;
  let low = 0;
  for (const { traceHash } of reports) {
    const bytes = Buffer.from(traceHash);
    high = crc32c(bytes, 0, 8, high);
    low = crc32c(bytes, 8, 16, low);
  }
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
}

function sumByName(counts: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const [name, count] of counts.flatMap((row) => Object.entries(row)))
    sums[name] = (sums[name] ?? 0) + count;
  return sums;
}

/** The first few seeds that come by each mark: where to look when a corpus needs another seed. */
function seedsReaching(reports: readonly SimRunReport[]): Record<MarkName, number[]> {
  const rows = markNames.map((name): [MarkName, number[]] => {
    const seeds = reports.filter(({ marks }) => marks[name] > 0).map(({ seed }) => seed);
    return [name, seeds.slice(0, 5)];
  });
  return Object.fromEntries(rows) as Record<MarkName, number[]>;
}

function sumOf(reports: readonly SimRunReport[], read: (report: SimRunReport) => number): number {
  return reports.reduce((sum, report) => sum + read(report), 0);
}

function medianOf(
  reports: readonly SimRunReport[],
  read: (report: SimRunReport) => number,
): number {
  const sorted = reports.map(read).sort((left, right) => left - right);
  return sorted[sorted.length >> 1] ?? 0;
}
