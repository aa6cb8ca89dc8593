/**
 * A whole data directory, read only, entry by entry: what offline tools and the scrub stand on.
 *
 * Liveness is the ledger's (specification §5.5): a frame counts unless a truncation behind it says otherwise. Unlike
 * recovery, which ends a log at its first hole, the walk goes on behind damage: a whole frame behind a bad block is
 * evidence all the same, and repair wants to know exactly what is missing.
 */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, PartitionId, Term } from '../base/ids.ts';
import { withoutRange, type IndexRange } from '../base/index-ranges.ts';
import { frameIndex, framePartitionId, frameTerm } from '../codec/entry-frame.ts';
import { blockOffset, segmentFileName, segmentSeqOfFileName } from '../codec/segment-format.ts';
import type { FileSystem } from '../ports/file-system.ts';
import { ledgerFileName } from './durability-ledger.ts';
import { JournalKeys } from './journal-keys.ts';
import type { JournalEncryption } from './key-ring.ts';
import type { LedgerImage, PartitionRow, SegmentRow } from './ledger-image.ts';
import { replayLedger, type LedgerReplay, type OnReplayedFlush } from './ledger-replay.ts';
import { readRegistry, registryPath, type NodeRegistry } from './node-registry.ts';
import { walFolder } from './recovery.ts';
import {
  scanSegment,
  type BadFrame,
  type ScannedFrame,
  type SegmentScanResult,
} from './segment-scan.ts';

/** What a data directory says of itself before its journal is read. */
export interface OpenedDirectory {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  /** Of journal and ledger. */
  readonly folder: string;
  readonly registry: NodeRegistry;
  readonly replay: LedgerReplay;
  /** Open its blocks. */
  readonly keys: JournalKeys;
  /** Names in the folder of journal and ledger. */
  readonly names: readonly string[];
}

/** A data directory that is to be read. */
export interface DirectoryPlace {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  /** What opens it, if it is encrypted. */
  readonly encryption?: JournalEncryption | undefined;
  /** Keys that are open already, of a node that runs: they open it then, and stay open. */
  readonly openKeys?: JournalKeys | undefined;
}

/**
 * Reads registry, keys and ledger, and lets `use` go on from there; the keys are forgotten behind it.
 * @throws ClustorError `CLUSTOR_NOT_INITIALIZED`, `CLUSTOR_REPLICA_FILES_MISSING`, `CLUSTOR_KEY_MISSING`.
 */
export async function withOpened<T>(
  place: DirectoryPlace,
  use: (opened: OpenedDirectory) => Promise<T>,
  onFlush?: OnReplayedFlush,
): Promise<T> {
  const { fileSystem, directory, encryption, openKeys } = place;
  const registry = await readRegistry(fileSystem, directory);
  if (registry === undefined)
    throw new ClustorError('CLUSTOR_NOT_INITIALIZED', `there is no ${registryPath(directory)}`);
  const folder = walFolder(directory);
  const names = await fileSystem.listDirectory(folder);
  const path = `${folder}/${ledgerFileName}`;
  if (!names.includes(ledgerFileName))
    throw new ClustorError('CLUSTOR_REPLICA_FILES_MISSING', `there is no ${path}`);
  const { clusterId, nodeId } = registry;
  const keys =
    openKeys ?? (await JournalKeys.open({ fileSystem, folder, clusterId, nodeId, encryption }));
  try {
    const replay = await replayLedger(fileSystem, path, { clusterId, nodeId, keys, onFlush });
    return await use({ fileSystem, directory, folder, registry, names, keys, replay });
  } finally {
    if (keys !== openKeys) keys.close();
  }
}

/** A segment as the ledger sees it. */
export interface WalkedSegment {
  readonly segmentSeq: number;
  /** `undefined` when the ledger does not know the file. */
  readonly row: SegmentRow | undefined;
  /** The ledger does not know it any more: it ended it, and what is left of the file is nobody's. */
  readonly isRetired: boolean;
  /** File offset up to which the ledger covers it. */
  readonly coveredEnd: number;
}

/** All segments, oldest first: those of the ledger and those that merely lie there. */
export function segmentsOf({ names, replay }: OpenedDirectory): readonly WalkedSegment[] {
  const { segments, coverage } = replay.image;
  const found = names.flatMap((name) => segmentSeqOfFileName(name) ?? []);
  const all = [...new Set([...segments.keys(), ...found])].sort((left, right) => left - right);
  return all.map((segmentSeq) => {
    const row = segments.get(segmentSeq);
    const here = coverage.segmentSeq === segmentSeq ? coverage.endOffset : blockOffset(0);
    return {
      segmentSeq,
      row,
      isRetired: isRetired(segmentSeq, replay.image),
      coveredEnd: row === undefined ? blockOffset(0) : (row.endOffset ?? here),
    };
  });
}

/** Whether the ledger knew a segment and ended it: what is made ready ahead comes behind all that were ever entered. */
export function isRetired(
  segmentSeq: number,
  { segments, coverage }: Pick<LedgerImage, 'segments' | 'coverage'>,
): boolean {
  if (segments.has(segmentSeq)) return false;
  return segmentSeq <= coverage.segmentSeq || [...segments.keys()].some((seq) => seq > segmentSeq);
}

/** A frame that the walk met in a segment of the ledger. */
export interface WalkedFrame {
  readonly frame: ScannedFrame;
  readonly segmentSeq: number;
  readonly partitionId: PartitionId;
  readonly index: LogIndex;
  readonly term: Term;
  readonly isCovered: boolean;
}

