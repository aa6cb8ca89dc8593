import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { ConnectedClient } from 'clustor/client';

import { ChaosCluster } from '../../sim/chaos-cluster.ts';
import { runMoves } from '../../sim/chaos-moves.ts';
import { ChaosOperator } from '../../sim/chaos-operator.ts';

let directory = '';

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'clustor-members-'));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
});

test('voters are added, removed and replaced and leadership moves under load, and nothing is lost', async () => {
  const report = await runMoves({
    directory,
    transfers: 3,
    seed: Number(process.env['TEST_SEED'] ?? 1),
    workers: 6,
    note: () => undefined,
  });

  expect(report.problems).toEqual([]);
  expect(report).toMatchObject({ linearizable: true, lost: 0 });
  expect(report.gaps.transfer.steps).toBe(3);
});

describe('a joint phase', () => {
  let cluster: ChaosCluster;
  let client: ConnectedClient;
  let operator: ChaosOperator;

  beforeEach(async () => {
    cluster = await ChaosCluster.create({
      directory,
      nodeCount: 3,
      spareCount: 2,
      isLinked: false,
    });
    await cluster.startAll();
    client = await cluster.connect();
    operator = await ChaosOperator.create(cluster);
    await cluster.leader(client);
    await operator.must(['transfer-leader', '--to', '1']);
    for (const node of [4, 5]) await operator.must(addWords(node));
  });

  afterEach(async () => {
    await client.close();
    await cluster.close();
  });

  function addWords(node: number): readonly string[] {
    const address = cluster.peerAddresses.get(node) ?? '';
    return ['members', 'add', '--as', 'learner', '--node', String(node), '--address', address];
  }

  /** Begins a change that cannot end, because the new voters 4 and 5 are dead; the operator says that this is meant. */
  function beginHopeless(remove: string): ReturnType<ChaosOperator['run']> {
    const change = ['members', 'change', '--promote', '4,5', '--remove', remove];
    const override = ['--policy', 'advisory', '--override', 'a test', '--timeout-s', '4'];
    return operator.run([...change, ...override]);
  }

  /** The leader knows that they are down before the change begins: else it would go back by itself after 3 s. */
  async function killNewVoters(): Promise<void> {
    await Promise.all([cluster.kill(4), cluster.kill(5)]);
    await delay(1_000);
  }

  async function untilJoint(): Promise<void> {
    const untilMs = performance.now() + 10_000;
    for (;;) {
      const { answer } = await operator.must(['members', 'list']);
      if (answer['joint'] !== undefined) return;
      expect(performance.now()).toBeLessThan(untilMs);
      await delay(50);
    }
  }

  test('is left by command when the new voters are dead and the leader lives', async () => {
    await killNewVoters();
    const change = beginHopeless('2,3');
    await untilJoint();
    await expect(
      client.append(cluster.partitionId, Buffer.from('waits'), { deadlineMs: 500 }),
    ).rejects.toThrow();

    const why = await operator.must(['why', 'membershipBlocked', '--node', '1']);
    const rollback = await operator.must(['members', 'rollback']);

    expect(why.answer).toMatchObject({ clause: 'JointMajorityMissing' });
    expect(rollback.answer['rolledBack']).toBe(true);
    expect(rollback.endMs - rollback.startMs).toBeLessThan(5_000);
    const members = rollback.answer['members'] as readonly { readonly nodeId: number }[];
    expect(members.map((member) => member.nodeId).slice(0, 3)).toEqual([1, 2, 3]);
    await client.append(cluster.partitionId, Buffer.from('goes on'), { deadlineMs: 15_000 });
    expect((await change).exitCode).not.toBe(0);
  });

  test('goes on when the old voters die once the new configuration stands in the log', async () => {
    const change = operator.run(['members', 'change', '--promote', '4,5', '--remove', '2,3']);
    const log = join(cluster.nodeFolder(1), 'node.log');
    const untilMs = performance.now() + 10_000;
    while (
      !/"isJoint":false.*"members":"1 voter, 4 voter, 5 voter"/.test(readFileSync(log, 'utf8'))
    ) {
      expect(performance.now()).toBeLessThan(untilMs);
      await delay(1);
    }
    await Promise.all([cluster.kill(2), cluster.kill(3)]);

    await client.append(cluster.partitionId, Buffer.from('goes on'), { deadlineMs: 10_000 });
    expect((await change).exitCode).toBe(0);
    const { answer } = await operator.must(['members', 'list']);
    const members = answer['members'] as readonly { readonly nodeId: number }[];
    expect(members.map((member) => member.nodeId)).toEqual([1, 4, 5]);
  });

  test('without the leader and the new voters says who is missing, and goes on when one of them returns', async () => {
    await killNewVoters();
    const change = beginHopeless('1,3');
    await untilJoint();
    await cluster.kill(1);
    await delay(1_500);

    const why = await operator.must(['why', 'membershipBlocked', '--node', '2']);
    expect(why.answer).toMatchObject({ clause: 'JointMajorityMissing' });
    expect(why.answer['explanation']).toMatch(/the new voters lack a majority: 1 of 3/);
    expect(why.answer['advice']).toMatch(/Start enough of the missing nodes/);
    await change;

    await cluster.start(4).ready;

    await client.append(cluster.partitionId, Buffer.from('goes on'), { deadlineMs: 15_000 });
    const untilMs = performance.now() + 10_000;
    for (;;) {
      const { answer } = await operator.must(['members', 'list']);
      if (answer['joint'] === undefined) break;
      expect(performance.now()).toBeLessThan(untilMs);
      await delay(100);
    }
  });
});
