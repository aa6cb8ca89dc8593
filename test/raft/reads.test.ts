import { describe, expect, test } from 'vitest';

import { logIndex, nodeId, term } from '../../src/base/ids.ts';
import { appendOf, CoreDriver, effectsOf, sentOf, wordOf } from './core-driver.ts';

/** Leader 1 of three in term 1 with a committed no-op. */
function leader(): CoreDriver {
  const driver = new CoreDriver();
  driver.win();
  driver.sync();
  driver.acknowledge(2, 1);
  expect(driver.state).toMatchObject({ role: 'leader', commitIndex: 1 });
  return driver;
}

const round = (driver: CoreDriver): number => driver.state.leader!.round;

describe('a linearizable read', () => {
  test('is ready once a round sent after its arrival is echoed by a majority', () => {
    const driver = leader();
    const before = round(driver);
    const arrived = driver.input({ kind: 'readIndex', readId: 7 });
    expect(sentOf(arrived, 'heartbeat')).toMatchObject([
      { round: before + 1 },
      { round: before + 1 },
    ]);
    expect(effectsOf(arrived, 'readReady')).toEqual([]);
    expect(effectsOf(driver.echo(3, before + 1), 'readReady')).toEqual([
      { kind: 'readReady', readId: 7, index: 1 },
    ]);
  });

  test('is not confirmed by an echo of a round that was sent before it arrived', () => {
    const driver = leader();
    driver.tick(5);
    const before = round(driver);
    driver.input({ kind: 'readIndex', readId: 7 });
    expect(effectsOf(driver.echo(2, before), 'readReady')).toEqual([]);
    expect(effectsOf(driver.echo(3, before), 'readReady')).toEqual([]);
    expect(effectsOf(driver.echo(2, before + 1), 'readReady')).toHaveLength(1);
  });

  test('takes the commit index of its arrival, not a later one', () => {
    const driver = leader();
    driver.input({ kind: 'readIndex', readId: 7 });
    driver.input({ kind: 'propose', count: 3 });
    driver.sync();
    driver.acknowledge(2, 4);
    expect(driver.state.commitIndex).toBe(4);
    expect(effectsOf(driver.echo(2, round(driver)), 'readReady')).toMatchObject([{ index: 1 }]);
  });

  test('waits for a commit of the own term, however well the leadership is confirmed', () => {
    const driver = new CoreDriver({ log: [1, 1], recordedCommitIndex: 2, term: 1 });
    driver.win();
    driver.input({ kind: 'readIndex', readId: 1 });
    driver.echo(2, round(driver));
    expect(driver.state.leader!.reads).toHaveLength(1);

    driver.acknowledge(2, 3);
    expect(driver.state.commitIndex).toBe(2);
    expect(effectsOf(driver.sync(), 'readReady')).toEqual([
      { kind: 'readReady', readId: 1, index: 3 },
    ]);
  });

  test('shares its round with those that arrive while one is out, each with a round of its own time', () => {
    const driver = leader();
    driver.input({ kind: 'readIndex', readId: 1 });
    const first = round(driver);
    for (const readId of [2, 3, 4]) expect(driver.input({ kind: 'readIndex', readId })).toEqual([]);

    const confirmed = driver.echo(2, first);
    expect(effectsOf(confirmed, 'readReady')).toMatchObject([{ readId: 1 }]);
    expect(sentOf(confirmed, 'heartbeat')).toMatchObject([
      { round: first + 1 },
      { round: first + 1 },
    ]);
    expect(effectsOf(driver.echo(3, first + 1), 'readReady')).toMatchObject([
      { readId: 2 },
      { readId: 3 },
      { readId: 4 },
    ]);
  });

  test.each([
    { whose: 'a replica in doubt', word: { inDoubt: true } },
    { whose: 'another life of a replica', word: { life: 1 } },
  ])('is not confirmed by $whose', ({ word }) => {
    const driver = leader();
    driver.input({ kind: 'readIndex', readId: 7 });
    expect(driver.echo(2, round(driver), word)).toEqual([]);
    expect(driver.state.leader!.reads).toHaveLength(1);
  });

  test('is not confirmed by an echo of a round that was never sent', () => {
    const driver = leader();
    driver.input({ kind: 'readIndex', readId: 7 });
    expect(driver.echo(2, round(driver) + 1)).toEqual([]);
  });

  test('fails at once where nobody leads', () => {
    const driver = new CoreDriver();
    expect(driver.input({ kind: 'readIndex', readId: 3 })).toEqual([
      { kind: 'readFailed', readId: 3 },
    ]);
  });

  test('fails when the leader steps down before it is confirmed', () => {
    const driver = leader();
    driver.input({ kind: 'readIndex', readId: 3 });
    const effects = driver.receive(
      wordOf(2, {
        kind: 'heartbeat',
        mayHibernate: false,
        lease: false,
        term: term(2),
        round: 1,
        commit: logIndex(1),
      }),
    );
    expect(effectsOf(effects, 'readFailed')).toEqual([{ kind: 'readFailed', readId: 3 }]);
  });
});

describe('after a stall', () => {
  test('a waiting read needs a round sent from now on: echoes that lay in the socket do not count', () => {
    const driver = leader();
    driver.input({ kind: 'readIndex', readId: 7 });
    const sentBefore = round(driver);
    expect(sentOf(driver.input({ kind: 'stalled' }), 'heartbeat')).toHaveLength(2);
    expect(effectsOf(driver.echo(2, sentBefore), 'readReady')).toEqual([]);
    expect(effectsOf(driver.echo(2, sentBefore + 1), 'readReady')).toHaveLength(1);
  });

  test('a follower goes on as before', () => {
    const driver = new CoreDriver();
    expect(driver.input({ kind: 'stalled' })).toEqual([]);
  });
});

describe('a forwarded read', () => {
  test('lets a follower commit what the leader vouched for and this replica verified', () => {
    const driver = new CoreDriver();
    driver.receive(appendOf(2, { term: 1, prevIndex: 0, prevTerm: 0, terms: [1, 1] }));
    driver.sync();
    const effects = driver.input({ kind: 'leaderCommit', term: term(1), commit: logIndex(9) });
    expect(effectsOf(effects, 'commitAdvanced')).toMatchObject([
      { commitIndex: 2, appliableIndex: 2 },
    ]);
  });

  test("of another term is no word on this term's log", () => {
    const driver = new CoreDriver();
    driver.receive(appendOf(2, { term: 2, prevIndex: 0, prevTerm: 0, terms: [2, 2] }));
    driver.sync();
    for (const other of [1, 3]) {
      expect(
        driver.input({ kind: 'leaderCommit', term: term(other), commit: logIndex(2) }),
      ).toEqual([]);
    }
    expect(driver.state.commitIndex).toBe(0);
  });

  test('says nothing to a leader', () => {
    const driver = leader();
    driver.input({ kind: 'propose', count: 1 });
    expect(driver.input({ kind: 'leaderCommit', term: term(1), commit: logIndex(2) })).toEqual([]);
    expect(driver.state).toMatchObject({ commitIndex: 1, selfNode: nodeId(1) });
  });
});
