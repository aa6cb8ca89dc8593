/** Snapshots of a node over its admin service. */
import { afterAll, beforeAll, expect, test } from 'vitest';

import type { AdminClient } from '../../src/admin/admin-client.ts';
import type { StateMachine } from '../../src/ports/state-machine.ts';
import { AdminWorld, machineThat, partition, type RunningNode } from './admin-fixture.ts';

let world: AdminWorld;

beforeAll(async () => {
  world = await AdminWorld.create();
});

afterAll(async () => {
  await world.close();
});

async function begin(
  machine: StateMachine = machineThat(),
): Promise<RunningNode & { readonly operator: AdminClient; readonly observer: AdminClient }> {
  const running = await world.start({ machine });
  const clientAs = async (role: 'operator' | 'observer'): Promise<AdminClient> =>
    world.client(running.address, { expected: 1, material: await world.materialOf(role) });
  const [operator, observer] = [await clientAs('operator'), await clientAs('observer')];
  await running.node.partition(partition).append(new Uint8Array([1]));
  return { ...running, operator, observer };
}

test('a snapshot is taken by an operator, and seen by everybody', async () => {
  const { operator, observer } = await begin();
  const before = await observer.getPartition(partition);
  expect(before).toMatchObject({
    baseIndex: 0,
    snapshots: {
      snapshots: [],
      isMissing: false,
      isTaking: false,
      takingBytes: 0,
      lastFailure: '',
      goodIndex: 0,
      installation: { isPulling: false, partsDone: 0, parts: 0, attempts: 0, lastFailure: '' },
    },
  });
  await expect(observer.takeSnapshot({ partitionId: partition })).rejects.toMatchObject({
    code: 'CLUSTOR_PERMISSION_DENIED',
  });

  const { snapshot } = await operator.takeSnapshot({ partitionId: partition });

  expect(snapshot).toMatchObject({ index: before.appliedIndex, term: before.term });
  expect(Math.abs((snapshot?.createdMs ?? 0) - Date.now())).toBeLessThan(60_000);
  const after = await observer.getPartition(partition);
  expect(after.snapshots).toMatchObject({ snapshots: [snapshot], goodIndex: snapshot?.index });
  await expect
    .poll(async () => (await observer.listPartitions())[0]?.baseIndex, { timeout: 5_000 })
    .toBe(before.appliedIndex);
  const again = await operator.takeSnapshot({ partitionId: partition });
  expect(again.snapshot, 'the one that is there').toEqual(snapshot);
  expect(await observer.why(partition, 'snapshotBlocked')).toMatchObject({ clause: 'None' });
});

test('a snapshot that takes longer than its deadline goes on', async () => {
  let give = (): void => undefined;
  const given = new Promise<void>((resolve) => {
    give = resolve;
  });
  const machine: StateMachine = {
    ...machineThat(),
    async *snapshot() {
      yield new Uint8Array(1000);
      await given;
    },
  };
  const { operator, observer } = await begin(machine);

  await expect(
    operator.takeSnapshot({ partitionId: partition, deadlineMs: 200 }),
  ).rejects.toMatchObject({ code: 'CLUSTOR_DEADLINE_EXCEEDED', outcome: 'unknown' });

  const { snapshots } = await observer.getPartition(partition);
  expect(snapshots).toMatchObject({ isTaking: true, snapshots: [] });
  // The replicated state besides the machine comes first.
  expect(snapshots?.takingBytes).toBeGreaterThan(1000);
  expect(snapshots?.takingBytes).toBeLessThan(2000);
  give();
  const taken = async (): Promise<unknown> =>
    (await observer.getPartition(partition)).snapshots?.snapshots.length;
  await expect.poll(taken, { timeout: 5_000 }).toBe(1);
});

test('a machine that cannot give its state is named as the reason', async () => {
  const machine: StateMachine = {
    ...machineThat(),
    // oxlint-disable-next-line require-yield -- it fails before it has anything
    async *snapshot() {
      await Promise.resolve();
      throw new Error('no state today');
    },
  };
  const { operator, observer } = await begin(machine);

  await expect(operator.takeSnapshot({ partitionId: partition })).rejects.toMatchObject({
    code: 'CLUSTOR_SNAPSHOT_UNAVAILABLE',
    message: expect.stringContaining('gave no snapshot: no state today') as string,
  });

  expect(await observer.why(partition, 'snapshotBlocked')).toMatchObject({
    clause: 'AttemptFailed',
    explanation: 'the last attempt to take a snapshot failed: no state today',
  });
});
