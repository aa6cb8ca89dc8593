/**
 * One flipped bit at every byte of a replica's data directory (specification §5.3): each on a fresh copy, opened, read, and
 * scrubbed. What is believed must be detected, what nobody believes is harmless, and nothing is ever served or lost.
 */
import type { PartitionId } from '../../src/base/ids.ts';
import { blockBytes, segmentFileName } from '../../src/codec/segment-format.ts';
import { SimDisk } from '../../src/testing/sim-disk.ts';
import { judgeFlip, type FlipVerdict } from './flip-judge.ts';
import { flipPlaces, type FlippedSegment, type FlipRule } from './flip-places.ts';
import { StoreLife, storyPartitions, type Promised } from './store-life.ts';

/** Flips of one kind of place, by what became of them. */
interface FlipRow {
  readonly file: string;
  readonly what: string;
  readonly rule: FlipRule;
  readonly flips: number;
  readonly verdicts: Readonly<Record<FlipVerdict, number>>;
}

/** A flip that did not become what it must. */
interface FlipFinding {
  readonly path: string;
  readonly what: string;
  readonly offset: number;
  readonly bit: number;
  readonly rule: FlipRule;
  readonly verdict: FlipVerdict;
  readonly how: string;
}

/** What a run came to. */
export interface FlipReport {
  readonly rows: readonly FlipRow[];
  /** By who detected a flip, and with what. */
  readonly detectedBy: Readonly<Record<string, number>>;
  readonly findings: readonly FlipFinding[];
}

/** Which flips are tried. */
interface FlipOptions {
  readonly isEncrypted: boolean;
  /** Only each so-manieth byte, counted over the whole directory. */
  readonly stride: number;
  /** The first byte that is taken, below `stride`: with all of them every byte has its turn. */
  readonly first: number;
  readonly progress?: (done: number, of: number) => void;
}

/** A directory at rest, what it promised, and where its segments end. */
interface FlipDirectory {
  readonly disk: SimDisk;
  readonly promised: ReadonlyMap<PartitionId, Promised>;
  readonly segments: readonly FlippedSegment[];
}

/** Tries the flips. */
export async function runFlips(options: FlipOptions): Promise<FlipReport> {
  const { isEncrypted, stride, first, progress } = options;
  const { disk, promised, segments } = await writeFlipDirectory(isEncrypted);
  const places = flipPlaces(disk, segments, isEncrypted);
  const total = places.reduce((sum, { offsets }) => sum + offsets.length, 0);
  const rows: FlipRow[] = [];
  const detectedBy: Record<string, number> = {};
  const findings: FlipFinding[] = [];
  let at = 0;
  for (const { path, what, rule, offsets } of places) {
    const verdicts = { harmless: 0, detected: 0, served: 0, lost: 0, broken: 0 };
    let flips = 0;
    for (const offset of offsets) {
      if (at++ % stride !== first) continue;
      const bit = bitAt(offset);
      const copy = disk.fork();
      copy.flipBit(path, offset, bit);
      const { verdict, how } = await judgeFlip(copy, promised, isEncrypted);
      verdicts[verdict]++;
      flips++;
      if (verdict === 'detected') detectedBy[how] = (detectedBy[how] ?? 0) + 1;
      if (!isAsRuled(rule, verdict)) findings.push({ path, what, offset, bit, rule, verdict, how });
      progress?.(at, total);
    }
    const file = path.slice(path.lastIndexOf('/') + 1);
    rows.push({ file, what, rule, flips, verdicts });
  }
  return { rows, detectedBy, findings };
}

function isAsRuled(rule: FlipRule, verdict: FlipVerdict): boolean {
  return rule === 'either' ? verdict === 'detected' || verdict === 'harmless' : verdict === rule;
}

/** Neighbours get other bits, and so do equal offsets of neighbouring blocks. */
function bitAt(offset: number): number {
  return (offset * 3 + Math.floor(offset / blockBytes) * 5) % 8;
}

/**
 * Writes a small directory in two lives: a closed segment with a trailer and an index, one in use, a ledger of a few flushes,
 * entries of one block and of several, some of them truncated, of two partitions.
 */
async function writeFlipDirectory(isEncrypted: boolean): Promise<FlipDirectory> {
  const disk = new SimDisk();
  const promised = new Map<PartitionId, Promised>();
  const [first, second] = storyPartitions as [PartitionId, PartitionId];
  let life = new StoreLife(disk, { seed: 1, promised, isEncrypted });
  const flushed = async (): Promise<void> => {
    life.store.flush();
    await life.pass(40);
  };
  await life.open();
  await life.createReplicas();
  for (const id of [first, second]) life.vote(id);
  await flushed();
  life.append(first, 2, 60);
  life.append(second, 2, 3_000);
  await flushed();
  life.append(first, 1, 200);
  life.commit(first);
  life.replace(second, 1);
  await flushed();
  await life.settle(life.store.close());
  life = new StoreLife(disk, { seed: 2, promised, isEncrypted });
  await life.open();
  // The first segment gets its trailer.
  await life.pass(2_000);
  life.append(second, 1, 5_000);
  await flushed();
  life.append(first, 2, 60);
  life.commit(second);
  await flushed();
  const { segmentSeq, endOffset } = life.store.statistics();
  const inUse = { path: segmentPath(segmentSeq), coveredEnd: endOffset, trailerOffset: 0 };
  life.kill();
  const closed = segmentPath(segmentSeq - 1);
  const closedBytes = disk.find(closed)?.sizeBytes ?? 0;
  const trailerOffset = closedBytes - blockBytes;
  return {
    disk,
    promised,
    segments: [{ path: closed, coveredEnd: trailerOffset, trailerOffset }, inUse],
  };
}

function segmentPath(segmentSeq: number): string {
  return `/data/wal/${segmentFileName(segmentSeq)}`;
}
