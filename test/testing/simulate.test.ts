/** `simulate`: a user's state machine under faults, right ones and wrong ones. */
import { setImmediate, setTimeout } from 'node:timers/promises';

import { describe, expect, test } from 'vitest';

import type { ApplyContext, ApplyOutcome, EntryBatch, StateMachine } from '../../src/index.ts';
import { simulate, type FindingKind, type Workload } from '../../src/testing/index.ts';
import { Seats, visitors, type Mistake } from './products/seats.ts';

/** The first of them is the quickest: a single node. */
const fewSeeds = [17, 2, 3, 4, 5, 6];

/** Seats that are given away behind a wait. */
function waitingSeats(wait: () => Promise<unknown>): StateMachine {
  const seats = new Seats('none');
  return {
    apply: async (batch: EntryBatch, context: ApplyContext): Promise<ApplyOutcome> => {
      await wait();
      return seats.apply(batch, context);
    },
    query: (request) => seats.query(request),
    snapshot: () => seats.snapshot(),
    restore: (chunks) => seats.restore(chunks),
  };
}

async function manyPromises(): Promise<void> {
  for (let count = 0; count < 50; count++) await Promise.resolve();
}

async function turns(): Promise<void> {
  for (let count = 0; count < 3; count++) await setImmediate();
}

describe('simulate', () => {
  test('a right machine passes, and the report says what it went through', async () => {
    const report = await simulate(() => new Seats('none'), visitors, { seeds: [2, 17] });

    expect(report.failure).toBeUndefined();
    expect(report.runs).toBe(2);
    expect(report.operations).toBeGreaterThan(600);
    expect(report.crashes).toBeGreaterThan(2);
  }, 120_000);

  test.each<{ readonly mistake: Mistake; readonly kinds: readonly FindingKind[] }>([
    { mistake: 'clock', kinds: ['differentResults', 'restoreDiffers'] },
    { mistake: 'chance', kinds: ['differentResults'] },
    { mistake: 'lastOfBatch', kinds: ['differentResults', 'batchDependent'] },
    { mistake: 'forgetsHolds', kinds: ['restoreDiffers', 'differentResults'] },
    { mistake: 'liveSnapshot', kinds: ['restoreDiffers', 'differentResults'] },
    { mistake: 'mergesOnRestore', kinds: ['restoreDiffers', 'differentResults'] },
    { mistake: 'sharedState', kinds: ['differentResults'] },
    { mistake: 'throws', kinds: ['applyFailed'] },
    { mistake: 'writesPayload', kinds: ['payloadChanged'] },
    { mistake: 'queryChanges', kinds: ['differentResults', 'wrongRead', 'replicasDiffer'] },
    { mistake: 'overbooks', kinds: ['promiseBroken'] },
  ])('the mistake $mistake is found within a few seeds', async ({ mistake, kinds }) => {
    const options = { seeds: fewSeeds, shrink: false };
    const { failure } = await simulate(() => new Seats(mistake), visitors, options);

    expect(failure?.message).toBeDefined();
    expect(kinds).toContain(failure?.kind);
  });

  test('a machine may wait for promises', async () => {
    const { failure } = await simulate(() => waitingSeats(manyPromises), visitors, {
      seeds: [17],
    });

    expect(failure).toBeUndefined();
  }, 60_000);

  test.each([
    { what: 'a timer', wait: () => setTimeout(1) },
    { what: 'turns of the loop', wait: turns },
    { what: 'what never comes', wait: () => new Promise(() => undefined) },
  ])(
    'a machine that waits for $what is told so',
    async ({ wait }) => {
      const options = { seeds: 1, shrink: false };
      const { failure } = await simulate(() => waitingSeats(wait), visitors, options);

      expect(failure?.kind).toBe('applyFailed');
      expect(failure?.message).toContain('it may wait for promises only');
    },
    60_000,
  );

  test('a workload of large appends does not fill the log, and no kinds of faults are no faults', async () => {
    const padding = ' '.repeat(900_000);
    const large: Workload = {
      next: (turn) => {
        const request = visitors.next(turn);
        if ('query' in request) return request;
        return {
          append: new TextEncoder().encode(new TextDecoder().decode(request.append) + padding),
        };
      },
    };
    // One node, without encryption.
    const options = { seeds: [17], faults: [], shrink: false };
    const report = await simulate(() => new Seats('none'), large, options);

    expect(report.failure).toBeUndefined();
    expect(report.faults).toEqual({});
    expect(report.acknowledged).toBeGreaterThan(40);
  }, 120_000);

  test('a seed gives the same finding each time, and the fewest faults are told', async () => {
    const find = (): ReturnType<typeof simulate> =>
      simulate(() => new Seats('chance'), visitors, { seeds: 12 });
    const first = await find();

    expect(await find()).toEqual(first);
    expect(first.failure?.faultsPlanned).toBeGreaterThan(0);
    expect(first.failure?.faultsNeeded).toEqual([]);
  });

  test.each<{ readonly mistake: Mistake; readonly says: RegExp }>([
    { mistake: 'clock', says: /The machine read the clock \(Date\)/ },
    { mistake: 'forgetsHolds', says: /node \d \(life \d+\) went on from a snapshot: look for/ },
  ])('what may have made results differ is told: $mistake', async ({ mistake, says }) => {
    const options = { seeds: 12, shrink: false };

    const { failure } = await simulate(() => new Seats(mistake), visitors, options);

    expect(failure).toMatchObject({ kind: 'differentResults' });
    expect(failure?.message).toMatch(says);
  });

  test.each([
    { seeds: 0, faults: undefined, says: 'seeds takes' },
    { seeds: [1.5], faults: undefined, says: 'seeds takes' },
    { seeds: Number.POSITIVE_INFINITY, faults: undefined, says: 'seeds takes' },
    { seeds: Number.NaN, faults: undefined, says: 'seeds takes' },
    { seeds: 1e15, faults: undefined, says: 'seeds takes' },
    { seeds: 1, faults: ['fire' as 'crash'], says: 'there is no fault fire' },
  ])('seeds $seeds and faults $faults are refused', async ({ seeds, faults, says }) => {
    const options = faults === undefined ? { seeds } : { seeds, faults };

    await expect(simulate(() => new Seats('none'), visitors, options)).rejects.toMatchObject({
      code: 'CLUSTOR_INVALID_ARGUMENT',
      message: expect.stringContaining(says) as string,
    });
  });

  test('what is no machine or no workload is refused', async () => {
    const factory = (): Seats => new Seats('none');
    for (const [create, workload] of [
      [factory, undefined],
      [factory, {}],
      [undefined, visitors],
    ] as unknown as Parameters<typeof simulate>[])
      await expect(simulate(create, workload)).rejects.toMatchObject({
        code: 'CLUSTOR_INVALID_ARGUMENT',
      });
  });
});
