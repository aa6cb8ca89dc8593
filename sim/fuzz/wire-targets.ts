/** What comes over the wire: streams of frames, bodies of every kind, handshakes, entries. */
import { ByteReader, ByteWriter } from '../../src/base/bytes.ts';
import { crc32c } from '../../src/base/crc32c.ts';
import { incarnation, logIndex, nodeId, partitionId, replicaId, term } from '../../src/base/ids.ts';
import type { Member } from '../../src/base/membership.ts';
import { nextBelow, pick, type PrngState } from '../../src/base/prng.ts';
import { durabilityCauses, durabilityModes } from '../../src/base/durability-mode.ts';
import type { ErrorCode } from '../../src/base/error-codes.ts';
import { ClustorError } from '../../src/base/errors.ts';
import {
  checkFrames,
  entryFrameOverheadBytes,
  EntryFrameWriter,
  entryHeaderBytes,
  entryTrailerBytes,
  frameBytesAt,
  frameIndex,
  frameIsSystem,
  frameMetadataEnd,
  frameMetadataStart,
  framePayloadEnd,
  framePayloadStart,
  frameTerm,
} from '../../src/codec/entry-frame.ts';
import {
  createEntryMetadata,
  ingestMetadataBytes,
  readEntryMetadata,
  writeEntryMetadata,
  writeIngestMetadata,
} from '../../src/codec/entry-metadata.ts';
import { FrameAssembler } from '../../src/codec/frame-assembler.ts';
import { negotiate, ownHandshake } from '../../src/codec/handshake.ts';
import {
  configurationOfFrame,
  readConfiguration,
  readSystemEntry,
  writeConfiguration,
  writeSystemEntry,
  type SystemEntry,
} from '../../src/codec/system-entry.ts';
import { bodyBytesMax, wireCatalog, type MessageKind } from '../../src/codec/wire-catalog.ts';
import { decodeBody, encodeMessage, type WireMessage } from '../../src/codec/wire-messages.ts';
import { bodyOf, randomBytes, randomMessage, randomSafe, randomUuid } from './random-message.ts';
import { accepted, demand, demandEqual, refused, type FuzzTarget, type Verdict } from './target.ts';

/** What decoders of the wire answer with. */
export const wireCodes: readonly ErrorCode[] = [
  'CLUSTOR_WIRE_BODY_TOO_SHORT',
  'CLUSTOR_WIRE_BODY_TOO_LARGE',
  'CLUSTOR_WIRE_BAD_VALUE',
  'CLUSTOR_WIRE_UNKNOWN_MESSAGE',
  'CLUSTOR_WIRE_UNKNOWN_FIELD',
  'CLUSTOR_WIRE_EXPERIMENTAL_FIELD',
];
const kinds = wireCatalog.map(({ kind }) => kind);
const partition = partitionId('10111213-1415-1617-1819-1a1b1c1d1e1f');
const firstIndex = logIndex(7);
const prevTerm = term(3);

