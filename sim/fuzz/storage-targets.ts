/** What stands on disks: segments, their indexes, the ledger. */
import { crc32c } from '../../src/base/crc32c.ts';
import type { ErrorCode } from '../../src/base/error-codes.ts';
import {
  clusterId,
  incarnation,
  logIndex,
  nodeId,
  partitionId,
  replicaId,
  term,
  type ClusterId,
  type PartitionId,
} from '../../src/base/ids.ts';
import { nextBelow, pick, type PrngState } from '../../src/base/prng.ts';
import { decodeSegmentIndex, encodeSegmentIndex } from '../../src/codec/idx-format.ts';
import {
  beginLedgerFlush,
  endLedgerFlush,
  ledgerBlockBytes,
  readLedgerFileHeader,
  readLedgerFlush,
  writeLedgerFileHeader,
  type LedgerFlushHeader,
} from '../../src/codec/ledger-format.ts';
import { writeLedgerRecord, type LedgerRecord } from '../../src/codec/ledger-records.ts';
import {
  blockBytes,
  claimedPlainBytes,
  readSegmentHeader,
  unitBlocks,
  unitBlocksMax,
  unitFirstFrame,
  unitFlags,
  unitHeaderBytes,
  unitPlainBytesMax,
  UnitSealer,
  writeSegmentHeader,
} from '../../src/codec/segment-format.ts';
import { LedgerImage } from '../../src/storage/ledger-image.ts';
import { replayLedgerBytes } from '../../src/storage/ledger-replay.ts';
import { randomBytes, randomSafe, randomUuid } from './random-message.ts';
import { accepted, demand, demandEqual, refused, type FuzzTarget, type Verdict } from './target.ts';
import { members, written } from './wire-targets.ts';

const storedCodes: readonly ErrorCode[] = ['CLUSTOR_INTEGRITY', 'CLUSTOR_FORMAT_UNSUPPORTED'];
const owner = { clusterId: clusterId('40414243-4445-4647-4849-4a4b4c4d4e4f'), nodeId: nodeId(2) };
const partitions = [
  partitionId('10111213-1415-1617-1819-1a1b1c1d1e1f'),
  partitionId('60616263-6465-6667-6869-6a6b6c6d6e6f'),
];
const indexed = { segmentSeq: 9, endOffset: 81_920 };
const saltBytes = 16;

