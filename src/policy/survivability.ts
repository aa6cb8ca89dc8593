/**
 * What losses a set of voters survives, and whether a change may make that worse (specification §3.2).
 *
 * A fault domain is whatever fails as one: a zone, a rack, a chassis; a node without a label is one of its own.
 * Q is the share of single domains whose loss leaves a quorum. Slack is how many of the voters that are there now may still
 * go, headroom H the same as a share of all voters. No action goes below the smaller of the demanded and the present value,
 * so a dead voter can always be replaced.
 */

/** A voter as it is counted here. */
export interface CountedVoter {
  /** Name of its fault domain; equal names fail together. */
  readonly domain: string;
  readonly isAlive: boolean;
}

/** What a set of voters survives. @public */
export interface Survivability {
  readonly voters: number;
  readonly alive: number;
  readonly quorum: number;
  /** Q: share of single-domain losses that leave a quorum, 0 … 1. */
  readonly lossesSurvived: number;
  /** Living voters beyond a quorum; negative when it is lost. */
  readonly slack: number;
  /** H: slack as a share of the voters. */
  readonly headroom: number;
}

/** `strict` refuses; `advisory` goes on when the operator names a record of the decision. @public */
export type SurvivabilityPolicy = 'strict' | 'advisory';

/** Whether a change may go on. @public */
export type SurvivabilityVerdict =
  | { readonly kind: 'allowed' }
  /** The named record overrides what would have been refused. */
  | { readonly kind: 'overridden'; readonly reason: string }
  | { readonly kind: 'refused'; readonly reason: string };

const headroomMin = 0.2;

/** Q that is demanded of so many voters. */
export function lossesSurvivedMin(voters: number): number {
  return voters >= 5 ? 0.8 : 1;
}

/** Works out what a set of voters survives. */
export function survivabilityOf(voters: readonly CountedVoter[]): Survivability {
  const quorum = Math.floor(voters.length / 2) + 1;
  const domains = [...new Set(voters.map((voter) => voter.domain))];
  const survived = domains.filter(
    (domain) => voters.filter((voter) => voter.domain !== domain).length >= quorum,
  );
  const alive = voters.filter((voter) => voter.isAlive).length;
  return {
    voters: voters.length,
    alive,
    quorum,
    lossesSurvived: domains.length === 0 ? 0 : survived.length / domains.length,
    slack: alive - quorum,
    headroom: voters.length === 0 ? 0 : (alive - quorum) / voters.length,
  };
}

/** Compares a change's two ends with what is demanded. */
export function judgeSurvivability(
  before: Survivability,
  after: Survivability,
  rule: { readonly policy: SurvivabilityPolicy; readonly overrideRef: string },
): SurvivabilityVerdict {
  const reason = shortfall(before, after);
  if (reason === undefined) return { kind: 'allowed' };
  const isOverridden = rule.policy === 'advisory' && rule.overrideRef !== '';
  return { kind: isOverridden ? 'overridden' : 'refused', reason };
}

function shortfall(before: Survivability, after: Survivability): string | undefined {
  const demandedLosses = Math.min(lossesSurvivedMin(after.voters), before.lossesSurvived);
  if (after.lossesSurvived < demandedLosses)
    return `${after.voters} voters would survive ${share(after.lossesSurvived)} of single losses, ${share(demandedLosses)} are demanded (Q)`;
  const demandedHeadroom = Math.min(headroomMin, before.headroom);
  if (after.headroom < demandedHeadroom)
    return `${after.alive} of ${after.voters} voters would be there, a quorum is ${after.quorum}: headroom ${share(after.headroom)}, ${share(demandedHeadroom)} is demanded (H)`;
  return undefined;
}

function share(value: number): string {
  return `${Math.round(value * 100)} %`;
}
