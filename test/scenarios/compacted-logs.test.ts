/** What replicas know besides their machines survives that the log begins behind a snapshot: members, keys, modes. */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { utf8Decode, utf8Encode } from '../../src/base/bytes.ts';
import type { NodeId } from '../../src/base/ids.ts';
import type { Configuration, Member } from '../../src/base/membership.ts';
import type { ApplyOutcome, EntryBatch, StateMachine } from '../../src/ports/state-machine.ts';
import { activeConfiguration, isJoint } from '../../src/raft/index.ts';
import type { AppendReceipt } from '../../src/runtime/local-append.ts';
import type { MemberToAdd, VoterChange } from '../../src/runtime/membership-desk.ts';
import { encodeCommand } from '../../src/testing/sim-machine.ts';
import { ScenarioCluster } from './scenario-cluster.ts';
import { allEqual, baseOf, compact, forgottenMs, startAlone } from './snapshot-words.ts';

function activeOf(cluster: ScenarioCluster, id: NodeId): Configuration {
  return activeConfiguration(cluster.replica(id).state);
}

function votersOn({ members }: Configuration): number[] {
  return members.filter(({ role }) => role === 'voter').map(({ nodeId }) => nodeId);
}

function memberOn(cluster: ScenarioCluster, node: NodeId): MemberToAdd {
  const { host, port } = cluster.world.address(node);
  return { nodeId: node, addresses: [`${host}:${port}`], role: 'learner' };
}

function change(by: Pick<VoterChange, 'promote' | 'remove'>): VoterChange {
  return { ...by, domains: new Map(), policy: 'advisory', overrideRef: 'OPS-1' };
}

/** The core of a leader begins to make a learner of the voter on `node`, whatever an operator would be told. */
function demote(cluster: ScenarioCluster, leader: NodeId, node: NodeId): void {
  const members = activeOf(cluster, leader).members.map((member): Member =>
    member.nodeId === node ? { ...member, role: 'learner' } : member,
  );
  cluster.replica(leader).input({ kind: 'changeConfiguration', members });
}

async function write(cluster: ScenarioCluster, at: NodeId, value: string): Promise<void> {
  for (let number = 0; number < 3; number++)
    await cluster.settle(cluster.write(at, `k${number}`, value));
}

/** Lets the others elect anew, so that none of them keeps entries for a node that is away, and compact. */
async function compactWithout(cluster: ScenarioCluster, away: NodeId): Promise<void> {
  const others = cluster.others(away);
  const leader = await cluster.untilLeader(others);
  cluster.crash(leader);
  cluster.start(leader);
  await write(cluster, await cluster.untilLeader(others), 'behind');
  await compact(cluster, others);
}

/** Every node, restarted one after the other without hearing anybody. */
async function eachAlone(cluster: ScenarioCluster, look: (id: NodeId) => void): Promise<void> {
  for (const id of cluster.nodeIds) {
    cluster.crash(id);
    await startAlone(cluster, id);
    look(id);
    cluster.rejoin(id);
    await allEqual(cluster);
  }
}

