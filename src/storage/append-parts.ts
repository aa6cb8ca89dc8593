/** Cutting batches of frames: at a truncation, and where the term changes. */
import type { LogIndex } from '../base/ids.ts';
import { frameIndex, frameTerm, frameTotalBytes } from '../codec/entry-frame.ts';
import { recordBytesMax } from './durability-ledger.ts';
import type { FrameBatch } from './log-store-types.ts';
import type { PendingAppend } from './partition-log.ts';

/** What is left of an append that was not sealed yet when the log was truncated: one or none. */
export function cutAppend(append: PendingAppend, fromIndex: LogIndex): readonly PendingAppend[] {
  const { batch } = append;
  if (batch.lastIndex < fromIndex) return [append];
  if (batch.firstIndex >= fromIndex) return [];
  let at = 0;
  let lastTerm = frameTerm(batch.bytes, 0);
  while (frameIndex(batch.bytes, at) < fromIndex) {
    lastTerm = frameTerm(batch.bytes, at);
    at += frameTotalBytes(batch.bytes, at);
  }
  const lastIndex = (fromIndex - 1) as LogIndex;
  const configurations = (batch.configurations ?? []).filter(
    (configuration) => configuration.index <= lastIndex,
  );
  return [
    {
      ...append,
      batch: {
        firstIndex: batch.firstIndex,
        lastIndex,
        lastTerm,
        bytes: batch.bytes.subarray(0, at),
        configurations,
      },
    },
  ];
}

/** An append as parts none of which crosses an entry that changes the durability mode; nearly always the append itself. */
export function fenceParts(append: PendingAppend): readonly PendingAppend[] {
  const { batch } = append;
  const fences = batch.fences ?? [];
  if (fences.length === 0) return [append];
  const bounds = [
    ...new Set(fences.flatMap((index) => [index, index + 1]).concat(batch.firstIndex)),
  ]
    .filter((index) => index >= batch.firstIndex && index <= batch.lastIndex)
    .sort((left, right) => left - right);
  return bounds.map((from, at) => {
    const firstIndex = from as LogIndex;
    const lastIndex = ((bounds[at + 1] ?? batch.lastIndex + 1) - 1) as LogIndex;
    const part = { ...append, batch: sliceBatch(batch, firstIndex, lastIndex) };
    return fences.includes(firstIndex) ? { ...part, isFence: true } : part;
  });
}

function sliceBatch(batch: FrameBatch, firstIndex: LogIndex, lastIndex: LogIndex): FrameBatch {
  let start = 0;
  while (frameIndex(batch.bytes, start) < firstIndex) start += frameTotalBytes(batch.bytes, start);
  let end = start;
  let lastTerm = frameTerm(batch.bytes, start);
  while (end < batch.bytes.length && frameIndex(batch.bytes, end) <= lastIndex) {
    lastTerm = frameTerm(batch.bytes, end);
    end += frameTotalBytes(batch.bytes, end);
  }
  const configurations = (batch.configurations ?? []).filter(
    ({ index }) => index >= firstIndex && index <= lastIndex,
  );
  return {
    firstIndex,
    lastIndex,
    lastTerm,
    bytes: batch.bytes.subarray(start, end),
    configurations,
  };
}

/** A batch as parts of one term each; nearly always the batch itself. */
export function termParts(batch: FrameBatch): readonly FrameBatch[] {
  if (frameTerm(batch.bytes, 0) === batch.lastTerm) return [batch];
  const parts: FrameBatch[] = [];
  let start = 0;
  let firstIndex = batch.firstIndex;
  let term = frameTerm(batch.bytes, 0);
  for (let at = 0; at < batch.bytes.length; at += frameTotalBytes(batch.bytes, at)) {
    const frame = frameTerm(batch.bytes, at);
    if (frame === term) continue;
    const index = frameIndex(batch.bytes, at);
    parts.push({
      firstIndex,
      lastIndex: (index - 1) as LogIndex,
      lastTerm: term,
      bytes: batch.bytes.subarray(start, at),
    });
    start = at;
    firstIndex = index;
    term = frame;
  }
  parts.push({
    firstIndex,
    lastIndex: batch.lastIndex,
    lastTerm: term,
    bytes: batch.bytes.subarray(start),
  });
  return parts;
}

/** An upper bound of the ledger records that a flush of these appends needs. */
export function dataRecordBytesMax(appends: readonly PendingAppend[], partitions: number): number {
  let bytes = Math.min(appends.length, partitions) * 64;
  for (const { appendSequence, batch } of appends)
    if (appendSequence === undefined) bytes += termParts(batch).length * 64;
  for (const { log, batch } of appends) {
    for (const configuration of batch.configurations ?? [])
      bytes += recordBytesMax([
        { kind: 'configuration', partitionId: log.partitionId, configuration },
      ]);
  }
  return bytes;
}
