/** What applied entries mean for those who wait: proposals of this replica are answered, reads released. */
import { ClustorError } from '../base/errors.ts';
import type { ApplyListener } from './apply-types.ts';
import type { ProposalQueue } from './proposals.ts';
import type { ReadBarriers } from './read-barriers.ts';

/** A listener that answers. */
export function answeringListener(waiting: {
  readonly proposals: ProposalQueue;
  readonly reads: ReadBarriers;
  readonly faulted: ApplyListener['faulted'];
  readonly durabilityChanged: ApplyListener['durabilityChanged'];
}): ApplyListener {
  const { proposals, reads, durabilityChanged } = waiting;
  return {
    durabilityChanged,
    applied: (index, term, result) => {
      const proposal = proposals.takeApplied(index);
      proposal?.sink.proposalCommitted(proposal.slot, { term, index, result });
    },
    answered: (index, answer) => {
      const proposal = proposals.takeApplied(index);
      if ('row' in answer) proposal?.sink.proposalCommitted(proposal.slot, answer.row);
      else proposal?.sink.proposalFailed(proposal.slot, answer.error);
    },
    advanced: (appliedIndex) => {
      reads.applied(appliedIndex);
    },
    faulted: (error, isOfMachine) => {
      waiting.faulted(error, isOfMachine);
      failUnapplied(waiting, error);
    },
  };
}

/** Nothing is applied any more: whoever waits for that is told why. */
export function failUnapplied(
  {
    proposals,
    reads,
  }: {
    readonly proposals: ProposalQueue;
    readonly reads: ReadBarriers;
  },
  error: ClustorError,
): void {
  reads.failApplied(error);
  // What was appended may be committed, and is then applied once applying goes on.
  const { code, message, details } = error;
  proposals.failAll({
    waiting: new ClustorError(code, message, { outcome: 'surelyNot', details }),
    appended: new ClustorError(code, message, { outcome: 'unknown', details }),
  });
}

/** This replica leads no more: whoever waits to be appended or confirmed asks the next leader. */
export function failPending(
  { proposals, reads }: { readonly proposals: ProposalQueue; readonly reads: ReadBarriers },
  notLeader: () => ClustorError,
): void {
  if (proposals.waitingCount + proposals.appendedCount > 0)
    proposals.failAll({
      waiting: notLeader(),
      appended: new ClustorError(
        'CLUSTOR_LEADERSHIP_LOST',
        'this node stopped leading before the outcome was known',
      ),
    });
  if (reads.unconfirmedCount > 0) reads.failGathered(notLeader());
}
