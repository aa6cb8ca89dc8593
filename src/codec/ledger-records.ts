/**
 * The records of the durability ledger: what each kind says, and its bytes.
 *
 * A record is `kind u8 · len u16 · payload`; where it stands and what covers it is the business of `ledger-format`. Payloads
 * are written and read by the table {@link ledgerRecordRows}; most records have the fields of their row, the others are
 * spread out before they are written and put together after they are read.
 */
import { assert } from '../base/assert.ts';
import type { ByteReader, ByteWriter } from '../base/bytes.ts';
import { durabilityModes, type DurabilityMode } from '../base/durability-mode.ts';
import { ClustorError } from '../base/errors.ts';
import type { Incarnation, LogIndex, PartitionId, ReplicaId, Term } from '../base/ids.ts';
import type { IndexRange } from '../base/index-ranges.ts';
import type { Configuration } from '../base/membership.ts';
import { cutTexts, holdLayout, type HoldRow } from './hold-record.ts';
import {
  numbered,
  readLayout,
  storedSource,
  writeLayout,
  type Layout,
  type LayoutValues,
} from './layout.ts';
import { configurationLayout } from './system-entry.ts';

const recordBytesMax = 0xffff;
/** A longer reason is cut when it is written; a UTF-16 unit has at most three bytes. */
const doubtReasonLengthMax = 256;
const doubtReasonBytesMax = 1024;

/** A vote as it stands in the ledger. */
export interface LedgerVote {
  readonly replicaId: ReplicaId;
  readonly incarnation: Incarnation;
}

/** One ledger record. */
export type LedgerRecord =
  | {
      readonly kind: 'hardState';
      readonly partitionId: PartitionId;
      readonly term: Term;
      readonly votedFor: LedgerVote | undefined;
      readonly durabilityModeEpoch: number;
    }
  | {
      readonly kind: 'durability';
      readonly partitionId: PartitionId;
      readonly term: Term;
      readonly index: LogIndex;
      readonly commitIndex: LogIndex;
    }
  | {
      readonly kind: 'truncated';
      readonly partitionId: PartitionId;
      readonly fromIndex: LogIndex;
      readonly segmentSeq: number;
      readonly offset: number;
    }
  | {
      readonly kind: 'configuration';
      readonly partitionId: PartitionId;
      readonly configuration: Configuration;
    }
  | {
      readonly kind: 'snapshotBase';
      readonly partitionId: PartitionId;
      readonly index: LogIndex;
      readonly term: Term;
    }
  | { readonly kind: 'segmentOpened'; readonly segmentSeq: number; readonly reservedBlocks: number }
  | {
      readonly kind: 'segmentClosed';
      readonly segmentSeq: number;
      readonly endOffset: number;
      readonly trailerOffset: number;
      readonly blocksSpent: number;
    }
  | {
      readonly kind: 'doubt';
      readonly partitionId: PartitionId;
      readonly incarnation: Incarnation;
      readonly reason: string;
    }
  | {
      readonly kind: 'durabilityTransition';
      readonly partitionId: PartitionId;
      readonly mode: DurabilityMode;
      readonly epoch: number;
      readonly index: LogIndex;
    }
  | {
      /** Block numbers of a segment, or of its rewriting, that were reserved and are never used. */
      readonly kind: 'nonceAbandon';
      readonly segmentSeq: number;
      readonly reason: NonceAbandonReason;
      readonly reservedBlocks: number;
      readonly blocksSpent: number;
    }
  | {
      /** A closed segment is sealed anew under another key, in a file beside it; synced before its first block. */
      readonly kind: 'segmentRewriting';
      readonly segmentSeq: number;
      readonly dekEpoch: number;
      readonly reservedBlocks: number;
    }
  | { readonly kind: 'segmentRetired'; readonly segmentSeq: number }
  /** Where entries were written anew; it changes a place, never a last index or a commit (specification §5.5). */
  | ({
      readonly kind: 'rangeMoved';
      readonly partitionId: PartitionId;
      readonly lastTerm: Term;
      readonly toSegment: number;
      readonly endOffset: number;
      readonly cause: MoveCause;
    } & IndexRange)
  | ({ readonly kind: 'quarantine'; readonly partitionId: PartitionId } & QuarantineRow)
  | ({ readonly kind: 'hold'; readonly partitionId: PartitionId } & HoldRow);

