/** Manifests of snapshots: one canonical form, and nothing else is read (specification §7). */
import { describe, expect, test } from 'vitest';

import { utf8Decode, utf8Encode } from '../../src/base/bytes.ts';
import { isClustorError } from '../../src/base/errors.ts';
import { incarnation, logIndex, nodeId, partitionId, replicaId, term } from '../../src/base/ids.ts';
import { createPrng, nextBelow } from '../../src/base/prng.ts';
import {
  contentHashOf,
  decodeManifest,
  encodeManifest,
  manifestBytesMax,
  type SnapshotContent,
  type SnapshotManifest,
} from '../../src/codec/snapshot-manifest.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';

const { sha256 } = nodeCryptography;
const source = { path: 'manifest.json', sha256 };
const content: SnapshotContent = {
  partitionId: partitionId('018c0d6c-9c11-7e9d-8000-00000000000a'),
  index: logIndex(2 ** 53 - 1),
  term: term(3),
  knownTerm: term(4),
  configuration: {
    term: term(2),
    index: logIndex(17),
    members: [
      {
        replicaId: replicaId(5),
        nodeId: nodeId(1),
        incarnation: incarnation('018c0d6c-9c11-7e9d-8000-0000000000aa'),
        role: 'voter',
        addresses: ['a.example:4000', 'höst "b"\n:1'],
      },
    ],
    outgoingMembers: [
      {
        replicaId: replicaId(6),
        nodeId: nodeId(2),
        incarnation: incarnation('018c0d6c-9c11-7e9d-8000-0000000000ab'),
        role: 'learner',
        addresses: [],
      },
    ],
  },
  createdMs: 1_795_920_081_446,
  stateBytes: 100,
  machineBytes: 1_048_576,
  parts: [
    { bytes: 1_048_576, digest: 'ab'.repeat(32) },
    { bytes: 100, digest: '01'.repeat(32) },
  ],
};

function manifestOf(changes: Partial<SnapshotManifest> = {}): SnapshotManifest {
  const whole = { ...content, ...changes };
  return { encryption: undefined, contentHash: contentHashOf(whole, sha256), ...whole };
}

const encryption = { dekEpoch: 9, wrappedKey: new Uint8Array(64).fill(0xc3) };

function codeOf(bytes: Uint8Array): string | undefined {
  try {
    decodeManifest(bytes, source);
  } catch (error) {
    if (isClustorError(error)) return error.code;
    throw error;
  }
  return undefined;
}

/** The bytes of a manifest of which somebody changed the text. */
function changed(from: string | RegExp, to: string): Uint8Array {
  const text = utf8Decode(encodeManifest(manifestOf({ encryption })));
  const other = text.replace(from, to);
  expect(other).not.toBe(text);
  return utf8Encode(other);
}

