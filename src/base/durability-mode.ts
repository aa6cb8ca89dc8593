/** How a partition's batches go to the disk (specification §5.2). */

/** `Strict` adds no waiting; `GroupFsync` may hold a batch so that more entries share one pair of syncs. @public */
export type DurabilityMode = 'Strict' | 'GroupFsync';

/** Why the mode was changed; only what an operator asked for is what is wanted from then on. @public */
export type DurabilityCause = 'operator' | 'newLeader' | 'predicate' | 'reenabled';

/** Modes by their number in files and entries. */
export const durabilityModes: readonly DurabilityMode[] = ['Strict', 'GroupFsync'];

/** Causes by their number in entries. */
export const durabilityCauses: readonly DurabilityCause[] = [
  'operator',
  'newLeader',
  'predicate',
  'reenabled',
];
