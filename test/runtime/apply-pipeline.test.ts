/** Applying (specification §6): in order, each entry once, nothing skipped. */
import { describe, expect, test } from 'vitest';

import { utf8Decode, utf8Encode } from '../../src/base/bytes.ts';
import { ClustorError } from '../../src/base/errors.ts';
import { logIndex, partitionId, term } from '../../src/base/ids.ts';
import { EntryFrameWriter, entryFrameOverheadBytes } from '../../src/codec/entry-frame.ts';
import { noOpPayload } from '../../src/codec/system-entry.ts';
import type { ApplyOutcome, EntryBatch } from '../../src/ports/state-machine.ts';
import { resultBytesMax } from '../../src/runtime/apply-answers.ts';
import { ApplyPipeline } from '../../src/runtime/apply-pipeline.ts';
import { nodeLimits } from '../../src/runtime/limits.ts';

const somePartition = partitionId('018c0d6c-9c11-7e9d-8000-000000000001');

/** A pipeline over entries in memory, and a machine that says what the test tells it. */
class Bench {
  readonly applied: string[] = [];
  readonly reported: number[] = [];
  readonly pipeline: ApplyPipeline;
  outcome: (batch: EntryBatch) => ApplyOutcome = () => ({ kind: 'ack' });
  readonly answered: [number, unknown][] = [];
  /** Nothing is in memory, and these reads of the log fail. */
  coldReads: Error[] | undefined;
  onReport: () => void = () => undefined;
  #timers: (() => void)[] = [];
  readonly #entries: Uint8Array[] = [];
  readonly #writer = new EntryFrameWriter(somePartition);

  constructor() {
    this.pipeline = new ApplyPipeline({
      partitionId: somePartition,
      machine: {
        apply: (batch) => {
          const outcome = this.outcome(batch);
          const count = outcome.kind === 'ack' ? batch.length : outcome.appliedCount;
          for (let at = 0; at < count; at++) this.applied.push(utf8Decode(batch.payload(at)));
          return outcome;
        },
        query: () => new Uint8Array(0),
        async *snapshot() {},
        restore: () => Promise.resolve(),
      },
      limits: nodeLimits({}),
      clock: {
        monotonicMs: () => 0,
        wallMs: () => 0,
        setTimer: (_delayMs, run) => {
          this.#timers.push(run);
          return () => undefined;
        },
        endOfTurn: (run) => {
          run();
        },
      },
      appliedIndex: logIndex(0),
      source: {
        slice: (first, last) =>
          this.coldReads === undefined ? this.#entries.slice(first - 1, last) : undefined,
        read: (index) => {
          const refusal = this.coldReads?.shift();
          if (refusal !== undefined) return Promise.reject(refusal);
          const bytes = this.#entries[index - 1] ?? new Uint8Array(0);
          return Promise.resolve({ firstIndex: index, lastIndex: index, bytes });
        },
      },
      listener: {
        applied: (index) => {
          this.reported.push(index);
          this.onReport();
        },
        answered: (index, answer) => this.answered.push([index, answer]),
        durabilityChanged: () => undefined,
        advanced: () => undefined,
        faulted: () => undefined,
      },
    });
  }

