/** Accidents with the fate of requests that other systems had; none of them may happen here. */
import { describe, expect, test } from 'vitest';

import { ByteWriter, utf8Decode, utf8Encode } from '../../src/base/bytes.ts';
import { ClustorError } from '../../src/base/errors.ts';
import { logIndex, partitionId, term } from '../../src/base/ids.ts';
import type { ApplyOutcome, EntryBatch, StateMachine } from '../../src/ports/state-machine.ts';
import { ApplyPipeline } from '../../src/runtime/apply-pipeline.ts';
import { FrameBuilder } from '../../src/runtime/frame-builder.ts';
import { idempotencyBounds, type IdempotencyBounds } from '../../src/runtime/idempotency-table.ts';
import { nodeLimits } from '../../src/runtime/limits.ts';
import { ProposalQueue, type Proposal } from '../../src/runtime/proposals.ts';
import { keyMetadata } from '../../src/runtime/session-keys.ts';
import { decodeResult, encodeCommand } from '../../src/testing/sim-machine.ts';
import { ScenarioCluster } from './scenario-cluster.ts';

const somePartition = partitionId('018c0d6c-9c11-7e9d-8000-000000000001');

const ignored = { proposalCommitted: () => undefined, proposalFailed: () => undefined };

/** A proposal of so many bytes whose fate nobody waits for. */
function proposalOf(bytes: number | Uint8Array, key: Uint8Array = new Uint8Array(0)): Proposal {
  const payload = typeof bytes === 'number' ? new Uint8Array(bytes) : bytes;
  return { metadata: key, payload, sink: ignored, slot: 0 };
}

/** Moves everything that waits into the log. */
function appendAll(queue: ProposalQueue, firstIndex: number): void {
  const batch: Proposal[] = [];
  queue.takeBatch(batch, { entriesMax: 100, bytesMax: 1_000 });
  queue.appended(batch, logIndex(firstIndex));
}

/** One machine under the pipeline, with committed entries in memory and a clock that the test moves. */
class ApplyBench {
  readonly applied: string[] = [];
  readonly answers = new Map<number, string>();
  readonly pipeline: ApplyPipeline;
  outcome: () => ApplyOutcome = () => ({ kind: 'ack' });
  nowMs = 0;
  #timers: { readonly atMs: number; readonly run: () => void }[] = [];
  readonly #frames = new FrameBuilder(somePartition);
  readonly #entries: Uint8Array[] = [];

  constructor(idempotency: Partial<IdempotencyBounds> = {}) {
    this.pipeline = new ApplyPipeline({
      partitionId: somePartition,
      machine: this.#machine(),
      limits: nodeLimits({}),
      idempotency: { ...idempotencyBounds, ...idempotency },
      clock: {
        monotonicMs: () => this.nowMs,
        wallMs: () => this.nowMs,
        setTimer: (delayMs, run) => {
          this.#timers.push({ atMs: this.nowMs + delayMs, run });
          return () => undefined;
        },
        endOfTurn: (run) => {
          run();
        },
      },
      appliedIndex: logIndex(0),
      source: {
        slice: (first, last) => this.#entries.slice(first - 1, last),
        read: () => Promise.reject(new Error('everything is in memory')),
      },
      listener: {
        applied: (index) => this.answers.set(index, 'applied'),
        answered: (index, answer) =>
          this.answers.set(
            index,
            'row' in answer ? `duplicate of ${answer.row.index}` : answer.error.code,
          ),
        durabilityChanged: () => undefined,
        advanced: () => undefined,
        faulted: () => undefined,
      },
    });
  }

  /** An entry is committed; it carries a key and the commit index known when it was first tried. */
  commit(payload: string, key?: { readonly name: string; readonly firstSeenCommit: number }): void {
    const metadata =
      key === undefined
        ? new Uint8Array(0)
        : keyMetadata(new ByteWriter(), {
            opaqueKey: utf8Encode(key.name),
            firstSeenCommit: key.firstSeenCommit,
          });
    const index = logIndex(this.#entries.length + 1);
    this.#entries.push(
      this.#frames.proposals([proposalOf(utf8Encode(payload), metadata)], {
        term: term(1),
        firstIndex: index,
        ingestMs: 1,
      }),
    );
    this.pipeline.advanceTo(index);
  }

  /** Time passes, and timers with it. */
  async pass(ms: number): Promise<void> {
    this.nowMs += ms;
    const due = this.#timers.filter(({ atMs }) => atMs <= this.nowMs);
    this.#timers = this.#timers.filter(({ atMs }) => atMs > this.nowMs);
    for (const { run } of due) run();
    await new Promise((resolve) => setImmediate(resolve));
  }

  #machine(): StateMachine {
    return {
      apply: (batch: EntryBatch) => {
        const outcome = this.outcome();
        const count = outcome.kind === 'ack' ? batch.length : outcome.appliedCount;
        for (let at = 0; at < count; at++) this.applied.push(utf8Decode(batch.payload(at)));
        return outcome;
      },
      query: () => new Uint8Array(0),
      async *snapshot() {},
      restore: () => Promise.resolve(),
    };
  }
}

