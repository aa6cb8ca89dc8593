/**
 * What a snapshot is: `manifest.json` in its folder, and what nodes tell each other of one (specification §7).
 *
 * Canonical JSON (RFC 8785: names in sorted order, no white space), integers that may be wide as decimal text:
 *
 * ```
 * baseIndex, baseTerm   the entry up to which the snapshot reaches
 * chunks                [{ bytes, sha256 }] parts of the one stream, in order; the digest is that of the plaintext
 * configuration         the one in force at that entry
 * contentHash           SHA-256 of the canonical form without `contentHash` and `encryption`
 * createdMs             by the wall clock of the node that made it
 * encryption            null, or { dekEpoch, wrappedKey }: the snapshot's own key, wrapped by the node whose files these are
 * format                1
 * knownTerm             a term in which the entries were known to be committed
 * machineBytes          what the state machine gave, behind …
 * partitionId
 * stateBytes            … so many bytes of replicated state that is not the machine's
 * ```
 * Two nodes whose snapshots have one content hash hold the same bytes, whatever each of them sealed them with. A reader takes
 * nothing but the one canonical form: what it does not know, or knows otherwise, is not this format.
 */
import { hexDecode, hexEncode, isSameBytes, utf8Decode, utf8Encode } from '../base/bytes.ts';
import { ClustorError, messageOf } from '../base/errors.ts';
import {
  incarnation,
  logIndex,
  nodeId,
  partitionId,
  replicaId,
  term,
  type LogIndex,
  type PartitionId,
  type Term,
} from '../base/ids.ts';
import type { Configuration, Member, MemberRole } from '../base/membership.ts';
import { wrappedSnapshotKeyBytes, type WrappedSnapshotKey } from './snapshot-key.ts';

/** Where in the log a snapshot stands: it holds the effect of every entry up to this one. */
export interface SnapshotPlace {
  readonly index: LogIndex;
  readonly term: Term;
}

/** One part of a snapshot's stream. */
export interface SnapshotPart {
  /** Bytes of its plaintext. */
  readonly bytes: number;
  /** SHA-256 of its plaintext, 64 hexadecimal digits. */
  readonly digest: string;
}

/** What a snapshot holds, whoever has its files. */
export interface SnapshotContent extends SnapshotPlace {
  readonly partitionId: PartitionId;
  /** In force at the place. */
  readonly configuration: Configuration;
  /** The term of the replica that made it: its entries were known to be committed by then. */
  readonly knownTerm: Term;
  /** By the wall clock of the node that made it. */
  readonly createdMs: number;
  /** So many bytes of the stream are the runtime's replicated state. */
  readonly stateBytes: number;
  /** So many bytes behind them are the machine's. */
  readonly machineBytes: number;
  readonly parts: readonly SnapshotPart[];
}

/** A whole snapshot. */
export interface SnapshotManifest extends SnapshotContent {
  /** SHA-256 of the content, 64 hexadecimal digits. */
  readonly contentHash: string;
  /** How its files are sealed; `undefined` for plain ones. */
  readonly encryption: WrappedSnapshotKey | undefined;
}

/** Hashes with SHA-256. */
export type Sha256 = (bytes: Uint8Array) => Uint8Array;

/** Name of the file in a snapshot's folder. */
export const manifestFileName = 'manifest.json';
/** Bytes of a part at most; all but the last one have as many. */
export const snapshotPartBytes: number = 1024 * 1024;
/** Parts of a snapshot at most: their files have six digits. */
export const snapshotPartsMax = 999_999;
/** Bytes of a manifest at most. */
export const manifestBytesMax: number = 128 * 1024 * 1024;

const formatVersion = 1;
const membersMax = 64;
const addressesMax = 16;
const addressBytesMax = 256;
const roles: readonly MemberRole[] = ['voter', 'learner', 'observer'];
const wideNumber = /^(?:0|[1-9][0-9]{0,15})$/;
const digestText = /^[0-9a-f]{64}$/;

/** Whether both stand at the same place. */
export function isSamePlace(left: SnapshotPlace, right: SnapshotPlace): boolean {
  return left.index === right.index && left.term === right.term;
}

