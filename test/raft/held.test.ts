/** `ApplyFault` and `Administrative` quarantine as the core sees them (specification §5.6, KER-9), against the table. */
import { describe, expect, test } from 'vitest';

import { logIndex, nodeId, term } from '../../src/base/ids.ts';
import { quarantineReasons, quarantineRules } from '../../src/policy/quarantine.ts';
import { appendOf, CoreDriver, sentOf, wordOf } from './core-driver.ts';

/** A core with two committed entries, that recovered in quarantine for a reason. */
function quarantined(reason: (typeof quarantineReasons)[number]): CoreDriver {
  return new CoreDriver({
    log: [1, 1],
    term: 2,
    recordedCommitIndex: 2,
    isQuarantined: reason === 'Integrity',
    isHeld: reason !== 'Integrity',
  });
}

const candidate = { lastIndex: logIndex(9), lastTerm: term(9) };
const heartbeat = {
  kind: 'heartbeat',
  mayHibernate: false,
  lease: true,
  term: term(2),
  round: 4,
  commit: logIndex(2),
} as const;

describe.each(quarantineReasons.map((reason) => ({ reason, rules: quarantineRules[reason] })))(
  'a core in $reason quarantine does what the table says',
  ({ reason, rules }) => {
    test('of votes', () => {
      const driver = quarantined(reason);

      const asked = wordOf(2, {
        kind: 'voteRequest',
        term: term(3),
        ...candidate,
        isTransfer: false,
      });
      const effects = [...driver.receive(asked), ...driver.sync()];

      const votes = rules.mayVote ? [{ voteGranted: true }] : [];
      expect(sentOf(effects, 'voteResponse')).toMatchObject(votes);
    });

    test('of acknowledgements', () => {
      const driver = quarantined(reason);

      const append = appendOf(2, { term: 2, prevIndex: 2, prevTerm: 1, terms: [2], commit: 2 });
      const effects = [...driver.receive(append), ...driver.sync()];

      const acks = rules.mayAcknowledge ? [{ lastFsyncedIndex: 3 }] : [];
      expect(sentOf(effects, 'durabilityAck')).toMatchObject(acks);
    });

    test('of echoes, which leases and reads rest on', () => {
      const driver = quarantined(reason);

      const effects = driver.receive(wordOf(2, heartbeat));

      expect(sentOf(effects, 'heartbeatEcho')).toMatchObject([
        { round: 4, inDoubt: !rules.mayGrantLease },
      ]);
    });

    test('of campaigns', () => {
      const driver = quarantined(reason);

      const roles = [1, 2, 3].map(() => {
        driver.tickToDeadline();
        return driver.state.role;
      });

      const last = rules.campaigns === 'last' ? 'preCandidate' : 'follower';
      expect(roles).toEqual(['follower', 'follower', last]);
    });

    test('of leading on', () => {
      const driver = new CoreDriver();
      driver.win();

      driver.input(
        reason === 'Integrity' ? { kind: 'quarantine' } : { kind: 'hold', isHeld: true },
      );

      expect(driver.state.role).toBe(rules.mayLead ? 'leader' : 'follower');
    });
  },
);

describe('a held core', () => {
  test('counts timeouts anew when it has heard a leader', () => {
    const driver = quarantined('ApplyFault');
    driver.tickToDeadline();
    driver.tickToDeadline();

    driver.receive(wordOf(2, heartbeat));
    driver.tickToDeadline();
    driver.tickToDeadline();

    expect(driver.state.role).toBe('follower');
    driver.tickToDeadline();
    expect(driver.state.role).toBe('preCandidate');
  });

  test('takes neither the hint that the leader is gone nor its call to take over', () => {
    const driver = quarantined('Administrative');
    driver.receive(wordOf(2, heartbeat));

    driver.receive(wordOf(2, { kind: 'timeoutNow', term: term(2) }));
    driver.input({ kind: 'nodeUnreachable', nodeId: nodeId(2) });

    expect(driver.state).toMatchObject({ role: 'follower', term: 2 });
  });

  test('campaigns as ever when it is held no longer', () => {
    const driver = quarantined('Administrative');

    driver.input({ kind: 'hold', isHeld: false });
    driver.tickToDeadline();

    expect(driver.state.role).toBe('preCandidate');
  });
});
