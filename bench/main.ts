/**
 * `npm run bench -- [--json] [--outstanding 1,16,…] [--rate N] [--seconds S] [--rounds N]`: what a real cluster of
 * three processes reaches on this machine's disk, with TLS: appends of 256 bytes in a closed loop at each
 * depth, or, with `--rate`, in an open loop at that many a second, with at most 4,096 unanswered and latency
 * counted from the moment each was due. Prints a table on standard error and with `--json` all results as one line.
 */
import { join } from 'node:path';
import { startClustor } from './clustor-target.ts';
import { runLoad, type LoadResult } from './load/generator.ts';
import { printLoadTable } from './load/report.ts';
import { readOptions } from './setup/options.ts';
import { exitOnSignals, makeScratchDirectory } from './setup/scratch.ts';

const openLoopOutstandingMax = 4096;
const warmSeconds = 1;

exitOnSignals();
const options = readOptions({ seconds: 5, rounds: 1, outstanding: [1, 16, 64, 256, 1024] });
const depths = options.ratePerSecond === undefined ? options.outstanding : [openLoopOutstandingMax];
const directory = makeScratchDirectory('clustor');
const results: LoadResult[] = [];
for (let round = 0; round < options.rounds; round++) {
  const target = await startClustor({ directory: join(directory, String(round)), valueBytes: 256 });
  for (const outstanding of depths) {
    results.push(
      await runLoad(target, {
        warmSeconds,
        seconds: options.seconds,
        outstanding,
        ratePerSecond: options.ratePerSecond,
      }),
    );
  }
  await target.stop();
}
printLoadTable(results);
if (options.isJson) process.stdout.write(`${JSON.stringify({ bench: 'clustor', results })}\n`);
process.exit(0);
