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
  content: { readonly term?: number; readonly crc?: number } = {},
): ProvenCopy {
  return {
    replicaId: replicaId(id),
    incarnation: lifeOf(id),
    term: term(content.term ?? 1),
    crc: content.crc ?? 7,
  };
}

const three = configuration(0, [member(1), member(2), member(3)]);

function verdict(
  copies: readonly ProvenCopy[],
  configurations: readonly Configuration[] = [three],
  commitIndex = 0,
): ProofVerdict['kind'] {
  return proveEntry({ copies, configurations, commitIndex: logIndex(commitIndex) }).kind;
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
