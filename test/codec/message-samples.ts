/** One message of every kind with known values. */
import {
  clusterId,
  incarnation,
  logIndex,
  nodeId,
  partitionId,
  replicaId,
  term,
} from '../../src/base/ids.ts';
import type { MessageKind } from '../../src/codec/wire-catalog.ts';
import type { WireMessage } from '../../src/codec/wire-messages.ts';

const partition = {
  partitionId: partitionId('10111213-1415-1617-1819-1a1b1c1d1e1f'),
  toIncarnation: incarnation('20212223-2425-2627-2829-2a2b2c2d2e2f'),
};
const sender = {
  fromReplica: replicaId(3),
  fromIncarnation: incarnation('30313233-3435-3637-3839-3a3b3c3d3e3f'),
};
const request = { requestId: 258, deadlineMs: 1000, routingEpoch: 1 };
const hello = {
  catalogMajor: 1,
  catalogMinor: 0,
  bodyBytesMax: 4_194_304,
  extensions: 1,
  forwardParseMaxMinor: 0,
  clusterId: clusterId('40414243-4445-4647-4849-4a4b4c4d4e4f'),
  nodeId: nodeId(2),
  bootId: incarnation('50515253-5455-5657-5859-5a5b5c5d5e5f'),
  targetNodeId: nodeId(1),
  address: 'OK',
};

/** A message of every kind. */
export const messageSamples: {
  readonly [Kind in MessageKind]: Extract<WireMessage, { readonly kind: Kind }>;
} = {
  preVoteRequest: {
    kind: 'preVoteRequest',
    ...partition,
    ...sender,
    term: term(7),
    lastIndex: logIndex(300),
    lastTerm: term(6),
    flags: 1,
  },
  preVoteResponse: {
    kind: 'preVoteResponse',
    ...partition,
    ...sender,
    term: term(42),
    voteGranted: true,
    highRtt: true,
  },
  voteRequest: {
    kind: 'voteRequest',
    ...partition,
    ...sender,
    term: term(7),
    lastIndex: logIndex(300),
    lastTerm: term(6),
    flags: 0,
  },
  voteResponse: { kind: 'voteResponse', ...partition, ...sender, term: term(7), voteGranted: true },
  appendEntries: {
    kind: 'appendEntries',
    ...partition,
    ...sender,
    term: term(7),
    prevIndex: logIndex(300),
    prevTerm: term(6),
    commit: logIndex(299),
    flags: 0,
    entryCount: 2,
    entries: Uint8Array.of(0xca, 0xfe),
  },
  appendRejected: {
    kind: 'appendRejected',
    ...partition,
    ...sender,
    term: term(7),
    rejectedPrevIndex: logIndex(300),
    lastIndex: logIndex(280),
    conflictTerm: term(5),
    conflictFirstIndex: logIndex(270),
    ledgerSeq: 12,
  },
  durabilityAck: {
    kind: 'durabilityAck',
    ...partition,
    replicaId: replicaId(3),
    lastFsyncedIndex: logIndex(301),
    segmentSeq: 4,
    ioWriterMode: 'Pooled',
    term: term(7),
    incarnation: sender.fromIncarnation,
    ledgerSeq: 13,
    smDurableIndex: logIndex(0),
  },
  heartbeatBatch: {
    kind: 'heartbeatBatch',
    elements: [
      { ...partition, ...sender, term: term(7), round: 9, commit: logIndex(299), flags: 0 },
    ],
  },
  heartbeatBatchResponse: {
    kind: 'heartbeatBatchResponse',
    deviceLatencyUs: 1_500,
    elements: [
      { ...partition, ...sender, term: term(7), round: 9, flags: 2, electionTimeoutMsMin: 300 },
    ],
  },
  timeoutNow: { kind: 'timeoutNow', ...partition, ...sender, term: term(7) },
  appendRequest: {
    kind: 'appendRequest',
    ...request,
    ...partition,
    entries: [{ metadata: Uint8Array.of(5, 1, 0x6b), payload: Uint8Array.of(0x4f, 0x4b) }],
  },
  appendResponse: {
    kind: 'appendResponse',
    ...request,
    ...partition,
    results: [
      {
        position: 0,
        errorCode: 2020,
        term: term(7),
        index: logIndex(301),
        detail: 2,
        result: Uint8Array.of(0x4f, 0x4b),
      },
    ],
  },
  readIndexRequest: { kind: 'readIndexRequest', ...request, ...partition },
  readIndexResponse: {
    kind: 'readIndexResponse',
    ...request,
    ...partition,
    term: term(7),
    index: logIndex(301),
  },
  readRequest: {
    kind: 'readRequest',
    ...request,
    ...partition,
    consistency: 'snapshotOnly',
    query: Uint8Array.of(0x4f, 0x4b),
  },
  readResponse: {
    kind: 'readResponse',
    ...request,
    ...partition,
    appliedIndex: logIndex(301),
    consistency: 'linearizable',
    result: Uint8Array.of(0x4f, 0x4b),
  },
  describeRequest: { kind: 'describeRequest', ...request },
  describeResponse: {
    kind: 'describeResponse',
    ...request,
    nodeId: nodeId(2),
    bootId: hello.bootId,
    partitions: [
      {
        partitionId: partition.partitionId,
        leaderNodeId: nodeId(1),
        leaderAddress: 'OK',
        term: term(7),
        commit: logIndex(301),
        isLeader: false,
        members: [{ nodeId: nodeId(1), address: 'OK' }],
      },
    ],
  },
  errorResponse: {
    kind: 'errorResponse',
    ...request,
    errorCode: 902,
    outcome: 'unknown',
    detail: 0,
    message: 'OK',
  },
  hello: { kind: 'hello', ...hello },
  helloAccepted: { kind: 'helloAccepted', ...hello },
  goodbye: { kind: 'goodbye', errorCode: 5002, message: 'OK' },
  pingRequest: { kind: 'pingRequest', ...request },
  pingResponse: { kind: 'pingResponse', ...request },
  createReplicaRequest: {
    kind: 'createReplicaRequest',
    ...request,
    partitionId: partition.partitionId,
    replicaId: replicaId(3),
    incarnation: sender.fromIncarnation,
    configuration: Uint8Array.of(0xca, 0xfe),
    asOfIndex: logIndex(301),
  },
  createReplicaResponse: { kind: 'createReplicaResponse', ...request },
};
