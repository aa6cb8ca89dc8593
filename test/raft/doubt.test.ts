import { describe, expect, test } from 'vitest';

import { logIndex, nodeId, term } from '../../src/base/ids.ts';
import { appendOf, CoreDriver, effectsOf, sentOf, wordOf } from './core-driver.ts';

describe('a replica in doubt (KER-9)', () => {
  const doubtful = (): CoreDriver => new CoreDriver({ log: [1, 1], term: 1, inDoubt: true });

  test('never campaigns', () => {
    const driver = doubtful();
    for (let round = 0; round < 5; round++) expect(driver.tickToDeadline()).toEqual([]);
    driver.receive(
      wordOf(3, {
        kind: 'heartbeat',
        mayHibernate: false,
        lease: false,
        term: term(1),
        round: 1,
        commit: logIndex(0),
      }),
    );
    expect(driver.input({ kind: 'nodeUnreachable', nodeId: nodeId(3) })).toEqual([]);
    const later = Array.from({ length: 5 }, () => driver.tickToDeadline()).flat();
    expect(effectsOf(later, 'sendMessage')).toEqual([]);
    expect(driver.state).toMatchObject({ role: 'follower', leaderContact: undefined });
  });

  test('answers neither pre-votes nor votes', () => {
    const driver = doubtful();
    const log = { lastIndex: logIndex(99), lastTerm: term(9) };
    expect(
      driver.receive(
        wordOf(2, { kind: 'preVoteRequest', term: term(9), ...log, leaderUnreachable: false }),
      ),
    ).toEqual([]);
    expect(
      driver.receive(wordOf(2, { kind: 'voteRequest', term: term(9), ...log, isTransfer: false })),
    ).toEqual([]);
    expect(
      driver.receive(wordOf(2, { kind: 'voteRequest', term: term(1), ...log, isTransfer: false })),
    ).toEqual([]);
    expect(driver.state).toMatchObject({ term: 1, votedFor: undefined });
  });

  test('still appends and applies, but acknowledges nothing', () => {
    const driver = doubtful();
    driver.receive(appendOf(2, { term: 1, prevIndex: 2, prevTerm: 1, terms: [1], commit: 3 }));
    const effects = driver.sync();
    expect(sentOf(effects, 'durabilityAck')).toEqual([]);
    expect(driver.state).toMatchObject({ appliableIndex: 3, durableIndex: 3 });
  });

  test('says so in its echoes', () => {
    const echo = doubtful().receive(
      wordOf(2, {
        kind: 'heartbeat',
        mayHibernate: false,
        lease: false,
        term: term(1),
        round: 4,
        commit: logIndex(0),
      }),
    );
    expect(sentOf(echo, 'heartbeatEcho')).toMatchObject([{ round: 4, inDoubt: true }]);
  });

  test('gives up an office or a campaign when the doubt arises', () => {
    const leading = new CoreDriver();
    leading.win();
    leading.input({ kind: 'readIndex', readId: 1 });
    expect(effectsOf(leading.input({ kind: 'doubt' }), 'readFailed')).toHaveLength(1);
    expect(leading.state).toMatchObject({ role: 'follower', inDoubt: true });

    const campaigning = new CoreDriver();
    campaigning.tickToDeadline();
    campaigning.input({ kind: 'doubt' });
    expect(campaigning.state).toMatchObject({ role: 'follower', inDoubt: true });
  });

  test('records the doubt before it says anything more when its leader tells it', () => {
    const driver = new CoreDriver({ log: [1], term: 1 });
    const effects = driver.receive(
      appendOf(2, { term: 1, prevIndex: 4, prevTerm: 1, receiverInDoubt: true }),
    );
    const order = effects.map(({ kind }) => kind).filter((kind) => kind !== 'roleChanged');
    expect(order[0]).toBe('persistDoubt');
    expect(driver.state.inDoubt).toBe(true);
    const again = driver.receive(
      appendOf(2, { term: 1, prevIndex: 4, prevTerm: 1, receiverInDoubt: true }),
    );
    expect(effectsOf(again, 'persistDoubt')).toEqual([]);
  });
});

