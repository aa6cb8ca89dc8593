import { describe, expect, test } from 'vitest';

import { ByteWriter } from '../../src/base/bytes.ts';
import { createPrng, nextBelow, pick } from '../../src/base/prng.ts';
import { audienceOf, bodyBytesMax, wireCatalog } from '../../src/codec/wire-catalog.ts';
import { decodeBody, encodeMessage } from '../../src/codec/wire-messages.ts';
import { bytesOf, mutate, refusalOf, u32Hex } from './bytes-of.ts';
import { bodyOf, randomMessage } from '../../sim/fuzz/random-message.ts';
import { messageSamples } from './message-samples.ts';

const kinds = wireCatalog.map(({ kind }) => kind);
const strict = { forwardCompat: false };

/** Whether the last field of a message is whatever the body still holds. */
function endsOpen(kind: (typeof kinds)[number]): boolean {
  return ['appendEntries', 'repairResponse', 'snapshotResponse'].includes(kind);
}

describe('every message', () => {
  test.each(kinds)('%s comes back as it was sent, for random values', (kind) => {
    const prng = createPrng(7);
    for (let round = 0; round < 50; round++) {
      const message = randomMessage(prng, kind);
      expect(decodeBody(bodyOf(message), strict)).toEqual(message);
    }
  });

  test.each(kinds)('%s that is cut anywhere is too short', (kind) => {
    const body = bodyOf(messageSamples[kind]);
    // A pre-vote response may end after nine bytes, what takes the rest of a body anywhere.
    const optionalTail = kind === 'preVoteResponse' || endsOpen(kind) ? 2 : 0;
    for (let length = 0; length < body.length - optionalTail; length++) {
      expect(
        refusalOf(() => decodeBody(body.subarray(0, length), strict)),
        `cut at ${length}`,
      ).toBe('CLUSTOR_WIRE_BODY_TOO_SHORT');
    }
  });

  test.each(kinds.filter((kind) => !endsOpen(kind)))(
    '%s with bytes behind its payload is refused, unless later fields were agreed on',
    (kind) => {
      const body = Uint8Array.of(...bodyOf(messageSamples[kind]), 1, 2, 3);
      expect(refusalOf(() => decodeBody(body, strict))).toBe('CLUSTOR_WIRE_UNKNOWN_FIELD');
      expect(decodeBody(body, { forwardCompat: true })).toEqual(messageSamples[kind]);
    },
  );

  test.each(wireCatalog.map((row) => [row.kind, row.bodyBytesMax] as const))(
    '%s larger than its maximum of %i bytes is refused before it is looked at',
    (kind, bytesMax) => {
      const body = new Uint8Array(bytesMax + 1);
      body.set(bodyOf(messageSamples[kind]));
      expect(refusalOf(() => decodeBody(body, { forwardCompat: true }))).toBe(
        'CLUSTOR_WIRE_BODY_TOO_LARGE',
      );
      expect(bytesMax).toBeLessThanOrEqual(bodyBytesMax);
    },
  );

  test.each(kinds)('%s with unknown flags or reserved bits is refused', (kind) => {
    for (const [at, bits] of [
      [1, 0x02],
      [1, 0x80],
      [2, 0x01],
      [3, 0x80],
    ] as const) {
      const body = bodyOf(messageSamples[kind]);
      body[at] = (body[at] ?? 0) | bits;
      expect(refusalOf(() => decodeBody(body, strict))).toBe('CLUSTOR_WIRE_UNKNOWN_FIELD');
    }
  });

  test.each(kinds)('%s may carry a block of a later version before its payload', (kind) => {
    const row = wireCatalog.find((candidate) => candidate.kind === kind)!;
    if (kind === 'preVoteResponse') return;
    const body = bodyOf(messageSamples[kind]);
    const headBytes = 4 + (row.class === 'oneWay' ? 0 : 16) + (row.scope === 'partition' ? 32 : 0);
    const later = Uint8Array.of(
      ...body.subarray(0, headBytes),
      5,
      0,
      99,
      3,
      1,
      2,
      3,
      ...body.subarray(headBytes),
    );
    later[1] = 1;
    expect(decodeBody(later, strict)).toEqual(messageSamples[kind]);
  });
});

