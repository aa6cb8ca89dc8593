/** What a data directory proves about entries, as a message and back. */
import { create } from '@bufbuild/protobuf';
import { ClustorError } from '../base/errors.ts';
import { incarnation, logIndex, nodeId, replicaId, term, type LogIndex } from '../base/ids.ts';
import type { Configuration, Member as ConfiguredMember } from '../base/membership.ts';
import type {
  DirectoryEvidence,
  EntryEvidence,
  EntryFinding,
  SnapshotEvidence,
} from '../storage/entry-evidence.ts';
import type { Plain } from './admin-client.ts';
import { memberFields } from './status-message.ts';
import {
  EntryFindingSchema,
  EntryInSnapshotSchema,
  EvidenceConfigurationSchema,
  EvidencePlaceSchema,
  EvidenceResponseSchema,
  EvidenceTermsSchema,
  HeldEntrySchema,
  LedgerProofSchema,
  MemberSchema,
  type EntryFinding as EntryFindingMessage,
  type EntryInSnapshot,
  type EvidenceConfiguration,
  type EvidencePlace,
  type EvidenceResponse,
  type HeldEntry,
  type Member,
} from './generated/clustor/admin/v1/admin_pb.ts';

interface Place {
  readonly index: number;
  readonly term: number;
}

/** Evidence as a message. */
export function evidenceMessage(evidence: DirectoryEvidence): EvidenceResponse {
  const { replica, doubt } = evidence;
  return create(EvidenceResponseSchema, {
    clusterId: evidence.clusterId,
    nodeId: BigInt(evidence.nodeId),
    ...(replica === undefined
      ? {}
      : { replicaId: BigInt(replica.replicaId), incarnation: replica.incarnation }),
    ...(doubt === undefined ? {} : { doubt }),
    commitIndex: BigInt(evidence.commitIndex),
    configurations: evidence.configurations.map((row) =>
      create(EvidenceConfigurationSchema, {
        term: BigInt(row.term),
        index: BigInt(row.index),
        members: row.members.map((member) => create(MemberSchema, memberFields(member))),
        outgoingMembers: row.outgoingMembers.map((member) =>
          create(MemberSchema, memberFields(member)),
        ),
      }),
    ),
    baseIndex: BigInt(evidence.baseIndex),
    terms: evidence.terms.map((row) =>
      create(EvidenceTermsSchema, {
        firstIndex: BigInt(row.firstIndex),
        lastIndex: BigInt(row.lastIndex),
        term: BigInt(row.term),
      }),
    ),
    committed: evidence.committed.map(placeMessage),
    findings: [...evidence.findings.values()].map(findingMessage),
  });
}

/** Evidence of a message. @throws ClustorError `CLUSTOR_FORMAT_UNSUPPORTED` for one that says what none of this version would. */
export function evidenceOf(message: Plain<EvidenceResponse>): DirectoryEvidence {
  const { replicaId: replica, incarnation: life } = message;
  const findings = message.findings.map((row): [LogIndex, EntryFinding] => {
    const finding = findingOf(row);
    return [finding.index, finding];
  });
  return {
    clusterId: message.clusterId,
    nodeId: message.nodeId,
    replica:
      replica === undefined || life === undefined
        ? undefined
        : { replicaId: replicaId(replica), incarnation: incarnation(life) },
    doubt: message.doubt,
    commitIndex: logIndex(message.commitIndex),
    configurations: message.configurations.map(configurationOf),
    baseIndex: logIndex(message.baseIndex),
    terms: message.terms.map((row) => ({
      firstIndex: logIndex(row.firstIndex),
      lastIndex: logIndex(row.lastIndex),
      term: term(row.term),
    })),
    committed: message.committed.map(placeOf),
    findings: new Map(findings),
  };
}

function placeMessage({ index, term: inTerm }: Place): EvidencePlace {
  return create(EvidencePlaceSchema, { index: BigInt(index), term: BigInt(inTerm) });
}

function placeOf(place: Plain<EvidencePlace> | undefined): {
  readonly index: LogIndex;
  readonly term: ReturnType<typeof term>;
} {
  if (place === undefined) throw strange('a place is missing');
  return { index: logIndex(place.index), term: term(place.term) };
}

function configurationOf(row: Plain<EvidenceConfiguration>): Configuration {
  const memberOf = (member: Plain<Member>): ConfiguredMember => ({
    replicaId: replicaId(member.replicaId),
    nodeId: nodeId(member.nodeId),
    incarnation: incarnation(member.incarnation),
    role: oneOf(['voter', 'learner', 'observer'], member.role),
    addresses: member.addresses,
  });
  return {
    term: term(row.term),
    index: logIndex(row.index),
    members: row.members.map(memberOf),
    outgoingMembers: row.outgoingMembers.map(memberOf),
  };
}

