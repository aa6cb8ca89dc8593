/** The writer's mode changes between two chains, never in the middle of one (specification §5.1, §5.5). */
import { beforeEach, describe, expect, test } from 'vitest';
import type { ClustorError } from '../../src/base/errors.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { FileSystem, IoCompletion, IoWriterMode } from '../../src/ports/file-system.ts';
import type { ObservedEvent } from '../../src/ports/observer.ts';
import { ChainRunner, type ChainRunnerOptions } from '../../src/storage/chain-runner.ts';

let nowMs: number;
let mode: IoWriterMode;
let log: string[];
let events: ObservedEvent[];
/** Ends the chain under way. */
let completion: IoCompletion | undefined;
let waits: number;
/** Ends the change of the mode under way. */
let change: { resolve: (mode: IoWriterMode) => void; reject: (error: Error) => void } | undefined;
let failure: ClustorError | undefined;
let runner: ChainRunner;
/** Chains that may still be started. */
let budget: number;

const clock = { monotonicMs: () => nowMs, wallMs: () => nowMs } as unknown as Clock;

function start(): void {
  if (!runner.isReady || budget === 0) return;
  budget--;
  log.push(`chain in ${mode}`);
  // Whoever is told of a chain's end tries to start the next one at once.
  runner.submit([], start);
}

/** Lets the chain under way end after so long. */
async function chainEnds(tookMs: number): Promise<void> {
  nowMs += tookMs;
  const ended = completion;
  completion = undefined;
  ended?.(undefined);
  await new Promise((resolve) => setImmediate(resolve));
}

beforeEach(() => {
  nowMs = 1_000;
  mode = 'Direct';
  log = [];
  events = [];
  waits = 0;
  failure = undefined;
  change = undefined;
  budget = Number.MAX_SAFE_INTEGER;
  const fileSystem = {
    get ioWriterMode() {
      return mode;
    },
    ioWriterFault: undefined,
    switchIoWriterMode: (wanted: IoWriterMode) => {
      log.push(`to ${wanted}`);
      expect(completion, 'a chain is under way').toBeUndefined();
      return new Promise<IoWriterMode>((resolve, reject) => {
        change = {
          resolve: (got) => {
            mode = got;
            resolve(got);
          },
          reject,
        };
      });
    },
  } as unknown as FileSystem;
  runner = new ChainRunner({
    clock,
    fileSystem,
    observer: { emit: (event) => events.push(event) },
    disk: {
      submit: (_steps: unknown, done: IoCompletion) => (completion = done),
      get waits() {
        return waits;
      },
    } as unknown as ChainRunnerOptions['disk'],
    guard: { touch: () => undefined } as unknown as ChainRunnerOptions['guard'],
    ledger: { synced: () => undefined } as unknown as ChainRunnerOptions['ledger'],
    flushEnded: start,
    next: start,
    idle: () => undefined,
    failed: (error) => (failure = error),
  });
  start();
});

async function slowChains(count: number): Promise<void> {
  for (let at = 0; at < count; at++) await chainEnds(300);
}

describe('a change that is wanted', () => {
  test('comes before the next chain, whoever wants to start one, and is told with its reason', async () => {
    await slowChains(3);
    expect(log).toEqual(['chain in Direct', 'chain in Direct', 'chain in Direct', 'to Pooled']);
    expect(runner.isReady).toBe(false);

    change?.resolve('Pooled');
    await chainEnds(0);

    expect(log.slice(4)).toEqual(['chain in Pooled']);
    expect(runner.isWriterDegraded).toBe(true);
    expect(events).toEqual([
      {
        level: 'warn',
        kind: 'ioWriterModeChanged',
        fields: {
          from: 'Direct',
          to: 'Pooled',
          cause: 'SlowDisk',
          reason: 'direct writes took over 100 ms, three samples in a row',
        },
      },
    ]);
    expect(runner.summary().ioWriter).toMatchObject({
      mode: 'Pooled',
      bestMode: 'Direct',
      cause: 'SlowDisk',
      alarm: 'Degraded',
      changes: 1,
    });
  });

  test('that cannot be had is told, and chains go on as before', async () => {
    await slowChains(3);
    change?.resolve('Direct');
    await chainEnds(0);
    await slowChains(9);

    expect(log.filter((line) => line === 'to Pooled')).toHaveLength(1);
    expect(log.at(-1)).toBe('chain in Direct');
    expect(events.map(({ kind }) => kind)).toEqual(['ioWriterModeRefused']);
  });

  test('in which a sync fails ends everything, and whoever waits is told (KER-10)', async () => {
    await slowChains(2);
    const waiting = runner.settled(() => undefined);
    waiting.catch(() => undefined);
    await slowChains(1);
    change?.reject(new Error('EIO'));

    await chainEnds(0);
    expect(failure?.message).toContain('changing the mode of the writer failed: EIO');
    expect(runner.isReady).toBe(false);
    expect(log.at(-1)).toBe('to Pooled');
    await expect(waiting).rejects.toMatchObject({ code: 'CLUSTOR_STORAGE_FAILED' });
  });

  test('is left alone by a store that closes', async () => {
    await slowChains(2);
    runner.beginClose();
    await slowChains(2);

    expect(log).not.toContain('to Pooled');
    expect(log).toHaveLength(5);
  });
});

test('time that a chain waited for room says nothing of the device', async () => {
  for (let at = 0; at < 5; at++) {
    waits++;
    await chainEnds(1_000);
  }

  expect(log).not.toContain('to Pooled');
  expect(runner.summary().ioWriter.latency[0]).toMatchObject({ chains: 5, maxMs: 1_000 });
});

test('a mode that the file system left by itself is noticed, and told as a lasting one after 5 s and after 300 s', async () => {
  mode = 'Blocking';
  await chainEnds(1);
  for (let at = 0; at < 310; at++) await chainEnds(1_000);

  expect(events.map(({ kind, fields }) => [kind, fields['alarm'] ?? fields['to']])).toEqual([
    ['ioWriterModeChanged', 'Blocking'],
    ['ioWriterStillDegraded', 'Incident'],
    ['ioWriterStillDegraded', 'GraceOver'],
  ]);
});
