/** What keys protect: the key ring, encrypted blocks, and the trailers of segments. */
import { clusterId, nodeId } from '../../src/base/ids.ts';
import { nextBelow, pick, type PrngState } from '../../src/base/prng.ts';
import { EncryptedUnitSealer } from '../../src/codec/encrypted-unit.ts';
import {
  decodeKeyRing,
  encodeKeyRing,
  type KeyRingContent,
} from '../../src/codec/key-ring-format.ts';
import {
  blockBytes,
  unitBlocks,
  unitBlocksMax,
  unitHeaderBytes,
  unitPlainBytesMax,
} from '../../src/codec/segment-format.ts';
import {
  laneBytes,
  segmentTrailerBytes,
  segmentTrailerFault,
  writeSegmentTrailer,
  type SegmentTrailerFields,
  type TrailerMacCheck,
} from '../../src/codec/segment-trailer.ts';
import { cipherTagBytes } from '../../src/ports/cryptography.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { randomBytes, randomSafe, randomUuid } from './random-message.ts';
import { accepted, demand, demandEqual, refused, type FuzzTarget, type Verdict } from './target.ts';
import { jsonWords } from './text-targets.ts';

const key = new Uint8Array(32).fill(7);
const unitNumber = 3;
const sealer = new EncryptedUnitSealer(nodeCryptography.blockCipher(key), {
  clusterId: clusterId('40414243-4445-4647-4849-4a4b4c4d4e4f'),
  nodeId: nodeId(2),
  segmentSeq: 9,
  isEncrypted: true,
  dekEpoch: 1,
  integrityMacEpoch: 1,
  salt: new Uint8Array(16),
  createdMs: 0,
});

/** Segments whose trailers the fuzzer knows, each with how its MAC is looked at. */
const trailed: readonly (readonly [SegmentTrailerFields, TrailerMacCheck])[] = [
  [trailerFields(1), 'none'],
  [trailerFields(2), (input) => nodeCryptography.hmacSha256(key, input)],
];

/** The targets of this file. */
export const keyTargets: readonly FuzzTarget[] = [
  {
    name: 'key-rings',
    codes: ['CLUSTOR_INTEGRITY', 'CLUSTOR_FORMAT_UNSUPPORTED'],
    inputsPerRound: 10,
    words: [...jsonWords, '"epochs"', '"active"', '"decryptOnly"', '"destroyed"', '"hmac"'],
    sample: (random) => encodeKeyRing(ringOf(random), randomBytes(random, 32)),
    run: (input) => {
      const { content, mac } = decodeKeyRing(input, 'keys.json');
      const again = encodeKeyRing(content, mac);
      const read = decodeKeyRing(again, 'keys.json');
      demandEqual(encodeKeyRing(read.content, read.mac), again, 'a ring reads as it was written');
      const active = content.rows.filter(({ state }) => state === 'active');
      demand(active.length === 1, 'one epoch is active');
      return accepted(`${Math.min(4, content.rows.length)}`);
    },
  },
  {
    name: 'encrypted-units',
    codes: [],
    inputsPerRound: 10,
    sample: (random) => {
      const blocks = 1 + nextBelow(random, pick(random, [1, 4, unitBlocksMax]));
      const plainBytes = unitPlainBytesMax(blocks) - nextBelow(random, unitPlainBytesMax(1));
      const unit = new Uint8Array(blocks * blockBytes);
      unit.set(randomBytes(random, plainBytes), unitHeaderBytes);
      const isFirst = nextBelow(random, 2);
      sealer.seal(unit, 0, {
        number: unitNumber,
        plainBytes,
        firstFrame: isFirst === 1 ? 0 : 0xffff,
        flags: isFirst * 2,
      });
      return unit;
    },
    run: runEncryptedUnit,
  },
  {
    name: 'segment-trailers',
    codes: [],
    inputsPerRound: 10,
    sample: (random) => {
      const [fields, mac] = pick(random, trailed);
      return trailerOf(fields, mac);
    },
    run: (input) => {
      const known = trailed.filter(
        ([fields, mac]) => segmentTrailerFault(input, fields, mac) === undefined,
      );
      const [first] = known;
      if (first === undefined) return refused(`${input.length < segmentTrailerBytes}`);
      demand(known.length === 1, 'a trailer is that of one segment');
      const [fields, mac] = first;
      demandEqual(input.subarray(0, blockBytes), trailerOf(fields, mac), 'a trailer has one form');
      return accepted(typeof mac);
    },
  },
];

/** What opens is what was sealed; of what does not, no text is left (KER-7). */
function runEncryptedUnit(input: Uint8Array): Verdict {
  if (input.length < blockBytes) return refused('short');
  const unit = input.slice();
  const [length = 0, firstFrame = 0, flags = 0] = new Uint16Array(input.slice(0, 6).buffer);
  const plainBytes = sealer.open(unit, 0, unitNumber);
  if (plainBytes === 0) {
    const isSame = unit.every((byte, at) => byte === input[at]);
    const text = unit.subarray(unitHeaderBytes, unitHeaderBytes + length);
    demand(isSame || text.every((byte) => byte === 0), 'nothing is left of a text without its tag');
    return refused(`${isSame}`);
  }
  demand(length === plainBytes, 'a unit has as much text as its header says');
  sealer.seal(unit, 0, { number: unitNumber, plainBytes, firstFrame, flags });
  const end = unitHeaderBytes + plainBytes + cipherTagBytes;
  demandEqual(unit.slice(0, end), input.slice(0, end), 'what opens is what was sealed');
  return accepted(`${flags} ${unitBlocks(plainBytes)}`);
}

function ringOf(random: PrngState): KeyRingContent {
  const count = 1 + nextBelow(random, 4);
  return {
    clusterId: randomUuid(random),
    nodeId: randomSafe(random),
    firstSegmentSeq: randomSafe(random),
    firstLedgerGeneration: randomSafe(random),
    rows: Array.from({ length: count }, (_, at) => {
      const isDestroyed = at < count - 1 && nextBelow(random, 2) === 0;
      const wrapped = (): Uint8Array => randomBytes(random, isDestroyed ? 0 : 60);
      return {
        epoch: at + 1,
        state: at === count - 1 ? 'active' : isDestroyed ? 'destroyed' : 'decryptOnly',
        createdMs: randomSafe(random),
        kekId: isDestroyed ? '' : `kek-${at}`,
        wrappedDataKey: wrapped(),
        wrappedMacKey: wrapped(),
      };
    }),
  };
}

function trailerFields(segmentSeq: number): SegmentTrailerFields {
  return {
    segmentSeq,
    firstIndex: 1,
    lastIndex: 40,
    entryCount: 40,
    entries: new Uint8Array(laneBytes).fill(segmentSeq),
    offsets: new Uint8Array(laneBytes).fill(0x55),
  };
}

function trailerOf(fields: SegmentTrailerFields, mac: TrailerMacCheck): Uint8Array {
  const block = new Uint8Array(blockBytes);
  writeSegmentTrailer(block, fields, typeof mac === 'string' ? undefined : mac);
  return block;
}
