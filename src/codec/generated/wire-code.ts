// Written by `npm run generate` from the wire catalog; do not edit.
import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import type { ClusterId, Incarnation, LogIndex, NodeId, PartitionId, ReplicaId, Term } from '../../base/ids.ts';
import {
  readCount,
  readEnum,
  skipTlvBlock,
  writeCount,
  writeEnum,
} from '../wire-fields.ts';
import type { WireMessage } from '../wire-messages.ts';

type Of<Kind extends WireMessage['kind']> = Extract<WireMessage, { readonly kind: Kind }>;

/** Writes and reads what is behind the first four bytes of a body. */
export interface MessageCode {
  write(writer: ByteWriter, message: WireMessage): void;
  read(reader: ByteReader, hasTlvBlock: boolean): WireMessage;
}

function writePreVoteRequest(writer: ByteWriter, message: Of<'preVoteRequest'>): void {
  writer.uuid(message.partitionId);
  writer.uuid(message.toIncarnation);
  writer.u64(message.fromReplica);
  writer.uuid(message.fromIncarnation);
  writer.u64(message.term);
  writer.u64(message.lastIndex);
  writer.u64(message.lastTerm);
  writer.u8(message.flags);
}

function readPreVoteRequest(reader: ByteReader, hasTlvBlock: boolean): Of<'preVoteRequest'> {
  const partitionId = reader.uuid() as PartitionId;
  const toIncarnation = reader.uuid() as Incarnation;
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'preVoteRequest',
    partitionId,
    toIncarnation,
    fromReplica: reader.u64() as ReplicaId,
    fromIncarnation: reader.uuid() as Incarnation,
    term: reader.u64() as Term,
    lastIndex: reader.u64() as LogIndex,
    lastTerm: reader.u64() as Term,
    flags: reader.u8(),
  };
}

function writeVoteRequest(writer: ByteWriter, message: Of<'voteRequest'>): void {
  writer.uuid(message.partitionId);
  writer.uuid(message.toIncarnation);
  writer.u64(message.fromReplica);
  writer.uuid(message.fromIncarnation);
  writer.u64(message.term);
  writer.u64(message.lastIndex);
  writer.u64(message.lastTerm);
  writer.u8(message.flags);
}

function readVoteRequest(reader: ByteReader, hasTlvBlock: boolean): Of<'voteRequest'> {
  const partitionId = reader.uuid() as PartitionId;
  const toIncarnation = reader.uuid() as Incarnation;
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'voteRequest',
    partitionId,
    toIncarnation,
    fromReplica: reader.u64() as ReplicaId,
    fromIncarnation: reader.uuid() as Incarnation,
    term: reader.u64() as Term,
    lastIndex: reader.u64() as LogIndex,
    lastTerm: reader.u64() as Term,
    flags: reader.u8(),
  };
}

function writeVoteResponse(writer: ByteWriter, message: Of<'voteResponse'>): void {
  writer.uuid(message.partitionId);
  writer.uuid(message.toIncarnation);
  writer.u64(message.fromReplica);
  writer.uuid(message.fromIncarnation);
  writer.u64(message.term);
  writer.bool(message.voteGranted);
}

function readVoteResponse(reader: ByteReader, hasTlvBlock: boolean): Of<'voteResponse'> {
  const partitionId = reader.uuid() as PartitionId;
  const toIncarnation = reader.uuid() as Incarnation;
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'voteResponse',
    partitionId,
    toIncarnation,
    fromReplica: reader.u64() as ReplicaId,
    fromIncarnation: reader.uuid() as Incarnation,
    term: reader.u64() as Term,
    voteGranted: reader.bool(),
  };
}

function writeAppendEntries(writer: ByteWriter, message: Of<'appendEntries'>): void {
  writer.uuid(message.partitionId);
  writer.uuid(message.toIncarnation);
  writer.u64(message.fromReplica);
  writer.uuid(message.fromIncarnation);
  writer.u64(message.term);
  writer.u64(message.prevIndex);
  writer.u64(message.prevTerm);
  writer.u64(message.commit);
  writer.u8(message.flags);
  writer.u32(message.entryCount);
  writer.raw(message.entries);
}

function readAppendEntries(reader: ByteReader, hasTlvBlock: boolean): Of<'appendEntries'> {
  const partitionId = reader.uuid() as PartitionId;
  const toIncarnation = reader.uuid() as Incarnation;
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'appendEntries',
    partitionId,
    toIncarnation,
    fromReplica: reader.u64() as ReplicaId,
    fromIncarnation: reader.uuid() as Incarnation,
    term: reader.u64() as Term,
    prevIndex: reader.u64() as LogIndex,
    prevTerm: reader.u64() as Term,
    commit: reader.u64() as LogIndex,
    flags: reader.u8(),
    entryCount: reader.u32(),
    entries: reader.rest(),
  };
}

