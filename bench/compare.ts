/**
 * `npm run bench:compare -- [--rounds N] [--seconds S]`: a real cluster of this package against a three-member
 * etcd with TLS on its ports and against two bare pipelines, on the same machine in the same run.
 *
 * Each round starts each of the four afresh, alone on the machine, in an order that rotates, warms it up (`load/pairs.ts`), and
 * loads it in a closed loop of 256-byte writes at 1, 64 and 256
 * outstanding. A JavaScript process is slow until its code has been compiled, and with one write at a time that takes ten
 * seconds and more: servers that have run for a while are compared. Every figure is the median over the rounds. A table goes to
 * standard error; the last line of standard output is JSON: acks/s (`ratio…`) and latencies (`p50…`, `p99…`), ours
 * divided by etcd's. `p50Ratio1Pool` and `p50Ratio1Bare` are ours divided by those of a pipeline that seals its blocks, as
 * ours do, and syncs through libuv's pool, and of one that does not seal and writes by the product's own thread. Ratios of
 * acks/s are better above 1, those of latencies below.
 */
import { join } from 'node:path';
import { nameOfBarePipeline, startBarePipeline } from './bare-pipeline/target.ts';
import { startClustor } from './clustor-target.ts';
import { startEtcd } from './etcd/target.ts';
import { runLoad, type LoadResult, type RunningTarget } from './load/generator.ts';
import { warmUp } from './load/pairs.ts';
import { medianOf, printLoadTable } from './load/report.ts';
import { readOptions } from './setup/options.ts';
import { exitOnSignals, makeScratchDirectory } from './setup/scratch.ts';

const warmSeconds = 1;
const valueBytes = 256;
const pooled = { isSealed: true, syncs: 'pool' } as const;

type Start = (directory: string) => Promise<RunningTarget>;

const starts: readonly Start[] = [
  (directory) => startEtcd({ directory, valueBytes, hasTls: true }),
  (directory) => startClustor({ directory, valueBytes }),
  (directory) => startBarePipeline({ directory, valueBytes }),
  (directory) => startBarePipeline({ directory, valueBytes, ...pooled }),
];

exitOnSignals();
const options = readOptions({ seconds: 3, rounds: 3, outstanding: [1, 64, 256] });
const directory = makeScratchDirectory('compare');
const results: LoadResult[] = [];
for (let round = 0; round < options.rounds; round++) {
  for (let turn = 0; turn < starts.length; turn++) {
    const position = (round + turn) % starts.length;
    const start = starts[position];
    if (start === undefined) continue;
    const target = await start(join(directory, `${String(round)}-${String(position)}`));
    await warmUp(target);
    for (const outstanding of options.outstanding) {
      results.push(await runLoad(target, { warmSeconds, seconds: options.seconds, outstanding }));
    }
    await target.stop();
  }
}
printLoadTable(results);
process.stdout.write(`${JSON.stringify(ratios())}\n`);
process.exit(0);

function ratios(): Readonly<Record<string, number>> {
  const acks = (result: LoadResult): number => result.acksPerSecond;
  const p50 = (result: LoadResult): number => result.latencyMicroseconds.p50;
  const p99 = (result: LoadResult): number => result.latencyMicroseconds.p99;
  const ratio = (
    peer: string,
    outstanding: number,
    read: (result: LoadResult) => number,
  ): number => {
    const ours = medianOf(results, 'clustor', outstanding, read);
    return Number((ours / medianOf(results, peer, outstanding, read)).toFixed(3));
  };
  const etcd = 'etcd with TLS';
  return {
    ratio1: ratio(etcd, 1, acks),
    ratio64: ratio(etcd, 64, acks),
    ratio256: ratio(etcd, 256, acks),
    p50Ratio1: ratio(etcd, 1, p50),
    p99Ratio256: ratio(etcd, 256, p99),
    p50Ratio1Pool: ratio(nameOfBarePipeline(pooled), 1, p50),
    p50Ratio1Bare: ratio(nameOfBarePipeline({}), 1, p50),
  };
}
