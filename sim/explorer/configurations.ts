/** The small worlds that are explored, by name. */
import { logIndex, term } from '../../src/base/ids.ts';
import type { Member } from '../../src/base/membership.ts';
import type { Wishes } from './choices.ts';
import { memberOf, type Budgets, type Explored, type Mark } from './world.ts';

/** One of them. */
export interface Exploration {
  readonly name: string;
  readonly numbers: readonly number[];
  readonly voters: readonly number[];
  readonly budgets: Budgets;
  readonly wishes: Wishes;
  /** Whether it begins where the first replica leads and has committed. */
  readonly isLed: boolean;
  /** What must be reached, or the exploration says nothing about it. */
  readonly expected: readonly Mark[];
}

const none: Budgets = {
  campaign: 1,
  heartbeat: 0,
  proposal: 0,
  read: 0,
  crash: 0,
  loss: 0,
  duplicate: 0,
  quit: 0,
  change: 0,
  rollback: 0,
  transfer: 0,
  compact: 0,
  install: 0,
};

function members(...numbers: readonly number[]): readonly Member[] {
  return numbers.map((number) => memberOf(number));
}

const snapshots = { compact: 1, install: 1 };

/** All of them: those that are seen whole come first, those that take what time there is last, side by side. */
export const explorations: readonly Exploration[] = [
  {
    name: 'two voters, an election',
    numbers: [1, 2],
    voters: [1, 2],
    budgets: { ...none, campaign: 2, heartbeat: 1, proposal: 1, crash: 1 },
    wishes: [],
    isLed: false,
    expected: ['elected', 'committed', 'newTermCommit'],
  },
  {
    name: 'two voters, reads',
    numbers: [1, 2],
    voters: [1, 2],
    budgets: { ...none, campaign: 1, heartbeat: 1, proposal: 1, read: 2, quit: 1 },
    wishes: [],
    isLed: true,
    expected: ['elected', 'committed', 'read', 'newTermCommit'],
  },
  {
    name: 'joint, one reign',
    numbers: [1, 2, 3],
    voters: [1, 2],
    budgets: { ...none, campaign: 0, change: 1, rollback: 1, proposal: 1 },
    wishes: [members(2, 3)],
    isLed: true,
    expected: ['committed', 'joint', 'final', 'rollback'],
  },
  {
    name: 'joint, two reigns',
    numbers: [1, 2, 3],
    voters: [1, 2],
    budgets: { ...none, campaign: 1, change: 1, rollback: 1 },
    wishes: [members(2, 3), members(1, 3)],
    isLed: true,
    expected: ['elected', 'joint', 'final', 'rollback'],
  },
  {
    name: 'joint, two reigns and a crash',
    numbers: [1, 2, 3],
    voters: [1, 2],
    budgets: { ...none, campaign: 1, change: 1, rollback: 1, crash: 1 },
    wishes: [members(1, 3)],
    isLed: true,
    expected: ['elected', 'joint', 'final', 'rollback'],
  },
  {
    name: 'three voters, the next reign and a crash',
    numbers: [1, 2, 3],
    voters: [1, 2, 3],
    budgets: { ...none, campaign: 1, proposal: 1, crash: 1 },
    wishes: [],
    isLed: true,
    expected: ['elected', 'committed', 'newTermCommit', 'truncated'],
  },
  {
    name: 'snapshot, a new voter',
    numbers: [1, 2],
    voters: [1],
    budgets: { ...none, campaign: 1, change: 1, heartbeat: 1, crash: 1, ...snapshots },
    wishes: [members(1, 2)],
    isLed: true,
    expected: ['joint', 'final', 'compacted', 'installed', 'wanted'],
  },
  {
    name: 'snapshot, one reign and a crash',
    numbers: [1, 2, 3],
    voters: [1, 2, 3],
    budgets: { ...none, campaign: 0, proposal: 1, crash: 1, compact: 2, install: 2 },
    wishes: [],
    isLed: true,
    expected: ['committed', 'compacted', 'installed', 'kept'],
  },
  {
    name: 'snapshot, the next reign',
    numbers: [1, 2, 3],
    voters: [1, 2, 3],
    budgets: { ...none, campaign: 1, proposal: 1, ...snapshots },
    wishes: [],
    isLed: true,
    expected: ['elected', 'newTermCommit', 'compacted', 'installed', 'replaced'],
  },
  {
    name: 'three voters, an election',
    numbers: [1, 2, 3],
    voters: [1, 2, 3],
    budgets: { ...none, campaign: 2 },
    wishes: [],
    isLed: false,
    expected: ['elected', 'committed'],
  },
  {
    name: 'three voters, the next reign',
    numbers: [1, 2, 3],
    voters: [1, 2, 3],
    budgets: { ...none, campaign: 1, proposal: 2 },
    wishes: [],
    isLed: true,
    expected: ['elected', 'committed', 'newTermCommit', 'truncated'],
  },
  {
    name: 'three voters, loss and duplication',
    numbers: [1, 2, 3],
    voters: [1, 2, 3],
    budgets: { ...none, campaign: 1, heartbeat: 1, proposal: 1, loss: 1, duplicate: 1 },
    wishes: [],
    isLed: true,
    expected: ['elected', 'committed', 'newTermCommit'],
  },
  {
    name: 'transfer',
    numbers: [1, 2, 3],
    voters: [1, 2, 3],
    budgets: { ...none, campaign: 1, proposal: 1, transfer: 1 },
    wishes: [],
    isLed: true,
    expected: ['elected', 'committed', 'handedOver', 'newTermCommit'],
  },
];

/** What its worlds need to know. */
export function exploredOf(
  exploration: Exploration,
  options: { readonly liesAboutSyncs: boolean } = { liesAboutSyncs: false },
): Explored {
  return {
    initial: {
      term: term(0),
      index: logIndex(0),
      members: members(...exploration.voters),
      outgoingMembers: [],
    },
    marks: new Set(),
    ...options,
  };
}