function writeAppendRejected(writer: ByteWriter, message: Of<'appendRejected'>): void {
  writer.uuid(message.partitionId);
  writer.uuid(message.toIncarnation);
  writer.u64(message.fromReplica);
  writer.uuid(message.fromIncarnation);
  writer.u64(message.term);
  writer.u64(message.rejectedPrevIndex);
  writer.u64(message.lastIndex);
  writer.u64(message.conflictTerm);
  writer.u64(message.conflictFirstIndex);
  writer.u64(message.ledgerSeq);
}

function readAppendRejected(reader: ByteReader, hasTlvBlock: boolean): Of<'appendRejected'> {
  const partitionId = reader.uuid() as PartitionId;
  const toIncarnation = reader.uuid() as Incarnation;
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'appendRejected',
    partitionId,
    toIncarnation,
    fromReplica: reader.u64() as ReplicaId,
    fromIncarnation: reader.uuid() as Incarnation,
    term: reader.u64() as Term,
    rejectedPrevIndex: reader.u64() as LogIndex,
    lastIndex: reader.u64() as LogIndex,
    conflictTerm: reader.u64() as Term,
    conflictFirstIndex: reader.u64() as LogIndex,
    ledgerSeq: reader.u64(),
  };
}
const durabilityAckIoWriterModeValues = ['Direct', 'Pooled', 'Blocking'] as const;

function writeDurabilityAck(writer: ByteWriter, message: Of<'durabilityAck'>): void {
  writer.uuid(message.partitionId);
  writer.uuid(message.toIncarnation);
  writer.u64(message.replicaId);
  writer.u64(message.lastFsyncedIndex);
  writer.u64(message.segmentSeq);
  writeEnum(writer, durabilityAckIoWriterModeValues, message.ioWriterMode);
  writer.u64(message.term);
  writer.uuid(message.incarnation);
  writer.u64(message.ledgerSeq);
  writer.u64(message.smDurableIndex);
}

function readDurabilityAck(reader: ByteReader, hasTlvBlock: boolean): Of<'durabilityAck'> {
  const partitionId = reader.uuid() as PartitionId;
  const toIncarnation = reader.uuid() as Incarnation;
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'durabilityAck',
    partitionId,
    toIncarnation,
    replicaId: reader.u64() as ReplicaId,
    lastFsyncedIndex: reader.u64() as LogIndex,
    segmentSeq: reader.u64(),
    ioWriterMode: readEnum(reader, durabilityAckIoWriterModeValues, 'ioWriterMode'),
    term: reader.u64() as Term,
    incarnation: reader.uuid() as Incarnation,
    ledgerSeq: reader.u64(),
    smDurableIndex: reader.u64() as LogIndex,
  };
}

function writeHeartbeatBatchElements(writer: ByteWriter, elements: Of<'heartbeatBatch'>['elements']): void {
  writeCount(writer, elements.length, 16384);
  for (const element of elements) {
    writer.uuid(element.partitionId);
    writer.uuid(element.toIncarnation);
    writer.u64(element.fromReplica);
    writer.uuid(element.fromIncarnation);
    writer.u64(element.term);
    writer.u64(element.round);
    writer.u64(element.commit);
    writer.u8(element.flags);
  }
}

function readHeartbeatBatchElements(reader: ByteReader): Of<'heartbeatBatch'>['elements'] {
  const count = readCount(reader, 16384, 'elements');
  const elements: Of<'heartbeatBatch'>['elements'][number][] = [];
  for (let position = 0; position < count; position++)
    elements.push({
      partitionId: reader.uuid() as PartitionId,
      toIncarnation: reader.uuid() as Incarnation,
      fromReplica: reader.u64() as ReplicaId,
      fromIncarnation: reader.uuid() as Incarnation,
      term: reader.u64() as Term,
      round: reader.u64(),
      commit: reader.u64() as LogIndex,
      flags: reader.u8(),
    });
  return elements;
}

function writeHeartbeatBatch(writer: ByteWriter, message: Of<'heartbeatBatch'>): void {
  writeHeartbeatBatchElements(writer, message.elements);
}

function readHeartbeatBatch(reader: ByteReader, hasTlvBlock: boolean): Of<'heartbeatBatch'> {
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'heartbeatBatch',
    elements: readHeartbeatBatchElements(reader),
  };
}

function writeHeartbeatBatchResponseElements(writer: ByteWriter, elements: Of<'heartbeatBatchResponse'>['elements']): void {
  writeCount(writer, elements.length, 16384);
  for (const element of elements) {
    writer.uuid(element.partitionId);
    writer.uuid(element.toIncarnation);
    writer.u64(element.fromReplica);
    writer.uuid(element.fromIncarnation);
    writer.u64(element.term);
    writer.u64(element.round);
    writer.u8(element.flags);
    writer.u16(element.electionTimeoutMsMin);
  }
}

