/**
 * `npm run bench -- [--json] [--outstanding 1,16,…] [--rate N] [--seconds S] [--rounds N] [--encryption on|off|both|control]`: what a real cluster of
 * three processes reaches on this machine's disk, with TLS: appends of 256 bytes in a closed loop at each
 * depth, or, with `--rate`, in an open loop at that many a second, with at most 4,096 unanswered and latency
 * counted from the moment each was due. Prints a table on standard error and with `--json` all results as one line.
 *
 * Each round starts a cluster afresh. With `--encryption both` it starts two, one with encryption and one without, warms both up and
 * lets them take turns; `control` is the same with encryption in neither, and says what chance alone gives.
 */
import { join } from 'node:path';
import { startClustor, type ClustorTarget } from './clustor-target.ts';
import { runLoad, type LoadResult } from './load/generator.ts';
import { cpuPerAck, measurePairs, spreadOf, spreadText } from './load/pairs.ts';
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
const { encryption } = options;
const isPaired = encryption === 'both' || encryption === 'control';
const ratios = isPaired ? await measureRatios() : [];
if (!isPaired) await measureRounds();
printLoadTable(results);
for (const { outstanding, acksRatio, cpuPerAckRatio } of ratios)
  process.stderr.write(
    `${outstanding} outstanding, ${encryption === 'both' ? 'encrypted' : 'control'} ÷ unencrypted: acks/s ${spreadText(acksRatio)}, CPU per ack ${spreadText(cpuPerAckRatio)}\n`,
  );
if (options.isJson)
  process.stdout.write(`${JSON.stringify({ bench: 'clustor', results, ratios })}\n`);
process.exit(0);

async function measureRounds(): Promise<void> {
  for (let round = 0; round < options.rounds; round++) {
    const target = await start(`${round}`, encryption === 'on');
    for (const outstanding of depths) await stretch(target, outstanding);
    await target.stop();
  }
}

/** Of each depth, the ratios of the second cluster to the first, which is unencrypted, over the rounds. */
async function measureRatios() {
  const pairs = await measurePairs({
    rounds: options.rounds,
    depths,
    start: (side, round) => start(`${side}${round}`, side === 'variant' && encryption === 'both'),
    stretch: (target, _, outstanding) => stretch(target, outstanding),
  });
  return [...pairs].map(([outstanding, ofDepth]) => ({
    outstanding,
    acksRatio: spreadOf(ofDepth, ({ acksPerSecond }) => acksPerSecond),
    cpuPerAckRatio: spreadOf(ofDepth, cpuPerAck),
  }));
}

function start(name: string, isEncrypted: boolean): Promise<ClustorTarget> {
  const isUnencrypted = !isEncrypted;
  return startClustor({ directory: join(directory, name), valueBytes: 256, isUnencrypted });
}

async function stretch(target: ClustorTarget, outstanding: number): Promise<LoadResult> {
  const { seconds, ratePerSecond } = options;
  const result = await runLoad(target, { warmSeconds, seconds, outstanding, ratePerSecond });
  results.push(result);
  return result;
}