describe('regression 23: a configuration that a snapshot stands for is in force', () => {
  test('at who installs it and at who restarts, though no log has its entry', async () => {
    const cluster = await ScenarioCluster.start(231, 3, { spares: 1 });
    const leader = await cluster.untilLeader();
    const [away] = cluster.others(leader).filter((id) => id <= 3) as [NodeId];
    const spare = present(cluster.nodeIds.at(-1), 'a spare node');
    await write(cluster, leader, 'first');
    cluster.crash(away);
    const partition = cluster.partition(leader);
    await cluster.settle(partition.addMember(memberOn(cluster, spare)));
    await cluster.until('it has caught up', () => cluster.value(spare, 'k2') === 'first');
    await cluster.advance(100);
    await cluster.settle(partition.changeVoters(change({ promote: [spare], remove: [] })));
    const wanted = activeOf(cluster, leader);
    await compactWithout(cluster, away);

    cluster.start(away);
    await allEqual(cluster);

    expect(cluster.eventsOf(away, 'snapshotInstalled')).toHaveLength(1);
    expect(votersOn(wanted)).toEqual([1, 2, 3, 4]);
    for (const id of cluster.nodeIds) {
      expect(baseOf(cluster, id)).toBeGreaterThan(wanted.index);
      expect(activeOf(cluster, id)).toEqual(wanted);
    }
    await eachAlone(cluster, (id) => {
      expect(activeOf(cluster, id)).toEqual(wanted);
    });
  });

  test('and one behind the snapshot that is appended and not committed is too, behind a restart', async () => {
    const cluster = await ScenarioCluster.start(232);
    const leader = await cluster.untilLeader();
    const [follower, third] = cluster.others(leader) as [NodeId, NodeId];
    await write(cluster, leader, 'first');
    await allEqual(cluster);
    const snapshotIndex = await compact(cluster, [follower]);
    await cluster.advance(200);
    cluster.crash(third);
    cluster.link(follower, leader, false);
    demote(cluster, leader, third);
    await cluster.until('the follower has it on disk', () => {
      const active = activeOf(cluster, follower);
      return isJoint(active) && active.index <= cluster.replica(follower).state.durableIndex;
    });
    const appended = activeOf(cluster, follower);
    cluster.crash(follower);
    await startAlone(cluster, follower);

    expect(baseOf(cluster, follower)).toBe(snapshotIndex);
    expect(cluster.replica(follower).state.appliableIndex).toBeLessThan(appended.index);
    expect(activeOf(cluster, follower)).toEqual(appended);
    cluster.rejoin(follower);
    cluster.start(third);
    const isOver = (id: NodeId): boolean =>
      !isJoint(activeOf(cluster, id)) && activeOf(cluster, id).index > appended.index;
    await cluster.until(
      'the change ends everywhere',
      () => cluster.areAllUp() && cluster.nodeIds.every(isOver),
    );
    await allEqual(cluster);
  });
});

describe('regression 22: a configuration that was appended, and that a snapshot says nothing of, is undone', () => {
  test.each(['before', 'behind'])(
    'one whose entry is %s the end of the snapshot',
    async (place) => {
      const cluster = await ScenarioCluster.start(221);
      const old = await cluster.untilLeader();
      await write(cluster, old, 'first');
      await allEqual(cluster);
      cluster.isolate(old);
      if (place === 'behind')
        for (let at = 0; at < 12; at++) cluster.write(old, 'lost', `${at}`).catch(() => undefined);
      await cluster.advance(20);
      demote(cluster, old, present(cluster.others(old)[0], 'another node'));
      await cluster.advance(100);
      const appended = activeOf(cluster, old);
      expect(isJoint(appended)).toBe(true);
      cluster.crash(old);
      const next = await cluster.untilLeader(cluster.others(old));
      await write(cluster, next, 'second');
      const snapshotIndex = await compact(cluster, cluster.others(old));
      expect(appended.index > snapshotIndex).toBe(place === 'behind');

      cluster.rejoin(old);
      cluster.start(old);
      await allEqual(cluster);

      expect(cluster.eventsOf(old, 'snapshotInstalled')).toHaveLength(1);
      expect(votersOn(activeOf(cluster, old))).toEqual([1, 2, 3]);
      expect(activeOf(cluster, old)).toEqual(activeOf(cluster, next));
      cluster.crash(old);
      await startAlone(cluster, old);
      expect(activeOf(cluster, old)).toEqual(activeOf(cluster, next));
    },
  );
});

