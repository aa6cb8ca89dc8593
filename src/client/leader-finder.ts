/**
 * Finds who leads which partition.
 *
 * What is believed of a partition (its *route*) comes from descriptions and from the leader's name in refusals. A node that
 * says of itself that it leads is believed in its term; what others say is believed only if it is no older and names a
 * node that is up. A leader that turned requests away is *deposed*: hearsay about it in that term no longer counts.
 *
 * A partition that has work and no leader is *sought*: all nodes that are up are asked at once, then every 25 ms until one
 * leads. Each node has at most one open question, so a slow node is not flooded.
 */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, NodeId, PartitionId, Term } from '../base/ids.ts';
import type { CancelTimer, Clock } from '../ports/clock.ts';
import type { WireSession } from '../runtime/wire-session.ts';
import type { ClientNode, Description } from './client-node.ts';
import type { NodeDirectory } from './node-directory.ts';

const seekIntervalMs = 25;
const probeIntervalMs = 250;
/** Names in refusals are followed this often without a success in between; then the nodes are asked instead. */
const redirectsMax = 3;

/** What is believed of one partition. */
export interface Route {
  readonly partitionId: PartitionId;
  leaderNodeId: NodeId | undefined;
  /** Highest term heard of in which somebody leads. */
  term: Term;
  /** Highest commit index heard of; 0 before anything was heard. */
  commitIndex: LogIndex;
  /** Nodes that said that they host a replica. */
  readonly hosts: Set<NodeId>;
  deposedNodeId: NodeId | undefined;
  redirectCount: number;
  /** When this partition began to be sought. */
  soughtSinceMs: number;
}

/** Who has work for leaders. */
export interface RouteListener {
  /** A leader is known that was not known before. */
  routed(route: Route): void;
  /** Whether something waits for a leader of this partition. */
  isWanted(route: Route): boolean;
  /** Every known node answered, and none hosts the partition. */
  unknownPartition(route: Route): void;
  /** A description came. */
  described(): void;
}

/** What a finder needs. */
export interface LeaderFinderOptions {
  readonly clock: Clock;
  readonly directory: NodeDirectory;
  readonly listener: RouteListener;
}

/** See the file comment. */
export class LeaderFinder {
  readonly #options: LeaderFinderOptions;
  readonly #routes = new Map<PartitionId, Route>();
  readonly #sought = new Set<Route>();
  /** When each node was asked the question that it answered last. */
  readonly #answeredQuestionAtMs = new Map<NodeId, number>();
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #cancelTimer: CancelTimer | undefined;
  #isClosed = false;

  constructor(options: LeaderFinderOptions) {
    this.#options = options;
  }

