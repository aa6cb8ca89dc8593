import { describe, expect, test } from 'vitest';

import { ClustorError } from '../../src/base/errors.ts';
import { logIndex } from '../../src/base/ids.ts';
import type { ApplyOutcome } from '../../src/ports/state-machine.ts';
import { ReadBarriers, type AppliedWaiter } from '../../src/runtime/read-barriers.ts';
import { RegisterMachine } from '../../src/testing/sim-machine.ts';
import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

/** Notes what a waiter is told. */
function listen(): { readonly waiter: AppliedWaiter; readonly told: (number | string)[] } {
  const told: (number | string)[] = [];
  return {
    told,
    waiter: {
      applied: (index) => told.push(index),
      failed: (error) => told.push(error.code),
    },
  };
}

function barriers(readsMax = 10): ReadBarriers {
  return new ReadBarriers({ readsMax, whyStopped: () => undefined });
}

describe('reads', () => {
  test('that are confirmed and wait for their entry count against the limit', () => {
    const reads = barriers();
    const { waiter } = listen();
    let taken = 0;

    for (let at = 0; at < 100; at++) {
      const refusal = reads.gather({
        needsRound: false,
        confirmed: (index) => {
          reads.whenApplied(index, waiter);
        },
        failed: () => undefined,
      });
      if (refusal === undefined) taken++;
      // Nothing is applied; the group is confirmed all the same.
      const group = reads.closeGroup();
      if (group !== undefined) reads.confirmed(group.readId, logIndex(5), false);
    }

    expect(taken).toBe(10);
    expect([reads.unconfirmedCount, reads.waitingCount]).toEqual([0, 10]);
    reads.applied(logIndex(5));
    expect(reads.waitingCount).toBe(0);
  });

  test('are not kept out by subscriptions that are idle', () => {
    const reads = barriers(1);
    const { waiter } = listen();

    reads.whenFollowed(logIndex(5), waiter);

    expect(reads.waitingCount).toBe(0);
    const refusal = reads.gather({
      needsRound: false,
      confirmed: () => undefined,
      failed: () => undefined,
    });
    expect(refusal).toBeUndefined();
  });
});

describe('who waits for an entry', () => {
  test('is told when it is applied, and before that is not', () => {
    const reads = barriers();
    const { waiter, told } = listen();

    reads.whenApplied(logIndex(2), waiter);
    reads.whenFollowed(logIndex(3), waiter);
    reads.applied(logIndex(1));
    expect(told).toEqual([]);
    reads.applied(logIndex(2));
    expect(told).toEqual([2]);
    reads.applied(logIndex(4));
    expect(told).toEqual([2, 4]);
  });

  test('is told nothing and counts for nothing once it gave up, however often it says so', () => {
    const reads = barriers();
    const { waiter, told } = listen();
    const giveUp = reads.whenApplied(logIndex(2), waiter);

    giveUp();
    giveUp();
    reads.applied(logIndex(2));

    expect(told).toEqual([]);
    expect(reads.waitingCount).toBe(0);
  });

  test('is told why the replica closed, before and afterwards', () => {
    const reads = barriers();
    const { waiter, told } = listen();

    reads.whenApplied(logIndex(2), waiter);
    reads.close(new ClustorError('CLUSTOR_CLOSED', 'closed'));
    reads.whenApplied(logIndex(2), waiter);

    expect(told).toEqual(['CLUSTOR_CLOSED', 'CLUSTOR_CLOSED']);
    expect(reads.waitingCount).toBe(0);
  });

  test('is told why applying stopped while it is stopped, and waits again afterwards', () => {
    let reason: ClustorError | undefined = new ClustorError('CLUSTOR_APPLY_FAULT', 'ill');
    const reads = new ReadBarriers({ readsMax: 10, whyStopped: () => reason });
    const { waiter, told } = listen();

    reads.whenApplied(logIndex(2), waiter);
    reason = undefined;
    reads.whenApplied(logIndex(2), waiter);
    reads.applied(logIndex(2));

    expect(told).toEqual(['CLUSTOR_APPLY_FAULT', 2]);
  });
});

test('waits for an entry that were too late or aborted leave nothing while a machine is retryable', async () => {
  const cluster = await ScenarioCluster.start(755, 1, {
    createStateMachine: () =>
      new (class extends RegisterMachine {
        override apply(): ApplyOutcome {
          return { kind: 'retryable', appliedCount: 0, reason: 'Backpressure' };
        }
      })(),
  });
  const leader = await cluster.untilLeader();
  const partition = cluster.partition(leader);
  const { reads } = cluster.replica(leader);
  const index = logIndex(partition.appliedIndex + 1);
  const controller = new AbortController();

  const late = cluster.ending(partition.waitApplied(index, { deadlineMs: 500 }));
  const aborted = cluster.ending(partition.waitApplied(index, { signal: controller.signal }));
  expect(reads.waitingCount).toBe(2);
  controller.abort();

  expect(await aborted).toMatchObject({ error: { code: 'CLUSTOR_ABORTED' } });
  expect(await late).toMatchObject({ error: { code: 'CLUSTOR_DEADLINE_EXCEEDED' } });
  expect(reads.waitingCount).toBe(0);
});
