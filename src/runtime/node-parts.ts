/** What a node is made of. */
import type { ClusterId, Incarnation, NodeId, PartitionId } from '../base/ids.ts';
import type { LeafHashes } from '../codec/entry-frame.ts';
import { ownHandshake, type Handshake, type WireCapabilities } from '../codec/handshake.ts';
import type { Clock } from '../ports/clock.ts';
import type { Cryptography } from '../ports/cryptography.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { FileSystem } from '../ports/file-system.ts';
import type { Observer } from '../ports/observer.ts';
import type { StateMachine } from '../ports/state-machine.ts';
import type { Transport } from '../ports/transport.ts';
import type { RaftSettings } from '../raft/index.ts';
import type { JournalEncryption } from '../storage/key-ring.ts';
import type { LogStoreLimits } from '../storage/log-store-types.ts';
import type { MerkleLeaves } from './leaf-gate.ts';
import type { NodeLimits } from './limits.ts';

/** Everything a node is made of. @public */
export interface NodeParts {
  readonly directory: string;
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  /** `host:port` at which other nodes reach this one; told to nodes that do not know it yet. */
  readonly advertisedAddress?: string;
  readonly fileSystem: FileSystem;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly entropy: Entropy;
  /** The Merkle leaves of entries that are framed here; they need {@link NodeParts.cryptography}. @defaultValue 'none' */
  readonly merkleLeaves?: MerkleLeaves;
  readonly observer: Observer;
  /** Makes the machine of a partition; called once per hosted partition. */
  readonly createStateMachine: (partitionId: PartitionId) => StateMachine;
  readonly limits?: Partial<NodeLimits> | undefined;
  readonly storage?: Partial<LogStoreLimits>;
  readonly raft?: Partial<RaftSettings>;
  /** Hashes snapshots and Merkle leaves. @defaultValue that of `encryption`; a node with neither takes none. */
  readonly cryptography?: Cryptography | undefined;
  /** Encrypts the journal. */
  readonly encryption?: JournalEncryption | undefined;
  /** What the node tells others that it understands, where it is to pass for another version. @defaultValue what this version does */
  readonly capabilities?: Partial<WireCapabilities>;
  /** What was found about the disk, for the boot records. */
  readonly diskReport?: object;
}

/** How a node introduces itself in this boot. */
export function handshakeOf(parts: NodeParts, bootId: Incarnation): Handshake {
  const { clusterId, nodeId, advertisedAddress = '', capabilities } = parts;
  return ownHandshake({ clusterId, nodeId, bootId, address: advertisedAddress, ...capabilities });
}

/** What leaves a node gives its entries, and with what it makes and checks them. */
export function leavesOf(parts: NodeParts): {
  readonly leaves: MerkleLeaves;
  readonly leafHashes: LeafHashes | undefined;
} {
  const { merkleLeaves = 'none', cryptography, encryption } = parts;
  return { leaves: merkleLeaves, leafHashes: cryptography ?? encryption?.cryptography };
}
