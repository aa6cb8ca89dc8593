/**
 * The replicated state of a partition besides its machine, as it stands in front of the machine's bytes in a snapshot
 * (specification §7).
 *
 * ```
 * version      u8 = 1
 * time         u64, milliseconds: what machines were last told
 * transitions  u8 × {term u64, index u64, payload of the entry u32 × byte}: the newest changes of the durability mode
 * keys         the table of idempotency keys, see `idempotency-image.ts`
 * ```
 * Nothing may follow. Whoever reads it decides from then on as the replica that wrote it.
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts';
import { ClustorError, isClustorError } from '../base/errors.ts';
import type { LogIndex, Term } from '../base/ids.ts';
import {
  readSystemEntry,
  writeSystemEntry,
  type DurabilityTransition,
} from '../codec/system-entry.ts';
import { tablePieces, type TableImage } from './idempotency-image.ts';
import { IdempotencyTable, type IdempotencyBounds } from './idempotency-table.ts';

/** A change of the durability mode with the place of its entry. */
export interface AppliedTransition {
  readonly transition: DurabilityTransition;
  readonly term: Term;
  readonly index: LogIndex;
}

/** See the file comment. */
export interface SnapshotState {
  readonly timeMs: number;
  readonly table: IdempotencyTable;
  /** By rising index, at most two: the newest of any cause, and the newest of an operator's. */
  readonly transitions: readonly AppliedTransition[];
}

const stateVersion = 1;
const transitionsMax = 2;
const transitionBytesMax = 64;

/** Takes in a change: the mode rests on the newest one, and what is wanted on the newest by an operator. */
export function withTransition(
  transitions: readonly AppliedTransition[],
  applied: AppliedTransition,
): readonly AppliedTransition[] {
  const wanted = transitions.findLast(({ transition }) => transition.cause === 'operator');
  return applied.transition.cause === 'operator' || wanted === undefined
    ? [applied]
    : [wanted, applied];
}

/** The state's bytes. */
export function encodeSnapshotState(state: SnapshotState): Uint8Array {
  const pieces = [...snapshotStatePieces(state)];
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/**
 * The state's bytes as of now, in pieces that are made when they are asked for: a large table takes seconds, and what happens to
 * it meanwhile changes none of them.
 */
export function snapshotStatePieces(state: SnapshotState): Iterable<Uint8Array> {
  const { timeMs, table, transitions } = state;
  const writer = new ByteWriter();
  writer.u8(stateVersion);
  writer.u64(timeMs);
  writer.u8(transitions.length);
  for (const { transition, term, index } of transitions) {
    writer.u64(term);
    writer.u64(index);
    const payload = new ByteWriter(transitionBytesMax);
    writeSystemEntry(payload, transition);
    writer.lengthPrefixed(payload.take());
  }
  return piecesOf(writer.take(), table.image());
}

function* piecesOf(head: Uint8Array, image: TableImage): Iterable<Uint8Array> {
  yield head;
  yield* tablePieces(image);
}

/** Reads the state. @throws ClustorError `CLUSTOR_FORMAT_UNSUPPORTED`, or `CLUSTOR_INTEGRITY` for bytes that are none. */
export function decodeSnapshotState(bytes: Uint8Array, bounds: IdempotencyBounds): SnapshotState {
  const steps = readingSnapshotState(bytes, bounds);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** Reads the state like {@link decodeSnapshotState}, and leaves the turn to others between its steps. */
export async function readSnapshotState(
  bytes: Uint8Array,
  bounds: IdempotencyBounds,
  pause: () => Promise<void>,
): Promise<SnapshotState> {
  const steps = readingSnapshotState(bytes, bounds);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    await pause();
  }
}

function* readingSnapshotState(
  bytes: Uint8Array,
  bounds: IdempotencyBounds,
): Generator<undefined, SnapshotState, undefined> {
  const reader = new ByteReader(bytes);
  try {
    const version = reader.u8();
    if (version !== stateVersion)
      throw new ClustorError(
        'CLUSTOR_FORMAT_UNSUPPORTED',
        `the state in the snapshot has version ${version}, this version reads ${stateVersion}`,
      );
    const timeMs = reader.u64();
    const count = reader.u8();
    if (count > transitionsMax) throw badState(`${count} changes of the durability mode`);
    const transitions: AppliedTransition[] = [];
    for (let at = 0; at < count; at++) transitions.push(readTransition(reader));
    const table = yield* IdempotencyTable.reading(reader, bounds);
    if (reader.remaining > 0) throw badState(`${reader.remaining} bytes are left over`);
    return { timeMs, table, transitions };
  } catch (error) {
    if (!isClustorError(error) || error.code === 'CLUSTOR_FORMAT_UNSUPPORTED') throw error;
    throw new ClustorError(
      'CLUSTOR_INTEGRITY',
      `the state in the snapshot cannot be read: ${error.message}`,
      { cause: error },
    );
  }
}

function readTransition(reader: ByteReader): AppliedTransition {
  const term = reader.u64() as Term;
  const index = reader.u64() as LogIndex;
  const payload = reader.lengthPrefixed(transitionBytesMax);
  const transition = readSystemEntry(payload, 0, payload.length);
  if (transition.kind !== 'durabilityTransition')
    throw badState(`a change of the durability mode is a ${transition.kind}`);
  return { transition, term, index };
}

function badState(what: string): ClustorError {
  return new ClustorError('CLUSTOR_WIRE_BAD_VALUE', what);
}
