/** What the replicas of a node are told when a link comes up, goes down, or finds nobody at its other end. */
import type { PartitionId } from '../base/ids.ts';
import type { HostedPartition } from './hosted-partition.ts';
import type { PeerLinkListener } from './peer-links.ts';

/** Partitions that a start or the death of a node left without a leader begin their elections at this pace at most (specification §2.5). */
export const electionsPerTick = 2;

/** What is needed of the node. */
export interface LinkEventParts {
  readonly hosted: () => Iterable<HostedPartition>;
  /** Runs what must not fail. */
  readonly guarded: (run: () => void) => void;
  /** Tries again what waited for a way to the leader. */
  readonly wake: (partitionId: PartitionId) => void;
  readonly armTimer: () => void;
}

/** Makes the listener of a node's links. */
export function linkEvents({ hosted, guarded, wake, armTimer }: LinkEventParts): PeerLinkListener {
  return {
    linkUp: (nodeId, newBoot) => {
      guarded(() => {
        for (const { replica, quarantine, snapshots } of hosted()) {
          replica.input({ kind: 'peerConnected', nodeId, newBoot });
          quarantine.peerConnected(nodeId);
          snapshots?.peerConnected(nodeId);
          if (replica.leaderNodeId === nodeId) wake(replica.partitionId);
        }
      });
    },
    linkDown: (nodeId) => {
      guarded(() => {
        let woken = 0;
        for (const { replica } of hosted()) {
          const wasHibernating = replica.isHibernating;
          const delayTicks = Math.floor(woken / electionsPerTick);
          replica.input({ kind: 'nodeDown', nodeId, delayTicks });
          if (wasHibernating && !replica.isHibernating) woken++;
        }
      });
      armTimer();
    },
    nodeUnreachable: (nodeId) => {
      guarded(() => {
        for (const { replica } of hosted()) replica.input({ kind: 'nodeUnreachable', nodeId });
      });
      armTimer();
    },
    rttChanged: (nodeId, isHigh) => {
      guarded(() => {
        for (const { replica } of hosted()) replica.input({ kind: 'linkRtt', nodeId, isHigh });
      });
    },
  };
}