function findingMessage(finding: EntryFinding): EntryFindingMessage {
  const index = BigInt(finding.index);
  switch (finding.kind) {
    case 'held':
      return create(EntryFindingSchema, {
        index,
        finding: { case: 'held', value: heldMessage(finding) },
      });
    case 'inSnapshot':
      return create(EntryFindingSchema, {
        index,
        finding: { case: 'inSnapshot', value: inSnapshotMessage(finding) },
      });
    case 'notHeld':
      return create(EntryFindingSchema, {
        index,
        finding: { case: 'notHeld', value: finding.reason },
      });
  }
}

function findingOf({ index: at, finding }: Plain<EntryFindingMessage>): EntryFinding {
  const index = logIndex(at);
  switch (finding.case) {
    case 'held':
      return heldOf(index, finding.value);
    case 'inSnapshot':
      return inSnapshotOf(index, finding.value);
    case 'notHeld':
      return { kind: 'notHeld', index, reason: finding.value };
    default:
      throw strange(`entry ${index} has no finding`);
  }
}

function heldMessage(held: EntryEvidence): HeldEntry {
  const { ledger } = held;
  return create(HeldEntrySchema, {
    term: BigInt(held.term),
    segmentSeq: BigInt(held.segmentSeq),
    block: BigInt(held.block),
    offset: BigInt(held.offset),
    bytes: BigInt(held.bytes),
    crc: held.crc,
    hasLeaf: held.hasLeaf,
    segmentMac: held.segmentMac,
    ledger: create(LedgerProofSchema, {
      generation: BigInt(ledger.generation),
      flushSeq: BigInt(ledger.flushSeq),
      offset: BigInt(ledger.offset),
      copies: ledger.copies,
      isCarriedOver: ledger.isCarriedOver,
      record: placeMessage(ledger.record),
      recordCommitIndex: BigInt(ledger.record.commitIndex),
      coversSegmentSeq: BigInt(ledger.covers.segmentSeq),
      coversEndOffset: BigInt(ledger.covers.endOffset),
      ...(ledger.movedBy === undefined
        ? {}
        : {
            movedByGeneration: BigInt(ledger.movedBy.generation),
            movedByFlushSeq: BigInt(ledger.movedBy.flushSeq),
          }),
    }),
  });
}

function heldOf(index: LogIndex, held: Plain<HeldEntry>): EntryEvidence {
  const { ledger } = held;
  if (ledger === undefined) throw strange(`entry ${index} has no ledger record`);
  const { movedByGeneration: generation, movedByFlushSeq: flushSeq } = ledger;
  return {
    kind: 'held',
    index,
    term: term(held.term),
    segmentSeq: held.segmentSeq,
    block: held.block,
    offset: held.offset,
    bytes: held.bytes,
    crc: held.crc,
    hasLeaf: held.hasLeaf,
    segmentMac: oneOf(['good', 'open', 'none', 'unchecked'], held.segmentMac),
    ledger: {
      generation: ledger.generation,
      flushSeq: ledger.flushSeq,
      offset: ledger.offset,
      copies: oneOf(['both', 'firstOnly', 'secondOnly'], ledger.copies),
      isCarriedOver: ledger.isCarriedOver,
      record: { ...placeOf(ledger.record), commitIndex: logIndex(ledger.recordCommitIndex) },
      covers: { segmentSeq: ledger.coversSegmentSeq, endOffset: ledger.coversEndOffset },
      ...(generation === undefined || flushSeq === undefined
        ? {}
        : { movedBy: { generation, flushSeq } }),
    },
  };
}

function inSnapshotMessage({ base, snapshot }: SnapshotEvidence): EntryInSnapshot {
  return create(EntryInSnapshotSchema, {
    base: placeMessage(base),
    baseGeneration: BigInt(base.generation),
    baseFlushSeq: BigInt(base.flushSeq),
    snapshot: placeMessage(snapshot),
    contentHash: snapshot.contentHash,
    createdMs: BigInt(Math.floor(snapshot.createdMs)),
    bytes: BigInt(snapshot.bytes),
    parts: BigInt(snapshot.parts),
  });
}

function inSnapshotOf(index: LogIndex, row: Plain<EntryInSnapshot>): SnapshotEvidence {
  const { baseGeneration: generation, baseFlushSeq: flushSeq } = row;
  const { contentHash, createdMs, bytes, parts } = row;
  return {
    kind: 'inSnapshot',
    index,
    base: { ...placeOf(row.base), generation, flushSeq },
    snapshot: { ...placeOf(row.snapshot), contentHash, createdMs, bytes, parts },
  };
}

function oneOf<const Word extends string>(words: readonly Word[], said: string): Word {
  const known = words.find((word) => word === said);
  if (known === undefined) throw strange(`"${said}" is none of ${words.join(', ')}`);
  return known;
}

function strange(what: string): ClustorError {
  return new ClustorError(
    'CLUSTOR_FORMAT_UNSUPPORTED',
    `the evidence of a node cannot be understood: ${what}; ask it with the same version`,
  );
}
