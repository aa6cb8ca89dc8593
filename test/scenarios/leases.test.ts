/** Accidents with leases: somebody answers alone who has no right to any more. */
import { describe, expect, test } from 'vitest';

import { assert, present } from '../../src/base/assert.ts';
import type { NodeId } from '../../src/base/ids.ts';
import type { ApplyContext, ApplyOutcome, EntryBatch } from '../../src/ports/state-machine.ts';
import { holdsLease, leaseStatus, tickMs, type Effect } from '../../src/raft/index.ts';
import { RegisterMachine } from '../../src/testing/sim-machine.ts';
import { appendOf, CoreDriver, effectsOf, member, sentOf } from '../raft/core-driver.ts';
import { leaderOf } from './scenario-words.ts';
import { ScenarioCluster } from './scenario-cluster.ts';

const leaseMs = 180;

/** A machine that takes nothing while it is held. */
class HeldMachine extends RegisterMachine {
  isHeld = false;

  override apply(batch: EntryBatch, context: ApplyContext): ApplyOutcome {
    if (this.isHeld) return { kind: 'retryable', reason: 'TransientIo', appliedCount: 0 };
    return super.apply(batch, context);
  }
}

/** A leader with a lease. */
async function leased(seed: number): Promise<{ scenario: ScenarioCluster; leader: NodeId }> {
  const scenario = await ScenarioCluster.start(seed, 3, {
    raft: { leaseMs },
    createStateMachine: ({ onApplied }) => new HeldMachine(onApplied),
  });
  const leader = await scenario.untilLeader();
  await scenario.settle(scenario.write(leader, 'key', 'before'));
  await scenario.until('it holds a lease', () => scenario.replica(leader).holdsLease());
  return { scenario, leader };
}

function machineOf(scenario: ScenarioCluster, id: NodeId): HeldMachine {
  const { machine } = scenario.partition(id);
  assert(machine instanceof HeldMachine, 'scenarios of leases host machines that can be held');
  return machine;
}

/** A follower of leader 1 that has seen its first entry. */
function followerOf(self: number): CoreDriver {
  const follower = new CoreDriver({ self, log: [1], term: 1 });
  follower.receive(appendOf(1, { term: 1, prevIndex: 0, prevTerm: 0, terms: [1], commit: 0 }));
  follower.sync();
  return follower;
}

/** Heartbeats among the effects reach the follower, and its echoes the leader; time passes for both. */
function exchange(leader: CoreDriver, follower: CoreDriver, effects: readonly Effect[]): void {
  follower.tick(leader.now - follower.now);
  const self = Number(follower.state.selfReplica);
  for (const effect of effectsOf(effects, 'sendMessage')) {
    if (effect.message.kind !== 'heartbeat' || Number(effect.to.replicaId) !== self) continue;
    for (const echo of sentOf(follower.receive(effect.message), 'heartbeatEcho'))
      leader.receive(echo);
  }
}

function valueOf(machine: unknown): string | null {
  return machine instanceof RegisterMachine ? machine.read('key') : null;
}

/** The leader is cut off, and another acknowledges a newer value. */
async function replaced(scenario: ScenarioCluster, leader: NodeId): Promise<NodeId> {
  scenario.isolate(leader);
  const next = await scenario.untilLeader(scenario.others(leader));
  await scenario.settle(scenario.write(next, 'key', 'after'));
  return next;
}

describe('regression 28: a pause longer than the lease between check and answer does not serve a stale read', () => {
  test('a read whose entry is applied too late takes a round, without a word', async () => {
    const { scenario, leader } = await leased(28);
    const machine = machineOf(scenario, leader);
    machine.isHeld = true;
    const written = scenario.ending(scenario.write(leader, 'key', 'held'));
    await scenario.until(
      'it is committed',
      () => scenario.replica(leader).state.commitIndex > scenario.partition(leader).appliedIndex,
    );
    let isAnswered = false;
    const read = scenario.read(leader, 'key', 30_000).finally(() => {
      isAnswered = true;
    });
    await scenario.advance(1);
    expect(scenario.replica(leader).reads.unconfirmedCount).toBe(0);

    await replaced(scenario, leader);
    machine.isHeld = false;
    await scenario.until('it is applied', () => machine.read('key') === 'held');
    await scenario.advance(200);
    expect(isAnswered).toBe(false);
    scenario.world.heal();

    expect(await scenario.settle(read)).toBe('after');
    await written;
  });

  test('nor one of a remote client: it is sent to the leader of that time', async () => {
    const { scenario, leader } = await leased(31);
    const client = await scenario.connect();
    const machine = machineOf(scenario, leader);
    expect(await scenario.settle(client.read('key'))).toBe('before');
    await scenario.until('it holds a lease', () => scenario.replica(leader).holdsLease());
    machine.isHeld = true;
    const written = scenario.ending(scenario.write(leader, 'key', 'held'));
    await scenario.until(
      'it is committed',
      () => scenario.replica(leader).state.commitIndex > scenario.partition(leader).appliedIndex,
    );
    let isAnswered = false;
    const read = client.read('key').finally(() => {
      isAnswered = true;
    });
    await scenario.advance(10);

    await replaced(scenario, leader);
    expect(isAnswered).toBe(false);
    machine.isHeld = false;

    expect(await scenario.settle(read)).toBe('after');
    expect(machine.read('key')).toBe('held');
    scenario.world.heal();
    await written;
  });

  test('a process that stood still asks the clock and not its ticks', async () => {
    const { scenario, leader } = await leased(29);
    scenario.world.pause(leader, 5_000);
    await replaced(scenario, leader);
    let answer: string | null | undefined;

    // The request is there before the timer of the process is: its ticks are those of before the pause.
    const read = scenario.read(leader, 'key', 30_000).then((value) => {
      answer = value;
    });
    await scenario.advance(6_000);
    expect(answer).toBeUndefined();
    scenario.world.heal();
    await scenario.settle(read);

    expect(answer).toBe('after');
  });

  test('a read that waits for nothing is served by the lease, at once and without a round', async () => {
    const { scenario, leader } = await leased(30);
    const { round } = present(scenario.replica(leader).state.leader, 'it leads');

    expect(await scenario.settle(scenario.partition(leader).read(valueOf))).toBe('before');

    expect(scenario.replica(leader).state.leader?.round).toBe(round);
  });
});

