/**
 * The end of a turn of the loop, where batches close: everything that arrived in this turn was queued, now it is proposed,
 * handed to storage and sent, once each, in this order. A batch is never closed by a timer (architecture, life of a write).
 */
import type { Clock } from '../ports/clock.ts';

/** Something that gathers work during a turn. */
export interface TurnWork {
  /** Does what was gathered; may mark itself or others again, which runs in the same turn's next round or the next turn. */
  endTurn(): void;
}

/**
 * Collects work of one turn. Stages run in order: local requests, proposals and reads, batches of heartbeats, sockets, storage;
 * then, while disk and peers work, what became committed is applied, and answers that came of it are sent.
 */
export class TurnScheduler {
  readonly #clock: Clock;
  readonly #onFailure: (error: unknown) => void;
  #requests: TurnWork[] = [];
  #replicas: TurnWork[] = [];
  #applies: (() => void)[] = [];
  #links: TurnWork[] = [];
  #sockets: TurnWork[] = [];
  #isScheduled = false;
  /** Whoever gathers now will end the turn itself. */
  #isBegun = false;
  #isClosed = false;
  /** Starts a flush of storage if something is pending; set once. */
  flushStorage: () => void = () => undefined;

  constructor(clock: Clock, onFailure: (error: unknown) => void) {
    this.#clock = clock;
    this.#onFailure = onFailure;
  }

  /** Marks a gatherer of local requests; it runs first, so that what it proposes joins this turn's batch. */
  markRequest(work: TurnWork): void {
    this.#requests.push(work);
    this.schedule();
  }

  /** Marks a replica that has proposals or reads waiting; callers mark once until it ran. */
  markReplica(work: TurnWork): void {
    this.#replicas.push(work);
    this.schedule();
  }

  /** Runs once storage has been given its work. */
  markApply(run: () => void): void {
    this.#applies.push(run);
    this.schedule();
  }

  /** Marks a link that gathers heartbeats of many partitions; callers mark once until it ran. */
  markLink(work: TurnWork): void {
    this.#links.push(work);
    this.schedule();
  }

  /** Marks a connection that has frames waiting; callers mark once until it ran. */
  markSocket(work: TurnWork): void {
    this.#sockets.push(work);
    this.schedule();
  }

  /** Makes sure that the turn ends even when only storage has work. */
  schedule(): void {
    if (this.#isScheduled || this.#isBegun || this.#isClosed) return;
    this.#isScheduled = true;
    this.#clock.endOfTurn(() => {
      this.#isScheduled = false;
      this.runNow();
    });
  }

  /** Work is gathered until {@link TurnScheduler.runNow} or {@link TurnScheduler.completed}, which the caller owes: no other end is scheduled. */
  begin(): void {
    this.#isBegun = true;
  }

  /** Ends the turn at once: a completion has just arrived, the disk is free, and what waits for it goes first. */
  completed(): void {
    this.#run(true);
  }

  /**
   * Ends the turn at once: a peer has spoken. What is to be sent goes first: the way to the disks of others is longer than
   * the one to the own.
   */
  runNow(): void {
    this.#run(false);
  }

  #run(isDiskFree: boolean): void {
    this.#isBegun = false;
    if (this.#isClosed) return;
    try {
      this.#endRequests();
      const replicas = this.#replicas;
      this.#replicas = [];
      for (const work of replicas) work.endTurn();
      if (isDiskFree) this.flushStorage();
      this.#send(!isDiskFree);
      if (this.#applies.length === 0) return;
      const applies = this.#applies;
      this.#applies = [];
      for (const apply of applies) apply();
      this.#endRequests();
      this.#send(false);
    } catch (error) {
      this.#onFailure(error);
    }
  }

  /** Nothing runs any more. */
  close(): void {
    this.#isClosed = true;
    this.#applies = [];
    this.#requests = [];
    this.#replicas = [];
    this.#links = [];
    this.#sockets = [];
  }

  /**
   * Storage gets its work behind the first connection: one peer and the own disk make a majority, and the others' processes
   * do not compete with them for the machine's cores from the start.
   */
  #send(flushesStorage: boolean): void {
    const links = this.#links;
    this.#links = [];
    for (const work of links) work.endTurn();
    const sockets = this.#sockets;
    this.#sockets = [];
    sockets[0]?.endTurn();
    if (flushesStorage) this.flushStorage();
    for (let at = 1; at < sockets.length; at++) sockets[at]?.endTurn();
  }

  #endRequests(): void {
    const requests = this.#requests;
    if (requests.length === 0) return;
    this.#requests = [];
    for (const work of requests) work.endTurn();
  }
}