/** The targets of this file. */
export const storageTargets: readonly FuzzTarget[] = [
  {
    name: 'segment-header',
    isSealed: true,
    codes: storedCodes,
    inputsPerRound: 10,
    sample: (random) => {
      const bytes = new Uint8Array(blockBytes);
      const isEncrypted = nextBelow(random, 2) === 0;
      writeSegmentHeader(bytes, {
        ...ownerOf(random),
        segmentSeq: randomSafe(random),
        isEncrypted,
        dekEpoch: isEncrypted ? 1 + nextBelow(random, 3) : 0,
        integrityMacEpoch: isEncrypted ? 1 + nextBelow(random, 3) : 0,
        salt: randomBytes(random, saltBytes),
        createdMs: randomSafe(random),
      });
      return bytes;
    },
    reseal: (bytes) => sealAt(bytes, { from: 0, end: 76, at: 76 }),
    run: (input) => {
      const header = readSegmentHeader(input);
      const again = new Uint8Array(blockBytes);
      writeSegmentHeader(again, header);
      demandEqual(readSegmentHeader(again), header, 'a header reads as it was written');
      return accepted(`${header.dekEpoch > 0}`);
    },
  },
  {
    name: 'units',
    isSealed: true,
    codes: [],
    inputsPerRound: 10,
    sample: unitOf,
    reseal: resealUnit,
    run: runUnit,
  },
  {
    name: 'segment-index',
    isSealed: true,
    codes: [],
    inputsPerRound: 20,
    sample: (random) =>
      encodeSegmentIndex({
        ...indexed,
        rows: Array.from({ length: nextBelow(random, 6) }, () => ({
          partitionId: pick(random, partitions),
          term: term(randomSafe(random)),
          firstIndex: logIndex(randomSafe(random)),
          count: nextBelow(random, 100),
          block: nextBelow(random, 100),
          offset: nextBelow(random, unitPlainBytesMax(unitBlocksMax)),
        })),
      }),
    reseal: (bytes) => sealAt(bytes, { from: 0, end: bytes.length - 4, at: bytes.length - 4 }),
    run: (input) => {
      const index = decodeSegmentIndex(input, indexed);
      if (index === undefined) return refused('no index');
      const again = decodeSegmentIndex(encodeSegmentIndex(index), indexed);
      demandEqual(again, index, 'an index reads as it was written');
      return accepted(`${Math.min(3, index.rows.length)}`);
    },
  },
  {
    name: 'ledger-header',
    isSealed: true,
    codes: storedCodes,
    inputsPerRound: 10,
    sample: (random) =>
      written((writer) =>
        writeLedgerFileHeader(writer, {
          ...ownerOf(random),
          generation: randomSafe(random),
          macEpoch: nextBelow(random, 3),
        }),
      ),
    reseal: (bytes) => sealAt(bytes, { from: 0, end: 52, at: 52 }),
    run: (input) => {
      const header = readLedgerFileHeader(input, 0);
      if (header === undefined) return refused('damaged');
      const again = written((writer) => writeLedgerFileHeader(writer, header));
      demandEqual(readLedgerFileHeader(again, 0), header, 'a header reads as it was written');
      return accepted('header');
    },
  },
  {
    name: 'ledger-flush',
    isSealed: true,
    codes: storedCodes,
    inputsPerRound: 10,
    sample: (random) =>
      flushOf(
        {
          generation: randomSafe(random),
          flushSeq: randomSafe(random),
          syncedFlushSeq: randomSafe(random),
          segmentSeq: randomSafe(random),
          endOffset: randomSafe(random),
          ioWriterMode: pick(random, ['Direct', 'Pooled', 'Blocking']),
        },
        Array.from({ length: nextBelow(random, 6) }, () => recordOf(random)),
      ),
    reseal: (bytes) => resealFlush(bytes, 0),
    run: (input) => {
      const flush = readLedgerFlush(input, 0);
      if (flush === undefined) return refused('damaged');
      const again = flushOf(flush, flush.records);
      demandEqual(readLedgerFlush(again, 0), flush, 'a flush reads as it was written');
      return accepted(flush.records[0]?.kind ?? 'empty');
    },
  },
  {
    name: 'ledger-replay',
    codes: [...storedCodes, 'CLUSTOR_WRONG_DATA_DIRECTORY'],
    inputsPerRound: 2,
    heldBytes: 8 * 1024 * 1024,
    sample: ledgerOf,
    reseal: (bytes) => {
      for (let at = 0; at < bytes.length; at += ledgerBlockBytes) resealFlush(bytes, at);
    },
    run: (input) => {
      const replay = replayLedgerBytes(input, owner);
      if (replay.fault !== undefined) return refused(replay.fault.replaceAll(/\d+/g, '#'));
      const records = replay.image.records();
      const again = new LedgerImage();
      for (const record of records) again.apply(record);
      again.cover(replay.image.coverage);
      demandEqual(again.records(), records, 'what a ledger says can be written out and read again');
      return accepted(`${Math.min(3, replay.flushesRead)} ${replay.isTornFlushCut}`);
    },
  },
];

function ownerOf(random: PrngState): typeof owner {
  return {
    clusterId: randomUuid(random) as ClusterId,
    nodeId: nodeId(randomSafe(random)),
  };
}

/** Writes the CRC of a stretch behind it, where there is room. */
function sealAt(
  bytes: Uint8Array,
  place: { readonly from: number; readonly end: number; readonly at: number },
): void {
  if (place.end < place.from || place.at + 4 > bytes.length) return;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint32(place.at, crc32c(bytes, place.from, place.end), true);
}

/** Salt, number, unit: mostly of few blocks. */
function unitOf(random: PrngState): Uint8Array {
  const blocks = 1 + nextBelow(random, pick(random, [1, 4, unitBlocksMax]));
  const bytes = new Uint8Array(saltBytes + 1 + blocks * blockBytes);
  bytes.set(randomBytes(random, saltBytes));
  const number = nextBelow(random, 256);
  bytes[saltBytes] = number;
  const plainBytes = unitPlainBytesMax(blocks) - nextBelow(random, unitPlainBytesMax(1));
  bytes.fill(nextBelow(random, 256), saltBytes + 1, saltBytes + 1 + unitHeaderBytes + plainBytes);
  const unit = { number, plainBytes, firstFrame: 0, flags: nextBelow(random, 4) };
  new UnitSealer(bytes.slice(0, saltBytes)).seal(bytes, saltBytes + 1, unit);
  return bytes;
}

