import { describe, expect, test } from 'vitest';

import { nodeId, replicaId, type LogIndex, type Term } from '../../src/base/ids.ts';
import { appendTerms, emptyLogTerms } from '../../src/raft/log-terms.ts';
import type { Configuration, Member } from '../../src/base/membership.ts';
import { findThief, type VoterLog } from '../../src/testing/commit-safety.ts';
import { isOutForGood } from '../../src/testing/committed-row.ts';
import { configurationOf, lifeOf, member } from '../raft/core-driver.ts';

function voter(id: number, terms: readonly number[], durable: number = terms.length): VoterLog {
  const log = emptyLogTerms(0 as LogIndex, 0 as Term);
  terms.forEach((term, at) => {
    appendTerms(log, (at + 1) as LogIndex, term as Term);
  });
  return {
    replicaId: replicaId(id),
    incarnation: lifeOf(id),
    nodeId: nodeId(id),
    log,
    durableIndex: durable as LogIndex,
    inDoubt: false,
  };
}

const voters = (count: number): Member[] =>
  Array.from({ length: count }, (_, at) => member(at + 1));

function thiefAmong(
  logs: readonly VoterLog[],
  configurations: readonly Configuration[] = [configurationOf(voters(logs.length))],
): number | undefined {
  return findThief(second, logs, configurations);
}

const second = { index: 2 as LogIndex, term: 2 as Term };

describe('a committed entry', () => {
  test('of an earlier term on a majority can be overwritten by a newer log (figure 8, c)', () => {
    const logs = [
      voter(1, [1, 2, 4]),
      voter(2, [1, 2]),
      voter(3, [1, 2]),
      voter(4, [1]),
      voter(5, [1, 3]),
    ];
    expect(thiefAmong(logs)).toBe(5);
  });

  test('is not overwritten by the voice of a replica in doubt, which has none (KER-9)', () => {
    const logs = [voter(1, [1, 2]), voter(2, [1]), voter(3, [1])];
    expect(thiefAmong(logs)).toBe(2);

    const doubtful = [voter(1, [1, 2]), voter(2, [1]), { ...voter(3, [1]), inDoubt: true }];
    expect(thiefAmong(doubtful)).toBeUndefined();
  });

  test('is safe once an entry of the own term behind it is on a majority (figure 8, e)', () => {
    const logs = [
      voter(1, [1, 2, 4]),
      voter(2, [1, 2, 4]),
      voter(3, [1, 2, 4]),
      voter(4, [1]),
      voter(5, [1, 3]),
    ];
    expect(thiefAmong(logs)).toBeUndefined();
  });

  test('does not count where it is not on the disk', () => {
    const logs = [voter(1, [1, 2]), voter(2, [1, 2], 1), voter(3, [1])];
    expect(thiefAmong(logs)).toBe(2);
    expect(thiefAmong([voter(1, [1, 2]), voter(2, [1, 2]), voter(3, [1])])).toBeUndefined();
  });

  test('of a single voter is safe', () => {
    expect(thiefAmong([voter(1, [1, 2])])).toBeUndefined();
  });

  test('needs both majorities while the replica that lacks it is in a joint phase', () => {
    const joint = {
      ...configurationOf([member(1), member(4), member(5)], voters(3)),
      term: 1 as Term,
      index: 1 as LogIndex,
    };
    const configurations = [configurationOf(voters(3)), joint];
    const logs = [
      voter(1, [1, 2]),
      voter(2, [1, 3]),
      voter(3, [1]),
      voter(4, [1, 2]),
      voter(5, [1, 2]),
    ];
    expect(thiefAmong(logs, configurations)).toBe(2);
    expect(thiefAmong(logs.slice(0, 3), configurations)).toBeUndefined();
  });
});

describe('a replica in doubt', () => {
  const terms = new Map([1, 1, 2].map((term, at) => [at + 1, term] as [LogIndex, Term]));

  test.each([
    { end: [3, 2], is: false, why: 'it ends as what is committed' },
    { end: [2, 1], is: false, why: 'it ends within it' },
    { end: [3, 1], is: true, why: 'its last entry was overwritten elsewhere' },
    { end: [4, 2], is: true, why: 'its last entry was never committed' },
  ])('that is in quarantine is out for good: $is, because $why', ({ end, is }) => {
    const [index, term] = end as [LogIndex, Term];
    const state = { inDoubt: true, hasLostEvidence: false, quarantineEnd: { index, term } };

    expect(isOutForGood(state, { terms })).toBe(is);
  });

  test('that has lost evidence is out whatever its log, one without doubt is not', () => {
    const quarantineEnd = undefined;

    expect(isOutForGood({ inDoubt: true, hasLostEvidence: true, quarantineEnd }, { terms })).toBe(
      true,
    );
    expect(isOutForGood({ inDoubt: false, hasLostEvidence: false, quarantineEnd }, { terms })).toBe(
      false,
    );
  });
});
