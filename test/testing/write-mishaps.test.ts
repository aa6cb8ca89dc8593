/** Writes that a disk reports done and synced, and that are not there. */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { partitionId, type NodeId } from '../../src/base/ids.ts';
import { rangesAt } from '../../src/testing/damage-map.ts';
import { wholeLog } from '../../src/testing/fault-atlas.ts';
import { armMishap, isHurtLedger, type MishapAction } from '../../src/testing/write-mishaps.ts';
import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

const partition = partitionId('018c0d6c-9c11-7e9d-8000-000000000001');
const ledgerPath = '/data/wal/durability.log';

/** A cluster with a few entries, and a follower of it. */
async function settled(seed: number): Promise<{
  readonly scenario: ScenarioCluster;
  readonly leader: NodeId;
  readonly follower: NodeId;
}> {
  const scenario = await ScenarioCluster.start(seed);
  const leader = await scenario.untilLeader();
  for (let at = 0; at < 6; at++) await scenario.settle(scenario.write(leader, 'key', `${at}`));
  await scenario.advance(200);
  return { scenario, leader, follower: present(scenario.others(leader)[0], 'a follower') };
}

async function restart(scenario: ScenarioCluster, id: NodeId): Promise<void> {
  scenario.crash(id);
  await scenario.advance(50);
  scenario.start(id);
  await scenario.until('it is up', () => scenario.areAllUp());
}

const lost = (nodeId: NodeId): MishapAction => ({
  kind: 'lostWrite',
  nodeId,
  isOfJournal: true,
  pageFraction: 0,
});

const misdirected = (nodeId: NodeId): MishapAction => ({
  kind: 'misdirectedWrite',
  nodeId,
  isOfJournal: true,
  pageFraction: 0,
  toFraction: 0,
});

describe.each([
  { what: 'a lost write', actionOf: lost },
  { what: 'a misdirected write', actionOf: misdirected },
])('$what of the journal', ({ actionOf }) => {
  test('is noticed at the next start, and repaired from the others (SCR-2)', async () => {
    const { scenario, leader, follower } = await settled(1);
    const { durableIndex } = scenario.replica(follower).state;

    const hit = scenario.spoilWrite(follower, actionOf(follower));
    await scenario.settle(scenario.write(leader, 'key', 'spoiled'));
    await scenario.advance(200);
    expect(scenario.replica(follower).state.durableIndex).toBe(durableIndex + 1);
    expect(hit).toHaveLength(actionOf === lost ? 1 : 2);
    expect(scenario.eventsOf(follower, 'quarantined')).toEqual([]);
    await restart(scenario, follower);
    await scenario.until(
      'it is repaired',
      () => scenario.eventsOf(follower, 'quarantineCleared').length > 0,
    );

    expect(scenario.eventsOf(follower, 'quarantined')).toHaveLength(1);
    await scenario.until('it has it', () => scenario.value(follower, 'key') === 'spoiled');
  });

  test('does not happen where the books forbid it; they are asked for the entry itself', async () => {
    const { scenario, leader, follower } = await settled(2);
    const disk = scenario.world.disk(follower);
    const asked: number[] = [];
    let happened = 0;
    armMishap(disk, actionOf(follower), {
      mayDamage: (places) => {
        for (const place of places)
          asked.push(...rangesAt(disk, place, [partition]).map((range) => range.lastIndex));
        return false;
      },
      happened: () => happened++,
    });

    await scenario.settle(scenario.write(leader, 'key', 'kept'));
    await scenario.advance(200);
    const { durableIndex } = scenario.replica(follower).state;
    await restart(scenario, follower);

    expect(asked).toContain(durableIndex);
    expect(happened).toBe(0);
    expect(scenario.eventsOf(follower, 'quarantined')).toEqual([]);
  });
});

test('a misdirected write destroys another block as well', async () => {
  const { scenario, leader, follower } = await settled(3);
  const hit = scenario.spoilWrite(follower, misdirected(follower));
  const disk = scenario.world.disk(follower);
  await scenario.settle(scenario.write(leader, 'key', 'elsewhere'));
  await scenario.advance(200);

  const [own, other] = hit;
  expect(own?.path).toBe(other?.path);
  expect(own?.position).not.toBe(other?.position);
  // What stands there was sealed for another block: it cannot be read.
  expect(rangesAt(disk, present(other, 'a second place'), [partition])).toEqual([
    wholeLog(partition),
  ]);
});

describe('the ledger', () => {
  test('loses one copy of a flush without any claim, and nothing is missed after a start', async () => {
    const { scenario, leader, follower } = await settled(4);
    const hit = scenario.spoilWrite(follower, { ...lost(follower), isOfJournal: false });
    await scenario.settle(scenario.write(leader, 'key', 'one copy'));
    await scenario.advance(200);
    expect(isHurtLedger(scenario.world.disk(follower).find(ledgerPath))).toBe(true);
    await restart(scenario, follower);
    await scenario.advance(500);

    expect(hit).toEqual([]);
    expect(scenario.replica(follower).state.inDoubt).toBe(false);
    expect(scenario.value(follower, 'key')).toBe('one copy');
  });

  test('loses a second one only with a claim', async () => {
    const { scenario, leader, follower } = await settled(5);
    const spoil = { ...lost(follower), isOfJournal: false };
    scenario.spoilWrite(follower, spoil);
    await scenario.settle(scenario.write(leader, 'key', 'first'));
    await scenario.advance(200);

    const hit = scenario.spoilWrite(follower, spoil);
    await scenario.settle(scenario.write(leader, 'key', 'second'));
    await scenario.advance(200);

    expect(hit.map(({ path }) => path)).toEqual([ledgerPath]);
  });
});
