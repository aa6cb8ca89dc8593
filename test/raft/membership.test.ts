/** Changes of membership and transfers of leadership, one core at a time (thesis §3.10 and §4.3, specification §3.1). */
import { describe, expect, test } from 'vitest';

import { logIndex, term } from '../../src/base/ids.ts';
import type { Member } from '../../src/base/membership.ts';
import { jointStatus, membershipBlock, type Effect } from '../../src/raft/index.ts';
import { configurationOf, CoreDriver, effectsOf, member, sentOf, wordOf } from './core-driver.ts';

const finalizeEntries = 64;
const oldVoters = [member(1), member(2), member(3)];

/** Leader 1 of three in term 1 with a committed no-op. */
function leader(): CoreDriver {
  const driver = new CoreDriver();
  driver.win();
  driver.sync();
  driver.acknowledge(2, 1);
  expect(driver.state).toMatchObject({ role: 'leader', commitIndex: 1 });
  return driver;
}

/** A leader of term 2 that finds a joint phase of term 1, of which 64 entries and more were committed by then. */
function laterLeader(): { readonly driver: CoreDriver; readonly won: readonly Effect[] } {
  const joint = {
    ...configurationOf([member(1), member(2), member(4)], oldVoters),
    term: term(1),
    index: logIndex(1),
  };
  const driver = new CoreDriver({
    configurations: [configurationOf(oldVoters), joint],
    log: Array.from({ length: 100 }, () => 1),
    recordedCommitIndex: 100,
  });
  const won = driver.win();
  expect(driver.state).toMatchObject({ role: 'leader', term: 2 });
  return { driver, won: [...won, ...driver.sync()] };
}

function change(driver: CoreDriver, members: readonly Member[]): Effect[] {
  return driver.input({ kind: 'changeConfiguration', members });
}

/** Phases of the configurations that were appended. */
function phasesOf(effects: readonly Effect[]): string[] {
  return effectsOf(effects, 'appendToLog').flatMap((effect) =>
    effect.source === 'configuration' ? [effect.phase] : [],
  );
}

/** Everything in the log becomes durable here and at the given replicas; returns all effects. */
function settle(driver: CoreDriver, numbers: readonly number[]): Effect[] {
  const { lastIndex } = driver.state.log;
  return [
    ...driver.sync(),
    ...numbers.flatMap((number) =>
      driver.state.role === 'leader' ? driver.acknowledge(number, lastIndex) : [],
    ),
  ];
}

describe('a change of members', () => {
  test('begins in a term only once an entry of that term is committed (regression 21)', () => {
    const driver = new CoreDriver();
    driver.win();
    driver.sync();
    expect(membershipBlock(driver.state)).toBe('termStartUncommitted');

    driver.acknowledge(2, 1);

    expect(membershipBlock(driver.state)).toBeUndefined();
  });

  test('begins only once the one before is committed', () => {
    const driver = leader();
    change(driver, [...oldVoters, member(4, 'learner')]);
    expect(membershipBlock(driver.state)).toBe('changeUncommitted');

    settle(driver, [2]);

    expect(membershipBlock(driver.state)).toBeUndefined();
  });

  test('is not begun in a joint phase', () => {
    const driver = leader();
    change(driver, [...oldVoters, member(4)]);

    expect(membershipBlock(driver.state)).toBe('jointPhase');
  });

  test('of learners alone needs no joint phase', () => {
    expect(phasesOf(change(leader(), [...oldVoters, member(4, 'learner')]))).toEqual(['learners']);
  });
});

