/** Mistakes of whoever calls `simulate` are told as theirs: none is taken for a failure of the cluster, and none ends the process. */
import { describe, expect, test } from 'vitest';

import type { ApplyContext, ApplyOutcome, EntryBatch, StateMachine } from '../../src/index.ts';
import { simulate, type FindingKind, type Workload } from '../../src/testing/index.ts';
import { Seats, visitors } from './products/seats.ts';

interface Row {
  readonly what: string;
  readonly kind: FindingKind;
  readonly says: string;
}

function oops(): never {
  throw new Error('oops');
}

/** Returns it in place of what the types ask for. */
function instead(value: unknown): () => never {
  return () => value as never;
}

async function expectFinding(
  createStateMachine: () => StateMachine,
  workload: Workload,
  { kind, says }: Row,
): Promise<void> {
  // One node: what is wrong is found at the first use, or when the run ends.
  const options = { seeds: [17], shrink: false };
  const { failure } = await simulate(createStateMachine, workload, options);

  expect(failure).toMatchObject({ kind, message: expect.stringContaining(says) as string });
}

describe('a machine', () => {
  class Odd extends Seats {
    readonly #query: (() => Uint8Array) | undefined;
    readonly #outcome: ((batch: EntryBatch) => unknown) | undefined;

    constructor(odd: { query?: () => Uint8Array; outcome?: (batch: EntryBatch) => unknown }) {
      super('none');
      this.#query = odd.query;
      this.#outcome = odd.outcome;
    }

    override query(request: Uint8Array): Uint8Array {
      return this.#query === undefined ? super.query(request) : this.#query();
    }

    override apply(batch: EntryBatch, context: ApplyContext): ApplyOutcome {
      const outcome = super.apply(batch, context);
      return this.#outcome === undefined ? outcome : (this.#outcome(batch) as ApplyOutcome);
    }
  }

  test.each<Row & { readonly query: () => Uint8Array }>([
    { what: 'throws', kind: 'queryFailed', says: 'oops', query: oops },
    { what: 'gives a string', kind: 'queryFailed', says: 'a string', query: instead('free') },
    {
      what: 'gives too much',
      kind: 'queryFailed',
      says: '5000000 bytes; an answer has',
      query: () => new Uint8Array(5_000_000),
    },
    { what: 'gives nothing', kind: 'queryFailed', says: 'undefined', query: instead(undefined) },
    {
      what: 'gives a promise that rejects',
      kind: 'queryFailed',
      says: 'a promise',
      query: () => Promise.reject(new Error('late')) as never,
    },
  ])('whose query $what', (row) =>
    expectFinding(() => new Odd({ query: row.query }), visitors, row),
  );

  test.each<Row & { readonly outcome: (batch: EntryBatch) => unknown }>([
    {
      what: 'nothing',
      kind: 'applyFailed',
      says: 'returned undefined, which is no outcome',
      outcome: () => undefined,
    },
    {
      what: 'fewer results than entries',
      kind: 'applyFailed',
      says: 'returned 0 results for',
      outcome: () => ({ kind: 'ack', results: [] }),
    },
    {
      what: 'results that are strings',
      kind: 'applyFailed',
      says: 'a result that is a string, not bytes',
      outcome: ({ length }) => ({ kind: 'ack', results: Array(length).fill('held') }),
    },
    {
      what: 'results that are too large',
      kind: 'applyFailed',
      says: 'a result of 1048577 bytes',
      outcome: ({ length }) => ({
        kind: 'ack',
        results: Array(length).fill(new Uint8Array(1_048_577)),
      }),
    },
    {
      what: 'more applied entries than there are',
      kind: 'applyFailed',
      says: 'an appliedCount of 9999',
      outcome: () => ({ kind: 'retryable', reason: 'Backpressure', appliedCount: 9_999 }),
    },
  ])('whose apply returns $what', (row) =>
    expectFinding(() => new Odd({ outcome: row.outcome }), visitors, row),
  );

  test.each<Row & { readonly create: () => StateMachine }>([
    { what: 'throws', kind: 'createFailed', says: 'oops', create: oops },
    { what: 'gives nothing', kind: 'createFailed', says: 'undefined', create: instead(undefined) },
    {
      what: 'gives a promise',
      kind: 'createFailed',
      says: 'a promise without apply',
      create: () => Promise.reject(new Error('late')) as never,
    },
  ])('whose factory $what', (row) => expectFinding(row.create, visitors, row));

  test('whose snapshot gives what is no bytes', async () => {
    class Texts extends Seats {
      override async *snapshot(): AsyncIterable<Uint8Array> {
        for await (const chunk of super.snapshot()) yield chunk.length as never;
      }
    }

    await expectFinding(() => new Texts('none'), visitors, {
      what: 'numbers',
      kind: 'snapshotFailed',
      says: 'a chunk is a number, not bytes',
    });
  });
});

test.each<Row & { readonly workload: Partial<Workload> }>([
  {
    what: 'throws',
    kind: 'workloadFailed',
    says: 'next threw: Error: oops',
    workload: { next: oops },
  },
  {
    what: 'gives nothing',
    kind: 'workloadFailed',
    says: 'next returned undefined, no request',
    workload: { next: instead(undefined) },
  },
  {
    what: 'gives a promise that rejects',
    kind: 'workloadFailed',
    says: 'next returned a promise, no request',
    workload: { next: () => Promise.reject(new Error('late')) as never },
  },
  {
    what: 'appends a string',
    kind: 'workloadFailed',
    says: 'a string, not bytes',
    workload: { next: instead({ append: 'hold' }) },
  },
  {
    what: 'appends too much',
    kind: 'workloadFailed',
    says: 'of 1048577 bytes',
    workload: { next: () => ({ append: new Uint8Array(1_048_577) }) },
  },
  {
    what: 'cannot describe',
    kind: 'workloadFailed',
    says: 'describe threw: Error: oops',
    workload: { describe: oops },
  },
  {
    what: 'describes with a number',
    kind: 'workloadFailed',
    says: 'describe returned a number, no text',
    workload: { describe: instead(1) },
  },
  {
    what: 'throws when it verifies',
    kind: 'workloadFailed',
    says: 'verify threw: Error: oops',
    workload: { verify: oops },
  },
  {
    what: 'verifies with a promise',
    kind: 'workloadFailed',
    says: 'verify returned a promise',
    workload: { verify: () => Promise.reject(new Error('late')) as never },
  },
])('a workload that $what', (row) =>
  expectFinding(() => new Seats('none'), { ...visitors, ...row.workload }, row),
);