describe('an echo that says it is in doubt', () => {
  const leading = (): CoreDriver => {
    const driver = new CoreDriver();
    driver.win();
    driver.sync();
    driver.acknowledge(2, 1);
    return driver;
  };

  test('confirms no read', () => {
    const driver = leading();
    driver.input({ kind: 'readIndex', readId: 1 });
    const { round } = driver.state.leader!;

    for (const number of [2, 3])
      expect(effectsOf(driver.echo(number, round, { inDoubt: true }), 'readReady')).toEqual([]);
    expect(effectsOf(driver.echo(3, round), 'readReady')).toHaveLength(1);
  });

  test('keeps no leader in office', () => {
    const driver = leading();

    for (let ticks = 0; ticks < 70 && driver.state.role === 'leader'; ticks += 5) {
      driver.tick(5);
      if (driver.state.role !== 'leader') break;
      for (const number of [2, 3])
        driver.echo(number, driver.state.leader!.round, { inDoubt: true });
    }

    expect(driver.state.role).toBe('follower');
  });
});

describe('a leader doubts a follower', () => {
  /** Leader 1 whose follower 2 acknowledged up to index 6. */
  function leader(): CoreDriver {
    const driver = new CoreDriver();
    driver.win();
    driver.input({ kind: 'propose', count: 5 });
    driver.sync();
    driver.acknowledge(2, 6, { ledgerSeq: 10 });
    expect(driver.state.commitIndex).toBe(6);
    return driver;
  }

  const refusal = (lastIndex: number, ledgerSeq: number): ReturnType<typeof wordOf> =>
    wordOf(2, {
      kind: 'appendRejected',
      term: term(1),
      rejectedPrevIndex: logIndex(6),
      lastIndex: logIndex(lastIndex),
      conflictTerm: term(0),
      conflictFirstIndex: logIndex(lastIndex + 1),
      ledgerSeq,
    });

  test('whose log no longer holds what it acknowledged in this term', () => {
    const driver = leader();
    const effects = driver.receive(refusal(3, 11));
    expect(effectsOf(effects, 'peerInDoubt')).toMatchObject([
      { matchIndex: 6, member: { replicaId: 2 } },
    ]);
    expect(effectsOf(effects, 'sendAppend')).toMatchObject([
      { receiverInDoubt: true, prevIndex: 6 },
    ]);
  });

  test('whose ledger went back when its node came up anew', () => {
    const driver = leader();
    driver.input({ kind: 'peerConnected', nodeId: nodeId(2), newBoot: true });
    const effects = driver.acknowledge(2, 6, { ledgerSeq: 4 });
    expect(effectsOf(effects, 'peerInDoubt')).toHaveLength(1);
  });

  test('but not for a late word of the same boot', () => {
    const driver = leader();
    driver.input({ kind: 'peerConnected', nodeId: nodeId(2), newBoot: false });
    const effects = driver.acknowledge(2, 5, { ledgerSeq: 4 });
    expect(effectsOf(effects, 'peerInDoubt')).toEqual([]);
  });

  test('but not when the ledger of a new boot goes on', () => {
    const driver = leader();
    driver.input({ kind: 'peerConnected', nodeId: nodeId(2), newBoot: true });
    const effects = driver.acknowledge(2, 6, { ledgerSeq: 10 });
    expect(effectsOf(effects, 'peerInDoubt')).toEqual([]);
  });

  test('and never counts it again in this term, whatever it says', () => {
    const driver = leader();
    driver.receive(refusal(3, 11));
    driver.input({ kind: 'propose', count: 2 });
    driver.sync();
    driver.acknowledge(2, 8, { ledgerSeq: 20 });
    expect(driver.state.commitIndex).toBe(6);
    driver.acknowledge(3, 8);
    expect(driver.state.commitIndex).toBe(8);
  });

  test('and steps down when only doubtful followers are left', () => {
    const driver = leader();
    driver.receive(refusal(3, 11));
    for (let beat = 0; beat < 12; beat++) {
      driver.tick(5);
      if (driver.state.role === 'leader')
        driver.echo(2, driver.state.leader!.round, { inDoubt: true });
    }
    expect(driver.state.role).toBe('follower');
  });
});

test('the echo of a follower whose ledger went back confirms no read, though it does not know of its doubt yet', () => {
  const driver = new CoreDriver();
  driver.win();
  driver.sync();
  driver.acknowledge(2, 1, { ledgerSeq: 10 });
  driver.acknowledge(3, 1, { ledgerSeq: 10 });
  // Node 2 comes up anew, with an older ledger: what it once said and voted may be forgotten.
  driver.input({ kind: 'peerConnected', nodeId: nodeId(2), newBoot: true });
  const effects = driver.acknowledge(2, 0, { ledgerSeq: 4 });
  expect(effectsOf(effects, 'peerInDoubt')).toHaveLength(1);

  driver.input({ kind: 'readIndex', readId: 7 });
  // It does not know yet that it is in doubt: the word that says so is still on its way, or lost.
  const echoed = driver.echo(2, driver.state.leader!.round);

  expect(effectsOf(echoed, 'readReady')).toEqual([]);
});