/** The targets of this file. */
export const wireTargets: readonly FuzzTarget[] = [
  {
    name: 'frames',
    codes: wireCodes,
    inputsPerRound: 10,
    sample: (random) => {
      const writer = new ByteWriter();
      writer.u32(nextBelow(random, 0x1_0000_0000));
      const count = 1 + nextBelow(random, 5);
      for (let frame = 0; frame < count; frame++)
        encodeMessage(randomMessage(random, pick(random, kinds)), writer);
      return writer.take();
    },
    run: runFrames,
  },
  bodyTarget('bodies', kinds),
  bodyTarget('heartbeats', ['heartbeatBatch', 'heartbeatBatchResponse']),
  {
    name: 'handshake',
    codes: wireCodes,
    inputsPerRound: 10,
    sample: (random) =>
      bodyOf({
        kind: pick(random, ['hello', 'helloAccepted'] as const),
        ...ownHandshake({
          clusterId: randomUuid(random) as ReturnType<typeof own>['clusterId'],
          nodeId: nodeId(randomSafe(random)),
          bootId: incarnation(randomUuid(random)),
          address: pick(random, ['', '127.0.0.1:7400', '[::1]:1']),
        }),
        targetNodeId: nodeId(randomSafe(random)),
      }),
    run: runHandshake,
  },
  {
    name: 'entries',
    isSealed: true,
    codes: wireCodes,
    inputsPerRound: 20,
    sample: (random) => framesOf(random, 1 + nextBelow(random, 4)),
    reseal: (bytes) => resealFrames(bytes, 1),
    run: runEntries,
  },
  {
    name: 'entry-metadata',
    codes: ['CLUSTOR_WIRE_BAD_VALUE', 'CLUSTOR_WIRE_BODY_TOO_SHORT'],
    inputsPerRound: 20,
    sample: metadataOf,
    run: runMetadata,
  },
  {
    name: 'system-entries',
    codes: wireCodes,
    inputsPerRound: 20,
    sample: (random) => written((writer) => writeSystemEntry(writer, randomSystemEntry(random))),
    run: (input) => {
      const entry = readSystemEntry(input, 0, input.length);
      if (entry.kind === 'unknown') return refused('unknown');
      const again = written((writer) => writeSystemEntry(writer, entry));
      demandEqual(
        readSystemEntry(again, 0, again.length),
        entry,
        'an entry reads as it was written',
      );
      return accepted(entry.kind);
    },
  },
  {
    name: 'configurations',
    codes: wireCodes,
    inputsPerRound: 20,
    sample: (random) =>
      written((writer) =>
        writeConfiguration(writer, {
          term: term(randomSafe(random)),
          index: logIndex(randomSafe(random)),
          members: members(random),
          outgoingMembers: members(random),
        }),
      ),
    run: (input) => {
      const configuration = readConfiguration(new ByteReader(input));
      const again = written((writer) => writeConfiguration(writer, configuration));
      demandEqual(
        readConfiguration(new ByteReader(again)),
        configuration,
        'a configuration reads as it was written',
      );
      return accepted(`${Math.min(2, configuration.outgoingMembers.length)}`);
    },
  },
];

const own = (): ReturnType<typeof ownHandshake> =>
  ownHandshake({
    clusterId: partition as unknown as ReturnType<typeof ownHandshake>['clusterId'],
    nodeId: nodeId(1),
    bootId: incarnation(partition),
  });

function bodyTarget(name: string, wanted: readonly MessageKind[]): FuzzTarget {
  return {
    name,
    codes: wireCodes,
    inputsPerRound: 20,
    sample: (random) => bodyOf(randomMessage(random, pick(random, wanted))),
    run: (input) => {
      const message = decodeBody(input, { forwardCompat: false });
      demandEqual(
        decodeBody(input, { forwardCompat: true }),
        message,
        'who skips what is new reads the same of what is not',
      );
      demandRoundTrip(message);
      return accepted(message.kind);
    },
  };
}

function demandRoundTrip(message: WireMessage): void {
  demandEqual(
    decodeBody(bodyOf(message), { forwardCompat: false }),
    message,
    'a message reads as it was written',
  );
}

/** Four bytes say where the stream is cut; however it is, the same bodies come out of it. */
function runFrames(input: Uint8Array): Verdict {
  const cut = new ByteReader(input).u32();
  const stream = input.subarray(4);
  const chunks: Uint8Array[] = [];
  for (let at = 0, state = cut; at < stream.length;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const next = Math.min(stream.length, at + 1 + ((state >>> 16) % ((cut % 97) + 1)));
    chunks.push(stream.subarray(at, next));
    at = next;
  }
  const whole = assembled([stream]);
  demandEqual(assembled(chunks), whole, 'a stream means the same however it is cut');
  for (const body of whole.bodies) decodeBody(body, { forwardCompat: true });
  if (whole.code !== undefined || whole.bodies.length === 0) return refused(whole.code ?? 'none');
  return accepted(`${Math.min(3, whole.bodies.length)}`);
}