/** A replica's `Integrity` quarantine, or the memory of those that are over (specification §5.6). */
export interface QuarantineRow {
  readonly incarnation: Incarnation;
  readonly isActive: boolean;
  /** Wall time at which the newest one began. */
  readonly sinceMs: number;
  /** Entries that cannot be read, as far as is known; of an active one only. At most {@link quarantineRangesMax}. */
  readonly ranges: readonly IndexRange[];
  /** Wall times at which quarantines of this replica began, the newest last; at most {@link quarantinesKept}. */
  readonly begunMs: readonly number[];
}

/** Ranges that a quarantine record holds at most; more are joined. */
export const quarantineRangesMax = 256;
/** Beginnings of quarantines that are remembered. */
export const quarantinesKept = 8;

/** Why entries were written anew: few that kept a whole segment, or what a peer gave back (specification DUR-5, §5.6). */
export type MoveCause = 'copy' | 'repair';

/** Why reserved block numbers are given up: the process ended without closing its segment, or in the middle of rewriting one. */
export type NonceAbandonReason = 'uncleanEnd' | 'rewriteInterrupted';

const abandonReasons: readonly NonceAbandonReason[] = ['uncleanEnd', 'rewriteInterrupted'];

/** What the pages say of a kind of record, its number and its fields. */
export interface LedgerRecordRow {
  readonly number: number;
  readonly note: string;
  readonly fields: Layout;
}

const ofPartition = { name: 'partitionId', type: 'uuid', note: 'the partition' } as const;
const ofSegment = { name: 'segmentSeq', type: 'u64', note: 'the segment' } as const;
const termOf = (note: string): Layout[number] => ({ name: 'term', type: 'u64', note });
const indexOf = (note: string): Layout[number] => ({ name: 'index', type: 'u64', note });