describe('a body is refused', () => {
  test('for an id that is not in the catalog', () => {
    const known = new Set<number>(wireCatalog.map(({ id }) => id));
    for (let id = 0; id < 256; id++) {
      if (known.has(id)) continue;
      const body = new Uint8Array(64);
      body[0] = id;
      expect(refusalOf(() => decodeBody(body, strict))).toBe('CLUSTOR_WIRE_UNKNOWN_MESSAGE');
    }
  });

  test('for an enum value that is not known, and for an experimental one by its own code', () => {
    const at = bodyOf(messageSamples.readRequest).length - 7;
    for (const [value, code] of [
      [2, 'CLUSTOR_WIRE_UNKNOWN_FIELD'],
      [0xef, 'CLUSTOR_WIRE_UNKNOWN_FIELD'],
      [0xf0, 'CLUSTOR_WIRE_EXPERIMENTAL_FIELD'],
      [0xff, 'CLUSTOR_WIRE_EXPERIMENTAL_FIELD'],
    ] as const) {
      const body = bodyOf(messageSamples.readRequest);
      body[at] = value;
      expect(refusalOf(() => decodeBody(body, strict))).toBe(code);
    }
  });

  test('for a boolean that is neither 0 nor 1', () => {
    const body = bodyOf(messageSamples.voteResponse);
    body[body.length - 1] = 2;
    expect(refusalOf(() => decodeBody(body, strict))).toBe('CLUSTOR_WIRE_BAD_VALUE');
  });

  test('for an integer past 2^53 − 1, which would be rounded', () => {
    const head = ['04 00 0000', '00'.repeat(32)];
    const tail = ['00'.repeat(16), '0100000000000000 00'];
    const decode = (replica: string): unknown =>
      decodeBody(bytesOf(...head, replica, ...tail), strict);
    expect(decode('ffffffffffff1f00')).toMatchObject({ fromReplica: Number.MAX_SAFE_INTEGER });
    expect(refusalOf(() => decode('0000000000002000'))).toBe('CLUSTOR_WIRE_BAD_VALUE');
    expect(refusalOf(() => decode('ffffffffffffffff'))).toBe('CLUSTOR_WIRE_BAD_VALUE');
  });

  test('for text that is not UTF-8', () => {
    for (const bad of ['80', 'c0af', 'eda080', 'f4908080', 'e282']) {
      const body = bytesOf('72 00 0000 00000000', u32Hex(bad.length / 2), bad);
      expect(
        refusalOf(() => decodeBody(body, strict)),
        bad,
      ).toBe('CLUSTOR_WIRE_BAD_VALUE');
    }
  });

  test('for more elements or bytes than the catalog allows, however few are there', () => {
    const batch = bytesOf('08 00 0000', '0140');
    expect(refusalOf(() => decodeBody(batch, strict))).toBe('CLUSTOR_WIRE_BODY_TOO_LARGE');
    const message = bytesOf('72 00 0000 00000000', u32Hex(2049), '00');
    expect(refusalOf(() => decodeBody(message, strict))).toBe('CLUSTOR_WIRE_BODY_TOO_LARGE');
  });

  test('for a count that the body cannot hold, without memory for it', () => {
    const batch = bytesOf('08 00 0000', '0040', '00'.repeat(40));
    expect(refusalOf(() => decodeBody(batch, strict))).toBe('CLUSTOR_WIRE_BODY_TOO_SHORT');
    const query = (claimed: number): unknown =>
      decodeBody(bytesOf('24 00 0000', '00'.repeat(48), '00', u32Hex(claimed), '00'), strict);
    expect(refusalOf(() => query(5))).toBe('CLUSTOR_WIRE_BODY_TOO_SHORT');
    expect(refusalOf(() => query(4_000_000))).toBe('CLUSTOR_WIRE_BODY_TOO_SHORT');
    expect(refusalOf(() => query(0xffff_ffff))).toBe('CLUSTOR_WIRE_BODY_TOO_LARGE');
  });
});