function resealUnit(bytes: Uint8Array): void {
  const offset = saltBytes + 1;
  if (bytes.length < offset + blockBytes) return;
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset);
  const plainBytes = claimedPlainBytes(bytes, offset);
  const seed = crc32c(
    Uint8Array.of(bytes[saltBytes] ?? 0, 0, 0, 0, 0, 0, 0, 0),
    0,
    8,
    crc32c(bytes, 0, saltBytes),
  );
  const end = unitHeaderBytes + plainBytes;
  view.setUint32(end, crc32c(bytes, offset, offset + end, seed), true);
}

function runUnit(input: Uint8Array): Verdict {
  if (input.length <= saltBytes) return refused('no unit');
  const sealer = new UnitSealer(input.slice(0, saltBytes));
  const number = input[saltBytes] ?? 0;
  const unit = input.subarray(saltBytes + 1);
  const plainBytes = sealer.open(unit, 0, number);
  if (plainBytes === 0) return refused('bad');
  const bytes = unitBlocks(plainBytes) * blockBytes;
  demand(plainBytes > 0 && bytes <= unit.length, 'a plaintext fits its unit');
  const again = unit.slice(0, bytes);
  const [firstFrame, flags] = [unitFirstFrame(again, 0), unitFlags(again, 0)];
  sealer.seal(again, 0, { number, plainBytes, firstFrame, flags });
  demand(sealer.open(again, 0, number) === plainBytes, 'a unit opens as it was sealed');
  demand(sealer.open(again, 0, number + 1) === 0, 'a unit opens only in its place');
  return accepted(`${flags & 3} ${firstFrame === 0xffff} ${bytes / blockBytes}`);
}

function flushOf(header: LedgerFlushHeader, records: readonly LedgerRecord[]): Uint8Array {
  return written((writer) => {
    const start = beginLedgerFlush(writer, header);
    for (const record of records) writeLedgerRecord(writer, record);
    endLedgerFlush(writer, start);
  });
}

/** Makes the CRC of the flush in a block fit, if its length leads anywhere, or that of a file header. */
function resealFlush(bytes: Uint8Array, offset: number): void {
  if (offset + ledgerBlockBytes > bytes.length) return;
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset);
  const isFlush = view.getUint32(0, true) === 0x4853_4c46;
  const end = offset + (isFlush ? 56 + view.getUint32(48, true) : 52);
  if (end > bytes.length || bytes.subarray(offset, offset + 4).every((value) => value === 0))
    return;
  if (isFlush) view.setUint32(52, 0, true);
  view.setUint32(52, crc32c(bytes, offset, end), true);
}

/** Kinds that contradict each other when they come at random. */
const contradicting: readonly LedgerRecord['kind'][] = [
  'segmentClosed',
  'hardState',
  'durability',
  'snapshotBase',
];

/** A header, a first flush with everything, and more of them, each twice; sometimes the last one is torn. */
function ledgerOf(random: PrngState): Uint8Array {
  const generation = 1 + nextBelow(random, 3);
  const count = 1 + nextBelow(random, 4);
  const bytes = written((writer) => {
    for (let copy = 0; copy < 2; copy++)
      writeLedgerFileHeader(writer, { ...owner, generation, macEpoch: 0 });
    for (let flush = 0; flush < count; flush++) {
      const header: LedgerFlushHeader = {
        generation,
        flushSeq: 10 + flush,
        syncedFlushSeq: 9 + flush,
        segmentSeq: 1,
        endOffset: 8192 * (1 + flush),
        ioWriterMode: 'Direct',
      };
      const [last, index] = [term(flush + 1), logIndex(10 * (flush + 1))];
      const records: LedgerRecord[] = Array.from({ length: nextBelow(random, 4) }, () =>
        recordOf(random),
      ).filter(({ kind }) => !contradicting.includes(kind));
      if (flush === 0) records.unshift({ kind: 'segmentOpened', segmentSeq: 1, reservedBlocks: 4 });
      for (const partition of partitions) {
        const id = { partitionId: partition, term: last };
        // Where a log begins rises, and never beyond what is durable.
        const base = logIndex(10 * flush + nextBelow(random, 10));
        if (nextBelow(random, 3) === 0)
          records.push({ kind: 'snapshotBase', ...id, index: base, term: last });
        records.push({ kind: 'hardState', ...id, votedFor: undefined, durabilityModeEpoch: 0 });
        records.push({ kind: 'durability', ...id, index, commitIndex: logIndex(0) });
      }
      for (let copy = 0; copy < 2; copy++) writer.raw(flushOf(header, records));
    }
    writer.zeros(ledgerBlockBytes * nextBelow(random, 4));
  });
  return bytes;
}

