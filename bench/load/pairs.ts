/**
 * Two variants against each other, in pairs of stretches that follow one another: what a machine's other guests do drifts, and
 * a ratio within a pair drifts least. Which of the two goes first alternates.
 */
import { runLoad, type LoadResult, type Target } from './generator.ts';
import { median } from './histogram.ts';

/** One stretch of load of each variant. */
export interface Pair {
  readonly base: LoadResult;
  readonly variant: LoadResult;
}

/** A ratio over the pairs. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly greatest: number;
}

/** V8 compiles code while it runs, and of one write at a time it sees little: that takes it about ten seconds. */
const warmUps = [
  { warmSeconds: 0, seconds: 6, outstanding: 64 },
  { warmSeconds: 0, seconds: 12, outstanding: 1 },
];

/** What a cluster needs before it is as fast as one that has run for long. */
export async function warmUp(target: Target): Promise<void> {
  for (const load of warmUps) await runLoad(target, load);
}

/** Runs a stretch of each; in odd rounds the variant goes first. */
export async function runPair(
  round: number,
  runs: { readonly base: () => Promise<LoadResult>; readonly variant: () => Promise<LoadResult> },
): Promise<Pair> {
  if (round % 2 === 0) {
    const base = await runs.base();
    return { base, variant: await runs.variant() };
  }
  const variant = await runs.variant();
  return { base: await runs.base(), variant };
}

/** A figure of the variant ÷ that of the base, over the pairs. */
export function spreadOf(pairs: readonly Pair[], read: (result: LoadResult) => number): Spread {
  const ratios = pairs.map(({ base, variant }) => read(variant) / read(base));
  return {
    median: rounded(median(ratios)),
    least: rounded(Math.min(...ratios)),
    greatest: rounded(Math.max(...ratios)),
  };
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
