import { describe, expect, test } from 'vitest';

import { term } from '../../src/base/ids.ts';
import { cloneRaftState, describeRaftState, fingerprint } from '../../src/raft/index.ts';
import { appendOf, CoreDriver, createCore, wordOf } from './core-driver.ts';

/** One core of each role, with something in every list. */
function roles(): CoreDriver[] {
  const follower = new CoreDriver();
  follower.receive(appendOf(2, { term: 1, prevIndex: 0, prevTerm: 0, terms: [1, 1] }));
  const preCandidate = new CoreDriver();
  preCandidate.tickToDeadline();
  const candidate = new CoreDriver();
  candidate.tickToDeadline();
  candidate.receive(
    wordOf(2, { kind: 'preVoteResponse', highRtt: false, term: term(1), voteGranted: true }),
  );
  const leader = new CoreDriver();
  leader.win();
  leader.sync();
  leader.acknowledge(2, 1);
  leader.input({ kind: 'propose', count: 3 });
  leader.input({ kind: 'readIndex', readId: 1 });
  return [follower, preCandidate, candidate, leader];
}

describe('a clone', () => {
  test.each([0, 1, 2, 3])('of a core has its fingerprint, in every role (%i)', (which) => {
    const { state } = roles()[which]!;
    const clone = cloneRaftState(state);
    expect(clone).toEqual(state);
    expect(fingerprint(clone)).toBe(fingerprint(state));
    expect(describeRaftState(clone)).toBe(describeRaftState(state));
  });

  test.each([0, 1, 2, 3])(
    'is not touched by what happens to the original, in every role (%i)',
    (which) => {
      const driver = roles()[which]!;
      const clone = cloneRaftState(driver.state);
      const before = structuredClone(clone);
      driver.sync();
      driver.tick(5);
      if (driver.state.role === 'leader') {
        driver.acknowledge(3, 2);
        driver.echo(2, driver.state.leader!.round);
        driver.input({ kind: 'propose', count: 2 });
      }
      driver.receive(appendOf(3, { term: 9, prevIndex: 0, prevTerm: 0, terms: [2, 9] }));
      driver.tickToDeadline();
      expect(clone).toEqual(before);
      expect(fingerprint(clone)).not.toBe(fingerprint(driver.state));
    },
  );
});

describe('a fingerprint', () => {
  test('is 16 hex digits', () => {
    expect(fingerprint(createCore())).toMatch(/^[0-9a-f]{16}$/);
  });

  test('does not depend on the clock or the seed', () => {
    expect(fingerprint(createCore({ seed: 1 }))).toBe(
      fingerprint(createCore({ seed: 2, now: 500 })),
    );
  });

  test.each([
    { what: 'the term', other: { term: 1 } },
    { what: 'the log', other: { log: [1] } },
    { what: 'doubt', other: { inDoubt: true } },
    { what: 'the replica', other: { self: 2 } },
    { what: 'the ledger', other: { ledgerSeq: 3 } },
  ])('differs with $what', ({ other }) => {
    expect(fingerprint(createCore(other))).not.toBe(fingerprint(createCore()));
  });
});