/** Who is told what. */
export interface SegmentVisitor {
  readonly onFrame: (walked: WalkedFrame) => void;
  readonly onDamagedBlock?: (segmentSeq: number, block: number) => void;
  readonly onBadFrame?: (segmentSeq: number, bad: BadFrame) => void;
  /** Asked between slices of work under a node that runs; resolves with whether to go on. */
  readonly pace?: (() => Promise<boolean>) | undefined;
}

/** Reads one segment up to where the ledger covers it, and behind that as far as it is good. */
export function walkSegment(
  opened: OpenedDirectory,
  segment: WalkedSegment,
  visitor: SegmentVisitor,
): Promise<SegmentScanResult> {
  const { segmentSeq, row, coveredEnd } = segment;
  const { onDamagedBlock, onBadFrame, pace } = visitor;
  return scanSegment({
    fileSystem: opened.fileSystem,
    path: `${opened.folder}/${segmentFileName(segmentSeq)}`,
    segmentSeq,
    owner: {
      clusterId: opened.registry.clusterId,
      nodeId: opened.registry.nodeId,
      keys: opened.keys,
    },
    coveredEnd,
    closedEnd: row?.endOffset,
    badSectors: 'damage',
    ...(pace === undefined ? {} : { pace }),
    onFrame: (frame) => {
      const { bytes, start, endOffset } = frame;
      visitor.onFrame({
        frame,
        segmentSeq,
        partitionId: framePartitionId(bytes, start),
        index: frameIndex(bytes, start),
        term: frameTerm(bytes, start),
        isCovered: endOffset <= coveredEnd,
      });
    },
    ...(onDamagedBlock === undefined
      ? {}
      : {
          onDamagedBlock: (block: number): void => {
            onDamagedBlock(segmentSeq, block);
          },
        }),
    ...(onBadFrame === undefined
      ? {}
      : {
          onBadFrame: (bad: BadFrame): void => {
            onBadFrame(segmentSeq, bad);
          },
        }),
  });
}

/** Entries of one term that follow each other. */
export interface TermRange extends IndexRange {
  readonly term: Term;
}

/**
 * Which entries of one partition are live in the journal, hole by hole. The log begins behind the base that the ledger names;
 * what was written anew, by a repair or because few entries kept a whole segment, fills the holes that it left.
 */
export class LiveLog {
  readonly #row: PartitionRow;
  /** Covered entries in the order in which they were met. */
  readonly #ranges: { readonly firstIndex: LogIndex; lastIndex: LogIndex; readonly term: Term }[] =
    [];
  holes: readonly IndexRange[] = [];
  lastIndex: LogIndex;
  lastTerm: Term;

  constructor(row: PartitionRow) {
    this.#row = row;
    this.lastIndex = this.baseIndex;
    this.lastTerm = row.base?.term ?? (0 as Term);
  }

  /** The log begins behind this entry. */
  get baseIndex(): LogIndex {
    return this.#row.base?.index ?? (0 as LogIndex);
  }

  /** Terms of what the ledger covers and the journal has, and of the entry that the log begins behind; an entry may come twice. */
  get terms(): readonly TermRange[] {
    const { base } = this.#row;
    if (base === undefined) return this.#ranges;
    return [{ firstIndex: base.index, lastIndex: base.index, term: base.term }, ...this.#ranges];
  }

  /** The term of a covered entry that is in the journal, or that the log begins behind. */
  termAt(index: LogIndex): Term | undefined {
    return this.terms.find(({ firstIndex, lastIndex }) => firstIndex <= index && lastIndex >= index)
      ?.term;
  }

  /** Takes in a frame in journal order; `false` when it is dead, or no entry of this log. */
  take(walked: WalkedFrame): boolean {
    const isTaken = this.#isTaken(walked);
    if (isTaken && walked.isCovered) this.#noteTerm(walked);
    return isTaken;
  }

  #noteTerm({ index, term }: WalkedFrame): void {
    const newest = this.#ranges[this.#ranges.length - 1];
    if (newest?.term === term && newest.lastIndex + 1 === index) newest.lastIndex = index;
    else this.#ranges.push({ firstIndex: index, lastIndex: index, term });
  }

  #isTaken({ segmentSeq, frame, index, term }: WalkedFrame): boolean {
    const isDead = this.#row.truncations.some(
      (truncation) =>
        truncation.fromIndex <= index &&
        (segmentSeq < truncation.segmentSeq ||
          (segmentSeq === truncation.segmentSeq && blockOffset(frame.block) < truncation.offset)),
    );
    if (isDead) return false;
    if (index <= this.lastIndex) {
      if (!this.isMovedTo(index, segmentSeq)) return false;
      this.holes = withoutRange(this.holes, { firstIndex: index, lastIndex: index });
      return true;
    }
    if (term < this.lastTerm) return false;
    if (index > this.lastIndex + 1)
      this.holes = [
        ...this.holes,
        { firstIndex: (this.lastIndex + 1) as LogIndex, lastIndex: (index - 1) as LogIndex },
      ];
    this.lastIndex = index;
    this.lastTerm = term;
    return true;
  }

  /** Whether the ledger says that this entry was written anew to that segment (specification DUR-5, §5.6). */
  isMovedTo(index: LogIndex, segmentSeq: number): boolean {
    return this.#row.moved.some(
      ({ firstIndex, lastIndex, toSegment }) =>
        toSegment === segmentSeq && firstIndex <= index && lastIndex >= index,
    );
  }

  /** What the ledger covers and the journal lacks. */
  missing(): readonly IndexRange[] {
    const coveredIndex = this.#row.durability?.index ?? this.lastIndex;
    if (coveredIndex <= this.lastIndex) return this.holes;
    const firstIndex = (this.lastIndex + 1) as LogIndex;
    return [...this.holes, { firstIndex, lastIndex: coveredIndex }];
  }
}