  /** Partitions that some node hosts. */
  *hostedPartitionIds(): IterableIterator<PartitionId> {
    for (const route of this.#routes.values()) if (route.hosts.size > 0) yield route.partitionId;
  }

  /** What is believed of a partition, if anything was ever said or asked of it. */
  peek(partitionId: PartitionId): Route | undefined {
    return this.#routes.get(partitionId);
  }

  /** What is believed of a partition. */
  route(partitionId: PartitionId): Route {
    let route = this.#routes.get(partitionId);
    if (route === undefined) {
      route = {
        partitionId,
        leaderNodeId: undefined,
        term: 0 as Term,
        commitIndex: 0 as LogIndex,
        hosts: new Set(),
        deposedNodeId: undefined,
        redirectCount: 0,
        soughtSinceMs: 0,
      };
      this.#routes.set(partitionId, route);
    }
    return route;
  }

  /** Forgets a partition that nobody hosts. */
  forget(route: Route): void {
    this.#sought.delete(route);
    this.#routes.delete(route.partitionId);
  }

  /** The connection to the believed leader, while it is up. */
  leaderSession(route: Route): WireSession | undefined {
    return route.leaderNodeId === undefined
      ? undefined
      : this.#options.directory.get(route.leaderNodeId)?.session;
  }

  /** A partition has work and no leader. */
  seek(route: Route): void {
    if (this.#isClosed || this.#sought.has(route)) return;
    const nowMs = this.#options.clock.monotonicMs();
    route.soughtSinceMs = nowMs;
    this.#sought.add(route);
    if (nowMs - this.#askedAtMs >= seekIntervalMs) this.#askAll(nowMs);
    this.#startTimer();
  }

  /** The believed leader may be gone without having closed its connection: the nodes are asked, at a slow pace. */
  probe(nowMs: number): void {
    if (nowMs - this.#askedAtMs >= probeIntervalMs) this.#askAll(nowMs);
  }

  /** A node turned a request away because it leads no more, or its connection closed. */
  deposed(route: Route, nodeId: NodeId): void {
    if (route.leaderNodeId !== nodeId) return;
    route.leaderNodeId = undefined;
    route.deposedNodeId = nodeId;
    if (this.#options.listener.isWanted(route)) this.seek(route);
  }

  /** A node named another one as leader. */
  redirected(route: Route, fromNodeId: NodeId, toNodeId: NodeId): void {
    if (route.leaderNodeId !== fromNodeId) return;
    route.redirectCount++;
    const { directory } = this.#options;
    if (
      toNodeId === fromNodeId ||
      toNodeId === 0 ||
      route.redirectCount > redirectsMax ||
      directory.get(toNodeId) === undefined
    ) {
      if (toNodeId !== 0) directory.hurry(toNodeId);
      this.deposed(route, fromNodeId);
      return;
    }
    route.deposedNodeId = fromNodeId;
    this.#lead(route, toNodeId);
  }

  /** A request succeeded at the leader. */
  confirmed(route: Route, index: LogIndex): void {
    route.redirectCount = 0;
    if (index > route.commitIndex) route.commitIndex = index;
  }

  /** A node came up: it is asked at once. */
  nodeUp(node: ClientNode): void {
    this.#ask(node);
  }

  /** A node went down. */
  nodeDown(nodeId: NodeId): void {
    this.#answeredQuestionAtMs.delete(nodeId);
    for (const route of this.#routes.values()) this.deposed(route, nodeId);
  }

  /** Stops asking. */
  close(): void {
    this.#isClosed = true;
    this.#cancelTimer?.();
    this.#sought.clear();
  }

  #startTimer(): void {
    if (this.#cancelTimer !== undefined || this.#isClosed) return;
    this.#cancelTimer = this.#options.clock.setTimer(seekIntervalMs, () => {
      this.#cancelTimer = undefined;
      this.#tick();
    });
  }

  #tick(): void {
    for (const route of this.#sought)
      if (!this.#options.listener.isWanted(route)) this.#sought.delete(route);
    if (this.#sought.size === 0) return;
    this.#askAll(this.#options.clock.monotonicMs());
    this.#startTimer();
  }

  #askAll(nowMs: number): void {
    this.#askedAtMs = nowMs;
    this.#options.directory.endSilence(nowMs);
    for (const node of this.#options.directory.answering()) if (!node.isDescribing) this.#ask(node);
  }

  #ask(node: ClientNode): void {
    const askedAtMs = this.#options.clock.monotonicMs();
    node.describe((answer) => {
      if (this.#isClosed || answer instanceof ClustorError) return;
      this.#take(node, answer, askedAtMs);
    });
  }

  /** Believes what a description says, as far as it is to be believed. */
  #take(node: ClientNode, description: Description, askedAtMs: number): void {
    const { directory, listener } = this.#options;
    const { nodeId } = node;
    if (nodeId === undefined) return;
    this.#answeredQuestionAtMs.set(nodeId, askedAtMs);
    directory.learn(description);
    const hosted = new Set<PartitionId>();
    for (const partition of description.partitions) {
      hosted.add(partition.partitionId);
      const route = this.route(partition.partitionId);
      route.hosts.add(nodeId);
      if (partition.commit > route.commitIndex) route.commitIndex = partition.commit;
      this.#weigh(route, nodeId, partition);
    }
    for (const route of this.#routes.values())
      if (!hosted.has(route.partitionId)) route.hosts.delete(nodeId);
    listener.described();
    this.#judgeUnknown();
  }

  #weigh(route: Route, fromNodeId: NodeId, claim: Description['partitions'][number]): void {
    if (claim.term < route.term) return;
    // Who only campaigned may be gone with its term, and a leader of an older one go on.
    if (!claim.isLeader && claim.leaderNodeId === 0) {
      if (route.leaderNodeId === fromNodeId) this.deposed(route, fromNodeId);
      return;
    }
    const isNewTerm = claim.term > route.term;
    if (isNewTerm) {
      route.term = claim.term;
      route.deposedNodeId = undefined;
    }
    if (claim.isLeader) {
      this.#lead(route, fromNodeId);
      return;
    }
    if (route.leaderNodeId === fromNodeId) this.deposed(route, fromNodeId);
    const { leaderNodeId } = claim;
    if (leaderNodeId === 0 || leaderNodeId === fromNodeId) return;
    const isNews =
      isNewTerm || (route.leaderNodeId === undefined && route.deposedNodeId !== leaderNodeId);
    if (!isNews) return;
    if (this.#options.directory.get(leaderNodeId) === undefined)
      this.#options.directory.hurry(leaderNodeId);
    else this.#lead(route, leaderNodeId);
  }

  #lead(route: Route, nodeId: NodeId): void {
    const isChange = route.leaderNodeId !== nodeId;
    route.leaderNodeId = nodeId;
    if (route.deposedNodeId === nodeId) route.deposedNodeId = undefined;
    this.#sought.delete(route);
    if (isChange) this.#options.listener.routed(route);
  }

  /** Sought partitions that every known node denies, each asked after the search began, do not exist. */
  #judgeUnknown(): void {
    for (const route of this.#sought) {
      if (route.hosts.size > 0 || !this.#isDeniedByAll(route.soughtSinceMs)) continue;
      this.#sought.delete(route);
      this.#options.listener.unknownPartition(route);
    }
  }

  #isDeniedByAll(sinceMs: number): boolean {
    for (const node of this.#options.directory.all()) {
      if (node.session === undefined || node.nodeId === undefined) return false;
      const askedAtMs = this.#answeredQuestionAtMs.get(node.nodeId);
      if (askedAtMs === undefined || askedAtMs < sinceMs) return false;
    }
    return true;
  }
}
