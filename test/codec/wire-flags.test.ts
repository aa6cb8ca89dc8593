/** Flags by name: each has the bit at which the catalog names it. */
import { expect, test } from 'vitest';

import { hasFlag, packFlags } from '../../src/codec/wire-flags.ts';

test('flags of a heartbeat are two bits', () => {
  expect(packFlags('heartbeatBatch', { mayHibernate: false, lease: false })).toBe(0);
  expect(packFlags('heartbeatBatch', { mayHibernate: true, lease: false })).toBe(1);
  expect(packFlags('heartbeatBatch', { mayHibernate: false, lease: true })).toBe(2);
});

test('flags of an echo are found again by name', () => {
  const names = ['inDoubt', 'isHibernating', 'needsLeader', 'clockAlarm'] as const;
  for (const [bit, name] of names.entries()) {
    const none = { inDoubt: false, isHibernating: false, needsLeader: false, clockAlarm: false };
    const flags = packFlags('heartbeatBatchResponse', { ...none, [name]: true });

    expect(flags).toBe(1 << bit);
    for (const other of names)
      expect(hasFlag('heartbeatBatchResponse', flags, other)).toBe(other === name);
  }
});

test('flags of an append are two bits', () => {
  expect(packFlags('appendEntries', { receiverInDoubt: true, needsSnapshot: false })).toBe(1);
  expect(packFlags('appendEntries', { receiverInDoubt: false, needsSnapshot: true })).toBe(2);
  expect(hasFlag('appendEntries', 2, 'needsSnapshot')).toBe(true);
});

test('bits that have no name mean nothing', () => {
  expect(hasFlag('voteRequest', 0xfe, 'isTransfer')).toBe(false);
  expect(hasFlag('appendEntries', 0xff, 'receiverInDoubt')).toBe(true);
});
