/**
 * `npm run bench:idle -- --partitions N [--seconds S] [--settle S] [--json]`: what partitions cost while nobody uses them. Starts three
 * nodes with one partition, then three with N, lets them settle, and reads CPU time, memory, bytes written to disk and syncs
 * over S seconds. The last line is JSON: CPU of one core over all nodes together, and the memory that each further replica
 * takes, (RSS(N) − RSS(1)) ÷ (3·(N − 1)).
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { refuseArguments, toolArguments, wholeNumber } from '../scripts/tool-arguments.ts';
import { startClustor, type IdleAnswers } from './clustor-target.ts';
import { beginReading, type Consumption } from './load/process-readings.ts';
import { exitOnSignals, makeScratchDirectory } from './setup/scratch.ts';

const usage = 'npm run bench:idle -- --partitions N [--seconds S] [--settle S] [--json]';
const values = toolArguments(usage, {
  partitions: { type: 'string', default: '100' },
  seconds: { type: 'string', default: '10' },
  /** Behind the last collection of garbage that a sleeping node does. */
  settle: { type: 'string', default: '45' },
  json: { type: 'boolean', default: false },
});
const nodeCount = 3;

interface IdleReading {
  readonly consumption: Consumption;
  readonly residentBytes: number;
  readonly syncsPerSecond: number;
  readonly readyMs: number;
  readonly answers: IdleAnswers;
}

exitOnSignals();
const partitions = wholeNumber('partitions', values.partitions, usage);
if (partitions < 1 || partitions > 5_000) refuseArguments('--partitions takes 1 to 5000', usage);
const seconds = wholeNumber('seconds', values.seconds, usage);
const settleMs = wholeNumber('settle', values.settle, usage) * 1000;
const directory = makeScratchDirectory('idle');
const one = await readIdle(1);
const many = partitions === 1 ? one : await readIdle(partitions);
const perReplica =
  partitions === 1
    ? 0
    : (many.residentBytes - one.residentBytes) / (nodeCount * (partitions - 1)) / 1024;
const summary = {
  partitions,
  cpuPercent: percentOf(many),
  rssPerReplicaKiB: Math.round(perReplica * 10) / 10,
  writtenBytesPerSecond: Math.round(many.consumption.serverWrittenBytes / many.consumption.seconds),
  syncsPerSecond: many.syncsPerSecond,
  readyMs: many.readyMs,
  ...many.answers,
  rssMiB: Math.round(many.residentBytes / 1024 / 1024),
  onePartition: { cpuPercent: percentOf(one), rssMiB: Math.round(one.residentBytes / 1024 / 1024) },
};
if (!values.json)
  process.stderr.write(
    `${partitions} idle partitions on three nodes: ${summary.cpuPercent} % of a core, ${summary.rssPerReplicaKiB} KiB a replica, ${summary.syncsPerSecond} syncs/s, ${summary.writtenBytesPerSecond} bytes/s to disk; ${many.answers.hibernatingReplicas} of ${partitions * nodeCount} replicas hibernate\n`,
  );
process.stdout.write(`${JSON.stringify(summary)}\n`);
process.exit(0);

async function readIdle(count: number): Promise<IdleReading> {
  const startedMs = performance.now();
  const target = await startClustor({
    directory: join(directory, String(count)),
    valueBytes: 1,
    partitions: count,
  });
  const readyMs = Math.round(performance.now() - startedMs);
  await delay(settleMs);
  const syncsBefore = (await target.flushes?.())?.flushCount ?? 0;
  const end = beginReading(target.serverPids);
  await delay(seconds * 1000);
  const consumption = end();
  const syncs = ((await target.flushes?.())?.flushCount ?? 0) - syncsBefore;
  const answers = await target.askIdle();
  await target.stop();
  return {
    consumption,
    answers,
    readyMs,
    residentBytes: consumption.serverResidentBytes.reduce((sum, bytes) => sum + bytes, 0),
    syncsPerSecond: Math.round((syncs / consumption.seconds) * 10) / 10,
  };
}

function percentOf({ consumption }: IdleReading): number {
  return Math.round((consumption.serverCpuSeconds / consumption.seconds) * 1000) / 10;
}
