/** Voters that are far away, and the wider windows of who asks them (specification ELE-7). */
import { describe, expect, test } from 'vitest';

import { logIndex, nodeId, term } from '../../src/base/ids.ts';
import { defaultRaftSettings } from '../../src/raft/index.ts';
import {
  heartbeat,
  preVoteRequest,
  preVoteResponse,
  voteResponse,
} from '../scenarios/scenario-words.ts';
import { CoreDriver, sentOf, wordOf } from './core-driver.ts';

const { electionTimeoutTicksMin, electionTimeoutTicksMax } = defaultRaftSettings;

/** An answer of replica 2 to the pre-vote for a term. */
function answer(
  inTerm: number,
  word: { readonly highRtt: boolean; readonly voteGranted?: boolean },
): Parameters<CoreDriver['receive']>[0] {
  const { highRtt, voteGranted = true } = word;
  return wordOf(2, { kind: 'preVoteResponse', term: term(inTerm), voteGranted, highRtt });
}

/** The window of the own campaign behind a pre-vote that was answered so, over many seeds: shortest and longest. */
function campaignWindows(highRtt: boolean): readonly [number, number] {
  const windows = Array.from({ length: 200 }, (_, seed) => {
    const driver = new CoreDriver({ seed: seed + 1 });
    driver.tickToDeadline();
    driver.receive(answer(1, { highRtt }));
    expect(driver.state.role).toBe('candidate');
    return driver.state.electionDeadlineTick - driver.now;
  });
  return [Math.min(...windows), Math.max(...windows)];
}

describe('a voter', () => {
  test('says that the way to a candidate is long once its owner has measured it, and only then', () => {
    const voter = new CoreDriver();
    const ask = (number: number): boolean[] =>
      sentOf(voter.receive(preVoteRequest(number, { term: 1 })), 'preVoteResponse').map(
        (response) => response.highRtt,
      );
    expect(ask(2)).toEqual([false]);

    voter.input({ kind: 'linkRtt', nodeId: nodeId(2), isHigh: true });
    expect([...ask(2), ...ask(3)]).toEqual([true, false]);

    voter.input({ kind: 'linkRtt', nodeId: nodeId(2), isHigh: false });
    expect(ask(2)).toEqual([false]);
  });
});

describe('a candidate', () => {
  test('has twice the window when a voter is far away', () => {
    const [shortest, longest] = campaignWindows(true);

    expect(shortest).toBeGreaterThanOrEqual(2 * electionTimeoutTicksMin);
    expect(shortest).toBeLessThan(2 * electionTimeoutTicksMin + 5);
    expect(longest).toBeLessThanOrEqual(2 * electionTimeoutTicksMax);
    expect(longest).toBeGreaterThan(2 * electionTimeoutTicksMax - 5);
  });

  test('has the ordinary window when no voter is', () => {
    const [shortest, longest] = campaignWindows(false);

    expect(shortest).toBeGreaterThanOrEqual(electionTimeoutTicksMin);
    expect(longest).toBeLessThanOrEqual(electionTimeoutTicksMax);
  });

  test('is told by a refusal as well', () => {
    const driver = new CoreDriver();
    driver.tickToDeadline();

    driver.receive(answer(0, { highRtt: true, voteGranted: false }));

    expect(driver.state.wideUntilTerm).toBe(1);
  });

  test.each([
    ['somebody who is no voter', { number: 9, life: 0, inTerm: 1 }],
    ['another life of a voter', { number: 2, life: 7, inTerm: 1 }],
    ['an answer for another term', { number: 2, life: 0, inTerm: 5 }],
  ] as const)('learns nothing from %s', (_, { number, life, inTerm }) => {
    const driver = new CoreDriver();
    driver.tickToDeadline();
    const said = { kind: 'preVoteResponse' as const, voteGranted: true, highRtt: true };

    driver.receive(wordOf(number, { ...said, term: term(inTerm) }, life));

    expect(driver.state.wideUntilTerm).toBeUndefined();
  });

  test('goes back to the ordinary window in the term after', () => {
    const windows = Array.from({ length: 50 }, (_, seed) => {
      const driver = new CoreDriver({ seed: seed + 1 });
      driver.tickToDeadline();
      driver.receive(answer(1, { highRtt: true }));
      driver.sync();
      driver.tickToDeadline();
      driver.receive(preVoteResponse(2, { term: 2, voteGranted: true }));
      expect(driver.state).toMatchObject({ role: 'candidate', term: 2, failedElections: 1 });
      return driver.state.electionDeadlineTick - driver.now;
    });

    expect(Math.max(...windows)).toBeLessThanOrEqual(1.5 * electionTimeoutTicksMax);
  });

  test('that loses follows with ordinary patience: heartbeats come as often over a long way', () => {
    const driver = new CoreDriver();
    driver.tickToDeadline();
    driver.receive(answer(1, { highRtt: true }));
    driver.sync();
    driver.receive(voteResponse(2, { term: 1, voteGranted: false }));

    driver.receive(heartbeat(3, { term: 1, commit: logIndex(0) }));

    expect(driver.state.role).toBe('follower');
    expect(driver.state.electionDeadlineTick - driver.now).toBeLessThanOrEqual(
      electionTimeoutTicksMax,
    );
  });
});
