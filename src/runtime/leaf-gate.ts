/**
 * Which Merkle leaves a leader gives its entries (specification ENT-5).
 *
 * BLAKE3 is behind a gate: a replica of a version that does not know it takes such a frame for malformed. The gate is open
 * while every member of the configuration in force has said that it does when it was last connected; otherwise leaves are
 * by SHA-256, which every version knows. Frames that exist already stay as they are.
 */
import { assert } from '../base/assert.ts';
import type { NodeId } from '../base/ids.ts';
import type { LeafHashes, LeafHashName } from '../codec/entry-frame.ts';
import { wireExtensions } from '../codec/handshake.ts';
import { activeConfiguration, type RaftState } from '../raft/index.ts';
import type { PeerLinks } from './peer-links.ts';

/** Merkle leaves of entries: by which hash, or none. @public */
export type MerkleLeaves = LeafHashName | 'none';

/** What leaves entries would get now, and what stands in the way of others. @public */
export interface LeafStatus {
  /** What this node is configured for. */
  readonly wanted: MerkleLeaves;
  readonly used: MerkleLeaves;
  /** The first clause of the gate that fails: a member has not said that it knows BLAKE3. */
  readonly failedClause: 'None' | 'MemberUnaware';
  /** The member that it fails at. */
  readonly nodeId: NodeId | undefined;
}

/** See the file comment. */
export class LeafGate {
  readonly hashes: LeafHashes | undefined;
  readonly #links: PeerLinks;
  readonly #state: RaftState;
  readonly #nodeId: NodeId;
  readonly #open: LeafStatus;

  constructor(options: {
    readonly wanted: MerkleLeaves;
    readonly leafHashes: LeafHashes | undefined;
    readonly nodeId: NodeId;
    readonly links: PeerLinks;
    readonly state: RaftState;
  }) {
    const { wanted, leafHashes } = options;
    assert(wanted === 'none' || leafHashes !== undefined, 'leaves need something to hash them');
    this.hashes = leafHashes;
    this.#links = options.links;
    this.#state = options.state;
    this.#nodeId = options.nodeId;
    this.#open = { wanted, used: wanted, failedClause: 'None', nodeId: undefined };
  }

  /** How entries that are framed now are given leaves. */
  status(): LeafStatus {
    if (this.#open.wanted !== 'blake3') return this.#open;
    const { members, outgoingMembers } = activeConfiguration(this.#state);
    const unaware = [...members, ...outgoingMembers].find(({ nodeId }) => !this.#isAware(nodeId));
    if (unaware === undefined) return this.#open;
    const { nodeId } = unaware;
    return { wanted: 'blake3', used: 'sha256', failedClause: 'MemberUnaware', nodeId };
  }

  #isAware(nodeId: NodeId): boolean {
    if (nodeId === this.#nodeId) return true;
    return ((this.#links.get(nodeId)?.extensions ?? 0) & wireExtensions.blake3Leaves) !== 0;
  }
}
