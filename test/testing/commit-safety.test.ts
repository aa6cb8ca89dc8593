import { describe, expect, test } from 'vitest';

import { nodeId, type LogIndex, type Term } from '../../src/base/ids.ts';
import { appendTerms, emptyLogTerms } from '../../src/raft/log-terms.ts';
import { findThief, type VoterLog } from '../../src/testing/commit-safety.ts';

function voter(id: number, terms: readonly number[], durable: number = terms.length): VoterLog {
  const log = emptyLogTerms(0 as LogIndex, 0 as Term);
  terms.forEach((term, at) => {
    appendTerms(log, (at + 1) as LogIndex, term as Term);
  });
  return { nodeId: nodeId(id), log, durableIndex: durable as LogIndex };
}

const second = { index: 2 as LogIndex, term: 2 as Term };

describe('a committed entry', () => {
  test('of an earlier term on a majority can be overwritten by a newer log (figure 8, c)', () => {
    const voters = [
      voter(1, [1, 2, 4]),
      voter(2, [1, 2]),
      voter(3, [1, 2]),
      voter(4, [1]),
      voter(5, [1, 3]),
    ];
    expect(findThief(second, voters)).toBe(5);
  });

  test('is safe once an entry of the own term behind it is on a majority (figure 8, e)', () => {
    const voters = [
      voter(1, [1, 2, 4]),
      voter(2, [1, 2, 4]),
      voter(3, [1, 2, 4]),
      voter(4, [1]),
      voter(5, [1, 3]),
    ];
    expect(findThief(second, voters)).toBeUndefined();
  });

  test('does not count where it is not on the disk', () => {
    const voters = [voter(1, [1, 2]), voter(2, [1, 2], 1), voter(3, [1])];
    expect(findThief(second, voters)).toBe(2);
    expect(findThief(second, [voter(1, [1, 2]), voter(2, [1, 2]), voter(3, [1])])).toBeUndefined();
  });

  test('of a single voter is safe', () => {
    expect(findThief(second, [voter(1, [1, 2])])).toBeUndefined();
  });
});
