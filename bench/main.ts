/**
 * `npm run bench -- [--json] [--outstanding 1,16,…] [--rate N] [--seconds S] [--rounds N] [--encryption on|off|both]`: what a real cluster of
 * three processes reaches on this machine's disk, with TLS: appends of 256 bytes in a closed loop at each
 * depth, or, with `--rate`, in an open loop at that many a second, with at most 4,096 unanswered and latency
 * counted from the moment each was due. Prints a table on standard error and with `--json` all results as one line.
 *
 * Each round starts a cluster afresh. With `--encryption both` there are two clusters instead, which are warmed up once and then
 * measured in pairs at each depth: that says what encryption costs, and not what starting costs.
 */
import { join } from 'node:path';
import { startClustor, type ClustorTarget } from './clustor-target.ts';
import { runLoad, type LoadResult } from './load/generator.ts';
import { cpuPerAck, runPair, spreadOf, spreadText, warmUp, type Pair } from './load/pairs.ts';
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
const ratios = options.encryption === 'both' ? await measurePairs() : [];
if (options.encryption !== 'both') await measureRounds(options.encryption === 'off');
printLoadTable(results);
for (const { outstanding, acksRatio, cpuPerAckRatio } of ratios)
  process.stderr.write(
    `${outstanding} outstanding, encrypted ÷ unencrypted: acks/s ${spreadText(acksRatio)}, CPU per ack ${spreadText(cpuPerAckRatio)}\n`,
  );
if (options.isJson)
  process.stdout.write(`${JSON.stringify({ bench: 'clustor', results, ratios })}\n`);
process.exit(0);

async function measureRounds(isUnencrypted: boolean): Promise<void> {
  for (let round = 0; round < options.rounds; round++) {
    const target = await start(`${round}`, isUnencrypted);
    for (const outstanding of depths) await stretch(target, outstanding);
    await target.stop();
  }
}

/** Of each depth, the ratios of the encrypted cluster to the other, over the rounds. */
async function measurePairs() {
  const plain = await start('plain', true);
  const encrypted = await start('encrypted', false);
  for (const target of [plain, encrypted]) await warmUp(target);
  const pairs = new Map<number, Pair[]>(depths.map((outstanding) => [outstanding, []]));
  for (let round = 0; round < options.rounds; round++)
    for (const [outstanding, ofDepth] of pairs)
      ofDepth.push(
        await runPair(round, {
          base: () => stretch(plain, outstanding),
          variant: () => stretch(encrypted, outstanding),
        }),
      );
  await plain.stop();
  await encrypted.stop();
  return [...pairs].map(([outstanding, ofDepth]) => ({
    outstanding,
    acksRatio: spreadOf(ofDepth, ({ acksPerSecond }) => acksPerSecond),
    cpuPerAckRatio: spreadOf(ofDepth, cpuPerAck),
  }));
}

function start(name: string, isUnencrypted: boolean): Promise<ClustorTarget> {
  return startClustor({ directory: join(directory, name), valueBytes: 256, isUnencrypted });
}

async function stretch(target: ClustorTarget, outstanding: number): Promise<LoadResult> {
  const { seconds, ratePerSecond } = options;
  const result = await runLoad(target, { warmSeconds, seconds, outstanding, ratePerSecond });
  results.push(result);
  return result;
}