  /** Entries are appended; a payload of bytes is the system's own. */
  append(...payloads: readonly (string | Uint8Array)[]): void {
    for (const payload of payloads) {
      const isSystem = typeof payload !== 'string';
      const content = isSystem ? payload : utf8Encode(payload);
      const bytes = new Uint8Array(entryFrameOverheadBytes + content.length);
      this.#writer.write(bytes, new DataView(bytes.buffer), 0, {
        term: term(1),
        index: logIndex(this.#entries.length + 1),
        isSystem,
        metadata: new Uint8Array(0),
        payload: content,
      });
      this.#entries.push(bytes);
    }
  }

  /** Everything that was appended is committed. */
  commit(): void {
    this.pipeline.advanceTo(logIndex(this.#entries.length));
  }

  /** Timers come due. */
  async pass(): Promise<void> {
    for (const run of this.#timers.splice(0)) run();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('a system entry', () => {
  test('that is known never reaches the machine', () => {
    const bench = new Bench();
    bench.append(noOpPayload, 'one');
    bench.commit();

    expect(bench.applied).toEqual(['one']);
    expect(bench.pipeline.appliedIndex).toBe(2);
  });

  test('that is unknown stops applying in front of it, and is not skipped', () => {
    const bench = new Bench();
    bench.append('one', Uint8Array.of(0x7f), 'two');
    bench.commit();

    expect(bench.applied).toEqual(['one']);
    expect(bench.pipeline.appliedIndex).toBe(1);
    expect(bench.pipeline.fault).toMatchObject({ code: 'CLUSTOR_APPLY_FAULT' });
  });
});

describe('a machine that is fatal three times', () => {
  const fatal = { kind: 'fatal', appliedCount: 0, message: 'no more' } as const;

  /** A pipeline that has stopped in front of its second entry; another batch is behind it. */
  async function stopped(): Promise<{ bench: Bench; asked: () => number }> {
    const bench = new Bench();
    let asked = 0;
    bench.outcome = (batch) => {
      if (utf8Decode(batch.payload(0)) === 'one') return { ...fatal, appliedCount: 1 };
      asked++;
      return fatal;
    };
    bench.append('one', 'two', noOpPayload, 'three');
    bench.commit();
    for (let times = 0; times < 6; times++) await bench.pass();
    return { bench, asked: () => asked };
  }

  test('is not asked again, whatever else was committed', async () => {
    const { bench, asked } = await stopped();

    expect(asked()).toBe(2);
    expect(bench.pipeline).toMatchObject({
      appliedIndex: 1,
      isStopped: true,
      isMachineKnown: true,
    });
    bench.pipeline.release('ApplyFault');
    expect(asked(), 'a fault is not released').toBe(2);
  });

  test('is asked again for the same entry when it is forgiven, three times at most', async () => {
    const { bench, asked } = await stopped();

    bench.pipeline.forgive();
    bench.pipeline.release('ApplyFault');
    for (let times = 0; times < 6; times++) await bench.pass();
    expect(asked()).toBe(5);

    bench.pipeline.forgive();
    bench.outcome = () => ({ kind: 'ack' });
    bench.pipeline.release('ApplyFault');
    expect(bench.applied).toEqual(['one', 'two', 'three']);
    expect(bench.reported).toEqual([1, 2, 3, 4]);
  });
});

describe('a pipeline that is held', () => {
  test('applies nothing until every reason is gone, also where it was waiting to try again', async () => {
    const bench = new Bench();
    bench.outcome = () => ({ kind: 'retryable', reason: 'Backpressure', appliedCount: 0 });
    bench.append('one', 'two');
    bench.commit();
    bench.pipeline.hold('Integrity');
    bench.pipeline.hold('Administrative');
    bench.outcome = () => ({ kind: 'ack' });

    await bench.pass();
    bench.pipeline.release('Integrity');
    expect(bench.applied).toEqual([]);

    bench.pipeline.release('Administrative');
    await bench.pass();
    expect(bench.applied).toEqual(['one', 'two']);
    expect(bench.reported).toEqual([1, 2]);
  });
});

describe('a pipeline that its machine closes', () => {
  test.each([
    { kind: 'retryable', reason: 'TransientIo', appliedCount: 0 },
    { kind: 'fatal', message: 'no more', appliedCount: 0 },
    { kind: 'ack' },
  ] as const)('asks it no more, though it answers $kind', (outcome) => {
    const bench = new Bench();
    let asked = 0;
    bench.outcome = () => {
      // Ends a test that fails.
      if (++asked > 10) return { kind: 'ack' };
      bench.pipeline.close();
      return outcome;
    };
    bench.append('one', noOpPayload, 'two');

    bench.commit();

    expect(asked).toBe(1);
    expect(bench.pipeline.appliedIndex).toBe(outcome.kind === 'ack' ? 1 : 0);
  });
});

test('nothing is applied behind an entry at whose report the pipeline was closed', () => {
  const bench = new Bench();
  bench.append(noOpPayload, 'one');
  bench.onReport = () => {
    bench.pipeline.close();
  };

  bench.commit();

  expect(bench.reported).toEqual([1]);
  expect(bench.applied).toEqual([]);
});

describe('a machine that cannot take an entry yet', () => {
  test.each(['retryable', 'fatal'] as const)('gets it again, after %s', async (kind) => {
    const bench = new Bench();
    let asked = 0;
    bench.outcome = () => {
      if (++asked > 2) return { kind: 'ack' };
      const common = { appliedCount: asked === 1 ? 2 : 0 };
      return kind === 'fatal'
        ? { kind, message: 'not yet', ...common }
        : { kind, reason: 'Backpressure', ...common };
    };
    bench.append('one', 'two', 'three', 'four');
    bench.commit();
    expect(bench.applied).toEqual(['one', 'two']);
    expect(bench.pipeline.appliedIndex).toBe(2);

    for (let times = 0; times < 4; times++) await bench.pass();

    expect(bench.applied).toEqual(['one', 'two', 'three', 'four']);
    expect(bench.reported).toEqual([1, 2, 3, 4]);
  });

  test('gets nothing twice that it has taken, though it asks for another try', async () => {
    const bench = new Bench();
    let asked = 0;
    bench.outcome = (batch) =>
      asked++ === 0
        ? { kind: 'retryable', reason: 'Backpressure', appliedCount: batch.length }
        : { kind: 'ack' };
    bench.append('one', 'two');
    bench.commit();
    for (let times = 0; times < 4; times++) await bench.pass();
    bench.append('three');
    bench.commit();
    await bench.pass();

    expect(bench.applied).toEqual(['one', 'two', 'three']);
    expect(bench.reported).toEqual([1, 2, 3]);
  });
});

test('entries that the disk does not give are asked for again, and are no fault of the machine', async () => {
  const bench = new Bench();
  const refusal = new ClustorError('CLUSTOR_STORAGE_FAILED', 'cannot close the segment');
  bench.coldReads = [refusal, refusal];
  bench.append('one', 'two');
  bench.commit();
  for (let times = 0; times < 4; times++) await bench.pass();

  expect(bench.pipeline.fault).toBeUndefined();
  expect(bench.applied).toEqual(['one', 'two']);
});

test('an answer that is too large to be passed on is an error of its entry, and of its retries', () => {
  const bench = new Bench();
  bench.outcome = (batch) => ({
    kind: 'ack',
    results: Array.from({ length: batch.length }, (_, at) =>
      utf8Decode(batch.payload(at)) === 'large' ? new Uint8Array(resultBytesMax + 1) : undefined,
    ),
  });
  bench.append('small', 'large', 'small');
  bench.commit();

  expect(bench.applied).toEqual(['small', 'large', 'small']);
  expect(bench.reported).toEqual([1, 3]);
  expect(bench.answered).toMatchObject([
    [2, { error: { code: 'CLUSTOR_RESULT_TOO_LARGE', outcome: 'committed' } }],
  ]);
  expect(bench.pipeline.appliedIndex).toBe(3);
});

test('an answer that is not bytes is a fault of the machine', () => {
  const bench = new Bench();
  bench.outcome = () => ({ kind: 'ack', results: ['text' as unknown as Uint8Array] });
  bench.append('one');
  bench.commit();

  expect(bench.pipeline.fault?.message).toContain('not all bytes');
  expect(bench.reported).toEqual([]);
  expect(bench.pipeline.appliedIndex).toBe(0);
});
