/** Frames as tests of the storage write them, and the entries in them as a model knows them. */
import { logIndex, term, type PartitionId } from '../../src/base/ids.ts';
import {
  EntryFrameWriter,
  frameIndex,
  framePayloadEnd,
  framePayloadStart,
  frameTerm,
  frameTotalBytes,
} from '../../src/codec/entry-frame.ts';
import { loadBlake3 } from '../../src/security/blake3.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import type { FrameBatch } from '../../src/storage/log-store-types.ts';

const noMetadata = new Uint8Array(0);
await loadBlake3();

/** An entry as the model knows it. */
export interface ModelEntry {
  readonly term: number;
  readonly payload: string;
}

/** Makes whole frames; those of even indexes have Merkle leaves, by one hash or the other, so that every log is a mixed one. */
export function frames(
  id: PartitionId,
  entries: readonly (ModelEntry & { readonly index: number })[],
): FrameBatch {
  const plain = new EntryFrameWriter(id);
  const [bySha256, byBlake3] = (['sha256', 'blake3'] as const).map(
    (name) => new EntryFrameWriter(id, { name, hashes: nodeCryptography }),
  );
  const writerOf = (index: number): EntryFrameWriter =>
    (index % 4 === 0 ? byBlake3 : index % 2 === 0 ? bySha256 : undefined) ?? plain;
  const payloads = entries.map((entry) => new TextEncoder().encode(entry.payload));
  const bytes = new Uint8Array(
    entries.reduce(
      (sum, { index }, at) => sum + (payloads[at]?.length ?? 0) + writerOf(index).overheadBytes,
      0,
    ),
  );
  const view = new DataView(bytes.buffer);
  let offset = 0;
  entries.forEach((entry, position) => {
    const payload = payloads[position] ?? noMetadata;
    offset = writerOf(entry.index).write(bytes, view, offset, {
      term: term(entry.term),
      index: logIndex(entry.index),
      isSystem: false,
      metadata: noMetadata,
      payload,
    });
  });
  const first = entries[0];
  const last = entries[entries.length - 1];
  if (first === undefined || last === undefined) throw new Error('no entries');
  return {
    firstIndex: logIndex(first.index),
    lastIndex: logIndex(last.index),
    lastTerm: term(last.term),
    bytes,
  };
}

/** Entries of frames. */
export function entriesOf(bytes: Uint8Array): (ModelEntry & { readonly index: number })[] {
  const entries: (ModelEntry & { readonly index: number })[] = [];
  for (let at = 0; at < bytes.length; at += frameTotalBytes(bytes, at)) {
    const payload = new TextDecoder().decode(
      bytes.subarray(framePayloadStart(bytes, at), framePayloadEnd(bytes, at)),
    );
    entries.push({ index: frameIndex(bytes, at), term: frameTerm(bytes, at), payload });
  }
  return entries;
}
