/**
 * `npm run bench:durability -- [--rounds N] [--seconds S] [--outstanding 1,64,1024] [--json]`: Group-Fsync against Strict, in
 * pairs of fresh clusters that are warmed up and take turns at each depth. The last line is JSON: acks/s and entries per sync of both at
 * each depth, medians, and the ratio of their acks/s, Group-Fsync ÷ Strict, median and spread over the pairs.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { clustorCommand, startClustor, type ClustorTarget } from './clustor-target.ts';
import { runLoad, type LoadResult } from './load/generator.ts';
import { measurePairs, spreadOf } from './load/pairs.ts';
import { medianOf, printLoadTable } from './load/report.ts';
import { readOptions } from './setup/options.ts';
import { exitOnSignals, makeScratchDirectory } from './setup/scratch.ts';

const warmSeconds = 1;
type Mode = 'strict' | 'group';

exitOnSignals();
const options = readOptions({ seconds: 3, rounds: 9, outstanding: [1, 64, 1024] });
const directory = makeScratchDirectory('durability');
const results: LoadResult[] = [];
const modes = { base: 'strict', variant: 'group' } as const;
const pairs = await measurePairs({
  rounds: options.rounds,
  depths: options.outstanding,
  start: (side, round) => start(modes[side], round),
  stretch: (target, side, outstanding) => stretch(target, modes[side], outstanding),
});
printLoadTable(results);
const depths = [...pairs].map(([outstanding, ofDepth]) => ({
  outstanding,
  strict: figuresOf('strict', outstanding),
  group: figuresOf('group', outstanding),
  acksRatio: spreadOf(ofDepth, ({ acksPerSecond }) => acksPerSecond),
}));
process.stdout.write(`${JSON.stringify({ bench: 'durability', depths })}\n`);
process.exit(0);

async function start(mode: Mode, round: number): Promise<ClustorTarget> {
  const folder = join(directory, `${mode}${round}`);
  const target = await startClustor({ directory: folder, valueBytes: 256 });
  execFileSync(process.execPath, [
    ...[clustorCommand, 'durability', 'set', mode],
    ...['--dir', join(folder, 'data'), '--json'],
  ]);
  return target;
}

async function stretch(
  target: ClustorTarget,
  mode: Mode,
  outstanding: number,
): Promise<LoadResult> {
  const { seconds, ratePerSecond } = options;
  const load = { warmSeconds, seconds, outstanding, ratePerSecond };
  const result = { ...(await runLoad(target, load)), target: mode };
  results.push(result);
  return result;
}

function figuresOf(mode: Mode, outstanding: number) {
  const of = (read: (result: LoadResult) => number): number =>
    medianOf(results, mode, outstanding, read);
  return {
    acksPerSecond: Math.round(of((result) => result.acksPerSecond)),
    entriesPerSync: rounded(of((result) => result.entriesPerFlush ?? 0)),
  };
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
