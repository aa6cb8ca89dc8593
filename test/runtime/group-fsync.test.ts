/** Group-Fsync on running nodes in virtual time (specification §5.2). */
import { describe, expect, test } from 'vitest';
import { ByteWriter } from '../../src/base/bytes.ts';
import { isClustorError } from '../../src/base/errors.ts';
import type { LogIndex, NodeId } from '../../src/base/ids.ts';
import { writeSystemEntry, type SystemEntry } from '../../src/codec/system-entry.ts';
import type { DurabilityStatus } from '../../src/runtime/durability-desk.ts';
import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

async function inGroupMode(seed: number): Promise<{ cluster: ScenarioCluster; leader: NodeId }> {
  const cluster = await ScenarioCluster.start(seed);
  const leader = await cluster.untilLeader();
  await cluster.settle(cluster.partition(leader).setDurability('GroupFsync'));
  return { cluster, leader };
}

function durabilityAt(cluster: ScenarioCluster, id: NodeId): DurabilityStatus {
  return cluster.partition(id).durability();
}

describe('Group-Fsync', () => {
  test('is off until it is asked for, and then in force on every replica under one epoch', async () => {
    const { cluster, leader } = await inGroupMode(1);

    expect(durabilityAt(cluster, leader)).toMatchObject({ mode: 'GroupFsync', epoch: 1 });
    await cluster.until('all replicas follow', () =>
      cluster.nodeIds.every((id) => durabilityAt(cluster, id).mode === 'GroupFsync'),
    );
  });

  test('lets writes that come within 5 ms share their syncs; what is acknowledged is as durable as ever', async () => {
    const { cluster, leader } = await inGroupMode(2);
    const { log } = cluster.replica(leader);
    const startedMs = cluster.world.nowMs;
    const before = log.ackFields();

    const first = cluster.write(leader, 'a', '1');
    await cluster.advance(2);
    const second = cluster.write(leader, 'b', '2');
    const receipts = [await cluster.settle(first), await cluster.settle(second)];

    expect(cluster.world.nowMs - startedMs, 'the first one waited for the second').toBeGreaterThan(
      5,
    );
    expect(before.segmentSeq).toBe(log.ackFields().segmentSeq);
    expect(cluster.replica(leader).state.durableIndex).toBeGreaterThanOrEqual(
      receipts[1]?.index ?? Number.NaN,
    );
  });

  test('refuses a caller that knows an older epoch, and changes nothing', async () => {
    const { cluster, leader } = await inGroupMode(3);

    const ending = await cluster.ending(
      cluster.partition(leader).setDurability('Strict', { expectedEpoch: 0 }),
    );

    expect(
      ending.kind === 'rejected' && isClustorError(ending.error, 'CLUSTOR_MODE_CONFLICT'),
    ).toBe(true);
    expect(durabilityAt(cluster, leader)).toMatchObject({ mode: 'GroupFsync', epoch: 1 });
  });

  test('is not changed by a committed entry of an epoch that has passed', async () => {
    const { cluster, leader } = await inGroupMode(8);
    const late: Exclude<SystemEntry, { readonly kind: 'unknown' }> = {
      kind: 'durabilityTransition',
      fromMode: 'GroupFsync',
      toMode: 'Strict',
      effectiveIndex: 1 as LogIndex,
      epoch: 1,
      cause: 'operator',
    };
    const writer = new ByteWriter();
    writeSystemEntry(writer, late);
    const committed = new Promise((resolve, reject) => {
      const refusal = cluster.replica(leader).offer({
        metadata: new Uint8Array(0),
        payload: writer.take(),
        isSystem: true,
        slot: 0,
        sink: {
          proposalCommitted: (_slot, receipt) => {
            resolve(receipt);
          },
          proposalFailed: (_slot, error) => {
            reject(error);
          },
        },
      });
      if (refusal !== undefined) reject(refusal);
    });

    await cluster.settle(committed);

    expect(durabilityAt(cluster, leader)).toMatchObject({ mode: 'GroupFsync', epoch: 1 });
  });

  test('is changed once by two callers who want the same, and not by one who wants another meanwhile', async () => {
    const cluster = await ScenarioCluster.start(9);
    const partition = cluster.partition(await cluster.untilLeader());
    const same = [partition.setDurability('GroupFsync'), partition.setDurability('GroupFsync')];
    const other = await cluster.ending(partition.setDurability('Strict', { deadlineMs: 5_000 }));

    // Strict is in force still, and wanted still: that caller has what it asks for, or a conflict, and never waits in vain.
    expect(other.kind === 'fulfilled' || isClustorError(other.error, 'CLUSTOR_MODE_CONFLICT')).toBe(
      true,
    );
    const [first, second] = [await cluster.settle(same[0]!), await cluster.settle(same[1]!)];
    expect(first).toMatchObject({ mode: 'GroupFsync', epoch: 1 });
    expect(second).toMatchObject({ mode: 'GroupFsync', epoch: 1 });
  });

  test('is for a leader to change', async () => {
    const { cluster, leader } = await inGroupMode(4);
    const [follower] = cluster.others(leader);

    const ending = await cluster.ending(
      cluster.partition(follower ?? leader).setDurability('Strict'),
    );

    expect(ending.kind === 'rejected' && isClustorError(ending.error, 'CLUSTOR_NOT_LEADER')).toBe(
      true,
    );
  });

  test('ends with its leader: the next one starts Strict, and then does what is wanted', async () => {
    const { cluster, leader } = await inGroupMode(5);
    cluster.crash(leader);
    const next = await cluster.untilLeader(cluster.others(leader));

    await cluster.until('the mode is fixed anew', () => durabilityAt(cluster, next).epoch >= 3);

    expect(durabilityAt(cluster, next)).toMatchObject({
      mode: 'GroupFsync',
      wantedMode: 'GroupFsync',
      epoch: 3,
    });
  });

  test('outlives a power loss of all nodes, and its epoch never falls', async () => {
    const { cluster } = await inGroupMode(6);
    for (const id of cluster.nodeIds) cluster.crash(id);
    for (const id of cluster.nodeIds) cluster.start(id);
    await cluster.until('all are up', () => cluster.areAllUp());
    const leader = await cluster.untilLeader();

    await cluster.until(
      'what was wanted is in force again',
      () => durabilityAt(cluster, leader).epoch >= 3,
    );

    expect(durabilityAt(cluster, leader)).toMatchObject({ mode: 'GroupFsync', epoch: 3 });
  });

  test('gives way to Strict while the device is slow, and says so', async () => {
    const { cluster, leader } = await inGroupMode(7);
    cluster.world.disk(leader).latencyFactor = 100;
    for (let write = 0; write < 6; write++)
      await cluster.settle(cluster.write(leader, 'k', `${write}`));

    await cluster.until('Strict is back', () => durabilityAt(cluster, leader).mode === 'Strict');

    expect(durabilityAt(cluster, leader)).toMatchObject({
      wantedMode: 'GroupFsync',
      groupFsync: { kind: 'refused', clause: 'BackoffRunning' },
    });
  });

  test('gives way to Strict when its bounds were overrun twice, not at the first time, and comes back', async () => {
    const { cluster, leader } = await inGroupMode(9);
    const value = '.'.repeat(900_000);
    /** More than 4 MiB of one partition at once. */
    const overrun = async (): Promise<void> => {
      const writes = Array.from({ length: 6 }, (_, at) => cluster.write(leader, `k${at}`, value));
      for (const write of writes) await cluster.settle(write);
    };

    await overrun();
    await cluster.advance(1_000);
    expect(durabilityAt(cluster, leader).mode).toBe('GroupFsync');
    await overrun();
    await cluster.until('Strict is back', () => durabilityAt(cluster, leader).mode === 'Strict');

    expect(durabilityAt(cluster, leader)).toMatchObject({
      wantedMode: 'GroupFsync',
      groupFsync: { kind: 'refused', clause: 'BackoffRunning' },
    });
    for (let at = 0; at < 6; at++) expect(cluster.value(leader, `k${at}`)).toBe(value);
    await cluster.until(
      'it is on again',
      () => durabilityAt(cluster, leader).mode === 'GroupFsync',
      90_000,
    );
  });

  test('comes back by itself a minute after the device was slow', async () => {
    const { cluster, leader } = await inGroupMode(8);
    const disk = cluster.world.disk(leader);
    const wasFactor = disk.latencyFactor;
    disk.latencyFactor = 100;
    for (let write = 0; write < 6; write++)
      await cluster.settle(cluster.write(leader, 'k', `${write}`));
    await cluster.until('Strict is back', () => durabilityAt(cluster, leader).mode === 'Strict');
    const strictAtMs = cluster.world.nowMs;
    disk.latencyFactor = wasFactor;
    for (let write = 0; write < 8; write++)
      await cluster.settle(cluster.write(leader, 'k', `${write}`));

    await cluster.until(
      'it is on again',
      () => durabilityAt(cluster, leader).mode === 'GroupFsync',
      90_000,
    );

    const waitedMs = cluster.world.nowMs - strictAtMs;
    expect(waitedMs).toBeGreaterThan(55_000);
    expect(waitedMs).toBeLessThan(65_000);
    expect(durabilityAt(cluster, leader)).toMatchObject({ groupFsync: { kind: 'allowed' } });
  });
});
