/** Options, bounds and answers of the client. */
import { ClustorError } from '../base/errors.ts';
import type { Incarnation, LogIndex, NodeId, PartitionId, Term } from '../base/ids.ts';

/** Bounds of one client, each with what happens when it is reached. @public */
export interface ClientLimits {
  /** Appends and reads that wait or are under way. Beyond: `CLUSTOR_OVERLOADED`. */
  readonly requestsMax: number;
  /** Bytes of appends and queries that wait or are under way. Beyond: `CLUSTOR_OVERLOADED`. */
  readonly requestBytesMax: number;
  /** Bytes of one entry or query, at most 3 MiB so that it fits a frame. Beyond: `CLUSTOR_ENTRY_TOO_LARGE`. */
  readonly entryBytesMax: number;
  /** Entries of one request frame; more go into further frames. */
  readonly batchEntriesMax: number;
  /** Bytes of the entries of one request frame; a single larger entry travels alone. */
  readonly batchBytesMax: number;
  /** Bytes that one partition sends per turn of the loop; the rest waits for the next turn. */
  readonly turnBytesMax: number;
  /** Bytes queued on one connection beyond which requests wait in the client instead. */
  readonly connectionQueueBytesMax: number;
  /** Milliseconds within which opening a client finds a node that answers. Beyond: the error of the last attempt. */
  readonly openDeadlineMs: number;
}

/** The defaults. @public */
export const defaultClientLimits: ClientLimits = {
  requestsMax: 65_536,
  requestBytesMax: 64 * 1024 * 1024,
  entryBytesMax: 1024 * 1024,
  batchEntriesMax: 1024,
  batchBytesMax: 1024 * 1024,
  turnBytesMax: 4 * 1024 * 1024,
  connectionQueueBytesMax: 16 * 1024 * 1024,
  openDeadlineMs: 10_000,
};

const frameEntryBytesMax = 3 * 1024 * 1024;

/** Completes and checks limits. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`. */
export function clientLimits(given: Partial<ClientLimits> = {}): ClientLimits {
  const limits = { ...defaultClientLimits, ...given };
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `limit ${name} must be a whole number of at least 1, got ${value}`,
      );
    }
  }
  const { entryBytesMax, batchBytesMax, batchEntriesMax } = limits;
  if (
    entryBytesMax > frameEntryBytesMax ||
    batchBytesMax > frameEntryBytesMax ||
    batchEntriesMax > 8192
  ) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `entries and batches have at most ${frameEntryBytesMax} bytes, batches at most 8192 entries`,
    );
  }
  return limits;
}

/** Options of {@link ClustorClient.append}. @public */
export interface ClientAppendOptions {
  /**
   * At most 64 bytes that name the request; makes retries of the caller itself (after its own crash, say) take effect
   * once. Without it the client uses a key of its own, which covers its own retries.
   */
  readonly idempotencyKey?: Uint8Array;
  /**
   * With `idempotencyKey`: the commit index known when the caller first tried this request, see
   * {@link ClustorClient.commitIndex}; to be kept over restarts together with the key.
   * @defaultValue the newest commit index that this client knows of
   */
  readonly firstSeenCommit?: number;
  /** Gives up waiting. */
  readonly signal?: AbortSignal;
  /** Milliseconds after which to give up. @defaultValue 10,000 */
  readonly deadlineMs?: number;
}

/** How fresh a read is (specification §2.3). @public */
export type ReadConsistency = 'linearizable' | 'snapshotOnly';

/** Options of {@link ClustorClient.read}. @public */
export interface ClientReadOptions {
  /**
   * `linearizable`: contains everything acknowledged before the call. `snapshotOnly`: what some replica has applied.
   * @defaultValue `linearizable`
   */
  readonly consistency?: ReadConsistency;
  /** Gives up waiting. */
  readonly signal?: AbortSignal;
  /** Milliseconds after which to give up. @defaultValue 10,000 */
  readonly deadlineMs?: number;
}

/** What a read resolves with. @public */
export interface ReadReceipt {
  /** Newest entry that the answer contains. */
  readonly appliedIndex: LogIndex;
  /** What the state machine answered. */
  readonly result: Uint8Array;
}

