/** Leadership that is handed over (ELE-9), and writes that arrive meanwhile. */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import type { NodeId } from '../../src/base/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Entropy } from '../../src/ports/entropy.ts';
import { activeConfiguration } from '../../src/raft/index.ts';
import { MembershipDesk } from '../../src/runtime/membership-desk.ts';
import type { PeerLinks } from '../../src/runtime/peer-links.ts';
import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

/** A cluster whose leader knows its followers' logs, with its leader and the node to hand over to. */
async function cluster(
  seed: number,
): Promise<{ scenario: ScenarioCluster; leader: NodeId; heir: NodeId }> {
  const scenario = await ScenarioCluster.start(seed);
  const leader = await scenario.untilLeader();
  await scenario.settle(scenario.write(leader, 'key', 'before'));
  await scenario.advance(200);
  return { scenario, leader, heir: present(scenario.others(leader)[0], 'another node') };
}

function handOver(scenario: ScenarioCluster, leader: NodeId, heir: NodeId): void {
  const replica = scenario.replica(leader);
  const to = activeConfiguration(replica.state).members.find(({ nodeId }) => nodeId === heir);
  replica.input({
    kind: 'transferLeadership',
    to: present(to, 'the heir is a member'),
    reason: 'a test',
  });
}

describe('a write that arrives during a transfer', () => {
  test('waits, and goes on at the same leader when the heir does not take over', async () => {
    const { scenario, leader, heir } = await cluster(91);
    const { term } = scenario.replica(leader).state;
    scenario.isolate(heir);
    // The heir lacks this entry, so it is not asked to campaign.
    await scenario.settle(scenario.write(leader, 'key', 'between'));

    handOver(scenario, leader, heir);
    const writing = scenario.write(leader, 'key', 'after');
    await scenario.advance(100);
    expect(scenario.value(leader, 'key')).toBe('between');
    await scenario.settle(writing);

    expect(scenario.value(leader, 'key')).toBe('after');
    expect(scenario.leader()).toBe(leader);
    expect(scenario.replica(leader).state.term).toBe(term);
  });

  test('is sent to the heir when it takes over', async () => {
    const { scenario, leader, heir } = await cluster(92);

    handOver(scenario, leader, heir);
    await scenario.settle(scenario.write(leader, 'key', 'after'));

    expect(scenario.leader()).toBe(heir);
    expect(await scenario.settle(scenario.read(heir, 'key'))).toBe('after');
  });
});

describe('an operator who asks for a transfer', () => {
  /** A desk at the leader whose timers are counted. */
  function deskOf(
    scenario: ScenarioCluster,
    leader: NodeId,
  ): { desk: MembershipDesk; timers: Set<() => void> } {
    const timers = new Set<() => void>();
    const clock: Clock = {
      monotonicMs: () => scenario.world.nowMs,
      wallMs: () => 0,
      setTimer: (_delayMs, callback) => {
        timers.add(callback);
        return () => {
          timers.delete(callback);
        };
      },
      endOfTurn: (callback) => {
        callback();
      },
    };
    const desk = new MembershipDesk({
      replica: scenario.replica(leader),
      clock,
      // A transfer needs neither.
      links: undefined as unknown as PeerLinks,
      entropy: undefined as unknown as Entropy,
    });
    return { desk, timers };
  }

  test('leaves no timer behind when the heir leads', async () => {
    const { scenario, leader, heir } = await cluster(93);
    const { desk, timers } = deskOf(scenario, leader);
    await scenario.advance(1_000);

    const transfer = desk.transferLeadership(heir, 150_000);
    expect(timers.size).toBe(1);
    await scenario.until('the heir leads', () => scenario.replica(leader).leaderNodeId === heir);
    desk.review();

    expect(await transfer).toBe(heir);
    expect(timers.size).toBe(0);
  });

  test('leaves no timer behind when the desk closes or refuses', async () => {
    const { scenario, leader, heir } = await cluster(94);
    const { desk, timers } = deskOf(scenario, leader);
    await scenario.advance(1_000);
    scenario.isolate(heir);
    await scenario.settle(scenario.write(leader, 'key', 'between'));

    const aborted = desk.transferLeadership(heir, 150_000);
    await scenario.advance(1_000);
    desk.review();
    await expect(aborted).rejects.toMatchObject({ code: 'CLUSTOR_TRANSFER_ABORTED' });
    expect(timers.size).toBe(0);

    const closed = desk.transferLeadership(heir, 150_000);
    desk.close();
    await expect(closed).rejects.toMatchObject({ code: 'CLUSTOR_LEADERSHIP_LOST' });
    expect(timers.size).toBe(0);
  });
});