function readHeartbeatBatchResponseElements(reader: ByteReader): Of<'heartbeatBatchResponse'>['elements'] {
  const count = readCount(reader, 16384, 'elements');
  const elements: Of<'heartbeatBatchResponse'>['elements'][number][] = [];
  for (let position = 0; position < count; position++)
    elements.push({
      partitionId: reader.uuid() as PartitionId,
      toIncarnation: reader.uuid() as Incarnation,
      fromReplica: reader.u64() as ReplicaId,
      fromIncarnation: reader.uuid() as Incarnation,
      term: reader.u64() as Term,
      round: reader.u64(),
      flags: reader.u8(),
      electionTimeoutMsMin: reader.u16(),
    });
  return elements;
}

function writeHeartbeatBatchResponse(writer: ByteWriter, message: Of<'heartbeatBatchResponse'>): void {
  writer.u32(message.deviceLatencyUs);
  writeHeartbeatBatchResponseElements(writer, message.elements);
}

function readHeartbeatBatchResponse(reader: ByteReader, hasTlvBlock: boolean): Of<'heartbeatBatchResponse'> {
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'heartbeatBatchResponse',
    deviceLatencyUs: reader.u32(),
    elements: readHeartbeatBatchResponseElements(reader),
  };
}

function writeTimeoutNow(writer: ByteWriter, message: Of<'timeoutNow'>): void {
  writer.uuid(message.partitionId);
  writer.uuid(message.toIncarnation);
  writer.u64(message.fromReplica);
  writer.uuid(message.fromIncarnation);
  writer.u64(message.term);
}

function readTimeoutNow(reader: ByteReader, hasTlvBlock: boolean): Of<'timeoutNow'> {
  const partitionId = reader.uuid() as PartitionId;
  const toIncarnation = reader.uuid() as Incarnation;
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'timeoutNow',
    partitionId,
    toIncarnation,
    fromReplica: reader.u64() as ReplicaId,
    fromIncarnation: reader.uuid() as Incarnation,
    term: reader.u64() as Term,
  };
}

function writeRepairRequestEvidence(writer: ByteWriter, elements: Of<'repairRequest'>['evidence']): void {
  writeCount(writer, elements.length, 32);
  for (const element of elements) {
    writer.u64(element.index);
    writer.u64(element.term);
  }
}

function readRepairRequestEvidence(reader: ByteReader): Of<'repairRequest'>['evidence'] {
  const count = readCount(reader, 32, 'evidence');
  const elements: Of<'repairRequest'>['evidence'][number][] = [];
  for (let position = 0; position < count; position++)
    elements.push({
      index: reader.u64() as LogIndex,
      term: reader.u64() as Term,
    });
  return elements;
}

function writeRepairRequest(writer: ByteWriter, message: Of<'repairRequest'>): void {
  writer.uuid(message.partitionId);
  writer.uuid(message.toIncarnation);
  writer.u64(message.fromReplica);
  writer.uuid(message.fromIncarnation);
  writer.u64(message.sequence);
  writer.u64(message.firstIndex);
  writer.u64(message.lastIndex);
  writeRepairRequestEvidence(writer, message.evidence);
}

function readRepairRequest(reader: ByteReader, hasTlvBlock: boolean): Of<'repairRequest'> {
  const partitionId = reader.uuid() as PartitionId;
  const toIncarnation = reader.uuid() as Incarnation;
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'repairRequest',
    partitionId,
    toIncarnation,
    fromReplica: reader.u64() as ReplicaId,
    fromIncarnation: reader.uuid() as Incarnation,
    sequence: reader.u64(),
    firstIndex: reader.u64() as LogIndex,
    lastIndex: reader.u64() as LogIndex,
    evidence: readRepairRequestEvidence(reader),
  };
}
const repairResponseOutcomeValues = ['entries', 'noEvidence', 'damaged', 'busy'] as const;

function writeRepairResponse(writer: ByteWriter, message: Of<'repairResponse'>): void {
  writer.uuid(message.partitionId);
  writer.uuid(message.toIncarnation);
  writer.u64(message.fromReplica);
  writer.uuid(message.fromIncarnation);
  writer.u64(message.sequence);
  writeEnum(writer, repairResponseOutcomeValues, message.outcome);
  writer.u64(message.evidenceIndex);
  writer.u64(message.evidenceTerm);
  writer.u64(message.firstIndex);
  writer.u32(message.entryCount);
  writer.raw(message.entries);
}

