/**
 * Whether an entry that counts as committed could still be lost: some node that lacks it could be elected by a majority as the
 * disks stand (Raft §5.4, figure 8). A safe commit leaves no such node, whatever happens next.
 */
import type { LogIndex, NodeId, Term } from '../base/ids.ts';
import { termAt, type LogTerms } from '../raft/index.ts';

/** One voter's log, as a power loss now would leave it. */
export interface VoterLog {
  readonly nodeId: NodeId;
  readonly log: LogTerms;
  /** Entries up to here are on its disk. */
  readonly durableIndex: LogIndex;
}

/** A node that lacks the entry and could be elected nevertheless, if there is one. */
export function findThief(
  entry: { readonly index: LogIndex; readonly term: Term },
  voters: readonly VoterLog[],
): NodeId | undefined {
  const thief = voters.find(
    (candidate) =>
      !holds(candidate, entry) &&
      voters.filter((voter) => isUpToDate(candidate, voter)).length > voters.length / 2,
  );
  return thief?.nodeId;
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
