/** What a simulated cluster is made of, and what it tells of itself. */
import { InvariantError } from '../base/assert.ts';
import type { ClusterId, NodeId, PartitionId } from '../base/ids.ts';
import type { ObservedEvent } from '../ports/observer.ts';
import type { StateMachine } from '../ports/state-machine.ts';
import type { RaftSettings } from '../raft/index.ts';
import type { NodeLimits } from '../runtime/limits.ts';
import type { LogStoreLimits } from '../storage/log-store-types.ts';
import type { FaultAtlas } from './fault-atlas.ts';
import type { SimEncryption } from './sim-encryption.ts';
import type { AppliedEntry } from './sim-machine.ts';
import type { SimTap } from './sim-tap.ts';
import type { SimVersion } from './sim-versions.ts';
import type { SimHost, SimWorld } from './sim-world.ts';

/** What is wrong, and when. */
export class SimViolation extends InvariantError {
  override readonly name: string = 'SimViolation';
  readonly atMs: number;

  constructor(message: string, atMs: number) {
    super(`at ${atMs.toFixed(3)} ms: ${message}`);
    this.atMs = atMs;
  }
}

/** A line of the timeline. */
export interface TimelineEvent {
  readonly atMs: number;
  readonly nodeId: NodeId | undefined;
  readonly event: ObservedEvent;
}

/** What a cluster is made of. */
export interface SimClusterOptions {
  readonly world: SimWorld;
  readonly clusterId: ClusterId;
  readonly partitionIds: readonly PartitionId[];
  /** Nodes that begin with a voter of every partition; the others begin without replicas. @defaultValue all nodes */
  readonly voterIds?: readonly NodeId[];
  readonly storage: Partial<LogStoreLimits>;
  readonly raft: Partial<RaftSettings>;
  /** @defaultValue those of a node */
  readonly limits?: Partial<NodeLimits>;
  /** Encrypts every journal. @defaultValue none is encrypted */
  readonly encryption?: SimEncryption | undefined;
  /** Makes the machine of a replica, each life anew; `onApplied` is to be told what it applies. @defaultValue a {@link RegisterMachine} */
  readonly createStateMachine?: (parts: MachineParts) => StateMachine;
  /** Whose disks were damaged: their replicas may be in doubt, and they may refuse to start. @defaultValue nobody's */
  readonly atlas?: FaultAtlas;
  /** Versions that nodes are started with. @defaultValue all run this one */
  readonly versions?: ReadonlyMap<NodeId, SimVersion>;
  /** Gets what nodes log. */
  readonly onEvent?: (event: TimelineEvent) => void;
  /** Watches; changes nothing. */
  readonly tap?: SimTap;
}

/** What a machine of a simulated cluster is made from. */
export interface MachineParts {
  /** The life that the machine is part of. */
  readonly host: SimHost;
  readonly partitionId: PartitionId;
  readonly onApplied: AppliedEntry;
}
