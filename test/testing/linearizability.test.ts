/** The judge of histories, against stories whose verdict is plain and against a judge that tries every order. */
import { describe, expect, test } from 'vitest';

import { pairHistory } from '../../src/testing/history.ts';
import { judgeHistoryFile } from '../../src/testing/history-judge.ts';
import { checkLinearizable, checkOperations } from '../../src/testing/linearizability.ts';
import { registerModel } from '../../src/testing/linearizability-models.ts';
import {
  faultOfOrder,
  fewValues,
  isLinearizableByForce,
  simulateRegister,
  storyEvents,
  uniqueWrites,
  type Story,
} from './history-samples.ts';

const good: Readonly<Record<string, Story>> = {
  'a read after a write sees it': [
    [1, 'write', 'a', 0, 10, { ok: 'a' }],
    [2, 'read', null, 20, 30, { ok: 'a' }],
  ],
  'a read beside a write sees either value': [
    [1, 'write', 'a', 0, 10, { ok: 'a' }],
    [1, 'write', 'b', 20, 50, { ok: 'b' }],
    [2, 'read', null, 30, 40, { ok: 'a' }],
  ],
  'a write of unknown outcome may show much later': [
    [1, 'write', 'a', 0, 10, 'info'],
    [2, 'read', null, 20, 30, { ok: null }],
    [2, 'read', null, 40, 50, { ok: 'a' }],
  ],
  'a write that surely failed leaves nothing': [
    [1, 'write', 'a', 0, 10, 'fail'],
    [2, 'read', null, 20, 30, { ok: null }],
  ],
};

const bad: Readonly<Record<string, Story>> = {
  'a read that misses an acknowledged write': [
    [1, 'write', 'a', 0, 10, { ok: 'a' }],
    [2, 'read', null, 20, 30, { ok: null }],
  ],
  'a stale read after a newer one': [
    [1, 'write', 'a', 0, 10, { ok: 'a' }],
    [1, 'write', 'b', 20, 60, { ok: 'b' }],
    [2, 'read', null, 30, 35, { ok: 'b' }],
    [3, 'read', null, 40, 45, { ok: 'a' }],
  ],
  'a write that surely failed and shows': [
    [1, 'write', 'a', 0, 10, 'fail'],
    [2, 'read', null, 20, 30, { ok: 'a' }],
  ],
  'a counter that counted one increment twice': [
    [1, 'incr', 1, 0, 10, { ok: 1 }],
    [2, 'read', null, 20, 30, { ok: '2' }],
  ],
};

describe('stories', () => {
  test.each(Object.entries(good))('%s: linearizable', (_name, story) => {
    expect(checkLinearizable(storyEvents(story), { model: registerModel }).kind).toBe(
      'linearizable',
    );
  });

  test.each(Object.entries(bad))('%s: a violation', (_name, story) => {
    expect(checkLinearizable(storyEvents(story), { model: registerModel }).kind).toBe('violation');
  });

  test('text that is no history is told from a violation', () => {
    expect(judgeHistoryFile('{"process":1}').verdict).toBe('invalid');
  });
});

describe('random histories', () => {
  test.each(Array.from({ length: 60 }, (_, at) => at + 1))(
    'the judge agrees with brute force, seed %i',
    (seed) => {
      const truth = simulateRegister({
        seed,
        clients: 3,
        operations: 8,
        keys: 1,
        infoRate: 0.15,
        request: seed % 2 === 0 ? uniqueWrites : fewValues,
      });
      // One answer in some histories is exchanged for another one, so that both verdicts come up.
      const altered = truth.findIndex((event) => event.type === 'ok' && event.op === 'read');
      const events = truth.map((event, at) =>
        seed % 3 === 0 && at === altered ? { ...event, value: 'v3' } : event,
      );
      const { operations } = pairHistory(events);

      const verdict = checkOperations(operations, { model: registerModel });

      expect(verdict.kind === 'linearizable').toBe(
        isLinearizableByForce(operations, registerModel),
      );
      if (verdict.kind !== 'linearizable') return;
      for (const order of verdict.orders.values()) {
        expect(faultOfOrder(order, operations, registerModel)).toBeUndefined();
      }
    },
  );
});
