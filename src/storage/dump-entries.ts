/** The live entries of one partition in a data directory, one after the other, for people and scripts. */
import type { LogIndex, PartitionId, Term } from '../base/ids.ts';
import {
  frameCrc,
  frameIsSystem,
  frameLeaf,
  frameLeafHash,
  frameMetadataEnd,
  frameMetadataStart,
  framePayloadEnd,
  framePayloadStart,
  type LeafHashName,
} from '../codec/entry-frame.ts';
import {
  createEntryMetadata,
  readEntryMetadata,
  type EntryMetadata,
} from '../codec/entry-metadata.ts';
import { readSystemEntry } from '../codec/system-entry.ts';
import {
  LiveLog,
  segmentsOf,
  walkSegment,
  withOpened,
  type DirectoryPlace,
  type OpenedDirectory,
  type WalkedFrame,
} from './journal-walk.ts';

/** One entry and where it stands. */
export interface DumpedEntry {
  readonly index: LogIndex;
  readonly term: Term;
  /** `entry`, or the kind of the system's own entry. */
  readonly kind: string;
  readonly metadata: Readonly<EntryMetadata>;
  /** Valid during the call only. */
  readonly payload: Uint8Array;
  readonly segmentSeq: number;
  readonly block: number;
  readonly offset: number;
  readonly crc: number;
  /** Valid during the call only. */
  readonly leaf: Uint8Array | undefined;
  /** By what the leaf was made, if there is one. */
  readonly leafHash: LeafHashName;
  /** Whether the ledger covers it; what is not may be gone after the next start. */
  readonly isCovered: boolean;
}

/** Which entries, and who takes them. */
export interface DumpRequest {
  readonly partitionId: PartitionId;
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly onEntry: (entry: DumpedEntry) => void;
}

/**
 * Reads entries in the order of the journal; returns whether the directory hosts a replica of the partition. What a repair
 * wrote stands behind what was written before it; where an entry comes twice, the later one counts.
 */
export function dumpEntries(place: DirectoryPlace, request: DumpRequest): Promise<boolean> {
  return withOpened(place, (opened) => dumpOpened(opened, request));
}

async function dumpOpened(opened: OpenedDirectory, request: DumpRequest): Promise<boolean> {
  const { partitionId, firstIndex, lastIndex } = request;
  if (!opened.registry.replicas.some((row) => row.partitionId === partitionId)) return false;
  const row = opened.replay.image.row(partitionId);
  const log = new LiveLog(row);
  const coveredIndex = row.durability?.index ?? (0 as LogIndex);
  for (const segment of segmentsOf(opened)) {
    if (segment.row === undefined) continue;
    await walkSegment(opened, segment, {
      onFrame: (walked) => {
        if (walked.partitionId !== partitionId || !log.take(walked)) return;
        const { index } = walked;
        if (index < firstIndex || index > lastIndex) return;
        request.onEntry(dumped(walked, walked.isCovered && index <= coveredIndex));
      },
    });
  }
  return true;
}

/** An entry as it is shown. */
export function dumped(
  { frame, segmentSeq, index, term }: Omit<WalkedFrame, 'partitionId' | 'isCovered'>,
  isCovered: boolean,
): DumpedEntry {
  const { bytes, start, block, offset } = frame;
  const metadata = createEntryMetadata();
  const range = { start: frameMetadataStart(bytes, start), end: frameMetadataEnd(bytes, start) };
  readEntryMetadata(bytes, range, metadata);
  const payload = bytes.subarray(framePayloadStart(bytes, start), framePayloadEnd(bytes, start));
  return {
    index,
    term,
    kind: frameIsSystem(bytes, start) ? readSystemEntry(payload, 0, payload.length).kind : 'entry',
    metadata,
    payload,
    segmentSeq,
    block,
    offset,
    crc: frameCrc(bytes, start),
    leaf: frameLeaf(bytes, start),
    leafHash: frameLeafHash(bytes, start),
    isCovered,
  };
}
