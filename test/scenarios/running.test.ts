/** Accidents of running clusters that other systems had: cut links, slow disks, dead followers, calls stuck without a reason. */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import type { NodeId } from '../../src/base/ids.ts';
import type { WhyKind } from '../../src/admin/why.ts';
import { defaultRaftSettings, tickMs } from '../../src/raft/index.ts';
import { defaultNodeLimits } from '../../src/runtime/limits.ts';
import { sentOf, threeVoters } from '../raft/core-driver.ts';
import { RaftWorld } from '../raft/raft-world.ts';
import { ScenarioCluster } from './scenario-cluster.ts';
import { leaderOf } from './scenario-words.ts';

const electionTimeoutMs = defaultRaftSettings.electionTimeoutTicksMax * tickMs;

describe('regression 10: a leader that can send but hears nobody steps down, and another is elected', () => {
  test.each([1, 2, 3])('seed %i', async (seed) => {
    const scenario = await ScenarioCluster.start(seed);
    const deaf = await scenario.untilLeader();
    const others = scenario.others(deaf);
    for (const other of others) scenario.link(other, deaf, false);

    await scenario.until(
      'it steps down',
      () => !scenario.replica(deaf).isLeader,
      electionTimeoutMs + 200,
    );
    const next = await scenario.untilLeader(others);
    await scenario.settle(scenario.write(next, 'key', 'value'));

    expect(others).toContain(next);
  });
});

describe('regression 39: heartbeats within a durable term never wait behind a disk sync', () => {
  test('a core with a write in flight sends them and answers them', () => {
    const leader = leaderOf();
    leader.input({ kind: 'propose', count: 5 });

    const beats = sentOf(leader.tick(5), 'heartbeat');

    expect(beats).toHaveLength(2);
  });

  test('a leader whose disk hangs keeps its followers, and they go on committing', async () => {
    const scenario = await ScenarioCluster.start(39);
    const leader = await scenario.untilLeader();
    scenario.world.disk(leader).stall();
    void scenario.write(leader, 'key', 'value');

    // Not yet long enough for the disk to be called slow.
    await scenario.advance(500);

    expect(scenario.leader()).toBe(leader);
    expect(scenario.leaderChanges).toBe(1);
    for (const other of scenario.others(leader))
      expect(scenario.value(other, 'key'), `node ${other}`).toBe('value');
  });

  test('a sync that hangs for ever ends the reign: leadership is handed over without an election timeout', async () => {
    const scenario = await ScenarioCluster.start(39);
    const leader = await scenario.untilLeader();
    const others = scenario.others(leader);
    for (const id of scenario.nodeIds) await scenario.settle(scenario.write(id, 'key', 'before'));
    scenario.world.disk(leader).stall();
    const write = scenario.write(leader, 'key', 'value');

    const next = await scenario.untilLeader(others);
    await scenario.settle(scenario.write(next, 'key', 'after'));

    expect(scenario.leaderChanges).toBe(2);
    expect(scenario.givenUp(leader)).toMatchObject([{ clause: 'SlowDevice', toNodeId: next }]);
    expect(scenario.roleReasons(leader)).toContainEqual(
      expect.stringMatching(/^handed over: the disk of this node takes \d+ ms/),
    );
    expect(scenario.why(leader, 'notLeader')).toBe('GaveUpLeadership');
    scenario.world.disk(leader).resume();
    await scenario.settle(write);
  });

  test('a leader with a slow disk hands over only when another disk is faster', async () => {
    const scenario = await ScenarioCluster.start(42);
    const leader = await scenario.untilLeader();
    const [fast] = scenario.others(leader);
    for (const id of scenario.nodeIds) scenario.slowDown(id);
    await scenario.load(leader, 5_000);
    expect(scenario.givenUp(leader)).toEqual([]);
    expect(scenario.leaderChanges).toBe(1);

    scenario.world.disk(fast!).latencyFactor = 1;
    await scenario.load(leader, 5_000);

    expect(scenario.leader()).toBe(fast);
    expect(scenario.givenUp(leader)).toMatchObject([{ clause: 'SlowDevice', toNodeId: fast }]);
  });

  test('it does so once in ten minutes, though it is made leader again', async () => {
    const scenario = await ScenarioCluster.start(46);
    const leader = await scenario.untilLeader();
    for (const id of scenario.nodeIds) await scenario.settle(scenario.write(id, 'key', 'before'));
    scenario.slowDown(leader);
    await scenario.load(leader, 3_000);
    const next = scenario.leader()!;
    expect(next).not.toBe(leader);

    await scenario.advance(1_000);
    await scenario.settle(scenario.partition(next).transferLeadership(leader));
    await scenario.load(leader, 120_000, 1_000);
    expect(scenario.leader()).toBe(leader);
    expect(scenario.givenUp(leader)).toHaveLength(1);

    await scenario.load(leader, 500_000, 1_000);
    expect(scenario.leader()).not.toBe(leader);
    expect(scenario.givenUp(leader)).toHaveLength(2);
  });

  test('followers whose disks hang stay with their leader', async () => {
    const scenario = await ScenarioCluster.start(40);
    const leader = await scenario.untilLeader();
    for (const other of scenario.others(leader)) scenario.world.disk(other).stall();
    const write = scenario.write(leader, 'key', 'value');

    await scenario.advance(5 * electionTimeoutMs);

    expect(scenario.leader()).toBe(leader);
    expect(scenario.leaderChanges).toBe(1);
    for (const other of scenario.others(leader)) scenario.world.disk(other).resume();
    await scenario.settle(write);
  });
});