/** The hash that {@link SnapshotManifest.contentHash} must be. */
export function contentHashOf(content: SnapshotContent, sha256: Sha256): string {
  const { head, tail } = contentFields(content);
  return hexEncode(sha256(utf8Encode(JSON.stringify({ ...head, ...tail }))));
}

/** The file's bytes. */
export function encodeManifest(manifest: SnapshotManifest): Uint8Array {
  const { head, tail } = contentFields(manifest);
  const { contentHash, encryption } = manifest;
  const { createdMs, ...rest } = tail;
  const fields = {
    ...head,
    contentHash,
    createdMs,
    encryption:
      encryption === undefined
        ? null
        : { dekEpoch: encryption.dekEpoch, wrappedKey: hexEncode(encryption.wrappedKey) },
    ...rest,
  };
  return utf8Encode(JSON.stringify(fields));
}

/** Names in sorted order; `contentHash` and `encryption` sort between the two halves. */
function contentFields(content: SnapshotContent): {
  readonly head: Readonly<Record<string, unknown>>;
  readonly tail: Readonly<Record<string, unknown>>;
} {
  return {
    head: {
      baseIndex: content.index.toString(),
      baseTerm: content.term.toString(),
      chunks: content.parts.map(({ bytes, digest }) => ({ bytes, sha256: digest })),
      configuration: configurationFields(content.configuration),
    },
    tail: {
      createdMs: content.createdMs.toString(),
      format: formatVersion,
      knownTerm: content.knownTerm.toString(),
      machineBytes: content.machineBytes.toString(),
      partitionId: content.partitionId,
      stateBytes: content.stateBytes.toString(),
    },
  };
}

function configurationFields(configuration: Configuration): Readonly<Record<string, unknown>> {
  return {
    index: configuration.index.toString(),
    members: configuration.members.map(memberFields),
    outgoingMembers: configuration.outgoingMembers.map(memberFields),
    term: configuration.term.toString(),
  };
}

function memberFields(member: Member): Readonly<Record<string, unknown>> {
  return {
    addresses: member.addresses,
    incarnation: member.incarnation,
    nodeId: member.nodeId.toString(),
    replicaId: member.replicaId.toString(),
    role: member.role,
  };
}

/** Where bytes of a manifest come from, for messages, and how its hash is checked. */
export interface ManifestSource {
  readonly path: string;
  readonly sha256: Sha256;
}

/** Reads a manifest and checks it by its hash. @throws ClustorError `CLUSTOR_INTEGRITY`, `CLUSTOR_FORMAT_UNSUPPORTED`. */
export function decodeManifest(
  bytes: Uint8Array,
  { path, sha256 }: ManifestSource,
): SnapshotManifest {
  const broken = (what: string): ClustorError =>
    new ClustorError('CLUSTOR_INTEGRITY', `${path}: ${what}`);
  if (bytes.length > manifestBytesMax) throw broken('larger than a manifest may be');
  let parsed: unknown;
  try {
    parsed = JSON.parse(utf8Decode(bytes));
  } catch (error) {
    throw broken(`not readable: ${messageOf(error)}`);
  }
  if (!isRecord(parsed)) throw broken('not an object');
  const { format } = parsed;
  if (typeof format !== 'number') throw broken('no format');
  if (format !== formatVersion)
    throw new ClustorError(
      'CLUSTOR_FORMAT_UNSUPPORTED',
      `${path} has format ${format}, this version reads ${formatVersion}`,
    );
  let manifest: SnapshotManifest;
  try {
    manifest = manifestOf(parsed);
  } catch (error) {
    throw broken(messageOf(error));
  }
  if (!isSameBytes(encodeManifest(manifest), bytes)) throw broken('not in its canonical form');
  if (contentHashOf(manifest, sha256) !== manifest.contentHash)
    throw broken('its content hash does not fit what it says');
  return manifest;
}

