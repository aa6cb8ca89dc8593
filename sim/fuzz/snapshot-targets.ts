/** What snapshots are made of: manifests, on disks and from peers, and the replicated state in front of the machine's bytes. */
import { ByteReader, ByteWriter, hexEncode, utf8Decode, utf8Encode } from '../../src/base/bytes.ts';
import { durabilityCauses, durabilityModes } from '../../src/base/durability-mode.ts';
import { incarnation, logIndex, partitionId, replicaId, term } from '../../src/base/ids.ts';
import { nextBelow, pick, type PrngState } from '../../src/base/prng.ts';
import { wrappedSnapshotKeyBytes } from '../../src/codec/snapshot-key.ts';
import {
  contentHashOf,
  decodeManifest,
  encodeManifest,
  snapshotPartBytes,
  type SnapshotContent,
  type SnapshotManifest,
} from '../../src/codec/snapshot-manifest.ts';
import { tablePieces } from '../../src/runtime/idempotency-image.ts';
import {
  IdempotencyTable,
  resultLagEntries,
  type IdempotencyBounds,
  type RequestKey,
} from '../../src/runtime/idempotency-table.ts';
import { checkManifest } from '../../src/runtime/snapshot-check.ts';
import type { SnapshotResponse } from '../../src/runtime/snapshot-server.ts';
import {
  decodeSnapshotState,
  encodeSnapshotState,
  type AppliedTransition,
} from '../../src/runtime/snapshot-state.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { randomBytes, randomSafe, randomUuid } from './random-message.ts';
import { accepted, demand, demandEqual, type FuzzTarget, type Verdict } from './target.ts';
import { jsonWords } from './text-targets.ts';
import { members, wireCodes } from './wire-targets.ts';

const partition = partitionId('10111213-1415-1617-1819-1a1b1c1d1e1f');
const sha256 = (bytes: Uint8Array): Uint8Array => nodeCryptography.sha256(bytes);
const source = { path: 'manifest.json', sha256 };
/** So small that tables of samples come to their bounds. */
const bounds: IdempotencyBounds = { rowsMax: 12, bytesMax: 4_000 };

/** The targets of this file. */
export const snapshotTargets: readonly FuzzTarget[] = [
  {
    name: 'snapshot-manifests',
    isSealed: true,
    codes: ['CLUSTOR_INTEGRITY', 'CLUSTOR_FORMAT_UNSUPPORTED'],
    inputsPerRound: 10,
    words: [...jsonWords, '"chunks"', '"encryption"', '{"bytes":1}', '1048577', '"00"', '"voter"'],
    sample: (random) => encodeManifest(manifestOf(random)),
    reseal: resealManifest,
    run: runManifest,
  },
  {
    name: 'snapshot-states',
    codes: ['CLUSTOR_INTEGRITY', 'CLUSTOR_FORMAT_UNSUPPORTED'],
    inputsPerRound: 10,
    sample: (random) =>
      encodeSnapshotState({
        timeMs: randomSafe(random),
        table: tableOf(random),
        transitions: Array.from({ length: nextBelow(random, 3) }, () => transitionOf(random)),
      }),
    run: (input) => {
      const state = decodeSnapshotState(input, bounds);
      const again = encodeSnapshotState(state);
      demandEqual(again, input, 'a state has one form');
      demandEqual(
        encodeSnapshotState(decodeSnapshotState(again, bounds)),
        again,
        'a state reads as it was written',
      );
      return accepted(`${state.transitions.length} ${Math.min(3, state.table.size)}`);
    },
  },
  {
    name: 'idempotency-tables',
    codes: wireCodes,
    inputsPerRound: 20,
    sample: (random) => bytesOf(tableOf(random)),
    run: runTable,
  },
];

function manifestOf(random: PrngState): SnapshotManifest {
  const partBytes = 1 + nextBelow(random, snapshotPartBytes);
  const count = nextBelow(random, 4);
  const digest = (): string => hexEncode(randomBytes(random, 32));
  const parts = Array.from({ length: count }, (_, at) => ({
    bytes: at === count - 1 ? 1 + nextBelow(random, partBytes) : partBytes,
    digest: digest(),
  }));
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
  const stateBytes = nextBelow(random, bytes + 1);
  const ownTerm = nextBelow(random, 1000);
  const content: SnapshotContent = {
    partitionId: pick(random, [partition, partitionId(randomUuid(random))]),
    index: logIndex(randomSafe(random)),
    term: term(ownTerm),
    configuration: {
      term: term(randomSafe(random)),
      index: logIndex(randomSafe(random)),
      members: members(random),
      outgoingMembers: members(random),
    },
    knownTerm: term(ownTerm + nextBelow(random, 3)),
    createdMs: randomSafe(random),
    stateBytes,
    machineBytes: bytes - stateBytes,
    parts,
  };
  const wrappedKey = randomBytes(random, wrappedSnapshotKeyBytes);
  return {
    ...content,
    contentHash: contentHashOf(content, sha256),
    encryption:
      nextBelow(random, 2) === 0 ? undefined : { dekEpoch: 1 + nextBelow(random, 9), wrappedKey },
  };
}