describe('regression 46: a retry behind a snapshot has the first answer and no second effect', () => {
  test('at who took it, who restarted and who installed it', async () => {
    const cluster = await ScenarioCluster.start(461);
    const leader = await cluster.untilLeader();
    const [away] = cluster.others(leader) as [NodeId];
    const keys = ['a', 'b', 'c'].map((name) => ({
      idempotencyKey: {
        opaqueKey: utf8Encode(name),
        firstSeenCommit: cluster.partition(leader).commitIndex,
      },
    }));
    const count = async (at: NodeId): Promise<readonly AppendReceipt[]> => {
      const receipts: AppendReceipt[] = [];
      for (const [amount, key] of keys.entries()) {
        const command = encodeCommand({ op: 'incr', key: 'count', amount: amount + 1 });
        receipts.push(await cluster.settle(cluster.partition(at).append(command, key)));
      }
      return receipts;
    };
    const first = await count(leader);
    cluster.crash(away);
    await compactWithout(cluster, away);
    cluster.start(away);
    await allEqual(cluster);
    expect(cluster.eventsOf(away, 'snapshotInstalled')).toHaveLength(1);

    for (const id of cluster.nodeIds) {
      expect(baseOf(cluster, id)).toBeGreaterThan(present(first.at(-1), 'a receipt').index);
      if (cluster.leader() !== id) {
        await cluster.advance(1_000);
        const from = present(cluster.leader(), 'a leader');
        await cluster.settle(cluster.partition(from).transferLeadership(id));
        await cluster.untilLeader([id]);
      }
      expect(await count(id), `led by node ${id}`).toEqual(first);
      expect(cluster.value(id, 'count')).toBe('6');
    }
    for (const id of cluster.nodeIds) cluster.crash(id);
    for (const id of cluster.nodeIds) cluster.start(id);
    expect(await count(await cluster.untilLeader())).toEqual(first);
  });
});

describe('a mode of durability that a snapshot stands for', () => {
  test('is in force at who restarts and who installs it', async () => {
    const cluster = await ScenarioCluster.start(931);
    const leader = await cluster.untilLeader();
    const [away] = cluster.others(leader) as [NodeId];
    await write(cluster, leader, 'first');
    await allEqual(cluster);
    cluster.crash(away);
    await cluster.settle(cluster.partition(leader).setDurability('GroupFsync'));
    await cluster.advance(forgottenMs);
    await compact(cluster, cluster.others(away));
    const modeAt = (id: NodeId): unknown => {
      const { mode, epoch } = cluster.partition(id).durability();
      return { mode, epoch };
    };
    const wanted = { mode: 'GroupFsync', epoch: 1 };
    expect(modeAt(leader)).toEqual(wanted);

    cluster.start(away);
    await allEqual(cluster);
    expect(cluster.eventsOf(away, 'snapshotInstalled')).toHaveLength(1);
    expect(modeAt(away)).toEqual(wanted);
    for (const id of cluster.nodeIds) cluster.crash(id);
    for (const id of cluster.nodeIds) await startAlone(cluster, id);
    for (const id of cluster.nodeIds) expect(modeAt(id)).toEqual(wanted);
  });
});

describe('a node that is added once the logs begin behind snapshots', () => {
  test('catches up by a snapshot and becomes a voter', async () => {
    const cluster = await ScenarioCluster.start(941, 3, { spares: 1 });
    const leader = await cluster.untilLeader();
    const spare = present(cluster.nodeIds.at(-1), 'a spare node');
    await write(cluster, leader, 'first');
    await compact(cluster, cluster.others(spare));
    const partition = cluster.partition(leader);

    await cluster.settle(partition.addMember(memberOn(cluster, spare)));
    await cluster.until('it has caught up', () => cluster.value(spare, 'k2') === 'first');
    await cluster.advance(100);
    await cluster.settle(partition.changeVoters(change({ promote: [spare], remove: [] })));
    await allEqual(cluster);

    expect(cluster.eventsOf(spare, 'snapshotInstalled')).toHaveLength(1);
    expect(votersOn(activeOf(cluster, spare))).toEqual([1, 2, 3, 4]);
    cluster.crash(spare);
    await startAlone(cluster, spare);
    expect(cluster.value(spare, 'k2')).toBe('first');
    expect(votersOn(activeOf(cluster, spare))).toEqual([1, 2, 3, 4]);
  });

  test.each(Array.from({ length: 12 }, (_, at) => at / 2))(
    'in the place of an earlier life, has nothing of what that life does to its log meanwhile: %f ms apart',
    async (apartMs) => {
      const cluster = await ScenarioCluster.start(942, 3, { spares: 1 });
      const leader = await cluster.untilLeader();
      const spare = present(cluster.nodeIds.at(-1), 'a spare node');
      const partition = cluster.partition(leader);
      const wanted = memberOn(cluster, spare);
      await write(cluster, leader, 'first');
      await cluster.settle(partition.addMember(wanted));
      await cluster.until('it has caught up', () => cluster.value(spare, 'k2') === 'first');
      await cluster.settle(partition.changeVoters(change({ promote: [], remove: [spare] })));
      await cluster.advance(1_000);
      const old = cluster.replica(spare);

      const taken = cluster.partition(spare).takeSnapshot();
      taken.catch(() => undefined);
      await cluster.untilEvent(() => false, apartMs);
      const { members } = await cluster.settle(partition.addMember(wanted));
      const counted = members.find(({ nodeId }) => nodeId === spare);
      expect(cluster.replica(spare).incarnation).toBe(counted?.incarnation);
      expect(counted?.incarnation).not.toBe(old.incarnation);
      cluster.isolate(spare);
      cluster.crash(spare);
      await startAlone(cluster, spare);
      const { state, apply } = cluster.replica(spare);
      expect(state.log.lastIndex).toBeGreaterThanOrEqual(apply.appliedIndex);
      if (apply.appliedIndex === 0) expect(state.log.baseIndex).toBe(0);
      expect(cluster.replica(spare).gate.lacksSnapshot).toBe(false);
      cluster.rejoin(spare);

      await cluster.settle(cluster.write(leader, 'k2', 'second'));
      await allEqual(cluster);
      expect(cluster.value(spare, 'k2')).toBe('second');
      expect(cluster.eventsOf(spare, 'snapshotMissing')).toEqual([]);
      expect(cluster.eventsOf(spare, 'quarantined')).toEqual([]);
    },
  );
});

