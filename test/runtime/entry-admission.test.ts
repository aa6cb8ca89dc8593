/** What comes into the log can be read by every replica, and one bad entry harms nobody else's (specification §2.4, §4). */
import { describe, expect, test } from 'vitest';

import { ByteWriter } from '../../src/base/bytes.ts';
import { logIndex } from '../../src/base/ids.ts';
import { metadataRefusal } from '../../src/runtime/entry-admission.ts';
import type { IdempotencyKey } from '../../src/runtime/session-keys.ts';
import { encodeCommand, RegisterMachine } from '../../src/testing/sim-machine.ts';
import type { ApplyContext, ApplyOutcome, EntryBatch } from '../../src/ports/state-machine.ts';
import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

const command = encodeCommand({ op: 'write', key: 'key', value: 'x' });
const largeBytes = 5 * 1024 * 1024;

describe('a key that no replica could read', () => {
  test.each<{ readonly what: string; readonly key: IdempotencyKey }>([
    {
      what: 'a client id of 15 bytes',
      key: { clientId: new Uint8Array(15), sequence: 1, firstSeenCommit: 1 },
    },
    {
      what: 'a client id of 17 bytes',
      key: { clientId: new Uint8Array(17), sequence: 1, firstSeenCommit: 1 },
    },
    {
      what: 'a client id of 2,000 bytes',
      key: { clientId: new Uint8Array(2_000), sequence: 1, firstSeenCommit: 1 },
    },
    {
      what: 'a sequence of -1',
      key: { clientId: new Uint8Array(16), sequence: -1, firstSeenCommit: 1 },
    },
    {
      what: 'a sequence of 2^60',
      key: { clientId: new Uint8Array(16), sequence: 2 ** 60, firstSeenCommit: 1 },
    },
    {
      what: 'an acked_through of 0.5',
      key: { clientId: new Uint8Array(16), sequence: 1, ackedThrough: 0.5, firstSeenCommit: 1 },
    },
    {
      what: 'a commit index of -1',
      key: { opaqueKey: new Uint8Array(8), firstSeenCommit: -1 },
    },
    {
      what: 'an opaque key of 65 bytes',
      key: { opaqueKey: new Uint8Array(65), firstSeenCommit: 1 },
    },
  ])('with $what is refused at once, on leader and follower', async ({ key }) => {
    const cluster = await ScenarioCluster.start(761, 3);
    const leader = await cluster.untilLeader();
    for (const id of cluster.nodeIds) {
      const asked = async (): Promise<unknown> =>
        cluster.partition(id).append(command, { idempotencyKey: key, deadlineMs: 1_000 });
      expect(await cluster.ending(asked())).toMatchObject({
        kind: 'rejected',
        error: { code: 'CLUSTOR_INVALID_ARGUMENT', outcome: 'surelyNot' },
      });
    }
    await cluster.settle(cluster.write(leader, 'key', 'after'));

    expect(cluster.nodeIds.map((id) => cluster.quarantines(id))).toEqual([[], [], []]);
  });
});

describe('metadata of a client', () => {
  const written = (...fields: readonly (readonly [number, number])[]): Uint8Array => {
    const writer = new ByteWriter();
    for (const [tag, value] of fields) {
      writer.u8(tag);
      writer.u8(8);
      writer.u64(value);
    }
    return writer.take();
  };

  test.each([
    { what: 'sets the time', bytes: written([3, Number.MAX_SAFE_INTEGER]) },
    { what: 'sets the time to nothing', bytes: written([3, 0]) },
    { what: 'ends within a field', bytes: written([7, 1]).subarray(0, 5) },
    { what: 'has a field of a wrong length', bytes: Uint8Array.of(4, 2, 1, 1) },
    { what: 'is longer than there is room for', bytes: new Uint8Array(1015) },
    { what: 'has a key without a commit index', bytes: Uint8Array.of(5, 1, 0x6b) },
  ])('that $what is refused', ({ bytes }) => {
    expect(metadataRefusal({ metadata: bytes }, logIndex(7))).toMatchObject({
      outcome: 'surelyNot',
    });
  });

  test.each([new Uint8Array(0), written([7, 3]), Uint8Array.of(200, 2, 1, 1)])(
    'that replicas can read is taken',
    (bytes) => {
      expect(metadataRefusal({ metadata: bytes }, logIndex(7))).toBeUndefined();
    },
  );
});

