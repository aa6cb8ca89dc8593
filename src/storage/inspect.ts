/** What is in a stopped node's journal and ledger, read only: for people and for checkers. */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, PartitionId, Term } from '../base/ids.ts';
import { frameIndex, framePartitionId, frameTerm } from '../codec/entry-frame.ts';
import { blockOffset, segmentFileName, segmentSeqOfFileName } from '../codec/segment-format.ts';
import { manifestFileName, type SnapshotPlace } from '../codec/snapshot-manifest.ts';
import type { FileSystem } from '../ports/file-system.ts';
import { ledgerFileName } from './durability-ledger.ts';
import { JournalKeys } from './journal-keys.ts';
import type { JournalEncryption } from './key-ring.ts';
import type { PartitionRow } from './ledger-image.ts';
import { replayLedger, type LedgerReplay } from './ledger-replay.ts';
import { readRegistry, registryPath } from './node-registry.ts';
import { isRetired } from './journal-walk.ts';
import { walFolder } from './recovery.ts';
import { scanSegment } from './segment-scan.ts';
import { placeOfSnapshotName, snapshotName, snapshotsPath } from './snapshot-files.ts';

/** Frames of one partition in one segment. */
export interface InspectedRun {
  readonly partitionId: PartitionId;
  readonly frames: number;
  readonly bytes: number;
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly firstTerm: Term;
  readonly lastTerm: Term;
}

/** One segment. */
export interface InspectedSegment {
  readonly segmentSeq: number;
  /** Key epoch under which it is sealed; 0 without encryption, `undefined` when its header cannot be read. */
  readonly keyEpoch: number | undefined;
  /** `inUse`: not closed in the ledger. `retired`: the ledger does not know it any more. `unknown`: it never did. */
  readonly state: 'closed' | 'inUse' | 'retired' | 'unknown';
  readonly coveredEnd: number;
  readonly endOffset: number;
  readonly blocks: number;
  readonly damagedBlocks: number;
  readonly endedAt: string;
  readonly partitions: readonly InspectedRun[];
}

/** What the ledger says of one partition. */
export interface InspectedPartition {
  readonly partitionId: PartitionId;
  readonly term: Term | undefined;
  readonly votedFor: string | undefined;
  readonly durableIndex: LogIndex | undefined;
  readonly commitIndex: LogIndex | undefined;
  /** The entry that the log begins behind; `undefined` where it begins with its first one. */
  readonly base: { readonly index: LogIndex; readonly term: Term } | undefined;
  /** Places of the snapshots that have a manifest, as `<term>-<index>`; whether they are good is not looked at. */
  readonly snapshots: readonly string[];
  readonly truncations: number;
  readonly configurations: number;
  readonly doubts: readonly string[];
}

/** A whole data directory. */
export interface Inspection {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly replicas: readonly {
    readonly partitionId: PartitionId;
    readonly replicaId: number;
    readonly incarnation: string;
  }[];
  readonly ledger: {
    readonly generation: number;
    readonly flushSeq: number;
    readonly flushes: number;
    readonly fromSecondCopy: number;
    readonly isTornFlushCut: boolean;
    readonly fault: string | undefined;
    readonly coverage: { readonly segmentSeq: number; readonly endOffset: number };
    readonly partitions: readonly InspectedPartition[];
  };
  readonly segments: readonly InspectedSegment[];
}

/** Reads a data directory whose lock is held. @throws ClustorError `CLUSTOR_NOT_INITIALIZED`, or of the keys. */
export async function inspectDataDirectory(
  fileSystem: FileSystem,
  directory: string,
  encryption?: JournalEncryption,
): Promise<Inspection> {
  const registry = await readRegistry(fileSystem, directory);
  if (registry === undefined)
    throw new ClustorError('CLUSTOR_NOT_INITIALIZED', `there is no ${registryPath(directory)}`);
  const folder = walFolder(directory);
  const names = await fileSystem.listDirectory(folder);
  if (!names.includes(ledgerFileName))
    throw new ClustorError(
      'CLUSTOR_REPLICA_FILES_MISSING',
      `there is no ${folder}/${ledgerFileName}`,
    );
  const { clusterId, nodeId } = registry;
  const keys = await JournalKeys.open({ fileSystem, folder, clusterId, nodeId, encryption });
  const owner = { clusterId, nodeId, keys };
  const replay = await replayLedger(fileSystem, `${folder}/${ledgerFileName}`, owner);
  const segments: InspectedSegment[] = [];
  for (const name of names) {
    const segmentSeq = segmentSeqOfFileName(name);
    if (segmentSeq !== undefined)
      segments.push(await inspectSegment({ fileSystem, folder, segmentSeq, replay, owner }));
  }
  keys.close();
  const { image, generation, flushSeq, flushesRead, fromSecondCopy, isTornFlushCut, fault } =
    replay;
  const partitions: InspectedPartition[] = [];
  for (const [partitionId, row] of image.partitions) {
    const snapshots = await snapshotNames(fileSystem, directory, partitionId);
    partitions.push({ partitionId, ...inspectedRow(row), snapshots });
  }
  return {
    clusterId: registry.clusterId,
    nodeId: registry.nodeId,
    replicas: registry.replicas,
    ledger: {
      generation,
      flushSeq,
      flushes: flushesRead,
      fromSecondCopy,
      isTornFlushCut,
      fault,
      coverage: image.coverage,
      partitions,
    },
    segments,
  };
}

