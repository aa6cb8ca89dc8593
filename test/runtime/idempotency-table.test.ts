/** The table of keys decides alike on every replica, whatever its batches were (specification §2.4). */
import { describe, expect, test } from 'vitest';

import { ByteWriter, utf8Decode, utf8Encode } from '../../src/base/bytes.ts';
import { logIndex, partitionId, term } from '../../src/base/ids.ts';
import { ApplyPipeline } from '../../src/runtime/apply-pipeline.ts';
import { FrameBuilder } from '../../src/runtime/frame-builder.ts';
import {
  idempotencyBounds,
  IdempotencyTable,
  resultLagEntries,
} from '../../src/runtime/idempotency-table.ts';
import { nodeLimits } from '../../src/runtime/limits.ts';
import { keyMetadata, type IdempotencyKey } from '../../src/runtime/session-keys.ts';

const somePartition = partitionId('018c0d6c-9c11-7e9d-8000-000000000001');
const ignored = { proposalCommitted: () => undefined, proposalFailed: () => undefined };

/** One replica that gets these entries. */
function replica(
  entries: readonly Uint8Array[],
  bytesMax: number,
): { readonly applied: string[]; readonly answers: string[]; readonly pipeline: ApplyPipeline } {
  const applied: string[] = [];
  const answers: string[] = [];
  const pipeline = new ApplyPipeline({
    partitionId: somePartition,
    machine: {
      apply: (batch) => {
        const results: Uint8Array[] = [];
        for (let at = 0; at < batch.length; at++) {
          const text = utf8Decode(batch.payload(at));
          applied.push(text);
          // A deterministic machine: "big" has a large result.
          results.push(new Uint8Array(text.startsWith('big') ? 300 : 0));
        }
        return { kind: 'ack', results };
      },
      query: () => new Uint8Array(0),
      async *snapshot() {},
      restore: () => Promise.resolve(),
    },
    limits: nodeLimits({}),
    idempotency: { ...idempotencyBounds, bytesMax },
    clock: {
      monotonicMs: () => 0,
      wallMs: () => 0,
      setTimer: () => () => undefined,
      endOfTurn: (run) => {
        run();
      },
    },
    appliedIndex: logIndex(0),
    source: {
      slice: (first, last) => entries.slice(first - 1, last),
      read: () => Promise.reject(new Error('in memory')),
    },
    listener: {
      applied: (index) => answers.push(`${index} applied`),
      answered: (index, answer) =>
        answers.push(
          `${index} ${'row' in answer ? `duplicate of ${answer.row.index}` : answer.error.code}`,
        ),
      durabilityChanged: () => undefined,
      advanced: () => undefined,
      faulted: () => undefined,
    },
  });
  return { applied, answers, pipeline };
}

function log(
  ...entries: readonly { readonly payload: string; readonly key: IdempotencyKey | undefined }[]
): Uint8Array[] {
  const frames = new FrameBuilder(somePartition);
  return entries.map(({ payload, key }, at) =>
    frames.proposals(
      [
        {
          metadata: key === undefined ? new Uint8Array(0) : keyMetadata(new ByteWriter(), key),
          payload: utf8Encode(payload),
          sink: ignored,
          slot: 0,
        },
      ],
      { term: term(1), firstIndex: logIndex(at + 1), ingestMs: 0 },
    ),
  );
}

const opaque = (name: string, firstSeenCommit = 0): IdempotencyKey => ({
  opaqueKey: utf8Encode(name),
  firstSeenCommit,
});