/** Every kind of record. */
export const ledgerRecordRows: Readonly<Record<LedgerRecord['kind'], LedgerRecordRow>> = {
  hardState: {
    number: 1,
    note: 'a replica enters a term, or votes in it; synced before it says so',
    fields: [
      ofPartition,
      termOf('its term'),
      { name: 'hasVote', type: 'bool', note: '1 when it has voted in that term' },
      { name: 'votedForReplica', type: 'u64', note: 'for which replica; 0 without a vote' },
      {
        name: 'votedForIncarnation',
        type: 'uuid',
        note: 'and which life of it; zeros without a vote',
      },
      { name: 'durabilityModeEpoch', type: 'u32', note: 'epoch of the durability mode it knew' },
    ],
  },
  durability: {
    number: 2,
    note: 'entries up to an index are synced; written behind the sync of their blocks and before anybody is told',
    fields: [
      ofPartition,
      termOf('term of the last entry'),
      indexOf('index of the last entry'),
      { name: 'commitIndex', type: 'u64', note: 'what the replica knew as committed' },
    ],
  },
  truncated: {
    number: 3,
    note: 'entries from an index on are dead where they stand before a position of the journal; synced before what replaces them',
    fields: [
      ofPartition,
      { name: 'fromIndex', type: 'u64', note: 'the first dead index' },
      { ...ofSegment, note: 'the position: the segment' },
      { name: 'offset', type: 'u64', note: 'and the offset in it' },
    ],
  },
  configuration: {
    number: 4,
    note: 'a configuration that stands in the log of a partition, or began it',
    fields: [ofPartition, ...configurationLayout],
  },
  snapshotBase: {
    number: 5,
    note: 'the log of a partition begins behind this entry',
    fields: [ofPartition, indexOf('the last entry that a snapshot holds'), termOf('its term')],
  },
  segmentOpened: {
    number: 6,
    note: 'a segment is begun; block numbers are reserved before the first one is sealed',
    fields: [ofSegment, { name: 'reservedBlocks', type: 'u64', note: 'how many block numbers' }],
  },
  segmentClosed: {
    number: 7,
    note: 'nothing more is sealed in a segment; once more when it has its trailer',
    fields: [
      ofSegment,
      { name: 'endOffset', type: 'u64', note: 'behind its last block' },
      { name: 'trailerOffset', type: 'u64', note: 'where its trailer stands; 0 while it has none' },
      { name: 'blocksSpent', type: 'u64', note: 'block numbers that were sealed' },
    ],
  },
  doubt: {
    number: 8,
    note: 'a life of a replica cannot prove what it once said; it never votes again',
    fields: [
      ofPartition,
      { name: 'incarnation', type: 'uuid', note: 'which life' },
      { name: 'reason', type: 'text', bytesMax: doubtReasonBytesMax, note: 'for people' },
    ],
  },
  durabilityTransition: {
    number: 16,
    note: 'the durability mode of a partition changes behind an entry',
    fields: [
      ofPartition,
      {
        name: 'mode',
        type: 'enum',
        values: numbered(durabilityModes),
        note: durabilityModes.map((mode, at) => `${at} ${mode}`).join(', '),
      },
      { name: 'epoch', type: 'u32', note: 'epoch of the mode' },
      indexOf('the entry'),
    ],
  },
  rangeMoved: {
    number: 17,
    note: 'entries were written anew in another place; changes no last index and no commit',
    fields: [
      ofPartition,
      { name: 'firstIndex', type: 'u64', note: 'the first of them' },
      { name: 'lastIndex', type: 'u64', note: 'the last' },
      { name: 'lastTerm', type: 'u64', note: 'its term' },
      { name: 'toSegment', type: 'u64', note: 'where they are now: the segment' },
      { name: 'endOffset', type: 'u64', note: 'and behind them in it' },
      {
        name: 'cause',
        type: 'enum',
        values: { copy: 1, repair: 2 },
        note: '1 they were the few that kept a segment, 2 repair from a peer',
      },
    ],
  },
  quarantine: {
    number: 18,
    note: 'a quarantine of a replica begins, goes on with other ranges, or is over',
    fields: [
      ofPartition,
      { name: 'incarnation', type: 'uuid', note: 'which life of the replica' },
      { name: 'reason', type: 'enum', values: { integrity: 1 }, note: '1 integrity' },
      { name: 'isActive', type: 'bool', note: '0 when it is over' },
      { name: 'sinceMs', type: 'u64', note: 'wall time of its beginning' },
      {
        name: 'begunMs',
        type: 'numbers',
        countMax: quarantinesKept,
        note: 'wall times at which quarantines of it began',
      },
      {
        name: 'ranges',
        type: 'rows',
        countMax: quarantineRangesMax,
        of: [
          { name: 'firstIndex', type: 'u64', note: 'first entry that cannot be read' },
          { name: 'lastIndex', type: 'u64', note: 'last one' },
        ],
        note: 'what cannot be read',
      },
    ],
  },
  hold: {
    number: 19,
    note: 'a quarantine in which the log goes on begins or is over',
    fields: [ofPartition, ...holdLayout],
  },
  nonceAbandon: {
    number: 20,
    note: 'block numbers that were reserved are never used',
    fields: [
      ofSegment,
      {
        name: 'reason',
        type: 'enum',
        values: numbered(abandonReasons),
        note: '0 its process ended without closing it, 1 sealing anew was interrupted',
      },
      { name: 'reservedBlocks', type: 'u64', note: 'how many were reserved' },
      { name: 'blocksSpent', type: 'u64', note: 'of these, sealed' },
    ],
  },
  segmentRewriting: {
    number: 21,
    note: 'a closed segment is sealed anew under another key, in a file beside it',
    fields: [
      ofSegment,
      { name: 'dekEpoch', type: 'u32', note: 'epoch of the new key' },
      { name: 'reservedBlocks', type: 'u64', note: 'block numbers reserved for it' },
    ],
  },
  segmentRetired: {
    number: 22,
    note: 'no log needs anything of a segment any more; synced before its file goes',
    fields: [ofSegment],
  },
};

