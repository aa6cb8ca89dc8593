/**
 * What damage means (specification §5.3, §5.6): facts about blocks and logs in, verdict out.
 *
 * | where the damage is | verdict |
 * | --- | --- |
 * | behind the journal's coverage | torn: never acknowledged, cut |
 * | at or before it, tag wrong | integrity loss of those partitions: quarantine |
 * | at or before it, tag right, frame wrong | three tries, then quarantine |
 * | the ledger covers more than the journal holds | quarantine |
 * | ledger or hard state lost | doubt: this life of the replica never votes again |
 */
import type { IndexRange } from '../base/index-ranges.ts';

/** What a block or frame is worth that is not as it was written. */
export type DamageVerdict = 'torn' | 'tryAgain' | 'integrityLoss';

/** Times that a frame is read whose blocks are right and which is wrong itself. */
export const damagedReadsMax = 3;

/** Judges one damaged place. */
export function judgeDamage(damage: {
  readonly isCovered: boolean;
  readonly isTagRight: boolean;
  /** Times that it was read, this one included. */
  readonly reads: number;
}): DamageVerdict {
  if (!damage.isCovered) return 'torn';
  return damage.isTagRight && damage.reads < damagedReadsMax ? 'tryAgain' : 'integrityLoss';
}

/** What recovery knows of one replica. */
export interface ScrubFacts {
  /** A doubt that the ledger holds for this life of the replica. */
  readonly recordedDoubt: string | undefined;
  /** Why the ledger lacks evidence, if it does. */
  readonly ledgerFault: string | undefined;
  readonly hasHardState: boolean;
  /** Its log ends in a newer term than the ledger knows of: whoever wrote that entry had synced the term before. */
  readonly isLogOfNewerTerm: boolean;
  readonly hasConfiguration: boolean;
  /** The ledger says that this life of the replica is in quarantine. */
  readonly isQuarantined: boolean;
  /** Entries between the floor and the last covered one that no readable live frame holds. */
  readonly missing: readonly IndexRange[];
}

/** What a replica may do after a start. */
export type ScrubVerdict =
  | { readonly kind: 'healthy' }
  /** The ledger is whole and entries are not: repaired from peers, then cleared. */
  | { readonly kind: 'quarantine' }
  /** Evidence itself is lost (KER-9). */
  | { readonly kind: 'doubt'; readonly reason: string };

/** Judges one replica. A doubt outranks a quarantine: who may have forgotten a vote is not mended by entries. */
export function judgeReplica(facts: ScrubFacts): ScrubVerdict {
  if (facts.recordedDoubt !== undefined) return { kind: 'doubt', reason: facts.recordedDoubt };
  if (facts.ledgerFault !== undefined) return { kind: 'doubt', reason: facts.ledgerFault };
  if (!facts.hasHardState)
    return { kind: 'doubt', reason: 'the ledger holds no term and vote of this replica' };
  if (facts.isLogOfNewerTerm)
    return { kind: 'doubt', reason: 'the ledger has lost the term of an entry that is in the log' };
  if (!facts.hasConfiguration)
    return { kind: 'doubt', reason: 'the ledger holds no configuration of this replica' };
  return facts.isQuarantined || facts.missing.length > 0
    ? { kind: 'quarantine' }
    : { kind: 'healthy' };
}

/** Quarantines within {@link quarantineWindowMs} of which the last is not cleared without an operator. */
export const quarantinesUnattendedMax = 3;
/** Time in which quarantines of one replica are counted together. */
export const quarantineWindowMs: number = 24 * 60 * 60 * 1000;

/** Whether the newest quarantine needs an operator: the third within a day is no accident any more (specification §5.6). */
export function needsOperator(begunMs: readonly number[], nowMs: number): boolean {
  const recent = begunMs.filter((atMs) => Math.abs(nowMs - atMs) < quarantineWindowMs);
  return recent.length >= quarantinesUnattendedMax;
}

/** Wait before the repair of attempt `attempt`, counted from 0 (facts: scrub repair). */
export function repairDelayMs(attempt: number): number {
  return Math.min(2 ** Math.min(attempt, 16) * 1000, 60_000);
}
