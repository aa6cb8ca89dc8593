/**
 * Which copies of a log are damaged, and whether another one may be.
 *
 * Damage that no replica could recover from is no test: of everything a quorum of every configuration keeps an undamaged copy,
 * in a joint phase a quorum of both halves. So whatever goes wrong afterwards is a bug. The atlas only keeps books: who wants
 * to damage something asks first, and does it only where the answer is yes. A claim counts from the moment it is made, whether
 * anybody has noticed the damage or not, and for good.
 *
 * Entries are repaired only where the end of their log is one that others have too (specification QUA-5). Until the end that a
 * log had when it was damaged is committed, its replica counts as lost as a whole.
 */
import type { LogIndex, NodeId, PartitionId } from '../base/ids.ts';
import type { Configuration } from '../base/membership.ts';
import { hasQuorum } from '../raft/index.ts';
import type { LogPosition } from '../runtime/known-log.ts';

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
  /** Whether exactly this entry is known to be committed. @defaultValue every one is */
  readonly isCommitted?: (partitionId: PartitionId, position: LogPosition) => boolean;
}

/** The last entry of a node's log of a partition; `undefined` where nobody knows. */
export type EndOfLog = (partitionId: PartitionId) => LogPosition | undefined;

interface Claim {
  readonly nodeId: NodeId;
  readonly range: LogRange;
  /** Until it is committed the claim is one of the whole log. */
  end: LogPosition | 'committed' | 'unknown';
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
  mayDamage(nodeId: NodeId, ranges: readonly LogRange[], endOf?: EndOfLog): boolean {
    return ranges.every((range) => this.#leavesQuorums(this.#claimOf(nodeId, range, endOf)));
  }

  /** Notes the damage if it may be. @returns Whether it may; if not, nothing is noted and nothing is to be damaged. */
  claim(nodeId: NodeId, ranges: readonly LogRange[], endOf?: EndOfLog): boolean {
    if (!this.mayDamage(nodeId, ranges, endOf)) return false;
    for (const range of ranges) {
      const claim = this.#claimOf(nodeId, range, endOf);
      const claims = this.#claims.get(range.partitionId);
      if (claims === undefined) this.#claims.set(range.partitionId, [claim]);
      else claims.push(claim);
    }
    return true;
  }

  #claimOf(nodeId: NodeId, range: LogRange, endOf: EndOfLog | undefined): Claim {
    const end = endOf === undefined ? 'committed' : (endOf(range.partitionId) ?? 'unknown');
    return { nodeId, range, end };
  }

  /** Who has lost an entry changes only where a claim begins. */
  #leavesQuorums(wanted: Claim): boolean {
    const { partitionId } = wanted.range;
    const { firstIndex, lastIndex } = this.#taken(wanted);
    const rows = (this.#claims.get(partitionId) ?? []).map((claim) => ({
      nodeId: claim.nodeId,
      ...this.#taken(claim),
    }));
    const begins = rows
      .map((row) => row.firstIndex)
      .filter((index) => index > firstIndex && index <= lastIndex);
    return [firstIndex, ...begins].every((index) => {
      const isLost = (candidate: NodeId): boolean =>
        candidate === wanted.nodeId ||
        rows.some(
          (row) => row.nodeId === candidate && row.firstIndex <= index && index <= row.lastIndex,
        );
      return this.#options
        .configurations(partitionId)
        .every((configuration) => hasQuorum(configuration, (member) => !isLost(member.nodeId)));
    });
  }

  /** What a claim takes out of the quorum as things stand. */
  #taken(claim: Claim): LogRange {
    const { range, end } = claim;
    const whole = wholeLog(range.partitionId);
    if (this.#options.doubtTakes === 'replica' || end === 'unknown') return whole;
    if (end === 'committed') return range;
    const { isCommitted } = this.#options;
    if (isCommitted?.(range.partitionId, end) === false) return whole;
    claim.end = 'committed';
    return range;
  }
}
