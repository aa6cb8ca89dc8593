import { describe, expect, test } from 'vitest';

import { utf8Decode, utf8Encode } from '../../src/base/bytes.ts';
import {
  decodeKeyRing,
  encodeKeyRing,
  keyRingMacInput,
  type KeyRingContent,
} from '../../src/codec/key-ring-format.ts';
import { bytesOf, hexOf, refusalOf } from './bytes-of.ts';

const content: KeyRingContent = {
  clusterId: '018c0d6c-9c11-7e9d-8000-86f5bb8c0001',
  nodeId: 3,
  firstSegmentSeq: 5,
  firstLedgerGeneration: 2,
  rows: [
    {
      epoch: 1,
      state: 'destroyed',
      createdMs: 1_700_000_000_000,
      kekId: '',
      wrappedDataKey: new Uint8Array(0),
      wrappedMacKey: new Uint8Array(0),
    },
    {
      epoch: 2,
      state: 'active',
      createdMs: 1_700_000_000_001,
      kekId: 'kek-1',
      wrappedDataKey: bytesOf('0102'),
      wrappedMacKey: bytesOf('0304'),
    },
  ],
};
const mac = new Uint8Array(32).fill(0xab);
const text =
  '{"clusterId":"018c0d6c-9c11-7e9d-8000-86f5bb8c0001","epochs":[' +
  '{"createdMs":"1700000000000","data":"","epoch":1,"kekId":"","mac":"","state":"destroyed"},' +
  '{"createdMs":"1700000000001","data":"0102","epoch":2,"kekId":"kek-1","mac":"0304","state":"active"}],' +
  '"firstLedgerGeneration":"2","firstSegmentSeq":"5","format":1,"nodeId":"3"';

describe('a key ring', () => {
  test('has the bytes of its layout and comes back', () => {
    const bytes = encodeKeyRing(content, mac);

    expect(utf8Decode(bytes)).toBe(`${text},"hmac":"${'ab'.repeat(32)}"}\n`);
    expect(decodeKeyRing(bytes, 'keys.json')).toEqual({ content, mac });
  });

  test('is signed without its HMAC, in canonical form', () => {
    expect(utf8Decode(keyRingMacInput(content))).toBe(`${text}}`);
    expect(hexOf(keyRingMacInput(decodeKeyRing(encodeKeyRing(content, mac), '').content))).toBe(
      hexOf(keyRingMacInput(content)),
    );
  });

  test.each([
    ['no JSON', '{', 'CLUSTOR_INTEGRITY'],
    ['null', 'null', 'CLUSTOR_INTEGRITY'],
    ['another format', '{"format":2}', 'CLUSTOR_FORMAT_UNSUPPORTED'],
    ['no epochs', '{"format":1,"epochs":[]}', 'CLUSTOR_INTEGRITY'],
    ['an epoch that is missing', changed('"epoch":2', '"epoch":3'), 'CLUSTOR_INTEGRITY'],
    ['two active epochs', changed('"destroyed"', '"active"'), 'CLUSTOR_INTEGRITY'],
    ['no active epoch', changed('"active"', '"decryptOnly"'), 'CLUSTOR_INTEGRITY'],
    ['a state of its own', changed('"destroyed"', '"resting"'), 'CLUSTOR_INTEGRITY'],
    ['a key that is no key', changed('"0102"', '"0x02"'), 'CLUSTOR_INTEGRITY'],
    ['a number that is none', changed('"nodeId":"3"', '"nodeId":"-3"'), 'CLUSTOR_INTEGRITY'],
  ])('with %s is refused', (_name, broken, code) => {
    expect(refusalOf(() => decodeKeyRing(utf8Encode(broken), 'keys.json'))).toBe(code);
  });
});

function changed(find: string, replace: string): string {
  return utf8Decode(encodeKeyRing(content, mac)).replace(find, replace);
}
