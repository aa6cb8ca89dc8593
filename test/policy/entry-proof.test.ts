/** When evidence of members proves an entry (specification §2.4, §3.1). */
import { describe, expect, test } from 'vitest';

import { incarnation, logIndex, nodeId, replicaId, term } from '../../src/base/ids.ts';
import type { Configuration, Member, MemberRole } from '../../src/base/membership.ts';
import { proveEntry, type ProvenCopy, type ProofVerdict } from '../../src/policy/entry-proof.ts';

function lifeOf(id: number): Member['incarnation'] {
  return incarnation(`018f0000-0000-7000-8000-${id.toString().padStart(12, '0')}`);
}

function member(id: number, role: MemberRole = 'voter'): Member {
  return {
    replicaId: replicaId(id),
    nodeId: nodeId(id),
    incarnation: lifeOf(id),
    role,
    addresses: [],
  };
}

function configuration(
  index: number,
  members: readonly Member[],
  outgoingMembers: readonly Member[] = [],
): Configuration {
  return { term: term(1), index: logIndex(index), members, outgoingMembers };
}

function copy(
  id: number,
  content: { readonly term?: number; readonly crc?: number; readonly commit?: number } = {},
): ProvenCopy {
  const ofTerm = term(content.term ?? 1);
  return {
    replicaId: replicaId(id),
    incarnation: lifeOf(id),
    term: ofTerm,
    crc: content.crc ?? 7,
    commitIndex: logIndex(content.commit ?? 0),
    terms: [{ lastIndex: logIndex(20), term: ofTerm }],
  };
}

const three = configuration(0, [member(1), member(2), member(3)]);

function verdict(
  copies: readonly ProvenCopy[],
  configurations: readonly Configuration[] = [three],
  commitIndex = 0,
): ProofVerdict['kind'] {
  const nothing = { index: logIndex(4), snapshots: [], committed: [] };
  const known = { configurations, commitIndex: logIndex(commitIndex) };
  return proveEntry({ copies, ...nothing, ...known }).kind;
}

describe('an entry is proven', () => {
  test('by a majority of the voters and by no less', () => {
    expect(verdict([copy(1), copy(3)])).toBe('proven');
    expect(verdict([copy(1)])).toBe('notProvable');
    expect(verdict([])).toBe('notProvable');
  });

  test('by voters only once each: a copied directory is no second voter', () => {
    expect(verdict([copy(1), copy(1)])).toBe('notProvable');
  });

  test('not by learners, nor by another life of a voter', () => {
    const withLearner = configuration(0, [member(1), member(2), member(3), member(4, 'learner')]);
    expect(verdict([copy(1), copy(4)], [withLearner])).toBe('notProvable');
    expect(verdict([copy(1), { ...copy(2), incarnation: lifeOf(9) }])).toBe('notProvable');
  });

  test('only where the same entry is on the majority', () => {
    expect(verdict([copy(1), copy(2, { term: 2 })])).toBe('notProvable');
    expect(verdict([copy(1), copy(2, { term: 2 }), copy(3)])).toBe('proven');
  });

  test('never where two entries have one term and index', () => {
    expect(verdict([copy(1), copy(2), copy(3, { crc: 8 })])).toBe('notProvable');
  });

  test('in a joint phase by both majorities', () => {
    const joint = configuration(5, [member(1), member(4), member(5)], three.members);
    expect(verdict([copy(1), copy(2)], [joint], 5)).toBe('notProvable');
    expect(verdict([copy(1), copy(4)], [joint], 5)).toBe('notProvable');
    expect(verdict([copy(1), copy(2), copy(4)], [joint], 5)).toBe('proven');
  });

  test('under the newest committed configuration and under each later one', () => {
    const later = configuration(9, [member(4), member(5), member(6)]);
    const old = [copy(1), copy(2)];
    const both = [...old, copy(4), copy(5)];
    expect(verdict(old, [three, later], 8)).toBe('notProvable');
    expect(verdict(both, [three, later], 8)).toBe('proven');
    expect(verdict([copy(4), copy(5)], [three, later], 8)).toBe('notProvable');
    expect(verdict([copy(4), copy(5)], [three, later], 9)).toBe('proven');
  });

  test('not without a configuration', () => {
    expect(verdict([copy(1), copy(2), copy(3)], [])).toBe('notProvable');
  });
});

describe('an entry that some logs begin behind', () => {
  /** Snapshots of members, and copies of others, of entry 4; a snapshot of term 1 ends at entry 9. */
  function beside(
    snapshots: readonly number[],
    copies: readonly ProvenCopy[] = [],
    committed: readonly { readonly index: number; readonly term: number }[] = [
      { index: 9, term: 1 },
    ],
  ): ProofVerdict {
    return proveEntry({
      index: logIndex(4),
      copies,
      snapshots: snapshots.map((id) => ({ replicaId: replicaId(id), incarnation: lifeOf(id) })),
      committed: committed.map((place) => ({
        index: logIndex(place.index),
        term: term(place.term),
      })),
      configurations: [three],
      commitIndex: logIndex(9),
    });
  }

  test('is proven by snapshots of a majority, which do not tell which entry it was', () => {
    expect(beside([1, 2])).toEqual({
      kind: 'proven',
      term: undefined,
      crc: undefined,
      inSnapshots: 2,
    });
    expect(beside([1, 1]).kind).toBe('notProvable');
    expect(beside([1]).kind).toBe('notProvable');
  });

  test('is proven by a snapshot and a copy whose log has the term of the snapshot at or behind it', () => {
    expect(beside([1], [copy(2)])).toEqual({ kind: 'proven', term: 1, crc: 7, inSnapshots: 1 });
  });

  test('is proven by a snapshot and a copy that its own ledger knows to be committed', () => {
    const ofOlderTerm = [{ index: 9, term: 3 }];

    expect(beside([1], [copy(2, { commit: 4 })], ofOlderTerm).kind).toBe('proven');
    expect(beside([1], [copy(2, { commit: 3 })], ofOlderTerm)).toEqual({
      kind: 'notProvable',
      reason:
        '1 of 3 voters of the configuration at index 0 prove it, a quorum is 2; copies not known to be committed do not count with snapshots',
    });
  });

  test('is not proven by a copy that an older leader left behind, which is another entry', () => {
    const stale = copy(2, { term: 1, crc: 9 });

    expect(beside([1], [stale], [{ index: 9, term: 2 }]).kind).toBe('notProvable');
    expect(beside([1, 3], [stale], [{ index: 9, term: 2 }])).toMatchObject({
      kind: 'proven',
      term: undefined,
    });
  });

  test('is not proven by a committed place below it, nor by a term that the log has only below it', () => {
    const early = { ...copy(2), terms: [{ lastIndex: logIndex(3), term: term(1) }] };

    expect(beside([1], [copy(2)], [{ index: 3, term: 1 }]).kind).toBe('notProvable');
    expect(beside([1], [early]).kind).toBe('notProvable');
  });

  test('is not proven where two members know different entries to be committed', () => {
    const copies = [copy(1, { commit: 9 }), copy(2, { term: 2, commit: 9 })];

    expect(beside([3], copies)).toMatchObject({
      reason: 'members hold different committed entries of one index, which must never happen',
    });
  });
});
