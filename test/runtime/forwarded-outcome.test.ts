/** What is said of the effect of an append is true over the wire as well (specification ACK-8). */
import { describe, expect, test } from 'vitest';

import { utf8Decode } from '../../src/base/bytes.ts';
import type { ClustorError } from '../../src/base/errors.ts';
import type { NodeId } from '../../src/base/ids.ts';
import type { ApplyContext, ApplyOutcome, EntryBatch } from '../../src/ports/state-machine.ts';
import { RegisterMachine } from '../../src/testing/sim-machine.ts';
import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

class FatalOnPoison extends RegisterMachine {
  override apply(batch: EntryBatch, context: ApplyContext): ApplyOutcome {
    for (let at = 0; at < batch.length; at++)
      if (utf8Decode(batch.payload(at)).includes('poison'))
        return { kind: 'fatal', appliedCount: 0, message: 'this entry is poison' };
    return super.apply(batch, context);
  }
}

describe('an append of a follower that its leader refuses in quarantine', () => {
  test('is not called committed when it was never appended', async () => {
    const cluster = await ScenarioCluster.start(601, 3, {
      createStateMachine: () => new FatalOnPoison(),
    });
    const leader = await cluster.untilLeader();
    void cluster.ending(cluster.write(leader, 'key', 'poison'));
    await cluster.until('all are in ApplyFault', () =>
      cluster.nodeIds.every((id) => cluster.quarantines(id).length > 0),
    );
    await cluster.advance(2_000);
    const now = await cluster.untilLeader();
    const [follower] = cluster.others(now) as [NodeId];
    const { lastIndex } = cluster.replica(now).state.log;

    const atLeader = await cluster.ending(cluster.write(now, 'key', 'more'));
    const atFollower = await cluster.ending(cluster.write(follower, 'key', 'more'));

    expect(cluster.replica(now).state.log.lastIndex, 'nothing was appended').toBe(lastIndex);
    expect(atLeader).toMatchObject({
      error: { code: 'CLUSTOR_APPLY_FAULT', outcome: 'surelyNot' },
    });
    expect(atFollower).toMatchObject({
      error: { code: 'CLUSTOR_APPLY_FAULT', outcome: 'surelyNot' },
    });
  });

  test('is not called surely-not when it stands in the log and is committed', async () => {
    const cluster = await ScenarioCluster.start(602, 3);
    const leader = await cluster.untilLeader();
    const followers = cluster.others(leader) as [NodeId, NodeId];
    await cluster.settle(cluster.write(leader, 'key', 'before'));
    await cluster.advance(300);
    // Nobody takes over: all are held (the same ticket at all nodes), the leader last of all.
    for (const id of followers)
      await cluster.settle(cluster.partition(id).setQuarantine('OPS-1', 'x'));
    const now = await cluster.untilLeader();
    expect(now).toBe(leader);
    const before = cluster.replica(leader).state.log.lastIndex;

    // The disks of the followers are slow for a moment: the entry stands in the leader's log, not committed yet.
    for (const id of followers) cluster.world.disk(id).stall();
    const append = cluster.ending(cluster.write(followers[0], 'key', 'after', { deadlineMs: 400 }));
    await cluster.until(
      'it is in the log',
      () => cluster.replica(leader).proposalCounts.appended === 1,
    );
    const held = cluster.ending(cluster.partition(leader).setQuarantine('OPS-1', 'x'));
    await cluster.advance(100);
    for (const id of followers) cluster.world.disk(id).resume();
    const outcome = await append;
    await held;

    const { state } = cluster.replica(leader);
    expect(state.commitIndex).toBeGreaterThan(before);
    expect(outcome).toMatchObject({ kind: 'rejected' });
    expect((outcome as { error: ClustorError }).error.outcome).toBe('unknown');
  });
});
