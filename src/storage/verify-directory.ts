/**
 * The whole journal of a data directory against its ledger (specification §5.3): flushes in both copies, headers, blocks,
 * frames, leaves, indexes of closed segments, and whether every covered entry of every hosted replica is there. Where a log
 * begins behind an entry, a snapshot must hold what came before: all snapshots are read as well, part by part.
 *
 * A finding is *damage* when something covered cannot be read; then the directory has lost evidence or data. It is a *note*
 * when the next start puts it right by itself: a flush with one good copy, a missing index, bytes behind coverage, the rest of
 * an attempt at a snapshot.
 */
import type { Incarnation, PartitionId } from '../base/ids.ts';
import { countOf, type IndexRange } from '../base/index-ranges.ts';
import { verifyLeaf, frameLeaf } from '../codec/entry-frame.ts';
import {
  decodeSegmentIndex,
  segmentIndexFileName,
  type SegmentIndexRow,
} from '../codec/idx-format.ts';
import { TrailerTally } from '../codec/segment-trailer.ts';
import type { Cryptography } from '../ports/cryptography.ts';
import {
  LiveLog,
  segmentsOf,
  walkSegment,
  withOpened,
  type DirectoryPlace,
  type OpenedDirectory,
  type WalkedFrame,
  type WalkedSegment,
} from './journal-walk.ts';
import { checkTrailer, type TrailedSegment } from './trailer-check.ts';
import { verifySnapshots, type VerifiedSnapshot } from './verify-snapshots.ts';

/** Something that is not as it should be. */
export interface VerifyFinding {
  readonly severity: 'damage' | 'note';
  /** Where: `ledger`, `segment 3`, `segment 3 block 17`, `partition <id>`. */
  readonly where: string;
  readonly what: string;
}

/** One partition's entries. */
export interface VerifiedPartition {
  readonly partitionId: PartitionId;
  /** The log begins behind this entry. */
  readonly baseIndex: number;
  readonly entries: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly coveredIndex: number;
  readonly missing: readonly IndexRange[];
  readonly doubt: string | undefined;
  /** Entries that a quarantine in force counts as damaged; `undefined` without one. */
  readonly quarantined: readonly IndexRange[] | undefined;
  /** By rising index. */
  readonly snapshots: readonly VerifiedSnapshot[];
}

/** What was looked at, and what was found. */
export interface DirectoryVerification {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly isDamaged: boolean;
  readonly flushes: number;
  readonly segments: number;
  readonly blocks: number;
  readonly frames: number;
  readonly leaves: number;
  readonly trailers: number;
  /** Good snapshots. */
  readonly snapshots: number;
  readonly partitions: readonly VerifiedPartition[];
  readonly findings: readonly VerifyFinding[];
}

/** Findings kept; more of the same would not tell more. */
const findingsMax = 1000;

interface PartitionTally {
  readonly log: LiveLog;
  firstIndex: number;
}

/** Verifies a directory. @throws ClustorError as {@link withOpened}. */
export function verifyDirectory(
  place: DirectoryPlace,
  cryptography: Cryptography,
): Promise<DirectoryVerification> {
  const verifier = new DirectoryVerifier(cryptography);
  return withOpened(
    place,
    (opened) => verifier.run(opened),
    ({ flush, copies }) => {
      if (copies === 'both') return;
      const bad = copies === 'firstOnly' ? 'second' : 'first';
      verifier.note('ledger', `the ${bad} copy of flush ${flush.flushSeq} is bad`);
    },
  );
}

class DirectoryVerifier {
  readonly #cryptography: Cryptography;
  readonly #findings: VerifyFinding[] = [];
  readonly #partitions = new Map<PartitionId, PartitionTally>();
  #isDamaged = false;
  #blocks = 0;
  #frames = 0;
  #leaves = 0;
  #trailers = 0;

  constructor(cryptography: Cryptography) {
    this.#cryptography = cryptography;
  }

  note(where: string, what: string): void {
    this.#find({ severity: 'note', where, what });
  }

