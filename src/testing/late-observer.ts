/** Observers that have not caught up: their stream may be a trickle, and no bound holds for it (specification §3). */
import type { PartitionId } from '../base/ids.ts';
import type { Member } from '../base/membership.ts';
import type { SimCluster } from './sim-cluster.ts';

/** Whether a member is an observer that is still behind what is committed. */
export function isLateObserver(
  cluster: SimCluster,
  { nodeId, role }: Member,
  partitionId: PartitionId,
): boolean {
  if (role !== 'observer') return false;
  const partition = cluster.node(nodeId)?.partition(partitionId);
  return partition !== undefined && partition.appliedIndex < cluster.highestCommitted(partitionId);
}
