import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { PartitionId } from '../../src/base/ids.ts';
import type { ClustorClient } from '../../src/client/client-core.ts';
import { appendAll, bytes, indexes, openClient } from './opened-client.ts';
import { ScriptedCluster } from './scripted-cluster.ts';

let cluster: ScriptedCluster;
let client: ClustorClient;

beforeEach(async () => {
  cluster = new ScriptedCluster();
  cluster.elect(1, 1);
  client = await openClient(cluster);
});

afterEach(async () => {
  await client.close();
});

describe('finding the leader', () => {
  test('a name in a refusal is followed at once, under the same key and in order', () => {
    cluster.node(1).onAppend = (request, end) => {
      cluster.node(1).refuse(request, end, 'CLUSTOR_NOT_LEADER', 2);
    };
    const settled = appendAll(client, [1, 2]);
    cluster.clock.settle();

    expect(cluster.node(2).payloads).toEqual([1, 2]);
    expect(cluster.node(2).appendRequests[0]?.entries).toEqual(
      cluster.node(1).appendRequests[0]?.entries,
    );
    expect(indexes(settled)).toEqual([1, 2]);
  });

  test('refusals of single entries are followed alike', () => {
    cluster.node(1).onAppend = (request, end) => {
      cluster.node(1).refuseEach(request, end, 'CLUSTOR_NOT_LEADER', 3);
    };
    appendAll(client, [1, 2]);
    cluster.clock.settle();

    expect(cluster.node(3).payloads).toEqual([1, 2]);
  });

  test('nodes that name each other are not asked in circles', () => {
    for (const [from, to] of [
      [1, 2],
      [2, 1],
    ] as const) {
      cluster.node(from).onAppend = (request, end) => {
        cluster.node(from).refuse(request, end, 'CLUSTOR_NOT_LEADER', to);
      };
    }
    appendAll(client, [1], 200);
    cluster.clock.advance(150);

    expect(
      cluster.node(1).appendRequests.length + cluster.node(2).appendRequests.length,
    ).toBeLessThan(30);
  });

  test('after a lost connection the others are asked until one leads, and the key stays', () => {
    cluster.node(1).isSilent = true;
    const settled = appendAll(client, [1, 2]);
    cluster.clock.settle();
    for (const node of cluster.nodes) node.leaderNodeId = 0;
    cluster.node(1).isReachable = false;
    cluster.node(1).disconnect();
    cluster.clock.advance(60);
    expect(settled).toEqual([]);

    cluster.elect(3, 2);
    cluster.clock.advance(30);

    expect(cluster.node(3).payloads).toEqual([1, 2]);
    expect(cluster.node(3).keys).toEqual(cluster.node(1).keys);
    expect(indexes(settled)).toEqual([1, 2]);
  });

  test('hearsay about a leader that turned requests away is not believed in that term', () => {
    cluster.node(1).onAppend = (request, end) => {
      cluster.node(1).leaderNodeId = 0;
      cluster.node(1).refuse(request, end, 'CLUSTOR_NO_LEADER');
    };
    appendAll(client, [1], 300);
    cluster.clock.advance(200);
    expect(cluster.node(1).appendRequests).toHaveLength(1);

    cluster.elect(2, 2);
    cluster.clock.advance(30);

    expect(cluster.node(2).payloads).toEqual([1]);
  });

  test('a term in which a node only campaigned, and went with it, hides no leader of an older one', () => {
    cluster.node(1).isSilent = true;
    const settled = appendAll(client, [1, 2]);
    cluster.clock.settle();
    for (const node of cluster.nodes) node.leaderNodeId = 0;
    cluster.node(3).term = 9;
    cluster.node(1).isReachable = false;
    cluster.node(1).disconnect();
    cluster.clock.advance(60);
    cluster.node(3).isReachable = false;
    cluster.node(3).disconnect();

    cluster.node(2).leaderNodeId = 2;
    cluster.node(2).term = 3;
    cluster.clock.advance(60);

    expect(cluster.node(2).payloads).toEqual([1, 2]);
    expect(indexes(settled)).toEqual([1, 2]);
  });

  test('a leader that fell silent without closing is left for one of a higher term', () => {
    cluster.node(1).isSilent = true;
    const settled = appendAll(client, [1, 2]);
    cluster.clock.settle();
    cluster.node(2).leaderNodeId = 2;
    cluster.node(2).term = 2;
    cluster.clock.advance(600);

    expect(cluster.node(2).payloads).toEqual([1, 2]);
    expect(cluster.node(2).keys).toEqual(cluster.node(1).keys);
    expect(indexes(settled)).toEqual([1, 2]);
  });

  test('a connection behind which nobody answers is closed and dialed anew', () => {
    cluster.node(1).isSilent = true;
    appendAll(client, [1]);
    cluster.clock.advance(3000);

    expect(cluster.node(1).dialCount).toBeGreaterThan(1);
  });

  test('a node that is down is dialed at growing intervals', () => {
    cluster.node(3).isReachable = false;
    cluster.node(3).disconnect();
    const before = cluster.node(3).dialCount;
    cluster.clock.advance(10_000);

    const attempts = cluster.node(3).dialCount - before;
    expect(attempts).toBeGreaterThan(10);
    expect(attempts).toBeLessThan(22);

    cluster.node(3).isReachable = true;
    cluster.clock.advance(1100);
    expect([...cluster.node(3).ends].filter((end) => end.isOpen)).toHaveLength(1);
  });

  test('the commit index that a node asks for is sent under the same key', () => {
    let isFirst = true;
    cluster.node(1).onAppend = (request, end) => {
      if (isFirst) cluster.node(1).refuseEach(request, end, 'CLUSTOR_IDEMPOTENCY_INDEX_NEEDED', 77);
      else cluster.node(1).commitAll(request, end);
      isFirst = false;
    };
    const settled = appendAll(client, [1]);
    cluster.clock.settle();

    const [first, second] = cluster.node(1).keys;
    expect(second).toMatchObject({
      clientKey: first?.clientKey,
      sequence: first?.sequence,
      firstSeenCommit: 77,
    });
    expect(indexes(settled)).toEqual([1]);
  });

  test('a first attempt behind the horizon is made anew with a fresh key and index', () => {
    let isFirst = true;
    cluster.node(1).onAppend = (request, end) => {
      if (isFirst) cluster.node(1).refuseEach(request, end, 'CLUSTOR_IDEMPOTENCY_HORIZON_PASSED');
      else cluster.node(1).commitAll(request, end);
      isFirst = false;
    };
    cluster.node(1).commit = 5000;
    const settled = appendAll(client, [1]);
    cluster.clock.advance(60);

    expect(cluster.node(1).keys.map((key) => [key.sequence, key.firstSeenCommit])).toEqual([
      [1, 0],
      [2, 5000],
    ]);
    expect(indexes(settled)).toEqual([5001]);
  });

  test('an append that was only ever refused is made anew behind the horizon', () => {
    let isFirst = true;
    cluster.node(1).onAppend = (request, end) => {
      cluster.node(1).refuse(request, end, 'CLUSTOR_NOT_LEADER', 2);
    };
    cluster.node(2).onAppend = (request, end) => {
      if (isFirst) cluster.node(2).refuseEach(request, end, 'CLUSTOR_IDEMPOTENCY_HORIZON_PASSED');
      else cluster.node(2).commitAll(request, end);
      isFirst = false;
    };
    const settled = appendAll(client, [1]);
    cluster.clock.advance(2_000);

    expect(cluster.node(2).keys.map((key) => key.sequence)).toEqual([1, 2]);
    expect(indexes(settled)).toEqual([1]);
  });

  test('an append that may have left a trace is not made anew behind the horizon', () => {
    cluster.node(1).isSilent = true;
    const settled = appendAll(client, [1]);
    cluster.clock.settle();
    cluster.elect(2, 2);
    cluster.node(2).onAppend = (request, end) => {
      cluster.node(2).refuseEach(request, end, 'CLUSTOR_IDEMPOTENCY_HORIZON_PASSED');
    };
    cluster.node(1).disconnect();
    cluster.clock.advance(60);

    expect(cluster.node(2).appendRequests).toHaveLength(1);
    expect(settled).toMatchObject([
      { code: 'CLUSTOR_IDEMPOTENCY_HORIZON_PASSED', outcome: 'unknown' },
    ]);
  });

  test('a partition that every node denies is named as unknown', async () => {
    const appending = client.append(
      '018c0d6c-9c11-7e9d-8000-000000000002' as PartitionId,
      bytes(1),
    );
    appending.catch(() => undefined);
    cluster.clock.advance(60);

    await expect(appending).rejects.toMatchObject({
      code: 'CLUSTOR_UNKNOWN_PARTITION',
      outcome: 'surelyNot',
    });
  });
});
