/** Every fuzz target. A new decoder is a row in the table of its file. */
import { keyTargets } from './key-targets.ts';
import { recoveryTarget } from './recovery-target.ts';
import { snapshotTargets } from './snapshot-targets.ts';
import { storageTargets } from './storage-targets.ts';
import type { FuzzTarget } from './target.ts';
import { textTargets } from './text-targets.ts';
import { wireTargets } from './wire-targets.ts';

/** All targets; their names are unique. */
export const fuzzTargets: readonly FuzzTarget[] = [
  ...wireTargets,
  ...storageTargets,
  ...snapshotTargets,
  ...keyTargets,
  ...textTargets,
  recoveryTarget,
];
