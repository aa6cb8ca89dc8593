/** Accidents with reads that other systems had; none of them may happen here. */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { CoreDriver, effectsOf } from '../raft/core-driver.ts';
import { leaderOf } from './scenario-words.ts';
import { ScenarioCluster } from './scenario-cluster.ts';

const roundOf = (driver: CoreDriver): number => present(driver.state.leader, 'it leads').round;

describe('regression 26: a new leader serves no linearizable read before an entry of its own term is committed', () => {
  test('though its leadership is confirmed and everything older is applied', () => {
    const leader = new CoreDriver({ log: [1, 1], term: 1, recordedCommitIndex: 2 });
    leader.win();
    leader.sync();
    const asked = leader.input({ kind: 'readIndex', readId: 1 });

    const echoed = leader.echo(2, roundOf(leader));

    expect(effectsOf([...asked, ...echoed], 'readReady')).toEqual([]);
    expect(leader.state).toMatchObject({ commitIndex: 2, appliableIndex: 2 });
  });

  test('and serves it as soon as that entry is', () => {
    const leader = new CoreDriver({ log: [1, 1], term: 1, recordedCommitIndex: 2 });
    leader.win();
    leader.sync();
    leader.input({ kind: 'readIndex', readId: 1 });
    leader.echo(2, roundOf(leader));

    const acknowledged = leader.acknowledge(2, 3);

    expect(effectsOf(acknowledged, 'readReady')).toMatchObject([{ readId: 1 }]);
  });
});

describe('regression 27: a deposed leader behind a cut serves nothing, however well it feels', () => {
  test('a read at it fails without having happened, while the others go on', async () => {
    const scenario = await ScenarioCluster.start(27);
    const old = await scenario.untilLeader();
    await scenario.settle(scenario.write(old, 'key', 'before'));
    scenario.isolate(old);

    const read = scenario.read(old, 'key', 3_000);
    const others = scenario.others(old);
    const next = await scenario.untilLeader(others);
    await scenario.settle(scenario.write(next, 'key', 'after'));

    expect(scenario.value(old, 'key')).toBe('before');
    await expect(scenario.settle(read)).rejects.toMatchObject({ outcome: 'surelyNot' });
  });

  test('a read that waited there sees the newer value when the cut heals', async () => {
    const scenario = await ScenarioCluster.start(28);
    const old = await scenario.untilLeader();
    await scenario.settle(scenario.write(old, 'key', 'before'));
    scenario.isolate(old);
    const read = scenario.read(old, 'key', 30_000);
    const next = await scenario.untilLeader(scenario.others(old));
    await scenario.settle(scenario.write(next, 'key', 'after'));

    scenario.world.heal();

    expect(await scenario.settle(read)).toBe('after');
  });
});

describe('regression 29: late echoes of an earlier round do not confirm a later read', () => {
  test('neither of one follower nor of both', () => {
    const leader = leaderOf();
    leader.acknowledge(2, 1);
    leader.tick(5);
    const earlier = roundOf(leader);
    leader.input({ kind: 'readIndex', readId: 7 });

    const late = [2, 3].flatMap((number) => leader.echo(number, earlier));

    expect(effectsOf(late, 'readReady')).toEqual([]);
  });

  test('the round sent for the read does', () => {
    const leader = leaderOf();
    leader.acknowledge(2, 1);
    leader.tick(5);
    leader.input({ kind: 'readIndex', readId: 7 });

    const echoed = leader.echo(2, roundOf(leader));

    expect(effectsOf(echoed, 'readReady')).toMatchObject([{ readId: 7 }]);
  });
});

describe('regression 30: after a restart no read before the replay reached the known commit', () => {
  test('every node answers a read right after the restart of all with what was acknowledged', async () => {
    const scenario = await ScenarioCluster.start(30);
    const leader = await scenario.untilLeader();
    for (let at = 0; at < 40; at++) await scenario.settle(scenario.write(leader, 'key', `v${at}`));
    for (const id of scenario.nodeIds) scenario.crash(id);
    for (const id of scenario.nodeIds) scenario.start(id);
    await scenario.until('all have recovered', () => scenario.areAllUp());

    const reads = scenario.nodeIds.map((id) => scenario.read(id, 'key', 20_000));

    for (const read of reads) expect(await scenario.settle(read)).toBe('v39');
  });

  test('a single node answers only behind the replay of its log', async () => {
    const scenario = await ScenarioCluster.start(31, 1);
    const alone = await scenario.untilLeader();
    for (let at = 0; at < 40; at++) await scenario.settle(scenario.write(alone, 'key', `v${at}`));
    scenario.crash(alone);
    scenario.start(alone);
    await scenario.until('it has recovered', () => scenario.areAllUp());

    expect(await scenario.settle(scenario.read(alone, 'key', 20_000))).toBe('v39');
  });
});

describe("regression 63: a read that arrives before the new leader's first entry is committed has at least its index", () => {
  test('not the older commit index', () => {
    const leader = new CoreDriver({ log: [1, 1, 1], term: 1, recordedCommitIndex: 1 });
    leader.win();
    leader.input({ kind: 'readIndex', readId: 1 });
    leader.sync();
    leader.echo(2, roundOf(leader));

    const acknowledged = leader.acknowledge(2, 4);

    expect(effectsOf(acknowledged, 'readReady')).toMatchObject([{ index: 4 }]);
  });
});
