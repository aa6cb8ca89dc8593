/** The pipeline that applies what a replica's core committed, and whom it answers. */
import type { LogIndex } from '../base/ids.ts';
import { ApplyPipeline } from './apply-pipeline.ts';
import type { FrameSource } from './apply-types.ts';
import { answeringListener } from './proposal-answers.ts';
import type { ProposalQueue } from './proposals.ts';
import type { ReadBarriers } from './read-barriers.ts';
import type { ReplicaParts } from './replica-options.ts';

/** Makes the pipeline of a replica; the machine holds nothing yet. */
export function replicaApply(
  { recovered, machine, limits, clock, listener, faulted }: ReplicaParts,
  parts: {
    readonly source: FrameSource;
    readonly proposals: ProposalQueue;
    readonly reads: ReadBarriers;
  },
): ApplyPipeline {
  const { partitionId } = recovered;
  const { source, proposals, reads } = parts;
  return new ApplyPipeline({
    partitionId,
    machine,
    limits,
    clock,
    appliedIndex: 0 as LogIndex,
    source,
    listener: answeringListener({
      proposals,
      reads,
      durabilityChanged: (transition, place) => {
        listener.durabilityChanged({ partitionId }, transition, place);
      },
      faulted,
    }),
  });
}