function inspectedRow(row: PartitionRow): Omit<InspectedPartition, 'partitionId' | 'snapshots'> {
  const { hardState, durability, base, truncations, configurations, quarantine } = row;
  const votedFor = hardState?.votedFor;
  return {
    term: hardState?.term,
    votedFor:
      votedFor === undefined
        ? undefined
        : `replica ${votedFor.replicaId} (${votedFor.incarnation})`,
    durableIndex: durability?.index,
    commitIndex: durability?.commitIndex,
    base,
    truncations: truncations.length,
    configurations: configurations.length,
    doubts: [
      ...row.doubts.values(),
      ...(quarantine?.isActive === true
        ? [`Integrity quarantine of incarnation ${quarantine.incarnation}`]
        : []),
      ...row.holds
        .filter(({ isActive }) => isActive)
        .map(({ reason, incarnation }) => `${reason} quarantine of incarnation ${incarnation}`),
    ],
  };
}

interface SegmentToInspect {
  readonly fileSystem: FileSystem;
  readonly folder: string;
  readonly segmentSeq: number;
  readonly replay: LedgerReplay;
  readonly owner: Parameters<typeof scanSegment>[0]['owner'];
}

async function inspectSegment({
  fileSystem,
  folder,
  segmentSeq,
  replay,
  owner,
}: SegmentToInspect): Promise<InspectedSegment> {
  const row = replay.image.segments.get(segmentSeq);
  const { coverage } = replay.image;
  const coveredEnd =
    row?.endOffset ?? (coverage.segmentSeq === segmentSeq ? coverage.endOffset : blockOffset(0));
  const runs = new Map<
    PartitionId,
    {
      frames: number;
      bytes: number;
      firstIndex: LogIndex;
      lastIndex: LogIndex;
      firstTerm: Term;
      lastTerm: Term;
    }
  >();
  const result = await scanSegment({
    fileSystem,
    path: `${folder}/${segmentFileName(segmentSeq)}`,
    segmentSeq,
    owner,
    coveredEnd: row === undefined ? blockOffset(0) : coveredEnd,
    closedEnd: row?.endOffset,
    badSectors: 'damage',
    onFrame: ({ bytes, start, length }) => {
      const partitionId = framePartitionId(bytes, start);
      const [index, term] = [frameIndex(bytes, start), frameTerm(bytes, start)];
      const run = runs.get(partitionId);
      if (run === undefined) {
        runs.set(partitionId, {
          frames: 1,
          bytes: length,
          firstIndex: index,
          lastIndex: index,
          firstTerm: term,
          lastTerm: term,
        });
        return;
      }
      run.frames++;
      run.bytes += length;
      run.lastIndex = index;
      run.lastTerm = term;
    },
  });
  return {
    segmentSeq,
    keyEpoch: owner.keys.epochOf(segmentSeq),
    state: stateOf(segmentSeq, replay.image),
    coveredEnd,
    endOffset: result.endOffset,
    blocks: result.blocksRead,
    damagedBlocks: result.damagedBlocks,
    endedAt: result.endedAt,
    partitions: [...runs].map(([partitionId, run]) => ({ partitionId, ...run })),
  };
}

function stateOf(
  segmentSeq: number,
  { segments, coverage }: LedgerReplay['image'],
): InspectedSegment['state'] {
  const row = segments.get(segmentSeq);
  if (row !== undefined) return row.endOffset === undefined ? 'inUse' : 'closed';
  return isRetired(segmentSeq, { segments, coverage }) ? 'retired' : 'unknown';
}

async function snapshotNames(
  fileSystem: FileSystem,
  directory: string,
  partitionId: PartitionId,
): Promise<readonly string[]> {
  const folder = snapshotsPath(directory, partitionId);
  const found: SnapshotPlace[] = [];
  for (const name of await fileSystem.listDirectory(folder)) {
    const place = placeOfSnapshotName(name);
    const names = place === undefined ? [] : await fileSystem.listDirectory(`${folder}/${name}`);
    if (place !== undefined && names.includes(manifestFileName)) found.push(place);
  }
  return found.sort((left, right) => left.index - right.index).map(snapshotName);
}
