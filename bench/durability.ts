/**
 * `npm run bench:durability -- [--rounds N] [--seconds S] [--outstanding 1,64,1024] [--json]`: Group-Fsync against Strict, two
 * clusters measured in turns in every round. The last line is JSON: acks/s and entries per sync of both at each depth, and their
 * ratio, Group-Fsync ÷ Strict.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { clustorCommand, startClustor } from './clustor-target.ts';
import { runLoad, type LoadResult } from './load/generator.ts';
import { medianOf, printLoadTable } from './load/report.ts';
import { readOptions } from './setup/options.ts';
import { exitOnSignals, makeScratchDirectory } from './setup/scratch.ts';

const warmSeconds = 1;
const modes = ['strict', 'group'] as const;

exitOnSignals();
const options = readOptions({ seconds: 3, rounds: 3, outstanding: [1, 64, 1024] });
const directory = makeScratchDirectory('durability');
const results: LoadResult[] = [];
for (let round = 0; round < options.rounds; round++) {
  for (const mode of modes) {
    const folder = join(directory, `${mode}-${round}`);
    const target = await startClustor({ directory: folder, valueBytes: 256 });
    execFileSync(process.execPath, [
      ...[clustorCommand, 'durability', 'set', mode],
      ...['--dir', join(folder, 'data'), '--json'],
    ]);
    for (const outstanding of options.outstanding) {
      const { seconds, ratePerSecond } = options;
      const load = { warmSeconds, seconds, outstanding, ratePerSecond };
      results.push({ ...(await runLoad(target, load)), target: mode });
    }
    await target.stop();
  }
}
printLoadTable(results);
const depths = options.outstanding.map((outstanding) => {
  const of = (mode: string, read: (result: LoadResult) => number): number =>
    medianOf(results, mode, outstanding, read);
  const acks = modes.map((mode) => of(mode, (result) => result.acksPerSecond));
  const perSync = modes.map((mode) => of(mode, (result) => result.entriesPerFlush ?? 0));
  return {
    outstanding,
    strict: { acksPerSecond: Math.round(acks[0] ?? 0), entriesPerSync: rounded(perSync[0] ?? 0) },
    group: { acksPerSecond: Math.round(acks[1] ?? 0), entriesPerSync: rounded(perSync[1] ?? 0) },
    ratio: rounded((acks[1] ?? 0) / (acks[0] ?? 1)),
  };
});
process.stdout.write(`${JSON.stringify({ bench: 'durability', depths })}\n`);
process.exit(0);

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
