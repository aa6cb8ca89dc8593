/**
 * The wire catalog: the one table from which encoder, decoder, types, docs and `wire_catalog.json` come.
 *
 * A frame is `body_len u32` ‖ body; a body is `message_id u8 · flags u8 · reserved u16`, then for requests and answers
 * `request_id u64 · deadline_ms u32 · routing_epoch u32`, then for messages of a partition `partition_id 16 ·
 * to_incarnation 16`, then, if flag bit 0 is set, `u16 len` and a TLV block, then the payload: the row's fields in order.
 * Everything is little-endian; bytes and text have a u32 length, arrays a u16 count; ids are 16 bytes or u64.
 */
import type { MessageRow } from './wire-rows.ts';
import { nodeRows } from './wire-node-rows.ts';
import { wireSnapshotRows } from './wire-snapshot-rows.ts';

export { bodyBytesMax } from './wire-rows.ts';
export type { FieldRow, MessageRow, PlainFieldType } from './wire-rows.ts';

const raftAndClientRows = [
  {
    id: 0x01,
    kind: 'preVoteRequest',
    class: 'oneWay',
    scope: 'partition',
    audience: 'node',
    bodyBytesMax: 4_096,
    fields: [
      { name: 'fromReplica', type: 'replicaId' },
      { name: 'fromIncarnation', type: 'incarnation' },
      { name: 'term', type: 'term' },
      { name: 'lastIndex', type: 'logIndex' },
      { name: 'lastTerm', type: 'term' },
      { name: 'flags', type: 'flags8', bits: ['leaderUnreachable'] },
    ],
  },
  {
    id: 0x02,
    kind: 'preVoteResponse',
    class: 'oneWay',
    scope: 'partition',
    audience: 'node',
    bodyBytesMax: 4_096,
    layout: 'preVote',
    fields: [
      { name: 'term', type: 'term' },
      { name: 'voteGranted', type: 'bool' },
      { name: 'highRtt', type: 'bool' },
      { name: 'fromReplica', type: 'replicaId' },
      { name: 'fromIncarnation', type: 'incarnation' },
    ],
  },
  {
    id: 0x03,
    kind: 'voteRequest',
    class: 'oneWay',
    scope: 'partition',
    audience: 'node',
    bodyBytesMax: 4_096,
    fields: [
      { name: 'fromReplica', type: 'replicaId' },
      { name: 'fromIncarnation', type: 'incarnation' },
      { name: 'term', type: 'term' },
      { name: 'lastIndex', type: 'logIndex' },
      { name: 'lastTerm', type: 'term' },
      { name: 'flags', type: 'flags8', bits: ['isTransfer'] },
    ],
  },
  {
    id: 0x04,
    kind: 'voteResponse',
    class: 'oneWay',
    scope: 'partition',
    audience: 'node',
    bodyBytesMax: 4_096,
    fields: [
      { name: 'fromReplica', type: 'replicaId' },
      { name: 'fromIncarnation', type: 'incarnation' },
      { name: 'term', type: 'term' },
      { name: 'voteGranted', type: 'bool' },
    ],
  },
  {
    id: 0x05,
    kind: 'appendEntries',
    class: 'oneWay',
    scope: 'partition',
    audience: 'node',
    bodyBytesMax: 4_194_304,
    fields: [
      { name: 'fromReplica', type: 'replicaId' },
      { name: 'fromIncarnation', type: 'incarnation' },
      { name: 'term', type: 'term' },
      { name: 'prevIndex', type: 'logIndex' },
      { name: 'prevTerm', type: 'term' },
      { name: 'commit', type: 'logIndex' },
      { name: 'flags', type: 'flags8', bits: ['receiverInDoubt', 'needsSnapshot'] },
      { name: 'entryCount', type: 'u32' },
      { name: 'entries', type: 'rest' },
    ],
  },
  {
    id: 0x06,
    kind: 'appendRejected',
    class: 'oneWay',
    scope: 'partition',
    audience: 'node',
    bodyBytesMax: 4_096,
    fields: [
      { name: 'fromReplica', type: 'replicaId' },
      { name: 'fromIncarnation', type: 'incarnation' },
      { name: 'term', type: 'term' },
      { name: 'rejectedPrevIndex', type: 'logIndex' },
      { name: 'lastIndex', type: 'logIndex' },
      { name: 'conflictTerm', type: 'term' },
      { name: 'conflictFirstIndex', type: 'logIndex' },
      { name: 'ledgerSeq', type: 'u64' },
    ],
  },
  {
    id: 0x07,
    kind: 'durabilityAck',
    class: 'oneWay',
    scope: 'partition',
    audience: 'node',
    bodyBytesMax: 4_096,
    fields: [
      { name: 'replicaId', type: 'replicaId' },
      { name: 'lastFsyncedIndex', type: 'logIndex' },
      { name: 'segmentSeq', type: 'u64' },
      { name: 'ioWriterMode', type: 'enum', values: ['Direct', 'Pooled', 'Blocking'] },
      { name: 'term', type: 'term' },
      { name: 'incarnation', type: 'incarnation' },
      { name: 'ledgerSeq', type: 'u64' },
      { name: 'smDurableIndex', type: 'logIndex' },
    ],
  },
  {
    id: 0x08,
    kind: 'heartbeatBatch',
    class: 'oneWay',
    scope: 'node',
    audience: 'node',
    bodyBytesMax: 4_194_304,
    fields: [
      {
        name: 'elements',
        type: 'array',
        max: 16384,
        of: [
          { name: 'partitionId', type: 'partitionId' },
          { name: 'toIncarnation', type: 'incarnation' },
          { name: 'fromReplica', type: 'replicaId' },
          { name: 'fromIncarnation', type: 'incarnation' },
          { name: 'term', type: 'term' },
          { name: 'round', type: 'u64' },
          { name: 'commit', type: 'logIndex' },
          { name: 'flags', type: 'flags8', bits: ['mayHibernate', 'lease'] },
        ],
      },
    ],
  },
  {
    id: 0x09,
    kind: 'heartbeatBatchResponse',
    class: 'oneWay',
    scope: 'node',
    audience: 'node',
    bodyBytesMax: 4_194_304,
    fields: [
      { name: 'deviceLatencyUs', type: 'u32' },
      {
        name: 'elements',
        type: 'array',
        max: 16384,
        of: [
          { name: 'partitionId', type: 'partitionId' },
          { name: 'toIncarnation', type: 'incarnation' },
          { name: 'fromReplica', type: 'replicaId' },
          { name: 'fromIncarnation', type: 'incarnation' },
          { name: 'term', type: 'term' },
          { name: 'round', type: 'u64' },
          {
            name: 'flags',
            type: 'flags8',
            bits: ['inDoubt', 'isHibernating', 'needsLeader', 'clockAlarm'],
          },
          { name: 'electionTimeoutMsMin', type: 'u16' },
        ],
      },
    ],
  },
  {
    id: 0x0a,
    kind: 'timeoutNow',
    class: 'oneWay',
    scope: 'partition',
    audience: 'node',
    bodyBytesMax: 4_096,
    fields: [
      { name: 'fromReplica', type: 'replicaId' },
      { name: 'fromIncarnation', type: 'incarnation' },
      { name: 'term', type: 'term' },
    ],
  },
  {
    id: 0x0b,
    kind: 'repairRequest',
    class: 'oneWay',
    scope: 'partition',
    audience: 'node',
    bodyBytesMax: 4_096,
    fields: [
      { name: 'fromReplica', type: 'replicaId' },
      { name: 'fromIncarnation', type: 'incarnation' },
      { name: 'sequence', type: 'u64' },
      { name: 'firstIndex', type: 'logIndex' },
      { name: 'lastIndex', type: 'logIndex' },
      {
        name: 'evidence',
        type: 'array',
        max: 32,
        of: [
          { name: 'index', type: 'logIndex' },
          { name: 'term', type: 'term' },
        ],
      },
    ],
  },
  {
    id: 0x0c,
    kind: 'repairResponse',
    class: 'oneWay',
    scope: 'partition',
    audience: 'node',
    bodyBytesMax: 4_194_304,
    fields: [
      { name: 'fromReplica', type: 'replicaId' },
      { name: 'fromIncarnation', type: 'incarnation' },
      { name: 'sequence', type: 'u64' },
      { name: 'outcome', type: 'enum', values: ['entries', 'noEvidence', 'damaged', 'busy'] },
      { name: 'evidenceIndex', type: 'logIndex' },
      { name: 'evidenceTerm', type: 'term' },
      { name: 'firstIndex', type: 'logIndex' },
      { name: 'entryCount', type: 'u32' },
      { name: 'entries', type: 'rest' },
    ],
  },
  {
    id: 0x20,
    kind: 'appendRequest',
    class: 'request',
    scope: 'partition',
    audience: 'any',
    bodyBytesMax: 4_194_304,
    fields: [
      {
        name: 'entries',
        type: 'array',
        max: 65535,
        of: [
          { name: 'metadata', type: 'bytes', max: 1024 },
          { name: 'payload', type: 'bytes' },
        ],
      },
    ],
  },
  {
    id: 0x21,
    kind: 'appendResponse',
    class: 'response',
    scope: 'partition',
    audience: 'any',
    bodyBytesMax: 4_194_304,
    fields: [
      {
        name: 'results',
        type: 'array',
        max: 65535,
        of: [
          { name: 'position', type: 'u16' },
          { name: 'errorCode', type: 'u32' },
          { name: 'outcome', type: 'enum', values: ['surelyNot', 'committed', 'unknown'] },
          { name: 'term', type: 'term' },
          { name: 'index', type: 'logIndex' },
          { name: 'detail', type: 'u64' },
          { name: 'result', type: 'bytes' },
        ],
      },
    ],
  },
  {
    id: 0x22,
    kind: 'readIndexRequest',
    class: 'request',
    scope: 'partition',
    audience: 'node',
    bodyBytesMax: 4_096,
    fields: [],
  },
  {
    id: 0x23,
    kind: 'readIndexResponse',
    class: 'response',
    scope: 'partition',
    audience: 'any',
    bodyBytesMax: 4_096,
    fields: [
      { name: 'term', type: 'term' },
      { name: 'index', type: 'logIndex' },
    ],
  },
  {
    id: 0x24,
    kind: 'readRequest',
    class: 'request',
    scope: 'partition',
    audience: 'any',
    bodyBytesMax: 4_194_304,
    fields: [
      { name: 'consistency', type: 'enum', values: ['linearizable', 'snapshotOnly'] },
      { name: 'query', type: 'bytes' },
    ],
  },
  {
    id: 0x25,
    kind: 'readResponse',
    class: 'response',
    scope: 'partition',
    audience: 'any',
    bodyBytesMax: 4_194_304,
    fields: [
      { name: 'appliedIndex', type: 'logIndex' },
      { name: 'consistency', type: 'enum', values: ['linearizable', 'snapshotOnly'] },
      { name: 'result', type: 'bytes' },
    ],
  },
  {
    id: 0x26,
    kind: 'describeRequest',
    class: 'request',
    scope: 'node',
    audience: 'any',
    bodyBytesMax: 4_096,
    fields: [],
  },
  {
    id: 0x27,
    kind: 'describeResponse',
    class: 'response',
    scope: 'node',
    audience: 'any',
    bodyBytesMax: 4_194_304,
    fields: [
      { name: 'nodeId', type: 'nodeId' },
      { name: 'bootId', type: 'incarnation' },
      {
        name: 'partitions',
        type: 'array',
        max: 16384,
        of: [
          { name: 'partitionId', type: 'partitionId' },
          { name: 'leaderNodeId', type: 'nodeId' },
          { name: 'leaderAddress', type: 'text', max: 256 },
          { name: 'term', type: 'term' },
          { name: 'commit', type: 'logIndex' },
          { name: 'isLeader', type: 'bool' },
          {
            name: 'members',
            type: 'array',
            max: 64,
            of: [
              { name: 'nodeId', type: 'nodeId' },
              { name: 'address', type: 'text', max: 256 },
            ],
          },
        ],
      },
    ],
  },
  {
    id: 0x28,
    kind: 'errorResponse',
    class: 'response',
    scope: 'node',
    audience: 'any',
    bodyBytesMax: 4_096,
    fields: [
      { name: 'errorCode', type: 'u32' },
      { name: 'outcome', type: 'enum', values: ['surelyNot', 'committed', 'unknown'] },
      { name: 'detail', type: 'u64' },
      { name: 'message', type: 'text', max: 2048 },
    ],
  },
] as const;

/** All messages by id: raft 0x01–0x1F, client 0x20–0x3F, snapshots 0x60–0x6F, node 0x70–0x7F. */
export const wireCatalog: readonly [
  ...typeof raftAndClientRows,
  ...typeof wireSnapshotRows,
  ...typeof nodeRows,
] = [...raftAndClientRows, ...wireSnapshotRows, ...nodeRows];

/** Name of a message. */
export type MessageKind = (typeof wireCatalog)[number]['kind'];

const rowsByKind: ReadonlyMap<string, MessageRow> = new Map(
  (wireCatalog as readonly MessageRow[]).map((row) => [row.kind, row]),
);

/** Who may send messages of a kind. */
export function audienceOf(kind: MessageKind): 'node' | 'any' {
  return rowsByKind.get(kind)?.audience ?? 'node';
}