describe('regression 20: byte limits of uncommitted entries are right again after a change of leader', () => {
  const refused = {
    waiting: new ClustorError('CLUSTOR_NOT_LEADER', 'no'),
    appended: new ClustorError('CLUSTOR_LEADERSHIP_LOST', 'no'),
  };

  test('proposals that were failed count for nothing, appended or not', () => {
    const queue = new ProposalQueue({ proposalsMax: 10, proposalBytesMax: 100 });
    expect(queue.offer(proposalOf(60))).toBeUndefined();
    appendAll(queue, 5);
    expect(queue.offer(proposalOf(40))).toBeUndefined();
    expect(queue.offer(proposalOf(1))?.code).toBe('CLUSTOR_OVERLOADED');

    queue.failAll(refused);

    expect(queue.offer(proposalOf(100))).toBeUndefined();
    expect(queue.offer(proposalOf(1))?.code).toBe('CLUSTOR_OVERLOADED');
  });

  test('entries of the earlier reign that are applied later free nothing a second time', () => {
    const queue = new ProposalQueue({ proposalsMax: 10, proposalBytesMax: 100 });
    queue.offer(proposalOf(60));
    appendAll(queue, 5);
    queue.failAll(refused);
    queue.offer(proposalOf(60));

    expect(queue.takeApplied(logIndex(5))).toBeUndefined();

    expect(queue.offer(proposalOf(60))?.code).toBe('CLUSTOR_OVERLOADED');
  });

  test('what is applied frees its bytes, so that the limit is about what is under way', () => {
    const queue = new ProposalQueue({ proposalsMax: 10, proposalBytesMax: 100 });
    queue.offer(proposalOf(100));
    appendAll(queue, 1);

    queue.takeApplied(logIndex(1));

    expect(queue.offer(proposalOf(100))).toBeUndefined();
  });
});

describe('regression 45: a dropped proposal says whether it surely did not happen, happened, or is unknown', () => {
  test('surely not: nobody could be asked', async () => {
    const scenario = await ScenarioCluster.start(45);
    const leader = await scenario.untilLeader();
    const [survivor, other] = scenario.others(leader);
    for (const id of [leader, other!]) scenario.crash(id);
    await scenario.until('the loss is noticed', () => scenario.leader() === undefined);
    await scenario.advance(2_000);

    const ending = await scenario.ending(
      scenario.write(survivor!, 'key', 'never', { deadlineMs: 3_000 }),
    );

    expect(ending).toMatchObject({ kind: 'rejected', error: { outcome: 'surelyNot' } });
  });

  test('unknown: it stood in the log of a leader that lost its followers', async () => {
    const scenario = await ScenarioCluster.start(46);
    const leader = await scenario.untilLeader();
    scenario.isolate(leader);

    const ending = await scenario.ending(
      scenario.write(leader, 'key', 'perhaps', { deadlineMs: 3_000 }),
    );

    expect(ending).toMatchObject({ kind: 'rejected', error: { outcome: 'unknown' } });
  });

  test('happened: it is acknowledged though its leader was lost meanwhile', async () => {
    const scenario = await ScenarioCluster.start(47);
    const leader = await scenario.untilLeader();
    const [asked] = scenario.others(leader);
    const write = scenario.write(asked!, 'key', 'once', { deadlineMs: 20_000 });
    await scenario.advance(1);
    scenario.crash(leader);

    const ending = await scenario.ending(write);

    expect(ending.kind).toBe('fulfilled');
    expect(scenario.value(asked!, 'key')).toBe('once');
  });
});

describe('regression 46: a retry after a fail-over under the same key has the same index, the same result and one effect', () => {
  test('at the new leader, asked again by the caller', async () => {
    const scenario = await ScenarioCluster.start(48);
    const leader = await scenario.untilLeader();
    const count = encodeCommand({ op: 'incr', key: 'count', amount: 1 });
    const idempotencyKey = {
      opaqueKey: utf8Encode('a request'),
      firstSeenCommit: Number(scenario.partition(leader).commitIndex),
    };
    const first = await scenario.settle(
      scenario.partition(leader).append(count, { idempotencyKey }),
    );
    scenario.crash(leader);
    const next = await scenario.untilLeader(scenario.others(leader));

    const again = await scenario.settle(scenario.partition(next).append(count, { idempotencyKey }));

    expect(again.index).toBe(first.index);
    expect(decodeResult(again.result)).toEqual(decodeResult(first.result));
    expect(scenario.value(next, 'count')).toBe('1');
  });
});