function manifestOf(fields: Readonly<Record<string, unknown>>): SnapshotManifest {
  const manifest: SnapshotManifest = {
    partitionId: partitionId(textOf(fields['partitionId'], 'partitionId')),
    index: logIndex(wideOf(fields['baseIndex'], 'baseIndex')),
    term: term(wideOf(fields['baseTerm'], 'baseTerm')),
    configuration: configurationOf(fields['configuration']),
    knownTerm: term(wideOf(fields['knownTerm'], 'knownTerm')),
    createdMs: wideOf(fields['createdMs'], 'createdMs'),
    stateBytes: wideOf(fields['stateBytes'], 'stateBytes'),
    machineBytes: wideOf(fields['machineBytes'], 'machineBytes'),
    parts: listOf(fields['chunks'], 'chunks', snapshotPartsMax).map(partOf),
    contentHash: digestOf(fields['contentHash']),
    encryption: encryptionOf(fields['encryption']),
  };
  const bytes = manifest.parts.reduce((sum, part) => sum + part.bytes, 0);
  if (manifest.knownTerm < manifest.term) throw misfit('knownTerm is before baseTerm');
  if (bytes !== manifest.stateBytes + manifest.machineBytes)
    throw misfit('the chunks do not add up to stateBytes and machineBytes');
  return manifest;
}

function partOf(value: unknown): SnapshotPart {
  const fields = recordOf(value, 'a chunk');
  const { bytes } = fields;
  if (!isWhole(bytes) || bytes < 1 || bytes > snapshotPartBytes)
    throw misfit(`a chunk has 1 to ${snapshotPartBytes} bytes`);
  return { bytes, digest: digestOf(fields['sha256']) };
}

function configurationOf(value: unknown): Configuration {
  const fields = recordOf(value, 'configuration');
  return {
    term: term(wideOf(fields['term'], 'term')),
    index: logIndex(wideOf(fields['index'], 'index')),
    members: listOf(fields['members'], 'members', membersMax).map(memberOf),
    outgoingMembers: listOf(fields['outgoingMembers'], 'outgoingMembers', membersMax).map(memberOf),
  };
}

function memberOf(value: unknown): Member {
  const fields = recordOf(value, 'a member');
  const role = roles.find((known) => known === fields['role']);
  if (role === undefined) throw misfit('a member has an unknown role');
  return {
    replicaId: replicaId(wideOf(fields['replicaId'], 'replicaId')),
    nodeId: nodeId(wideOf(fields['nodeId'], 'nodeId')),
    incarnation: incarnation(textOf(fields['incarnation'], 'incarnation')),
    role,
    addresses: listOf(fields['addresses'], 'addresses', addressesMax).map((address) =>
      textOf(address, 'an address', addressBytesMax),
    ),
  };
}

function encryptionOf(value: unknown): WrappedSnapshotKey | undefined {
  if (value === null) return undefined;
  const fields = recordOf(value, 'encryption');
  const { dekEpoch } = fields;
  if (!isWhole(dekEpoch) || dekEpoch < 1 || dekEpoch > 0xffff_ffff)
    throw misfit('dekEpoch is no key epoch');
  const wrappedKey = hexDecode(textOf(fields['wrappedKey'], 'wrappedKey'));
  if (wrappedKey?.length !== wrappedSnapshotKeyBytes) throw misfit('wrappedKey is no wrapped key');
  return { dekEpoch, wrappedKey };
}

function digestOf(value: unknown): string {
  const text = textOf(value, 'a digest');
  if (!digestText.test(text)) throw misfit('a digest has 64 hexadecimal digits');
  return text;
}

function wideOf(value: unknown, name: string): number {
  const number = wideNumber.test(textOf(value, name)) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw misfit(`${name} is no whole number`);
  return number;
}

function textOf(value: unknown, name: string, lengthMax = 256): string {
  if (typeof value !== 'string' || value.length > lengthMax) throw misfit(`${name} is no text`);
  return value;
}

function listOf(value: unknown, name: string, countMax: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length > countMax)
    throw misfit(`${name} is no list of at most ${countMax}`);
  return value;
}

function recordOf(value: unknown, name: string): Readonly<Record<string, unknown>> {
  if (!isRecord(value)) throw misfit(`${name} is no object`);
  return value;
}

function misfit(what: string): ClustorError {
  return new ClustorError('CLUSTOR_INTEGRITY', what);
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
