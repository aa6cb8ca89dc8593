/** What a simulated run can find wrong with a user's state machine, and how bytes are shown in it. */
import { utf8Decode } from '../../base/bytes.ts';
import { messageOf } from '../../base/errors.ts';

/**
 * What is wrong.
 *
 * - `differentResults`: replicas, or two lives of one, gave different results for one entry.
 * - `batchDependent`: entries applied one by one gave another result than applied in batches.
 * - `restoreDiffers`: a machine restored from a snapshot answers otherwise than one that applied everything.
 * - `snapshotFailed`: taking or restoring a snapshot threw.
 * - `lostEffect`, `doubleEffect`: an acknowledged append is not in the state, or one append is in it more than once.
 * - `wrongRead`: a linearizable read gave an answer that no state between its start and its end gives.
 * - `replicasDiffer`: replicas that applied everything answer differently.
 * - `applyFailed`: `apply` threw, failed for good, or returned what is no outcome, or fewer results than entries; or it waited for
 *   something else than promises.
 * - `payloadChanged`: `apply` wrote into the bytes of an entry.
 * - `promiseBroken`: the workload's own `verify` says so.
 * - `queryFailed`: `query` threw, or returned something else than bytes, or too many.
 * - `createFailed`: `createStateMachine` threw, or returned no state machine.
 * - `workloadFailed`: the workload threw, or asked for what cannot be asked for.
 * - `clusterFailed`: the cluster itself broke a promise; that is a bug of Clustor.
 *
 * @public
 */
export type FindingKind =
  | 'differentResults'
  | 'batchDependent'
  | 'restoreDiffers'
  | 'snapshotFailed'
  | 'lostEffect'
  | 'doubleEffect'
  | 'wrongRead'
  | 'replicasDiffer'
  | 'applyFailed'
  | 'payloadChanged'
  | 'promiseBroken'
  | 'queryFailed'
  | 'createFailed'
  | 'workloadFailed'
  | 'clusterFailed';

/** One finding. @public */
export interface Finding {
  readonly kind: FindingKind;
  readonly message: string;
}

const shownBytesMax = 160;

/** Bytes as text if they are printable, else as hexadecimal; long ones are cut. */
export function describeBytes(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return 'nothing';
  const shown = bytes.subarray(0, shownBytesMax);
  const rest = bytes.length > shownBytesMax ? `… (${bytes.length} bytes)` : '';
  return `${printable(shown) ?? `0x${hexadecimal(shown)}`}${rest}`;
}

/** Names what a user's code returned in place of what it should have. A promise among it may reject: nobody waits for it. */
export function describeReturned(value: unknown): string {
  if (value instanceof Promise) {
    value.catch(() => undefined);
    return 'a promise';
  }
  if (value === undefined) return 'undefined';
  if (value === null) return 'null';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** Where something was thrown, if that is known. */
export function describeThrown(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : messageOf(error);
}

function printable(bytes: Uint8Array): string | undefined {
  if (bytes.some((byte) => byte < 0x20 || byte === 0x7f)) return undefined;
  try {
    return utf8Decode(bytes);
  } catch {
    return undefined;
  }
}

function hexadecimal(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Whether two answers are equal; nothing equals nothing only. */
export function isSameAnswer(left: Uint8Array | undefined, right: Uint8Array | undefined): boolean {
  if (left === undefined || right === undefined) return left === right;
  return left.length === right.length && left.every((byte, at) => byte === right[at]);
}
