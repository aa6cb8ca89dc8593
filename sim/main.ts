/**
 * `npm run sim -- --seeds 1..500 [--json] [--workers N] [--mutant name]`: simulated clusters of the real product under faults, every
 * invariant after every step, a linearizability check at the end. Equal seeds give equal runs, told by the trace hash.
 * `npm run sim -- --seed 42` replays one; a seed that fails shows its timeline and the shortest prefix of its faults
 * that fails. `--rot` lets data at rest be damaged on a minority of nodes too. `--mutant` runs a wrong variant (`sim/mutants.ts`) until a seed catches it.
 */
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { refuseArguments, toolArguments, wholeNumber } from '../scripts/tool-arguments.ts';
import { crc32c } from '../src/base/crc32c.ts';
import { defaultFaultKinds } from '../src/testing/fault-plan.ts';
import { runSimulation, type SimRunReport } from '../src/testing/sim-run.ts';
import { mutants, plantMutant } from './mutants.ts';

const script = fileURLToPath(import.meta.url);
const root = resolve(dirname(script), '..');
const timelineShownMax = 60;

const usage = `npm run sim -- --seeds 1..500 [--json] [--workers N] [--rot] [--mutant name]
npm run sim -- --seed 42 [--rot]`;

const values = toolArguments(usage, {
  seeds: { type: 'string' },
  seed: { type: 'string' },
  json: { type: 'boolean', default: false },
  workers: { type: 'string' },
  rot: { type: 'boolean', default: false },
  mutant: { type: 'string' },
  /** Of a worker process: `<from>..<to>..<step>`. */
  worker: { type: 'string' },
});

const faultKinds = values.rot ? [...defaultFaultKinds, 'bitRot' as const] : defaultFaultKinds;

if (values.worker !== undefined) await work(values.worker);
else if (values.seed !== undefined) await replay(wholeNumber('seed', values.seed, usage));
else await sweep(values.seeds ?? '1..100');

function drainMicrotasks(): Promise<void> {
  return new Promise((resolveDrain) => setImmediate(resolveDrain));
}

/** Runs every so-manieth seed of a range and prints a line for each. */
async function work(range: string): Promise<void> {
  const [from = 1, to = 1, step = 1] = range.split('..').map(Number);
  for (let seed = from; seed <= to; seed += step) {
    process.stdout.write(
      `${JSON.stringify(await runSimulation({ seed, drainMicrotasks, faultKinds }))}\n`,
    );
  }
}

async function sweep(range: string): Promise<void> {
  const [from = Number.NaN, to = Number.NaN] = range.split('..').map(Number);
  if (!(Number.isSafeInteger(from) && from >= 1 && Number.isSafeInteger(to) && to >= from))
    refuseArguments(`--seeds takes a range such as 1..500, got "${range}"`, usage);
  const mutant = mutants.find((known) => known.name === values.mutant);
  if (values.mutant !== undefined && mutant === undefined)
    refuseArguments(
      `there is no mutant "${values.mutant}"; there is ${mutants.map((known) => known.name).join(', ')}`,
      usage,
    );
  const folder = mutant === undefined ? root : plantMutant(root, mutant);
  const workers = wholeNumber('workers', values.workers ?? `${availableParallelism()}`, usage);
  const reports: SimRunReport[] = [];
  const total = to - from + 1;
  const children = Array.from({ length: Math.min(workers, total) }, (_, at) =>
    spawn(
      process.execPath,
      [
        ...process.execArgv,
        join(folder, 'sim', 'main.ts'),
        '--worker',
        `${from + at}..${to}..${workers}`,
        ...(values.rot ? ['--rot'] : []),
      ],
      { stdio: ['ignore', 'pipe', 'inherit'], cwd: folder },
    ),
  );
  const startedMs = performance.now();
  await Promise.all(
    children.map(async (child) => {
      for await (const line of createInterface({ input: child.stdout })) {
        const report = JSON.parse(line) as SimRunReport;
        reports.push(report);
        progress(reports, total);
        if (report.violation === undefined || mutant === undefined) continue;
        // One seed that catches it is what a mutant is run for.
        for (const other of children) other.kill();
      }
    }),
  );
  if (process.stderr.isTTY) process.stderr.write('\n');
  if (mutant !== undefined) rmSync(folder, { recursive: true, force: true });
  if (mutant === undefined && reports.length !== total)
    fail(`only ${reports.length} of ${total} seeds came back`);
  finish(reports, { seconds: (performance.now() - startedMs) / 1000, mutant: mutant?.name });
}

function progress(reports: readonly SimRunReport[], total: number): void {
  if (!process.stderr.isTTY) return;
  const share = reports.length / total;
  const bar = '█'.repeat(Math.round(share * 30)).padEnd(30, '░');
  const failed = reports.filter((report) => report.violation !== undefined).length;
  process.stderr.write(`\r${bar} ${reports.length}/${total} seeds, ${failed} failed `);
}

function finish(
  reports: SimRunReport[],
  run: { readonly seconds: number; readonly mutant: string | undefined },
): void {
  reports.sort((left, right) => left.seed - right.seed);
  const failed = reports.filter((report) => report.violation !== undefined);
  for (const report of failed)
    process.stdout.write(`seed ${report.seed}: ${report.violation ?? ''}\n`);
  const faults: Record<string, number> = {};
  for (const report of reports)
    for (const [kind, count] of Object.entries(report.faults))
      faults[kind] = (faults[kind] ?? 0) + count;
  const summary = {
    seeds: reports.length,
    failed: failed.length,
    operations: sumOf(reports, (report) => report.operations),
    faults,
    medians: {
      operations: medianOf(reports, (report) => report.operations),
      acks: medianOf(reports, (report) => report.acknowledged),
      leaderChanges: medianOf(reports, (report) => report.leaderChanges),
      crashes: medianOf(reports, (report) => report.crashes),
      simulatedSeconds: Math.round(medianOf(reports, (report) => report.simulatedMs) / 1000),
    },
    fewestOperations: Math.min(...reports.map((report) => report.operations)),
    evidenceChecks: sumOf(reports, (report) => report.evidenceChecks),
    seconds: Math.round(run.seconds),
    ...(run.mutant === undefined
      ? {}
      : { mutant: run.mutant, caughtAfterSeeds: failed.length === 0 ? null : reports.length }),
    traceHash: foldHashes(reports),
  };
  if (!values.json) {
    const { medians } = summary;
    process.stdout.write(
      `${reports.length} seeds in ${summary.seconds} s: ${failed.length} failed; ${summary.operations} operations, at least ${summary.fewestOperations} a seed\n`,
    );
    process.stdout.write(
      `medians a seed: ${medians.operations} operations, ${medians.acks} acks, ${medians.leaderChanges} leader changes, ${medians.crashes} crashes, ${medians.simulatedSeconds} simulated s\n`,
    );
  }
  process.stdout.write(`${JSON.stringify(summary)}\n`);
  // A mutant that nobody notices is the failure.
  const isGood = run.mutant === undefined ? failed.length === 0 : failed.length > 0;
  process.exitCode = isGood ? 0 : 1;
}

/** Runs one seed; when it fails, shows the end of its timeline and the shortest prefix of its faults that fails. */
async function replay(seed: number): Promise<void> {
  const timeline: string[] = [];
  const report = await runSimulation({
    seed,
    drainMicrotasks,
    faultKinds,
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
    const { violation } = await runSimulation({
      seed,
      drainMicrotasks,
      faultKinds,
      faultsMax: middle,
    });
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

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}
