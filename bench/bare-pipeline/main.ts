/**
 * `tsx bench/bare-pipeline/main.ts [--json] [--outstanding 1,64] [--rounds N] [--seconds S]`: what the bare
 * pipeline (`node.ts`) reaches in turns: with the product's direct writes, without and with a CRC per entry and a map as state
 * machine; sealed; and sealed and synced by libuv's pool.
 */
import { join } from 'node:path';
import { runLoad, type LoadResult } from '../load/generator.ts';
import { printLoadTable } from '../load/report.ts';
import { readOptions } from '../setup/options.ts';
import { exitOnSignals, makeScratchDirectory } from '../setup/scratch.ts';
import { startBarePipeline, type BarePipelineOptions } from './target.ts';

const kinds: readonly Omit<BarePipelineOptions, 'directory' | 'valueBytes'>[] = [
  {},
  { hasFeatures: true },
  { isSealed: true },
  { isSealed: true, syncs: 'pool' },
];

exitOnSignals();
const options = readOptions({ seconds: 3, rounds: 3, outstanding: [1, 16, 64, 256, 1024] });
const directory = makeScratchDirectory('bare-pipeline');
const results: LoadResult[] = [];
for (let round = 0; round < options.rounds; round++) {
  for (const [position, kind] of kinds.entries()) {
    const target = await startBarePipeline({
      directory: join(directory, `${String(round)}-${String(position)}`),
      valueBytes: 256,
      ...kind,
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
if (options.isJson) {
  process.stdout.write(`${JSON.stringify({ bench: 'bare-pipeline', results })}\n`);
}
