/** Nobody holds a lease of an older term at the moment when somebody is elected, also not a process that stands still (§2.3). */
import type { NodeId, PartitionId, Term } from '../base/ids.ts';
import type { ClustorNode } from '../runtime/node.ts';

/** Who holds a lease of an older term than the one in which somebody is elected. */
export function olderLeaseHolder(
  nodes: readonly ClustorNode[],
  { partitionId, term }: { readonly partitionId: PartitionId; readonly term: Term },
): { readonly nodeId: NodeId; readonly term: Term } | undefined {
  for (const node of nodes) {
    const replica = node.replicas().find((row) => row.partitionId === partitionId);
    if (replica === undefined || replica.state.term >= term || !replica.holdsLease()) continue;
    return { nodeId: node.nodeId, term: replica.state.term };
  }
  return undefined;
}
