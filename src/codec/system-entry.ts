/**
 * Entries of the system's own, and the one encoding of members and configurations that entries, ledger and manifests use.
 *
 * First payload byte = id: 0x00 NoOp; 0x01 MembershipChange {phase u8, old_members[], new_members[], routing_epoch u32,
 * placement_digest 32}; 0x02 MembershipRollback {reason string, failing_nodes u16 × u64, override_ref string,
 * old_members[]}; 0x03 DurabilityTransition {from_mode u8, to_mode u8, effective_index u64, durability_mode_epoch u32,
 * cause u8}. Member = {replica_id u64, node_id u64, incarnation 16, role u8, addresses u16 × string}.
 * An id that is not known here is never skipped: whoever meets one stops applying.
 */
import { ByteReader, type ByteWriter } from '../base/bytes.ts';
import {
  durabilityCauses,
  durabilityModes,
  type DurabilityCause,
  type DurabilityMode,
} from '../base/durability-mode.ts';
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, NodeId } from '../base/ids.ts';
import type { Configuration, Member, MemberRole } from '../base/membership.ts';
import { numbered, readLayout, writeLayout, type Layout, type LayoutSource } from './layout.ts';
import {
  frameIndex,
  frameIsSystem,
  framePayloadEnd,
  framePayloadStart,
  frameTerm,
} from './entry-frame.ts';

/** Phases of a membership change (specification §3.1). */
export type MembershipPhase = 'learners' | 'joint' | 'final';

/** A decoded system entry. */
export type SystemEntry =
  | { readonly kind: 'noOp' }
  | {
      readonly kind: 'membershipChange';
      readonly phase: MembershipPhase;
      readonly oldMembers: readonly Member[];
      readonly newMembers: readonly Member[];
      readonly routingEpoch: number;
      readonly placementDigest: Uint8Array;
    }
  | {
      readonly kind: 'membershipRollback';
      readonly reason: string;
      readonly failingNodes: readonly NodeId[];
      readonly overrideRef: string;
      /** The full list that is in force again. */
      readonly oldMembers: readonly Member[];
    }
  | {
      readonly kind: 'durabilityTransition';
      readonly fromMode: DurabilityMode;
      readonly toMode: DurabilityMode;
      /** The first index whose batch follows the new mode: the one behind this entry. */
      readonly effectiveIndex: LogIndex;
      readonly epoch: number;
      readonly cause: DurabilityCause;
    }
  | { readonly kind: 'unknown'; readonly id: number };

/** A change of the durability mode. */
export type DurabilityTransition = Extract<SystemEntry, { readonly kind: 'durabilityTransition' }>;

/** Payload of the term-start entry. */
export const noOpPayload: Uint8Array = Uint8Array.of(0x00);

const durabilityTransitionId = 0x03;
const membersMax = 64;
const addressesMax = 16;
const addressBytesMax = 256;
const reasonBytesMax = 1024;
const roles: readonly MemberRole[] = ['voter', 'learner', 'observer'];
/** A member, in entries and in the ledger. */
export const memberLayout: Layout = [
  { name: 'replicaId', type: 'u64', note: 'the replica' },
  { name: 'nodeId', type: 'u64', note: 'the node that hosts it' },
  { name: 'incarnation', type: 'uuid', note: 'which life of the replica' },
  { name: 'role', type: 'enum', values: numbered(roles), note: '0 voter, 1 learner, 2 observer' },
  {
    name: 'addresses',
    type: 'texts',
    countMax: addressesMax,
    bytesMax: addressBytesMax,
    note: 'where the node is reached',
  },
];

/** A configuration, in the ledger and on the wire. */
export const configurationLayout: Layout = [
  { name: 'term', type: 'u64', note: 'term of the entry that brought it' },
  { name: 'index', type: 'u64', note: 'index of that entry; 0 for the first one' },
  { name: 'members', type: 'rows', countMax: membersMax, of: memberLayout, note: 'who is in it' },
  {
    name: 'outgoingMembers',
    type: 'rows',
    countMax: membersMax,
    of: memberLayout,
    note: 'who was in the one before, in a joint phase',
  },
];
const source: LayoutSource = { what: 'a member', unknownCode: 'CLUSTOR_WIRE_UNKNOWN_FIELD' };
const phases: readonly MembershipPhase[] = ['learners', 'joint', 'final'];

/** Reads the system entry in `bytes[start, end)`. */
export function readSystemEntry(bytes: Uint8Array, start: number, end: number): SystemEntry {
  const reader = new ByteReader(bytes, start, end);
  const id = reader.u8();
  if (id === 0x00) return { kind: 'noOp' };
  if (id === 0x02) return readRollback(reader);
  if (id === durabilityTransitionId) return readTransition(reader);
  if (id !== 0x01) return { kind: 'unknown', id };
  const phase = phases[reader.u8()];
  if (phase === undefined)
    throw new ClustorError('CLUSTOR_WIRE_UNKNOWN_FIELD', 'an unknown phase of a membership change');
  const oldMembers = readMembers(reader);
  const newMembers = readMembers(reader);
  return {
    kind: 'membershipChange',
    phase,
    oldMembers,
    newMembers,
    routingEpoch: reader.u32(),
    placementDigest: reader.take(32),
  };
}