/** Makes the hash fit what a text that is still JSON says, where it has one. */
function resealManifest(bytes: Uint8Array): void {
  try {
    const text = utf8Decode(bytes);
    const mark = '"contentHash":"';
    const at = text.indexOf(mark) + mark.length;
    if (at < mark.length || !/^[0-9a-f]{64}"/.test(text.slice(at))) return;
    const { contentHash: _hash, encryption: _key, ...content } = JSON.parse(text) as Hashed;
    const hash = hexEncode(sha256(utf8Encode(JSON.stringify(content))));
    bytes.set(utf8Encode(hash), utf8Encode(text.slice(0, at)).length);
  } catch {
    // No text, or no JSON.
  }
}

interface Hashed {
  readonly contentHash: unknown;
  readonly encryption: unknown;
}

function runManifest(input: Uint8Array): Verdict {
  const manifest = decodeManifest(input, source);
  demandEqual(encodeManifest(manifest), input, 'a manifest has one form');
  const { index, parts, encryption } = manifest;
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
  demand(bytes === manifest.stateBytes + manifest.machineBytes, 'the parts are the whole stream');
  const answer: SnapshotResponse = {
    kind: 'snapshotResponse',
    partitionId: partition,
    toIncarnation: incarnation(partition),
    fromReplica: replicaId(1),
    fromIncarnation: incarnation(partition),
    sequence: 1,
    outcome: 'part',
    baseIndex: index,
    baseTerm: manifest.term,
    part: 0,
    content: input,
  };
  const wanted = { partitionId: partition, minIndex: logIndex(0), sha256 };
  const check = checkManifest(answer, wanted);
  if (check.kind === 'good') {
    demand(check.manifest.partitionId === partition && index > 0, 'a peer gives what was wanted');
    demand(check.manifest.encryption === undefined, 'keys of a peer are no concern of this node');
  }
  return accepted(`${check.kind} ${parts.length} ${encryption !== undefined}`);
}

/** A table that has seen sessions which confirm, keys that stand alone, and indexes that jump. */
function tableOf(random: PrngState): IdempotencyTable {
  const table = new IdempotencyTable(bounds);
  let index = nextBelow(random, 100);
  for (let count = nextBelow(random, 20); count > 0; count--) {
    index += 1 + nextBelow(random, nextBelow(random, 4) === 0 ? resultLagEntries : 3);
    meet(random, table, index);
  }
  return table;
}

/** One request, as every replica meets it. */
function meet(random: PrngState, table: IdempotencyTable, index: number): void {
  const isSession = nextBelow(random, 3) > 0;
  const sequence = nextBelow(random, 12);
  const key: RequestKey = {
    clientKey: isSession ? pick(random, ['one session', 'another one', '']) : undefined,
    sequence: isSession ? sequence : 0,
    opaqueKey: isSession ? undefined : `key ${nextBelow(random, 9)}`,
    ackedThrough: pick(random, [-1, sequence - 3, sequence]),
    firstSeenCommit: logIndex(Math.max(0, index - nextBelow(random, 9))),
  };
  const digest = nextBelow(random, 3);
  if (table.judge(key, digest).kind !== 'new') return;
  const row = table.record(key, { term: term(1), index: logIndex(index), digest });
  const size = nextBelow(random, 8);
  const result = size === 0 ? undefined : randomBytes(random, 40 * size);
  table.complete(row, result, size === 0 && nextBelow(random, 2) === 0);
}

function transitionOf(random: PrngState): AppliedTransition {
  return {
    term: term(randomSafe(random)),
    index: logIndex(randomSafe(random)),
    transition: {
      kind: 'durabilityTransition',
      fromMode: pick(random, durabilityModes),
      toMode: pick(random, durabilityModes),
      effectiveIndex: logIndex(randomSafe(random)),
      epoch: nextBelow(random, 1000),
      cause: pick(random, durabilityCauses),
    },
  };
}

function bytesOf(table: IdempotencyTable): Uint8Array {
  const writer = new ByteWriter();
  for (const piece of tablePieces(table.image())) writer.raw(piece);
  return writer.take();
}

function tableIn(bytes: Uint8Array): IdempotencyTable {
  const reader = new ByteReader(bytes);
  const steps = IdempotencyTable.reading(reader, bounds);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** What is read is written again as it was, and goes on deciding within its bounds. */
function runTable(input: Uint8Array): Verdict {
  const table = tableIn(input);
  const bytes = bytesOf(table);
  demandEqual(bytesOf(tableIn(bytes)), bytes, 'a table reads as it was written');
  demandEqual(input.subarray(0, bytes.length), bytes, 'a table has one form');
  const { size } = table;
  const rows = table.image().rows;
  const last = rows[rows.length - 1]?.index ?? 0;
  if (last < Number.MAX_SAFE_INTEGER - 10) {
    const key = { clientKey: undefined, sequence: 0, opaqueKey: 'new', ackedThrough: -1 };
    const request = { ...key, firstSeenCommit: logIndex(Number.MAX_SAFE_INTEGER) };
    if (table.judge(request, 1).kind === 'new') {
      table.record(request, { term: term(1), index: logIndex(last + 1), digest: 1 });
      demand(table.size <= bounds.rowsMax, 'a table comes back to its bounds');
    }
  }
  return accepted(`${Math.min(4, size)} ${table.horizon > 0}`);
}