function recordOf(random: PrngState): LedgerRecord {
  const partitionId = pick(random, partitions);
  return nextBelow(random, 2) === 0
    ? recordOfLog(random, partitionId)
    : nextBelow(random, 2) === 0
      ? recordOfReplica(random, partitionId)
      : recordOfSegment(random);
}

/** What is said of the log of a partition. */
function recordOfLog(random: PrngState, id: PartitionId): LedgerRecord {
  const partitionId = id;
  const [small, other] = [nextBelow(random, 1000), nextBelow(random, 1000)];
  switch (nextBelow(random, 6)) {
    case 0: {
      const place = { term: term(small), index: logIndex(other) };
      return { kind: 'durability', partitionId, ...place, commitIndex: logIndex(0) };
    }
    case 1: {
      const fromIndex = logIndex(small);
      return { kind: 'truncated', partitionId, fromIndex, segmentSeq: 1, offset: 8192 };
    }
    case 2: {
      const configuration = {
        term: term(small),
        index: logIndex(other),
        members: members(random),
        outgoingMembers: members(random),
      };
      return { kind: 'configuration', partitionId, configuration };
    }
    case 3:
      return { kind: 'snapshotBase', partitionId, index: logIndex(small), term: term(other) };
    case 4: {
      const mode = pick(random, ['Strict', 'GroupFsync'] as const);
      const index = logIndex(other);
      return { kind: 'durabilityTransition', partitionId, mode, epoch: small, index };
    }
    default:
      return {
        kind: 'rangeMoved',
        partitionId,
        firstIndex: logIndex(small),
        lastIndex: logIndex(small + nextBelow(random, 20)),
        lastTerm: term(other),
        toSegment: 1 + nextBelow(random, 4),
        endOffset: 4096 * nextBelow(random, 9),
        cause: pick(random, ['copy', 'repair']),
      };
  }
}

/** What is said of a life of a replica. */
function recordOfReplica(random: PrngState, partitionId: PartitionId): LedgerRecord {
  const life = incarnation(randomUuid(random));
  const [small, other] = [nextBelow(random, 1000), nextBelow(random, 1000)];
  const common = { partitionId, incarnation: life };
  const quarantine = { ...common, isActive: nextBelow(random, 2) === 0, sinceMs: small };
  switch (nextBelow(random, 4)) {
    case 0: {
      const vote = { replicaId: replicaId(small), incarnation: life };
      const votedFor = nextBelow(random, 2) === 0 ? vote : undefined;
      const state = { term: term(other), votedFor, durabilityModeEpoch: small };
      return { kind: 'hardState', partitionId, ...state };
    }
    case 1:
      return { kind: 'doubt', ...common, reason: 'because €' };
    case 2: {
      const range = { firstIndex: logIndex(small), lastIndex: logIndex(small + other) };
      const ranges = nextBelow(random, 2) === 0 ? [] : [range];
      return { kind: 'quarantine', ...quarantine, begunMs: [other], ranges };
    }
    default: {
      const reason = pick(random, ['ApplyFault', 'Administrative'] as const);
      const texts = { detail: 'it threw', ticket: pick(random, ['', 'T-1']) };
      return { kind: 'hold', ...quarantine, reason, index: logIndex(other), ...texts };
    }
  }
}

/** What is said of a segment. */
function recordOfSegment(random: PrngState): LedgerRecord {
  const segmentSeq = nextBelow(random, 6);
  const [small, other] = [nextBelow(random, 1000), nextBelow(random, 1000)];
  switch (nextBelow(random, 5)) {
    case 0:
      return { kind: 'segmentOpened', segmentSeq, reservedBlocks: other };
    case 1: {
      const end = { endOffset: other, trailerOffset: other, blocksSpent: 1 };
      return { kind: 'segmentClosed', segmentSeq, ...end };
    }
    case 2:
      return { kind: 'segmentRetired', segmentSeq };
    case 3:
      return { kind: 'segmentRewriting', segmentSeq, dekEpoch: 1 + small, reservedBlocks: other };
    default: {
      const reason = pick(random, ['uncleanEnd', 'rewriteInterrupted'] as const);
      const counts = { reservedBlocks: other, blocksSpent: small };
      return { kind: 'nonceAbandon', segmentSeq, reason, ...counts };
    }
  }
}
