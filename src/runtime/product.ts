/** What `clustor node` loads as the `product` of its configuration: a product that runs on every node of a cluster. */
import type { PartitionId } from '../base/ids.ts';
import type { Observer } from '../ports/observer.ts';
import type { StateMachine } from '../ports/state-machine.ts';
import type { ClustorNode } from './node.ts';
import type { Partition } from './partition.ts';

/** A product; its module exports it as `product`. @public */
export interface Product {
  /** Short name for log lines. */
  readonly name: string;
  /** Makes the machine of a partition. */
  createStateMachine(partitionId: PartitionId): StateMachine;
  /** Starts the product's own listeners on this node. */
  start(context: ProductContext): Promise<RunningProduct>;
}

/** What a product gets on each node. @public */
export interface ProductContext {
  readonly node: ClustorNode;
  /** The partitions that the node hosts at this moment; a node may be given replicas and lose them while it runs. */
  readonly partitions: readonly Partition[];
  /** Loopback port for the product's listener on this node; the system picks one when undefined. */
  readonly port: number | undefined;
  readonly observer: Observer;
}

/** A started product. @public */
export interface RunningProduct {
  /** Where it listens, by protocol: `{ redis: '127.0.0.1:7379' }`. */
  readonly addresses: Readonly<Record<string, string>>;
  close(): Promise<void>;
}