describe('a manifest', () => {
  test('is canonical JSON', () => {
    const text = utf8Decode(encodeManifest(manifestOf({ encryption })));

    expect(text).toBe(
      '{"baseIndex":"9007199254740991","baseTerm":"3",' +
        `"chunks":[{"bytes":1048576,"sha256":"${'ab'.repeat(32)}"},{"bytes":100,"sha256":"${'01'.repeat(32)}"}],` +
        '"configuration":{"index":"17","members":[{"addresses":["a.example:4000","höst \\"b\\"\\n:1"],' +
        '"incarnation":"018c0d6c-9c11-7e9d-8000-0000000000aa","nodeId":"1","replicaId":"5","role":"voter"}],' +
        '"outgoingMembers":[{"addresses":[],"incarnation":"018c0d6c-9c11-7e9d-8000-0000000000ab","nodeId":"2",' +
        '"replicaId":"6","role":"learner"}],"term":"2"},' +
        `"contentHash":"${contentHashOf(content, sha256)}","createdMs":"1795920081446",` +
        `"encryption":{"dekEpoch":9,"wrappedKey":"${'c3'.repeat(64)}"},"format":1,"knownTerm":"4",` +
        '"machineBytes":"1048576","partitionId":"018c0d6c-9c11-7e9d-8000-00000000000a","stateBytes":"100"}',
    );
    const names = Object.keys(JSON.parse(text) as object);
    expect(names).toEqual(names.toSorted());
  });

  test.each([
    ['plain', manifestOf()],
    ['sealed', manifestOf({ encryption })],
    ['without a byte', manifestOf({ parts: [], stateBytes: 0, machineBytes: 0 })],
  ])('is read as it was written: %s', (_, manifest) => {
    expect(decodeManifest(encodeManifest(manifest), source)).toEqual(manifest);
  });

  test('has the hash of what it says, whatever its files are sealed with', () => {
    const text = utf8Decode(encodeManifest(manifestOf()))
      .replace(/"contentHash":"[0-9a-f]*",/, '')
      .replace('"encryption":null,', '');
    const digest = Buffer.from(sha256(utf8Encode(text))).toString('hex');

    expect(manifestOf().contentHash).toBe(digest);
    expect(manifestOf({ encryption }).contentHash).toBe(digest);
    expect(manifestOf({ createdMs: 1 }).contentHash).not.toBe(digest);
  });

  test('of another format is refused as such', () => {
    expect(codeOf(changed('"format":1', '"format":2'))).toBe('CLUSTOR_FORMAT_UNSUPPORTED');
    expect(codeOf(utf8Encode('{"format":7}'))).toBe('CLUSTOR_FORMAT_UNSUPPORTED');
  });

  test.each([
    ['a place that was changed', '"baseTerm":"3"', '"baseTerm":"2"'],
    ['a digest that was changed', 'abab', 'abac'],
    ['another hash', /"contentHash":"[0-9a-f]{4}/, '"contentHash":"0000'],
    ['a hash that is none', /"contentHash":"[0-9a-f]{4}/, '"contentHash":"zz00'],
    ['white space', ',"format"', ', "format"'],
    ['something behind it', /$/, '\n'],
    ['a number with a zero in front', '"baseTerm":"3"', '"baseTerm":"03"'],
    ['a number that is too wide', '9007199254740991', '9007199254740993'],
    ['a negative number', '"createdMs":"', '"createdMs":"-'],
    ['a number that is no text', '"stateBytes":"100"', '"stateBytes":100'],
    ['a length that is a text', '"bytes":100', '"bytes":"100"'],
    ['a part that is too long', '"bytes":1048576', '"bytes":1048577'],
    ['a part of nothing', '"bytes":100', '"bytes":0'],
    ['lengths that do not add up', '"machineBytes":"1048576"', '"machineBytes":"1048575"'],
    ['a field that nobody knows', '"format":1', '"format":1,"future":1'],
    ['a field that stands there twice', '"format":1', '"format":1,"format":1'],
    ['a field that is missing', '"createdMs":"1795920081446",', ''],
    ['a role that nobody knows', '"voter"', '"king"'],
    ['an identifier in capitals', '0000000000aa', '0000000000AA'],
    ['no key epoch', '"dekEpoch":9', '"dekEpoch":0'],
    ['a wrapped key that is cut', 'c3c3', ''],
    ['a term that was not known', '"knownTerm":"4"', '"knownTerm":"2"'],
  ])('is refused with %s', (_, from, to) => {
    expect(codeOf(changed(from, to))).toBe('CLUSTOR_INTEGRITY');
  });

  test('that rotted anywhere is refused, never more than that', () => {
    const good = encodeManifest(manifestOf({ encryption }));
    const known = new Set(['CLUSTOR_INTEGRITY', 'CLUSTOR_FORMAT_UNSUPPORTED']);
    const start = utf8Decode(good).indexOf('"encryption"');
    for (let at = 0; at < good.length; at++)
      for (const bit of [0, 3, 6]) {
        const bytes = good.slice();
        bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
        const code = codeOf(bytes);
        // The epoch and the wrapped key are vouched for by the key itself.
        const isOfKey = at > start && at < utf8Decode(good).indexOf('"format"');
        if (code === undefined ? !isOfKey : !known.has(code))
          expect.fail(`byte ${at}, bit ${bit}: ${String(code)}`);
      }
    for (let length = 0; length < good.length; length++)
      expect(codeOf(good.subarray(0, length)), `${length} bytes`).toBe('CLUSTOR_INTEGRITY');
  });

  test('that is nonsense is refused, never more than that', () => {
    const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
    const text = utf8Decode(encodeManifest(manifestOf()));
    const values = ['null', '[]', '{}', '1e400', '""', 'true', deep, '"\\ud800"', '{"toString":1}'];
    for (const value of values) {
      expect(codeOf(utf8Encode(value)), value.slice(0, 20)).toBe('CLUSTOR_INTEGRITY');
      for (const name of Object.keys(JSON.parse(text) as object)) {
        const fields = Object.entries(JSON.parse(text) as Record<string, unknown>).map(
          ([own, known]) => `"${own}":${own === name ? value : JSON.stringify(known)}`,
        );
        const code = codeOf(utf8Encode(`{${fields.join(',')}}`));
        const isAllowed = name === 'encryption' && value === 'null';
        expect(code ?? 'none', `${name} ${value.slice(0, 20)}`).toMatch(
          isAllowed ? 'none' : /^CLUSTOR_(INTEGRITY|FORMAT_UNSUPPORTED)$/,
        );
      }
    }
    const random = createPrng(5);
    for (let round = 0; round < 500; round++) {
      const bytes = Uint8Array.from({ length: nextBelow(random, 200) }, () =>
        nextBelow(random, 256),
      );
      expect(codeOf(bytes)).toBe('CLUSTOR_INTEGRITY');
    }
    expect(codeOf(new Uint8Array(manifestBytesMax + 1))).toBe('CLUSTOR_INTEGRITY');
  });
});
