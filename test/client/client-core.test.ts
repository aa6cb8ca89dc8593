import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { ClustorClient } from '../../src/client/client-core.ts';
import { appendAll, bytes, errorOf, indexes, openClient, type Settled } from './opened-client.ts';
import { type clusterId, partitionId, ScriptedCluster } from './scripted-cluster.ts';

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

describe('opening', () => {
  test('a client knows the partitions once it is open', () => {
    expect(client.partitionIds).toEqual([partitionId]);
  });

  test('one address is enough to learn all nodes, each over one connection', async () => {
    await client.close();
    client = await openClient(cluster, {}, 1);
    cluster.clock.advance(50);
    const description = client.describe();
    cluster.clock.settle();

    expect((await description).nodes.map((node) => [node.nodeId, node.isAnswering])).toEqual([
      [1, true],
      [2, true],
      [3, true],
    ]);
    expect(cluster.nodes.map((node) => [...node.ends].filter((end) => end.isOpen).length)).toEqual([
      1, 1, 1,
    ]);
  });

  test('opening fails with a code when nobody answers in time', async () => {
    for (const node of cluster.nodes) node.isReachable = false;

    const opening = openClient(cluster, { openDeadlineMs: 40 });

    await expect(opening).rejects.toMatchObject({
      code: 'CLUSTOR_NO_LEADER',
      outcome: 'surelyNot',
    });
    expect(cluster.isClosed).toBe(true);
  });

  test('opening fails at once when every node belongs to another cluster', async () => {
    cluster.clusterIdOfNodes = '018c0d6c-9c11-7e9d-8000-86f5bb8c0002' as typeof clusterId;

    await expect(openClient(cluster)).rejects.toMatchObject({ code: 'CLUSTOR_WRONG_CLUSTER' });
  });

  test('a description names the leader of the highest term', async () => {
    cluster.node(2).leaderNodeId = 2;
    cluster.node(2).term = 5;

    const description = client.describe();
    cluster.clock.settle();

    expect((await description).partitions).toMatchObject([
      { partitionId, leaderNodeId: 2, term: 5 },
    ]);
  });
});

describe('the normal path', () => {
  test('appends of one turn share a frame and are answered in order', () => {
    const settled = appendAll(client, [1, 2, 3]);
    cluster.clock.settle();

    expect(cluster.node(1).appendRequests).toHaveLength(1);
    expect(cluster.node(1).payloads).toEqual([1, 2, 3]);
    expect(indexes(settled)).toEqual([1, 2, 3]);
    expect(client.pendingCount).toBe(0);
  });

  test('later turns do not wait for earlier answers', () => {
    cluster.node(1).isSilent = true;
    appendAll(client, [1]);
    cluster.clock.settle();
    appendAll(client, [2]);
    cluster.clock.settle();

    expect(cluster.node(1).payloads).toEqual([1, 2]);
    expect(client.pendingCount).toBe(2);
  });

  test('a frame keeps the bounds of entries and bytes', async () => {
    await client.close();
    client = await openClient(cluster, { batchEntriesMax: 2 });
    appendAll(client, [1, 2, 3, 4, 5]);
    cluster.clock.settle();

    expect(cluster.node(1).appendRequests.map(({ entries }) => entries.length)).toEqual([2, 2, 1]);

    await client.close();
    client = await openClient(cluster, { batchBytesMax: 3000 });
    const before = cluster.node(1).appendRequests.length;
    for (let count = 0; count < 4; count++)
      client.appendWith(partitionId, new Uint8Array(1400), () => undefined);
    cluster.clock.settle();

    expect(
      cluster
        .node(1)
        .appendRequests.slice(before)
        .map(({ entries }) => entries.length),
    ).toEqual([2, 2]);
  });

  test('what exceeds a turn leaves in later turns, all of it, in order', async () => {
    await client.close();
    client = await openClient(cluster, { batchEntriesMax: 1, turnBytesMax: 1 });

    const settled = appendAll(client, [1, 2, 3, 4]);
    cluster.clock.settle();

    expect(cluster.node(1).payloads).toEqual([1, 2, 3, 4]);
    expect(indexes(settled)).toEqual([1, 2, 3, 4]);
  });

  test('own keys rise by one, share a client id and confirm what is settled', () => {
    cluster.node(1).commit = 7;
    appendAll(client, [1, 2]);
    cluster.clock.settle();
    appendAll(client, [3]);
    cluster.clock.settle();

    const { keys } = cluster.node(1);
    expect(keys.map((key) => key.sequence)).toEqual([1, 2, 3]);
    expect(new Set(keys.map((key) => key.clientKey)).size).toBe(1);
    expect(keys[2]?.ackedThrough).toBe(2);
    expect(keys[2]?.firstSeenCommit).toBe(9);
  });

  test('a promise resolves with term, index and result', async () => {
    const appending = client.append(partitionId, bytes(42), {
      idempotencyKey: bytes(9, 9),
      firstSeenCommit: 3,
    });
    cluster.clock.settle();

    expect(await appending).toEqual({ term: 1, index: 1, result: bytes(42) });
    expect(cluster.node(1).keys[0]).toMatchObject({
      opaqueKey: '\t\t',
      clientKey: undefined,
      firstSeenCommit: 3,
    });
  });

  test('a callback that throws does no harm to the others', () => {
    const settled: Settled[] = [];
    client.appendWith(partitionId, bytes(1), () => {
      throw new Error('of the caller');
    });
    client.appendWith(partitionId, bytes(2), (outcome) => settled.push(outcome));
    cluster.clock.settle();

    expect(indexes(settled)).toEqual([2]);
  });
});

