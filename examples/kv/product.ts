/** The key-value store as a product: what `clustor node --product` loads and `clustor up --example kv` runs on every node. */
import {
  ClustorError,
  type Product,
  type ProductContext,
  type RunningProduct,
  type StateMachine,
} from 'clustor';

import { KvMachine } from './kv-machine.ts';
import type { ReplicationStatus } from './redis-info.ts';
import { RedisServer } from './redis-server.ts';

/** A replicated key-value store that speaks the Redis protocol on every node. */
export const product: Product = {
  name: 'kv',

  createStateMachine(): StateMachine {
    return new KvMachine();
  },

  async start(context: ProductContext): Promise<RunningProduct> {
    const [partition] = context.partitions;
    if (partition === undefined) {
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        'the kv product needs a partition to keep its keys in',
      );
    }
    const server = await RedisServer.open({
      partition,
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

function replicationOf({ node, partitions }: ProductContext): ReplicationStatus {
  const status = partitions[0]?.status();
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