describe('regression 40: one dead follower of three for an hour causes no loop of elections', () => {
  test.each([
    { killsLeader: false, minutes: 60 },
    { killsLeader: true, minutes: 20 },
  ])('cores under light load (leader dies: $killsLeader)', ({ killsLeader, minutes }) => {
    const ticks = (minutes * 60_000) / tickMs;
    const world = new RaftWorld(40, threeVoters);
    world.advanceUntil(() => world.leader() !== undefined, 200);
    world.advance(20);
    const leader = present(world.leader(), 'a leader');
    world.crash(killsLeader ? leader : world.replicas.find((row) => row !== leader)!);
    const before = world.leaders.size;

    for (let tick = 0; tick < ticks; tick += 500) {
      const current = world.leader();
      if (current !== undefined) world.input(current, { kind: 'propose', count: 1 });
      world.advance(500);
    }

    expect(world.leaders.size - before).toBe(killsLeader ? 1 : 0);
    expect(world.committed.length).toBeGreaterThan(ticks / 500 - 5);
  });

  test('nodes with links that are dialed again and again, for twenty minutes', async () => {
    const scenario = await ScenarioCluster.start(41);
    const leader = await scenario.untilLeader();
    scenario.crash(scenario.others(leader)[0]!);

    for (let minute = 0; minute < 20; minute++) {
      await scenario.settle(scenario.write(leader, 'key', `minute ${minute}`));
      await scenario.advance(60_000);
    }

    expect(scenario.leaderChanges).toBe(1);
    expect(scenario.leader()).toBe(leader);
  });
});

describe('regression 43: one dead follower under load leaves the memory of the leader flat', () => {
  const entryBytes = 256 * 1024;
  /** What one turn may bring beyond a bound before it is looked at again. */
  const slackBytes = 2 * defaultNodeLimits.batchBytesMax;

  /** Newest entries, and what is in flight to one peer, while a load several times as large goes through. */
  async function measured(
    scenario: ScenarioCluster,
    leader: NodeId,
    lost: NodeId,
  ): Promise<{ readonly tailBytes: number; readonly inflightBytes: number }> {
    const replica = scenario.replica(leader);
    let tailBytes = 0;
    let inflightBytes = 0;
    for (let at = 0; at < 90; at++) {
      await scenario.settle(scenario.write(leader, 'key', `${at}`.padEnd(entryBytes, '.')));
      tailBytes = Math.max(tailBytes, replica.tail.bytesHeld);
      const row = replica.state.leader?.progress.find(({ member }) => member.nodeId === lost);
      inflightBytes = Math.max(inflightBytes, present(row, 'a follower').inflightBytes);
    }
    return { tailBytes, inflightBytes };
  }

  test('one that is gone', async () => {
    const scenario = await ScenarioCluster.start(43);
    const leader = await scenario.untilLeader();
    const lost = scenario.others(leader)[0]!;
    scenario.crash(lost);

    const { tailBytes, inflightBytes } = await measured(scenario, leader, lost);

    expect(tailBytes).toBeGreaterThan(defaultNodeLimits.tailBytesMax / 2);
    expect(tailBytes).toBeLessThanOrEqual(defaultNodeLimits.tailBytesMax + slackBytes);
    expect(inflightBytes).toBeLessThanOrEqual(defaultRaftSettings.inflightBytesMax + slackBytes);
  });

  // As much as an hour would bring is written in eight minutes.
  test.each([{ who: 'a follower' }, { who: 'the leader' }])(
    'eight minutes without $who: at most one change of leader, and memory that stays flat',
    { timeout: 120_000 },
    async ({ who }) => {
      const minutes = 8;
      const bytes = 131_072;
      const scenario = await ScenarioCluster.start(45);
      const before = await scenario.untilLeader();
      const lost = who === 'the leader' ? before : scenario.others(before)[0]!;
      scenario.crash(lost);
      const asked = scenario.others(lost);
      const changesBefore = scenario.leaderChanges;
      const peaks: number[] = [];

      for (let minute = 0; minute < minutes; minute++) {
        let peakBytes = 0;
        for (let write = 0; write < 30; write++) {
          const node = asked[write % asked.length]!;
          await scenario.settle(scenario.write(node, 'key', `${minute}.${write}`.padEnd(bytes)));
          const { state, tail } = scenario.replica(scenario.leader()!);
          const inflight = state.leader!.progress.map((row) => row.inflightBytes);
          peakBytes = Math.max(peakBytes, tail.bytesHeld + Math.max(...inflight));
          await scenario.advance(2_000);
        }
        peaks.push(peakBytes);
      }

      expect(scenario.leaderChanges - changesBefore).toBe(who === 'the leader' ? 1 : 0);
      // The tail is full behind some 60 % of the time and stays as it is.
      const full = defaultNodeLimits.tailBytesMax;
      expect(Math.max(...peaks)).toBeGreaterThan(full / 2);
      expect(Math.max(...peaks)).toBeLessThanOrEqual(
        full + defaultRaftSettings.inflightBytesMax + slackBytes,
      );
      expect(peaks.at(-1)! - peaks[Math.floor(minutes * 0.75)]!).toBeLessThan(slackBytes);
    },
  );

  test('one that takes nothing from its socket', async () => {
    const scenario = await ScenarioCluster.start(44);
    const leader = await scenario.untilLeader();
    const lost = scenario.others(leader)[0]!;
    scenario.world.pause(lost, 3_600_000);

    const { tailBytes, inflightBytes } = await measured(scenario, leader, lost);

    expect(tailBytes).toBeLessThanOrEqual(defaultNodeLimits.tailBytesMax + slackBytes);
    expect(inflightBytes).toBeLessThanOrEqual(defaultRaftSettings.inflightBytesMax + slackBytes);
  });
});

