/**
 * The key-value store as a product: what `clustor up --example kv` runs on every node, and `clustor node` as the `product` of
 * its configuration.
 *
 * All keys live in one partition. In a cluster of several, nodes could host different ones, and a client would find other keys
 * on every node; a node that hosts more than one refuses to start, or to serve.
 */
import {
  ClustorError,
  type Partition,
  type Product,
  type ProductContext,
  type RunningProduct,
  type StateMachine,
} from 'clustor';

import { KvMachine } from './kv-machine.ts';
import type { KvPartition } from './redis-connection.ts';
import type { ReplicationStatus } from './redis-info.ts';
import { RedisServer } from './redis-server.ts';

/** A replicated key-value store that speaks the Redis protocol on every node. */
export const product: Product = {
  name: 'kv',

  createStateMachine(): StateMachine {
    return new KvMachine();
  },

  async start(context: ProductContext): Promise<RunningProduct> {
    onlyPartition(context);
    const server = await RedisServer.open({
      partition: hostedPartition(context),
      port: context.port ?? 0,
      observer: context.observer,
      replication: () => replicationOf(context),
    });
    context.observer.emit({
      level: 'info',
      kind: 'redisListening',
      fields: { address: server.address },
    });
    return { addresses: { redis: server.address }, close: () => server.close() };
  },
};

/** The partition that the node hosts when it is asked: a spare node is given its replica later, and may lose it again. */
function hostedPartition(context: ProductContext): KvPartition {
  const current = (): Partition => {
    const partition = onlyPartition(context);
    if (partition !== undefined) return partition;
    throw new ClustorError(
      'CLUSTOR_UNKNOWN_PARTITION',
      `node ${context.node.nodeId} holds no replica yet; ask another node`,
    );
  };
  return {
    get partitionId() {
      return current().partitionId;
    },
    get machine() {
      return current().machine;
    },
    append: async (bytes, options) => current().append(bytes, options),
    read: async (read, options) => current().read(read, options),
  };
}

/** What the node hosts, if it hosts anything. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT` if there is a choice. */
function onlyPartition({ node, partitions }: ProductContext): Partition | undefined {
  if (partitions.length <= 1) return partitions[0];
  throw new ClustorError(
    'CLUSTOR_INVALID_ARGUMENT',
    `the key-value store keeps all keys in one partition, and node ${node.nodeId} hosts ${partitions.length}; make a cluster with --partitions 1 for it`,
  );
}

function replicationOf(context: ProductContext): ReplicationStatus {
  const { node } = context;
  const status = context.partitions[0]?.status();
  return {
    nodeId: node.nodeId,
    role: status?.role ?? 'none',
    leaderId: status?.leaderNodeId,
    leaderAddress: status?.leaderAddress,
    term: status?.term ?? 0,
    commitIndex: status?.commitIndex ?? 0,
    appliedIndex: status?.appliedIndex ?? 0,
  };
}
