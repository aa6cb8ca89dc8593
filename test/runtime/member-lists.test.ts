/** Lists of members that are compared. */
import { describe, expect, test } from 'vitest';

import { incarnation, nodeId, replicaId } from '../../src/base/ids.ts';
import type { Member, MemberRole } from '../../src/base/membership.ts';
import { isSameList } from '../../src/runtime/member-lists.ts';

function member(number: number, role: MemberRole = 'voter', life = number): Member {
  return {
    replicaId: replicaId(number),
    nodeId: nodeId(number),
    incarnation: incarnation(`018c0d6c-9c11-7e9d-8000-0000000000a${life}`),
    role,
    addresses: [],
  };
}

describe('two lists', () => {
  const list = [member(1), member(2), member(3, 'learner')];

  test.each([
    ['in another order', [member(3, 'learner'), member(1), member(2)], true],
    ['with one fewer', [member(1), member(2)], false],
    ['with one more', [...list, member(4, 'learner')], false],
    ['with another role', [member(1), member(2), member(3)], false],
    ['with another life', [member(1), member(2), member(3, 'learner', 4)], false],
  ])('%s are compared both ways', (_how, other, isSame) => {
    expect(isSameList(list, other)).toBe(isSame);
    expect(isSameList(other, list)).toBe(isSame);
  });
});