/**
 * The configuration that the whole frame at `offset` brings, if it is an entry of that kind. @throws ClustorError for a
 * malformed one.
 */
export function configurationOfFrame(bytes: Uint8Array, offset: number): Configuration | undefined {
  if (!frameIsSystem(bytes, offset)) return undefined;
  const start = framePayloadStart(bytes, offset);
  const entry = readSystemEntry(bytes, start, framePayloadEnd(bytes, offset));
  const place = { term: frameTerm(bytes, offset), index: frameIndex(bytes, offset) };
  if (entry.kind === 'membershipRollback')
    return { ...place, members: entry.oldMembers, outgoingMembers: [] };
  if (entry.kind !== 'membershipChange') return undefined;
  const { phase, newMembers, oldMembers } = entry;
  return { ...place, members: newMembers, outgoingMembers: phase === 'joint' ? oldMembers : [] };
}

/** Whether the whole frame at `offset` changes the durability mode: no batch crosses it (specification §5.2). */
export function isFenceFrame(bytes: Uint8Array, offset: number): boolean {
  return (
    frameIsSystem(bytes, offset) &&
    bytes[framePayloadStart(bytes, offset)] === durabilityTransitionId
  );
}

/** Writes a system entry's payload. */
export function writeSystemEntry(
  writer: ByteWriter,
  entry: Exclude<SystemEntry, { kind: 'unknown' }>,
): void {
  if (entry.kind === 'noOp') {
    writer.u8(0x00);
    return;
  }
  if (entry.kind === 'membershipRollback') {
    writer.u8(0x02);
    writer.text(entry.reason);
    writer.u16(entry.failingNodes.length);
    for (const node of entry.failingNodes) writer.u64(node);
    writer.text(entry.overrideRef);
    writeMembers(writer, entry.oldMembers);
    return;
  }
  if (entry.kind === 'durabilityTransition') {
    writer.u8(durabilityTransitionId);
    writer.u8(durabilityModes.indexOf(entry.fromMode));
    writer.u8(durabilityModes.indexOf(entry.toMode));
    writer.u64(entry.effectiveIndex);
    writer.u32(entry.epoch);
    writer.u8(durabilityCauses.indexOf(entry.cause));
    return;
  }
  writer.u8(0x01);
  writer.u8(phases.indexOf(entry.phase));
  writeMembers(writer, entry.oldMembers);
  writeMembers(writer, entry.newMembers);
  writer.u32(entry.routingEpoch);
  writer.raw(entry.placementDigest);
}

/** Writes a configuration. */
export function writeConfiguration(writer: ByteWriter, configuration: Configuration): void {
  writeLayout(writer, configurationLayout, configuration);
}

/** Reads a configuration. @throws ClustorError `CLUSTOR_WIRE_*`. */
export function readConfiguration(reader: ByteReader): Configuration {
  return readLayout(reader, configurationLayout, source) as unknown as Configuration;
}

function readRollback(reader: ByteReader): SystemEntry {
  const reason = reader.text(reasonBytesMax);
  const count = reader.u16();
  if (count > membersMax)
    throw new ClustorError(
      'CLUSTOR_WIRE_BAD_VALUE',
      `a rollback names at most ${membersMax} failing nodes`,
    );
  const failingNodes: NodeId[] = [];
  for (let position = 0; position < count; position++) failingNodes.push(reader.u64() as NodeId);
  const overrideRef = reader.text(reasonBytesMax);
  return {
    kind: 'membershipRollback',
    reason,
    failingNodes,
    overrideRef,
    oldMembers: readMembers(reader),
  };
}

function readTransition(reader: ByteReader): SystemEntry {
  const fromMode = durabilityModes[reader.u8()];
  const toMode = durabilityModes[reader.u8()];
  const effectiveIndex = reader.u64() as LogIndex;
  const epoch = reader.u32();
  const cause = durabilityCauses[reader.u8()];
  if (fromMode === undefined || toMode === undefined || cause === undefined)
    throw new ClustorError(
      'CLUSTOR_WIRE_UNKNOWN_FIELD',
      'an unknown mode or cause of a durability transition',
    );
  return { kind: 'durabilityTransition', fromMode, toMode, effectiveIndex, epoch, cause };
}

function writeMembers(writer: ByteWriter, members: readonly Member[]): void {
  writer.u16(members.length);
  for (const member of members) writeLayout(writer, memberLayout, member);
}

function readMembers(reader: ByteReader): Member[] {
  const count = reader.u16();
  if (count > membersMax)
    throw new ClustorError(
      'CLUSTOR_WIRE_BAD_VALUE',
      `a configuration has at most ${membersMax} members`,
    );
  const members: Member[] = [];
  for (let position = 0; position < count; position++)
    members.push(readLayout(reader, memberLayout, source) as unknown as Member);
  return members;
}
