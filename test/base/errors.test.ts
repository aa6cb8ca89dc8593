import { describe, expect, test } from 'vitest';

import { assert, InvariantError, present, unreachable } from '../../src/base/assert.ts';
import {
  errorCodeOfWireNumber,
  errorCodes,
  wireNumberOf,
  type ErrorCode,
} from '../../src/base/error-codes.ts';
import { ClustorError, isClustorError, messageOf } from '../../src/base/errors.ts';

describe('errors', () => {
  const codes = Object.keys(errorCodes) as ErrorCode[];

  test('have a number of their own that leads back to their code', () => {
    expect(new Set(codes.map(wireNumberOf)).size).toBe(codes.length);
    for (const code of codes) expect(errorCodeOfWireNumber(wireNumberOf(code))).toBe(code);
    expect(errorCodeOfWireNumber(65000)).toBe('CLUSTOR_INTERNAL');
  });

  test('say what is known of the request and what to do, in one sentence', () => {
    for (const code of codes) {
      const error = new ClustorError(code, 'it went wrong');
      expect(error.outcome).toBe(errorCodes[code].outcome);
      expect(error.retryable).toBe(errorCodes[code].retryable);
      expect(error.advice).toMatch(/^[A-Z].*\.$/);
    }
  });

  test('may know better than the table, and keep their cause', () => {
    const cause = new Error('disk');
    const error = new ClustorError('CLUSTOR_CLOSED', 'closed', {
      outcome: 'surelyNot',
      cause,
      details: { leaderNodeId: 2 },
    });
    expect(error).toMatchObject({
      outcome: 'surelyNot',
      cause,
      details: { leaderNodeId: 2 },
      name: 'ClustorError',
    });
    expect(isClustorError(error, 'CLUSTOR_CLOSED')).toBe(true);
    expect(isClustorError(error, 'CLUSTOR_INTERNAL')).toBe(false);
    expect(isClustorError(cause)).toBe(false);
    expect([messageOf(cause), messageOf('text')]).toEqual(['disk', 'text']);
  });

  test('of our own are assertions, never catalogued', () => {
    expect(() => assert(false, 'two is two')).toThrow(
      new InvariantError('broken invariant: two is two'),
    );
    expect(() => present(undefined, 'a leader')).toThrow(/missing value: a leader/);
    expect(present(0, 'zero is there')).toBe(0);
    expect(() => unreachable({ kind: 'x' } as never)).toThrow(
      /unreachable variant: \{"kind":"x"\}/,
    );
  });
});
