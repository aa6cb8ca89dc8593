/**
 * Which copies of a log are damaged, and whether another one may be.
 *
 * Damage that no replica could recover from is no test: of everything a quorum of every configuration keeps an undamaged copy,
 * in a joint phase a quorum of both halves. So whatever goes wrong afterwards is a bug. The atlas only keeps books: who wants
 * to damage something asks first, and does it only where the answer is yes. A claim counts from the moment it is made, whether
 * anybody has noticed the damage or not, and for good.
 */
import type { LogIndex, NodeId, PartitionId } from '../base/ids.ts';
import type { Configuration } from '../base/membership.ts';
import { hasQuorum } from '../raft/index.ts';

/** Entries of one partition's log, both ends included. */
export interface LogRange {
  readonly partitionId: PartitionId;
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
}

/** What an atlas goes by. */
export interface FaultAtlasOptions {
  /** Every configuration of a partition that may be in force at some replica now or once more. */
  readonly configurations: (partitionId: PartitionId) => readonly Configuration[];
  /**
   * What damage takes out of the quorum: the damaged entries, where replicas repair them from each other; or the whole
   * replica, where one in doubt says nothing any more.
   */
  readonly doubtTakes: 'entries' | 'replica';
}

interface Claim {
  readonly nodeId: NodeId;
  readonly firstIndex: number;
  readonly lastIndex: number;
}

/** The whole log of a partition, with everything else that its replica keeps on a disk. */
export function wholeLog(partitionId: PartitionId): LogRange {
  return {
    partitionId,
    firstIndex: 0 as LogIndex,
    lastIndex: Number.MAX_SAFE_INTEGER as LogIndex,
  };
}

/** See the file comment. */
export class FaultAtlas {
  readonly #options: FaultAtlasOptions;
  readonly #claims = new Map<PartitionId, Claim[]>();

  constructor(options: FaultAtlasOptions) {
    this.#options = options;
  }

  /** Whether anything was ever damaged. */
  get isEmpty(): boolean {
    return this.#claims.size === 0;
  }

  /** Whether a node has lost any of a partition. */
  isDamaged(nodeId: NodeId, partitionId: PartitionId): boolean {
    return this.#claims.get(partitionId)?.some((claim) => claim.nodeId === nodeId) ?? false;
  }

  /** Whether a node has lost any of anything. */
  isNodeDamaged(nodeId: NodeId): boolean {
    return [...this.#claims.keys()].some((partitionId) => this.isDamaged(nodeId, partitionId));
  }

  /** Whether all of the ranges may be damaged on a node, at once. */
  mayDamage(nodeId: NodeId, ranges: readonly LogRange[]): boolean {
    return ranges.every((range) => this.#leavesQuorums(nodeId, range));
  }

  /** Notes the damage if it may be. @returns Whether it may; if not, nothing is noted and nothing is to be damaged. */
  claim(nodeId: NodeId, ranges: readonly LogRange[]): boolean {
    if (!this.mayDamage(nodeId, ranges)) return false;
    for (const range of ranges) {
      const claims = this.#claims.get(range.partitionId);
      const { firstIndex, lastIndex } = this.#taken(range);
      const claim = { nodeId, firstIndex, lastIndex };
      if (claims === undefined) this.#claims.set(range.partitionId, [claim]);
      else claims.push(claim);
    }
    return true;
  }

  /** Who has lost an entry changes only where a claim begins. */
  #leavesQuorums(nodeId: NodeId, range: LogRange): boolean {
    const { firstIndex, lastIndex } = this.#taken(range);
    const claims = this.#claims.get(range.partitionId) ?? [];
    const begins = claims
      .map((claim) => claim.firstIndex)
      .filter((index) => index > firstIndex && index <= lastIndex);
    return [firstIndex, ...begins].every((index) => {
      const isLost = (candidate: NodeId): boolean =>
        candidate === nodeId ||
        claims.some(
          (claim) =>
            claim.nodeId === candidate && claim.firstIndex <= index && index <= claim.lastIndex,
        );
      return this.#options
        .configurations(range.partitionId)
        .every((configuration) => hasQuorum(configuration, (member) => !isLost(member.nodeId)));
    });
  }

  #taken(range: LogRange): LogRange {
    return this.#options.doubtTakes === 'replica' ? wholeLog(range.partitionId) : range;
  }
}
