import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { isClustorError } from '../../src/base/errors.ts';
import type { ClustorClient } from '../../src/client/client-core.ts';
import { bytes, openClient } from './opened-client.ts';
import { partitionId, ScriptedCluster } from './scripted-cluster.ts';

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

describe('reads', () => {
  test('a linearizable read is answered by the leader', async () => {
    cluster.node(1).commit = 4;
    const reading = client.read(partitionId, bytes(5));
    cluster.clock.settle();

    expect(await reading).toEqual({ appliedIndex: 4, result: bytes(5) });
    expect(cluster.node(1).readRequests[0]?.consistency).toBe('linearizable');
  });

  test('a read follows the leader', async () => {
    cluster.node(1).onRead = (request, end) => {
      cluster.node(1).refuse(request, end, 'CLUSTOR_NOT_LEADER', 2);
    };
    const reading = client.read(partitionId, bytes(5));
    cluster.clock.settle();

    expect(await reading).toMatchObject({ result: bytes(5) });
    expect(cluster.node(2).readRequests).toHaveLength(1);
  });

  test('a read whose connection is lost is asked again', async () => {
    cluster.node(1).isSilent = true;
    const reading = client.read(partitionId, bytes(5));
    cluster.clock.settle();
    cluster.elect(3, 2);
    cluster.node(1).disconnect();
    cluster.clock.advance(60);

    expect(await reading).toMatchObject({ result: bytes(5) });
    expect(cluster.node(3).readRequests).toHaveLength(1);
  });

  test('a snapshot-only read needs no leader', async () => {
    cluster.elect(0, 2);
    cluster.node(1).disconnect();
    cluster.node(1).isReachable = false;
    cluster.clock.advance(10);
    const reading = client.read(partitionId, bytes(6), { consistency: 'snapshotOnly' });
    cluster.clock.advance(100);

    expect(await reading).toMatchObject({ result: bytes(6) });
  });

  test('a read that is not answered in time says so', async () => {
    cluster.node(1).isSilent = true;
    const reading = client.read(partitionId, bytes(5), { deadlineMs: 100 });
    reading.catch(() => undefined);
    cluster.clock.advance(130);

    await expect(reading).rejects.toSatisfy(
      (error) =>
        isClustorError(error, 'CLUSTOR_DEADLINE_EXCEEDED') && error.outcome === 'surelyNot',
    );
    expect(client.pendingCount).toBe(0);
  });
});