  async run(opened: OpenedDirectory): Promise<DirectoryVerification> {
    const { registry, replay } = opened;
    if (replay.fault !== undefined) this.#damage('ledger', replay.fault);
    if (replay.isTornFlushCut) this.note('ledger', 'a torn flush stands behind the newest one');
    for (const { partitionId } of registry.replicas) this.#tally(opened, partitionId);
    const segments = segmentsOf(opened);
    for (const segment of segments) await this.#segment(opened, segment);
    const partitions: VerifiedPartition[] = [];
    for (const { partitionId, incarnation } of registry.replicas)
      partitions.push(await this.#verified(opened, { partitionId, incarnation }));
    return {
      clusterId: registry.clusterId,
      nodeId: registry.nodeId,
      isDamaged: this.#isDamaged,
      flushes: replay.flushesRead,
      segments: segments.length,
      blocks: this.#blocks,
      frames: this.#frames,
      leaves: this.#leaves,
      trailers: this.#trailers,
      snapshots: partitions
        .flatMap(({ snapshots }) => snapshots)
        .filter(({ fault }) => fault === undefined).length,
      partitions,
      findings: this.#findings,
    };
  }

  async #segment(opened: OpenedDirectory, segment: WalkedSegment): Promise<void> {
    const { segmentSeq, row } = segment;
    const where = `segment ${segmentSeq}`;
    if (row === undefined) {
      const what = segment.isRetired
        ? 'the ledger does not know it any more; the next start removes it'
        : 'the ledger does not know it; it was made ready ahead';
      this.note(where, what);
      return;
    }
    const indexed = await this.#indexRows(opened, segment);
    const tally = new TrailerTally();
    const result = await walkSegment(opened, segment, {
      onFrame: (walked) => {
        this.#frame(opened, walked);
        tally.add(walked.frame.bytes, walked.frame.start);
        const { frame, partitionId, index, term } = walked;
        indexed.delete(
          placeKey({ partitionId, index, term, block: frame.block, offset: frame.offset }),
        );
      },
      onDamagedBlock: (_, block) => {
        this.#damage(`${where} block ${block}`, 'its tag is wrong');
      },
      onBadFrame: (_, { block, offset, reason }) => {
        this.#damage(`${where} block ${block} offset ${offset}`, `a frame: ${reason}`);
      },
    });
    this.#blocks += result.blocksRead;
    if (result.header === undefined && segment.coveredEnd > result.endOffset)
      this.#damage(where, result.endedAt);
    else if (result.endOffset < segment.coveredEnd)
      this.#damage(where, `it ends at ${result.endOffset}, covered up to ${segment.coveredEnd}`);
    if (result.header !== undefined && row.trailerOffset > 0)
      await this.#trailer(opened, {
        segmentSeq,
        trailerOffset: row.trailerOffset,
        header: result.header,
        fields: tally.finish(segmentSeq),
      });
    for (const wrong of indexed.values())
      this.#damage(
        `${where} block ${wrong.block} offset ${wrong.offset}`,
        `the index names entry ${wrong.firstIndex} of partition ${wrong.partitionId} there, and no good frame agrees`,
      );
  }

  /** A trailer is missed only where the ledger names one (specification SCR-5). */
  async #trailer(opened: OpenedDirectory, closed: TrailedSegment): Promise<void> {
    const where = `segment ${closed.segmentSeq}`;
    const { mac, fault } = await checkTrailer(opened, closed);
    if (fault === undefined && mac === 'unchecked')
      this.note(where, 'the MAC of its trailer was not checked: that needs its key');
    if (fault === undefined) this.#trailers++;
    else this.#damage(where, fault);
  }

  #frame(opened: OpenedDirectory, walked: WalkedFrame): void {
    const { frame, partitionId, segmentSeq, index } = walked;
    this.#frames++;
    const tally = this.#tally(opened, partitionId);
    if (frameLeaf(frame.bytes, frame.start) !== undefined) this.#leaves++;
    if (!verifyLeaf(frame.bytes, frame.start, this.#cryptography)) {
      const where = `segment ${segmentSeq} block ${frame.block} offset ${frame.offset}`;
      this.#damage(where, `the Merkle leaf of entry ${index} of partition ${partitionId} is wrong`);
      return;
    }
    if (!walked.isCovered) return;
    if (!tally.log.take(walked)) return;
    // What was written anew comes behind entries that follow it.
    if (tally.firstIndex === 0 || index < tally.firstIndex) tally.firstIndex = index;
  }

  /** What the index of a closed segment names; the frames must agree. */
  async #indexRows(
    { fileSystem, folder, names }: OpenedDirectory,
    { segmentSeq, row, coveredEnd }: WalkedSegment,
  ): Promise<Map<string, SegmentIndexRow>> {
    const rows = new Map<string, SegmentIndexRow>();
    if (row?.endOffset === undefined) return rows;
    const name = segmentIndexFileName(segmentSeq);
    const bytes = names.includes(name) ? await fileSystem.readFile(`${folder}/${name}`) : undefined;
    const index =
      bytes === undefined
        ? undefined
        : decodeSegmentIndex(bytes, { segmentSeq, endOffset: coveredEnd });
    if (index === undefined) {
      const what = bytes === undefined ? 'it has no index' : 'its index is damaged';
      this.note(`segment ${segmentSeq}`, `${what}; the next start writes one`);
      return rows;
    }
    for (const indexRow of index.rows)
      rows.set(placeKey({ ...indexRow, index: indexRow.firstIndex }), indexRow);
    return rows;
  }

  async #verified(
    opened: OpenedDirectory,
    replica: { readonly partitionId: PartitionId; readonly incarnation: Incarnation },
  ): Promise<VerifiedPartition> {
    const { partitionId, incarnation } = replica;
    const { doubts, durability, quarantine } = opened.replay.image.row(partitionId);
    const doubt = doubts.get(incarnation);
    const isQuarantined = quarantine?.isActive === true && quarantine.incarnation === incarnation;
    const { log, firstIndex } = this.#tally(opened, partitionId);
    const missing = log.missing();
    for (const { firstIndex, lastIndex } of missing)
      this.#damage(
        `partition ${partitionId}`,
        `entries ${firstIndex} to ${lastIndex} are covered and not in the journal`,
      );
    if (doubt !== undefined) this.#damage(`partition ${partitionId}`, `in doubt: ${doubt}`);
    if (isQuarantined) this.#damage(`partition ${partitionId}`, 'its replica is in quarantine');
    const { baseIndex, lastIndex } = log;
    const between = firstIndex === 0 ? 0 : lastIndex - firstIndex + 1;
    const holes = log.holes.filter((hole) => hole.firstIndex > firstIndex);
    const snapshots = await verifySnapshots(opened, {
      owner: { partitionId, cryptography: this.#cryptography },
      log,
      found: {
        damage: this.#damage.bind(this),
        note: this.note.bind(this),
      },
    });
    return {
      partitionId,
      baseIndex,
      entries: between - countOf(holes),
      firstIndex,
      lastIndex,
      coveredIndex: durability?.index ?? 0,
      missing,
      doubt,
      quarantined: isQuarantined ? quarantine.ranges : undefined,
      snapshots,
    };
  }

  #tally({ registry, replay }: OpenedDirectory, partitionId: PartitionId): PartitionTally {
    const known = this.#partitions.get(partitionId);
    if (known !== undefined) return known;
    const isHosted = registry.replicas.some((row) => row.partitionId === partitionId);
    if (!isHosted) this.note(`partition ${partitionId}`, 'it has frames here and no replica');
    const log = new LiveLog(replay.image.row(partitionId));
    const tally = { log, firstIndex: 0 };
    this.#partitions.set(partitionId, tally);
    return tally;
  }

  #damage(where: string, what: string): void {
    this.#isDamaged = true;
    this.#find({ severity: 'damage', where, what });
  }

  #find(finding: VerifyFinding): void {
    if (this.#findings.length < findingsMax) this.#findings.push(finding);
  }
}

interface IndexedFrame {
  readonly partitionId: PartitionId;
  readonly index: number;
  readonly term: number;
  readonly block: number;
  readonly offset: number;
}

function placeKey({ partitionId, index, term, block, offset }: IndexedFrame): string {
  return `${partitionId}/${index}/${term}/${block}/${offset}`;
}
