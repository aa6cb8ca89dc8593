/**
 * Frames a batch of proposals once; the same bytes go to the log, to every peer and to the apply queue.
 *
 * The leader's ingest time is put into each entry's metadata, so that `ctx.timeMs` is equal everywhere.
 */
import { present, unreachable } from '../base/assert.ts';
import { ByteWriter } from '../base/bytes.ts';
import type { LogIndex, PartitionId, Term } from '../base/ids.ts';
import { EntryFrameWriter, type LeafHashes } from '../codec/entry-frame.ts';
import { ingestMetadataBytes, writeIngestMetadata } from '../codec/entry-metadata.ts';
import { noOpPayload, writeSystemEntry, type SystemEntry } from '../codec/system-entry.ts';
import type { Effect } from '../raft/index.ts';
import type { FrameBatch } from '../storage/log-store-types.ts';
import { systemEntryOf } from './configuration-entry.ts';
import type { LeafGate, MerkleLeaves } from './leaf-gate.ts';
import type { Proposal } from './proposals.ts';
import type { ReceivedFrames } from './received-frames.ts';

/** Where a batch stands and when it was taken in. */
export interface BatchPlace {
  readonly term: Term;
  readonly firstIndex: LogIndex;
  readonly ingestMs: number;
}

type AppendEffect = Extract<Effect, { readonly kind: 'appendToLog' }>;

/** What an append is made of, besides its place. */
export interface BatchMaterial {
  readonly proposals: readonly Proposal[];
  readonly received: ReceivedFrames | undefined;
  readonly ingestMs: number;
}

/** Metadata of one entry on its way into its frame; a frame is built in one go, so one place serves all partitions. */
const metadataScratch = new Uint8Array(2048);
const noBytes: Uint8Array = new Uint8Array(0);

/** Which leaves entries get at the moment, and with what they are made. */
type Leaves = Pick<LeafGate, 'hashes' | 'status'>;

const noLeaves: Leaves = {
  hashes: undefined,
  status: () => ({ wanted: 'none', used: 'none', failedClause: 'None', nodeId: undefined }),
};

/** See the file comment. */
export class FrameBuilder {
  readonly #leaves: Leaves;
  readonly #writers: Readonly<Record<MerkleLeaves, EntryFrameWriter>>;

  /** Frames carry Merkle leaves as they are allowed when they are built (specification ENT-5). */
  constructor(partitionId: PartitionId, leaves: Leaves = noLeaves) {
    this.#leaves = leaves;
    this.#writers = leafWriters(partitionId, leaves.hashes);
  }

  /** What an effect of the core appends, with the configurations that stand in it. */
  batchOf(effect: AppendEffect, material: BatchMaterial): FrameBatch {
    const { firstIndex, lastIndex, term } = effect;
    const lastTerm = term;
    const place = { term, firstIndex };
    switch (effect.source) {
      case 'noOp':
        return {
          firstIndex,
          lastIndex,
          lastTerm,
          bytes: this.noOps(place, lastIndex - firstIndex + 1),
        };
      case 'configuration':
        return {
          firstIndex,
          lastIndex,
          lastTerm,
          bytes: this.system(place, systemEntryOf(effect)),
          configurations: [effect.configuration],
        };
      case 'proposals': {
        const { proposals, ingestMs } = material;
        const [first] = proposals;
        if (first?.isSystem === true) {
          const bytes = this.#system(place, 1, first.payload);
          return { firstIndex, lastIndex, lastTerm, bytes, fences: [firstIndex] };
        }
        const bytes = this.proposals(proposals, { term, firstIndex, ingestMs });
        return { firstIndex, lastIndex, lastTerm, bytes };
      }
      case 'received': {
        const received = present(material.received, 'a received append has its frames');
        const fences = received.fencesFrom(firstIndex);
        const bytes = received.from(firstIndex);
        const configurations = received.configurationsFrom(firstIndex);
        return fences.length === 0
          ? { firstIndex, lastIndex, lastTerm, bytes, configurations }
          : { firstIndex, lastIndex, lastTerm, bytes, configurations, fences };
      }
      default:
        return unreachable(effect);
    }
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
    const writer = this.#writers[this.#leaves.status().used];
    const bytes = new Uint8Array((writer.overheadBytes + payload.length) * count);
    const view = new DataView(bytes.buffer);
    let offset = 0;
    for (let position = 0; position < count; position++) {
      offset = writer.write(bytes, view, offset, {
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
    const writer = this.#writers[this.#leaves.status().used];
    let total = 0;
    for (const proposal of batch)
      total +=
        writer.overheadBytes +
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
    writeIngestMetadata(metadataScratch, place.ingestMs);
    let offset = 0;
    let index = place.firstIndex as number;
    for (const proposal of batch) {
      metadataScratch.set(proposal.metadata, ingestMetadataBytes);
      entry.index = index as LogIndex;
      entry.metadata = metadataScratch.subarray(0, ingestMetadataBytes + proposal.metadata.length);
      entry.payload = proposal.payload;
      offset = writer.write(bytes, view, offset, entry);
      index++;
    }
    return bytes;
  }
}

function leafWriters(
  partitionId: PartitionId,
  hashes: LeafHashes | undefined,
): Readonly<Record<MerkleLeaves, EntryFrameWriter>> {
  const none = new EntryFrameWriter(partitionId);
  if (hashes === undefined) return { none, sha256: none, blake3: none };
  return {
    none,
    sha256: new EntryFrameWriter(partitionId, { name: 'sha256', hashes }),
    blake3: new EntryFrameWriter(partitionId, { name: 'blake3', hashes }),
  };
}