function readRepairResponse(reader: ByteReader, hasTlvBlock: boolean): Of<'repairResponse'> {
  const partitionId = reader.uuid() as PartitionId;
  const toIncarnation = reader.uuid() as Incarnation;
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'repairResponse',
    partitionId,
    toIncarnation,
    fromReplica: reader.u64() as ReplicaId,
    fromIncarnation: reader.uuid() as Incarnation,
    sequence: reader.u64(),
    outcome: readEnum(reader, repairResponseOutcomeValues, 'outcome'),
    evidenceIndex: reader.u64() as LogIndex,
    evidenceTerm: reader.u64() as Term,
    firstIndex: reader.u64() as LogIndex,
    entryCount: reader.u32(),
    entries: reader.rest(),
  };
}

function writeAppendRequestEntries(writer: ByteWriter, elements: Of<'appendRequest'>['entries']): void {
  writeCount(writer, elements.length, 65535);
  for (const element of elements) {
    writer.lengthPrefixed(element.metadata);
    writer.lengthPrefixed(element.payload);
  }
}

function readAppendRequestEntries(reader: ByteReader): Of<'appendRequest'>['entries'] {
  const count = readCount(reader, 65535, 'entries');
  const elements: Of<'appendRequest'>['entries'][number][] = [];
  for (let position = 0; position < count; position++)
    elements.push({
      metadata: reader.lengthPrefixed(1024),
      payload: reader.lengthPrefixed(4194304),
    });
  return elements;
}

function writeAppendRequest(writer: ByteWriter, message: Of<'appendRequest'>): void {
  writer.u64(message.requestId);
  writer.u32(message.deadlineMs);
  writer.u32(message.routingEpoch);
  writer.uuid(message.partitionId);
  writer.uuid(message.toIncarnation);
  writeAppendRequestEntries(writer, message.entries);
}

function readAppendRequest(reader: ByteReader, hasTlvBlock: boolean): Of<'appendRequest'> {
  const requestId = reader.u64();
  const deadlineMs = reader.u32();
  const routingEpoch = reader.u32();
  const partitionId = reader.uuid() as PartitionId;
  const toIncarnation = reader.uuid() as Incarnation;
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'appendRequest',
    requestId,
    deadlineMs,
    routingEpoch,
    partitionId,
    toIncarnation,
    entries: readAppendRequestEntries(reader),
  };
}
const appendResponseResultsOutcomeValues = ['surelyNot', 'committed', 'unknown'] as const;

function writeAppendResponseResults(writer: ByteWriter, elements: Of<'appendResponse'>['results']): void {
  writeCount(writer, elements.length, 65535);
  for (const element of elements) {
    writer.u16(element.position);
    writer.u32(element.errorCode);
    writeEnum(writer, appendResponseResultsOutcomeValues, element.outcome);
    writer.u64(element.term);
    writer.u64(element.index);
    writer.u64(element.detail);
    writer.lengthPrefixed(element.result);
  }
}

function readAppendResponseResults(reader: ByteReader): Of<'appendResponse'>['results'] {
  const count = readCount(reader, 65535, 'results');
  const elements: Of<'appendResponse'>['results'][number][] = [];
  for (let position = 0; position < count; position++)
    elements.push({
      position: reader.u16(),
      errorCode: reader.u32(),
      outcome: readEnum(reader, appendResponseResultsOutcomeValues, 'outcome'),
      term: reader.u64() as Term,
      index: reader.u64() as LogIndex,
      detail: reader.u64(),
      result: reader.lengthPrefixed(4194304),
    });
  return elements;
}

function writeAppendResponse(writer: ByteWriter, message: Of<'appendResponse'>): void {
  writer.u64(message.requestId);
  writer.u32(message.deadlineMs);
  writer.u32(message.routingEpoch);
  writer.uuid(message.partitionId);
  writer.uuid(message.toIncarnation);
  writeAppendResponseResults(writer, message.results);
}

function readAppendResponse(reader: ByteReader, hasTlvBlock: boolean): Of<'appendResponse'> {
  const requestId = reader.u64();
  const deadlineMs = reader.u32();
  const routingEpoch = reader.u32();
  const partitionId = reader.uuid() as PartitionId;
  const toIncarnation = reader.uuid() as Incarnation;
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'appendResponse',
    requestId,
    deadlineMs,
    routingEpoch,
    partitionId,
    toIncarnation,
    results: readAppendResponseResults(reader),
  };
}

function writeReadIndexRequest(writer: ByteWriter, message: Of<'readIndexRequest'>): void {
  writer.u64(message.requestId);
  writer.u32(message.deadlineMs);
  writer.u32(message.routingEpoch);
  writer.uuid(message.partitionId);
  writer.uuid(message.toIncarnation);
}

