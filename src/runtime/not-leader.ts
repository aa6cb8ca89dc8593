/** Where a caller is sent who asked a replica for what only a leader does. */
import { ClustorError } from '../base/errors.ts';
import type { NodeId, PartitionId } from '../base/ids.ts';

/** The error that sends a caller to the leader, or to another node. */
export function notLeaderError(replica: {
  readonly partitionId: PartitionId;
  readonly leaderNodeId: NodeId | undefined;
  readonly isCutOff: boolean;
}): ClustorError {
  const { partitionId, leaderNodeId, isCutOff } = replica;
  if (isCutOff)
    return new ClustorError(
      'CLUSTOR_NOT_A_MEMBER',
      `the replica on this node is no member of partition ${partitionId}`,
    );
  if (leaderNodeId === undefined)
    return new ClustorError(
      'CLUSTOR_NO_LEADER',
      `partition ${partitionId} has no leader that this node knows of`,
    );
  return new ClustorError(
    'CLUSTOR_NOT_LEADER',
    `node ${leaderNodeId} leads partition ${partitionId}`,
    { details: { leaderNodeId } },
  );
}
