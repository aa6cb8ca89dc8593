/**
 * A node that comes back on an older copy of its disk, and whether it may.
 *
 * Nothing on such a disk tells that it is old. What the node said since (votes, acknowledgements) is forgotten, and only a leader
 * that remembers can tell (specification §0, KER-9). So a rollback is no test of anything unless the others could do without all
 * that the node said: then it is to them as if it had been down since the copy was taken, and everything must hold.
 */
import type { NodeId } from '../base/ids.ts';
import { isSameLife } from '../base/membership.ts';
import { hasQuorum, isJoint, lastTerm, selfLife, termAt, type RaftState } from '../raft/index.ts';
import type { Replica } from '../runtime/replica.ts';
import type { SimCluster } from './sim-cluster.ts';

/**
 * To be called when the copy is taken; `undefined` where it would be of no use. The answer is asked again before the node goes
 * back to it: whether it may at that moment.
 */
export function rollbackOf(cluster: SimCluster, nodeId: NodeId): (() => boolean) | undefined {
  const then = placeOf(cluster, nodeId);
  if (then === undefined) return undefined;
  return () =>
    placeOf(cluster, nodeId) === then &&
    replicasOf(cluster, nodeId).every((replica) => isDispensable(cluster, replica));
}

/** Which replicas a node hosts under which configurations; `undefined` while anything of it is in the making or in doubt. */
function placeOf(cluster: SimCluster, nodeId: NodeId): string | undefined {
  const replicas = replicasOf(cluster, nodeId);
  if (replicas.length === 0) return undefined;
  const rows: string[] = [];
  for (const { partitionId, state } of replicas) {
    const configurations = cluster.configurationsToCome(partitionId);
    const [only] = configurations;
    if (only === undefined || configurations.length > 1 || isJoint(only) || state.inDoubt)
      return undefined;
    if (state.commitIndex < only.index) return undefined;
    rows.push(`${partitionId} ${state.selfIncarnation} ${only.term}/${only.index}`);
  }
  return rows.sort().join(', ');
}

/**
 * Whether whatever a replica may have said counts for nothing: the entries of its log are on the disks of a quorum of others, and
 * every term that it may have voted in is over everywhere.
 */
function isDispensable(cluster: SimCluster, { partitionId, state }: Replica): boolean {
  const others = cluster.world.nodeIds.flatMap((other) =>
    replicasOf(cluster, other)
      .filter((replica) => replica.partitionId === partitionId && replica.state !== state)
      .map((replica) => replica.state),
  );
  const { lastIndex } = state.log;
  const holds = (other: RaftState): boolean =>
    !other.inDoubt &&
    other.durableIndex >= lastIndex &&
    (lastIndex <= other.log.baseIndex || termAt(other.log, lastIndex) === lastTerm(state.log));
  const isPast = (other: RaftState): boolean =>
    other.durableTerm >= state.term && (other.role !== 'candidate' || other.term > state.term);
  return cluster.configurationsToCome(partitionId).every((configuration) => {
    const stateOf = (life: Parameters<typeof isSameLife>[0]): RaftState | undefined =>
      others.find((other) => isSameLife(selfLife(other), life));
    const areAllPast = configuration.members.every((member) => {
      if (isSameLife(member, selfLife(state)) || member.role !== 'voter') return true;
      const other = stateOf(member);
      return other !== undefined && isPast(other);
    });
    return (
      areAllPast &&
      hasQuorum(configuration, (member) => {
        const other = stateOf(member);
        return other !== undefined && holds(other);
      })
    );
  });
}

function replicasOf(cluster: SimCluster, nodeId: NodeId): readonly Replica[] {
  return cluster.node(nodeId)?.replicas() ?? [];
}
