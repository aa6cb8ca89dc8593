/**
 * `simulate`: a user's own state machine in Clustor's simulated world.
 *
 * Every seed is one run of a real cluster on simulated disks, links and clocks, with a storm of faults, membership changes
 * and transfers, under the user's workload; then everything is healed. What is looked for is said at {@link FindingKind}.
 * A seed that fails is run again with fewer faults, until none can be left out.
 */
import { ClustorError } from '../base/errors.ts';
import { nextTurn } from '../platform/next-turn.ts';
import type { StateMachine } from '../ports/state-machine.ts';
import { defaultFaultKinds, type FaultKind } from './fault-plan.ts';
import type { Finding } from './product/findings.ts';
import { userProduct } from './product/user-product.ts';
import type { Workload } from './product/workload.ts';
import { fewestFaults } from './shrink.ts';
import { runSimulation, type SimRunReport } from './sim-run.ts';

/** Which seeds and which faults. @public */
export interface SimulateOptions {
  /** A number of seeds, counted from 1; or the seeds themselves. @defaultValue 50 */
  readonly seeds?: number | readonly number[];
  /**
   * Kinds of fault that runs draw from. With an empty list a run goes undisturbed until its end, where at some seeds the
   * power fails everywhere. @defaultValue all
   */
  readonly faults?: readonly FaultKind[];
  /** Whether a seed that fails is run again with fewer faults. @defaultValue true */
  readonly shrink?: boolean;
  /** Called after each run. */
  readonly onRun?: (progress: SimulateProgress) => void;
  /** Called before each run of a failing seed with fewer faults. */
  readonly onShrink?: (progress: ShrinkProgress) => void;
}

/** How far a simulation is. @public */
export interface SimulateProgress {
  readonly seed: number;
  readonly runs: number;
  readonly seeds: number;
  readonly operations: number;
}

/** How far the search for the fewest faults is. @public */
export interface ShrinkProgress {
  /** Counts the runs of the search, from 1. */
  readonly runs: number;
  /** Faults that are tried next. */
  readonly faultsTried: number;
}

/** The seed that failed, and why. @public */
export interface SimulateFailure extends Finding {
  readonly seed: number;
  /** Simulated milliseconds from the start of the run to the finding. */
  readonly atMs: number;
  /** Positions of the faults in the seed's plan that it takes; undefined when it was not looked for. */
  readonly faultsNeeded: readonly number[] | undefined;
  readonly faultsPlanned: number;
}

/** What a simulation did and found. @public */
export interface SimulateReport {
  /** Runs made; the first one that fails is the last. */
  readonly runs: number;
  readonly operations: number;
  readonly acknowledged: number;
  readonly crashes: number;
  readonly leaderChanges: number;
  readonly membershipChanges: number;
  /** Faults that happened, by kind. */
  readonly faults: Readonly<Record<string, number>>;
  readonly failure: SimulateFailure | undefined;
}

const seedsDefault = 50;
/** More than anybody waits for. */
const seedsMax = 1_000_000;

/**
 * Runs a state machine under faults, seed after seed, until one of them finds something wrong.
 *
 * @param createStateMachine - Makes a fresh machine; called for every replica and every restart.
 * @param workload - What clients do.
 * @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`.
 * @public
 */
export async function simulate(
  createStateMachine: () => StateMachine,
  workload: Workload,
  options: SimulateOptions = {},
): Promise<SimulateReport> {
  checkParts(createStateMachine, workload);
  const seeds = seedsOf(options.seeds ?? seedsDefault);
  const faultKinds = kindsOf(options.faults ?? defaultFaultKinds);
  const totals = new Totals();
  for (const seed of seeds) {
    const run = { seed, createStateMachine, workload, faultKinds };
    const { report, finding } = await simulateSeed(run);
    totals.add(report);
    const { runs, operations } = totals;
    options.onRun?.({ seed, runs, seeds: seeds.length, operations });
    if (finding === undefined) continue;
    let shrinkRuns = 0;
    const faultsNeeded =
      options.shrink === false
        ? undefined
        : await fewestFaults(report.plannedFaults, async (faultsKept) => {
            options.onShrink?.({ runs: ++shrinkRuns, faultsTried: faultsKept.length });
            const again = await simulateSeed({ ...run, faultsKept });
            return again.finding?.kind === finding.kind;
          });
    const { simulatedMs: atMs, plannedFaults: faultsPlanned } = report;
    return totals.report({ ...finding, seed, atMs, faultsNeeded, faultsPlanned });
  }
  return totals.report(undefined);
}

