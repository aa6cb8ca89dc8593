/** One message of every kind with known values, and random ones made from the catalog. */
import { unreachable } from '../../src/base/assert.ts';
import { ByteWriter } from '../../src/base/bytes.ts';
import {
  clusterId,
  incarnation,
  logIndex,
  nodeId,
  partitionId,
  replicaId,
  term,
  uuidFromBytes,
} from '../../src/base/ids.ts';
import { nextBelow, pick, type PrngState } from '../../src/base/prng.ts';
import {
  wireCatalog,
  type FieldRow,
  type MessageKind,
  type MessageRow,
} from '../../src/codec/wire-catalog.ts';
import { encodeMessage, type WireMessage } from '../../src/codec/wire-messages.ts';

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
  repairRequest: {
    kind: 'repairRequest',
    ...partition,
    ...sender,
    sequence: 5,
    firstIndex: logIndex(300),
    lastIndex: logIndex(301),
    evidence: [{ index: logIndex(301), term: term(7) }],
  },
  repairResponse: {
    kind: 'repairResponse',
    ...partition,
    ...sender,
    sequence: 5,
    outcome: 'noEvidence',
    evidenceIndex: logIndex(301),
    evidenceTerm: term(7),
    firstIndex: logIndex(300),
    entryCount: 2,
    entries: Uint8Array.of(0xca, 0xfe),
  },
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

/** The body of a message, without its length prefix. */
export function bodyOf(message: WireMessage): Uint8Array {
  const writer = new ByteWriter();
  encodeMessage(message, writer);
  return writer.take().subarray(4);
}

/** A random message of a row. */
export function randomMessage(prng: PrngState, kind: MessageKind): WireMessage {
  const row = (wireCatalog as readonly MessageRow[]).find((candidate) => candidate.kind === kind)!;
  const values: Record<string, unknown> = { kind };
  if (row.class !== 'oneWay') {
    values['requestId'] = randomSafe(prng);
    values['deadlineMs'] = nextBelow(prng, 0x1_0000_0000);
    values['routingEpoch'] = nextBelow(prng, 0x1_0000_0000);
  }
  if (row.scope === 'partition') {
    values['partitionId'] = randomUuid(prng);
    values['toIncarnation'] = randomUuid(prng);
  }
  for (const field of row.fields) values[field.name] = randomValue(prng, field);
  return values as unknown as WireMessage;
}

function randomValue(prng: PrngState, field: FieldRow): unknown {
  switch (field.type) {
    case 'u8':
    case 'flags8':
      return nextBelow(prng, 0x100);
    case 'u16':
      return nextBelow(prng, 0x1_0000);
    case 'u32':
      return nextBelow(prng, 0x1_0000_0000);
    case 'u64':
    case 'term':
    case 'logIndex':
    case 'nodeId':
    case 'replicaId':
      return randomSafe(prng);
    case 'bool':
      return nextBelow(prng, 2) === 1;
    case 'partitionId':
    case 'incarnation':
    case 'clusterId':
      return randomUuid(prng);
    case 'bytes':
    case 'rest':
      return randomBytes(prng, nextBelow(prng, 40));
    case 'text':
      return Array.from({ length: nextBelow(prng, 20) }, () =>
        pick(prng, ['a', '0', ':', 'é', '€', '𝄞', '\u0000']),
      ).join('');
    case 'enum':
      return pick(prng, field.values);
    case 'array':
      return Array.from({ length: nextBelow(prng, 4) }, () =>
        Object.fromEntries(field.of.map((inner) => [inner.name, randomValue(prng, inner)])),
      );
    default:
      return unreachable(field);
  }
}

/** Small values, the largest one and everything between. */
function randomSafe(prng: PrngState): number {
  const kind = nextBelow(prng, 4);
  if (kind === 0) return nextBelow(prng, 3);
  if (kind === 1) return Number.MAX_SAFE_INTEGER - nextBelow(prng, 2);
  return nextBelow(prng, 0x20_0000) * 0x1_0000_0000 + nextBelow(prng, 0x1_0000_0000);
}

function randomBytes(prng: PrngState, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => nextBelow(prng, 256));
}

function randomUuid(prng: PrngState): string {
  return uuidFromBytes(randomBytes(prng, 16), 0);
}
