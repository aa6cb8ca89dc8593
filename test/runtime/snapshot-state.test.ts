/** What a replica knows besides its machine comes out of a snapshot as it went in (specification §7). */
import { describe, expect, test } from 'vitest';

import { isClustorError } from '../../src/base/errors.ts';
import { logIndex, term } from '../../src/base/ids.ts';
import { createPrng, nextBelow, type PrngState } from '../../src/base/prng.ts';
import {
  idempotencyBounds,
  IdempotencyTable,
  resultLagEntries,
  type IdempotencyBounds,
  type RequestKey,
} from '../../src/runtime/idempotency-table.ts';
import {
  decodeSnapshotState,
  encodeSnapshotState,
  readSnapshotState,
  snapshotStatePieces,
  type AppliedTransition,
} from '../../src/runtime/snapshot-state.ts';

/** One request as every replica meets it. */
interface Request {
  readonly key: RequestKey;
  readonly index: number;
  readonly digest: number;
  readonly resultBytes: number | 'none' | 'tooLarge';
}

/** Sessions that confirm, lag and come too late, and keys that stand alone; indexes jump, so that results begin to count. */
function requestAt(random: PrngState, index: number): Request {
  const isSession = nextBelow(random, 3) > 0;
  const sequence = nextBelow(random, 40) + Math.floor(index / 400);
  const opaque = `key ${nextBelow(random, 60)}`;
  const size = nextBelow(random, 10);
  return {
    key: {
      clientKey: isSession ? String.fromCharCode(200 + nextBelow(random, 6)).repeat(16) : undefined,
      sequence: isSession ? sequence : 0,
      opaqueKey: !isSession || nextBelow(random, 8) === 0 ? opaque : undefined,
      ackedThrough: nextBelow(random, 2) === 0 ? -1 : sequence - nextBelow(random, 12) + 2,
      firstSeenCommit: Math.max(0, index - 1 - nextBelow(random, 3_000)),
    },
    index,
    digest: nextBelow(random, 4) === 0 ? nextBelow(random, 3) : 7,
    resultBytes: size === 0 ? 'none' : size === 1 ? 'tooLarge' : nextBelow(random, 200),
  };
}

/** Applies a request to a table; everything that anybody can see of it. */
function meet(table: IdempotencyTable, request: Request): unknown {
  const { key, index, digest, resultBytes } = request;
  const verdict = table.judge(key, digest);
  if (verdict.kind === 'new') {
    const row = table.record(key, { term: term(3), index: logIndex(index), digest });
    const result =
      typeof resultBytes === 'number' ? new Uint8Array(resultBytes).fill(index) : undefined;
    table.complete(row, result, resultBytes === 'tooLarge');
  }
  const seen =
    verdict.kind === 'duplicate'
      ? {
          index: verdict.row.index,
          term: verdict.row.term,
          result: verdict.row.result,
          isResultTooLarge: verdict.row.isResultTooLarge,
        }
      : undefined;
  return { kind: verdict.kind, seen, size: table.size, horizon: table.horizon };
}

const transitions: readonly AppliedTransition[] = [
  {
    term: term(4),
    index: logIndex(90),
    transition: {
      kind: 'durabilityTransition',
      fromMode: 'Strict',
      toMode: 'GroupFsync',
      effectiveIndex: logIndex(91),
      epoch: 7,
      cause: 'operator',
    },
  },
  {
    term: term(5),
    index: logIndex(95),
    transition: {
      kind: 'durabilityTransition',
      fromMode: 'GroupFsync',
      toMode: 'Strict',
      effectiveIndex: logIndex(96),
      epoch: 8,
      cause: 'newLeader',
    },
  },
];

function copyOf(table: IdempotencyTable, bounds: IdempotencyBounds): IdempotencyTable {
  const bytes = encodeSnapshotState({ timeMs: 5, table, transitions });
  return decodeSnapshotState(bytes, bounds).table;
}

function codeOf(run: () => unknown): string | undefined {
  try {
    run();
  } catch (error) {
    if (isClustorError(error)) return error.code;
    throw error;
  }
  return undefined;
}

describe('a table of keys that was read from a snapshot', () => {
  test.each(Array.from({ length: 20 }, (_, seed) => seed))(
    'decides as the one that was written, for ever (seed %i)',
    (seed) => {
      const random = createPrng(seed);
      const bounds = {
        rowsMax: 20 + nextBelow(random, 60),
        bytesMax: 4_000 + nextBelow(random, 9_000),
      };
      const table = new IdempotencyTable(bounds);
      const steps = 1_500;
      const copiedAt = nextBelow(random, steps);
      let copy: IdempotencyTable | undefined;
      let index = 0;
      const kinds = new Set<unknown>();
      for (let step = 0; step < steps; step++) {
        if (step === copiedAt) copy = copyOf(table, bounds);
        index += 1 + nextBelow(random, nextBelow(random, 4) === 0 ? resultLagEntries : 3);
        const request = requestAt(random, index);
        const seen = meet(table, request);
        kinds.add((seen as { readonly kind: string }).kind);
        if (copy !== undefined) expect(meet(copy, request), `step ${step}`).toEqual(seen);
        if (copy !== undefined && nextBelow(random, 200) === 0) copy = copyOf(copy, bounds);
      }

      expect(kinds).toEqual(new Set(['new', 'duplicate', 'reuse', 'horizonPassed']));
      expect(table.horizon).toBeGreaterThan(0);
    },
  );

  test('is the same again when it is written', () => {
    const random = createPrng(4);
    const table = new IdempotencyTable(idempotencyBounds);
    for (let index = 1; index < 4_000; index++) meet(table, requestAt(random, index));
    const bytes = encodeSnapshotState({ timeMs: 77, table, transitions });

    const read = decodeSnapshotState(bytes, idempotencyBounds);

    expect(read.timeMs).toBe(77);
    expect(read.transitions).toEqual(transitions);
    expect(read.table.size).toBe(table.size);
    expect(Buffer.compare(encodeSnapshotState(read), bytes)).toBe(0);
  });
});

