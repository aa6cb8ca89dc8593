/**
 * Frames a batch of proposals once; the same bytes go to the log, to every peer and to the apply queue.
 *
 * The leader's ingest time is put into each entry's metadata, so that `ctx.timeMs` is equal everywhere.
 */
import { ByteWriter } from '../base/bytes.ts';
import type { LogIndex, PartitionId, Term } from '../base/ids.ts';
import { EntryFrameWriter, entryFrameOverheadBytes } from '../codec/entry-frame.ts';
import { ingestMetadataBytes, writeIngestMetadata } from '../codec/entry-metadata.ts';
import { noOpPayload, writeSystemEntry, type SystemEntry } from '../codec/system-entry.ts';
import type { Proposal } from './proposals.ts';

/** Where a batch stands and when it was taken in. */
export interface BatchPlace {
  readonly term: Term;
  readonly firstIndex: LogIndex;
  readonly ingestMs: number;
}

const metadataBytesMax = 2048;
const noBytes: Uint8Array = new Uint8Array(0);

/** See the file comment. */
export class FrameBuilder {
  readonly #writer: EntryFrameWriter;
  readonly #metadata = new Uint8Array(metadataBytesMax);

  constructor(partitionId: PartitionId) {
    this.#writer = new EntryFrameWriter(partitionId);
  }

  /** Entries without content: the term-start entry, or those that fill a joint phase. */
  noOps(place: { readonly term: Term; readonly firstIndex: LogIndex }, count: number): Uint8Array {
    return this.#system(place, count, noOpPayload);
  }

  /** The entry that brings a configuration. */
  system(
    place: { readonly term: Term; readonly firstIndex: LogIndex },
    entry: Exclude<SystemEntry, { readonly kind: 'unknown' }>,
  ): Uint8Array {
    const writer = new ByteWriter();
    writeSystemEntry(writer, entry);
    return this.#system(place, 1, writer.take());
  }

  #system(
    place: { readonly term: Term; readonly firstIndex: LogIndex },
    count: number,
    payload: Uint8Array,
  ): Uint8Array {
    const bytes = new Uint8Array((entryFrameOverheadBytes + payload.length) * count);
    const view = new DataView(bytes.buffer);
    let offset = 0;
    for (let position = 0; position < count; position++) {
      offset = this.#writer.write(bytes, view, offset, {
        term: place.term,
        index: (place.firstIndex + position) as LogIndex,
        isSystem: true,
        metadata: noBytes,
        payload,
      });
    }
    return bytes;
  }

  /** Frames of a batch, contiguous. */
  proposals(batch: readonly Proposal[], place: BatchPlace): Uint8Array {
    let total = 0;
    for (const proposal of batch)
      total +=
        entryFrameOverheadBytes +
        proposal.metadata.length +
        ingestMetadataBytes +
        proposal.payload.length;
    const bytes = new Uint8Array(total);
    const view = new DataView(bytes.buffer);
    const entry = {
      term: place.term,
      index: place.firstIndex,
      isSystem: false,
      metadata: noBytes,
      payload: noBytes,
    };
    writeIngestMetadata(this.#metadata, place.ingestMs);
    let offset = 0;
    let index = place.firstIndex as number;
    for (const proposal of batch) {
      this.#metadata.set(proposal.metadata, ingestMetadataBytes);
      entry.index = index as LogIndex;
      entry.metadata = this.#metadata.subarray(0, ingestMetadataBytes + proposal.metadata.length);
      entry.payload = proposal.payload;
      offset = this.#writer.write(bytes, view, offset, entry);
      index++;
    }
    return bytes;
  }
}
