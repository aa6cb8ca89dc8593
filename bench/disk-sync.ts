/**
 * How should a store on Node make a batch durable? `tsx bench/disk-sync.ts [--json] [--rounds N] [--seconds S]`
 *
 * Times one whole durable step (`disk/sync-chain.ts`: journal write and sync, then ledger write and sync) in
 * every way Node offers, one step at a time, for `seconds` each, in `rounds` that visit all ways in turn so that
 * a slow spell of the machine falls on all of them. Twice: on an idle loop, and on one that computes half of the
 * time in slices of a millisecond, as the loop of a busy node does. Reported are the medians over the rounds.
 *
 * `loop` is the share of time in which the loop could do nothing else: what a blocking call costs everybody else.
 */
import { statfsSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { openSyncChain, syncMethods, type SyncFiles, type SyncMethod } from './disk/sync-chain.ts';
import { preallocate } from './disk/preallocated-file.ts';
import { Histogram, median } from './load/histogram.ts';
import { readOptions } from './setup/options.ts';
import { exitOnSignals, makeScratchDirectory } from './setup/scratch.ts';
import { milliseconds, perSecond, printTable } from './setup/table.ts';

interface Sample {
  readonly method: SyncMethod;
  readonly isLoopBusy: boolean;
  readonly journalWriteBytes: number;
  readonly stepsPerSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly loopShare: number;
}

const memoryFileSystemType = 0x01021994;
const settleMs = 150;

exitOnSignals();
const options = readOptions({ seconds: 1, rounds: 5, outstanding: [4096, 65_536] });
const directory = makeScratchDirectory('disk-sync');
if (statfsSync(directory).type === memoryFileSystemType) {
  throw new Error('this bench needs a disk: the repository lies on a memory file system');
}
const files = {
  journalPath: join(directory, 'journal'),
  journalBytes: 64 << 20,
  ledgerPath: join(directory, 'ledger'),
  ledgerBytes: 16 << 20,
};
preallocate(files.journalPath, files.journalBytes);
preallocate(files.ledgerPath, files.ledgerBytes);

const samples: Sample[] = [];
for (let round = 0; round < options.rounds; round++) {
  for (const journalWriteBytes of options.outstanding) {
    for (const isLoopBusy of [false, true]) {
      for (const method of syncMethods) {
        samples.push(await measure(method, { ...files, journalWriteBytes }, isLoopBusy));
      }
    }
  }
}
report();

async function measure(method: SyncMethod, files: SyncFiles, isLoopBusy: boolean): Promise<Sample> {
  const chain = await openSyncChain(method, files);
  const stopComputing = isLoopBusy ? computeHalfOfTheTime() : (): void => undefined;
  const histogram = new Histogram();
  let isRecording = false;
  let isStopping = false;
  const finished = new Promise<void>((resolve) => {
    const step = (): void => {
      if (isStopping) {
        resolve();
        return;
      }
      const begin = performance.now();
      chain.run(() => {
        if (isRecording) histogram.record((performance.now() - begin) * 1000);
        // A blocking method answers before it returns; the next turn keeps timers alive and the stack flat.
        if (method.startsWith('blocking')) setImmediate(step);
        else step();
      });
    };
    step();
  });
  await wait(settleMs);
  isRecording = true;
  const before = performance.eventLoopUtilization();
  const begin = performance.now();
  await wait(options.seconds * 1000);
  const seconds = (performance.now() - begin) / 1000;
  const { utilization } = performance.eventLoopUtilization(before);
  isRecording = false;
  isStopping = true;
  await finished;
  stopComputing();
  await chain.close();
  return {
    method,
    isLoopBusy,
    journalWriteBytes: files.journalWriteBytes,
    stepsPerSecond: histogram.count / seconds,
    p50: histogram.percentile(0.5),
    p99: histogram.percentile(0.99),
    loopShare: utilization,
  };
}

/** Spins for a millisecond, rests for one, until told to stop. */
function computeHalfOfTheTime(): () => void {
  let timer: NodeJS.Timeout;
  const spin = (): void => {
    const end = performance.now() + 1;
    while (performance.now() < end);
    timer = setTimeout(spin, 1);
  };
  timer = setTimeout(spin, 1);
  return () => {
    clearTimeout(timer);
  };
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function report(): void {
  const results = [];
  for (const journalWriteBytes of options.outstanding) {
    for (const isLoopBusy of [false, true]) {
      const rows = [['method', 'steps/s', 'p50 ms', 'p99 ms', 'loop']];
      for (const method of syncMethods) {
        const own = samples.filter(
          (sample) =>
            sample.method === method &&
            sample.isLoopBusy === isLoopBusy &&
            sample.journalWriteBytes === journalWriteBytes,
        );
        const of = (read: (sample: Sample) => number): number => median(own.map(read));
        const result = {
          method,
          isLoopBusy,
          journalWriteBytes,
          stepsPerSecond: Math.round(of((sample) => sample.stepsPerSecond)),
          p50: of((sample) => sample.p50),
          p99: of((sample) => sample.p99),
          loopShare: of((sample) => sample.loopShare),
        };
        results.push(result);
        rows.push([
          method,
          perSecond(result.stepsPerSecond),
          milliseconds(result.p50),
          milliseconds(result.p99),
          `${String(Math.round(result.loopShare * 100))} %`,
        ]);
      }
      const load = isLoopBusy ? 'loop half busy' : 'loop idle';
      printTable(`${String(journalWriteBytes / 1024)} KiB journal write, ${load}`, rows);
    }
  }
  if (options.isJson) process.stdout.write(`${JSON.stringify({ bench: 'disk-sync', results })}\n`);
}