function assembled(chunks: readonly Uint8Array[]): {
  readonly bodies: readonly Uint8Array[];
  readonly code: ErrorCode | undefined;
} {
  const assembler = new FrameAssembler(bodyBytesMax);
  const bodies: Uint8Array[] = [];
  try {
    for (const chunk of chunks) assembler.push(chunk, (body) => bodies.push(body.slice()));
  } catch (error) {
    if (error instanceof ClustorError && wireCodes.includes(error.code))
      return { bodies, code: error.code };
    throw error;
  }
  return { bodies, code: undefined };
}

function runHandshake(input: Uint8Array): Verdict {
  const message = decodeBody(input, { forwardCompat: true });
  if (message.kind !== 'hello' && message.kind !== 'helloAccepted') return refused('another kind');
  const here = negotiate(own(), message);
  if (here.kind === 'refused') return refused(here.code);
  const { kind: _kind, targetNodeId: _target, ...remote } = message;
  demandEqual(negotiate(remote, own()), here, 'both sides come to the same');
  demand(here.bodyBytesMax <= bodyBytesMax, 'nobody agrees to more than this side takes');
  return accepted(`${here.forwardCompat}`);
}

/** The first byte says how many entries there should be. */
function runEntries(input: Uint8Array): Verdict {
  const count = new ByteReader(input).u8();
  const bytes = input.subarray(1);
  const single = frameBytesAt(bytes, 0, bytes.length);
  demand(single >= -1 && single <= bytes.length, 'a frame ends where its bytes do, or before');
  const check = checkFrames(bytes, { partitionId: partition, firstIndex, count, prevTerm });
  if (check.kind === 'bad') return refused(check.reason.replaceAll(/\d+/g, '#'));
  const writer = new EntryFrameWriter(partition);
  let offset = 0;
  for (let position = 0; position < count; position++) {
    const size = frameBytesAt(bytes, offset, bytes.length);
    demand(frameIndex(bytes, offset) === firstIndex + position, 'indexes follow each other');
    const metadataRange = {
      start: frameMetadataStart(bytes, offset),
      end: frameMetadataEnd(bytes, offset),
    };
    const payload = bytes.subarray(
      framePayloadStart(bytes, offset),
      framePayloadEnd(bytes, offset),
    );
    const metadata = bytes.subarray(metadataRange.start, metadataRange.end);
    const target = new Uint8Array(entryFrameOverheadBytes + metadata.length + payload.length);
    const end = writer.write(target, new DataView(target.buffer), 0, {
      term: frameTerm(bytes, offset),
      index: frameIndex(bytes, offset),
      isSystem: frameIsSystem(bytes, offset),
      metadata,
      payload,
    });
    const isPlain = size === end;
    demand(
      !isPlain || Buffer.compare(target, bytes.subarray(offset, offset + size)) === 0,
      'a frame is written as it was read',
    );
    offset += size;
  }
  for (const at of check.systemOffsets) configurationOfFrame(bytes, at);
  return accepted(`${check.systemOffsets.length > 0} ${Math.min(3, check.termRuns.length)}`);
}

function framesOf(random: PrngState, count: number): Uint8Array {
  const writer = new EntryFrameWriter(partition);
  const bytes = new Uint8Array(16 * 1024);
  const view = new DataView(bytes.buffer);
  bytes[0] = count;
  let offset = 1;
  let entryTerm = prevTerm + nextBelow(random, 2);
  for (let position = 0; position < count; position++) {
    entryTerm += nextBelow(random, 2);
    const isSystem = nextBelow(random, 4) === 0;
    offset = writer.write(bytes, view, offset, {
      term: term(entryTerm),
      index: logIndex(firstIndex + position),
      isSystem,
      metadata: isSystem ? new Uint8Array(0) : metadataOf(random),
      payload: isSystem
        ? written((own) => writeSystemEntry(own, randomSystemEntry(random)))
        : randomBytes(random, nextBelow(random, 60)),
    });
  }
  return bytes.slice(0, offset);
}