describe('giving up', () => {
  test('a deadline that passes without an attempt leaves surely no effect', () => {
    cluster.elect(0, 2);
    cluster.node(1).onAppend = (request, end) => {
      cluster.node(1).refuse(request, end, 'CLUSTOR_NO_LEADER');
    };
    const settled = appendAll(client, [1], 300);
    cluster.clock.advance(400);

    expect(errorOf(settled[0])).toMatchObject({
      code: 'CLUSTOR_DEADLINE_EXCEEDED',
      outcome: 'surelyNot',
    });
    expect(client.pendingCount).toBe(0);
  });

  test('a deadline that passes while an answer is awaited leaves the outcome unknown', () => {
    cluster.node(1).isSilent = true;
    const settled = appendAll(client, [1], 300);
    cluster.clock.advance(290);
    expect(settled).toEqual([]);
    cluster.clock.advance(40);

    expect(errorOf(settled[0])).toMatchObject({
      code: 'CLUSTOR_DEADLINE_EXCEEDED',
      outcome: 'unknown',
    });
  });

  test('an attempt lost on the way keeps the outcome unknown although a later one was refused', () => {
    cluster.node(1).isSilent = true;
    const settled = appendAll(client, [1]);
    cluster.clock.settle();
    cluster.elect(2, 2);
    cluster.node(2).onAppend = (request, end) => {
      cluster.node(2).refuseEach(request, end, 'CLUSTOR_OVERLOADED');
    };
    cluster.node(1).disconnect();
    cluster.clock.advance(60);

    expect(errorOf(settled[0])).toMatchObject({ code: 'CLUSTOR_OVERLOADED', outcome: 'unknown' });
  });

  test('an error that trying again cannot mend is handed on', () => {
    cluster.node(1).onAppend = (request, end) => {
      cluster.node(1).refuse(request, end, 'CLUSTOR_PERMISSION_DENIED');
    };
    const settled = appendAll(client, [1]);
    cluster.clock.settle();

    expect(indexes(settled)).toEqual(['CLUSTOR_PERMISSION_DENIED']);
    expect(cluster.node(1).appendRequests).toHaveLength(1);
  });

  test('an abort settles with what is known, before and after sending', async () => {
    cluster.node(1).isSilent = true;
    const early = new AbortController();
    const late = new AbortController();
    const neverSent = client.append(partitionId, bytes(1), { signal: early.signal });
    early.abort();
    const sent = client.append(partitionId, bytes(2), { signal: late.signal });
    cluster.clock.settle();
    late.abort();
    const aborted = client.append(partitionId, bytes(3), { signal: late.signal });
    cluster.clock.settle();

    await expect(neverSent).rejects.toMatchObject({
      code: 'CLUSTOR_ABORTED',
      outcome: 'surelyNot',
    });
    await expect(sent).rejects.toMatchObject({ code: 'CLUSTOR_ABORTED', outcome: 'unknown' });
    await expect(aborted).rejects.toMatchObject({ code: 'CLUSTOR_ABORTED', outcome: 'surelyNot' });
    expect(cluster.node(1).payloads).toEqual([2]);
    expect(client.pendingCount).toBe(0);
  });

  test('more requests or bytes than allowed are refused at once', async () => {
    await client.close();
    cluster.node(1).isSilent = true;
    client = await openClient(cluster, { requestsMax: 2, requestBytesMax: 5000 });
    const settled = appendAll(client, [1, 2, 3]);
    expect(indexes(settled)).toEqual(['CLUSTOR_OVERLOADED']);

    await client.close();
    client = await openClient(cluster, { requestBytesMax: 5000 });
    const large: Settled[] = [];
    client.appendWith(partitionId, new Uint8Array(4000), (outcome) => large.push(outcome));
    client.appendWith(partitionId, new Uint8Array(2000), (outcome) => large.push(outcome));
    expect(indexes(large)).toEqual(['CLUSTOR_OVERLOADED']);
  });

  test('arguments that cannot be meant are refused', async () => {
    const keyTooLong = client.append(partitionId, bytes(1), { idempotencyKey: new Uint8Array(65) });
    const noDeadline = client.append(partitionId, bytes(1), { deadlineMs: Number.NaN });
    const tooLarge = client.append(partitionId, new Uint8Array(1024 * 1024 + 1));

    await expect(keyTooLong).rejects.toMatchObject({ code: 'CLUSTOR_INVALID_ARGUMENT' });
    await expect(noDeadline).rejects.toMatchObject({ code: 'CLUSTOR_INVALID_ARGUMENT' });
    await expect(tooLarge).rejects.toMatchObject({ code: 'CLUSTOR_ENTRY_TOO_LARGE' });
  });

  test.each<{ readonly what: string; readonly given: unknown }>([
    { what: 'a string', given: 'value' },
    { what: 'an array', given: [1, 2] },
    { what: 'an ArrayBuffer', given: new ArrayBuffer(2) },
    { what: 'nothing', given: undefined },
  ])('$what in place of bytes is refused before it is sent', async ({ given }) => {
    const refusal = { code: 'CLUSTOR_INVALID_ARGUMENT', outcome: 'surelyNot' };
    const value = given as Uint8Array;
    const key = (given ?? '') as Uint8Array;
    const asked = [
      client.append(partitionId, value),
      client.append(partitionId, bytes(1), { idempotencyKey: key }),
      client.read(partitionId, value),
    ];
    const settled: Settled[] = [];
    client.appendWith(partitionId, value, (outcome) => settled.push(outcome));
    cluster.clock.settle();

    for (const one of asked) await expect(one).rejects.toMatchObject(refusal);
    expect(settled).toMatchObject([refusal]);
    expect(cluster.node(1).appendRequests).toEqual([]);
    expect(client.pendingCount).toBe(0);
  });

  test.each<{ readonly what: string; readonly given: unknown }>([
    { what: 'a controller', given: new AbortController() },
    { what: 'an object', given: { aborted: false } },
    { what: 'null', given: null },
    { what: 'a number', given: 5 },
  ])('$what in place of a signal is refused and takes no room', async ({ given }) => {
    const options = { signal: given as AbortSignal };
    const refusal = { code: 'CLUSTOR_INVALID_ARGUMENT', outcome: 'surelyNot' };
    const asked = [
      client.append(partitionId, bytes(1), options),
      client.read(partitionId, bytes(1), options),
    ];
    const settled: Settled[] = [];
    client.appendWith(partitionId, bytes(1), (outcome) => settled.push(outcome), options);

    for (const one of asked) await expect(one).rejects.toMatchObject(refusal);
    expect(settled).toMatchObject([refusal]);
    expect(client.pendingCount).toBe(0);
  });

  test('a consistency that does not exist is refused, and the client goes on', async () => {
    const consistency = 'bogus' as 'snapshotOnly';
    const reading = client.read(partitionId, bytes(1), { consistency });
    reading.catch(() => undefined);
    cluster.clock.settle();
    const settled = appendAll(client, [1]);
    cluster.clock.settle();

    await expect(reading).rejects.toMatchObject({ code: 'CLUSTOR_INVALID_ARGUMENT' });
    expect(indexes(settled)).toEqual([1]);
  });

  test('closing settles what is under way and refuses what comes after', async () => {
    cluster.node(1).isSilent = true;
    const settled = appendAll(client, [1]);
    cluster.clock.settle();
    settled.push(...appendAll(client, [2]));
    await client.close();

    expect(errorOf(settled[0])).toMatchObject({ code: 'CLUSTOR_CLOSED', outcome: 'unknown' });
    const after = appendAll(client, [3]);
    expect(errorOf(after[0])).toMatchObject({ code: 'CLUSTOR_CLOSED', outcome: 'surelyNot' });
    expect(cluster.isClosed).toBe(true);
  });
});
