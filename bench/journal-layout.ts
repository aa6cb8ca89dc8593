/**
 * One journal and ledger for all partitions of a data directory, or a pair of files for each?
 * `tsx bench/journal-layout.ts [--json] [--rounds N] [--seconds S]`
 *
 * A closed loop keeps 256 appends of 256 bytes outstanding over 1, 100 and 1,000 busy partitions of one process,
 * each append to a partition drawn at random; the next one is sent when an append is durable in its journal and then
 * in its ledger. Everything that arrived for a pair of files during its last sync goes into its next one, in
 * both layouts. Both go through threads with direct synchronous writes (`disk/worker-chain.ts`); files per partition
 * get one thread, and four, as a pool would give them. A ledger flush holds one record per partition that the journal
 * flush touched, in whole blocks, twice.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { LayoutRun } from './disk/layout-run.ts';
import { preallocate } from './disk/preallocated-file.ts';
import { WorkerChain, type WorkerLane } from './disk/worker-chain.ts';
import { median } from './load/histogram.ts';
import { readOptions } from './setup/options.ts';
import { exitOnSignals, makeScratchDirectory } from './setup/scratch.ts';
import { milliseconds, perSecond, printTable } from './setup/table.ts';

interface Layout {
  readonly name: string;
  readonly isShared: boolean;
  readonly threadCount: number;
}

interface Sample {
  readonly layout: string;
  readonly partitionCount: number;
  readonly acksPerSecond: number;
  readonly syncPairsPerSecond: number;
  readonly entriesPerSync: number;
  readonly p50: number;
  readonly p99: number;
}

const layouts: readonly Layout[] = [
  { name: 'shared', isShared: true, threadCount: 1 },
  { name: 'per partition, 1 thread', isShared: false, threadCount: 1 },
  { name: 'per partition, 4 threads', isShared: false, threadCount: 4 },
];
const partitionCounts = [1, 100, 1000];
const sharedFileBytes = { journal: 64 << 20, ledger: 16 << 20 };
const partitionFileBytes = { journal: 256 << 10, ledger: 128 << 10 };
const settleMs = 300;

exitOnSignals();
const options = readOptions({ seconds: 2, rounds: 3, outstanding: [256] });
const outstanding = options.outstanding[0] ?? 256;
const directory = makeScratchDirectory('journal-layout');
const sharedLane = makeLane('shared', sharedFileBytes);
const partitionLanes = Array.from({ length: Math.max(...partitionCounts) }, (_, partition) =>
  makeLane(`partition-${String(partition)}`, partitionFileBytes),
);
const samples: Sample[] = [];
for (let round = 0; round < options.rounds; round++) {
  for (const partitionCount of partitionCounts) {
    for (const layout of layouts) samples.push(await measure(layout, partitionCount));
  }
}
report();

function makeLane(name: string, bytes: { journal: number; ledger: number }): WorkerLane {
  mkdirSync(join(directory, name));
  const lane = {
    journalPath: join(directory, name, 'journal'),
    ledgerPath: join(directory, name, 'ledger'),
  };
  preallocate(lane.journalPath, bytes.journal);
  preallocate(lane.ledgerPath, bytes.ledger);
  return lane;
}

async function measure(layout: Layout, partitionCount: number): Promise<Sample> {
  const lanes = layout.isShared ? [sharedLane] : partitionLanes.slice(0, partitionCount);
  const bytes = layout.isShared ? sharedFileBytes : partitionFileBytes;
  const chains: WorkerChain[] = [];
  for (let thread = 0; thread < layout.threadCount; thread++) {
    // One after another: a start of several threads at once would only make them wait for each other.
    const chain = await WorkerChain.open({
      lanes,
      mode: 'direct',
      answer: 'port',
      journalBytes: bytes.journal,
      ledgerBytes: bytes.ledger,
      batchBytesMax: 256 << 10,
    });
    chains.push(chain);
  }
  const run = new LayoutRun(chains, lanes.length, partitionCount);
  run.start(outstanding);
  await wait(settleMs);
  const end = run.record();
  await wait(options.seconds * 1000);
  const { histogram, flushCount, seconds } = end();
  await run.stop();
  await Promise.all(chains.map((chain) => chain.close()));
  return {
    layout: layout.name,
    partitionCount,
    acksPerSecond: histogram.count / seconds,
    syncPairsPerSecond: flushCount / seconds,
    entriesPerSync: histogram.count / Math.max(1, flushCount),
    p50: histogram.percentile(0.5),
    p99: histogram.percentile(0.99),
  };
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function report(): void {
  const rows = [
    ['partitions, layout', 'acks/s', 'sync pairs/s', 'entries/sync', 'p50 ms', 'p99 ms'],
  ];
  const results: Sample[] = [];
  for (const partitionCount of partitionCounts) {
    for (const layout of layouts) {
      const own = samples.filter(
        (sample) => sample.layout === layout.name && sample.partitionCount === partitionCount,
      );
      const of = (read: (sample: Sample) => number): number => median(own.map(read));
      const result: Sample = {
        layout: layout.name,
        partitionCount,
        acksPerSecond: of((sample) => sample.acksPerSecond),
        syncPairsPerSecond: of((sample) => sample.syncPairsPerSecond),
        entriesPerSync: of((sample) => sample.entriesPerSync),
        p50: of((sample) => sample.p50),
        p99: of((sample) => sample.p99),
      };
      results.push(result);
      rows.push([
        `${String(partitionCount)}, ${layout.name}`,
        perSecond(result.acksPerSecond),
        perSecond(result.syncPairsPerSecond),
        result.entriesPerSync.toFixed(1),
        milliseconds(result.p50),
        milliseconds(result.p99),
      ]);
    }
  }
  printTable(`${String(outstanding)} outstanding appends of 256 bytes`, rows);
  if (options.isJson) {
    process.stdout.write(`${JSON.stringify({ bench: 'journal-layout', results })}\n`);
  }
}
