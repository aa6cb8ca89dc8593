/** `Integrity` quarantine as the core sees it (specification §5.6, KER-9). */
import { describe, expect, test } from 'vitest';

import { logIndex, term } from '../../src/base/ids.ts';
import { appendOf, CoreDriver, effectsOf, runsOf, sentOf, wordOf } from './core-driver.ts';

/** A core that knows two entries of four, committed ones among them. */
function damaged(): CoreDriver {
  return new CoreDriver({ log: [1, 1], term: 2, recordedCommitIndex: 2, isQuarantined: true });
}

const whole = {
  baseIndex: logIndex(0),
  baseTerm: term(0),
  termRuns: runsOf([1, 1, 2, 2]),
  lastIndex: logIndex(4),
  recordedCommitIndex: logIndex(3),
};
const candidate = { lastIndex: logIndex(9), lastTerm: term(9) };

describe('a core in quarantine', () => {
  test('neither campaigns nor votes', () => {
    const driver = damaged();

    for (let round = 0; round < 5; round++) expect(driver.tickToDeadline()).toEqual([]);
    for (const asked of [2, 9])
      expect(
        driver.receive(
          wordOf(2, { kind: 'voteRequest', term: term(asked), ...candidate, isTransfer: false }),
        ),
      ).toEqual([]);
    expect(driver.state).toMatchObject({ role: 'follower', term: 2, votedFor: undefined });
  });

  test('answers heartbeats in doubt, and appends not at all', () => {
    const driver = damaged();

    const echo = driver.receive(
      wordOf(2, {
        kind: 'heartbeat',
        mayHibernate: true,
        lease: false,
        term: term(2),
        round: 4,
        commit: logIndex(4),
      }),
    );
    const effects = driver.receive(
      appendOf(2, { term: 2, prevIndex: 4, prevTerm: 2, terms: [2], commit: 4 }),
    );

    expect(sentOf(echo, 'heartbeatEcho')).toMatchObject([{ round: 4, inDoubt: true }]);
    expect(effectsOf(effects, 'sendMessage')).toEqual([]);
    expect(driver.state).toMatchObject({ commitIndex: 2, appliableIndex: 2, isHibernating: false });
    expect(driver.state.log.lastIndex).toBe(2);
  });

  test('has its whole log when that was repaired, votes at once and acknowledges', () => {
    const driver = damaged();

    const effects = driver.input({ kind: 'repaired', log: whole });

    expect(effectsOf(effects, 'commitAdvanced')).toMatchObject([{ commitIndex: 3 }]);
    expect(driver.state).toMatchObject({ inDoubt: false, isQuarantined: false, durableIndex: 4 });
    const vote = [
      ...driver.receive(
        wordOf(2, { kind: 'voteRequest', term: term(3), ...candidate, isTransfer: false }),
      ),
      ...driver.sync(),
    ];
    expect(sentOf(vote, 'voteResponse')).toMatchObject([{ voteGranted: true }]);
    driver.receive(appendOf(2, { term: 3, prevIndex: 4, prevTerm: 2, terms: [3] }));
    expect(sentOf(driver.sync(), 'durabilityAck')).toMatchObject([{ lastFsyncedIndex: 5 }]);
  });

  test('stays in doubt for good when a leader remembers more than the ledger covers', () => {
    const driver = damaged();

    const effects = driver.receive(
      appendOf(2, { term: 2, prevIndex: 8, prevTerm: 2, receiverInDoubt: true }),
    );
    driver.input({ kind: 'repaired', log: whole });

    expect(effectsOf(effects, 'persistDoubt')).toHaveLength(1);
    expect(driver.state).toMatchObject({ inDoubt: true, isQuarantined: false });
  });
});

test('a leader that meets damage leads no more, and keeps its log', () => {
  const driver = new CoreDriver();
  driver.win();
  driver.sync();

  driver.input({ kind: 'quarantine' });
  const lastIndex = driver.state.log.lastIndex;
  driver.input({ kind: 'repaired', log: undefined });

  expect(driver.state).toMatchObject({ role: 'follower', inDoubt: false });
  expect(driver.state.log.lastIndex).toBe(lastIndex);
});
