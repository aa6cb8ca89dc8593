/**
 * Whether evidence from data directories proves that an entry is on a quorum's stable storage (specification §2.4, §3.1).
 *
 * What counts is what a member's own ledger covers and its own journal holds: the same term, index and CRC on a majority of
 * the voters of every configuration that may be in force. That is the newest one known to be committed, and each later one,
 * for a configuration is in force from its append. Both majorities of a joint phase are needed. A life of a replica that is
 * in doubt, or that no configuration names, is no evidence: it would never be counted.
 */
import type { LogIndex, Term } from '../base/ids.ts';
import {
  isSameLife,
  type Configuration,
  type Member,
  type ReplicaLife,
} from '../base/membership.ts';

/** One member's proven copy of the entry. */
export interface ProvenCopy extends ReplicaLife {
  readonly term: Term;
  readonly crc: number;
}

/** Evidence of all directories about one entry. */
export interface GatheredCopies {
  readonly copies: readonly ProvenCopy[];
  /** Every configuration that some ledger knows to be live. */
  readonly configurations: readonly Configuration[];
  /** The newest commit index that some ledger recorded. */
  readonly commitIndex: LogIndex;
}

/** Whether the entry is on a quorum's stable storage. */
export type ProofVerdict =
  | { readonly kind: 'proven'; readonly term: Term; readonly crc: number }
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
export function proveEntry({ copies, configurations, commitIndex }: GatheredCopies): ProofVerdict {
  const inForce = configurationsInForce(configurations, commitIndex);
  if (inForce.length === 0)
    return { kind: 'notProvable', reason: 'no ledger knows a configuration of the partition' };
  if (copies.length === 0)
    return { kind: 'notProvable', reason: 'no directory proves a copy of the entry' };
  const same = new Map<string, ProvenCopy[]>();
  for (const copy of copies) {
    const key = `${copy.term}/${copy.crc}`;
    same.set(key, [...(same.get(key) ?? []), copy]);
  }
  const contents = [...same.values()].flatMap((group) => group.slice(0, 1));
  if (new Set(contents.map(({ term }) => term)).size < contents.length)
    return {
      kind: 'notProvable',
      reason: 'members hold different entries of the same term and index, which must never happen',
    };
  let reason = '';
  for (const group of same.values()) {
    const lack = lackOf(group, inForce);
    const [first] = group;
    if (lack === undefined && first !== undefined)
      return { kind: 'proven', term: first.term, crc: first.crc };
    reason ||= lack ?? '';
  }
  return { kind: 'notProvable', reason };
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