test('damaged bodies meet catalogued errors only, and what is accepted can be said again', () => {
  for (const forwardCompat of [false, true]) {
    const prng = createPrng(forwardCompat ? 2 : 1);
    for (let round = 0; round < 6000; round++) {
      const kind = pick(prng, kinds);
      const body = mutate(
        prng,
        bodyOf(nextBelow(prng, 2) === 0 ? messageSamples[kind] : randomMessage(prng, kind)),
      );
      let code: string | undefined;
      try {
        code = refusalOf(() => {
          const message = decodeBody(body, { forwardCompat });
          expect(decodeBody(bodyOf(message), strict)).toEqual(message);
        });
      } catch (error) {
        throw new Error(`round ${round}, ${kind}, ${body.toString()}`, { cause: error });
      }
      if (code !== undefined) expect(code).toMatch(/^CLUSTOR_WIRE_/);
    }
  }
});

test('bytes of chance meet catalogued errors only', () => {
  const prng = createPrng(3);
  for (let round = 0; round < 4000; round++) {
    const body = Uint8Array.from({ length: nextBelow(prng, 120) }, () => nextBelow(prng, 256));
    body[0] = pick(prng, wireCatalog).id;
    body[1] = nextBelow(prng, 2);
    body[2] = 0;
    body[3] = 0;
    refusalOf(() => decodeBody(body, strict));
  }
});

describe('an encoder', () => {
  test('appends frames behind what the writer holds', () => {
    const writer = new ByteWriter();
    encodeMessage(messageSamples.goodbye, writer);
    const first = writer.length;
    encodeMessage(messageSamples.voteResponse, writer);
    const bytes = writer.take();
    expect(decodeBody(bytes.subarray(4, first), strict)).toEqual(messageSamples.goodbye);
    expect(decodeBody(bytes.subarray(first + 4), strict)).toEqual(messageSamples.voteResponse);
  });

  test('counts the bytes of entries that the sender puts behind', () => {
    const writer = new ByteWriter();
    encodeMessage(
      { ...messageSamples.appendEntries, entries: new Uint8Array(0), trailingBytes: 2 },
      writer,
    );
    writer.raw(Uint8Array.of(0xca, 0xfe));
    expect(decodeBody(writer.take().subarray(4), strict)).toEqual(messageSamples.appendEntries);
  });

  test('never makes what a decoder would refuse: that is a bug of the caller', () => {
    const writer = new ByteWriter();
    const tooLong = { ...messageSamples.goodbye, message: 'x'.repeat(5000) };
    expect(() => encodeMessage(tooLong, writer)).toThrow(/fits the maximum/);
    const tooMany = Array.from({ length: 65 }, () => ({
      nodeId: messageSamples.hello.nodeId,
      address: 'a',
    }));
    const partitions = messageSamples.describeResponse.partitions.map((row) => ({
      ...row,
      members: tooMany,
    }));
    expect(() => encodeMessage({ ...messageSamples.describeResponse, partitions }, writer)).toThrow(
      /maximum of its field/,
    );
    // Nothing of what failed stays before the next frame.
    expect(writer.length).toBe(0);
  });
});

test('raft messages come from nodes only, requests of clients from anybody', () => {
  expect(audienceOf('appendEntries')).toBe('node');
  expect(audienceOf('voteRequest')).toBe('node');
  expect(audienceOf('readIndexRequest')).toBe('node');
  expect(audienceOf('appendRequest')).toBe('any');
  expect(audienceOf('hello')).toBe('any');
});