/** One node as the client sees it. @public */
export interface DescribedNode {
  readonly nodeId: NodeId;
  /** `host:port` of the node's TLS port. */
  readonly address: string;
  /** Whether this client is connected to the node and was answered. */
  readonly isAnswering: boolean;
  /** The node's current start; `undefined` while it does not answer. */
  readonly bootId: Incarnation | undefined;
}

/** One partition, put together from what the nodes say. @public */
export interface DescribedPartition {
  readonly partitionId: PartitionId;
  /** The leader of the highest term that was heard of. */
  readonly leaderNodeId: NodeId | undefined;
  readonly term: Term;
  /** The highest commit index that was heard of. */
  readonly commitIndex: LogIndex;
  /** Nodes that host a replica according to the newest configuration heard of. */
  readonly members: readonly { readonly nodeId: NodeId; readonly address: string }[];
}

/** What the nodes say of the cluster. @public */
export interface ClusterDescription {
  readonly nodes: readonly DescribedNode[];
  readonly partitions: readonly DescribedPartition[];
}

/** Milliseconds after which a request gives up unless told otherwise. */
export const requestDeadlineMsDefault = 10_000;

const opaqueKeyBytesMax = 64;
const consistencies: readonly ReadConsistency[] = ['linearizable', 'snapshotOnly'];

/** Why a value that callers hand over as bytes is none: a string, as callers without types may give, would become zeros. */
export function bytesRefusal(what: string, given: unknown): ClustorError | undefined {
  if (given instanceof Uint8Array) return undefined;
  return new ClustorError(
    'CLUSTOR_INVALID_ARGUMENT',
    `${what} is a Uint8Array, got ${given === null ? 'null' : typeof given}`,
  );
}

/** Why options cannot be meant, or why nothing needs to begin: the caller gave up already. */
export function optionsRefusal(
  options: ClientAppendOptions & ClientReadOptions,
): ClustorError | undefined {
  const {
    deadlineMs = requestDeadlineMsDefault,
    idempotencyKey,
    firstSeenCommit = 0,
    consistency = 'linearizable',
    signal,
  } = options;
  if (!Number.isFinite(deadlineMs) || deadlineMs < 0) {
    return new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `deadlineMs must be a number of at least 0, got ${deadlineMs}`,
    );
  }
  const refusalOfKey = idempotencyKey === undefined ? undefined : keyRefusal(idempotencyKey);
  if (refusalOfKey !== undefined) return refusalOfKey;
  if (!Number.isSafeInteger(firstSeenCommit) || firstSeenCommit < 0) {
    return new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `firstSeenCommit must be a log index, got ${firstSeenCommit}`,
    );
  }
  if (!consistencies.includes(consistency)) {
    return new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `consistency is one of ${consistencies.join(', ')}, got ${consistency}`,
    );
  }
  if (signal !== undefined && !isSignal(signal)) {
    return new ClustorError('CLUSTOR_INVALID_ARGUMENT', 'signal must be an AbortSignal');
  }
  if (signal?.aborted !== true) return undefined;
  return new ClustorError('CLUSTOR_ABORTED', 'the signal was aborted before the request', {
    outcome: 'surelyNot',
    cause: signal.reason,
  });
}

/** Whether a value can be listened to as a signal; `instanceof` would refuse those of other realms. */
function isSignal(given: unknown): boolean {
  const signal = (given ?? {}) as Partial<Record<keyof AbortSignal, unknown>>;
  return (
    typeof signal.aborted === 'boolean' &&
    typeof signal.addEventListener === 'function' &&
    typeof signal.removeEventListener === 'function'
  );
}

function keyRefusal(key: Uint8Array): ClustorError | undefined {
  const refusal = bytesRefusal('an idempotency key', key);
  if (refusal !== undefined) return refusal;
  if (key.length > 0 && key.length <= opaqueKeyBytesMax) return undefined;
  return new ClustorError(
    'CLUSTOR_INVALID_ARGUMENT',
    `an idempotency key has 1 to ${opaqueKeyBytesMax} bytes, got ${key.length}`,
  );
}