describe('regression 58: a partition that cannot apply stops applying, and its log goes on', () => {
  test('a poison entry stops every replica at the same index', async () => {
    const scenario = await ScenarioCluster.start(58);
    const leader = await scenario.untilLeader();
    await scenario.settle(scenario.write(leader, 'key', 'before'));

    const ending = await scenario.ending(scenario.poison(leader));
    await scenario.advance(1_000);

    expect(ending).toMatchObject({ kind: 'rejected', error: { code: 'CLUSTOR_APPLY_FAULT' } });
    const stoppedAt = scenario.nodeIds.map((id) => Number(scenario.replica(id).apply.appliedIndex));
    expect(new Set(stoppedAt).size).toBe(1);
    for (const id of scenario.nodeIds)
      expect(scenario.replica(id).apply.fault?.code).toBe('CLUSTOR_APPLY_FAULT');
  });

  test('leaders are elected and commit behind it, and new requests surely do not happen', async () => {
    const scenario = await ScenarioCluster.start(59);
    const leader = await scenario.untilLeader();
    await scenario.ending(scenario.poison(leader));
    const committed = Number(scenario.replica(leader).state.commitIndex);
    scenario.crash(leader);

    const next = await scenario.untilLeader(scenario.others(leader));
    const ending = await scenario.ending(scenario.write(next, 'key', 'refused'));

    expect(Number(scenario.replica(next).state.commitIndex)).toBeGreaterThan(committed);
    expect(ending).toMatchObject({
      kind: 'rejected',
      error: { code: 'CLUSTOR_APPLY_FAULT', outcome: 'surelyNot' },
    });
  });

  test('a machine that fails three times on one entry is not asked a fourth time', async () => {
    const bench = new ApplyBench();
    let asked = 0;
    bench.outcome = () => {
      asked++;
      return { kind: 'fatal', appliedCount: 0, message: 'no handle' };
    };
    bench.commit('one');

    for (let second = 0; second < 10; second++) await bench.pass(1_000);

    expect(asked).toBe(3);
    expect(bench.pipeline.fault?.code).toBe('CLUSTOR_APPLY_FAULT');
  });

  test('a machine that gets its handle in time goes on', async () => {
    const bench = new ApplyBench();
    let asked = 0;
    bench.outcome = () =>
      ++asked < 3 ? { kind: 'fatal', appliedCount: 0, message: 'no handle' } : { kind: 'ack' };
    bench.commit('one');

    for (let second = 0; second < 10; second++) await bench.pass(1_000);

    expect(bench.pipeline.fault).toBeUndefined();
    expect(bench.applied).toEqual(['one']);
  });
});

describe('regression 59: a retry whose key was evicted is refused, and has no second effect', () => {
  const key = { name: 'a', firstSeenCommit: 0 };

  test('the horizon has passed what its first attempt knew', () => {
    const bench = new ApplyBench({ rowsMax: 2 });
    bench.commit('one', key);
    bench.commit('two', { name: 'b', firstSeenCommit: 1 });
    bench.commit('three', { name: 'c', firstSeenCommit: 2 });

    bench.commit('one', key);

    expect(bench.answers.get(4)).toBe('CLUSTOR_IDEMPOTENCY_HORIZON_PASSED');
    expect(bench.applied).toEqual(['one', 'two', 'three']);
  });

  test('a retry whose key is still there gets the first answer', () => {
    const bench = new ApplyBench({ rowsMax: 2 });
    bench.commit('one', key);
    bench.commit('two', { name: 'b', firstSeenCommit: 1 });

    bench.commit('one', key);

    expect(bench.answers.get(3)).toBe('duplicate of 1');
    expect(bench.applied).toEqual(['one', 'two']);
  });

  test('a new request whose client knows the newer commit index is not refused', () => {
    const bench = new ApplyBench({ rowsMax: 2 });
    bench.commit('one', key);
    bench.commit('two', { name: 'b', firstSeenCommit: 1 });
    bench.commit('three', { name: 'c', firstSeenCommit: 2 });

    bench.commit('four', { name: 'd', firstSeenCommit: 3 });

    expect(bench.answers.get(4)).toBe('applied');
  });
});