/** One seed of {@link simulate}. */
export interface SimulateSeedOptions {
  readonly seed: number;
  readonly createStateMachine: () => StateMachine;
  readonly workload: Workload;
  readonly faultKinds?: readonly FaultKind[];
  readonly faultsKept?: readonly number[];
}

async function simulateSeed(
  options: SimulateSeedOptions,
): Promise<{ readonly report: SimRunReport; readonly finding: Finding | undefined }> {
  const { seed, createStateMachine, workload, faultKinds, faultsKept } = options;
  const findings: Finding[] = [];
  const report = await runSimulation({
    seed,
    drainMicrotasks: nextTurn,
    createProduct: userProduct({
      createStateMachine,
      workload,
      onFinding: (finding) => findings.push(finding),
    }),
    ...(faultKinds === undefined ? {} : { faultKinds }),
    ...(faultsKept === undefined ? {} : { faultsKept }),
  });
  const { violation } = report;
  const [first] = findings;
  if (first !== undefined || violation === undefined) return { report, finding: first };
  return { report, finding: { kind: 'clusterFailed', message: violation } };
}

class Totals {
  runs = 0;
  operations = 0;
  #acknowledged = 0;
  #crashes = 0;
  #leaderChanges = 0;
  #membershipChanges = 0;
  readonly #faults: Record<string, number> = {};

  add(report: SimRunReport): void {
    this.runs++;
    this.operations += report.operations;
    this.#acknowledged += report.acknowledged;
    this.#crashes += report.crashes;
    this.#leaderChanges += report.leaderChanges;
    this.#membershipChanges += report.membershipChanges;
    for (const [kind, count] of Object.entries(report.faults))
      if (count > 0) this.#faults[kind] = (this.#faults[kind] ?? 0) + count;
  }

  report(failure: SimulateFailure | undefined): SimulateReport {
    return {
      runs: this.runs,
      operations: this.operations,
      acknowledged: this.#acknowledged,
      crashes: this.#crashes,
      leaderChanges: this.#leaderChanges,
      membershipChanges: this.#membershipChanges,
      faults: this.#faults,
      failure,
    };
  }
}

/** Callers without types may leave out what a run needs. */
function checkParts(createStateMachine: unknown, workload: unknown): void {
  const next = (workload as Partial<Workload> | null | undefined)?.next;
  if (typeof createStateMachine === 'function' && typeof next === 'function') return;
  throw new ClustorError(
    'CLUSTOR_INVALID_ARGUMENT',
    'simulate takes a function that makes a state machine, and a workload with a function next',
  );
}

function seedsOf(seeds: number | readonly number[]): readonly number[] {
  const list = typeof seeds === 'number' ? seedsUpTo(seeds) : seeds;
  if (list.length === 0 || list.some((seed) => !Number.isSafeInteger(seed) || seed < 1))
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `seeds takes a number of seeds, from 1 to ${seedsMax}, or a list of whole numbers above 0`,
    );
  return list;
}

/** The first seeds; none where there cannot be so many. */
function seedsUpTo(count: number): readonly number[] {
  const length = count <= seedsMax ? Math.max(0, Math.floor(count)) : 0;
  return Array.from({ length }, (_, at) => at + 1);
}

function kindsOf(kinds: readonly FaultKind[]): readonly FaultKind[] {
  const unknown = kinds.filter((kind) => !defaultFaultKinds.includes(kind));
  if (unknown.length > 0)
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `there is no fault ${unknown.join(', ')}; there is ${defaultFaultKinds.join(', ')}`,
    );
  return kinds;
}