/** In front of each record. */
export const ledgerRecordHeadLayout: Layout = [
  { name: 'kind', type: 'u8', note: 'number of the kind' },
  { name: 'payloadBytes', type: 'u16', note: 'bytes of the fields behind it' },
];

const recordSource = storedSource('a ledger record');
const kindsByNumber = new Map(
  Object.entries(ledgerRecordRows).map(([kind, { number }]) => [
    number,
    kind as LedgerRecord['kind'],
  ]),
);
const noVote = { replicaId: 0, incarnation: '00000000-0000-0000-0000-000000000000' };

/** Writes a record into a flush that has begun. */
export function writeLedgerRecord(writer: ByteWriter, record: LedgerRecord): void {
  const { number, fields } = ledgerRecordRows[record.kind];
  const start = writer.length;
  writer.u8(number);
  writer.u16(0);
  writeLayout(writer, fields, fieldsOf(record));
  const payloadBytes = writer.length - start - 3;
  assert(payloadBytes <= recordBytesMax, 'a record fits its length field');
  writer.patchU16(start + 1, payloadBytes);
}

/** A record as its row has it; the record itself where both are the same, as for the one of every flush. */
function fieldsOf(record: LedgerRecord): object {
  switch (record.kind) {
    case 'hardState': {
      const { votedFor } = record;
      const { replicaId, incarnation } = votedFor ?? noVote;
      return {
        ...record,
        hasVote: votedFor !== undefined,
        votedForReplica: replicaId,
        votedForIncarnation: incarnation,
      };
    }
    case 'configuration':
      return { partitionId: record.partitionId, ...record.configuration };
    case 'doubt':
      return { ...record, reason: record.reason.slice(0, doubtReasonLengthMax) };
    case 'quarantine':
      return { ...record, reason: 'integrity' };
    case 'hold':
      return cutTexts(record);
    default:
      return record;
  }
}

/** Reads the records of a flush. @throws ClustorError `CLUSTOR_FORMAT_UNSUPPORTED` for one of an unknown kind. */
export function readLedgerRecords(reader: ByteReader): LedgerRecord[] {
  const records: LedgerRecord[] = [];
  while (reader.remaining > 0) {
    const number = reader.u8();
    const payload = reader.section(reader.u16());
    const kind = kindsByNumber.get(number);
    if (kind === undefined)
      throw new ClustorError(
        'CLUSTOR_FORMAT_UNSUPPORTED',
        `the ledger has a record of the unknown kind ${number}`,
      );
    const { fields } = ledgerRecordRows[kind];
    records.push(recordOf(kind, readLayout(payload, fields, recordSource)));
  }
  return records;
}

/** The inverse of {@link fieldsOf}. */
function recordOf(kind: LedgerRecord['kind'], values: LayoutValues): LedgerRecord {
  switch (kind) {
    case 'hardState': {
      const { hasVote, votedForReplica, votedForIncarnation, ...rest } = values;
      const vote = { replicaId: votedForReplica, incarnation: votedForIncarnation };
      return { kind, ...rest, votedFor: hasVote === true ? vote : undefined } as LedgerRecord;
    }
    case 'configuration': {
      const { partitionId, ...configuration } = values;
      return { kind, partitionId, configuration } as unknown as LedgerRecord;
    }
    case 'quarantine': {
      const { reason: _, ...rest } = values;
      return { kind, ...rest } as LedgerRecord;
    }
    default:
      return { kind, ...values } as LedgerRecord;
  }
}