test('a leader appends nothing that replicas could not read, wherever it comes from', async () => {
  const cluster = await ScenarioCluster.start(763, 3);
  const leader = await cluster.untilLeader();
  await cluster.settle(cluster.write(leader, 'key', 'before'));
  const { lastIndex } = cluster.replica(leader).state.log;

  const refusal = cluster.replica(leader).offer({
    metadata: Uint8Array.of(4, 2, 1, 1),
    payload: command,
    sink: { proposalCommitted: () => undefined, proposalFailed: () => undefined },
    slot: 0,
  });
  await cluster.advance(500);

  expect(refusal).toMatchObject({ code: 'CLUSTOR_WIRE_BAD_VALUE', outcome: 'surelyNot' });
  expect(cluster.replica(leader).state.log.lastIndex).toBe(lastIndex);
});

/** Answers with 5 MiB when it is asked for something large. */
class Talkative extends RegisterMachine {
  override apply(batch: EntryBatch, context: ApplyContext): ApplyOutcome {
    const isLarge = Array.from({ length: batch.length }, (_, at) =>
      new TextDecoder().decode(batch.payload(at)).includes('large'),
    );
    const outcome = super.apply(batch, context);
    if (outcome.kind !== 'ack') return outcome;
    const results = isLarge.map((large, at) =>
      large ? new Uint8Array(largeBytes) : outcome.results?.[at],
    );
    return { kind: 'ack', results };
  }

  override query(request: Uint8Array): Uint8Array {
    return new TextDecoder().decode(request) === 'large'
      ? new Uint8Array(largeBytes)
      : super.query(request);
  }
}

describe('an answer of a state machine that fits no frame', () => {
  const started = (seed: number): Promise<ScenarioCluster> =>
    ScenarioCluster.start(seed, 3, { createStateMachine: () => new Talkative() });

  test('to an entry is an error of its caller, on every node and in a retry, and stops nobody', async () => {
    const cluster = await started(781);
    const leader = await cluster.untilLeader();
    const [follower = leader] = cluster.others(leader);
    await cluster.settle(cluster.write(leader, 'key', 'before'));
    const wanted = { error: { code: 'CLUSTOR_RESULT_TOO_LARGE', outcome: 'committed' } };
    const large = encodeCommand({ op: 'write', key: 'key', value: 'large' });
    const firstSeenCommit = Number(cluster.partition(follower).commitIndex);
    const idempotencyKey = { opaqueKey: Uint8Array.of(1), firstSeenCommit };

    for (const id of [follower, leader, follower])
      expect(
        await cluster.ending(cluster.partition(id).append(large, { idempotencyKey })),
      ).toMatchObject(wanted);

    await cluster.settle(cluster.write(follower, 'key', 'after'));
    expect(cluster.value(leader, 'key')).toBe('after');
    expect(cluster.eventsOf(leader, 'nodeFailed')).toEqual([]);
  });

  test('to a query is refused, and the connection lives on', async () => {
    const cluster = await started(791);
    const leader = await cluster.untilLeader();
    await cluster.settle(cluster.write(leader, 'key', 'before'));
    const client = await cluster.connect();

    expect(await cluster.ending(client.read('large'))).toMatchObject({
      error: { code: 'CLUSTOR_RESULT_TOO_LARGE' },
    });
    expect(await cluster.settle(client.read('key'))).toBe('before');
  });
});
