/**
 * The client: one connection per node, the leader of each partition found and followed, every request retried under its key
 * until its deadline. Made of ports only, so that the simulator runs the same code as a product does.
 */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, PartitionId } from '../base/ids.ts';
import type { AppendReceipt } from '../runtime/local-append.ts';
import type { AppendCallback, ClientAppend } from './append-lane.ts';
import { ClientEngine, type ClientParts } from './client-engine.ts';
import {
  bytesRefusal,
  optionsRefusal,
  requestDeadlineMsDefault,
  type ClientAppendOptions,
  type ClientReadOptions,
  type ClusterDescription,
  type ReadReceipt,
} from './client-options.ts';
import { askAllNodes, describeCluster } from './cluster-description.ts';
import type { ClientRead } from './read-lane.ts';

const noBytes = new Uint8Array(0);

/**
 * Opens a client.
 *
 * Resolves once a node answered the handshake and said which partitions there are.
 * @throws ClustorError with the reason of the last attempt when no node did within `openDeadlineMs`, or when all refused.
 */
export function openClientCore(parts: ClientParts): Promise<ClustorClient> {
  return new Promise<ClustorClient>((resolve, reject) => {
    if (parts.addresses.length === 0)
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        'a client needs the address of at least one node',
      );
    const engine = new ClientEngine(parts);
    engine.begin((error) => {
      if (error === undefined) {
        resolve(new ClustorClient(engine));
        return;
      }
      void engine.close().finally(() => {
        reject(error);
      });
    });
  });
}

/**
 * A connection to a cluster.
 *
 * Entries under way at the same time reach a partition's log in the order of the calls unless the leader changes meanwhile;
 * await one before sending what must come after it.
 * @public
 */
export class ClustorClient {
  readonly #engine: ClientEngine;

  /** @internal */
  constructor(engine: ClientEngine) {
    this.#engine = engine;
  }

