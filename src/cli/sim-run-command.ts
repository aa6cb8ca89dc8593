/** `clustor sim run`: a user's state machine under faults, seed after seed, until one of them finds something wrong. */
import { simulate, type SimulateFailure, type SimulateReport } from '../testing/simulate.ts';
import { colours } from './colours.ts';
import { exitCodes } from './exit-codes.ts';
import type { Output } from './output.ts';
import { loadSimModule } from './sim-module.ts';

/** Options of `clustor sim run`. */
export interface SimRunCommandOptions {
  readonly module: string;
  /** How many seeds, counted from 1. */
  readonly seeds: number;
  /** False: the seed that fails is not run again with fewer faults. */
  readonly shrink: boolean;
}

/** Runs the seeds; the exit code tells whether nothing was found. */
export async function runSimSeeds(options: SimRunCommandOptions, output: Output): Promise<number> {
  const { createStateMachine, workload } = await loadSimModule(options.module);
  const report = await simulate(createStateMachine, workload, {
    seeds: options.seeds,
    shrink: options.shrink,
    onRun: ({ runs, seeds, operations }) => {
      if (process.stdout.isTTY)
        output.progress(
          `${progressBar(runs / seeds)} seed ${runs} of ${seeds}, ${operations} operations`,
        );
    },
    onShrink: ({ runs, faultsTried }) => {
      if (process.stdout.isTTY)
        output.progress(`found; run ${runs} of the same seed with ${faultsTried} faults`);
    },
  });
  const { failure } = report;
  output.result(
    { ...report, failure: failure ?? null },
    failure === undefined ? cleanText(report) : failureText(failure, options),
  );
  return failure === undefined ? exitCodes.done : exitCodes.failed;
}

const barCells = 24;

function progressBar(share: number): string {
  const full = Math.round(share * barCells);
  return `${colours.green('█'.repeat(full))}${colours.dim('░'.repeat(barCells - full))}`;
}

function cleanText(report: SimulateReport): string {
  const { runs, operations, acknowledged, crashes, leaderChanges, membershipChanges } = report;
  return `${colours.green('nothing found')} in ${runs} seeds: ${operations} operations, ${acknowledged} acknowledged, ${crashes} crashes, ${leaderChanges} leader changes, ${membershipChanges} membership changes`;
}

function failureText(failure: SimulateFailure, options: SimRunCommandOptions): string {
  const { seed, kind, message, faultsNeeded, faultsPlanned } = failure;
  const kept = faultsNeeded === undefined ? '' : ` --faults-kept ${faultsKeptText(faultsNeeded)}`;
  return [
    `seed ${seed}: ${colours.red(kind)}`,
    `  ${message}`,
    ...(faultsNeeded === undefined ? [] : [`  ${needText(faultsNeeded.length, faultsPlanned)}`]),
    `  picture: npx clustor sim report --module ${options.module} --seed ${seed}${kept}`,
  ].join('\n');
}

function needText(needed: number, planned: number): string {
  if (needed === 0) return `it takes none of the ${planned} faults of the plan`;
  return `it takes ${needed} of the ${planned} faults of the plan`;
}

/** Positions as `--faults-kept` takes them. */
export function faultsKeptText(positions: readonly number[]): string {
  return positions.length === 0 ? 'none' : positions.join(',');
}
