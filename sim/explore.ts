/**
 * `npm run explore [-- --json] [--seconds 600] [--configuration name] [--workers N]`: drives the real core through every
 * interleaving of small worlds, with the invariants of Raft checked in each state that can be reached. The last line is
 * JSON with the number of distinct states and of violations.
 */
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import pc from 'picocolors';

import { refuseArguments, toolArguments, wholeNumber } from '../scripts/tool-arguments.ts';
import { tableText } from '../src/cli/output.ts';
import { explorations, exploredOf, type Exploration } from './explorer/configurations.ts';
import { search, type SearchReport } from './explorer/search.ts';

const usage = 'npm run explore [-- --json] [--seconds 600] [--configuration name] [--workers N]';
const values = toolArguments(usage, {
  json: { type: 'boolean', default: false },
  seconds: { type: 'string', default: '600' },
  configuration: { type: 'string' },
  workers: { type: 'string' },
  /** Of a worker process: explores this one and prints its report. */
  worker: { type: 'string' },
});

interface Row extends SearchReport {
  readonly name: string;
  readonly seconds: number;
  /** Expected and not reached. */
  readonly missed: readonly string[];
}

/** Worlds that one process holds at most: eight bytes each, in tables that double. */
const statesMax = 60_000_000;
const depthMax = 400;

const seconds = wholeNumber('seconds', values.seconds, usage);
if (values.worker !== undefined) {
  process.stdout.write(`${JSON.stringify(explore(named(values.worker), seconds))}\n`);
} else {
  await exploreAll(
    values.configuration === undefined ? explorations : [named(values.configuration)],
  );
}

function named(name: string): Exploration {
  const exploration = explorations.find((known) => known.name === name);
  if (exploration !== undefined) return exploration;
  const names = explorations.map((known) => `"${known.name}"`).join(', ');
  return refuseArguments(`--configuration takes ${names}, got "${name}"`, usage);
}

function explore(exploration: Exploration, forSeconds: number): Row {
  const startMs = performance.now();
  const explored = exploredOf(exploration);
  const report = search({
    ...exploration,
    explored,
    statesMax,
    depthMax,
    isOver: () => performance.now() - startMs > forSeconds * 1000,
  });
  return {
    ...report,
    name: exploration.name,
    seconds: Math.round((performance.now() - startMs) / 100) / 10,
    missed: exploration.expected.filter((mark) => !explored.marks.has(mark)),
  };
}

/** Each gets its share of the time; what a small one leaves goes to the others. */
async function exploreAll(all: readonly Exploration[]): Promise<void> {
  const workers = Math.max(
    1,
    wholeNumber('workers', values.workers ?? `${availableParallelism()}`, usage),
  );
  const untilMs = performance.now() + seconds * 1000;
  const waiting = [...all];
  const rows: Row[] = [];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const leftMs = Math.max(1_000, untilMs - performance.now());
      const shareMs = leftMs / Math.ceil((waiting.length + 1) / workers);
      rows.push(await inProcess(next, Math.max(1, Math.round(shareMs / 1000))));
      if (!values.json) process.stderr.write(`${rows.length} of ${all.length} explored\n`);
    }
  };
  await Promise.all(Array.from({ length: workers }, work));
  rows.sort((left, right) => place(all, left) - place(all, right));
  finish(rows);
}

function place(all: readonly Exploration[], row: Row): number {
  return all.findIndex(({ name }) => name === row.name);
}

async function inProcess(exploration: Exploration, forSeconds: number): Promise<Row> {
  const words = ['--worker', exploration.name, '--seconds', String(forSeconds)];
  const child = spawn(
    process.execPath,
    ['--max-old-space-size=6144', ...process.execArgv, fileURLToPath(import.meta.url), ...words],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let row: Row | undefined;
  for await (const line of createInterface({ input: child.stdout })) row = JSON.parse(line) as Row;
  if (row === undefined) throw new Error(`the exploration of "${exploration.name}" ended early`);
  return row;
}

function finish(rows: readonly Row[]): void {
  const violated = rows.filter((row) => row.violation !== undefined);
  const missed = rows.filter((row) => row.missed.length > 0);
  if (!values.json) {
    const cells = rows.map((row) => [
      row.name,
      row.states.toLocaleString('en'),
      row.transitions.toLocaleString('en'),
      row.depth,
      row.seconds,
      row.isComplete ? pc.green('all') : 'part',
      row.violation === undefined ? pc.green('none') : pc.red(row.violation.message),
      row.missed.join(', '),
    ]);
    const head = ['world', 'states', 'transitions', 'depth', 's', 'seen', 'violation', 'missed'];
    process.stdout.write(`${tableText(head, cells)}\n`);
  }
  for (const row of violated) {
    process.stdout.write(`${row.name}: ${row.violation?.message ?? ''}\n`);
    for (const [at, choice] of (row.violation?.path ?? []).entries())
      process.stdout.write(`${String(at + 1).padStart(4)} ${choice}\n`);
  }
  const summary = {
    states: rows.reduce((sum, row) => sum + row.states, 0),
    violations: violated.length,
    transitions: rows.reduce((sum, row) => sum + row.transitions, 0),
    missed: missed.map((row) => `${row.name}: ${row.missed.join(', ')}`),
    configurations: rows.map(({ name, states, isComplete, seconds: took }) => ({
      name,
      states,
      isComplete,
      seconds: took,
    })),
  };
  process.stdout.write(`${JSON.stringify(summary)}\n`);
  process.exitCode = violated.length + missed.length === 0 ? 0 : 1;
}
