/**
 * `tsx bench/etcd/main.ts [--json] [--outstanding 1,64] [--rounds N] [--seconds S]`: what a three-member etcd
 * reaches on this machine, with and without TLS on its ports, in turns. The first run installs it.
 */
import { join } from 'node:path';
import { runLoad, type LoadResult } from '../load/generator.ts';
import { printLoadTable } from '../load/report.ts';
import { readOptions } from '../setup/options.ts';
import { exitOnSignals, makeScratchDirectory } from '../setup/scratch.ts';
import { startEtcd } from './target.ts';

exitOnSignals();
const options = readOptions({ seconds: 3, rounds: 3, outstanding: [1, 64, 256, 1024] });
const directory = makeScratchDirectory('etcd');
const results: LoadResult[] = [];
for (let round = 0; round < options.rounds; round++) {
  for (const hasTls of [true, false]) {
    const target = await startEtcd({
      directory: join(directory, `${String(round)}-${String(hasTls)}`),
      valueBytes: 256,
      hasTls,
    });
    for (const outstanding of options.outstanding) {
      results.push(
        await runLoad(target, {
          warmSeconds: 1,
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
if (options.isJson) process.stdout.write(`${JSON.stringify({ bench: 'etcd', results })}\n`);