describe('regression 64: a transfer that was aborted leaves a TimeoutNow behind, and no lease beside it', () => {
  test('who gets it late is elected by those who echo the leader, and the leader answers nothing alone', () => {
    const leader = leaderOf({ settings: { leaseMs } });
    const target = followerOf(2);
    const voter = followerOf(3);
    const rounds = (count: number): void => {
      for (let round = 0; round < count; round++) {
        const effects = leader.tick(5);
        for (const follower of [target, voter]) exchange(leader, follower, effects);
      }
    };
    for (const number of [2, 3]) leader.acknowledge(number, 1);
    rounds(4);
    expect(holdsLease(leader.state, leader.clockMs)).toBe(true);

    const [late] = sentOf(
      leader.input({ kind: 'transferLeadership', to: member(2), reason: 'a test' }),
      'timeoutNow',
    );
    rounds(20);
    expect(leader.state.leader?.transfer).toBeUndefined();
    target.receive(present(late, 'it was sent'));
    const asked = sentOf(target.sync(), 'voteRequest');
    const votes = [...voter.receive(present(asked[0], 'it campaigns')), ...voter.sync()];

    expect(sentOf(votes, 'voteResponse')).toMatchObject([{ voteGranted: true }]);
    expect(leaseStatus(leader.state, leader.clockMs).reason).toBe('TimeoutNowSent');
    const read = leader.input({ kind: 'leaseRead', readId: 7 });
    expect(effectsOf(read, 'leaseReadReady')).toEqual([]);
  });
});

describe('a lease', () => {
  test.each([1, 2, 3, 4])(
    'of a leader that was cut off is over before another leads, seed %i',
    async (seed) => {
      const { scenario, leader } = await leased(seed);

      await replaced(scenario, leader);

      expect(scenario.replica(leader).holdsLease()).toBe(false);
    },
  );

  test.each([11, 12, 13])(
    'is not broken by a voter that forgot its echo in a restart while another campaigns, seed %i',
    async (seed) => {
      const { scenario, leader } = await leased(seed);
      const [voter, rival] = scenario.others(leader);
      scenario.link(leader, rival!, false);
      scenario.link(rival!, leader, false);
      const { state } = scenario.replica(rival!);
      await scenario.until('it campaigns', () => state.role === 'preCandidate');
      const deadlineTick = state.electionDeadlineTick;
      await scenario.until('it asks again', () => state.electionDeadlineTick !== deadlineTick);

      await scenario.advance((state.electionDeadlineTick - state.now) * tickMs - 80);
      expect(scenario.replica(leader).holdsLease()).toBe(true);
      scenario.crash(voter!, 'processKill');
      scenario.link(leader, voter!, false);
      scenario.link(voter!, leader, false);
      scenario.start(voter!);

      // The cluster itself looks whether a lease is held beside whoever is elected.
      const next = await scenario.untilLeader(scenario.others(leader));
      expect(scenario.others(leader)).toContain(next);
    },
  );

  test('does not keep an idle partition awake', async () => {
    const { scenario } = await leased(5);

    await scenario.until(
      'all sleep',
      () => scenario.nodeIds.every((id) => scenario.replica(id).isHibernating),
      10_000,
    );
  });

  test('is given up while the clocks of all nodes disagree, and comes back', async () => {
    const { scenario, leader } = await leased(6);
    const keepBusy = async (forMs: number): Promise<void> => {
      for (let passed = 0; passed < forMs; passed += 500) {
        await scenario.settle(scenario.write(leader, 'key', `at ${passed}`));
        await scenario.advance(500);
      }
    };
    for (let jumps = 0; jumps < 3; jumps++) {
      for (const id of scenario.nodeIds) scenario.world.hardwareClock(id).jumpWall(60_000);
      await keepBusy(1_000);
    }

    // The first one in alarm may have handed over to one whose alarm came a moment later.
    const alarmed = await scenario.untilLeader();
    expect(scenario.replica(alarmed).lease).toMatchObject({
      state: 'Revoked',
      reason: 'ClockAlarm',
    });
    await keepBusy(8_000);
    const well = await scenario.untilLeader();
    expect(scenario.replica(well).lease.state).toBe('Enabled');
  });
});

describe('a cold start', () => {
  test.each([0, 50, 140])(
    'elects within an election timeout or two when the voters start %i ms apart',
    async (startApartMs) => {
      const took: number[] = [];
      for (let seed = 1; seed <= 12; seed++) {
        const scenario = await ScenarioCluster.start(seed, 3, { startApartMs });
        took.push(scenario.world.nowMs);
      }
      const median = took.toSorted((left, right) => left - right)[took.length >> 1];

      expect(median).toBeLessThan(600);
    },
  );
});
