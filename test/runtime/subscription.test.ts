import { describe, expect, test } from 'vitest';

import { utf8Decode, utf8Encode } from '../../src/base/bytes.ts';
import { logIndex } from '../../src/base/ids.ts';
import type { ApplyOutcome } from '../../src/ports/state-machine.ts';
import { subscribeToEntries } from '../../src/runtime/subscription.ts';
import { encodeCommand, RegisterMachine } from '../../src/testing/sim-machine.ts';
import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

const far = logIndex(100);

describe('a subscription at a replica that applies no more', () => {
  test('is told why when the machine threw, begun before or after', async () => {
    const cluster = await ScenarioCluster.start(802);
    const leader = await cluster.untilLeader();
    const early = cluster.ending(cluster.partition(leader).subscribe({ from: far }).next());
    await cluster.ending(cluster.poison(leader));
    await cluster.advance(500);

    const late = cluster.ending(cluster.partition(leader).subscribe({ from: far }).next());

    const why = { kind: 'rejected', error: { code: 'CLUSTOR_APPLY_FAULT' } };
    expect(await early).toMatchObject(why);
    expect(await late).toMatchObject(why);
  });

  test('is told why in Administrative quarantine, and waits again when that is over', async () => {
    const cluster = await ScenarioCluster.start(803);
    const leader = await cluster.untilLeader();
    const held = cluster.others(leader)[0]!;
    const partition = cluster.partition(held);
    await cluster.settle(partition.setQuarantine('OPS-7', 'the disk is exchanged'));
    const from = logIndex(partition.appliedIndex + 1);

    const during = await cluster.ending(partition.subscribe({ from }).next());
    await cluster.settle(partition.clearQuarantine('OPS-8', 'Administrative'));
    const afterwards = cluster.ending(partition.subscribe({ from }).next());
    await cluster.settle(cluster.write(leader, 'key', 'after'));

    expect(during).toMatchObject({ kind: 'rejected', error: { code: 'CLUSTOR_QUARANTINED' } });
    expect(await afterwards).toMatchObject({ kind: 'fulfilled', value: { done: false } });
  });

  test('waits again when an operator had a machine asked once more', async () => {
    let isMended = false;
    const cluster = await ScenarioCluster.start(804, 1, {
      createStateMachine: () =>
        new (class extends RegisterMachine {
          override apply(): ApplyOutcome {
            if (isMended) return { kind: 'ack', results: [] };
            return { kind: 'fatal', appliedCount: 0, message: 'ill' };
          }
        })(),
    });
    const leader = await cluster.untilLeader();
    const partition = cluster.partition(leader);
    await cluster.ending(cluster.write(leader, 'key', 'value'));
    const from = logIndex(partition.appliedIndex + 1);

    const during = await cluster.ending(partition.subscribe({ from: far }).next());
    isMended = true;
    await cluster.settle(partition.clearQuarantine('OPS-9'));
    const afterwards = await cluster.ending(partition.subscribe({ from }).next());

    expect(during).toMatchObject({ kind: 'rejected', error: { code: 'CLUSTOR_APPLY_FAULT' } });
    expect(afterwards).toMatchObject({ kind: 'fulfilled', value: { done: false } });
  });
});

test('a subscription shows the log as it is: a request that was sent again, and took effect once, twice', async () => {
  const cluster = await ScenarioCluster.start(801);
  const leader = await cluster.untilLeader();
  const partition = cluster.partition(leader);
  const idempotencyKey = { opaqueKey: utf8Encode('request 1'), firstSeenCommit: 1 };
  const command = encodeCommand({ op: 'write', key: 'key', value: 'once' });
  const first = await cluster.settle(partition.append(command, { idempotencyKey }));
  // The answer was lost, say: the caller asks again, and is told of the same index.
  const again = await cluster.settle(partition.append(command, { idempotencyKey }));
  expect(again).toEqual(first);
  const { index: end } = await cluster.settle(cluster.write(leader, 'key', 'end'));

  const seen: string[] = [];
  const entries = partition.subscribe({ from: logIndex(1) });
  for (;;) {
    const { value } = await cluster.settle(entries.next());
    if (value === undefined || value.index === end) break;
    seen.push(utf8Decode(value.payload));
  }

  expect(seen).toEqual([utf8Decode(command), utf8Decode(command)]);
});

test('a subscription that is aborted waits for its entry no more', async () => {
  const controller = new AbortController();
  let waiting = 0;
  const entries = subscribeToEntries(
    {
      source: {
        slice: () => undefined,
        read: () => Promise.reject(new Error('nothing is applied')),
      },
      baseIndex: () => logIndex(0),
      appliedIndex: () => logIndex(0),
      whenApplied: () => {
        waiting++;
        return () => {
          waiting--;
        };
      },
    },
    logIndex(1),
    controller.signal,
  );

  const next = entries.next();
  expect(waiting).toBe(1);
  controller.abort();

  expect(await next).toEqual({ done: true, value: undefined });
  expect(waiting).toBe(0);
});