describe('a joint phase', () => {
  test('is left for the new voters only behind enough commits of both majorities', () => {
    const driver = leader();
    expect(phasesOf(change(driver, [member(1), member(2), member(4)]))).toEqual(['joint']);

    const committed = settle(driver, [2]);
    expect(driver.state.commitIndex).toBe(2);
    expect(phasesOf(committed)).toEqual([]);
    expect(jointStatus(driver.state)).toMatchObject({ committed: 1, needed: finalizeEntries });

    expect(phasesOf(settle(driver, [2]))).toEqual(['final']);
    expect(driver.state.commitIndex).toBe(1 + finalizeEntries);
  });

  test('is filled with empty entries where nobody writes, and with nothing where somebody does', () => {
    const driver = leader();
    change(driver, [member(1), member(2), member(4)]);
    driver.input({ kind: 'propose', count: 10 });

    driver.sync();
    const behindJoint = driver.acknowledge(2, 2);
    const behindProposals = driver.acknowledge(2, 12);

    expect(effectsOf(behindJoint, 'appendToLog')).toEqual([]);
    expect(effectsOf(behindProposals, 'appendToLog')).toMatchObject([
      { source: 'noOp', firstIndex: 13, lastIndex: 1 + finalizeEntries },
    ]);
  });

  test('is not left by a later leader before an entry of its own is committed, however much was', () => {
    const { driver, won } = laterLeader();
    expect(phasesOf(won)).toEqual([]);
    expect(jointStatus(driver.state)).toMatchObject({ committed: 0 });

    expect(phasesOf(settle(driver, [2]))).toEqual([]);

    expect(phasesOf(settle(driver, [2]))).toEqual(['final']);
  });

  test('is not left backwards by a later leader before an entry of its own is committed', () => {
    const { driver } = laterLeader();
    expect(phasesOf(driver.input({ kind: 'rollBack', reason: 'a test' }))).toEqual([]);
    expect(phasesOf(driver.tick())).toEqual([]);

    expect(phasesOf(settle(driver, [2]))).toEqual(['rollback']);
  });

  test('is left backwards at once by the leader that entered it', () => {
    const driver = leader();
    change(driver, [member(1), member(2), member(4)]);

    const effects = driver.input({ kind: 'rollBack', reason: 'a test' });

    expect(phasesOf(effects)).toEqual(['rollback']);
    expect(effectsOf(effects, 'configurationChanged')).toMatchObject([
      { configuration: { members: oldVoters, outgoingMembers: [] }, isCommitted: false },
    ]);
  });

  test('is not left a second time', () => {
    const driver = leader();
    change(driver, [member(1), member(2), member(4)]);
    driver.input({ kind: 'rollBack', reason: 'a test' });

    expect(phasesOf([...settle(driver, [2]), ...driver.tick()])).toEqual([]);
  });
});

describe('a joint phase that cannot go on', () => {
  /** Leader 1 in {1, 4, 5} ← {1, 2, 3}; 4 and 5 were heard as learners just before, the old voters go on answering. */
  function joint(): CoreDriver {
    const driver = leader();
    change(driver, [...oldVoters, member(4, 'learner'), member(5, 'learner')]);
    settle(driver, [2, 4, 5]);
    change(driver, [member(1), member(4), member(5)]);
    driver.sync();
    return driver;
  }

  /** Time passes in heartbeats, each echoed by some; returns the phases that were appended. */
  function pass(driver: CoreDriver, ticks: number, echoing: readonly number[]): string[] {
    const phases: string[] = [];
    for (let passed = 0; passed < ticks && driver.state.role === 'leader'; passed += 5) {
      phases.push(...phasesOf(driver.tick(5)));
      const round = driver.state.leader?.round ?? 0;
      for (const number of echoing) driver.echo(number, round);
    }
    return phases;
  }

  test('goes back when the new voters have been without a majority for 3 s, and the old ones keep the leader', () => {
    const driver = joint();

    expect(pass(driver, 290, [2, 3])).toEqual([]);
    expect(pass(driver, 20, [2, 3])).toEqual(['rollback']);

    expect(driver.state.role).toBe('leader');
  });

  test('does not go back while a majority of the new voters is heard', () => {
    const driver = joint();

    expect(pass(driver, 1_000, [2, 3, 4])).toEqual([]);
  });

  test('does not go back because of voters that were silent when it began', () => {
    const driver = leader();
    change(driver, [...oldVoters, member(4, 'learner'), member(5, 'learner')]);
    settle(driver, [2, 4, 5]);
    pass(driver, 100, [2, 3]);
    change(driver, [member(1), member(4), member(5)]);

    expect(pass(driver, 1_000, [2, 3])).toEqual([]);
  });

  test('goes back after the time to catch up, whoever is heard', () => {
    const driver = joint();

    expect(pass(driver, 11_900, [2, 3, 4, 5])).toEqual([]);
    expect(pass(driver, 200, [2, 3, 4, 5])).toEqual(['rollback']);
  });

  test('ends the reign when the old voters are silent, though the new ones are not', () => {
    const driver = joint();

    pass(driver, 130, [4, 5]);

    expect(driver.state.role).toBe('follower');
  });
});

