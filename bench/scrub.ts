/**
 * `npm run bench:scrub -- [--rounds N] [--seconds S] [--outstanding 64] [--json]`: what the background scrub takes. One cluster is
 * filled; then stretches of load with a scrub at work and with one that pauses take turns, in another order each round. The
 * last line is JSON: the share of the time in which it was at work, reads included, at the node that took most; that time, of all
 * nodes, as a share of the CPU time that they used, which its own CPU cannot exceed; the share of its reads in all bytes that the
 * nodes read and wrote meanwhile; and acks/s and CPU per ack with it ÷ without it, median and spread
 * over the rounds.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { clustorCommand, startClustor } from './clustor-target.ts';
import { runLoad, type LoadResult } from './load/generator.ts';
import { cpuPerAck, runPair, spreadOf, type Pair } from './load/pairs.ts';
import { printLoadTable } from './load/report.ts';
import { readOptions } from './setup/options.ts';
import { exitOnSignals, makeScratchDirectory } from './setup/scratch.ts';

const warmSeconds = 1;
const fill = { warmSeconds: 1, seconds: 20, outstanding: 1024 };

/** What `clustor scrub … --json` prints of a node. */
interface NodeScrub {
  readonly nodeId: number;
  readonly scrub: {
    readonly bytesRead: number;
    readonly busyMs: number;
    readonly passBytesLeft: number;
  };
}

exitOnSignals();
const options = readOptions({ seconds: 5, rounds: 9, outstanding: [64] });
const [outstanding = 64] = options.outstanding;
const folder = makeScratchDirectory('scrub');
const target = await startClustor({ directory: folder, valueBytes: 256 });
await runLoad(target, fill);
scrub('pause');
scrub('start');
const shares: number[] = [];
/** Of all nodes, per second: the scrub's time at work, and CPU. */
const workRates: { readonly busyMs: number; readonly cpuMs: number }[] = [];
let bytesRead = 0;
let bytesWritten = 0;
const pairs: Pair[] = [];
for (let round = 0; round < options.rounds; round++)
  pairs.push(await runPair(round, { base: () => stretch(false), variant: () => stretch(true) }));
await target.stop();
printLoadTable(pairs.flatMap(({ base, variant }) => [...variant, ...base]));
process.stdout.write(
  `${JSON.stringify({
    bench: 'scrub',
    rounds: pairs.length,
    outstanding,
    timeShareMax: rounded(Math.max(...shares)),
    cpuShareAtMost: rounded(sumOf('busyMs') / sumOf('cpuMs')),
    readShare: rounded(bytesRead / (bytesRead + bytesWritten)),
    acksRatio: spreadOf(pairs, ({ acksPerSecond }) => acksPerSecond),
    cpuPerAckRatio: spreadOf(pairs, cpuPerAck),
  })}\n`,
);
process.exit(0);

/** One stretch of load, with a scrub at work or without. */
async function stretch(isScrubbed: boolean): Promise<LoadResult> {
  const load = { warmSeconds, seconds: options.seconds, outstanding };
  if (!isScrubbed) return { ...(await runLoad(target, load)), target: 'scrub pauses' };
  // Behind the pass that was interrupted another one follows: there is always something to read.
  const before = scrub('start');
  const startedMs = performance.now();
  scrub('resume');
  const result = await runLoad(target, load);
  const after = scrub('pause');
  const elapsedMs = performance.now() - startedMs;
  let busyMs = 0;
  for (const [at, { scrub: later }] of after.entries()) {
    const earlier = before[at]?.scrub ?? later;
    shares.push((later.busyMs - earlier.busyMs) / elapsedMs);
    busyMs += later.busyMs - earlier.busyMs;
    bytesRead += later.bytesRead - earlier.bytesRead;
  }
  const { serverCpuSeconds, seconds } = result.consumption;
  workRates.push({
    busyMs: (1000 * busyMs) / elapsedMs,
    cpuMs: (1000 * serverCpuSeconds) / seconds,
  });
  // Without a load, in the rest of the time, nothing is written.
  bytesWritten +=
    (result.consumption.serverWrittenBytes * (options.seconds + warmSeconds)) / options.seconds;
  return { ...result, target: 'scrub at work' };
}

function scrub(verb: 'start' | 'pause' | 'resume'): readonly NodeScrub[] {
  const words = [clustorCommand, 'scrub', verb, '--dir', join(folder, 'data'), '--json'];
  return execFileSync(process.execPath, words, { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as NodeScrub);
}

function sumOf(figure: 'busyMs' | 'cpuMs'): number {
  return workRates.reduce((sum, rates) => sum + rates[figure], 0);
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