function readReadIndexRequest(reader: ByteReader, hasTlvBlock: boolean): Of<'readIndexRequest'> {
  const requestId = reader.u64();
  const deadlineMs = reader.u32();
  const routingEpoch = reader.u32();
  const partitionId = reader.uuid() as PartitionId;
  const toIncarnation = reader.uuid() as Incarnation;
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'readIndexRequest',
    requestId,
    deadlineMs,
    routingEpoch,
    partitionId,
    toIncarnation,
  };
}

function writeReadIndexResponse(writer: ByteWriter, message: Of<'readIndexResponse'>): void {
  writer.u64(message.requestId);
  writer.u32(message.deadlineMs);
  writer.u32(message.routingEpoch);
  writer.uuid(message.partitionId);
  writer.uuid(message.toIncarnation);
  writer.u64(message.term);
  writer.u64(message.index);
}

function readReadIndexResponse(reader: ByteReader, hasTlvBlock: boolean): Of<'readIndexResponse'> {
  const requestId = reader.u64();
  const deadlineMs = reader.u32();
  const routingEpoch = reader.u32();
  const partitionId = reader.uuid() as PartitionId;
  const toIncarnation = reader.uuid() as Incarnation;
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'readIndexResponse',
    requestId,
    deadlineMs,
    routingEpoch,
    partitionId,
    toIncarnation,
    term: reader.u64() as Term,
    index: reader.u64() as LogIndex,
  };
}
const readRequestConsistencyValues = ['linearizable', 'snapshotOnly'] as const;

function writeReadRequest(writer: ByteWriter, message: Of<'readRequest'>): void {
  writer.u64(message.requestId);
  writer.u32(message.deadlineMs);
  writer.u32(message.routingEpoch);
  writer.uuid(message.partitionId);
  writer.uuid(message.toIncarnation);
  writeEnum(writer, readRequestConsistencyValues, message.consistency);
  writer.lengthPrefixed(message.query);
}

function readReadRequest(reader: ByteReader, hasTlvBlock: boolean): Of<'readRequest'> {
  const requestId = reader.u64();
  const deadlineMs = reader.u32();
  const routingEpoch = reader.u32();
  const partitionId = reader.uuid() as PartitionId;
  const toIncarnation = reader.uuid() as Incarnation;
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'readRequest',
    requestId,
    deadlineMs,
    routingEpoch,
    partitionId,
    toIncarnation,
    consistency: readEnum(reader, readRequestConsistencyValues, 'consistency'),
    query: reader.lengthPrefixed(4194304),
  };
}
const readResponseConsistencyValues = ['linearizable', 'snapshotOnly'] as const;

function writeReadResponse(writer: ByteWriter, message: Of<'readResponse'>): void {
  writer.u64(message.requestId);
  writer.u32(message.deadlineMs);
  writer.u32(message.routingEpoch);
  writer.uuid(message.partitionId);
  writer.uuid(message.toIncarnation);
  writer.u64(message.appliedIndex);
  writeEnum(writer, readResponseConsistencyValues, message.consistency);
  writer.lengthPrefixed(message.result);
}

function readReadResponse(reader: ByteReader, hasTlvBlock: boolean): Of<'readResponse'> {
  const requestId = reader.u64();
  const deadlineMs = reader.u32();
  const routingEpoch = reader.u32();
  const partitionId = reader.uuid() as PartitionId;
  const toIncarnation = reader.uuid() as Incarnation;
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'readResponse',
    requestId,
    deadlineMs,
    routingEpoch,
    partitionId,
    toIncarnation,
    appliedIndex: reader.u64() as LogIndex,
    consistency: readEnum(reader, readResponseConsistencyValues, 'consistency'),
    result: reader.lengthPrefixed(4194304),
  };
}

function writeDescribeRequest(writer: ByteWriter, message: Of<'describeRequest'>): void {
  writer.u64(message.requestId);
  writer.u32(message.deadlineMs);
  writer.u32(message.routingEpoch);
}

function readDescribeRequest(reader: ByteReader, hasTlvBlock: boolean): Of<'describeRequest'> {
  const requestId = reader.u64();
  const deadlineMs = reader.u32();
  const routingEpoch = reader.u32();
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'describeRequest',
    requestId,
    deadlineMs,
    routingEpoch,
  };
}

function writeDescribeResponsePartitionsMembers(writer: ByteWriter, elements: Of<'describeResponse'>['partitions'][number]['members']): void {
  writeCount(writer, elements.length, 64);
  for (const element of elements) {
    writer.u64(element.nodeId);
    writer.text(element.address);
  }
}