describe('a leader that is not among the new voters', () => {
  /** It has appended the final entry and has it on disk. */
  function leaving(): CoreDriver {
    const driver = leader();
    change(driver, [member(2), member(3)]);
    settle(driver, [2, 3]);
    expect(phasesOf(settle(driver, [2, 3]))).toEqual(['final']);
    driver.sync();
    return driver;
  }

  test('does not count itself for the final entry', () => {
    const driver = leaving();
    const { lastIndex } = driver.state.log;

    driver.acknowledge(2, lastIndex);
    expect(driver.state.commitIndex).toBe(lastIndex - 1);

    driver.acknowledge(3, lastIndex);
    expect(driver.state.commitIndex).toBe(lastIndex);
  });

  test('hands over to the new voter that has most once the final entry is committed', () => {
    const driver = leaving();
    const { lastIndex } = driver.state.log;
    driver.acknowledge(2, lastIndex);

    const effects = driver.acknowledge(3, lastIndex);

    expect(effectsOf(effects, 'sendMessage')).toContainEqual(
      expect.objectContaining({
        to: expect.objectContaining({ replicaId: 2 }) as unknown,
        message: expect.objectContaining({ kind: 'timeoutNow' }) as unknown,
      }),
    );
  });

  test('steps down when nobody takes over', () => {
    const driver = leaving();
    const { lastIndex } = driver.state.log;
    for (const number of [2, 3]) driver.acknowledge(number, lastIndex);

    for (let ticks = 0; ticks < 60; ticks += 5) {
      driver.tick(5);
      for (const number of [2, 3])
        if (driver.state.role === 'leader') driver.echo(number, driver.state.leader!.round);
    }

    expect(driver.state.role).toBe('follower');
  });
});

describe('a transfer of leadership', () => {
  const toSecond = { kind: 'transferLeadership' as const, to: member(2), reason: 'a test' };

  test('asks the heir to campaign only once it holds the whole log', () => {
    const driver = leader();
    driver.input({ kind: 'propose', count: 3 });
    driver.sync();
    expect(sentOf(driver.input(toSecond), 'timeoutNow')).toEqual([]);
    expect(sentOf(driver.acknowledge(2, 3), 'timeoutNow')).toEqual([]);

    expect(sentOf(driver.acknowledge(2, 4), 'timeoutNow')).toHaveLength(1);
    expect(sentOf(driver.acknowledge(2, 4), 'timeoutNow'), 'once').toEqual([]);
  });

  test('takes no proposal meanwhile', () => {
    const driver = leader();
    driver.input(toSecond);

    expect(() => driver.input({ kind: 'propose', count: 1 })).toThrow('while handing over');
  });

  test('blocks changes of members meanwhile', () => {
    const driver = leader();
    driver.input(toSecond);

    expect(membershipBlock(driver.state)).toBe('transferUnderWay');
  });

  test('that comes to nothing within an election timeout is given up, and proposals go on', () => {
    const driver = leader();
    driver.input(toSecond);

    const effects: Effect[] = [];
    for (let ticks = 0; ticks < 60; ticks += 5) {
      effects.push(...driver.tick(5));
      for (const number of [2, 3]) driver.echo(number, driver.state.leader!.round);
    }

    expect(effectsOf(effects, 'transferAborted')).toMatchObject([{ to: { replicaId: 2 } }]);
    expect(effectsOf(driver.input({ kind: 'propose', count: 1 }), 'appendToLog')).toHaveLength(1);
  });

  test('makes a voter campaign that has just heard its leader, and stickiness does not stop it', () => {
    const heir = new CoreDriver({ self: 2, log: [1], term: 1 });
    const heard = {
      kind: 'heartbeat' as const,
      mayHibernate: false,
      lease: false,
      term: term(1),
      round: 1,
      commit: logIndex(0),
    };
    heir.receive(wordOf(1, heard));
    heir.receive(wordOf(1, { kind: 'timeoutNow', term: term(1) }));
    const [request] = sentOf(heir.sync(), 'voteRequest');
    const voter = new CoreDriver({ self: 3, log: [1], term: 1 });
    voter.receive(wordOf(1, heard));

    expect(request).toMatchObject({ term: 2, isTransfer: true });
    voter.receive(request!);

    expect(sentOf(voter.sync(), 'voteResponse')).toMatchObject([{ term: 2, voteGranted: true }]);
  });

  test('of an earlier term makes nobody campaign', () => {
    const heir = new CoreDriver({ self: 2, log: [1, 2], term: 2 });
    heir.receive(
      wordOf(1, {
        kind: 'heartbeat',
        mayHibernate: false,
        lease: false,
        term: term(2),
        round: 1,
        commit: logIndex(0),
      }),
    );

    heir.receive(wordOf(3, { kind: 'timeoutNow', term: term(1) }));

    expect(heir.state).toMatchObject({ role: 'follower', term: 2 });
  });
});