/** Makes the CRCs of frames fit, as far as their lengths lead. */
export function resealFrames(bytes: Uint8Array, start: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = start; at + entryHeaderBytes + entryTrailerBytes <= bytes.length;) {
    const end = at + entryHeaderBytes + view.getUint32(at + 4, true);
    if (end + entryTrailerBytes > bytes.length) return;
    view.setUint32(end, crc32c(bytes, at, end), true);
    at = end + Math.max(entryTrailerBytes, view.getUint32(at + 8, true));
  }
}

function metadataOf(random: PrngState): Uint8Array {
  const ingest = new Uint8Array(ingestMetadataBytes);
  writeIngestMetadata(ingest, randomSafe(random));
  const has = (): boolean => nextBelow(random, 2) === 0;
  return written((writer) => {
    if (has()) writer.raw(ingest);
    writeEntryMetadata(writer, {
      ...(has() ? { clientId: randomBytes(random, 16), sequence: randomSafe(random) } : {}),
      ...(has() ? { opaqueKey: randomBytes(random, nextBelow(random, 65)) } : {}),
      ...(has() ? { ackedThrough: randomSafe(random) } : {}),
      ...(has() ? { firstSeenCommit: randomSafe(random) } : {}),
    });
  });
}

function runMetadata(input: Uint8Array): Verdict {
  const read = createEntryMetadata();
  readEntryMetadata(input, { start: 0, end: input.length }, read);
  const again = createEntryMetadata();
  const bytes = written((writer) => {
    if (read.ingestMs >= 0) {
      const ingest = new Uint8Array(ingestMetadataBytes);
      writeIngestMetadata(ingest, read.ingestMs);
      writer.raw(ingest);
    }
    writeEntryMetadata(writer, {
      ...(read.clientKey === undefined
        ? {}
        : { clientId: Buffer.from(read.clientKey, 'latin1'), sequence: read.sequence }),
      ...(read.opaqueKey === undefined ? {} : { opaqueKey: Buffer.from(read.opaqueKey, 'latin1') }),
      ...(read.ackedThrough < 0 ? {} : { ackedThrough: read.ackedThrough }),
      ...(read.firstSeenCommit < 0 ? {} : { firstSeenCommit: read.firstSeenCommit }),
    });
  });
  readEntryMetadata(bytes, { start: 0, end: bytes.length }, again);
  demandEqual(again, read, 'metadata reads as it was written');
  return accepted(`${read.clientKey !== undefined} ${read.opaqueKey !== undefined}`);
}

function randomSystemEntry(random: PrngState): Exclude<SystemEntry, { kind: 'unknown' }> {
  switch (nextBelow(random, 4)) {
    case 0:
      return { kind: 'noOp' };
    case 1:
      return {
        kind: 'membershipChange',
        phase: pick(random, ['learners', 'joint', 'final']),
        oldMembers: members(random),
        newMembers: members(random),
        routingEpoch: nextBelow(random, 100),
        placementDigest: randomBytes(random, 32),
      };
    case 2:
      return {
        kind: 'membershipRollback',
        reason: 'because €',
        failingNodes: [nodeId(randomSafe(random))],
        overrideRef: '',
        oldMembers: members(random),
      };
    default:
      return {
        kind: 'durabilityTransition',
        fromMode: pick(random, durabilityModes),
        toMode: pick(random, durabilityModes),
        effectiveIndex: logIndex(randomSafe(random)),
        epoch: nextBelow(random, 1000),
        cause: pick(random, durabilityCauses),
      };
  }
}

/** Up to three members. */
export function members(random: PrngState): readonly Member[] {
  return Array.from({ length: nextBelow(random, 4) }, (_, at): Member => ({
    replicaId: replicaId(at + 1),
    nodeId: nodeId(randomSafe(random)),
    incarnation: incarnation(randomUuid(random)),
    role: pick(random, ['voter', 'learner', 'observer']),
    addresses: pick(random, [[], ['db1:7400'], ['db1:7400', '[::1]:7400']]),
  }));
}

/** What a writer wrote. */
export function written(write: (writer: ByteWriter) => void): Uint8Array {
  const writer = new ByteWriter();
  write(writer);
  return writer.take();
}
