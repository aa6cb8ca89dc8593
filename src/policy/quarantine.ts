/**
 * What a replica in quarantine may still do, by reason (specification §5.6, KER-9).
 *
 * `Integrity`: entries cannot be read, so nothing that it would say rests on its whole log. `ApplyFault`: the machine failed, the
 * log is whole. `Administrative`: an operator wants neither entries applied nor reads answered here. The last two leave the log
 * going: what was appended is replicated, acknowledged and committed.
 *
 * The replica and its desks ask this table. The core knows nothing of it: it has two flags, in doubt and held, and tests hold
 * what it does under them to the rows about votes, acknowledgements, leases and campaigns.
 */

/** Reasons of a quarantine, the gravest first. */
export const quarantineReasons = ['Integrity', 'ApplyFault', 'Administrative'] as const;

/** Why a replica is in quarantine. @public */
export type QuarantineReason = (typeof quarantineReasons)[number];

/** What a quarantine forbids; whatever is not forbidden goes on. */
export interface QuarantineRules {
  /** Votes and answers pre-votes. */
  readonly mayVote: boolean;
  /** Takes a leader's entries in and acknowledges them. */
  readonly mayAcknowledge: boolean;
  /** Its heartbeat echo counts for a lease, a read and check-quorum. */
  readonly mayGrantLease: boolean;
  /** `last`: only after two further election timeouts without a leader, so that a healthy replica goes first. */
  readonly campaigns: 'last' | 'never';
  /** Goes on leading while nobody takes over. */
  readonly mayLead: boolean;
  /** Takes new entries in at the leader. */
  readonly mayPropose: boolean;
  readonly mayApply: boolean;
  /** Reads its own machine; to vouch for a read index elsewhere is leading. */
  readonly mayRead: boolean;
  /** Gives what it can read itself to a damaged peer. */
  readonly mayRepairOthers: boolean;
  /** What ends it: the repair (the third within a day waits for an operator), or an operator with a ticket. */
  readonly endedBy: 'repair' | 'operator';
}

const holding: QuarantineRules = {
  mayVote: true,
  mayAcknowledge: true,
  mayGrantLease: true,
  campaigns: 'last',
  mayLead: true,
  mayPropose: false,
  mayApply: false,
  mayRead: false,
  mayRepairOthers: true,
  endedBy: 'operator',
};

/** The table. */
export const quarantineRules: Readonly<Record<QuarantineReason, QuarantineRules>> = {
  Integrity: {
    mayVote: false,
    mayAcknowledge: false,
    mayGrantLease: false,
    campaigns: 'never',
    mayLead: false,
    mayPropose: false,
    mayApply: false,
    mayRead: false,
    mayRepairOthers: true,
    endedBy: 'repair',
  },
  ApplyFault: holding,
  Administrative: holding,
};

/** Something that a quarantine may forbid. */
export type QuarantineAction = {
  [Key in keyof QuarantineRules]: QuarantineRules[Key] extends boolean ? Key : never;
}[keyof QuarantineRules];

/** The gravest of the reasons that forbids an action, if any does. */
export function forbiddenBy(
  reasons: ReadonlySet<QuarantineReason>,
  action: QuarantineAction,
): QuarantineReason | undefined {
  return quarantineReasons.find(
    (reason) => reasons.has(reason) && !quarantineRules[reason][action],
  );
}

/** Whether a replica lets healthy ones campaign first. */
export function campaignsLast(reasons: ReadonlySet<QuarantineReason>): boolean {
  return [...reasons].some((reason) => quarantineRules[reason].campaigns === 'last');
}

/** Fatal outcomes of a machine within {@link applyFatalWindowMs} that put its replica into `ApplyFault` (specification §6). */
export const applyFatalsMax = 3;
/** Milliseconds in which fatal outcomes are counted together. */
export const applyFatalWindowMs = 60_000;

/** Counts a fatal outcome: the times of those that count, and whether it was the last one allowed. */
export function countFatal(
  earlierMs: readonly number[],
  nowMs: number,
): { readonly countedMs: readonly number[]; readonly isFault: boolean } {
  const countedMs = [...earlierMs.filter((atMs) => nowMs - atMs < applyFatalWindowMs), nowMs];
  return { countedMs, isFault: countedMs.length >= applyFatalsMax };
}