/** Counts entries, whatever they hold; cheap where they are large. */
class CountingMachine implements StateMachine {
  count = 0;

  apply(batch: EntryBatch): ApplyOutcome {
    this.count += batch.length;
    return { kind: 'ack' };
  }

  query(): Uint8Array {
    return new Uint8Array(0);
  }

  async *snapshot(): AsyncIterable<Uint8Array> {
    yield utf8Encode(`${this.count}`);
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const chunk of chunks) this.count = Number(utf8Decode(chunk));
  }
}

describe('a long load', () => {
  const mib = 1024 * 1024;
  const segmentBytes = 8 * mib;

  function expectBounded(cluster: ScenarioCluster): void {
    for (const id of cluster.nodeIds)
      expect(cluster.node(id).status().journal.journalBytes).toBeLessThan(3 * segmentBytes);
  }

  test('leaves no more of the log than what came behind snapshots, and what a follower lacks that is heard', async () => {
    const machines = new Map<NodeId, CountingMachine>();
    const cluster = await ScenarioCluster.start(951, 3, {
      limits: { snapshotLogBytes: 2 * mib },
      storage: { segmentBytes },
      createStateMachine: ({ host }) => {
        const machine = new CountingMachine();
        machines.set(host.nodeId, machine);
        return machine;
      },
    });
    const leader = await cluster.untilLeader();
    const [lagging] = cluster.others(leader) as [NodeId];
    const payload = new Uint8Array(mib / 2);
    const load = async (writes: number): Promise<void> => {
      for (let at = 0; at < writes; at++) {
        await cluster.settle(cluster.partition(leader).append(payload));
        await cluster.advance(1_000);
      }
    };
    await load(52);
    expectBounded(cluster);
    for (const id of cluster.nodeIds)
      expect(cluster.eventsOf(id, 'segmentRetired').length).toBeGreaterThan(1);

    // It hears and answers, and what it is sent does not get to its disk.
    cluster.world.disk(lagging).stall();
    const { durableIndex } = cluster.replica(lagging).state;
    await load(28);
    expect(cluster.leader()).toBe(leader);
    expect(baseOf(cluster, leader)).toBeLessThanOrEqual(durableIndex);
    cluster.world.disk(lagging).resume();
    await allEqual(cluster);
    expect(cluster.eventsOf(lagging, 'snapshotInstalled')).toEqual([]);

    await load(12);
    expectBounded(cluster);
    for (const id of cluster.nodeIds) cluster.crash(id);
    for (const id of cluster.nodeIds) cluster.start(id);
    await cluster.untilLeader();
    await allEqual(cluster);
    for (const machine of machines.values()) expect(machine.count).toBe(92);
  });
});
