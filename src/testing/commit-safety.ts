/**
 * Whether an entry that counts as committed could still be lost: some replica that lacks it could be elected as the disks stand
 * (Raft §5.4, figure 8), under the configuration that its own log puts in force. A safe commit leaves no such replica,
 * whatever happens next.
 */
import type { LogIndex, NodeId, Term } from '../base/ids.ts';
import { isSameLife, type Configuration, type ReplicaLife } from '../base/membership.ts';
import { hasQuorum, isVoter, termAt, type LogTerms } from '../raft/index.ts';

/** One replica's log, as a power loss now would leave it. */
export interface VoterLog extends ReplicaLife {
  readonly nodeId: NodeId;
  readonly log: LogTerms;
  /** Entries up to here are on its disk. */
  readonly durableIndex: LogIndex;
  /** It neither campaigns nor votes (KER-9). */
  readonly inDoubt: boolean;
}

/** A node that lacks the entry and could be elected nevertheless, if there is one. */
export function findThief(
  entry: { readonly index: LogIndex; readonly term: Term },
  replicas: readonly VoterLog[],
  /** Every configuration there ever was; which ones a log holds follows from its terms. */
  configurations: readonly Configuration[],
): NodeId | undefined {
  const thief = replicas.find((candidate) => {
    if (candidate.inDoubt || holds(candidate, entry)) return false;
    const known = configurationsIn(candidate, configurations);
    const active = known[known.length - 1];
    if (active === undefined || !known.some((configuration) => isVoter(configuration, candidate)))
      return false;
    return hasQuorum(active, (member) => {
      const voter = replicas.find((replica) => isSameLife(replica, member));
      return voter !== undefined && !voter.inDoubt && isUpToDate(candidate, voter);
    });
  });
  return thief?.nodeId;
}

/** The configurations in a durable log, by rising index: the newest is in force, the ones before may be needed again. */
function configurationsIn(
  { log, durableIndex }: VoterLog,
  configurations: readonly Configuration[],
): readonly Configuration[] {
  const known = configurations.filter(
    ({ index, term }) =>
      index <= log.baseIndex || (index <= durableIndex && termAt(log, index) === term),
  );
  // A ledger keeps three (specification §3.1).
  return known.sort((left, right) => left.index - right.index).slice(-3);
}

function holds(
  { log, durableIndex }: VoterLog,
  entry: { readonly index: LogIndex; readonly term: Term },
): boolean {
  if (entry.index <= log.baseIndex) return true;
  return entry.index <= durableIndex && termAt(log, entry.index) === entry.term;
}

/** Whether `voter` would vote for `candidate` (Raft §5.4.1). */
function isUpToDate(candidate: VoterLog, voter: VoterLog): boolean {
  const [own, other] = [durableLastTerm(voter), durableLastTerm(candidate)];
  return other > own || (other === own && candidate.durableIndex >= voter.durableIndex);
}

function durableLastTerm({ log, durableIndex }: VoterLog): Term {
  return termAt(log, durableIndex) ?? log.baseTerm;
}
