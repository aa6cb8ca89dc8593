/**
 * `npm run bench -- [--json] [--outstanding 1,16,…] [--rate N] [--seconds S] [--rounds N] [--encryption on|off|both]`: what a real cluster of
 * three processes reaches on this machine's disk, with TLS: appends of 256 bytes in a closed loop at each
 * depth, or, with `--rate`, in an open loop at that many a second, with at most 4,096 unanswered and latency
 * counted from the moment each was due. Prints a table on standard error and with `--json` all results as one line.
 */
import { join } from 'node:path';
import { startClustor } from './clustor-target.ts';
import { runLoad, type LoadResult } from './load/generator.ts';
import { medianOf, printLoadTable } from './load/report.ts';
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
  for (const isUnencrypted of variantsOf(round)) {
    const target = await startClustor({
      directory: join(directory, `${round}-${isUnencrypted ? 'plain' : 'encrypted'}`),
      valueBytes: 256,
      isUnencrypted,
    });
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
}
printLoadTable(results);
const ratios = options.encryption === 'both' ? depths.map(ratioOf) : [];
for (const { outstanding, encryptedToPlain } of ratios)
  process.stderr.write(
    `${outstanding} outstanding: encrypted reaches ${(100 * encryptedToPlain).toFixed(0)} % of unencrypted\n`,
  );
if (options.isJson)
  process.stdout.write(`${JSON.stringify({ bench: 'clustor', results, ratios })}\n`);
process.exit(0);

/** Whether the clusters of a round are unencrypted, each round in another order: what a disk does drifts. */
function variantsOf(round: number): readonly boolean[] {
  if (options.encryption !== 'both') return [options.encryption === 'off'];
  return round % 2 === 0 ? [true, false] : [false, true];
}

/** Median throughput with encryption over that without. */
function ratioOf(outstanding: number): {
  readonly outstanding: number;
  readonly encryptedToPlain: number;
} {
  const rate = (target: string): number =>
    medianOf(results, target, outstanding, (result) => result.acksPerSecond);
  return { outstanding, encryptedToPlain: rate('clustor') / rate('clustor unencrypted') };
}