function readDescribeResponsePartitionsMembers(reader: ByteReader): Of<'describeResponse'>['partitions'][number]['members'] {
  const count = readCount(reader, 64, 'members');
  const elements: Of<'describeResponse'>['partitions'][number]['members'][number][] = [];
  for (let position = 0; position < count; position++)
    elements.push({
      nodeId: reader.u64() as NodeId,
      address: reader.text(256),
    });
  return elements;
}

function writeDescribeResponsePartitions(writer: ByteWriter, elements: Of<'describeResponse'>['partitions']): void {
  writeCount(writer, elements.length, 16384);
  for (const element of elements) {
    writer.uuid(element.partitionId);
    writer.u64(element.leaderNodeId);
    writer.text(element.leaderAddress);
    writer.u64(element.term);
    writer.u64(element.commit);
    writer.bool(element.isLeader);
    writeDescribeResponsePartitionsMembers(writer, element.members);
  }
}

function readDescribeResponsePartitions(reader: ByteReader): Of<'describeResponse'>['partitions'] {
  const count = readCount(reader, 16384, 'partitions');
  const elements: Of<'describeResponse'>['partitions'][number][] = [];
  for (let position = 0; position < count; position++)
    elements.push({
      partitionId: reader.uuid() as PartitionId,
      leaderNodeId: reader.u64() as NodeId,
      leaderAddress: reader.text(256),
      term: reader.u64() as Term,
      commit: reader.u64() as LogIndex,
      isLeader: reader.bool(),
      members: readDescribeResponsePartitionsMembers(reader),
    });
  return elements;
}

function writeDescribeResponse(writer: ByteWriter, message: Of<'describeResponse'>): void {
  writer.u64(message.requestId);
  writer.u32(message.deadlineMs);
  writer.u32(message.routingEpoch);
  writer.u64(message.nodeId);
  writer.uuid(message.bootId);
  writeDescribeResponsePartitions(writer, message.partitions);
}

function readDescribeResponse(reader: ByteReader, hasTlvBlock: boolean): Of<'describeResponse'> {
  const requestId = reader.u64();
  const deadlineMs = reader.u32();
  const routingEpoch = reader.u32();
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'describeResponse',
    requestId,
    deadlineMs,
    routingEpoch,
    nodeId: reader.u64() as NodeId,
    bootId: reader.uuid() as Incarnation,
    partitions: readDescribeResponsePartitions(reader),
  };
}
const errorResponseOutcomeValues = ['surelyNot', 'committed', 'unknown'] as const;

function writeErrorResponse(writer: ByteWriter, message: Of<'errorResponse'>): void {
  writer.u64(message.requestId);
  writer.u32(message.deadlineMs);
  writer.u32(message.routingEpoch);
  writer.u32(message.errorCode);
  writeEnum(writer, errorResponseOutcomeValues, message.outcome);
  writer.u64(message.detail);
  writer.text(message.message);
}

function readErrorResponse(reader: ByteReader, hasTlvBlock: boolean): Of<'errorResponse'> {
  const requestId = reader.u64();
  const deadlineMs = reader.u32();
  const routingEpoch = reader.u32();
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'errorResponse',
    requestId,
    deadlineMs,
    routingEpoch,
    errorCode: reader.u32(),
    outcome: readEnum(reader, errorResponseOutcomeValues, 'outcome'),
    detail: reader.u64(),
    message: reader.text(2048),
  };
}

function writeSnapshotRequest(writer: ByteWriter, message: Of<'snapshotRequest'>): void {
  writer.uuid(message.partitionId);
  writer.uuid(message.toIncarnation);
  writer.u64(message.fromReplica);
  writer.uuid(message.fromIncarnation);
  writer.u64(message.sequence);
  writer.u64(message.minIndex);
  writer.u64(message.baseIndex);
  writer.u64(message.baseTerm);
  writer.u32(message.part);
}

function readSnapshotRequest(reader: ByteReader, hasTlvBlock: boolean): Of<'snapshotRequest'> {
  const partitionId = reader.uuid() as PartitionId;
  const toIncarnation = reader.uuid() as Incarnation;
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'snapshotRequest',
    partitionId,
    toIncarnation,
    fromReplica: reader.u64() as ReplicaId,
    fromIncarnation: reader.uuid() as Incarnation,
    sequence: reader.u64(),
    minIndex: reader.u64() as LogIndex,
    baseIndex: reader.u64() as LogIndex,
    baseTerm: reader.u64() as Term,
    part: reader.u32(),
  };
}
const snapshotResponseOutcomeValues = ['part', 'none', 'gone', 'damaged', 'busy'] as const;

function writeSnapshotResponse(writer: ByteWriter, message: Of<'snapshotResponse'>): void {
  writer.uuid(message.partitionId);
  writer.uuid(message.toIncarnation);
  writer.u64(message.fromReplica);
  writer.uuid(message.fromIncarnation);
  writer.u64(message.sequence);
  writeEnum(writer, snapshotResponseOutcomeValues, message.outcome);
  writer.u64(message.baseIndex);
  writer.u64(message.baseTerm);
  writer.u32(message.part);
  writer.raw(message.content);
}

