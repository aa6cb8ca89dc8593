/** What a simulated run has seen of one partition: the past that no replica may contradict. */
import type { LogIndex, NodeId, Term } from '../base/ids.ts';
import type { Configuration } from '../base/membership.ts';
import type { RaftState } from '../raft/index.ts';
import { findThief, type VoterLog } from './commit-safety.ts';

/** See the file comment. */
export interface Committed {
  /** Every configuration that any replica ever had, by the entry that brought it. */
  readonly configurations: Map<string, Configuration>;
  /** The one under which the highest index was committed. */
  active: Configuration | undefined;
  /** Logs as they were last seen, also of nodes that are down. */
  readonly logs: Map<NodeId, VoterLog>;
  /** Terms by index. */
  readonly terms: Map<LogIndex, Term>;
  readonly leaders: Map<Term, NodeId>;
  /** What machines applied, by index. */
  readonly applied: Map<LogIndex, string>;
  highest: LogIndex;
  /** The term in which it was committed. */
  highestIn: Term;
  /** How often the highest has advanced. */
  advances: number;
}

/** Before the first entry. */
export function nothingCommitted(): Committed {
  return {
    configurations: new Map(),
    active: undefined,
    logs: new Map(),
    terms: new Map(),
    leaders: new Map(),
    applied: new Map(),
    highest: 0 as LogIndex,
    highestIn: 0 as Term,
    advances: 0,
  };
}

/** Says whether the highest entry that counts as committed could still be lost, and to whom. */
export function unsafeEntry({
  highest,
  terms,
  logs,
  configurations,
}: Committed): string | undefined {
  const term = terms.get(highest);
  if (term === undefined) return undefined;
  const entry = { index: highest, term };
  // Of configurations that lost against others nothing is left below a base.
  const known = [...configurations.values()].filter(
    ({ index, term: own }) => index > highest || index === 0 || (terms.get(index) ?? own) === own,
  );
  const thief = findThief(entry, [...logs.values()], known);
  return thief === undefined
    ? undefined
    : `entry ${highest}, term ${term}, counts as committed, and node ${thief} lacks it and could be elected`;
}

/**
 * Whether a replica on a damaged disk takes no part any more, whatever the others do: evidence is lost, or it is in quarantine with
 * a tail that no other log has, which proves nothing of what is missing before it (a snapshot would be needed, specification §5.6).
 */
export function isOutForGood(
  {
    inDoubt,
    hasLostEvidence,
    quarantineEnd,
  }: Pick<RaftState, 'inDoubt' | 'hasLostEvidence'> & {
    readonly quarantineEnd: { readonly index: LogIndex; readonly term: Term } | undefined;
  },
  { terms }: Pick<Committed, 'terms'>,
): boolean {
  if (!inDoubt || hasLostEvidence) return inDoubt;
  return quarantineEnd !== undefined && terms.get(quarantineEnd.index) !== quarantineEnd.term;
}