describe('a state that is written by and by', () => {
  test('is that of the moment when it was begun, whatever happens to the table meanwhile', () => {
    const random = createPrng(6);
    const bounds = { rowsMax: 3_000, bytesMax: 900_000 };
    const table = new IdempotencyTable(bounds);
    let index = 0;
    const go = (count: number): void => {
      for (const end = index + count; index < end;) {
        const request = requestAt(random, ++index);
        const isOwn = index % 2 === 0;
        const key = isOwn ? { ...request.key, clientKey: undefined, opaqueKey: `k${index}` } : {};
        meet(table, { ...request, key: { ...request.key, ...key } });
      }
    };
    go(8_000);
    const whole = encodeSnapshotState({ timeMs: 5, table, transitions });
    const pieces: Uint8Array[] = [];
    for (const piece of snapshotStatePieces({ timeMs: 5, table, transitions })) {
      pieces.push(piece);
      go(1_000);
    }

    expect(pieces.length).toBeGreaterThan(2);
    expect(Buffer.compare(Buffer.concat(pieces), whole)).toBe(0);
    const later = encodeSnapshotState({ timeMs: 5, table, transitions });
    expect(Buffer.compare(later, whole)).not.toBe(0);
  });

  test('is read in steps as well', async () => {
    const random = createPrng(7);
    const table = new IdempotencyTable(idempotencyBounds);
    for (let index = 1; index < 9_000; index++) {
      const key = { ...requestAt(random, index).key, clientKey: undefined, opaqueKey: `k${index}` };
      meet(table, { key, index, digest: 1, resultBytes: index % 300 === 0 ? 20_000 : 5 });
    }
    const bytes = encodeSnapshotState({ timeMs: 5, table, transitions });
    let pauses = 0;
    const read = await readSnapshotState(bytes, idempotencyBounds, () => {
      pauses++;
      return Promise.resolve();
    });

    expect(pauses).toBe(4);
    expect(Buffer.compare(encodeSnapshotState(read), bytes)).toBe(0);
  });
});

describe('the state of a snapshot', () => {
  const random = createPrng(9);
  const table = new IdempotencyTable(idempotencyBounds);
  for (let index = 1; index < 40; index++) meet(table, requestAt(random, index));
  const bytes = encodeSnapshotState({ timeMs: 1_234, table, transitions });

  test('of a replica that applied nothing is small', () => {
    const empty = encodeSnapshotState({
      timeMs: 0,
      table: new IdempotencyTable(idempotencyBounds),
      transitions: [],
    });

    expect(empty.length).toBeLessThan(64);
    expect(decodeSnapshotState(empty, idempotencyBounds).table.size).toBe(0);
  });

  test('that is cut off, or goes on, is refused', () => {
    for (let length = 0; length < bytes.length; length++)
      expect(
        codeOf(() => decodeSnapshotState(bytes.subarray(0, length), idempotencyBounds)),
        `${length} bytes`,
      ).toBe('CLUSTOR_INTEGRITY');
    const longer = new Uint8Array(bytes.length + 1);
    longer.set(bytes);
    expect(codeOf(() => decodeSnapshotState(longer, idempotencyBounds))).toBe('CLUSTOR_INTEGRITY');
  });

  test('of another version is refused as such', () => {
    const other = bytes.slice();
    other[0] = 2;

    expect(codeOf(() => decodeSnapshotState(other, idempotencyBounds))).toBe(
      'CLUSTOR_FORMAT_UNSUPPORTED',
    );
  });

  test('that is nonsense is refused, never more than that', () => {
    const known = new Set([undefined, 'CLUSTOR_INTEGRITY', 'CLUSTOR_FORMAT_UNSUPPORTED']);
    const codes = new Set<string | undefined>();
    for (let round = 0; round < 3_000; round++) {
      const broken = bytes.slice();
      for (let times = 1 + nextBelow(random, 3); times > 0; times--)
        broken[nextBelow(random, round % 2 === 0 ? broken.length : 64)] = nextBelow(random, 256);
      codes.add(codeOf(() => decodeSnapshotState(broken, idempotencyBounds)));
    }

    expect([...codes].filter((code) => !known.has(code))).toEqual([]);
    expect(codes).toContain('CLUSTOR_INTEGRITY');
  });
});
