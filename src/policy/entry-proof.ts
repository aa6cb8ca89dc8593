/**
 * Whether evidence from data directories proves that an entry is on a quorum's stable storage (specification §2.4, §3.1).
 *
 * What counts is what a member's own ledger covers and its own journal holds: the same term, index and CRC on a majority of
 * the voters of every configuration that may be in force. That is the newest one known to be committed, and each later one,
 * for a configuration is in force from its append. Both majorities of a joint phase are needed. A life of a replica that is
 * in doubt, or that no configuration names, is no evidence: it would never be counted.
 *
 * Where a log begins behind the entry, a good snapshot of that member holds what the entry did. A snapshot holds committed
 * entries only, so it counts for the one that was committed at that index, and says no more of it. Copies count beside snapshots
 * where they are known to be of that one: where the log that a copy stands in has, at or behind it, the term of a committed
 * place. The leader of that term had this entry, and what is before it, in its own log, and so has whoever has an entry of it
 * (Raft §5.3, Log Matching).
 */
import type { LogIndex, Term } from '../base/ids.ts';
import {
  isSameLife,
  type Configuration,
  type Member,
  type ReplicaLife,
} from '../base/membership.ts';

/** Where in the log something is known. */
export interface LogPlace {
  readonly index: LogIndex;
  readonly term: Term;
}

/** One member's proven copy of the entry. */
export interface ProvenCopy extends ReplicaLife {
  readonly term: Term;
  readonly crc: number;
  /** What that member's own ledger knows as committed. */
  readonly commitIndex: LogIndex;
  /** Terms of the log that the copy stands in, as far as they are on the disk. */
  readonly terms: readonly { readonly lastIndex: LogIndex; readonly term: Term }[];
}

/** Evidence of all directories about one entry. */
export interface GatheredCopies {
  readonly index: LogIndex;
  readonly copies: readonly ProvenCopy[];
  /** Members whose log begins behind the entry, and who have a good snapshot. */
  readonly snapshots: readonly ReplicaLife[];
  /** Entries that some directory knows to be committed, by the beginnings of logs and by snapshots. */
  readonly committed: readonly LogPlace[];
  /** Every configuration that some ledger knows to be live. */
  readonly configurations: readonly Configuration[];
  /** The newest commit index that some ledger recorded. */
  readonly commitIndex: LogIndex;
}

/** Whether the entry is on a quorum's stable storage. */
export type ProofVerdict =
  | {
      readonly kind: 'proven';
      /** Of the entry; `undefined` where snapshots alone prove it. */
      readonly term: Term | undefined;
      readonly crc: number | undefined;
      /** Members that hold what it did in a snapshot, and count for it. */
      readonly inSnapshots: number;
    }
  | { readonly kind: 'notProvable'; readonly reason: string };

/** The configurations that may be in force; none when no ledger knows one. */
export function configurationsInForce(
  known: readonly Configuration[],
  commitIndex: LogIndex,
): readonly Configuration[] {
  const committed = known.filter(({ index }) => index <= commitIndex);
  const newest = committed.reduce((most, { index }) => Math.max(most, index), -1);
  const places = new Map<string, Configuration>();
  for (const configuration of known) {
    const { index, term } = configuration;
    if (index >= newest) places.set(`${index}/${term}`, configuration);
  }
  return [...places.values()].sort((left, right) => left.index - right.index);
}

/** Decides about one entry. */
export function proveEntry(gathered: GatheredCopies): ProofVerdict {
  const { copies, snapshots, configurations, commitIndex } = gathered;
  const inForce = configurationsInForce(configurations, commitIndex);
  if (inForce.length === 0) return not('no ledger knows a configuration of the partition');
  if (copies.length + snapshots.length === 0) return not('no directory proves a copy of the entry');
  const groups = groupsOf(copies);
  const terms = groups.flatMap((group) => group.slice(0, 1)).map(({ term }) => term);
  if (new Set(terms).size < terms.length)
    return not(
      'members hold different entries of the same term and index, which must never happen',
    );
  const committed = groups.filter((group) => group.some((copy) => isCommitted(copy, gathered)));
  if (committed.length > 1)
    return not('members hold different committed entries of one index, which must never happen');
  let reason = '';
  for (const group of [...groups, []]) {
    // What is in a snapshot is the committed entry, and no other.
    const isOfSnapshots = group.length === 0 || committed.includes(group);
    const counted = isOfSnapshots ? snapshots : [];
    const lack = lackOf([...group, ...counted], inForce);
    if (lack === undefined) {
      const [first] = group;
      return { kind: 'proven', term: first?.term, crc: first?.crc, inSnapshots: counted.length };
    }
    if (group.length + counted.length > 0) reason ||= lack;
  }
  const isApart = snapshots.length > 0 && committed.length < groups.length;
  return not(
    isApart ? `${reason}; copies not known to be committed do not count with snapshots` : reason,
  );
}

function not(reason: string): ProofVerdict {
  return { kind: 'notProvable', reason };
}

/** Copies of one entry each. */
function groupsOf(copies: readonly ProvenCopy[]): readonly (readonly ProvenCopy[])[] {
  const same = new Map<string, ProvenCopy[]>();
  for (const copy of copies) {
    const key = `${copy.term}/${copy.crc}`;
    same.set(key, [...(same.get(key) ?? []), copy]);
  }
  return [...same.values()];
}

/** Whether a copy is known to be of the committed entry; see the file comment. */
function isCommitted(
  { commitIndex, terms }: ProvenCopy,
  { index, committed }: Pick<GatheredCopies, 'index' | 'committed'>,
): boolean {
  if (commitIndex >= index) return true;
  return committed.some(
    (place) =>
      place.index >= index &&
      terms.some(({ lastIndex, term }) => term === place.term && lastIndex >= index),
  );
}

/** Why the copies are no quorum; `undefined` when they are. */
function lackOf(
  copies: readonly ReplicaLife[],
  configurations: readonly Configuration[],
): string | undefined {
  for (const { index, members, outgoingMembers } of configurations) {
    // Outside a joint phase there is no outgoing side; the incoming one always has a voter.
    const sides = outgoingMembers.length === 0 ? [members] : [members, outgoingMembers];
    for (const voters of sides.map(votersOf)) {
      const held = voters.filter((voter) => copies.some((copy) => isSameLife(copy, voter))).length;
      const quorum = Math.floor(voters.length / 2) + 1;
      if (held < quorum)
        return `${held} of ${voters.length} voters of the configuration at index ${index} prove it, a quorum is ${quorum}`;
    }
  }
  return undefined;
}

function votersOf(members: readonly Member[]): readonly Member[] {
  return members.filter(({ role }) => role === 'voter');
}