describe('regression 50: a call that is stuck for two election timeouts has one reason with a name', () => {
  const rows: readonly {
    readonly what: string;
    /** Breaks something and returns the node to ask. */
    readonly broken: (scenario: ScenarioCluster, leader: NodeId) => NodeId | Promise<NodeId>;
    readonly kind: WhyKind;
    readonly clause: string;
  }[] = [
    {
      what: 'reads at the last node of three',
      broken: (scenario, leader) => {
        const [survivor, other] = scenario.others(leader);
        for (const id of [leader, other!]) scenario.crash(id);
        return survivor!;
      },
      kind: 'readBlocked',
      clause: 'QuorumUnreachable',
    },
    {
      what: 'leading at the last node of three',
      broken: (scenario, leader) => {
        for (const id of scenario.others(leader)) scenario.crash(id);
        return leader;
      },
      kind: 'notLeader',
      clause: 'QuorumUnreachable',
    },
    {
      what: 'leading at a node that is cut off, whose links do not know yet',
      broken: (scenario, leader) => {
        scenario.isolate(leader);
        return leader;
      },
      kind: 'notLeader',
      clause: 'ElectionUnderWay',
    },
    {
      what: 'reads there',
      broken: (scenario, leader) => {
        scenario.isolate(leader);
        return leader;
      },
      kind: 'readBlocked',
      clause: 'NoLeader',
    },
    {
      what: 'reads at a leader whose own disk hangs',
      broken: async (scenario, leader) => {
        scenario.world.disk(leader).stall();
        void scenario.ending(scenario.write(leader, 'key', 'value'));
        await scenario.advance(1);
        return leader;
      },
      kind: 'readBlocked',
      clause: 'IndexInequality',
    },
    {
      what: 'reads at a replica that cannot apply',
      broken: async (scenario, leader) => {
        await scenario.ending(scenario.poison(leader));
        return leader;
      },
      kind: 'readBlocked',
      clause: 'ApplyFault',
    },
    {
      what: 'leading at a follower',
      broken: (scenario, leader) => scenario.others(leader)[0]!,
      kind: 'notLeader',
      clause: 'AnotherLeads',
    },
  ];

  test.each(rows)('$what: $clause', async ({ broken, kind, clause }) => {
    const scenario = await ScenarioCluster.start(50);
    const asked = await broken(scenario, await scenario.untilLeader());

    await scenario.advance(2 * electionTimeoutMs);

    expect(scenario.why(asked, kind)).toBe(clause);
  });

  // The node leads, and its reads are served.
  test('a write that waits for the disks of both followers', async () => {
    const scenario = await ScenarioCluster.start(51);
    const leader = await scenario.untilLeader();
    for (const other of scenario.others(leader)) scenario.world.disk(other).stall();
    void scenario.ending(scenario.write(leader, 'key', 'value'));

    await scenario.advance(2 * electionTimeoutMs);

    const answers = (['writeBlocked', 'notLeader', 'readBlocked'] as const).map((kind) =>
      scenario.why(leader, kind),
    );
    expect(answers).toEqual(['NotDurableAtAQuorum', 'Leads', 'None']);
  });
});