describe('two replicas with the same log and the same limits', () => {
  test('apply the same entries, whether they come one by one or in one batch', () => {
    const entries = log(
      { payload: 'one', key: opaque('a') },
      { payload: 'big', key: opaque('b') },
      { payload: 'three', key: opaque('c') },
    );
    const oneByOne = replica(entries, 400);
    for (let at = 1; at <= entries.length; at++) oneByOne.pipeline.advanceTo(logIndex(at));
    const atOnce = replica(entries, 400);
    atOnce.pipeline.advanceTo(logIndex(entries.length));

    expect(atOnce.applied).toEqual(oneByOne.applied);
  });

  test('hold the same table when a row is confirmed by its batch companion', () => {
    const clientId = new Uint8Array(16).fill(7);
    const entries = log(
      { payload: 'one', key: opaque('a') },
      { payload: 'big', key: { clientId, sequence: 1, firstSeenCommit: 0 } },
      { payload: 'two', key: { clientId, sequence: 2, ackedThrough: 1, firstSeenCommit: 2 } },
      { payload: 'one', key: opaque('a') },
    );
    const oneByOne = replica(entries, 400);
    for (let at = 1; at <= entries.length; at++) oneByOne.pipeline.advanceTo(logIndex(at));
    const atOnce = replica(entries, 400);
    atOnce.pipeline.advanceTo(logIndex(3));
    atOnce.pipeline.advanceTo(logIndex(4));

    expect(atOnce.answers).toEqual(oneByOne.answers);
    expect(atOnce.pipeline.table.horizon).toBe(oneByOne.pipeline.table.horizon);
  });

  test('evict by the bytes of results as well, once they count', () => {
    const entries = log(
      { payload: 'one', key: opaque('a') },
      { payload: 'big', key: opaque('b') },
      ...Array.from({ length: resultLagEntries }, (_, at) => ({
        payload: `${at}`,
        key: undefined,
      })),
      { payload: 'next', key: opaque('c', 2) },
      { payload: 'one', key: opaque('a') },
    );
    const horizonOf = (step: number): number => {
      const { pipeline } = replica(entries, 400);
      for (let at = step; at < entries.length; at += step) pipeline.advanceTo(logIndex(at));
      pipeline.advanceTo(logIndex(entries.length));
      return pipeline.table.horizon;
    };

    expect([1, 7, entries.length].map(horizonOf)).toEqual([2, 2, 2]);
  });
});

describe('rows that are dead behind one that lives', () => {
  const noKey = { clientKey: undefined, opaqueKey: undefined, sequence: 0 };

  /** A key that nobody confirms, then a session that confirms each request with the next one. */
  function tableOf(sequences: number, bytesMax: number): { table: IdempotencyTable; next: number } {
    const table = new IdempotencyTable({ ...idempotencyBounds, bytesMax });
    opaqueRow(table, 'old', 1);
    for (let sequence = 1; sequence <= sequences; sequence++) {
      const key = { ...noKey, clientKey: 'session', sequence, ackedThrough: sequence - 1 };
      // Far apart, so that results count before their rows are forgotten.
      const place = { term: term(1), index: logIndex(sequence * 10), digest: 1 };
      const row = table.record({ ...key, firstSeenCommit: 0 }, place);
      table.complete(row, new Uint8Array(10), false);
    }
    return { table, next: (sequences + 1) * 10 };
  }

  function opaqueRow(table: IdempotencyTable, opaqueKey: string, index: number): void {
    const key = { ...noKey, opaqueKey, ackedThrough: -1, firstSeenCommit: index - 1 };
    const row = table.record(key, { term: term(1), index: logIndex(index), digest: 1 });
    table.complete(row, new Uint8Array(300), false);
  }

  test('do not stay in memory', () => {
    const { table } = tableOf(20_000, idempotencyBounds.bytesMax);

    expect(table.size).toBe(2);
    expect(table.rowsInMemory).toBeLessThan(2_000);
  });

  test('do not change which rows live when they are forgotten', () => {
    const rowBytes = (keyLength: number, resultBytes: number): number =>
      96 + keyLength + resultBytes;
    const bytes = rowBytes(3, 300) + rowBytes(0, 10) + 5 * rowBytes(2, 300) + rowBytes(4, 0);
    const horizonOf = (bytesMax: number): number => {
      // Just so many that a pass is over.
      const { table, next } = tableOf(2_051, bytesMax);
      for (let at = 0; at < 5; at++) opaqueRow(table, `k${at}`, next + at);
      expect(table.rowsInMemory).toBeLessThan(10);
      opaqueRow(table, 'last', next + 5 + resultLagEntries);
      return table.horizon;
    };

    expect(horizonOf(bytes)).toBe(0);
    expect(horizonOf(bytes - 1)).toBe(1);
  });
});
