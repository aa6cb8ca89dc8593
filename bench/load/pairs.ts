/**
 * Two variants against each other, in pairs of stretches that follow one another: what a machine's other guests do drifts, and
 * a ratio within a pair drifts least. Which of the two goes first alternates.
 */
import { runLoad, type LoadResult, type RunningTarget, type Target } from './generator.ts';
import { median } from './histogram.ts';

/** Stretches of load of each variant, as many of one as of the other. */
export interface Pair {
  readonly base: readonly LoadResult[];
  readonly variant: readonly LoadResult[];
}

/** A ratio over the pairs. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly greatest: number;
}

/**
 * V8 compiles what has run often enough, and of one write at a time it sees little: on a quick machine that takes it ten seconds,
 * on a slow one four times as long. So it is the writes that count.
 */
const alone = { writes: 15_000, secondsMin: 12, secondsMax: 36 };
const stretchSeconds = 3;

/** What a cluster needs before it is as fast as one that has run for long. */
export async function warmUp(target: Target): Promise<void> {
  await runLoad(target, { warmSeconds: 0, seconds: 6, outstanding: 64 });
  let writes = 0;
  for (let seconds = 0; seconds < alone.secondsMax; seconds += stretchSeconds) {
    if (writes >= alone.writes && seconds >= alone.secondsMin) return;
    const { acksPerSecond } = await runLoad(target, {
      warmSeconds: 0,
      seconds: stretchSeconds,
      outstanding: 1,
    });
    writes += acksPerSecond * stretchSeconds;
  }
}

/** Runs a stretch of each; in odd rounds the variant goes first. */
export async function runPair(
  round: number,
  runs: { readonly base: () => Promise<LoadResult>; readonly variant: () => Promise<LoadResult> },
): Promise<Pair> {
  if (round % 2 === 0) {
    const base = [await runs.base()];
    return { base, variant: [await runs.variant()] };
  }
  const variant = [await runs.variant()];
  return { base: [await runs.base()], variant };
}

/** What is compared by `measurePairs`. */
export interface PairsPlan<T extends RunningTarget> {
  readonly rounds: number;
  readonly depths: readonly number[];
  readonly start: (side: 'base' | 'variant', round: number) => Promise<T>;
  /** One stretch of load of a target that is warm. */
  readonly stretch: (
    target: T,
    side: 'base' | 'variant',
    outstanding: number,
  ) => Promise<LoadResult>;
}

/**
 * Pairs of two targets at each depth. Each round starts both afresh, warms them up, and lets them take turns at each depth, once in
 * either order: two targets of the same kind differ, too, by up to a quarter for as long as they run, so that many turns of one pair of
 * targets say little.
 */
export async function measurePairs<T extends RunningTarget>(
  plan: PairsPlan<T>,
): Promise<ReadonlyMap<number, readonly Pair[]>> {
  const pairs = new Map<number, Pair[]>(plan.depths.map((outstanding) => [outstanding, []]));
  for (let round = 0; round < plan.rounds; round++) {
    const base = await plan.start('base', round);
    const variant = await plan.start('variant', round);
    for (const target of [base, variant]) await warmUp(target);
    for (const [outstanding, ofDepth] of pairs) {
      const runs = {
        base: () => plan.stretch(base, 'base', outstanding),
        variant: () => plan.stretch(variant, 'variant', outstanding),
      };
      const first = await runPair(round, runs);
      const second = await runPair(round + 1, runs);
      ofDepth.push({
        base: [...first.base, ...second.base],
        variant: [...first.variant, ...second.variant],
      });
    }
    for (const target of [base, variant]) await target.stop();
  }
  return pairs;
}

/** A figure of the variant ÷ that of the base, each the mean of its stretches, over the pairs. */
export function spreadOf(pairs: readonly Pair[], read: (result: LoadResult) => number): Spread {
  const ratios = pairs.map(({ base, variant }) => mean(variant, read) / mean(base, read));
  return {
    median: rounded(median(ratios)),
    least: rounded(Math.min(...ratios)),
    greatest: rounded(Math.max(...ratios)),
  };
}

function mean(results: readonly LoadResult[], read: (result: LoadResult) => number): number {
  return results.reduce((sum, result) => sum + read(result), 0) / results.length;
}

/** Server CPU per acknowledged append, seconds. */
export function cpuPerAck({ consumption, acksPerSecond }: LoadResult): number {
  return consumption.serverCpuSeconds / consumption.seconds / acksPerSecond;
}

/** As people read it. */
export function spreadText({ median: middle, least, greatest }: Spread): string {
  return `${percent(middle)} (${percent(least)} to ${percent(greatest)})`;
}

function percent(ratio: number): string {
  return `${(100 * ratio).toFixed(1)} %`;
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