  /** Partitions that the nodes heard so far host. */
  get partitionIds(): readonly PartitionId[] {
    return [...this.#engine.finder.hostedPartitionIds()];
  }

  /** Requests that wait or are under way. */
  get pendingCount(): number {
    return this.#engine.context.budget.count;
  }

  /** Newest commit index of a partition that this client heard of, for {@link ClientAppendOptions.firstSeenCommit}. */
  commitIndex(partitionId: PartitionId): LogIndex {
    return this.#engine.finder.peek(partitionId)?.commitIndex ?? (0 as LogIndex);
  }

  /**
   * Appends an entry. Retried under one key until the deadline, so that it takes effect at most once.
   *
   * `bytes` must not change until the promise settles.
   * @throws ClustorError with `outcome` `surelyNot`, `committed` or `unknown`.
   */
  append(
    partitionId: PartitionId,
    bytes: Uint8Array,
    options?: ClientAppendOptions,
  ): Promise<AppendReceipt> {
    return new Promise<AppendReceipt>((resolve, reject) => {
      const callback = (outcome: AppendReceipt | ClustorError): void => {
        if (outcome instanceof ClustorError) reject(outcome);
        else resolve({ term: outcome.term, index: outcome.index, result: copyOf(outcome.result) });
      };
      this.appendWith(partitionId, bytes, callback, options);
    });
  }

  /**
   * Like {@link ClustorClient.append}, without a promise. The callback is called once, with a receipt or a `ClustorError`;
   * before this returns if an argument or a bound rules the request out. The receipt's `result` is a view of received
   * bytes, to be copied if kept for long.
   */
  // An options object for everything would be one more allocation per request.
  // oxlint-disable-next-line max-params
  appendWith(
    partitionId: PartitionId,
    bytes: Uint8Array,
    callback: AppendCallback,
    options?: ClientAppendOptions,
  ): void {
    const refusal =
      this.#engine.closedRefusal() ??
      bytesRefusal('an entry', bytes) ??
      (options === undefined ? undefined : optionsRefusal(options));
    const deadlineAtMs =
      this.#engine.context.clock.monotonicMs() + (options?.deadlineMs ?? requestDeadlineMsDefault);
    const finalRefusal = refusal ?? this.#engine.context.budget.admit(bytes.length, deadlineAtMs);
    if (finalRefusal !== undefined) {
      callback(finalRefusal);
      return;
    }
    const { appends } = this.#engine.lanesOf(partitionId);
    const signal = options?.signal;
    const watch = signal === undefined ? undefined : new SignalWatch(signal, callback);
    const append: ClientAppend = {
      payload: bytes,
      metadata: noBytes,
      callback: watch?.settled ?? callback,
      deadlineAtMs,
      opaqueKey: options?.idempotencyKey,
      firstSeenCommit: options?.firstSeenCommit,
      order: 0,
      sequence: 0,
      isInFlight: false,
      isSettled: false,
      known: 'surelyNot',
    };
    watch?.begin((cause) => {
      appends.abort(append, cause);
    });
    appends.submit(append);
    this.#engine.sweepLater();
  }

  /**
   * Asks a partition's state machine. `linearizable` answers contain everything that was acknowledged before the call.
   *
   * `query` must not change until the promise settles.
   * @throws ClustorError with `outcome` `surelyNot`.
   */
  read(
    partitionId: PartitionId,
    query: Uint8Array,
    options: ClientReadOptions = {},
  ): Promise<ReadReceipt> {
    return new Promise<ReadReceipt>((resolve, reject) => {
      const callback = (outcome: ReadReceipt | ClustorError): void => {
        if (outcome instanceof ClustorError) reject(outcome);
        else
          resolve({ appliedIndex: outcome.appliedIndex, result: new Uint8Array(outcome.result) });
      };
      const deadlineAtMs =
        this.#engine.context.clock.monotonicMs() + (options.deadlineMs ?? requestDeadlineMsDefault);
      const refusal =
        this.#engine.closedRefusal() ??
        bytesRefusal('a query', query) ??
        optionsRefusal(options) ??
        this.#engine.context.budget.admit(query.length, deadlineAtMs);
      if (refusal !== undefined) {
        reject(refusal);
        return;
      }
      const { reads } = this.#engine.lanesOf(partitionId);
      const { signal, consistency = 'linearizable' } = options;
      const watch = signal === undefined ? undefined : new SignalWatch(signal, callback);
      const read: ClientRead = {
        query,
        consistency,
        deadlineAtMs,
        callback: watch?.settled ?? callback,
        isSettled: false,
        attempt: undefined,
      };
      watch?.begin((cause) => {
        reads.abort(read, cause);
      });
      reads.submit(read);
      this.#engine.sweepLater();
    });
  }

  /**
   * What the nodes that can be reached say of nodes, partitions and leaders.
   * @throws ClustorError when no node can be reached.
   */
  describe(): Promise<ClusterDescription> {
    return new Promise<ClusterDescription>((resolve, reject) => {
      const refusal = this.#engine.closedRefusal();
      if (refusal !== undefined) {
        reject(refusal);
        return;
      }
      let isDone = false;
      const finish = (outcome: ClusterDescription | ClustorError): void => {
        if (isDone) return;
        isDone = true;
        cancelTimer();
        if (outcome instanceof ClustorError) reject(outcome);
        else resolve(outcome);
      };
      const cancelTimer = this.#engine.context.clock.setTimer(requestDeadlineMsDefault, () => {
        finish(
          new ClustorError('CLUSTOR_DEADLINE_EXCEEDED', 'the nodes did not answer in time', {
            outcome: 'surelyNot',
          }),
        );
      });
      const { directory, context } = this.#engine;
      askAllNodes({ directory, clock: context.clock }, (answers) => {
        finish(
          answers instanceof ClustorError
            ? answers
            : describeCluster(this.#engine.directory, answers),
        );
      });
    });
  }

  /** Settles what is under way with `CLUSTOR_CLOSED` and closes all connections. Idempotent. */
  close(): Promise<void> {
    return this.#engine.close();
  }

  /** {@link ClustorClient.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** A copy that does not hold on to the received chunk; `slice` of a host's own kind of bytes might not copy. */
function copyOf(bytes: Uint8Array | undefined): Uint8Array | undefined {
  return bytes === undefined ? undefined : new Uint8Array(bytes);
}

/** Ties one request to an AbortSignal; exists only for requests that have one. */
class SignalWatch<T> {
  readonly #signal: AbortSignal;
  readonly #callback: (outcome: T) => void;
  #onAbort: (() => void) | undefined;

  constructor(signal: AbortSignal, callback: (outcome: T) => void) {
    this.#signal = signal;
    this.#callback = callback;
  }

  /** The request's callback in place of the caller's. */
  readonly settled = (outcome: T): void => {
    if (this.#onAbort !== undefined) this.#signal.removeEventListener('abort', this.#onAbort);
    this.#callback(outcome);
  };

  /** Begins to listen. */
  begin(abort: (cause: unknown) => void): void {
    this.#onAbort = (): void => {
      abort(this.#signal.reason);
    };
    this.#signal.addEventListener('abort', this.#onAbort, { once: true });
  }
}
