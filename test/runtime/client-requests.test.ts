/** Answers that cannot be given harm nobody but who asked for them. */
import { describe, expect, test } from 'vitest';

import type { ClustorError } from '../../src/base/errors.ts';
import { clusterId, incarnation, nodeId, partitionId } from '../../src/base/ids.ts';
import { openClientCore, type ClustorClient } from '../../src/client/client-core.ts';
import { silentObserver } from '../../src/ports/observer.ts';
import { ClientRequests } from '../../src/runtime/client-requests.ts';
import type { Proposal } from '../../src/runtime/proposals.ts';
import type { Replica } from '../../src/runtime/replica.ts';
import type { Message, WireSession } from '../../src/runtime/wire-session.ts';
import { TurnScheduler } from '../../src/runtime/turn.ts';
import { encodeCommand, RegisterMachine } from '../../src/testing/sim-machine.ts';
import { realClock } from '../platform/tls-fixture.ts';
import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

const partition = partitionId('018c0d6c-9c11-7e9d-8000-000000000001');
const someBytes = new Uint8Array(1);
const command = encodeCommand({ op: 'write', key: 'key', value: 'x' });

class Odd extends RegisterMachine {
  /** What the next queries return in place of bytes. */
  static returned: () => unknown = () => someBytes;

  override query(): Uint8Array {
    return Odd.returned() as Uint8Array;
  }
}

async function startOdd(): Promise<{ scenario: ScenarioCluster; client: ClustorClient }> {
  Odd.returned = () => someBytes;
  const createStateMachine = (): Odd => new Odd();
  const scenario = await ScenarioCluster.start(811, 3, { createStateMachine });
  const { transport, clock, entropy } = scenario.world.client('odd');
  const client = await scenario.settle(
    openClientCore({
      transport,
      clock,
      entropy,
      observer: silentObserver,
      clusterId: clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001'),
      addresses: scenario.nodeIds.map((id) => scenario.world.address(id)),
      limits: { openDeadlineMs: 30_000 },
    }),
  );
  return { scenario, client };
}

describe('a query that', () => {
  test.each<{ readonly what: string; readonly returned: () => unknown; readonly says: string }>([
    { what: 'is async', returned: () => Promise.resolve(someBytes), says: 'a promise' },
    { what: 'rejects', returned: () => Promise.reject(new Error('late')), says: 'a promise' },
    { what: 'returns nothing', returned: () => undefined, says: 'undefined' },
    { what: 'returns null', returned: () => null, says: 'null' },
    { what: 'returns a string', returned: () => 'value', says: 'a value of type string' },
  ])('$what is refused with a code, and no node minds', async ({ returned, says }) => {
    const { scenario, client } = await startOdd();
    await scenario.settle(client.append(partition, command));
    Odd.returned = returned;

    for (const consistency of ['linearizable', 'snapshotOnly'] as const) {
      const asked = client.read(partition, someBytes, { consistency });
      const ending = await scenario.ending(asked);
      expect(ending).toMatchObject({
        error: { code: 'CLUSTOR_INVALID_ARGUMENT', outcome: 'surelyNot', retryable: false },
      });
      expect((ending as { error: ClustorError }).error.message).toContain(
        `the state machine's query returned ${says}, not bytes`,
      );
    }

    Odd.returned = () => someBytes;
    expect(await scenario.settle(client.read(partition, someBytes))).toMatchObject({
      result: someBytes,
    });
    expect(scenario.nodeIds.map((id) => scenario.quarantines(id))).toEqual([[], [], []]);
  });

  test('throws what cannot even be told ends the session, not the replica', async () => {
    const { scenario, client } = await startOdd();
    await scenario.settle(client.append(partition, command));
    let asked = 0;
    Odd.returned = () => {
      if (asked++ > 0) return someBytes;
      throw Object.create(null) as Error;
    };

    const reading = client.read(partition, someBytes);
    const appending = client.append(partition, command);

    expect(await scenario.settle(reading)).toMatchObject({ result: someBytes });
    expect(await scenario.settle(appending)).toMatchObject({ term: expect.any(Number) as number });
    expect(asked).toBe(2);
    expect(scenario.areAllUp()).toBe(true);
    expect(scenario.nodeIds.map((id) => scenario.quarantines(id))).toEqual([[], [], []]);
  });
});

test('answers that cannot be sent end the session of who asked, and no turn', () => {
  const ended: unknown[] = [];
  const session = {
    role: 'client',
    send: () => {
      throw new Error('no frame holds it');
    },
    goodbye: () => undefined,
    destroy: () => ended.push(true),
  } as unknown as WireSession;
  const failures: unknown[] = [];
  const turn = new TurnScheduler(realClock, (error) => failures.push(error));
  const replica = {
    isLeader: true,
    offer: ({ sink, slot }: Proposal) => {
      sink.proposalCommitted(slot, { term: 1 as never, index: 1 as never, result: undefined });
    },
  } as unknown as Replica;
  const requests = new ClientRequests({
    turn,
    replicaOf: () => replica,
    describe: () => undefined as never,
  });

  requests.handle(session, {
    kind: 'appendRequest',
    requestId: 1,
    deadlineMs: 0,
    routingEpoch: 1,
    partitionId: partition,
    toIncarnation: incarnation('018c0d6c-9c11-7e9d-8000-000000000009'),
    entries: [{ metadata: new Uint8Array(0), payload: someBytes }],
  });
  turn.runNow();

  expect(ended).toHaveLength(1);
  expect(failures).toEqual([]);
});

test('a description that no frame holds is refused with a code', () => {
  const sent: Message[] = [];
  const session = {
    role: 'client',
    send: (message: Message) => sent.push(message),
  } as unknown as WireSession;
  const address = `${'n'.repeat(200)}:7000`;
  const members = [1, 2, 3, 4, 5].map((id) => ({ nodeId: nodeId(id), address }));
  const describeWith = (count: number): Message => {
    const requests = new ClientRequests({
      turn: new TurnScheduler(realClock, () => undefined),
      replicaOf: () => undefined,
      describe: (requestId) => ({
        kind: 'describeResponse',
        requestId,
        deadlineMs: 0,
        routingEpoch: 1,
        nodeId: nodeId(1),
        bootId: incarnation('018c0d6c-9c11-7e9d-8000-000000000009'),
        partitions: Array.from({ length: count }, () => ({
          partitionId: partition,
          leaderNodeId: nodeId(1),
          leaderAddress: address,
          term: 1 as never,
          commit: 1 as never,
          isLeader: true,
          members,
        })),
      }),
    });
    requests.handle(session, {
      kind: 'describeRequest',
      requestId: 1,
      deadlineMs: 0,
      routingEpoch: 1,
    });
    return sent.at(-1) as Message;
  };

  expect(describeWith(3_000).kind).toBe('describeResponse');
  expect(describeWith(10_000)).toMatchObject({ kind: 'errorResponse', errorCode: 1002 });
});