function readSnapshotResponse(reader: ByteReader, hasTlvBlock: boolean): Of<'snapshotResponse'> {
  const partitionId = reader.uuid() as PartitionId;
  const toIncarnation = reader.uuid() as Incarnation;
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'snapshotResponse',
    partitionId,
    toIncarnation,
    fromReplica: reader.u64() as ReplicaId,
    fromIncarnation: reader.uuid() as Incarnation,
    sequence: reader.u64(),
    outcome: readEnum(reader, snapshotResponseOutcomeValues, 'outcome'),
    baseIndex: reader.u64() as LogIndex,
    baseTerm: reader.u64() as Term,
    part: reader.u32(),
    content: reader.rest(),
  };
}

function writeHello(writer: ByteWriter, message: Of<'hello'>): void {
  writer.u8(message.catalogMajor);
  writer.u8(message.catalogMinor);
  writer.u32(message.bodyBytesMax);
  writer.u32(message.extensions);
  writer.u8(message.forwardParseMaxMinor);
  writer.uuid(message.clusterId);
  writer.u64(message.nodeId);
  writer.uuid(message.bootId);
  writer.u64(message.targetNodeId);
  writer.text(message.address);
}

function readHello(reader: ByteReader, hasTlvBlock: boolean): Of<'hello'> {
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'hello',
    catalogMajor: reader.u8(),
    catalogMinor: reader.u8(),
    bodyBytesMax: reader.u32(),
    extensions: reader.u32(),
    forwardParseMaxMinor: reader.u8(),
    clusterId: reader.uuid() as ClusterId,
    nodeId: reader.u64() as NodeId,
    bootId: reader.uuid() as Incarnation,
    targetNodeId: reader.u64() as NodeId,
    address: reader.text(256),
  };
}

function writeHelloAccepted(writer: ByteWriter, message: Of<'helloAccepted'>): void {
  writer.u8(message.catalogMajor);
  writer.u8(message.catalogMinor);
  writer.u32(message.bodyBytesMax);
  writer.u32(message.extensions);
  writer.u8(message.forwardParseMaxMinor);
  writer.uuid(message.clusterId);
  writer.u64(message.nodeId);
  writer.uuid(message.bootId);
  writer.u64(message.targetNodeId);
  writer.text(message.address);
}

function readHelloAccepted(reader: ByteReader, hasTlvBlock: boolean): Of<'helloAccepted'> {
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'helloAccepted',
    catalogMajor: reader.u8(),
    catalogMinor: reader.u8(),
    bodyBytesMax: reader.u32(),
    extensions: reader.u32(),
    forwardParseMaxMinor: reader.u8(),
    clusterId: reader.uuid() as ClusterId,
    nodeId: reader.u64() as NodeId,
    bootId: reader.uuid() as Incarnation,
    targetNodeId: reader.u64() as NodeId,
    address: reader.text(256),
  };
}

function writeGoodbye(writer: ByteWriter, message: Of<'goodbye'>): void {
  writer.u32(message.errorCode);
  writer.text(message.message);
}

function readGoodbye(reader: ByteReader, hasTlvBlock: boolean): Of<'goodbye'> {
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'goodbye',
    errorCode: reader.u32(),
    message: reader.text(2048),
  };
}

function writePingRequest(writer: ByteWriter, message: Of<'pingRequest'>): void {
  writer.u64(message.requestId);
  writer.u32(message.deadlineMs);
  writer.u32(message.routingEpoch);
}

function readPingRequest(reader: ByteReader, hasTlvBlock: boolean): Of<'pingRequest'> {
  const requestId = reader.u64();
  const deadlineMs = reader.u32();
  const routingEpoch = reader.u32();
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'pingRequest',
    requestId,
    deadlineMs,
    routingEpoch,
  };
}

function writePingResponse(writer: ByteWriter, message: Of<'pingResponse'>): void {
  writer.u64(message.requestId);
  writer.u32(message.deadlineMs);
  writer.u32(message.routingEpoch);
}

function readPingResponse(reader: ByteReader, hasTlvBlock: boolean): Of<'pingResponse'> {
  const requestId = reader.u64();
  const deadlineMs = reader.u32();
  const routingEpoch = reader.u32();
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'pingResponse',
    requestId,
    deadlineMs,
    routingEpoch,
  };
}

function writeCreateReplicaRequest(writer: ByteWriter, message: Of<'createReplicaRequest'>): void {
  writer.u64(message.requestId);
  writer.u32(message.deadlineMs);
  writer.u32(message.routingEpoch);
  writer.uuid(message.partitionId);
  writer.u64(message.replicaId);
  writer.uuid(message.incarnation);
  writer.lengthPrefixed(message.configuration);
  writer.u64(message.asOfIndex);
  writer.u64(message.term);
}

function readCreateReplicaRequest(reader: ByteReader, hasTlvBlock: boolean): Of<'createReplicaRequest'> {
  const requestId = reader.u64();
  const deadlineMs = reader.u32();
  const routingEpoch = reader.u32();
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'createReplicaRequest',
    requestId,
    deadlineMs,
    routingEpoch,
    partitionId: reader.uuid() as PartitionId,
    replicaId: reader.u64() as ReplicaId,
    incarnation: reader.uuid() as Incarnation,
    configuration: reader.lengthPrefixed(65536),
    asOfIndex: reader.u64() as LogIndex,
    term: reader.u64() as Term,
  };
}

function writeCreateReplicaResponse(writer: ByteWriter, message: Of<'createReplicaResponse'>): void {
  writer.u64(message.requestId);
  writer.u32(message.deadlineMs);
  writer.u32(message.routingEpoch);
}

function readCreateReplicaResponse(reader: ByteReader, hasTlvBlock: boolean): Of<'createReplicaResponse'> {
  const requestId = reader.u64();
  const deadlineMs = reader.u32();
  const routingEpoch = reader.u32();
  if (hasTlvBlock) skipTlvBlock(reader);
  return {
    kind: 'createReplicaResponse',
    requestId,
    deadlineMs,
    routingEpoch,
  };
}

/** All messages whose layout is that of their row. */
export const wireCode: Readonly<
  Record<'preVoteRequest' | 'voteRequest' | 'voteResponse' | 'appendEntries' | 'appendRejected' | 'durabilityAck' | 'heartbeatBatch' | 'heartbeatBatchResponse' | 'timeoutNow' | 'repairRequest' | 'repairResponse' | 'appendRequest' | 'appendResponse' | 'readIndexRequest' | 'readIndexResponse' | 'readRequest' | 'readResponse' | 'describeRequest' | 'describeResponse' | 'errorResponse' | 'snapshotRequest' | 'snapshotResponse' | 'hello' | 'helloAccepted' | 'goodbye' | 'pingRequest' | 'pingResponse' | 'createReplicaRequest' | 'createReplicaResponse', MessageCode>
> = {
  preVoteRequest: { write: writePreVoteRequest, read: readPreVoteRequest },
  voteRequest: { write: writeVoteRequest, read: readVoteRequest },
  voteResponse: { write: writeVoteResponse, read: readVoteResponse },
  appendEntries: { write: writeAppendEntries, read: readAppendEntries },
  appendRejected: { write: writeAppendRejected, read: readAppendRejected },
  durabilityAck: { write: writeDurabilityAck, read: readDurabilityAck },
  heartbeatBatch: { write: writeHeartbeatBatch, read: readHeartbeatBatch },
  heartbeatBatchResponse: { write: writeHeartbeatBatchResponse, read: readHeartbeatBatchResponse },
  timeoutNow: { write: writeTimeoutNow, read: readTimeoutNow },
  repairRequest: { write: writeRepairRequest, read: readRepairRequest },
  repairResponse: { write: writeRepairResponse, read: readRepairResponse },
  appendRequest: { write: writeAppendRequest, read: readAppendRequest },
  appendResponse: { write: writeAppendResponse, read: readAppendResponse },
  readIndexRequest: { write: writeReadIndexRequest, read: readReadIndexRequest },
  readIndexResponse: { write: writeReadIndexResponse, read: readReadIndexResponse },
  readRequest: { write: writeReadRequest, read: readReadRequest },
  readResponse: { write: writeReadResponse, read: readReadResponse },
  describeRequest: { write: writeDescribeRequest, read: readDescribeRequest },
  describeResponse: { write: writeDescribeResponse, read: readDescribeResponse },
  errorResponse: { write: writeErrorResponse, read: readErrorResponse },
  snapshotRequest: { write: writeSnapshotRequest, read: readSnapshotRequest },
  snapshotResponse: { write: writeSnapshotResponse, read: readSnapshotResponse },
  hello: { write: writeHello, read: readHello },
  helloAccepted: { write: writeHelloAccepted, read: readHelloAccepted },
  goodbye: { write: writeGoodbye, read: readGoodbye },
  pingRequest: { write: writePingRequest, read: readPingRequest },
  pingResponse: { write: writePingResponse, read: readPingResponse },
  createReplicaRequest: { write: writeCreateReplicaRequest, read: readCreateReplicaRequest },
  createReplicaResponse: { write: writeCreateReplicaResponse, read: readCreateReplicaResponse },
};
